//! How far the head is turned away. From about 40° on the face mesh shows less than half of the turn and hangs its far
//! cheek into the background, so five points of the detector are measured instead, afresh in each frame.

use crate::frame::YuvRef;

use super::Mesh;
use super::catalog::Catalog;
use super::detect::{Detector, DetectorSettings};
use super::error::VisionError;
use super::geometry::{Crop, Point};
use super::model::Execution;

/// Side of the detector's crop, pixels: the face is about 60 of them wide.
const SIDE: usize = 96;
/// Side of that crop beside the mesh network's: there is room for the back of the head.
const ROOM: f64 = 1.5;
/// Surer than this, the points are taken for a face. A profile is found with less certainty than a face in a picture.
const LEAST_SCORE: f64 = 0.4;
/// The nose's tip before the plane of eyes and mouth, and the mean distance of the eyes and of the mouth's corners,
/// both beside the height from the eyes to the mouth, in the canonical face.
const NOSE: f64 = 0.504;
const SPAN: f64 = 0.806;
/// The mesh shows about this share of a turn of 15° to 45°; beyond that, any.
const MESH_GAIN: f32 = 1.0 / 0.6;
/// The network that sees how heads are turned.
pub struct TurnNet {
    detector: Detector,
}

impl TurnNet {
    /// Loads the first network of role `detector`.
    ///
    /// # Errors
    /// [`VisionError`] if the catalog has none or it cannot be loaded.
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        let settings = DetectorSettings { least_score: Some(LEAST_SCORE), ..DetectorSettings::default() };
        Ok(Self { detector: Detector::load(catalog, &settings, execution)? })
    }

    /// How far the head is turned, degrees: positive towards the picture's right as the face stands upright, 0 where no
    /// points are seen and the mesh looks ahead. Pitch and roll do not matter.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn degrees(&mut self, picture: &YuvRef<'_>, mesh: &Mesh) -> Result<f32, VisionError> {
        let crop = Crop::from_mesh(mesh);
        let wide = Crop { side: ROOM * crop.side, ..crop };
        let points = self.detector.points_in(picture, &wide, SIDE)?;
        let seen = points.map_or(0.0, |points| turn(&points));
        let of_mesh = MESH_GAIN * mesh_turn(mesh);
        Ok(if of_mesh.abs() > seen.abs() { of_mesh } else { seen })
    }
}

/// What the mesh says: the slope of the line from ear to ear, degrees.
fn mesh_turn(mesh: &Mesh) -> f32 {
    let depth = mesh.0[454][2] - mesh.0[234][2];
    (depth / mesh.face_width()).clamp(-1.0, 1.0).asin().to_degrees()
}

/// What the five points say, degrees.
fn turn(points: &[Point; 5]) -> f32 {
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = *points;
    let mean = |a: Point, b: Point| [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
    let (eyes, mouth) = (mean(left_eye, right_eye), mean(left_mouth, right_mouth));
    let down = [mouth[0] - eyes[0], mouth[1] - eyes[1]];
    // Along what is across the face; times the height from eyes to mouth, which cancels out.
    let across = |from: Point, to: Point| (to[0] - from[0]) * down[1] - (to[1] - from[1]) * down[0];
    let aside = across(mean(eyes, mouth), nose) / NOSE;
    let span = (across(left_eye, right_eye) + across(left_mouth, right_mouth)) / 2.0 / SPAN;
    aside.atan2(span).to_degrees() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Mesh;
    use crate::vision::swap::canonical::canonical;

    #[test]
    fn a_turn_is_measured_whatever_pitch_and_roll() {
        for (yaw, pitch, roll) in [(0.0, 0.0, 0.0), (45.0, 0.0, 30.0), (-60.0, 15.0, 0.0), (75.0, -15.0, -90.0)] {
            let turned = |[x, y, z]: [f32; 3]| {
                let rotate = |[a, b]: [f64; 2], degrees: f64| {
                    let (sin, cos) = degrees.to_radians().sin_cos();
                    [cos * a - sin * b, cos * b + sin * a]
                };
                let ([x, z], y) = (rotate([x, z].map(f64::from), yaw), f64::from(y));
                let [y, z] = rotate([y, z], pitch);
                let [x, y] = rotate([x, y], roll);
                [x, y, z].map(|value| value as f32)
            };
            let found = turn(&Mesh(canonical().points.map(turned)).five_points());
            assert!((f64::from(found) - yaw).abs() < 6.0, "{yaw} {pitch} {roll}: {found}");
        }
    }
}
