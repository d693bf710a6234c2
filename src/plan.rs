//! Where a clip is cut: pure arithmetic over frame times and keyframes.
//!
//! Boundaries lie at keyframes where one comes within the bounds, since then a slice holds hardly a packet more than its own
//! frames; otherwise at the longest chunk.

use std::ops::Range;

use crate::contract::{Cut, PacketInfo};
use crate::frame::FrameIndex;

/// Why a clip cannot be planned.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No frame to show.
    #[error("the clip has no frame to show")]
    NoFrames,
    /// The stream does not begin with a keyframe that a frame needs.
    #[error("frame {frame} cannot be decoded: no keyframe comes before it")]
    NoKeyframe {
        /// The frame.
        frame: FrameIndex,
    },
}

/// The frames that the computation of a chunk looks at.
pub type Window<'a> = &'a dyn Fn(Range<FrameIndex>) -> Range<FrameIndex>;

/// Cuts the clip whose shown frames have times `pts` (increasing) and whose `packets` stand in decode order.
///
/// Each chunk has `chunk_frames[0]..=chunk_frames[1]` frames; only the last, or both of the last two, may be shorter.
pub fn cut(
    pts: &[i64],
    packets: &[PacketInfo],
    chunk_frames: [u64; 2],
    window: Window<'_>,
) -> Result<Vec<Cut>, PlanError> {
    if pts.is_empty() {
        return Err(PlanError::NoFrames);
    }
    let index = PacketIndex::new(pts, packets);
    let spans = spans(pts.len() as FrameIndex, &index.key_frames, chunk_frames);
    spans.into_iter().map(|span| index.cut(pts, packets, &span, window(span.clone()))).collect()
}

/// Groups of frames at which a clip's face is looked at to learn its usual look.
const LOOKS: usize = 20;
/// Frames that may be decoded for that, over all groups.
const LOOK_FRAMES: u64 = 160;

/// The frames from which a clip's usual look is learnt: short stretches behind keyframes, spread over the clip. They depend on the clip
/// alone and not on its chunks, and cost a bounded amount of decoding.
pub fn looks(pts: &[i64], packets: &[PacketInfo]) -> Result<Vec<Cut>, PlanError> {
    let index = PacketIndex::new(pts, packets);
    let keys = &index.key_frames;
    let groups = keys.len().min(LOOKS);
    let chosen: Vec<FrameIndex> = (0..groups).map(|group| keys[group * keys.len() / groups]).collect();
    let longest = (LOOK_FRAMES / groups.max(1) as u64).max(1);
    let ends = chosen.iter().skip(1).copied().chain([pts.len() as FrameIndex]);
    let spans = chosen.iter().zip(ends).map(|(&start, end)| start..end.min(start + longest));
    spans.map(|span| index.cut(pts, packets, &span, span.clone())).collect()
}

/// Which frames of a stretch from [`looks`] are looked at, if there are `stretches` of them.
pub fn looked_at(stretch: &Cut, stretches: usize) -> impl Iterator<Item = FrameIndex> {
    let wanted = LOOKS.div_ceil(stretches.max(1)) as u64;
    let frames = stretch.end - stretch.start;
    let start = stretch.start;
    let count = wanted.min(frames);
    (0..count).map(move |look| start + look * frames / count)
}

/// Cuts `frames` frames into chunks; `key_frames` are the frames at which decoding can start, increasing.
fn spans(frames: FrameIndex, key_frames: &[FrameIndex], [min, max]: [u64; 2]) -> Vec<Range<FrameIndex>> {
    let mut spans = Vec::new();
    let mut start = 0;
    while start < frames {
        let left = frames - start;
        let end = if left <= max {
            frames
        } else {
            let within = key_frames.partition_point(|&key| key <= start + max);
            match key_frames[..within].last() {
                Some(&key) if key >= start + min => key,
                // No keyframe within the bounds. A short rest is shared between the last two chunks.
                _ if left - max < min => start + left.div_ceil(2),
                _ => start + max,
            }
        };
        spans.push(start..end);
        start = end;
    }
    spans
}

