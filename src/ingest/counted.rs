//! Looks into clips and photos, which happen in this process: counted as long as they last ([`crate::attempts`]), so that a file which takes
//! one ingest node after the other with it fails its job in the end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tracing::warn;

use crate::attempts::{Attempt, Begun, Room, Work};
use crate::contract::JobId;
use crate::error::Refusal;
use crate::site::{Site, SiteError};

use super::IngestError;

/// How long a node that ends tries to take back what it has begun: the store may be why it ends.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The looks that have begun here and not ended. Of one job there is one at most.
pub struct Counted {
    begun: Mutex<HashMap<JobId, (Attempt, OwnedSemaphorePermit)>>,
    room: Room,
}

impl Counted {
    /// For so many looks at once.
    pub fn new(places: usize) -> Self {
        Self { begun: Mutex::default(), room: Room::new(places) }
    }

    /// Counts one more look into what a job names, unless it is counted already. Waits while there is no room for it.
    ///
    /// # Errors
    /// Poison: there were enough.
    pub async fn begin(&self, site: &Site, job: &JobId, run: u32) -> Result<(), IngestError> {
        let is_counted = self.lock().contains_key(job);
        if is_counted {
            return Ok(());
        }
        let place = self.room.enter(site, job, run, Work::Look).await?;
        match Attempt::begin(site, job, run, Work::Look).await? {
            Begun::Attempt(attempt) => {
                self.lock().insert(job.clone(), (attempt, place));
                Ok(())
            }
            Begun::Poison { reason } => {
                let expected = "a target and photos that can be looked into without an end of the process";
                Err(Refusal::new("target", reason, expected).into())
            }
        }
    }

    /// It has ended in order, whatever it has found. Nothing if it has not begun, or had ended.
    pub async fn end(&self, site: &Site, job: &JobId) -> Result<(), SiteError> {
        let begun = self.lock().remove(job);
        match begun {
            Some((mut attempt, _place)) => attempt.take_back(site).await,
            None => Ok(()),
        }
    }

    /// It is why this process ends: it goes on being counted.
    pub fn leave(&self, job: &JobId) {
        self.lock().remove(job);
    }

    /// This node ends, and the others have nothing to do with it.
    pub async fn end_all(&self, site: &Site) {
        let begun = std::mem::take(&mut *self.lock());
        let take_back = async {
            for (job, (mut attempt, _place)) in begun {
                if let Err(error) = attempt.take_back(site).await {
                    warn!(%job, %error, "a look that was broken off goes on being counted");
                }
            }
        };
        if tokio::time::timeout(END_LIMIT, take_back).await.is_err() {
            warn!("looks that were broken off go on being counted: the store does not answer");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, (Attempt, OwnedSemaphorePermit)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::ATTEMPTS_MAX;
    use crate::contract::keys;
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    #[tokio::test]
    async fn only_what_did_not_end_in_order_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let (one, other): (JobId, JobId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let count = async |job: &JobId| site.store.list(&keys::attempts(job, 1, Work::Look)).await.unwrap().len();
        let counted = Counted::new(2);
        counted.begin(&site, &one, 1).await.unwrap();
        counted.begin(&site, &one, 1).await.unwrap();
        assert_eq!(count(&one).await, 1, "begun anew");
        counted.end(&site, &one).await.unwrap();
        assert_eq!(count(&one).await, 0);

        counted.begin(&site, &one, 1).await.unwrap();
        counted.begin(&site, &other, 1).await.unwrap();
        counted.end_all(&site).await;
        assert_eq!((count(&one).await, count(&other).await), (0, 0), "the node has ended");

        for _ in 0..ATTEMPTS_MAX {
            counted.begin(&site, &one, 1).await.unwrap();
            counted.leave(&one);
        }
        let Err(IngestError::Refused(refusal)) = counted.begin(&site, &one, 1).await else { panic!("one more look") };
        assert!(refusal.to_string().starts_with("target: given up after 10 attempts"), "{refusal}");
        counted.begin(&site, &other, 1).await.unwrap();
    }
}
