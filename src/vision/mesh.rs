//! The 468-point mesh: from a detection, or from the face's place in the neighbouring frame.

use crate::frame::YuvRef;

use super::card::{Colour, Layout, Role};
use super::catalog::Catalog;
use super::crop;
use super::error::VisionError;
use super::geometry::{CROP_SIDE, Crop, Point};
use super::model::{Execution, Network, Tensor};
use super::{Face, MESH_POINTS, Mesh};

/// Passes from a detection; the mesh converges to 0.1 px in three to four.
pub const ANCHOR_PASSES: usize = 4;
/// Passes for a portrait, of which everything else hangs.
pub const PORTRAIT_PASSES: usize = 6;
/// A tracked mesh is run again if its crop moved by more than this, see [`Crop::moved`].
const SECOND_PASS_MOVE: f64 = 0.02;
/// Less presence than this: the face is lost.
const LEAST_PRESENCE: f32 = 0.5;
/// A face that grows or shrinks by more than this between frames, |Δ ln side|, is a mesh torn by something in front.
const LARGEST_SCALE_STEP: f64 = 0.10;
/// A mesh with a smaller inter-ocular distance has collapsed, pixels.
const LEAST_IOD: f64 = 4.0;

/// The mesh network, ready to run.
pub struct MeshNet {
    network: Network,
    points: usize,
    presence: usize,
    shape: [usize; 4],
    gain: f32,
    input: Vec<f32>,
    runs: u64,
}

impl MeshNet {
    /// Loads the catalogue's mesh network.
    ///
    /// # Errors
    /// As [`Network::load`]; [`VisionError::Card`] if the card asks for another kind of input.
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of_role(Role::Landmarks)?;
        let (card, picture) = (&model.card, model.card.picture()?);
        let shape: [usize; 4] = card.fixed_input(0)?;
        let is_as_sampled = picture.colour == Colour::Rgb && picture.layout == Layout::Nchw && picture.mean == [0.0; 3];
        if !is_as_sampled || shape != [1, 3, CROP_SIDE as usize, CROP_SIDE as usize] {
            return Err(VisionError::Card {
                card: card.id.clone(),
                reason: format!(
                    "input is {} (expected a {CROP_SIDE}×{CROP_SIDE} RGB picture, nchw, mean 0)",
                    card.inputs[0]
                ),
            });
        }
        Ok(Self {
            points: card.output_index("conv2d_21")?,
            presence: card.output_index("conv2d_31")?,
            gain: picture.scale.each()[0],
            input: vec![0.0; shape.iter().product()],
            shape,
            network: Network::load(model, execution)?,
            runs: 0,
        })
    }

    /// How often the network has been run.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The face that the five points of a detection mark, or `None` if there is none.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn start(
        &mut self,
        picture: &YuvRef<'_>,
        points: &[Point; 5],
        passes: usize,
    ) -> Result<Option<Face>, VisionError> {
        let Some(mut face) = self.look(picture, &Crop::from_five_points(points))? else { return Ok(None) };
        for _ in 1..passes {
            let Some(better) = self.look(picture, &Crop::from_mesh(&face.mesh))? else { return Ok(None) };
            face = better;
        }
        Ok(Some(face))
    }

    /// The face that lies at `previous` in the neighbouring frame, or `None` if it is lost.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn follow(&mut self, picture: &YuvRef<'_>, previous: &Mesh) -> Result<Option<Face>, VisionError> {
        let before = Crop::from_mesh(previous);
        let Some(mut face) = self.look(picture, &before)? else { return Ok(None) };
        let mut now = Crop::from_mesh(&face.mesh);
        if before.moved(&now, face.mesh.iod()) > SECOND_PASS_MOVE {
            let Some(better) = self.look(picture, &now)? else { return Ok(None) };
            face = better;
            now = Crop::from_mesh(&face.mesh);
        }
        let is_torn = before.scaled(&now).abs() > LARGEST_SCALE_STEP;
        Ok((!is_torn).then_some(face))
    }

    /// One pass over `crop`; `None` if no usable face is in it.
    fn look(&mut self, picture: &YuvRef<'_>, crop: &Crop) -> Result<Option<Face>, VisionError> {
        let to_picture = crop.to_picture(CROP_SIDE);
        let [_, _, rows, columns] = self.shape;
        crop::sample_planar(picture, &to_picture, (columns, rows), self.gain, &mut self.input);
        self.runs += 1;
        let outputs = self.network.run(&[Tensor { shape: &self.shape, data: &self.input }])?;
        let (points, logit) = (outputs.get(self.points)?, outputs.get(self.presence)?);
        let presence = logit.first().map_or(0.0, |logit| 1.0 / (1.0 + (-logit).exp()));
        let depth_step = crop.side / CROP_SIDE;
        let mut mesh = Mesh([[0.0; 3]; MESH_POINTS]);
        for (point, values) in mesh.0.iter_mut().zip(points.chunks_exact(3)) {
            let [x, y] = to_picture.apply([f64::from(values[0]), f64::from(values[1])]);
            *point = [x as f32, y as f32, (f64::from(values[2]) * depth_step) as f32];
        }
        let is_face = presence >= LEAST_PRESENCE && is_sane(&mesh, picture);
        Ok(is_face.then_some(Face { mesh, presence, turn: 0.0 }))
    }
}

