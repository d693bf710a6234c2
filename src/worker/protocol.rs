//! What a worker and its lanes say to each other: one JSON object a line, the worker's on the lane's standard input, the lane's on its
//! standard output. Both ends are the same program, so there are no versions.

use serde::{Deserialize, Serialize};

use super::lane::{LaneOrder, LaneReport};
use crate::contract::Fingerprint;
use crate::error::Kind;

/// What a worker says to a lane. The end of the input says that the lane is to end, at once, whatever it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// Compute a chunk.
    Order {
        /// The chunk.
        order: Box<LaneOrder>,
        /// The name that its result is to bear: told, not computed anew from numbers that have been text once more.
        fingerprint: Fingerprint,
    },
    /// Leave the chunk at its next frame.
    Stop,
}

/// What a lane says. After [`Tell::Ready`] and after every order's last word ([`Tell::Done`], [`Tell::Stopped`], [`Tell::Failed`]) it
/// waits for the next one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub enum Tell {
    /// Networks are loaded.
    Ready,
    /// So many frames of the chunk are encoded: 0 once its networks are loaded, then at most ten times a second.
    Encoded {
        /// Since the chunk's beginning.
        frames: u64,
    },
    /// The result is in its file.
    Done(LaneReport),
    /// The chunk was left, as asked.
    Stopped,
    /// There is no result (before [`Tell::Ready`]: the lane cannot work).
    Failed {
        /// What kind of failure it is.
        kind: Kind,
        /// Memory was short: the failure says nothing of the chunk's own files, and the lane is not to be used any more.
        memory: bool,
        /// Why.
        reason: String,
    },
}

/// A line, with its end.
pub fn line<T: Serialize>(message: &T) -> serde_json::Result<String> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}
