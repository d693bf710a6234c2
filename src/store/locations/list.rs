//! What lies in a folder that a job names: its own files, not those of folders below.

use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Location, LocationError, Locations, blocking, ensure_inside, is_absent, readable};

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Without its folder. What is no UTF-8 in it is replaced.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
}

/// What lies in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, or a link to one.
    File,
    /// The same without a byte in it.
    Empty,
    /// A folder, or a link to one.
    Folder,
    /// Neither, or its name is none that a location can have.
    Other,
}

impl Entry {
    /// Hidden files are as if they were not there.
    fn new(name: &[u8], kind: EntryKind) -> Option<Self> {
        if matches!(name, [] | [b'.', ..]) {
            return None;
        }
        let text = String::from_utf8_lossy(name).into_owned();
        let is_plain = text.as_bytes() == name && !text.chars().any(char::is_control);
        Some(Self { name: text, kind: if is_plain { kind } else { EntryKind::Other } })
    }
}

impl Locations {
    /// What lies in a folder, by name; `max` entries at most.
    ///
    /// # Errors
    /// Poison: no such folder, not a folder, outside the limits, more than `max`; retry: the store is away.
    pub async fn list(&self, folder: &Location, max: usize) -> Result<Vec<Entry>, LocationError> {
        let found = self.patiently("list", folder, || self.list_once(folder, max)).await?;
        let mut entries = found.ok_or_else(|| LocationError::TooMany { location: folder.to_string(), max })?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    async fn list_once(&self, folder: &Location, max: usize) -> Result<Option<Vec<Entry>>, LocationError> {
        match folder {
            Location::S3 { bucket, key } => {
                let found = self.bucket(bucket).await?.list_folder(key, max).await;
                let found = found.map_err(|error| LocationError::store(folder, error))?;
                let entry = |(name, kind): &(String, EntryKind)| Entry::new(name.as_bytes(), *kind);
                Ok(found.map(|found| found.iter().filter_map(entry).collect()))
            }
            Location::File(path) => {
                let real = self.real_folder(path, folder).await?;
                blocking(move || entries_of(&real, max).map_err(|error| LocationError::io("list", &real, error))).await
            }
        }
    }

    /// Whether both are the same folder, links followed.
    ///
    /// # Errors
    /// As [`Locations::list`].
    pub async fn is_same_folder(&self, one: &Location, other: &Location) -> Result<bool, LocationError> {
        match (one, other) {
            (Location::File(path), Location::File(other_path)) => {
                Ok(self.real_folder(path, one).await? == self.real_folder(other_path, other).await?)
            }
            _ => Ok(one == other),
        }
    }

    /// Canonical, and inside the roots.
    async fn real_folder(&self, path: &Path, location: &Location) -> Result<PathBuf, LocationError> {
        let (path, roots, location) = (path.to_owned(), self.limits.roots.clone(), location.clone());
        blocking(move || {
            let real = fs::canonicalize(&path).map_err(|error| match is_absent(&error) {
                true => LocationError::NoFolder { folder: path.clone() },
                false => LocationError::io("open", &path, error),
            })?;
            ensure_inside(&real, &roots, &location)?;
            if real.is_dir() { Ok(real) } else { Err(LocationError::NotAFolder { folder: path }) }
        })
        .await
    }

    /// The first `bytes` bytes of a file that is not empty, or all of a shorter one.
    ///
    /// # Errors
    /// As [`Locations::fetch`].
    pub async fn head_of(&self, location: &Location, bytes: u64) -> Result<Bytes, LocationError> {
        self.patiently("look into", location, || self.head_of_once(location, bytes)).await
    }

    async fn head_of_once(&self, location: &Location, bytes: u64) -> Result<Bytes, LocationError> {
        match location {
            Location::S3 { bucket, key } => {
                let head = self.bucket(bucket).await?.head_bytes(key, bytes).await;
                head.map_err(|error| LocationError::store(location, error))
            }
            Location::File(path) => {
                let (path, roots, location) = (path.clone(), self.limits.roots.clone(), location.clone());
                blocking(move || {
                    let real = readable(&path, &roots, &location)?;
                    let mut head = Vec::new();
                    let read = fs::File::open(&real).and_then(|file| file.take(bytes).read_to_end(&mut head));
                    read.map_err(|error| LocationError::io("read", &real, error))?;
                    Ok(head.into())
                })
                .await
            }
        }
    }
}

/// What lies in a local folder, in no order; `None` if that is more than `max`. Blocks.
pub fn entries_of(folder: &Path, max: usize) -> io::Result<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    for found in fs::read_dir(folder)? {
        let found = found?;
        // A link counts as what it leads to; one that leads nowhere is neither.
        let kind = match fs::metadata(found.path()) {
            Ok(meta) if meta.is_file() && meta.len() == 0 => EntryKind::Empty,
            Ok(meta) if meta.is_file() => EntryKind::File,
            Ok(meta) if meta.is_dir() => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        entries.extend(Entry::new(found.file_name().as_bytes(), kind));
        if entries.len() > max {
            return Ok(None);
        }
    }
    Ok(Some(entries))
}
