//! The chain of networks that changes a face: swap, mask, paste, restore. For every swapper but the built-in `mesh`.
//!
//! A face is found and followed as for `mesh` ([`crate::vision::track`]); five points of its mesh bring it to each network's template. What
//! a frame becomes depends on the frame, its mesh and the sources only.

mod blending;
mod landmarks;
mod masks;
mod restorer;
mod swapper;

#[cfg(test)]
mod tests;

use crate::frame::{FrameIndex, YuvMut, YuvRef};

use super::Face;
use super::aligned::crop::Aligned;
use super::aligned::{paste, texture};
use super::card::Role;
use super::catalog::Catalog;
use super::error::VisionError;
use super::geometry::Point;
use super::model::Execution;
use super::source::Source;

use blending::Blending;
use landmarks::Landmarker;
use masks::Masks;
use restorer::FaceRestorer;
use swapper::FaceSwapper;

pub use crate::vision::aligned::mask::Region;
pub use blending::{BlendingSettings, Colour};

/// What a chain does.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainSettings {
    /// Id of the swapper; none where `mesh` swaps, and the rest comes after it.
    pub swapper: Option<String>,
    /// Side at which it works, pixels: a multiple of its own; none: its own.
    pub face_size: Option<u32>,
    /// Whose points bring the face to the networks' templates; none: the mesh's.
    pub landmarks: Option<LandmarkSettings>,
    /// What limits the new face's place, beside the swapper's own mask.
    pub masks: MaskSettings,
    /// What is taken over from the target.
    pub blending: BlendingSettings,
    /// What makes the new face finer.
    pub restorer: Option<RestorerSettings>,
}

/// A second opinion of where a face lies.
#[derive(Clone, Debug, PartialEq)]
pub struct LandmarkSettings {
    /// Id of the network.
    pub id: String,
    /// A face of which it is less sure is left as it is, 0..=1.
    pub least_score: f64,
}

/// What limits a new face's place; all together, by the least.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskSettings {
    /// A frame around the crop: its softness, as a share of half of the crop, 0..=1.
    pub blur: f32,
    /// And its width at the top, right, bottom and left, percent of the crop.
    pub padding: [f32; 4],
    /// The hull of the mesh.
    pub hull: bool,
    /// Id of the occluder that keeps what lies before the face.
    pub occluder: Option<String>,
    /// Id of the parser, and the parts of the face that it lets through.
    pub parser: Option<(String, Vec<Region>)>,
}

/// What makes a face finer.
#[derive(Clone, Debug, PartialEq)]
pub struct RestorerSettings {
    /// Its id.
    pub id: String,
    /// Share of what it makes in the result, 0..=1.
    pub blend: f32,
    /// How faithful it is to what it gets, 0..=1, where it lets one choose.
    pub weight: f32,
}

/// A frame, and its faces that are to be changed: each with the number of the person whose face it gets.
pub struct Scene<'a, 'f> {
    /// Its number in the clip: grain hangs on it.
    pub number: FrameIndex,
    /// The frame.
    pub frame: YuvMut<'f>,
    /// The faces.
    pub faces: Vec<(&'a Face, usize)>,
}

/// A face that can be changed.
struct Place<'a> {
    /// Which of the frames shows it.
    scene: usize,
    face: &'a Face,
    /// Whose it becomes.
    person: usize,
    /// By which it is brought to templates.
    points: [Point; 5],
}

impl Place<'_> {
    fn picture<'s>(&self, scenes: &'s [Scene<'_, '_>]) -> YuvRef<'s> {
        scenes[self.scene].frame.as_ref()
    }
}

/// A chain, ready to run. Each lane has its own.
pub struct Chain {
    landmarker: Option<Landmarker>,
    swapper: Option<(FaceSwapper, Masks)>,
    blending: Blending,
    restorer: Option<FaceRestorer>,
}

impl Chain {
    /// Ids of all networks that a chain runs.
    ///
    /// # Errors
    /// As [`Catalog::of`]; [`VisionError::FaceSize`].
    pub fn models(catalog: &Catalog, settings: &ChainSettings) -> Result<Vec<String>, VisionError> {
        let mut ids: Vec<String> = Vec::new();
        if let Some(id) = &settings.swapper {
            let card = catalog.of(Role::Swapper, id)?.card;
            swapper::check_face_size(&card, settings.face_size)?;
            let contract = card.contract;
            ids.push(id.clone());
            ids.extend(contract.iter().flat_map(|contract| contract.other_cards()).map(str::to_owned));
            let masks = &settings.masks;
            ids.extend(
                [masks.occluder.as_ref(), masks.parser.as_ref().map(|(id, _)| id)].into_iter().flatten().cloned(),
            );
        }
        ids.extend(settings.landmarks.as_ref().map(|landmarks| landmarks.id.clone()));
        ids.extend(settings.restorer.as_ref().map(|restorer| restorer.id.clone()));
        Ok(ids)
    }

