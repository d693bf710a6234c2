//! How far eyes are open. The face mesh barely closes its lids, so the iris network's lid contour is measured instead.

use crate::frame::YuvRef;
use crate::vision::card::Role;
use crate::vision::catalog::Catalog;
use crate::vision::crop;
use crate::vision::error::VisionError;
use crate::vision::geometry::Affine;
use crate::vision::model::{Execution, Network, Tensor};

use super::canonical::{Points, smoothstep};

/// Side of the network's crop, pixels.
const SIDE: usize = 64;
/// Side of the crop in eye widths (MediaPipe Iris).
const CROP_WIDTHS: f64 = 2.3;
/// Corners of both eyes, from the picture's left to its right.
const CORNERS: [[usize; 2]; 2] = [[33, 133], [362, 263]];
/// The lid contour among the network's points: 0..=8 lower lid, 9..=15 upper lid, both from the same corner.
const LOWER_LID: std::ops::RangeInclusive<usize> = 0..=8;
const UPPER_LID: std::ops::RangeInclusive<usize> = 9..=15;

/// Share of the face behind something from which on it begins to be, and is, taken for a hand.
const HAND: (f32, f32) = (0.03, 0.10);

/// The network that sees lids.
pub struct EyeNet {
    network: Network,
    picture: Vec<f32>,
    gain: f32,
}

impl EyeNet {
    /// Loads the first network of role `eyes`.
    ///
    /// # Errors
    /// [`VisionError`] if the catalog has none or it cannot be loaded.
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of_role(Role::Eyes)?;
        let network = Network::load(model, execution)?;
        Ok(Self { network, picture: vec![0.0; SIDE * SIDE * 3], gain: model.card.picture()?.scale.each()[0] })
    }

    /// Area of each eye's opening over its width squared, picture left first: open 0.18 to 0.29, closed below 0.10.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn openness(&mut self, picture: &YuvRef<'_>, points: &Points) -> Result<[f32; 2], VisionError> {
        let mut openness = [0.0; 2];
        for (eye, open) in openness.iter_mut().enumerate() {
            // The network knows one side only: the picture's left eye is shown mirrored.
            let is_mirrored = eye == 0;
            let map = eye_crop(points, CORNERS[eye], is_mirrored);
            crop::sample(picture, &map, (SIDE, SIDE), self.gain, &mut self.picture);
            let input = Tensor { shape: &[1, SIDE, SIDE, 3], data: &self.picture };
            let outputs = self.network.run(&[input])?;
            *open = contour_openness(outputs.get(0)?);
        }
        Ok(openness)
    }
}

/// From crop pixels to the picture.
fn eye_crop(points: &Points, corners: [usize; 2], is_mirrored: bool) -> Affine {
    let [left, right] = corners.map(|i| [0, 1].map(|axis| f64::from(points[i][axis])));
    let along = [0, 1].map(|axis| (right[axis] - left[axis]) * CROP_WIDTHS / SIDE as f64);
    let half = SIDE as f64 / 2.0;
    let row = |axis: usize, x: f64, y: f64| {
        let centre = (left[axis] + right[axis]) / 2.0 - half * x - half * y;
        if is_mirrored { [-x, y, centre + (SIDE as f64 - 1.0) * x] } else { [x, y, centre] }
    };
    Affine([row(0, along[0], -along[1]), row(1, along[1], along[0])])
}

/// `values`: x, y, z per point.
fn contour_openness(values: &[f32]) -> f32 {
    let (points, _) = values.as_chunks::<3>();
    let Some([.., _]) = points.get(..=*UPPER_LID.end()) else { return 0.0 };
    let mut area = 0.0;
    let ring = || LOWER_LID.chain(UPPER_LID.rev());
    for (i, j) in ring().zip(ring().cycle().skip(1)) {
        area += points[i][0] * points[j][1] - points[j][0] * points[i][1];
    }
    let (from, to) = (points[*LOWER_LID.start()], points[*LOWER_LID.end()]);
    let width = (to[0] - from[0]).powi(2) + (to[1] - from[1]).powi(2);
    area.abs() / 2.0 / (width + 1e-6)
}

/// How much of the lids, and not only of the opening, the target keeps: 0 = as open as the portrait's eye, 1 = closed.
pub fn keep_lids(target: f32, portrait: f32) -> f32 {
    let closed = 1.0 - smoothstep(0.08, 0.17, target);
    let narrower = smoothstep(0.06, 0.16, (portrait - target).max(0.0));
    closed.max(narrower)
}

/// An eye beside a hand is often read as open, so that before a hand both are taken to be as closed as the more closed
/// one. `covered`: 1 at vertices behind something. (Where that is wrong the target keeps its own lids.)
pub fn before_a_hand(eyelids: [f32; 2], covered: &[f32; 468]) -> [f32; 2] {
    let hand = smoothstep(HAND.0, HAND.1, covered.iter().sum::<f32>() / covered.len() as f32);
    [0, 1].map(|eye| eyelids[eye].max(hand * eyelids[1 - eye]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::swap::canonical::canonical;

    #[test]
    fn closed_and_narrowed_eyes_keep_their_lids() {
        for (target, portrait, expected) in [(0.25, 0.25, 0.0), (0.05, 0.25, 1.0), (0.05, 0.05, 1.0), (0.24, 0.40, 1.0)]
        {
            assert_eq!(keep_lids(target, portrait), expected, "{target} {portrait}");
        }
    }

    #[test]
    fn before_a_hand_both_eyes_are_closed_if_one_is() {
        let covered = |count: usize| std::array::from_fn(|vertex| f32::from(u8::from(vertex < count)));
        for (count, expected) in [(0, [0.1, 1.0]), (10, [0.1, 1.0]), (60, [1.0, 1.0])] {
            assert_eq!(before_a_hand([0.1, 1.0], &covered(count)), expected, "{count}");
        }
    }

    #[test]
    fn openness_is_area_over_width_squared() {
        // A rectangle 8 wide and 2 high.
        let mut points: Vec<[f32; 3]> = (0..=8).map(|x| [x as f32, 2.0, 0.0]).collect();
        points.extend((0..7).map(|x| {
            [
                if x == 0 {
                    0.0
                } else if x == 6 {
                    8.0
                } else {
                    x as f32 + 1.0
                },
                0.0,
                0.0,
            ]
        }));
        assert!((contour_openness(points.as_flattened()) - 16.0 / 64.0).abs() < 1e-5);
        assert_eq!(contour_openness(&[0.0; 9]), 0.0);
    }

    #[test]
    fn crops_are_centred_on_the_eye_and_mirrored_ones_run_backwards() {
        let points = canonical().points;
        for (eye, is_mirrored) in [(0, true), (1, false)] {
            let map = eye_crop(&points, CORNERS[eye], is_mirrored);
            let [left, right] = [0.0, 63.0].map(|x| map.apply([x, 32.0]));
            assert_eq!(left[0] > right[0], is_mirrored);
            let middle = map.apply([31.5, 32.0]);
            let expected = (points[CORNERS[eye][0]][0] + points[CORNERS[eye][1]][0]) / 2.0;
            assert!((middle[0] as f32 - expected).abs() < 0.1, "{middle:?}, expected x {expected}");
        }
    }
}
