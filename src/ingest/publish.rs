//! Slices go up, and each chunk is published as soon as its slice is there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tracing::warn;

use crate::contract::{Cut, Digest, Plan, Run, SliceIndex, Still, keys};
use crate::crash;
use crate::error::Refusal;
use crate::media::{self, MediaError};
use crate::seal;
use crate::site::{Site, SiteError};
use crate::store::{Body, Location, Put};

use super::clip::{bring, unusable};
use super::folder::of_still;
use super::outstanding::{Admission, Outstanding};
use super::{IngestError, Target};

/// Slices that are looked for at once.
const REQUESTS: usize = 16;

/// Cuts what is not cut yet, and publishes every chunk of the run.
pub async fn cut_and_publish(
    site: &Site,
    outstanding: &Outstanding,
    run: &Run,
    plan: &Plan,
    target: &Target,
    scratch: &Path,
) -> Result<(), IngestError> {
    let publisher = Publisher { site, outstanding, run, plan };
    match publisher.slices_in_store().await? {
        Some(index) => Ok(publisher.publish_all(&index).await?),
        None => {
            let (ready, slices) = mpsc::channel(2); // one going up, one waiting
            let dir = scratch.join("slices");
            tokio::fs::create_dir_all(&dir).await.map_err(SiteError::from)?;
            let cutting = async {
                match target {
                    Target::File(path) => publisher.cut_clip(path, dir, ready).await,
                    Target::Folder(folder) => publisher.cut_stills(folder, &dir, ready).await,
                }
            };
            let (taken, cut) = tokio::join!(publisher.take(slices), cutting);
            taken.map_err(IngestError::from).and(cut)
        }
    }
}

/// Slices that are cut: the chunk and the file.
type Ready = mpsc::Sender<(usize, PathBuf)>;

struct Publisher<'a> {
    site: &'a Site,
    outstanding: &'a Outstanding,
    run: &'a Run,
    plan: &'a Plan,
}

impl Publisher<'_> {
    /// The digests of the clip's slices, if every one of them is in the store.
    async fn slices_in_store(&self) -> Result<Option<SliceIndex>, SiteError> {
        let (clip, cut) = (&self.plan.source, self.plan.rule.id());
        let index = match self.site.read_json::<SliceIndex>(&keys::slices(clip, &cut)).await {
            Ok(Some(index)) => index,
            // What cannot be read is written again when all is cut.
            Ok(None) | Err(SiteError::BadObject { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if index.slices.len() != self.plan.chunks.len() || !self.site.ensure_fresh(&keys::slices(clip, &cut)).await? {
            return Ok(None);
        }
        if self.plan.clip.is_folder() {
            // They lie in as many places.
            let there = stream::iter(0..index.slices.len())
                .map(|chunk| async move { self.site.ensure_fresh(&self.plan.slice_key(chunk)).await });
            let is_whole = there.buffered(REQUESTS).try_all(std::future::ready).await?;
            return Ok(is_whole.then_some(index));
        }
        let listed = self.site.store.list(&keys::cut(clip, &cut)).await?;
        let there: HashMap<String, SystemTime> =
            listed.into_iter().map(|object| (object.key, object.modified)).collect();
        for key in (0..self.plan.chunks.len()).map(|chunk| self.plan.slice_key(chunk)) {
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

    /// One pass over the clip; it waits while slices wait to go up.
    async fn cut_clip(&self, target: &Path, dir: PathBuf, ready: Ready) -> Result<(), IngestError> {
        let (path, clip, cuts) = (target.to_owned(), self.plan.clip.clone(), self.plan.chunks.clone());
        let cutter = tokio::task::spawn_blocking(move || {
            let mut hand_over = |chunk: usize, path: &Path| {
                ready.blocking_send((chunk, path.to_owned())).map_err(|_| MediaError::Cancelled)
            };
            match media::slice(&path, &clip, &cuts, &dir, &mut hand_over) {
                Ok(()) | Err(MediaError::Cancelled) => Ok(()),
                Err(error) => Err(unusable(&error)),
            }
        });
        cutter.await.map_err(SiteError::from)?
    }

    /// One still after the other: of those that are fetched, one is here at a time.
    async fn cut_stills(&self, folder: &Location, dir: &Path, ready: Ready) -> Result<(), IngestError> {
        for (chunk, still) in self.plan.clip.stills.iter().enumerate() {
            let place = folder.file_in(&still.name).to_string();
            let path = bring(self.site, "target", &place, &dir.join("still")).await?;
            let (still, slice) = (still.clone(), dir.join(format!("{chunk}.nut")));
            let cutter = tokio::task::spawn_blocking(move || cut_still(&still, &path, &slice).map(|()| slice));
            let slice = cutter.await.map_err(SiteError::from)??;
            if ready.send((chunk, slice)).await.is_err() {
                break; // no further chunk is wanted
            }
        }
        Ok(())
    }

    /// Puts slices up and publishes their chunks, as they come.
    async fn take(&self, mut slices: mpsc::Receiver<(usize, PathBuf)>) -> Result<(), SiteError> {
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
        Ok(())
    }

    /// The index, over one that was written when slices were cut otherwise.
    async fn put_index(&self, key: &str, index: SliceIndex) -> Result<(), SiteError> {
        if self.site.put_json(key, &index).await? == Put::Exists {
            let there = self.site.read_json::<SliceIndex>(key).await;
            if !matches!(there, Ok(Some(there)) if there == index) {
                self.site.replace_json(key, &index, None).await?;
            }
        }
        Ok(())
    }

    /// Puts the slice up. Cutting gives the same bytes every time, so one that is there and is not the same is corrupt, and replaced.
    async fn upload(&self, chunk: usize, path: &Path) -> Result<Digest, SiteError> {
        let key = self.plan.slice_key(chunk);
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

/// Cuts the still at `path`. Blocks.
fn cut_still(still: &Still, path: &Path, to: &Path) -> Result<(), IngestError> {
    let digest = seal::digest_file(path).map_err(SiteError::from)?;
    if digest != still.digest {
        let expected = "the same files until the job has ended: submit it again";
        let found = format!("{}: its content has changed since the folder was looked through", still.name);
        return Err(Refusal::new("target", found, expected).into());
    }
    let dir = to.parent().unwrap_or(Path::new("."));
    let mut move_away = |_: usize, slice: &Path| std::fs::rename(slice, to).map_err(|error| file_error(to, &error));
    media::slice(path, &still.clip, &[Cut::STILL], dir, &mut move_away)
        .map_err(|error| of_still(&still.name, path, &error))
}

fn file_error(path: &Path, error: &std::io::Error) -> MediaError {
    MediaError::File { action: "rename to", path: path.to_owned(), reason: error.to_string() }
}
