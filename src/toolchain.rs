//! What software makes a job's results: part of every result's name.

use std::collections::{BTreeMap, BTreeSet};

use crate::contract::{
    ColourMatch, Digest, FaceDetector, FaceRegion, Job, PIPELINE, Swap, Swapper, Toolchain, Who, worker_group,
};
use crate::error::Refusal;
use crate::frame::Turn;
use crate::media;
use crate::vision::card::Role;
use crate::vision::chain::{
    BlendingSettings, Chain, ChainSettings, Colour, LandmarkSettings, MaskSettings, Region, RestorerSettings,
};
use crate::vision::detect::DetectorSettings;
use crate::vision::upscale::UpscalerSettings;
use crate::vision::{Catalog, VisionError};

/// Card of the detector that is built in.
const DETECTOR: &str = "yunet_2023mar";
/// Cards of the networks that follow faces, and tell how far eyes are open.
const TRACKING: [&str; 2] = ["face_mesh_468", "iris_landmark"];

/// Card of the network that tells people apart.
pub const RECOGNISER: &str = "sface_2021dec";

/// The toolchain of this build for a job and an encoder, by FFmpeg's name.
pub fn of(job: &Job, encoder: &str, provider: &str, catalog: &Catalog) -> Result<Toolchain, Refusal> {
    let encoder = media::encoder_version(encoder)
        .map_err(|error| Refusal::new("video.encoder", error.to_string(), "an encoder that opens here"))?;
    let models = models(job, catalog).map_err(|error| refusal_of(&error))?;
    let provider = if models.is_empty() { String::new() } else { provider.to_owned() };
    Ok(Toolchain { pipeline: PIPELINE, encoder, provider, models })
}

/// The consumer group of this build's workers, with these networks: one worker runs all swappers, and all encoders of its library.
pub fn group(catalog: &Catalog, provider: &str) -> String {
    let cards = catalog.list().iter().map(|model| (model.card.id.clone(), (model.size(), model.card.own.clone())));
    worker_group(&cards.collect(), provider, &media::library_version())
}

/// What is wrong with the networks of a job, in a job's words.
fn refusal_of(error: &VisionError) -> Refusal {
    let text = error.to_string();
    let usual = "networks that are here (facemill models list)";
    let (found, expected) = text.rsplit_once(" (expected ").unwrap_or((&text, usual));
    Refusal::new("swap", found, expected.strip_suffix(')').unwrap_or(expected))
}

/// The networks that a job runs: card id → digest of the file, and of a card that is none of this build ([`crate::vision::Model::identity`]).
pub fn models(job: &Job, catalog: &Catalog) -> Result<BTreeMap<String, Digest>, VisionError> {
    let swap = &job.swap;
    let mut ids: BTreeSet<String> = BTreeSet::new();
    if job.people.iter().any(|person| matches!(person.who, Who::Reference { .. })) {
        ids.insert(RECOGNISER.to_owned());
    }
    if swap.swapper != Swapper::None {
        ids.extend(TRACKING.map(str::to_owned));
        // Photos are always looked at by the built-in one.
        ids.insert(DETECTOR.to_owned());
        if let Some(id) = detector(swap).id {
            let card = catalog.of(Role::Detector, &id)?.card;
            if card.contract.as_ref().is_some_and(|contract| contract.is_part()) {
                return Err(
                    card.refuse("works as a part of another only (expected the first network of MTCNN)".to_owned())
                );
            }
            ids.extend(card.contract.iter().flat_map(|contract| contract.other_cards()).map(str::to_owned));
            ids.insert(card.id);
        }
    }
    if let Some(chain) = chain(swap) {
        ids.extend(Chain::models(catalog, &chain)?);
    }
    if let Some(upscaler) = upscaler(swap) {
        ids.insert(catalog.of(Role::Upscaler, &upscaler.id)?.card.id);
    }
    let digest = |id: String| {
        let hex = catalog.any(&id)?.identity()?;
        Ok((id, hex.parse().expect("a sha256 in hexadecimal is a digest")))
    };
    ids.into_iter().map(digest).collect()
}

/// How a swap finds the faces of its clip.
pub fn detector(swap: &Swap) -> DetectorSettings {
    let FaceDetector { model, score, min_size, angles } = &swap.detector;
    DetectorSettings {
        id: model.as_ref().map(|id| id.as_str().to_owned()),
        least_score: *score,
        least_size: *min_size,
        turns: angles.iter().map(|angle| Turn::nearest(i32::from(*angle))).collect(),
    }
}

/// The chain of networks that a swap runs beside the built-in ones; none if it runs no other.
pub fn chain(swap: &Swap) -> Option<ChainSettings> {
    let swapper = match &swap.swapper {
        Swapper::Network(id) => Some(id.as_str().to_owned()),
        Swapper::Mesh | Swapper::None => None,
    };
    let restorer = swap.restorer.as_ref().map(|restorer| RestorerSettings {
        id: restorer.model.as_str().to_owned(),
        blend: restorer.blend as f32,
        weight: restorer.weight as f32,
    });
    if swapper.is_none() && restorer.is_none() {
        return None;
    }
    let masks = &swap.masks;
    let regions = if masks.regions.is_empty() { &FaceRegion::ALL[..] } else { &masks.regions };
    let regions: Vec<Region> = regions.iter().map(|region| region_of(*region)).collect();
    let masks = MaskSettings {
        blur: masks.blur as f32,
        padding: masks.padding.map(|percent| percent as f32),
        hull: masks.hull,
        occluder: masks.occluder.as_ref().map(|id| id.as_str().to_owned()),
        parser: masks.parser.as_ref().map(|id| (id.as_str().to_owned(), regions)),
    };
    let landmarks = swap
        .landmarks
        .as_ref()
        .map(|landmarks| LandmarkSettings { id: landmarks.model.as_str().to_owned(), least_score: landmarks.score });
    let colour = match swap.colour_match {
        ColourMatch::None => None,
        ColourMatch::Lab => Some(Colour::Lab),
        ColourMatch::Relight => Some(Colour::Relight),
    };
    let blending = BlendingSettings { colour, texture: swap.texture_match };
    Some(ChainSettings { swapper, face_size: swap.face_size, landmarks, masks, blending, restorer })
}

/// What makes a swap's frames larger; none if nothing does.
pub fn upscaler(swap: &Swap) -> Option<UpscalerSettings> {
    let upscaler = swap.upscaler.as_ref()?;
    Some(UpscalerSettings { id: upscaler.model.as_str().to_owned(), blend: upscaler.blend as f32 })
}

fn region_of(region: FaceRegion) -> Region {
    match region {
        FaceRegion::Skin => Region::Skin,
        FaceRegion::Brows => Region::Brows,
        FaceRegion::Eyes => Region::Eyes,
        FaceRegion::Glasses => Region::Glasses,
        FaceRegion::Nose => Region::Nose,
        FaceRegion::Mouth => Region::Mouth,
        FaceRegion::Lips => Region::Lips,
    }
}
