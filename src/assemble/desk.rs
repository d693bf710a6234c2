//! All open jobs of this assembler, and what each event does to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::attempts::Room;
use crate::audit;
use crate::broker::{BrokerError, Delivery};
use crate::contract::{
    Cancellation, ChunkOutcome, Digest, Fingerprint, Job, JobEvent, JobId, Manifest, OpenMarker, Output, State, Status,
    StatusChunk, VERSION, keys, partition_of,
};
use crate::crash;
use crate::credentials::Credentials;
use crate::dead_letters::Reason;
use crate::error::{Classify, Kind};
use crate::ingest::last_ended;
use crate::site::{Site, SiteError, unix_millis};

use super::Settings;
use super::attempt::counted;
use super::damage;
use super::finish::{bare_manifest, finish, marker_of, remove_marker, settle, tell_end_again};
use super::join::{JoinError, Joined, Work, join};
use super::ledger::{Counted, Settled};
use super::open::{Joining, OpenJob};
use super::repair::{self, Repairs, Survey};

/// How long jobs that are let go may keep those that stay waiting.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Of these at once.
const REQUESTS: usize = 16;

/// What happens at the desk but for events.
pub enum Happened {
    /// A join has ended.
    Joined(JoinEnd),
    /// A join that was broken off is gone.
    Nothing,
    /// The broker has said how far the workers are.
    Surveyed(Result<Survey, BrokerError>),
}

/// A join that has ended.
pub struct JoinEnd {
    job: JobId,
    run: u32,
    /// Tells it from a later join of the same run.
    stop: Arc<AtomicBool>,
    result: Result<Joined, JoinError>,
}

/// The open jobs.
pub struct Desk {
    pub(super) site: Site,
    pub(super) open: HashMap<JobId, OpenJob>,
    /// The partitions whose jobs are ours.
    pub(super) partitions: BTreeSet<i32>,
    pub(super) repairs: Repairs,
    joins: JoinSet<JoinEnd>,
    /// What remains to be done of joins that were broken off.
    broken_off: TaskTracker,
    /// With whose signature outputs are signed.
    credentials: Option<Credentials>,
    /// For joins at once.
    room: Room,
}

/// How a run ends.
struct Ending {
    state: State,
    reason: Option<String>,
    output: Option<Output>,
    warnings: Vec<String>,
    /// Milliseconds since 1970; see [`Manifest::ended_at`].
    ended_at: i64,
}

/// What of a chunk is to be made again.
enum Again {
    /// By a worker.
    Result,
    /// Or whatever else it is made from, by ingest.
    Slice,
}

impl Ending {
    fn failed(reason: String) -> Self {
        let (state, ended_at) = (State::Failed, unix_millis());
        Self { state, reason: Some(reason), output: None, warnings: Vec::new(), ended_at }
    }

    /// Ends when it was called off: what was submitted after that is the next run, however late this is done.
    fn cancelled(at: i64) -> Self {
        Self { state: State::Cancelled, ended_at: at, ..Self::failed("cancelled on request".to_owned()) }
    }
}

impl Desk {
    /// An empty desk.
    pub fn new(site: Site, settings: &Settings) -> Self {
        let repairs = Repairs::new(&site, settings.repair_after);
        Self {
            site,
            open: HashMap::new(),
            partitions: BTreeSet::new(),
            repairs,
            joins: JoinSet::new(),
            broken_off: TaskTracker::new(),
            credentials: settings.credentials.clone(),
            room: Room::new(settings.joins),
        }
    }

    /// Takes over the open jobs of newly assigned partitions: their ledgers are rebuilt from the store.
    pub async fn adopt(&mut self, partitions: &[i32]) -> Result<(), SiteError> {
        for &partition in partitions {
            self.partitions.insert(partition);
            for object in self.site.store.list(&keys::open_in(partition)).await? {
                let Some(marker) = self.read_marker(&object.key).await? else { continue };
                self.resume(&marker).await?;
            }
        }
        Ok(())
    }

