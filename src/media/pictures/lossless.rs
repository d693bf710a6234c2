//! Frames between stages, without loss: FFV1, each frame on its own; large ones raw.
//!
//! Slices of pictures hold it, and results whose output is a picture.

use ffmpeg::codec::{self, threading};
use ffmpeg::{Packet, frame};
use ffmpeg_next as ffmpeg;

use crate::contract::Ratio;
use crate::media::error::MediaError;
use crate::media::properties::PictureProperties;

/// FFmpeg's name.
pub(in super::super) const ENCODER: &str = crate::contract::LOSSLESS;

/// Pixels of the largest picture that is coded: half a gigabyte is asked for then.
const CODED_MAX: u64 = 3_600_000;

/// What pictures say about their samples: RGB as in sRGB (an ICC profile may say otherwise, and is kept).
pub(in super::super) const PICTURE: PictureProperties = PictureProperties {
    sample_aspect: (1, 1),
    field_order: 1,
    range: 2,
    matrix: 0,
    transfer: 13,
    primaries: 1,
    chroma_location: 0,
};

/// Whether frames are those of a picture's slice.
pub(in super::super) fn is_marked(properties: &PictureProperties) -> bool {
    let marks = |p: &PictureProperties| (p.range, p.matrix, p.transfer, p.primaries);
    marks(properties) == marks(&PICTURE)
}

/// Opens the encoder for frames like `first`. Neither threads nor neighbours change a frame's bits.
pub(in super::super) fn open(
    first: &frame::Video,
    time_base: Ratio,
    properties: &PictureProperties,
    threads: usize,
) -> Result<ffmpeg::encoder::video::Encoder, MediaError> {
    let missing = || MediaError::EncoderMissing { name: ENCODER.to_owned() };
    let name = if is_coded(first) { ENCODER } else { "rawvideo" };
    let codec = ffmpeg::encoder::find_by_name(name).ok_or_else(missing)?;
    let refused = |error: ffmpeg::Error| failed("open", error);
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(threading::Config {
        kind: threading::Type::Slice,
        count: threads.max(1),
        ..threading::Config::default()
    });
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video().map_err(refused)?;
    video.set_width(first.width());
    video.set_height(first.height());
    video.set_format(first.format());
    video.set_time_base((time_base.num, time_base.den));
    video.set_gop(1);
    // SAFETY: the context belongs to `video` and is not opened yet.
    unsafe { properties.mark_encoder(video.as_mut_ptr()) };
    let mut options = ffmpeg::Dictionary::new();
    if is_coded(first) {
        options.set("level", "3");
        // The encoder's own choice goes by its threads; small pictures take no more than one.
        let is_small = first.width() <= 352 && first.height() <= 288;
        options.set("slices", if is_small { "1" } else { "4" });
        options.set("slicecrc", "1");
    }
    video.open_with(options).map_err(refused)
}

/// Whether FFV1 codes it. Larger pictures stay as they are: FFmpeg 5.1 asks for 148 bytes a pixel before it codes one, which no lane has for a
/// photo.
fn is_coded(frame: &frame::Video) -> bool {
    u64::from(frame.width()) * u64::from(frame.height()) <= CODED_MAX
}

/// Encodes one frame.
pub(super) fn encode(
    encoder: &mut ffmpeg::encoder::video::Encoder,
    frame: &mut frame::Video,
    number: i64,
) -> Result<Packet, MediaError> {
    frame.set_pts(Some(number));
    let mut packet = Packet::empty();
    encoder
        .send_frame(frame)
        .and_then(|()| encoder.receive_packet(&mut packet))
        .map_err(|error| failed(&format!("encode frame {number}"), error))?;
    Ok(packet)
}

fn failed(action: &str, error: ffmpeg::Error) -> MediaError {
    let reason = error.to_string().to_lowercase();
    MediaError::Encode { encoder: ENCODER.to_owned(), action: action.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffmpeg::format::Pixel;

    #[test]
    fn pictures_of_every_size_are_taken() {
        crate::media::init();
        for (width, height) in [(2, 2), (352, 288), (353, 2), (2, 5000), (2400, 1500), (8192, 8192)] {
            for format in [Pixel::GRAY8, Pixel::BGRZ, Pixel::RGBA64LE] {
                // Without samples: opening needs none.
                let mut frame = frame::Video::empty();
                frame.set_width(width);
                frame.set_height(height);
                frame.set_format(format);
                let opened = open(&frame, Ratio { num: 1, den: 25 }, &PICTURE, 1);
                assert!(opened.is_ok(), "{width}x{height} {format:?}: {:?}", opened.err());
            }
        }
    }
}
