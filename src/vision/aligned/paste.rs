//! A new face back into the planes of its frame, each at its own resolution, in the frame's own colours.

use std::ops::Range;

use crate::frame::{Color, PlaneMut, PlanesMut, Sample, Shown, YuvMut};
use crate::vision::geometry::Affine;

use super::crop::Aligned;
use super::grid::{Looks, ONE, REACH, chain, corners, fraction, is_addressable, plane_to_picture};

/// Blends `over` (planes of red, green and blue like the crop's) into `base`: `weight` 1.0 is `over` in full, 0.0 leaves `base` as
/// it is. Restorers' faces are mixed with what they restore (0.8).
///
/// # Panics
/// Unless `over` holds as many values as the crop.
pub fn mix(base: &mut Aligned, over: &[f32], weight: f32) {
    assert_eq!(base.rgb.len(), over.len(), "both are crops of one size");
    base.rgb.iter_mut().zip(over).for_each(|(value, over)| *value += (over - *value) * weight);
}

/// Puts the crop into `frame` where `mask · blend_ratio` is not 0; all other samples stay bit-exact.
///
/// `mask` holds `side²` values 0..=1 and is 0 outside the crop. Each luma and each chroma sample of the frame takes the new
/// face from its own place: bilinear where the crop is enlarged, averaged over the sample's ground where it
/// shrinks. Of an HDR picture the crop holds what an ordinary screen shows ([`Aligned::sample`]), and becomes a signal again.
///
/// # Panics
/// Unless `mask` holds `side²` values.
pub fn paste(frame: &mut YuvMut<'_>, new: &Aligned, mask: &[f32], blend_ratio: f32) {
    assert_eq!(mask.len(), new.side * new.side, "a crop's mask has a value per pixel");
    let is_usable = new.to_picture.0.iter().flatten().all(|value| value.is_finite());
    let Some(to_crop) = new.to_picture.inverse().filter(|_| is_usable) else { return };
    let is_shown = blend_ratio > 0.0 && mask.iter().any(|value| *value > 0.0);
    if !is_shown {
        return;
    }
    let layers = Layers::new(new, mask, blend_ratio.min(1.0), frame.color);
    let picture = frame.as_ref();
    let [luma_way, chroma_way] = [0, 1].map(|plane| {
        let (to_picture, size) = (plane_to_picture(&picture, plane), picture.planes.size(plane));
        Way::new(&to_picture, &to_crop, size, new.side)
    });
    let max = frame.color.max();
    match &mut frame.planes {
        PlanesMut::U8([luma, cb, cr]) => {
            layers.paste(luma_way, [(luma, 0)], max);
            layers.paste(chroma_way, [(cb, 1), (cr, 2)], max);
        }
        PlanesMut::U16([luma, cb, cr]) => {
            layers.paste(luma_way, [(luma, 0)], max);
            layers.paste(chroma_way, [(cb, 1), (cr, 2)], max);
        }
    }
}

/// Empty pixels before the crop's first, and after its last: one that fades, and one for its neighbour.
const PADDING: (usize, usize) = (1, 2);

/// The crop in the frame's samples, side by side: Y, Cb, Cr, opacity. Around the crop its border is repeated, without opacity.
struct Layers {
    pixels: Vec<[f32; 4]>,
    stride: usize,
    side: usize,
}

