//! The same samples in `image`'s pictures and FFmpeg's frames.

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, RgbImage, RgbaImage};

/// A picture as a frame of one of the formats that [`super::header::Header::pixel_format`] names; `None` for others.
pub(super) fn to_frame(picture: &DynamicImage) -> Option<frame::Video> {
    let (width, height) = (picture.width(), picture.height());
    let new = |format| frame::Video::new(format, width, height);
    Some(match picture {
        DynamicImage::ImageLuma8(image) => filled(new(Pixel::GRAY8), image, 1, |from, to| to.copy_from_slice(from)),
        DynamicImage::ImageLumaA8(image) => filled(new(Pixel::YA8), image, 2, |from, to| to.copy_from_slice(from)),
        DynamicImage::ImageRgb8(image) => filled(new(Pixel::BGRZ), image, 3, |from, to| {
            let (from, to) = (from.as_chunks::<3>().0, to.as_chunks_mut::<4>().0);
            from.iter().zip(to).for_each(|(&[r, g, b], pixel)| *pixel = [b, g, r, 0]);
        }),
        DynamicImage::ImageRgba8(image) => filled(new(Pixel::BGRA), image, 4, |from, to| {
            let (from, to) = (from.as_chunks::<4>().0, to.as_chunks_mut::<4>().0);
            from.iter().zip(to).for_each(|(&[r, g, b, a], pixel)| *pixel = [b, g, r, a]);
        }),
        DynamicImage::ImageLuma16(image) => filled(new(Pixel::GRAY16LE), image, 1, words_out),
        DynamicImage::ImageRgb16(image) => filled(new(Pixel::RGB48LE), image, 3, words_out),
        DynamicImage::ImageRgba16(image) => filled(new(Pixel::RGBA64LE), image, 4, words_out),
        _ => return None,
    })
}

/// What [`to_frame`] made, also when it comes out of FFV1, which keeps 16 bits in planes; `None` for other formats.
pub(super) fn from_frame(frame: &frame::Video) -> Option<DynamicImage> {
    let (width, height) = (frame.width(), frame.height());
    Some(match frame.format() {
        Pixel::GRAY8 => GrayImage::from_raw(width, height, bytes(frame, 1))?.into(),
        Pixel::YA8 => GrayAlphaImage::from_raw(width, height, bytes(frame, 2))?.into(),
        Pixel::BGRZ => {
            let pixels = rows(frame, 4).flat_map(|row| row.as_chunks::<4>().0);
            RgbImage::from_raw(width, height, pixels.flat_map(|&[b, g, r, _]| [r, g, b]).collect())?.into()
        }
        Pixel::BGRA => {
            let pixels = rows(frame, 4).flat_map(|row| row.as_chunks::<4>().0);
            RgbaImage::from_raw(width, height, pixels.flat_map(|&[b, g, r, a]| [r, g, b, a]).collect())?.into()
        }
        Pixel::GBRP16LE => DynamicImage::ImageRgb16(ImageBuffer::from_raw(width, height, planes(frame, [2, 0, 1]))?),
        Pixel::GBRAP16LE => {
            DynamicImage::ImageRgba16(ImageBuffer::from_raw(width, height, planes(frame, [2, 0, 1, 3]))?)
        }
        Pixel::GRAY16LE => DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, words(frame, 1))?),
        Pixel::RGB48LE => DynamicImage::ImageRgb16(ImageBuffer::from_raw(width, height, words(frame, 3))?),
        Pixel::RGBA64LE => DynamicImage::ImageRgba16(ImageBuffer::from_raw(width, height, words(frame, 4))?),
        _ => return None,
    })
}

/// Fills the frame row by row from a picture with so many samples a pixel.
fn filled<S>(mut frame: frame::Video, samples: &[S], per_pixel: usize, row: impl Fn(&[S], &mut [u8])) -> frame::Video {
    let (stride, width) = (frame.stride(0), frame.width() as usize);
    let pixel_bytes = pixel_bytes(frame.format());
    let rows = samples.chunks_exact(width * per_pixel).zip(frame.data_mut(0).chunks_mut(stride));
    rows.for_each(|(from, to)| row(from, &mut to[..width * pixel_bytes]));
    frame
}

