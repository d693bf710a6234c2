//! What the command line accepts: enough, with its help, to use the program.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::config::{LANES, LogFormat, THREADS};
use crate::contract::{FaceOrder, JobId, Moment, Swapper};
use crate::error::Refusal;

use super::Exit;

mod execution;
mod face;
mod label;
mod models;
mod provenance;

pub use execution::LaneArgs;
use execution::{order, providers};
pub use face::{DetectorArgs, FacesArg, MaskArgs, NetworkArgs, Pair, PairWho};
use face::{distance, face_order, faces, pair};
pub use label::LabelArgs;
pub use models::ModelsCommand;
use provenance::consent;
pub use provenance::{Audit, AuditCommand, ConsentArg, ExportAudit, Verify};

/// Face-swapping video pipeline: a streaming dataflow over Kafka.
///
/// On one machine: `facemill swap -s portrait.jpg -t clip.mp4 -o out.mp4`.
/// On a cluster: `facemill ingest`, `facemill worker`, `facemill assemble`, each as many times as you like, and
/// `facemill submit job.json`.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 input or path refused, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "facemill", version, max_term_width = 110)]
pub struct Cli {
    /// Configuration file. Default: facemill.toml in this folder, where there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Form of log lines on standard error [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log more; twice: still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Swap a face in a clip, on this machine
    Swap(Box<Swap>),
    /// Tell what a clip is, how it would be cut, and what of it would be kept
    Probe(Probe),
    /// Take jobs in: plan their clips, cut them into chunks (a service)
    Ingest(Role),
    /// Swap chunks (a service)
    Worker(WorkerRole),
    /// Join finished chunks into clips (a service)
    Assemble(Role),
    /// Publish jobs, written as JSON
    Submit(Submit),
    /// Tell how far a job is, and why it waits
    Status(StatusOf),
    /// Call a job off; workers in the middle of its chunks stop within two seconds
    Cancel(OfJob),
    /// Plan a job anew, by what is running now: one that has failed, was cancelled, or waits for workers that are gone
    Resubmit(Resubmit),
    /// Look at records that could not be done, and publish them again
    DeadLetters(DeadLetters),
    /// How runs have ended: whose face, with whose consent, made by what
    Audit(Audit),
    /// Tell what a file says of itself (Content Credentials, labels), and whether that can be believed
    Verify(Verify),
    /// Delete what is old and no open job needs from the store
    Gc(Gc),
    /// The networks: what is here, what it is and may be used for, take or fetch another
    Models(Models),
    /// Tell what this machine has of what the program can use, what is missing, and what to do about it
    Doctor,
    /// What a worker runs for each lane; speaks JSON lines on standard input and output
    Lane(LaneArgs),
}

