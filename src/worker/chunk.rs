//! One chunk's journey, top to bottom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, warn};

use crate::contract::{ChunkOutcome, ChunkRecord, Fingerprint, JobEvent, StageSeconds, keys};
use crate::error::{Classify, Kind};
use crate::seal;
use crate::site::SiteError;
use crate::store::{Body, Put};
use crate::telemetry::{self, Stage};

use super::Worker;
use super::lane::{LaneOrder, LaneReport};
use super::process::LaneError;

/// Lanes that a chunk may cost.
const DEATHS: usize = 3;

/// How a record was left.
#[derive(Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its completion is published: its offset may be committed.
    Settled,
    /// This worker stops: the record goes to another one.
    HandedBack,
}

/// Settles a chunk: its result is in the store, and the news of it on `completions`, when this returns `Settled`.
pub(super) async fn settle(worker: &Worker, record: &ChunkRecord) -> Result<Settlement, SiteError> {
    let fingerprint = record.spec.fingerprint();
    let outcome = if worker.site.store.head(&keys::manifest(&record.job, record.run)).await?.is_some() {
        ChunkOutcome::Skipped
    } else if let Some(outcome) = find(worker, record, &fingerprint).await? {
        outcome
    } else {
        match make(worker, record, &fingerprint).await? {
            Some(outcome) => outcome,
            None => return Ok(Settlement::HandedBack),
        }
    };
    count(&outcome);
    let event = JobEvent::Chunk { job: record.job.clone(), run: record.run, index: record.index, fingerprint, outcome };
    let started = Instant::now();
    worker.site.tell(&event).await?;
    telemetry::stage(Stage::Publish, started.elapsed());
    Ok(Settlement::Settled)
}

/// The result, if it is in the store already: then no work is done at all.
async fn find(
    worker: &Worker,
    record: &ChunkRecord,
    fingerprint: &Fingerprint,
) -> Result<Option<ChunkOutcome>, SiteError> {
    let key = keys::result(fingerprint);
    let Some(meta) = worker.site.store.head(&key).await? else { return Ok(None) };
    let tail = worker.site.store.tail(&key, seal::FOOTER_REACH).await?;
    let counts = match seal::footer_in(&tail) {
        Ok(footer) => footer.counts,
        Err(error) => {
            warn!(%key, %error, "a stored result is not whole; it is made again");
            worker.site.store.delete(&key, Some(&meta.version)).await?;
            return Ok(None);
        }
    };
    debug!(chunk = record.index, "reused");
    Ok(Some(ChunkOutcome::Done { reused: true, bytes: meta.size, counts, seconds: StageSeconds::new() }))
}

/// Fetches, swaps, uploads. `None` if this worker was told to stop meanwhile.
async fn make(
    worker: &Worker,
    record: &ChunkRecord,
    fingerprint: &Fingerprint,
) -> Result<Option<ChunkOutcome>, SiteError> {
    let scratch = worker.site.scratch("chunk")?;
    let mut seconds = StageSeconds::new();

    let started = Instant::now();
    let order = match fetch(worker, record, scratch.path().to_owned()).await? {
        Ok(order) => order,
        Err(reason) => return Ok(Some(ChunkOutcome::Failed { reason })),
    };
    spend(&mut seconds, Stage::Fetch, started);

    let made = match compute(worker, order).await {
        Ok(made) => made,
        Err(LaneError::Stopped) => return Ok(None),
        Err(error) if error.kind() == Kind::Poison || error.is_death() => {
            // The files' names are of this machine; the job knows them by their last part.
            let reason = error.to_string().replace(&format!("{}/", scratch.path().display()), "");
            warn!(reason, "chunk failed");
            return Ok(Some(ChunkOutcome::Failed { reason }));
        }
        Err(error) => return Err(SiteError::Work(error.to_string())),
    };
    for (stage, spent) in &made.seconds {
        *seconds.entry(stage.clone()).or_default() += spent;
    }

    let started = Instant::now();
    let bytes = tokio::fs::metadata(&made.result).await?.len();
    let key = keys::result(fingerprint);
    let put = worker.site.store.put_new(&key, Body::File(made.result.clone())).await?;
    spend(&mut seconds, Stage::Upload, started);

    // First writer wins. Who loses goes on with the winner's result as with its own.
    let lost = put == Put::Exists;
    if lost {
        debug!(chunk = record.index, "another worker was first");
    }
    Ok(Some(ChunkOutcome::Done { reused: lost, bytes, counts: made.counts, seconds }))
}

