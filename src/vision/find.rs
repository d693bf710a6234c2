//! All faces of one picture, found afresh: at anchors, and in portraits.

use crate::frame::YuvRef;

use super::catalog::Catalog;
use super::detect::{Detector, DetectorSettings};
use super::error::VisionError;
use super::mesh::{ANCHOR_PASSES, MeshNet, PORTRAIT_PASSES};
use super::model::Execution;
use super::turn::TurnNet;
use super::{Bounds, Face};

/// Two meshes of one frame whose rectangles overlap by more than this (IoU) are one face.
const SAME_FACE_IOU: f64 = 0.4;

/// The networks that finding and following faces takes.
pub struct TrackNets {
    /// Boxes and five points.
    pub detector: Detector,
    /// 468 points.
    pub mesh: MeshNet,
    /// How heads are turned, where somebody asks.
    pub turn: Option<TurnNet>,
}

/// A face of a portrait.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectedFace {
    /// The detector's box.
    pub bounds: Bounds,
    /// The detector's score, 0..=1.
    pub score: f64,
    /// The mesh after six passes.
    pub face: Face,
}

impl TrackNets {
    /// Loads both networks.
    ///
    /// # Errors
    /// As [`Detector::load`] and [`MeshNet::load`].
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        Self::load_with(catalog, &DetectorSettings::default(), execution)
    }

    /// The same with a detector of the caller's choice.
    ///
    /// # Errors
    /// As [`TrackNets::load`].
    pub fn load_with(
        catalog: &Catalog,
        detector: &DetectorSettings,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let detector = Detector::load(catalog, detector, execution)?;
        Ok(Self { detector, mesh: MeshNet::load(catalog, execution)?, turn: None })
    }

    /// The faces of a frame, the surest first.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn anchor(&mut self, picture: &YuvRef<'_>) -> Result<Vec<Face>, VisionError> {
        let found = self.find(picture, ANCHOR_PASSES)?;
        Ok(found.into_iter().map(|found| found.face).collect())
    }

    /// The face with its turn, if that is asked for.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn turned(&mut self, picture: &YuvRef<'_>, face: Face) -> Result<Face, VisionError> {
        match &mut self.turn {
            Some(net) => Ok(Face { turn: net.degrees(picture, &face.mesh)?, ..face }),
            None => Ok(face),
        }
    }

    /// Faces with their boxes, the surest first.
    fn find(&mut self, picture: &YuvRef<'_>, passes: usize) -> Result<Vec<DetectedFace>, VisionError> {
        let mut found: Vec<DetectedFace> = Vec::new();
        for detection in self.detector.detect(picture)? {
            let Some(face) = self.mesh.start(picture, &detection.points, passes)? else { continue };
            if !is_among(&face, found.iter().map(|found| &found.face)) {
                found.push(DetectedFace { bounds: detection.bounds, score: detection.score, face });
            }
        }
        Ok(found)
    }
}

/// All faces of a portrait, the largest first.
///
/// # Errors
/// [`VisionError::Network`].
pub fn detect_and_mesh(nets: &mut TrackNets, picture: &YuvRef<'_>) -> Result<Vec<DetectedFace>, VisionError> {
    let mut found = nets.find(picture, PORTRAIT_PASSES)?;
    found.sort_by(|a, b| b.bounds.area().total_cmp(&a.bounds.area()));
    Ok(found)
}

/// `face` lies on one of `others`.
pub fn is_among<'a>(face: &Face, mut others: impl Iterator<Item = &'a Face>) -> bool {
    let bounds = face.mesh.bounds();
    others.any(|other| other.mesh.bounds().iou(&bounds) > SAME_FACE_IOU)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pixels;
    use crate::vision::testing;

    #[test]
    fn faces_of_a_portrait_come_largest_first() {
        let mut nets = testing::nets();
        let photo = testing::portrait();
        let place = |x: f32, y: f32| {
            photo.get_pixel_checked(x as u32, y as u32).map_or([90.0; 3], |pixel| pixel.0.map(f32::from))
        };
        let frame = testing::draw(640, 360, testing::CLIP_COLOR, |x, y| {
            let (x, y) = (x as f32, y as f32);
            if x < 280.0 { place(x + 90.0, y) } else { place((x - 320.0) / 1.3 + 90.0, y / 1.3) }
        });
        let found = detect_and_mesh(&mut nets, &frame.view()).unwrap();
        let widths: Vec<f32> = found.iter().map(|found| found.face.mesh.face_width()).collect();
        assert_eq!(found.len(), 2, "{widths:?}");
        assert!((widths[0] / widths[1] - 1.3).abs() < 0.1, "{widths:?}");
        assert!(found[0].bounds.left > 320.0 && found[1].bounds.right < 280.0, "{found:?}");
        assert!(is_among(&found[0].face, found.iter().map(|found| &found.face)));
        assert!(!is_among(&found[0].face, [&found[1].face].into_iter()));
    }
}
