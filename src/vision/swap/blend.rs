//! The last step: the new face under its mask, into the planes of the frame, each at its own resolution.

use std::ops::Range;

use crate::frame::{PlaneMut, PlanesMut, YuvMut};

use super::fine::FineBand;
use super::levels::{Codes, Levelled, Levels, LumaCurve, exp};
use super::plane::{Interpolation, Lattice, Lines, Plane, Region};

/// The target's own fine detail shows up to here (log luma).
const OWN_LIMIT: f32 = 0.12;

type Pair<'a> = (&'a [f32], &'a [f32], f32);

#[inline(always)]
fn lerp((above, below, share): Pair<'_>, i: usize) -> f32 {
    above[i] + (below[i] - above[i]) * share
}

fn cut((above, below, share): Pair<'_>, columns: Range<usize>) -> Pair<'_> {
    (&above[columns.clone()], &below[columns], share)
}

/// The new face, ready to be blended.
pub struct NewFace<'a> {
    pub region: &'a Region,
    /// Mask grid.
    pub opacity: &'a Plane,
    /// The columns of each row of the mask grid where the opacity is not zero.
    pub rows: &'a [Range<usize>],
    pub fine: &'a FineBand,
    /// The portrait's detail of log luma, pixels of the window.
    pub detail: &'a Plane,
    /// Coarse Cb and Cr of the target, light grid.
    pub chroma: &'a [Plane; 2],
    /// The portrait's detail of Cb and Cr, chroma samples of the window…
    pub tint: &'a [Plane; 2],
    pub tint_lattice: &'a Lattice,
    /// …and what it is multiplied by.
    pub tint_gain: [f32; 2],
}

/// Buffers for the luma plane.
#[derive(Default)]
pub struct LumaBlend {
    to_pixels: Interpolation,
    lines: [Lines; 5],
    log: Vec<f32>,
}

impl LumaBlend {
    /// Changes the luma plane of `frame`.
    pub fn apply(&mut self, frame: &mut YuvMut<'_>, new: &NewFace<'_>) {
        match &mut frame.planes {
            PlanesMut::U8([luma, ..]) => self.blend_plane(luma, u8::levels(frame.color), new),
            PlanesMut::U16([luma, ..]) => self.blend_plane(luma, u16::levels(frame.color), new),
        }
    }

    fn blend_plane<S: Levelled>(&mut self, plane: &mut PlaneMut<'_, S>, levels: &Levels<S>, new: &NewFace<'_>) {
        let NewFace { region, rows, opacity, fine, detail, .. } = *new;
        self.to_pixels.prepare(&region.mask_grid(), &region.pixels());
        self.lines.iter_mut().for_each(Lines::restart);
        let window = region.window;
        for y in 0..window.height {
            let Some(columns) = touched(rows, region, y) else { continue };
            let way = &self.to_pixels;
            let planes = [opacity, &fine.base, &fine.detail, &fine.blurred, &fine.own];
            let count = if fine.has_own { 5 } else { 3 };
            let mut pairs: [Pair<'_>; 5] = [(&[], &[], 0.0); 5];
            for ((pair, lines), plane) in pairs.iter_mut().zip(&mut self.lines).zip(planes).take(count) {
                *pair = cut(lines.at(way, plane, y), columns.clone());
            }
            let [mask, base, share, blurred, own] = pairs;
            let samples = &mut plane.row_mut(window.y + y)[window.x..][columns.clone()];
            let lent = &detail.row(y)[columns];
            let own = fine.has_own.then(|| {
                self.log.clear();
                self.log.extend(samples.iter().map(|v| v.look_up(&levels.log)));
                Own { log: &self.log, blurred, share: own }
            });
            let new = NewLuma { lent, mask, base, share, own, max: levels.codes.max };
            match &levels.codes.luma {
                &LumaCurve::Line(gain, offset) => new.blend(samples, |power| gain * power + offset),
                LumaCurve::Hdr(curve) => new.blend(samples, |power| curve.sample(power)),
            }
        }
    }
}

/// Columns of window row `y` between the outermost opaque cells around it.
fn touched(rows: &[Range<usize>], region: &Region, y: usize) -> Option<Range<usize>> {
    let (cell, window) = (region.cell, region.window);
    let row = (window.y + y - region.y) / cell;
    // Pixels lie between the centres of two rows of cells.
    let near = row.saturating_sub(1)..=(row + 1).min(rows.len() - 1);
    let used = rows[near].iter().filter(|row| !row.is_empty());
    let (first, end) =
        used.fold((rows.len() + region.width, 0), |(first, end), row| (first.min(row.start), end.max(row.end)));
    // One cell more on both sides: opacity falls to zero at the next cell's centre.
    let left = (first.saturating_sub(1) * cell + region.x).max(window.x) - window.x;
    let right = ((end + 1) * cell + region.x).saturating_sub(window.x).min(window.width);
    (end > 0 && left < right).then_some(left..right)
}

/// Some samples of a row of the new luma, to be put together.
struct NewLuma<'a> {
    lent: &'a [f32],
    mask: Pair<'a>,
    base: Pair<'a>,
    share: Pair<'a>,
    own: Option<Own<'a>>,
    /// The largest sample.
    max: f32,
}

