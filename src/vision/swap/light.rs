//! The light on a face: what remains of its log luma when features, hair, shadows and glints are left out and the rest
//! is blurred. Coarse and middle bands, on the light grid.

use super::bake::MIDDLE_SHARE;
use super::blur::Blur;
use super::plane::Plane;

/// Standard deviation of the coarse band, face widths.
const COARSE: f32 = 0.13;
/// Standard deviation of the middle band, face widths.
const MIDDLE: f32 = 0.045;
/// Deviations from the coarse band that still count as skin, in log luma: darker (hair, shadow), brighter (glint).
const DARKER: f32 = 0.22;
const BRIGHTER: f32 = 0.30;

/// The light field of one face.
#[derive(Default)]
pub struct Light {
    /// Coarse band of log luma.
    pub low: Plane,
    /// Middle band of log luma (it contains the coarse one).
    pub mid: Plane,
    /// Robust weight of each point, 0..1.
    pub weight: Plane,
    /// Coarse Cb and Cr, 0..255, neutral 128.
    pub chroma: [Plane; 2],
    /// Weighted mean of (Cb − 128, Cr − 128): how coloured the skin is.
    pub saturation: [f32; 2],
    relit: Plane,
    product: Plane,
    numerator: Plane,
    denominator: Plane,
}

impl Light {
    /// `log` luma and `chroma` on the light grid, `mask` = skin (0..1), `face_width` in grid points.
    pub fn measure(&mut self, log: &Plane, chroma: [&Plane; 2], mask: &Plane, face_width: f32, blur: &mut Blur) {
        let coarse = COARSE * face_width;
        let (sum, total) = log.weighted_sum(mask);
        let mean = (sum / (total + 1e-3)) as f32;

        self.weight.copy_from(mask);
        self.low.reset_like(log);
        self.low.data.fill(mean);
        let Self { low, mid, weight, relit, product, numerator, denominator, .. } = self;
        blur.gaussian(weight, coarse, denominator);
        normalise(log, weight, denominator, coarse, 0.02, blur, product, numerator, low);
        for ((w, l), low) in weight.data.iter_mut().zip(&log.data).zip(&low.data) {
            let residual = l - low;
            let scale = if residual < 0.0 { DARKER } else { BRIGHTER };
            *w *= (-(residual / scale).powi(2)).exp();
        }
        blur.gaussian(weight, coarse, denominator);
        normalise(log, weight, denominator, coarse, 0.02, blur, product, numerator, low);

        for (channel, values) in chroma.into_iter().enumerate() {
            let (sum, total) = values.weighted_sum(weight);
            let mean = (sum / (total + 1e-3)) as f32;
            // With nothing to measure the skin is neutral, not green.
            let mean = if total > 1.0 { mean } else { 128.0 };
            self.saturation[channel] = mean - 128.0;
            let out = &mut self.chroma[channel];
            out.reset_like(values);
            out.data.fill(mean);
            normalise(values, weight, denominator, coarse, 0.02, blur, product, numerator, out);
        }

        let middle = MIDDLE * face_width;
        mid.copy_from(low);
        blur.gaussian(weight, middle, denominator);
        normalise(log, weight, denominator, middle, 0.05, blur, product, numerator, mid);

        relit.reset_like(log);
        for ((r, low), mid) in relit.data.iter_mut().zip(&low.data).zip(&mid.data) {
            *r = low + (1.0 - MIDDLE_SHARE) * (mid - low);
        }
    }

    /// What a new face is laid on: the coarse band and the share of the middle band that the portrait does not bring.
    pub fn relit(&self) -> &Plane {
        &self.relit
    }
}

/// `out` = (blur(x·w) + ε·out) / (blur(w) + ε): a blur over the weighted points that falls back on `out` where there are none.
#[allow(clippy::too_many_arguments)]
fn normalise(
    values: &Plane,
    weight: &Plane,
    blurred_weight: &Plane,
    sigma: f32,
    epsilon: f32,
    blur: &mut Blur,
    product: &mut Plane,
    numerator: &mut Plane,
    out: &mut Plane,
) {
    product.reset_like(values);
    for ((p, v), w) in product.data.iter_mut().zip(&values.data).zip(&weight.data) {
        *p = v * w;
    }
    blur.gaussian(product, sigma, numerator);
    for ((o, n), d) in out.data.iter_mut().zip(&numerator.data).zip(&blurred_weight.data) {
        *o = (n + epsilon * *o) / (d + epsilon);
    }
}
