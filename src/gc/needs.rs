//! What open jobs need, followed from their markers.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use serde::de::DeserializeOwned;

use crate::contract::{Digest, OpenMarker, Plan, Run, SliceIndex, keys};
use crate::seal;
use crate::store::{ObjectStore, StoreError};

use super::GcError;

/// Largest object that is read, bytes: a plan (see `site.rs`).
const JSON_MAX: u64 = 64 << 20;

/// What open jobs need. It only grows: a job that ends while gc runs keeps what it had until the next time.
#[derive(Default)]
pub struct Needs {
    /// Markers by key, with the time of what is known about each.
    followed: HashMap<String, SystemTime>,
    /// Folders of jobs and of cuts, each ending with `/`.
    folders: HashSet<String>,
    /// Single objects.
    objects: HashSet<String>,
}

impl Needs {
    /// Follows all markers that are new, or whose job was not planned and cut in full when they were followed last.
    pub async fn refresh(&mut self, store: &dyn ObjectStore) -> Result<(), GcError> {
        let mut after = String::new();
        loop {
            let page = store.list_after(keys::OPEN, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.key.clone();
            for marker in page {
                if self.followed.get(&marker.key) == Some(&marker.modified) {
                    continue;
                }
                if self.follow(store, &marker.key).await? {
                    self.followed.insert(marker.key, marker.modified);
                }
            }
        }
    }

    /// Whether an open job needs the object.
    pub fn include(&self, key: &str) -> bool {
        // `jobs/<job>/` or `sources/<clip>/<cut>/`.
        let in_folder = key.match_indices('/').any(|(slash, _)| self.folders.contains(&key[..=slash]));
        in_folder || self.objects.contains(key)
    }

    /// Jobs that were found open.
    pub fn jobs(&self) -> usize {
        self.folders.iter().filter(|folder| folder.starts_with(keys::JOBS)).count()
    }

    /// Adds what one job needs. Whether that is all it will ever need.
    async fn follow(&mut self, store: &dyn ObjectStore, key: &str) -> Result<bool, GcError> {
        let unreadable = |error: String| GcError::Unreadable { marker: key.to_owned(), error };
        let read = Reader { store, marker: key };
        // It has ended since the listing.
        let Some(marker) = read.json::<OpenMarker>(key).await? else { return Ok(false) };
        self.folders.insert(format!("{}{}/", keys::JOBS, marker.job));
        // It is being planned; what it relies on is renewed.
        let Some(run) = read.json::<Run>(&keys::run(&marker.job, marker.run)).await? else { return Ok(false) };
        let cut = run.rule.id();
        self.folders.insert(keys::cut(&run.clip, &cut));
        self.objects.extend(
            run.portraits
                .iter()
                .chain(run.people.iter().flat_map(|person| person.photos()))
                .chain(&run.reference)
                .map(keys::blob),
        );
        let plan_key = keys::plan(&run.clip, &cut);
        let Some(plan) = read.json::<Plan>(&plan_key).await? else {
            return Err(unreadable(format!("{plan_key} is missing")));
        };
        if plan.clip.is_folder() {
            self.objects.extend((0..plan.chunks.len()).map(|chunk| plan.slice_key(chunk)));
        }
        let index = read.json::<SliceIndex>(&keys::slices(&run.clip, &cut)).await?;
        let is_cut = index.is_some();
        let slices = match index {
            Some(index) => index.slices.into_iter().enumerate().collect(),
            None => slices_so_far(store, &plan).await?,
        };
        for (chunk, slice) in slices {
            let Some(span) = plan.chunks.get(chunk) else {
                return Err(unreadable(format!("it has more slices than {} chunks", plan.chunks.len())));
            };
            self.objects.insert(keys::result(&run.spec(&plan, span, slice).fingerprint()));
        }
        Ok(is_cut)
    }
}

/// Reads what belongs to one marker.
struct Reader<'a> {
    store: &'a dyn ObjectStore,
    marker: &'a str,
}

impl Reader<'_> {
    async fn json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, GcError> {
        let unreadable = |error: String| GcError::Unreadable { marker: self.marker.to_owned(), error };
        let bytes = match self.store.get(key, JSON_MAX).await {
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error @ StoreError::TooLarge { .. }) => return Err(unreadable(error.to_string())),
            bytes => bytes?,
        };
        seal::from_json(&bytes).map(Some).map_err(|error| unreadable(format!("{key}: {error}")))
    }
}

/// The slices of a clip that is still being cut have no index: they are read.
async fn slices_so_far(store: &dyn ObjectStore, plan: &Plan) -> Result<Vec<(usize, Digest)>, GcError> {
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("slice");
    let mut slices = Vec::new();
    for chunk in 0..plan.chunks.len() {
        let key = plan.slice_key(chunk);
        match store.fetch(&key, &path).await {
            Err(StoreError::NotFound { .. }) => continue,
            fetched => fetched?,
        };
        let fetched = path.clone();
        let digest = tokio::task::spawn_blocking(move || seal::digest_file(&fetched)).await??;
        slices.push((chunk, digest));
    }
    Ok(slices)
}
