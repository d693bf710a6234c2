//! The end of a run, in the only order that survives a crash between any two steps: manifest, audit, news, marker.

use tracing::{info, warn};

use crate::audit;
use crate::contract::{Digest, Job, JobId, Manifest, OpenMarker, State, Status, Totals, VERSION, keys, partition_of};
use crate::crash;
use crate::ingest::last_ended;
use crate::site::{Site, SiteError, unix_millis};
use crate::store::{Put, StoreError};
use crate::telemetry::{self, JobOutcome};

use super::repair;

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
    if site.store.head(&keys::manifest(&manifest.job, manifest.run + 1)).await?.is_some() {
        // Whoever comes here has stood still for a while.
        tell_end_again(site, &manifest.job, manifest.run).await?;
    }
    remove_marker(site, manifest).await?;
    crash::point("assemble.marker.gone");
    Ok(())
}

/// Announces once more how a job has ended that this assembler has said something of, and which may have ended elsewhere before that was
/// said: the last word of topic `status` is to be how the last run has ended. While the job is open its owner has the last word.
pub async fn tell_end_again(site: &Site, job: &JobId, run: u32) -> Result<(), SiteError> {
    if site.store.head(&keys::manifest(job, run)).await?.is_none() {
        return Ok(());
    }
    let is_open_again = match marker_of(site, job).await {
        // It cannot be read, so nobody goes by it.
        Err(SiteError::BadObject { .. }) => false,
        marker => marker?.is_some_and(|marker| marker.run > run),
    };
    let ended = if is_open_again { None } else { last_ended(site, job).await?.and_then(|ended| ended.manifest) };
    match ended {
        Some(manifest) => site.announce(&Status::of(&manifest, false)).await,
        None => Ok(()),
    }
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

/// Removes the marker of a run that has ended. That of a later run stays: an assembler that was stopped for a while may come here late.
///
/// A submission that was taken for the run, and is younger than its end, is published again before that: it asks for the next one.
pub async fn remove_marker(site: &Site, ended: &Manifest) -> Result<(), SiteError> {
    let Manifest { job, run, ended_at, .. } = ended;
    let key = keys::open(partition_of(job, site.job_partitions), job);
    loop {
        let Some(seen) = site.store.head(&key).await? else { return Ok(()) };
        match site.read_json::<OpenMarker>(&key).await {
            Ok(Some(marker)) if marker.run == *run => {
                if let Some(at) = marker.asked_again_at.filter(|at| at > ended_at) {
                    repair::submit_again(site, job, at).await?;
                }
            }
            Ok(Some(marker)) if marker.run < *run => {}
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::topics::TopicSpec;
    use crate::broker::{EmbeddedBroker, News, Producer, Reader, StartAt};
    use crate::contract::topics;
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_tells_of_an_end_too_late_does_not_have_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let specs = [topics::STATUS, topics::AUDIT].map(|name| TopicSpec {
            name: name.into(),
            partitions: 1,
            replicas: 1,
            config: BTreeMap::new(),
        });
        let broker = EmbeddedBroker::start(&specs, None).unwrap();
        let producer = Producer::start(&broker.config("producer")).unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let site = Site { producer, ..site };
        let job: JobId = "a-job".parse().unwrap();
        let manifest = async |run| bare_manifest(&site, &job, run, State::Done).await.unwrap();

        tell_end_again(&site, &job, 1).await.unwrap(); // has not ended
        finish(&site, manifest(1).await).await.unwrap();
        site.put_json(&keys::manifest(&job, 2), &manifest(2).await).await.unwrap();
        settle(&site, &manifest(1).await).await.unwrap();
        let (submission, submitted_at) = (String::new(), 0);
        let marker = OpenMarker { job: job.clone(), run: 3, submission, submitted_at, asked_again_at: None };
        site.put_json(&keys::open(0, &job), &marker).await.unwrap();
        tell_end_again(&site, &job, 2).await.unwrap(); // is open again

        let config = broker.config("reader");
        let mut news = Reader::<Status>::start(&config, topics::STATUS, StartAt::Beginning).await.unwrap();
        let mut runs = Vec::new();
        while let News::Record(delivery) = news.next().await.unwrap().unwrap() {
            runs.push(delivery.record.unwrap().run);
        }
        assert_eq!(runs, [1, 1, 2]);
    }
}
