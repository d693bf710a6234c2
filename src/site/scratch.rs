//! Scratch space: each process has its own folder in the configured one, and removes those that killed processes have left.
//!
//! Beside each folder lies a file, `facemill-scratch-….lock`, on which its process holds an advisory lock from before the folder
//! is made until it is gone. Whoever opens scratch space removes the folders whose locks nobody holds, and holds each lock while
//! it does. So what is in use stays, whoever comes and goes beside it.

use std::fs::{self, DirEntry, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tracing::{info, warn};

/// What the names of folders and their locks begin with; letters and digits follow.
const PREFIX: &str = "facemill-scratch-";
/// What a lock's name has behind that of its folder.
const EXTENSION: &str = "lock";

/// Scratch space of one process. Cheap to clone; its folder goes with the last clone.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<Own>);

#[derive(Debug)]
struct Own {
    folder: PathBuf,
    /// Locked. None where the file system has no locks; then there is no such file, and nobody else removes the folder.
    lock: Option<File>,
}

impl Scratch {
    /// Removes from `within` what killed processes have left, and makes a folder for this one.
    pub fn open(within: &Path) -> io::Result<Self> {
        fs::create_dir_all(within)?;
        sweep(within);
        Ok(Self(Arc::new(Own::make(within)?)))
    }

    /// The folder of this process.
    pub fn path(&self) -> &Path {
        &self.0.folder
    }

    /// A fresh folder in it, removed when dropped.
    pub fn folder(&self, purpose: &str) -> io::Result<TempDir> {
        fs::create_dir_all(&self.0.folder)?;
        tempfile::Builder::new().prefix(&format!("{purpose}-")).tempdir_in(&self.0.folder)
    }
}

impl Own {
    fn make(within: &Path) -> io::Result<Self> {
        let suffix = format!(".{EXTENSION}");
        loop {
            let named = tempfile::Builder::new().prefix(PREFIX).suffix(&suffix).tempfile_in(within)?;
            let (file, path) = named.keep()?;
            let folder = path.with_extension("");
            let lock = match file.try_lock() {
                Ok(()) if path.try_exists()? => Some(file),
                // Somebody has found it before it was locked, and removes it.
                Ok(()) | Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    warn!(within = %within.display(), %error, "scratch space has no locks: what killed processes leave stays");
                    fs::remove_file(&path)?;
                    None
                }
            };
            fs::create_dir(&folder)?;
            return Ok(Self { folder, lock });
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Some(lock) = &self.lock else {
            drop(fs::remove_dir(&self.folder));
            return;
        };
        // A folder in which somebody is still at work keeps its lock's file, and so goes when the next process comes.
        if gone(fs::remove_dir(&self.folder)).is_ok() {
            drop(fs::remove_file(self.folder.with_extension(EXTENSION)));
        }
        // Closing is not enough while a child between its fork and its exec has a copy.
        drop(lock.unlock());
    }
}

/// Removes what processes have left that are no more. What cannot be removed keeps nobody from working.
fn sweep(within: &Path) {
    let entries = match fs::read_dir(within) {
        Ok(entries) => entries,
        Err(error) => {
            warn!(within = %within.display(), %error, "scratch space cannot be searched for what killed processes have left");
            return;
        }
    };
    for lock in entries.flatten().filter(is_lock).map(|entry| entry.path()) {
        let folder = lock.with_extension("");
        match remove_if_left(&lock, &folder) {
            Ok(true) => info!(folder = %folder.display(), "removed what a killed process had left in scratch space"),
            Ok(false) => {}
            Err(error) => {
                warn!(folder = %folder.display(), %error, "what a killed process has left in scratch space cannot be removed");
            }
        }
    }
}

/// Whether it is the lock of a folder, by its name and kind.
fn is_lock(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let stem = name.to_str().and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'));
    let own = stem.and_then(|stem| stem.strip_prefix(PREFIX)).unwrap_or_default();
    let is_ours = !own.is_empty() && own.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_ours && entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// Removes a folder if nobody holds its lock; whether it did.
fn remove_if_left(lock: &Path, folder: &Path) -> io::Result<bool> {
    let file = match File::options().write(true).open(lock) {
        Ok(file) => file,
        // It has gone meanwhile, or is another user's, whose processes see to it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    gone(fs::remove_dir_all(folder))?;
    match fs::remove_file(lock) {
        Ok(()) => Ok(true),
        // Its process has ended at this moment and taken it along.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn names(within: &Path) -> Vec<String> {
        let entries = fs::read_dir(within).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// What a process leaves that is killed in the middle of its work.
    fn left(within: &Path) -> PathBuf {
        let killed = Scratch::open(within).unwrap();
        let folder = killed.path().to_owned();
        fs::create_dir(folder.join("chunk-1")).unwrap();
        fs::write(folder.join("chunk-1/slice"), "in work").unwrap();
        drop(killed);
        assert!(folder.join("chunk-1/slice").exists());
        assert!(folder.with_extension("lock").exists());
        folder
    }

    #[test]
    fn what_a_killed_process_has_left_goes_and_what_a_living_one_has_stays() {
        let root = tempfile::tempdir().unwrap();
        let living = Scratch::open(root.path()).unwrap();
        let in_work = living.folder("chunk").unwrap();
        fs::write(in_work.path().join("slice"), "in work").unwrap();
        let left = left(root.path());

        let next = Scratch::open(root.path()).unwrap();
        assert!(!left.exists());
        assert!(in_work.path().join("slice").exists());
        let folder_and_lock = |scratch: &Scratch| {
            [scratch.path().to_owned(), scratch.path().with_extension("lock")]
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        };
        let mut expected: Vec<String> = [folder_and_lock(&living), folder_and_lock(&next)].concat();
        expected.sort();
        assert_eq!(names(root.path()), expected);
    }

    #[test]
    fn an_orderly_end_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(&root.path().join("made")).unwrap();
        let clone = scratch.clone();
        drop(scratch);
        let in_work = clone.folder("join").unwrap();
        assert!(in_work.path().starts_with(clone.path()));
        drop(in_work);
        assert_eq!(names(clone.path()), [""; 0]);
        drop(clone);
        assert_eq!(names(&root.path().join("made")), [""; 0]);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let root = tempfile::tempdir().unwrap();
        let folders =
            ["chunk-abc123", "facemill-scratch-unlocked", "facemill-scratch-folder.lock", "facemill-scratch-a-b"];
        folders.iter().for_each(|name| fs::create_dir(root.path().join(name)).unwrap());
        let files = ["facemill-scratch-a-b.lock", "facemill-scratch-.lock", "facemill-scratch-ab.lck", "other.lock"];
        files.iter().for_each(|name| fs::write(root.path().join(name), "").unwrap());
        // Of a process that was killed before it had locked it.
        fs::write(root.path().join("facemill-scratch-abc.lock"), "").unwrap();

        drop(Scratch::open(root.path()).unwrap());
        let mut expected: Vec<&str> = [folders, files].concat();
        expected.sort_unstable();
        assert_eq!(names(root.path()), expected);
    }

    #[test]
    fn what_cannot_be_removed_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        // No folder, but what cannot be removed as one.
        fs::write(root.path().join("facemill-scratch-abc"), "").unwrap();
        fs::write(root.path().join("facemill-scratch-abc.lock"), "").unwrap();
        let scratch = Scratch::open(root.path()).unwrap();
        assert!(scratch.path().exists());
        assert!(root.path().join("facemill-scratch-abc.lock").exists());
    }

    #[test]
    fn nobody_loses_a_folder_while_others_come_and_go() {
        let root = tempfile::tempdir().unwrap();
        let come_and_go = || {
            for _ in 0..50 {
                let scratch = Scratch::open(root.path()).unwrap();
                assert!(scratch.path().with_extension("lock").exists());
                let in_work = scratch.folder("chunk").unwrap();
                fs::write(in_work.path().join("slice"), "in work").unwrap();
                thread::yield_now();
                assert!(in_work.path().join("slice").exists());
            }
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(come_and_go);
            }
        });
        assert_eq!(names(root.path()), [""; 0]);
    }
}
