//! Encodes a chunk as a segment of its own: closed GOP, and the same SPS/PPS in every chunk of a clip, so that chunks
//! made anywhere join into one stream.

use std::path::{Path, PathBuf};

use ffmpeg::codec::{self, threading};
use ffmpeg::{Packet, ffi, frame, picture};
use ffmpeg_next as ffmpeg;

use super::decoded::Decoded;
use super::encoders::Encoder;
use super::error::MediaError;
use super::hardware::Upload;
use super::nut::{NutHeader, NutWriter};
use super::pad;
use super::pictures;
use super::properties::PictureProperties;
use crate::contract::{Hdr, Ratio};

/// How chunks are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeSettings {
    /// FFmpeg's name, one of [`crate::contract::ENCODERS`].
    pub encoder: String,
    /// `ultrafast` to `placebo`, on x264's scale. Joined chunks share it.
    pub preset: String,
    /// Quality, 0 to 51 on x264's scale; 0 is lossless where the encoder can.
    pub crf: u8,
    /// Written into the bit stream, for players that do not ask the container.
    pub hdr: Option<Hdr>,
    /// Frames encoded at once. The bits differ a little with it, SPS and PPS do not.
    pub threads: usize,
}

/// The clock of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Seconds per tick.
    pub time_base: Ratio,
    /// Average frames per second; (0, 1) if unknown. The encoder's rate control and level go by it.
    pub frame_rate: Ratio,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Frames in the file.
    pub frames: u64,
    /// By how many frames decode order runs ahead of display order, at most. The join needs the largest of all chunks.
    pub reorder_depth: u32,
}

/// Encodes one chunk into a NUT file, writing packets as they come.
pub struct ChunkEncoder {
    encoder: ffmpeg::encoder::video::Encoder,
    /// The way of frames into an encoder in hardware.
    upload: Option<Upload>,
    name: String,
    writer: NutWriter,
    path: PathBuf,
    /// The picture that every frame must have.
    picture: Picture,
    /// Shell for the frame on its way into the encoder; refers to the decoder's buffers.
    shell: frame::Video,
    frames: u64,
    /// PTS in the order of packets, ticks.
    written: Vec<i64>,
}

/// Width, height, format.
type Picture = (u32, u32, ffmpeg::format::Pixel);

impl ChunkEncoder {
    /// Opens the encoder for pictures like `first` and creates the file. `first` itself still has to be pushed.
    ///
    /// Colour, sample aspect ratio, chroma location and field order are as in the source. Odd sides, where the format's
    /// chroma is halved along them, are padded to even ones by repeating the edge.
    ///
    /// # Errors
    /// [`MediaError::EncoderMissing`], [`MediaError::UnsupportedPixels`], [`MediaError::Encode`] (settings that the
    /// encoder refuses), [`MediaError::File`].
    pub fn create(path: &Path, settings: &EncodeSettings, timing: Timing, first: &Decoded) -> Result<Self, MediaError> {
        let properties = first.properties();
        let Opened { encoder, upload } = open(settings, timing, first.frame(), &properties)?;
        let header = NutHeader {
            parameters: codec::Parameters::from(&encoder),
            time_base: timing.time_base,
            properties: &properties,
        };
        Ok(Self {
            encoder,
            upload,
            name: settings.encoder.clone(),
            writer: NutWriter::create(path, header)?,
            path: path.to_owned(),
            picture: picture_of(first.frame()),
            shell: frame::Video::empty(),
            frames: 0,
            written: Vec::new(),
        })
    }

    /// Encodes `frame`, shown `pts_in_chunk` ticks after the chunk's first frame. In display order, times increasing.
    ///
    /// The samples are not copied on the way into the encoder, unless they are padded.
    pub fn push(&mut self, frame: &Decoded, pts_in_chunk: i64) -> Result<(), MediaError> {
        let frame = frame.frame();
        if picture_of(frame) != self.picture {
            return Err(MediaError::PictureChanged {
                before: describe(self.picture),
                after: describe(picture_of(frame)),
                seconds: None,
            });
        }
        match pad::to_even(frame) {
            Some(padded) => self.shell = padded,
            None => refer(&mut self.shell, frame).map_err(|error| self.failed(error))?,
        }
        if let Some(upload) = &self.upload {
            self.shell = upload.frame(&self.shell).map_err(|error| self.failed(error))?;
        }
        self.shell.set_pts(Some(pts_in_chunk));
        // Otherwise the encoder repeats the source's choice of I, P and B.
        self.shell.set_kind(picture::Type::None);
        self.encoder.send_frame(&self.shell).map_err(|error| self.failed(error))?;
        self.frames += 1;
        self.write_ready()
    }

    /// Encodes what the encoder still holds and closes the file.
    pub fn finish(mut self) -> Result<Encoded, MediaError> {
        self.encoder.send_eof().map_err(|error| self.failed(error))?;
        self.write_ready()?;
        let packets = self.written.len() as u64;
        if packets != self.frames {
            let reason = format!("{} frames became {packets} packets", self.frames);
            return Err(MediaError::Encode { encoder: self.name, action: "encode the chunk".to_owned(), reason });
        }
        self.writer.finish()?;
        Ok(Encoded { frames: self.frames, reorder_depth: reorder_depth(&self.written) })
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_ready(&mut self) -> Result<(), MediaError> {
        loop {
            let mut packet = Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(self.failed(error)),
            }
            let (Some(pts), Some(dts)) = (packet.pts(), packet.dts()) else {
                return Err(self.failed(ffmpeg::Error::InvalidData));
            };
            self.written.push(pts);
            self.writer.write(&mut packet, pts, dts)?;
        }
    }

