//! Jobs that stand still. What is missing can be seen from the store, and is asked for again.
//!
//! A job without news is no proof of loss: its chunks may wait behind others. So the ends of topic `chunks` are noted first; once the
//! job's group has committed up to them, whatever was published for it has been consumed, and what is still missing was lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::broker::{BrokerError, Outgoing, Watch};
use crate::contract::{Job, JobId, Plan, Run, SliceIndex, keys, partition_of, topics};
use crate::ingest::{REPAIR, SUBMITTED};
use crate::site::{Site, SiteError};
use crate::store::Put;

use super::desk::Desk;

/// How often one chunk of a run is made again before its job fails.
const REMAKES: u32 = 3;
/// Waiting for news doubles with every repair, up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// After so many repairs without news ingest is asked too: perhaps it has never cut all.
const ASK_INGEST_AFTER: u32 = 2;
/// A run that is marked open and not accepted after so many repair times is asked for again; ingest may be fetching its clip.
const UNACCEPTED_AFTER: u32 = 20;

/// Partition → offset.
type Offsets = BTreeMap<i32, i64>;

/// How long nothing has happened to a job.
#[derive(Debug)]
pub struct Idle {
    since: Instant,
    /// Repairs since the last news.
    repairs: u32,
    /// Ends of topic `chunks` when the job was found standing still.
    ends: Option<Offsets>,
    /// Why it waits, as the status says.
    pub waiting: Option<String>,
}

impl Default for Idle {
    fn default() -> Self {
        Self { since: Instant::now(), repairs: 0, ends: None, waiting: None }
    }
}

impl Idle {
    /// There is news.
    pub fn progressed(&mut self) {
        *self = Self::default();
    }

    fn is_over(&self, repair_after: Duration) -> bool {
        let wait = repair_after.saturating_mul(1 << self.repairs.min(16));
        self.since.elapsed() >= wait.min(LONGEST_WAIT.max(repair_after))
    }

    fn repaired(&mut self) {
        *self = Self { since: Instant::now(), repairs: self.repairs + 1, ends: None, waiting: None };
    }
}

/// What the broker says of the workers' groups.
#[derive(Debug)]
pub struct Survey {
    starts: Offsets,
    ends: Offsets,
    groups: HashMap<String, Group>,
}

#[derive(Debug, Default)]
struct Group {
    committed: Offsets,
    /// None where the broker cannot tell, as the embedded one.
    members: Option<usize>,
}

impl Survey {
    async fn make(watch: Watch, groups: BTreeSet<String>) -> Result<Self, BrokerError> {
        let (starts, ends) = (watch.starts(topics::CHUNKS).await?, watch.ends(topics::CHUNKS).await?);
        let mut surveyed = HashMap::new();
        for group in groups {
            let committed = watch.committed(&group, topics::CHUNKS).await?;
            let members = watch.members(&group).await.ok();
            surveyed.insert(group, Group { committed, members });
        }
        Ok(Self { starts, ends, groups: surveyed })
    }
}

impl Survey {
    /// Records that were there at `noted`, are still there, and are not committed by a group.
    fn queued(&self, noted: &Offsets, committed: &Offsets) -> i64 {
        let left = noted.iter().map(|(partition, noted)| {
            let at = |offsets: &Offsets, otherwise| offsets.get(partition).copied().unwrap_or(otherwise);
            let end = at(&self.ends, *noted).min(*noted);
            let next = at(committed, 0).max(at(&self.starts, 0));
            (end - next).max(0)
        });
        left.sum()
    }
}

/// When it was looked for jobs that stand still, and what is found out about them.
pub struct Repairs {
    repair_after: Duration,
    watch: Watch,
    pub(super) surveys: JoinSet<Result<Survey, BrokerError>>,
    markers_read: Instant,
    /// Runs that are marked open and not accepted, and since when.
    unaccepted: HashMap<(JobId, u32), Instant>,
}

