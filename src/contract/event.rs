//! News: what happened to chunks and jobs, and how far a job is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decisions, Digest, Fingerprint, FrameCounts, JobId, Manifest, StageSeconds, Totals};
use crate::error::Refusal;

/// One record of topic `completions`, keyed by job: everything the assembler is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// Ingest has accepted the run; its plan is in the store. Also sent when a finished job is submitted again.
    Accepted {
        /// The job.
        job: JobId,
        /// The run.
        run: u32,
    },
    /// Ingest cannot accept the run.
    Refused {
        /// The job.
        job: JobId,
        /// The run.
        run: u32,
        /// Digest of the job's content.
        content: Digest,
        /// Which record asked for it.
        submission: String,
        /// Why.
        refusal: Refusal,
        /// What the operator's rules had said by then.
        #[serde(default)]
        decisions: Decisions,
    },
    /// Ingest has published every chunk of the run.
    Published {
        /// The job.
        job: JobId,
        /// The run.
        run: u32,
        /// Where ingest's time went.
        seconds: StageSeconds,
    },
    /// A worker has settled a chunk.
    Chunk {
        /// The job.
        job: JobId,
        /// The run.
        run: u32,
        /// Number of the chunk.
        index: u32,
        /// The name of its result.
        fingerprint: Fingerprint,
        /// How it was settled.
        outcome: ChunkOutcome,
    },
    /// Somebody calls the job off. It means the run that had been submitted by then, and no later one.
    Cancel {
        /// The job.
        job: JobId,
        /// When, milliseconds since 1970; none for the time of this record.
        #[serde(default)]
        at: Option<i64>,
    },
}

impl JobEvent {
    /// The job that it is about.
    pub fn job(&self) -> &JobId {
        match self {
            Self::Accepted { job, .. }
            | Self::Refused { job, .. }
            | Self::Published { job, .. }
            | Self::Chunk { job, .. }
            | Self::Cancel { job, .. } => job,
        }
    }
}

impl JobEvent {
    /// The run that it is about; a cancellation finds it by its time.
    pub fn run(&self) -> Option<u32> {
        match self {
            Self::Accepted { run, .. }
            | Self::Refused { run, .. }
            | Self::Published { run, .. }
            | Self::Chunk { run, .. } => Some(*run),
            Self::Cancel { .. } => None,
        }
    }
}

/// How a chunk was settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ChunkOutcome {
    /// The result is in the store.
    Done {
        /// It was there before; nothing was computed.
        reused: bool,
        /// Size of the result, bytes.
        bytes: u64,
        /// Its frames.
        counts: FrameCounts,
        /// Where the time went; empty if reused.
        seconds: StageSeconds,
    },
    /// It can never be computed.
    Failed {
        /// Why.
        reason: String,
    },
    /// What it is made from is not in the store, or was not what it should be and has been deleted: ingest must make it again.
    Missing {
        /// What is missing.
        reason: String,
    },
    /// The run had ended before the chunk was.
    Skipped,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Ingest reads, probes and plans.
    Planning,
    /// Chunks are being swapped.
    Running,
    /// All chunks are there; the clip is being joined.
    Joining,
    /// The output is in its place.
    Done,
    /// It cannot be done; the reason says why.
    Failed,
    /// It was called off.
    Cancelled,
}

impl State {
    /// No further change will come.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// The chunk that a status is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChunk {
    /// Number of the chunk.
    pub index: u32,
    /// Its result was there before.
    pub reused: bool,
}

/// One record of topic `status`, keyed by job, compacted: the newest tells all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this record's form.
    pub v: u32,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: u32,
    /// How far.
    pub state: State,
    /// In numbers.
    pub totals: Totals,
    /// The chunk just settled, if that is the news.
    pub chunk: Option<StatusChunk>,
    /// Where the output is, if done.
    pub output: Option<String>,
    /// Why, if failed.
    pub reason: Option<String>,
    /// The job's input was refused.
    pub refused: bool,
    /// The run had ended before this submission.
    pub before: bool,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Why nothing happens, while nothing happens.
    #[serde(default)]
    pub waiting: Option<String>,
}

impl Status {
    /// A status that says nothing but the state.
    pub fn new(job: JobId, run: u32, state: State) -> Self {
        Self {
            v: super::VERSION,
            job,
            run,
            state,
            totals: Totals::default(),
            chunk: None,
            output: None,
            reason: None,
            refused: false,
            before: false,
            warnings: Vec::new(),
            waiting: None,
        }
    }

    /// What a manifest says; `before` if it stood before this submission.
    pub fn of(manifest: &Manifest, before: bool) -> Self {
        Self {
            totals: manifest.totals.clone(),
            output: manifest.output.as_ref().map(|output| output.location.clone()),
            reason: manifest.reason.clone(),
            refused: manifest.refused,
            before,
            warnings: manifest.warnings.clone(),
            ..Self::new(manifest.job.clone(), manifest.run, manifest.state)
        }
    }
}
