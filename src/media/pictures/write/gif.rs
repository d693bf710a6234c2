//! GIF: a palette for each frame. What was not touched keeps its colours; what was is fitted into the entries that are left.

use std::fs::File;
use std::io::{BufWriter, Write};

use gif::{AnyExtension, DisposalMethod, Encoder, Frame, Repeat};
use image::{DynamicImage, RgbaImage};

use super::changes::{Part, changed, differing};
use super::palette::{Indexed, Pixel, indexed};
use super::{Described, WriteError};

/// An application extension.
const APPLICATION: AnyExtension = AnyExtension(0xFF);

/// A GIF in the making. A frame is written when the next one is known: how it is disposed of depends on that.
pub(super) struct Animation {
    described: Described,
    file: Option<BufWriter<File>>,
    encoder: Option<Encoder<BufWriter<File>>>,
    waiting: Option<Waiting>,
    /// What players show when the waiting frame comes.
    canvas: RgbaImage,
    frames: usize,
}

struct Waiting {
    picture: RgbaImage,
    original: Option<RgbaImage>,
}

impl Animation {
    pub(super) fn new(file: File, described: Described) -> Self {
        let file = Some(BufWriter::new(file));
        Self { described, file, encoder: None, waiting: None, canvas: RgbaImage::new(0, 0), frames: 0 }
    }

    pub(super) fn push(&mut self, picture: RgbaImage, original: Option<&DynamicImage>) -> Result<(), WriteError> {
        if let Some(file) = self.file.take() {
            self.begin(file, &picture)?;
        }
        if let Some(waiting) = self.waiting.take() {
            self.write(&waiting, differing(&waiting.picture, &picture, vanishes))?;
        }
        self.waiting = Some(Waiting { picture, original: original.map(DynamicImage::to_rgba8) });
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), WriteError> {
        if let Some(waiting) = self.waiting.take() {
            self.write(&waiting, None)?;
        }
        let Some(encoder) = self.encoder else { return Err(WriteError::Content("no frame came".to_owned())) };
        Ok(encoder.into_inner()?.flush()?)
    }

    fn begin(&mut self, file: BufWriter<File>, first: &RgbaImage) -> Result<(), WriteError> {
        let side =
            |side: u32| u16::try_from(side).map_err(|_| WriteError::Content(format!("a gif's side of {side} pixels")));
        let mut encoder = Encoder::new(file, side(first.width())?, side(first.height())?, &[])?;
        if let Some(icc) = &self.described.icc {
            encoder.write_raw_extension(APPLICATION, &[b"ICCRGBG1012", icc])?;
        }
        if let Some(xmp) = &self.described.xmp {
            encoder.get_mut().write_all(&extension(xmp))?;
        }
        encoder.set_repeat(match self.described.plays {
            0 => Repeat::Infinite,
            plays => Repeat::Finite(u16::try_from(plays - 1).unwrap_or(u16::MAX)),
        })?;
        self.encoder = Some(encoder);
        self.canvas = RgbaImage::new(first.width(), first.height());
        Ok(())
    }

    /// `vanishing`: what is shown and will not be in the next frame. It is cleared between them, and with it all that the frame covers.
    fn write(&mut self, Waiting { picture, original }: &Waiting, vanishing: Option<Part>) -> Result<(), WriteError> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let changes = changed(&self.canvas, picture);
        let part = vanishing.map_or(changes, |vanishing| vanishing.with(changes));
        let pixels =
            (part.top..part.top + part.height).flat_map(|y| (part.left..part.left + part.width).map(move |x| (x, y)));
        let pixels: Vec<Pixel> = pixels
            .map(|(x, y)| {
                let [r, g, b, a] = picture.get_pixel(x, y).0;
                let is_shown = a >= 128;
                let is_there = self.canvas.get_pixel(x, y) == picture.get_pixel(x, y);
                match is_shown && !is_there {
                    false => Pixel::Clear,
                    true if original
                        .as_ref()
                        .is_some_and(|before| before.get_pixel(x, y) == picture.get_pixel(x, y)) =>
                    {
                        Pixel::Kept([r, g, b])
                    }
                    true => Pixel::New([r, g, b]),
                }
            })
            .collect();
        let Indexed { palette, indices, transparent } = indexed(&pixels, part.width as usize);
        let delay = self.described.delays.get(self.frames).map_or(0, |delay| delay.in_parts(100));
        encoder.write_frame(&Frame {
            delay: u16::try_from(delay).unwrap_or(u16::MAX),
            dispose: if vanishing.is_some() { DisposalMethod::Background } else { DisposalMethod::Keep },
            transparent,
            left: part.left as u16,
            top: part.top as u16,
            width: part.width as u16,
            height: part.height as u16,
            palette: Some(palette),
            buffer: indices.into(),
            ..Frame::default()
        })?;
        // Compared with what was wanted, not with what a palette made of it: what does not change does not flicker.
        self.canvas = picture.clone();
        if vanishing.is_some() {
            let clear = RgbaImage::new(part.width, part.height);
            image::imageops::replace(&mut self.canvas, &clear, part.left.into(), part.top.into());
        }
        self.frames += 1;
        Ok(())
    }
}

/// The output's XMP as a text, not cut into blocks: to who reads blocks each of its bytes is a block's length, and what follows it leads from
/// wherever they come out to the end. Source: XMP Specification, part 3, 1.1.2.
fn extension(xmp: &str) -> Vec<u8> {
    let trailer = std::iter::once(1).chain((0..=255).rev()).chain([0]);
    b"\x21\xFF\x0BXMP DataXMP".iter().copied().chain(xmp.bytes()).chain(trailer).collect()
}

/// Whether a pixel that is shown is not shown any more in the next frame.
fn vanishes(before: [u8; 4], now: [u8; 4]) -> bool {
    before[3] >= 128 && now[3] < 128
}

impl From<gif::EncodingError> for WriteError {
    fn from(error: gif::EncodingError) -> Self {
        match error {
            gif::EncodingError::Io(error) => Self::Io(error),
            error => Self::Content(error.to_string()),
        }
    }
}
