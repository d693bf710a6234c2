//! Attempts at a chunk, counted in the store before the work begins: a chunk that takes its lane, or its whole worker, with it is tried
//! a few times, by whichever workers, and then its job fails.
//!
//! `<nonce>.begun` is put before the work and goes when the attempt ends in order (done, or handed back). When the lane dies,
//! `<nonce>.died` is put, and then `.begun` goes. What a killed worker leaves is its `.begun`: it counts as an attempt, though nobody
//! knows whether the chunk was to blame, so that these are allowed to be more.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::contract::{Digest, JobId, keys};
use crate::site::{Site, SiteError};
use crate::store::Listed;

/// Deaths of lanes that a chunk may cause in one run.
pub const DEATHS_MAX: usize = 3;
/// Attempts in one run that may have ended in whatever way but in order.
pub const ATTEMPTS_MAX: usize = 10;

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
    begun: String,
    died: String,
}

/// Content of `.begun`.
#[derive(Debug, Serialize, Deserialize)]
struct Beginning {
    /// Whose attempt it is.
    worker: Worker,
    /// Seconds since 1970.
    started_at: f64,
}

/// Content of `.died`.
#[derive(Debug, Serialize, Deserialize)]
struct Death {
    worker: Worker,
    /// Seconds since 1970.
    died_at: f64,
    /// The lane's last words.
    reason: String,
}

/// A worker's process.
#[derive(Debug, Serialize, Deserialize)]
struct Worker {
    host: String,
    pid: u32,
}

impl Attempt {
    /// Counts one more attempt at a chunk, unless there were enough.
    pub async fn begin(site: &Site, job: &JobId, run: u32, index: u32) -> Result<Begun, SiteError> {
        let prefix = keys::attempts(job, run, index);
        let listed = site.store.list(&prefix).await?;
        let tally = Tally::of(listed.iter().filter_map(|object| object.key.strip_prefix(&prefix)));
        if tally.is_enough() {
            let last = last_death(site, &listed).await?;
            return Ok(Begun::Poison { reason: tally.reason(last.as_deref()) });
        }
        let nonce = nonce();
        let attempt = Self {
            begun: keys::attempt_begun(job, run, index, &nonce),
            died: keys::attempt_died(job, run, index, &nonce),
        };
        site.put_json(&attempt.begun, &Beginning { worker: this_worker(), started_at: now() }).await?;
        Ok(Begun::Attempt(attempt))
    }

    /// It has ended in order (done, or handed back to another worker) and does not count.
    pub async fn take_back(self, site: &Site) -> Result<(), SiteError> {
        Ok(site.store.delete(&self.begun, None).await?)
    }

    /// It has cost a lane.
    pub async fn died(self, site: &Site, reason: &str) -> Result<(), SiteError> {
        let death = Death { worker: this_worker(), died_at: now(), reason: reason.to_owned() };
        site.put_json(&self.died, &death).await?;
        // Between the two both are there: they have one name, and are counted once.
        Ok(site.store.delete(&self.begun, None).await?)
    }
}

/// Attempts so far, those at work now included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally {
    attempts: usize,
    deaths: usize,
}

impl Tally {
    /// Counts by the names of the objects: `<nonce>.begun`, `<nonce>.died`.
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut deadly = BTreeMap::new();
        for name in names {
            let Some((nonce, end)) = name.rsplit_once('.') else { continue };
            match end {
                "begun" => drop(deadly.entry(nonce).or_insert(false)),
                "died" => drop(deadly.insert(nonce, true)),
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
        format!("given up after {attempts} attempts, of which {deaths} took their lane with them{last}")
    }
}

/// What the lane said that died last.
async fn last_death(site: &Site, listed: &[Listed]) -> Result<Option<String>, SiteError> {
    let died = listed.iter().filter(|object| object.key.ends_with(".died"));
    let Some(last) = died.max_by_key(|object| (object.modified, &object.key)) else { return Ok(None) };
    Ok(site.read_json::<Death>(&last.key).await?.map(|death| death.reason))
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
    }

    #[test]
    fn the_reason_says_how_often_and_how_it_ended() {
        assert_eq!(
            Tally { attempts: 4, deaths: 3 }.reason(Some("killed by signal 11 (SIGSEGV)")),
            "given up after 4 attempts, of which 3 took their lane with them; the last time: killed by signal 11 (SIGSEGV)"
        );
        let reason = Tally { attempts: 10, deaths: 0 }.reason(None);
        assert_eq!(reason, "given up after 10 attempts, of which 0 took their lane with them");
    }

    #[tokio::test]
    async fn a_chunk_is_given_up_after_three_deaths() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let job: JobId = "a-job".parse().unwrap();
        let begin = async |index| Attempt::begin(&site, &job, 1, index).await.unwrap();
        let attempt = async |index| match begin(index).await {
            Begun::Attempt(attempt) => attempt,
            Begun::Poison { reason } => panic!("{reason}"),
        };
        let count = async |index| site.store.list(&keys::attempts(&job, 1, index)).await.unwrap().len();

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
        for _ in 0..ATTEMPTS_MAX {
            drop(attempt(8).await);
        }
        assert_eq!(count(8).await, ATTEMPTS_MAX);
        assert!(matches!(begin(8).await, Begun::Poison { reason } if reason.contains("10 attempts")));
        assert!(matches!(begin(9).await, Begun::Attempt(_)));
    }

    #[test]
    fn nonces_are_distinct() {
        let nonces: HashSet<String> = (0..1000).map(|_| nonce()).collect();
        assert_eq!(nonces.len(), 1000);
    }
}
