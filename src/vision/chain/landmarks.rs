//! Points of a face by another network than the mesh: a second opinion of where it lies, and of whether it is one.

use crate::frame::YuvRef;
use crate::vision::Face;
use crate::vision::aligned::crop::Aligned;
use crate::vision::card::Role;
use crate::vision::catalog::Catalog;
use crate::vision::contract::{self, Contract};
use crate::vision::error::VisionError;
use crate::vision::feed::Feed;
use crate::vision::geometry::{Crop, Point, mean};
use crate::vision::model::{Execution, Network, Tensor};

use super::LandmarkSettings;

pub(super) struct Landmarker {
    network: Network,
    feed: Feed,
    contract: contract::Landmarks,
    output: usize,
    /// The output with the score, and how many elements it has.
    score: Option<(usize, usize)>,
    least_score: f64,
}

impl Landmarker {
    pub(super) fn load(
        catalog: &Catalog,
        settings: &LandmarkSettings,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Landmarks, &settings.id)?;
        let card = &model.card;
        let Some(Contract::Landmarks(contract)) = card.contract.clone() else {
            return Err(card.refuse("has no [contract.landmarks]".to_owned()));
        };
        let score = match &contract.score {
            Some(name) => {
                let index = card.output_index(name)?;
                let count = card.outputs[index].elements();
                Some((index, count.ok_or_else(|| card.refuse(format!("output {name} has no fixed size")))?))
            }
            None => None,
        };
        let feed = Feed::of(card, card.picture()?, 0)?;
        let output = card.output_index(&contract.output)?;
        let network = Network::load(&model, execution)?;
        Ok(Self { network, feed, contract, output, score, least_score: settings.least_score })
    }

    /// Eye centres, tip of the nose and mouth corners of a face whose mesh is known; none if the network is not sure that it is one.
    pub(super) fn five_points(&mut self, picture: &YuvRef<'_>, face: &Face) -> Result<Option<[Point; 5]>, VisionError> {
        let bounds = face.mesh.bounds();
        let longest = f64::from(bounds.right - bounds.left).max(f64::from(bounds.bottom - bounds.top));
        let centre = [f64::from(bounds.left + bounds.right) / 2.0, f64::from(bounds.top + bounds.bottom) / 2.0];
        let [right, left] = face.mesh.eyes();
        let angle = (left[1] - right[1]).atan2(left[0] - right[0]);
        let crop = Crop { centre, side: longest * self.contract.crop, angle };
        let side = self.feed.side();
        let to_picture = crop.to_picture(side as f64);
        let aligned = Aligned::sample(picture, to_picture, side);
        let (shape, data) = self.feed.pictures(&[&aligned.rgb]);
        let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
        let contract::Landmarks { points, stride, unit, .. } = self.contract;
        if let Some((output, count)) = self.score {
            let values = outputs.finite(output, count)?;
            if peaks(&values, points) < self.least_score {
                return Ok(None);
            }
        }
        let values = outputs.finite(self.output, points * stride)?;
        let place = |point: usize| to_picture.apply([0, 1].map(|axis| f64::from(values[point * stride + axis]) * unit));
        Ok(Some(five_of(points, place)))
    }
}

/// Mean of the highest values of the points' maps; of one number for all, that.
fn peaks(values: &[f32], points: usize) -> f64 {
    let maps = if values.len().is_multiple_of(points) { points } else { 1 };
    let peak = |map: &[f32]| f64::from(map.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    values.chunks_exact((values.len() / maps).max(1)).map(peak).sum::<f64>() / maps as f64
}

/// Five points of 68 (iBUG 300-W), 98 (WFLW) or 468 (MediaPipe), the picture's left of pairs first.
fn five_of(points: usize, place: impl Fn(usize) -> Point) -> [Point; 5] {
    let middle = |numbers: &[usize]| mean(&numbers.iter().map(|number| place(*number)).collect::<Vec<_>>());
    match points {
        68 => {
            let eye = |first: usize| middle(&(first..first + 6).collect::<Vec<_>>());
            [eye(36), eye(42), place(30), place(48), place(54)]
        }
        98 => [place(96), place(97), place(54), place(76), place(82)],
        _ => [middle(&[33, 133, 159, 145]), middle(&[263, 362, 386, 374]), place(1), place(61), place(291)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_means_of_peaks() {
        let mut maps = vec![0.0; 68 * 16];
        maps.chunks_exact_mut(16).for_each(|map| map[7] = 0.5);
        maps[3] = 0.9;
        assert!((peaks(&maps, 68) - (67.0 * 0.5 + 0.9) / 68.0).abs() < 1e-6);
        assert!((peaks(&[0.25], 468) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn five_points_stand_for_many() {
        let place = |number: usize| [number as f64, 0.0];
        assert_eq!(five_of(68, place).map(|[x, _]| x), [38.5, 44.5, 30.0, 48.0, 54.0]);
        assert_eq!(five_of(98, place).map(|[x, _]| x), [96.0, 97.0, 54.0, 76.0, 82.0]);
        assert_eq!(five_of(468, place)[2], [1.0, 0.0]);
    }
}
