//! Frames that are broken in their source, and how many of them a job may have.

use serde::{Deserialize, Serialize};

use crate::frame::FrameIndex;

/// Broken frames of a clip that its job may have: one in so many…
const ONE_IN: u64 = 20;
/// …and so many of a clip of any length, since one lost packet must not spoil a short one.
const ALWAYS: u64 = 3;
/// Broken frames in a row (within one chunk) that a job may have: a picture that stands still for a second looks like a fault of ours.
const IN_A_ROW: u64 = 25;

/// Frames that could not be decoded, in whose place the picture of another one is shown. See `media/wanted.rs` for what counts.
///
/// A job with more than one in 20 of them (three are always accepted), or with more than 25 in a row, fails, unless its
/// `tolerate_damage` is set; so does one with a black frame. The result of a chunk does not depend on that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// How many.
    #[serde(rename = "damaged", default, skip_serializing_if = "is_zero")]
    pub frames: u64,
    /// The most of them in a row.
    #[serde(rename = "damaged_in_a_row", default, skip_serializing_if = "is_zero")]
    pub in_a_row: u64,
    /// Those among them that are black, since there was nothing else to show.
    #[serde(rename = "damaged_black", default, skip_serializing_if = "is_zero")]
    pub black: u64,
    /// Number of the first one in the clip.
    #[serde(rename = "damaged_first", default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FrameIndex>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Damage {
    /// What is broken here or there.
    pub fn and(self, other: Self) -> Self {
        let first = [self.first, other.first].into_iter().flatten().min();
        let (frames, black) = (self.frames + other.frames, self.black + other.black);
        Self { frames, in_a_row: self.in_a_row.max(other.in_a_row), black, first }
    }

    /// Whether a clip of `frames` frames with this damage is refused.
    pub fn is_too_much(self, frames: FrameIndex) -> bool {
        self.black > 0
            || self.in_a_row > IN_A_ROW
            || self.frames > ALWAYS && self.frames.saturating_mul(ONE_IN) > frames
    }
}

/// Counts the damage of a chunk, frame by frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct DamageCount {
    damage: Damage,
    /// Broken frames up to the last one that was counted.
    row: u64,
}

impl DamageCount {
    /// The next frame, with its number in the clip.
    pub fn count(&mut self, frame: FrameIndex, is_broken: bool, is_black: bool) {
        self.row = if is_broken { self.row + 1 } else { 0 };
        let (frames, black) = (u64::from(is_broken), u64::from(is_black));
        let one = Damage { frames, in_a_row: self.row, black, first: is_broken.then_some(frame) };
        self.damage = self.damage.and(one);
    }

    /// So far.
    pub fn damage(&self) -> Damage {
        self.damage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_counted_and_limited() {
        for (pattern, frames, in_a_row, first) in
            [("", 0, 0, None), ("......", 0, 0, None), (".x.xx.", 3, 2, Some(11)), ("xxx", 3, 3, Some(10))]
        {
            let mut count = DamageCount::default();
            pattern.chars().enumerate().for_each(|(frame, kind)| count.count(10 + frame as u64, kind == 'x', false));
            assert_eq!(count.damage(), Damage { frames, in_a_row, black: 0, first }, "{pattern}");
        }
        for (frames, in_a_row, of, is_too_much) in [
            (0, 0, 0, false),
            (3, 3, 5, false),
            (4, 1, 79, true),
            (4, 1, 80, false),
            (25, 25, 500, false),
            (26, 26, 100_000, true),
        ] {
            let damage = Damage { frames, in_a_row, ..Damage::default() };
            assert_eq!(damage.is_too_much(of), is_too_much, "{damage:?} of {of}");
        }
        let (early, late) = (
            Damage { frames: 1, in_a_row: 1, black: 0, first: Some(3) },
            Damage { frames: 2, in_a_row: 2, black: 2, first: Some(9) },
        );
        assert_eq!(late.and(early), Damage { frames: 3, in_a_row: 2, black: 2, first: Some(3) });
        assert!(late.is_too_much(1000) && !early.is_too_much(1000));
        assert_eq!(early.and(Damage::default()), early);
    }

    #[test]
    fn what_is_not_broken_leaves_no_trace_in_a_record() {
        assert_eq!(serde_json::to_string(&Damage::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Damage>("{}").unwrap(), Damage::default());
    }
}
