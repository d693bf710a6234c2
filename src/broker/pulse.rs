//! A process that stood still for longer than its session (SIGSTOP, a paused machine) owns nothing any more, and does not
//! know it yet when it goes on.
//!
//! So every lease looks at the clock: from the first instruction after the pause it counts as lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A moment as two clocks tell it. The steady clock stands still while the machine is suspended; the clock on the wall
/// does not, but can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    steady: Duration,
    wall: Duration,
}

impl Moment {
    /// Whether more than `limit` lies between `self` and `now` on either clock. A clock that is put forward looks like a
    /// pause: that costs one rebalance.
    fn is_past(self, now: Self, limit: Duration) -> bool {
        now.steady.saturating_sub(self.steady) > limit || now.wall.saturating_sub(self.wall) > limit
    }
}

/// When the poll thread was last seen.
#[derive(Debug)]
pub(super) struct Pulse {
    born: Instant,
    /// Milliseconds since `born`.
    steady: AtomicU64,
    /// Milliseconds since 1970.
    wall: AtomicU64,
    limit: Duration,
}

impl Pulse {
    /// `limit`: the session time-out.
    pub fn new(limit: Duration) -> Self {
        let pulse = Self { born: Instant::now(), steady: AtomicU64::new(0), wall: AtomicU64::new(0), limit };
        pulse.beat();
        pulse
    }

    /// The poll thread is here. Whoever beats after a pause must have ended the leases first.
    pub fn beat(&self) {
        let Moment { steady, wall } = self.now();
        self.steady.store(steady.as_millis() as u64, Ordering::Release);
        self.wall.store(wall.as_millis() as u64, Ordering::Release);
    }

    /// The last beat is longer ago than a session lasts.
    pub fn is_late(&self) -> bool {
        let millis = |clock: &AtomicU64| Duration::from_millis(clock.load(Ordering::Acquire));
        let last = Moment { steady: millis(&self.steady), wall: millis(&self.wall) };
        last.is_past(self.now(), self.limit)
    }

    fn now(&self) -> Moment {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { steady: self.born.elapsed(), wall }
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
        pulse.beat();
        assert!(!pulse.is_late());
    }
}
