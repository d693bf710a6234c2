//! Reading and writing the files that jobs name, within the limits that the configuration sets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::OnceCell;

use super::bucket::{Bucket, Condition};
use super::connect::{Service, connect};
use super::error::is_lasting;
use super::place::{
    Staged, is_absent, is_staged_for, is_staged_name, meta_of_output, place_new, place_over, place_over_version, stage,
};
use super::{Attempt, Body, Location, LocationError, Put, StoreConfig, StoreError, Version};
use crate::crash;
use crate::retry::retry;

mod list;

pub use list::{Entry, EntryKind, entries_of};

/// Who began to write an output so long ago has been killed.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// What jobs may name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Folders; `file://` locations must lie inside one of them, symbolic links followed. Empty: none is allowed.
    pub roots: Vec<PathBuf>,
    /// Buckets. Empty: every bucket that the credentials open.
    pub buckets: Vec<String>,
}

/// What must be at a location for [`Locations::put`] to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// What was there when [`Locations::version`] was asked.
    Version(Version),
    /// Whatever is there is replaced.
    Anything,
}

/// The files that jobs may name.
///
/// A place that is away is tried again until patience is over; then it is the job's own trouble ([`LocationError::Gone`]).
pub struct Locations {
    limits: Limits,
    store: StoreConfig,
    patience: Duration,
    service: OnceCell<Service>,
}

impl Locations {
    /// Speaks to no one yet. Without patience.
    pub fn new(limits: Limits, store: StoreConfig) -> Self {
        Self { limits, store, patience: Duration::ZERO, service: OnceCell::new() }
    }

    /// How long a place may be away.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where a `file://` location can be read in place; `None` for one in S3.
    ///
    /// # Errors
    /// Poison: no such file, not a file, outside the limits.
    pub async fn local_path(&self, location: &Location) -> Result<Option<PathBuf>, LocationError> {
        self.patiently("look at", location, || self.local_path_once(location)).await
    }

    async fn local_path_once(&self, location: &Location) -> Result<Option<PathBuf>, LocationError> {
        let Location::File(path) = location else { return Ok(None) };
        let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
        blocking(move || readable(&path, &roots, &location)).await.map(Some)
    }

    /// Copies a file to `to`, over what is there. Returns its size in bytes.
    ///
    /// # Errors
    /// As [`Locations::local_path`]; retry: the store is away.
    pub async fn fetch(&self, location: &Location, to: &Path) -> Result<u64, LocationError> {
        self.patiently("fetch", location, || self.fetch_once(location, to)).await
    }

    async fn fetch_once(&self, location: &Location, to: &Path) -> Result<u64, LocationError> {
        match location {
            Location::S3 { bucket, key } => {
                let fetched = self.bucket(bucket).await?.fetch(key, to).await;
                fetched.map_err(|error| LocationError::store(location, error))
            }
            Location::File(path) => {
                let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
                let to = to.to_owned();
                blocking(move || {
                    let from = readable(&path, &roots, &location)?;
                    copy(&from, &to)
                })
                .await
            }
        }
    }

    /// The version of what is there now; `None` where nothing is.
    ///
    /// # Errors
    /// Poison: outside the limits, or its folder does not exist.
    pub async fn version(&self, location: &Location) -> Result<Option<Version>, LocationError> {
        self.patiently("look at", location, || self.version_once(location)).await
    }

    async fn version_once(&self, location: &Location) -> Result<Option<Version>, LocationError> {
        match location {
            Location::S3 { bucket, key } => {
                let found = self.bucket(bucket).await?.head(key).await;
                Ok(found.map_err(|error| LocationError::store(location, error))?.map(|meta| meta.version))
            }
            Location::File(path) => {
                let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
                blocking(move || {
                    let target = writable(&path, &roots, &location)?;
                    let found =
                        meta_of_output(&target).map_err(|error| LocationError::io("look at", &target, error))?;
                    Ok(found.map(|meta| meta.version))
                })
                .await
            }
        }
    }

    /// Checks that a file could be put there, without putting it: for a `file://` location that its folder exists and
    /// takes a file, which is removed again; for S3 that the bucket answers. Creates no folder.
    ///
    /// # Errors
    /// Poison, naming the folder: missing, not a folder, not writable, outside the limits.
    pub async fn check_writable(&self, location: &Location) -> Result<(), LocationError> {
        self.patiently("check", location, || self.check_writable_once(location)).await
    }

