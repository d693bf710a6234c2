//! What an operator can set: defaults, then `facemill.toml`, then the environment, then flags; later layers win.
//!
//! A setting `lanes` of section `[worker]` is `worker.lanes` in messages and `FACEMILL_WORKER__LANES` in the environment
//! (two underscores between section and setting; a setting above all sections is `FACEMILL_ONNXRUNTIME`). Lists are
//! written `["/srv/faces", "/srv/clips"]` there too. `deploy/facemill.toml` shows every setting with its default.
//!
//! Nothing but this module and `main` reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::contract::ConsentPolicy;
use crate::credentials::{Keys, SignerSettings};
use crate::ingest::GateMode;
use crate::marks::Code;
use crate::media;
use crate::vision::Providers;
use crate::vision::execution::ProviderKind;

mod explain;
mod lanes;
mod layers;
mod range;

pub use explain::ConfigError;
pub use lanes::{lane_environment, lane_program};
pub use layers::{FILE, Sources};

/// The release of ONNX Runtime that `make setup` fetches and the models are tested with.
pub const ONNXRUNTIME_VERSION: &str = "1.31.1";
/// The version with OpenVINO in it that `deploy/setup/accelerator.sh openvino` fetches.
const OPENVINO_VERSION: &str = "1.24.1";
/// The version with CUDA in it that `deploy/setup/accelerator.sh cuda` fetches.
const CUDA_VERSION: &str = "1.31.1";

/// Accepted lanes of a worker.
pub const LANES: RangeInclusive<usize> = 1..=64;
/// Accepted threads of a lane.
pub const THREADS: RangeInclusive<usize> = 1..=64;
/// Accepted jobs at once, of `ingest` and of `assemble`.
pub const JOBS: RangeInclusive<usize> = 1..=64;
/// Accepted unsettled chunks of one job. The upper bound keeps the embedded broker, which holds 100,000
/// records of a partition, far from dropping one.
pub const OUTSTANDING_CHUNKS: RangeInclusive<usize> = 1..=10_000;
/// Accepted seconds without news of a job until its missing chunks are published again.
pub const REPAIR_AFTER_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Accepted replicas of a topic.
pub const REPLICATION: RangeInclusive<i32> = 1..=32_767;
/// Accepted seconds of patience with a store or broker that is away.
pub const PATIENCE_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Accepted days of retention.
pub const DAYS: RangeInclusive<u64> = 1..=3_650;
/// Accepted seconds of grace.
pub const GRACE_SECONDS: RangeInclusive<u64> = 0..=3_600;
/// Accepted memory of a lane, MB.
pub const LANE_MEMORY_MB: RangeInclusive<u64> = 128..=1_048_576;
/// Accepted seconds that a chunk may take whatever its length.
pub const CHUNK_SECONDS: RangeInclusive<u64> = 1..=86_400;
/// Accepted seconds that a frame may take.
pub const FRAME_SECONDS: RangeInclusive<f64> = 0.001..=3_600.0;
/// Accepted limits of a clip's width and height, pixels.
pub const SIDE: RangeInclusive<u32> = 16..=32_768;
/// Accepted limits of width times height: FFmpeg has no pictures above that.
pub const PIXELS: RangeInclusive<u64> = 256..=268_435_456;
/// Accepted limits of a clip's frames.
pub const FRAMES: RangeInclusive<u64> = 1..=100_000_000;
/// Accepted limits of a clip's length, seconds.
pub const SECONDS: RangeInclusive<u64> = 1..=31_536_000;
/// Accepted limits of a clip's file, MB.
pub const FILE_MB: RangeInclusive<u64> = 1..=1_000_000_000;
/// Accepted chunks of a lane's life.
pub const CHUNKS_PER_LANE: RangeInclusive<u64> = 1..=1_000_000_000;

/// All settings, in range.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The cluster that carries the records.
    pub kafka: Kafka,
    /// The object store that holds the truth.
    pub store: Store,
    /// Which files jobs may name.
    pub locations: Locations,
    /// How large their clips may be.
    pub limits: Limits,
    /// The role that plans and cuts clips.
    pub ingest: Ingest,
    /// The role that swaps chunks.
    pub worker: Worker,
    /// The role that joins results.
    pub assemble: Assemble,
    /// What outputs say of themselves.
    pub credentials: Credentials,
    /// Where a role can be watched.
    pub metrics: Metrics,
    /// What is logged, to standard error.
    pub log: Log,
    /// The ONNX Runtime library, a file. Default: the first of those that [`Config::onnxruntime_library`] looks for.
    pub onnxruntime: Option<PathBuf>,
    /// Folder for files being worked on; a fast local disk. Default: `scratch` in [`cache_dir`].
    pub scratch: Option<PathBuf>,
    /// Folder with networks that are not built in, and their cards: the same on every node. Default: `$XDG_DATA_HOME/facemill/models`,
    /// else `~/.local/share/facemill/models`.
    pub models: Option<PathBuf>,
}

