//! Y'CbCr → R'G'B', per sample, as ITU-T H.273 says it; of HDR pictures, what an ordinary screen would show.

use crate::frame::{Color, Shown};

/// Conversion of one picture's samples to red, green and blue on the scale 0..=255.
#[derive(Clone, Copy)]
pub struct ToRgb {
    /// Luma of black, in sample values.
    pub luma_floor: f32,
    /// Factor on luma.
    pub luma_gain: f32,
    /// Chroma of no colour, in sample values.
    pub neutral: f32,
    /// Red per unit of Cr − neutral.
    pub red_cr: f32,
    /// Green per unit of Cb − neutral (negative).
    pub green_cb: f32,
    /// Green per unit of Cr − neutral (negative).
    pub green_cr: f32,
    /// Blue per unit of Cb − neutral.
    pub blue_cb: f32,
    /// What becomes of red, green and blue in the end; nothing if they are as networks know them.
    pub shown: Option<&'static Shown>,
}

impl ToRgb {
    /// The conversion for `color`. Limited range at 8 bits: luma 16..=235, chroma 16..=240.
    pub fn new(color: Color) -> Self {
        let (kr, kb) = color.matrix.coefficients();
        let kg = 1.0 - kr - kb;
        let (luma_floor, luma_gain, chroma_gain) =
            if color.full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        let unit = color.unit();
        let (luma_floor, luma_gain, chroma_gain) = (luma_floor * unit, luma_gain / unit, chroma_gain / unit);
        let (red, blue) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
        Self {
            luma_floor,
            luma_gain,
            neutral: color.neutral(),
            red_cr: red * chroma_gain,
            green_cb: -blue * kb / kg * chroma_gain,
            green_cr: -red * kr / kg * chroma_gain,
            blue_cb: blue * chroma_gain,
            shown: color.transfer.shown(),
        }
    }

    /// What chroma adds to red, green and blue.
    #[inline]
    pub fn tint(&self, cb: f32, cr: f32) -> [f32; 3] {
        let (cb, cr) = (cb - self.neutral, cr - self.neutral);
        [self.red_cr * cr, self.green_cb * cb + self.green_cr * cr, self.blue_cb * cb]
    }

    /// Red, green, blue of a luma sample with its tint, clamped to 0..=255. A signal yet: see [`ToRgb::show`].
    #[inline]
    pub fn rgb(&self, luma: f32, tint: [f32; 3]) -> [f32; 3] {
        let grey = (luma - self.luma_floor) * self.luma_gain;
        tint.map(|tint| (grey + tint).clamp(0.0, 255.0))
    }

    /// Turns a row of red, green or blue into what networks are shown.
    #[inline]
    pub fn show(&self, row: &mut [f32]) {
        if let Some(shown) = self.shown {
            row.iter_mut().for_each(|value| *value = shown.of(*value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Matrix;

    #[test]
    fn primaries_come_out_as_they_went_in() {
        for matrix in [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020] {
            for full_range in [false, true] {
                let (kr, kb) = matrix.coefficients();
                let to_rgb = ToRgb::new(Color::sdr(matrix, full_range));
                for color in [[0.0, 0.0, 0.0], [255.0; 3], [255.0, 0.0, 0.0], [0.0, 255.0, 0.0], [0.0, 0.0, 255.0]] {
                    let [r, g, b] = color;
                    let luma = kr * r + (1.0 - kr - kb) * g + kb * b;
                    let (cb, cr) = ((b - luma) / (2.0 - 2.0 * kb), (r - luma) / (2.0 - 2.0 * kr));
                    let (y, cb, cr) = if full_range {
                        (luma, cb + 128.0, cr + 128.0)
                    } else {
                        (luma * 219.0 / 255.0 + 16.0, cb * 224.0 / 255.0 + 128.0, cr * 224.0 / 255.0 + 128.0)
                    };
                    let back = to_rgb.rgb(y, to_rgb.tint(cb, cr));
                    let is_same = back.iter().zip(color).all(|(a, b)| (a - b).abs() < 0.01);
                    assert!(is_same, "{matrix:?} {full_range} {color:?} {back:?}");
                }
            }
        }
    }
}
