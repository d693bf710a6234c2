//! Jobs that stand still. What is missing can be seen from the store, and is asked for again.
//!
//! A job without news is no proof of loss: its chunks may wait behind others. So the ends of topic `chunks` are noted first; once the
//! job's group has committed up to them, whatever was published for it has been consumed, and what is still missing was lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::broker::{BrokerError, Outgoing, Watch};
use crate::contract::{Job, JobId, Plan, Run, SliceIndex, State, Status, keys, partition_of, topics};
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
        *self = Self { since: Instant::now(), repairs: self.repairs + 1, ends: None, waiting: self.waiting.take() };
    }
}

/// What the broker says of the workers' groups, and of ingest's.
#[derive(Debug)]
pub struct Survey {
    starts: Offsets,
    ends: Offsets,
    groups: HashMap<String, Group>,
    /// Members of ingest's group; none where the broker cannot tell, as the embedded one.
    ingests: Option<usize>,
}

/// Why a job waits that ingest has to go on with, while there is none.
const NO_INGEST: &str = "no ingest is running: start one";

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
        let ingests = watch.members(topics::INGEST_GROUP).await.ok();
        Ok(Self { starts, ends, groups: surveyed, ingests })
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

    /// Why a job of the group waits, as far as can be seen from here.
    fn waiting(&self, job: &JobId, group: &str, queued: i64, asked_ingest: bool) -> Option<String> {
        let has_no_worker = self.groups.get(group).is_some_and(|group| group.members == Some(0));
        if has_no_worker {
            return Some(format!(
                "no worker of group {group} is running: start one, or plan the job anew for others: facemill resubmit {job}"
            ));
        }
        if queued > 0 {
            return Some(format!("{queued} chunks of this and other jobs are queued or at work in group {group}"));
        }
        match self.ingests {
            Some(0) => Some(NO_INGEST.to_owned()),
            _ if asked_ingest => Some("ingest is to make again what is missing of it".to_owned()),
            _ => None,
        }
    }
}

/// When it was looked for jobs that stand still, and what is found out about them.
pub struct Repairs {
    repair_after: Duration,
    watch: Watch,
    pub(super) surveys: JoinSet<Result<Survey, BrokerError>>,
    markers_read: Instant,
    /// Runs that are marked open and not accepted.
    unaccepted: HashMap<(JobId, u32), Unaccepted>,
}

/// A run that is marked open and not accepted.
#[derive(Clone, Copy, Debug)]
struct Unaccepted {
    /// Since when that is known, or ingest was asked.
    since: Instant,
    /// It was said why it waits.
    is_told: bool,
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

    /// Runs of which it was said why they wait, and which are nobody's here from now on.
    pub(super) fn let_go(&mut self, is_gone: impl Fn(&JobId) -> bool) -> Vec<(JobId, u32)> {
        let gone = self.unaccepted.extract_if(|(job, _), _| is_gone(job));
        gone.filter(|(_, unaccepted)| unaccepted.is_told).map(|(run, _)| run).collect()
    }

    fn has_long_unaccepted(&self) -> bool {
        self.unaccepted
            .values()
            .any(|unaccepted| !unaccepted.is_told && unaccepted.since.elapsed() >= self.repair_after)
    }
}

impl Desk {
    /// Called every second: asks the broker about the jobs that stand still, and now and then reads the markers of our partitions.
    pub async fn look_for_idle(&mut self) -> Result<(), SiteError> {
        let repair_after = self.repairs.repair_after;
        let idle = self.open.values().filter(|open| open.joining.is_none() && open.idle.is_over(repair_after));
        let groups: BTreeSet<String> = idle.map(|open| open.run.group.clone()).collect();
        let is_in_doubt = !groups.is_empty() || self.repairs.has_long_unaccepted();
        if is_in_doubt && self.repairs.surveys.is_empty() {
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
        if survey.ingests == Some(0) {
            self.tell_unaccepted().await?;
        }
        Ok(())
    }

    /// Says of runs that nobody is planning why they wait.
    async fn tell_unaccepted(&mut self) -> Result<(), SiteError> {
        let repair_after = self.repairs.repair_after;
        for ((job, run), unaccepted) in &mut self.repairs.unaccepted {
            if unaccepted.is_told || unaccepted.since.elapsed() < repair_after || self.open.contains_key(job) {
                continue;
            }
            // It may have ended since the markers were read, and that is the last word.
            if self.site.store.head(&keys::manifest(job, *run)).await?.is_none() {
                let status = Status::new(job.clone(), *run, State::Planning);
                self.site.announce(&Status { waiting: Some(NO_INGEST.to_owned()), ..status }).await?;
                unaccepted.is_told = true;
            }
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
        let waiting = survey.waiting(job, &name, queued, open.asked_ingest);
        let is_news = waiting != open.idle.waiting;
        open.idle.waiting = waiting;
        if is_news {
            self.announce(&self.open[job], None).await?;
        }
        let Some(open) = self.open.get_mut(job).filter(|_| queued == 0 && !is_new) else { return Ok(()) };
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
                    let new = Unaccepted { since: Instant::now(), is_told: false };
                    let before = self.repairs.unaccepted.get(&known).copied().unwrap_or(new);
                    unaccepted.insert(known, before);
                }
            }
        }
        let limit = self.repairs.repair_after.saturating_mul(UNACCEPTED_AFTER);
        for ((job, run), unaccepted) in &mut unaccepted {
            if unaccepted.since.elapsed() >= limit {
                let asked = ask_ingest(&self.site, job, *run).await;
                self.fail_if_poison(job, *run, asked).await?;
                unaccepted.since = Instant::now();
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
    let key = keys::job(job);
    // Nobody can do a job that is gone.
    let record: Option<Job> = site.read_json(&key).await?;
    let record = record.ok_or_else(|| SiteError::BadObject { key, error: "it is gone".to_owned() })?;
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
    use crate::contract::{Manifest, OpenMarker};
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
            let survey = Survey { starts: offsets(starts), ends: offsets(ends), groups: HashMap::new(), ingests: None };
            assert_eq!(survey.queued(&offsets(noted), &offsets(committed)), *expected, "{name}");
        }
    }

    #[test]
    fn it_is_told_who_is_missing() {
        let none = Offsets::new();
        type Row = (Option<usize>, Option<usize>, i64, bool, Option<&'static str>);
        #[rustfmt::skip]
        let table: &[Row] = &[
            // workers, ingests, queued, ingest asked, told
            (Some(0), Some(0), 0, true,  Some("no worker of group workers-1 is running")),
            (Some(2), Some(0), 3, false, Some("3 chunks of this and other jobs are queued")),
            (Some(2), Some(0), 0, false, Some(NO_INGEST)),
            (Some(2), Some(1), 0, true,  Some("ingest is to make again")),
            (Some(2), Some(1), 0, false, None),
            (None,    None,    0, false, None),
        ];
        for &(members, ingests, queued, asked_ingest, told) in table {
            let groups = [("workers-1".to_owned(), Group { committed: none.clone(), members })].into();
            let survey = Survey { starts: none.clone(), ends: none.clone(), groups, ingests };
            let waiting = survey.waiting(&"a".parse().unwrap(), "workers-1", queued, asked_ingest);
            let is_told = waiting.as_deref().zip(told).map(|(waiting, told)| waiting.starts_with(told));
            assert!(waiting.is_some() == told.is_some() && is_told != Some(false), "{waiting:?} {told:?}");
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
