//! What differs from one frame of an animation to the next.

use image::RgbaImage;

/// A part of a picture, pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Part {
    pub(super) fn whole(picture: &RgbaImage) -> Self {
        Self { left: 0, top: 0, width: picture.width(), height: picture.height() }
    }

    /// The pixels of this part.
    pub(super) fn of(self, picture: &RgbaImage) -> RgbaImage {
        image::imageops::crop_imm(picture, self.left, self.top, self.width, self.height).to_image()
    }

    /// The smallest part that holds both.
    pub(super) fn with(self, other: Self) -> Self {
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        let right = (self.left + self.width).max(other.left + other.width);
        let bottom = (self.top + self.height).max(other.top + other.height);
        Self { left, top, width: right - left, height: bottom - top }
    }

    /// Grown to even corners on the left and at the top.
    pub(super) fn even(self) -> Self {
        let (left, top) = (self.left & !1, self.top & !1);
        Self { left, top, width: self.width + self.left - left, height: self.height + self.top - top }
    }
}

/// The smallest part that holds everything in which two pictures of one size differ; one pixel if nothing does.
pub(super) fn changed(before: &RgbaImage, now: &RgbaImage) -> Part {
    differing(before, now, |before, now| before != now).unwrap_or(Part { left: 0, top: 0, width: 1, height: 1 })
}

/// The smallest part that holds every pixel of which `differs` says so.
pub(super) fn differing(
    before: &RgbaImage,
    now: &RgbaImage,
    differs: impl Fn([u8; 4], [u8; 4]) -> bool,
) -> Option<Part> {
    let columns = now.width() as usize;
    let pixels = before.as_raw().as_chunks::<4>().0.iter().zip(now.as_raw().as_chunks::<4>().0);
    let mut bounds: Option<[usize; 4]> = None;
    for (number, _) in pixels.enumerate().filter(|(_, (before, now))| differs(**before, **now)) {
        let (x, y) = (number % columns, number / columns);
        let [left, top, right, _] = bounds.unwrap_or([x, y, x, y]);
        bounds = Some([left.min(x), top, right.max(x), y]);
    }
    let [left, top, right, bottom] = bounds?.map(|side| side as u32);
    Some(Part { left, top, width: right + 1 - left, height: bottom + 1 - top })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_changes_is_found() {
        let before = RgbaImage::new(7, 5);
        for (pixels, expected) in [
            (&[][..], (0, 0, 1, 1)),
            (&[(3, 2)], (3, 2, 1, 1)),
            (&[(6, 4), (1, 3)], (1, 3, 6, 2)),
            (&[(0, 0), (6, 4)], (0, 0, 7, 5)),
        ] {
            let mut now = before.clone();
            pixels.iter().for_each(|&(x, y)| now.put_pixel(x, y, image::Rgba([0, 0, 1, 0])));
            let (left, top, width, height) = expected;
            assert_eq!(changed(&before, &now), Part { left, top, width, height }, "{pixels:?}");
        }
        let part = Part { left: 3, top: 2, width: 1, height: 1 };
        assert_eq!(part.even(), Part { left: 2, top: 2, width: 2, height: 1 });
        let other = Part { left: 1, top: 4, width: 5, height: 2 };
        assert_eq!(part.with(other), Part { left: 1, top: 2, width: 5, height: 4 });
    }
}
