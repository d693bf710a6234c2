//! A process that stood still for longer than its session (SIGSTOP, a paused machine) owns nothing any more, and does not
//! know it yet when it goes on.
//!
//! So every lease looks at the clock: from the first instruction after the pause it counts as lost.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A moment as two clocks tell it. The steady clock stands still while the machine is suspended; the clock on the wall
/// does not, but can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Since the program first asked.
    steady: Duration,
    /// Since 1970.
    wall: Duration,
}

impl Moment {
    pub fn now() -> Self {
        static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
        let steady = FIRST.elapsed();
        Self { steady, wall: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default() }
    }

    /// Whether more than `limit` lies between `self` and `now` on either clock. A clock that is put forward looks like a
    /// pause: that costs one rebalance.
    fn is_past(self, now: Self, limit: Duration) -> bool {
        now.steady.saturating_sub(self.steady) > limit || now.wall.saturating_sub(self.wall) > limit
    }
}

/// When the poll thread was last seen, in milliseconds of both clocks.
#[derive(Debug)]
pub(super) struct Pulse {
    steady: AtomicU64,
    wall: AtomicU64,
    limit: Duration,
    /// The beat, by the clock on the wall, after which somebody found us late. From then on all do until the next one: what was dropped as
    /// lost must be, though a clock that was put forward is put back before the poll thread looks at it.
    found_late: AtomicU64,
}

impl Pulse {
    /// `limit`: the session time-out.
    pub fn new(limit: Duration) -> Self {
        let [steady, wall, found_late] = [0, 0, u64::MAX].map(AtomicU64::new);
        let pulse = Self { steady, wall, limit, found_late };
        pulse.beat(Moment::now());
        pulse
    }

    /// The poll thread was here at `moment`, at which it was not late or has ended the leases since. (A pause between the
    /// look at the clock and this is found the next time.)
    pub fn beat(&self, moment: Moment) {
        self.steady.store(moment.steady.as_millis() as u64, Ordering::Release);
        self.wall.store(moment.wall.as_millis() as u64, Ordering::Release);
    }

    /// At `moment` the last beat is longer ago than a session lasts, or was found to be before.
    pub fn is_late_at(&self, moment: Moment) -> bool {
        // In this order, the other way round than they are stored: so none is of an earlier beat than `wall`.
        let (wall, steady) = (self.wall.load(Ordering::Acquire), self.steady.load(Ordering::Acquire));
        let last = Moment { steady: Duration::from_millis(steady), wall: Duration::from_millis(wall) };
        let is_late = self.found_late.load(Ordering::Acquire) == wall || last.is_past(moment, self.limit);
        if is_late {
            self.found_late.store(wall, Ordering::Release);
        }
        is_late
    }

    pub fn is_late(&self) -> bool {
        self.is_late_at(Moment::now())
    }

    /// As after a pause longer than the session.
    #[cfg(test)]
    pub fn stand_still(&self) {
        let before = self.wall.load(Ordering::Acquire) - self.limit.as_millis() as u64 - 1;
        self.wall.store(before, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_clock_tells_a_pause() {
        let at = |steady, wall| Moment { steady: Duration::from_secs(steady), wall: Duration::from_secs(wall) };
        let table = [
            ("a moment later", at(10, 1000), at(11, 1001), false),
            ("just the session", at(10, 1000), at(55, 1045), false),
            ("stopped by a signal", at(10, 1000), at(56, 1046), true),
            ("machine suspended", at(10, 1000), at(10, 1046), true),
            ("clock put back", at(10, 1000), at(11, 0), false),
            ("clock put back during a pause", at(10, 1000), at(56, 0), true),
        ];
        for (name, last, now, expected) in table {
            assert_eq!(last.is_past(now, Duration::from_secs(45)), expected, "{name}");
        }
    }

    #[test]
    fn it_is_late_until_the_next_beat() {
        let pulse = Pulse::new(Duration::from_secs(45));
        assert!(!pulse.is_late());
        pulse.stand_still();
        assert!(pulse.is_late());
        pulse.beat(Moment::now());
        assert!(!pulse.is_late());
    }

    #[test]
    fn what_one_has_found_late_is_late_for_all_until_the_next_beat() {
        let pulse = Pulse::new(Duration::from_secs(45));
        let now = Moment::now();
        let put_forward = Moment { wall: now.wall + Duration::from_secs(3600), ..now };
        assert!(!pulse.is_late_at(now));
        assert!(pulse.is_late_at(put_forward));
        assert!(pulse.is_late_at(now), "the clock has been put back");
        let next = Moment { steady: now.steady, wall: now.wall + Duration::from_millis(10) };
        pulse.beat(next);
        assert!(!pulse.is_late_at(next));
    }
}
