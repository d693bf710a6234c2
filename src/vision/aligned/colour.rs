//! A new face takes on the target's colours: a network's skin is that of its training, its light that of no place.
//!
//! Both ways compare what the crop's mask shows of the new face with what it hides of the target. Networks that were
//! trained to keep the target's light need neither.

use super::blur;
use super::crop::Aligned;
use super::lab::Lab;
use super::resize::resize;

/// Contrast changes by at most this factor either way: a face half in shadow and one that is lit evenly have other deviations
/// without having other skin.
const CONTRAST: (f32, f32) = (0.5, 2.0);
/// Standard deviation of the blur that leaves a face's light and takes its features, shares of the side.
const LIGHT_SIGMA: f64 = 0.08;
/// Side of the grid on which light is computed: it has no detail.
const LIGHT_SIDE: usize = 64;
/// Light changes by at most this factor either way.
const LIGHT_GAIN: (f32, f32) = (0.4, 2.5);
/// Added before ratios are taken, so that dark noise stays small; of 255.
const OFFSET: f32 = 12.0;

/// Gives `new` the mean and the deviation of `target` in each of CIE L*, a* and b* (sRGB, D65), both under `mask` (Reinhard et al.
/// 2001, in Lab); deviations change by at most twice. `strength` 1.0 is all of it, 0.0 nothing.
///
/// # Panics
/// Unless both crops and the mask have one size.
pub fn match_lab(new: &mut Aligned, target: &Aligned, mask: &[f32], strength: f32) {
    check(new, target, mask);
    let lab = Lab::get();
    let mut changed: Vec<[f32; 3]> = pixels(new).map(|rgb| lab.of(rgb)).collect();
    let is = Moments::of(changed.iter().copied(), mask);
    let wanted = Moments::of(pixels(target).map(|rgb| lab.of(rgb)), mask);
    let (Some(is), Some(wanted)) = (is, wanted) else { return };
    let gain: [f32; 3] = std::array::from_fn(|axis| {
        (wanted.deviation[axis] / is.deviation[axis].max(1e-6)).clamp(CONTRAST.0, CONTRAST.1)
    });
    for pixel in &mut changed {
        *pixel = std::array::from_fn(|axis| (pixel[axis] - is.mean[axis]) * gain[axis] + wanted.mean[axis]);
    }
    let [red, green, blue] = new.channels_mut();
    for (pixel, ((red, green), blue)) in changed.iter().zip(red.iter_mut().zip(green).zip(blue)) {
        for (value, matched) in [red, green, blue].into_iter().zip(lab.rgb(*pixel)) {
            *value += (matched - *value) * strength;
        }
    }
}

/// Gives `new` the light of `target`: each channel is multiplied by the ratio of both, blurred (a Gaussian of 0.08 sides) under
/// `mask`, so that detail stays the new face's own. `strength` 1.0 is all of it, 0.0 nothing.
///
/// # Panics
/// Unless both crops and the mask have one size.
pub fn relight(new: &mut Aligned, target: &Aligned, mask: &[f32], strength: f32) {
    check(new, target, mask);
    let side = new.side;
    let grid = side.min(LIGHT_SIDE);
    let sigma = LIGHT_SIGMA * grid as f64;
    let weights = resize(mask, side, grid);
    let total: f32 = weights.iter().sum();
    if total <= 0.0 {
        return;
    }
    let mut reach = weights.clone();
    blur::gaussian(&mut reach, grid, sigma);
    let light = |channel: &[f32]| -> Vec<f32> {
        // Far from what is shown, its mean.
        const FAINT: f32 = 1e-3;
        let mut values = resize(channel, side, grid);
        values.iter_mut().zip(&weights).for_each(|(value, weight)| *value *= weight);
        let mean = values.iter().sum::<f32>() / total;
        blur::gaussian(&mut values, grid, sigma);
        values.iter_mut().zip(&reach).for_each(|(sum, reach)| *sum = (*sum + FAINT * mean) / (reach + FAINT));
        values
    };
    for (channel, values) in new.channels_mut().into_iter().enumerate() {
        let (is, wanted) = (light(values), light(target.channel(channel)));
        let gains: Vec<f32> = is
            .iter()
            .zip(&wanted)
            .map(|(is, wanted)| {
                let gain = ((wanted + OFFSET) / (is + OFFSET)).clamp(LIGHT_GAIN.0, LIGHT_GAIN.1);
                1.0 + (gain - 1.0) * strength
            })
            .collect();
        for (value, gain) in values.iter_mut().zip(resize(&gains, grid, side)) {
            *value = ((*value + OFFSET) * gain - OFFSET).clamp(0.0, 255.0);
        }
    }
}

fn check(new: &Aligned, target: &Aligned, mask: &[f32]) {
    let count = new.side * new.side;
    let is_one_size = new.side == target.side && mask.len() == count;
    assert!(is_one_size, "both crops and the mask have one size");
}

fn pixels(crop: &Aligned) -> impl Iterator<Item = [f32; 3]> {
    let [red, green, blue] = [0, 1, 2].map(|channel| crop.channel(channel));
    red.iter().zip(green).zip(blue).map(|((red, green), blue)| [*red, *green, *blue])
}

/// Mean and standard deviation of each axis.
struct Moments {
    mean: [f32; 3],
    deviation: [f32; 3],
}

impl Moments {
    /// `None` where the mask shows nothing.
    fn of(pixels: impl Iterator<Item = [f32; 3]>, mask: &[f32]) -> Option<Self> {
        let (mut total, mut sums, mut squares) = (0.0f64, [0.0f64; 3], [0.0f64; 3]);
        for (pixel, &weight) in pixels.zip(mask) {
            let weight = f64::from(weight);
            total += weight;
            for axis in 0..3 {
                let value = f64::from(pixel[axis]);
                sums[axis] += weight * value;
                squares[axis] += weight * value * value;
            }
        }
        (total > 0.0).then(|| {
            let mean = sums.map(|sum| sum / total);
            let deviation = |axis: usize| (squares[axis] / total - mean[axis] * mean[axis]).max(0.0).sqrt() as f32;
            Self { mean: mean.map(|value| value as f32), deviation: std::array::from_fn(deviation) }
        })
    }
}
