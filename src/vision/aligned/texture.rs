//! A new face is made as sharp and as noisy as the target was: networks answer with the same smooth skin whatever the
//! camera, and nothing gives a swap away sooner in a moving picture than a face without its film's grain.

use crate::frame::FrameIndex;
use crate::vision::geometry::Affine;

use super::blur;
use super::crop::Aligned;
use super::grid::{ONE, is_addressable};

/// Standard deviation of the blur whose remainder is fine detail: a share of the side, and at least a pixel.
const FINE_SIGMA: f64 = 0.008;
/// Fine detail counts up to here, of 255: edges of lids and hair say nothing about sharpness of skin.
const FINE_LIMIT: f32 = 24.0;
/// What becomes of the new face's fine detail. Little is added: sharpened, a network's own artefacts show.
const DETAIL_GAIN: (f32, f32) = (0.25, 1.25);
/// Of the target's fine energy, so much is detail however noisy it is.
const DETAIL_FLOOR: f32 = 0.1;
/// Grain is put in so much stronger than it was measured: in an interpolated crop noise has 0.67 of its deviation, and what is
/// brought back has 0.7 to 0.9 of its own (measured, for crops of the picture's resolution and of up to four times that).
const GRAIN_GAIN: f32 = 1.85;
/// More grain than this is not noise, of 255.
const GRAIN_MAX: f32 = 20.0;

/// What a face's texture was found to lack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Texture {
    /// Factor on its fine detail.
    pub detail: f32,
    /// Standard deviation of the grain that it is given, of 255.
    pub grain: f32,
}

/// Makes `new` as sharp and as grainy as `target`, compared under `mask`: `strength` 1.0 is all of it, 0.0 nothing. Only luma
/// changes. Grain is the same whenever frame `frame` is computed: it hangs on places in the picture.
///
/// # Panics
/// Unless both crops and the mask have one size.
pub fn match_texture(new: &mut Aligned, target: &Aligned, mask: &[f32], strength: f32, frame: FrameIndex) -> Texture {
    let side = new.side;
    let is_one_size = side == target.side && mask.len() == side * side;
    assert!(is_one_size, "both crops and the mask have one size");
    let unchanged = Texture { detail: 1.0, grain: 0.0 };
    if !is_addressable(&new.to_picture, (side, side)) {
        return unchanged;
    }
    let spacing = spacing(&new.to_picture);
    let (is, wanted) = (Band::of(new, mask, spacing), Band::of(target, mask, spacing));
    let (Some(is), Some(wanted)) = (is, wanted) else { return unchanged };

    let energy = |band: &Band| (band.energy - band.noise * band.noise).max(DETAIL_FLOOR * band.energy);
    let detail = (energy(&wanted) / energy(&is).max(1e-6)).sqrt().clamp(DETAIL_GAIN.0, DETAIL_GAIN.1);
    let own_noise = detail * is.noise;
    let missing = (wanted.noise * wanted.noise - own_noise * own_noise).max(0.0).sqrt();
    let texture = Texture { detail, grain: (GRAIN_GAIN * missing).min(GRAIN_MAX) };
    texture.apply(new, &is.fine, strength, frame);
    texture
}

impl Texture {
    fn apply(self, new: &mut Aligned, fine: &[f32], strength: f32, frame: FrameIndex) {
        let side = new.side;
        let (detail, grain) = ((self.detail - 1.0) * strength, self.grain * strength);
        let to_picture = new.to_picture;
        let mut change = vec![0.0; side];
        let mut channels = new.channels_mut();
        for (row, fine) in fine.chunks_exact(side.max(1)).enumerate() {
            change.iter_mut().zip(fine).for_each(|(change, fine)| *change = detail * fine);
            if grain > 0.0 {
                add_grain(&to_picture, row, grain, frame, &mut change);
            }
            for channel in &mut channels {
                let values = &mut channel[row * side..][..side];
                values.iter_mut().zip(&change).for_each(|(value, change)| *value = (*value + change).clamp(0.0, 255.0));
            }
        }
    }
}

