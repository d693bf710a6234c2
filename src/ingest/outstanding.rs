//! How many chunks of a job are published and not yet settled: ingest stays a bounded number ahead of the workers.

use std::collections::HashMap;

use tokio::sync::watch;

use crate::contract::JobId;
use crate::site::{Following, Site, SiteError};

/// What is known of a job in work.
#[derive(Clone, Copy, Default)]
struct Progress {
    run: u32,
    settled: u32,
    ended: bool,
}

/// Whether the next chunk may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Publish it.
    Go,
    /// The run has ended; no further chunk is wanted.
    Ended,
}

/// Follows topic `status` for the jobs that are being published here.
pub struct Outstanding {
    limit: u32,
    jobs: watch::Sender<HashMap<JobId, Progress>>,
    news: Following,
}

impl Outstanding {
    /// Starts following.
    pub async fn follow(site: &Site, limit: u32) -> Result<Self, SiteError> {
        let (jobs, _) = watch::channel(HashMap::<JobId, Progress>::new());
        let told = jobs.clone();
        let news = site.follow_status(move |status| {
            told.send_if_modified(|jobs| {
                let Some(progress) = jobs.get_mut(&status.job).filter(|job| job.run == status.run) else {
                    return false;
                };
                let settled = status.totals.chunks_done + status.totals.chunks_reused;
                progress.settled = progress.settled.max(settled);
                progress.ended |= status.state.is_final();
                true
            });
        });
        Ok(Self { limit, jobs, news: news.await? })
    }

    /// Waits until the run of a job that was begun has ended; for ever if it is not known to. Cancel-safe.
    pub async fn ended(&self, job: &JobId) {
        let mut jobs = self.jobs.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        let _ = jobs.wait_for(|jobs| jobs.get(job).is_some_and(|progress| progress.ended)).await;
    }

    /// Begins to count for a run.
    pub fn begin(&self, job: &JobId, run: u32) {
        self.jobs.send_modify(|jobs| {
            jobs.insert(job.clone(), Progress { run, ..Progress::default() });
        });
    }

    /// Waits until fewer than the limit of `published` chunks are unsettled.
    ///
    /// # Errors
    /// Status can no longer be followed.
    pub async fn admit(&self, job: &JobId, published: u32) -> Result<Admission, SiteError> {
        let mut jobs = self.jobs.subscribe();
        let now = |jobs: &HashMap<JobId, Progress>| jobs.get(job).copied().unwrap_or_default();
        let free = |progress: Progress| progress.ended || published - progress.settled.min(published) < self.limit;
        // Cancel-safe: both only look.
        let progress = tokio::select! {
            error = self.news.lost() => return Err(error),
            // The sender lives in `self`, so the channel cannot close while this waits.
            jobs = jobs.wait_for(|jobs| free(now(jobs))) => jobs.map_or(Progress::default(), |jobs| now(&jobs)),
        };
        Ok(if progress.ended { Admission::Ended } else { Admission::Go })
    }

    /// Stops counting for a job.
    pub fn end(&self, job: &JobId) {
        self.jobs.send_modify(|jobs| {
            jobs.remove(job);
        });
    }
}
