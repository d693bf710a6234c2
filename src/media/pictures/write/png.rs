//! PNG and APNG.

use std::fs::File;
use std::io::{BufWriter, Write};

use image::codecs::png::PngEncoder;
use image::{DynamicImage, RgbaImage};
use png::text_metadata::{EncodableTextChunk as _, ITXtChunk};

use super::changes::{Part, changed};
use super::splice::Spliced;
use super::{Described, WriteError};
use crate::media::pictures::animation::Delay;

/// Bytes of the signature and of `IHDR`.
const HEAD: usize = 8 + 25;

/// Writes a still.
pub(super) fn write(out: &mut impl Write, picture: &DynamicImage, described: &Described) -> Result<(), WriteError> {
    let mut encoder = PngEncoder::new(with_xmp(out, described)?);
    described.tell(&mut encoder)?;
    Ok(picture.write_with_encoder(encoder)?)
}

/// Writes the output's XMP behind the signature and the first chunk, `IHDR`. Source: XMP Specification, part 3, 1.1.4.
fn with_xmp<W: Write>(out: W, described: &Described) -> Result<Spliced<W>, WriteError> {
    let mut chunk = Vec::new();
    if let Some(xmp) = &described.xmp {
        ITXtChunk::new("XML:com.adobe.xmp", xmp.as_str()).encode(&mut chunk)?;
    }
    Ok(Spliced::new(out, HEAD, chunk))
}

/// An APNG in the making: whole pixels over what changes, never blended.
pub(super) struct Animation {
    described: Described,
    file: Option<File>,
    begun: Option<Begun>,
    frames: usize,
}

struct Begun {
    writer: png::Writer<Spliced<BufWriter<File>>>,
    shown: RgbaImage,
}

impl Animation {
    pub(super) fn new(file: File, described: Described) -> Self {
        Self { described, file: Some(file), begun: None, frames: 0 }
    }

    pub(super) fn push(&mut self, picture: &DynamicImage) -> Result<(), WriteError> {
        let picture = picture.to_rgba8();
        let delay = self.described.delays.get(self.frames).copied().unwrap_or(Delay { num: 1, den: 10 });
        let (num, den) = in_words(delay);
        self.frames += 1;
        match (&mut self.begun, self.file.take()) {
            (Some(Begun { writer, shown }), _) => {
                let part = changed(shown, &picture);
                // The order matters: a part is checked against the corner that is set.
                writer.reset_frame_position()?;
                writer.set_frame_dimension(part.width, part.height)?;
                writer.set_frame_position(part.left, part.top)?;
                writer.set_frame_delay(num, den)?;
                writer.write_image_data(part.of(&picture).as_raw())?;
                *shown = picture;
            }
            (none, Some(file)) => {
                let mut info = png::Info::with_size(picture.width(), picture.height());
                info.icc_profile = self.described.icc.clone().map(Into::into);
                info.exif_metadata = self.described.exif.clone().map(Into::into);
                let mut encoder = png::Encoder::with_info(with_xmp(BufWriter::new(file), &self.described)?, info)?;
                encoder.set_color(png::ColorType::Rgba);
                encoder.set_depth(png::BitDepth::Eight);
                encoder.set_animated(self.described.delays.len() as u32, self.described.plays)?;
                encoder.set_frame_delay(num, den)?;
                encoder.set_blend_op(png::BlendOp::Source)?;
                encoder.set_dispose_op(png::DisposeOp::None)?;
                let mut writer = encoder.write_header()?;
                writer.write_image_data(Part::whole(&picture).of(&picture).as_raw())?;
                *none = Some(Begun { writer, shown: picture });
            }
            (_, None) => return Err(WriteError::Content("the first frame could not be written".to_owned())),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), WriteError> {
        match self.begun {
            Some(Begun { writer, .. }) => Ok(writer.finish()?),
            None => Err(WriteError::Content("no frame came".to_owned())),
        }
    }
}

/// Numerator and denominator of 16 bits; rounded down where they do not fit.
fn in_words(delay: Delay) -> (u16, u16) {
    let fitting = [delay.den, 1000, 100, 10, 1].into_iter().find_map(|den| {
        let num = if den == delay.den { delay.num } else { delay.in_parts(den) };
        Some((u16::try_from(num).ok()?, u16::try_from(den).ok()?))
    });
    fitting.unwrap_or((u16::MAX, 1))
}

impl From<png::EncodingError> for WriteError {
    fn from(error: png::EncodingError) -> Self {
        match error {
            png::EncodingError::IoError(error) => Self::Io(error),
            error => Self::Content(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_kept_where_they_fit() {
        for (num, den, expected) in
            [(4, 100, (4, 100)), (70_000, 1000, (7000, 100)), (1, 65_535, (1, 65_535)), (u32::MAX, 1000, (u16::MAX, 1))]
        {
            assert_eq!(in_words(Delay { num, den }), expected, "{num}/{den}");
        }
    }
}
