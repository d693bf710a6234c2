//! The audit: one record for each run that has ended, kept for good.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Consent, Decisions, Digest, DigitalSourceType, JobId, State};

/// One record of topic `audit`, keyed by job. A run whose assembler was killed at its end may have several, which say the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// Version of this record's form: 1.
    pub v: u32,
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: u32,
    /// `done`, `failed` or `cancelled`.
    pub state: State,
    /// Whether the job was refused for its input.
    pub refused: bool,
    /// Why, if not done.
    pub reason: Option<String>,
    /// Digest of the job's content.
    pub content: Digest,
    /// Which record of `jobs` asked for the run: topic/partition/offset@milliseconds.
    pub submission: String,
    /// Digests of the photos that lent a face; none if the run ended before they were looked at.
    pub sources: Vec<Digest>,
    /// Digest of the clip's file, of a folder that of its stills' names and digests; none if the run ended before it was read.
    pub target: Option<Digest>,
    /// What was delivered, if done.
    pub output: Option<AuditedOutput>,
    /// Who swapped: `mesh`, `none` or a network's card.
    pub swapper: Option<String>,
    /// What kind of media the output is; none if nothing of it is synthetic.
    pub digital_source_type: Option<DigitalSourceType>,
    /// Networks: card → digest of the file.
    pub models: BTreeMap<String, Digest>,
    /// Whose faces were used, and on what ground.
    pub consent: Vec<AuditedConsent>,
    /// What the operator's rules have said; none if the run ended before they were asked.
    pub decisions: Option<Decisions>,
    /// The job's labels.
    pub labels: BTreeMap<String, String>,
    /// When the run was accepted, RFC 3339; none if it was not.
    pub accepted_at: Option<String>,
    /// When it ended, RFC 3339.
    pub ended_at: String,
    /// Version of the program that wrote this.
    pub facemill: String,
    /// The version of pixels: that of the run, if it was accepted.
    pub pipeline: u32,
}

/// A consent as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditedConsent {
    /// Its digest, as the output's credentials have it.
    pub digest: Digest,
    /// What the job says.
    #[serde(flatten)]
    pub consent: Consent,
}

/// What was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditedOutput {
    /// Where it is.
    pub location: String,
    /// Its size, bytes; all stills of a folder together.
    pub bytes: u64,
    /// Digest of its file; of a folder that of its stills' names and digests.
    pub sha256: Option<Digest>,
    /// Whose certificate its Content Credentials are signed with; none if it has none.
    pub signed_by: Option<String>,
}

impl AuditRecord {
    /// What two records of one run have in common. (Runs of a job that was forgotten and submitted anew begin with 1 again.)
    pub fn identity(&self) -> (JobId, u32, String) {
        (self.job.clone(), self.run, self.ended_at.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads the audit goes by this file. With UPDATE_SCHEMA set the test writes it anew.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/topics/schemas/audit.schema.json");
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(AuditRecord)).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            std::fs::write(path, &schema).unwrap();
        }
        let published = std::fs::read_to_string(path).unwrap_or_default();
        assert!(published == schema, "run `UPDATE_SCHEMA=1 cargo test --release schema` and commit {path}");
    }
}
