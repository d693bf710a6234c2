//! Video in and out: probe a clip, cut it into slices, decode them, encode chunks, join these into the finished clip.
//!
//! The only user of FFmpeg's libraries. In the order in which a clip meets them: [`probe()`], [`slice()`],
//! [`WantedFrames`], [`ChunkEncoder`], [`join()`]. Between processes, video travels in NUT files, which keep every time
//! exactly: a *slice* holds source packets, a *chunk* encoded ones. Nothing here knows what is done to the pixels in
//! between.

mod choose;
mod clock;
mod container;
mod convert;
mod decode;
mod decoded;
mod encode;
mod encoders;
mod error;
mod fates;
mod hardware;
mod hdr;
mod input;
mod integrity;
mod join;
mod larger;
mod log;
mod marking;
mod memory;
mod missing;
mod nut;
mod opacity;
mod pad;
mod picture_watch;
mod pictures;
mod pixels;
mod probe;
mod properties;
mod repack;
mod slice;
mod streams;
mod timeline;
mod times;
mod version;
mod wanted;

#[cfg(test)]
mod tests;

pub use choose::{ChosenEncoder, EncoderWish, HardwareEncoders, choose_encoder};
pub use container::{Container, container_of, extension_supported};
pub use decode::SliceDecoder;
pub use decoded::Decoded;
pub use encode::{ChunkEncoder, EncodeSettings, Encoded, Timing};
pub use error::{ChunkProblem, MediaError};
pub use fates::{OtherStream, other_streams};
pub use join::{ChunkFile, JoinRequest, Joined, join};
pub use marking::read_marks;
pub use pictures::{
    Format as PictureFormat, HEAD as PICTURE_HEAD, check as check_picture, format_of as picture_format, is_picture,
};
pub use pixels::{PixelPath, pixel_path, pixels_viewable};
pub use probe::{Limits, Probe, probe, probe_tolerant};
pub use properties::Appearance;
pub use slice::slice;
pub use version::{encoder_version, library_version};
pub use wanted::{Shows, Wanted, WantedFrames};

/// Prepares FFmpeg; call once at the start of the program. Its messages go to `tracing` (target `ffmpeg`, level debug).
pub fn init() {
    memory::keep_small();
    memory::limit_blocks();
    log::install();
    // Without it errors have no text.
    ffmpeg_next::util::error::register_all();
}