/// What the target's own fine detail is made of.
struct Own<'a> {
    log: &'a [f32],
    blurred: Pair<'a>,
    share: Pair<'a>,
}

impl NewLuma<'_> {
    /// `sample_of`: the sample value of log luma l, given eˡ.
    #[inline(always)]
    fn blend<S: Levelled>(&self, samples: &mut [S], sample_of: impl Fn(f32) -> f32) {
        let n = samples.len();
        let (lent, max) = (&self.lent[..n], self.max);
        let [mask, base, share] = [self.mask, self.base, self.share].map(|pair| cut(pair, 0..n));
        let Some(Own { log, blurred, share: own }) = &self.own else {
            for i in 0..n {
                let old: f32 = samples[i].into();
                let new = sample_of(exp(lerp(base, i) + lerp(share, i) * lent[i]));
                samples[i] = S::nearest(old + (new - old) * lerp(mask, i), max);
            }
            return;
        };
        let log = &log[..n];
        let [blurred, own] = [*blurred, *own].map(|pair| cut(pair, 0..n));
        for i in 0..n {
            let old: f32 = samples[i].into();
            let fine = (log[i] - lerp(blurred, i)).clamp(-OWN_LIMIT, OWN_LIMIT);
            let new = sample_of(exp(lerp(base, i) + lerp(share, i) * lent[i] + lerp(own, i) * fine));
            samples[i] = S::nearest(old + (new - old) * lerp(mask, i), max);
        }
    }
}

/// Buffers for the chroma planes.
#[derive(Default)]
pub struct ChromaBlend {
    mask_way: Interpolation,
    light_way: Interpolation,
    lines: [Lines; 3],
}

impl ChromaBlend {
    /// Changes the chroma planes: new chroma = the target's coarse chroma + gain · the portrait's detail.
    pub fn apply(&mut self, frame: &mut YuvMut<'_>, new: &NewFace<'_>) {
        let shift = frame.shift;
        match &mut frame.planes {
            PlanesMut::U8([_, cb, cr]) => self.blend_planes([cb, cr], shift, &u8::levels(frame.color).codes, new),
            PlanesMut::U16([_, cb, cr]) => self.blend_planes([cb, cr], shift, &u16::levels(frame.color).codes, new),
        }
    }

    fn blend_planes<S: Levelled>(
        &mut self,
        planes: [&mut PlaneMut<'_, S>; 2],
        shift: (u8, u8),
        codes: &Codes,
        new: &NewFace<'_>,
    ) {
        let NewFace { region, opacity, chroma, tint, tint_lattice: lattice, tint_gain: gain, .. } = *new;
        let (first_column, first_row) = (region.window.x >> shift.0, region.window.y >> shift.1);
        self.mask_way.prepare(&region.mask_grid(), lattice);
        self.light_way.prepare(&region.light_grid(), lattice);
        self.lines.iter_mut().for_each(Lines::restart);
        let [mask_lines, cb_lines, cr_lines] = &mut self.lines;
        for y in 0..lattice.height {
            let mask = mask_lines.at(&self.mask_way, opacity, y);
            let is_clear = mask.0.iter().chain(mask.1).all(|&v| v == 0.0);
            if is_clear {
                continue;
            }
            for (channel, lines) in [&mut *cb_lines, &mut *cr_lines].into_iter().enumerate() {
                let coarse = lines.at(&self.light_way, &chroma[channel], y);
                let samples = &mut planes[channel].row_mut(first_row + y)[first_column..][..lattice.width];
                blend_chroma(samples, tint[channel].row(y), [mask, coarse], gain[channel], codes);
            }
        }
    }
}

fn blend_chroma<S: Levelled>(samples: &mut [S], tint: &[f32], planes: [Pair<'_>; 2], gain: f32, codes: &Codes) {
    let n = samples.len();
    let tint = &tint[..n];
    let [mask, coarse] = planes.map(|pair| cut(pair, 0..n));
    let &Codes { chroma_scale: scale, neutral, max, .. } = codes;
    for i in 0..n {
        let old: f32 = samples[i].into();
        let new = neutral + (lerp(coarse, i) + gain * tint[i] - 128.0) * scale;
        samples[i] = S::nearest(old + (new - old) * lerp(mask, i), max);
    }
}
