//! One open run: what the store knows about it, and its ledger.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::contract::{FrameCounts, JobId, OpenMarker, Plan, Run, SliceIndex, StageSeconds, keys, partition_of};
use crate::site::{Site, SiteError};

use super::ledger::{Ledger, Settled};

/// Requests to the store at once while a ledger is rebuilt.
const REQUESTS: usize = 16;

/// One open run.
pub struct OpenJob {
    /// The run as it was accepted.
    pub run: Arc<Run>,
    /// Its clip and chunks.
    pub plan: Arc<Plan>,
    /// Which record asked for it.
    pub submission: String,
    /// Which chunks are settled.
    pub ledger: Ledger,
    /// Its join has been started.
    pub joining: bool,
    /// As the results say, once they have been joined.
    pub frames_without_face: u64,
}

impl OpenJob {
    /// Reads a run from the store; `None` while ingest has not accepted it yet.
    pub async fn load(site: &Site, job: &JobId, run: u32) -> Result<Option<Self>, SiteError> {
        let Some(run) = site.read_json::<Run>(&keys::run(job, run)).await? else { return Ok(None) };
        let Some(plan) = site.read_json::<Plan>(&keys::plan(&run.clip, &run.rule.id())).await? else { return Ok(None) };
        let partition = partition_of(job, site.job_partitions);
        let marker = site.read_json::<OpenMarker>(&keys::open(partition, job)).await?;
        let submission = marker.map(|marker| marker.submission).unwrap_or_default();
        let mut ledger = Ledger::new(plan.chunks.len(), plan.clip.frames());
        ledger.spend(&run.seconds);
        for index in results_in_store(site, &run, &plan).await? {
            let frames = plan.chunks[index].end - plan.chunks[index].start;
            let counts = FrameCounts { frames, ..FrameCounts::default() };
            ledger.count(index as u32, &Settled { reused: true, counts, seconds: StageSeconds::new() });
        }
        let (run, plan) = (Arc::new(run), Arc::new(plan));
        Ok(Some(Self { run, plan, submission, ledger, joining: false, frames_without_face: 0 }))
    }
}

/// The chunks whose results exist. While ingest is still cutting, their names are not known: then none, and every one of
/// them will be reported by a worker.
async fn results_in_store(site: &Site, run: &Run, plan: &Plan) -> Result<Vec<usize>, SiteError> {
    let Some(index) = site.read_json::<SliceIndex>(&keys::slices(&run.clip, &run.rule.id())).await? else {
        return Ok(Vec::new());
    };
    let keys: Vec<String> = index
        .slices
        .iter()
        .zip(&plan.chunks)
        .map(|(slice, cut)| keys::result(&run.spec(plan, cut, *slice).fingerprint()))
        .collect();
    stream::iter(keys.into_iter().enumerate())
        .map(|(chunk, key)| async move { Ok((chunk, site.store.head(&key).await?.is_some())) })
        .buffered(REQUESTS)
        .try_filter_map(|(chunk, there)| async move { Ok(there.then_some(chunk)) })
        .try_collect()
        .await
}
