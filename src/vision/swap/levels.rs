//! Sample values of a picture as numbers: full range 0..255 for luma and chroma, and log luma. Of an HDR picture these
//! are the numbers of an ordinary picture that shows the same (see [`Transfer`]); luma above 255 is brighter than white.

use std::ops::Range;
use std::sync::OnceLock;

use crate::frame::{Color, Planes, Sample, Transfer, YuvRef};

use super::plane::{Plane, Region, cell_means};

/// Added before the logarithm, so that dark noise stays small.
const OFFSET: f32 = 12.0;
/// ln of the white point.
const WHITE: f32 = 255.0 + OFFSET;

/// What each sample stands for.
pub struct Levels<S: Sample> {
    /// Log luma: ln((Y + 12) / 267), 0 at white.
    pub log: Box<S::Table>,
    /// Cb or Cr, 0..255, neutral 128.
    pub chroma: Box<S::Table>,
    /// The way back.
    pub codes: Codes,
}

/// From levels to sample values.
pub struct Codes {
    /// Luma.
    pub luma: LumaCurve,
    /// Chroma samples per unit of full-range chroma.
    pub chroma_scale: f32,
    /// The chroma sample of no colour.
    pub neutral: f32,
    /// The largest sample.
    pub max: f32,
}

/// The luma sample of log luma l.
pub enum LumaCurve {
    /// a·eˡ + b.
    Line(f32, f32),
    /// Of luma 267·eˡ − 12, as the transfer says.
    Hdr(Box<HdrCurve>),
}

/// Samples that have levels: those of either width.
pub trait Levelled: Sample {
    /// The levels of pictures of this colour, made when they are first asked for.
    fn levels(color: Color) -> &'static Levels<Self>;
}

impl Levelled for u8 {
    fn levels(color: Color) -> &'static Levels<u8> {
        static LEVELS: [OnceLock<Levels<u8>>; KINDS] = [const { OnceLock::new() }; KINDS];
        LEVELS[kind(color)].get_or_init(|| Levels::new(color))
    }
}

impl Levelled for u16 {
    fn levels(color: Color) -> &'static Levels<u16> {
        static LEVELS: [[OnceLock<Levels<u16>>; KINDS]; 17] = [const { [const { OnceLock::new() }; KINDS] }; 17];
        LEVELS[usize::from(color.depth.min(16))][kind(color)].get_or_init(|| Levels::new(color))
    }
}

/// Ranges times transfers.
const KINDS: usize = 6;

fn kind(color: Color) -> usize {
    let transfer = match color.transfer {
        Transfer::Sdr => 0,
        Transfer::Pq => 1,
        Transfer::Hlg => 2,
    };
    2 * transfer + usize::from(color.full_range)
}

impl<S: Sample> Levels<S> {
    fn new(color: Color) -> Self {
        let unit = color.unit();
        let (luma_scale, luma_black, chroma_scale) =
            if color.full_range { (1.0, 0.0, 1.0) } else { (219.0 / 255.0, 16.0, 224.0 / 255.0) };
        let (luma_scale, luma_black, mut chroma_scale) = (luma_scale * unit, luma_black * unit, chroma_scale * unit);
        if color.transfer != Transfer::Sdr {
            chroma_scale /= color.transfer.contrast() as f32;
        }
        let log = S::table(|sample| {
            let signal = ((sample - luma_black) / luma_scale).clamp(0.0, 255.0);
            let luma = match color.transfer {
                Transfer::Sdr => signal,
                hdr => (255.0 * hdr.level(f64::from(signal) / 255.0)) as f32,
            };
            ((luma + OFFSET) / WHITE).ln()
        });
        let neutral = color.neutral();
        let chroma = S::table(|sample| 128.0 + (sample - neutral) / chroma_scale);
        let luma = match color.transfer {
            Transfer::Sdr => LumaCurve::Line(WHITE * luma_scale, luma_black - OFFSET * luma_scale),
            hdr => LumaCurve::Hdr(Box::new(HdrCurve::new(hdr, 255.0 * luma_scale, luma_black))),
        };
        Self { log, chroma, codes: Codes { luma, chroma_scale, neutral, max: color.max() } }
    }

    fn of_channel(&self, channel: usize) -> &S::Table {
        if channel == 0 { &self.log } else { &self.chroma }
    }
}

/// Samples of the roots of luma: with roots, the curve is straight enough near black.
pub struct HdrCurve([f32; HdrCurve::STEPS + 2]);

impl HdrCurve {
    const STEPS: usize = 4096;
    /// Luma up to 40² is told apart; PQ ends at 1293.
    const STEPS_PER_ROOT: f32 = Self::STEPS as f32 / 40.0;

    fn new(transfer: Transfer, range: f32, black: f32) -> Self {
        Self(std::array::from_fn(|i| {
            let luma = (i as f64 / f64::from(Self::STEPS_PER_ROOT)).powi(2);
            (transfer.signal(luma / 255.0) * f64::from(range) + f64::from(black)) as f32
        }))
    }