/// What is finer than a crop's features, and what of that is noise.
struct Band {
    /// Luma less its blur.
    fine: Vec<f32>,
    /// Mean square under the mask.
    energy: f32,
    /// Standard deviation of noise.
    noise: f32,
}

impl Band {
    /// `None` where the mask shows nothing.
    fn of(crop: &Aligned, mask: &[f32], spacing: usize) -> Option<Self> {
        let luma = crop.luma();
        let mut soft = luma.clone();
        blur::gaussian(&mut soft, crop.side.max(1), (FINE_SIGMA * crop.side as f64).max(1.0));
        let fine: Vec<f32> = luma.iter().zip(&soft).map(|(luma, soft)| luma - soft).collect();
        let (mut sum, mut total) = (0.0f64, 0.0f64);
        for (value, weight) in fine.iter().zip(mask) {
            let value = value.clamp(-FINE_LIMIT, FINE_LIMIT);
            sum += f64::from(value * value * weight);
            total += f64::from(*weight);
        }
        let noise = noise(&luma, crop.side, mask, spacing)?;
        (total > 0.0).then(|| Self { fine, energy: (sum / total) as f32, noise })
    }
}

/// Crop pixels from one picture pixel to the next but one: nearer ones share noise, since the crop is interpolated.
fn spacing(to_picture: &Affine) -> usize {
    let [[a, _, _], [d, _, _]] = to_picture.0;
    (2.0 / a.hypot(d)).round().clamp(2.0, 16.0) as usize
}

/// The standard deviation of noise: the second difference along both axes, which neither slopes nor straight edges have
/// (Immerkær 1996); its median, since features are few. At every other pixel. `None` if the mask shows none of them.
fn noise(luma: &[f32], side: usize, mask: &[f32], spacing: usize) -> Option<f32> {
    /// The filter's response to noise of deviation 1: the root of its weights' squares.
    const RESPONSE: f32 = 6.0;
    /// Median of |x| for a normal x of deviation 1.
    const MEDIAN: f32 = 0.6745;
    let mut found = Vec::with_capacity(side * side / 4);
    for y in (spacing..side.saturating_sub(spacing)).step_by(2) {
        let [above, here, below] = [y - spacing, y, y + spacing].map(|row| &luma[row * side..][..side]);
        let shown = &mask[y * side..][..side];
        for x in (spacing..side - spacing).step_by(2) {
            if shown[x] > 0.5 {
                let bend = |row: &[f32]| row[x - spacing] - 2.0 * row[x] + row[x + spacing];
                found.push((bend(above) - 2.0 * bend(here) + bend(below)).abs());
            }
        }
    }
    let middle = found.len() / 2;
    (!found.is_empty()).then(|| *found.select_nth_unstable_by(middle, f32::total_cmp).1 / (MEDIAN * RESPONSE))
}

/// Adds noise of deviation `grain` to a row of the crop: that of the picture's pixel at its place.
fn add_grain(to_picture: &Affine, row: usize, grain: f32, frame: FrameIndex, out: &mut [f32]) {
    let [mut x, mut y] = to_picture.apply([0.0, row as f64]).map(|value| ((value + 0.5) * ONE) as i64);
    let [dx, dy] = to_picture.0.map(|[a, _, _]| (a * ONE) as i64);
    for value in out {
        *value += grain * normal(x >> 32, y >> 32, frame);
        x += dx;
        y += dy;
    }
}

/// A number from a distribution that is all but normal, of mean 0 and deviation 1: the sum of four even ones.
#[inline]
fn normal(x: i64, y: i64, frame: FrameIndex) -> f32 {
    let place = (x as u64 & 0xffff_ffff) | (y as u64) << 32;
    let bits = scrambled(place ^ scrambled(frame));
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    // Each has the variance 65536² / 12.
    (sum as i32 - 2 * 65_535) as f32 * (1.732_050_8 / 65_536.0)
}

/// SplitMix64's output function (Steele et al. 2014).
#[inline]
fn scrambled(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