    /// A marker; one that cannot be read says nothing, and must not keep the others waiting.
    pub(super) async fn read_marker(&self, key: &str) -> Result<Option<OpenMarker>, SiteError> {
        match self.site.read_json(key).await {
            Err(error) if error.kind() == Kind::Poison => {
                error!(key, %error, "the marker of an open job cannot be read; submit that job again");
                Ok(None)
            }
            read => read,
        }
    }

    /// Goes on with a run that is marked open: at its end, if it has ended.
    pub(super) async fn resume(&mut self, marker: &OpenMarker) -> Result<(), SiteError> {
        let resumed = match self.site.read_json::<Manifest>(&keys::manifest(&marker.job, marker.run)).await {
            Ok(Some(manifest)) => self.put_away(&manifest).await,
            Ok(None) => self.open(&marker.job, marker.run).await,
            Err(error) => Err(error),
        };
        self.fail_if_poison(&marker.job, marker.run, resumed).await
    }

    /// Drops the jobs of revoked partitions: their new owner rebuilds them. What was said of them here last may have come after its last word,
    /// so that is said again, as far as it can be in [`LAST_WORDS`].
    pub async fn let_go(&mut self, partitions: &[i32]) {
        let all = self.site.job_partitions;
        self.partitions.retain(|partition| !partitions.contains(partition));
        let dropped = self.open.extract_if(|job, _| partitions.contains(&partition_of(job, all)));
        let dropped = dropped.map(|(job, mut open)| {
            open.stop_join();
            (job, open.run.run)
        });
        let mut dropped: Vec<(JobId, u32)> = dropped.collect();
        dropped.extend(self.repairs.let_go(|job| partitions.contains(&partition_of(job, all))));
        let site = &self.site;
        let words = stream::iter(dropped).for_each_concurrent(REQUESTS, |(job, run)| async move {
            if let Err(error) = tell_end_again(site, &job, run).await {
                warn!(%job, %error, "how it has ended elsewhere could not be told again");
            }
        });
        if tokio::time::timeout(LAST_WORDS, words).await.is_err() {
            warn!("how jobs have ended elsewhere could not be told again in time");
        }
    }

    /// One event: it is counted; then, and only then, its offset may be committed.
    pub async fn take(&mut self, delivery: Delivery<JobEvent>) -> Result<(), SiteError> {
        crash::point("assemble.received");
        if delivery.claim.ensure_live().is_err() {
            return Ok(());
        }
        match &delivery.record {
            Ok(event) if partition_of(event.job(), self.site.job_partitions) != delivery.partition => {
                self.pass_on(event, delivery.timestamp.unwrap_or_default()).await?;
            }
            Ok(event) => {
                let counted = self.count(event, delivery.timestamp.unwrap_or_default()).await;
                match (event.run(), counted) {
                    (Some(run), counted) => self.fail_if_poison(event.job(), run, counted).await?,
                    (None, Err(error)) if error.kind() == Kind::Poison => {
                        let reason = error.to_string();
                        self.site.bury(&delivery, Reason::new("assemble", module_path!(), "Site", &reason)).await?;
                    }
                    (None, counted) => counted?,
                }
            }
            Err(malformed) => {
                let reason = malformed.to_string();
                warn!(partition = delivery.partition, offset = delivery.offset, %reason, "completion record refused");
                self.site.bury(&delivery, Reason::new("assemble", module_path!(), "Malformed", &reason)).await?;
            }
        }
        crash::point("assemble.counted");
        delivery.claim.finish();
        Ok(())
    }

    /// Publishes an event where the job's assembler looks for it: whoever wrote it did not know how jobs are spread.
    async fn pass_on(&self, event: &JobEvent, written_at: i64) -> Result<(), SiteError> {
        let event = match event {
            JobEvent::Cancel { job, at } => JobEvent::Cancel { job: job.clone(), at: at.or(Some(written_at)) },
            other => other.clone(),
        };
        self.site.tell(&event).await
    }

