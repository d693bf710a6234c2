//! Identity as a vector, by any recogniser of the field (SFace, ArcFace, CosFace): one aligned crop in, one embedding out.

use crate::frame::{Pixels as _, YuvRef};

use super::aligned::{Aligned, Template};
use super::catalog::Model;
use super::error::VisionError;
use super::feed::Feed;
use super::geometry::Point;
use super::model::{Execution, Network, Tensor};
use super::source::Source;

/// A recognition network, ready to run.
pub struct Recogniser {
    network: Network,
    template: Template,
    feed: Feed,
    length: usize,
}

impl Recogniser {
    /// Loads it.
    ///
    /// # Errors
    /// As [`Network::load`]; [`VisionError::Card`] if the card tells no template, or inputs and outputs that a recogniser has not.
    pub fn load(model: &Model, execution: &Execution) -> Result<Self, VisionError> {
        let card = &model.card;
        let template = card.template.as_deref().and_then(Template::from_name);
        let template = template.ok_or_else(|| card.refuse("has no template, which every recogniser has".to_owned()))?;
        let output = card.outputs.first().and_then(|spec| spec.shape.last()?.fixed());
        let length = output.ok_or_else(|| card.refuse("its first output has no fixed length".to_owned()))?;
        let feed = Feed::of(card, card.picture()?, 0)?;
        Ok(Self { network: Network::load(model, execution)?, template, feed, length })
    }

    /// The embedding, as it comes out of the network, of the face whose eyes, nose and mouth corners (of pairs the picture's left first)
    /// are `points`.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn embedding(&mut self, picture: &YuvRef<'_>, points: &[Point; 5]) -> Result<Vec<f32>, VisionError> {
        let side = self.feed.side();
        let crop = Aligned::sample(picture, self.template.to_picture(side as f64, points), side);
        let (shape, data) = self.feed.pictures(&[&crop.rgb]);
        let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
        Ok(outputs.finite(0, self.length)?.into_owned())
    }
}

impl Recogniser {
    /// The embedding of a photo's face.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn of_source(&mut self, source: &Source) -> Result<Vec<f32>, VisionError> {
        self.embedding(&source.photo.view(), &source.face.mesh.five_points())
    }
}

/// ‖e‖.
pub fn length(embedding: &[f32]) -> f64 {
    embedding.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// e ÷ ‖e‖; of length 0 as it is.
pub fn normalised(embedding: &[f32]) -> Vec<f32> {
    let length = length(embedding).max(f64::MIN_POSITIVE);
    embedding.iter().map(|&value| (f64::from(value) / length) as f32).collect()
}

/// Cosine of the angle between two embeddings of one recogniser (of the built-in one: the same person about 0.7, others at most 0.3); 0 if
/// their lengths differ.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let product: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    product / (length(a) * length(b)).max(f64::MIN_POSITIVE)
}

/// The mean of several embeddings of one person; `None` of none.
pub fn mean(embeddings: &[Vec<f32>]) -> Option<Vec<f32>> {
    let first = embeddings.first()?;
    let sum = |place: usize| embeddings.iter().map(|embedding| f64::from(embedding[place])).sum::<f64>();
    Some((0..first.len()).map(|place| (sum(place) / embeddings.len() as f64) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Pixels;
    use crate::vision::Catalog;
    use crate::vision::card::Role;
    use crate::vision::testing;

    #[test]
    fn embeddings_are_compared_and_averaged() {
        assert_eq!(normalised(&[3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(normalised(&[0.0, 0.0]), [0.0, 0.0]);
        assert!((cosine(&[1.0, 0.0], &[2.0, 2.0]) - 0.5f64.sqrt()).abs() < 1e-9);
        assert_eq!(cosine(&[1.0], &[1.0, 0.0]), 0.0);
        assert_eq!(mean(&[vec![1.0, 2.0], vec![3.0, 6.0]]), Some(vec![2.0, 4.0]));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn one_person_is_told_from_nobody() {
        let mut nets = testing::nets();
        let mut recogniser =
            Recogniser::load(Catalog::builtin().unwrap().of_role(Role::Recogniser).unwrap(), &Execution::default())
                .unwrap();
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
