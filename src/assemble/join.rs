//! From results to the clip: fetch, verify, join, put in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tracing::warn;

use crate::contract::{Cut, Digest, Fingerprint, FrameCounts, Output, Plan, ResultFooter, Run, StageSeconds, keys};
use crate::crash;
use crate::credentials::{Credentials, CredentialsError, Parent};
use crate::error::{Classify, Kind};
use crate::marks::Marks;
use crate::media::{self, ChunkFile, Container, JoinRequest, MediaError, PictureFormat};
use crate::seal::{self, SealError};
use crate::site::{Site, SiteError};
use crate::store::{Location, LocationError, StoreError, Version};
use crate::telemetry::{self, Stage};

use super::damage;
use super::deliver::{Made, deliver};
use super::open::slice_digests;
use super::stills;

/// Footers read at once.
const REQUESTS: usize = 16;

/// A run whose results are all there.
pub struct Work {
    /// Where they are.
    pub site: Site,
    /// The run.
    pub run: Arc<Run>,
    /// Its clip and chunks.
    pub plan: Arc<Plan>,
    /// With whose signature its output is signed; none: it is not.
    pub credentials: Option<Credentials>,
}

/// A clip that is in its place.
#[derive(Debug)]
pub struct Joined {
    /// Where.
    pub output: Output,
    /// As the results say.
    pub counts: FrameCounts,
    /// What could not be kept.
    pub warnings: Vec<String>,
    /// Where the time went.
    pub seconds: StageSeconds,
}

impl Work {
    /// What the output says of itself in its metadata.
    pub(super) fn marks(&self) -> Option<Marks> {
        self.credentials.as_ref()?.marks(&self.run)
    }

    /// Whose signature the output bears.
    pub(super) fn signer(&self) -> Option<String> {
        self.credentials.as_ref().map(|credentials| credentials.holder().to_owned())
    }
}

/// Why there is no clip.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Something that does not depend on the job.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The clip's file is no longer the one that was planned.
    #[error("target: {0} has changed since the job was accepted; submit the job again")]
    TargetChanged(String),
    /// The clip's file cannot be read any more.
    #[error("target: {0}")]
    Target(LocationError),
    /// A result is not there, or was not whole and has been deleted.
    #[error("chunk {chunk}: {reason}")]
    Result {
        /// Number of the chunk.
        chunk: usize,
        /// What is wrong.
        reason: String,
    },
    /// The results do not fit together.
    #[error(transparent)]
    Media(MediaError),
    /// Too many frames of the clip are broken.
    #[error("{0}")]
    Damaged(String),
    /// Too often it did not come to its end.
    #[error("join: {0}")]
    GivenUp(String),
    /// It cannot be signed.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The output cannot be put in its place.
    #[error("output: {0}")]
    Output(LocationError),
    /// Someone else has written the output since the job was accepted.
    #[error("output: {0} has been changed by someone else since the job was accepted; it was left alone")]
    OutputChanged(String),
    /// The assembler stops, or lets the job go.
    #[error("stopped")]
    Stopped,
    /// Somebody else has ended the run.
    #[error("the run has ended")]
    Ended,
}

impl Classify for JoinError {
    fn kind(&self) -> Kind {
        match self {
            Self::Site(error) => error.kind(),
            Self::Target(error) | Self::Output(error) => error.kind(),
            Self::Media(error) => error.kind(),
            Self::Credentials(error) => error.kind(),
            Self::TargetChanged(_)
            | Self::Result { .. }
            | Self::Damaged(_)
            | Self::GivenUp(_)
            | Self::OutputChanged(_) => Kind::Poison,
            Self::Stopped | Self::Ended => Kind::Retry,
        }
    }
}

/// Joins all results of a run; its output is in its place when this returns.
pub async fn join(work: &Work, stop: Arc<AtomicBool>) -> Result<Joined, JoinError> {
    match work.plan.clip.is_folder() {
        true => stills::join(work, &stop).await,
        false => join_clip(work, stop).await,
    }
}

