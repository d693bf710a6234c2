//! A job as its producer writes it: whose face goes onto which clip, and how.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Consent, ConsentPolicy, Digest, JobId, Keep, Label, Moment, Person, Swap, Swapper, VERSION, Who, person};
use crate::error::Refusal;

/// How many photos of one person a job may name.
const SOURCES_MAX: usize = 16;
/// How many labels a job may carry.
const LABELS_MAX: usize = 32;
/// Longest label name, label value and location, bytes.
const TEXT_MAX: usize = 2048;
/// Largest job, bytes of JSON without spaces: what becomes of it must fit into records, of which brokers take 1 MB, beside more.
const JOB_BYTES_MAX: usize = 256 << 10;
/// Accepted chunk bounds, frames.
pub const CHUNK_FRAMES: RangeInclusive<u64> = 1..=1_000_000;
/// Accepted constant rate factors; 0 is lossless.
pub const CRF: RangeInclusive<u8> = 0..=51;
/// Presets, fastest first: x264's and x265's own, the nearest of each other encoder.
pub const PRESETS: [&str; 10] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"];
/// The encoder that is chosen by what the clip is.
pub const AUTO: &str = "auto";
/// Encoders that can be named, by FFmpeg's names.
pub const ENCODERS: [&str; 10] = [
    "libx264",
    "libx265",
    "libsvtav1",
    "h264_nvenc",
    "hevc_nvenc",
    "h264_qsv",
    "hevc_qsv",
    "h264_vaapi",
    "hevc_vaapi",
    AUTO,
];

/// One record of topic `jobs`. Unknown fields are refused, so that a misspelt option is not silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Version of this record's form: 1.
    #[serde(default = "version")]
    pub v: u32,
    /// The job's name. The same name with the same content is the same job.
    pub job: JobId,
    /// Photos of the person whose face is put into the clip: `s3://bucket/key` or `file:///path`. Empty for swapper `none`.
    pub sources: Vec<String>,
    /// The clip or picture: `s3://bucket/key` or `file:///path`. What ends with `/` is a folder: the stills in it, but not in folders below.
    pub target: String,
    /// Where the finished clip goes: `s3://bucket/key` or `file:///path`; its extension names the container, or the picture's format.
    /// A folder (ending with `/`) if the target is one: each still comes out under its own name and in its own format.
    pub output: String,
    /// Several people of the clip, each with a new face of their own; then `sources` is empty, and `swap.faces` says nothing. Default:
    /// one face for all that `swap.faces` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
    /// What is done to faces.
    #[serde(default)]
    pub swap: Swap,
    /// How the result is encoded.
    #[serde(default)]
    pub video: Video,
    /// A text that is drawn into the frames, after all else. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// Shortest and longest chunk, frames; default 64 and 128.
    #[serde(default = "chunk_frames")]
    pub chunk_frames: [u64; 2],
    /// From this frame or time on; the output's time begins with it, sound and subtitles too. Default: from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_start: Option<Moment>,
    /// Up to this frame or time, which is left out, of the clip before anything is trimmed. Default: to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim_end: Option<Moment>,
    /// Only the first so many frames of what is not trimmed; the audio ends with the last of them. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_limit: Option<u64>,
    /// Whether a clip may be damaged without limit: broken frames repeat the one before however many they are, also those that a file
    /// which was cut off does not have any more, as far as its container tells of them (an MP4's index in front, Matroska, AVI).
    /// Default: false, which accepts one broken frame in 20, at most 25 in a row, and refuses files that were cut off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tolerate_damage: bool,
    /// That the face of `sources` may be used; people have their own. Whether a job needs one is the operator's choice (`ingest.consent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// Free text for the producer's own use; carried into the manifest and the audit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How the result is encoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Video {
    /// FFmpeg's name of the encoder: `libx264`, `libx265`, `libsvtav1`, `h264_nvenc`, `hevc_nvenc`, `h264_qsv`, `hevc_qsv`,
    /// `h264_vaapi`, `hevc_vaapi` (hardware that is not there: software of the same codec, and a warning), or `auto`: the clip's own codec
    /// where it can be encoded, at its own depth.
    pub encoder: String,
    /// Speed against size, `ultrafast` … `placebo`, on x264's scale for every encoder.
    pub preset: String,
    /// Quality, 0 (lossless, with H.264 and HEVC) … 51 on x264's scale for every encoder; lower is better and larger.
    pub crf: u8,
}

