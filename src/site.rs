//! What every role works with: the broker, the store, the places that jobs name, and scratch space.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::{BrokerConfig, BrokerError, Delivery, Outgoing, Producer};
use crate::contract::{ChunkRecord, Digest, JobEvent, JobId, Status, keys, partition_of, topics};
use crate::dead_letters::{DeadLetter, Reason};
use crate::error::{Classify, Kind};
use crate::retry::retry;
use crate::seal;
use crate::store::{Body, LocationError, Locations, ObjectStore, Put, StoreError, Version};

mod keep;
mod layout;
mod metered;
mod news;
mod patient;
mod scratch;
#[cfg(test)]
pub mod testing;

pub use keep::{CheckError, Retention};
pub use layout::{LayoutError, job_partitions, laid_out};
pub use metered::Metered;
pub use news::Following;
pub use patient::Patient;
pub use scratch::Scratch;

/// Largest JSON object that is read, bytes: the plan of a clip of ten hours at 60 frames per second is half of it.
const JSON_MAX: u64 = 64 << 20;
/// Largest photo or reference look that is read, bytes.
const BLOB_MAX: u64 = 64 << 20;

/// How roles are given a store: each try is counted, and the store may be away for `patience`.
pub fn patient(store: Arc<dyn ObjectStore>, patience: Duration) -> Arc<dyn ObjectStore> {
    Arc::new(Patient { store: Arc::new(Metered(store)), patience })
}

/// What every role works with. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    /// The object store: the truth.
    pub store: Arc<dyn ObjectStore>,
    /// Where jobs may read and write.
    pub locations: Arc<Locations>,
    /// The broker: moves the work and the news.
    pub broker: BrokerConfig,
    /// Publishes records.
    pub producer: Producer,
    /// Partitions of `jobs`, `completions` and `status`, by which jobs are spread.
    pub job_partitions: i32,
    /// Partitions of `chunks`.
    pub chunk_partitions: i32,
    /// For files in work.
    pub scratch: Scratch,
    /// How long the broker may be away; store and locations have their own.
    pub patience: Duration,
    /// How long objects are kept.
    pub retention: Retention,
    /// Where the audit is kept beside its topic, if the broker keeps nothing.
    pub audit_file: Option<PathBuf>,
}

/// Why a role could not do something that does not depend on the job.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A place that a job names.
    #[error(transparent)]
    Location(LocationError),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Scratch space.
    #[error("scratch folder: {0}")]
    Scratch(#[from] std::io::Error),
    /// The networks cannot be run on this machine.
    #[error(transparent)]
    Vision(crate::vision::VisionError),
    /// Work that this process cannot do, whatever the job.
    #[error("{0}")]
    Work(String),
    /// An object of ours is not what it should be.
    #[error("object {key} is not valid: {error}")]
    BadObject {
        /// Its key.
        key: String,
        /// What is wrong with it.
        error: String,
    },
    /// A task of ours has panicked.
    #[error("a task has ended without a result: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Classify for SiteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Location(error) => error.kind(),
            Self::Broker(error) => error.kind(),
            Self::BadObject { .. } => Kind::Poison,
            Self::Scratch(_) | Self::Vision(_) | Self::Work(_) | Self::Task(_) => Kind::Fatal,
        }
    }
}

impl Site {
    /// Reads a JSON object and checks its digest; `None` if it is not there.
    pub async fn read_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SiteError> {
        let bytes = match self.store.get(key, JSON_MAX).await {
            Ok(bytes) => bytes,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let parsed = seal::from_json(&bytes);
        parsed.map(Some).map_err(|error| SiteError::BadObject { key: key.to_owned(), error })
    }

    /// Writes a JSON object if its key is free.
    pub async fn put_json<T: Serialize>(&self, key: &str, value: &T) -> Result<Put, SiteError> {
        Ok(self.store.put_new(key, json(key, value)?).await?)
    }

    /// Writes a JSON object over what is there: over that version and no other, where one is expected.
    pub async fn replace_json<T: Serialize>(
        &self,
        key: &str,
        value: &T,
        expected: Option<&Version>,
    ) -> Result<Version, SiteError> {
        Ok(self.store.replace(key, json(key, value)?, expected).await?)
    }

    /// Writes a blob under its digest; one that is there already is renewed if it is old.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<Digest, SiteError> {
        let digest = Digest::of(&bytes);
        let key = keys::blob(&digest);
        loop {
            let put = self.store.put_new(&key, Body::Bytes(bytes.clone())).await?;
            if put == Put::Created || self.ensure_fresh(&key).await? {
                return Ok(digest);
            }
        }
    }

