//! What the operator's rules have said of a run, for the audit.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the consent that jobs carry. The operator's choice; jobs have no say in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsentPolicy {
    /// A job that lends somebody's face and carries none is refused before any work.
    Required,
    /// It is recorded where there is one.
    #[default]
    Recorded,
    /// It is not looked at, and not recorded.
    Off,
}

impl fmt::Display for ConsentPolicy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(out)
    }
}

/// What the rules have said of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decisions {
    /// The rule about consent.
    pub consent: ConsentPolicy,
    /// What the content gate has found; none where nothing was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateDecision>,
}

/// What the content gate has found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateDecision {
    /// Card of the network that judges.
    pub network: String,
    /// The photos, as far as they were judged.
    pub photos: Vec<PhotoScore>,
    /// The clip; none if it was not judged.
    pub clip: Option<ClipScores>,
}

/// A photo that was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhotoScore {
    /// Which: its place in the job, e.g. `sources[0]`.
    pub field: String,
    /// The higher, the less it is for everybody's eyes.
    pub score: f64,
    /// The score from which on it is refused.
    pub threshold: f64,
}

/// What was found in a clip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClipScores {
    /// Frames that were looked at.
    pub frames: usize,
    /// Of them, those at or over the threshold.
    pub over: usize,
    /// The highest score.
    pub worst: f64,
    /// Seconds from the clip's first frame to that one; of a folder the number of the still.
    pub at: f64,
}
