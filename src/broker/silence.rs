//! Partitions from which nothing comes although something is there.
//!
//! librdkafka (2.12) can lose an order to begin with a partition, or to go on with it: orders that its own thread and ours give at the
//! same moment, as in a rebalance, may overtake each other, and then the earlier one is dropped (its issue 5591). And it begins with no
//! partition of which it could not learn the committed offset, after errors that it does not try again. So the broker is asked whether
//! there is something to come.
//!
//! Pure bookkeeping, no I/O: how long each partition has been wanted without a record.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::assignment::Fetched;

/// How long a partition is wanted without a record before the broker is asked; and how long what it has may take to come.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// It doubles with each cure that did not help, up to this: a cure concerns all partitions of this member.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);
/// Time beyond this between two looks was a pause of this process, in which nothing could come.
const LONGEST_LOOK: Duration = Duration::from_millis(200);

/// How long partitions have been silent.
#[derive(Debug, Default)]
pub(super) struct Silences {
    partitions: BTreeMap<i32, Silence>,
    /// The last look: when, and whose records were welcome from then on.
    looked: Option<(Instant, Vec<i32>)>,
    /// Cures since one has helped.
    cures: u32,
    /// The partition for which the last one was.
    cured: Option<i32>,
}

#[derive(Debug, Default)]
struct Silence {
    /// How long it has been wanted since a record came, or the broker was asked.
    wanted: Duration,
    /// What there was to come when the broker was asked.
    expected: Option<Expected>,
}

/// Records that a partition has not given yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The end of the log.
    pub end: i64,
    /// What had been fetched at that time.
    pub fetched: Fetched,
}

impl Silences {
    /// From now on records of these partitions are welcome, until the next look.
    pub fn look(&mut self, now: Instant, wanted: Vec<i32>) {
        if let Some((last, partitions)) = self.looked.replace((now, wanted)) {
            let since = now.saturating_duration_since(last).min(LONGEST_LOOK);
            for partition in partitions {
                self.partitions.entry(partition).or_default().wanted += since;
            }
        }
    }

    /// A record has come.
    pub fn heard(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        if self.cured == Some(partition) {
            (self.cures, self.cured) = (0, None);
        }
    }

    /// The partition is ours from now on.
    pub fn assigned(&mut self, partition: i32) {
        self.note(partition, None);
    }

    /// Wanted partitions that have been silent for too long.
    pub fn suspects(&self) -> Vec<i32> {
        let patience = PATIENCE.saturating_mul(1 << self.cures.min(16)).min(LONGEST_PATIENCE);
        let is_suspect =
            |partition: &i32| self.partitions.get(partition).is_some_and(|silence| silence.wanted >= patience);
        let wanted = self.looked.iter().flat_map(|(_, wanted)| wanted);
        wanted.copied().filter(is_suspect).collect()
    }

    /// Whether nothing of what there was to come has, nor anything at all. (A partition that is often paused may be fetched again and
    /// again before one of its records gets through.)
    pub fn is_stuck(&self, partition: i32, fetched: Fetched) -> bool {
        let expected = self.partitions.get(&partition).and_then(|silence| silence.expected);
        expected.is_some_and(|expected| fetched.next < expected.end && fetched.records == expected.fetched.records)
    }

    /// What the broker has to come of a partition, now.
    pub fn note(&mut self, partition: i32, expected: Option<Expected>) {
        self.partitions.insert(partition, Silence { wanted: Duration::ZERO, expected });
    }

    /// The broker does not answer: it is asked later.
    pub fn postpone(&mut self) {
        self.partitions.values_mut().for_each(|silence| silence.wanted = Duration::ZERO);
    }

