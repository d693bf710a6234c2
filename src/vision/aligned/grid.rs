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

/// At which places, relative to an output sample's centre and in output steps, the input is looked at along one axis.
///
/// A single look is enough while the input is enlarged. Where it shrinks the sample stands for more than one input sample:
/// looks at most one input sample apart are spread over its ground and averaged, which is an area average. The spread
/// grows from nothing as shrinking sets in, and is complete at [`FULL`]: a face that comes nearer never changes its sharpness
/// from one frame to the next.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    count: usize,
    spread: f64,
}

/// Input samples per output sample from which on a sample stands for its whole ground.
const FULL: f64 = 1.5;
/// Most looks along an axis: beyond a face 4000 pixels wide in a crop of 128.
const LOOKS_MAX: f64 = 32.0;

impl Looks {
    /// Along x and y of the output, by the length of their steps in the input.
    pub fn of(map: &Affine) -> [Looks; 2] {
        let [[a, b, _], [d, e, _]] = map.0;
        [a.hypot(d), b.hypot(e)].map(Self::at)
    }

    fn at(step: f64) -> Self {
        let count = step.ceil().clamp(1.0, LOOKS_MAX) as usize;
        Self { count, spread: ((step - 1.0) / (FULL - 1.0)).clamp(0.0, 1.0) }
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// −½..½.
    pub fn offsets(self) -> impl Iterator<Item = f64> {
        (0..self.count).map(move |look| ((look as f64 + 0.5) / self.count as f64 - 0.5) * self.spread)
    }
}