impl Layers {
    fn new(new: &Aligned, mask: &[f32], blend_ratio: f32, color: Color) -> Self {
        let side = new.side;
        let to_yuv = ToYuv::new(color);
        let stride = PADDING.0 + side + PADDING.1;
        let mut pixels = vec![[0.0; 4]; stride * stride];
        let rows = |channel: usize| new.channel(channel).chunks_exact(side);
        let crop = rows(0).zip(rows(1)).zip(rows(2)).zip(mask.chunks_exact(side));
        for ((((red, green), blue), mask), line) in crop.zip(pixels[PADDING.0 * stride..].chunks_exact_mut(stride)) {
            let inner = &mut line[PADDING.0..][..side];
            for (pixel, (((red, green), blue), mask)) in inner.iter_mut().zip(red.iter().zip(green).zip(blue).zip(mask))
            {
                let [y, cb, cr] = to_yuv.yuv([*red, *green, *blue]);
                let opacity = if *mask > 0.0 { mask.min(1.0) * blend_ratio } else { 0.0 };
                *pixel = [y, cb, cr, opacity];
            }
            line[0] = transparent(line[PADDING.0]);
            let last = transparent(line[PADDING.0 + side - 1]);
            line[PADDING.0 + side..].fill(last);
        }
        let last = PADDING.0 + side - 1;
        for (from, to) in [(PADDING.0, 0), (last, last + 1), (last, last + 2)] {
            pixels.copy_within(from * stride..(from + 1) * stride, to * stride);
            pixels[to * stride..][..stride].iter_mut().for_each(|pixel| *pixel = transparent(*pixel));
        }
        Self { pixels, stride, side }
    }

    /// Mixes layers into planes of one size.
    fn paste<S: Sample, const N: usize>(
        &self,
        way: Option<Way>,
        mut planes: [(&mut PlaneMut<'_, S>, usize); N],
        max: f32,
    ) {
        let Some(way) = way else { return };
        let mut line = Vec::new();
        for row in way.rows.clone() {
            let columns = way.columns(row as f64, self.side);
            if columns.is_empty() {
                continue;
            }
            line.clear();
            line.resize(columns.len(), [0.0; 4]);
            self.look(&way, columns.start, row, &mut line);
            for (plane, layer) in &mut planes {
                let samples = &mut plane.row_mut(row)[columns.clone()];
                for (sample, pixel) in samples.iter_mut().zip(&line) {
                    let (old, opacity) = (Into::<f32>::into(*sample), pixel[3]);
                    let mixed = S::nearest(old + (pixel[*layer] - old) * opacity, max);
                    *sample = if opacity > 0.0 { mixed } else { *sample };
                }
            }
        }
    }

    /// What the samples from (`column`, `row`) on see of the crop.
    fn look(&self, way: &Way, column: usize, row: usize, line: &mut [[f32; 4]]) {
        let [across, down] = way.looks;
        let step = way.to_crop.0.map(|[a, _, _]| (a * ONE) as i64);
        let end = ((self.side + PADDING.0) as i64) << 32;
        for (below, down_weight) in down.each() {
            for (beside, across_weight) in across.each() {
                let weight = down_weight * across_weight;
                let place = way.to_crop.apply([column as f64 + beside, row as f64 + below]);
                let [mut x, mut y] = place.map(|value| ((value + PADDING.0 as f64) * ONE) as i64);
                for sum in &mut *line {
                    let pixel = self.bilinear(x.clamp(0, end), y.clamp(0, end));
                    sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value);
                    x += step[0];
                    y += step[1];
                }
            }
        }
    }

    #[inline(always)]
    fn bilinear(&self, x: i64, y: i64) -> [f32; 4] {
        let (fx, fy) = (fraction(x), fraction(y));
        let block = &self.pixels[(y >> 32) as usize * self.stride + (x >> 32) as usize..][..self.stride + 2];
        let (a, b, c, d) = (&block[0], &block[1], &block[self.stride], &block[self.stride + 1]);
        std::array::from_fn(|i| {
            let (above, below) = (a[i] + (b[i] - a[i]) * fx, c[i] + (d[i] - c[i]) * fx);
            above + (below - above) * fy
        })
    }
}

fn transparent([y, cb, cr, _]: [f32; 4]) -> [f32; 4] {
    [y, cb, cr, 0.0]
}

/// From the samples of a plane to the crop.
struct Way {
    /// Plane samples (column, row) → crop pixels.
    to_crop: Affine,
    looks: [Looks; 2],
    /// Samples in a row of the plane.
    width: usize,
    /// Rows of the plane that the crop touches.
    rows: Range<usize>,
}

impl Way {
    /// `None` if the crop lies outside of the plane, or too far away to be reckoned with.
    fn new(
        plane_to_picture: &Affine,
        picture_to_crop: &Affine,
        (width, height): (usize, usize),
        side: usize,
    ) -> Option<Self> {
        let to_crop = chain(plane_to_picture, picture_to_crop);
        if side == 0 || !is_addressable(&to_crop, (width, height)) {
            return None;
        }
        // The crop with the pixel in which it fades out, as the plane sees it; a sample looks less than a sample farther.
        let to_plane = to_crop.inverse()?;
        let places = corners((side, side), 1.0).map(|corner| to_plane.apply(corner)[1]);
        let (top, bottom) =
            places.fold((f64::INFINITY, f64::NEG_INFINITY), |(top, bottom), y| (top.min(y), bottom.max(y)));
        let first = (top - 1.0).clamp(0.0, height as f64) as usize;
        let end = (bottom + 2.0).clamp(0.0, height as f64) as usize;
        (first < end).then(|| Self { to_crop, looks: Looks::of(&to_crop), width, rows: first..end })
    }