/// `[kafka]`: four settings of ours; every other key is a property of librdkafka, in its own spelling
/// (`security.protocol = "SASL_SSL"`, or `FACEMILL_KAFKA__SECURITY_PROTOCOL=SASL_SSL`).
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, several separated by commas. Default: none, which starts the embedded broker.
    pub brokers: Option<String>,
    /// Replicas of the topics that are made at start, 1 to 32,767. Default: what `topics/*.yaml` say.
    pub replication: Option<i32>,
    /// Put before the name of every topic and consumer group, so that several installations can share a cluster:
    /// letters, digits, `.`, `_` and `-`, at most 64. Default: none.
    pub topic_prefix: String,
    /// Kafka's `group.instance.id`: a process that is back within its session time-out causes no rebalance. Must be unique for
    /// each process of a role (a host or pod name). Default: none.
    pub static_member: Option<String>,
    /// Properties handed to librdkafka as they are; they win over the defaults of this program, but for `group.id`,
    /// `enable.auto.commit`, `enable.auto.offset.store` and `max.in.flight.requests.per.connection`, on which it depends that nothing is lost.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for Kafka {
    /// Properties by name only: their values hold passwords.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("replication", &self.replication)
            .field("topic_prefix", &self.topic_prefix)
            .field("static_member", &self.static_member)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// `[store]`. Credentials are not set here: they come from the usual AWS environment, profile or instance role.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `file:///folder` or `s3://bucket/prefix`. Default: none; services need one.
    pub url: Option<String>,
    /// Endpoint of an S3 that is not Amazon's, `http://…` or `https://…`. Default: Amazon's for the region.
    pub endpoint_url: Option<String>,
    /// Region. Default: what the AWS environment or profile says.
    pub region: Option<String>,
    /// Buckets as the first path segment, not as host names (MinIO and most others need it). Default: false.
    pub force_path_style: bool,
    /// Seconds that the store, the broker or a place that a job names may be away before it counts as gone: until then every
    /// request is tried again, with backoff. 1 to 86,400. Default: 300.
    pub patience_seconds: u64,
    /// Days that `facemill gc` keeps what no open job needs, 1 to 3,650; more than `longest_job_days`. Default: 30.
    pub retention_days: u64,
    /// Days that a job may be open, 1 to 3,650: what would fall to gc before a job of that length ends is renewed before the job
    /// relies on it. Default: 7.
    pub longest_job_days: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: None,
            endpoint_url: None,
            region: None,
            force_path_style: false,
            patience_seconds: 300,
            retention_days: 30,
            longest_job_days: 7,
        }
    }
}

/// `[locations]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locations {
    /// Folders that `file://` locations of jobs must lie in, absolute. Default: none, so jobs can name no file.
    pub roots: Vec<PathBuf>,
}

/// `[limits]`: what is larger is refused before anything is allocated for it. Of a clip as it comes, before it is trimmed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Width, pixels, 16 to 32,768. Default: 8,192.
    pub width: u32,
    /// Height, pixels, 16 to 32,768. Default: 8,192.
    pub height: u32,
    /// Width times height, 256 to 268,435,456. Default: 35,389,440 (8192x4320). A lane takes about 150 MB and 0.11 MB for each thousand,
    /// so more of them need more `worker.lane_memory_mb`.
    pub pixels: u64,
    /// Frames, 1 to 100,000,000. Default: 2,000,000; ingest takes about 100 bytes for each.
    pub frames: u64,
    /// Seconds, 1 to 31,536,000. Default: 43,200.
    pub seconds: u64,
    /// Size of the file, MB, 1 to 1,000,000,000. Default: none.
    pub file_mb: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        let media::Limits { max_width, max_height, max_pixels, max_frames, max_seconds, .. } = media::Limits::default();
        Self {
            width: max_width,
            height: max_height,
            pixels: max_pixels,
            frames: max_frames,
            seconds: max_seconds,
            file_mb: None,
        }
    }
}

