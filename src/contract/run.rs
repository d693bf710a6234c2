//! A job at work: its plan, its runs, and how each run ended. These are objects of the store.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    ChunkRecord, ChunkSpec, Clip, Consent, Cut, Decisions, Digest, DigitalSourceType, Job, JobId, Keep, Moment,
    PersonSpec, Span, StageSeconds, State, Swapper, Toolchain, Video, keys,
};
use crate::frame::{FrameIndex, Turn};

/// Raised whenever the same clip and rule are cut differently, or more is known of a clip: 2 knows how it is turned, 3 which frames a file
/// that was cut off does not have any more, 4 whether it is mirrored.
const PLANNER: u32 = 4;

/// Everything that determines how a clip is cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CutRule {
    planner: u32,
    /// Shortest and longest chunk, frames.
    pub chunk_frames: [u64; 2],
    /// Which frames around a chunk its computation looks at: the name of the rule, e.g. `track-8-3`, or `none`.
    pub roll: String,
    /// Only the first so many frames.
    pub frame_limit: Option<u64>,
    /// From this one on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_start: Option<Moment>,
    /// Up to this one, which is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_end: Option<Moment>,
    /// A file that was cut off is taken; another frame stands in for those that it does not have any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerate_damage: bool,
}

impl CutRule {
    /// The rule of this version of the planner.
    pub fn new(chunk_frames: [u64; 2], roll: String, keep: Keep) -> Self {
        let Keep { start: trim_start, end: trim_end, limit: frame_limit } = keep;
        Self { planner: PLANNER, chunk_frames, roll, frame_limit, trim_start, trim_end, tolerate_damage: false }
    }

    /// The same for a job that tolerates damage, or does not.
    pub fn tolerant(self, tolerate_damage: bool) -> Self {
        Self { tolerate_damage, ..self }
    }

    /// Which frames of the clip are kept.
    pub fn keep(&self) -> Keep {
        Keep { start: self.trim_start, end: self.trim_end, limit: self.frame_limit }
    }

    /// The name under which clips cut by this rule are kept.
    pub fn id(&self) -> CutId {
        CutId(Digest::of_json(self).short(16))
    }
}

/// Sixteen hex digits that name a [`CutRule`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CutId(String);

impl fmt::Display for CutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `sources/<digest>/<cut>/plan.json`: a clip and how it is cut. Written before anything is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this object's form.
    pub v: u32,
    /// Digest of the clip's file; of a folder, of the names and digests of its stills.
    pub source: Digest,
    /// How it is cut.
    pub rule: CutRule,
    /// The clip.
    pub clip: Clip,
    /// The chunks, in order, without gaps.
    pub chunks: Vec<Cut>,
    /// Stretches of the clip from which the usual look of its face is learnt; none where no face is looked for.
    pub looks: Vec<Cut>,
    /// What the user should know, e.g. streams that cannot be kept.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The key of the slice of chunk `index`. That of a still lies where it would if the still were a target alone.
    pub fn slice_key(&self, index: usize) -> String {
        let (source, cut) = self.slice_of(index);
        keys::slice(&source, &self.rule.id(), cut.start, cut.end)
    }

    /// From which file the slice of chunk `index` is cut, and how.
    fn slice_of(&self, index: usize) -> (Digest, Cut) {
        match self.clip.stills.get(index) {
            Some(still) => (still.digest, Cut::STILL),
            None => (self.source, self.chunks[index]),
        }
    }
}

/// `sources/<digest>/<cut>/slices.json`: written when every slice of the cut is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceIndex {
    /// Digest of each slice, by chunk.
    pub slices: Vec<Digest>,
}

/// `jobs/<job>/runs/<n>/run.json`: one attempt at a job, resolved: with the plan and the slices it tells every chunk's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Version of this object's form.
    pub v: u32,
    /// The job as it was accepted.
    pub job: Job,
    /// Number of the run, from 1.
    pub run: u32,
    /// Digest of the clip's file: [`Plan::source`].
    pub clip: Digest,
    /// How the clip is cut.
    pub rule: CutRule,
    /// Digests of the photos.
    pub portraits: Vec<Digest>,
    /// People of the clip with a face of their own each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonSpec>,
    /// Digest of the clip's usual look of the face.
    pub reference: Option<Digest>,
    /// What makes the results.
    pub toolchain: Toolchain,
    /// The consumer group of the workers that make them; see [`super::worker_group`].
    #[serde(default)]
    pub group: String,
    /// How the results are encoded, by the encoder that was chosen for the clip; as the job says if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<Video>,
    /// What the user should know about this run, beside what the plan says of the clip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What kind of media the output is; none if nothing of it is synthetic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digital_source_type: Option<DigitalSourceType>,
    /// What the operator's rules have said.
    #[serde(default)]
    pub decisions: Decisions,
    /// Version of the output that stood at its place when the run was accepted; none if there was none, and for a folder.
    pub output_before: Option<String>,
    /// What stood then where the output's credentials go, if they may lie beside it; none in runs of versions that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar_before: Option<Stood>,
    /// The same for each still of a folder whose place was taken, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs_before: BTreeMap<String, String>,
    /// Seconds spent on acceptance by stage.
    pub seconds: StageSeconds,
    /// When the run was accepted, seconds since 1970.
    pub accepted_at: f64,
}

impl Run {
    /// The record that asks for a chunk of this run, whose slice has digest `slice`.
    pub fn chunk(&self, plan: &Plan, index: usize, slice: Digest) -> ChunkRecord {
        ChunkRecord {
            v: super::VERSION,
            job: self.job.job.clone(),
            run: self.run,
            index: index as u32,
            of: plan.chunks.len() as u32,
            clip: plan.slice_of(index).0,
            cut: plan.rule.id(),
            group: self.group.clone(),
            spec: self.spec(plan, &plan.chunks[index], slice),
        }
    }

