//! Attempts at a piece of work, counted in the store before it begins: a chunk that takes its lane, or its whole worker, with it is tried
//! a few times, by whichever workers, and then its job fails. So is a clip that takes ingest with it, or the assembler.
//!
//! `<nonce>.begun` is put before the work and goes when the attempt ends in order (done, or handed back). When the lane dies,
//! `<nonce>.died` is put, and then `.begun` goes. What a killed process leaves is its `.begun`: it counts as an attempt, though nobody
//! knows whether the work was to blame, so that these are allowed to be more.
//!
//! An attempt whose record has gone to another worker, with its partition, goes on: `.begun` becomes `<nonce>.unclaimed`, which does not
//! count and is renewed as long as the work lasts, so that the record's new owner can wait for the result instead of making it twice.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::contract::{Digest, JobId, keys};
use crate::site::{Site, SiteError};
use crate::store::Listed;

mod room;

pub use room::Room;

/// Deaths of lanes that a chunk may cause in one run.
pub const DEATHS_MAX: usize = 3;
/// Attempts in one run that may have ended in whatever way but in order.
pub const ATTEMPTS_MAX: usize = 10;
/// How often an attempt without a claim says that it goes on.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// After how long without a renewal it counts as given up: its process may have been killed.
const STALE_AFTER: Duration = Duration::from_secs(6);

/// What is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A chunk, by its index: on a lane.
    Chunk(u32),
    /// The look into a job's clip and photos before it is cut: in ingest's own process.
    Look,
    /// The join, and the signature: in the assembler's own process.
    Join,
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(index) => index.fmt(out),
            Self::Look => out.write_str("look"),
            Self::Join => out.write_str("join"),
        }
    }
}

/// Whether there is to be another attempt.
#[derive(Debug)]
pub enum Begun {
    /// It is counted.
    Attempt(Attempt),
    /// There were enough.
    Poison {
        /// How many, and how the last one ended.
        reason: String,
    },
}

/// An attempt that is counted until it is taken back.
#[derive(Debug)]
pub struct Attempt {
    /// Of its objects' keys, all but the last part, and the dot before that.
    stem: String,
    /// It is in the store as `.begun`.
    is_begun: bool,
    /// It was last put into the store as `.unclaimed` then.
    unclaimed: Option<Instant>,
}

/// Content of `.begun` and of `.unclaimed`.
#[derive(Debug, Serialize, Deserialize)]
struct Beginning {
    /// Whose attempt it is.
    worker: Worker,
    /// Seconds since 1970.
    started_at: f64,
}

/// Content of `.died`, and of a `.begun` whose process knew what it ended of.
#[derive(Debug, Serialize, Deserialize)]
struct Death {
    worker: Worker,
    /// Seconds since 1970.
    died_at: f64,
    /// The lane's last words, or the worker's.
    reason: String,
}

/// What any of them may tell.
#[derive(Debug, Deserialize)]
struct Words {
    #[serde(default)]
    reason: Option<String>,
}

/// A worker's process.
#[derive(Debug, Serialize, Deserialize)]
struct Worker {
    host: String,
    pid: u32,
}

impl Attempt {
    /// Counts one more attempt at a piece of work, unless there were enough.
    pub async fn begin(site: &Site, job: &JobId, run: u32, work: Work) -> Result<Begun, SiteError> {
        let (listed, tally) = Tally::read(site, job, run, work).await?;
        if tally.is_enough() {
            let last = last_words(site, listed).await?;
            return Ok(Begun::Poison { reason: tally.reason(last.as_deref()) });
        }
        let stem = format!("{}{}", keys::attempts(job, run, work), nonce());
        let attempt = Self { stem, is_begun: true, unclaimed: None };
        site.put_json(&attempt.key(BEGUN), &Beginning { worker: this_worker(), started_at: now() }).await?;
        Ok(Begun::Attempt(attempt))
    }

