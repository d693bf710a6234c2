//! Ingest: a job becomes chunks. Accept it, read its clip and photos, plan, then cut and publish, each chunk as soon as its slice is up.
//!
//! Everything that can be refused is refused before a chunk is published, so before work is spent.

mod accept;
mod clip;
mod counted;
mod faces;
mod folder;
mod gate;
mod looks;
mod outstanding;
mod publish;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod turns;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span, warn};

use crate::broker::{Consumer, Delivery, Event, Options};
use crate::contract::{
    ConsentPolicy, Decisions, Digest, Job, JobEvent, JobId, Plan, Run, StageSeconds, State, Status, Swapper, Toolchain,
    VERSION, Video, keys, partition_of, topics,
};
use crate::crash;
use crate::dead_letters::Reason;
use crate::error::{Classify, Kind, Refusal};
use crate::media;
use crate::site::{Site, SiteError};
use crate::store::Location;
use crate::telemetry;
use crate::toolchain;
use crate::vision::{self, Catalog};
use accept::{Acceptance, Submission};
pub use accept::{Ended, REPAIR, SUBMITTED, last_ended};
pub use clip::{check_pixels, choose_encoder, cut_rule, planned};
use counted::Counted;
use faces::{Analyst, Sight};
pub use folder::{FILES_MAX, Survey, Wanted, digest_of, few};
use gate::Judged;
pub use gate::{Gate, GateMode};
use outstanding::Outstanding;
use turns::{Held, Turn, Turns, Work};

/// How soon a record looks again whether its job's turn is over.
const TURN_AGAIN: Duration = Duration::from_millis(100);

/// How an ingest node works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Jobs in work at once.
    pub jobs: usize,
    /// Chunks of one job that may be published and not yet settled.
    pub outstanding_chunks: u32,
    /// The networks that are here.
    pub catalog: Arc<Catalog>,
    /// What judges pictures before work is spent on them.
    pub gate: Gate,
    /// What becomes of the consent that jobs carry.
    pub consent: ConsentPolicy,
    /// Execution providers named in the toolchain of every job, e.g. `cpu`: [`crate::vision::Providers::identity`].
    pub provider: String,
    /// What a clip may be at most.
    pub limits: media::Limits,
    /// Which encoders in hardware may be chosen.
    pub hardware: media::HardwareEncoders,
}

/// Why a job is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Its input is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its id belongs to a job with other content.
    #[error("job {job} is another job already: content {found}, expected {expected}; choose another id")]
    OtherContent {
        /// The id.
        job: JobId,
        /// Content of the job that was first.
        expected: Digest,
        /// Content of this one.
        found: Digest,
    },
    /// Something that does not depend on the job.
    #[error(transparent)]
    Site(#[from] SiteError),
}

impl IngestError {
    /// Its name in a dead letter.
    fn name(&self) -> &'static str {
        match self {
            Self::Refused(_) => "Refused",
            Self::OtherContent { .. } => "OtherContent",
            Self::Site(_) => "Site",
        }
    }
}

impl Classify for IngestError {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) | Self::OtherContent { .. } => Kind::Poison,
            Self::Site(error) => error.kind(),
        }
    }
}

