//! Where a new face shows: inside of its crop and of the face, and not before what is before the face.

use crate::vision::Face;
use crate::vision::aligned::crop::Aligned;
use crate::vision::aligned::mask::{self, Region};
use crate::vision::aligned::template::Template;
use crate::vision::card::Role;
use crate::vision::catalog::{Catalog, Model};
use crate::vision::contract::Contract;
use crate::vision::error::VisionError;
use crate::vision::feed::Feed;
use crate::vision::model::{Execution, Network, Tensor};

use super::swapper::NewFace;
use super::{MaskSettings, Place, Scene};

/// Classes that a parser tells (CelebAMask-HQ).
const CLASSES: usize = 19;
/// Softness of the hull's rim, share of the crop's side.
const HULL_FEATHER: f32 = 0.03;

pub(super) struct Masks {
    settings: MaskSettings,
    occluder: Option<MaskNet>,
    parser: Option<(MaskNet, Vec<Region>)>,
    /// The frame around the crop, of the last side.
    frame: Option<(usize, Vec<f32>)>,
}

struct MaskNet {
    network: Network,
    feed: Feed,
    output: usize,
}

impl Masks {
    pub(super) fn load(catalog: &Catalog, settings: &MaskSettings, execution: &Execution) -> Result<Self, VisionError> {
        let load = |role: Role, id: &str| MaskNet::load(&catalog.of(role, id)?, execution);
        let occluder = settings.occluder.as_deref().map(|id| load(Role::Occluder, id)).transpose()?;
        let parser = match &settings.parser {
            Some((id, regions)) => Some((load(Role::Parser, id)?, regions.clone())),
            None => None,
        };
        Ok(Self { settings: settings.clone(), occluder, parser, frame: None })
    }

    /// Faces of one run of its networks, at most.
    pub(super) fn batch(&self) -> usize {
        let nets = self.occluder.iter().chain(self.parser.as_ref().map(|(parser, _)| parser));
        nets.map(|net| net.network.batch()).max().unwrap_or(1)
    }

    /// The masks of new faces, each of its crop's side. The frames still show the old ones.
    pub(super) fn draw(
        &mut self,
        scenes: &[Scene<'_, '_>],
        places: &[Place<'_>],
        new: &[NewFace],
        template: Template,
    ) -> Result<Vec<Vec<f32>>, VisionError> {
        let Some(side) = new.first().map(|new| new.face.side) else { return Ok(Vec::new()) };
        if self.frame.as_ref().is_none_or(|(known, _)| *known != side) {
            self.frame = Some((side, mask::box_mask(side, self.settings.blur, self.settings.padding)));
        }
        let frame = self.frame.as_ref().map(|(_, frame)| frame.clone()).unwrap_or_default();
        let mut drawn = vec![frame; new.len()];
        for ((drawn, new), place) in drawn.iter_mut().zip(new).zip(places) {
            if let Some(own) = &new.mask {
                mask::combine(drawn, own);
            }
            if self.settings.hull {
                mask::combine(drawn, &hull(place.face, &new.face));
            }
        }
        if let Some(occluder) = &mut self.occluder {
            let own = occluder.side();
            occluder.run(scenes, places, template, 1, &mut |number, seen| {
                mask::combine(&mut drawn[number], &mask::resize(&mask::occlusion(seen, own), own, side));
            })?;
        }
        if let Some((parser, regions)) = &mut self.parser {
            let own = parser.side();
            parser.run(scenes, places, template, CLASSES, &mut |number, scores| {
                let parts = mask::regions(&most_likely(scores, own * own), regions, own);
                mask::combine(&mut drawn[number], &mask::resize(&parts, own, side));
            })?;
        }
        Ok(drawn)
    }
}

/// The class of each pixel with the highest score.
fn most_likely(scores: &[f32], pixels: usize) -> Vec<u8> {
    let class = |pixel: usize| {
        let score = |class: &usize| scores[class * pixels + pixel];
        (0..CLASSES).rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0) as u8
    };
    (0..pixels).map(class).collect()
}

fn hull(face: &Face, new: &Aligned) -> Vec<f32> {
    let Some(to_crop) = new.to_picture.inverse() else { return vec![0.0; new.side * new.side] };
    let place = |[x, y, _]: &[f32; 3]| to_crop.apply([f64::from(*x), f64::from(*y)]).map(|value| value as f32);
    let points: Vec<[f32; 2]> = face.mesh.0.iter().map(place).collect();
    mask::hull_mask(new.side, &points, HULL_FEATHER * new.side as f32)
}

impl MaskNet {
    fn load(model: &Model, execution: &Execution) -> Result<Self, VisionError> {
        let card = &model.card;
        let Some(Contract::Mask(contract)) = &card.contract else {
            return Err(card.refuse("has no [contract.mask]".to_owned()));
        };
        let feed = Feed::of(card, card.picture()?, 0)?;
        Ok(Self { feed, output: card.output_index(&contract.output)?, network: Network::load(model, execution)? })
    }

    fn side(&self) -> usize {
        self.feed.side()
    }

    /// Of each face so many numbers for each pixel of the network's own crop, plane by plane: `each` gets them with the face's number.
    fn run(
        &mut self,
        scenes: &[Scene<'_, '_>],
        places: &[Place<'_>],
        template: Template,
        planes: usize,
        each: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), VisionError> {
        let side = self.side();
        for run in self.network.runs(places.len()) {
            let crop = |place: &Place<'_>| {
                Aligned::sample(&place.picture(scenes), template.to_picture(side as f64, &place.points), side).rgb
            };
            let crops: Vec<Vec<f32>> = places[run.rows.clone()].iter().map(crop).collect();
            let rows: Vec<&[f32]> = run.places().map(|row| &crops[row - run.rows.start][..]).collect();
            let (shape, data) = self.feed.pictures(&rows);
            let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
            let numbers = outputs.finite(self.output, run.size * planes * side * side)?;
            run.rows
                .clone()
                .zip(numbers.chunks_exact(planes * side * side))
                .for_each(|(number, row)| each(number, row));
        }
        Ok(())
    }
}
