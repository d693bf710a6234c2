//! Runs that end while their chunks are in work: called off, failed for another chunk, or finished by somebody else.
//!
//! Topic `status` tells, so a cancellation reaches a lane in the middle of a chunk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::broker::{News, Reader, StartAt};
use crate::contract::{JobId, Status, topics};
use crate::site::{Site, SiteError};

type RunName = (JobId, u32);

/// Chunks in work by run, and what tells them that it has ended.
#[derive(Default)]
struct InWork(Mutex<HashMap<RunName, (CancellationToken, usize)>>);

impl InWork {
    fn lock(&self) -> MutexGuard<'_, HashMap<RunName, (CancellationToken, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows topic `status` for the runs whose chunks are in work here.
pub struct Endings {
    in_work: Arc<InWork>,
    follower: JoinHandle<()>,
    /// Cancelled when the topic can no longer be followed.
    lost: CancellationToken,
}

/// A chunk's run, as long as the chunk is in work.
pub struct Watched {
    in_work: Arc<InWork>,
    run: RunName,
    ended: CancellationToken,
}

impl Endings {
    /// Starts following.
    pub async fn follow(site: &Site) -> Result<Self, SiteError> {
        let mut news = Reader::<Status>::start(&site.broker, topics::STATUS, StartAt::End).await?;
        let in_work = Arc::new(InWork::default());
        let told = in_work.clone();
        let lost = CancellationToken::new();
        let ended = lost.clone().drop_guard();
        let follower = tokio::spawn(async move {
            let _ended = ended;
            while let Some(next) = news.next().await {
                let status = match next {
                    Ok(News::Record(delivery)) => delivery.record,
                    Ok(News::CaughtUp) => continue,
                    Err(error) => return warn!(%error, "status can no longer be followed"),
                };
                let Some(status) = status.ok().filter(|status| status.state.is_final()) else { continue };
                if let Some((ended, _)) = told.lock().get(&(status.job, status.run)) {
                    ended.cancel();
                }
            }
        });
        Ok(Self { in_work, follower, lost })
    }

    /// Begins to watch a run. Ask for its manifest after this: an ending before it is not told again.
    pub fn watch(&self, job: &JobId, run: u32) -> Watched {
        let run = (job.clone(), run);
        let ended = {
            let mut in_work = self.in_work.lock();
            let (ended, chunks) = in_work.entry(run.clone()).or_default();
            *chunks += 1;
            ended.clone()
        };
        Watched { in_work: self.in_work.clone(), run, ended }
    }

    /// Waits until the topic can no longer be followed. Cancel-safe.
    pub async fn lost(&self) -> SiteError {
        self.lost.cancelled().await;
        SiteError::Work("topic status can no longer be followed".to_owned())
    }
}

impl Drop for Endings {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Watched {
    /// Cancelled when the run has ended.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut in_work = self.in_work.lock();
        if let Some((_, chunks)) = in_work.get_mut(&self.run) {
            *chunks -= 1;
            if *chunks == 0 {
                in_work.remove(&self.run);
            }
        }
    }
}