    async fn count(&mut self, event: &JobEvent, at: i64) -> Result<(), SiteError> {
        match event {
            JobEvent::Accepted { job, run } => self.accepted(job, *run).await,
            JobEvent::Refused { job, run, content, submission, refusal, decisions } => {
                if self.is_bound_otherwise(job, content).await? {
                    warn!(%job, %refusal, "another job under this id was refused; the first one goes on");
                    return Ok(());
                }
                let known = self.leave(job, *run);
                let manifest = Manifest {
                    content: *content,
                    submission: submission.clone(),
                    reason: Some(refusal.to_string()),
                    refused: true,
                    decisions: Some(decisions.clone()),
                    totals: known.map(|open| open.ledger.totals().clone()).unwrap_or_default(),
                    ..bare_manifest(&self.site, job, *run, State::Failed).await?
                };
                finish(&self.site, manifest).await
            }
            JobEvent::Published { job, run, seconds } => {
                let Some(open) = self.open.get_mut(job).filter(|open| open.run.run == *run) else { return Ok(()) };
                open.ledger.spend(seconds);
                open.asked_ingest = false;
                self.join_if_complete(job).await
            }
            JobEvent::Chunk { job, run, index, fingerprint, outcome } => {
                self.chunk(job, *run, *index, fingerprint, outcome).await
            }
            JobEvent::Cancel { job, at: then } => self.cancel(job, then.unwrap_or(at)).await,
        }
    }

    async fn accepted(&mut self, job: &JobId, run: u32) -> Result<(), SiteError> {
        match self.site.read_json::<Manifest>(&keys::manifest(job, run)).await? {
            Some(manifest) => {
                if self.is_marked(job, run).await? {
                    // Whoever wrote the manifest may not have come further.
                    audit::record(&self.site, &manifest).await?;
                }
                self.site.announce(&Status::of(&manifest, true)).await?;
                remove_marker(&self.site, &manifest).await
            }
            None => self.open(job, run).await,
        }
    }

    /// Whether the id belongs to a job with other content: it was taken in while that was refused.
    async fn is_bound_otherwise(&self, job: &JobId, content: &Digest) -> Result<bool, SiteError> {
        match self.site.read_json::<Job>(&keys::job(job)).await {
            // Perhaps why it was refused.
            Err(SiteError::BadObject { .. }) => Ok(false),
            bound => Ok(bound?.is_some_and(|bound| bound.digest() != *content)),
        }
    }

    async fn is_marked(&self, job: &JobId, run: u32) -> Result<bool, SiteError> {
        match marker_of(&self.site, job).await {
            // It cannot be read, and may be this run's.
            Err(SiteError::BadObject { .. }) => Ok(true),
            marker => Ok(marker?.is_some_and(|marker| marker.run == run)),
        }
    }

    /// Opens a run, unless it is open; a run whose results are all there goes on to its join.
    async fn open(&mut self, job: &JobId, run: u32) -> Result<(), SiteError> {
        if let Some(open) = self.open.get(job).filter(|open| open.run.run >= run) {
            // Ingest may have begun anew, and waits for news of what is settled.
            self.announce(open, None).await?;
            return self.join_if_complete(job).await;
        }
        let Some(open) = OpenJob::load(&self.site, job, run).await? else { return Ok(()) };
        self.announce(&open, None).await?;
        self.open.insert(job.clone(), open);
        self.join_if_complete(job).await
    }

