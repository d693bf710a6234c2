//! The light on a face: what remains of its log luma when features, hair, shadows and glints are left out and the rest
//! is blurred. Coarse and middle bands, on the light grid.

use super::bake::MIDDLE_SHARE;
use super::blur::Blur;
use super::levels::exp;
use super::plane::Plane;

/// Standard deviation of the coarse band, face widths.
const COARSE: f32 = 0.18;
/// Standard deviation of the middle band, face widths.
const MIDDLE: f32 = 0.045;
/// What the fallback weighs where nothing is measured.
const COARSE_PRIOR: f32 = 0.02;
const MIDDLE_PRIOR: f32 = 0.05;
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
    smoother: WeightedBlur,
}

impl Light {
    /// `log` luma and `chroma` on the light grid, `mask` = skin (0..1), `face_width` in grid points.
    pub fn measure(&mut self, log: &Plane, chroma: [&Plane; 2], mask: &Plane, face_width: f32, blur: &mut Blur) {
        let Self { low, mid, weight, relit, smoother, .. } = self;
        let (sum, total) = log.weighted_sum(mask);
        let mean = (sum / (total + 1e-3)) as f32;
        low.reset_like(log);
        low.data.fill(mean);
        smoother.prepare(mask, COARSE * face_width, COARSE_PRIOR, blur);
        smoother.apply(log, mask, blur, low);

        weight.copy_from(mask);
        for ((w, l), low) in weight.data.iter_mut().zip(&log.data).zip(&low.data) {
            let residual = l - low;
            let scale = if residual < 0.0 { DARKER } else { BRIGHTER };
            *w *= exp(-(residual / scale).powi(2));
        }
        smoother.prepare(weight, COARSE * face_width, COARSE_PRIOR, blur);
        smoother.apply(log, weight, blur, low);
        for (channel, values) in chroma.into_iter().enumerate() {
            let (sum, total) = values.weighted_sum(weight);
            // With nothing to measure the skin is neutral, not green.
            let mean = if total > 1.0 { (sum / (total + 1e-3)) as f32 } else { 128.0 };
            self.saturation[channel] = mean - 128.0;
            let out = &mut self.chroma[channel];
            out.reset_like(values);
            out.data.fill(mean);
            smoother.apply(values, weight, blur, out);
        }

        mid.copy_from(low);
        smoother.prepare(weight, MIDDLE * face_width, MIDDLE_PRIOR, blur);
        smoother.apply(log, weight, blur, mid);

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

/// A blur over weighted points that falls back on a prior where there are none.
#[derive(Default)]
struct WeightedBlur {
    sigma: f32,
    prior: f32,
    blurred_weight: Plane,
    product: Plane,
    numerator: Plane,
}

impl WeightedBlur {
    /// `prior`: what the fallback weighs beside points of weight 1.
    fn prepare(&mut self, weight: &Plane, sigma: f32, prior: f32, blur: &mut Blur) {
        (self.sigma, self.prior) = (sigma, prior);
        blur.gaussian(weight, sigma, &mut self.blurred_weight);
    }

    /// `out` = (blur(values·weight) + prior·out) / (blur(weight) + prior), with the weight of [`WeightedBlur::prepare`].
    fn apply(&mut self, values: &Plane, weight: &Plane, blur: &mut Blur, out: &mut Plane) {
        self.product.reset_like(values);
        for ((p, v), w) in self.product.data.iter_mut().zip(&values.data).zip(&weight.data) {
            *p = v * w;
        }
        blur.gaussian(&self.product, self.sigma, &mut self.numerator);
        for ((o, n), d) in out.data.iter_mut().zip(&self.numerator.data).zip(&self.blurred_weight.data) {
            *o = (n + self.prior * *o) / (d + self.prior);
        }
    }
}
