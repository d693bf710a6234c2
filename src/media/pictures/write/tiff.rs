//! TIFF, uncompressed, as `image` writes it, and with XMP, for which `image` has no place.

use std::io::{Seek, Write};

use image::DynamicImage;
use image::buffer::ConvertBuffer;
use tiff::TiffError;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use tiff::encoder::{TiffEncoder, TiffValue};
use tiff::tags::Tag;

use super::{Described, WriteError};

/// Tag of XMP. Source: XMP Specification, part 3, 1.1.8.
const XMP: u16 = 700;

/// EXIF data is a part of TIFF's own directory, which is not carried over.
pub(super) fn write(out: impl Write + Seek, picture: &DynamicImage, described: &Described) -> Result<(), WriteError> {
    let size = (picture.width(), picture.height());
    match picture {
        DynamicImage::ImageLuma8(image) => samples::<Gray8>(out, size, image, described),
        DynamicImage::ImageRgb8(image) => samples::<RGB8>(out, size, image, described),
        DynamicImage::ImageRgba8(image) => samples::<RGBA8>(out, size, image, described),
        DynamicImage::ImageLuma16(image) => samples::<Gray16>(out, size, image, described),
        DynamicImage::ImageRgb16(image) => samples::<RGB16>(out, size, image, described),
        DynamicImage::ImageRgba16(image) => samples::<RGBA16>(out, size, image, described),
        // Grey with transparency is written as colour.
        DynamicImage::ImageLumaA8(grey) => {
            let image: image::RgbaImage = grey.convert();
            samples::<RGBA8>(out, size, &image, described)
        }
        other => Err(WriteError::Content(format!("tiff is not written with samples of {:?}", other.color()))),
    }
}

fn samples<C: ColorType>(
    out: impl Write + Seek,
    (width, height): (u32, u32),
    samples: &[C::Inner],
    described: &Described,
) -> Result<(), WriteError>
where
    [C::Inner]: TiffValue,
{
    let mut encoder = TiffEncoder::new(out)?;
    let mut image = encoder.new_image::<C>(width, height)?;
    if let Some(icc) = &described.icc {
        image.encoder().write_tag(Tag::IccProfile, icc.as_slice())?;
    }
    if let Some(xmp) = &described.xmp {
        image.encoder().write_tag(Tag::from_u16_exhaustive(XMP), xmp.as_bytes())?;
    }
    Ok(image.write_data(samples)?)
}

impl From<TiffError> for WriteError {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::IoError(error) => Self::Io(error),
            error => Self::Content(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::ImageEncoder as _;

    use super::*;

    #[test]
    fn without_xmp_a_file_is_the_one_that_image_writes() {
        let picture =
            image::RgbaImage::from_fn(37, 23, |x, y| image::Rgba([x as u8, y as u8, 7, (x * y) as u8])).into();
        let kinds: [fn(&DynamicImage) -> DynamicImage; 6] = [
            |picture| picture.to_luma8().into(),
            |picture| picture.to_rgb8().into(),
            |picture| picture.to_rgba8().into(),
            |picture| picture.to_luma16().into(),
            |picture| picture.to_rgb16().into(),
            |picture| picture.to_rgba16().into(),
        ];
        for kind in kinds {
            for icc in [None, Some(vec![7; 300])] {
                let picture = kind(&picture);
                let mut expected = Cursor::new(Vec::new());
                let mut encoder = image::codecs::tiff::TiffEncoder::new(&mut expected);
                if let Some(icc) = icc.clone() {
                    encoder.set_icc_profile(icc).unwrap();
                }
                picture.write_with_encoder(encoder).unwrap();
                let mut found = Cursor::new(Vec::new());
                write(&mut found, &picture, &Described { icc, ..Described::default() }).unwrap();
                assert!(found.into_inner() == expected.into_inner(), "{:?}", picture.color());
            }
        }
    }
}
