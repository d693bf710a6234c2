//! Landmark lists of the 468-point mesh, and the masks drawn from them.

use super::blur::Blur;
use super::canonical::{Points, smoothstep};
use super::plane::{Plane, Rect};
use super::polygon::{convex_hull, fill};

/// The face's rim, clockwise from the forehead's middle.
pub const OVAL: [usize; 36] = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];
/// Brows, picture left first.
pub const BROWS: [[usize; 10]; 2] =
    [[70, 63, 105, 66, 107, 55, 65, 52, 53, 46], [300, 293, 334, 296, 336, 285, 295, 282, 283, 276]];
/// Eye openings, picture left first.
pub const EYES: [[usize; 16]; 2] = [
    [33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7],
    [263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249],
];
/// Rings round the eyes: the crease above, the first fold below. Same order as [`EYES`].
pub const LIDS: [[usize; 16]; 2] = [
    [226, 247, 30, 29, 27, 28, 56, 190, 243, 112, 26, 22, 23, 24, 110, 25],
    [446, 467, 260, 259, 257, 258, 286, 414, 463, 341, 256, 252, 253, 254, 339, 255],
];
/// Outer rim of the lips.
pub const LIPS: [usize; 20] =
    [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146];
/// Inner rim of the lips: the mouth's opening.
pub const MOUTH: [usize; 20] =
    [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95];
/// Nostrils with the wings' inner sides; their convex hulls are meant.
pub const NOSTRILS: [&[usize]; 2] = [
    &[59, 75, 60, 20, 238, 79, 166, 242, 97, 99, 240, 98, 64],
    &[289, 305, 290, 250, 458, 309, 392, 462, 326, 328, 460, 327, 294],
];
/// Points that surely lie on bare skin: cheeks and the nose's ridge.
pub const CHEEKS: [usize; 22] =
    [50, 101, 118, 117, 123, 147, 187, 205, 36, 280, 330, 347, 346, 352, 376, 411, 425, 266, 4, 5, 195, 197];
/// Where fringe and side hair may lie: from temple to temple along the brows' upper rims…
pub const FOREHEAD_LOWER: [usize; 13] = [127, 70, 63, 105, 66, 107, 9, 336, 296, 334, 293, 300, 356];
/// …and back along the oval.
pub const FOREHEAD_UPPER: [usize; 15] = [356, 389, 251, 284, 332, 297, 338, 10, 109, 67, 103, 54, 21, 162, 127];

/// Draws landmark polygons on a grid.
#[derive(Default)]
pub struct Outlines {
    polygon: Vec<[f32; 2]>,
    crossings: Vec<f32>,
}

impl Outlines {
    /// Adds the polygon through `ring` to `plane`; `points` in the plane's lattice coordinates.
    pub fn add(&mut self, plane: &mut Plane, points: &Points, ring: &[usize]) {
        self.polygon.clear();
        self.polygon.extend(ring.iter().map(|&i| [points[i][0], points[i][1]]));
        fill(plane, &self.polygon, &mut self.crossings);
    }

    /// Adds the convex hull of `cloud`.
    pub fn add_hull(&mut self, plane: &mut Plane, points: &Points, cloud: &[usize]) {
        self.polygon.clear();
        self.polygon.extend(cloud.iter().map(|&i| [points[i][0], points[i][1]]));
        let hull = convex_hull(&self.polygon);
        fill(plane, &hull, &mut self.crossings);
    }

    /// The ring `(1 − share)·inner + share·outer`; `shares` of its first and of its second half: of an eye the upper and
    /// the lower one.
    pub fn between(&mut self, points: &Points, rings: [&[usize]; 2], shares: [f32; 2]) -> &[[f32; 2]] {
        let [inner, outer] = rings;
        let half = inner.len() / 2;
        self.polygon.clear();
        self.polygon.extend(inner.iter().zip(outer).enumerate().map(|(number, (&i, &o))| {
            let is_corner = number % half == 0;
            let share = if is_corner { shares[0].min(shares[1]) } else { shares[number / half] };
            [0, 1].map(|axis| points[i][axis] + (points[o][axis] - points[i][axis]) * share)
        }));
        &self.polygon
    }