impl Repairs {
    /// Nothing has been looked for yet.
    pub fn new(site: &Site, repair_after: Duration) -> Self {
        Self {
            repair_after,
            watch: Watch::new(&site.broker),
            surveys: JoinSet::new(),
            markers_read: Instant::now(),
            unaccepted: HashMap::new(),
        }
    }
}

impl Desk {
    /// Called every second: asks the broker about the jobs that stand still, and now and then reads the markers of our partitions.
    pub async fn look_for_idle(&mut self) -> Result<(), SiteError> {
        let repair_after = self.repairs.repair_after;
        let idle = self.open.values().filter(|open| open.joining.is_none() && open.idle.is_over(repair_after));
        let groups: BTreeSet<String> = idle.map(|open| open.run.group.clone()).collect();
        if !groups.is_empty() && self.repairs.surveys.is_empty() {
            self.repairs.surveys.spawn(Survey::make(self.repairs.watch.clone(), groups));
        }
        if self.repairs.markers_read.elapsed() < repair_after {
            return Ok(());
        }
        self.read_markers().await?;
        self.repairs.markers_read = Instant::now();
        Ok(())
    }

    /// Publishes again what was lost, and tells why the others wait.
    pub(super) async fn repair(&mut self, surveyed: Result<Survey, BrokerError>) -> Result<(), SiteError> {
        let survey = match surveyed {
            Ok(survey) => survey,
            Err(error) => {
                warn!(%error, "cannot ask the broker how far the workers are; will be tried again");
                return Ok(());
            }
        };
        let repair_after = self.repairs.repair_after;
        let idle = self.open.iter().filter(|(_, open)| open.joining.is_none() && open.idle.is_over(repair_after));
        let idle: Vec<JobId> = idle.map(|(job, _)| job.clone()).collect();
        for job in idle {
            let Some(run) = self.open.get(&job).map(|open| open.run.run) else { continue };
            let repaired = self.repair_job(&job, &survey).await;
            self.fail_if_poison(&job, run, repaired).await?;
        }
        Ok(())
    }

    async fn repair_job(&mut self, job: &JobId, survey: &Survey) -> Result<(), SiteError> {
        let Some(open) = self.open.get_mut(job) else { return Ok(()) };
        let name = open.run.group.clone();
        let Some(group) = survey.groups.get(&name) else { return Ok(()) };
        let is_new = open.idle.ends.is_none();
        let noted = open.idle.ends.get_or_insert_with(|| survey.ends.clone());
        let queued = survey.queued(noted, &group.committed);
        if queued > 0 || is_new {
            let waiting = match (group.members, queued) {
                (Some(0), _) => Some(format!(
                    "no worker of group {name} is running: start one, or plan the job anew for others: facemill resubmit {job}"
                )),
                (_, 0) => None,
                (_, queued) => {
                    Some(format!("{queued} chunks of this and other jobs are queued or at work in group {name}"))
                }
            };
            if open.idle.waiting != waiting {
                open.idle.waiting = waiting;
                let open = &self.open[job];
                self.announce(open, None).await?;
            }
            return Ok(());
        }
        let missing: Vec<u32> = open.ledger.missing().collect();
        warn!(%job, chunks = missing.len(), "standing still and nothing is queued: asking for its chunks again");
        open.idle.repaired();
        let (run, plan) = (open.run.clone(), open.plan.clone());
        // What ingest has to make first is not to be found missing again and again meanwhile.
        if open.asked_ingest || open.idle.repairs > ASK_INGEST_AFTER {
            return ask_ingest(&self.site, job, run.run).await;
        }
        order(&self.site, &run, &plan, &missing).await
    }