/// Swap a face in a clip.
#[derive(Debug, Args)]
pub struct Swap {
    /// A photo of the person whose face is put into the clip (JPEG, PNG, WebP); several photos of one person: repeat.
    /// Not needed with --swapper none
    #[arg(short, long, value_name = "PHOTO")]
    pub source_path: Vec<PathBuf>,
    /// The clip, or a picture (PNG, JPEG, WebP, TIFF, AVIF, animated or not; GIF), or a folder: all stills in it, but not in folders below
    #[arg(short, long, value_name = "CLIP")]
    pub target_path: PathBuf,
    /// Where the finished clip goes (.mp4, .m4v, .mov, .mkv, .webm; of a picture also .png, .apng, .jpg, .webp, .tiff, .gif, .avif); an
    /// existing file is replaced, and only by a finished one. Of a folder a folder, which must exist: each still goes there under its own
    /// name and in its own format
    #[arg(short, long, value_name = "FILE")]
    pub output_path: PathBuf,
    /// Where work is kept so that a rerun goes on where it was stopped, up to 20 GB, least recently used goes first
    /// [default: facemill/data in your cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Who swaps: mesh (built in: the photo's face warped over a mesh of 468 points and relit), none (frames pass through), or a network that
    /// is here, by its name (facemill models list --role swapper) or that of its file in the models folder
    #[arg(long, default_value = "mesh", value_name = "SWAPPER", help_heading = "Face")]
    pub swapper: Swapper,
    /// 1.0 = the new face in full, 0.0 = the frame untouched
    #[arg(long, default_value_t = 1.0, value_name = "0.0..1.0", value_parser = blend_ratio, help_heading = "Face")]
    pub blend_ratio: f64,
    /// The side in pixels at which a network works: its own [default], or a multiple of it up to eight, for more detail; mesh has none (it
    /// works at the face's own size) and says so
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(16..=4096), help_heading = "Face")]
    pub face_size: Option<u32>,
    /// Which faces of the clip: in each frame the largest, all, or the one at this place, counted from 0 as --face-order says
    #[arg(long, default_value = "largest", value_name = "largest|all|N", value_parser = faces, help_heading = "Face")]
    pub faces: FacesArg,
    /// The order in which faces are counted, as frames are shown: left-right, right-left, top-bottom, bottom-top, small-large, large-small
    #[arg(long, default_value = "left-right", value_name = "ORDER", value_parser = face_order, help_heading = "Face")]
    pub face_order: FaceOrder,
    /// Only the person of the clip who looks like this photo
    #[arg(long, value_name = "PHOTO", conflicts_with = "faces", help_heading = "Face")]
    pub reference: Option<PathBuf>,
    /// How unlike its reference a face may be: 1 less the cosine of both embeddings; the same person is at about 0.3, others at 0.7 or more
    #[arg(long, default_value_t = crate::contract::usual_distance(), value_name = "0.0..2.0", value_parser = distance, help_heading = "Face")]
    pub reference_distance: f64,
    /// One person of several, and whose face they get: a photo of who is in the clip, or their place as --face-order counts (0, 1, …), then = and the
    /// photos of the other; for each person once, in place of --source-path
    #[arg(long, value_name = "WHO=PHOTO[,PHOTO]", value_parser = pair, conflicts_with_all = ["faces", "reference", "source_path"], help_heading = "Face")]
    pub pair: Vec<Pair>,
    /// What limits the place of a network's new face
    #[command(flatten)]
    pub masks: MaskArgs,
    /// How faces of the clip are found
    #[command(flatten)]
    pub detector: DetectorArgs,
    /// What comes before and after a swapper
    #[command(flatten)]
    pub networks: NetworkArgs,
    /// Which face of a photo that shows several, counted from the left, from 0
    #[arg(long, value_name = "N", help_heading = "Face")]
    pub source_face: Option<u32>,

    /// Encoder; auto keeps the clip's codec where it can be encoded, and its depth. Hardware (nvenc, qsv, vaapi) that does not open is stood in
    /// for by software of the same codec, with a warning
    #[arg(long, default_value = "libx264", value_name = "ENCODER", value_parser = crate::contract::ENCODERS, help_heading = "Output")]
    pub output_video_encoder: String,
    /// Speed against size, on x264's scale for every encoder
    #[arg(long, default_value = "veryfast", value_name = "PRESET", value_parser = crate::contract::PRESETS, help_heading = "Output")]
    pub output_video_preset: String,
    /// Quality, 0..51 on x264's scale for every encoder: lower is better and larger, 0 is lossless (H.264 and HEVC)
    #[arg(long, default_value_t = 18, value_name = "CRF", value_parser = clap::value_parser!(u8).range(0..=51), help_heading = "Output")]
    pub output_video_crf: u8,
    /// From this frame (250, counted from 0) or time (12.5s, 1:02.5) of the clip on; sound and subtitles begin with it
    #[arg(long, value_name = "FRAME|TIME", value_parser = moment, help_heading = "Output")]
    pub trim_start: Option<Moment>,
    /// Up to this frame or time of the clip, which is left out
    #[arg(long, value_name = "FRAME|TIME", value_parser = moment, help_heading = "Output")]
    pub trim_end: Option<Moment>,
    /// Only the first N frames of what is not trimmed (stills by name, of a folder); the audio ends with the last of them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Output")]
    pub frame_limit: Option<u64>,
    /// Go on with a clip however damaged it is: broken frames repeat the one before, also those that a file which was cut off does
    /// not have any more, as far as its container tells of them [default: one broken frame in 20, 25 in a row, no file that was cut
    /// off]; stills of a folder that cannot be read are left out
    #[arg(long, help_heading = "Output")]
    pub tolerate_damage: bool,
    /// A text in the frames
    #[command(flatten)]
    pub label: LabelArgs,

    /// Shortest and longest chunk, frames, 1..1000000
    #[arg(long, default_value = "64..128", value_name = "MIN..MAX", value_parser = chunk_frames, help_heading = "Execution")]
    pub chunk_frames: ChunkFrames,
    /// Lanes (chunks) at work at once, 1..64 [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = in_range(LANES), help_heading = "Execution")]
    pub workers: Option<usize>,
    /// Threads of a lane, for each of decoder, networks and encoder, 1..64 [default: 1]
    #[arg(long, value_name = "N", value_parser = in_range(THREADS), help_heading = "Execution")]
    pub execution_threads: Option<usize>,
    /// What networks run on, the preferred one first: cpu, cuda, tensorrt, openvino, coreml, directml, migraphx, cann; with a device (cuda:1) and
    /// a precision (tensorrt/fp16, openvino:GPU/fp16). What is not named is not used: "cuda" must work, "cuda,cpu" may fall back. For one role:
    /// --execution-provider swapper=cuda,cpu [default: cpu]
    #[arg(long, value_name = "[ROLE=]PROVIDER,…", value_parser = order, help_heading = "Execution")]
    pub execution_provider: Vec<String>,

    /// That the face of the photos may be used: a JSON file {"subject": whose it is, "basis": "consent", "reference": where the document is, "date":
    /// "2026-11-23"}. It goes into the audit, its digest into the output's credentials; without it the audit says that there was none
    #[arg(long, value_name = "FILE", value_parser = consent, help_heading = "Output")]
    pub consent: Option<ConsentArg>,

    /// Events as JSON lines on standard output instead of a progress bar; the last one is {"event":"done", …}
    #[arg(long)]
    pub json: bool,
}