async fn join_clip(work: &Work, stop: Arc<AtomicBool>) -> Result<Joined, JoinError> {
    let Work { site, run, plan, .. } = work;
    let started = Instant::now();
    let stopped = stop.clone();
    crash::point("assemble.join.begun");
    let scratch = site.scratch("join")?;
    let place = Location::parse(&run.job.target).map_err(JoinError::Target)?;
    let target = bring_target(site, &place, &run.clip, scratch.path()).await?;
    let results = Results::of(site, run, plan).await?;
    let counts = results.counts();
    if let Some(reason) = damage::too_much(counts.damage, run, plan) {
        return Err(JoinError::Damaged(reason));
    }
    let container = media::container_of(Path::new(&run.job.output)).map_err(JoinError::Media)?;
    let output = scratch.path().join("output");

    let (ready, mut files) = mpsc::channel::<Result<ChunkFile, JoinError>>(2); // one being joined, one ready
    let joiner = {
        let (plan, target, output) = (plan.clone(), target.clone(), output.clone());
        let marks = work.marks();
        let (reorder_depth, keep) = (results.reorder_depth(), run.job.keep());
        tokio::task::spawn_blocking(move || {
            let mut failed = None;
            let mut chunks = one_at_a_time(|| match files.blocking_recv()? {
                Ok(file) => Some(Ok(file)),
                Err(error) => {
                    failed = Some(error);
                    Some(Err(MediaError::Cancelled))
                }
            });
            let joined = media::join(JoinRequest {
                source: &target,
                clip: &plan.clip,
                chunks: &mut chunks,
                reorder_depth,
                output: &output,
                container,
                trim_to_first_frame: keep.start.is_some(),
                trim_to_last_frame: keep.has_end() || plan.clip.truncated,
                marks: marks.as_ref(),
                cancelled: &|| stop.load(Ordering::Relaxed),
                progress: &mut |_| crash::point("assemble.join.mux"),
            });
            drop(chunks);
            match (joined, failed) {
                (_, Some(error)) => Err(error),
                (Err(MediaError::Cancelled), None) => Err(JoinError::Stopped),
                (Err(error), None) => Err(JoinError::Media(error)),
                (Ok(joined), None) => Ok(joined),
            }
        })
    };
    let fetching = results.fetch_all(site, plan, scratch.path(), ready);
    let (_, joined) = tokio::join!(fetching, joiner);
    let joined = joined.map_err(SiteError::from)??;
    crash::point("assemble.join.muxed");
    let made = Made {
        file: &output,
        format: signed_as(container, plan),
        place: Location::parse(&run.job.output).map_err(JoinError::Output)?,
        before: run.output_before.as_ref(),
        sidecar_before: run.sidecar_before.as_ref(),
        parent: Parent {
            title: place.name().to_owned(),
            path: target,
            format: plan.clip.format.clone(),
            sha256: run.clip,
        },
    };
    let delivered = deliver(work, made, &stopped).await?;

    telemetry::stage(Stage::Join, started.elapsed());
    Ok(Joined {
        output: Output {
            location: run.job.output.clone(),
            version: delivered.version.map(|version| version.to_string()),
            bytes: delivered.bytes,
            stills: BTreeMap::new(),
            sha256: Some(delivered.sha256),
            signed_by: work.signer(),
        },
        counts,
        warnings: joined.warnings.into_iter().chain(damage::warning(counts.damage, plan)).collect(),
        seconds: StageSeconds::from([(Stage::Join.as_str().to_owned(), started.elapsed().as_secs_f64())]),
    })
}

/// The format by which an output is signed. An animated PNG carries no credentials: the library puts them in front of the chunk that tells of the
/// animation, and who reads by FFmpeg looks for that at the very beginning.
fn signed_as(container: Container, plan: &Plan) -> &'static str {
    match container {
        Container::Picture(PictureFormat::Png) if plan.clip.frames() > 1 => "apng",
        container => container.extension(),
    }
}

/// Whoever stood still for a while may come here when the run has ended: what has been delivered is not touched.
pub(super) async fn ensure_wanted(site: &Site, run: &Run, stop: &AtomicBool) -> Result<(), JoinError> {
    if site.store.head(&keys::manifest(&run.job.job, run.run)).await.map_err(SiteError::from)?.is_some() {
        return Err(JoinError::Ended);
    }
    if stop.load(Ordering::Relaxed) { Err(JoinError::Stopped) } else { Ok(()) }
}

/// Chunks as they come. The file of each goes when the next one is asked for, so that scratch never holds the clip twice.
fn one_at_a_time(
    mut next: impl FnMut() -> Option<Result<ChunkFile, MediaError>>,
) -> impl Iterator<Item = Result<ChunkFile, MediaError>> {
    let mut joined: Option<PathBuf> = None;
    std::iter::from_fn(move || {
        if let Some(path) = joined.take() {
            // If it stays, it goes with the folder.
            let _ = std::fs::remove_file(path);
        }
        let chunk = next()?;
        joined = chunk.as_ref().ok().map(|file| file.path.clone());
        Some(chunk)
    })
}

/// The clip's file, checked to be the one that was planned: its sound is copied from it.
pub(super) async fn bring_target(
    site: &Site,
    location: &Location,
    planned: &Digest,
    scratch: &Path,
) -> Result<PathBuf, JoinError> {
    let path = match site.locations.local_path(location).await.map_err(JoinError::Target)? {
        Some(path) => path,
        None => {
            let path = scratch.join("target");
            site.locations.fetch(location, &path).await.map_err(JoinError::Target)?;
            path
        }
    };
    let hashed = path.clone();
    let digest = tokio::task::spawn_blocking(move || seal::digest_file(&hashed)).await.map_err(SiteError::from)?;
    match digest.map_err(SiteError::from)? == *planned {
        true => Ok(path),
        false => Err(JoinError::TargetChanged(location.to_string())),
    }
}

/// The results of a run, with what their footers say.
pub(super) struct Results {
    pub keys: Vec<String>,
    pub footers: Vec<ResultFooter>,
}

