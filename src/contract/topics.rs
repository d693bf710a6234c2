//! The names of the topics; their settings are in `topics/*.yaml`.

/// Jobs, keyed by id: what producers publish.
pub const JOBS: &str = "jobs";
/// Chunks to be swapped, spread evenly over many partitions.
pub const CHUNKS: &str = "chunks";
/// What happened to chunks and jobs, keyed by job.
pub const COMPLETIONS: &str = "completions";
/// How far each job is, keyed by job, compacted.
pub const STATUS: &str = "status";
/// What cannot be done, with the reason.
pub const DEAD_LETTERS: &str = "dead-letters";

/// How each run has ended, kept for good.
pub const AUDIT: &str = "audit";

/// The consumer group of ingest nodes.
pub const INGEST_GROUP: &str = "ingest";
/// The consumer group of assemblers.
pub const ASSEMBLE_GROUP: &str = "assemble";