/// Takes jobs in until `stop`.
pub async fn run(site: Site, settings: Settings, stop: CancellationToken) -> Result<(), SiteError> {
    let options = Options { in_flight: settings.jobs };
    let mut jobs = Consumer::<Job>::start(&site.broker, topics::INGEST_GROUP, topics::JOBS, options)?;
    let outstanding = Outstanding::follow(&site, settings.outstanding_chunks).await?;
    let node = Arc::new(Node {
        analyst: Analyst::new(settings.gate.clone()),
        looks: Counted::new(settings.jobs),
        site,
        settings,
        outstanding,
        turns: Turns::default(),
    });
    let mut tasks = JoinSet::new();
    let mut tick = tokio::time::interval(telemetry::LOOK_EVERY);
    let ended = loop {
        // Cancel-safe: `next`, `join_next` and `tick` lose nothing when another branch wins.
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = tick.tick() => telemetry::consumer_lag(telemetry::Topic::Jobs, jobs.lag()),
            Some(task) = tasks.join_next() => if let Err(error) = task.map_err(SiteError::from).flatten() {
                break Err(error);
            },
            event = jobs.next() => match event {
                Some(Ok(Event::Record(delivery))) => {
                    let node = node.clone();
                    tasks.spawn(async move { node.take(delivery).await });
                }
                Some(Ok(Event::Assigned(_) | Event::Revoked(_))) => {}
                Some(Err(error)) => break Err(error.into()),
                None => break Err(SiteError::Work("the consumer of topic jobs has ended".to_owned())),
            },
        }
    };
    tasks.shutdown().await;
    node.looks.end_all(&node.site).await;
    jobs.close().await;
    ended
}

/// One ingest node.
struct Node {
    site: Site,
    settings: Settings,
    analyst: Analyst,
    outstanding: Outstanding,
    turns: Turns,
    /// What is looked into in this process now.
    looks: Counted,
}

impl Node {
    /// One record: its job is taken in or refused; then, and only then, its offset may be committed.
    async fn take(&self, delivery: Delivery<Job>) -> Result<(), SiteError> {
        crash::point("ingest.received");
        match &delivery.record {
            Ok(job) => {
                let span = info_span!("job", job = %job.job);
                async {
                    loop {
                        let lease = delivery.claim.lease();
                        match self.turns.take(&job.job, move || lease.is_live()) {
                            Turn::Ours(turn) => return self.ingest(&delivery, job, &turn).await,
                            Turn::Taken(work) if self.join_in(&delivery, job, &work).await? => return Ok(()),
                            // Its run is about to be marked open; or has ended, and whoever does it is about to hear so; or its record
                            // is no longer ours, and this one does what is left then.
                            Turn::Taken(_) => tokio::time::sleep(TURN_AGAIN).await,
                        }
                    }
                }
                .instrument(span)
                .await?;
            }
            Err(malformed) => self.bury(&delivery, "Malformed", &malformed.to_string()).await?,
        }
        delivery.claim.finish();
        crash::point("ingest.finished");
        Ok(())
    }

    async fn bury(&self, delivery: &Delivery<Job>, error: &str, reason: &str) -> Result<(), SiteError> {
        warn!(key = delivery.key, partition = delivery.partition, offset = delivery.offset, reason, "job refused");
        self.site.bury(delivery, Reason::new("ingest", module_path!(), error, reason)).await
    }

    /// Another record of a job that is in work here: the same job, which is being done; or asking for what is missing of it.
    /// `false` if the run in work is not open (yet, or any more), or if no offset waits for the work any more.
    async fn join_in(&self, delivery: &Delivery<Job>, job: &Job, work: &Work) -> Result<bool, SiteError> {
        match accept::bind(&self.site, job).await {
            Ok(()) => {}
            Err(IngestError::Site(error)) if error.kind() != Kind::Poison => return Err(error),
            Err(refused) => {
                self.bury(delivery, refused.name(), &refused.to_string()).await?;
                return Ok(true);
            }
        }
        if !work.is_ours() {
            return Ok(false);
        }
        let submission = Submission::of(delivery);
        if submission.repair.is_some() {
            work.ask_again();
            return Ok(true);
        }
        let is_the_same = accept::join(&self.site, &job.job, work.run(), &submission).await?;
        Ok(is_the_same && work.is_ours())
    }

