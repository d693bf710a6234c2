//! Sample values of a picture as numbers: full range 0..255 for luma and chroma, and log luma.

use std::sync::OnceLock;

/// Added before the logarithm, so that dark noise stays small.
const OFFSET: f32 = 12.0;
/// ln of the white point.
const WHITE: f32 = 255.0 + OFFSET;

/// What each 8-bit sample stands for.
pub struct Levels {
    /// Log luma: ln((Y + 12) / 267), 0 at white.
    pub log: [f32; 256],
    /// Cb or Cr, 0..255, neutral 128.
    pub chroma: [f32; 256],
    /// Luma samples per unit of full-range luma, and the sample of black.
    pub luma_scale: f32,
    pub luma_black: f32,
    /// Chroma samples per unit of full-range chroma.
    pub chroma_scale: f32,
}

impl Levels {
    /// For full range (0..=255), or limited range (luma 16..=235, chroma 16..=240).
    pub fn of(full_range: bool) -> &'static Levels {
        static LEVELS: [OnceLock<Levels>; 2] = [OnceLock::new(), OnceLock::new()];
        LEVELS[usize::from(full_range)].get_or_init(|| Levels::new(full_range))
    }

    fn new(full_range: bool) -> Self {
        let (luma_scale, luma_black, chroma_scale) =
            if full_range { (1.0, 0.0, 1.0) } else { (219.0 / 255.0, 16.0, 224.0 / 255.0) };
        let log = std::array::from_fn(|sample| {
            let luma = ((sample as f32 - luma_black) / luma_scale).clamp(0.0, 255.0);
            ((luma + OFFSET) / WHITE).ln()
        });
        let chroma = std::array::from_fn(|sample| 128.0 + (sample as f32 - 128.0) / chroma_scale);
        Self { log, chroma, luma_scale, luma_black, chroma_scale }
    }

    /// (a, b): the luma sample of log luma l is a·eˡ + b.
    pub fn curve(&self) -> (f32, f32) {
        (WHITE * self.luma_scale, self.luma_black - OFFSET * self.luma_scale)
    }
}

/// eˣ to a relative 2e-6 for x in −80..=80, without branches or tables, so that loops over it vectorise.
///
/// 2^(n + f) with f in ±½: n goes into the exponent bits, 2^f is its Taylor series in f·ln 2 to the sixth power.
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it leaves the rounded integer in the low mantissa bits
    let power = x.clamp(-80.0, 80.0) * std::f32::consts::LOG2_E;
    let shifted = power + ROUND;
    let f = (power - (shifted - ROUND)) * std::f32::consts::LN_2;
    let series = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f / 720.0)))));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(exponent)
}

/// A value as an 8-bit sample, to the nearest; vectorises where a saturating cast does not.
pub fn sample(value: f32) -> u8 {
    const SHIFT: f32 = 8_388_608.0; // 2²³: the sum's low mantissa bits are the rounded value
    (value.clamp(0.0, 255.0) + SHIFT).to_bits() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_and_rounding_agree_with_the_standard_library() {
        for i in -800..=800 {
            let x = i as f32 * 0.1;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-5, "exp({x})");
        }
        for (value, expected) in [(-3.0, 0), (0.4, 0), (0.6, 1), (254.7, 255), (999.0, 255), (f32::NAN, 0)] {
            assert_eq!(sample(value), expected, "{value}");
        }
    }

    #[test]
    fn samples_survive_the_logarithm() {
        for full_range in [false, true] {
            let levels = Levels::of(full_range);
            let (a, b) = levels.curve();
            let range = if full_range { 0..=255 } else { 16..=235 };
            for value in range {
                assert_eq!(sample(a * exp(levels.log[usize::from(value)]) + b), value);
            }
        }
    }
}
