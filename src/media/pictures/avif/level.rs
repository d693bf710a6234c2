//! Samples of pictures: 8 and 16 bits.

use image::{DynamicImage, ImageBuffer};

/// A sample of a picture's, from and to 0..=1.
pub(super) trait Level: Copy + Default {
    fn of(value: f32) -> Self;
    fn value(self) -> f32;
    /// Grey, or red, green and blue, and with an even number of channels alpha. `None` if there are too few samples.
    fn picture(size: (u32, u32), channels: usize, samples: Vec<Self>) -> Option<DynamicImage>;
}

impl Level for u8 {
    fn of(value: f32) -> Self {
        (value * 255.0).round() as u8
    }

    fn value(self) -> f32 {
        f32::from(self) / 255.0
    }

    fn picture((width, height): (u32, u32), channels: usize, samples: Vec<Self>) -> Option<DynamicImage> {
        Some(match channels {
            1 => DynamicImage::ImageLuma8(ImageBuffer::from_raw(width, height, samples)?),
            2 => DynamicImage::ImageLumaA8(ImageBuffer::from_raw(width, height, samples)?),
            3 => DynamicImage::ImageRgb8(ImageBuffer::from_raw(width, height, samples)?),
            _ => DynamicImage::ImageRgba8(ImageBuffer::from_raw(width, height, samples)?),
        })
    }
}

impl Level for u16 {
    fn of(value: f32) -> Self {
        (value * 65_535.0).round() as u16
    }

    fn value(self) -> f32 {
        f32::from(self) / 65_535.0
    }

    fn picture((width, height): (u32, u32), channels: usize, samples: Vec<Self>) -> Option<DynamicImage> {
        Some(match channels {
            1 => DynamicImage::ImageLuma16(ImageBuffer::from_raw(width, height, samples)?),
            2 => DynamicImage::ImageLumaA16(ImageBuffer::from_raw(width, height, samples)?),
            3 => DynamicImage::ImageRgb16(ImageBuffer::from_raw(width, height, samples)?),
            _ => DynamicImage::ImageRgba16(ImageBuffer::from_raw(width, height, samples)?),
        })
    }
}
