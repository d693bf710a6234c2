//! A folder as an object store, on a local disk or on NFS.
//!
//! Creating is atomic however many try (a hard link). A conditional replace or delete is a comparison and then a rename:
//! two who replace the same version within microseconds of each other can both succeed, the later one wins.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;

use super::key::{self, TEMPORARY};
use super::place::{is_absent, meta, place_new, place_over, stage};
use super::{Body, Listed, Meta, ObjectStore, Put, StoreError, Version, nonce};

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
}

#[async_trait]
impl ObjectStore for FsStore {
    async fn put_new(&self, key: &str, body: Body) -> Result<Put, StoreError> {
        let target = self.path(key)?;
        blocking("put", key, move || {
            // Most of what is put a second time is settled without writing it a second time.
            if meta(&target)?.is_some() {
                return Ok(Put::Exists);
            }
            place_new(&stage(folder_for(&target)?, &body)?, &target)
        })
        .await
    }

    async fn replace(&self, key: &str, body: Body, expected: Option<&Version>) -> Result<Version, StoreError> {
        let target = self.path(key)?;
        let expected = expected.cloned();
        let replaced = blocking("replace", key, move || {
            let staged = stage(folder_for(&target)?, &body)?;
            if expected.is_some() && meta(&target)?.map(|found| found.version) != expected {
                return Ok(None);
            }
            place_over(&staged, &target)?;
            Ok(meta(&target)?.map(|now| now.version))
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
            if fs::hard_link(&path, &beside).is_err() {
                // Another file system.
                fs::copy(&path, &beside)?;
            }
            let placed = fs::rename(&beside, &to);
            // Renaming a link over another link to the same file does nothing and leaves both.
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
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() {
            key::validate(folder)?;
        }
        let (root, start, wanted) = (self.root.clone(), self.root.join(folder), prefix.to_owned());
        blocking("list", prefix, move || {
            let mut found = Vec::new();
            let mut folders = vec![start];
            while let Some(folder) = folders.pop() {
                list_folder(&root, &folder, &wanted, &mut folders, &mut found)?;
            }
            found.sort_by(|one: &Listed, other| one.key.cmp(&other.key));
            Ok(found)
        })
        .await
    }

    async fn delete(&self, key: &str, if_version: Option<&Version>) -> Result<(), StoreError> {
        let path = self.path(key)?;
        let if_version = if_version.cloned();
        let is_done = blocking("delete", key, move || {
            let Some(found) = meta(&path)? else { return Ok(true) };
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
}

/// The folder of `target`, made where it is missing.
fn folder_for(target: &Path) -> io::Result<&Path> {
    let folder = target.parent().expect("an object lies in the store's folder");
    fs::create_dir_all(folder)?;
    Ok(folder)
}

/// Adds the objects in `folder` that begin with `wanted` to `found`, and the folders that may hold more to `folders`.
fn list_folder(
    root: &Path,
    folder: &Path,
    wanted: &str,
    folders: &mut Vec<PathBuf>,
    found: &mut Vec<Listed>,
) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        let is_temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
        let may_hold_wanted = key.starts_with(wanted) || wanted.starts_with(&format!("{key}/"));
        if is_temporary || !may_hold_wanted {
            continue;
        }
        // It may have been deleted since the folder was read.
        let metadata = match entry.metadata() {
            Err(error) if is_absent(&error) => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() {
            folders.push(path);
        } else if key.starts_with(wanted) {
            found.push(Listed { key: key.to_owned(), size: metadata.len(), modified: metadata.modified()? });
        }
    }
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
