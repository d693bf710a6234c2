//! The network that makes frames larger, and what a lane keeps of it from one chunk to the next.

use crate::contract::{ChunkSpec, Digest};
use crate::frame::Pixels;
use crate::media::Decoded;
use crate::toolchain;
use crate::vision::upscale::{Upscaler, UpscalerSettings};
use crate::vision::{self, Catalog, VisionError};

use super::lane::{Means, WorkError};

/// Makes frames larger, if their job asks for it.
#[derive(Default)]
pub struct Enlarger {
    /// With what it was asked to do, and its file's digest.
    loaded: Option<(UpscalerSettings, Option<Digest>, Upscaler)>,
}

impl Enlarger {
    /// Loads what a chunk asks for; forgets what it does not.
    ///
    /// # Errors
    /// As [`Upscaler::load`].
    pub fn prepare(&mut self, spec: &ChunkSpec, means: &Means) -> Result<(), VisionError> {
        let wanted = toolchain::upscaler(&spec.swap);
        let digest = wanted.as_ref().and_then(|wanted| spec.toolchain.models.get(&wanted.id)).copied();
        let known = self.loaded.as_ref().map(|(settings, digest, _)| (settings, *digest));
        let is_ready = known == wanted.as_ref().map(|wanted| (wanted, digest));
        let Some(settings) = wanted.filter(|_| !is_ready) else {
            self.loaded = self.loaded.take().filter(|_| is_ready);
            return Ok(());
        };
        self.loaded = None;
        vision::model::init(&means.onnxruntime)?;
        let upscaler = Upscaler::load(&Catalog::open(&means.models)?, &settings, &means.execution)?;
        self.loaded = Some((settings, digest, upscaler));
        Ok(())
    }

    /// Whether there is something to do.
    pub fn is_asked(&self) -> bool {
        self.loaded.is_some()
    }

    /// The frame, which must be viewable, as it was asked for.
    ///
    /// # Errors
    /// [`VisionError::Network`]; [`crate::media::MediaError`] if there is no such picture.
    pub fn enlarge(&mut self, frame: Decoded) -> Result<Decoded, WorkError> {
        let Some((_, _, upscaler)) = &mut self.loaded else { return Ok(frame) };
        let mut larger = frame.larger(upscaler.factor())?;
        upscaler.enlarge(&frame.view(), &mut larger.view_mut())?;
        Ok(larger)
    }
}
