//! A folder as an object store, on a local disk or on NFS.
//!
//! Creating is atomic however many try (a hard link). Replacing and deleting compare versions and then act, under a lock on
//! `.tmp-lock` in the store's folder, so that of two who replace the same version one is refused.
//!
//! On NFS the lock holds among machines as long as the mount has locks (not `nolock` and not `local_lock=flock`; NFS 4 has them
//! built in). Versions are read through a fresh open, which is what makes a client ask its server.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use super::key::{self, TEMPORARY};
use super::place::{Staged, is_absent, meta, meta_now, place_new, place_over, stage};
use super::{Attempt, Body, Listed, Meta, ObjectStore, Put, StoreError, Swept, Version, nonce};
use crate::crash;

/// What makes compare-and-write one step among processes.
const LOCK: &str = ".tmp-lock";
/// Objects of one [`ObjectStore::list_after`]: a few MB, and few enough calls that reading the upper folders again for each does
/// not matter.
const PAGE: usize = 10_000;
/// A folder that is swept away between its making and its use is made again, this often.
const FOLDER_ATTEMPTS: u32 = 10;

/// Objects as files under one folder.
#[derive(Clone, Debug)]
pub struct FsStore {
    root: PathBuf,
}

impl FsStore {
    /// Uses `root`, which is created where it is missing.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where that is not possible.
    pub async fn open(root: &Path) -> Result<Self, StoreError> {
        let root = root.to_owned();
        let shown = root.display().to_string();
        let made = blocking("open store", &shown, move || fs::create_dir_all(&root).map(|()| root)).await;
        let root = made.map_err(|error| match error {
            StoreError::Unavailable { doing, key, reason } => StoreError::Refused { doing, key, reason },
            other => other,
        })?;
        Ok(Self { root })
    }

    fn path(&self, key: &str) -> Result<PathBuf, StoreError> {
        key::validate(key)?;
        Ok(self.root.join(key))
    }

    async fn walk(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() {
            key::validate(folder)?;
        }
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let (root, wanted, after) = (self.root.clone(), prefix.to_owned(), after.to_owned());
        blocking("list", prefix, move || {
            let mut walk = Walk { root: &root, prefix: &wanted, after: &after, limit, found: Vec::new() };
            walk.folder(&below)?;
            Ok(walk.found)
        })
        .await
    }
}

#[async_trait]
impl ObjectStore for FsStore {
    /// A folder loses no answers: what is there was put by somebody else.
    async fn put_new_as(&self, key: &str, body: Body, _attempt: &Attempt) -> Result<Put, StoreError> {
        let target = self.path(key)?;
        blocking("put", key, move || {
            // Most of what is put a second time is settled without writing it a second time.
            if meta(&target)?.is_some() {
                return Ok(Put::Exists);
            }
            let staged = stage_for(&target, &body)?;
            crash::point("store.staged");
            place_new(&staged, &target)
        })
        .await
    }

    async fn replace_as(
        &self,
        key: &str,
        body: Body,
        expected: Option<&Version>,
        _attempt: &Attempt,
    ) -> Result<Version, StoreError> {
        let target = self.path(key)?;
        let (root, expected) = (self.root.clone(), expected.cloned());
        let replaced = blocking("replace", key, move || {
            let staged = stage_for(&target, &body)?;
            let _lock = lock(&root)?;
            if expected.is_some() && meta_now(&target)?.map(|found| found.version) != expected {
                return Ok(None);
            }
            place_over(&staged, &target)?;
            Ok(meta_now(&target)?.map(|now| now.version))
        });
        replaced.await?.ok_or_else(|| StoreError::Changed { key: key.to_owned() })
    }

