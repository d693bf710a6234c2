//! A store or broker that is away comes back: what failed for that reason is done again, in place, until patience is over.
//!
//! Only [`Kind::Retry`] is tried again. Whoever calls must have something that can be done twice.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::error::{Classify, Kind};

/// The longest first wait.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer, so that what is back is found soon.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A trouble that goes on is told of this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Does `op` until it succeeds, fails for another reason than [`Kind::Retry`], or `patience` is over since the call; then
/// the last failure is returned. `doing` and `what`, a verb and its object, are for the log: put, results/….
pub async fn retry<T, E, F>(
    patience: Duration,
    doing: &str,
    what: impl Display,
    mut op: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Classify + Display,
    F: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut backoff = Backoff::new(patience);
    loop {
        let error = match op().await {
            Ok(value) => {
                if backoff.failures > 0 {
                    info!(doing, %what, failures = backoff.failures, after = ?started.elapsed(), "works again");
                }
                return Ok(value);
            }
            Err(error) if error.kind() != Kind::Retry => return Err(error),
            Err(error) => error,
        };
        let Some(Next { wait, tell }) = backoff.failed(started.elapsed(), random()) else {
            warn!(doing, %what, %error, failures = backoff.failures, after = ?started.elapsed(), "given up");
            return Err(error);
        };
        if tell {
            warn!(doing, %what, %error, failures = backoff.failures, "failed; trying again");
        }
        tokio::time::sleep(wait).await;
    }
}

/// How often something has failed, and what follows from that. Knows no clock, so that it can be tested.
struct Backoff {
    patience: Duration,
    failures: u32,
    /// When the trouble was told of last, since the start.
    told: Option<Duration>,
}

/// What follows from a failure.
#[derive(Debug, PartialEq)]
struct Next {
    /// Until the next try.
    wait: Duration,
    /// The failure is worth a line in the log.
    tell: bool,
}

impl Backoff {
    fn new(patience: Duration) -> Self {
        Self { patience, failures: 0, told: None }
    }

    /// The next step after a failure `elapsed` since the start; `None`: give up. `random` is in 0..1: full jitter, so that
    /// many who have lost the same store do not all come back at once.
    fn failed(&mut self, elapsed: Duration, random: f64) -> Option<Next> {
        let longest = FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT);
        self.failures += 1;
        let left = self.patience.checked_sub(elapsed).filter(|left| !left.is_zero())?;
        let tell = self.told.is_none_or(|told| elapsed >= told + TELL_EVERY);
        if tell {
            self.told = Some(elapsed);
        }
        // The last try comes at the end of patience and not before it.
        Some(Next { wait: longest.mul_f64(random).min(left), tell })
    }
}

/// Between 0 and 1.
fn random() -> f64 {
    // Every RandomState has other keys.
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::new(seconds(300));
        let waits: Vec<u128> = (0..10).map(|_| backoff.failed(Duration::ZERO, 1.0).unwrap().wait.as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        backoff.failures = u32::MAX - 1;
        assert_eq!(backoff.failed(Duration::ZERO, 0.25).unwrap().wait, Duration::from_millis(2_500), "jitter is full");
    }

    #[test]
    fn patience_ends() {
        let mut backoff = Backoff::new(seconds(30));
        backoff.failures = 20;
        let table = [(0, Some(10)), (21, Some(9)), (29, Some(1)), (30, None), (31, None)];
        for (elapsed, wait) in table {
            let next = backoff.failed(seconds(elapsed), 1.0);
            assert_eq!(next.map(|next| next.wait.as_secs()), wait, "after {elapsed} s");
        }
        assert_eq!(Backoff::new(Duration::ZERO).failed(Duration::ZERO, 0.5), None);
    }

    #[test]
    fn the_log_is_told_at_first_and_then_every_ten_seconds() {
        let mut backoff = Backoff::new(seconds(300));
        let told = [0, 1, 9, 10, 11, 19, 21, 30, 31].map(|at| backoff.failed(seconds(at), 0.5).unwrap().tell);
        assert_eq!(told, [true, false, false, true, false, false, true, false, true]);
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("{0:?}")]
    struct Failure(Kind);

    impl Classify for Failure {
        fn kind(&self) -> Kind {
            self.0
        }
    }

    /// Runs `retry` over these outcomes; returns what came out and how often was tried.
    async fn tried(patience: Duration, outcomes: &[Result<u32, Kind>]) -> (Result<u32, Failure>, usize) {
        let mut tries = 0;
        let outcome = retry(patience, "try", "it", || {
            tries += 1;
            let outcome = outcomes[(tries - 1).min(outcomes.len() - 1)];
            async move { outcome.map_err(Failure) }
        });
        let outcome = outcome.await;
        (outcome, tries)
    }

    #[tokio::test]
    async fn only_what_may_come_back_is_tried_again() {
        let patient = seconds(60);
        assert_eq!(tried(patient, &[Ok(1)]).await, (Ok(1), 1));
        assert_eq!(tried(patient, &[Err(Kind::Retry), Err(Kind::Retry), Ok(7)]).await, (Ok(7), 3));
        for kind in [Kind::Poison, Kind::Fatal] {
            assert_eq!(tried(patient, &[Err(Kind::Retry), Err(kind)]).await, (Err(Failure(kind)), 2));
        }
        assert_eq!(tried(Duration::ZERO, &[Err(Kind::Retry)]).await, (Err(Failure(Kind::Retry)), 1));
    }

    #[tokio::test]
    async fn the_last_failure_is_returned_when_patience_is_over() {
        let (outcome, tries) = tried(Duration::from_millis(20), &[Err(Kind::Retry)]).await;
        assert_eq!(outcome, Err(Failure(Kind::Retry)));
        assert!(tries >= 2, "{tries}");
    }
}
