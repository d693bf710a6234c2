//! A lane's process from the outside: started, given chunks one after the other, and got rid of.
//!
//! Nothing of it outlives this value: dropping it kills the process, and a process whose worker is gone ends by itself, since its
//! standard input does. (One that the system does not let go is gone as soon as it does.)

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::contract::Swapper;
use crate::crash;
use crate::error::{Classify, Kind};
use crate::vision::Execution;

use super::lane::{LaneOrder, LaneReport};
use super::protocol::{self, Ask, Tell};
use super::serve::speaks_of_memory;
use super::words::{self, LastWords};

/// How long a lane may take to leave a chunk when it is asked to; a frame of 4K takes a tenth of that.
pub const STOP_GRACE: Duration = Duration::from_secs(2);
/// A frame that is made larger may take so many times as long: Real-ESRGAN takes some minutes for one of 720p on a processor.
const LARGER_TIMES: u32 = 300;
/// How long a process that has said its last word may take to be gone.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// How long a process that is killed may take to be gone: one with some gigabytes, or memory of a GPU, takes a second. One that waits in a
/// driver or for a file system that is away may never be, and its chunk's record must not wait for it.
const KILL_GRACE: Duration = Duration::from_secs(3);
/// What loading networks may take beside, where a provider builds engines of them: TensorRT takes minutes for a large one, once.
const ENGINE_TIME: Duration = Duration::from_secs(20 * 60);

/// How the lanes of a worker work; none of it changes a result.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    /// The program that is run, with `lane` as its first argument: see [`crate::config::lane_program`].
    pub program: PathBuf,
    /// All of its environment: see [`crate::config::lane_environment`].
    pub environment: Vec<(OsString, OsString)>,
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
    /// The folder with networks that are not built in.
    pub models: PathBuf,
    /// Where and with how many threads networks run.
    pub execution: Execution,
    /// Threads of the decoder and of the encoder, each.
    pub threads: usize,
    /// The swapper whose networks are loaded at the start, before the first chunk comes.
    pub swapper: Swapper,
    /// The folder for what lanes make of networks and photos.
    pub made: PathBuf,
    /// What a lane's process may take of memory (`RLIMIT_DATA`), MB.
    pub memory_mb: u64,
    /// What a chunk may take of time whatever its length; so may the start of a lane.
    pub chunk_time: Duration,
    /// What it may take for each frame that is decoded.
    pub frame_time: Duration,
    /// Chunks after which a lane is replaced.
    pub chunks_per_lane: u64,
}

impl LaneSettings {
    /// When a lane that begins with `order` now is too late.
    fn deadline(&self, order: &LaneOrder) -> Duration {
        let frames = order.spec.span.hi.saturating_sub(order.spec.span.lo);
        let times = if order.spec.swap.upscaler.is_some() { LARGER_TIMES } else { 1 };
        let for_frames = self.frame_time.saturating_mul(u32::try_from(frames).unwrap_or(u32::MAX));
        let for_frames = for_frames.saturating_mul(times);
        self.chunk_time.saturating_add(for_frames)
    }