/// Bytes of a pixel in the formats of this module.
fn pixel_bytes(format: Pixel) -> usize {
    match format {
        Pixel::GRAY8 => 1,
        Pixel::YA8 | Pixel::GRAY16LE => 2,
        Pixel::RGB48LE => 6,
        Pixel::RGBA64LE => 8,
        _ => 4,
    }
}

fn words_out(from: &[u16], to: &mut [u8]) {
    from.iter().zip(to.as_chunks_mut::<2>().0).for_each(|(word, bytes)| *bytes = word.to_le_bytes());
}

fn words(frame: &frame::Video, per_pixel: usize) -> Vec<u16> {
    let bytes = rows(frame, 2 * per_pixel).flat_map(|row| row.as_chunks::<2>().0);
    bytes.map(|&word| u16::from_le_bytes(word)).collect()
}

/// Words of several planes, in this order, side by side.
fn planes<const N: usize>(frame: &frame::Video, order: [usize; N]) -> Vec<u16> {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let mut words = vec![0; N * width * height];
    for (place, plane) in order.into_iter().enumerate() {
        let rows = frame.data(plane).chunks(frame.stride(plane)).take(height);
        let samples = rows.flat_map(|row| &row.as_chunks::<2>().0[..width]);
        words.iter_mut().skip(place).step_by(N).zip(samples).for_each(|(to, from)| *to = u16::from_le_bytes(*from));
    }
    words
}

/// The rows of a packed frame with so many bytes a pixel.
fn rows(frame: &frame::Video, pixel_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let (width, height) = (frame.width() as usize * pixel_bytes, frame.height() as usize);
    frame.data(0).chunks(frame.stride(0)).take(height).map(move |row| &row[..width])
}

fn bytes(frame: &frame::Video, pixel_bytes: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(frame.width() as usize * frame.height() as usize * pixel_bytes);
    rows(frame, pixel_bytes).for_each(|row| all.extend_from_slice(row));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_16_bits_are_put_side_by_side() {
        let mut frame = frame::Video::new(Pixel::GBRAP16LE, 2, 2);
        for plane in 0..4 {
            let stride = frame.stride(plane);
            frame.data_mut(plane)[stride + 2..][..2].copy_from_slice(&(1000 + plane as u16).to_le_bytes());
        }
        let picture = from_frame(&frame).unwrap().into_rgba16();
        assert_eq!(picture.get_pixel(1, 1).0, [1002, 1000, 1001, 1003]);
    }

    #[test]
    fn samples_are_the_same_there_and_back() {
        let of = |color: image::ColorType, width: u32, height: u32| {
            let mut picture = DynamicImage::new(width, height, color);
            let count = picture.as_bytes().len();
            let bytes: Vec<u8> = (0..count).map(|byte| (byte * 7 + byte / 256) as u8).collect();
            match &mut picture {
                DynamicImage::ImageLuma8(image) => image.copy_from_slice(&bytes),
                DynamicImage::ImageLumaA8(image) => image.copy_from_slice(&bytes),
                DynamicImage::ImageRgb8(image) => image.copy_from_slice(&bytes),
                DynamicImage::ImageRgba8(image) => image.copy_from_slice(&bytes),
                DynamicImage::ImageLuma16(image) => image.iter_mut().zip(0..).for_each(|(s, n)| *s = n * 977),
                DynamicImage::ImageRgb16(image) => image.iter_mut().zip(0..).for_each(|(s, n)| *s = n * 977),
                DynamicImage::ImageRgba16(image) => image.iter_mut().zip(0..).for_each(|(s, n)| *s = n * 977),
                _ => unreachable!(),
            }
            picture
        };
        use image::ColorType::{L8, L16, La8, Rgb8, Rgb16, Rgba8, Rgba16};
        for color in [L8, La8, Rgb8, Rgba8, L16, Rgb16, Rgba16] {
            for (width, height) in [(1, 1), (5, 3), (33, 2)] {
                let picture = of(color, width, height);
                let frame = to_frame(&picture).unwrap();
                assert_eq!((frame.width(), frame.height()), (width, height));
                assert_eq!(from_frame(&frame).unwrap(), picture, "{color:?} {width}x{height}");
            }
        }
    }
}
