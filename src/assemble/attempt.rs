//! A join is counted in the store before it begins: FFmpeg's muxer and the parser of credentials work on a customer's file in the assembler's
//! own process, and what ends one assembler after the other must not do so for ever.

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::attempts::{Attempt, Begun, Room, Work};
use crate::contract::JobId;
use crate::site::{Site, SiteError};

use super::join::{JoinError, Joined};

/// An attempt that is taken back however it ends, unless this process ends with it.
struct Counted<'a> {
    site: &'a Site,
    attempt: Option<Attempt>,
    /// Where it is taken back if the join is broken off.
    tasks: &'a TaskTracker,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let (Some(mut attempt), Ok(runtime)) = (self.attempt.take(), Handle::try_current()) else { return };
        let site = self.site.clone();
        let take_back = async move {
            if let Err(error) = attempt.take_back(&site).await {
                warn!(%error, "a join that was broken off goes on counting as an attempt");
            }
        };
        self.tasks.spawn_on(take_back, &runtime);
    }
}

/// Does `join` when there is room for it, unless there were enough attempts that did not come to their end. One that is dropped is taken back
/// in `tasks`.
pub async fn counted(
    site: &Site,
    (job, run): (&JobId, u32),
    (room, tasks): (&Room, &TaskTracker),
    join: impl Future<Output = Result<Joined, JoinError>>,
) -> Result<Joined, JoinError> {
    let _place = room.enter(site, job, run, Work::Join).await?;
    let attempt = match Attempt::begin(site, job, run, Work::Join).await? {
        Begun::Attempt(attempt) => attempt,
        Begun::Poison { reason } => return Err(JoinError::GivenUp(reason)),
    };
    let mut counted = Counted { site, attempt: Some(attempt), tasks };
    let joined = join.await;
    if let Some(mut attempt) = counted.attempt.take() {
        match &joined {
            // A panic, with which this process ends.
            Err(JoinError::Site(error @ SiteError::Task(_))) => attempt.gave_out(site, &error.to_string()).await?,
            _ => attempt.take_back(site).await?,
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::ATTEMPTS_MAX;
    use crate::contract::keys;
    use crate::site::testing;
    use crate::store::{Limits, Locations, StoreConfig};

    fn breaks() {
        panic!("by the test");
    }

    #[tokio::test]
    async fn what_does_not_come_to_its_end_is_given_up_after_ten_times() {
        let folder = tempfile::tempdir().unwrap();
        let site = testing::site(folder.path(), Locations::new(Limits::default(), StoreConfig::default())).await;
        let (job, room): (JobId, _) = ("a-job".parse().unwrap(), Room::new(2));
        let count = async || site.store.list(&keys::attempts(&job, 1, Work::Join)).await.unwrap().len();

        for _ in 0..=ATTEMPTS_MAX {
            let tasks = TaskTracker::new();
            let ended = counted(&site, (&job, 1), (&room, &tasks), async { Err(JoinError::Ended) }).await;
            assert!(matches!(ended, Err(JoinError::Ended)), "{ended:?}");
            // It is dropped in the middle of its work.
            let (begun, has_begun) = tokio::sync::oneshot::channel();
            let hanging = async move {
                begun.send(()).unwrap();
                std::future::pending().await
            };
            tokio::select! {
                ended = counted(&site, (&job, 1), (&room, &tasks), hanging) => panic!("{ended:?}"),
                begun = has_begun => begun.unwrap(),
            }
            tasks.close();
            tasks.wait().await;
        }
        assert_eq!(count().await, 0, "what ended in order does not count");

        for times in 1..=ATTEMPTS_MAX {
            let tasks = TaskTracker::new();
            let panicked = tokio::task::spawn_blocking(breaks).await.unwrap_err();
            let broken = async { Err(JoinError::Site(panicked.into())) };
            counted(&site, (&job, 1), (&room, &tasks), broken).await.unwrap_err();
            assert_eq!(count().await, times);
        }
        let one_more = async { Err(JoinError::Ended) };
        let given_up = counted(&site, (&job, 1), (&room, &TaskTracker::new()), one_more).await.unwrap_err();
        assert!(matches!(&given_up, JoinError::GivenUp(reason) if reason.contains("10 attempts")), "{given_up}");
    }
}
