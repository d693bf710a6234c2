//! The network that makes frames larger, and what a lane keeps of it from one chunk to the next.

use crate::contract::Swap;
use crate::frame::Pixels;
use crate::media::Decoded;
use crate::toolchain;
use crate::vision::upscale::{Upscaler, UpscalerSettings};
use crate::vision::{self, Catalog, VisionError};

use super::lane::{Means, WorkError};

/// Makes frames larger, if their job asks for it.
#[derive(Default)]
pub struct Enlarger {
    loaded: Option<(UpscalerSettings, Upscaler)>,
}

impl Enlarger {
    /// Loads what `swap` asks for; forgets what it does not.
    ///
    /// # Errors
    /// As [`Upscaler::load`].
    pub fn prepare(&mut self, swap: &Swap, means: &Means) -> Result<(), VisionError> {
        let wanted = toolchain::upscaler(swap);
        let is_ready = self.loaded.as_ref().map(|(known, _)| known) == wanted.as_ref();
        let Some(settings) = wanted.filter(|_| !is_ready) else {
            self.loaded = self.loaded.take().filter(|_| is_ready);
            return Ok(());
        };
        self.loaded = None;
        vision::model::init(&means.onnxruntime)?;
        let upscaler = Upscaler::load(&Catalog::open(&means.models)?, &settings, &means.execution)?;
        self.loaded = Some((settings, upscaler));
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
        let Some((_, upscaler)) = &mut self.loaded else { return Ok(frame) };
        let mut larger = frame.larger(upscaler.factor())?;
        upscaler.enlarge(&frame.view(), &mut larger.view_mut())?;
        Ok(larger)
    }
}
