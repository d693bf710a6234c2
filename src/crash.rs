//! Places at which a process can be made to die or to stand still, for the fault tests: compiled in with feature `crash-points` only.
//!
//! `CRASH_AT="worker.uploaded:3=kill"` kills the process the third time that it comes to that place. See `load-tests faults --help`.

/// Does what the environment has asked for at this place; nothing without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_place: &'static str) {}

#[cfg(feature = "crash-points")]
pub use armed::{arm, lane, point};

#[cfg(feature = "crash-points")]
mod armed {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock};

    use rustix::process::{Signal, getpid, kill_process};

    /// What happens there.
    #[derive(Clone, Copy, Debug)]
    enum Action {
        Kill,
        Stop,
    }

    #[derive(Debug)]
    struct Trap {
        place: String,
        /// Counted from 1.
        hit: u64,
        action: Action,
    }

    static TRAPS: OnceLock<(Vec<Trap>, HashMap<u64, String>)> = OnceLock::new();
    static HITS: Mutex<Option<HashMap<&'static str, u64>>> = Mutex::new(None);

    /// Reads `CRASH_AT` (`place[:hit][=kill|stop]`, several by comma) and `CRASH_LANE` (`frames=segv|hang|linger:seconds|memory|kill|error`).
    pub fn arm(at: Option<&str>, lane: Option<&str>) {
        let list = |text: Option<&str>| -> Vec<String> {
            text.unwrap_or("").split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let places = list(at);
        let traps = places.iter().map(|part| {
            let (place, action) = part.split_once('=').unwrap_or((part, "kill"));
            let (place, hit) = place.split_once(':').unwrap_or((place, "1"));
            let action = if action == "stop" { Action::Stop } else { Action::Kill };
            Trap { place: place.to_owned(), hit: hit.parse().unwrap_or(1), action }
        });
        let lanes = list(lane);
        let lanes = lanes.iter().filter_map(|part| {
            let (frames, action) = part.split_once('=')?;
            Some((frames.parse().ok()?, action.to_owned()))
        });
        // Armed once, at the start of `main`.
        let _ = TRAPS.set((traps.collect(), lanes.collect()));
    }

    /// Does what was asked for at this place.
    pub fn point(place: &'static str) {
        let Some((traps, _)) = TRAPS.get().filter(|(traps, _)| !traps.is_empty()) else { return };
        let hit = {
            let mut hits = HITS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let hit = hits.get_or_insert_default().entry(place).or_default();
            *hit += 1;
            *hit
        };
        for trap in traps.iter().filter(|trap| trap.place == place && trap.hit == hit) {
            let signal = match trap.action {
                Action::Kill => Signal::KILL,
                Action::Stop => Signal::STOP,
            };
            // A signal to oneself cannot fail; were it to, the test would see no crash.
            let _ = kill_process(getpid(), signal);
        }
    }

    /// In a lane: what a clip of so many frames does to it.
    pub fn lane(clip_frames: u64) -> std::io::Result<()> {
        let Some(action) = TRAPS.get().and_then(|(_, lanes)| lanes.get(&clip_frames)) else { return Ok(()) };
        if let Some(seconds) = action.strip_prefix("linger:").and_then(|seconds| seconds.parse().ok()) {
            // A long chunk.
            std::thread::sleep(std::time::Duration::from_secs(seconds));
        }
        match action.as_str() {
            // Rust's own handler takes the first one for a stack overflow, gives way and returns.
            "segv" => loop {
                let _ = kill_process(getpid(), Signal::SEGV);
            },
            "kill" => drop(kill_process(getpid(), Signal::KILL)),
            "hang" => loop {
                std::thread::park();
            },
            "memory" => {
                let mut eaten: Vec<Vec<u8>> = Vec::new();
                loop {
                    eaten.push(vec![1; 16 << 20]);
                }
            }
            // No chunk's fault, as far as anybody can tell: its disk's.
            "error" => return Err(std::io::Error::other("the fault tests asked for it")),
            _ => {}
        }
        Ok(())
    }
}

/// In a lane: what a clip of so many frames does to it; nothing without the feature.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn lane(_clip_frames: u64) -> std::io::Result<()> {
    Ok(())
}