impl Default for Video {
    fn default() -> Self {
        Self { encoder: ENCODERS[0].into(), preset: "veryfast".into(), crf: 18 }
    }
}

fn version() -> u32 {
    VERSION
}

fn chunk_frames() -> [u64; 2] {
    [64, 128]
}

impl Job {
    /// The digest that binds the job's id to its content: omitted fields count as their defaults.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// Which frames of the clip are wanted.
    pub fn keep(&self) -> Keep {
        Keep { start: self.trim_start, end: self.trim_end, limit: self.frame_limit }
    }

    /// Whose faces may be used, as the job says.
    pub fn consents(&self) -> impl Iterator<Item = &Consent> {
        self.consent.iter().chain(self.people.iter().filter_map(|person| person.consent.as_ref()))
    }

    /// The same, as far as the operator wants it recorded.
    pub fn consents_under(&self, policy: ConsentPolicy) -> Vec<&Consent> {
        match policy {
            ConsentPolicy::Off => Vec::new(),
            ConsentPolicy::Required | ConsentPolicy::Recorded => self.consents().collect(),
        }
    }

    /// Whether it lends a face for which it carries no consent: one of its own stands for all its people too.
    pub fn lacks_consent(&self) -> bool {
        let is_lending = self.swap.swapper != Swapper::None;
        let is_covered = !self.people.is_empty() && self.people.iter().all(|person| person.consent.is_some());
        is_lending && self.consent.is_none() && !is_covered
    }

    /// Whether somebody looks at the samples of frames, or they pass from decoder to encoder.
    pub fn looks_at_frames(&self) -> bool {
        self.swap.looks_at_frames() || self.label.is_some()
    }

    /// Whether the target is a folder of stills.
    pub fn is_folder(&self) -> bool {
        self.target.ends_with('/')
    }

    /// Refuses one that is too large to be told of.
    pub fn ensure_small(&self) -> Result<(), Refusal> {
        // What cannot be written is refused elsewhere.
        let bytes = serde_json::to_vec(self).map_or(0, |json| json.len());
        if bytes <= JOB_BYTES_MAX {
            return Ok(());
        }
        Err(Refusal::new(
            "job",
            format!("{} of {bytes} bytes", self.job),
            format!("at most {JOB_BYTES_MAX} bytes of JSON"),
        ))
    }

