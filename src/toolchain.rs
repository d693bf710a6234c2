//! What software makes a job's results: part of every result's name.

use std::collections::BTreeMap;

use crate::contract::{Digest, Job, PIPELINE, Swapper, Toolchain};
use crate::error::Refusal;
use crate::media;
use crate::vision::{Catalog, VisionError};

/// Cards of the networks that `mesh` runs: boxes, 468 points, eyes.
const MESH_MODELS: [&str; 3] = ["yunet_2023mar", "face_mesh_468", "iris_landmark"];

/// The toolchain of this build for `job`.
pub fn of(job: &Job, provider: &str) -> Result<Toolchain, Refusal> {
    let encoder = media::encoder_version(&job.video.encoder)
        .map_err(|error| Refusal::new("video.encoder", error.to_string(), "an encoder that opens here"))?;
    let models = models(job.swap.swapper)
        .map_err(|error| Refusal::new("swap.swapper", error.to_string(), "a swapper whose models are here"))?;
    let provider = if models.is_empty() { String::new() } else { provider.to_owned() };
    Ok(Toolchain { pipeline: PIPELINE, encoder, provider, models })
}

/// The networks that a swapper runs: card id → digest of the file.
pub fn models(swapper: Swapper) -> Result<BTreeMap<String, Digest>, VisionError> {
    let ids: &[&str] = match swapper {
        Swapper::None => &[],
        Swapper::Mesh => &MESH_MODELS,
    };
    let catalog = Catalog::builtin()?;
    ids.iter().map(|id| Ok(((*id).to_owned(), Digest::of(catalog.get(id)?.bytes)))).collect()
}