    /// Runs that are marked open and not on the desk: opened, put away, or asked for again.
    async fn read_markers(&mut self) -> Result<(), SiteError> {
        let mut unaccepted = HashMap::new();
        for partition in self.partitions.clone() {
            for object in self.site.store.list(&keys::open_in(partition)).await? {
                let job = object.key.rsplit('/').next().and_then(|job| job.parse::<JobId>().ok());
                if job.is_some_and(|job| self.open.contains_key(&job)) {
                    continue;
                }
                let Some(marker) = self.read_marker(&object.key).await? else { continue };
                self.resume(&marker).await?;
                if !self.open.contains_key(&marker.job) {
                    let known = (marker.job.clone(), marker.run);
                    let since = self.repairs.unaccepted.get(&known).copied().unwrap_or_else(Instant::now);
                    unaccepted.insert(known, since);
                }
            }
        }
        let limit = self.repairs.repair_after.saturating_mul(UNACCEPTED_AFTER);
        for ((job, run), since) in &mut unaccepted {
            if since.elapsed() >= limit {
                ask_ingest(&self.site, job, *run).await?;
                *since = Instant::now();
            }
        }
        self.repairs.unaccepted = unaccepted;
        Ok(())
    }
}

/// Publishes chunks of a run again, as far as their slices have been cut.
pub async fn order(site: &Site, run: &Run, plan: &Plan, chunks: &[u32]) -> Result<(), SiteError> {
    let key = keys::slices(&run.clip, &run.rule.id());
    let index = match site.read_json::<SliceIndex>(&key).await {
        Ok(Some(index)) => index,
        Ok(None) => return Ok(()),
        // It is written again with whatever else is missing.
        Err(SiteError::BadObject { .. }) => return ask_ingest(site, &run.job.job, run.run).await,
        Err(error) => return Err(error),
    };
    for &chunk in chunks {
        let Some(slice) = index.slices.get(chunk as usize) else { continue };
        site.order(&run.chunk(plan, chunk as usize, *slice)).await?;
    }
    Ok(())
}

/// Publishes the job again, for what is missing of this run only.
pub async fn ask_ingest(site: &Site, job: &JobId, run: u32) -> Result<(), SiteError> {
    let Some(record) = site.read_json::<Job>(&keys::job(job)).await? else {
        warn!(%job, "marked open, and the store does not know it");
        return Ok(());
    };
    info!(%job, run, "asking ingest for what is missing");
    publish(site, &record, (REPAIR, &run.to_string())).await
}

/// Publishes the job again, for the run after one that had ended before it was submitted `at`, milliseconds since 1970. May be done again:
/// all of them are the one submission.
pub async fn submit_again(site: &Site, job: &JobId, at: i64) -> Result<(), SiteError> {
    let record = match site.read_json::<Job>(&keys::job(job)).await {
        // Ingest would refuse it.
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(%job, %error, "submitted after its run had ended, and cannot be published again");
            return Ok(());
        }
        record => record?,
    };
    let Some(record) = record else { return Ok(()) };
    info!(%job, "submitted after its run had ended: published again, for the next one");
    publish(site, &record, (SUBMITTED, &at.to_string())).await
}

async fn publish(site: &Site, record: &Job, (header, value): (&str, &str)) -> Result<(), SiteError> {
    let headers: &[(&str, &[u8])] = &[(header, value.as_bytes())];
    let (topic, job) = (topics::JOBS, &record.job);
    let (key, partition) = (Some(job.as_str()), Some(partition_of(job, site.job_partitions)));
    let outgoing = || Outgoing { topic, key, partition, headers, value: record };
    site.patiently("publish to", topic, || site.producer.send(outgoing())).await?;
    Ok(())
}

