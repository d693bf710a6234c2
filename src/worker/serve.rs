//! A lane's process from the inside: takes orders from standard input, tells how they go on standard output, logs to standard error.
//!
//! It lives by its standard input. When that ends (closed by the worker, or because the worker is gone) the process ends too, at
//! once: nothing in it is worth keeping. Signals that a terminal or a service manager sends to all processes of a service are for the
//! worker, which lets a lane finish its chunk; a lane ignores them.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};
use tracing::{debug, warn};

use crate::contract::Fingerprint;
use crate::error::Classify;
use crate::media::MediaError;
use crate::vision::VisionError;

use super::lane::{Lane, LaneOrder, Means, WorkError};
use super::protocol::{self, Ask, Tell};
use super::words;

/// How often a lane tells how far it is, at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Why a lane's process cannot go on; its worker, if there is one, starts another.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The memory limit is refused.
    #[error("limit the lane's memory: {0}")]
    Limit(io::Error),
    /// The worker does not listen any more.
    #[error("tell the worker: {0}")]
    Tell(#[from] io::Error),
    /// The lane cannot be used any more; the reason was told.
    #[error("the lane cannot go on: {0}")]
    Spent(String),
}

/// What the thread that reads standard input and the lane's own share.
#[derive(Default)]
struct Shared {
    /// Leave the chunk.
    stop: AtomicBool,
    /// There is something that would have to be left at once when standard input ends.
    busy: AtomicBool,
}

/// A chunk and its name.
type Order = (Box<LaneOrder>, Fingerprint);

/// Works until standard input ends; takes at most `memory` bytes.
pub fn serve(means: Means, memory: u64) -> Result<(), ServeError> {
    limit_memory(memory)?;
    let shared = Arc::new(Shared { stop: AtomicBool::new(false), busy: AtomicBool::new(true) });
    let (orders, inbox) = sync_channel(1); // the worker sends an order only when the last one was answered
    let reading = {
        let shared = shared.clone();
        move || listen(&shared, &orders)
    };
    std::thread::Builder::new().name("orders".into()).spawn(reading)?;
    let mut lane = Lane::new(means);
    if let Err(error) = lane.warm_up() {
        fail(&error)?;
        return Err(ServeError::Spent(error.to_string()));
    }
    shared.busy.store(false, Ordering::SeqCst);
    tell(&Tell::Ready)?;
    work(&mut lane, &inbox, &shared)
}

/// Reads what the worker asks, also while a chunk is computed.
fn listen(shared: &Shared, orders: &SyncSender<Order>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Ask::Order { order, fingerprint }) => {
                shared.stop.store(false, Ordering::SeqCst);
                shared.busy.store(true, Ordering::SeqCst);
                if orders.send((order, fingerprint)).is_err() {
                    return;
                }
            }
            Ok(Ask::Stop) => shared.stop.store(true, Ordering::SeqCst),
            Err(error) => warn!(%error, "a line that is no order"),
        }
    }
    if shared.busy.load(Ordering::SeqCst) {
        // Stages and networks are at work on threads that know no other end; exit handlers would pull the ground from under them.
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

fn work(lane: &mut Lane, inbox: &Receiver<Order>, shared: &Shared) -> Result<(), ServeError> {
    while let Ok((order, fingerprint)) = inbox.recv() {
        let mut told: Option<Instant> = None;
        let mut lost = None;
        let outcome = lane.run(&order, fingerprint, &shared.stop, &mut |frames| {
            if frames == 0 || told.is_none_or(|last| last.elapsed() >= TELL_EVERY) {
                told = (frames > 0).then(Instant::now);
                lost = lost.take().or(tell(&Tell::Encoded { frames }).err());
            }
        });
        if let Some(error) = lost {
            return Err(error.into());
        }
        // From here on the end of standard input finds nothing to leave.
        shared.busy.store(false, Ordering::SeqCst);
        match outcome {
            Ok(report) => tell(&Tell::Done(report))?,
            Err(WorkError::Stopped) => tell(&Tell::Stopped)?,
            // A network that cannot be run, or is not what its card says, or gives what is no picture: what it leaves in a device's memory is
            // not to be used, and no other node would do better. (That a provider fails here says nothing of the others.)
            Err(WorkError::Vision(
                error @ (VisionError::Network { .. } | VisionError::Tensor { .. } | VisionError::Card { .. }),
            )) => return Err(ServeError::Spent(error.to_string())),
            Err(error) => fail(&error)?,
        }
    }
    debug!("no more orders");
    Ok(())
}

/// Tells why there is no result; an error if the lane is not to be used any more.
fn fail(error: &WorkError) -> Result<(), ServeError> {
    let reason = error.to_string();
    if matches!(error, WorkError::Panicked | WorkError::Media(MediaError::Hardware { .. })) {
        // A panic's own message is on standard error; a driver that fails may do better with another process. The worker sees the end
        // of this one.
        return Err(ServeError::Spent(reason));
    }
    let out_of_memory = speaks_of_memory(&reason);
    eprintln!("{}", words::MARK);
    tell(&Tell::Failed { kind: error.kind(), memory: out_of_memory, reason: reason.clone() })?;
    if out_of_memory { Err(ServeError::Spent(reason)) } else { Ok(()) }
}

fn tell(message: &Tell) -> io::Result<()> {
    let line = protocol::line(message)?;
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// Limits `RLIMIT_DATA`: heap, and other private memory that a process can write to, thread stacks included: what networks, frames and
/// encoder take. Mapped files and the program itself do not count. Measured with one thread a lane and x264's `veryfast`: at 720p
/// 180 MB without networks and 280 MB with them, at 4K 770 MB and 1,100 MB; it grows with the pixels of a frame, with threads, and
/// with the frames that a slower preset looks ahead.
pub fn limit_memory(bytes: u64) -> Result<(), ServeError> {
    let hard = getrlimit(Resource::Data).maximum;
    let limit = hard.map_or(bytes, |hard| hard.min(bytes));
    let limit = Rlimit { current: Some(limit), maximum: Some(limit) };
    setrlimit(Resource::Data, limit).map_err(|error| ServeError::Limit(error.into()))
}

/// Whether a failure's words are those of missing memory: ENOMEM by FFmpeg or the system, C++'s `bad_alloc` by ONNX Runtime, a thread
/// for whose stack there is no place, x264's own message.
pub(super) fn speaks_of_memory(text: &str) -> bool {
    const WORDS: [&str; 7] = [
        "cannot allocate memory",
        "bad_alloc",
        "bad allocation",
        "out of memory",
        "memory allocation of",
        "malloc of size",
        "failed to allocate memory",
    ];
    let text = text.to_lowercase();
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_memory_is_known_by_its_words() {
        for words in [
            "cannot decode slice.nut after 3 packets: cannot allocate memory",
            "run model face_mesh_468: Non-zero status code: std::bad_alloc",
            "memory allocation of 16777216 bytes failed",
            "x264 [error]: malloc of size 12533824 failed",
            "Failed to allocate memory for requested buffer of size 1",
        ] {
            assert!(speaks_of_memory(words), "{words}");
        }
        for words in ["invalid data found when processing input", "no face found in the portrait"] {
            assert!(!speaks_of_memory(words), "{words}");
        }
    }
}
