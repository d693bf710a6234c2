//! A network's square crop, sampled straight from the planes of a frame: bilinear, black outside the picture.
//!
//! Values are not rounded to bytes on the way: that alone would move the mesh by 0.1 px. Chroma is
//! sampled once for every 2×2 block of crop pixels: it is stored at half the resolution of luma anyway.

use crate::frame::{ChromaSite, PlaneRef, Planes, Sample, YuvRef};

use super::geometry::Affine;
use super::rgb::ToRgb;

/// Samples `width × height` pixels at `to_picture(column, row)` into `out`: planes of red, green, blue, 0..=255 times
/// `gain`.
///
/// Like OpenCV's `warpAffine` with a constant black border: a pixel between the border and the first black one is a
/// mixture.
pub fn sample_planar(picture: &YuvRef<'_>, to_picture: &Affine, size: (usize, usize), gain: f32, out: &mut [f32]) {
    let (width, height) = size;
    assert_eq!(out.len(), width * height * 3, "the crop's buffer holds three values per pixel");
    let (red, rest) = out.split_at_mut(width * height);
    let (green, blue) = rest.split_at_mut(width * height);
    sample_rows(picture, to_picture, size, gain, |row, rgb| {
        for (plane, values) in [&mut *red, &mut *green, &mut *blue].into_iter().zip(rgb) {
            plane[row * width..][..width].copy_from_slice(values);
        }
    });
}

/// The same, interleaved: red, green, blue of one pixel after the other.
pub fn sample(picture: &YuvRef<'_>, to_picture: &Affine, size: (usize, usize), gain: f32, out: &mut [f32]) {
    let (width, height) = size;
    assert_eq!(out.len(), width * height * 3, "the crop's buffer holds three values per pixel");
    sample_rows(picture, to_picture, size, gain, |row, [red, green, blue]| {
        let pixels = out[row * width * 3..][..width * 3].chunks_exact_mut(3);
        for (pixel, ((red, green), blue)) in pixels.zip(red.iter().zip(green).zip(blue)) {
            pixel.copy_from_slice(&[*red, *green, *blue]);
        }
    });
}

/// Hands the crop's rows to `take`, one after the other: red, green, blue.
fn sample_rows(
    picture: &YuvRef<'_>,
    to_picture: &Affine,
    size: (usize, usize),
    gain: f32,
    take: impl FnMut(usize, [&[f32]; 3]),
) {
    match picture.planes {
        Planes::U8(planes) => sample_planes(picture, planes, to_picture, (size, gain), take),
        Planes::U16(planes) => sample_planes(picture, planes, to_picture, (size, gain), take),
    }
}