    /// Ends the run that was submitted before `at`, milliseconds since 1970.
    async fn cancel(&mut self, job: &JobId, at: i64) -> Result<(), SiteError> {
        let mut marker = self.marker_to_end(job).await?;
        if marker.is_none() {
            // It may be on its way to ingest, which looks for this word after it has made the marker.
            self.site.replace_json(&keys::cancelled(job), &Cancellation { at }, None).await?;
            marker = self.marker_to_end(job).await?;
        }
        let Some(marker) = marker else {
            info!(%job, "cancelled while not open: it means what was submitted before");
            return match last_ended(&self.site, job).await?.and_then(|ended| ended.manifest) {
                Some(manifest) => self.site.announce(&Status::of(&manifest, true)).await,
                None => Ok(()),
            };
        };
        if marker.submitted_at > at {
            return Ok(());
        }
        if self.open.get(job).is_some_and(|open| open.run.run == marker.run) {
            return self.end(job, marker.run, Ending::cancelled(at)).await;
        }
        let manifest = bare_manifest(&self.site, job, marker.run, State::Cancelled).await?;
        let Ending { reason, ended_at, .. } = Ending::cancelled(at);
        // The marker may name a later submission by now.
        let submission = marker.submission;
        finish(&self.site, Manifest { reason, ended_at, submission, ..manifest }).await
    }

    /// The marker of a job that is called off.
    async fn marker_to_end(&self, job: &JobId) -> Result<Option<OpenMarker>, SiteError> {
        let marker = marker_of(&self.site, job).await;
        let Err(SiteError::BadObject { .. }) = marker else { return marker };
        if let Some(open) = self.open.get(job) {
            // What was read when the run was opened counts.
            return Ok(Some(open.marker()));
        }
        // It stands for the run after the last that has ended, and nobody knows since when: it is the one that is meant.
        let run = last_ended(&self.site, job).await?.map_or(1, |ended| ended.run + 1);
        let job = job.clone();
        Ok(Some(OpenMarker { job, run, submission: String::new(), submitted_at: 0, asked_again_at: None }))
    }

    /// Takes a run off the desk.
    fn leave(&mut self, job: &JobId, run: u32) -> Option<OpenJob> {
        self.open.get(job).filter(|open| open.run.run == run)?;
        let mut open = self.open.remove(job)?;
        open.stop_join();
        Some(open)
    }

    async fn chunk(
        &mut self,
        job: &JobId,
        run: u32,
        index: u32,
        fingerprint: &Fingerprint,
        outcome: &ChunkOutcome,
    ) -> Result<(), SiteError> {
        let is_open = self.open.get(job).is_some_and(|open| open.run.run == run);
        if !is_open {
            // Late news of an ended run changes nothing.
            if self.site.store.head(&keys::manifest(job, run)).await?.is_some() {
                return Ok(());
            }
            self.open(job, run).await?;
        }
        let Some(open) = self.open.get_mut(job).filter(|open| open.run.run == run) else { return Ok(()) };
        match outcome {
            // The run has ended: by another assembler, if it is still open here.
            ChunkOutcome::Skipped => self.ended_elsewhere(job, run).await,
            ChunkOutcome::Failed { reason } => {
                let times = damage::times_of_chunk(&open.plan, index);
                self.end(job, run, Ending::failed(format!("chunk {index} ({times}): {reason}"))).await
            }
            // Another worker had what this one missed; or ingest is at it already.
            ChunkOutcome::Missing { .. } if open.ledger.is_settled(index) || open.asked_ingest => Ok(()),
            ChunkOutcome::Missing { reason } => self.make_again(job, index, reason, Again::Slice).await,
            ChunkOutcome::Done { reused, bytes, counts, seconds } => {
                let there = self.site.store.head(&keys::result(fingerprint)).await?;
                if there.is_none_or(|meta| meta.size != *bytes) {
                    warn!(%job, chunk = index, "completion of a result that is not in the store; not counted");
                    return Ok(());
                }
                let settled = Settled { reused: *reused, counts: *counts, seconds: seconds.clone() };
                if open.ledger.count(index, &settled) != Counted::First {
                    return Ok(());
                }
                open.idle.progressed();
                if let Some(reason) = damage::too_much(open.ledger.damage(), &open.run, &open.plan) {
                    return self.end(job, run, Ending::failed(reason)).await;
                }
                let open = &self.open[job];
                self.announce(open, Some(StatusChunk { index, reused: *reused })).await?;
                self.join_if_complete(job).await
            }
        }
    }

