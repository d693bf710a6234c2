//! Identity as a vector (SFace): to measure how far a swapped face is the portrait's.

use crate::frame::YuvRef;

use super::card::{Colour, Layout, Role};
use super::catalog::Catalog;
use super::crop;
use super::error::VisionError;
use super::geometry::{Point, Similarity};
use super::model::{Execution, Network, Tensor};

/// Eye centres, tip of the nose and mouth corners in ArcFace's 112×112 crop (insightface's `arcface_dst`; OpenCV's
/// FaceRecognizerSF aligns to the same).
const ARCFACE_112_V2: [Point; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// Length of an embedding.
pub const EMBEDDING: usize = 128;

/// The recognition network, ready to run.
pub struct Recogniser {
    network: Network,
    shape: [usize; 4],
    gain: f32,
    input: Vec<f32>,
}

impl Recogniser {
    /// Loads the catalogue's recogniser.
    ///
    /// # Errors
    /// As [`Network::load`]; [`VisionError::Card`] if the card asks for another kind of input.
    pub fn load(catalog: &Catalog, execution: &Execution) -> Result<Self, VisionError> {
        let model = catalog.of_role(Role::Recogniser)?;
        let (card, picture) = (&model.card, model.card.picture()?);
        let shape: [usize; 4] = card.fixed_input(0)?;
        let is_as_sampled = picture.colour == Colour::Rgb && picture.layout == Layout::Nchw && picture.mean == [0.0; 3];
        let is_arcface = card.template.as_deref() == Some("arcface_112_v2") && shape == [1, 3, 112, 112];
        if !is_as_sampled || !is_arcface {
            return Err(VisionError::Card {
                card: card.id.clone(),
                reason: format!("input is {} (expected arcface_112_v2, RGB, nchw, mean 0)", card.inputs[0]),
            });
        }
        let input = vec![0.0; shape.iter().product()];
        Ok(Self { network: Network::load(model, execution)?, shape, gain: picture.scale.each()[0], input })
    }

    /// The embedding of the face whose eyes, nose and mouth corners (of pairs the picture's left first) are `points`;
    /// length 1.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn embedding(&mut self, picture: &YuvRef<'_>, points: &[Point; 5]) -> Result<[f32; EMBEDDING], VisionError> {
        let [_, _, rows, columns] = self.shape;
        let to_picture = Similarity::fit(&ARCFACE_112_V2, points).affine();
        crop::sample_planar(picture, &to_picture, (columns, rows), self.gain, &mut self.input);
        let outputs = self.network.run(&[Tensor { shape: &self.shape, data: &self.input }])?;
        let mut embedding = [0.0; EMBEDDING];
        embedding.copy_from_slice(outputs.get(0)?);
        let length = dot(&embedding, &embedding).sqrt().max(f64::MIN_POSITIVE);
        Ok(embedding.map(|value| (f64::from(value) / length) as f32))
    }
}

/// Cosine of two embeddings: same person about 0.7, different people at most 0.3.
pub fn cosine(a: &[f32; EMBEDDING], b: &[f32; EMBEDDING]) -> f64 {
    dot(a, b)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pixels;
    use crate::vision::testing;

    #[test]
    fn one_person_is_told_from_nobody() {
        let mut nets = testing::nets();
        let mut recogniser = Recogniser::load(&Catalog::builtin().unwrap(), &Execution::default()).unwrap();
        let mut embed = |index: u64, shift: f64| {
            let frame = testing::moving_portrait(index, 480, 270);
            let points = nets.detector.detect(&frame.view()).unwrap()[0].points;
            recogniser.embedding(&frame.view(), &points.map(|[x, y]| [x + shift, y])).unwrap()
        };
        let (here, there, beside) = (embed(0, 0.0), embed(14, 0.0), embed(0, 150.0));
        assert!((cosine(&here, &here) - 1.0).abs() < 1e-5);
        assert!(cosine(&here, &there) > 0.8, "{}", cosine(&here, &there));
        assert!(cosine(&here, &beside) < 0.4, "{}", cosine(&here, &beside));
    }
}