    /// It has ended in order (done, or handed back to another worker) and does not count.
    pub async fn take_back(&mut self, site: &Site) -> Result<(), SiteError> {
        if std::mem::take(&mut self.is_begun) {
            site.store.delete(&self.key(BEGUN), None).await?;
        }
        if self.unclaimed.take().is_some() {
            site.store.delete(&self.key(UNCLAIMED), None).await?;
        }
        Ok(())
    }

    /// It has cost a lane.
    pub async fn died(mut self, site: &Site, reason: &str) -> Result<(), SiteError> {
        let death = Death { worker: this_worker(), died_at: now(), reason: reason.to_owned() };
        site.put_json(&self.key(DIED), &death).await?;
        // Between the two both are there: they have one name, and are counted once.
        self.take_back(site).await
    }

    /// It has ended its process, for a reason that may lie elsewhere: it goes on counting as one that did not come to its end.
    pub async fn gave_out(self, site: &Site, reason: &str) -> Result<(), SiteError> {
        let words = Death { worker: this_worker(), died_at: now(), reason: reason.to_owned() };
        self.put_over(site, BEGUN, &words).await
    }

    /// It goes on though its record has gone to another worker: says so, now and then, until it is taken back.
    pub async fn go_on_unclaimed(&mut self, site: &Site) -> Result<(), SiteError> {
        if self.unclaimed.is_some_and(|told| told.elapsed() < RENEW_EVERY) {
            return Ok(());
        }
        self.put_over(site, UNCLAIMED, &Beginning { worker: this_worker(), started_at: now() }).await?;
        self.unclaimed = Some(Instant::now());
        if std::mem::take(&mut self.is_begun) {
            site.store.delete(&self.key(BEGUN), None).await?;
        }
        Ok(())
    }

    async fn put_over(&self, site: &Site, end: &str, content: &impl Serialize) -> Result<(), SiteError> {
        site.replace_json(&self.key(end), content, None).await?;
        Ok(())
    }

    fn key(&self, end: &str) -> String {
        format!("{}.{end}", self.stem)
    }
}

/// Attempts by which others go on with a piece of work although its record is ours by now.
#[derive(Debug)]
pub struct Elsewhere {
    prefix: String,
    /// When each was renewed last by the store's clock, and when we first saw that by ours.
    seen: HashMap<String, (SystemTime, Instant)>,
}

impl Elsewhere {
    /// Looks at nothing yet.
    pub fn new(job: &JobId, run: u32, work: Work) -> Self {
        Self { prefix: keys::attempts(job, run, work), seen: HashMap::new() }
    }

    /// Whether somebody goes on with it, as far as is known. Ask again and again; who has not renewed its attempt for a while is gone.
    pub async fn is_at_work(&mut self, site: &Site) -> Result<bool, SiteError> {
        self.look(site, Instant::now()).await
    }

    async fn look(&mut self, site: &Site, now: Instant) -> Result<bool, SiteError> {
        let mut is_at_work = false;
        for object in site.store.list(&self.prefix).await? {
            if object.key.rsplit_once('.').is_none_or(|(_, end)| end != UNCLAIMED) {
                continue;
            }
            let first_seen = (object.modified, now);
            let seen = self.seen.entry(object.key.clone()).or_insert(first_seen);
            if seen.0 != object.modified {
                *seen = first_seen;
            }
            if now.duration_since(seen.1) < STALE_AFTER {
                is_at_work = true;
            } else {
                site.store.delete(&object.key, None).await?;
            }
        }
        Ok(is_at_work)
    }
}

/// How the names of an attempt's objects end.
const BEGUN: &str = "begun";
const DIED: &str = "died";
const UNCLAIMED: &str = "unclaimed";

/// Attempts so far, those at work now included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    attempts: usize,
    deaths: usize,
}

