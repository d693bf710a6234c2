//! One job at a time. Another record of a job that is in work here does not wait in its slot: the first one's offset, on the same
//! partition, is committed only after its work, so nothing is lost when the second is finished at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::contract::JobId;

type InWork = Arc<Mutex<HashMap<JobId, Arc<Work>>>>;

/// A job in work.
#[derive(Default)]
pub struct Work {
    again: Notify,
    /// The run that is in work; 0 while that is not known.
    run: AtomicU32,
}

impl Work {
    /// Asks whoever does it to begin anew.
    pub fn ask_again(&self) {
        self.again.notify_one();
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
    /// Takes the job's turn, if it is free.
    pub fn take(&self, job: &JobId) -> Turn {
        let mut turns = lock(&self.0);
        if let Some(taken) = turns.get(job) {
            return Turn::Taken(taken.clone());
        }
        let work = Arc::new(Work::default());
        turns.insert(job.clone(), work.clone());
        Turn::Ours(Held { turns: self.0.clone(), job: job.clone(), work })
    }
}

impl Held {
    /// Waits until somebody asks to begin anew. Cancel-safe: who asked while nobody waited is heard.
    pub async fn asked_again(&self) {
        self.work.again.notified().await;
    }

    /// Says which run is in work.
    pub fn works_on(&self, run: u32) {
        self.work.run.store(run, Ordering::Release);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        lock(&self.turns).remove(&self.job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_of_a_job_does_not_wait_and_can_be_heard() {
        let turns = Turns::default();
        let (one, other): (JobId, JobId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let Turn::Ours(held) = turns.take(&one) else { panic!("the first has the turn") };
        assert!(matches!(turns.take(&other), Turn::Ours(_)));
        let Turn::Taken(work) = turns.take(&one) else { panic!("the turn is taken") };
        work.ask_again();
        held.works_on(3);
        assert_eq!(work.run(), 3);
        held.asked_again().await;
        drop(held);
        assert!(matches!(turns.take(&one), Turn::Ours(_)));
    }
}
