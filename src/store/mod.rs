//! Objects by key, created once: in a folder or in S3.
//!
//! The only user of `aws-sdk-s3`. Two things live here:
//!
//! - [`ObjectStore`]: the project's own objects under one prefix, in [`FsStore`] (a folder, also NFS) or [`S3Store`].
//! - [`Locations`]: files that jobs name (`file:///…`, `s3://bucket/key`), within configured limits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

mod bucket;
mod connect;
mod error;
mod fs;
mod key;
mod location;
mod locations;
mod place;
mod probe;
mod s3;

pub use connect::{AccessKey, StoreConfig};
pub use error::{LocationError, StoreError};
pub use fs::FsStore;
pub use location::Location;
pub use locations::{Entry, EntryKind, Expected, Limits, Locations, entries_of};
pub use probe::probe;
pub use s3::S3Store;

/// What is put.
#[derive(Clone, Debug)]
pub enum Body {
    Bytes(Bytes),
    /// The content of a file, which must not change meanwhile. It is copied and left where it is.
    File(PathBuf),
}

/// Names one write, however often it is tried: the answer to a write can be lost, and who tries again must know its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt(String);

impl Attempt {
    /// A name that nobody else has.
    pub fn fresh() -> Self {
        Self(nonce())
    }
}

/// What [`ObjectStore::sweep`] has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Files, or uploads.
    pub objects: u64,
    /// As far as they are known: a service does not tell the size of an unfinished upload.
    pub bytes: u64,
}

/// Outcome of [`ObjectStore::put_new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was not there; it is now, as given.
    Created,
    /// It was there already and is as it was.
    Exists,
}

/// One state of an object, to be compared with another of the same object and nothing else: an ETag, or a file's time,
/// size and inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(pub(crate) String);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes.
    pub size: u64,
    pub version: Version,
    pub modified: SystemTime,
}

/// One object of a listing. Not all services list versions: [`ObjectStore::head`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// Bytes.
    pub size: u64,
    pub modified: SystemTime,
}

/// Objects by key. An object is there whole or not at all; what is put has reached the disk or the service.
///
/// Keys are `/`-separated, relative, of at most 900 bytes, without empty, `.`, `..` or `.tmp-…` segments; others are
/// [`StoreError::BadKey`]. A key must not be the folder of another (`a` and `a/b`).
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Puts an object unless the key is taken: of many who try, exactly one gets [`Put::Created`].
    async fn put_new(&self, key: &str, body: Body) -> Result<Put, StoreError> {
        self.put_new_as(key, body, &Attempt::fresh()).await
    }

    /// [`ObjectStore::put_new`] for callers that try again by themselves: with the same `attempt` an object that an earlier
    /// try has put is [`Put::Created`].
    async fn put_new_as(&self, key: &str, body: Body, attempt: &Attempt) -> Result<Put, StoreError>;

    /// Puts an object over what is there. With `expected`, only over that version ([`StoreError::Changed`] otherwise,
    /// also where nothing is there).
    async fn replace(&self, key: &str, body: Body, expected: Option<&Version>) -> Result<Version, StoreError> {
        self.replace_as(key, body, expected, &Attempt::fresh()).await
    }

    /// [`ObjectStore::replace`] for callers that try again by themselves.
    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        attempt: &Attempt,
    ) -> Result<Version, StoreError>;

    /// Reads an object of at most `max` bytes into memory ([`StoreError::TooLarge`] otherwise).
    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError>;

    /// Makes the object a file at `to`, whole or not at all, over what was there. The file is only to be read: with
    /// [`FsStore`] it may be the object itself. Returns its size in bytes.
    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError>;

    /// Reads the last `bytes` bytes of an object, or all of a shorter one.
    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError>;

    /// `None` where there is no such object.
    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError>;

    /// All objects whose keys begin with `prefix` (any text, not only whole segments), by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;

    /// The first objects of that listing whose keys come after `after` (empty: from the beginning): some thousands, and none
    /// only at its end. For listings that may be too long for memory.
    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError>;

    /// Deletes an object, with `if_version` only that version of it. Deleting what is not there is done already.
    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError>;

    /// Removes what writers that died have left of puts which they began before `before`: temporary files and empty folders,
    /// or unfinished uploads. Without `delete` it only counts them.
    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError>;
}

/// Opens `file:///folder` or `s3://bucket/prefix`. A missing folder is created, in one that is there.
///
/// # Errors
/// [`StoreError::Refused`] for another kind of URL or a folder that cannot be made. An S3 service is not asked yet: see
/// [`probe`].
pub async fn open(url: &str, config: &StoreConfig) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let refused = |reason: String| StoreError::Refused { doing: "open store", key: url.to_owned(), reason };
    match Location::parse(&format!("{}/", url.trim_end_matches('/'))).map_err(|error| refused(error.to_string()))? {
        Location::File(folder) => Ok(Arc::new(FsStore::open(&folder).await?)),
        Location::S3 { bucket, key } => {
            let prefix = key.trim_matches('/');
            if !prefix.is_empty() {
                key::validate(prefix).map_err(|error| refused(error.to_string()))?;
            }
            Ok(Arc::new(S3Store::new(connect::connect(config).await, &bucket, prefix)))
        }
    }
}

/// 128 bits that nobody else has: a name for one attempt.
fn nonce() -> String {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState has fresh keys of the process's random seed; the time and process id set processes apart anyway.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let halves = [0, 1].map(|half| RandomState::new().hash_one((half, now, std::process::id())));
    format!("{:016x}{:016x}", halves[0], halves[1])
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
