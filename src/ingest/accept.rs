//! Binding a job's id to its content, and finding out which of its runs this submission means.

use futures::{StreamExt, stream};

use crate::broker::Delivery;
use crate::contract::{Cancellation, Job, JobId, Manifest, OpenMarker, State, keys, partition_of};
use crate::crash;
use crate::error::{Classify, Kind, Refusal};
use crate::media;
use crate::site::{Site, SiteError};
use crate::store::{Body, Location, LocationError, Put, StoreError};

use tracing::warn;

use super::{IngestError, folder};

/// Stills of an output that are looked at at once.
const REQUESTS: usize = 16;

/// Header of a job record by which the assembler asks for what is missing of a run: its value is the run's number.
pub const REPAIR: &str = "facemill.repair";

/// One record of `jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Which record: the same one delivered again is not a new submission.
    pub id: String,
    /// When it was written, milliseconds since 1970.
    pub at: i64,
    /// It asks for what is missing of this run, and for nothing if that run has ended.
    pub repair: Option<u32>,
}

impl Submission {
    /// The record that was delivered.
    pub fn of(delivery: &Delivery<Job>) -> Self {
        let at = delivery.timestamp.unwrap_or_default();
        let id = format!("{}/{}/{}@{at}", delivery.topic, delivery.partition, delivery.offset);
        let repair = delivery.headers.iter().find(|(name, _)| name == REPAIR);
        let repair = repair.and_then(|(_, run)| std::str::from_utf8(run).ok()?.parse().ok());
        Self { id, at, repair }
    }
}

/// What a submission means.
#[derive(Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The run is open: plan it, or go on with it.
    Open {
        /// Number of the run, from 1.
        run: u32,
    },
    /// The run has ended; this submission asks for no other.
    Finished {
        /// Number of the run.
        run: u32,
    },
    /// It was called off before it came here; its marker stands for the assembler to see.
    Cancelled {
        /// When, milliseconds since 1970.
        at: i64,
    },
    /// It asks to repair a run that has ended.
    Outdated,
}

/// Binds the id; the first content wins. Then finds the run, and marks it open.
pub async fn accept(site: &Site, job: &Job, submission: &Submission) -> Result<Acceptance, IngestError> {
    bind(site, job).await?;
    crash::point("ingest.bound");
    let run = match last_ended(site, &job.job).await? {
        None => 1,
        Some(Ended { run, manifest: Some(manifest) }) => {
            if means(submission, &manifest) || is_whole(site, &manifest).await {
                return Ok(Acceptance::Finished { run });
            }
            run + 1
        }
        // Nobody can tell what it was asked for; what it has made is reused.
        Some(Ended { run, manifest: None }) => run + 1,
    };
    match submission.repair {
        // The marker stays as it is: it names the submission that asked for the run.
        Some(repaired) if repaired == run => return Ok(Acceptance::Open { run }),
        Some(_) => return Ok(Acceptance::Outdated),
        None => {}
    }
    let marker =
        OpenMarker { job: job.job.clone(), run, submission: submission.id.clone(), submitted_at: submission.at };
    // Before the marker too: one that stands for a submission which was called off gives way to this one.
    let before: Option<Cancellation> = site.read_json(&keys::cancelled(&job.job)).await?;
    mark_open(site, &marker, before).await?;
    crash::point("ingest.opened");
    // After the marker: whoever calls the job off leaves word here first, and then looks for the marker once more.
    if site.store.head(&keys::manifest(&job.job, run)).await.map_err(SiteError::from)?.is_some() {
        // It has ended between the first look and the marker, which the assembler removes when it hears of it.
        return Ok(Acceptance::Finished { run });
    }
    let cancelled: Option<Cancellation> = site.read_json(&keys::cancelled(&job.job)).await?;
    match cancelled {
        Some(Cancellation { at }) if at >= submission.at => Ok(Acceptance::Cancelled { at }),
        _ => Ok(Acceptance::Open { run }),
    }
}

/// Whether this submission asked for the run that has ended: it is the very record, or one written before the end.
fn means(submission: &Submission, ended: &Manifest) -> bool {
    submission.id == ended.submission || submission.at <= ended.ended_at
}

