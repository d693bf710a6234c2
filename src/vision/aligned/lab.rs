//! CIE L*a*b* of sRGB pixels, by tables.

use std::sync::LazyLock;

/// sRGB's primaries and white (D65): IEC 61966-2-1.
const TO_XYZ: [[f64; 3]; 3] =
    [[0.412_453, 0.357_580, 0.180_423], [0.212_671, 0.715_160, 0.072_169], [0.019_334, 0.119_193, 0.950_227]];
const FROM_XYZ: [[f64; 3]; 3] =
    [[3.240_479, -1.537_150, -0.498_535], [-0.969_256, 1.875_991, 0.041_556], [0.055_648, -0.204_043, 1.057_311]];
const WHITE: [f64; 3] = [0.950_456, 1.0, 1.088_754];

/// Below this share of white the cube root goes over into a line: CIE 15.
const TOE: f64 = 216.0 / 24389.0;
const TOE_SLOPE: f64 = 841.0 / 108.0;
const TOE_OFFSET: f64 = 4.0 / 29.0;

const STEPS: usize = 2048;

/// A curve over 0..=1, sampled; twice as long as need be, so that every index fits.
struct Curve(Box<[f32; 2 * STEPS]>);

impl Curve {
    fn new(of: impl Fn(f64) -> f64) -> Self {
        Self(Box::new(std::array::from_fn(|i| of(i as f64 / STEPS as f64) as f32)))
    }

    /// What is not in 0..=1 is brought there first.
    #[inline(always)]
    fn at(&self, x: f32) -> f32 {
        // 1.5·2²³: the sum's low mantissa bits are the rounded value. A whole number may be rounded to the one before it,
        // which is as good. (A cast to an integer would take longer than all the rest.)
        const SHIFT: f32 = 12_582_912.0;
        let positive = if x > 0.0 { x } else { 0.0 };
        let at = if positive < 1.0 { positive } else { 1.0 } * STEPS as f32;
        let shifted = at - 0.5 + SHIFT;
        let below = shifted.to_bits().wrapping_sub(SHIFT.to_bits()) as usize;
        let (low, high) = (self.0[below % (2 * STEPS)], self.0[(below + 1) % (2 * STEPS)]);
        low + (high - low) * (at - (shifted - SHIFT))
    }
}

/// The way to Lab and back.
pub struct Lab {
    /// Light of a signal.
    light: Curve,
    /// Signal of light's square root: with roots, the curve is straight enough near black.
    signal: Curve,
    /// Lab's f of light's square root.
    root: Curve,
    to_xyz: [[f32; 3]; 3],
    from_xyz: [[f32; 3]; 3],
}

impl Lab {
    /// The tables, made when they are first asked for.
    pub fn get() -> &'static Lab {
        static LAB: LazyLock<Lab> = LazyLock::new(|| Lab {
            light: Curve::new(|s| if s <= 0.040_45 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) }),
            signal: Curve::new(|r| {
                let light = r * r;
                if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
            }),
            root: Curve::new(|r| {
                let share = r * r;
                if share <= TOE { TOE_SLOPE * share + TOE_OFFSET } else { share.cbrt() }
            }),
            to_xyz: std::array::from_fn(|row| TO_XYZ[row].map(|value| (value / WHITE[row]) as f32)),
            from_xyz: FROM_XYZ.map(|row| std::array::from_fn(|axis| (row[axis] * WHITE[axis]) as f32)),
        });
        &LAB
    }

    /// L 0..=100, a and b of R'G'B' 0..=255.
    #[inline]
    pub fn of(&self, rgb: [f32; 3]) -> [f32; 3] {
        let light = rgb.map(|value| self.light.at(value * (1.0 / 255.0)));
        let [x, y, z] = times(&self.to_xyz, light).map(|share| self.root.at(share.max(0.0).sqrt()));
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// R'G'B' 0..=255, each brought into range, of L, a and b.
    #[inline]
    pub fn rgb(&self, [l, a, b]: [f32; 3]) -> [f32; 3] {
        let y = (l + 16.0) * (1.0 / 116.0);
        let shares = [y + a * (1.0 / 500.0), y, y - b * (1.0 / 200.0)].map(|root| {
            const TOE_ROOT: f32 = 6.0 / 29.0;
            let toe = (root - TOE_OFFSET as f32) * (1.0 / TOE_SLOPE as f32);
            if root > TOE_ROOT { root * root * root } else { toe }
        });
        times(&self.from_xyz, shares).map(|light| 255.0 * self.signal.at(light.max(0.0).sqrt()))
    }
}

#[inline(always)]
fn times(matrix: &[[f32; 3]; 3], [x, y, z]: [f32; 3]) -> [f32; 3] {
    matrix.map(|[a, b, c]| a * x + b * y + c * z)
}
