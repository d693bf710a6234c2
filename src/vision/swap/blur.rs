//! Separable Gaussian blurs on small grids. Grids are chosen so that a face is 48 to 192 points wide, which keeps
//! every kernel short; loops run along rows so that they vectorise.

use super::plane::Plane;

/// Kernels end at this many standard deviations.
const REACH: f32 = 2.8;
/// Narrower kernels leave the plane as it is.
const MIN_SIGMA: f32 = 0.3;

/// Buffers of a blur.
#[derive(Default)]
pub struct Blur {
    taps: Vec<f32>,
    padded: Vec<f32>,
    middle: Plane,
}

impl Blur {
    /// `out` = `plane` blurred by a Gaussian of `sigma` points, the border repeated.
    pub fn gaussian(&mut self, plane: &Plane, sigma: f32, out: &mut Plane) {
        let is_identity = sigma <= MIN_SIGMA || plane.data.is_empty();
        if is_identity {
            out.copy_from(plane);
            return;
        }
        self.prepare(sigma);
        self.middle.reset_like(plane);
        for y in 0..plane.height {
            self.along_row(plane.row(y), y);
        }
        self.down_columns(out);
    }

    /// `plane` blurred in place.
    pub fn in_place(&mut self, plane: &mut Plane, sigma: f32) {
        if sigma <= MIN_SIGMA || plane.data.is_empty() {
            return;
        }
        self.prepare(sigma);
        self.middle.reset_like(plane);
        for y in 0..plane.height {
            self.along_row(plane.row(y), y);
        }
        self.down_columns(plane);
    }

    /// `taps[k]` = weight of the neighbours k points away.
    fn prepare(&mut self, sigma: f32) {
        let radius = (REACH * sigma).ceil() as usize;
        self.taps.clear();
        self.taps.extend((0..=radius).map(|k| (-0.5 * (k as f32 / sigma).powi(2)).exp()));
        let sum = self.taps[0] + 2.0 * self.taps[1..].iter().sum::<f32>();
        self.taps.iter_mut().for_each(|tap| *tap /= sum);
    }

    fn along_row(&mut self, row: &[f32], y: usize) {
        let radius = self.taps.len() - 1;
        let (first, last) = (row[0], row[row.len() - 1]);
        self.padded.clear();
        self.padded.resize(radius, first);
        self.padded.extend_from_slice(row);
        self.padded.resize(row.len() + 2 * radius, last);
        let width = row.len();
        let out = self.middle.row_mut(y);
        let centre = &self.padded[radius..][..width];
        for (value, c) in out.iter_mut().zip(centre) {
            *value = c * self.taps[0];
        }
        let around = |k: usize| (&self.padded[radius - k..][..width], &self.padded[radius + k..][..width]);
        accumulate_all(out, &self.taps, around);
    }

    fn down_columns(&self, out: &mut Plane) {
        let height = self.middle.height;
        out.reset_like(&self.middle);
        for y in 0..height {
            let row = out.row_mut(y);
            for (value, c) in row.iter_mut().zip(self.middle.row(y)) {
                *value = c * self.taps[0];
            }
            let around = |k: usize| (self.middle.row(y.saturating_sub(k)), self.middle.row((y + k).min(height - 1)));
            accumulate_all(row, &self.taps, around);
        }
    }
}

/// Adds the neighbours on both sides, two distances at a time: half the passes over `out`.
fn accumulate_all<'a>(out: &mut [f32], taps: &[f32], around: impl Fn(usize) -> (&'a [f32], &'a [f32])) {
    let mut k = 1;
    while k + 1 < taps.len() {
        let (near, far) = (around(k), around(k + 1));
        let (near_tap, far_tap) = (taps[k], taps[k + 1]);
        let n = out.len();
        let (a, b, c, d) = (&near.0[..n], &near.1[..n], &far.0[..n], &far.1[..n]);
        for i in 0..n {
            out[i] += (a[i] + b[i]) * near_tap + (c[i] + d[i]) * far_tap;
        }
        k += 2;
    }
    if k < taps.len() {
        let (a, b) = around(k);
        for ((value, a), b) in out.iter_mut().zip(a).zip(b) {
            *value += (a + b) * taps[k];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blur_keeps_constants_and_sums() {
        let mut plane = Plane::new(31, 21);
        plane.data[10 * 31 + 15] = 1.0;
        for sigma in [0.1, 0.5, 1.5, 3.0] {
            let mut out = Plane::default();
            Blur::default().gaussian(&plane, sigma, &mut out);
            let sum: f32 = out.data.iter().sum();
            assert!((sum - 1.0).abs() < 1e-4, "sigma {sigma}: sum {sum}");
        }
        let flat = Plane { width: 5, height: 3, data: vec![2.5; 15] };
        let mut out = flat.clone();
        Blur::default().in_place(&mut out, 7.0);
        assert!(out.data.iter().all(|v| (v - 2.5).abs() < 1e-5));
    }

    #[test]
    fn the_spread_is_sigma() {
        let mut plane = Plane::new(61, 61);
        plane.data[30 * 61 + 30] = 1.0;
        Blur::default().in_place(&mut plane, 4.0);
        let variance: f32 =
            (0..61).map(|x| (x as f32 - 30.0).powi(2) * plane.data.iter().skip(x).step_by(61).sum::<f32>()).sum();
        assert!((variance.sqrt() - 4.0).abs() < 0.15, "{}", variance.sqrt());
    }
}