/// The marker names the newest run and the submission that asked for it first, of those that were not called off.
async fn mark_open(site: &Site, marker: &OpenMarker, cancelled: Option<Cancellation>) -> Result<(), SiteError> {
    let key = keys::open(partition_of(&marker.job, site.job_partitions), &marker.job);
    loop {
        if site.put_json(&key, marker).await? == Put::Created {
            return Ok(());
        }
        let Some(seen) = site.store.head(&key).await? else { continue };
        match site.read_json::<OpenMarker>(&key).await {
            // Of a later run: whoever stood still for a while may come here late.
            Ok(Some(there)) if there.run > marker.run => return Ok(()),
            Ok(Some(there)) if there.run == marker.run => {
                let is_called_off =
                    cancelled.is_some_and(|word| there.submitted_at <= word.at && word.at < marker.submitted_at);
                if !is_called_off {
                    return Ok(());
                }
            }
            Ok(None) => continue,
            // Of an earlier run, or not to be read.
            Ok(Some(_)) | Err(SiteError::BadObject { .. }) => {}
            Err(error) => return Err(error),
        }
        let bytes = serde_json::to_vec(marker).map_err(std::io::Error::from)?;
        match site.store.replace(&key, Body::Bytes(bytes.into()), Some(&seen.version)).await {
            Err(StoreError::Changed { .. }) => {} // looked at again
            replaced => return Ok(replaced.map(drop)?),
        }
    }
}

/// Binds the id to the content; the first one wins.
pub async fn bind(site: &Site, job: &Job) -> Result<(), IngestError> {
    let key = keys::job(&job.job);
    loop {
        // One that is old is renewed before the runs are read: gc, which removes it last, then leaves them all alone.
        if site.put_json(&key, job).await? == Put::Created || site.ensure_fresh(&key).await? {
            break;
        }
    }
    let first: Option<Job> = site.read_json(&key).await?;
    match first.map(|first| first.digest()) {
        Some(expected) if expected != job.digest() => {
            Err(IngestError::OtherContent { job: job.job.clone(), expected, found: job.digest() })
        }
        _ => Ok(()),
    }
}

/// The last run of a job that has ended.
pub struct Ended {
    /// Its number.
    pub run: u32,
    /// How it ended; none if its manifest cannot be read.
    pub manifest: Option<Manifest>,
}

/// The job's last run that has ended; none if none has.
pub async fn last_ended(site: &Site, job: &JobId) -> Result<Option<Ended>, SiteError> {
    let prefix = keys::runs(job);
    let listed = site.store.list(&prefix).await?;
    let ended = listed.iter().filter_map(|object| {
        let (run, file) = object.key.strip_prefix(&prefix)?.split_once('/')?;
        (file == "manifest.json").then(|| run.parse::<u32>().ok())?
    });
    let Some(run) = ended.max() else { return Ok(None) };
    let manifest = match site.read_json(&keys::manifest(job, run)).await {
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(%job, run, %error, "how the last run ended cannot be read");
            None
        }
        read => read?,
    };
    Ok(Some(Ended { run, manifest }))
}

/// The run is done, and its output is where and what it was.
async fn is_whole(site: &Site, manifest: &Manifest) -> bool {
    let Some(output) = manifest.output.as_ref().filter(|_| manifest.state == State::Done) else { return false };
    let Ok(location) = Location::parse(&output.location) else { return false };
    if !output.stills.is_empty() {
        let (place, versions) = (&location, stream::iter(output.stills.clone()));
        let changed = versions.map(|(name, version)| async move {
            let found = site.locations.version(&place.file_in(&name)).await.ok().flatten();
            found.is_none_or(|found| found.to_string() != version)
        });
        return !changed.buffered(REQUESTS).any(std::future::ready).await;
    }
    let found = site.locations.version(&location).await.ok().flatten();
    found.is_some() && found.map(|version| version.to_string()) == output.version
}

/// Refuses an output that cannot be written; returns the version of what stands there now, of a folder none.
pub async fn check_output(site: &Site, job: &Job) -> Result<Option<String>, IngestError> {
    if job.is_folder() {
        return folder::check_output(site, job).await.map(|()| None);
    }
    let refuse =
        |error: &dyn std::fmt::Display| Refusal::new("output", error.to_string(), "a place that can be written");
    let location = Location::of_object(&job.output).map_err(|error| refuse(&error))?;
    media::container_of(std::path::Path::new(&job.output))
        .map_err(|error| Refusal::new("output", error.to_string(), error.expected()))?;
    let sort = |error: LocationError| match error.kind() {
        Kind::Poison => IngestError::from(refuse(&error)),
        Kind::Retry | Kind::Fatal => SiteError::Location(error).into(),
    };
    site.locations.check_writable(&location).await.map_err(sort)?;
    let version = site.locations.version(&location).await.map_err(sort)?;
    Ok(version.map(|version| version.to_string()))
}
