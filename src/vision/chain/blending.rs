//! What a new face takes over from the target: its colours or its light, its sharpness and its grain.

use crate::frame::{FrameIndex, YuvRef};
use crate::vision::aligned::crop::Aligned;
use crate::vision::aligned::{colour, texture};

/// What is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlendingSettings {
    /// None: the network's own colours.
    pub colour: Option<Colour>,
    /// Sharpness and grain.
    pub texture: bool,
}

/// A way to take over colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// [`colour::match_lab`].
    Lab,
    /// [`colour::relight`].
    Relight,
}

pub(super) struct Blending(pub BlendingSettings);

impl Blending {
    /// Makes `new` like what `picture`, which still shows the target, has in its place, as far as `mask` (of the crop's side) shows it.
    /// Texture only for a `number`, that of the frame.
    pub(super) fn blend(&self, picture: &YuvRef<'_>, new: &mut Aligned, mask: &[f32], number: Option<FrameIndex>) {
        let number = number.filter(|_| self.0.texture);
        if self.0.colour.is_none() && number.is_none() {
            return;
        }
        let target = Aligned::sample(picture, new.to_picture, new.side);
        match self.0.colour {
            Some(Colour::Lab) => colour::match_lab(new, &target, mask, 1.0),
            Some(Colour::Relight) => colour::relight(new, &target, mask, 1.0),
            None => {}
        }
        if let Some(number) = number {
            texture::match_texture(new, &target, mask, 1.0, number);
        }
    }
}
