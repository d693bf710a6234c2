//! A folder as an object store, on a local disk or on NFS.
//!
//! Creating is atomic however many try (a hard link). Replacing and deleting compare versions and then act, under a lock on
//! `.tmp-lock` in the store's folder, so that of two who replace the same version one is refused.
//!
//! On NFS the lock holds among machines as long as the mount has locks (not `nolock` and not `local_lock=flock`; NFS 4 has them
//! built in). Versions are read through a fresh open, which is what makes a client ask its server.
//!
//! The store's folder is made when it is opened, and never after: where it is gone its mount is, and the store is away, whatever is asked.

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
    /// Uses `root`, which is created where it is missing, in a folder that is there.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where that is not possible.
    pub async fn open(root: &Path) -> Result<Self, StoreError> {
        let wanted = root.to_owned();
        let made = tokio::task::spawn_blocking(move || match fs::create_dir(&wanted) {
            Err(_) if wanted.is_dir() => Ok(()),
            Err(error) if is_absent(&error) => {
                Err(io::Error::other("the folder that it is to lie in is not there (make it, or mount it)"))
            }
            made => made,
        });
        match made.await.map_err(io::Error::other).flatten() {
            Ok(()) => Ok(Self { root: root.to_owned() }),
            Err(error) => {
                let (key, reason) = (root.display().to_string(), error.to_string());
                Err(StoreError::Refused { doing: "open store", key, reason })
            }
        }
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
        let (wanted, after) = (prefix.to_owned(), after.to_owned());
        self.blocking("list", prefix, move |root| {
            let mut walk = Walk { root, prefix: &wanted, after: &after, limit, found: Vec::new() };
            walk.folder(&below)?;
            let Walk { found, .. } = walk;
            // A folder that cannot be found counts as empty; but the store itself must be there.
            ensure_there(root)?;
            Ok(found)
        })
        .await
    }

    /// Runs `work`, which is given the root, where it may block, and sorts its error.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let root = self.root.clone();
        let work = move || match work(&root) {
            Err(error) if is_absent(&error) => ensure_there(&root).and(Err(error)),
            done => done,
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten();
        done.map_err(|error| StoreError::io(doing, key, &error))
    }
}

#[async_trait]
impl ObjectStore for FsStore {
    /// A folder loses no answers: what is there was put by somebody else.
    async fn put_new_as(&self, key: &str, body: Body, _attempt: &Attempt) -> Result<Put, StoreError> {
        let target = self.path(key)?;
        self.blocking("put", key, move |root| {
            // Most of what is put a second time is settled without writing it a second time.
            if meta(&target)?.is_some() {
                return Ok(Put::Exists);
            }
            let staged = stage_for(root, &target, &body)?;
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
        let expected = expected.cloned();
        let replaced = self.blocking("replace", key, move |root| {
            let staged = stage_for(root, &target, &body)?;
            let _lock = lock(root)?;
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
        let read = self.blocking("get", key, move |_| {
            let size = fs::metadata(&path)?.len();
            if size > max { Ok(Err(size)) } else { Ok(Ok(Bytes::from(fs::read(&path)?))) }
        });
        read.await?.map_err(|size| StoreError::TooLarge { key: key.to_owned(), size, max })
    }

    async fn fetch(&self, key: &str, to: &Path) -> Result<u64, StoreError> {
        let path = self.path(key)?;
        let to = to.to_owned();
        self.blocking("fetch", key, move |_| {
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
        self.blocking("get", key, move |_| {
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
        self.blocking("head", key, move |root| {
            let found = meta(&path)?;
            if found.is_none() {
                ensure_there(root)?;
            }
            Ok(found)
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.walk(prefix, "", usize::MAX).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, StoreError> {
        self.walk(prefix, after, PAGE).await
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let if_version = if_version.cloned();
        let is_done = self.blocking("delete", key, move |root| {
            let _lock = lock(root)?;
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
        self.blocking("sweep", "", move |root| {
            let mut swept = Swept::default();
            for entry in entries(root)? {
                sweep_entry(&entry, before, delete, &mut swept)?;
            }
            ensure_there(root)?;
            Ok(swept)
        })
        .await
    }
}

/// Writes `body` beside `target`, in a folder that is made where it is missing.
fn stage_for(root: &Path, target: &Path, body: &Body) -> io::Result<Staged> {
    let folder = target.parent().expect("an object lies in the store's folder");
    let staged = || make_folders(root, folder).and_then(|()| stage(target, body));
    for _ in 1..FOLDER_ATTEMPTS {
        match staged() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_dir() => {}
            outcome => return outcome,
        }
    }
    staged()
}

/// Makes `folder`, which lies below `root`, and what is missing between the two; never `root`, which must be there.
fn make_folders(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root {
        return ensure_there(root);
    }
    let make = || match fs::create_dir(folder) {
        Err(_) if folder.is_dir() => Ok(()),
        made => made,
    };
    match (make(), folder.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_folders(root, parent)?;
            make()
        }
        (made, _) => made,
    }
}

/// What is not to be found may be there as soon as the store's folder is there again.
fn ensure_there(root: &Path) -> io::Result<()> {
    match fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Err(error) if !is_absent(&error) => Err(error),
        _ => Err(io::Error::other(format!("the store's folder {} is not there (is it mounted?)", root.display()))),
    }
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
