//! A picture's frames: decoded, composed as players do, and upright.

use std::path::{Path, PathBuf};

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, ColorType, DynamicImage, ImageDecoder};

use super::Format;
use super::avif::Avif;
use super::header::{Header, bounds, open, reader, unreadable};
use crate::media::error::MediaError;
use crate::media::probe::Limits;

/// Yields every frame of a picture, all of one size and kind.
pub(super) struct Frames {
    path: PathBuf,
    format: Format,
    orientation: Orientation,
    color: ColorType,
    source: Source,
}

enum Source {
    Still(Option<Box<DynamicImage>>),
    Moving(image::Frames<'static>),
}

impl Frames {
    /// Opens the picture that `header` describes; a still is decoded at once.
    pub(super) fn open(path: &Path, header: &Header, limits: &Limits) -> Result<Self, MediaError> {
        let format = header.format;
        let failed = |error: image::ImageError| unreadable(path, format, &error);
        let source = match (&header.animation, format) {
            (Some(_), Format::Png) => {
                let decoder = PngDecoder::with_limits(reader(path)?, bounds(limits)).map_err(failed)?;
                Source::Moving(decoder.apng().map_err(failed)?.into_frames())
            }
            (Some(_), Format::WebP) => {
                let mut decoder = WebPDecoder::new(reader(path)?).map_err(failed)?;
                // As browsers do, whatever the file says.
                decoder.set_background_color(image::Rgba([0; 4])).map_err(failed)?;
                Source::Moving(decoder.into_frames())
            }
            (_, Format::Gif) => {
                let mut decoder = GifDecoder::new(reader(path)?).map_err(failed)?;
                decoder.set_limits(bounds(limits)).map_err(failed)?;
                Source::Moving(decoder.into_frames())
            }
            (_, Format::Avif) => Source::Still(Some(Box::new(Avif::open(path)?.picture()?))),
            _ => {
                let decoder = open(path, format, limits)?;
                let picture = DynamicImage::from_decoder(decoder).map_err(failed)?;
                Source::Still(Some(Box::new(picture)))
            }
        };
        let (orientation, color) = (header.orientation, header.color);
        Ok(Self { path: path.to_owned(), format, orientation, color, source })
    }
}

impl Iterator for Frames {
    type Item = Result<DynamicImage, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut picture = match &mut self.source {
            Source::Still(picture) => *picture.take()?,
            Source::Moving(frames) => match frames.next()? {
                Ok(frame) => DynamicImage::ImageRgba8(frame.into_buffer()),
                Err(error) => return Some(Err(unreadable(&self.path, self.format, &error))),
            },
        };
        picture.apply_orientation(self.orientation);
        Some(Ok(match self.color {
            ColorType::Rgb8 => DynamicImage::ImageRgb8(picture.into_rgb8()),
            ColorType::La8 => DynamicImage::ImageRgba8(picture.into_rgba8()),
            ColorType::La16 => DynamicImage::ImageRgba16(picture.into_rgba16()),
            _ => picture,
        }))
    }
}