    /// The sample value of log luma whose exponential is `power`.
    #[inline(always)]
    pub fn sample(&self, power: f32) -> f32 {
        let luma = (WHITE * power - OFFSET).max(0.0);
        let at = (luma.sqrt() * Self::STEPS_PER_ROOT).min(Self::STEPS as f32);
        let below = at as usize;
        self.0[below] + (self.0[below + 1] - self.0[below]) * (at - below as f32)
    }
}

/// Means over the cells of a grid of `region`: of log luma (channel 0), of Cb (1) or of Cr (2).
pub fn means(picture: &YuvRef<'_>, channel: usize, region: &Region, cell: usize, out: &mut Plane) {
    let shift = if channel == 0 { (0, 0) } else { picture.shift };
    match &picture.planes {
        Planes::U8(planes) => {
            cell_means(planes[channel], shift, u8::levels(picture.color).of_channel(channel), region, cell, out);
        }
        Planes::U16(planes) => {
            cell_means(planes[channel], shift, u16::levels(picture.color).of_channel(channel), region, cell, out);
        }
    }
}

/// Log luma of some samples of a row.
pub fn log_line(picture: &YuvRef<'_>, row: usize, columns: Range<usize>, out: &mut Vec<f32>) {
    fn fill<S: Sample>(samples: &[S], table: &S::Table, out: &mut Vec<f32>) {
        out.clear();
        out.extend(samples.iter().map(|sample| sample.look_up(table)));
    }
    match &picture.planes {
        Planes::U8(planes) => fill(&planes[0].row(row)[columns], &u8::levels(picture.color).log, out),
        Planes::U16(planes) => fill(&planes[0].row(row)[columns], &u16::levels(picture.color).log, out),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Matrix;

    #[test]
    fn the_exponential_agrees_with_the_standard_library() {
        for i in -800..=800 {
            let x = i as f32 * 0.1;
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-5, "exp({x})");
        }
    }

    /// The value of every sample of `color`'s range by way of its log luma, less the sample.
    fn round_trip<S: Levelled>(color: Color) -> Vec<f32> {
        let levels = S::levels(color);
        let unit = if color.full_range { 0.0 } else { color.unit() };
        let (black, white) = (16.0 * unit, if unit > 0.0 { 235.0 * unit } else { color.max() });
        let way_back = |sample: f32| {
            let power = exp(S::nearest(sample, color.max()).look_up(&levels.log));
            match &levels.codes.luma {
                LumaCurve::Line(gain, offset) => gain * power + offset,
                LumaCurve::Hdr(curve) => curve.sample(power),
            }
        };
        (black as u32..=white as u32).map(|sample| way_back(sample as f32) - sample as f32).collect()
    }

    #[test]
    fn samples_survive_the_logarithm() {
        for full_range in [false, true] {
            let color = Color::sdr(Matrix::Bt709, full_range);
            assert!(round_trip::<u8>(color).iter().all(|error| error.abs() < 0.5), "{full_range}");
            for depth in [9, 10, 12, 16] {
                let color = color.at_depth(depth);
                let worst = round_trip::<u16>(color).iter().fold(0.0f32, |worst, error| worst.max(error.abs()));
                assert!(worst < 0.5, "{full_range} {depth}: {worst}");
            }
        }
    }

    #[test]
    fn hdr_samples_survive_but_next_to_black() {
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            for full_range in [false, true] {
                let color = Color { transfer, ..Color::sdr(Matrix::Bt2020, full_range) }.at_depth(10);
                let errors = round_trip::<u16>(color);
                for (sample, error) in errors.iter().enumerate() {
                    let allowed = if sample < errors.len() / 20 { 8.0 } else { 0.5 };
                    assert!(error.abs() < allowed, "{transfer:?} {full_range} {sample}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_depth_and_transfer_has_the_levels_of_eight_bits() {
        let eight = u8::levels(Color::sdr(Matrix::Bt709, false));
        for depth in [9, 10, 12, 16] {
            let deep = u16::levels(Color::sdr(Matrix::Bt709, false).at_depth(depth));
            for sample in 16..=235u8 {
                let word = u16::from(sample) << (depth - 8);
                assert_eq!(word.look_up(&deep.log), sample.look_up(&eight.log), "{depth} {sample}");
                assert_eq!(word.look_up(&deep.chroma), sample.look_up(&eight.chroma), "{depth} {sample}");
            }
        }
        // An ordinary level's HDR signal has that level's log luma.
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            let hdr = u16::levels(Color { transfer, ..Color::sdr(Matrix::Bt709, true) }.at_depth(16));
            let sdr = u8::levels(Color::sdr(Matrix::Bt709, true));
            for level in (8..=255u8).step_by(13) {
                let signal = (65_535.0 * transfer.signal(f64::from(level) / 255.0)).round() as u16;
                let (found, expected) = (signal.look_up(&hdr.log), level.look_up(&sdr.log));
                assert!((found - expected).abs() < 1e-3, "{transfer:?} {level}: {found} {expected}");
            }
        }
    }
}