    /// Refuses what can be seen to be wrong from the record alone.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.ensure_small()?;
        let refuse = |field: &str, found: String, expected: &str| Err(Refusal::new(field, found, expected));
        if self.v != VERSION {
            return refuse("v", self.v.to_string(), "1");
        }
        let [min, max] = self.chunk_frames;
        if !CHUNK_FRAMES.contains(&min) || !CHUNK_FRAMES.contains(&max) || min > max {
            return refuse("chunk_frames", format!("{min}..{max}"), "MIN..MAX with 1 <= MIN <= MAX <= 1000000");
        }
        let is_empty = match (self.trim_start, self.trim_end) {
            (Some(Moment::Frame(start)), Some(Moment::Frame(end))) => end <= start,
            (Some(Moment::Time(start)), Some(Moment::Time(end))) => end <= start,
            (_, Some(Moment::Frame(0) | Moment::Time(0))) => true,
            _ => false,
        };
        if is_empty {
            let end = self.trim_end.map(|end| end.to_string()).unwrap_or_default();
            return refuse("trim_end", end, "a place behind trim_start");
        }
        if self.frame_limit == Some(0) {
            return refuse("frame_limit", "0".into(), "1 or more frames");
        }
        self.swap.validate()?;
        person::validate(&self.people, SOURCES_MAX)?;
        self.consent.as_ref().map_or(Ok(()), |consent| consent.validate("consent"))?;
        self.label.as_ref().map_or(Ok(()), Label::validate)?;
        let is_counted = self.people.iter().any(|person| matches!(person.who, Who::Position(_)));
        if !self.swap.face_order.is_usual() && !is_counted {
            let found = format!("{}, and nobody is named by position", self.swap.face_order);
            return refuse("swap.face_order", found, "people[].who.position, which it counts");
        }
        if !self.people.is_empty() && !self.sources.is_empty() {
            return refuse(
                "sources",
                format!("{} photos beside people", self.sources.len()),
                "none, as people have their own",
            );
        }
        if self.swap.swapper != Swapper::None && self.sources.is_empty() && self.people.is_empty() {
            return refuse("sources", "none".into(), "at least one photo (only swapper none needs no photo)");
        }
        if self.sources.len() > SOURCES_MAX {
            return refuse("sources", self.sources.len().to_string(), "at most 16 photos");
        }
        if !ENCODERS.contains(&self.video.encoder.as_str()) {
            return refuse("video.encoder", self.video.encoder.clone(), &ENCODERS.join(", "));
        }
        if !PRESETS.contains(&self.video.preset.as_str()) {
            return refuse("video.preset", self.video.preset.clone(), &PRESETS.join(", "));
        }
        if !CRF.contains(&self.video.crf) {
            return refuse("video.crf", self.video.crf.to_string(), "0..=51");
        }
        let people = self.people.iter().flat_map(|person| {
            let reference = match &person.who {
                Who::Reference { photo, .. } => Some(photo),
                Who::Position(_) => None,
            };
            reference.into_iter().chain(&person.sources)
        });
        let locations = self.sources.iter().map(|source| ("sources", source));
        let locations = locations.chain(people.map(|photo| ("people", photo)));
        for (field, location) in locations.chain([("target", &self.target), ("output", &self.output)]) {
            let has_scheme = location.starts_with("file:///") || location.starts_with("s3://");
            if !has_scheme || location.len() > TEXT_MAX || location.chars().any(char::is_control) {
                return refuse(field, format!("{location:.80?}"), "s3://bucket/key or file:///path");
            }
        }
        if self.target == self.output {
            return refuse("output", "the target itself".into(), "another location");
        }
        if self.is_folder() != self.output.ends_with('/') {
            let (found, expected) = match self.is_folder() {
                true => ("a file", "a folder (ending with /), as the target is one"),
                false => ("a folder", "a file, as the target is one (a folder ends with /)"),
            };
            return refuse("output", format!("{:.80?}, {found}", self.output), expected);
        }
        for (field, moment) in [("trim_start", self.trim_start), ("trim_end", self.trim_end)] {
            if let Some(Moment::Time(_)) = moment.filter(|_| self.is_folder()) {
                let found = moment.map(|moment| moment.to_string()).unwrap_or_default();
                return refuse(field, found, "the number of a still, as the target is a folder: stills have no times");
            }
        }
        if self.labels.len() > LABELS_MAX || self.labels.iter().any(|(k, v)| k.len() + v.len() > TEXT_MAX) {
            return refuse(
                "labels",
                format!("{} labels", self.labels.len()),
                "at most 32 labels of at most 2048 bytes",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::FaceOrder;
    use super::*;

    fn job() -> Job {
        serde_json::from_str(
            r#"{"job":"j-1","sources":["s3://f/1.jpg"],"target":"s3://f/t.mp4","output":"s3://f/o.mp4"}"#,
        )
        .unwrap()
    }

    fn folder() -> Job {
        Job { target: "s3://f/photos/".into(), output: "s3://f/swapped/".into(), ..job() }
    }

    /// Producers in other languages go by this file. With UPDATE_SCHEMA set the test writes it anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/topics/schemas/job.schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Job)).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == schema, "run `UPDATE_SCHEMA=1 cargo test --release schema` and commit {path}");
    }

    #[test]
    fn four_fields_are_enough() {
        let job = job();
        job.validate().unwrap();
        assert_eq!((job.v, job.chunk_frames, job.swap.blend_ratio), (1, [64, 128], 1.0));
        assert_eq!((job.swap.swapper, job.video.crf), (Swapper::Mesh, 18));
    }

    #[test]
    fn spelling_out_a_default_changes_nothing() {
        let spelt: Job = serde_json::from_str(
            r#"{"output":"s3://f/o.mp4","v":1,"job":"j-1","sources":["s3://f/1.jpg"],"target":"s3://f/t.mp4",
                "swap":{"swapper":"mesh","faces":"largest"},"video":{"crf":18},"chunk_frames":[64,128],"labels":{}}"#,
        )
        .unwrap();
        assert_eq!(spelt.digest(), job().digest());
        assert_ne!(Job { frame_limit: Some(9), ..job() }.digest(), job().digest());
    }

