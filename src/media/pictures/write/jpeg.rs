//! JPEG: quality 95, 4:4:4.

use std::io::Write;

use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;

use super::splice::Spliced;
use super::{Described, WriteError};
use crate::media::pictures::video::on_white;

/// The Independent JPEG Group's scale, 1 to 100.
const QUALITY: u8 = 95;

/// Bytes of a segment's marker and length.
const SEGMENT_HEAD: usize = 4;
/// Bytes of what every file begins with: the marker of its start, and `JFIF`.
const START: usize = 2 + SEGMENT_HEAD + 14;
/// What the segment with EXIF data begins with, which `image` writes first.
const EXIF: &[u8] = b"Exif\0\0";
/// …and that with XMP. Source: XMP Specification, part 3, 1.1.3.
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

pub(super) fn write(out: &mut impl Write, picture: &DynamicImage, described: &Described) -> Result<(), WriteError> {
    let exif = described.exif.as_ref().map_or(0, |exif| SEGMENT_HEAD + EXIF.len() + exif.len());
    let out = Spliced::new(out, START + exif, segment(described)?);
    let mut encoder = JpegEncoder::new_with_quality(out, QUALITY);
    described.tell(&mut encoder)?;
    let is_grey = matches!(picture, DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_));
    let picture = if is_grey { picture.to_luma8().into() } else { DynamicImage::from(on_white(picture)) };
    Ok(picture.write_with_encoder(encoder)?)
}

/// The segment with the output's XMP.
fn segment(described: &Described) -> Result<Vec<u8>, WriteError> {
    let Some(xmp) = &described.xmp else { return Ok(Vec::new()) };
    let length = u16::try_from(2 + XMP.len() + xmp.len());
    let length =
        length.map_err(|_| WriteError::Content("what it says of itself is longer than a segment".to_owned()))?;
    Ok([&[0xFF, 0xE1][..], &length.to_be_bytes(), XMP, xmp.as_bytes()].concat())
}
