//! Pictures whose pixels are red, green and blue: stills. What nobody touches keeps its bits.

use super::{Color, Frame, Matrix, Pixels, Sample, YuvMut, YuvRef};

/// A picture of interleaved R, G, B samples, seen through [`Pixels`] as full-range 4:4:4 at 16 bits.
///
/// Pixels that are changed in that view are changed by as much in the picture; all others stay bit for bit. 16 bits hold
/// what 8-bit (and, to one step, 16-bit) colours say, so that a small change in the view is the same small change here.
pub struct RgbFrame<S: Sample> {
    /// As given.
    rgb: Vec<S>,
    /// What is shown, and may have been changed.
    yuv: Frame<u16>,
}

impl<S: Sample> RgbFrame<S> {
    /// `rgb` holds R, G, B of each pixel, row by row, with all bits of `S` in use (0 is black, the largest value white).
    /// sRGB and most others are [`Matrix::Bt709`]'s primaries.
    ///
    /// # Panics
    /// Unless `rgb` holds `3 · width · height` samples.
    pub fn new(width: usize, height: usize, rgb: Vec<S>, matrix: Matrix) -> Self {
        assert_eq!(rgb.len(), 3 * width * height, "a pixel has three samples");
        let conversion = RgbConversion::new(matrix, 8 * size_of::<S>());
        let color = Color::sdr(matrix, true).at_depth(16);
        let mut yuv = Frame::grey_at(width, height, (0, 0), color);
        yuv.site = super::ChromaSite::Center;
        let [y, cb, cr] = &mut yuv.planes;
        let (pixels, _) = rgb.as_chunks::<3>();
        for (pixel, ((y, cb), cr)) in pixels.iter().zip(y.iter_mut().zip(cb).zip(cr)) {
            [*y, *cb, *cr] = conversion.yuv(*pixel);
        }
        Self { rgb, yuv }
    }

    /// The picture with the changes made through [`Pixels::view_mut`]: R, G, B as in [`RgbFrame::new`].
    pub fn into_rgb(mut self) -> Vec<S> {
        let conversion = RgbConversion::new(self.yuv.color.matrix, 8 * size_of::<S>());
        let [y, cb, cr] = &self.yuv.planes;
        let (pixels, _) = self.rgb.as_chunks_mut::<3>();
        for (pixel, ((y, cb), cr)) in pixels.iter_mut().zip(y.iter().zip(cb).zip(cr)) {
            *pixel = conversion.moved(*pixel, [*y, *cb, *cr]);
        }
        self.rgb
    }
}

impl<S: Sample> Pixels for RgbFrame<S> {
    fn view(&self) -> YuvRef<'_> {
        self.yuv.view()
    }

    fn view_mut(&mut self) -> YuvMut<'_> {
        self.yuv.view_mut()
    }
}

/// Between R, G, B of one depth and 16-bit Y, Cb, Cr in full range (ITU-T H.273, equations 26 to 43).
pub struct RgbConversion {
    kr: f32,
    kb: f32,
    /// 16-bit steps per step of a colour.
    gain: f32,
    /// The largest colour value.
    white: f32,
}

const NEUTRAL: f32 = 32_768.0;
const MAX: f32 = 65_535.0;

impl RgbConversion {
    /// For colours of `depth` bits, 1..=16.
    pub fn new(matrix: Matrix, depth: usize) -> Self {
        let (kr, kb) = matrix.coefficients();
        let white = ((1u32 << depth) - 1) as f32;
        Self { kr, kb, gain: MAX / white, white }
    }

    /// What is shown for a pixel.
    pub fn yuv<S: Sample>(&self, pixel: [S; 3]) -> [u16; 3] {
        let [r, g, b] = pixel.map(|sample| self.gain * Into::<f32>::into(sample));
        let luma = self.kr * r + (1.0 - self.kr - self.kb) * g + self.kb * b;
        let (cb, cr) = ((b - luma) / (2.0 - 2.0 * self.kb), (r - luma) / (2.0 - 2.0 * self.kr));
        [luma, NEUTRAL + cb, NEUTRAL + cr].map(|value| u16::nearest(value, MAX))
    }

