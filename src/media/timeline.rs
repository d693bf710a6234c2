//! The times of the joined video: PTS as in the source, DTS made anew.
//!
//! With `D` the largest reorder depth of any chunk, packet `k` is decoded when frame `k − D` is shown. That is strictly
//! increasing, never after the packet's own PTS, and has no seams between chunks.

use crate::contract::Clip;

/// Decode and presentation times of a clip's frames, in ticks of its time base.
pub(super) struct Timeline<'a> {
    clip: &'a Clip,
    depth: usize,
    /// Ticks between the packets that are decoded before the first frame is shown.
    lead: i64,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(clip: &'a Clip, depth: u32) -> Self {
        let Clip { pts, time_base, frame_rate, .. } = clip;
        let first_gap = pts.get(1).map_or(clip.last_duration, |second| second - pts[0]);
        let per_second = f64::from(time_base.den) / f64::from(time_base.num);
        let average = match frame_rate.num {
            0 => first_gap,
            num => (per_second * f64::from(frame_rate.den) / f64::from(num)) as i64,
        };
        // A first frame that stands for seconds must not put the start of decoding minutes before it.
        Self { clip, depth: depth as usize, lead: first_gap.min(average).max(1) }
    }

    /// Whose times these are.
    pub(super) fn clip(&self) -> &'a Clip {
        self.clip
    }

    /// When frame `index`, in display order, is shown.
    pub(super) fn pts(&self, index: usize) -> i64 {
        self.clip.pts[index]
    }

    /// By how many frames decode order runs ahead of display order.
    pub(super) fn depth(&self) -> u32 {
        self.depth as u32
    }

    /// When packet `k`, counted in decode order over the whole clip, is decoded.
    pub(super) fn dts(&self, k: usize) -> i64 {
        match k.checked_sub(self.depth) {
            Some(shown) => self.clip.pts[shown],
            None => self.clip.pts[0] - (self.depth - k) as i64 * self.lead,
        }
    }

    /// How long frame `index`, in display order, is shown.
    pub(super) fn duration(&self, index: usize) -> i64 {
        let pts = &self.clip.pts;
        pts.get(index + 1).map_or(self.clip.last_duration, |next| next - pts[index])
    }

    /// When the last frame ends.
    pub(super) fn end(&self) -> i64 {
        self.clip.pts.last().copied().unwrap_or(0) + self.clip.last_duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Ratio;

    fn clip(pts: &[i64]) -> Clip {
        Clip {
            format: String::new(),
            stream: 0,
            codec: String::new(),
            width: 2,
            height: 2,
            pixel_format: String::new(),
            time_base: Ratio { num: 1, den: 1000 },
            frame_rate: Ratio { num: 25, den: 1 },
            pts: pts.to_vec(),
            last_duration: 40,
            packet_pts: Vec::new(),
            restarts: Vec::new(),
            hdr: None,
            hidden: Vec::new(),
            truncated: false,
            lost_from: None,
            turn: crate::frame::Turn::None,
            mirrored: false,
            stills: Vec::new(),
        }
    }

    #[test]
    fn decode_times_increase_and_stay_before_presentation() {
        // Display times and, in decode order, the frames' display indices.
        for (pts, order, depth) in [
            (&[0, 40, 80, 120][..], &[0, 1, 2, 3][..], 0),
            (&[0, 40, 80, 120], &[0, 2, 1, 3], 1),
            (&[-7, 3, 4, 5, 900], &[0, 4, 2, 1, 3], 2),
            (&[5000, 15_000, 15_001, 15_002], &[0, 3, 1, 2], 1),
            (&[0], &[0], 2),
        ] {
            let clip = clip(pts);
            let timeline = Timeline::new(&clip, depth);
            let dts: Vec<i64> = (0..pts.len()).map(|k| timeline.dts(k)).collect();
            assert!(dts.is_sorted_by(|a, b| a < b), "{dts:?}");
            for (k, &index) in order.iter().enumerate() {
                assert!(dts[k] <= pts[index], "packet {k} of {pts:?} is decoded at {}", dts[k]);
            }
        }
    }

    #[test]
    fn a_long_first_frame_does_not_delay_the_start() {
        let clip = clip(&[0, 10_000]);
        assert_eq!(Timeline::new(&clip, 2).dts(0), -80);
    }

    #[test]
    fn each_frame_lasts_to_the_next_and_the_last_as_long_as_it_says() {
        let clip = clip(&[0, 40, 100]);
        let timeline = Timeline::new(&clip, 2);
        assert_eq!([0, 1, 2].map(|index| timeline.duration(index)), [40, 60, 40]);
        assert_eq!(timeline.end(), 140);
    }
}
