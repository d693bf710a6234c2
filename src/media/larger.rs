//! Room for a picture that is made larger.

use std::sync::Arc;

use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

use super::decoded::Decoded;
use super::error::MediaError;
use super::pixels;
use super::properties::PictureProperties;
use super::repack;

impl Decoded {
    /// An empty picture with `factor` times the sides of this one, which must be viewable: of the same format, shown at the same time,
    /// marked alike but for fields, since what is larger has none. Transparency is that of this one, interpolated.
    ///
    /// # Errors
    /// As [`Decoded::viewable`].
    pub fn larger(&self, factor: usize) -> Result<Self, MediaError> {
        let small = self.frame();
        let side = |side: u32| side.saturating_mul(u32::try_from(factor).unwrap_or(u32::MAX));
        let mut frame = frame::Video::new(small.format(), side(small.width()), side(small.height()));
        for plane in 0..frame.planes() {
            frame.data_mut(plane).fill(0);
        }
        // SAFETY: both frames are valid; only properties are copied.
        unsafe { ffi::av_frame_copy_props(frame.as_mut_ptr(), small.as_ptr()) };
        repack::enlarge_alpha(small, &mut frame, factor);
        // Where nobody says, the matrix is guessed by the height: it stays that of the smaller picture.
        const UNKNOWN: i32 = 2;
        const SMPTE_170M: i32 = 6;
        const HD: u32 = 720;
        let is_rgb = ["rgb", "bgr", "gbr"].iter().any(|order| pixels::name(small.format()).contains(order));
        let was = self.properties();
        let is_guessed_otherwise = was.matrix == UNKNOWN && !is_rgb && small.height() < HD;
        let matrix = if is_guessed_otherwise { SMPTE_170M } else { was.matrix };
        let properties = PictureProperties { field_order: 1, matrix, ..was };
        self.with_picture(frame, Arc::new(properties)).viewable()
    }
}
