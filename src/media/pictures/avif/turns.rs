//! How a picture is turned and mirrored, one step after the other.

use image::metadata::Orientation;

/// Quarter turns with the clock, and whether left and right are exchanged after them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turns {
    quarters: u8,
    mirrored: bool,
}

impl Turns {
    /// `irot`.
    pub(super) fn against_the_clock(&mut self, quarters: u8) {
        // Behind a mirror everything turns the other way.
        let with_the_clock = if self.mirrored { quarters } else { 4 - quarters % 4 };
        self.quarters = (self.quarters + with_the_clock) % 4;
    }

    /// `imir`; not `sideways` is top and bottom, which is left and right of a picture turned by half.
    pub(super) fn mirror(&mut self, sideways: bool) {
        if !sideways {
            self.against_the_clock(2);
        }
        self.mirrored = !self.mirrored;
    }

    pub(super) fn orientation(self) -> Orientation {
        match (self.quarters, self.mirrored) {
            (0, false) => Orientation::NoTransforms,
            (1, false) => Orientation::Rotate90,
            (2, false) => Orientation::Rotate180,
            (_, false) => Orientation::Rotate270,
            (0, true) => Orientation::FlipHorizontal,
            (1, true) => Orientation::Rotate90FlipH,
            (2, true) => Orientation::FlipVertical,
            (_, true) => Orientation::Rotate270FlipH,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage};

    #[test]
    fn steps_together_are_the_steps_one_by_one() {
        let source = GrayImage::from_raw(3, 2, vec![1, 2, 3, 4, 5, 6]).unwrap();
        type Step = (fn(&mut Turns), fn(&DynamicImage) -> DynamicImage);
        let steps: [Step; 5] = [
            (|turns| turns.against_the_clock(1), DynamicImage::rotate270),
            (|turns| turns.against_the_clock(2), DynamicImage::rotate180),
            (|turns| turns.against_the_clock(3), DynamicImage::rotate90),
            (|turns| turns.mirror(true), DynamicImage::fliph),
            (|turns| turns.mirror(false), DynamicImage::flipv),
        ];
        for first in 0..5 {
            for second in 0..5 {
                for third in 0..5 {
                    let mut turns = Turns::default();
                    let mut expected = DynamicImage::from(source.clone());
                    for (turn, same) in [first, second, third].map(|step| steps[step]) {
                        turn(&mut turns);
                        expected = same(&expected);
                    }
                    let mut found = DynamicImage::from(source.clone());
                    found.apply_orientation(turns.orientation());
                    assert_eq!(found, expected, "{first} {second} {third}");
                }
            }
        }
    }
}