impl Limits {
    /// As the probe wants them.
    pub fn of_clips(&self) -> media::Limits {
        media::Limits {
            max_width: self.width,
            max_height: self.height,
            max_pixels: self.pixels,
            max_frames: self.frames,
            max_seconds: self.seconds,
            max_bytes: self.file_mb.map(|mb| mb * 1_000_000),
        }
    }
}

/// `[ingest]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// Jobs fetched, planned and cut at once, 1 to 64. Default: 4.
    pub jobs: usize,
    /// Chunks of one job published and not yet settled, 1 to 10,000: what it may have queued before the workers. Default: 256.
    pub outstanding_chunks: usize,
    /// Whether photos and clips are judged by a network before any work is spent, and refused if they are nothing for everybody's eyes:
    /// `auto` (where a network of role `gate` is in the models folder: `facemill models fetch open_nsfw`), `required`, `off`. Jobs have no
    /// say in it. Default: `auto`.
    pub gate: GateMode,
    /// What becomes of the consent that jobs carry (`consent` of a job): `required` refuses a job that lends somebody's face without it, before
    /// any work; `recorded` puts what there is into the audit, and its digest into the output's credentials; `off` does neither. Jobs have no
    /// say in it. Default: `recorded`.
    pub consent: ConsentPolicy,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { jobs: 4, outstanding_chunks: 256, gate: GateMode::Auto, consent: ConsentPolicy::Recorded }
    }
}

/// `[worker]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Chunks worked on at once, 1 to 64. Default: the number of cores that this process may use.
    pub lanes: usize,
    /// Threads of one lane (decoder, networks, encoder), 1 to 64. Default: 1.
    pub threads: usize,
    /// What the networks run on, in order of preference, for all roles and for some of their own: `cuda,cpu;swapper=tensorrt:1/fp16,cuda:1`
    /// (see [`Providers`]). Default: `cpu`.
    pub provider: Providers,
    /// Seconds after SIGTERM in which chunks in work are finished; in the last five of them (or all, if they are fewer) what is not finished is
    /// handed back, which has three seconds even if the grace is shorter. 0 to 3,600. Default: 30.
    pub grace_seconds: u64,
    /// Memory that a lane's process may take, MB, 128 to 1,048,576; a chunk that needs more ends its lane. Default: 4,096.
    pub lane_memory_mb: u64,
    /// Seconds that a chunk may take in its lane whatever its length (loading networks, portraits), 1 to 86,400; its deadline is
    /// this and `frame_seconds` for each frame that it decodes. Default: 60.
    pub chunk_seconds: u64,
    /// Seconds that a frame may take, 0.001 to 3,600. Default: 2.
    pub frame_seconds: f64,
    /// Encoders in hardware that every worker has, by FFmpeg's names (`h264_nvenc`, `hevc_nvenc`, `h264_qsv`, `hevc_qsv`, `h264_vaapi`,
    /// `hevc_vaapi`): ingest chooses no others, and a worker on which one does not open does not start. Default: none, so that jobs that
    /// ask for one get software of the same codec, and a warning. `facemill swap` goes by what opens, and not by this.
    pub hardware_encoders: Vec<String>,
    /// Chunks after which a lane's process is replaced by a fresh one, against leaks of drivers and libraries. Default: 500.
    pub chunks_per_lane: u64,
}

impl Default for Worker {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self {
            lanes: cores.clamp(*LANES.start(), *LANES.end()),
            threads: 1,
            provider: Providers::default(),
            grace_seconds: 30,
            lane_memory_mb: 4096,
            chunk_seconds: 60,
            frame_seconds: 2.0,
            hardware_encoders: Vec::new(),
            chunks_per_lane: 500,
        }
    }
}

/// `[assemble]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assemble {
    /// Outputs joined at once, 1 to 64; while one is signed it takes as much memory as it is large, up to 512 MB. Default: 2.
    pub jobs: usize,
    /// Seconds without a settled chunk of a job until its missing chunks are published again, 1 to 86,400. Default: 30.
    pub repair_after_seconds: u64,
    /// Seconds after SIGTERM in which outputs in work are finished; the next assembler begins the others anew. 0 to 3,600.
    /// Default: 30.
    pub grace_seconds: u64,
}

impl Default for Assemble {
    fn default() -> Self {
        Self { jobs: 2, repair_after_seconds: 30, grace_seconds: 30 }
    }
}

