//! The content gate: how likely a picture is nothing for everybody's eyes.

use crate::frame::YuvRef;

use super::aligned::crop::Aligned;
use super::catalog::Model;
use super::contract::{self, Contract};
use super::error::VisionError;
use super::feed::Feed;
use super::geometry::Affine;
use super::model::{Execution, Network, Tensor};

/// A gate network, ready to run.
pub struct GateNet {
    network: Network,
    feed: Feed,
    contract: contract::Gate,
    output: usize,
    classes: usize,
}

impl GateNet {
    /// Loads it.
    ///
    /// # Errors
    /// As [`Network::load`]; [`VisionError::Card`] if the card is not that of a gate.
    pub fn load(model: &Model, execution: &Execution) -> Result<Self, VisionError> {
        let card = &model.card;
        let Some(Contract::Gate(contract)) = card.contract.clone() else {
            return Err(card.refuse("has no [contract.gate]".to_owned()));
        };
        let output = card.output_index(&contract.output)?;
        let classes = card.outputs[output].shape.last().and_then(|dimension| dimension.fixed()).unwrap_or(0);
        if contract.refused.iter().any(|class| *class >= classes) {
            return Err(card.refuse(format!("it refuses class {:?} of {classes}", contract.refused)));
        }
        let feed = Feed::of(card, card.picture()?, 0)?;
        Ok(Self { network: Network::load(model, execution)?, feed, contract, output, classes })
    }

    /// From which score on a picture counts as one to refuse.
    pub fn threshold(&self) -> f64 {
        self.contract.threshold
    }

    /// The score of a picture as it is shown, 0..=1: of the classes that are refused, together.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn score(&mut self, picture: &YuvRef<'_>) -> Result<f64, VisionError> {
        let side = self.feed.side();
        let crop = Aligned::sample(picture, whole(picture, side), side);
        let (shape, data) = self.feed.pictures(&[&crop.rgb]);
        let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
        let scores = outputs.finite(self.output, self.classes)?;
        let scores: Vec<f64> = scores.iter().map(|&score| f64::from(score)).collect();
        let shares = if self.contract.softmax { softmax(&scores) } else { scores };
        Ok(self.contract.refused.iter().map(|class| shares[*class]).sum::<f64>().clamp(0.0, 1.0))
    }
}

/// From a square of this side to all of a picture, upright.
fn whole(picture: &YuvRef<'_>, side: usize) -> Affine {
    let size = (picture.width(), picture.height());
    let shown = picture.turn.shown(size);
    let step = [shown.0 as f64 / side as f64, shown.1 as f64 / side as f64];
    let place = |column: f64, row: f64| {
        picture.turn.to_stored([(column + 0.5) * step[0] - 0.5, (row + 0.5) * step[1] - 0.5], size)
    };
    let (origin, across, down) = (place(0.0, 0.0), place(1.0, 0.0), place(0.0, 1.0));
    Affine([0, 1].map(|axis| [across[axis] - origin[axis], down[axis] - origin[axis], origin[axis]]))
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
    scores.iter().map(|score| (score - most).exp() / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Pixels, Turn};
    use crate::vision::Catalog;
    use crate::vision::testing;
    use crate::vision::testing::tiny::{self, Gives};

    #[test]
    fn scores_are_those_of_the_refused_classes() {
        testing::init();
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::builtin().unwrap();
        let picture = testing::moving_portrait(0, 480, 270);
        let score = |id: &str, scores: Vec<f32>| {
            let mut model = tiny::write(&catalog, id, folder.path(), &[Gives::Values(scores)], None);
            model.card.sha256 = None;
            let mut gate = GateNet::load(&model, &Execution::default()).unwrap();
            gate.score(&picture.view())
        };
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
        assert!(near(score("open_nsfw", vec![0.25, 0.75]).unwrap(), 0.75));
        // Scores of any size become shares: e² to 1.
        assert!(near(score("nsfw_2", vec![2.0, 0.0]).unwrap(), 2f64.exp() / (2f64.exp() + 1.0)));
        assert!(score("open_nsfw", vec![f32::NAN, 0.0]).is_err());
    }

    #[test]
    fn all_of_a_picture_is_seen_upright() {
        for turn in [Turn::None, Turn::Quarter, Turn::Half, Turn::ThreeQuarters] {
            let picture = testing::moving_portrait(0, 480, 270).shown_turned(turn);
            let map = whole(&picture.view(), 224);
            for corner in [[-0.5, -0.5], [223.5, -0.5], [-0.5, 223.5], [223.5, 223.5]] {
                let [x, y] = map.apply(corner);
                let is_corner = [(-0.5 - x).abs().min((479.5 - x).abs()), (-0.5 - y).abs().min((269.5 - y).abs())];
                assert!(is_corner.iter().all(|apart| *apart < 1e-9), "{turn:?}: {corner:?} is at {x}, {y}");
            }
            let [x, y] = map.apply([0.0, 0.0]);
            let shown = turn.to_stored([0.0, 0.0], (480, 270));
            assert!((x - shown[0]).hypot(y - shown[1]) < 2.0, "{turn:?}: its top left is the shown one's");
        }
    }
}
