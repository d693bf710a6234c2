//! What lanes have learnt of photos, kept on the local disk: a chunk of a job whose photos are known costs no networks for them. Nothing
//! here changes a result: what is kept is what the same networks gave for the same bytes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};
use tracing::debug;

use crate::contract::Digest;

/// Entries that are kept, some 6 kB each; those that were made first go first.
const ENTRIES: usize = 10_000;
/// The shelf is looked through once in so many entries.
const LOOK_EVERY: u8 = 64;
/// Bytes of the checksum at an entry's end.
const CHECKSUM: usize = 32;

/// A folder with one file of numbers for each key. Several processes may share it.
pub struct Shelf {
    folder: Option<PathBuf>,
}

impl Shelf {
    /// In this folder, made when it is needed; without one nothing is kept.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// What is kept under `key`. An entry that is damaged is none.
    pub fn get(&self, key: &Digest) -> Option<Vec<f32>> {
        let bytes = fs::read(self.folder.as_ref()?.join(key.to_string())).ok()?;
        let (numbers, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        let is_whole = Sha256::digest(numbers)[..] == *checksum;
        is_whole.then(|| numbers.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect())
    }

    /// Keeps numbers under `key`. A disk that is full or may not be written to only means that they are computed again.
    pub fn put(&self, key: &Digest, numbers: &[f32]) {
        if let Some(folder) = &self.folder
            && let Err(error) = put(folder, key, numbers)
        {
            debug!(%error, folder = %folder.display(), "what is known of a photo cannot be kept");
        }
    }
}

fn put(folder: &PathBuf, key: &Digest, numbers: &[f32]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    // Whole or not at all, also for another lane that looks at the same moment.
    let part = folder.join(format!("{key}.{}", std::process::id()));
    fs::write(&part, bytes)?;
    fs::rename(&part, folder.join(key.to_string()))?;
    if checksum[0] % LOOK_EVERY == 0 { thin(folder) } else { Ok(()) }
}

/// Deletes the oldest entries, if there are too many.
fn thin(folder: &PathBuf) -> io::Result<()> {
    let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.metadata()?.modified()?, entry.path()));
    }
    entries.sort_unstable();
    let surplus = entries.len().saturating_sub(ENTRIES);
    // Another lane may have been faster.
    entries.iter().take(surplus).for_each(|(_, path)| drop(fs::remove_file(path)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(folder.path().join("portraits")));
        let (known, unknown) = (Digest::of_json(&"known"), Digest::of_json(&"unknown"));
        assert_eq!(shelf.get(&known), None);
        shelf.put(&known, &[1.5, -0.1]);
        assert_eq!(shelf.get(&known), Some(vec![1.5, -0.1]));
        assert_eq!(shelf.get(&unknown), None);
        let file = folder.path().join("portraits").join(known.to_string());
        let mut bytes = fs::read(&file).unwrap();
        bytes[1] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(shelf.get(&known), None, "damaged");
        Shelf::new(None).put(&known, &[1.0]);
    }

    #[test]
    fn the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..ENTRIES + 3 {
            fs::write(folder.path().join(number.to_string()), []).unwrap();
        }
        let old = SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(folder.path().join("7")).unwrap().set_modified(old).unwrap();
        thin(&folder.path().to_owned()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), ENTRIES);
        assert!(!folder.path().join("7").exists());
    }
}
