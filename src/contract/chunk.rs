//! One chunk: what determines its result, and the record that asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CutId, Digest, Hdr, JobId, LabelSpec, PersonSpec, Ratio, Swap, Video};
use crate::frame::{FrameIndex, Turn, label};

/// Raised whenever the pixels of a result change for the same [`ChunkSpec`], so that old results are not taken for new ones: 2 works on
/// samples of more than 8 bits as they are, and on clips that are stored turned; 4 fades faces that turn away, and looks for all faces of a
/// frame before it changes the first.
pub const PIPELINE: u32 = 4;

/// The encoder of results whose output is a picture: they lose nothing, and are no user's choice.
pub const LOSSLESS: &str = "ffv1";

/// Frames of a chunk and of the window that its computation looks at, by their numbers in the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First frame of the result.
    pub start: FrameIndex,
    /// One past the last frame of the result.
    pub end: FrameIndex,
    /// First frame that is looked at.
    pub lo: FrameIndex,
    /// One past the last frame that is looked at.
    pub hi: FrameIndex,
}

impl Span {
    /// Frames of the result.
    pub fn frames(&self) -> u64 {
        self.end - self.start
    }
}

/// The software that makes results, as far as their bytes depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// [`PIPELINE`].
    pub pipeline: u32,
    /// The encoder, the version of the library that it belongs to, and where known its own, each behind a space.
    pub encoder: String,
    /// ONNX Runtime's execution providers as they are configured, without numbers of devices, e.g. `cpu`, `tensorrt/fp16,cuda`; empty where no
    /// network runs.
    pub provider: String,
    /// Networks in use: card id → digest of the file.
    pub models: BTreeMap<String, Digest>,
}

impl Toolchain {
    /// Eight hex digits that stand for the models.
    pub fn models_digest(&self) -> String {
        Digest::of_json(&self.models).short(8)
    }
}

/// The consumer group of workers that can do what an installation plans: those of the same pipeline, networks, provider, library of
/// encoders and way of drawing labels, so that a result is made by what its name says. Groups of old and new versions run side
/// by side; each skips what is not for it. `networks`: of every network that is there, by card id, the bytes of its file and the digest of
/// its card where that is none of this build. (Reading gigabytes of networks at each start would take too long.)
pub fn worker_group(networks: &BTreeMap<String, (u64, Option<String>)>, provider: &str, library: &str) -> String {
    format!("workers-{PIPELINE}-{}", Digest::of_json(&(networks, provider, library, label::DRAWING)).short(8))
}

/// Everything that determines a chunk's result, and everything that its computation can see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkSpec {
    /// Digest of the slice: a NUT file with the packets of the span.
    pub slice: Digest,
    /// Which frames.
    pub span: Span,
    /// Frames in the whole clip.
    pub clip_frames: FrameIndex,
    /// Time of frame `span.lo` in the slice, ticks.
    pub first_pts: i64,
    /// Time of frame `span.hi − 1` in the slice, ticks.
    pub last_pts: i64,
    /// Seconds per tick.
    pub time_base: Ratio,
    /// Average frames per second of the clip.
    pub frame_rate: Ratio,
    /// How the clip is turned when it is shown: faces are looked for, and labels drawn, as they are shown.
    #[serde(default, skip_serializing_if = "Turn::is_none")]
    pub turn: Turn,
    /// Digests of the photos.
    pub portraits: Vec<Digest>,
    /// People of the clip with a face of their own each; none where `portraits` lend to all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<PersonSpec>,
    /// Digest of the clip's usual look of the face, against which covers are found; none for swapper `none`.
    pub reference: Option<Digest>,
    /// What is done to faces.
    pub swap: Swap,
    /// How the result is encoded.
    pub video: Video,
    /// For which screen the clip was made: encoders write it into the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdr: Option<Hdr>,
    /// A text that is drawn into its frames, after all else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelSpec>,
    /// What makes the result.
    pub toolchain: Toolchain,
}

/// The name of a result: the hash of everything that determines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(Digest);

impl ChunkSpec {
    /// Digests of all photos that its computation looks at, each once.
    pub fn photos(&self) -> BTreeSet<Digest> {
        self.portraits.iter().chain(self.people.iter().flat_map(PersonSpec::photos)).copied().collect()
    }

    /// Whether somebody looks at the samples of its frames, or they pass from decoder to encoder.
    pub fn looks_at_frames(&self) -> bool {
        self.swap.looks_at_frames() || self.label.is_some()
    }

