//! U: what lies in the store is whole: no half of an object, and nothing else than what its name, its index or its own digest says.

use std::collections::HashMap;
use std::path::Path;

use facemill::contract::{Digest, Plan, SliceIndex, keys};
use facemill::seal;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::faults::universe::Universe;

/// How the names of files begin that are being written, or were when their process was killed: no objects (`src/store/key.rs`).
const TEMPORARY: &str = ".tmp-";
/// Trials of the store, which killed roles leave (`src/store/probe.rs`).
const PROBES: &str = "probe/";
const SLICE: &str = ".nut";

/// Objects that are not whole. Roles may still run: what is deleted meanwhile is none.
pub fn broken(universe: &Universe) -> Vec<String> {
    let store = universe.place.folder.as_path();
    let mut found = Vec::new();
    objects(store, "", &mut found);
    let mut slices = indexed(store, &found);
    // An index is there only once all slices of its clip are.
    for chunk in universe.tape.records.chunks.iter().filter_map(|entry| entry.value.as_ref()) {
        let span = &chunk.spec.span;
        slices.entry(keys::slice(&chunk.clip, &chunk.cut, span.start, span.end)).or_insert(chunk.spec.slice);
    }
    let is_to_be_whole = |key: &&String| !universe.spoilt_late.contains(&store.join(key));
    let looked_at = found.iter().filter(is_to_be_whole).map(|key| (key, wrong(store, key, &slices)));
    let broken = looked_at.filter_map(|(key, why)| Some(format!("U: {key} is not whole: {}", why?)));
    let mut broken: Vec<String> = broken.collect();
    // The first role has put it there: whoever does not find it has looked into another folder.
    if !found.iter().any(|key| key == keys::LAYOUT) {
        broken.push(format!("U: {} is not in the store", keys::LAYOUT));
    }
    broken
}

/// Adds the keys of all objects in a folder, which is `below` in the store.
fn objects(folder: &Path, below: &str, keys: &mut Vec<String>) {
    // A folder may be swept away, too.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(TEMPORARY) {
            continue;
        }
        if entry.path().is_dir() {
            objects(&entry.path(), &format!("{below}{name}/"), keys);
        } else {
            keys.push(format!("{below}{name}"));
        }
    }
}

/// The digests of slices, by their keys, as far as they have an index.
fn indexed(store: &Path, found: &[String]) -> HashMap<String, Digest> {
    let mut slices = HashMap::new();
    for key in found {
        let Some(cut) = key.strip_suffix("/slices.json").filter(|cut| cut.starts_with(keys::SOURCES)) else { continue };
        // One that cannot be read is told of by itself.
        let index = read::<SliceIndex>(&store.join(key));
        let plan = read::<Plan>(&store.join(format!("{cut}/plan.json")));
        if let (Ok(SliceIndex { slices: digests }), Ok(plan)) = (index, plan) {
            slices.extend((0..plan.chunks.len()).map(|chunk| plan.slice_key(chunk)).zip(digests));
        }
    }
    slices
}

/// What is wrong with an object; none if it is whole, or gone by now.
fn wrong(store: &Path, key: &str, slices: &HashMap<String, Digest>) -> Option<String> {
    let path = store.join(key);
    let name = key.rsplit('/').next().unwrap_or(key);
    let looked = if key.starts_with(PROBES) {
        Ok(())
    } else if key.starts_with(keys::RESULTS) {
        result(&path, name)
    } else if key.starts_with(keys::BLOBS) {
        has_digest(&path, name)
    } else if key.starts_with(keys::SOURCES) && name.ends_with(SLICE) {
        // One of a clip whose ingest came to nothing is known to nobody.
        slices.get(key).map_or(Ok(()), |digest| has_digest(&path, &digest.to_string()))
    } else {
        read::<Value>(&path).map(drop)
    };
    looked.err().filter(|_| path.exists())
}

/// Whole in itself, and that of the chunk for which it is kept.
fn result(path: &Path, name: &str) -> Result<(), String> {
    let (footer, _) = seal::verify(path).map_err(|error| error.to_string())?;
    let is_named = name.strip_suffix(SLICE) == Some(footer.fingerprint.to_string().as_str());
    if is_named { Ok(()) } else { Err(format!("it is the result {}", footer.fingerprint)) }
}

fn has_digest(path: &Path, expected: &str) -> Result<(), String> {
    let found = seal::digest_file(path).map_err(|error| error.to_string())?.to_string();
    if found == expected { Ok(()) } else { Err(format!("its sha256 is {found}, expected {expected}")) }
}

/// A JSON object, with the digest that it carries.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    seal::from_json(&std::fs::read(path).map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_is_another_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path();
        let digest = Digest::of(b"content");
        let slices = HashMap::from([("sources/c/r/0-8.nut".to_owned(), digest)]);
        let sealed = seal::to_json(&serde_json::json!({ "at": 7 })).unwrap();
        let blob = format!("blobs/{}/{digest}", digest.short(2));
        let table: [(&str, &[u8], bool); 11] = [
            ("sources/c/r/0-8.nut", b"content", true),
            ("sources/c/r/0-8.nut", b"conten", false),
            ("sources/c/r/8-16.nut", b"of nobody", true),
            (&blob, b"content", true),
            (&blob, b"contend", false),
            ("jobs/j/cancelled.json", &sealed, true),
            ("jobs/j/cancelled.json", &sealed[..sealed.len() - 1], false),
            ("jobs/j/runs/1/deliveries/d", b"null", true),
            ("open/0/j", b"", false),
            ("results/ab/ab.nut", b"no footer", false),
            ("probe/x", b"three", true),
        ];
        for (key, bytes, is_whole) in table {
            let path = store.join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(wrong(store, key, &slices).is_none(), is_whole, "{key}");
        }
        assert_eq!(wrong(store, "jobs/gone", &slices), None);
        std::fs::write(store.join("jobs/.tmp-1"), b"hal").unwrap();
        let mut found = Vec::new();
        objects(store, "", &mut found);
        assert_eq!(found.len(), 8, "{found:?}");
    }
}
