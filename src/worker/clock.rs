//! How long the stages of a lane are busy.

use std::time::{Duration, Instant};

use crate::contract::StageSeconds;
use crate::telemetry::Stage;

/// Busy time by stage.
#[derive(Debug, Default)]
pub struct Clock(Vec<(Stage, Duration)>);

impl Clock {
    /// Does `work`, and notes how long it takes.
    pub fn spend<T>(&mut self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.note(stage, started.elapsed());
        result
    }

    fn note(&mut self, stage: Stage, spent: Duration) {
        match self.0.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, sum)) => *sum += spent,
            None => self.0.push((stage, spent)),
        }
    }

    /// Adds what another clock has noted.
    pub fn add(&mut self, other: &Clock) {
        for (stage, spent) in &other.0 {
            self.note(*stage, *spent);
        }
    }

    /// What was noted, in seconds.
    pub fn seconds(&self) -> StageSeconds {
        self.0.iter().map(|(stage, spent)| (stage.as_str().to_owned(), spent.as_secs_f64())).collect()
    }
}