    async fn check_writable_once(&self, location: &Location) -> Result<(), LocationError> {
        let Location::File(path) = location else { return self.version_once(location).await.map(drop) };
        let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
        blocking(move || {
            let target = writable(&path, &roots, &location)?;
            stage_beside(&target, &Body::Bytes(Default::default())).map(drop)
        })
        .await
    }

    /// Puts the content of the file `from` there in one step: others see what was there before, or all of it. Dropped before it has come
    /// to that step it does not come to it any more, as far as that is in our hands: a request may be on its way.
    ///
    /// # Errors
    /// [`LocationError::Changed`] where something else than `expected` is there; otherwise as
    /// [`Locations::check_writable`].
    pub async fn put(&self, location: &Location, from: &Path, expected: Expected) -> Result<(), LocationError> {
        let (body, attempt) = (Body::File(from.to_owned()), Attempt::fresh());
        self.patiently("write", location, || self.put_once(location, &body, &expected, &attempt)).await
    }

    async fn put_once(
        &self,
        location: &Location,
        body: &Body,
        expected: &Expected,
        attempt: &Attempt,
    ) -> Result<(), LocationError> {
        match location {
            Location::S3 { bucket, key } => {
                let condition = match expected {
                    Expected::Absent => Condition::Absent,
                    Expected::Version(version) => Condition::Version(version),
                    Expected::Anything => Condition::None,
                };
                let bucket = self.bucket(bucket).await?;
                let begun = SystemTime::now();
                let put = bucket.put(key, body, condition, attempt).await;
                let stands_since = match &put {
                    Ok(_) => Some(begun),
                    Err(StoreError::Changed { .. }) => {
                        bucket.head(key).await.ok().flatten().map(|there| there.modified)
                    }
                    Err(_) => None,
                };
                // Whoever began to upload this very object before that has been killed, or comes too late: its condition does not hold any more.
                if let Some(stands_since) = stands_since {
                    bucket.abort_uploads_of(key, stands_since).await;
                }
                put.map(drop).map_err(|error| LocationError::store(location, error))
            }
            Location::File(path) => {
                let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
                let (body, expected) = (body.clone(), expected.clone());
                let awaited = Awaited::default();
                let is_dropped = awaited.0.clone();
                let put = blocking(move || {
                    let target = writable(&path, &roots, &location)?;
                    let put = put_file(&target, &body, &expected, (&location, &is_dropped));
                    let stands_since = match &put {
                        Ok(begun) => Some(*begun),
                        // A predecessor's, perhaps, that was killed before it came to this.
                        Err(LocationError::Changed { .. }) => {
                            fs::metadata(&target).and_then(|there| there.modified()).ok()
                        }
                        Err(_) => None,
                    };
                    if let Some(stands_since) = stands_since {
                        remove_left_beside(&target, stands_since);
                    }
                    put.map(drop)
                });
                let outcome = put.await;
                drop(awaited);
                outcome
            }
        }
    }

    async fn bucket(&self, name: &str) -> Result<Bucket, LocationError> {
        let is_allowed = self.limits.buckets.is_empty() || self.limits.buckets.iter().any(|bucket| bucket == name);
        if !is_allowed {
            return Err(LocationError::BucketNotAllowed { bucket: name.to_owned() });
        }
        let service = self.service.get_or_init(|| connect(&self.store)).await;
        Ok(Bucket::new(service.clone(), name))
    }

    async fn patiently<T, F: Future<Output = Result<T, LocationError>>>(
        &self,
        doing: &str,
        location: &Location,
        once: impl FnMut() -> F,
    ) -> Result<T, LocationError> {
        let outcome = retry(self.patience, doing, location, once).await;
        outcome.map_err(|error| error.after(self.patience, location))
    }
}

/// Says whose disk it is that fails.
fn copy(from: &Path, to: &Path) -> Result<u64, LocationError> {
    let mut source = fs::File::open(from).map_err(|error| LocationError::io("open", from, error))?;
    let scratch = |error| LocationError::Scratch { path: to.to_owned(), source: error };
    let mut file = fs::File::create(to).map_err(scratch)?;
    io::copy(&mut source, &mut file).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => scratch(error),
        _ => LocationError::io("read", from, error),
    })
}

