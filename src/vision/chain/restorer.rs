//! The network that makes a face finer.

use crate::frame::YuvRef;
use crate::vision::aligned::crop::Aligned;
use crate::vision::aligned::mask;
use crate::vision::aligned::template::Template;
use crate::vision::card::Role;
use crate::vision::catalog::Catalog;
use crate::vision::contract::{self, Contract};
use crate::vision::error::VisionError;
use crate::vision::feed::Feed;
use crate::vision::geometry::Point;
use crate::vision::model::{Execution, Network, Tensor};

use super::RestorerSettings;

/// Softness of the crop's frame, as of a swapper's.
const BLUR: f32 = 0.3;

pub(super) struct FaceRestorer {
    network: Network,
    pixels: contract::Pixels,
    template: Template,
    feed: Feed,
    target_input: usize,
    has_weight: bool,
    face_output: usize,
    frame: Vec<f32>,
    blend: f32,
    weight: f32,
}

impl FaceRestorer {
    pub(super) fn load(
        catalog: &Catalog,
        settings: &RestorerSettings,
        execution: &Execution,
    ) -> Result<Self, VisionError> {
        let model = catalog.of(Role::Restorer, &settings.id)?;
        let card = &model.card;
        let Some(Contract::Restorer(contract)) = card.contract.clone() else {
            return Err(card.refuse("has no [contract.restorer]".to_owned()));
        };
        let template = card.template.as_deref().and_then(Template::from_name);
        let template = template.ok_or_else(|| card.refuse("has no template, which every restorer has".to_owned()))?;
        let target_input = card.input_index(&contract.target)?;
        let feed = Feed::of(card, card.picture()?, target_input)?;
        Ok(Self {
            network: Network::load(&model, execution)?,
            face_output: card.output_index(&contract.face.output)?,
            has_weight: contract.weight.is_some(),
            pixels: contract.face,
            template,
            frame: mask::box_mask(feed.side(), BLUR, [0.0; 4]),
            feed,
            target_input,
            blend: settings.blend,
            weight: settings.weight,
        })
    }

    /// Where its face shows, a value per pixel of the crop.
    pub(super) fn mask(&self) -> &[f32] {
        &self.frame
    }

    /// Share of its face in the result, 0..=1.
    pub(super) fn blend(&self) -> f32 {
        self.blend
    }

    /// The face at `points` as it is, in the network's crop.
    pub(super) fn crop(&self, picture: &YuvRef<'_>, points: &[Point; 5]) -> Aligned {
        let side = self.feed.side();
        Aligned::sample(picture, self.template.to_picture(side as f64, points), side)
    }

    /// The face at `points`, finer.
    pub(super) fn restore(&mut self, picture: &YuvRef<'_>, points: &[Point; 5]) -> Result<Aligned, VisionError> {
        let mut face = self.crop(picture, points);
        let (shape, data) = self.feed.pictures(&[&face.rgb]);
        let target = Tensor { shape: &shape, data };
        let weight = [self.weight];
        let weight = Tensor { shape: &[1], data: &weight };
        let outputs = match (self.has_weight, self.target_input) {
            (false, _) => self.network.run(&[target])?,
            (true, 0) => self.network.run(&[target, weight])?,
            (true, _) => self.network.run(&[weight, target])?,
        };
        let contract::Pixels { gain, shift, .. } = self.pixels;
        let pixels = outputs.finite(self.face_output, face.rgb.len())?;
        face.rgb = pixels.iter().map(|&element| (element * gain + shift).clamp(0.0, 255.0)).collect();
        Ok(face)
    }
}
