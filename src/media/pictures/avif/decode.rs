//! One AV1 picture of an item.

use ffmpeg::codec::{self, threading};
use ffmpeg::{Packet, frame};
use ffmpeg_next as ffmpeg;

use super::boxes::Fault;
use crate::media::properties::PictureProperties;

/// Pictures in one item: progressive ones have a few, each better than the last.
const LAYERS_MAX: usize = 8;
/// Of one picture.
const THREADS: usize = 2;

/// Why there is no picture.
#[derive(Debug)]
pub(super) enum Failure {
    Fault(Fault),
    Decoder(ffmpeg::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<ffmpeg::Error> for Failure {
    fn from(error: ffmpeg::Error) -> Self {
        Self::Decoder(error)
    }
}

/// The best picture in an item's bytes; no memory is taken for one larger than `size`.
pub(super) fn decode(item: &[u8], size: (u32, u32)) -> Result<frame::Video, Failure> {
    let codec = ffmpeg::decoder::find(codec::Id::AV1).ok_or(ffmpeg::Error::DecoderNotFound)?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(threading::Config {
        kind: threading::Type::Slice,
        count: THREADS,
        ..threading::Config::default()
    });
    let mut options = ffmpeg::Dictionary::new();
    options.set("max_pixels", &(u64::from(size.0) * u64::from(size.1)).to_string());
    let mut decoder = context.decoder().open_as_with(codec, options)?.video()?;
    decoder.send_packet(&Packet::copy(item))?;
    decoder.send_eof()?;
    let mut best = None;
    for _ in 0..LAYERS_MAX {
        let mut found = frame::Video::empty();
        match decoder.receive_frame(&mut found) {
            Ok(()) => best = Some(found),
            Err(ffmpeg::Error::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let best = best.ok_or(Fault::Broken("no picture comes out of the decoder"))?;
    if (best.width(), best.height()) != size {
        return Err(Fault::Broken("its picture is not of the size that it says").into());
    }
    Ok(best)
}

/// What a decoded picture says about its colours.
pub(super) fn color_of(frame: &frame::Video) -> PictureProperties {
    // SAFETY: the frame is valid as long as it is borrowed.
    unsafe { PictureProperties::of_frame(frame.as_ptr()) }
}