/// `[credentials]`: Content Credentials (C2PA) and labels in metadata.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// Whether outputs are signed, and labelled in their metadata if something of them is synthetic. Default: true.
    pub sign: bool,
    /// The operator's certificate and those of its issuers, a PEM file; fit for C2PA (digital signatures; e-mail protection or document
    /// signing), with `key` or `command`. Default: none, which makes a local identity once, that nobody vouches for.
    pub certificate: Option<PathBuf>,
    /// Its private key, a PEM file (PKCS #8) without a password. Default: none.
    pub key: Option<PathBuf>,
    /// In place of `key` a program with its arguments, so that the key can stay in a hardware module: takes what is to be signed at its
    /// standard input, gives the signature at its standard output, within 30 seconds. Default: none.
    pub command: Vec<String>,
    /// Who is named as the producer where China's rules ask for one (`ContentProducer` of GB 45438): 1 to 256 printable ASCII characters but the space,
    /// `"` and `\`. Default: `Facemill`.
    pub producer: Code,
}

impl Default for Credentials {
    fn default() -> Self {
        let producer = "Facemill".parse().expect("eight letters are a code");
        Self { sign: true, certificate: None, key: None, command: Vec::new(), producer }
    }
}

impl Credentials {
    /// Whose key signs; a message naming what does not go together.
    pub(crate) fn keys(&self) -> Result<Keys, String> {
        let command = Some(self.command.clone()).filter(|command| !command.is_empty());
        match (self.certificate.clone(), self.key.clone(), command) {
            (None, None, None) => Ok(Keys::Local),
            (Some(certificate), Some(key), None) => Ok(Keys::File { certificate, key }),
            (Some(certificate), None, Some(command)) => Ok(Keys::Command { certificate, command }),
            (Some(_), None, None) => {
                Err("credentials.key: none (expected the certificate's key, or credentials.command)".to_owned())
            }
            (Some(_), Some(_), Some(_)) => {
                Err("credentials.command: stands beside credentials.key (expected one of them)".to_owned())
            }
            (None, _, _) => Err("credentials.certificate: none (expected that of the key)".to_owned()),
        }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where `/metrics`, `/healthz` and `/readyz` are served. Default: `auto`.
    pub listen: Listen,
}

/// Where a role answers HTTP. There is no authentication: bind other than loopback only inside a private network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// `auto`: [`Listen::DEFAULT`], or a free port of loopback where that one is taken (several roles on one machine).
    #[default]
    Auto,
    /// `127.0.0.1:9464`: this address, or fail. Port 0 takes a free one.
    At(SocketAddr),
    /// `off`: nowhere.
    Off,
}