    async fn get(&self, key: &str, max: u64) -> Result<Bytes, StoreError> {
        let path = self.path(key)?;
        let read = blocking("get", key, move || {
            let size = fs::metadata(&path)?.len();
            if size > max { Ok(Err(size)) } else { Ok(Ok(Bytes::from(fs::read(&path)?))) }
        });
        read.await?.map_err(|size| StoreError::TooLarge { key: key.to_owned(), size, max })
    }

    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        let path = self.path(key)?;
        let to = to.to_owned();
        blocking("fetch", key, move || {
            let size = fs::metadata(&path)?.len();
            let beside = to.with_file_name(format!("{TEMPORARY}{}", nonce()));
            let placed = match fs::hard_link(&path, &beside) {
                Ok(()) => Ok(()),
                // Another file system.
                Err(_) => fs::copy(&path, &beside).map(drop),
            };
            let placed = placed.and_then(|()| fs::rename(&beside, &to));
            // Half a copy; or a link, since renaming one over another link to the same file does nothing and leaves both.
            let _ = fs::remove_file(&beside);
            placed.map(|()| size)
        })
        .await
    }

    async fn tail(&self, key: &str, bytes: u64) -> Result<Bytes, StoreError> {
        let path = self.path(key)?;
        blocking("get", key, move || {
            let mut file = fs::File::open(&path)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size - size.min(bytes)))?;
            let mut tail = Vec::new();
            file.take(bytes).read_to_end(&mut tail)?;
            Ok(Bytes::from(tail))
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<Meta>, StoreError> {
        let path = self.path(key)?;
        blocking("head", key, move || meta(&path)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.walk(prefix, "", usize::MAX).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        self.walk(prefix, after, PAGE).await
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let (root, if_version) = (self.root.clone(), if_version.cloned());
        let is_done = blocking("delete", key, move || {
            let _lock = lock(&root)?;
            let Some(found) = meta_now(&path)? else { return Ok(true) };
            if if_version.is_some_and(|wanted| wanted != found.version) {
                return Ok(false);
            }
            match fs::remove_file(&path) {
                Err(error) if !is_absent(&error) => Err(error),
                _ => Ok(true),
            }
        });
        if is_done.await? { Ok(()) } else { Err(StoreError::Changed { key: key.to_owned() }) }
    }

    async fn sweep(&self, before: SystemTime, delete: bool) -> Result<Swept, StoreError> {
        let root = self.root.clone();
        blocking("sweep", "", move || {
            let mut swept = Swept::default();
            for entry in entries(&root)? {
                sweep_entry(&entry, before, delete, &mut swept)?;
            }
            Ok(swept)
        })
        .await
    }
}

/// Writes `body` beside `target`, in a folder that is made where it is missing.
fn stage_for(target: &Path, body: &Body) -> io::Result<Staged> {
    let folder = target.parent().expect("an object lies in the store's folder");
    for _ in 1..FOLDER_ATTEMPTS {
        fs::create_dir_all(folder)?;
        match stage(folder, body) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() => {}
            staged => return staged,
        }
    }
    fs::create_dir_all(folder)?;
    stage(folder, body)
}

/// Held until dropped.
fn lock(root: &Path) -> io::Result<fs::File> {
    // Writable, since NFS takes no exclusive lock on anything else.
    let file = fs::File::options().create(true).append(true).open(root.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

/// What is in a folder; nothing if it has gone.
fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

/// A listing in work.
struct Walk<'a> {
    root: &'a Path,
    /// Keys begin with it.
    prefix: &'a str,
    /// Keys come after it.
    after: &'a str,
    limit: usize,
    found: Vec<Listed>,
}

impl Walk<'_> {
    /// Adds the objects of a folder and all below it, by key. `below` is the folder's key with a `/`, or empty for the root.
    fn folder(&mut self, below: &str) -> io::Result<()> {
        let mut keys = Vec::new();
        for entry in entries(&self.root.join(below))? {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with(TEMPORARY)) else { continue };
            // With the `/`, folders sort as the keys below them do: a-1/x before a/x.
            let key = format!("{below}{name}{}", if entry.file_type()?.is_dir() { "/" } else { "" });
            keys.push((key, entry));
        }
        keys.sort_by(|one, other| one.0.cmp(&other.0));
        for (key, entry) in keys {
            if self.found.len() >= self.limit {
                break;
            }
            if key.ends_with('/') {
                let may_hold_wanted = key.starts_with(self.prefix) || self.prefix.starts_with(&key);
                let is_behind = key.as_str() < self.after && !self.after.starts_with(&key);
                if may_hold_wanted && !is_behind {
                    self.folder(&key)?;
                }
            } else if key.starts_with(self.prefix) && key.as_str() > self.after {
                // It may have been deleted since the folder was read.
                let metadata = match entry.metadata() {
                    Err(error) if is_absent(&error) => continue,
                    metadata => metadata?,
                };
                self.found.push(Listed { key, size: metadata.len(), modified: metadata.modified()? });
            }
        }
        Ok(())
    }
}

/// Removes what is temporary or empty, and older than `before`, of an entry and all below it.
fn sweep_entry(entry: &fs::DirEntry, before: SystemTime, delete: bool, swept: &mut Swept) -> io::Result<()> {
    let (path, name) = (entry.path(), entry.file_name());
    let metadata = match entry.metadata() {
        Err(error) if is_absent(&error) => return Ok(()),
        metadata => metadata?,
    };
    // Read before what is below it is removed, which makes a folder young again.
    let is_old = metadata.modified()? < before;
    if metadata.is_dir() {
        for below in entries(&path)? {
            sweep_entry(&below, before, delete, swept)?;
        }
        if is_old && delete {
            // Not if anything is in it. Whoever has just made sure of it makes it again.
            let _ = fs::remove_dir(&path);
        }
        return Ok(());
    }
    let is_left = name.to_string_lossy().starts_with(TEMPORARY) && name != LOCK;
    if !is_left || !is_old {
        return Ok(());
    }
    if delete {
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => return Err(error),
            _ => {}
        }
    }
    swept.objects += 1;
    swept.bytes += metadata.len();
    Ok(())
}

/// Runs `work` where it may block, and sorts its error.
async fn blocking<T: Send + 'static>(
    doing: &'static str,
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
    done.map_err(|error| StoreError::io(doing, key, &error))
}
