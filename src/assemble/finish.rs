//! The end of a run, in the only order that survives a crash between any two steps: manifest, news, marker.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::contract::{Digest, JobId, Manifest, Output, State, Status, Totals, VERSION, keys, partition_of};
use crate::site::{Site, SiteError};
use crate::store::Put;
use crate::telemetry::{self, JobOutcome};

/// How a run ends.
pub struct Ending<'a> {
    /// The job.
    pub job: &'a JobId,
    /// The run.
    pub run: u32,
    /// Digest of the job's content.
    pub content: Digest,
    /// Which record asked for it.
    pub submission: String,
    /// A final state.
    pub state: State,
    /// Why, if not done.
    pub reason: Option<String>,
    /// The job's input was refused.
    pub refused: bool,
    /// The clip, which is in its place.
    pub output: Option<Output>,
    /// In numbers.
    pub totals: Totals,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The job's labels.
    pub labels: BTreeMap<String, String>,
}

/// Writes the manifest, first writer wins; tells; removes the marker.
pub async fn finish(site: &Site, ending: Ending<'_>) -> Result<(), SiteError> {
    let manifest = Manifest {
        v: VERSION,
        job: ending.job.clone(),
        run: ending.run,
        content: ending.content,
        submission: ending.submission,
        state: ending.state,
        reason: ending.reason,
        refused: ending.refused,
        output: ending.output,
        totals: ending.totals,
        warnings: ending.warnings,
        labels: ending.labels,
    };
    let key = keys::manifest(&manifest.job, manifest.run);
    let manifest = match site.put_json(&key, &manifest).await? {
        Put::Created => manifest,
        Put::Exists => site.read_json(&key).await?.unwrap_or(manifest),
    };
    match &manifest.reason {
        None => info!(job = %manifest.job, run = manifest.run, frames = manifest.totals.frames, "job done"),
        Some(reason) => warn!(job = %manifest.job, run = manifest.run, %reason, "job failed"),
    }
    telemetry::job(match manifest.state {
        State::Done => JobOutcome::Done,
        State::Cancelled => JobOutcome::Cancelled,
        _ => JobOutcome::Failed,
    });
    site.announce(&Status::of(&manifest, false)).await?;
    let partition = partition_of(&manifest.job, site.job_partitions);
    Ok(site.store.delete(&keys::open(partition, &manifest.job), None).await?)
}
