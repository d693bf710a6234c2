//! What has ended a process may end the next one too, and whatever is at work beside it then would be counted with it, ten times in the end.
//! So it is done alone.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::contract::JobId;
use crate::site::{Site, SiteError};

use super::{Tally, Work};

/// Attempts that have not come to their end, from which on a piece of work is done alone.
const ALONE_FROM: usize = 3;

/// Room for work in this process.
#[derive(Clone, Debug)]
pub struct Room {
    places: Arc<Semaphore>,
    all: u32,
}

impl Room {
    /// For so many pieces of work at once, at least one.
    pub fn new(places: usize) -> Self {
        let all = u32::try_from(places.max(1)).unwrap_or(u32::MAX);
        Self { places: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// A place for one more attempt, or all of them. In turn: who waits for all is not passed by others. Cancel-safe.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn enter(
        &self,
        site: &Site,
        job: &JobId,
        run: u32,
        work: Work,
    ) -> Result<OwnedSemaphorePermit, SiteError> {
        let (_, tally) = Tally::read(site, job, run, work).await?;
        let wanted = if tally.attempts >= ALONE_FROM { self.all } else { 1 };
        let places = self.places.clone().acquire_many_owned(wanted).await;
        places.map_err(|error| SiteError::Work(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::{Attempt, Begun};
    use super::*;
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    #[tokio::test]
    async fn what_has_ended_processes_is_done_alone_and_others_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let (good, bad): (JobId, JobId) = ("good".parse().unwrap(), "bad".parse().unwrap());
        let room = Room::new(2);
        let enter = async |job: &JobId| room.enter(&site, job, 1, Work::Look).await.unwrap();
        for _ in 0..ALONE_FROM {
            drop((enter(&good).await, enter(&bad).await));
            let begun = Attempt::begin(&site, &bad, 1, Work::Look).await.unwrap();
            assert!(matches!(begun, Begun::Attempt(_)));
        }
        let beside = enter(&good).await;
        let mut alone = Box::pin(enter(&bad));
        // Far enough to wait for its places: the store is a folder, and answers on another thread.
        while room.places.available_permits() > 0 {
            assert!((&mut alone).now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        let mut after = Box::pin(enter(&good));
        drop(beside);
        let alone = alone.await;
        assert_eq!(room.places.available_permits(), 0);
        assert!((&mut after).now_or_never().is_none());
        drop(alone);
        drop(after.await);
    }
}