impl Tally {
    /// Those in the store, and their objects.
    async fn read(site: &Site, job: &JobId, run: u32, work: Work) -> Result<(Vec<Listed>, Self), SiteError> {
        let prefix = keys::attempts(job, run, work);
        let listed = site.store.list(&prefix).await?;
        let tally = Self::of(listed.iter().filter_map(|object| object.key.strip_prefix(&prefix)));
        Ok((listed, tally))
    }

    /// Counts by the names of the objects: `<nonce>.begun`, `<nonce>.died`, and not `<nonce>.unclaimed`.
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut deadly = BTreeMap::new();
        for name in names {
            let Some((nonce, end)) = name.rsplit_once('.') else { continue };
            match end {
                BEGUN => drop(deadly.entry(nonce).or_insert(false)),
                DIED => drop(deadly.insert(nonce, true)),
                _ => {}
            }
        }
        Self { attempts: deadly.len(), deaths: deadly.values().filter(|&&died| died).count() }
    }

    fn is_enough(self) -> bool {
        self.deaths >= DEATHS_MAX || self.attempts >= ATTEMPTS_MAX
    }

    fn reason(self, last: Option<&str>) -> String {
        let Self { attempts, deaths } = self;
        let last = last.map_or(String::new(), |last| format!("; the last time: {last}"));
        let of_which =
            if deaths > 0 { format!("{deaths} took their lane with them") } else { "none came to its end".into() };
        format!("given up after {attempts} attempts, of which {of_which}{last}")
    }
}

/// What was said by the last one that said anything.
async fn last_words(site: &Site, mut listed: Vec<Listed>) -> Result<Option<String>, SiteError> {
    listed.sort_by(|one, other| (other.modified, &other.key).cmp(&(one.modified, &one.key)));
    for object in listed {
        if let Some(Words { reason: Some(reason) }) = site.read_json(&object.key).await? {
            return Ok(Some(reason));
        }
    }
    Ok(None)
}

fn this_worker() -> Worker {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Worker { host: host.trim().to_owned(), pid: std::process::id() }
}

