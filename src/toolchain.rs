//! What software makes a job's results: part of every result's name.

use std::collections::BTreeMap;

use crate::contract::{Digest, PIPELINE, Swapper, Toolchain, worker_group};
use crate::error::Refusal;
use crate::media;
use crate::vision::{Catalog, Model, VisionError};

/// Cards of the networks that `mesh` runs: boxes, 468 points, eyes.
const MESH_MODELS: [&str; 3] = ["yunet_2023mar", "face_mesh_468", "iris_landmark"];

/// The toolchain of this build for a swapper and an encoder, by FFmpeg's name.
pub fn of(swapper: Swapper, encoder: &str, provider: &str) -> Result<Toolchain, Refusal> {
    let encoder = media::encoder_version(encoder)
        .map_err(|error| Refusal::new("video.encoder", error.to_string(), "an encoder that opens here"))?;
    let models = models(swapper)
        .map_err(|error| Refusal::new("swap.swapper", error.to_string(), "a swapper whose models are here"))?;
    let provider = if models.is_empty() { String::new() } else { provider.to_owned() };
    Ok(Toolchain { pipeline: PIPELINE, encoder, provider, models })
}

/// The consumer group of this build's workers for a swapper: one worker runs all encoders of its library.
pub fn group(swapper: Swapper, provider: &str) -> Result<String, VisionError> {
    let models = models(swapper)?;
    let provider = if models.is_empty() { String::new() } else { provider.to_owned() };
    let encoder = format!("any {}", media::library_version());
    Ok(worker_group(&Toolchain { pipeline: PIPELINE, encoder, provider, models }))
}

/// The networks that a swapper runs: card id → digest of the file.
pub fn models(swapper: Swapper) -> Result<BTreeMap<String, Digest>, VisionError> {
    let ids: &[&str] = match swapper {
        Swapper::None => &[],
        Swapper::Mesh => &MESH_MODELS,
    };
    let catalog = Catalog::builtin()?;
    ids.iter().map(|id| Ok(((*id).to_owned(), digest(catalog.get(id)?)?))).collect()
}

/// Digest of a network's file.
fn digest(model: &Model) -> Result<Digest, VisionError> {
    Ok(model.digest()?.parse().expect("a sha256 in hexadecimal is a digest"))
}
