//! Where a new face may show: planes of `side²` values, 0 (the target) to 1 (the new face).
//!
//! Box, occlusion and regions are those of FaceFusion, whose look people know; what shrinks is averaged rather than picked.

use crate::vision::swap::polygon::convex_hull;

use super::blur;
use super::resize;

/// The crop's inside: a border of `side · 0.5 · blur` pixels fades, half of it (at least a pixel) is blank, and at least
/// `padding` per cent of the side: top, right, bottom, left. `blur` 0..=1.
///
/// The same for all frames: keep it.
pub fn box_mask(side: usize, blur: f32, padding: [f32; 4]) -> Vec<f32> {
    // As decimals: 0.7 is a little less as a float, and what is cut off below is whole pixels.
    let exact = |value: f32| (f64::from(value) * 1e6).round() / 1e6;
    let border = (side as f64 * 0.5 * exact(blur)) as usize;
    let blank = (border / 2).max(1);
    let [top, right, bottom, left] =
        padding.map(|percent| blank.max((side as f64 * exact(percent) / 100.0) as usize).min(side));
    // Both the box and the blur are products of a row and a column.
    let profile = |before: usize, after: usize| {
        let mut line = vec![1.0; side];
        line[..before].fill(0.0);
        line[side - after..].fill(0.0);
        blur::gaussian_line(&mut line, border as f64 * 0.25);
        line
    };
    let (across, down) = (profile(left, right), profile(top, bottom));
    down.iter().flat_map(|y| across.iter().map(move |x| x * y)).collect()
}

/// The convex hull of points (crop pixels; at least three that are not on a line): 1 inside, falling to 0 at the hull over
/// the outermost `feather` pixels (at least one).
pub fn hull_mask(side: usize, points: &[[f32; 2]], feather: f32) -> Vec<f32> {
    let hull = convex_hull(points);
    let mut mask = vec![0.0; side * side];
    let is_flat = hull.len() < 3 || points.iter().flatten().any(|value| !value.is_finite());
    if is_flat {
        return mask;
    }
    // Distances from the hull's sides, in feathers; a ring has as many sides as corners.
    let scale = 1.0 / feather.max(1.0);
    let sides: Vec<[f32; 3]> = (0..hull.len())
        .map(|corner| {
            let ([x0, y0], [x1, y1]) = (hull[corner], hull[(corner + 1) % hull.len()]);
            let (dx, dy) = (x1 - x0, y1 - y0);
            let length = scale / dx.hypot(dy);
            [-dy * length, dx * length, (dy * x0 - dx * y0) * length]
        })
        .collect();
    for (y, line) in mask.chunks_exact_mut(side).enumerate() {
        line.fill(1.0);
        for &[a, b, c] in &sides {
            let start = b * y as f32 + c;
            for (x, value) in line.iter_mut().enumerate() {
                *value = value.min(a * x as f32 + start);
            }
        }
        // Smooth at both ends.
        for value in line {
            let share = value.max(0.0);
            *value = share * share * (3.0 - 2.0 * share);
        }
    }
    mask
}

/// What an occluder network says (1: face), softened inwards: blurred by 5 pixels of 256, then the upper half stretched.
pub fn occlusion(values: &[f32], side: usize) -> Vec<f32> {
    assert_eq!(values.len(), side * side, "a mask of {side} rows is square");
    soften(values.iter().map(|value| value.clamp(0.0, 1.0)).collect(), side)
}

fn soften(mut mask: Vec<f32>, side: usize) -> Vec<f32> {
    blur::gaussian(&mut mask, side, 5.0 * side as f64 / 256.0);
    mask.iter_mut().for_each(|value| *value = (value.clamp(0.5, 1.0) - 0.5) * 2.0);
    mask
}

/// Parts of a face, as parsers tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// The skin of the face, ears and neck apart.
    Skin,
    /// Both.
    Brows,
    /// Both.
    Eyes,
    /// Frames and lenses.
    Glasses,
    /// With the nostrils.
    Nose,
    /// Its inside: teeth and tongue.
    Mouth,
    /// Both.
    Lips,
}

/// Side of a parser's classes.
pub const CLASSES_SIDE: usize = 512;

impl Region {
    /// Each of them.
    pub const ALL: [Region; 7] =
        [Self::Skin, Self::Brows, Self::Eyes, Self::Glasses, Self::Nose, Self::Mouth, Self::Lips];

    /// Its classes among BiSeNet's 19 (CelebAMask-HQ): 0 background, 1 skin, 2 and 3 brows, 4 and 5 eyes, 6 glasses, 7 and 8
    /// ears, 9 earring, 10 nose, 11 mouth, 12 and 13 upper and lower lip, 14 neck, 15 necklace, 16 cloth, 17 hair, 18 hat.
    pub fn classes(self) -> &'static [u8] {
        match self {
            Self::Skin => &[1],
            Self::Brows => &[2, 3],
            Self::Eyes => &[4, 5],
            Self::Glasses => &[6],
            Self::Nose => &[10],
            Self::Mouth => &[11],
            Self::Lips => &[12, 13],
        }
    }
}

/// The `wanted` regions of a parser's classes (512×512, the likeliest of BiSeNet's 19 each) as a mask of `side²` values,
/// softened as [`occlusion`] is.
pub fn regions(classes: &[u8], wanted: &[Region], side: usize) -> Vec<f32> {
    assert_eq!(classes.len(), CLASSES_SIDE * CLASSES_SIDE, "a parser's classes are 512 rows of 512");
    let mut is_wanted = [0.0f32; 256];
    for class in wanted.iter().flat_map(|region| region.classes()) {
        is_wanted[usize::from(*class)] = 1.0;
    }
    let whole: Vec<f32> = classes.iter().map(|class| is_wanted[usize::from(*class)]).collect();
    soften(resize(&whole, CLASSES_SIDE, side), side)
}

/// Where both let the new face show: the lesser of both values, into `mask`.
pub fn combine(mask: &mut [f32], other: &[f32]) {
    assert_eq!(mask.len(), other.len(), "masks of one crop have one size");
    mask.iter_mut().zip(other).for_each(|(value, other)| *value = value.min(*other));
}

/// A mask of `from²` values as `to²` values: bilinear where it grows, area averages where it shrinks.
pub fn resize(mask: &[f32], from: usize, to: usize) -> Vec<f32> {
    resize::resize(mask, from, to)
}
