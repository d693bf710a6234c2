//! Where everything lies in the store.

use super::{CutId, Digest, Fingerprint, JobId};
use crate::frame::FrameIndex;

/// What the store was laid out with.
pub const LAYOUT: &str = "layout.json";

/// Markers of all open jobs.
pub const OPEN: &str = "open/";

/// Everything about all jobs.
pub const JOBS: &str = "jobs/";

/// Everything cut from all clips.
pub const SOURCES: &str = "sources/";

/// Photos and looks.
pub const BLOBS: &str = "blobs/";

/// Results of chunks.
pub const RESULTS: &str = "results/";

/// Binds a job's id to its content.
pub fn job(job: &JobId) -> String {
    format!("jobs/{job}/job.json")
}

/// Everything about a job's runs.
pub fn runs(job: &JobId) -> String {
    format!("jobs/{job}/runs/")
}

/// A run as it was accepted.
pub fn run(job: &JobId, run: u32) -> String {
    format!("jobs/{job}/runs/{run}/run.json")
}

/// How a run ended.
pub fn manifest(job: &JobId, run: u32) -> String {
    format!("jobs/{job}/runs/{run}/manifest.json")
}

/// That a file with this digest is about to be put where the run's output goes.
pub fn delivery(job: &JobId, run: u32, file: &Digest) -> String {
    format!("jobs/{job}/runs/{run}/deliveries/{file}")
}

/// That a job was called off while it was not open.
pub fn cancelled(job: &JobId) -> String {
    format!("jobs/{job}/cancelled.json")
}

/// The `number`th time, from 1, that something of a chunk had to be made again in this run.
pub fn remake(job: &JobId, run: u32, index: u32, number: u32) -> String {
    format!("jobs/{job}/runs/{run}/remakes/{index}/{number}")
}

/// Every attempt at a piece of a run's work (a chunk by its index, and others by name) that has not been taken back.
pub fn attempts(job: &JobId, run: u32, work: impl std::fmt::Display) -> String {
    format!("jobs/{job}/runs/{run}/attempts/{work}/")
}

/// All open jobs of a partition of `completions`.
pub fn open_in(partition: i32) -> String {
    format!("open/{partition}/")
}

/// The marker of an open job.
pub fn open(partition: i32, job: &JobId) -> String {
    format!("open/{partition}/{job}")
}

/// Everything cut from a clip in one way.
pub fn cut(clip: &Digest, cut: &CutId) -> String {
    format!("sources/{clip}/{cut}/")
}

/// The plan of a cut.
pub fn plan(clip: &Digest, cut: &CutId) -> String {
    format!("sources/{clip}/{cut}/plan.json")
}

/// The digests of a cut's slices.
pub fn slices(clip: &Digest, cut: &CutId) -> String {
    format!("sources/{clip}/{cut}/slices.json")
}

/// The slice of a chunk.
pub fn slice(clip: &Digest, cut: &CutId, start: FrameIndex, end: FrameIndex) -> String {
    format!("sources/{clip}/{cut}/{start}-{end}.nut")
}

/// A photo, or a clip's reference look: a blob named by its digest.
pub fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{digest}", digest.short(2))
}

/// What the content gate, by the network named by `network`, has found in a clip.
pub fn verdict(clip: &Digest, cut: &CutId, network: &str) -> String {
    format!("sources/{clip}/{cut}/gate-{network}.json")
}

/// Which blob is a clip's reference look, under the models named by `models`.
pub fn reference(clip: &Digest, cut: &CutId, models: &str) -> String {
    format!("sources/{clip}/{cut}/reference-{models}.json")
}

/// The result of a chunk. Two hex digits first, since stores limit the rate by prefix.
pub fn result(fingerprint: &Fingerprint) -> String {
    let name = fingerprint.to_string();
    format!("results/{}/{name}.nut", &name[..2])
}
