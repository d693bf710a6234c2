//! Slices go up, and each chunk is published as soon as its slice is there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::sync::mpsc;
use tracing::warn;

use crate::contract::{Digest, Plan, Run, SliceIndex, keys};
use crate::crash;
use crate::media::{self, MediaError};
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::{Body, Put};

use super::IngestError;
use super::clip::unusable;
use super::outstanding::{Admission, Outstanding};

/// Cuts what is not cut yet, and publishes every chunk of the run.
pub async fn cut_and_publish(
    site: &Site,
    outstanding: &Outstanding,
    run: &Run,
    plan: &Plan,
    target: &Path,
    scratch: &Path,
) -> Result<(), IngestError> {
    let publisher = Publisher { site, outstanding, run, plan };
    match publisher.slices_in_store().await? {
        Some(index) => Ok(publisher.publish_all(&index).await?),
        None => publisher.cut(target, scratch).await,
    }
}

struct Publisher<'a> {
    site: &'a Site,
    outstanding: &'a Outstanding,
    run: &'a Run,
    plan: &'a Plan,
}

impl Publisher<'_> {
    fn slice_key(&self, chunk: usize) -> String {
        let cut = &self.plan.chunks[chunk];
        keys::slice(&self.plan.source, &self.plan.rule.id(), cut.start, cut.end)
    }

    /// The digests of the clip's slices, if every one of them is in the store.
    async fn slices_in_store(&self) -> Result<Option<SliceIndex>, SiteError> {
        let (clip, cut) = (&self.plan.source, self.plan.rule.id());
        let index = match self.site.read_json::<SliceIndex>(&keys::slices(clip, &cut)).await {
            Ok(Some(index)) => index,
            // What cannot be read is written again when all is cut.
            Ok(None) | Err(SiteError::BadObject { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let listed = self.site.store.list(&keys::cut(clip, &cut)).await?;
        let there: HashMap<String, SystemTime> =
            listed.into_iter().map(|object| (object.key, object.modified)).collect();
        if index.slices.len() != self.plan.chunks.len() || !self.site.ensure_fresh(&keys::slices(clip, &cut)).await? {
            return Ok(None);
        }
        for key in (0..self.plan.chunks.len()).map(|chunk| self.slice_key(chunk)) {
            let is_there = match there.get(&key) {
                Some(modified) if self.site.retention.is_old(*modified) => self.site.ensure_fresh(&key).await?,
                found => found.is_some(),
            };
            if !is_there {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    async fn publish_all(&self, index: &SliceIndex) -> Result<(), SiteError> {
        for (chunk, slice) in index.slices.iter().enumerate() {
            if self.publish(chunk, *slice, chunk).await? == Admission::Ended {
                break;
            }
        }
        Ok(())
    }

    /// One pass over the clip; the cutter waits while two slices wait to go up.
    async fn cut(&self, target: &Path, scratch: &Path) -> Result<(), IngestError> {
        let (ready, mut slices) = mpsc::channel::<(usize, PathBuf)>(2); // one going up, one waiting
        let (path, clip, cuts, dir) =
            (target.to_owned(), self.plan.clip.clone(), self.plan.chunks.clone(), scratch.join("slices"));
        let cutter = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&dir).map_err(SiteError::from)?;
            let mut hand_over = |chunk: usize, path: &Path| {
                ready.blocking_send((chunk, path.to_owned())).map_err(|_| MediaError::Cancelled)
            };
            match media::slice(&path, &clip, &cuts, &dir, &mut hand_over) {
                Ok(()) | Err(MediaError::Cancelled) => Ok(()),
                Err(error) => Err(unusable(&error)),
            }
        });
        let mut digests = vec![None; self.plan.chunks.len()];
        let mut published = 0;
        while let Some((chunk, path)) = slices.recv().await {
            let digest = self.upload(chunk, &path).await?;
            digests[chunk] = Some(digest);
            // Before the last record: whoever hears that all chunks are settled can name all of them.
            if let Some(slices) = digests.iter().copied().collect::<Option<Vec<_>>>() {
                let key = keys::slices(&self.plan.source, &self.plan.rule.id());
                self.put_index(&key, SliceIndex { slices }).await?;
                crash::point("ingest.slices.put");
            }
            if self.publish(chunk, digest, published).await? == Admission::Ended {
                break;
            }
            published += 1;
        }
        drop(slices);
        cutter.await.map_err(SiteError::from)?
    }

    /// The index, over one that was written when slices were cut otherwise.
    async fn put_index(&self, key: &str, index: SliceIndex) -> Result<(), SiteError> {
        if self.site.put_json(key, &index).await? == Put::Exists {
            let there = self.site.read_json::<SliceIndex>(key).await;
            if !matches!(there, Ok(Some(there)) if there == index) {
                let bytes = serde_json::to_vec(&index).map_err(std::io::Error::from)?;
                self.site.store.replace(key, Body::Bytes(bytes.into()), None).await?;
            }
        }
        Ok(())
    }

    /// Puts the slice up. Cutting gives the same bytes every time, so one that is there and is not the same is corrupt, and replaced.
    async fn upload(&self, chunk: usize, path: &Path) -> Result<Digest, SiteError> {
        let key = self.slice_key(chunk);
        let local = path.to_owned();
        let digest = tokio::task::spawn_blocking(move || seal::digest_file(&local)).await??;
        if self.site.store.put_new(&key, Body::File(path.to_owned())).await? == Put::Exists {
            let there = path.with_extension("there");
            if self.site.fetch_digest(&key, &there).await? != digest {
                warn!(key, "a slice is not what it should be; replacing it");
                self.site.store.replace(&key, Body::File(path.to_owned()), None).await?;
            }
            tokio::fs::remove_file(there).await?;
            self.site.ensure_fresh(&key).await?;
        }
        tokio::fs::remove_file(path).await?;
        crash::point("ingest.slice.put");
        Ok(digest)
    }

    async fn publish(&self, chunk: usize, slice: Digest, published: usize) -> Result<Admission, SiteError> {
        let job = &self.run.job.job;
        if self.outstanding.admit(job, published as u32).await? == Admission::Ended {
            return Ok(Admission::Ended);
        }
        self.site.order(&self.run.chunk(self.plan, chunk, slice)).await?;
        crash::point("ingest.chunk.published");
        Ok(Admission::Go)
    }
}
