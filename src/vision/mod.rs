//! Faces: found, followed and changed, straight in the planes of a frame. The only user of `ort` (in [`model`]).
//!
//! A frame meets [`scene`] (is it a cut?), [`detect`] and [`mesh`] at anchors, [`mesh`] alone between them, [`smooth`]
//! once its neighbours are known, and then [`swap`]. [`track`] holds these together. Nothing here knows a topic, a path
//! or a bucket.
//!
//! Coordinates are picture pixels of the luma plane as it is stored, x to the right and y down, pixel centres at whole
//! numbers (as OpenCV). A phone's picture may be stored turned ([`crate::frame::Turn`]): [`detect`] looks at it as it is
//! shown, and the forehead's hair is looked for above the face as shown; the rest goes by landmarks and knows no up.

pub mod aligned;
pub mod card;
pub mod catalog;
pub mod chain;
pub mod contract;
pub mod crop;
pub mod detect;
pub mod error;
pub mod execution;
pub mod feed;
pub mod find;
pub mod gate;
pub mod geometry;
pub mod mesh;
pub mod model;
pub mod onnx;
pub mod provenance;
pub mod recogniser;
mod resample;
pub mod rgb;
pub mod scene;
pub mod smooth;
pub mod source;
pub mod swap;
pub mod track;
pub mod turn;
pub mod upscale;

#[cfg(test)]
pub(crate) mod testing;

pub use catalog::{Catalog, Model};
pub use error::VisionError;
pub use execution::{Execution, Providers};
pub use find::{DetectedFace, TrackNets, detect_and_mesh};

/// Points of a mesh.
pub const MESH_POINTS: usize = 468;

/// The 468 points of MediaPipe's face mesh: x and y in picture pixels, z in the same scale, smaller is nearer to the
/// camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh(pub [[f32; 3]; MESH_POINTS]);

/// A face in a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Face {
    /// Where its points are.
    pub mesh: Mesh,
    /// How sure the mesh network is that a face is there, 0..=1. It says little about whether the mesh sits right.
    pub presence: f32,
    /// How far the head is turned away, degrees, positive towards the picture's right as the face stands upright; 0 where nobody has looked
    /// ([`turn`]).
    pub turn: f32,
}

/// A rectangle along the picture's axes, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Least x.
    pub left: f32,
    /// Least y.
    pub top: f32,
    /// Greatest x.
    pub right: f32,
    /// Greatest y.
    pub bottom: f32,
}

/// Corners of the right and of the left eye (the person's own), outer and inner.
const EYE_CORNERS: [[usize; 2]; 2] = [[33, 133], [263, 362]];

impl Mesh {
    /// Centre of each eye's corners, the person's right eye (at the picture's left) first.
    pub fn eyes(&self) -> [[f64; 2]; 2] {
        EYE_CORNERS.map(|corners| {
            let mean = |axis: usize| corners.iter().map(|&point| f64::from(self.0[point][axis])).sum::<f64>() / 2.0;
            [mean(0), mean(1)]
        })
    }

    /// Inter-ocular distance: between the centres of the eyes' corners, pixels.
    pub fn iod(&self) -> f64 {
        let [right, left] = self.eyes();
        (left[0] - right[0]).hypot(left[1] - right[1])
    }

    /// The smallest rectangle around all points.
    pub fn bounds(&self) -> Bounds {
        let first = Bounds { left: self.0[0][0], top: self.0[0][1], right: self.0[0][0], bottom: self.0[0][1] };
        self.0.iter().fold(first, |bounds, &[x, y, _]| Bounds {
            left: bounds.left.min(x),
            top: bounds.top.min(y),
            right: bounds.right.max(x),
            bottom: bounds.bottom.max(y),
        })
    }

    /// Width of the face in three dimensions, whichever way it looks: from ear to ear, |p454 − p234|, pixels.
    pub fn face_width(&self) -> f32 {
        let (a, b) = (self.0[454], self.0[234]);
        (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum::<f32>().sqrt()
    }

    /// Mean of all points, x and y.
    pub fn centre(&self) -> [f64; 2] {
        let mean = |axis: usize| self.0.iter().map(|point| f64::from(point[axis])).sum::<f64>() / MESH_POINTS as f64;
        [mean(0), mean(1)]
    }

    /// Five points in the order of the detector and of ArcFace's templates: eye centres and mouth corners, each the
    /// picture's left first, and the tip of the nose between them. Points 1, 61, 291 and the lids and corners of the
    /// eyes.
    pub fn five_points(&self) -> [[f64; 2]; 5] {
        let mean = |points: &[usize]| {
            let axis = |axis: usize| {
                points.iter().map(|&point| f64::from(self.0[point][axis])).sum::<f64>() / points.len() as f64
            };
            [axis(0), axis(1)]
        };
        [mean(&[33, 133, 159, 145]), mean(&[263, 362, 386, 374]), mean(&[1]), mean(&[61]), mean(&[291])]
    }
}

impl Bounds {
    /// Intersection over union of two rectangles, 0..=1.
    pub fn iou(&self, other: &Bounds) -> f64 {
        let width = f64::from(self.right.min(other.right)) - f64::from(self.left.max(other.left));
        let height = f64::from(self.bottom.min(other.bottom)) - f64::from(self.top.max(other.top));
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let intersection = width * height;
        intersection / (self.area() + other.area() - intersection)
    }

    /// Square pixels.
    pub fn area(&self) -> f64 {
        (f64::from(self.right) - f64::from(self.left)) * (f64::from(self.bottom) - f64::from(self.top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_of_rectangles() {
        let check = |a: [f32; 4], b: [f32; 4], expected: f64| {
            let bounds = |[left, top, right, bottom]: [f32; 4]| Bounds { left, top, right, bottom };
            assert!((bounds(a).iou(&bounds(b)) - expected).abs() < 1e-9, "{a:?} {b:?}");
            assert!((bounds(b).iou(&bounds(a)) - expected).abs() < 1e-9, "{b:?} {a:?}");
        };
        check([0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0], 1.0);
        check([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], 1.0 / 3.0);
        check([0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 2.0], 0.0);
        check([0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 0.0);
    }
}