    /// The columns of a row that the crop may touch.
    fn columns(&self, row: f64, side: usize) -> Range<usize> {
        let (mut left, mut right) = (0.0f64, self.width as f64);
        for [a, b, c] in self.to_crop.0 {
            let (start, reach) = (b * row + c, 1.0 + REACH * (a.abs() + b.abs()));
            let (low, high) = (-reach - start, side as f64 - 1.0 + reach - start);
            // low <= a·column <= high
            if a.abs() < 1e-9 {
                if low > 0.0 || high < 0.0 {
                    return 0..0;
                }
                continue;
            }
            let (from, to) = if a > 0.0 { (low / a, high / a) } else { (high / a, low / a) };
            (left, right) = (left.max(from.floor()), right.min(to.ceil() + 1.0));
        }
        if left < right { left as usize..right as usize } else { 0..0 }
    }
}

/// R'G'B' 0..=255 → sample values (ITU-T H.273, equations 20 to 43): the inverse of [`crate::vision::rgb::ToRgb`].
pub struct ToYuv {
    kr: f32,
    kb: f32,
    luma_gain: f32,
    luma_floor: f32,
    cb_gain: f32,
    cr_gain: f32,
    neutral: f32,
    shown: Option<&'static Shown>,
}

impl ToYuv {
    /// For pictures of `color`.
    pub fn new(color: Color) -> Self {
        let (kr, kb) = color.matrix.coefficients();
        let unit = color.unit();
        let (luma_floor, luma_gain, chroma_gain) =
            if color.full_range { (0.0, 1.0, 1.0) } else { (16.0, 219.0 / 255.0, 224.0 / 255.0) };
        Self {
            kr,
            kb,
            luma_gain: luma_gain * unit,
            luma_floor: luma_floor * unit,
            cb_gain: chroma_gain * unit / (2.0 - 2.0 * kb),
            cr_gain: chroma_gain * unit / (2.0 - 2.0 * kr),
            neutral: color.neutral(),
            shown: color.transfer.shown(),
        }
    }

    /// Y, Cb and Cr of red, green and blue, 0..=255.
    #[inline(always)]
    pub fn yuv(&self, rgb: [f32; 3]) -> [f32; 3] {
        let [r, g, b] = match self.shown {
            None => rgb.map(|value| value.clamp(0.0, 255.0)),
            Some(shown) => rgb.map(|value| shown.signal(value)),
        };
        let luma = self.kr * r + (1.0 - self.kr - self.kb) * g + self.kb * b;
        [
            luma * self.luma_gain + self.luma_floor,
            (b - luma) * self.cb_gain + self.neutral,
            (r - luma) * self.cr_gain + self.neutral,
        ]
    }
}
