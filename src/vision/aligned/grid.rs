//! What sampling a crop from a frame's planes and sampling a frame's planes from a crop share: where samples lie, how much
//! ground one of them stands for, and coordinates of which floor and fraction come cheap.

use crate::frame::{ChromaSite, YuvRef};
use crate::vision::geometry::Affine;

/// Coordinates are fixed-point with 32 fractional bits: floor is a shift, and the same on every machine.
pub const ONE: f64 = (1u64 << 32) as f64;

/// Coordinates from here on leave no room for the integer part.
const FAR: f64 = (1 << 24) as f64;

/// The fractional part of a coordinate, 0..1.
#[inline(always)]
pub fn fraction(value: i64) -> f32 {
    (value as u32 >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32)
}

/// Plane samples (column, row) → picture pixels, for plane 0, 1 or 2 of `picture`.
pub fn plane_to_picture(picture: &YuvRef<'_>, plane: usize) -> Affine {
    if plane == 0 {
        return Affine([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    }
    let step = [picture.shift.0, picture.shift.1].map(|shift| f64::from(1u32 << shift));
    let across = match picture.site {
        ChromaSite::Left => 0.0,
        ChromaSite::Center => (step[0] - 1.0) / 2.0,
    };
    Affine([[step[0], 0.0, across], [0.0, step[1], (step[1] - 1.0) / 2.0]])
}

/// First `first`, then `second`.
pub fn chain(first: &Affine, second: &Affine) -> Affine {
    let row = |[a, b, c]: [f64; 3]| {
        let [[d, e, f], [g, h, i]] = first.0;
        [a * d + b * g, a * e + b * h, a * f + b * i + c]
    };
    Affine(second.0.map(row))
}

/// Whether the map brings every point of `columns × rows`, and what lies one sample around it, to coordinates that can be
/// worked with.
pub fn is_addressable(map: &Affine, (columns, rows): (usize, usize)) -> bool {
    corners((columns, rows), 1.0).all(|corner| map.apply(corner).iter().all(|value| value.abs() < FAR))
}

/// The corners of a grid's outermost samples, `margin` farther out.
pub fn corners((columns, rows): (usize, usize), margin: f64) -> impl Iterator<Item = [f64; 2]> {
    let (right, bottom) = (columns as f64 - 1.0 + margin, rows as f64 - 1.0 + margin);
    [[-margin, -margin], [right, -margin], [-margin, bottom], [right, bottom]].into_iter()
}

/// At which places, relative to an output sample's centre, the input is looked at along one axis, and how much each counts.
///
/// A single look is enough while the input is enlarged. Where it shrinks a sample stands for more than one input sample: looks
/// one input sample apart cover its ground, the outermost by as much as they lie on it, which is an area average. Nothing
/// jumps: a pair of looks parts from the middle as shrinking sets in, and further pairs begin with no weight. So
/// a face that comes nearer never changes its sharpness from one frame to the next.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Input samples from one output sample to the next.
    step: f64,
}

/// Beyond this many input samples only the middle of the ground is looked at: a face 4000 pixels wide in a crop of 128.
const STEP_MAX: f64 = 32.0;
/// How fast, with the step, the first pair of looks parts; they lie one input sample apart from 1.67 on.
const PARTING: f64 = 0.75;
/// The farthest look, output steps: the second pair as it begins, 1.5 input samples of 2.
pub const REACH: f64 = 0.75;

impl Looks {
    /// Along x and y of the output, by the length of their steps in the input.
    pub fn of(map: &Affine) -> [Looks; 2] {
        let [[a, b, _], [d, e, _]] = map.0;
        [a.hypot(d), b.hypot(e)].map(|step| Self { step })
    }

    /// Offsets in output steps, at most [`REACH`] either way, and weights, which sum up to 1.
    pub fn each(self) -> impl Iterator<Item = (f64, f32)> {
        let ground = self.step.clamp(1.0, STEP_MAX);
        let pairs = if ground > 1.0 { (ground / 2.0).ceil() as usize } else { 0 };
        let middle = (pairs == 0).then_some((0.0, 1.0));
        let of_pair = move |pair: usize| {
            let offset = if pair == 0 { (PARTING * (ground - 1.0)).min(0.5) } else { pair as f64 + 0.5 };
            // Of both together: 1 if there is but one pair, else what of it lies on the ground.
            let weight = if pairs == 1 { 1.0 } else { 2.0 * (ground / 2.0 - pair as f64).min(1.0) / ground };
            [-offset, offset].map(|offset| (offset / self.step, (weight / 2.0) as f32))
        };
        middle.into_iter().chain((0..pairs).flat_map(of_pair))
    }
}