    /// Reads a blob and checks its digest.
    pub async fn get_blob(&self, digest: &Digest) -> Result<Bytes, SiteError> {
        let key = keys::blob(digest);
        let bytes = self.store.get(&key, BLOB_MAX).await?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(SiteError::BadObject { key, error: format!("its sha256 is {found}") });
        }
        Ok(bytes)
    }

    /// Fetches an object to a file; returns the digest of what arrived.
    pub async fn fetch_digest(&self, key: &str, to: &Path) -> Result<Digest, SiteError> {
        self.store.fetch(key, to).await?;
        let path = to.to_owned();
        Ok(tokio::task::spawn_blocking(move || seal::digest_file(&path)).await??)
    }

    /// Publishes what happened to a job.
    pub async fn tell(&self, event: &JobEvent) -> Result<(), SiteError> {
        let job = event.job();
        self.send(topics::COMPLETIONS, job, partition_of(job, self.job_partitions), event).await
    }

    /// Publishes how far a job is.
    pub async fn announce(&self, status: &Status) -> Result<(), SiteError> {
        self.send(topics::STATUS, &status.job, partition_of(&status.job, self.job_partitions), status).await
    }

    /// Asks for a chunk. A job's chunks go to one partition after the other, so that all stay even.
    pub async fn order(&self, chunk: &ChunkRecord) -> Result<(), SiteError> {
        let partitions = self.chunk_partitions;
        let partition = (partition_of(&chunk.job, partitions) + chunk.index as i32) % partitions;
        self.send(topics::CHUNKS, &chunk.job, partition, chunk).await
    }

    /// Does `op` again while what it needs is away: for what goes past this type, such as records sent as bytes.
    pub async fn patiently<T, E, F>(&self, doing: &str, what: &str, op: impl FnMut() -> F) -> Result<T, E>
    where
        E: Classify + Display,
        F: Future<Output = Result<T, E>>,
    {
        retry(self.patience, doing, what, op).await
    }

    /// Keeps a record that cannot be done among the dead letters, with the reason.
    pub async fn bury<T>(&self, delivery: &Delivery<T>, reason: Reason) -> Result<(), SiteError> {
        let letter = DeadLetter::of(delivery, reason);
        self.patiently("publish to", topics::DEAD_LETTERS, || letter.send(&self.producer)).await?;
        Ok(())
    }

    /// Publishes a record keyed by job, and waits until it is durable.
    pub async fn send<T: Serialize>(
        &self,
        topic: &str,
        job: &JobId,
        partition: i32,
        value: &T,
    ) -> Result<(), SiteError> {
        let record = || Outgoing { topic, key: Some(job.as_str()), partition: Some(partition), headers: &[], value };
        self.patiently("publish to", topic, || self.producer.send(record())).await?;
        Ok(())
    }

    /// A fresh folder in scratch space, removed when dropped.
    pub fn scratch(&self, purpose: &str) -> Result<tempfile::TempDir, SiteError> {
        Ok(self.scratch.folder(purpose)?)
    }
}

fn json<T: Serialize>(key: &str, value: &T) -> Result<Body, SiteError> {
    let bytes = seal::to_json(value);
    let bytes = bytes.map_err(|error| SiteError::BadObject { key: key.to_owned(), error: error.to_string() })?;
    Ok(Body::Bytes(Bytes::from(bytes)))
}

/// Milliseconds since 1970.
pub fn unix_millis() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}