    /// Whose faces it uses and on what ground, as far as the operator wants it recorded.
    pub fn consents(&self) -> Vec<&Consent> {
        self.job.consents_under(self.decisions.consent)
    }

    /// Digests of the photos that lend a face.
    pub fn lenders(&self) -> Vec<Digest> {
        self.portraits.iter().chain(self.people.iter().flat_map(|person| &person.portraits)).copied().collect()
    }

    /// What determines the result of the chunk `cut`, whose slice has digest `slice`.
    pub fn spec(&self, plan: &Plan, cut: &Cut, slice: Digest) -> ChunkSpec {
        // A still in a folder is the same chunk as that still alone.
        let (clip, cut) = match plan.clip.stills.get(cut.start as usize) {
            Some(still) => (&still.clip, &Cut::STILL),
            None => (&plan.clip, cut),
        };
        let Clip { pts, time_base, frame_rate, turn, .. } = clip;
        let label = self.job.label.as_ref().and_then(|label| label.of_chunk(clip, cut));
        ChunkSpec {
            slice,
            span: Span { start: cut.start, end: cut.end, lo: cut.lo, hi: cut.hi },
            clip_frames: clip.frames(),
            first_pts: pts[cut.lo as usize] - cut.base_pts,
            last_pts: pts[cut.hi as usize - 1] - cut.base_pts,
            time_base: *time_base,
            frame_rate: *frame_rate,
            // Only where faces are looked for, or a label is drawn, does it make a difference.
            turn: if self.job.swap.swapper == Swapper::None && label.is_none() { Turn::None } else { *turn },
            portraits: self.portraits.clone(),
            people: self.people.clone(),
            reference: self.reference,
            swap: self.job.swap.clone(),
            video: self.video.as_ref().unwrap_or(&self.job.video).clone(),
            hdr: clip.hdr,
            label,
            toolchain: self.toolchain.clone(),
        }
    }
}

/// What stood at a place when a run was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood {
    /// Its version; none if nothing did.
    pub version: Option<String>,
}

/// `open/<partition>/<job>`: stands while the job has no final state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMarker {
    /// The job.
    pub job: JobId,
    /// Its current run.
    pub run: u32,
    /// Which record asked for it; see [`Manifest::submission`].
    pub submission: String,
    /// When that record was written, milliseconds since 1970: a cancellation means what was submitted before it. 0 in markers of
    /// versions that did not know it.
    #[serde(default)]
    pub submitted_at: i64,
    /// When the youngest other record was written that was taken for this run. If the run turns out to have ended before that, the record
    /// asks for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_again_at: Option<i64>,
}

impl OpenMarker {
    /// When the job was last submitted for this run, milliseconds since 1970.
    pub fn last_asked_at(&self) -> i64 {
        self.asked_again_at.map_or(self.submitted_at, |at| at.max(self.submitted_at))
    }
}

/// `jobs/<job>/cancelled.json`: somebody has called the job off while it was not open. Ingest looks here when it opens a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancellation {
    /// When, milliseconds since 1970: it means what was submitted before.
    pub at: i64,
}

/// `layout.json`: what holds for a store as long as there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Version of this object's form.
    pub v: u32,
    /// Over how many partitions jobs are spread (`open/<partition>/`).
    pub job_partitions: i32,
}

/// What came out of a run, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Frames of the clip.
    pub frames: FrameIndex,
    /// Frames whose chunk is settled.
    pub frames_done: FrameIndex,
    /// Of these, frames whose result was there already.
    pub frames_reused: FrameIndex,
    /// Settled frames in which no face was found (0 for swapper `none`).
    pub frames_without_face: FrameIndex,
    /// Settled frames that are broken in the clip and show another one's picture.
    #[serde(default)]
    pub frames_damaged: FrameIndex,
    /// Chunks of the clip.
    pub chunks: u32,
    /// Chunks computed for this run.
    pub chunks_done: u32,
    /// Chunks whose result was there already.
    pub chunks_reused: u32,
    /// Where the time went, summed over lanes.
    pub seconds: StageSeconds,
}

/// The finished clip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Where it is.
    pub location: String,
    /// Its version there (ETag, or what stands for it in a folder); none of a folder of stills.
    pub version: Option<String>,
    /// Its size, bytes; all stills of a folder together.
    pub bytes: u64,
    /// The version of each still of a folder, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stills: BTreeMap<String, String>,
    /// Digest of its file; of a folder that of its stills' names and digests. None in manifests of versions that did not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Whose certificate its Content Credentials are signed with; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// `jobs/<job>/runs/<n>/manifest.json`: how the run ended. Written once, by the assembler, after the output is in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this object's form.
    pub v: u32,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: u32,
    /// Digest of the job's content.
    pub content: Digest,
    /// Which record of `jobs` asked for this run. The same record delivered again is not a new submission.
    pub submission: String,
    /// `done`, `failed` or `cancelled`.
    pub state: State,
    /// Why, if not done.
    pub reason: Option<String>,
    /// Whether the job was refused for its input (and not failed at work).
    pub refused: bool,
    /// What the operator's rules had said of a job that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
    /// The clip, if done.
    pub output: Option<Output>,
    /// In numbers.
    pub totals: Totals,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The job's labels.
    pub labels: BTreeMap<String, String>,
    /// When the run ended, milliseconds since 1970. The same job published before that is this run, published after it a new one.
    /// 0 in manifests of versions that did not know it.
    #[serde(default)]
    pub ended_at: i64,
}