fn sample_planes<S: Bilinear>(
    picture: &YuvRef<'_>,
    planes: [PlaneRef<'_, S>; 3],
    to_picture: &Affine,
    ((width, height), gain): ((usize, usize), f32),
    mut take: impl FnMut(usize, [&[f32]; 3]),
) {
    let step = [picture.shift.0, picture.shift.1].map(|shift| f64::from(1u32 << shift));
    // Place of the first chroma sample among the luma samples.
    let first = match picture.site {
        ChromaSite::Left => [0.0, (step[1] - 1.0) / 2.0],
        ChromaSite::Center => [(step[0] - 1.0) / 2.0, (step[1] - 1.0) / 2.0],
    };
    let luma = Grid::new(to_picture, planes[0], [1.0, 1.0], [0.0, 0.0]);
    // Both chroma planes have the same size and place, so one set of coordinates serves both.
    let chroma = Grid::new(to_picture, planes[1], step, first);
    let planes = [PlaneSampler(planes[1]), PlaneSampler(planes[2])];
    let mut rgb = [const { Vec::new() }; 3];
    rgb.iter_mut().for_each(|row| row.resize(width, 0.0));
    if !luma.is_addressable(width, height) {
        return (0..height).for_each(|row| take(row, [&rgb[0], &rgb[1], &rgb[2]]));
    }
    let is_inside = luma.is_inside(width, height) && chroma.is_inside(width, height);
    let to_rgb = ToRgb::new(picture.color);
    let mut tints = rgb.clone();
    let mut samples = vec![0; width];
    for row in 0..height {
        if row % 2 == 0 {
            let middle = row as f64 + 0.5;
            if is_inside {
                sample_tints(&chroma, middle, &to_rgb, &mut tints, |x, y| planes.map(|plane| plane.inside(x, y)));
            } else {
                sample_tints(&chroma, middle, &to_rgb, &mut tints, |x, y| planes.map(|plane| plane.clamped(x, y)));
            }
        }
        let ([mut x, mut y], [dx, dy]) = luma.row(0.0, row as f64, 1.0);
        for sample in &mut samples {
            *sample = if is_inside { luma.plane.inside(x, y) } else { luma.plane.clamped(x, y) };
            x += dx;
            y += dy;
        }
        for channel in 0..3 {
            for ((value, tint), sample) in rgb[channel].iter_mut().zip(&tints[channel]).zip(&samples) {
                let grey = (to_value::<S>(*sample) - to_rgb.luma_floor) * to_rgb.luma_gain;
                *value = (grey + tint).clamp(0.0, 255.0) * gain;
            }
        }
        if let Some(shown) = to_rgb.shown {
            rgb.iter_mut().flatten().for_each(|value| *value = shown.of(*value / gain) * gain);
        }
        if !is_inside {
            fade(&luma, row, &mut rgb);
        }
        take(row, [&rgb[0], &rgb[1], &rgb[2]]);
    }
}

/// Coordinates are fixed-point with 32 fractional bits: floor is a shift, and x86-64 without extensions has no other
/// that is quick.
const ONE: f64 = (1u64 << 32) as f64;

/// Bits of a bilinear weight: with two of them and a byte's eight, 30.
const WEIGHT_BITS: u32 = 11;

/// Samples that can be mixed in whole numbers.
trait Bilinear: Sample {
    /// log2 of what mixtures are multiplied by: they have at most 30 bits.
    const BITS: u32;

    /// A mixture of the samples at the left and right above, left and right below, times 2^[`Self::BITS`].
    fn mix(samples: [Self; 4], fx: i32, fy: i32) -> i32;
}

impl Bilinear for u8 {
    const BITS: u32 = 2 * WEIGHT_BITS;

    #[inline(always)]
    fn mix(samples: [u8; 4], fx: i32, fy: i32) -> i32 {
        let [a, b, c, d] = samples.map(i32::from);
        let above = (a << WEIGHT_BITS) + (b - a) * fx;
        let below = (c << WEIGHT_BITS) + (d - c) * fx;
        (above << WEIGHT_BITS) + (below - above) * fy
    }
}

impl Bilinear for u16 {
    const BITS: u32 = 2 * WEIGHT_BITS - 8;

    #[inline(always)]
    fn mix(samples: [u16; 4], fx: i32, fy: i32) -> i32 {
        let [a, b, c, d] = samples.map(i32::from);
        let above = (a << WEIGHT_BITS) + (b - a) * fx;
        let below = (c << WEIGHT_BITS) + (d - c) * fx;
        let mixture = (i64::from(above) << WEIGHT_BITS) + i64::from(below - above) * i64::from(fy);
        (mixture >> 8) as i32
    }
}

/// A mixture, as [`PlaneSampler`] gives it, as a sample value.
#[inline(always)]
fn to_value<S: Bilinear>(mixture: i32) -> f32 {
    mixture as f32 * (1.0 / (1 << S::BITS) as f32)
}

/// A plane and the map from crop pixels to its samples.
struct Grid<'a, S> {
    plane: PlaneSampler<'a, S>,
    map: [[f64; 3]; 2],
}

impl<'a, S: Bilinear> Grid<'a, S> {
    fn new(to_picture: &Affine, plane: PlaneRef<'a, S>, step: [f64; 2], first: [f64; 2]) -> Self {
        let axis = |axis: usize| {
            let [a, b, c] = to_picture.0[axis];
            [a / step[axis], b / step[axis], (c - first[axis]) / step[axis]]
        };
        Self { plane: PlaneSampler(plane), map: [axis(0), axis(1)] }
    }