/// Tell what a clip is, how it would be cut, and what of it would be kept; of a folder, which stills are in it, and whether each can be
/// read. Nothing of a clip is decoded, and nothing is written.
///
/// Exit code 3 if a job with this clip would be refused.
#[derive(Debug, Args)]
pub struct Probe {
    /// The clip, a picture, or a folder of stills
    #[arg(value_name = "CLIP")]
    pub clip: PathBuf,
    /// The name that the finished clip would have (see swap); only its ending counts [default: out.mp4; of a picture, its own]
    #[arg(short, long, value_name = "FILE")]
    pub output_path: Option<PathBuf>,
    /// Who would swap: mesh, none, or a network's name
    #[arg(long, default_value = "mesh", value_name = "SWAPPER")]
    pub swapper: Swapper,
    /// Encoder
    #[arg(long, default_value = "libx264", value_name = "ENCODER", value_parser = crate::contract::ENCODERS)]
    pub output_video_encoder: String,
    /// From this frame (250, counted from 0) or time (12.5s, 1:02.5) of the clip on
    #[arg(long, value_name = "FRAME|TIME", value_parser = moment)]
    pub trim_start: Option<Moment>,
    /// Up to this frame or time of the clip, which is left out
    #[arg(long, value_name = "FRAME|TIME", value_parser = moment)]
    pub trim_end: Option<Moment>,
    /// Only the first N frames of what is not trimmed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frame_limit: Option<u64>,
    /// Take a file that was cut off; its last whole frame stands for those that are missing
    #[arg(long)]
    pub tolerate_damage: bool,
    /// Shortest and longest chunk, frames, 1..1000000
    #[arg(long, default_value = "64..128", value_name = "MIN..MAX", value_parser = chunk_frames)]
    pub chunk_frames: ChunkFrames,
    /// A JSON object
    #[arg(long)]
    pub json: bool,
}

/// A service.
#[derive(Debug, Args)]
pub struct Role {
    /// Where the cluster and the store are
    #[command(flatten)]
    pub cluster: Cluster,
}

/// The worker service.
#[derive(Debug, Args)]
pub struct WorkerRole {
    /// Where the cluster and the store are
    #[command(flatten)]
    pub cluster: Cluster,
    /// Lanes (chunks) at work at once, 1..64 [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = in_range(LANES))]
    pub workers: Option<usize>,
    /// Threads of a lane, 1..64 [default: 1]
    #[arg(long, value_name = "N", value_parser = in_range(THREADS))]
    pub execution_threads: Option<usize>,
    /// What networks run on, the preferred one first, as of facemill swap; ingest must be told the same [default: cpu]
    #[arg(long, value_name = "[ROLE=]PROVIDER,…", value_parser = order)]
    pub execution_provider: Vec<String>,
    /// Whose networks are loaded at the start: mesh, none, or a network's name; jobs with others have to wait for theirs
    #[arg(long, default_value = "mesh", value_name = "SWAPPER")]
    pub swapper: Swapper,
}

/// Where the cluster and the store are; all of it can stand in the configuration file or the environment instead.
#[derive(Debug, Args)]
pub struct Cluster {
    /// Kafka brokers, host:port, separated by commas [config: kafka.brokers]
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
    /// Object store, file:///folder or s3://bucket/prefix [config: store.url]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Endpoint of an S3 that is not Amazon's [config: store.endpoint_url]
    #[arg(long, value_name = "URL")]
    pub store_endpoint: Option<String>,
    /// A folder that file:// locations of jobs may lie in; repeat for several [config: locations.roots]
    #[arg(long, value_name = "FOLDER")]
    pub root: Vec<PathBuf>,
    /// Where /metrics, /healthz and /readyz are served: auto, off or address:port [config: metrics.listen]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
}