/// A chunk that takes its lane with it gets another one, a few times.
async fn compute(worker: &Worker, order: Arc<LaneOrder>) -> Result<LaneReport, LaneError> {
    for _ in 1..DEATHS {
        match worker.lanes.run(order.clone(), &worker.stop).await {
            Err(error) if error.is_death() => warn!(%error, "the chunk is tried again"),
            outcome => return outcome,
        }
    }
    worker.lanes.run(order, &worker.stop).await
}

/// Brings everything that the lane may see into one folder, each file checked against its digest. The inner error says why the
/// chunk cannot be made at all.
async fn fetch(
    worker: &Worker,
    record: &ChunkRecord,
    folder: PathBuf,
) -> Result<Result<Arc<LaneOrder>, String>, SiteError> {
    match bring(worker, record, folder).await {
        Ok(order) => Ok(Ok(Arc::new(order))),
        Err(error) if error.kind() == Kind::Poison => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn bring(worker: &Worker, record: &ChunkRecord, folder: PathBuf) -> Result<LaneOrder, SiteError> {
    let (spec, site) = (&record.spec, &worker.site);
    let slice = folder.join("slice.nut");
    let key = keys::slice(&record.clip, &record.cut, spec.span.start, spec.span.end);
    let found = site.fetch_digest(&key, &slice).await?;
    if found != spec.slice {
        // Without its index the clip is cut again for the next submission.
        site.store.delete(&key, None).await?;
        site.store.delete(&keys::slices(&record.clip, &record.cut), None).await?;
        let error = format!("its sha256 is {found}, expected {}", spec.slice);
        return Err(SiteError::BadObject { key, error });
    }
    let mut portraits = Vec::new();
    for digest in &spec.portraits {
        let path = folder.join(format!("portrait-{digest}"));
        tokio::fs::write(&path, site.get_blob(digest).await?).await?;
        portraits.push(path);
    }
    let mut reference = None;
    if let Some(digest) = &spec.reference {
        let path = folder.join("reference");
        tokio::fs::write(&path, site.get_blob(digest).await?).await?;
        reference = Some(path);
    }
    let result = folder.join("result.nut");
    Ok(LaneOrder { spec: spec.clone(), slice, portraits, reference, result })
}

fn count(outcome: &ChunkOutcome) {
    use telemetry::{ChunkOutcome as Counted, FrameOutcome, chunk, faces, frames};
    match outcome {
        ChunkOutcome::Done { reused: true, .. } => chunk(Counted::Reused),
        ChunkOutcome::Done { counts, .. } => {
            chunk(Counted::Done);
            let swapped = if counts.faces > 0 { counts.frames - counts.without_face } else { 0 };
            frames(FrameOutcome::Swapped, swapped);
            frames(FrameOutcome::Passed, counts.frames - swapped);
            faces(counts.faces);
        }
        ChunkOutcome::Failed { .. } => chunk(Counted::Failed),
        ChunkOutcome::Skipped => chunk(Counted::Skipped),
    }
}

fn spend(seconds: &mut StageSeconds, stage: Stage, since: Instant) {
    telemetry::stage(stage, since.elapsed());
    *seconds.entry(stage.as_str().to_owned()).or_default() += since.elapsed().as_secs_f64();
}