    /// Something of a chunk was not whole: it is asked for anew, three times at most.
    async fn make_again(&mut self, job: &JobId, index: u32, reason: &str, what: Again) -> Result<(), SiteError> {
        let Some(open) = self.open.get_mut(job) else { return Ok(()) };
        let run = open.run.run;
        if !repair::may_remake(&self.site, job, run, index, reason).await? {
            let reason = format!("chunk {index}: {reason}; it was made again three times");
            return self.end(job, run, Ending::failed(reason)).await;
        }
        warn!(%job, chunk = index, reason, "to be made again");
        open.ledger.reopen(index);
        open.stop_join();
        open.asked_ingest |= matches!(what, Again::Slice);
        match what {
            Again::Result => repair::order(&self.site, &open.run, &open.plan, &[index]).await,
            Again::Slice => repair::ask_ingest(&self.site, job, run).await,
        }
    }

    async fn join_if_complete(&mut self, job: &JobId) -> Result<(), SiteError> {
        let Some(open) = self.open.get_mut(job) else { return Ok(()) };
        if !open.ledger.is_complete() || open.joining.is_some() {
            return Ok(());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            site: self.site.clone(),
            run: open.run.clone(),
            plan: open.plan.clone(),
            credentials: self.credentials.clone(),
        };
        let (room, flag, broken_off) = (self.room.clone(), stop.clone(), self.broken_off.clone());
        let task = self.joins.spawn(async move {
            let (job, run) = (work.run.job.job.clone(), work.run.run);
            let result = counted(&work.site, (&job, run), (&room, &broken_off), join(&work, flag.clone())).await;
            JoinEnd { job, run, stop: flag, result }
        });
        open.joining = Some(Joining { stop, task });
        self.announce(&self.open[job], None).await
    }

    /// Waits for a join to end, or for the broker's answer about jobs that stand still; for ever if there is neither. Cancel-safe.
    pub async fn next(&mut self) -> Result<Happened, SiteError> {
        let (joins, surveys) = (&mut self.joins, &mut self.repairs.surveys);
        // Cancel-safe: `join_next` loses nothing.
        let happened = tokio::select! {
            Some(joined) = joins.join_next() => match joined {
                Err(error) if error.is_cancelled() => Ok(Happened::Nothing),
                joined => joined.map(Happened::Joined),
            },
            Some(surveyed) = surveys.join_next() => surveyed.map(Happened::Surveyed),
            else => std::future::pending().await,
        };
        Ok(happened?)
    }

    /// Does what follows from it.
    pub async fn go_on(&mut self, happened: Happened) -> Result<(), SiteError> {
        match happened {
            Happened::Nothing => Ok(()),
            Happened::Joined(end) => {
                let (job, run) = (end.job.clone(), end.run);
                let closed = self.close(end).await;
                self.fail_if_poison(&job, run, closed).await
            }
            Happened::Surveyed(survey) => self.repair(survey).await,
        }
    }

    /// Whether a clip is being joined.
    pub fn is_joining(&self) -> bool {
        !self.joins.is_empty()
    }

    /// Ends the run whose join has ended.
    async fn close(&mut self, JoinEnd { job, run, stop, result }: JoinEnd) -> Result<(), SiteError> {
        let is_ours = |open: &&mut OpenJob| {
            open.run.run == run && open.joining.as_ref().is_some_and(|joining| Arc::ptr_eq(&joining.stop, &stop))
        };
        let Some(open) = self.open.get_mut(&job).filter(is_ours) else { return Ok(()) };
        match result {
            Ok(joined) => {
                open.ledger.spend(&joined.seconds);
                open.counts = joined.counts;
                let ending = Ending {
                    state: State::Done,
                    reason: None,
                    output: Some(joined.output),
                    warnings: joined.warnings,
                    ended_at: unix_millis(),
                };
                self.end(&job, run, ending).await
            }
            Err(JoinError::Ended) => self.ended_elsewhere(&job, run).await,
            Err(JoinError::Stopped) => {
                open.joining = None;
                // What stopped it may be over: a chunk made again while it was on its way out.
                self.join_if_complete(&job).await
            }
            Err(JoinError::Result { chunk, reason }) => {
                open.joining = None;
                self.make_again(&job, chunk as u32, &reason, Again::Result).await
            }
            Err(JoinError::Site(error)) if error.kind() != Kind::Poison => Err(error),
            Err(error) if error.kind() != Kind::Poison => Err(SiteError::Work(error.to_string())),
            Err(failed) => self.end(&job, run, Ending::failed(failed.to_string())).await,
        }
    }

