//! Where faces come from and what became of them: consent, audit, credentials.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::contract::{Consent, JobId};

/// The audit: one record for each run that has ended or was refused.
#[derive(Debug, Args)]
pub struct Audit {
    /// What to do with it
    #[command(subcommand)]
    pub command: AuditCommand,
    /// Kafka brokers [config: kafka.brokers]; without, the audit of this machine is read
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub brokers: Option<String>,
}

/// What to do with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Write records to standard output, each run once; their form: topics/schemas/audit.schema.json
    Export(ExportAudit),
}

/// Write audit records out.
#[derive(Debug, Default, Args)]
pub struct ExportAudit {
    /// Only runs that have ended since: a date (2026-11-23), a time (2026-11-23T16:00:00Z), or how long ago (30m, 24h, 7d)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    pub since: Option<i64>,
    /// Only runs of this job
    #[arg(long, value_name = "JOB")]
    pub job: Option<JobId>,
    /// The form: a JSON object a line
    #[arg(long, default_value = "jsonl", value_name = "FORMAT", value_parser = ["jsonl"])]
    pub format: String,
    /// The data folder of facemill swap on this machine [default: facemill/data in your cache folder]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

fn since(text: &str) -> Result<i64, String> {
    let now = crate::site::unix_millis();
    crate::calendar::parse(text, now).ok_or_else(|| {
        "expected a date (2026-11-23), a time (2026-11-23T16:00:00Z), or how long ago (30m, 24h, 7d)".to_owned()
    })
}

/// Tell what a file says of itself: who signed it, whether it was changed since, what was done, from what, and its labels.
///
/// Works on any file with Content Credentials (C2PA), also of other software. Exit code 0 if they are valid, 1 if not or if there are none.
#[derive(Debug, Args)]
pub struct Verify {
    /// The clip or picture; credentials beside it (.c2pa) are found
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Certificates (PEM) whose holders vouch for signers: yours, or a published trust list
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// A JSON object
    #[arg(long)]
    pub json: bool,
}

/// A consent that was read from a file.
#[derive(Clone, Debug)]
pub struct ConsentArg(pub Consent);

pub(super) fn consent(path: &str) -> Result<ConsentArg, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map(ConsentArg).map_err(|error| error.to_string())
}