    /// Loads all its networks.
    ///
    /// # Errors
    /// As [`Catalog::of`] and [`super::model::Network::load`]; [`VisionError::FaceSize`].
    pub fn load(catalog: &Catalog, settings: &ChainSettings, execution: &Execution) -> Result<Self, VisionError> {
        let swapper = match &settings.swapper {
            Some(id) => Some((
                FaceSwapper::load(catalog, id, settings.face_size, execution)?,
                Masks::load(catalog, &settings.masks, execution)?,
            )),
            None => None,
        };
        let restorer = match &settings.restorer {
            Some(restorer) => Some(FaceRestorer::load(catalog, restorer, execution)?),
            None => None,
        };
        let landmarker = match &settings.landmarks {
            Some(landmarks) => Some(Landmarker::load(catalog, landmarks, execution)?),
            None => None,
        };
        Ok(Self { landmarker, swapper, blending: Blending(settings.blending), restorer })
    }

    /// What its swapper gets of one person's photos; nothing, if it has none.
    ///
    /// # Errors
    /// [`VisionError::NoFace`] without photos; [`VisionError::Network`].
    pub fn lend(&mut self, sources: &[Source]) -> Result<Vec<f32>, VisionError> {
        self.swapper.as_mut().map_or(Ok(Vec::new()), |(swapper, _)| swapper.lend(sources))
    }

    /// Whose faces it puts: of each person what [`Chain::lend`] gave.
    pub fn set_lent(&mut self, lent: Vec<Vec<f32>>) {
        if let Some((swapper, _)) = &mut self.swapper {
            swapper.set_lent(lent);
        }
    }

    /// Frames that are changed together, at most: as many rows as one of the networks takes at once.
    pub fn batch(&self) -> usize {
        let swapper = self.swapper.iter().map(|(swapper, masks)| swapper.batch().max(masks.batch()));
        swapper.chain(self.restorer.as_ref().map(FaceRestorer::batch)).max().unwrap_or(1)
    }

    /// Changes the faces of some frames in place, as far as networks do (where `mesh` swaps, after it): what a face becomes does not
    /// depend on the others. `blend_ratio` 1.0 is the new face in full, 0.0 leaves the frames untouched, as does a mesh that is not finite or
    /// tiny.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn change(&mut self, scenes: &mut [Scene<'_, '_>], blend_ratio: f32) -> Result<(), VisionError> {
        if blend_ratio.is_nan() || blend_ratio <= 0.0 {
            return Ok(());
        }
        let blend_ratio = blend_ratio.min(1.0);
        let places = self.places(scenes)?;
        // The last network's face gets the target's texture: a restorer takes it off again.
        let targets: Vec<Aligned> = match &self.restorer {
            Some(restorer) if self.blending.0.texture => {
                places.iter().map(|place| restorer.crop(&place.picture(scenes), place)).collect()
            }
            _ => Vec::new(),
        };
        if let Some((swapper, masks)) = &mut self.swapper {
            let mut new = swapper.swap(scenes, &places)?;
            let drawn = masks.draw(scenes, &places, &new, swapper.template())?;
            for ((place, new), mask) in places.iter().zip(&mut new).zip(&drawn) {
                let number = self.restorer.is_none().then_some(scenes[place.scene].number);
                self.blending.blend(&place.picture(scenes), &mut new.face, mask, number);
            }
            for ((place, new), mask) in places.iter().zip(&new).zip(&drawn) {
                paste::paste(&mut scenes[place.scene].frame, &new.face, mask, blend_ratio);
            }
        }
        if let Some(restorer) = &mut self.restorer {
            let mut faces: Vec<Aligned> =
                places.iter().map(|place| restorer.crop(&place.picture(scenes), place)).collect();
            restorer.restore(&mut faces)?;
            for (face, (place, target)) in faces.iter_mut().zip(places.iter().zip(&targets)) {
                texture::match_texture(face, target, restorer.mask(), 1.0, scenes[place.scene].number);
            }
            for (place, face) in places.iter().zip(&faces) {
                paste::paste(&mut scenes[place.scene].frame, face, restorer.mask(), restorer.blend() * blend_ratio);
            }
        }
        Ok(())
    }

    /// Where the faces are that can be changed.
    fn places<'a>(&mut self, scenes: &[Scene<'a, '_>]) -> Result<Vec<Place<'a>>, VisionError> {
        let mut places = Vec::new();
        for (number, scene) in scenes.iter().enumerate() {
            for &(face, person) in &scene.faces {
                if face.mesh.0.iter().flatten().any(|value| !value.is_finite()) || face.mesh.face_width() < 4.0 {
                    continue;
                }
                let points = match &mut self.landmarker {
                    Some(landmarker) => landmarker.five_points(&scene.frame.as_ref(), face)?,
                    None => Some(face.mesh.five_points()),
                };
                places.extend(points.map(|points| Place { scene: number, face, person, points }));
            }
        }
        Ok(places)
    }
}