    async fn end(&mut self, job: &JobId, run: u32, ending: Ending) -> Result<(), SiteError> {
        let Some(open) = self.leave(job, run) else { return Ok(()) };
        let mut totals = open.ledger.totals().clone();
        totals.frames_without_face = open.counts.without_face.max(totals.frames_without_face);
        totals.frames_damaged = open.counts.damage.frames.max(totals.frames_damaged);
        let mut warnings = open.warnings();
        warnings.extend(ending.warnings);
        let manifest = Manifest {
            v: VERSION,
            job: job.clone(),
            run: open.run.run,
            content: open.run.job.digest(),
            submission: open.submission.clone(),
            state: ending.state,
            reason: ending.reason,
            refused: false,
            decisions: None,
            output: ending.output,
            totals,
            warnings,
            labels: open.run.job.labels.clone(),
            ended_at: ending.ended_at,
        };
        finish(&self.site, manifest).await
    }

    /// An object of ours that cannot be read ends its run, and nothing else.
    pub(super) async fn fail_if_poison(
        &mut self,
        job: &JobId,
        run: u32,
        done: Result<(), SiteError>,
    ) -> Result<(), SiteError> {
        let Err(error) = done else { return Ok(()) };
        if error.kind() != Kind::Poison {
            return Err(error);
        }
        self.leave(job, run);
        let manifest = bare_manifest(&self.site, job, run, State::Failed).await?;
        let reason = Some(format!("{error}; submit the job again"));
        finish(&self.site, Manifest { reason, ..manifest }).await
    }

    /// Another assembler, or a copy of this one, has ended a run that is open here.
    async fn ended_elsewhere(&mut self, job: &JobId, run: u32) -> Result<(), SiteError> {
        let Some(manifest) = self.site.read_json::<Manifest>(&keys::manifest(job, run)).await? else { return Ok(()) };
        self.leave(job, run);
        self.put_away(&manifest).await
    }

    /// A run that had its manifest, but not yet the news of it, when its assembler ended.
    async fn put_away(&self, manifest: &Manifest) -> Result<(), SiteError> {
        info!(job = %manifest.job, run = manifest.run, "the run had ended; telling so");
        settle(&self.site, manifest).await
    }

    pub(super) async fn announce(&self, open: &OpenJob, chunk: Option<StatusChunk>) -> Result<(), SiteError> {
        let state = if open.joining.is_some() { State::Joining } else { State::Running };
        let status = Status {
            totals: open.ledger.totals().clone(),
            chunk,
            warnings: open.warnings(),
            waiting: open.idle.waiting.clone(),
            ..Status::new(open.run.job.job.clone(), open.run.run, state)
        };
        self.site.announce(&status).await
    }

    /// Stops the joins; what they had not finished is begun anew by the next owner.
    pub async fn stop(&mut self) {
        self.open.values_mut().for_each(OpenJob::stop_join);
        self.joins.shutdown().await;
        self.broken_off.close();
        if tokio::time::timeout(LAST_WORDS, self.broken_off.wait()).await.is_err() {
            warn!("joins that were broken off go on counting as attempts");
        }
    }
}

impl OpenJob {
    /// Breaks the join off, if there is one.
    pub(super) fn stop_join(&mut self) {
        if let Some(Joining { stop, task }) = self.joining.take() {
            stop.store(true, Ordering::Relaxed);
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
