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
use crate::vision::geometry::Affine;
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
    /// What it looks at, if not at the swapper's crop: a template, and how many times its side.
    own: Option<(Template, f64)>,
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
            let own_template = occluder.own.is_some();
            occluder.run(scenes, places, template, 1, &mut |number, seen, to_picture| {
                let seen = mask::occlusion(seen, own);
                let seen = match own_template {
                    true => placed(&seen, (own, to_picture), &new[number].face),
                    false => mask::resize(&seen, own, side),
                };
                mask::combine(&mut drawn[number], &seen);
            })?;
        }
        if let Some((parser, regions)) = &mut self.parser {
            let own = parser.side();
            parser.run(scenes, places, template, CLASSES, &mut |number, scores, _| {
                let parts = mask::regions(&most_likely(scores, own * own), regions, own);
                mask::combine(&mut drawn[number], &mask::resize(&parts, own, side));
            })?;
        }
        Ok(drawn)
    }
}

/// A mask of another crop, of `side` and with its way to the picture, as one of `new`: bilinear; beyond its border, what is there.
fn placed(mask: &[f32], (side, to_picture): (usize, &Affine), new: &Aligned) -> Vec<f32> {
    let Some(from_picture) = to_picture.inverse() else { return vec![0.0; new.side * new.side] };
    let last = side as f64 - 1.0;
    let at = |pixel: usize| {
        let place = [(pixel % new.side) as f64, (pixel / new.side) as f64];
        let [x, y] = from_picture.apply(new.to_picture.apply(place)).map(|value| value.clamp(0.0, last));
        let (left, top) = (x as usize, y as usize);
        let (right, bottom) = ((left + 1).min(side - 1), (top + 1).min(side - 1));
        let (fx, fy) = (x.fract() as f32, y.fract() as f32);
        let row = |y: usize| mask[y * side + left] + (mask[y * side + right] - mask[y * side + left]) * fx;
        row(top) + (row(bottom) - row(top)) * fy
    };
    (0..new.side * new.side).map(at).collect()
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
        let template = card.template.as_deref().and_then(Template::from_name);
        let Some(Contract::Mask(contract)) = &card.contract else {
            return Err(card.refuse("has no [contract.mask]".to_owned()));
        };
        let feed = Feed::of(card, card.picture()?, 0)?;
        Ok(Self {
            feed,
            output: card.output_index(&contract.output)?,
            own: template.zip(contract.around),
            network: Network::load(model, execution)?,
        })
    }

    fn side(&self) -> usize {
        self.feed.side()
    }

    /// Of each face so many numbers for each pixel of the network's own crop, plane by plane: `each` gets them with the face's number, and
    /// the way from the crop's pixels to the picture's.
    fn run(
        &mut self,
        scenes: &[Scene<'_, '_>],
        places: &[Place<'_>],
        template: Template,
        planes: usize,
        each: &mut dyn FnMut(usize, &[f32], &Affine),
    ) -> Result<(), VisionError> {
        let side = self.side();
        for run in self.network.runs(places.len()) {
            let crop = |place: &Place<'_>| {
                let to_picture = match self.own {
                    Some((own, around)) => {
                        own.to_picture(side as f64, &place.points).enlarged(around, (side as f64 - 1.0) / 2.0)
                    }
                    None => template.to_picture(side as f64, &place.points),
                };
                Aligned::sample(&place.picture(scenes), to_picture, side)
            };
            let crops: Vec<Aligned> = places[run.rows.clone()].iter().map(crop).collect();
            let rows: Vec<&[f32]> = run.places().map(|row| &crops[row - run.rows.start].rgb[..]).collect();
            let (shape, data) = self.feed.pictures(&rows);
            let outputs = self.network.run(&[Tensor { shape: &shape, data }])?;
            let numbers = outputs.finite(self.output, run.size * planes * side * side)?;
            for ((number, crop), row) in run.rows.clone().zip(&crops).zip(numbers.chunks_exact(planes * side * side)) {
                each(number, row, &crop.to_picture);
            }
        }
        Ok(())
    }
}
