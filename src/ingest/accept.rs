//! Binding a job's id to its content, and finding out which of its runs this submission means.

use std::str::FromStr;

use futures::{StreamExt, TryStreamExt, stream};

use crate::audit;
use crate::broker::{Delivery, Headers};
use crate::contract::{Cancellation, Job, JobId, Manifest, OpenMarker, State, Stood, keys, partition_of};
use crate::crash;
use crate::credentials;
use crate::error::{Classify, Kind, Refusal};
use crate::media;
use crate::site::{Site, SiteError};
use crate::store::{Location, LocationError, Put, StoreError, Version};

use tracing::warn;

use super::{IngestError, folder};

/// Stills of an output that are looked at at once.
const REQUESTS: usize = 16;

/// Header of a job record by which the assembler asks for what is missing of a run: its value is the run's number.
pub const REPAIR: &str = "facemill.repair";

/// Header of a job record that the assembler publishes again, for a submission that was taken for a run which had ended by then: when
/// that was written, milliseconds since 1970.
pub const SUBMITTED: &str = "facemill.submitted-at";

/// One record of `jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Which record: the same one delivered again is not a new submission.
    pub id: String,
    /// When it was written, milliseconds since 1970; of one that was published again, when the first was.
    pub at: i64,
    /// It asks for what is missing of this run, and for nothing if that run has ended.
    pub repair: Option<u32>,
}

impl Submission {
    /// The record that was delivered.
    pub fn of(delivery: &Delivery<Job>) -> Self {
        let written_at = delivery.timestamp.unwrap_or_default();
        let id = format!("{}/{}/{}@{written_at}", delivery.topic, delivery.partition, delivery.offset);
        let at = submitted_at(&delivery.headers, written_at);
        Self { id, at, repair: number(&delivery.headers, REPAIR) }
    }
}

/// Of a record that was published again, when the first one was written.
fn submitted_at(headers: &Headers, written_at: i64) -> i64 {
    number(headers, SUBMITTED).map_or(written_at, |at: i64| at.min(written_at))
}