/// For every frame, the packets that its decoding needs.
struct PacketIndex {
    /// Frames at which decoding can start.
    key_frames: Vec<FrameIndex>,
    /// Packet of each frame.
    packet_of: Vec<u64>,
    /// Packets at which decoding can start, in decode order, and the time from which on pictures are whole then.
    keys: Vec<(u64, i64)>,
}

impl PacketIndex {
    fn new(pts: &[i64], packets: &[PacketInfo]) -> Self {
        let mut packet_of = vec![0; pts.len()];
        let mut key_frames = Vec::new();
        let mut keys = Vec::new();
        let mut becoming_whole = None;
        for (number, packet) in packets.iter().enumerate() {
            if packet.key {
                keys.extend(becoming_whole.take().map(|earlier| (earlier, packet.pts)));
                match packet.gradual {
                    true => becoming_whole = Some(number as u64),
                    false => keys.push((number as u64, packet.pts)),
                }
            }
            let Ok(frame) = pts.binary_search(&packet.pts) else { continue };
            if packet.hidden {
                continue;
            }
            packet_of[frame] = number as u64;
            if packet.key && !packet.gradual {
                key_frames.push(frame as FrameIndex);
            }
        }
        key_frames.sort_unstable();
        Self { key_frames, packet_of, keys }
    }