    fn corners(&self, width: usize, height: usize) -> impl Iterator<Item = [f64; 2]> + '_ {
        let (right, bottom) = (width as f64, height as f64);
        [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]]
            .into_iter()
            .map(|[x, y]| self.map.map(|[a, b, c]| a * x + b * y + c))
    }

    /// Coordinates fit the fixed-point format with room to spare.
    fn is_addressable(&self, width: usize, height: usize) -> bool {
        self.corners(width, height).flatten().all(|value| value.abs() < f64::from(1 << 24))
    }

    /// Every pixel has all four neighbours inside the plane, with a margin for rounding.
    fn is_inside(&self, width: usize, height: usize) -> bool {
        let PlaneRef { width: columns, height: rows, .. } = self.plane.0;
        self.corners(width, height)
            .all(|[x, y]| x >= 0.01 && y >= 0.01 && x <= columns as f64 - 1.01 && y <= rows as f64 - 1.01)
    }

    /// Where the row that starts at crop pixel (x, y) starts, and the step from one pixel to the next `stride` crop
    /// pixels on.
    fn row(&self, x: f64, y: f64, stride: f64) -> ([i64; 2], [i64; 2]) {
        let start = self.map.map(|[a, b, c]| ((a * x + b * y + c) * ONE) as i64);
        let step = self.map.map(|[a, _, _]| (a * stride * ONE) as i64);
        (start, step)
    }
}

/// Bilinear samples of a plane: in whole numbers until a row is complete, so that the rest runs four pixels at a time.
#[derive(Clone, Copy)]
struct PlaneSampler<'a, S>(PlaneRef<'a, S>);

impl<S: Bilinear> PlaneSampler<'_, S> {
    /// For a point all of whose neighbours are inside.
    #[inline(always)]
    fn inside(&self, x: i64, y: i64) -> i32 {
        let at = (y >> 32) as usize * self.0.stride + (x >> 32) as usize;
        let block = &self.0.data[at..][..self.0.stride + 2];
        let below = &block[self.0.stride..];
        S::mix([block[0], block[1], below[0], below[1]], fraction(x), fraction(y))
    }

    /// Outside, the nearest sample inside.
    fn clamped(&self, x: i64, y: i64) -> i32 {
        let neighbours = |value: i64, size: usize| {
            let last = size as i64 - 1;
            let value = value.clamp(0, last << 32);
            let low = value >> 32;
            (low as usize, (low + 1).min(last) as usize, fraction(value))
        };
        let (left, right, fx) = neighbours(x, self.0.width);
        let (top, bottom, fy) = neighbours(y, self.0.height);
        let (above, below) = (self.0.row(top), self.0.row(bottom));
        S::mix([above[left], above[right], below[left], below[right]], fx, fy)
    }

    /// How much of a bilinear sample comes from inside the plane, 0..=1.
    fn coverage(&self, x: i64, y: i64) -> f32 {
        let axis = |value: i64, size: usize| {
            let inner = (value + (1 << 32)).min(((size as i64) << 32) - value).clamp(0, 1 << 32);
            inner as f32 / ONE as f32
        };
        axis(x, self.0.width) * axis(y, self.0.height)
    }
}

/// What chroma adds to red, green and blue in two rows of the crop; `middle` lies between them.
#[inline(always)]
fn sample_tints<S: Bilinear>(
    chroma: &Grid<'_, S>,
    middle: f64,
    to_rgb: &ToRgb,
    [red, green, blue]: &mut [Vec<f32>; 3],
    at: impl Fn(i64, i64) -> [i32; 2],
) {
    let ([mut x, mut y], [dx, dy]) = chroma.row(0.5, middle, 2.0);
    for ((red, green), blue) in red.chunks_mut(2).zip(green.chunks_mut(2)).zip(blue.chunks_mut(2)) {
        let [cb, cr] = at(x, y).map(to_value::<S>);
        let tint = to_rgb.tint(cb, cr);
        red.fill(tint[0]);
        green.fill(tint[1]);
        blue.fill(tint[2]);
        x += dx;
        y += dy;
    }
}

/// Darkens what of a row lies outside the picture.
fn fade<S: Bilinear>(luma: &Grid<'_, S>, row: usize, rgb: &mut [Vec<f32>; 3]) {
    let ([mut x, mut y], [dx, dy]) = luma.row(0.0, row as f64, 1.0);
    for column in 0..rgb[0].len() {
        let coverage = luma.plane.coverage(x, y);
        rgb.iter_mut().for_each(|channel| channel[column] *= coverage);
        x += dx;
        y += dy;
    }
}

