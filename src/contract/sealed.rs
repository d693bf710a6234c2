//! What a chunk's result says about itself, after its last byte of video.

use serde::{Deserialize, Serialize};

use super::{Damage, Digest, Fingerprint};

/// Frames of a result, by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameCounts {
    /// All frames.
    pub frames: u64,
    /// Frames in which no face was found (0 where none was looked for).
    pub without_face: u64,
    /// Faces that were swapped.
    pub faces: u64,
    /// What of them is broken.
    #[serde(flatten)]
    pub damage: Damage,
}

/// The footer of a result (see `seal.rs` for its place in the file).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFooter {
    /// The result's name.
    pub fingerprint: Fingerprint,
    /// Digest of everything before the footer.
    pub sha256: Digest,
    /// Its frames.
    pub counts: FrameCounts,
    /// How many frames later than in display order a packet comes at most.
    pub reorder_depth: u32,
}