/// 128 bits that nobody else has: the time, host and process set workers apart, the random keys the attempts of one.
fn nonce() -> String {
    let random = RandomState::new().hash_one(0);
    Digest::of_json(&(this_worker(), now(), random)).short(32)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    #[test]
    fn attempts_are_counted_by_their_names() {
        let check = |names: &str, attempts: usize, deaths: usize, is_enough: bool| {
            let tally = Tally::of(names.split_whitespace());
            assert_eq!(tally, Tally { attempts, deaths }, "{names}");
            assert_eq!(tally.is_enough(), is_enough, "{names}");
        };
        check("", 0, 0, false);
        check("a.begun", 1, 0, false);
        check("a.died", 1, 1, false);
        check("a.begun a.died", 1, 1, false); // killed between the two writes
        check("a.died a.begun", 1, 1, false);
        check("a.died b.died c.begun", 3, 2, false);
        check("a.died b.died c.begun c.died", 3, 3, true);
        check("a.died b.died c.died", 3, 3, true);
        check("a.begun b.begun c.begun d.begun e.begun f.begun g.begun h.begun i.begun", 9, 0, false);
        check("a.begun b.begun c.begun d.begun e.begun f.begun g.begun h.begun i.begun j.begun", 10, 0, true);
        check("a.died b.died c.begun d.begun e.begun f.begun g.begun h.begun i.begun j.begun", 10, 2, true);
        check("a.begun a.other noend", 1, 0, false);
        check("a.unclaimed b.unclaimed c.begun c.unclaimed", 1, 0, false);
    }

    #[test]
    fn the_reason_says_how_often_and_how_it_ended() {
        assert_eq!(
            Tally { attempts: 4, deaths: 3 }.reason(Some("killed by signal 11 (SIGSEGV)")),
            "given up after 4 attempts, of which 3 took their lane with them; the last time: killed by signal 11 (SIGSEGV)"
        );
        let reason = Tally { attempts: 10, deaths: 0 }.reason(None);
        assert_eq!(reason, "given up after 10 attempts, of which none came to its end");
    }

    #[tokio::test]
    async fn a_chunk_is_given_up_after_three_deaths() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let job: JobId = "a-job".parse().unwrap();
        let begin = async |index| Attempt::begin(&site, &job, 1, Work::Chunk(index)).await.unwrap();
        let attempt = async |index| match begin(index).await {
            Begun::Attempt(attempt) => attempt,
            Begun::Poison { reason } => panic!("{reason}"),
        };
        let count = async |index: u32| site.store.list(&keys::attempts(&job, 1, index)).await.unwrap().len();

        for _ in 0..2 * ATTEMPTS_MAX {
            attempt(7).await.take_back(&site).await.unwrap();
        }
        assert_eq!(count(7).await, 0, "what ended in order is not counted");
        for reason in ["hung", "killed by signal 11 (SIGSEGV)", "ran out of memory"] {
            attempt(7).await.died(&site, reason).await.unwrap();
        }
        assert_eq!(count(7).await, 3);
        let Begun::Poison { reason } = begin(7).await else { panic!("one more attempt") };
        assert!(reason.contains("3 attempts") && reason.ends_with("the last time: ran out of memory"), "{reason}");

        // Workers that were killed leave what they had begun. Other chunks have counts of their own.
        for _ in 1..ATTEMPTS_MAX {
            drop(attempt(8).await);
        }
        attempt(8).await.gave_out(&site, "no space left on device").await.unwrap();
        assert_eq!(count(8).await, ATTEMPTS_MAX);
        let Begun::Poison { reason } = begin(8).await else { panic!("one more attempt") };
        assert!(
            reason.contains("10 attempts") && reason.ends_with("the last time: no space left on device"),
            "{reason}"
        );
        assert!(matches!(begin(9).await, Begun::Attempt(_)));
    }

    #[tokio::test]
    async fn an_attempt_that_has_lost_its_record_does_not_count_and_is_waited_for_while_it_is_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let job: JobId = "a-job".parse().unwrap();
        let mut elsewhere = Elsewhere::new(&job, 1, Work::Chunk(3));
        let start = Instant::now();
        assert!(!elsewhere.look(&site, start).await.unwrap());
        // Chunks whose partitions move again and again, while all who had them go on.
        let mut moved = Vec::new();
        for _ in 0..2 * ATTEMPTS_MAX {
            let Begun::Attempt(mut attempt) = Attempt::begin(&site, &job, 1, Work::Chunk(3)).await.unwrap() else {
                panic!("poison, though nobody has died");
            };
            attempt.go_on_unclaimed(&site).await.unwrap();
            moved.push(attempt);
        }
        assert!(elsewhere.look(&site, start).await.unwrap());
        assert!(elsewhere.look(&site, start + STALE_AFTER / 2).await.unwrap());
        // Some time has passed for the last of them, who renews it.
        let mut last = moved.pop().unwrap();
        last.unclaimed = None;
        last.go_on_unclaimed(&site).await.unwrap();
        assert!(elsewhere.look(&site, start + STALE_AFTER * 3 / 4).await.unwrap());
        assert!(elsewhere.look(&site, start + STALE_AFTER).await.unwrap(), "one of them has been renewed");
        assert_eq!(site.store.list(&keys::attempts(&job, 1, 3)).await.unwrap().len(), 1, "the others are gone");
        last.take_back(&site).await.unwrap();
        assert!(!elsewhere.look(&site, start + STALE_AFTER).await.unwrap());
        assert!(site.store.list(&keys::attempts(&job, 1, 3)).await.unwrap().is_empty());
    }

    #[test]
    fn nonces_are_distinct() {
        let nonces: HashSet<String> = (0..1000).map(|_| nonce()).collect();
        assert_eq!(nonces.len(), 1000);
    }
}
