//! Pictures as video: RGB becomes YUV where the output's encoder takes nothing else, on a white ground where it is transparent.

use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use image::{DynamicImage, Rgb, RgbImage};

use super::raster;
use crate::media::properties::PictureProperties;

/// BT.709, limited range, sRGB's curve, chroma between its luma samples.
const VIDEO: PictureProperties = PictureProperties {
    sample_aspect: (1, 1),
    field_order: 1,
    range: 1,
    matrix: 1,
    transfer: 13,
    primaries: 1,
    chroma_location: 2,
};

/// A picture's frame as video, and what that says of itself; `None` for one that needs no conversion.
pub(in super::super) fn to_video(frame: &frame::Video) -> Option<(frame::Video, PictureProperties)> {
    let picture = raster::from_frame(frame)?;
    Some((to_yuv(&on_white(&picture)), VIDEO))
}

pub(super) fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    let over = |sample: u8, alpha: u8| {
        let (sample, alpha) = (u32::from(sample), u32::from(alpha));
        ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [r, g, b, a] = picture.get_pixel(x, y).0;
        Rgb([over(r, a), over(g, a), over(b, a)])
    })
}

/// BT.709 in limited range, 4:2:0 by the mean of each two by two pixels. Coefficients: ITU-T H.273, table 4.
fn to_yuv(picture: &RgbImage) -> frame::Video {
    let (width, height) = picture.dimensions();
    let mut frame = frame::Video::new(Pixel::YUV420P, width, height);
    let (kr, kb) = crate::frame::Matrix::Bt709.coefficients();
    let luma_of = |[r, g, b]: [f32; 3]| kr * r + (1.0 - kr - kb) * g + kb * b;
    let stride = frame.stride(0);
    for (y, row) in picture.rows().enumerate() {
        let line = &mut frame.data_mut(0)[y * stride..];
        row.zip(line).for_each(|(pixel, out)| {
            *out = (16.0 + luma_of(pixel.0.map(f32::from)) * 219.0 / 255.0).round() as u8;
        });
    }
    let strides = [frame.stride(1), frame.stride(2)];
    for y in 0..height.div_ceil(2) {
        for x in 0..width.div_ceil(2) {
            let mut mean = [0.0; 3];
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                let pixel = picture.get_pixel((2 * x + dx).min(width - 1), (2 * y + dy).min(height - 1));
                mean.iter_mut().zip(pixel.0).for_each(|(sum, sample)| *sum += f32::from(sample) / 4.0);
            }
            let [r, _, b] = mean;
            let luma = luma_of(mean);
            let chroma = |difference: f32, k: f32| {
                (128.0 + difference / (2.0 - 2.0 * k) * 224.0 / 255.0).round().clamp(16.0, 240.0) as u8
            };
            frame.data_mut(1)[y as usize * strides[0] + x as usize] = chroma(b - luma, kb);
            frame.data_mut(2)[y as usize * strides[1] + x as usize] = chroma(r - luma, kr);
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rgb_becomes_video() {
        // Values of BT.709 in limited range.
        for (rgb, yuv) in [
            ([0, 0, 0], [16, 128, 128]),
            ([255, 255, 255], [235, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            let frame = to_yuv(&RgbImage::from_pixel(3, 3, Rgb(rgb)));
            assert_eq!([0, 1, 2].map(|plane| frame.data(plane)[0]), yuv, "{rgb:?}");
        }
    }

    #[test]
    fn what_is_transparent_lies_on_white() {
        let picture = image::RgbaImage::from_vec(3, 1, vec![9, 9, 9, 255, 9, 9, 9, 0, 0, 0, 0, 128]).unwrap();
        assert_eq!(on_white(&picture.into()).into_raw(), [9, 9, 9, 255, 255, 255, 127, 127, 127]);
    }
}