/// Publish jobs.
#[derive(Debug, Args)]
pub struct Submit {
    /// A file with one job or several, each a JSON object; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Kafka brokers [config: kafka.brokers]
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

/// Tell how far a job is.
#[derive(Debug, Args)]
pub struct StatusOf {
    /// Which job
    #[command(flatten)]
    pub job: OfJob,
    /// Go on telling until it has ended
    #[arg(long)]
    pub watch: bool,
    /// The status as a JSON line
    #[arg(long)]
    pub json: bool,
}

/// Plan a job anew.
#[derive(Debug, Args)]
pub struct Resubmit {
    /// Which job
    #[command(flatten)]
    pub job: OfJob,
    /// Object store, file:///folder or s3://bucket/prefix [config: store.url]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Endpoint of an S3 that is not Amazon's [config: store.endpoint_url]
    #[arg(long, value_name = "URL")]
    pub store_endpoint: Option<String>,
}

/// One job.
#[derive(Debug, Args)]
pub struct OfJob {
    /// The job's id
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Kafka brokers [config: kafka.brokers]
    #[arg(long, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

impl OfJob {
    /// The id; the user is told what is wrong with it.
    pub fn job(&self) -> Result<JobId, Exit> {
        self.job.parse().map_err(|refusal| {
            eprintln!("facemill: {refusal}");
            Exit::Usage
        })
    }
}

/// Look at records that could not be done, and publish them again.
///
/// A record that cannot be parsed, or that kills or fails whoever works on it, goes to topic dead-letters with the reason;
/// its job fails or goes on without it. Dead letters stay there for 90 days.
#[derive(Debug, Args)]
pub struct DeadLetters {
    /// What to do with them
    #[command(subcommand)]
    pub command: DeadLettersCommand,
    /// Kafka brokers [config: kafka.brokers]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, oldest first: position, when, topic[partition]@offset that each comes from, key, class, message
    List(ListLetters),
    /// Show one: its headers, an empty line, its value as it came
    Show(ShowLetter),
    /// Publish records again where they were, as they were. They stay among the dead letters
    ///
    /// Do it when the cause is gone. Publishing twice does no harm: finished work is recognised.
    Replay(ReplayLetters),
}

/// List dead letters.
#[derive(Debug, Args)]
pub struct ListLetters {
    /// Only those that come from this topic: jobs, chunks or completions
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
    /// A JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Show a dead letter.
#[derive(Debug, Args)]
pub struct ShowLetter {
    /// Which, as the list shows it, e.g. 0:17
    #[arg(value_name = "PARTITION:OFFSET", value_parser = position)]
    pub position: Position,
}

/// Publish dead letters again.
#[derive(Debug, Args)]
pub struct ReplayLetters {
    /// Which, as the list shows them, e.g. 0:17
    #[arg(value_name = "PARTITION:OFFSET", value_parser = position, required_unless_present = "all")]
    pub positions: Vec<Position>,
    /// All of them
    #[arg(long, conflicts_with = "positions")]
    pub all: bool,
    /// With --all: only those that come from this topic
    #[arg(long, value_name = "TOPIC", requires = "all", conflicts_with = "positions")]
    pub topic: Option<String>,
}

/// Where a record lies on topic `dead-letters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:{}", self.partition, self.offset)
    }
}

fn position(text: &str) -> Result<Position, String> {
    let parsed = text.split_once(':').and_then(|(partition, offset)| {
        Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    });
    let in_range = parsed.filter(|position| position.partition >= 0 && position.offset >= 0);
    in_range.ok_or_else(|| "expected PARTITION:OFFSET as `facemill dead-letters list` shows it, e.g. 0:17".to_owned())
}

/// Delete what is old and no open job needs from the store.
///
/// Run it once a day or so, from anywhere that reaches the store; it may run beside everything else.
#[derive(Debug, Args)]
pub struct Gc {
    /// Delete nothing, only tell
    #[arg(long)]
    pub dry_run: bool,
    /// Keep more: only what is older than so many days, at least store.retention_days [default: store.retention_days]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    pub older_than: Option<u64>,
    /// What was deleted as a JSON line
    #[arg(long)]
    pub json: bool,
    /// Object store, file:///folder or s3://bucket/prefix [config: store.url]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Endpoint of an S3 that is not Amazon's [config: store.endpoint_url]
    #[arg(long, value_name = "URL")]
    pub store_endpoint: Option<String>,
}

/// The networks that are built in.
#[derive(Debug, Args)]
pub struct Models {
    /// What to do with them
    #[command(subcommand)]
    pub command: ModelsCommand,
}

/// Shortest and longest chunk, frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFrames(pub [u64; 2]);

fn chunk_frames(text: &str) -> Result<ChunkFrames, String> {
    let expected = "expected MIN..MAX with 1 <= MIN <= MAX <= 1000000, e.g. 64..128";
    let (min, max) = text.split_once("..").ok_or(expected)?;
    let (min, max): (u64, u64) = (min.parse().map_err(|_| expected)?, max.parse().map_err(|_| expected)?);
    let range = crate::contract::CHUNK_FRAMES;
    if range.contains(&min) && range.contains(&max) && min <= max {
        return Ok(ChunkFrames([min, max]));
    }
    Err(expected.to_owned())
}

fn moment(text: &str) -> Result<Moment, String> {
    text.parse().map_err(|refusal: Refusal| format!("expected {}", refusal.expected))
}

fn blend_ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err("expected 0.0..=1.0 (1.0 = the new face in full, 0.0 = the frame untouched)".to_owned()),
    }
}

