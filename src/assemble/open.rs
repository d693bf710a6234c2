//! One open run: what the store knows about it, and its ledger.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::UNIX_EPOCH;

use tokio::task::AbortHandle;

use futures::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use crate::contract::{
    Digest, FrameCounts, JobId, OpenMarker, Plan, Run, SliceIndex, StageSeconds, keys, partition_of,
};
use crate::site::{Site, SiteError};
use crate::store::{Meta, StoreError};

use super::ledger::{Ledger, Settled};
use super::repair::Idle;

/// Requests to the store at once while a ledger is rebuilt.
const REQUESTS: usize = 16;

/// A join under way.
pub struct Joining {
    /// Set, its thread stops.
    pub stop: Arc<AtomicBool>,
    /// Ends what is not on that thread: an upload, for one.
    pub task: AbortHandle,
}

/// One open run.
pub struct OpenJob {
    /// The run as it was accepted.
    pub run: Arc<Run>,
    /// Its clip and chunks.
    pub plan: Arc<Plan>,
    /// Which record asked for it.
    pub submission: String,
    /// When that record was written, milliseconds since 1970.
    pub submitted_at: i64,
    /// Which chunks are settled.
    pub ledger: Ledger,
    /// Its join has been started.
    pub joining: Option<Joining>,
    /// Ingest was asked for something that is missing, and has not published since.
    pub asked_ingest: bool,
    /// How long nothing has happened.
    pub idle: Idle,
    /// As the results say, once they have been joined.
    pub counts: FrameCounts,
}

impl OpenJob {
    /// What the user should know, as far as it is known before the end.
    pub fn warnings(&self) -> Vec<String> {
        self.plan.warnings.iter().chain(&self.run.warnings).cloned().collect()
    }

    /// Reads a run from the store; `None` while ingest has not accepted it yet.
    pub async fn load(site: &Site, job: &JobId, run: u32) -> Result<Option<Self>, SiteError> {
        let Some(run) = site.read_json::<Run>(&keys::run(job, run)).await? else { return Ok(None) };
        let Some(plan) = site.read_json::<Plan>(&keys::plan(&run.clip, &run.rule.id())).await? else { return Ok(None) };
        let partition = partition_of(job, site.job_partitions);
        let marker = site.read_json::<OpenMarker>(&keys::open(partition, job)).await?;
        let (submission, submitted_at) =
            marker.map(|marker| (marker.submission, marker.submitted_at)).unwrap_or_default();
        let mut ledger = Ledger::new(plan.chunks.len(), plan.clip.frames());
        ledger.spend(&run.seconds);
        let (run, plan) = (Arc::new(run), Arc::new(plan));
        let mut open = Self {
            run,
            plan,
            submission,
            submitted_at,
            ledger,
            joining: None,
            asked_ingest: false,
            idle: Idle::default(),
            counts: FrameCounts::default(),
        };
        open.count_results(site).await?;
        Ok(Some(open))
    }

    /// The marker by which it was found.
    pub fn marker(&self) -> OpenMarker {
        let (submission, submitted_at) = (self.submission.clone(), self.submitted_at);
        OpenMarker { job: self.run.job.job.clone(), run: self.run.run, submission, submitted_at, asked_again_at: None }
    }

    /// Counts every chunk whose result is in the store.
    async fn count_results(&mut self, site: &Site) -> Result<(), SiteError> {
        for (index, made_at) in results_in_store(site, &self.run, &self.plan).await? {
            // What was made since is this run's own work, of which the news is still on its way.
            let reused = made_at < self.run.accepted_at;
            let frames = self.plan.chunks[index].end - self.plan.chunks[index].start;
            let counts = FrameCounts { frames, ..FrameCounts::default() };
            self.ledger.count(index as u32, &Settled { reused, counts, seconds: StageSeconds::new() });
        }
        Ok(())
    }
}

/// The chunks whose results exist and are young enough to be relied on: older ones are renewed by the
/// worker that comes upon them. With when these were made, seconds since 1970.
async fn results_in_store(site: &Site, run: &Run, plan: &Plan) -> Result<Vec<(usize, f64)>, SiteError> {
    let keys = slice_digests(site, run, plan).await?.into_iter().map(|(chunk, slice)| {
        let fingerprint = run.spec(plan, &plan.chunks[chunk], slice).fingerprint();
        (chunk, keys::result(&fingerprint))
    });
    stream::iter(keys.collect::<Vec<_>>())
        .map(|(chunk, key)| async move { Ok((chunk, site.store.head(&key).await?)) })
        .buffered(REQUESTS)
        .try_filter_map(|(chunk, found)| async move {
            let made_at =
                |meta: Meta| meta.modified.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            let found = found.filter(|meta| !site.retention.is_old(meta.modified));
            Ok(found.map(|meta| (chunk, made_at(meta))))
        })
        .try_collect()
        .await
}

/// The slices that are in the store, by chunk. While ingest is still cutting there is no index of them: then they are read. So they are
/// if the index cannot be: ingest writes it again.
pub async fn slice_digests(site: &Site, run: &Run, plan: &Plan) -> Result<Vec<(usize, Digest)>, SiteError> {
    let cut = run.rule.id();
    let index = match site.read_json::<SliceIndex>(&keys::slices(&run.clip, &cut)).await {
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(job = %run.job.job, %error, "reading the slices themselves");
            None
        }
        read => read?,
    };
    if let Some(index) = index {
        return Ok(index.slices.into_iter().enumerate().take(plan.chunks.len()).collect());
    }
    let scratch = site.scratch("recount")?;
    let slices = (0..plan.chunks.len()).map(|chunk| {
        let (key, path) = (plan.slice_key(chunk), scratch.path().join(format!("{chunk}.nut")));
        (chunk, key, path)
    });
    let mut slices: Vec<_> = slices.collect();
    // Those of stills lie in as many places, and are asked for one by one.
    if !plan.clip.is_folder() {
        let listed = site.store.list(&keys::cut(&run.clip, &cut)).await?;
        let there: HashSet<String> = listed.into_iter().map(|object| object.key).collect();
        slices.retain(|(_, key, _)| there.contains(key));
    }
    stream::iter(slices)
        .map(|(chunk, key, path)| async move {
            let digest = match site.fetch_digest(&key, &path).await {
                Err(SiteError::Store(StoreError::NotFound { .. })) if plan.clip.is_folder() => return Ok(None),
                digest => digest?,
            };
            tokio::fs::remove_file(&path).await?;
            Ok(Some((chunk, digest)))
        })
        .buffered(REQUESTS)
        .try_filter_map(|found| std::future::ready(Ok(found)))
        .try_collect()
        .await
}
