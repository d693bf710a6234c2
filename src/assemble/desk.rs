//! All open jobs of this assembler, and what each event does to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::broker::Delivery;
use crate::contract::{
    ChunkOutcome, Fingerprint, JobEvent, JobId, Manifest, OpenMarker, Output, State, Status, StatusChunk, VERSION,
    keys, partition_of,
};
use crate::error::{Classify, Kind};
use crate::site::{Site, SiteError};

use super::finish::finish;
use super::join::{JoinError, Joined, join};
use super::ledger::{Counted, Settled};
use super::open::OpenJob;

/// A join that has ended.
pub struct JoinEnd {
    job: JobId,
    run: u32,
    result: Result<Joined, JoinError>,
}

/// The open jobs.
pub struct Desk {
    site: Site,
    open: HashMap<JobId, OpenJob>,
    joins: JoinSet<JoinEnd>,
    /// Permits for joins at once.
    places: Arc<Semaphore>,
    /// Tells the joins on blocking threads to stop.
    stopping: Arc<AtomicBool>,
}

impl Desk {
    /// An empty desk that joins `joins` clips at once.
    pub fn new(site: Site, joins: usize) -> Self {
        let places = Arc::new(Semaphore::new(joins));
        Self { site, open: HashMap::new(), joins: JoinSet::new(), places, stopping: Arc::default() }
    }

    /// Takes over the open jobs of newly assigned partitions: their ledgers are rebuilt from the store.
    pub async fn adopt(&mut self, partitions: &[i32]) -> Result<(), SiteError> {
        for &partition in partitions {
            for object in self.site.store.list(&keys::open_in(partition)).await? {
                let Some(marker) = self.site.read_json::<OpenMarker>(&object.key).await? else { continue };
                let manifest = keys::manifest(&marker.job, marker.run);
                match self.site.read_json::<Manifest>(&manifest).await? {
                    Some(manifest) => self.put_away(&manifest).await?,
                    None => self.open(&marker.job, marker.run).await?,
                }
            }
        }
        Ok(())
    }

    /// Drops the jobs of revoked partitions: their new owner rebuilds them.
    pub fn let_go(&mut self, partitions: &[i32]) {
        let all = self.site.job_partitions;
        self.open.retain(|job, _| !partitions.contains(&partition_of(job, all)));
    }

    /// One event: it is counted; then, and only then, its offset may be committed.
    pub async fn take(&mut self, delivery: Delivery<JobEvent>) -> Result<(), SiteError> {
        match delivery.record {
            Ok(event) => self.count(event).await?,
            Err(malformed) => {
                let (partition, offset) = (delivery.partition, delivery.offset);
                warn!(partition, offset, error = %malformed, "completion record skipped");
            }
        }
        delivery.claim.finish();
        Ok(())
    }

    async fn count(&mut self, event: JobEvent) -> Result<(), SiteError> {
        match event {
            JobEvent::Accepted { job, run } => self.accepted(&job, run).await,
            JobEvent::Refused { job, run, content, submission, refusal } => {
                let totals = self.open.remove(&job).map(|open| open.ledger.totals().clone()).unwrap_or_default();
                let manifest = Manifest {
                    v: VERSION,
                    job,
                    run,
                    content,
                    submission,
                    state: State::Failed,
                    reason: Some(refusal.to_string()),
                    refused: true,
                    output: None,
                    totals,
                    warnings: Vec::new(),
                    labels: BTreeMap::new(),
                };
                finish(&self.site, manifest).await
            }
            JobEvent::Published { job, run, seconds } => {
                let Some(open) = self.open.get_mut(&job).filter(|open| open.run.run == run) else { return Ok(()) };
                open.ledger.spend(&seconds);
                Ok(())
            }
            JobEvent::Chunk { job, run, index, fingerprint, outcome } => {
                self.chunk(&job, run, index, &fingerprint, outcome).await
            }
        }
    }

    async fn accepted(&mut self, job: &JobId, run: u32) -> Result<(), SiteError> {
        match self.site.read_json::<Manifest>(&keys::manifest(job, run)).await? {
            Some(manifest) => self.site.announce(&Status::of(&manifest, true)).await,
            None => self.open(job, run).await,
        }
    }

    /// Opens a run, unless it is open; a run whose results are all there goes on to its join.
    async fn open(&mut self, job: &JobId, run: u32) -> Result<(), SiteError> {
        if let Some(open) = self.open.get(job).filter(|open| open.run.run >= run) {
            // Ingest may have begun anew, and waits for news of what is settled.
            let state = if open.joining { State::Joining } else { State::Running };
            return self.announce(open, state, None).await;
        }
        let Some(open) = OpenJob::load(&self.site, job, run).await? else { return Ok(()) };
        self.announce(&open, State::Running, None).await?;
        self.open.insert(job.clone(), open);
        self.join_if_complete(job).await
    }

