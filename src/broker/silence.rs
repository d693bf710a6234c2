//! Partitions from which nothing comes although something is there.
//!
//! librdkafka (2.12) can lose an order to begin with a partition, or to go on with it: orders that its own thread and ours give at the
//! same moment may overtake each other, and then the earlier one is dropped (its issue 5591). After some errors of the group's
//! coordinator it never begins at all. Either way it gives no sign. So the broker is asked whether there is something to come.
//!
//! Pure bookkeeping, no I/O: how long each partition has been wanted without a record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a partition is wanted without a record before the broker is asked; and how long what it says may take to come.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// It doubles with each cure that did not help, up to this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);
/// Time beyond this between two looks was a pause of this process, in which nothing could come.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// How long partitions have been silent.
#[derive(Debug, Default)]
pub(super) struct Silences {
    partitions: BTreeMap<i32, Silence>,
    looked: Option<Instant>,
}

#[derive(Debug, Default)]
struct Silence {
    /// How long it has been wanted since a record came, or it was last spoken of.
    wanted: Duration,
    /// The end of its log, if the broker had records to come when it was asked.
    expected: Option<i64>,
    /// Cures since a record came.
    cures: u32,
}

impl Silence {
    fn patience(&self) -> Duration {
        PATIENCE.saturating_mul(1 << self.cures.min(16)).min(LONGEST_PATIENCE)
    }
}

impl Silences {
    /// Since the last look records of these partitions have been welcome.
    pub fn look(&mut self, now: Instant, wanted: &[i32]) {
        let since = self.looked.replace(now).map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        for partition in wanted {
            self.partitions.entry(*partition).or_default().wanted += since.min(LONGEST_LOOK);
        }
    }

    /// A record has come.
    pub fn heard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// The partition is ours from now on.
    pub fn assigned(&mut self, partition: i32) {
        self.note(partition, None);
    }

    /// A partition that has been silent for too long, and up to where the broker had records for it when it was last asked.
    pub fn suspect(&self) -> Option<(i32, Option<i64>)> {
        let suspect = self.partitions.iter().find(|(_, silence)| silence.wanted >= silence.patience());
        suspect.map(|(partition, silence)| (*partition, silence.expected))
    }

    /// The broker has records up to `expected` for a partition, or none.
    pub fn note(&mut self, partition: i32, expected: Option<i64>) {
        let silence = self.partitions.entry(partition).or_default();
        (silence.wanted, silence.expected) = (Duration::ZERO, expected);
    }

    /// The broker does not answer: it is asked later, whatever the partition.
    pub fn postpone(&mut self) {
        self.partitions.values_mut().for_each(|silence| silence.wanted = Duration::ZERO);
    }

    /// Something was done about a silent partition.
    pub fn cured(&mut self, partition: i32) {
        self.note(partition, None);
        self.partitions.entry(partition).or_default().cures += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks often enough at partitions 0 and 1, for so many times [`PATIENCE`].
    fn pass(silences: &mut Silences, now: &mut Instant, times: f64) {
        let end = *now + PATIENCE.mul_f64(times);
        while *now < end {
            *now += LONGEST_LOOK / 10;
            silences.look(*now, &[0, 1]);
        }
    }

    #[test]
    fn who_is_silent_is_asked_about_and_who_speaks_is_not() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        pass(&mut silences, &mut now, 0.9);
        assert_eq!(silences.suspect(), None);
        silences.heard(0);
        pass(&mut silences, &mut now, 0.3);
        assert_eq!(silences.suspect(), Some((1, None)));
        silences.note(1, Some(7));
        assert_eq!(silences.suspect(), None, "it has its time to come");
        silences.heard(0);
        pass(&mut silences, &mut now, 1.1);
        silences.heard(0);
        assert_eq!(silences.suspect(), Some((1, Some(7))));
        silences.postpone();
        assert_eq!(silences.suspect(), None);
        pass(&mut silences, &mut now, 1.1);
        silences.heard(0);
        assert_eq!(silences.suspect(), Some((1, Some(7))));
        silences.assigned(1);
        pass(&mut silences, &mut now, 0.5);
        assert_eq!(silences.suspect(), None);
    }

    #[test]
    fn neither_pauses_nor_times_when_nothing_is_wanted_count() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        silences.look(now, &[0]);
        for _ in 0..3 {
            now += PATIENCE * 100;
            silences.look(now, &[]);
        }
        assert_eq!(silences.suspect(), None);
        now += LONGEST_LOOK / 2;
        silences.look(now, &[0]);
        now += PATIENCE * 100;
        silences.look(now, &[0]);
        assert!(silences.partitions[&0].wanted <= LONGEST_LOOK * 2);
    }

    #[test]
    fn cures_that_do_not_help_are_tried_less_and_less_often() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        for cures in 0..3 {
            silences.heard(1);
            pass(&mut silences, &mut now, f64::from(1 << cures) - 0.3);
            silences.heard(1);
            assert_eq!(silences.suspect(), None, "after {cures}");
            pass(&mut silences, &mut now, 0.4);
            assert_eq!(silences.suspect().map(|(partition, _)| partition), Some(0), "after {cures}");
            silences.cured(0);
        }
        (0..40).for_each(|_| silences.cured(0));
        assert_eq!(silences.partitions[&0].patience(), LONGEST_PATIENCE);
        silences.heard(0);
        silences.look(now, &[0]);
        assert_eq!(silences.partitions[&0].patience(), PATIENCE);
    }
}