    /// What loading networks may take beyond a chunk's or a start's own time.
    pub(super) fn loading(&self) -> Duration {
        if self.execution.providers.build_engines() { ENGINE_TIME } else { Duration::ZERO }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0("facemill").arg("lane").arg("--onnxruntime").arg(&self.onnxruntime);
        command.arg("--models").arg(&self.models).args(["--swapper", &self.swapper.to_string()]);
        command.args(["--execution-provider", &self.execution.providers.to_string(), "--log", &words::filter()]);
        command.arg("--made").arg(&self.made);
        command.args(["--network-threads", &self.execution.threads.to_string()]);
        command.args(["--execution-threads", &self.threads.to_string(), "--memory-mb", &self.memory_mb.to_string()]);
        command.env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Away from the terminal's Ctrl-C, which is for this process: it decides what becomes of the chunks in work.
        command.process_group(0).kill_on_drop(true);
        command
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// The lane says why; it is ready for the next chunk.
    #[error("{reason}")]
    Failed {
        /// What kind of failure it is.
        kind: Kind,
        /// Why.
        reason: String,
    },
    /// The chunk was left, as asked.
    #[error("stopped before the chunk was done")]
    Stopped,
    /// The lane's process has died over the chunk.
    #[error("the lane died: {0}")]
    Crashed(String),
    /// It was killed, since it would not come to an end.
    #[error("the lane was killed: the chunk took longer than {seconds} s (worker.chunk_seconds, worker.frame_seconds)")]
    Deadline {
        /// What it had been given.
        seconds: u64,
    },
    /// It had no more memory.
    #[error("the lane ran out of memory ({limit_mb} MB, worker.lane_memory_mb): {reason}")]
    OutOfMemory {
        /// What it was given.
        limit_mb: u64,
        /// What it said.
        reason: String,
    },
    /// No lane comes up.
    #[error("no lane can be started: {0}")]
    Start(String),
}

impl LaneError {
    /// The lane's process is lost, for a reason that may lie in the chunk.
    pub fn is_death(&self) -> bool {
        matches!(self, Self::Crashed(_) | Self::Deadline { .. } | Self::OutOfMemory { .. })
    }
}

impl Classify for LaneError {
    fn kind(&self) -> Kind {
        match self {
            Self::Failed { kind, .. } => *kind,
            Self::Stopped | Self::Crashed(_) | Self::Deadline { .. } | Self::OutOfMemory { .. } => Kind::Retry,
            Self::Start(_) => Kind::Fatal,
        }
    }
}

/// Why a lane has not come up.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StartError {
    /// Another one would not either.
    pub is_final: bool,
    /// Why.
    pub reason: String,
}

/// A lane that is ready for a chunk.
#[derive(Debug)]
pub struct LaneProcess {
    settings: LaneSettings,
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    words: LastWords,
    listening: AbortOnDropHandle<()>,
    /// Orders that it was given.
    pub orders: u64,
    /// It can be given another.
    pub is_usable: bool,
}

impl LaneProcess {
    /// Starts a process and waits until its networks are loaded. Gives up, and leaves nothing, once `closing` is cancelled.
    pub async fn start(settings: LaneSettings, closing: CancellationToken) -> Result<Self, StartError> {
        let refused = |error: std::io::Error| {
            use std::io::ErrorKind::{NotFound, PermissionDenied};
            let is_final = matches!(error.kind(), NotFound | PermissionDenied);
            StartError { is_final, reason: format!("run {} lane: {error}", settings.program.display()) }
        };
        let mut child = settings.command().spawn().map_err(refused)?;
        let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = taken else { unreachable!("all three were asked for") };
        let words = LastWords::default();
        let listening = tokio::spawn(words.clone().listen(stderr, child.id().unwrap_or_default()));
        let listening = AbortOnDropHandle::new(listening);
        let said = BufReader::new(stdout).lines();
        let mut lane = Self { settings, child, stdin, said, words, listening, orders: 0, is_usable: true };
        let within = lane.settings.chunk_time + lane.settings.loading();
        // Cancel-safe: the lane is ended by whichever of the others comes first.
        let (is_final, reason) = tokio::select! {
            told = lane.hear() => match told {
                Some(Tell::Ready) => return Ok(lane),
                Some(Tell::Failed { kind, memory, reason }) => (kind == Kind::Fatal && !memory, reason),
                _ => (false, lane.post_mortem().await.to_string()),
            },
            () = sleep(within) => (false, format!("it was not ready after {} s", within.as_secs())),
            () = closing.cancelled() => (true, "the lanes are closed".to_owned()),
        };
        lane.end().await;
        Err(StartError { is_final, reason })
    }

