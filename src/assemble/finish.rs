//! The end of a run, in the only order that survives a crash between any two steps: manifest, audit, news, marker.

use tracing::{info, warn};

use crate::audit;
use crate::contract::{Digest, Job, JobId, Manifest, OpenMarker, State, Status, Totals, VERSION, keys, partition_of};
use crate::crash;
use crate::site::{Site, SiteError, unix_millis};
use crate::store::{Put, StoreError};
use crate::telemetry::{self, JobOutcome};

/// Writes the manifest, first writer wins; then what follows from it. The output, if there is one, is in its place already.
pub async fn finish(site: &Site, manifest: Manifest) -> Result<(), SiteError> {
    let key = keys::manifest(&manifest.job, manifest.run);
    let manifest = match site.put_json(&key, &manifest).await? {
        Put::Created => {
            count(&manifest);
            manifest
        }
        Put::Exists => match site.read_json(&key).await {
            Ok(there) => there.unwrap_or(manifest),
            // It cannot be read, and stays: it was written once.
            Err(SiteError::BadObject { .. }) => manifest,
            Err(error) => return Err(error),
        },
    };
    crash::point("assemble.manifest.put");
    settle(site, &manifest).await
}

/// What follows from a manifest: the audit, the news, the end of the marker.
pub async fn settle(site: &Site, manifest: &Manifest) -> Result<(), SiteError> {
    audit::record(site, manifest).await?;
    crash::point("assemble.audited");
    site.announce(&Status::of(manifest, false)).await?;
    crash::point("assemble.announced");
    remove_marker(site, &manifest.job, manifest.run).await?;
    crash::point("assemble.marker.gone");
    Ok(())
}

fn count(manifest: &Manifest) {
    match &manifest.reason {
        None => info!(job = %manifest.job, run = manifest.run, frames = manifest.totals.frames, "job done"),
        Some(reason) => warn!(job = %manifest.job, run = manifest.run, %reason, "job failed"),
    }
    telemetry::job(match manifest.state {
        State::Done => JobOutcome::Done,
        State::Cancelled => JobOutcome::Cancelled,
        _ => JobOutcome::Failed,
    });
}

/// Removes the marker of this run. That of a later run stays: an assembler that was stopped for a while may come here late.
pub async fn remove_marker(site: &Site, job: &JobId, run: u32) -> Result<(), SiteError> {
    let key = keys::open(partition_of(job, site.job_partitions), job);
    loop {
        let Some(seen) = site.store.head(&key).await? else { return Ok(()) };
        match site.read_json::<OpenMarker>(&key).await {
            Ok(Some(marker)) if marker.run <= run => {}
            Ok(_) => return Ok(()),
            // It cannot be read, so nobody else goes by it.
            Err(SiteError::BadObject { .. }) => {}
            Err(error) => return Err(error),
        }
        match site.store.delete(&key, Some(&seen.version)).await {
            Err(StoreError::Changed { .. }) => {} // by a later run, or by ingest at this moment: look again
            removed => return Ok(removed?),
        }
    }
}

/// How a run ends about which nothing but its job is known.
pub async fn bare_manifest(site: &Site, job: &JobId, run: u32, state: State) -> Result<Manifest, SiteError> {
    let bound: Option<Job> = site.read_json(&keys::job(job)).await.unwrap_or_default();
    let marker: Option<OpenMarker> = marker_of(site, job).await.unwrap_or_default();
    Ok(Manifest {
        v: VERSION,
        job: job.clone(),
        run,
        content: bound.as_ref().map_or_else(|| Digest::of(b""), Job::digest),
        submission: marker.map(|marker| marker.submission).unwrap_or_default(),
        state,
        reason: None,
        refused: false,
        decisions: None,
        output: None,
        totals: Totals::default(),
        warnings: Vec::new(),
        labels: bound.map(|bound| bound.labels).unwrap_or_default(),
        ended_at: unix_millis(),
    })
}

/// The marker of an open job.
pub async fn marker_of(site: &Site, job: &JobId) -> Result<Option<OpenMarker>, SiteError> {
    site.read_json(&keys::open(partition_of(job, site.job_partitions), job)).await
}
