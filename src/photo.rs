//! A portrait's file becomes pixels, upright, within bounds.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

/// Largest side of a photo, pixels.
const SIDE_MAX: u32 = 16_384;
/// Most memory that decoding a photo may take, bytes.
const MEMORY_MAX: u64 = 512 << 20;

/// Why a photo cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PhotoError {
    /// Not a picture that is understood.
    #[error("it is not a JPEG, PNG or WebP picture that can be read ({0})")]
    Unreadable(#[from] image::ImageError),
    /// Unknown format.
    #[error("it is not a JPEG, PNG or WebP picture")]
    Format(#[from] std::io::Error),
}

/// Decodes a photo and turns it upright as its EXIF orientation says.
pub fn decode(bytes: &[u8]) -> Result<RgbImage, PhotoError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(MEMORY_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_refused() {
        let mut half = Vec::new();
        RgbImage::new(64, 64).write_to(&mut Cursor::new(&mut half), image::ImageFormat::Png).unwrap();
        assert_eq!(decode(&half).unwrap().dimensions(), (64, 64));
        half.truncate(half.len() / 2);
        for bytes in [&b""[..], b"not a picture", &half] {
            assert!(decode(bytes).is_err());
        }
    }
}