    /// Has a chunk computed. Asks the lane to leave it once `stop` is cancelled; `encoded` is told of the chunk's frames.
    pub async fn run(
        &mut self,
        order: &LaneOrder,
        stop: &CancellationToken,
        encoded: &mut (dyn FnMut(u64) + Send),
    ) -> Result<LaneReport, LaneError> {
        let allowed = self.settings.deadline(order);
        let fingerprint = order.spec.fingerprint();
        self.orders += 1;
        let order = Ask::Order { order: Box::new(order.clone()), fingerprint };
        let unreadable = |error: serde_json::Error| LaneError::Failed { kind: Kind::Fatal, reason: error.to_string() };
        if !self.ask(&order).await.map_err(unreadable)? {
            return Err(self.post_mortem().await);
        }
        crash::point("worker.decode");
        // Some 30 years, where a deadline is out of all bounds.
        let allowed = allowed.min(Duration::from_secs(1 << 30));
        let mut until = Instant::now() + allowed + self.settings.loading();
        let mut is_stopping = false;
        let mut is_first = true;
        loop {
            // Cancel-safe: `hear` keeps what it has read of a line, the others wait for a moment.
            let told = tokio::select! {
                // What it has said comes first: this process may have stood still for longer than the lane had.
                biased;
                told = self.hear() => told,
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    until = until.min(Instant::now() + STOP_GRACE);
                    if !self.ask(&Ask::Stop).await.map_err(unreadable)? {
                        return Err(self.post_mortem().await);
                    }
                    continue;
                }
                () = sleep_until(until) => {
                    self.end().await;
                    return Err(if is_stopping { LaneError::Stopped } else { LaneError::Deadline { seconds: allowed.as_secs() } });
                }
            };
            match told {
                Some(Tell::Encoded { frames: 0 }) => until = until.min(Instant::now() + allowed),
                Some(Tell::Encoded { frames }) => {
                    if std::mem::take(&mut is_first) {
                        crash::point("worker.infer");
                    }
                    encoded(frames);
                }
                Some(Tell::Done(report)) => {
                    crash::point("worker.encode");
                    return Ok(report);
                }
                Some(Tell::Stopped) => return Err(LaneError::Stopped),
                Some(Tell::Failed { kind, memory, reason }) => return Err(self.failure(kind, memory, reason).await),
                Some(Tell::Ready) => debug!("a lane says again that it is ready"),
                None => return Err(self.post_mortem().await),
            }
        }
    }

    /// What a failure is that a lane tells of. x264 has no other word for missing memory than a line on standard error.
    async fn failure(&mut self, kind: Kind, memory: bool, reason: String) -> LaneError {
        let heard_all = timeout(EXIT_GRACE, self.words.marked()).await.is_ok();
        let words = self.words.text();
        if memory || heard_all && speaks_of_memory(&words) {
            self.end().await;
            let reason = if words.is_empty() { reason } else { format!("{reason}; {words}") };
            return LaneError::OutOfMemory { limit_mb: self.settings.memory_mb, reason };
        }
        LaneError::Failed { kind, reason }
    }

    /// Waits until the process says no more: it has died. Cancel-safe.
    pub async fn silence(&mut self) {
        while self.hear().await.is_some() {}
    }

    /// Kills the process and waits until it is gone, or [`KILL_GRACE`] is over: then it is left to the system. Nothing in it is worth keeping.
    pub async fn end(&mut self) {
        self.is_usable = false;
        // Cancel-safe: what is killed stays killed, whether or not anybody waits for its end.
        match timeout(KILL_GRACE, self.child.kill()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lane = self.child.id(), %error, "a lane cannot be killed"),
            Err(_) => warn!(
                lane = self.child.id(),
                "a lane was killed and is not gone; it is left to the system, which does not let it go (look at its state in /proc)"
            ),
        }
        self.listening.abort();
    }

    /// The next thing that it says; `None` once it says no more. Cancel-safe.
    async fn hear(&mut self) -> Option<Tell> {
        loop {
            let line = self.said.next_line().await.ok().flatten()?;
            match serde_json::from_str(&line) {
                Ok(told) => return Some(told),
                // A library that writes to standard output.
                Err(_) => {
                    warn!(lane = self.child.id(), "{line}");
                    self.words.keep(&line);
                }
            }
        }
    }

    /// Says something to it; false if it does not listen any more.
    async fn ask(&mut self, ask: &Ask) -> serde_json::Result<bool> {
        let line = protocol::line(ask)?;
        Ok(self.stdin.write_all(line.as_bytes()).await.is_ok())
    }

    /// What a process has died of that has closed its standard output.
    pub async fn post_mortem(&mut self) -> LaneError {
        self.is_usable = false;
        let ended = match timeout(EXIT_GRACE, self.child.wait()).await {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => format!("its end is not known: {error}"),
            Err(_) => {
                self.end().await;
                "it fell silent".to_owned()
            }
        };
        // What it has written lies in the pipe; something that it had started may hold that open.
        if timeout(EXIT_GRACE, &mut self.listening).await.is_err() {
            self.listening.abort();
        }
        let words = self.words.text();
        let reason = if words.is_empty() { ended } else { format!("{ended}; its last words: {words}") };
        if speaks_of_memory(&words) {
            return LaneError::OutOfMemory { limit_mb: self.settings.memory_mb, reason };
        }
        LaneError::Crashed(reason)
    }
}