    /// Something was done about a stuck partition.
    pub fn cured(&mut self, partition: i32) {
        self.note(partition, None);
        self.cures += 1;
        self.cured = Some(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [i32; 0] = [];
    const NOTHING: Fetched = Fetched { next: -1, records: 0 };

    /// Looks often enough at partitions 0 and 1, for so many times [`PATIENCE`].
    fn pass(silences: &mut Silences, now: &mut Instant, times: f64) {
        let end = *now + PATIENCE.mul_f64(times);
        while *now < end {
            silences.look(*now, vec![0, 1]);
            *now += LONGEST_LOOK / 4;
        }
        silences.look(*now, vec![0, 1]);
    }

    #[test]
    fn who_is_silent_is_asked_about_and_who_speaks_is_not() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        pass(&mut silences, &mut now, 0.9);
        assert_eq!(silences.suspects(), NONE);
        silences.heard(0);
        pass(&mut silences, &mut now, 0.3);
        assert_eq!(silences.suspects(), [1]);
        assert!(!silences.is_stuck(1, NOTHING), "nobody has asked");
        silences.note(1, Some(Expected { end: 7, fetched: NOTHING }));
        assert_eq!(silences.suspects(), NONE, "it has its time to come");
        pass(&mut silences, &mut now, 1.1);
        assert_eq!(silences.suspects(), [0, 1]);
        silences.postpone();
        assert_eq!(silences.suspects(), NONE);
        pass(&mut silences, &mut now, 1.1);
        assert!(silences.is_stuck(1, NOTHING) && !silences.is_stuck(0, NOTHING));
        silences.assigned(1);
        assert!(silences.suspects() == [0] && !silences.is_stuck(1, NOTHING));
    }

    #[test]
    fn who_was_fetched_is_not_stuck_whatever_became_of_it() {
        let mut silences = Silences::default();
        let fetched = |next, records| Fetched { next, records };
        silences.note(0, Some(Expected { end: 7, fetched: fetched(5, 40) }));
        #[rustfmt::skip]
        let table = [
            ("as it was",                     fetched(5, 40), true),
            ("some came, and not all",        fetched(6, 41), false),
            ("all came",                      fetched(7, 42), false),
            ("marks of a transaction only",   fetched(7, 40), false),
            ("thrown away by a pause",        fetched(5, 44), false),
            ("not begun again",               fetched(-1, 40), true),
        ];
        for (name, now, expected) in table {
            assert_eq!(silences.is_stuck(0, now), expected, "{name}");
        }
    }

    #[test]
    fn neither_pauses_nor_times_when_nothing_is_wanted_count() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        let mut look = |silences: &mut Silences, after: Duration, wanted: &[i32]| {
            now += after;
            silences.look(now, wanted.to_vec());
        };
        for _ in 0..100 {
            look(&mut silences, LONGEST_LOOK, &[]);
        }
        look(&mut silences, LONGEST_LOOK, &[0]);
        assert!(silences.partitions.is_empty(), "not before it was wanted");
        look(&mut silences, PATIENCE * 100, &[0]);
        assert_eq!(
            (silences.suspects(), silences.partitions[&0].wanted),
            (vec![], LONGEST_LOOK),
            "stopped by a signal"
        );
        for _ in 0..100 {
            look(&mut silences, LONGEST_LOOK, &[0]);
        }
        assert_eq!(silences.suspects(), [0]);
        look(&mut silences, LONGEST_LOOK, &[]);
        assert_eq!(silences.suspects(), NONE, "it is not wanted now");
    }

    #[test]
    fn cures_that_do_not_help_are_tried_less_and_less_often_whatever_the_partition() {
        let (mut silences, mut now) = (Silences::default(), Instant::now());
        for (cures, cured) in [(0, 0), (1, 1), (2, 0)] {
            silences.heard(cured);
            silences.assigned(0);
            silences.assigned(1);
            pass(&mut silences, &mut now, f64::from(1 << cures) - 0.3);
            assert_eq!(silences.suspects(), NONE, "after {cures}");
            pass(&mut silences, &mut now, 0.4);
            assert_eq!(silences.suspects(), [0, 1], "after {cures}");
            silences.cured(cured);
        }
        silences.heard(1);
        assert_eq!((silences.cures, silences.cured), (3, Some(0)), "it was not for that one");
        silences.heard(0);
        assert_eq!((silences.cures, silences.cured), (0, None));
        (0..40).for_each(|_| silences.cured(0));
        pass(&mut silences, &mut now, LONGEST_PATIENCE.div_duration_f64(PATIENCE) + 1.0);
        assert_eq!(silences.suspects(), [0, 1]);
    }
}