    /// `pixel`, changed by the difference of what is shown for it; the same pixel where there is none.
    pub fn moved<S: Sample>(&self, pixel: [S; 3], after: [u16; 3]) -> [S; 3] {
        let before = self.yuv(pixel);
        if before == after {
            return pixel;
        }
        let change = |channel: usize| (f32::from(after[channel]) - f32::from(before[channel])) / self.gain;
        let (luma, cb, cr) = (change(0), change(1), change(2));
        let (red, blue) = ((2.0 - 2.0 * self.kr) * cr, (2.0 - 2.0 * self.kb) * cb);
        let green = -(self.kr * red + self.kb * blue) / (1.0 - self.kr - self.kb);
        let changes = [luma + red, luma + green, luma + blue];
        std::array::from_fn(|channel| S::nearest(Into::<f32>::into(pixel[channel]) + changes[channel], self.white))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PlanesMut;

    /// Every eighth value of each channel, and the ends.
    fn colours() -> Vec<u8> {
        let steps = || (0..=255u8).step_by(8).chain([255]);
        steps().flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b]))).collect()
    }

    fn change(frame: &mut impl Pixels, pixel: usize, by: [i32; 3]) {
        let PlanesMut::U16(planes) = frame.view_mut().planes else { panic!("16 bits") };
        for (plane, by) in planes.into_iter().zip(by) {
            plane.data[pixel] = (i32::from(plane.data[pixel]) + by) as u16;
        }
    }

    #[test]
    fn untouched_pixels_keep_their_bits() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            let bytes = colours();
            let words: Vec<u16> = bytes.iter().map(|&byte| u16::from(byte) * 257 - u16::from(byte) / 2).collect();
            let count = bytes.len() / 3;
            assert_eq!(RgbFrame::new(count, 1, bytes.clone(), matrix).into_rgb(), bytes);
            assert_eq!(RgbFrame::new(1, count, words.clone(), matrix).into_rgb(), words);
            // One that is changed changes alone.
            let mut frame = RgbFrame::new(count, 1, bytes.clone(), matrix);
            change(&mut frame, 1000, [257 * 20, 0, 0]);
            let after = frame.into_rgb();
            let changed: Vec<usize> = (0..count).filter(|i| after[3 * i..][..3] != bytes[3 * i..][..3]).collect();
            assert_eq!(changed, [1000]);
        }
    }

    #[test]
    fn a_change_of_light_is_the_same_change_of_every_colour() {
        let check = |pixel: [u8; 3], by: [i32; 3], expected: [u8; 3]| {
            let mut frame = RgbFrame::new(1, 1, pixel.to_vec(), Matrix::Bt709);
            change(&mut frame, 0, by);
            assert_eq!(frame.into_rgb(), expected, "{pixel:?} {by:?}");
        };
        check([200, 150, 120], [257 * 7, 0, 0], [207, 157, 127]);
        check([200, 150, 120], [257 * 80, 0, 0], [255, 230, 200]);
        check([10, 150, 120], [-257 * 20, 0, 0], [0, 130, 100]);
        check([200, 150, 120], [100, 0, 0], [200, 150, 120]); // less than half a step
        check([100, 100, 100], [0, 0, 257 * 10], [116, 95, 100]); // 1.5748 and −0.4681 per step of Cr
        check([100, 100, 100], [0, 257 * 10, 0], [100, 98, 119]); // −0.1873 and 1.8556 per step of Cb
    }

    #[test]
    fn the_view_shows_the_colours() {
        for (rgb, expected) in [
            ([0u8, 0, 0], [0, 32_768, 32_768]),
            ([255, 255, 255], [65_535, 32_768, 32_768]),
            ([0, 0, 255], [4732, 65_535, 29_764]),
        ] {
            let frame = RgbFrame::new(1, 1, rgb.to_vec(), Matrix::Bt709);
            let crate::frame::Planes::U16(planes) = frame.view().planes else { panic!("16 bits") };
            for (plane, expected) in planes.into_iter().zip(expected) {
                assert!(i32::from(plane.data[0]).abs_diff(expected) <= 1, "{rgb:?}: {}", plane.data[0]);
            }
            assert_eq!((frame.view().shift, frame.view().color.depth), ((0, 0), 16));
        }
    }
}
