//! A face's pixels at a network's template, straight from the planes of a frame, in full precision.
//!
//! Unlike [`crate::vision::crop`] (what the mesh network looks at) this crop becomes a picture again: chroma is sampled for
//! every pixel, what is shrunk is averaged, and outside the picture its border is repeated, as the networks were trained.

use crate::frame::{PlaneRef, Planes, Sample, YuvRef};
use crate::vision::geometry::Affine;
use crate::vision::rgb::ToRgb;

use super::grid::{Looks, ONE, REACH, chain, corners, fraction, is_addressable, plane_to_picture};

/// A face in a square crop.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligned {
    /// Pixels along each side.
    pub side: usize,
    /// Crop pixels → picture pixels.
    pub to_picture: Affine,
    /// Planes of red, green and blue, 0..=255; `3 · side²` values.
    pub rgb: Vec<f32>,
}

impl Aligned {
    /// Samples `side²` pixels of `picture`: bilinear, as `cv2.warpAffine` with a repeated border; averaged where the picture
    /// shrinks. Of an HDR picture: what an ordinary screen shows. Black if
    /// `to_picture` is not finite.
    pub fn sample(picture: &YuvRef<'_>, to_picture: Affine, side: usize) -> Self {
        let mut rgb = vec![0.0; 3 * side * side];
        if side > 0 && picture.width() > 0 && is_addressable(&to_picture, (side, side)) {
            match &picture.planes {
                Planes::U8(planes) => fill(picture, planes, &to_picture, side, &mut rgb),
                Planes::U16(planes) => fill(picture, planes, &to_picture, side, &mut rgb),
            }
        }
        Self { side, to_picture, rgb }
    }

    /// Red (0), green (1) or blue (2).
    pub fn channel(&self, channel: usize) -> &[f32] {
        let count = self.side * self.side;
        &self.rgb[channel * count..][..count]
    }

    /// Red, green and blue, writable.
    pub fn channels_mut(&mut self) -> [&mut [f32]; 3] {
        let count = self.side * self.side;
        let (red, rest) = self.rgb.split_at_mut(count);
        let (green, blue) = rest.split_at_mut(count);
        [red, green, &mut blue[..count]]
    }

    /// Luma of BT.709, 0..=255.
    pub fn luma(&self) -> Vec<f32> {
        let [red, green, blue] = [0, 1, 2].map(|channel| self.channel(channel));
        let greens = red.iter().zip(green).zip(blue);
        greens.map(|((red, green), blue)| 0.2126 * red + 0.7152 * green + 0.0722 * blue).collect()
    }
}

fn fill<S: Sample>(
    picture: &YuvRef<'_>,
    planes: &[PlaneRef<'_, S>; 3],
    to_picture: &Affine,
    side: usize,
    rgb: &mut [f32],
) {
    // Y, Cb and Cr first, where red, green and blue go in the end.
    for (index, (plane, values)) in planes.iter().zip(rgb.chunks_exact_mut(side * side)).enumerate() {
        let from_picture = plane_to_picture(picture, index).inverse().expect("planes are not folded");
        sample_plane(plane, &chain(to_picture, &from_picture), side, values);
    }
    let to_rgb = ToRgb::new(picture.color);
    let (red, rest) = rgb.split_at_mut(side * side);
    let (green, blue) = rest.split_at_mut(side * side);
    for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
        [*red, *green, *blue] = to_rgb.rgb(*red, to_rgb.tint(*green, *blue));
    }
    to_rgb.show(rgb);
}

/// Crop pixels at `map(column, row)` of the plane.
fn sample_plane<S: Sample>(plane: &PlaneRef<'_, S>, map: &Affine, side: usize, out: &mut [f32]) {
    let [across, down] = Looks::of(map);
    // A margin for the looks, and for what fixed-point steps lose.
    let (right, bottom) = (plane.width as f64 - 1.01, plane.height as f64 - 1.01);
    let is_inside = corners((side, side), REACH)
        .map(|corner| map.apply(corner))
        .all(|[x, y]| x >= 0.01 && y >= 0.01 && x <= right && y <= bottom);
    let step = map.0.map(|[a, _, _]| (a * ONE) as i64);
    for (row, line) in out.chunks_exact_mut(side).enumerate() {
        line.fill(0.0);
        for (below, down_weight) in down.each() {
            for (beside, across_weight) in across.each() {
                let start = map.apply([beside, row as f64 + below]).map(|value| (value * ONE) as i64);
                let weight = down_weight * across_weight;
                if is_inside {
                    add(line, start, step, weight, |x, y| inside(plane, x, y));
                } else {
                    add(line, start, step, weight, |x, y| clamped(plane, x, y));
                }
            }
        }
    }
}

#[inline(always)]
fn add(line: &mut [f32], [mut x, mut y]: [i64; 2], [dx, dy]: [i64; 2], weight: f32, at: impl Fn(i64, i64) -> f32) {
    for value in line {
        *value += weight * at(x, y);
        x += dx;
        y += dy;
    }
}

/// The bilinear sample at a point all of whose neighbours are inside.
#[inline(always)]
fn inside<S: Sample>(plane: &PlaneRef<'_, S>, x: i64, y: i64) -> f32 {
    let at = (y >> 32) as usize * plane.stride + (x >> 32) as usize;
    let block = &plane.data[at..][..plane.stride + 2];
    let below = &block[plane.stride..];
    mixture([block[0], block[1], below[0], below[1]], x, y)
}

/// The same anywhere: outside, the nearest sample inside.
fn clamped<S: Sample>(plane: &PlaneRef<'_, S>, x: i64, y: i64) -> f32 {
    let neighbours = |value: i64, size: usize| {
        let last = size as i64 - 1;
        let value = value.clamp(0, last << 32);
        ((value >> 32) as usize, ((value >> 32) + 1).min(last) as usize, value)
    };
    let (left, right, x) = neighbours(x, plane.width);
    let (top, bottom, y) = neighbours(y, plane.height);
    let (above, below) = (plane.row(top), plane.row(bottom));
    mixture([above[left], above[right], below[left], below[right]], x, y)
}

#[inline(always)]
fn mixture<S: Sample>(samples: [S; 4], x: i64, y: i64) -> f32 {
    let [a, b, c, d] = samples.map(Into::<f32>::into);
    let (fx, fy) = (fraction(x), fraction(y));
    let (above, below) = (a + (b - a) * fx, c + (d - c) * fx);
    above + (below - above) * fy
}