    /// The name of this chunk's result.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Digest::of_json(self))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record of topic `chunks`. Unknown fields are tolerated: a newer ingest may run beside an older worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChunkRecord {
    /// Version of this record's form.
    pub v: u32,
    /// The job that first asked.
    pub job: JobId,
    /// The run of that job, from 1.
    pub run: u32,
    /// Number of the chunk in the clip, from 0.
    pub index: u32,
    /// Chunks in the clip.
    pub of: u32,
    /// Digest of the clip that the slice was cut from.
    pub clip: Digest,
    /// The cut that the slice belongs to.
    pub cut: CutId,
    /// The consumer group of the workers that it is for; see [`worker_group`].
    #[serde(default)]
    pub group: String,
    /// What is to be computed.
    pub spec: ChunkSpec,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ChunkSpec {
        ChunkSpec {
            slice: Digest::of(b"slice"),
            span: Span { start: 64, end: 128, lo: 56, hi: 137 },
            clip_frames: 472,
            first_pts: 1001,
            last_pts: 81081,
            time_base: Ratio { num: 1, den: 24000 },
            frame_rate: Ratio { num: 24000, den: 1001 },
            turn: Turn::None,
            portraits: vec![Digest::of(b"portrait")],
            people: Vec::new(),
            reference: None,
            swap: Swap::default(),
            video: Video::default(),
            hdr: None,
            label: None,
            toolchain: Toolchain {
                pipeline: PIPELINE,
                encoder: "libx264 59.37.100".into(),
                provider: "cpu".into(),
                models: BTreeMap::from([("yunet".to_owned(), Digest::of(b"yunet"))]),
            },
        }
    }

    fn a_label(until: Option<FrameIndex>) -> LabelSpec {
        let (text, position) = ("AI".to_owned(), Default::default());
        LabelSpec { text, position, height: 0.05, until, mirrored: false, drawing: label::DRAWING }
    }

    /// Guards the canonical form: results made before must be found again. A deliberate change raises [`PIPELINE`].
    #[test]
    fn the_fingerprint_is_stable() {
        assert_eq!(spec().fingerprint().to_string(), include_str!("fingerprint.golden").trim());
    }

    #[test]
    fn whatever_changes_the_result_changes_its_name() {
        type Change = fn(&mut ChunkSpec);
        let changes: [Change; 14] = [
            |s| s.slice = Digest::of(b"other"),
            |s| s.span.start = 65,
            |s| s.portraits.clear(),
            |s| {
                s.people.push(PersonSpec {
                    who: super::super::WhoSpec::Position(1),
                    portraits: Vec::new(),
                    source_face: None,
                })
            },
            |s| s.reference = Some(Digest::of(b"look")),
            |s| s.turn = Turn::Quarter,
            |s| s.label = Some(a_label(None)),
            |s| s.label = Some(a_label(Some(70))),
            |s| s.label = Some(LabelSpec { height: 0.06, ..a_label(None) }),
            |s| s.label = Some(LabelSpec { drawing: 7, ..a_label(None) }),
            |s| s.swap.blend_ratio = 0.5,
            |s| s.video.crf = 19,
            |s| s.toolchain.pipeline += 1,
            |s| s.toolchain.provider = "cuda".into(),
        ];
        let mut names = vec![spec().fingerprint()];
        for change in changes {
            let mut changed = spec();
            change(&mut changed);
            names.push(changed.fingerprint());
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), changes.len() + 1);
    }

    #[test]
    fn groups_differ_by_networks_provider_and_library() {
        let networks = BTreeMap::from([("yunet".to_owned(), (241_234, None))]);
        let group = worker_group(&networks, "cpu", "59.37.100");
        assert!(group.starts_with(&format!("workers-{PIPELINE}-")), "{group}");
        assert_ne!(group, worker_group(&networks, "cuda", "59.37.100"));
        assert_ne!(group, worker_group(&networks, "cpu", "60.1.100"));
        let more = BTreeMap::from([("yunet".to_owned(), (241_234, None)), ("mesh".to_owned(), (1, None))]);
        assert_ne!(group, worker_group(&more, "cpu", "59.37.100"));
        let other_card = BTreeMap::from([("yunet".to_owned(), (241_234, Some("c0ffee".to_owned())))]);
        assert_ne!(group, worker_group(&other_card, "cpu", "59.37.100"));
    }
}
