//! One job at a time. Another record of a job that is in work here does not wait in its slot: the first one's offset is committed only
//! after its work, so nothing is lost when the second is finished at once. Unless the first one's partition has been taken away and come
//! back meanwhile: then the second may be the very record that it was, and nothing else holds the offset back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::contract::JobId;

type InWork = Arc<Mutex<HashMap<JobId, Arc<Work>>>>;

/// A job in work.
pub struct Work {
    /// The record by which it is done is still ours.
    is_ours: Box<dyn Fn() -> bool + Send + Sync>,
    again: Notify,
    /// Its chunks are being published.
    is_publishing: AtomicBool,
    /// The run that is in work; 0 while that is not known.
    run: AtomicU32,
}

impl Work {
    /// Whether its record's offset waits for it.
    pub fn is_ours(&self) -> bool {
        (self.is_ours)()
    }

    /// Asks whoever publishes it to begin anew. Who is still planning goes on: everything is looked for and published after that, and one
    /// whose clip takes longer to fetch than it takes others to ask would never end.
    pub fn ask_again(&self) {
        if self.is_publishing.load(Ordering::Acquire) {
            self.again.notify_one();
        }
    }

    /// The run that is in work; 0 while that is not known.
    pub fn run(&self) -> u32 {
        self.run.load(Ordering::Acquire)
    }
}

/// The jobs in work.
#[derive(Default)]
pub struct Turns(InWork);

/// Whose turn it is.
pub enum Turn {
    /// The caller's.
    Ours(Held),
    /// Somebody else's, who can be told to begin anew.
    Taken(Arc<Work>),
}

/// A turn; it ends with this value.
pub struct Held {
    turns: InWork,
    job: JobId,
    work: Arc<Work>,
}

fn lock(turns: &InWork) -> MutexGuard<'_, HashMap<JobId, Arc<Work>>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// Takes the job's turn, if it is free, for a record that is ours as long as `is_ours`.
    pub fn take(&self, job: &JobId, is_ours: impl Fn() -> bool + Send + Sync + 'static) -> Turn {
        let mut turns = lock(&self.0);
        if let Some(taken) = turns.get(job) {
            return Turn::Taken(taken.clone());
        }
        let (again, is_publishing, run) = (Notify::new(), AtomicBool::new(false), AtomicU32::new(0));
        let work = Arc::new(Work { is_ours: Box::new(is_ours), again, is_publishing, run });
        turns.insert(job.clone(), work.clone());
        Turn::Ours(Held { turns: self.0.clone(), job: job.clone(), work })
    }
}

impl Held {
    /// Waits until somebody asks to begin anew. Cancel-safe: who asked while nobody waited is heard.
    pub async fn asked_again(&self) {
        self.work.again.notified().await;
    }

    /// Says which run is in work, and that it is being planned.
    pub fn plans(&self, run: u32) {
        self.work.run.store(run, Ordering::Release);
        self.work.is_publishing.store(false, Ordering::Release);
    }

    /// Says that its chunks are being published.
    pub fn publishes(&self) {
        self.work.is_publishing.store(true, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.turns).remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_second_of_a_job_does_not_wait_and_can_be_heard() {
        let turns = Turns::default();
        let (one, other): (JobId, JobId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let lease = Arc::new(AtomicBool::new(true));
        let is_ours = {
            let lease = lease.clone();
            move || lease.load(Ordering::Relaxed)
        };
        let Turn::Ours(held) = turns.take(&one, is_ours) else { panic!("the first has the turn") };
        assert!(matches!(turns.take(&other, || true), Turn::Ours(_)));
        let Turn::Taken(work) = turns.take(&one, || true) else { panic!("the turn is taken") };
        assert!(work.is_ours());
        lease.store(false, Ordering::Relaxed);
        assert!(!work.is_ours(), "the first one's, whoever asks");
        held.plans(3);
        assert_eq!(work.run(), 3);
        work.ask_again();
        held.publishes();
        assert!(held.asked_again().now_or_never().is_none(), "it was still being planned");
        work.ask_again();
        held.asked_again().await;
        held.plans(3);
        work.ask_again();
        assert!(held.asked_again().now_or_never().is_none(), "it is planned again");
        drop(held);
        assert!(matches!(turns.take(&one, || true), Turn::Ours(_)));
    }
}
