//! Runs that end while their chunks are in work: called off, failed for another chunk, or finished by somebody else.
//!
//! Topic `status` tells, so a cancellation reaches a lane in the middle of a chunk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::contract::JobId;
use crate::site::{Following, Site, SiteError};

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
    news: Following,
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
        let in_work = Arc::new(InWork::default());
        let told = in_work.clone();
        let news = site.follow_status(move |status| {
            if !status.state.is_final() {
                return;
            }
            if let Some((ended, _)) = told.lock().get(&(status.job, status.run)) {
                ended.cancel();
            }
        });
        Ok(Self { in_work, news: news.await? })
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
        self.news.lost().await
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