    async fn ingest(&self, delivery: &Delivery<Job>, job: &Job, turn: &Held) -> Result<(), SiteError> {
        let submission = Submission::of(delivery);
        let accepted = match accept::accept(&self.site, job, &submission).await {
            Ok(accepted) => accepted,
            Err(IngestError::Site(error)) if error.kind() != Kind::Poison => return Err(error),
            Err(refused) => return self.turn_away(delivery, job, submission, refused).await,
        };
        let run = match accepted {
            Acceptance::Finished { run } => {
                info!(run, "submitted again; it has ended already");
                return self.site.tell(&JobEvent::Accepted { job: job.job.clone(), run }).await;
            }
            Acceptance::Outdated => {
                info!("asked to make something again for a run that has ended");
                return Ok(());
            }
            Acceptance::Cancelled { at } => {
                info!("called off before it was taken in");
                return self.site.tell(&JobEvent::Cancel { job: job.job.clone(), at: Some(at) }).await;
            }
            Acceptance::Open { run } => run,
        };
        self.outstanding.begin(&job.job, run);
        // Cancel-safe: what is not published then is not wanted any more; files in work are removed with their folder.
        let mut judged;
        let planned = loop {
            judged = Judged::by(&self.settings.gate);
            turn.plans(run);
            tokio::select! {
                // The assembler tells the end once more, so that it is the last word, whatever was said of the plan meanwhile. If this was
                // submitted after that, the marker has said so, and the assembler publishes it again.
                () = self.outstanding.ended(&job.job) => {
                    break self.site.tell(&JobEvent::Accepted { job: job.job.clone(), run }).await.map_err(IngestError::from);
                }
                // Everything that is there is found; what is missing is made, and all is published again.
                () = turn.asked_again() => info!(run, "something has been lost meanwhile; beginning anew"),
                planned = self.plan_and_publish(job, run, &judged, turn) => break planned,
            }
        };
        self.outstanding.end(&job.job);
        let is_look_over = match &planned {
            Err(IngestError::Site(SiteError::Task(_))) => {
                // A panic: it would end the next node as well.
                self.looks.leave(&job.job);
                false
            }
            // This node ends, and takes back what it has begun.
            Err(IngestError::Site(error)) => error.kind() == Kind::Poison,
            _ => true,
        };
        if is_look_over {
            self.looks.end(&self.site, &job.job).await?;
        }
        let refusal = match planned {
            Ok(()) => return Ok(()),
            Err(IngestError::Refused(refusal)) => refusal,
            Err(IngestError::Site(error)) if error.kind() == Kind::Poison => spoilt(&error),
            Err(IngestError::Site(error)) => return Err(error),
            Err(error @ IngestError::OtherContent { .. }) => spoilt(&error),
        };
        // Before the news of it: once the run has failed, nobody would look at this record again.
        self.bury(delivery, "Refused", &refusal.to_string()).await?;
        let (job, content, decisions) = (job.job.clone(), job.digest(), self.decisions(&judged));
        self.site.tell(&JobEvent::Refused { job, run, content, submission: submission.id, refusal, decisions }).await
    }

    /// What the operator's rules have said so far.
    fn decisions(&self, judged: &Judged) -> Decisions {
        Decisions { consent: self.settings.consent, gate: judged.decision() }
    }

    /// A job that cannot be taken in. One that is open, or was another job first, goes on as if nothing had been asked.
    async fn turn_away(
        &self,
        delivery: &Delivery<Job>,
        job: &Job,
        submission: Submission,
        refused: IngestError,
    ) -> Result<(), SiteError> {
        self.bury(delivery, refused.name(), &refused.to_string()).await?;
        let is_open =
            self.site.store.head(&keys::open(partition_of(&job.job, self.site.job_partitions), &job.job)).await?;
        if matches!(refused, IngestError::OtherContent { .. }) || is_open.is_some() {
            return Ok(());
        }
        let run = match accept::last_ended(&self.site, &job.job).await? {
            None => 1,
            // The very record, delivered again.
            Some(Ended { manifest: Some(ended), .. }) if ended.submission == submission.id => return Ok(()),
            Some(ended) => ended.run + 1,
        };
        let refusal = match refused {
            IngestError::Refused(refusal) => refusal,
            spoilt => {
                let expected = "an id whose objects in the store are whole: submit it under another id";
                Refusal::new("job", spoilt.to_string(), expected)
            }
        };
        let decisions = Decisions { consent: self.settings.consent, gate: None };
        let (job, content) = (job.job.clone(), job.digest());
        self.site.tell(&JobEvent::Refused { job, run, content, submission: submission.id, refusal, decisions }).await
    }