fn in_range(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("expected {}..={}", range.start(), range.end())),
    }
}

impl Command {
    /// The flags as a layer of the configuration.
    pub fn settings(&self) -> Value {
        match self {
            Self::Swap(swap) => json!({ "worker": {
                "lanes": swap.workers, "threads": swap.execution_threads, "provider": providers(&swap.execution_provider),
            }}),
            Self::Ingest(role) | Self::Assemble(role) => role.cluster.settings(),
            Self::Worker(role) => {
                let mut settings = role.cluster.settings();
                settings["worker"] = json!({
                    "lanes": role.workers, "threads": role.execution_threads,
                    "provider": providers(&role.execution_provider),
                });
                settings
            }
            Self::Submit(Submit { brokers, .. })
            | Self::Cancel(OfJob { brokers, .. })
            | Self::Audit(Audit { brokers, .. })
            | Self::DeadLetters(DeadLetters { brokers, .. })
            | Self::Status(StatusOf { job: OfJob { brokers, .. }, .. }) => json!({ "kafka": { "brokers": brokers } }),
            Self::Resubmit(resubmit) => json!({
                "kafka": { "brokers": resubmit.job.brokers },
                "store": { "url": resubmit.store, "endpoint_url": resubmit.store_endpoint },
            }),
            Self::Gc(gc) => json!({ "store": { "url": gc.store, "endpoint_url": gc.store_endpoint } }),
            Self::Probe(_) | Self::Verify(_) | Self::Models(_) | Self::Doctor | Self::Lane(_) => json!({}),
        }
    }

    /// It runs until it is stopped, and logs what it does.
    pub fn is_service(&self) -> bool {
        matches!(self, Self::Ingest(_) | Self::Worker(_) | Self::Assemble(_))
    }
}

impl Cluster {
    fn settings(&self) -> Value {
        let roots = (!self.root.is_empty()).then_some(&self.root);
        json!({
            "kafka": { "brokers": self.brokers },
            "store": { "url": self.store, "endpoint_url": self.store_endpoint },
            "locations": { "roots": roots },
            "metrics": { "listen": self.metrics },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn chunk_bounds() {
        assert_eq!(chunk_frames("64..128"), Ok(ChunkFrames([64, 128])));
        assert_eq!(chunk_frames("1..1000000"), Ok(ChunkFrames([1, 1_000_000])));
        for bad in ["", "64", "64-128", "0..8", "9..8", "1..1000001", "a..b", "64.."] {
            assert!(chunk_frames(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn positions() {
        assert_eq!(position("2:17"), Ok(Position { partition: 2, offset: 17 }));
        for bad in ["", "2", "2:", ":17", "-1:0", "0:-1", "a:b", "0:1:2"] {
            assert!(position(bad).is_err(), "{bad}");
        }
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parse("facemill dead-letters replay 0:1 2:3"));
        assert!(parse("facemill dead-letters replay --all --topic jobs"));
        for bad in ["replay", "replay --all 0:1", "replay --topic jobs 0:1", "show", "show 0:1 0:2"] {
            assert!(!parse(&format!("facemill dead-letters {bad}")), "{bad}");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!(blend_ratio("0.85"), Ok(0.85));
        for bad in ["7", "-0.1", "NaN", "x", ""] {
            assert!(blend_ratio(bad).is_err(), "{bad}");
        }
    }
}
