//! What a picture's file says of itself, read without decoding its pixels, and judged before any memory is taken for them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageReader};

use super::Format;
use super::animation::{Animation, Delay};
use super::avif::Avif;
use super::exif;
use super::space::Space;
use crate::contract::Ratio;
use crate::media::error::MediaError;
use crate::media::probe::{Limits, over_limit};

/// Pixels: FFmpeg's FFV1 writes black where there is only one.
const LEAST_SIDE: u32 = 2;
/// Ticks per second of an APNG whose frames' own do not go together.
const COARSE: u32 = 1000;
/// …and the finest that are taken.
const FINEST: u32 = 100_000;
/// A frame that says it is shown for less is shown for [`DEFAULT_DELAY`], as browsers do. Seconds.
const LEAST_DELAY: f64 = 0.011;
/// Seconds.
const DEFAULT_DELAY: f64 = 0.1;

/// A picture.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub format: Format,
    /// Upright.
    pub width: u32,
    pub height: u32,
    pub color: ColorType,
    /// Of a sample, as it is coded.
    pub bits: u8,
    /// How it is turned upright.
    pub orientation: Orientation,
    pub icc: Option<Vec<u8>>,
    /// Without orientation and thumbnail.
    pub exif: Option<Vec<u8>>,
    /// Where no ICC profile says more.
    pub space: Space,
    /// Frames and their times; none for a still.
    pub animation: Option<Animation>,
    /// The pixels have been through a codec that loses something.
    pub is_lossy: bool,
    /// A TIFF of several pages; the first one is the picture.
    pub has_more_pages: bool,
}

/// What a picture's file says, before anything is made of it.
pub(super) struct Facts {
    /// Not turned upright yet.
    pub width: u32,
    pub height: u32,
    pub color: ColorType,
    pub bits: u8,
    pub orientation: Orientation,
    pub icc: Option<Vec<u8>>,
    pub exif: Option<Vec<u8>>,
    pub space: Space,
    pub has_more_pages: bool,
}

/// When frames are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub time_base: Ratio,
    pub pts: Vec<i64>,
    pub last_duration: i64,
}

impl Header {
    /// Reads it; refuses what is larger than `limits`.
    pub(super) fn read(path: &Path, format: Format, limits: &Limits) -> Result<Self, MediaError> {
        let found = match format {
            Format::Avif => Avif::open(path)?.facts(limits)?,
            _ => facts(path, format, limits)?,
        };
        let Facts { width, height, color, bits, orientation, icc, space, .. } = found;
        if width < LEAST_SIDE || height < LEAST_SIDE {
            let (codec, reason) = (format.name().to_owned(), "its picture is one pixel wide or high");
            return Err(MediaError::UnsupportedCodec { codec, reason });
        }
        let (width, height) = if turns(orientation) { (height, width) } else { (width, height) };
        let exif = found.exif.map(exif::cleaned).filter(|exif| !exif.is_empty());
        let has_more_pages = found.has_more_pages;
        let animation = Animation::read(path, format, limits)?;
        let is_16_bit = matches!(color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16);
        if animation.is_some() && is_16_bit {
            let (codec, reason) = ("apng".to_owned(), "animations of 16 bits cannot be read");
            return Err(MediaError::UnsupportedCodec { codec, reason });
        }
        let is_lossy = match format {
            Format::Jpeg | Format::Avif => true,
            Format::WebP => super::animation::webp_is_lossy(path)?,
            Format::Png | Format::Tiff | Format::Gif => false,
        };
        let color = match (format, &animation) {
            (Format::Gif, _) | (Format::Png, Some(_)) => ColorType::Rgba8,
            _ => color,
        };
        let header = Self {
            format,
            width,
            height,
            color,
            bits,
            orientation,
            icc,
            exif,
            space,
            animation,
            is_lossy,
            has_more_pages,
        };
        header.pixel_format()?;
        Ok(header)
    }

    /// FFmpeg's name of the frames in slices.
    pub(super) fn pixel_format(&self) -> Result<&'static str, MediaError> {
        Ok(match self.color {
            ColorType::L8 => "gray",
            ColorType::Rgb8 => "bgr0",
            ColorType::La8 | ColorType::Rgba8 => "bgra",
            ColorType::L16 => "gray16le",
            ColorType::Rgb16 => "rgb48le",
            ColorType::La16 | ColorType::Rgba16 => "rgba64le",
            _ => {
                let (codec, reason) = (self.format.name().to_owned(), "its samples are not of 8 or 16 bits");
                return Err(MediaError::UnsupportedCodec { codec, reason });
            }
        })
    }

    /// When each frame is shown, from 0.
    pub(super) fn times(&self) -> Times {
        let Some(animation) = &self.animation else {
            return Times { time_base: Ratio { num: 1, den: 25 }, pts: vec![0], last_duration: 1 };
        };
        let den = match self.format {
            Format::Gif => 100,
            Format::WebP => 1000,
            _ => common(&animation.delays).unwrap_or(COARSE),
        };
        let mut time = 0;
        let mut pts = Vec::with_capacity(animation.delays.len());
        let mut last_duration = 1;
        for delay in &animation.delays {
            let seconds = delay.seconds();
            let shown = if seconds < LEAST_DELAY { DEFAULT_DELAY } else { seconds };
            last_duration = ((shown * f64::from(den)).round() as i64).max(1);
            pts.push(time);
            time += last_duration;
        }
        Times { time_base: Ratio { num: 1, den: den as i32 }, pts, last_duration }
    }
}