impl Listen {
    /// Loopback, at the port that OpenTelemetry gives to Prometheus exporters.
    pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9464);
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            address => {
                address.parse().map(Self::At).map_err(|_| format!("{address} is neither auto, off nor address:port"))
            }
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` (an object a line) for collectors. Default: `text`.
    pub format: LogFormat,
    /// Directives as `tracing-subscriber` reads them, `warn,facemill::broker=debug`; they win over `-v`. Default: none.
    pub filter: Option<String>,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, fields and spans included.
    Json,
}

impl Config {
    /// Reads all layers: `file` (or `./facemill.toml` where there is one), this process's environment, and `flags`: a JSON
    /// object of the same shape, `{"worker": {"lanes": 2}}`, in which `null` means not given.
    pub fn load(file: Option<&Path>, flags: serde_json::Value) -> Result<Self, ConfigError> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        Sources { file: file.map(Path::to_owned), folder: PathBuf::from("."), environment, flags }.load()
    }

    /// The ONNX Runtime library: the configured file; else the first that exists of `libonnxruntime.so` beside this executable, and of
    /// those in [`cache_dir`] the one that `deploy/setup/accelerator.sh` put there for the preferred provider, and that of `make setup`. Where
    /// none exists the last is returned, for the message of whoever opens it.
    pub fn onnxruntime_library(&self) -> PathBuf {
        if let Some(configured) = &self.onnxruntime {
            return configured.clone();
        }
        let beside = std::env::current_exe().ok().map(|executable| executable.with_file_name("libonnxruntime.so"));
        let fetched = |folder: String| cache_dir().join(folder).join("libonnxruntime.so");
        let kinds = self.worker.provider.all().into_iter().map(|provider| provider.kind);
        let made_for = kinds.filter_map(|kind| match kind {
            ProviderKind::Cuda | ProviderKind::Tensorrt => Some(fetched(format!("onnxruntime-cuda-{CUDA_VERSION}"))),
            ProviderKind::Openvino => Some(fetched(format!("onnxruntime-openvino-{OPENVINO_VERSION}"))),
            _ => None,
        });
        let found = beside.into_iter().chain(made_for).find(|library| library.is_file());
        found.unwrap_or_else(|| fetched(format!("onnxruntime-{ONNXRUNTIME_VERSION}")))
    }

    /// Folder with networks that are not built in; may not exist.
    pub fn models_dir(&self) -> PathBuf {
        self.models.clone().unwrap_or_else(|| data_dir().join("models"))
    }

    /// With what outputs are signed; a message if that does not go together.
    pub fn signer(&self) -> Result<SignerSettings, String> {
        Ok(SignerSettings {
            keys: self.credentials.keys()?,
            identity: data_dir().join("identity"),
            producer: self.credentials.producer.clone(),
        })
    }

    /// Folder for what is made of networks and photos, and can be made again; may not exist yet.
    pub fn made_dir(&self) -> PathBuf {
        cache_dir().join("made")
    }

    /// Folder for files being worked on; may not exist yet.
    pub fn scratch_dir(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(|| cache_dir().join("scratch"))
    }
}

/// Where this user's files that can be made again are kept: `$XDG_CACHE_HOME/facemill`, else `~/.cache/facemill`, else (no
/// home) `facemill` among the temporary files. May not exist yet.
pub fn cache_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    user_dir(variable("XDG_CACHE_HOME"), variable("HOME"), ".cache")
}

/// Where this user's files that are to stay are kept: `$XDG_DATA_HOME/facemill`, else `~/.local/share/facemill`. May not exist yet.
fn data_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    user_dir(variable("XDG_DATA_HOME"), variable("HOME"), ".local/share")
}

/// This program's folder in the one that `xdg` names, else in `usual` of the user's home, else among the temporary files.
fn user_dir(xdg: Option<PathBuf>, home: Option<PathBuf>, usual: &str) -> PathBuf {
    // XDG base directories: a relative path in the variable is to be ignored.
    let configured = xdg.filter(|folder| folder.is_absolute());
    let usual = home.filter(|folder| folder.is_absolute()).map(|folder| folder.join(usual));
    configured.or(usual).unwrap_or_else(std::env::temp_dir).join("facemill")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_folder_follows_xdg_then_home() {
        let table = [
            (Some("/x"), Some("/home/a"), "/x/facemill"),
            (None, Some("/home/a"), "/home/a/.cache/facemill"),
            (Some("relative"), Some("/home/a"), "/home/a/.cache/facemill"),
            (Some(""), Some("/home/a"), "/home/a/.cache/facemill"),
        ];
        for (xdg, home, expected) in table {
            assert_eq!(
                user_dir(xdg.map(PathBuf::from), home.map(PathBuf::from), ".cache"),
                Path::new(expected),
                "{xdg:?} {home:?}"
            );
        }
        assert!(user_dir(None, None, ".cache").is_absolute());
    }

    #[test]
    fn configured_library_wins() {
        let config = Config { onnxruntime: Some("/opt/ort.so".into()), ..Config::default() };
        assert_eq!(config.onnxruntime_library(), Path::new("/opt/ort.so"));
        assert!(Config::default().onnxruntime_library().ends_with("libonnxruntime.so"));
    }

    #[test]
    fn setup_fetches_the_version_that_is_looked_for() {
        let pinned = include_str!("../deploy/setup/onnxruntime.txt");
        assert!(pinned.contains(&format!("onnxruntime=={ONNXRUNTIME_VERSION} ")), "{pinned}");
        let script = include_str!("../deploy/setup/onnxruntime.sh");
        assert!(script.contains(&format!("version={ONNXRUNTIME_VERSION}\n")));
        let script = include_str!("../deploy/setup/accelerator.sh");
        assert!(script.contains(&format!("openvino) version={OPENVINO_VERSION} ;;")));
        assert!(script.contains(&format!("cuda) version={CUDA_VERSION} ;;")));
    }

    #[test]
    fn secrets_are_not_printed() {
        let properties = BTreeMap::from([("sasl.password".to_owned(), "hunter2".to_owned())]);
        let printed = format!("{:?}", Config { kafka: Kafka { properties, ..Kafka::default() }, ..Config::default() });
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