/// Not collapsed, not exploded, and its centre in the picture.
fn is_sane(mesh: &Mesh, picture: &YuvRef<'_>) -> bool {
    let [x, y] = mesh.centre();
    let is_in_picture = x >= 0.0 && x < picture.width() as f64 && y >= 0.0 && y < picture.height() as f64;
    is_in_picture && mesh.iod() > LEAST_IOD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Pixels};
    use crate::vision::testing;

    #[test]
    fn a_face_is_followed_to_where_a_detection_finds_it() {
        let mut nets = testing::nets();
        let frames: Vec<Frame> = (0..4).map(|index| testing::moving_portrait(index, 320, 180)).collect();
        let find = |nets: &mut crate::vision::TrackNets, frame: &Frame| {
            let found = nets.detector.detect(&frame.view()).unwrap();
            nets.mesh.start(&frame.view(), &found[0].points, PORTRAIT_PASSES).unwrap().unwrap()
        };
        let mut face = find(&mut nets, &frames[0]);
        for frame in &frames[1..] {
            face = nets.mesh.follow(&frame.view(), &face.mesh).unwrap().expect("the face is there");
        }
        let fresh = find(&mut nets, &frames[3]);
        let apart = |(p, q): (&[f32; 3], &[f32; 3])| (p[0] - q[0]).hypot(p[1] - q[1]);
        let mean = face.mesh.0.iter().zip(&fresh.mesh.0).map(apart).sum::<f32>() / 468.0;
        assert!(face.presence > 0.9 && f64::from(mean) < 0.02 * fresh.mesh.iod(), "{mean} {}", fresh.mesh.iod());
    }

    #[test]
    fn a_face_that_is_gone_is_lost() {
        let mut nets = testing::nets();
        let frame = testing::moving_portrait(0, 320, 180);
        let found = nets.detector.detect(&frame.view()).unwrap();
        let face = nets.mesh.start(&frame.view(), &found[0].points, ANCHOR_PASSES).unwrap().unwrap();
        let grey = Frame::grey(320, 180, testing::CLIP_COLOR);
        assert_eq!(nets.mesh.follow(&grey.view(), &face.mesh).unwrap(), None);
        assert_eq!(nets.mesh.start(&grey.view(), &found[0].points, ANCHOR_PASSES).unwrap(), None);
        let mut nowhere = face.mesh.clone();
        nowhere.0.iter_mut().for_each(|point| point[0] = f32::NAN);
        assert_eq!(nets.mesh.follow(&frame.view(), &nowhere).unwrap(), None);
    }

    #[test]
    fn depth_is_in_pixels_and_the_nose_is_nearest() {
        let mut nets = testing::nets();
        let frame = testing::moving_portrait(0, 320, 180);
        let found = nets.detector.detect(&frame.view()).unwrap();
        let Mesh(points) = nets.mesh.start(&frame.view(), &found[0].points, PORTRAIT_PASSES).unwrap().unwrap().mesh;
        let nearest = points.iter().map(|point| point[2]).fold(f32::MAX, f32::min);
        assert!(points[1][2] < points[234][2] && points[1][2] < points[454][2]);
        assert!(points[4][2] < nearest + 3.0, "{nearest} {:?}", points[4]);
        let width = Mesh(points).face_width();
        assert!((50.0..160.0).contains(&width), "{width}");
    }
}
