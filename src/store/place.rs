//! Files that are there whole or not at all: written beside their place, synced, then put into it in one step.
//!
//! All of this blocks.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::key::TEMPORARY;
use super::{Body, Meta, Put, Version, nonce};
use crate::contract::Digest;

/// How often, and how soon again, a lock is tried that somebody else has: it is held for as long as a name takes to change.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// A file with its content on disk and no name that anyone looks for; removed when dropped.
pub(super) struct Staged {
    path: PathBuf,
    /// When it was begun, by the clock of its file system.
    pub begun: SystemTime,
}

impl Staged {
    /// False once somebody has removed it.
    pub fn is_there(&self) -> bool {
        self.path.exists()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // It is gone already where it was renamed into place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes `body` beside its later place, with the permissions that the process gives to new files.
pub(super) fn stage(target: &Path, body: &Body) -> io::Result<Staged> {
    let (folder, name) = parts(target);
    let path = folder.join(format!("{TEMPORARY}{}{}", mark(name), &nonce()[..MARK_DIGITS]));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut staged = Staged { path, begun: SystemTime::UNIX_EPOCH };
    staged.begun = file.metadata()?.modified()?;
    match body {
        Body::Bytes(bytes) => file.write_all(bytes)?,
        // A copy and no link: whoever wrote the file may write it again.
        Body::File(path) => {
            io::copy(&mut File::open(path)?, &mut file)?;
        }
    }
    file.sync_all()?;
    Ok(staged)
}

/// The folder and the name of what is to be placed.
fn parts(target: &Path) -> (&Path, &OsStr) {
    let parts = target.parent().zip(target.file_name());
    parts.expect("what is placed has a name and lies in a folder")
}

/// Hex digits that say for which name a file is staged; as many more set it apart.
const MARK_DIGITS: usize = 16;

fn mark(name: &OsStr) -> String {
    Digest::of(name.as_encoded_bytes()).short(MARK_DIGITS)
}

/// Whether a file's name is one that [`stage`] gives: nobody else's files are taken for ours.
pub(super) fn is_staged_name(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    digits.is_some_and(|digits| digits.len() == 2 * MARK_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether it is one that [`stage`] gives to what is to become `target`.
pub(super) fn is_staged_for(name: &OsStr, target: &Path) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY));
    is_staged_name(name) && digits.is_some_and(|digits| digits.starts_with(&mark(parts(target).1)))
}

/// Gives a staged file its name unless that is taken.
pub(super) fn place_new(staged: &Staged, target: &Path) -> io::Result<Put> {
    let put = match fs::hard_link(&staged.path, target) {
        Ok(()) => Put::Created,
        // On NFS the answer to a link that succeeded can be lost and the client's own retry then finds the name taken:
        // the count of links tells.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_ours = fs::metadata(&staged.path)?.nlink() > 1;
            if is_ours { Put::Created } else { Put::Exists }
        }
        Err(error) => return Err(error),
    };
    sync_folder(target)?;
    Ok(put)
}

/// Gives a staged file its name, over what has it.
pub(super) fn place_over(staged: &Staged, target: &Path) -> io::Result<()> {
    fs::rename(&staged.path, target)?;
    sync_folder(target)
}

/// Gives a staged file its name over that version of what has it, and over nothing else; whether it did.
///
/// Looking and renaming are one step among all who come here: each locks the file that it is to replace, which lies in a folder where we
/// leave no lock of our own. Nobody can lock a file that it may not read; then the moment between the two is left.
pub(super) fn place_over_version(staged: &Staged, target: &Path, expected: &Version) -> io::Result<bool> {
    let is_expected = |found: Option<Meta>| found.is_some_and(|found| found.version == *expected);
    let _locked = match File::open(target) {
        Ok(file) => {
            // What is locked must be what is replaced.
            if !is_expected(Some(meta_of(&file.metadata()?)?)) {
                return Ok(false);
            }
            Some(lock(file, target)?)
        }
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => return Err(error),
    };
    if !is_expected(meta_of_output(target)?) {
        return Ok(false);
    }
    place_over(staged, target)?;
    Ok(true)
}

/// Locks an open file; held until it is dropped.
fn lock(file: File, path: &Path) -> io::Result<File> {
    // NFS takes no exclusive lock on a file that is open for reading only. Where it is not needed it is not done: others may watch the
    // folder for files that were open for writing.
    let file = match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => file,
        Err(TryLockError::Error(_)) => OpenOptions::new().append(true).open(path)?,
    };
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_WAIT),
            // A file system without locks.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "it is locked by another process"))
}

/// Makes the names in the folder of `target` durable.
fn sync_folder(target: &Path) -> io::Result<()> {
    File::open(parts(target).0)?.sync_all()
}

/// `None` where nothing is there.
pub(super) fn meta(path: &Path) -> io::Result<Option<Meta>> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(meta_of(&found)?)),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`meta`], through an open: what makes an NFS client ask its server instead of remembering.
pub(super) fn meta_now(path: &Path) -> io::Result<Option<Meta>> {
    match File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(Some(meta_of(&found)?)),
        Ok(_) => Ok(None),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`meta_now`] where an output goes: there may be a file that is ours to replace and not to read, or something that opening would wait for.
pub(super) fn meta_of_output(path: &Path) -> io::Result<Option<Meta>> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Ok(None);
    }
    match meta_now(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => meta(path),
        found => found,
    }
}

fn meta_of(found: &fs::Metadata) -> io::Result<Meta> {
    // A replaced file has another inode, so two versions within one tick of the clock differ all the same.
    let version = format!("{:x}.{:x}-{:x}-{:x}", found.mtime(), found.mtime_nsec(), found.size(), found.ino());
    Ok(Meta { size: found.size(), version: Version(version), modified: found.modified()? })
}

/// Also where a folder on the way is a file: then there is nothing below it.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
