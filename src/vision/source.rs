//! A photo that lends its face: which one, and where.

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::frame::{Frame, Matrix, Pixels};

use super::error::VisionError;
use super::find::{DetectedFace, TrackNets, detect_and_mesh};
use super::{Bounds, Face, MESH_POINTS};

/// Long side at which faces are looked for, pixels.
const DETECTION_SIDE: u32 = 2048;

/// A photo, as large as it is looked at, and the face chosen in it.
pub struct Source {
    /// The photo's planes, its long side at most 2048 pixels.
    pub photo: Frame,
    /// The face, in these pixels.
    pub face: Face,
    /// Pixels of the photo as it came per pixel of `photo`, across and down.
    scale: [f32; 2],
}

impl Source {
    /// Finds the face of a photo. `source_face` chooses among several, numbered left to right from 0; a photo that shows one face needs no
    /// choice.
    ///
    /// # Errors
    /// [`VisionError::NoFace`]; [`VisionError::SeveralFaces`] if there are several and none is chosen;
    /// [`VisionError::NoSuchFace`]; and what the networks report.
    pub fn find(photo: &RgbImage, nets: &mut TrackNets, source_face: Option<usize>) -> Result<Self, VisionError> {
        let long_side = photo.width().max(photo.height());
        let reduction = (long_side as f32 / DETECTION_SIDE as f32).max(1.0);
        let reduced = (reduction > 1.0).then(|| {
            let size = |side: u32| ((side as f32 / reduction).round() as u32).max(1);
            imageops::resize(photo, size(photo.width()), size(photo.height()), FilterType::Triangle)
        });
        let small = reduced.as_ref().unwrap_or(photo);
        let planes = Frame::from_rgb(small.width() as usize, small.height() as usize, small, Matrix::Bt601);
        let mut found = detect_and_mesh(nets, &planes.view())?;
        found.sort_by(|a, b| a.bounds.left.total_cmp(&b.bounds.left));
        let scale = [photo.width() as f32 / small.width() as f32, photo.height() as f32 / small.height() as f32];
        let chosen = choose(&found, source_face, |point| enlarged(point, scale))?;
        Ok(Self { face: found.swap_remove(chosen).face, photo: planes, scale })
    }

    /// The mesh in the photo as it came.
    pub fn mesh(&self) -> [[f32; 3]; MESH_POINTS] {
        self.face.mesh.0.map(|[x, y, z]| {
            let [x, y] = enlarged([x, y], self.scale);
            [x, y, z * self.scale[0]]
        })
    }
}

fn enlarged(point: [f32; 2], scale: [f32; 2]) -> [f32; 2] {
    [0, 1].map(|axis| (point[axis] + 0.5) * scale[axis] - 0.5)
}

/// Which of a photo's faces, from left to right, lends; `to_photo` brings their places to the photo as it came.
fn choose(
    found: &[DetectedFace],
    source_face: Option<usize>,
    to_photo: impl Fn([f32; 2]) -> [f32; 2],
) -> Result<usize, VisionError> {
    match (source_face, found.len()) {
        (_, 0) => Err(VisionError::NoFace),
        (_, 1) => Ok(0),
        (None, _) => {
            let place = |bounds: &Bounds| {
                let ([left, top], [right, bottom]) =
                    (to_photo([bounds.left, bounds.top]), to_photo([bounds.right, bounds.bottom]));
                [left, top, right, bottom]
            };
            Err(VisionError::SeveralFaces { faces: found.iter().map(|face| place(&face.bounds)).collect() })
        }
        (Some(chosen), count) if chosen < count => Ok(chosen),
        (Some(chosen), count) => Err(VisionError::NoSuchFace { chosen, count }),
    }
}
