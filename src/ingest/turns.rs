//! One job at a time: whoever publishes a job twice gets it taken in once, then found done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::contract::JobId;

/// The turns of the jobs in work.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<JobId, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits for the job's turn; it lasts as long as the value.
    pub async fn take(&self, job: &JobId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(job).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::default();
                    turns.insert(job.clone(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_job_waits_and_another_does_not() {
        let turns = Turns::default();
        let (one, other): (JobId, JobId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let first = turns.take(&one).await;
        let _other = turns.take(&other).await;
        let mut second = Box::pin(turns.take(&one));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        assert_eq!(turns.0.lock().unwrap().len(), 2, "forgotten at the next turn that is taken");
        let _third = turns.take(&other);
    }
}
