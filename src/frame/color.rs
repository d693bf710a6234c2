//! What sample values mean: coefficients, range, depth, transfer.

use super::transfer::Transfer;

/// Luma and chroma coefficients (ITU-T H.273 MatrixCoefficients).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// BT.601 (H.273 codes 5 and 6).
    Bt601,
    /// BT.709 (code 1); also assumed for unmarked pictures of 720 rows and more.
    Bt709,
    /// BT.2020 non-constant luminance (code 9).
    Bt2020,
}

impl Matrix {
    /// (Kr, Kb); Kg = 1 − Kr − Kb. Source: ITU-T H.273, table 4.
    pub fn coefficients(self) -> (f32, f32) {
        match self {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// How sample values map to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Color {
    /// Luma and chroma coefficients.
    pub matrix: Matrix,
    /// What light a signal stands for.
    pub transfer: Transfer,
    /// At 8 bits `true`: 0..=255; `false`: luma 16..=235, chroma 16..=240.
    pub full_range: bool,
    /// Bits of a sample, 8..=16.
    pub depth: u8,
}

impl Color {
    /// What 8-bit pictures of normal contrast are.
    pub const fn sdr(matrix: Matrix, full_range: bool) -> Self {
        Self { matrix, transfer: Transfer::Sdr, full_range, depth: 8 }
    }

    /// The same at another depth.
    pub const fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }

    /// Sample values per step of the 8-bit scale (H.273, equations 20 to 31): 2^(depth − 8) in limited range, where
    /// black and white are shifted, (2^depth − 1) / 255 in full range.
    pub fn unit(self) -> f32 {
        if self.full_range { self.max() / 255.0 } else { f32::from(1u16 << (self.depth - 8)) }
    }

    /// The sample value of no colour: 2^(depth − 1).
    pub fn neutral(self) -> f32 {
        f32::from(1u16 << (self.depth - 1))
    }

    /// The largest sample value.
    pub fn max(self) -> f32 {
        ((1u32 << self.depth) - 1) as f32
    }
}

/// Where a chroma sample lies horizontally between its two luma samples (vertically: centred).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChromaSite {
    /// On the left luma sample (MPEG-2, H.264 default).
    Left,
    /// Half way between both (MPEG-1, JPEG).
    Center,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_depth_lie_on_one_scale() {
        let check = |full_range: bool, depth: u8, (unit, neutral, max): (f32, f32, f32)| {
            let color = Color::sdr(Matrix::Bt709, full_range).at_depth(depth);
            assert_eq!((color.unit(), color.neutral(), color.max()), (unit, neutral, max), "{full_range} {depth}");
        };
        check(false, 8, (1.0, 128.0, 255.0));
        check(true, 8, (1.0, 128.0, 255.0));
        check(false, 10, (4.0, 512.0, 1023.0));
        check(true, 10, (1023.0 / 255.0, 512.0, 1023.0));
        check(false, 16, (256.0, 32_768.0, 65_535.0));
        check(true, 16, (257.0, 32_768.0, 65_535.0));
    }
}