/// The fractional part as a bilinear weight, 0..2^11.
#[inline(always)]
fn fraction(value: i64) -> i32 {
    (value as u32 >> (32 - WEIGHT_BITS)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Color, Frame, Matrix, Pixels};
    use crate::vision::testing;

    /// A picture whose colour is linear in x and y: bilinear sampling gives back the line.
    fn ramp(color: Color) -> Frame {
        testing::draw(64, 48, color, |x, y| [20.0 + 2.0 * x as f32, 30.0 + 3.0 * y as f32, 90.0 + x as f32 - y as f32])
    }

    #[test]
    fn a_ramp_is_sampled_where_it_is() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for full_range in [false, true] {
                let frame = ramp(Color::sdr(matrix, full_range));
                for map in [[[1.0, 0.0, 20.25], [0.0, 1.0, 11.5]], [[0.7, -0.4, 25.0], [0.4, 0.7, 8.0]]] {
                    let map = Affine(map);
                    let mut out = vec![0.0; 20 * 21 * 3];
                    sample(&frame.view(), &map, (20, 21), 1.0, &mut out);
                    for (index, pixel) in out.chunks(3).enumerate() {
                        let [x, y] = map.apply([(index % 20) as f64, (index / 20) as f64]);
                        let expected = [20.0 + 2.0 * x, 30.0 + 3.0 * y, 90.0 + x - y];
                        for channel in 0..3 {
                            // Three roundings, and a block's chroma half a pixel off: at most 2 · 0.5 · slope 3 more.
                            let error = (f64::from(pixel[channel]) - expected[channel]).abs();
                            assert!(error < 4.0, "{matrix:?} {full_range} {index} {pixel:?} {expected:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn both_ways_agree_and_outside_is_black() {
        let frame = ramp(testing::CLIP_COLOR);
        let view = frame.view();
        let crop = |x: f64| {
            let mut out = vec![0.0; 8 * 8 * 3];
            sample(&view, &Affine([[0.5, 0.1, x], [-0.1, 0.5, 20.0]]), (8, 8), 1.0, &mut out);
            out
        };
        // The same grid, once alone (inside) and once as the last columns of a wider one that starts outside.
        let inside = crop(2.0);
        let mut wide = vec![0.0; 18 * 8 * 3];
        sample(&view, &Affine([[0.5, 0.1, -3.0], [-0.1, 0.5, 21.0]]), (18, 8), 1.0, &mut wide);
        for (row, wide_row) in inside.chunks(24).zip(wide.chunks(54)) {
            for (a, b) in row.iter().zip(&wide_row[30..]) {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        }
        assert!(crop(-100.0).iter().all(|&value| value == 0.0));
        assert!(crop(f64::NAN).iter().all(|&value| value == 0.0));
        assert!(crop(1e300).iter().all(|&value| value == 0.0));
    }

    #[test]
    fn the_border_fades_within_one_pixel() {
        let frame = testing::draw(8, 8, testing::CLIP_COLOR, |_, _| [200.0, 200.0, 200.0]);
        let mut out = vec![0.0; 5 * 3];
        sample(&frame.view(), &Affine([[0.5, 0.0, -1.0], [0.0, 1.0, 4.0]]), (5, 1), 1.0 / 200.0, &mut out);
        for (pixel, expected) in out.chunks(3).zip([0.0, 0.5, 1.0, 1.0, 1.0]) {
            assert!((pixel[1] - expected).abs() < 0.01, "{out:?}");
        }
    }

    #[test]
    fn the_smallest_pictures_work() {
        for (width, height) in [(1, 1), (3, 1), (1, 5)] {
            let frame = testing::draw(width, height, testing::CLIP_COLOR, |_, _| [100.0, 50.0, 25.0]);
            let mut out = vec![0.0; 9 * 9 * 3];
            sample(&frame.view(), &Affine([[1.0, 0.0, -4.0], [0.0, 1.0, -4.0]]), (9, 9), 1.0, &mut out);
            let centre = &out[(4 * 9 + 4) * 3..][..3];
            assert!((centre[0] - 100.0).abs() < 2.0 && (centre[2] - 25.0).abs() < 2.0, "{centre:?}");
        }
    }
}