/// The real path of a file that may be read.
fn readable(path: &Path, roots: &[PathBuf], location: &Location) -> Result<PathBuf, LocationError> {
    let real = fs::canonicalize(path).map_err(|error| {
        if is_absent(&error) {
            return LocationError::NotFound { location: location.to_string() };
        }
        LocationError::io("open", path, error)
    })?;
    ensure_inside(&real, roots, location)?;
    if !real.is_file() {
        return Err(LocationError::NotAFile { location: location.to_string() });
    }
    Ok(real)
}

/// The path of a file that may be written: its real folder, and its name as it stands. A symbolic link there is replaced,
/// never followed.
fn writable(path: &Path, roots: &[PathBuf], location: &Location) -> Result<PathBuf, LocationError> {
    let not_a_file = || LocationError::NotAFile { location: location.to_string() };
    // `Path` forgets a `/` at the end, by which a folder is meant.
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let (Some(folder), Some(name), false) = (path.parent(), path.file_name(), is_folder) else {
        return Err(not_a_file());
    };
    let real = fs::canonicalize(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => LocationError::NoFolder { folder: folder.to_owned() },
        io::ErrorKind::NotADirectory => LocationError::NotAFolder { folder: folder.to_owned() },
        _ if is_lasting(&error) => LocationError::NotWritable { folder: folder.to_owned(), reason: error.to_string() },
        _ => LocationError::io("look at", folder, error),
    })?;
    ensure_inside(&real, roots, location)?;
    if !real.is_dir() {
        return Err(LocationError::NotAFolder { folder: folder.to_owned() });
    }
    let target = real.join(name);
    if target.is_dir() { Err(not_a_file()) } else { Ok(target) }
}

/// `real` is canonical; the roots may be links themselves.
fn ensure_inside(real: &Path, roots: &[PathBuf], location: &Location) -> Result<(), LocationError> {
    let is_inside = roots.iter().filter_map(|root| fs::canonicalize(root).ok()).any(|root| real.starts_with(root));
    if is_inside { Ok(()) } else { Err(LocationError::OutsideRoots { location: location.to_string() }) }
}

fn stage_beside(target: &Path, body: &Body) -> Result<Staged, LocationError> {
    let folder = target.parent().expect("a target lies in a folder");
    stage(target, body).map_err(|error| match is_lasting(&error) {
        true => LocationError::NotWritable { folder: folder.to_owned(), reason: error.to_string() },
        false => LocationError::io("write to", folder, error),
    })
}

/// Tells work on another thread when nobody waits for it any more.
#[derive(Default)]
struct Awaited(Arc<AtomicBool>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns when it began.
fn put_file(
    target: &Path,
    body: &Body,
    expected: &Expected,
    (location, is_dropped): (&Location, &AtomicBool),
) -> Result<SystemTime, LocationError> {
    let staged = stage_beside(target, body)?;
    crash::point("place.staged");
    let again = || io::ErrorKind::Interrupted.into();
    if is_dropped.load(Ordering::Relaxed) {
        return Err(LocationError::io("write", target, again()));
    }
    let placed = match expected {
        Expected::Absent => place_new(&staged, target).map(|put| put == Put::Created),
        Expected::Version(version) => place_over_version(&staged, target, version),
        Expected::Anything => place_over(&staged, target).map(|()| true),
    };
    match placed {
        Ok(true) => Ok(staged.begun),
        Ok(false) => Err(LocationError::Changed { location: location.to_string() }),
        // Another writer was faster, and has taken this file for one that was left behind.
        Err(error) if is_absent(&error) && !staged.is_there() => Err(LocationError::io("write", target, again())),
        Err(error) => Err(LocationError::io("write", target, error)),
    }
}

/// Removes what writers that were killed have left in an output's folder: no gc goes there. Of this very output everything that was begun
/// before what stands there now: its condition does not hold any more. It is of no matter if that fails.
fn remove_left_beside(target: &Path, stands_since: SystemTime) {
    let Some(entries) = target.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    // The names first: a folder of stills may hold many files.
    for entry in entries.flatten().filter(|entry| is_staged_name(&entry.file_name())) {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let is_left = |modified: SystemTime| match is_staged_for(&entry.file_name(), target) {
            true => modified < stands_since,
            false => modified.elapsed().is_ok_and(|age| age > LEFT_BEHIND),
        };
        if modified.is_ok_and(is_left) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LocationError> + Send + 'static,
) -> Result<T, LocationError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LocationError::io("work in", Path::new("."), io::Error::other(error))))
}

#[cfg(test)]
mod tests;