/// Whether something of a chunk may be made again in this run. Counted in the store, so that a new assembler goes on counting.
pub async fn may_remake(site: &Site, job: &JobId, run: u32, index: u32, reason: &str) -> Result<bool, SiteError> {
    for number in 1..=REMAKES {
        if site.put_json(&keys::remake(job, run, index, number), &reason).await? == Put::Created {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::super::finish::{bare_manifest, settle};
    use super::*;
    use crate::broker::topics::TopicSpec;
    use crate::broker::{EmbeddedBroker, News, Producer, Reader, StartAt};
    use crate::contract::{Manifest, OpenMarker, State};
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    #[test]
    fn what_was_there_and_is_not_committed_is_queued() {
        type Pairs = &'static [(i32, i64)];
        type Row = (&'static str, Pairs, Pairs, Pairs, Pairs, i64);
        #[rustfmt::skip]
        let table: &[Row] = &[
            // name,                       noted,             starts,    ends,              committed,         queued
            ("all consumed",               &[(0, 5), (1, 3)], &[],       &[(0, 5), (1, 3)], &[(0, 5), (1, 3)], 0),
            ("later records do not count", &[(0, 5)],         &[],       &[(0, 9)],         &[(0, 5)],         0),
            ("two are left",               &[(0, 5), (1, 3)], &[],       &[(0, 5), (1, 3)], &[(0, 4), (1, 2)], 2),
            ("nothing committed yet",      &[(0, 5), (1, 0)], &[(0, 0)], &[(0, 5), (1, 0)], &[],               5),
            ("expired, and no group yet",  &[(0, 5)],         &[(0, 5)], &[(0, 5)],         &[],               0),
            ("the topic was made anew",    &[(0, 5)],         &[],       &[(0, 1)],         &[(0, 1)],         0),
        ];
        for (name, noted, starts, ends, committed, expected) in table {
            let offsets = |pairs: Pairs| pairs.iter().copied().collect::<Offsets>();
            let survey = Survey { starts: offsets(starts), ends: offsets(ends), groups: HashMap::new() };
            assert_eq!(survey.queued(&offsets(noted), &offsets(committed)), *expected, "{name}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_submitted_after_the_end_of_its_run_is_published_again() {
        let folder = tempfile::tempdir().unwrap();
        let specs = [topics::JOBS, topics::STATUS, topics::AUDIT].map(|name| TopicSpec {
            name: name.into(),
            partitions: 1,
            replicas: 1,
            config: BTreeMap::new(),
        });
        let broker = EmbeddedBroker::start(&specs, None).unwrap();
        let mut site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        site.producer = Producer::start(&broker.config("producer")).unwrap();
        // All were called off at 100, and their assembler heard of it late.
        for (name, asked_again_at) in [("before", Some(90)), ("never", None), ("after", Some(150))] {
            let text = format!(r#"{{"job":"{name}","sources":[],"target":"s3://b/t.mp4","output":"s3://b/o.mp4"}}"#);
            let record: Job = serde_json::from_str(&text).unwrap();
            let job = record.job.clone();
            site.put_json(&keys::job(&job), &record).await.unwrap();
            let submission = "s".to_owned();
            let marker = OpenMarker { job: job.clone(), run: 1, submission, submitted_at: 50, asked_again_at };
            site.put_json(&keys::open(0, &job), &marker).await.unwrap();
            let manifest = bare_manifest(&site, &job, 1, State::Cancelled).await.unwrap();
            settle(&site, &Manifest { ended_at: 100, ..manifest }).await.unwrap();
        }
        assert!(site.store.list(keys::OPEN).await.unwrap().is_empty());
        let config = broker.config("reader");
        let mut jobs = Reader::<Job>::start(&config, topics::JOBS, StartAt::Beginning).await.unwrap();
        let News::Record(delivery) = jobs.next().await.unwrap().unwrap() else { panic!("nothing was published") };
        assert_eq!(delivery.record.unwrap().job.as_str(), "after");
        assert_eq!(delivery.headers, [(SUBMITTED.to_owned(), b"150".to_vec())]);
        assert!(matches!(jobs.next().await.unwrap().unwrap(), News::CaughtUp), "and nothing else");
    }

    #[test]
    fn waits_double_and_news_ends_them() {
        let after = Duration::from_millis(1);
        let mut idle = Idle::default();
        idle.since -= Duration::from_millis(3);
        assert!(idle.is_over(after));
        idle.repaired();
        assert!(!idle.is_over(Duration::from_secs(3600)));
        idle.repairs = 10;
        idle.since -= Duration::from_millis(500);
        assert!(!idle.is_over(after), "a second is due after ten repairs");
        idle.progressed();
        assert_eq!((idle.repairs, idle.ends.is_some()), (0, false));
    }
}
