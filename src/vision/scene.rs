//! Is a frame the first of a new shot? Decided from it and the frame before it, and from nothing else.

use crate::frame::{PlaneRef, Planes, Sample, YuvRef};

const COLUMNS: usize = 64;
const ROWS: usize = 36;
const BINS: usize = 32;

/// Mean absolute difference of thumbnails that is a cut by itself.
const SURE_DIFFERENCE: f64 = 20.0;
/// Mean absolute difference that is a cut together with another histogram.
const LEAST_DIFFERENCE: f64 = 9.0;
/// Half the L1 distance of histograms, 0..=1, that is another histogram.
const OTHER_HISTOGRAM: f64 = 0.35;

/// What is kept of a frame for comparing: area-averaged luma on the scale 0..=255, and its histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    luma: [u8; COLUMNS * ROWS],
    histogram: [u16; BINS],
}

impl Thumbnail {
    /// The thumbnail of a frame.
    pub fn of(picture: &YuvRef<'_>) -> Self {
        let mut sums = [0u64; COLUMNS * ROWS];
        match &picture.planes {
            Planes::U8([luma, ..]) => sum_cells(luma, &mut sums),
            Planes::U16([luma, ..]) => sum_cells(luma, &mut sums),
        }
        let (floor, gain) = if picture.color.full_range { (0.0, 1.0) } else { (16.0, 255.0 / 219.0) };
        let (unit, shown) = (f64::from(picture.color.unit()), picture.color.transfer.shown());
        let mut luma = [0; COLUMNS * ROWS];
        let mut histogram = [0; BINS];
        for (cell, (value, sum)) in luma.iter_mut().zip(sums).enumerate() {
            let rows = span(cell / COLUMNS, ROWS, picture.height());
            let columns = span(cell % COLUMNS, COLUMNS, picture.width());
            let mean = sum as f64 / ((rows.len() * columns.len()) as f64) / unit;
            let signal = (mean - floor) * gain;
            let level = shown.map_or(signal, |shown| f64::from(shown.of(signal as f32)));
            *value = level.round().clamp(0.0, 255.0) as u8;
            histogram[usize::from(*value) * BINS / 256] += 1;
        }
        Self { luma, histogram }
    }

    /// A new shot begins with `self`, if `before` is the frame before it.
    pub fn is_cut_from(&self, before: &Thumbnail) -> bool {
        let cells = (COLUMNS * ROWS) as f64;
        let differences = self.luma.iter().zip(&before.luma).map(|(a, b)| u32::from(a.abs_diff(*b)));
        let difference = f64::from(differences.sum::<u32>()) / cells;
        let bins = self.histogram.iter().zip(&before.histogram).map(|(a, b)| u32::from(a.abs_diff(*b)));
        let is_other_histogram = f64::from(bins.sum::<u32>()) / cells / 2.0 > OTHER_HISTOGRAM;
        difference > SURE_DIFFERENCE || (difference > LEAST_DIFFERENCE && is_other_histogram)
    }
}

/// The samples of cell `index` of `count` along an axis of `size`: at least one, also where the picture is smaller than
/// the thumbnail.
fn span(index: usize, count: usize, size: usize) -> std::ops::Range<usize> {
    let start = (index * size / count).min(size - 1);
    start..((index + 1) * size / count).max(start + 1)
}

fn sum_cells<S: Sample>(plane: &PlaneRef<'_, S>, sums: &mut [u64; COLUMNS * ROWS]) {
    for (row, sums) in sums.chunks_exact_mut(COLUMNS).enumerate() {
        for y in span(row, ROWS, plane.height) {
            let samples = plane.row(y);
            for (column, sum) in sums.iter_mut().enumerate() {
                let cell = &samples[span(column, COLUMNS, plane.width)];
                *sum += u64::from(cell.iter().map(|&sample| Into::<u32>::into(sample)).sum::<u32>());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pixels;
    use crate::vision::testing::{CLIP_COLOR, draw, moving_portrait};

    fn grey(level: f32) -> Thumbnail {
        Thumbnail::of(&draw(320, 180, CLIP_COLOR, |_, _| [level; 3]).view())
    }

    #[test]
    fn motion_is_no_cut_and_another_scene_is() {
        let clip: Vec<Thumbnail> =
            (0..5).map(|index| Thumbnail::of(&moving_portrait(index, 320, 180).view())).collect();
        for pair in clip.windows(2) {
            assert!(!pair[1].is_cut_from(&pair[0]));
        }
        assert!(grey(250.0).is_cut_from(&clip[4]));
        assert!(clip[0].is_cut_from(&grey(10.0)));
    }

    #[test]
    fn a_change_of_light_is_a_cut_only_with_another_histogram() {
        let check = |from: f32, to: f32, expected: bool| {
            assert_eq!(grey(to).is_cut_from(&grey(from)), expected, "{from} {to}");
        };
        check(100.0, 100.0, false);
        check(100.0, 103.0, false); // the same bin, a difference below the least
        check(100.0, 108.0, false); // another bin, but a difference below the least
        check(100.0, 112.0, true);
        check(100.0, 130.0, true);
    }

    #[test]
    fn any_size_and_range_gives_the_same_thumbnail() {
        for (width, height) in [(1, 1), (63, 35), (64, 36), (65, 37), (1281, 720)] {
            for full_range in [false, true] {
                let color = crate::frame::Color { full_range, ..CLIP_COLOR };
                let frame = draw(width, height, color, |_, _| [120.0; 3]);
                assert!(Thumbnail::of(&frame.view()).luma.iter().all(|&luma| luma.abs_diff(120) <= 1));
            }
        }
    }
}
