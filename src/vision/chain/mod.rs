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

use crate::frame::{FrameIndex, YuvMut};

use super::Face;
use super::aligned::{paste, texture};
use super::card::Role;
use super::catalog::Catalog;
use super::error::VisionError;
use super::find::TrackNets;
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

/// A chain, ready to run. Each lane has its own.
pub struct Chain {
    landmarker: Option<Landmarker>,
    swapper: Option<(FaceSwapper, Masks)>,
    blending: Blending,
    restorer: Option<FaceRestorer>,
}

/// Which change a face is to undergo.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Number of the person whose face it gets.
    pub person: usize,
    /// 1.0 is the new face in full, 0.0 leaves the frame untouched.
    pub blend_ratio: f32,
    /// Number of the frame in its clip: grain hangs on it.
    pub number: FrameIndex,
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

    /// Whose faces it puts: of each person their photos, analysed.
    ///
    /// # Errors
    /// [`VisionError::NoFace`] for a person without photos; [`VisionError::Network`].
    pub fn set_sources(&mut self, people: &[Vec<Source>]) -> Result<(), VisionError> {
        match &mut self.swapper {
            Some((swapper, _)) => swapper.set_sources(people),
            None => Ok(()),
        }
    }

    /// Changes `face` in place as far as networks do (where `mesh` swaps, after it). A mesh that is not finite or tiny leaves the frame
    /// untouched.
    ///
    /// # Errors
    /// [`VisionError::Network`].
    pub fn swap(&mut self, frame: &mut YuvMut<'_>, face: &Face, change: Change) -> Result<(), VisionError> {
        let Change { person, blend_ratio, number } = change;
        let is_usable = face.mesh.0.iter().flatten().all(|value| value.is_finite()) && face.mesh.face_width() >= 4.0;
        if !is_usable || blend_ratio.is_nan() || blend_ratio <= 0.0 {
            return Ok(());
        }
        let blend_ratio = blend_ratio.min(1.0);
        let points = match &mut self.landmarker {
            Some(landmarker) => landmarker.five_points(&frame.as_ref(), face)?,
            None => Some(face.mesh.five_points()),
        };
        let Some(points) = points else { return Ok(()) };
        // The last network's face gets the target's texture: a restorer takes it off again.
        let target = match (&self.restorer, &self.blending.0) {
            (Some(restorer), BlendingSettings { texture: true, .. }) => Some(restorer.crop(&frame.as_ref(), &points)),
            _ => None,
        };
        if let Some((swapper, masks)) = &mut self.swapper {
            let mut new = swapper.swap(&frame.as_ref(), &points, person)?;
            let mask = masks.draw(&frame.as_ref(), (face, &points), &new, swapper.template())?;
            let number = self.restorer.is_none().then_some(number);
            self.blending.blend(&frame.as_ref(), &mut new.face, &mask, number);
            paste::paste(frame, &new.face, &mask, blend_ratio);
        }
        let Some(restorer) = &mut self.restorer else { return Ok(()) };
        let mut face = restorer.restore(&frame.as_ref(), &points)?;
        if let Some(target) = target {
            texture::match_texture(&mut face, &target, restorer.mask(), 1.0, number);
        }
        paste::paste(frame, &face, restorer.mask(), restorer.blend() * blend_ratio);
        Ok(())
    }

    /// Finds the faces of photos that lend.
    ///
    /// # Errors
    /// As [`Source::find`].
    pub fn find_sources(
        photos: &[image::RgbImage],
        nets: &mut TrackNets,
        source_face: Option<usize>,
    ) -> Result<Vec<Source>, VisionError> {
        photos.iter().map(|photo| Source::find(photo, nets, source_face)).collect()
    }
}