    /// Reads the target through. What reads pictures in this process is counted; a file is only fetched before that.
    async fn plan(
        &self,
        (job, run): (&Job, u32),
        scratch: &Path,
        seconds: &mut StageSeconds,
    ) -> Result<Planned, IngestError> {
        let limits = &self.settings.limits;
        if job.is_folder() {
            self.looks.begin(&self.site, &job.job, run).await?;
            let planning = folder::plan(&self.site, job, scratch, limits);
            let (plan, warnings) = timed(seconds, telemetry::Stage::Probe, planning).await?;
            return Ok(Planned { target: Target::Folder(folder::target(job)?), plan, warnings });
        }
        let target = timed(seconds, telemetry::Stage::Fetch, clip::fetch(&self.site, job, scratch)).await?;
        self.looks.begin(&self.site, &job.job, run).await?;
        let plan = timed(seconds, telemetry::Stage::Probe, clip::plan(&self.site, job, &target, limits)).await?;
        Ok(Planned { target: Target::File(target.path), plan, warnings: Vec::new() })
    }

    /// Refuses a job that must carry consent and does not.
    fn check_consent(&self, job: &Job) -> Result<(), Refusal> {
        if self.settings.consent != ConsentPolicy::Required || !job.lacks_consent() {
            return Ok(());
        }
        let expected = "whose face it is, and on what ground it may be used: subject, basis, reference, date (the operator of this \
                        installation requires it)";
        Err(Refusal::new("consent", "none", expected))
    }

