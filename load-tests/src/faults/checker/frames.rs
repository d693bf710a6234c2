//! F: what an output shows beside what its source shows.

use crate::faults::clip::{Reading, UNREADABLE};

/// Findings told of one kind: the first says where to look.
const TOLD: usize = 3;

/// How times of a container can be off that are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far, µs.
    pub tolerance: i64,
    /// It has no times before zero: all are later by as much as the first packet of sound begins before that.
    pub begins_at_zero: bool,
}

impl Clock {
    /// Exactly those of the source.
    pub const EXACT: Self = Self { tolerance: 0, begins_at_zero: false };
    /// Milliseconds from zero on.
    pub const MATROSKA: Self = Self { tolerance: 1000, begins_at_zero: true };
}

/// Everything in which `output` differs from `source`.
pub fn compare(source: &Reading, output: &Reading, clock: Clock) -> Vec<String> {
    let shift = match source.audio.first() {
        Some(first) if clock.begins_at_zero && first.time < 0 => {
            // It need not do so.
            if output.audio.first().is_some_and(|first| first.time < 0) { 0 } else { -first.time }
        }
        _ => 0,
    };
    let differ = |wanted: i64, shown: i64| (wanted + shift - shown).abs() > clock.tolerance;
    let mut found = Vec::new();
    if source.frames.len() != output.frames.len() {
        found.push(format!("{} frames, expected {}", output.frames.len(), source.frames.len()));
    }
    let pairs = source.frames.iter().zip(&output.frames).enumerate().filter(|(_, (wanted, shown))| wanted != shown);
    for (place, (wanted, shown)) in pairs.take(TOLD) {
        let shown = if *shown == UNREADABLE { "an unreadable frame".to_owned() } else { format!("frame {shown}") };
        found.push(format!("in place {place} is {shown}, expected frame {wanted}"));
    }
    if source.times.len() != output.times.len() {
        found.push(format!("{} times, expected {}", output.times.len(), source.times.len()));
    }
    let pairs =
        source.times.iter().zip(&output.times).enumerate().filter(|(_, (wanted, shown))| differ(**wanted, **shown));
    for (place, (wanted, shown)) in pairs.take(TOLD) {
        found.push(format!("frame {place} is shown at {shown} µs, expected {wanted} µs"));
    }
    let first = source
        .audio
        .iter()
        .zip(&output.audio)
        .position(|(wanted, heard)| wanted.digest != heard.digest || differ(wanted.time, heard.time));
    if first.is_some() || source.audio.len() != output.audio.len() {
        let (heard, wanted) = (output.audio.len(), source.audio.len());
        found.push(format!("sound differs: {heard} packets, expected {wanted}, first difference at {first:?}"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::clip::AudioPacket;

    fn source() -> Reading {
        let audio = (0..3).map(|number| AudioPacket { time: number * 23_000, digest: number.to_string() });
        Reading { frames: (0..6).collect(), times: (0..6).map(|n| n * 40_000).collect(), audio: audio.collect() }
    }

    fn finds(change: impl FnOnce(&mut Reading), expected: &str) {
        let mut output = source();
        change(&mut output);
        let found = compare(&source(), &output, Clock::EXACT).join("\n");
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }

    #[test]
    fn the_same_is_the_same() {
        assert!(compare(&source(), &source(), Clock::EXACT).is_empty());
        let mut rounded = source();
        rounded.times[5] += 500;
        rounded.audio[1].time -= 500;
        assert!(compare(&source(), &rounded, Clock::MATROSKA).is_empty());
        assert_eq!(compare(&source(), &rounded, Clock::EXACT).len(), 2);
    }

    #[test]
    fn a_clock_that_begins_at_zero() {
        let (mut early, mut shifted) = (source(), source());
        early.audio.iter_mut().for_each(|packet| packet.time -= 23_000);
        shifted.times.iter_mut().for_each(|time| *time += 23_000);
        assert!(compare(&early, &shifted, Clock::MATROSKA).is_empty());
        assert!(compare(&early, &early, Clock::MATROSKA).is_empty());
        assert_eq!(compare(&early, &source(), Clock::MATROSKA).len(), 3, "only the sound is later");
    }

    #[test]
    fn a_missing_frame() {
        let change = |output: &mut Reading| {
            output.frames.remove(2);
            output.times.remove(2);
        };
        finds(change, "5 frames, expected 6");
    }

    #[test]
    fn swapped_frames() {
        finds(|output| output.frames.swap(2, 3), "in place 2 is frame 3, expected frame 2");
    }

    #[test]
    fn a_doubled_frame() {
        finds(|output| output.frames[4] = 3, "in place 4 is frame 3, expected frame 4");
        finds(|output| output.frames.insert(4, 3), "7 frames, expected 6");
    }

    #[test]
    fn a_spoilt_frame() {
        finds(|output| output.frames[0] = UNREADABLE, "in place 0 is an unreadable frame");
    }

    #[test]
    fn a_wrong_time() {
        finds(|output| output.times[5] += 1, "frame 5 is shown at 200001 µs, expected 200000 µs");
    }

    #[test]
    fn other_sound() {
        finds(|output| output.audio[1].digest.clear(), "first difference at Some(1)");
        finds(|output| drop(output.audio.pop()), "2 packets, expected 3");
    }
}
