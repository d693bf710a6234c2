//! Binding a job's id to its content, and finding out which of its runs this submission means.

use crate::contract::{Job, JobId, Manifest, OpenMarker, State, keys, partition_of};
use crate::error::{Classify, Kind, Refusal};
use crate::media;
use crate::site::{Site, SiteError};
use crate::store::{Body, Location, LocationError, Put};

use super::IngestError;

/// What a submission means.
pub enum Acceptance {
    /// The run is open: plan it, or go on with it.
    Open {
        /// Number of the run, from 1.
        run: u32,
    },
    /// The run has ended, and nothing is missing.
    Finished {
        /// Number of the run.
        run: u32,
    },
}

/// Binds the id; the first content wins. Then finds the run, and marks it open.
pub async fn accept(site: &Site, job: &Job, submission: &str) -> Result<Acceptance, IngestError> {
    bind(site, job).await?;
    let last = last_manifest(site, &job.job).await?;
    let run = match &last {
        None => 1,
        Some(manifest) if manifest.submission == submission => return Ok(Acceptance::Finished { run: manifest.run }),
        Some(manifest) if is_whole(site, manifest).await => return Ok(Acceptance::Finished { run: manifest.run }),
        Some(manifest) => manifest.run + 1,
    };
    mark_open(site, OpenMarker { job: job.job.clone(), run, submission: submission.to_owned() }).await?;
    Ok(Acceptance::Open { run })
}

/// The marker names the newest run and the submission that asked for it last.
async fn mark_open(site: &Site, marker: OpenMarker) -> Result<(), SiteError> {
    let key = keys::open(partition_of(&marker.job, site.job_partitions), &marker.job);
    if site.put_json(&key, &marker).await? == Put::Created || site.read_json(&key).await?.as_ref() == Some(&marker) {
        return Ok(());
    }
    let bytes = serde_json::to_vec(&marker).map_err(std::io::Error::from)?;
    site.store.replace(&key, Body::Bytes(bytes.into()), None).await?;
    Ok(())
}

async fn bind(site: &Site, job: &Job) -> Result<(), IngestError> {
    let key = keys::job(&job.job);
    if site.put_json(&key, job).await? == Put::Created {
        return Ok(());
    }
    let first: Option<Job> = site.read_json(&key).await?;
    match first.map(|first| first.digest()) {
        Some(expected) if expected != job.digest() => {
            Err(IngestError::OtherContent { job: job.job.clone(), expected, found: job.digest() })
        }
        _ => Ok(()),
    }
}

/// The manifest of the job's last ended run.
pub async fn last_manifest(site: &Site, job: &JobId) -> Result<Option<Manifest>, SiteError> {
    let listed = site.store.list(&keys::runs(job)).await?;
    let prefix = keys::runs(job);
    let ended = listed.iter().filter_map(|object| {
        let (run, file) = object.key.strip_prefix(&prefix)?.split_once('/')?;
        (file == "manifest.json").then(|| run.parse::<u32>().ok())?
    });
    match ended.max() {
        Some(run) => site.read_json(&keys::manifest(job, run)).await,
        None => Ok(None),
    }
}

/// The run is done, and its output is where and what it was.
async fn is_whole(site: &Site, manifest: &Manifest) -> bool {
    let Some(output) = manifest.output.as_ref().filter(|_| manifest.state == State::Done) else { return false };
    let Ok(location) = Location::parse(&output.location) else { return false };
    let found = site.locations.version(&location).await.ok().flatten();
    found.is_some() && found.map(|version| version.to_string()) == output.version
}

/// Refuses an output that cannot be written; returns the version of what stands there now.
pub async fn check_output(site: &Site, job: &Job) -> Result<Option<String>, IngestError> {
    let refuse =
        |error: &dyn std::fmt::Display| Refusal::new("output", error.to_string(), "a place that can be written");
    let location = Location::parse(&job.output).map_err(|error| refuse(&error))?;
    media::container_of(std::path::Path::new(&job.output))
        .map_err(|error| Refusal::new("output", error.to_string(), "a name ending in .mp4, .m4v, .mov or .mkv"))?;
    let sort = |error: LocationError| match error.kind() {
        Kind::Poison => IngestError::from(refuse(&error)),
        Kind::Retry | Kind::Fatal => SiteError::Location(error).into(),
    };
    site.locations.check_writable(&location).await.map_err(sort)?;
    let version = site.locations.version(&location).await.map_err(sort)?;
    Ok(version.map(|version| version.to_string()))
}