    fn cut(
        &self,
        pts: &[i64],
        packets: &[PacketInfo],
        span: &Range<FrameIndex>,
        window: Range<FrameIndex>,
    ) -> Result<Cut, PlanError> {
        let (lo, hi) = (window.start as usize, window.end as usize);
        let first_wanted = self.packet_of[lo..hi].iter().min().copied().unwrap_or(0);
        // The last keyframe that is shown no later than the first wanted frame and comes no later in decode order than any.
        let first_packet = self.keys.iter().rev().find(|(packet, time)| *packet <= first_wanted && *time <= pts[lo]);
        let Some(&(first_packet, _)) = first_packet else { return Err(PlanError::NoKeyframe { frame: window.start }) };
        let last_packet = self.packet_of[lo..hi].iter().max().copied().unwrap_or(first_packet);
        let taken = &packets[first_packet as usize..=last_packet as usize];
        let base_pts = taken.iter().map(|packet| packet.pts).min().unwrap_or(0);
        Ok(Cut {
            start: span.start,
            end: span.end,
            lo: window.start,
            hi: window.end,
            first_packet,
            last_packet,
            base_pts,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(frames: u64, keys: &[u64], bounds: [u64; 2], expected: &[u64]) {
        let ends: Vec<u64> = spans(frames, keys, bounds).into_iter().map(|span| span.end).collect();
        assert_eq!(ends, expected, "{frames} frames, keyframes {keys:?}, {bounds:?}");
    }

    #[test]
    fn boundaries() {
        check(1, &[0], [64, 128], &[1]);
        check(128, &[0], [64, 128], &[128]);
        check(472, &[0, 250], [64, 128], &[128, 250, 378, 472]);
        check(300, &[0, 48, 96, 144, 192, 240, 288], [64, 128], &[96, 192, 300]);
        check(130, &[0], [64, 128], &[65, 130]);
        check(10, &[0], [1, 1], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        check(10, &[0, 5], [1, 1_000_000], &[10]);
    }

    fn packets(pts: &[i64], keys: &[i64]) -> Vec<PacketInfo> {
        pts.iter().map(|&pts| PacketInfo { pts, key: keys.contains(&pts), gradual: false, hidden: false }).collect()
    }

    #[test]
    fn slices_start_at_a_keyframe_and_reach_the_last_needed_packet() {
        // I0 P3 B1 B2 I4 P7 B5 B6 in decode order.
        let decode_order = [0, 3, 1, 2, 4, 7, 5, 6];
        let packets = packets(&decode_order, &[0, 4]);
        let pts = [0, 1, 2, 3, 4, 5, 6, 7];
        let cuts = cut(&pts, &packets, [2, 2], &|span| span).unwrap();
        let taken: Vec<_> =
            cuts.iter().map(|cut| (cut.start, cut.first_packet, cut.last_packet, cut.base_pts)).collect();
        assert_eq!(taken, [(0, 0, 2, 0), (2, 0, 3, 0), (4, 4, 6, 4), (6, 4, 7, 4)]);
    }

    #[test]
    fn leading_frames_of_an_open_gop_reach_back_to_the_keyframe_before() {
        // I0 P2 B1 | I5 B3 B4 P6: frames 3 and 4 are shown before the keyframe 5 that precedes them in decode order.
        let packets = packets(&[0, 2, 1, 5, 3, 4, 6], &[0, 5]);
        let pts = [0, 1, 2, 3, 4, 5, 6];
        let cuts = cut(&pts, &packets, [3, 3], &|span| span).unwrap();
        assert_eq!((cuts[1].start, cuts[1].first_packet), (3, 0));
    }

    #[test]
    fn pictures_that_become_whole_by_and_by_are_begun_one_refresh_earlier() {
        let mut packets = packets(&[0, 1, 2, 3, 4, 5, 6, 7], &[0, 2, 4, 6]);
        packets[1..].iter_mut().for_each(|packet| packet.gradual = packet.key);
        let pts = [0, 1, 2, 3, 4, 5, 6, 7];
        let cuts = cut(&pts, &packets, [1, 1], &|span| span).unwrap();
        let first: Vec<u64> = cuts.iter().map(|cut| cut.first_packet).collect();
        assert_eq!(first, [0, 0, 0, 0, 2, 2, 4, 4]);
        // None of them is worth a boundary.
        assert_eq!(PacketIndex::new(&pts, &packets).key_frames, [0]);
    }

    #[test]
    fn looks_are_spread_over_the_clip_and_bounded() {
        for (frames, gop) in [(472, 250), (90_000, 48), (90_000, 100_000), (3, 1), (1, 1)] {
            let pts: Vec<i64> = (0..frames).collect();
            let keys: Vec<i64> = (0..frames).step_by(gop).collect();
            let stretches = looks(&pts, &packets(&pts, &keys)).unwrap();
            let decoded: u64 = stretches.iter().map(|cut| cut.end - cut.start).sum();
            assert!(decoded <= LOOK_FRAMES, "{frames} frames, GOP {gop}: {decoded} decoded");
            let looked: Vec<u64> = stretches.iter().flat_map(|cut| looked_at(cut, stretches.len())).collect();
            assert!(looked.is_sorted_by(|a, b| a < b) && looked.iter().all(|&frame| frame < frames as u64));
            assert_eq!(looked.len(), LOOKS.min(frames as usize), "{frames} frames, GOP {gop}");
        }
    }

    #[test]
    fn impossible_clips() {
        assert_eq!(cut(&[], &[], [1, 2], &|span| span), Err(PlanError::NoFrames));
        let no_key = packets(&[0, 1], &[]);
        assert_eq!(cut(&[0, 1], &no_key, [1, 2], &|span| span), Err(PlanError::NoKeyframe { frame: 0 }));
    }

    proptest! {
        #[test]
        fn chunks_cover_the_clip_within_their_bounds(frames in 1u64..5000, gop in 1u64..400, min in 1u64..200, more in 0u64..200) {
            let keys: Vec<u64> = (0..frames).step_by(gop as usize).collect();
            let bounds = [min, min + more];
            let spans = spans(frames, &keys, bounds);
            let mut next = 0;
            for (number, span) in spans.iter().enumerate() {
                prop_assert_eq!(span.start, next);
                prop_assert!(span.end > span.start && span.end - span.start <= bounds[1]);
                let is_late = number + 2 >= spans.len();
                prop_assert!(is_late || span.end - span.start >= bounds[0]);
                next = span.end;
            }
            prop_assert_eq!(next, frames);
        }
    }
}