    fn failed(&self, error: ffmpeg::Error) -> MediaError {
        MediaError::Encode {
            encoder: self.name.clone(),
            action: format!("encode frame {}", self.frames),
            reason: error.to_string().to_lowercase(),
        }
    }
}

/// An encoder that takes frames.
pub(super) struct Opened {
    pub encoder: ffmpeg::encoder::video::Encoder,
    pub upload: Option<Upload>,
}

/// Opens an encoder for pictures like `first`.
pub(super) fn open(
    settings: &EncodeSettings,
    timing: Timing,
    first: &frame::Video,
    properties: &PictureProperties,
) -> Result<Opened, MediaError> {
    let name = &settings.encoder;
    let (known, codec) = Encoder::named(name)?;
    check_pixels(name, first.format())?;
    if name == pictures::lossless::ENCODER {
        let encoder = pictures::lossless::open(first, timing.time_base, properties, settings.threads)?;
        return Ok(Opened { encoder, upload: None });
    }
    let refused = |error: ffmpeg::Error| {
        let reason = error.to_string().to_lowercase();
        let picture = describe(picture_of(first));
        match known.hardware {
            Some(_) => MediaError::Hardware { encoder: name.clone(), reason: format!("{reason}, for {picture}") },
            None => MediaError::Encode {
                encoder: name.clone(),
                action: format!("open with preset {} and crf {} for {picture}", settings.preset, settings.crf),
                reason,
            },
        }
    };
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count: settings.threads.max(1),
        ..threading::Config::default()
    });
    let mut flags = codec::Flags::GLOBAL_HEADER | codec::Flags::CLOSED_GOP;
    if properties.interlaced() {
        flags |= codec::Flags::INTERLACED_DCT | codec::Flags::INTERLACED_ME;
    }
    context.set_flags(flags);
    let mut video = context.encoder().video().map_err(refused)?;
    let (width, height) = pad::even_size(first);
    video.set_width(width);
    video.set_height(height);
    video.set_format(first.format());
    video.set_time_base((timing.time_base.num, timing.time_base.den));
    // Without a rate, x264 takes one frame per tick and chooses a level for thousands of frames per second.
    let rate = if timing.frame_rate.num > 0 { timing.frame_rate } else { Ratio { num: 30, den: 1 } };
    video.set_frame_rate(Some((rate.num, rate.den)));
    // SAFETY: the context belongs to `video` and is not opened yet.
    let upload = unsafe {
        properties.mark_encoder(video.as_mut_ptr());
        let prepare = |hardware| Upload::prepare(hardware, video.as_mut_ptr(), first.format(), (width, height));
        known.hardware.map(prepare).transpose().map_err(refused)?
    };
    let encoder = video.open_with(known.options(settings, properties)).map_err(refused)?;
    Ok(Opened { encoder, upload })
}

fn check_pixels(encoder: &str, pixels: ffmpeg::format::Pixel) -> Result<(), MediaError> {
    let accepted = accepted_pixels(encoder)?;
    if accepted.contains(&pixels) {
        return Ok(());
    }
    Err(unsupported(encoder, pixels.descriptor().map_or("unknown", |descriptor| descriptor.name()), &accepted))
}

pub(super) fn unsupported(encoder: &str, pixel_format: &str, accepted: &[ffmpeg::format::Pixel]) -> MediaError {
    let names: Vec<&str> =
        accepted.iter().filter_map(|format| format.descriptor()).map(|descriptor| descriptor.name()).collect();
    MediaError::UnsupportedPixels {
        encoder: encoder.to_owned(),
        pixel_format: pixel_format.to_owned(),
        accepted: names.join(", "),
    }
}

pub(super) fn accepted_pixels(encoder: &str) -> Result<Vec<ffmpeg::format::Pixel>, MediaError> {
    let (known, codec) = Encoder::named(encoder)?;
    Ok(known.accepted_pixels(codec))
}

/// Makes `shell` another handle of `frame`'s buffers.
fn refer(shell: &mut frame::Video, frame: &frame::Video) -> Result<(), ffmpeg::Error> {
    // SAFETY: both frames are valid; `shell` is emptied before it is filled.
    let code = unsafe {
        ffi::av_frame_unref(shell.as_mut_ptr());
        ffi::av_frame_ref(shell.as_mut_ptr(), frame.as_ptr())
    };
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(()) }
}

fn picture_of(frame: &frame::Video) -> Picture {
    (frame.width(), frame.height(), frame.format())
}

fn describe((width, height, format): Picture) -> String {
    format!("{width}x{height} {}", format.descriptor().map_or("?", |descriptor| descriptor.name()))
}

/// The largest distance by which a packet precedes its place in display order. `pts` in decode order, all different.
fn reorder_depth(pts: &[i64]) -> u32 {
    let mut shown = pts.to_vec();
    shown.sort_unstable();
    let ahead = pts.iter().enumerate().map(|(position, time)| {
        let rank = shown.binary_search(time).expect("the list is a sorted copy");
        position.saturating_sub(rank)
    });
    u32::try_from(ahead.max().unwrap_or(0)).expect("encoders reorder by 16 frames at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_how_far_a_packet_comes_late() {
        for (pts, depth) in [
            (&[][..], 0),
            (&[0], 0),
            (&[0, 1, 2], 0),
            (&[0, 2, 1], 1),           // I P B
            (&[0, 30, 10, 20, 40], 1), // I P B b
            (&[0, 4, 2, 1, 3, 5], 2),  // pyramid
            (&[0, 8, 4, 2, 1, 3, 6], 3),
        ] {
            assert_eq!(reorder_depth(pts), depth, "{pts:?}");
        }
    }
}
