//! One chunk's journey, top to bottom.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::attempts::{Attempt, Begun, Elsewhere, Work};
use crate::broker::{Delivery, Lease};
use crate::contract::{ChunkOutcome, ChunkRecord, Fingerprint, JobEvent, StageSeconds, keys};
use crate::crash;
use crate::error::{Classify, Kind};
use crate::seal;
use crate::site::{CheckError, SiteError};
use crate::store::{Body, Put, StoreError};
use crate::telemetry::{self, Stage};

use super::Worker;
use super::lane::{LaneOrder, LaneReport};
use super::process::LaneError;

/// How often a chunk in work is looked at: whether its record is still ours, and if not, whether another worker has done it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a chunk waits that could not be written here: the disk may be full.
const LOCAL_WAIT: Duration = Duration::from_secs(2);

/// How a record was left.
#[derive(Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its completion is published: its offset may be committed.
    Settled,
    /// This worker stops: the record goes to another one.
    HandedBack,
}

/// How the work on a chunk ended.
enum Made {
    /// This is its outcome.
    Settled(ChunkOutcome),
    /// It can never be made.
    Poison { error: &'static str, reason: String },
    /// This worker stops.
    HandedBack,
}

/// Settles a chunk: its result is in the store, and the news of it on `completions`, when this returns `Settled`.
pub(super) async fn settle(
    worker: &Worker,
    delivery: &Delivery<ChunkRecord>,
    record: &ChunkRecord,
) -> Result<Settlement, SiteError> {
    let fingerprint = record.spec.fingerprint();
    let run = worker.endings.watch(&record.job, record.run);
    let made = if worker.site.store.head(&keys::manifest(&record.job, record.run)).await?.is_some() {
        Made::Settled(ChunkOutcome::Skipped)
    } else if let Some(outcome) = find(worker, record, &fingerprint).await? {
        Made::Settled(outcome)
    } else {
        match make(worker, delivery, record, &fingerprint, run.ended()).await {
            // An object of ours that cannot be read: this chunk's trouble, and nobody else's.
            Err(error) if error.kind() == Kind::Poison => Made::Poison { error: "Site", reason: error.to_string() },
            made => made?,
        }
    };
    let outcome = match made {
        Made::Settled(outcome) => outcome,
        Made::Poison { error, reason } => {
            // Before the news of it: once the run has failed, nobody would look at this record again.
            worker.bury(delivery, error, &reason).await?;
            ChunkOutcome::Failed { reason }
        }
        Made::HandedBack => return Ok(Settlement::HandedBack),
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
    if worker.site.retention.is_old(meta.modified) && !worker.site.ensure_fresh(&key).await? {
        return Ok(None);
    }
    let tail = match worker.site.store.tail(&key, seal::FOOTER_REACH).await {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        tail => tail?,
    };
    let reason = match seal::footer_in(&tail) {
        Ok(footer) if footer.fingerprint == *fingerprint => {
            debug!(chunk = record.index, "reused");
            let (bytes, counts, seconds) = (meta.size, footer.counts, StageSeconds::new());
            return Ok(Some(ChunkOutcome::Done { reused: true, bytes, counts, seconds }));
        }
        Ok(footer) => format!("it is another chunk's, {}", footer.fingerprint),
        Err(error) => error.to_string(),
    };
    warn!(%key, reason, "a stored result is not whole; it is made again");
    match worker.site.store.delete(&key, Some(&meta.version)).await {
        Ok(()) | Err(StoreError::Changed { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Fetches, swaps, uploads.
async fn make(
    worker: &Worker,
    delivery: &Delivery<ChunkRecord>,
    record: &ChunkRecord,
    fingerprint: &Fingerprint,
    ended: &CancellationToken,
) -> Result<Made, SiteError> {
    // Before all else: whoever waits here has nothing that the record in front of it may need.
    // Cancel-safe: a chunk that is not taken stays with whoever has it.
    let in_hand = tokio::select! {
        () = worker.draining.cancelled() => return Ok(Made::HandedBack),
        () = ended.cancelled() => return Ok(Made::Settled(ChunkOutcome::Skipped)),
        in_hand = worker.in_hand.take(*fingerprint) => in_hand,
    };
    if in_hand.has_waited {
        if delivery.claim.ensure_live().is_err() {
            return Ok(Made::HandedBack);
        }
        // What the one in front has made is there by now, unless it has given it up.
        if let Some(outcome) = find(worker, record, fingerprint).await? {
            return Ok(Made::Settled(outcome));
        }
    }
    if let Some(made) = wait_for_others(worker, delivery, record, fingerprint, ended).await? {
        return Ok(made);
    }
    // Cancel-safe: a place that is not given stays free.
    let _place = tokio::select! {
        () = worker.draining.cancelled() => return Ok(Made::HandedBack),
        () = ended.cancelled() => return Ok(Made::Settled(ChunkOutcome::Skipped)),
        place = worker.places.acquire() => place.map_err(|error| SiteError::Work(error.to_string()))?,
    };
    if delivery.claim.ensure_live().is_err() {
        // Its partition went to another worker while it waited, who has it by now.
        return Ok(Made::HandedBack);
    }
    let scratch = worker.site.scratch("chunk")?;
    let mut seconds = StageSeconds::new();

    let started = Instant::now();
    // Cancel-safe: no attempt has begun, and half a fetch leaves nothing but files in scratch space.
    let brought = tokio::select! {
        () = worker.draining.cancelled() => return Ok(Made::HandedBack),
        () = ended.cancelled() => return Ok(Made::Settled(ChunkOutcome::Skipped)),
        brought = bring(worker, record, scratch.path().to_owned()) => brought,
    };
    let order = match brought {
        Ok(order) => Arc::new(order),
        Err(error @ (CheckError::Corrupt { .. } | CheckError::Site(SiteError::Store(StoreError::NotFound { .. })))) => {
            return Ok(Made::Settled(ChunkOutcome::Missing { reason: error.to_string() }));
        }
        Err(CheckError::Site(error)) => return Err(error),
    };
    spend(&mut seconds, Stage::Fetch, started);
    crash::point("worker.fetched");

    let lease = delivery.claim.lease();
    let (made, mut attempt) = match swap(worker, &lease, record, &order, ended).await? {
        Swapped::Done(made, attempt) => (made, attempt),
        Swapped::Not(made) => return Ok(made),
    };
    for (stage, spent) in &made.seconds {
        *seconds.entry(stage.clone()).or_default() += spent;
    }

    let started = Instant::now();
    let bytes = tokio::fs::metadata(&made.result).await?.len();
    let key = keys::result(fingerprint);
    let upload = async {
        while worker.site.store.put_new(&key, Body::File(made.result.clone())).await? == Put::Exists {
            // First writer wins. Who loses goes on with the winner's result as with its own, if that is whole.
            if let Some(winner) = find(worker, record, fingerprint).await? {
                debug!(chunk = record.index, "another worker was first");
                return Ok::<_, SiteError>(Some(winner));
            }
        }
        Ok(None)
    };
    let winner = telling_others(worker, &lease, &mut attempt, upload).await??;
    attempt.take_back(&worker.site).await?;
    spend(&mut seconds, Stage::Upload, started);
    crash::point("worker.uploaded");
    Ok(Made::Settled(match winner {
        // The work was done all the same, and its time is told.
        Some(ChunkOutcome::Done { bytes, counts, .. }) => ChunkOutcome::Done { reused: true, bytes, counts, seconds },
        Some(other) => other,
        None => ChunkOutcome::Done { reused: false, bytes, counts: made.counts, seconds },
    }))
}

/// Waits while workers from which this record was taken go on with its chunk; tells how it ended if there is nothing left to do.
async fn wait_for_others(
    worker: &Worker,
    delivery: &Delivery<ChunkRecord>,
    record: &ChunkRecord,
    fingerprint: &Fingerprint,
    ended: &CancellationToken,
) -> Result<Option<Made>, SiteError> {
    let mut others = Elsewhere::new(&record.job, record.run, Work::Chunk(record.index));
    let mut has_waited = false;
    while others.is_at_work(&worker.site).await? {
        if !std::mem::replace(&mut has_waited, true) {
            debug!("another worker goes on with it");
        }
        // Cancel-safe: all of them only wait.
        tokio::select! {
            () = worker.draining.cancelled() => return Ok(Some(Made::HandedBack)),
            () = ended.cancelled() => return Ok(Some(Made::Settled(ChunkOutcome::Skipped))),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if delivery.claim.ensure_live().is_err() {
            return Ok(Some(Made::HandedBack));
        }
    }
    // What they had begun is there by now, unless they have given it up.
    let found = if has_waited { find(worker, record, fingerprint).await? } else { None };
    Ok(found.map(Made::Settled))
}

/// Does `work`. Once the record has gone to another worker, that one is told that there is no need to begin.
async fn telling_others<T>(
    worker: &Worker,
    lease: &Lease,
    attempt: &mut Attempt,
    work: impl Future<Output = T>,
) -> Result<T, SiteError> {
    let mut work = std::pin::pin!(work);
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        // Cancel-safe: `work` is not dropped, and a tick that is lost comes again.
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = look.tick() => if !lease.is_live() {
                attempt.go_on_unclaimed(&worker.site).await?;
            }
        }
    }
}

/// How a lane has left a chunk.
enum Swapped {
    /// The attempt is taken back, unless its record has gone meanwhile: then it lasts until the result is there.
    Done(LaneReport, Attempt),
    Not(Made),
}

/// Runs the chunk on a lane, again on another one where a lane dies of it, as often as the count of attempts allows.
async fn swap(
    worker: &Worker,
    lease: &Lease,
    record: &ChunkRecord,
    order: &Arc<LaneOrder>,
    ended: &CancellationToken,
) -> Result<Swapped, SiteError> {
    // Since when the disk here has failed it.
    let mut trouble: Option<Instant> = None;
    // For all of its attempts: a bad chunk is given up by one lane's time, and others of its job do not have theirs in between.
    // Cancel-safe: a turn that is not given stays free.
    let _turn = tokio::select! {
        () = worker.draining.cancelled() => return Ok(Swapped::Not(Made::HandedBack)),
        () = ended.cancelled() => return Ok(Swapped::Not(Made::Settled(ChunkOutcome::Skipped))),
        turn = worker.turns.acquire() => turn.map_err(|error| SiteError::Work(error.to_string()))?,
    };
    loop {
        // Cancel-safe: a lane that is not handed out stays free.
        let lane = tokio::select! {
            () = worker.draining.cancelled() => return Ok(Swapped::Not(Made::HandedBack)),
            () = ended.cancelled() => return Ok(Swapped::Not(Made::Settled(ChunkOutcome::Skipped))),
            lane = worker.lanes.acquire() => lane.map_err(|error| SiteError::Work(error.to_string()))?,
        };
        if !lease.is_live() {
            return Ok(Swapped::Not(Made::HandedBack));
        }
        if let Some(outcome) = find(worker, record, &record.spec.fingerprint()).await? {
            // Made by somebody else while this one waited for its lane.
            return Ok(Swapped::Not(Made::Settled(outcome)));
        }
        let work = Work::Chunk(record.index);
        let mut attempt = match Attempt::begin(&worker.site, &record.job, record.run, work).await? {
            Begun::Attempt(attempt) => attempt,
            Begun::Poison { reason } => return Ok(Swapped::Not(Made::Poison { error: "Poison", reason })),
        };
        crash::point("worker.attempted");

        // What ends it on either ground, and no longer than this attempt.
        let stop = ended.child_token();
        let _until_done = stop.clone().drop_guard();
        let giving_up = {
            let (give_up, stop) = (worker.give_up.clone(), stop.clone());
            async move {
                give_up.cancelled().await;
                stop.cancel();
                std::future::pending().await
            }
        };
        // Cancel-safe: `giving_up` never ends.
        let outcome = tokio::select! {
            outcome = telling_others(worker, lease, &mut attempt, lane.run(order.clone(), &stop)) => outcome?,
            never = giving_up => never,
        };
        let error = match outcome {
            Ok(report) => {
                if lease.is_live() {
                    attempt.take_back(&worker.site).await?;
                }
                return Ok(Swapped::Done(report, attempt));
            }
            Err(error) if error.is_death() => {
                warn!(chunk = record.index, %error, "a lane has died of this chunk");
                attempt.died(&worker.site, &error.to_string()).await?;
                continue;
            }
            Err(error) => error,
        };
        let is_local = matches!(error, LaneError::Failed { kind: Kind::Retry, .. });
        let is_lasting = is_local && trouble.get_or_insert_with(Instant::now).elapsed() >= worker.site.patience;
        if is_lasting || matches!(error, LaneError::Failed { kind: Kind::Fatal, .. }) {
            // This worker ends of it, and so may the next one: it counts, so that not all do, one after the other.
            attempt.gave_out(&worker.site, &error.to_string()).await?;
            return Err(SiteError::Work(error.to_string()));
        }
        attempt.take_back(&worker.site).await?;
        if is_local {
            warn!(chunk = record.index, %error, "tried again");
            // Cancel-safe: a moment's wait; the others are looked at once more before the next attempt.
            tokio::select! {
                () = worker.draining.cancelled() => {}
                () = ended.cancelled() => {}
                () = tokio::time::sleep(LOCAL_WAIT) => {}
            }
            continue;
        }
        return match error {
            LaneError::Stopped if ended.is_cancelled() => {
                info!(chunk = record.index, "given up: its run has ended");
                Ok(Swapped::Not(Made::Settled(ChunkOutcome::Skipped)))
            }
            LaneError::Stopped if worker.draining.is_cancelled() => Ok(Swapped::Not(Made::HandedBack)),
            error if error.kind() == Kind::Poison => {
                // The files' names are of this machine; the job knows them by their last part.
                let folder = order.result.parent().map(|folder| format!("{}/", folder.display())).unwrap_or_default();
                let reason = error.to_string().replace(&folder, "");
                Ok(Swapped::Not(Made::Poison { error: "Lane", reason }))
            }
            error => Err(SiteError::Work(error.to_string())),
        };
    }
}

/// Brings everything that the lane may see into one folder, each file checked against its digest.
///
/// # Errors
/// [`CheckError::Corrupt`] for what was not what it should be and has been deleted, `NotFound` for what is not there.
async fn bring(worker: &Worker, record: &ChunkRecord, folder: PathBuf) -> Result<LaneOrder, CheckError> {
    let (spec, site) = (&record.spec, &worker.site);
    let slice = folder.join("slice.nut");
    let key = keys::slice(&record.clip, &record.cut, spec.span.start, spec.span.end);
    site.fetch_checked(&key, &slice, &spec.slice).await?;
    let mut photos = BTreeMap::new();
    for digest in spec.photos() {
        let path = folder.join(format!("photo-{digest}"));
        site.fetch_checked(&keys::blob(&digest), &path, &digest).await?;
        photos.insert(digest, path);
    }
    let mut reference = None;
    if let Some(digest) = &spec.reference {
        let path = folder.join("reference");
        site.fetch_checked(&keys::blob(digest), &path, digest).await?;
        reference = Some(path);
    }
    let result = folder.join("result.nut");
    Ok(LaneOrder { spec: spec.clone(), slice, photos, reference, result })
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
        ChunkOutcome::Missing { .. } => chunk(Counted::Missing),
        ChunkOutcome::Skipped => chunk(Counted::Skipped),
    }
}

fn spend(seconds: &mut StageSeconds, stage: Stage, since: Instant) {
    telemetry::stage(stage, since.elapsed());
    *seconds.entry(stage.as_str().to_owned()).or_default() += since.elapsed().as_secs_f64();
}