fn number<N: FromStr>(headers: &Headers, wanted: &str) -> Option<N> {
    let (_, value) = headers.iter().find(|(name, _)| name == wanted)?;
    std::str::from_utf8(value).ok()?.parse().ok()
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
    let mut last = last_ended(site, &job.job).await?;
    loop {
        let run = match last {
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
        let marker = OpenMarker {
            job: job.job.clone(),
            run,
            submission: submission.id.clone(),
            submitted_at: submission.at,
            asked_again_at: None,
        };
        // Before the marker too: one that stands for a submission which was called off gives way to this one.
        let before: Option<Cancellation> = site.read_json(&keys::cancelled(&job.job)).await?;
        mark_open(site, &marker, before).await?;
        crash::point("ingest.opened");
        // After the marker: it may have ended between the first look and that, perhaps before this was submitted. If it is meant all
        // the same, the assembler removes the marker when it hears of it.
        last = ended(site, &job.job, run).await?;
        if last.is_some() {
            continue;
        }
        // After the marker: whoever calls the job off leaves word here first, and then looks for the marker once more.
        let cancelled: Option<Cancellation> = site.read_json(&keys::cancelled(&job.job)).await?;
        return match cancelled {
            Some(Cancellation { at }) if at >= submission.at => Ok(Acceptance::Cancelled { at }),
            _ => Ok(Acceptance::Open { run }),
        };
    }
}

/// Counts a submission to `run`, if that is open: its marker says so. `false` if it is not, or has ended.
pub async fn join(site: &Site, job: &JobId, run: u32, submission: &Submission) -> Result<bool, SiteError> {
    let key = keys::open(partition_of(job, site.job_partitions), job);
    loop {
        let Some(seen) = site.store.head(&key).await? else { return Ok(false) };
        let there = match site.read_json::<OpenMarker>(&key).await {
            Ok(Some(there)) if there.run == run => there,
            Ok(_) | Err(SiteError::BadObject { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let is_noted = submission.at <= there.last_asked_at();
        let noted = OpenMarker { asked_again_at: Some(submission.at), ..there };
        if is_noted || replace_marker(site, &noted, &seen.version).await? {
            // After the marker, as in `accept`.
            return Ok(ended(site, job, run).await?.is_none());
        }
    }
}

/// Whether this submission asked for the run that has ended: it is the very record, or one written before the end.
fn means(submission: &Submission, ended: &Manifest) -> bool {
    submission.id == ended.submission || submission.at <= ended.ended_at
}

/// The marker names the newest run and the submission that asked for it first, of those that were not called off; and when it was last
/// asked for, since the assembler may be about to end it by a cancellation that came before that.
async fn mark_open(site: &Site, marker: &OpenMarker, cancelled: Option<Cancellation>) -> Result<(), SiteError> {
    let key = keys::open(partition_of(&marker.job, site.job_partitions), &marker.job);
    loop {
        if site.put_json(&key, marker).await? == Put::Created {
            return Ok(());
        }
        let Some(seen) = site.store.head(&key).await? else { continue };
        let newer = match site.read_json::<OpenMarker>(&key).await {
            // Of a later run: whoever stood still for a while may come here late.
            Ok(Some(there)) if there.run > marker.run => return Ok(()),
            Ok(Some(there)) if there.run == marker.run => {
                let is_called_off =
                    cancelled.is_some_and(|word| there.submitted_at <= word.at && word.at < marker.submitted_at);
                let asked_again_at = Some(marker.submitted_at.max(there.last_asked_at()));
                match is_called_off {
                    true => OpenMarker { asked_again_at, ..marker.clone() },
                    false if marker.submitted_at <= there.last_asked_at() => return Ok(()),
                    false => OpenMarker { asked_again_at, ..there },
                }
            }
            Ok(None) => continue,
            // Of an earlier run, whose assembler may have been killed before it wrote the end down: nobody would come back to it.
            Ok(Some(there)) => {
                if let Some(Ended { manifest: Some(manifest), .. }) = ended(site, &there.job, there.run).await? {
                    audit::record(site, &manifest).await?;
                }
                let asked_again_at = there.asked_again_at.filter(|at| *at > marker.submitted_at);
                OpenMarker { asked_again_at, ..marker.clone() }
            }
            // Not to be read.
            Err(SiteError::BadObject { .. }) => marker.clone(),
            Err(error) => return Err(error),
        };
        if replace_marker(site, &newer, &seen.version).await? {
            return Ok(());
        }
    }
}

/// `false` if it is not that version any more: to be looked at again.
async fn replace_marker(site: &Site, marker: &OpenMarker, seen: &Version) -> Result<bool, SiteError> {
    let key = keys::open(partition_of(&marker.job, site.job_partitions), &marker.job);
    match site.replace_json(&key, marker, Some(seen)).await {
        Err(SiteError::Store(StoreError::Changed { .. })) => Ok(false),
        replaced => Ok(replaced.map(|_| true)?),
    }
}

/// Binds the id to the content; the first one wins.
pub async fn bind(site: &Site, job: &Job) -> Result<(), IngestError> {
    let key = keys::job(&job.job);
    // One that is too large to be told of is not kept. What earlier versions have kept goes on, and its run ends with the refusal.
    let too_large = job.ensure_small().err();
    // One that is old is renewed before the runs are read: gc, which removes it last, then leaves them all alone.
    while too_large.is_none() && site.put_json(&key, job).await? == Put::Exists && !site.ensure_fresh(&key).await? {}
    let first: Option<Job> = site.read_json(&key).await?;
    match (first.map(|first| first.digest()), too_large) {
        (Some(expected), _) if expected != job.digest() => {
            Err(IngestError::OtherContent { job: job.job.clone(), expected, found: job.digest() })
        }
        (None, Some(refusal)) => Err(refusal.into()),
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
    let ended_runs = listed.iter().filter_map(|object| {
        let (run, file) = object.key.strip_prefix(&prefix)?.split_once('/')?;
        (file == "manifest.json").then(|| run.parse::<u32>().ok())?
    });
    let Some(run) = ended_runs.max() else { return Ok(None) };
    // Where the listing is ahead of the object, nothing is known of its end either.
    Ok(Some(ended(site, job, run).await?.unwrap_or(Ended { run, manifest: None })))
}

/// How a run has ended; none if it has not.
async fn ended(site: &Site, job: &JobId, run: u32) -> Result<Option<Ended>, SiteError> {
    match site.read_json(&keys::manifest(job, run)).await {
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(%job, run, %error, "how a run ended cannot be read");
            Ok(Some(Ended { run, manifest: None }))
        }
        read => Ok(read?.map(|manifest| Ended { run, manifest: Some(manifest) })),
    }
}

/// The run is done, and its output is where and what it was. So it is taken to be where nobody can look: what lies in a place that is away
/// is not gone, and there the next run would be refused.
async fn is_whole(site: &Site, manifest: &Manifest) -> bool {
    let Some(output) = manifest.output.as_ref().filter(|_| manifest.state == State::Done) else { return false };
    let Ok(location) = Location::parse(&output.location) else { return false };
    let looked = if output.stills.is_empty() {
        let found = site.locations.version(&location).await;
        found.map(|found| found.is_some_and(|found| Some(found.to_string()) == output.version))
    } else {
        let (place, versions) = (&location, stream::iter(output.stills.clone()));
        let is_whole = versions.map(|(name, version)| async move {
            let found = site.locations.version(&place.file_in(&name)).await?;
            Ok::<_, LocationError>(found.is_some_and(|found| found.to_string() == version))
        });
        is_whole.buffered(REQUESTS).try_all(std::future::ready).await
    };
    looked.unwrap_or_else(|error| {
        warn!(job = %manifest.job, run = manifest.run, %error, "cannot look at the output of a job that is done; taken to be there");
        true
    })
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

/// What stands now where the output's credentials go, if they may lie beside it: also beside a PNG, which may turn out to be animated.
pub async fn sidecar_before(site: &Site, job: &Job) -> Result<Option<Stood>, IngestError> {
    let Some(extension) = std::path::Path::new(&job.output).extension().and_then(|extension| extension.to_str()) else {
        return Ok(None);
    };
    let may_lie_beside = extension.eq_ignore_ascii_case("png") || !credentials::carries(extension);
    if job.is_folder() || !may_lie_beside {
        return Ok(None);
    }
    let refuse = |error: &LocationError| Refusal::new("output", error.to_string(), "a place that can be written");
    let location = Location::of_object(&job.output).map_err(|error| refuse(&error))?;
    match site.locations.version(&location.with_extension(credentials::SIDECAR)).await {
        Ok(found) => Ok(Some(Stood { version: found.map(|version| version.to_string()) })),
        Err(error) if error.kind() == Kind::Poison => Err(refuse(&error).into()),
        Err(error) => Err(SiteError::Location(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::topics::TopicSpec;
    use crate::broker::{EmbeddedBroker, News, Producer, Reader, StartAt};
    use crate::contract::{Output, Totals, VERSION, topics};
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    fn job() -> Job {
        let text = r#"{"job":"a","sources":[],"target":"s3://b/t.mp4","output":"s3://b/o.mp4"}"#;
        serde_json::from_str(text).unwrap()
    }

    async fn site(folder: &std::path::Path) -> Site {
        let limits = Limits { roots: vec![folder.to_owned()], ..Limits::default() };
        testing::site(folder, Locations::new(limits, StoreConfig::default())).await
    }

    fn submitted(at: i64) -> Submission {
        Submission { id: format!("jobs/0/{at}@{at}"), at, repair: None }
    }

    fn ended_as(state: State, ended_at: i64) -> Manifest {
        Manifest {
            v: VERSION,
            job: job().job,
            run: 1,
            content: job().digest(),
            submission: submitted(50).id,
            state,
            reason: None,
            refused: false,
            decisions: None,
            output: None,
            totals: Totals::default(),
            warnings: Vec::new(),
            labels: BTreeMap::new(),
            ended_at,
        }
    }

    async fn marker(site: &Site) -> OpenMarker {
        site.read_json(&keys::open(0, &job().job)).await.unwrap().unwrap()
    }

    #[test]
    fn a_record_that_was_published_again_counts_from_its_first() {
        let table = [(None, 200), (Some("150"), 150), (Some("900"), 200), (Some("soon"), 200)];
        for (header, expected) in table {
            let headers: Headers =
                header.iter().map(|value| (SUBMITTED.to_owned(), value.as_bytes().to_vec())).collect();
            assert_eq!(submitted_at(&headers, 200), expected, "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_huge_record_is_kept_by_nobody_and_leaves_the_first_job_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (site, small) = (site(folder.path()).await, job());
        let huge = Job { labels: [("note".to_owned(), "x".repeat(1 << 20))].into(), ..small.clone() };
        let refused = bind(&site, &huge).await;
        assert!(matches!(&refused, Err(IngestError::Refused(refusal)) if refusal.field == "job"), "{refused:?}");
        assert!(site.store.list(keys::JOBS).await.unwrap().is_empty());
        bind(&site, &small).await.unwrap();
        let refused = bind(&site, &huge).await;
        assert!(matches!(refused, Err(IngestError::OtherContent { expected, .. }) if expected == small.digest()));
        // One that an earlier version has taken in.
        site.replace_json(&keys::job(&small.job), &huge, None).await.unwrap();
        bind(&site, &huge).await.unwrap();
    }

    #[tokio::test]
    async fn the_marker_of_an_open_run_tells_when_it_was_last_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let (site, job) = (site(folder.path()).await, job());
        let first = OpenMarker {
            job: job.job.clone(),
            run: 1,
            submission: submitted(50).id,
            submitted_at: 50,
            asked_again_at: None,
        };
        for (at, asked_again_at) in [(50, None), (150, Some(150)), (100, Some(150))] {
            let accepted = accept(&site, &job, &submitted(at)).await.unwrap();
            assert_eq!(accepted, Acceptance::Open { run: 1 });
            assert_eq!(marker(&site).await, OpenMarker { asked_again_at, ..first.clone() }, "{at}");
        }
        assert!(join(&site, &job.job, 1, &submitted(200)).await.unwrap());
        assert!(!join(&site, &job.job, 2, &submitted(300)).await.unwrap());
        assert_eq!(marker(&site).await.asked_again_at, Some(200));

        // Called off before this was submitted: another marker, by which the run goes on unless it has ended as it stood.
        site.put_json(&keys::cancelled(&job.job), &Cancellation { at: 220 }).await.unwrap();
        assert_eq!(accept(&site, &job, &submitted(210)).await.unwrap(), Acceptance::Cancelled { at: 220 });
        assert_eq!(accept(&site, &job, &submitted(230)).await.unwrap(), Acceptance::Open { run: 1 });
        let newer = OpenMarker { submission: submitted(230).id, submitted_at: 230, asked_again_at: Some(230), ..first };
        assert_eq!(marker(&site).await, newer);

        site.put_json(&keys::manifest(&job.job, 1), &ended_as(State::Cancelled, 220)).await.unwrap();
        assert!(!join(&site, &job.job, 1, &submitted(240)).await.unwrap());
        assert_eq!(accept(&site, &job, &submitted(220)).await.unwrap(), Acceptance::Finished { run: 1 });
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_end_of_a_run_is_written_down_before_its_marker_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let topic = TopicSpec { name: topics::AUDIT.into(), partitions: 1, replicas: 1, config: BTreeMap::new() };
        let broker = EmbeddedBroker::start(&[topic], None).unwrap();
        let mut site = site(folder.path()).await;
        site.producer = Producer::start(&broker.config("producer")).unwrap();
        assert_eq!(accept(&site, &job(), &submitted(50)).await.unwrap(), Acceptance::Open { run: 1 });
        site.put_json(&keys::manifest(&job().job, 1), &ended_as(State::Failed, 100)).await.unwrap();
        assert_eq!(accept(&site, &job(), &submitted(150)).await.unwrap(), Acceptance::Open { run: 2 });
        assert_eq!((marker(&site).await.run, marker(&site).await.submitted_at), (2, 150));
        let config = broker.config("reader");
        let mut audit = Reader::<serde_json::Value>::start(&config, topics::AUDIT, StartAt::Beginning).await.unwrap();
        let News::Record(delivery) = audit.next().await.unwrap().unwrap() else { panic!("nothing was written down") };
        let record = delivery.record.unwrap();
        assert_eq!((record["run"].as_u64(), record["state"].as_str()), (Some(1), Some("failed")));
    }

    #[tokio::test]
    async fn an_output_is_gone_only_where_somebody_can_look() {
        let folder = tempfile::tempdir().unwrap();
        let site = site(folder.path()).await;
        let (place, away) = (folder.path().join("out"), folder.path().join("away"));
        let file = place.join("o.png");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&file, "made").unwrap();
        let location = Location::File(file.clone());
        let version = site.locations.version(&location).await.unwrap().map(|version| version.to_string());
        let output = Output {
            location: location.to_string(),
            version: version.clone(),
            bytes: 4,
            stills: BTreeMap::new(),
            sha256: None,
            signed_by: None,
        };
        let stills = Output {
            location: format!("file://{}/", place.display()),
            version: None,
            stills: BTreeMap::from([("o.png".to_owned(), version.unwrap())]),
            ..output.clone()
        };
        let done = [output, stills].map(|output| Manifest { output: Some(output), ..ended_as(State::Done, 100) });
        let are_whole = async || [is_whole(&site, &done[0]).await, is_whole(&site, &done[1]).await];
        assert_eq!(are_whole().await, [true; 2]);
        std::fs::rename(&place, &away).unwrap();
        assert_eq!(are_whole().await, [true; 2], "the place is away");
        std::fs::rename(&away, &place).unwrap();
        std::fs::write(place.join("other"), "made anew").unwrap();
        std::fs::rename(place.join("other"), &file).unwrap();
        assert_eq!(are_whole().await, [false; 2], "another file is there");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(are_whole().await, [false; 2], "it is gone");
    }
}