impl Results {
    /// Reads every footer: the join needs the largest reorder depth before its first packet.
    pub async fn of(site: &Site, run: &Run, plan: &Plan) -> Result<Self, JoinError> {
        let slices = slice_digests(site, run, plan).await?;
        if slices.len() != plan.chunks.len() {
            let (key, error) = (keys::slices(&run.clip, &run.rule.id()), "slices are missing".to_owned());
            return Err(SiteError::BadObject { key, error }.into());
        }
        let names = slices.iter().map(|(chunk, slice)| run.spec(plan, &plan.chunks[*chunk], *slice).fingerprint());
        let names: Vec<Fingerprint> = names.collect();
        let footers = stream::iter(names.clone().into_iter().enumerate())
            .map(|(chunk, name)| async move { read_footer(site, chunk, &name).await })
            .buffered(REQUESTS)
            .try_collect()
            .await?;
        Ok(Self { keys: names.iter().map(keys::result).collect(), footers })
    }

    fn reorder_depth(&self) -> u32 {
        self.footers.iter().map(|footer| footer.reorder_depth).max().unwrap_or(0)
    }

    pub fn counts(&self) -> FrameCounts {
        self.footers.iter().map(|footer| footer.counts).fold(FrameCounts::default(), |all, one| FrameCounts {
            frames: all.frames + one.frames,
            without_face: all.without_face + one.without_face,
            faces: all.faces + one.faces,
            damage: all.damage.and(one.damage),
        })
    }

    /// Fetches and verifies the results in order, two ahead of the joiner. Ends early when the joiner is gone.
    async fn fetch_all(
        &self,
        site: &Site,
        plan: &Plan,
        scratch: &Path,
        ready: mpsc::Sender<Result<ChunkFile, JoinError>>,
    ) {
        for (chunk, (key, cut)) in self.keys.iter().zip(&plan.chunks).enumerate() {
            let file = fetch(site, key, chunk, cut, scratch.join(format!("{chunk}.nut"))).await;
            let failed = file.is_err();
            if ready.send(file).await.is_err() || failed {
                return;
            }
        }
    }
}

async fn read_footer(site: &Site, chunk: usize, name: &Fingerprint) -> Result<ResultFooter, JoinError> {
    let key = keys::result(name);
    let version = version_of(site, &key, chunk).await?;
    let tail = site.store.tail(&key, seal::FOOTER_REACH).await.map_err(|error| gone(chunk, error))?;
    match seal::footer_in(&tail) {
        Ok(footer) if footer.fingerprint == *name => Ok(footer),
        Ok(footer) => {
            let reason = format!("the result is another chunk's, {}", footer.fingerprint);
            Err(reject(site, &key, &version, chunk, reason).await)
        }
        Err(error) => Err(reject(site, &key, &version, chunk, error.to_string()).await),
    }
}

pub(super) async fn fetch(
    site: &Site,
    key: &str,
    chunk: usize,
    cut: &Cut,
    path: PathBuf,
) -> Result<ChunkFile, JoinError> {
    let version = version_of(site, key, chunk).await?;
    site.store.fetch(key, &path).await.map_err(|error| gone(chunk, error))?;
    let checked = path.clone();
    let verified = tokio::task::spawn_blocking(move || seal::verify(&checked)).await.map_err(SiteError::from)?;
    match verified {
        Ok((footer, payload)) => {
            Ok(ChunkFile { path, payload, reorder_depth: footer.reorder_depth, start: cut.start, end: cut.end })
        }
        Err(SealError::Io(error)) => Err(SiteError::from(error).into()),
        Err(error) => Err(reject(site, key, &version, chunk, error.to_string()).await),
    }
}

/// What is there now, so that what is judged is what is deleted.
async fn version_of(site: &Site, key: &str, chunk: usize) -> Result<Version, JoinError> {
    let there = site.store.head(key).await.map_err(SiteError::from)?;
    there.map(|meta| meta.version).ok_or_else(|| missing(chunk))
}

fn missing(chunk: usize) -> JoinError {
    JoinError::Result { chunk, reason: "the result is not in the store".to_owned() }
}

fn gone(chunk: usize, error: StoreError) -> JoinError {
    match error {
        StoreError::NotFound { .. } => missing(chunk),
        error => SiteError::from(error).into(),
    }
}

/// A result that is not whole is deleted, so that it can be made again.
async fn reject(site: &Site, key: &str, version: &Version, chunk: usize, reason: String) -> JoinError {
    warn!(key, chunk, reason, "deleting a result that is not whole");
    match site.store.delete(key, Some(version)).await {
        // Somebody was quicker: what is there now is judged next time.
        Ok(()) | Err(StoreError::Changed { .. }) => JoinError::Result { chunk, reason },
        Err(error) => SiteError::from(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_chunk_does_not_stay_in_scratch() {
        let folder = tempfile::tempdir().unwrap();
        let mut coming = (0..3_u64).map(|start| {
            let path = folder.path().join(start.to_string());
            std::fs::write(&path, "chunk").unwrap();
            Ok(ChunkFile { path, payload: 5, reorder_depth: 0, start, end: start + 1 })
        });
        for chunk in one_at_a_time(|| coming.next()) {
            let there: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert_eq!(there, [chunk.unwrap().path]);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
