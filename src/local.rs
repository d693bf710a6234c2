//! All roles in one process: the same code as on a cluster, over a broker inside the process and a store in a folder.
//!
//! The broker keeps nothing; what a killed run has finished is in the folder, and the next run finds it there.

mod cache;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::topics::TopicSpec;
use crate::broker::{EmbeddedBroker, News, Outgoing, Producer, Reader, StartAt};
use crate::contract::{Job, Status, topics};
use crate::credentials::Credentials;
use crate::ingest;
use crate::site::{Retention, Scratch, Site, SiteError, patient};
use crate::store::{self, Limits, Location, Locations, StoreConfig};
use crate::toolchain;
use crate::worker::{self, Meter};
use crate::{assemble, audit, contract};
use cache::DataDir;
pub use cache::{AUDIT, DataDirError};

/// Partitions of every topic of the embedded broker: one consumer each, so a few are enough to spread a job.
const PARTITIONS: i32 = 8;

/// How long a disk may be full or a place away: somebody sits and waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon a job that stands still is looked after: nothing else is queued here.
const REPAIR_AFTER: Duration = Duration::from_secs(10);

/// How a job is run on this machine.
pub struct Settings {
    /// Where slices, results and jobs are kept from one run to the next.
    pub data_dir: PathBuf,
    /// Ingest.
    pub ingest: ingest::Settings,
    /// Lanes at work at once.
    pub lanes: usize,
    /// How each lane works.
    pub lane: worker::LaneSettings,
    /// With whose signature the output is signed; none: it is not.
    pub credentials: Option<Credentials>,
}

/// Why a job could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The data folder.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A role.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A role has ended before the job had.
    #[error("{0} has stopped unexpectedly")]
    RoleEnded(&'static str),
    /// The user has stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl From<crate::broker::BrokerError> for LocalError {
    fn from(error: crate::broker::BrokerError) -> Self {
        SiteError::from(error).into()
    }
}

impl From<crate::store::StoreError> for LocalError {
    fn from(error: crate::store::StoreError) -> Self {
        SiteError::from(error).into()
    }
}

/// What the user is shown while a job runs.
pub enum Update<'a> {
    /// News of the job.
    Status(&'a Status),
    /// Time has passed; so many frames have left the lanes since the start.
    Tick {
        /// Frames encoded, settled or not.
        encoded: u64,
    },
}

/// Runs `job` through all roles; `show` is told of every step and ten times a second. Returns the final status.
pub async fn run(
    job: &Job,
    settings: Settings,
    stop: CancellationToken,
    show: &mut (dyn FnMut(Update<'_>) + Send),
) -> Result<Status, LocalError> {
    let data_dir = DataDir::open(&settings.data_dir)?;
    let specs = TopicSpec::builtin()?;
    let embedded = EmbeddedBroker::start(&specs, Some(PARTITIONS))?;
    let broker = embedded.config("facemill");
    let producer = Producer::start(&broker)?;
    let store_config = StoreConfig::default();
    let store = store::open(&file_url(&data_dir.store()), &store_config).await?;
    let limits = Limits { roots: vec![PathBuf::from("/")], buckets: Vec::new() };
    let site = Site {
        store: patient(store, PATIENCE),
        locations: Arc::new(Locations::new(limits, store_config).with_patience(PATIENCE)),
        broker,
        producer,
        job_partitions: PARTITIONS,
        chunk_partitions: PARTITIONS,
        scratch: Scratch::open(&data_dir.scratch()).map_err(SiteError::from)?,
        patience: PATIENCE,
        // The data folder has a cap and no gc; nothing is ever too old.
        retention: Retention { keep: Duration::MAX, longest_job: Duration::ZERO },
        audit_file: Some(data_dir.audit()),
    };
    // All roles are one process here: what would stop one is found before the others begin.
    audit::ensure_file_writable(&site)?;

    // Roles end before the broker does: they leave their groups through it.
    let role_stop = stop.child_token();
    let mut roles = JoinSet::new();
    let meter = Arc::new(Meter::default());
    spawn_roles(&mut roles, &site, &settings, &meter, &role_stop);
    let outcome = follow(&site, job, &meter, &mut roles, &stop, show).await;
    role_stop.cancel();
    while roles.join_next().await.is_some() {}
    drop(embedded);
    outcome
}

fn spawn_roles(
    roles: &mut JoinSet<(&'static str, Result<(), SiteError>)>,
    site: &Site,
    settings: &Settings,
    meter: &Arc<Meter>,
    stop: &CancellationToken,
) {
    let ingest = ingest::run(site.clone(), settings.ingest.clone(), stop.clone());
    roles.spawn(async move { ("ingest", ingest.await) });

    let group = toolchain::group(&settings.ingest.catalog, &settings.ingest.provider);
    // Who presses Ctrl-C does not want to wait; the next run goes on from the last whole chunk.
    let grace = Duration::ZERO;
    let worker = worker::Settings { group, lanes: settings.lanes, lane: settings.lane.clone(), grace };
    let worker = worker::run(site.clone(), worker, meter.clone(), stop.clone());
    roles.spawn(async move { ("worker", worker.await) });

    let credentials = settings.credentials.clone();
    let assemble = assemble::Settings { joins: 1, repair_after: REPAIR_AFTER, grace, credentials };
    let assemble = assemble::run(site.clone(), assemble, stop.clone());
    roles.spawn(async move { ("assembler", assemble.await) });
}

/// Publishes the job and follows it to its end.
async fn follow(
    site: &Site,
    job: &Job,
    meter: &Meter,
    roles: &mut JoinSet<(&'static str, Result<(), SiteError>)>,
    stop: &CancellationToken,
    show: &mut (dyn FnMut(Update<'_>) + Send),
) -> Result<Status, LocalError> {
    let mut news = Reader::<Status>::start(&site.broker, topics::STATUS, StartAt::Beginning).await?;
    publish(&site.producer, job, contract::partition_of(&job.job, site.job_partitions)).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        // Cancel-safe: every branch waits on a channel or a timer.
        let status = tokio::select! {
            () = stop.cancelled() => return Err(LocalError::Interrupted),
            _ = tick.tick() => {
                show(Update::Tick { encoded: meter.frames() });
                continue;
            }
            Some(ended) = roles.join_next() => {
                let (role, ended) = ended.map_err(SiteError::from)?;
                ended?;
                return Err(LocalError::RoleEnded(role));
            }
            status = news.next() => match status {
                Some(Ok(News::Record(delivery))) => delivery.record,
                Some(Ok(News::CaughtUp)) => continue,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(LocalError::RoleEnded("status reader")),
            },
        };
        let Ok(status) = status else { continue };
        if status.job != job.job {
            continue;
        }
        show(Update::Status(&status));
        if status.state.is_final() {
            return Ok(status);
        }
    }
}

/// Publishes a job, as any producer would.
pub async fn publish(producer: &Producer, job: &Job, partition: i32) -> Result<(), crate::broker::BrokerError> {
    let (topic, key) = (topics::JOBS, Some(job.job.as_str()));
    producer.send(Outgoing { topic, key, partition: Some(partition), headers: &[], value: job }).await?;
    Ok(())
}

/// An absolute path as a location.
pub fn file_url(path: &Path) -> String {
    Location::File(path.to_owned()).to_string()
}
