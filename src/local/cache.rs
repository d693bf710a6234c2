//! The data folder: the store of one machine. Everything in it can be made again, so its size has a cap.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::info;

/// The data folder may grow to this, bytes; above it, what was used least recently goes first.
pub const CAP: u64 = 20 << 30;
/// Eviction goes on down to this, bytes, so that it does not run at every start.
const EVICT_TO: u64 = CAP / 10 * 9;

/// The audit's file in a data folder.
pub const AUDIT: &str = "audit.jsonl";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("data folder {path}: {source}; choose another with --data-dir")]
pub struct DataDirError {
    path: PathBuf,
    source: io::Error,
}

/// An open data folder. Several processes may have it open; it is tidied only by one that has it for itself.
pub struct DataDir {
    path: PathBuf,
    /// Shared while the folder is in use.
    _lock: File,
}

impl DataDir {
    /// Opens the folder, making it if it is missing; tidies it if nobody else uses it.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |source| DataDirError { path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = File::options().create(true).append(true).open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                tidy(&path, CAP, EVICT_TO).map_err(failed)?;
                lock.unlock().map_err(failed)?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.lock_shared().map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    /// The store's folder.
    pub fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// How each run has ended; kept for good.
    pub fn audit(&self) -> PathBuf {
        self.path.join(AUDIT)
    }

    /// Files in work; emptied when the folder is tidied.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
}

/// Removes what killed runs have left in work, and the least recently used objects above the cap.
///
/// The markers of open jobs go too: an assembler would take those jobs up, but a run serves the job of its command only. Nothing is
/// lost with them; the command that gave such a job finds its chunks by name.
fn tidy(path: &Path, cap: u64, evict_to: u64) -> io::Result<()> {
    for left in [path.join("scratch"), path.join("store").join("open")] {
        match std::fs::remove_dir_all(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    forget_unfinished_runs(&path.join("store").join("jobs"))?;
    let mut files = Vec::new();
    collect(&path.join("store"), &mut files)?;
    let mut size: u64 = files.iter().map(|file| file.bytes).sum();
    if size <= cap {
        return Ok(());
    }
    files.sort_by_key(|file| file.used);
    let (mut removed, before) = (0, size);
    for file in files {
        if size <= evict_to {
            break;
        }
        std::fs::remove_file(&file.path)?;
        size -= file.bytes;
        removed += 1;
    }
    info!(removed, bytes = before - size, "data folder was above its cap; least recently used objects removed");
    Ok(())
}

/// A run that was stopped is accepted anew by the next command: the program may be another version by then, and the output another
/// file. Its chunks are found by their names all the same.
fn forget_unfinished_runs(jobs: &Path) -> io::Result<()> {
    for job in folders(jobs)? {
        for run in folders(&job.join("runs"))? {
            if !run.join("manifest.json").is_file() {
                std::fs::remove_dir_all(run)?;
            }
        }
    }
    Ok(())
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths: Result<Vec<PathBuf>, io::Error> = entries.map(|entry| Ok(entry?.path())).collect();
    Ok(paths?.into_iter().filter(|path| path.is_dir()).collect())
}

struct Stored {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn collect(folder: &Path, files: &mut Vec<Stored>) -> io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let meta = entry.metadata()?;
        if meta.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            let used = meta.accessed()?.max(meta.modified()?);
            files.push(Stored { path: entry.path(), bytes: meta.len(), used });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(folder: &Path, name: &str, bytes: usize, age: u64) {
        let path = folder.join("store").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![0; bytes]).unwrap();
        let when = SystemTime::now() - Duration::from_secs(age);
        let times = std::fs::FileTimes::new().set_accessed(when).set_modified(when);
        File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    }

    fn left(folder: &Path) -> Vec<String> {
        let mut files = Vec::new();
        collect(&folder.join("store"), &mut files).unwrap();
        let name = |file: &Stored| file.path.file_name().unwrap().to_string_lossy().into_owned();
        let mut names: Vec<String> = files.iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn least_recently_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, age) in [("a/old", 100, 300), ("b/older", 100, 400), ("new", 100, 100), ("middle", 100, 200)]
        {
            file(folder.path(), name, bytes, age);
        }
        tidy(folder.path(), 400, 200).unwrap();
        assert_eq!(left(folder.path()).len(), 4, "at the cap nothing goes");
        tidy(folder.path(), 399, 200).unwrap();
        assert_eq!(left(folder.path()), ["middle", "new"]);
    }

    #[test]
    fn nothing_is_tidied_while_another_uses_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let in_work = first.scratch().join("in-work");
        std::fs::create_dir_all(&in_work).unwrap();
        let second = DataDir::open(folder.path()).unwrap();
        assert!(in_work.exists());
        drop((first, second));
        DataDir::open(folder.path()).unwrap();
        assert!(!in_work.exists());
    }
}