    /// The forehead down to just above the brows, reaching 0.1 face widths beyond the oval. `up`: a direction.
    pub fn forehead(&mut self, points: &Points, face_width: f32, up: [f32; 2]) -> &[[f32; 2]] {
        self.polygon.clear();
        let raised = |i: usize, by: f32| [0, 1].map(|axis| points[i][axis] + up[axis] * (by * face_width));
        self.polygon.extend(FOREHEAD_LOWER.map(|i| raised(i, 0.01)));
        self.polygon.extend(FOREHEAD_UPPER.map(|i| raised(i, 0.1)));
        &self.polygon
    }

    /// Adds the polygon last asked for to `plane`, which is the part `rect` of its grid.
    pub fn fill_last(&mut self, plane: &mut Plane, rect: Rect) {
        let origin = [rect.x as f32, rect.y as f32];
        self.polygon.iter_mut().for_each(|point| *point = [point[0] - origin[0], point[1] - origin[1]]);
        fill(plane, &self.polygon, &mut self.crossings);
    }
}

/// 1 on brows, eyes, lips and nostrils, grown by about 0.02 face widths: what must not enter the light field.
pub fn feature_mask(outlines: &mut Outlines, blur: &mut Blur, points: &Points, face_width: f32, mask: &mut Plane) {
    for ring in BROWS {
        outlines.add(mask, points, &ring);
    }
    for ring in EYES {
        outlines.add(mask, points, &ring);
    }
    outlines.add(mask, points, &LIPS);
    for cloud in NOSTRILS {
        outlines.add_hull(mask, points, cloud);
    }
    blur.in_place(mask, 0.02 * face_width);
    mask.data.iter_mut().for_each(|v| *v = smoothstep(0.07, 0.17, *v));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Turn;
    use crate::vision::swap::canonical::{canonical, face_width};

    #[test]
    fn the_lower_half_of_an_eyes_ring_reaches_farther_than_the_upper() {
        let face = canonical().points;
        for (eye, lids) in EYES.iter().zip(&LIDS) {
            let mut outlines = Outlines::default();
            let ring = outlines.between(&face, [eye, lids], [0.0, 1.0]);
            for (number, (found, (&inner, &outer))) in ring.iter().zip(eye.iter().zip(lids)).enumerate() {
                let expected = face[if number > 8 { outer } else { inner }];
                assert_eq!(found[..], expected[..2], "{number}");
            }
            assert!(ring[9..].iter().zip(&eye[9..]).all(|(found, &inner)| found[1] > face[inner][1]), "y is down");
        }
    }

    #[test]
    fn the_forehead_lies_above_the_face_as_it_is_shown() {
        let face = canonical().points;
        let width = face_width(&face);
        let upright = Outlines::default().forehead(&face, width, Turn::None.up()).to_vec();
        let highest = |points: &[[f32; 2]]| points.iter().map(|point| point[1]).fold(f32::MAX, f32::min);
        let oval = OVAL.map(|i| [face[i][0], face[i][1]]);
        assert!((highest(&oval) - highest(&upright) - 0.1 * width).abs() < 1e-4 * width);
        for turn in Turn::ALL {
            let stored = |[x, y]: [f32; 2]| turn.to_stored([x, y].map(f64::from), (1, 1)).map(|value| value as f32);
            let points = face.map(|[x, y, z]| {
                let [x, y] = stored([x, y]);
                [x, y, z]
            });
            let expected = upright.iter().map(|&point| stored(point));
            let mut outlines = Outlines::default();
            for (found, expected) in outlines.forehead(&points, width, turn.up()).iter().zip(expected) {
                let apart = (found[0] - expected[0]).hypot(found[1] - expected[1]);
                assert!(apart < 1e-4 * width, "{turn:?}: {found:?}, expected {expected:?}");
            }
        }
    }
}