    async fn chunk(
        &mut self,
        job: &JobId,
        run: u32,
        index: u32,
        fingerprint: &Fingerprint,
        outcome: ChunkOutcome,
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
            ChunkOutcome::Skipped => match self.site.read_json::<Manifest>(&keys::manifest(job, run)).await? {
                Some(manifest) => {
                    self.open.remove(job);
                    self.put_away(&manifest).await
                }
                None => Ok(()),
            },
            ChunkOutcome::Failed { reason } => {
                let reason = format!("chunk {index}: {reason}");
                self.end(job, State::Failed, Some(reason), None, Vec::new()).await
            }
            ChunkOutcome::Done { reused, bytes, counts, seconds } => {
                let there = self.site.store.head(&keys::result(fingerprint)).await?;
                if there.is_none_or(|meta| meta.size != bytes) {
                    warn!(%job, chunk = index, "completion of a result that is not in the store; not counted");
                    return Ok(());
                }
                if open.ledger.count(index, &Settled { reused, counts, seconds }) != Counted::First {
                    return Ok(());
                }
                let open = &self.open[job];
                self.announce(open, State::Running, Some(StatusChunk { index, reused })).await?;
                self.join_if_complete(job).await
            }
        }
    }

    async fn join_if_complete(&mut self, job: &JobId) -> Result<(), SiteError> {
        let Some(open) = self.open.get_mut(job) else { return Ok(()) };
        if !open.ledger.is_complete() || std::mem::replace(&mut open.joining, true) {
            return Ok(());
        }
        let (site, run, plan) = (self.site.clone(), open.run.clone(), open.plan.clone());
        let (places, stopping) = (self.places.clone(), self.stopping.clone());
        self.announce(&self.open[job], State::Joining, None).await?;
        self.joins.spawn(async move {
            let _place = places.acquire_owned().await;
            let result = join(&site, &run, &plan, stopping).await;
            JoinEnd { job: run.job.job.clone(), run: run.run, result }
        });
        Ok(())
    }

    /// Waits for the next join to end; for ever if there is none. Cancel-safe.
    pub async fn joined(&mut self) -> Result<JoinEnd, tokio::task::JoinError> {
        match self.joins.join_next().await {
            Some(joined) => joined,
            None => std::future::pending().await,
        }
    }

    /// Ends the run whose join has ended.
    pub async fn close(&mut self, joined: Result<JoinEnd, tokio::task::JoinError>) -> Result<(), SiteError> {
        let JoinEnd { job, run, result } = joined?;
        let Some(open) = self.open.get_mut(&job).filter(|open| open.run.run == run) else { return Ok(()) };
        match result {
            Ok(joined) => {
                open.ledger.spend(&joined.seconds);
                open.frames_without_face = joined.frames_without_face;
                self.end(&job, State::Done, None, Some(joined.output), joined.warnings).await
            }
            Err(JoinError::Stopped) => Ok(()),
            Err(JoinError::Site(error)) if error.kind() != Kind::Poison => Err(error),
            Err(error) if error.kind() != Kind::Poison => Err(SiteError::Work(error.to_string())),
            Err(failed) => self.end(&job, State::Failed, Some(failed.to_string()), None, Vec::new()).await,
        }
    }

    async fn end(
        &mut self,
        job: &JobId,
        state: State,
        reason: Option<String>,
        output: Option<Output>,
        mut warnings: Vec<String>,
    ) -> Result<(), SiteError> {
        let Some(open) = self.open.remove(job) else { return Ok(()) };
        let mut totals = open.ledger.totals().clone();
        totals.frames_without_face = open.frames_without_face.max(totals.frames_without_face);
        let mut all = open.plan.warnings.clone();
        all.append(&mut warnings);
        let manifest = Manifest {
            v: VERSION,
            job: job.clone(),
            run: open.run.run,
            content: open.run.job.digest(),
            submission: open.submission.clone(),
            state,
            reason,
            refused: false,
            output,
            totals,
            warnings: all,
            labels: open.run.job.labels.clone(),
        };
        finish(&self.site, manifest).await
    }

    /// A run that had its manifest, but not yet the news of it, when its assembler ended.
    async fn put_away(&self, manifest: &Manifest) -> Result<(), SiteError> {
        info!(job = %manifest.job, run = manifest.run, "the run had ended; telling so");
        self.site.announce(&Status::of(manifest, false)).await?;
        let partition = partition_of(&manifest.job, self.site.job_partitions);
        Ok(self.site.store.delete(&keys::open(partition, &manifest.job), None).await?)
    }

    async fn announce(&self, open: &OpenJob, state: State, chunk: Option<StatusChunk>) -> Result<(), SiteError> {
        let status = Status {
            totals: open.ledger.totals().clone(),
            chunk,
            warnings: open.plan.warnings.clone(),
            ..Status::new(open.run.job.job.clone(), open.run.run, state)
        };
        self.site.announce(&status).await
    }

    /// Stops the joins; what they had not finished is begun anew by the next owner.
    pub async fn stop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.joins.shutdown().await;
    }
}
