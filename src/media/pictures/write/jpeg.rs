//! JPEG: quality 95, 4:4:4.

use std::io::Write;

use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;

use super::{Described, WriteError};
use crate::media::pictures::video::on_white;

/// The Independent JPEG Group's scale, 1 to 100.
const QUALITY: u8 = 95;

pub(super) fn write(out: &mut impl Write, picture: &DynamicImage, described: &Described) -> Result<(), WriteError> {
    let mut encoder = JpegEncoder::new_with_quality(out, QUALITY);
    described.tell(&mut encoder)?;
    let is_grey = matches!(picture, DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_));
    let picture = if is_grey { picture.to_luma8().into() } else { DynamicImage::from(on_white(picture)) };
    Ok(picture.write_with_encoder(encoder)?)
}