    /// Whoever reads a job that was kept must find the one that was published, whatever numbers a producer has computed.
    #[test]
    fn a_job_that_is_written_and_read_is_the_same() {
        for number in 0..10_000 {
            let mut job = job();
            job.swap.blend_ratio = f64::from(number) / 10_007.0;
            let read: Job = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
            assert_eq!(read.digest(), job.digest(), "{}", job.swap.blend_ratio);
        }
    }

    #[test]
    fn unknown_fields_are_named() {
        for (text, name) in [
            (r#"{"job":"j","sources":[],"target":"t","output":"o","blend":1}"#, "blend"),
            (r#"{"job":"j","sources":[],"target":"t","output":"o","swap":{"ratio":1}}"#, "ratio"),
            (r#"{"job":"J!","sources":[],"target":"t","output":"o"}"#, "job"),
            (r#"{"job":"j","sources":[],"target":"t"}"#, "output"),
        ] {
            let error = serde_json::from_str::<Job>(text).expect_err(text).to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn each_refusal_names_its_field() {
        type Change = fn(&mut Job);
        let cases: [(&str, Change); 22] = [
            ("label.height", |j| j.label = serde_json::from_str(r#"{"text":"AI","height":5.0}"#).unwrap()),
            ("swap.face_order", |j| j.swap.face_order = FaceOrder::TopBottom),
            ("v", |j| j.v = 2),
            ("chunk_frames", |j| j.chunk_frames = [0, 8]),
            ("chunk_frames", |j| j.chunk_frames = [9, 8]),
            ("chunk_frames", |j| j.chunk_frames = [1, 1_000_001]),
            ("frame_limit", |j| j.frame_limit = Some(0)),
            ("trim_end", |j| j.trim_end = Some(Moment::Time(0))),
            ("trim_end", |j| (j.trim_start, j.trim_end) = (Some(Moment::Frame(9)), Some(Moment::Frame(9)))),
            ("swap.blend_ratio", |j| j.swap.blend_ratio = 7.0),
            ("swap.blend_ratio", |j| j.swap.blend_ratio = f64::NAN),
            ("job", |j| j.labels = [("note".into(), "x".repeat(JOB_BYTES_MAX))].into()),
            ("sources", |j| j.sources.clear()),
            ("video.encoder", |j| j.video.encoder = "h264".into()),
            ("video.preset", |j| j.video.preset = "fastest".into()),
            ("video.crf", |j| j.video.crf = 52),
            ("target", |j| j.target = "http://x/y.mp4".into()),
            ("output", |j| j.output = j.target.clone()),
            ("output", |j| j.target = "s3://f/photos/".into()),
            ("output", |j| j.output = "s3://f/swapped/".into()),
            ("trim_start", |j| (*j, j.trim_start) = (folder(), Some(Moment::Time(1)))),
            ("trim_end", |j| (*j, j.trim_end) = (folder(), Some(Moment::Time(1)))),
        ];
        for (field, change) in cases {
            let mut job = job();
            change(&mut job);
            assert_eq!(job.validate().expect_err(field).field, field);
        }
        let mut passing = job();
        passing.sources.clear();
        passing.swap.swapper = Swapper::None;
        passing.validate().unwrap();
        Job { trim_start: Some(Moment::Frame(1)), frame_limit: Some(2), ..folder() }.validate().unwrap();
    }
}
