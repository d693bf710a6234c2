//! F: what an output shows beside what its source shows.

use crate::faults::clip::{Reading, UNREADABLE};

/// Findings told of one kind: the first says where to look.
const TOLD: usize = 3;

/// Everything in which `output` differs from `source`; times may be off by `tolerance` µs.
pub fn compare(source: &Reading, output: &Reading, tolerance: i64) -> Vec<String> {
    let differ = |wanted: i64, shown: i64| (wanted - shown).abs() > tolerance;
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
        let found = compare(&source(), &output, 0).join("\n");
        assert!(found.contains(expected), "{found:?} lacks {expected:?}");
    }

    #[test]
    fn the_same_is_the_same() {
        assert!(compare(&source(), &source(), 0).is_empty());
        let mut rounded = source();
        rounded.times[5] += 500;
        rounded.audio[1].time -= 500;
        assert!(compare(&source(), &rounded, 1000).is_empty());
        assert_eq!(compare(&source(), &rounded, 100).len(), 2);
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
