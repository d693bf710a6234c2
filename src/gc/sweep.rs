//! The way through the store: page by page, list, read the markers again, judge, delete.

use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};

use crate::contract::keys;
use crate::store::{Listed, ObjectStore, StoreError};

use super::needs::Needs;
use super::{Class, GcError, Report};

/// Requests at once.
const REQUESTS: usize = 16;
/// Where probes are made (`store::probe`).
const PROBES: &str = "probe/";

/// One way through the store.
pub struct Sweep<'a> {
    store: &'a dyn ObjectStore,
    /// What was written before this is old.
    before: SystemTime,
    dry_run: bool,
    needs: Needs,
    report: Report,
}

impl<'a> Sweep<'a> {
    /// Reads the markers.
    pub async fn begin(store: &'a dyn ObjectStore, before: SystemTime, dry_run: bool) -> Result<Self, GcError> {
        let mut needs = Needs::default();
        needs.refresh(store).await?;
        Ok(Self { store, before, dry_run, needs, report: Report::default() })
    }

    /// What was deleted.
    pub fn end(mut self) -> Report {
        self.report.open_jobs = self.needs.jobs();
        self.report
    }

    /// Results of chunks.
    pub async fn results(&mut self) -> Result<(), GcError> {
        self.below(keys::RESULTS, self.before, |_| Class::Results).await
    }

    /// What was cut from clips.
    pub async fn sources(&mut self) -> Result<(), GcError> {
        self.below(keys::SOURCES, self.before, |key| match key.rsplit('/').next() {
            Some(file) if file.starts_with("reference-") || file.starts_with("gate-") => Class::Looks,
            Some("plan.json" | "slices.json") => Class::Plans,
            _ => Class::Slices,
        })
        .await
    }

    /// Photos and looks.
    pub async fn blobs(&mut self) -> Result<(), GcError> {
        self.below(keys::BLOBS, self.before, |_| Class::Blobs).await
    }

    /// What probes have left, if it was written before `before`.
    pub async fn probes(&mut self, before: SystemTime) -> Result<(), GcError> {
        self.below(PROBES, before, |_| Class::Probes).await
    }

    /// Folders of jobs in which all is old.
    pub async fn jobs(&mut self) -> Result<(), GcError> {
        let mut job: Vec<Listed> = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.store.list_after(keys::JOBS, &after).await?;
            let Some(last) = page.last() else { break };
            after = last.key.clone();
            for object in page {
                let begins_another = job.first().is_some_and(|first| folder(&first.key) != folder(&object.key));
                if begins_another {
                    self.job(std::mem::take(&mut job)).await?;
                }
                job.push(object);
            }
        }
        self.job(job).await
    }

    /// One job, by all objects of its folder. One without a marker has ended, or was given up before it was accepted.
    async fn job(&mut self, objects: Vec<Listed>) -> Result<(), GcError> {
        let is_old = objects.iter().all(|object| object.modified < self.before);
        if !is_old || objects.is_empty() || self.needs.include(&objects[0].key) {
            return Ok(());
        }
        self.needs.refresh(self.store).await?;
        let (bound, others): (Vec<Listed>, Vec<Listed>) =
            objects.into_iter().partition(|object| object.key.ends_with("/job.json"));
        // Renewed: the job is being submitted again, which must find its runs.
        for object in &bound {
            let found = self.store.head(&object.key).await?;
            if found.is_none_or(|found| found.modified >= self.before) {
                return Ok(());
            }
        }
        let (mut runs, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|object| step_of(&object.key).is_some());
        runs.sort_by_key(|object| step_of(&object.key));
        self.delete(others, self.before, |_| Class::Jobs).await?;
        for object in runs.into_iter().chain(bound) {
            self.delete(vec![object], self.before, |_| Class::Jobs).await?;
        }
        Ok(())
    }

    async fn below(&mut self, prefix: &str, before: SystemTime, class: fn(&str) -> Class) -> Result<(), GcError> {
        let mut after = String::new();
        loop {
            let mut page = self.store.list_after(prefix, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.key.clone();
            page.retain(|object| object.modified < before && !self.needs.include(&object.key));
            if page.is_empty() {
                continue;
            }
            self.needs.refresh(self.store).await?;
            self.delete(page, before, class).await?;
        }
    }

    /// Deletes those that no job needs and that are old still.
    async fn delete(
        &mut self,
        candidates: Vec<Listed>,
        before: SystemTime,
        class: fn(&str) -> Class,
    ) -> Result<(), GcError> {
        let (store, needs, dry_run) = (self.store, &self.needs, self.dry_run);
        let unneeded = candidates.into_iter().filter(|object| !needs.include(&object.key));
        let deleted = stream::iter(unneeded)
            .map(|object| async move {
                let is_deleted = dry_run || delete_old(store, &object.key, before).await?;
                Ok::<_, GcError>(is_deleted.then_some(object))
            })
            .buffer_unordered(REQUESTS)
            .try_filter_map(async |deleted| Ok(deleted))
            .try_collect::<Vec<Listed>>()
            .await?;
        for object in deleted {
            self.report.count(class(&object.key), object.size);
        }
        Ok(())
    }
}

/// Deletes the version of an object that is older than `before`; whether it did.
async fn delete_old(store: &dyn ObjectStore, key: &str, before: SystemTime) -> Result<bool, StoreError> {
    let Some(meta) = store.head(key).await?.filter(|meta| meta.modified < before) else { return Ok(false) };
    match store.delete(key, Some(&meta.version)).await {
        // Renewed between the two.
        Err(StoreError::Changed { .. }) => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// When a run or its end is deleted: by its number, and the end last. None of anything else.
fn step_of(key: &str) -> Option<(u32, bool)> {
    let (_, below) = key.split_once("/runs/")?;
    let (run, file) = below.split_once('/')?;
    let is_end = match file {
        "run.json" => false,
        "manifest.json" => true,
        _ => return None,
    };
    Some((run.parse().ok()?, is_end))
}

/// `jobs/<job>/` of anything in it.
fn folder(key: &str) -> &str {
    let end = key[keys::JOBS.len()..].find('/').map_or(key.len(), |slash| keys::JOBS.len() + slash + 1);
    &key[..end]
}
