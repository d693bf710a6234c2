//! WebP: without loss, or by libwebp where the source has lost something already.
//!
//! Each frame of an animation is coded on its own, so that none is merged with its neighbour and each keeps its time.
//! Source: WebP Container Specification.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};

use ffmpeg::codec;
use ffmpeg::{Packet, format::Pixel};
use ffmpeg_next as ffmpeg;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, RgbaImage};

use super::changes::{Part, changed};
use super::{Described, WriteError, riff};
use crate::media::pictures::raster;

/// libwebp's scale, 0 to 100.
const QUALITY: &str = "95";
/// Flags of `VP8X`.
const MOVES: u8 = 0x02;
const XMP: u8 = 0x04;
const EXIF: u8 = 0x08;
const ALPHA: u8 = 0x10;
const ICC: u8 = 0x20;
/// Flag of a frame: its pixels replace what was there, transparent ones too.
const REPLACES: u8 = 0x02;

/// Writes a still.
pub(super) fn write(
    out: &mut (impl Write + Seek),
    picture: &DynamicImage,
    described: &Described,
) -> Result<(), WriteError> {
    let has_alpha = picture.color().has_alpha();
    head(out, described, (picture.width(), picture.height()), if has_alpha { ALPHA } else { 0 })?;
    out.write_all(&coded(picture, described.is_lossy)?)?;
    tail(out, described)
}

fn head(out: &mut impl Write, described: &Described, (width, height): (u32, u32), flags: u8) -> Result<(), WriteError> {
    riff::begin(out)?;
    let also = if described.icc.is_some() { ICC } else { 0 } | if described.exif.is_some() { EXIF } else { 0 };
    let also = also | if described.xmp.is_some() { XMP } else { 0 };
    let mut extended = vec![flags | also, 0, 0, 0];
    extended.extend_from_slice(&three_bytes(width - 1));
    extended.extend_from_slice(&three_bytes(height - 1));
    riff::chunk(out, b"VP8X", &extended)?;
    if let Some(icc) = &described.icc {
        riff::chunk(out, b"ICCP", icc)?;
    }
    Ok(())
}

fn tail(out: &mut (impl Write + Seek), described: &Described) -> Result<(), WriteError> {
    if let Some(exif) = &described.exif {
        riff::chunk(out, b"EXIF", exif)?;
    }
    if let Some(xmp) = &described.xmp {
        riff::chunk(out, b"XMP ", xmp.as_bytes())?;
    }
    riff::end(out)?;
    Ok(())
}

/// The chunks of one picture's pixels.
fn coded(picture: &DynamicImage, is_lossy: bool) -> Result<Vec<u8>, WriteError> {
    let file = match is_lossy {
        true => lossy(picture)?,
        false => {
            let mut file = std::io::Cursor::new(Vec::new());
            let bytes = match picture.color().has_alpha() {
                true => DynamicImage::from(picture.to_rgba8()),
                false => DynamicImage::from(picture.to_rgb8()),
            };
            bytes.write_with_encoder(WebPEncoder::new_lossless(&mut file))?;
            file.into_inner()
        }
    };
    Ok(riff::pixels(&file))
}

fn lossy(picture: &DynamicImage) -> Result<Vec<u8>, WriteError> {
    let refused = |reason: String| WriteError::Content(format!("libwebp cannot code it: {reason}"));
    let codec = ffmpeg::encoder::find_by_name("libwebp").ok_or_else(|| refused("it is not there".to_owned()))?;
    let frame = raster::to_frame(&picture.to_rgba8().into()).ok_or_else(|| refused("no frame".to_owned()))?;
    let code = || -> Result<Packet, ffmpeg::Error> {
        let mut video = codec::Context::new_with_codec(codec).encoder().video()?;
        video.set_width(frame.width());
        video.set_height(frame.height());
        video.set_format(Pixel::BGRA);
        video.set_time_base((1, 1000));
        let mut options = ffmpeg::Dictionary::new();
        options.set("quality", QUALITY);
        let mut encoder = video.open_with(options)?;
        let mut packet = Packet::empty();
        encoder.send_frame(&frame)?;
        encoder.send_eof()?;
        encoder.receive_packet(&mut packet)?;
        Ok(packet)
    };
    let packet = code().map_err(|error| refused(error.to_string()))?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

/// An animation in the making.
pub(super) struct Animation {
    described: Described,
    out: BufWriter<File>,
    shown: Option<RgbaImage>,
    frames: usize,
}

impl Animation {
    pub(super) fn new(file: File, described: Described) -> Self {
        Self { described, out: BufWriter::new(file), shown: None, frames: 0 }
    }

    pub(super) fn push(&mut self, picture: &DynamicImage) -> Result<(), WriteError> {
        let has_alpha = picture.color().has_alpha();
        let pixels = picture.to_rgba8();
        let part = match &self.shown {
            Some(shown) => changed(shown, &pixels).even(),
            None => {
                let size = (picture.width(), picture.height());
                head(&mut self.out, &self.described, size, MOVES | if has_alpha { ALPHA } else { 0 })?;
                let plays = u16::try_from(self.described.plays).unwrap_or(0);
                let mut all = vec![0; 4]; // the ground: transparent
                all.extend_from_slice(&plays.to_le_bytes());
                riff::chunk(&mut self.out, b"ANIM", &all)?;
                Part::whole(&pixels)
            }
        };
        let delay = self.described.delays.get(self.frames).map_or(100, |delay| delay.in_parts(1000));
        let mut frame = Vec::new();
        for number in [part.left / 2, part.top / 2, part.width - 1, part.height - 1, delay.min(0xFF_FFFF)] {
            frame.extend_from_slice(&three_bytes(number));
        }
        frame.push(REPLACES);
        let shown_part = DynamicImage::from(part.of(&pixels));
        let shown_part = if has_alpha { shown_part } else { shown_part.into_rgb8().into() };
        frame.extend_from_slice(&coded(&shown_part, self.described.is_lossy)?);
        riff::chunk(&mut self.out, b"ANMF", &frame)?;
        self.shown = Some(pixels);
        self.frames += 1;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        tail(&mut self.out, &self.described)?;
        Ok(self.out.flush()?)
    }
}

fn three_bytes(number: u32) -> [u8; 3] {
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}
