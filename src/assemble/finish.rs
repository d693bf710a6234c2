//! The end of a run, in the only order that survives a crash between any two steps: manifest, news, marker.

use tracing::{info, warn};

use crate::contract::{Manifest, State, Status, keys, partition_of};
use crate::site::{Site, SiteError};
use crate::store::Put;
use crate::telemetry::{self, JobOutcome};

/// Writes the manifest, first writer wins; tells; removes the marker. The output, if there is one, is in its place already.
pub async fn finish(site: &Site, manifest: Manifest) -> Result<(), SiteError> {
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