    async fn plan_and_publish(&self, job: &Job, run: u32, judged: &Judged, turn: &Held) -> Result<(), IngestError> {
        let mut seconds = StageSeconds::new();
        job.validate()?;
        self.check_consent(job)?;
        let output_before = accept::check_output(&self.site, job).await?;
        let sidecar_before = accept::sidecar_before(&self.site, job).await?;
        self.site.announce(&Status::new(job.job.clone(), run, State::Planning)).await?;

        let scratch = self.site.scratch("ingest")?;
        let Planned { target, plan, mut warnings } = self.plan((job, run), scratch.path(), &mut seconds).await?;
        let looked_at = job.looks_at_frames();
        clip::check_pixels(&plan, looked_at)?;
        clip::check_larger(&plan, &job.swap, &self.settings.catalog, &self.settings.limits)?;
        let chosen = clip::choose_encoder(&job.video, &job.output, &plan, looked_at, &self.settings.hardware)?;
        chosen.warning.iter().for_each(|warning| warn!(warning, "the output is not quite what was asked for"));
        crash::point("ingest.planned");
        let toolchain: Toolchain = toolchain::of(job, &chosen.name, &self.settings.provider, &self.settings.catalog)?;
        warnings.extend(chosen.warning);
        warnings.extend(clip::smaller_label(job, &plan));
        let (portraits, people, reference) = timed(&mut seconds, telemetry::Stage::Analyse, async {
            if job.swap.swapper == Swapper::None {
                return Ok::<_, IngestError>((Vec::new(), Vec::new(), None));
            }
            let sight = Sight { site: &self.site, scratch: scratch.path(), judged };
            let people = self.analyst.check_people(job, &sight).await?;
            let portraits = self.analyst.check_portraits(job, &sight);
            let look = faces::Look { plan: &plan, target: &target, scratch: scratch.path(), toolchain: &toolchain };
            if let Some(scores) = self.settings.gate.judge_clip(&self.site, &plan, &target, scratch.path()).await? {
                judged.clip(scores);
                gate::check_clip(&scores, plan.clip.is_folder())?;
            }
            // Of several people nobody knows whose usual look it would be.
            let has_look = job.swap.swapper == Swapper::Mesh && people.is_empty();
            let (portraits, reference) = match has_look {
                true => tokio::try_join!(portraits, self.analyst.reference(&self.site, look))?,
                false => (portraits.await?, None),
            };
            Ok((portraits, people, reference))
        })
        .await?;
        self.looks.end(&self.site, &job.job).await?;

        let run = Run {
            v: VERSION,
            job: job.clone(),
            run,
            clip: plan.source,
            rule: plan.rule.clone(),
            portraits,
            people,
            reference,
            group: toolchain::group(&self.settings.catalog, &self.settings.provider),
            toolchain,
            video: Some(Video { encoder: chosen.name, ..job.video.clone() }).filter(|video| *video != job.video),
            warnings,
            digital_source_type: vision::provenance::digital_source_type(&job.swap, &self.settings.catalog),
            decisions: self.decisions(judged),
            output_before,
            sidecar_before,
            outputs_before: folder::outputs_before(&self.site, job, &plan).await?,
            seconds,
            accepted_at: unix_seconds(),
        };
        // A run that was accepted before a crash keeps its first acceptance: what is published for it names the same results.
        let key = keys::run(&job.job, run.run);
        self.site.put_json(&key, &run).await?;
        let run: Run = self.site.read_json(&key).await?.unwrap_or(run);
        if run.clip != plan.source {
            let found = "another content than when this run was accepted";
            return Err(Refusal::new("target", found, "the same file until the job has ended: submit it again").into());
        }
        let plan = match run.rule == plan.rule {
            true => plan,
            // Accepted by another version, which cut it otherwise.
            false => self.site.read_json(&keys::plan(&run.clip, &run.rule.id())).await?.ok_or_else(|| {
                Refusal::new("target", "the plan of this run is gone", "a plan that is kept: submit the job again")
            })?,
        };
        crash::point("ingest.run.put");
        turn.publishes();
        self.site.tell(&JobEvent::Accepted { job: job.job.clone(), run: run.run }).await?;
        telemetry::job(telemetry::JobOutcome::Accepted);
        crash::point("ingest.accepted");
        info!(run = run.run, frames = plan.clip.frames(), chunks = plan.chunks.len(), "job accepted");

        let started = Instant::now();
        publish::cut_and_publish(&self.site, &self.outstanding, &run, &plan, &target, scratch.path()).await?;
        crash::point("ingest.published");
        let seconds =
            StageSeconds::from([(telemetry::Stage::Slice.as_str().to_owned(), started.elapsed().as_secs_f64())]);
        telemetry::stage(telemetry::Stage::Slice, started.elapsed());
        Ok(self.site.tell(&JobEvent::Published { job: job.job.clone(), run: run.run, seconds }).await?)
    }
}

/// What is cut.
pub(crate) enum Target {
    /// A file on this machine.
    File(PathBuf),
    /// Stills, which are brought to this machine one by one.
    Folder(Location),
}

/// A target that has been read through.
struct Planned {
    target: Target,
    plan: Plan,
    warnings: Vec<String>,
}

/// An object of ours that is not what it should be; what is missing then is made again for the next submission.
fn spoilt(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("job", error.to_string(), "whole objects in the store: submit the job again")
}

/// Adds the time that `work` takes to its stage.
async fn timed<T>(seconds: &mut StageSeconds, stage: telemetry::Stage, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let result = work.await;
    telemetry::stage(stage, started.elapsed());
    *seconds.entry(stage.as_str().to_owned()).or_default() += started.elapsed().as_secs_f64();
    result
}

fn unix_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