fn facts(path: &Path, format: Format, limits: &Limits) -> Result<Facts, MediaError> {
    let mut decoder = open(path, format, limits)?;
    let failed = |error: image::ImageError| unreadable(path, format, &error);
    let (width, height) = decoder.dimensions();
    within((width, height), limits)?;
    let orientation = decoder.orientation().map_err(failed)?;
    let mut icc = decoder.icc_profile().map_err(failed)?;
    let exif = decoder.exif_metadata().map_err(failed)?;
    let color = decoder.color_type();
    drop(decoder);
    let mut has_more_pages = false;
    if format == Format::Tiff {
        (icc, has_more_pages) = tiff_facts(path)?;
    }
    let bits = (8 * color.bytes_per_pixel() / color.channel_count()).min(16);
    let space = if icc.is_some() { Space::UNKNOWN } else { Space::SRGB };
    Ok(Facts { width, height, color, bits, orientation, icc, exif, space, has_more_pages })
}

/// Refuses what is too large.
pub(super) fn within((width, height): (u32, u32), limits: &Limits) -> Result<(), MediaError> {
    over_limit("width", width.into(), limits.max_width.into())?;
    over_limit("height", height.into(), limits.max_height.into())?;
    over_limit("number of pixels", u64::from(width) * u64::from(height), limits.max_pixels)
}

/// Opens a still, or the first frame of an animation. Nothing is decoded yet.
pub(super) fn open(path: &Path, format: Format, limits: &Limits) -> Result<impl ImageDecoder, MediaError> {
    let kind = match format {
        Format::Png => image::ImageFormat::Png,
        Format::Jpeg => image::ImageFormat::Jpeg,
        Format::WebP => image::ImageFormat::WebP,
        Format::Tiff => image::ImageFormat::Tiff,
        Format::Gif => image::ImageFormat::Gif,
        // Not built in: it is refused.
        Format::Avif => image::ImageFormat::Avif,
    };
    let mut reader = ImageReader::with_format(reader(path)?, kind);
    reader.limits(bounds(limits));
    reader.into_decoder().map_err(|error| unreadable(path, format, &error))
}

/// ICC profile, which `image` 0.25.10 does not find under its own limits, and whether there is another page.
fn tiff_facts(path: &Path) -> Result<(Option<Vec<u8>>, bool), MediaError> {
    let failed = |error: tiff::TiffError| unreadable(path, Format::Tiff, &error);
    let mut decoder = tiff::decoder::Decoder::new(reader(path)?).map_err(failed)?;
    let profile = decoder.find_tag(tiff::tags::Tag::IccProfile).map_err(failed)?;
    let icc = profile.map(tiff::decoder::ifd::Value::into_u8_vec).transpose().map_err(failed)?;
    Ok((icc, decoder.more_images()))
}

/// The bytes of a picture.
pub(super) fn reader(path: &Path) -> Result<BufReader<File>, MediaError> {
    let file = File::open(path).map_err(|source| MediaError::Unreadable { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(256 << 10, file))
}

/// What decoding may take: two pictures of the largest size, of 16 bits and with alpha. The sides are checked by
/// [`Header::read`], which says so in our own words; here they are four times as long.
pub(super) fn bounds(limits: &Limits) -> image::Limits {
    let mut bounds = image::Limits::default();
    bounds.max_alloc = Some(2 * 8 * u64::from(limits.max_width) * u64::from(limits.max_height));
    bounds
}

/// What is wrong with a picture.
pub(super) fn unreadable(path: &Path, format: Format, error: &dyn std::fmt::Display) -> MediaError {
    MediaError::Picture { path: path.to_owned(), format: format.name(), reason: error.to_string() }
}

/// Whether width and height change places.
fn turns(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Ticks per second that all delays are whole numbers of.
fn common(delays: &[Delay]) -> Option<u32> {
    delays.iter().try_fold(1_u32, |common, delay| {
        let (mut a, mut b) = (common, delay.den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        (common / a.max(1)).checked_mul(delay.den).filter(|both| *both <= FINEST)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn animated(format: Format, delays: &[(u32, u32)]) -> Times {
        let delays = delays.iter().map(|&(num, den)| Delay { num, den }).collect();
        Header {
            format,
            width: 1,
            height: 1,
            color: ColorType::Rgba8,
            orientation: Orientation::NoTransforms,
            icc: None,
            exif: None,
            bits: 8,
            space: Space::SRGB,
            animation: Some(Animation { delays, plays: 0 }),
            is_lossy: false,
            has_more_pages: false,
        }
        .times()
    }

    #[test]
    fn times_follow_from_delays() {
        for (format, delays, den, pts, last) in [
            (Format::Gif, &[(4, 100), (10, 100)][..], 100, &[0, 4][..], 10),
            (Format::Gif, &[(0, 100), (1, 100), (2, 100)], 100, &[0, 10, 20], 2),
            (Format::WebP, &[(33, 1000), (34, 1000)], 1000, &[0, 33], 34),
            (Format::Png, &[(1, 30), (1, 25)], 150, &[0, 5], 6),
            (Format::Png, &[(1, 65_521), (1, 30)], 1000, &[0, 100], 33),
            (Format::Png, &[(1, 30), (1, 65_519), (1, 65_521)], 1000, &[0, 33, 133], 100),
        ] {
            let expected = Times { time_base: Ratio { num: 1, den }, pts: pts.to_vec(), last_duration: last };
            assert_eq!(animated(format, delays), expected, "{delays:?}");
        }
    }
}