fn describe(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("it exited with status {}", status.code().unwrap_or_default());
    };
    let name = match signal {
        libc::SIGILL => " (SIGILL)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGBUS => " (SIGBUS)",
        libc::SIGFPE => " (SIGFPE)",
        // The system's own way out when memory runs short, also below the lane's limit.
        libc::SIGKILL => " (SIGKILL; by the system, if it had no more memory)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGSYS => " (SIGSYS)",
        _ => "",
    };
    format!("killed by signal {signal}{name}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::{ChunkSpec, Digest, PIPELINE, Ratio, Span, Swap, Toolchain, Upscaler, Video};
    use crate::frame::Turn;

    /// A chunk that decodes so many frames, of which half are in its result.
    fn order(frames: u64, swap: Swap) -> LaneOrder {
        let toolchain = Toolchain {
            pipeline: PIPELINE,
            encoder: "libx264 59.37.100".to_owned(),
            provider: "cpu".to_owned(),
            models: BTreeMap::new(),
        };
        let spec = ChunkSpec {
            slice: Digest::of(b"slice"),
            span: Span { start: 0, end: frames / 2, lo: 0, hi: frames },
            clip_frames: frames,
            first_pts: 0,
            last_pts: 1000,
            time_base: Ratio { num: 1, den: 25 },
            frame_rate: Ratio { num: 25, den: 1 },
            turn: Turn::None,
            portraits: Vec::new(),
            people: Vec::new(),
            reference: None,
            swap,
            video: Video::default(),
            hdr: None,
            label: None,
            toolchain,
        };
        let (slice, result) = ("slice.nut".into(), "result.nut".into());
        LaneOrder { spec, slice, photos: BTreeMap::new(), reference: None, result }
    }

    #[test]
    fn a_deadline_grows_with_the_frames_that_are_decoded() {
        let settings = LaneSettings {
            program: PathBuf::new(),
            environment: Vec::new(),
            onnxruntime: PathBuf::new(),
            models: PathBuf::new(),
            execution: Execution::default(),
            threads: 1,
            swapper: Swapper::None,
            made: PathBuf::new(),
            memory_mb: 1024,
            chunk_time: Duration::from_secs(60),
            frame_time: Duration::from_secs(2),
            chunks_per_lane: 500,
        };
        let upscaler = Upscaler { model: "real_esrgan_x2".parse().unwrap(), blend: 0.8 };
        let larger = Swap { upscaler: Some(upscaler), ..Swap::default() };
        let check = |frames: u64, swap: &Swap, seconds: u64| {
            let deadline = settings.deadline(&order(frames, swap.clone()));
            assert_eq!(deadline, Duration::from_secs(seconds), "{frames} frames");
        };
        let usual = Swap::default();
        check(0, &usual, 60);
        check(2, &usual, 64);
        check(128, &usual, 316);
        check(1280, &usual, 2_620);
        check(2, &larger, 1_260);
        check(128, &larger, 76_860);
        // Out of all bounds, and no overflow.
        check(u64::MAX, &usual, 8_589_934_650);
    }

    #[test]
    fn ends_are_described() {
        let table = [
            (libc::SIGSEGV, "killed by signal 11 (SIGSEGV)"),
            (libc::SIGTERM, "killed by signal 15"),
            (101 << 8, "it exited with status 101"),
        ];
        for (raw, expected) in table {
            assert_eq!(describe(ExitStatus::from_raw(raw)), expected);
        }
    }

    #[test]
    fn only_lost_lanes_count_as_deaths() {
        let lost = [
            LaneError::Crashed(String::new()),
            LaneError::Deadline { seconds: 1 },
            LaneError::OutOfMemory { limit_mb: 1, reason: String::new() },
        ];
        assert!(lost.iter().all(LaneError::is_death));
        let others = [
            LaneError::Stopped,
            LaneError::Start(String::new()),
            LaneError::Failed { kind: Kind::Poison, reason: String::new() },
        ];
        assert!(!others.iter().any(LaneError::is_death));
    }
}
