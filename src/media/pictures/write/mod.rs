//! Writes pictures.

mod avif;
mod changes;
mod gif;
mod jpeg;
mod palette;
mod png;
mod riff;
mod splice;
mod tiff;
mod webp;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageEncoder};

use super::Format;
use super::animation::Delay;
use super::header::Header;
use super::join::create;
use super::space::Space;
use crate::media::error::MediaError;

/// What a picture is beside its pixels.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    pub icc: Option<Vec<u8>>,
    pub exif: Option<Vec<u8>>,
    /// What the output says of itself; XMP of the source's is not taken over.
    pub xmp: Option<String>,
    /// One for each frame that is written; none for a still.
    pub delays: Vec<Delay>,
    /// 0 is for ever.
    pub plays: u32,
    /// The source's pixels have been through a codec that loses something, so that losing a little more is no harm.
    pub is_lossy: bool,
    /// Of the source's samples.
    pub bits: u8,
    pub space: Space,
}

impl Described {
    pub(super) fn of(header: &Header, kept: Range<usize>) -> Self {
        let animation = header.animation.as_ref();
        Self {
            icc: header.icc.clone(),
            exif: header.exif.clone(),
            xmp: None,
            delays: animation.map(|animation| animation.delays[kept].to_vec()).unwrap_or_default(),
            plays: animation.map_or(1, |animation| animation.plays),
            is_lossy: header.is_lossy,
            bits: header.bits,
            space: header.space,
        }
    }
}

impl Described {
    /// Gives an encoder the ICC profile and the EXIF data.
    fn tell(&self, encoder: &mut impl ImageEncoder) -> Result<(), WriteError> {
        let refused = |error: image::error::UnsupportedError| WriteError::Content(error.to_string());
        if let Some(icc) = &self.icc {
            encoder.set_icc_profile(icc.clone()).map_err(refused)?;
        }
        if let Some(exif) = &self.exif {
            encoder.set_exif_metadata(exif.clone()).map_err(refused)?;
        }
        Ok(())
    }
}

/// A picture in the making.
pub(super) struct Writer {
    path: PathBuf,
    form: Form,
}

enum Form {
    Still(Still),
    Png(png::Animation),
    Gif(gif::Animation),
    WebP(webp::Animation),
}

/// A still that has not come yet.
struct Still {
    file: File,
    format: Format,
    described: Described,
}

/// Why a picture cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Content(String),
}

impl From<image::ImageError> for WriteError {
    fn from(error: image::ImageError) -> Self {
        match error {
            image::ImageError::IoError(error) => Self::Io(error),
            error => Self::Content(error.to_string()),
        }
    }
}

impl Writer {
    /// Creates the file.
    pub(super) fn create(path: &Path, format: Format, mut described: Described) -> Result<Self, MediaError> {
        if format != Format::Avif && described.icc.is_none() {
            described.icc = described.space.profile();
        }
        let file = create(path)?;
        let is_still = described.delays.is_empty();
        let form = match format {
            Format::Gif => Form::Gif(gif::Animation::new(file, described)),
            Format::Png if !is_still => Form::Png(png::Animation::new(file, described)),
            Format::WebP if !is_still => Form::WebP(webp::Animation::new(file, described)),
            _ => Form::Still(Still { file, format, described }),
        };
        Ok(Self { path: path.to_owned(), form })
    }

    /// Writes the next frame; `original` is the source's.
    pub(super) fn push(&mut self, picture: DynamicImage, original: Option<&DynamicImage>) -> Result<(), MediaError> {
        let written = match &mut self.form {
            Form::Still(still) => still.write(&picture),
            Form::Png(animation) => animation.push(&picture),
            Form::Gif(animation) => animation.push(picture.into_rgba8(), original),
            Form::WebP(animation) => animation.push(&picture),
        };
        written.map_err(|error| judged(&self.path, error))
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<(), MediaError> {
        let written = match self.form {
            Form::Still(_) => Ok(()),
            Form::Png(animation) => animation.finish(),
            Form::Gif(animation) => animation.finish(),
            Form::WebP(animation) => animation.finish(),
        };
        written.map_err(|error| judged(&self.path, error))
    }
}

impl Still {
    fn write(&mut self, picture: &DynamicImage) -> Result<(), WriteError> {
        let mut out = BufWriter::new(&self.file);
        let described = &self.described;
        match self.format {
            Format::Png => png::write(&mut out, picture, described)?,
            Format::Jpeg => jpeg::write(&mut out, picture, described)?,
            Format::WebP => webp::write(&mut out, picture, described)?,
            Format::Tiff => tiff::write(&mut out, picture, described)?,
            Format::Avif => avif::write(&mut out, picture, described)?,
            Format::Gif => {
                return Err(WriteError::Content(format!("{} stills are not written", self.format.name())));
            }
        }
        Ok(out.flush()?)
    }
}

/// A failure to write `path`.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> MediaError {
    MediaError::File { action: "write", path: path.to_owned(), reason: error.to_string() }
}

fn judged(path: &Path, error: WriteError) -> MediaError {
    match error {
        WriteError::Io(error) => failed(path, &error),
        WriteError::Content(reason) => MediaError::Unwritable { action: "write", reason },
    }
}
