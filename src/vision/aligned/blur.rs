//! Gaussian blurs as `cv2.GaussianBlur` makes them of floats: masks are part of what users of other programs expect.
//!
//! (The built-in swapper's blur is another: shorter, and with a repeated border.)

/// Weights of the neighbours 0, 1, 2, … samples away. The kernel is `round(8·sigma + 1) | 1` samples long, as OpenCV chooses
/// it for a size of (0, 0).
fn kernel(sigma: f64) -> Vec<f32> {
    let length = (8.0 * sigma + 1.0).round_ties_even() as usize | 1;
    let weights: Vec<f64> = (0..=length / 2).map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp()).collect();
    let sum = 2.0 * weights.iter().sum::<f64>() - weights[0];
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// The border is mirrored without repeating the outermost sample (OpenCV's `BORDER_REFLECT_101`).
fn mirrored(index: isize, count: usize) -> usize {
    let last = count as isize - 1;
    if last == 0 {
        return 0;
    }
    let folded = index.rem_euclid(2 * last);
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

/// A plane of rows of `width` values, blurred in place; left as it is if `sigma` (samples) is not positive.
pub fn gaussian(plane: &mut [f32], width: usize, sigma: f64) {
    let is_identity = sigma.is_nan() || sigma <= 0.0 || plane.is_empty();
    if is_identity {
        return;
    }
    let weights = kernel(sigma);
    let radius = weights.len() - 1;
    let height = plane.len() / width;
    let mut middle = vec![0.0; plane.len()];
    let mut padded = vec![0.0; width + 2 * radius];
    for (row, out) in plane.chunks_exact(width).zip(middle.chunks_exact_mut(width)) {
        padded[radius..][..width].copy_from_slice(row);
        for k in 1..=radius {
            padded[radius - k] = row[mirrored(-(k as isize), width)];
            padded[radius + width - 1 + k] = row[mirrored((width - 1 + k) as isize, width)];
        }
        weigh(out, &weights, |k| (&padded[radius - k..][..width], &padded[radius + k..][..width]));
    }
    let line = |y: isize| &middle[mirrored(y, height) * width..][..width];
    for (y, out) in plane.chunks_exact_mut(width).enumerate() {
        weigh(out, &weights, |k| (line(y as isize - k as isize), line((y + k) as isize)));
    }
}

/// One line of values, blurred.
pub fn gaussian_line(line: &mut [f32], sigma: f64) {
    let width = line.len();
    if width > 0 {
        // Along columns a single row is its own mirror image, and stays.
        gaussian(line, width, sigma);
    }
}

/// Sums up the neighbours on both sides, two distances at a time: half the passes over `out`.
fn weigh<'a>(out: &mut [f32], weights: &[f32], around: impl Fn(usize) -> (&'a [f32], &'a [f32])) {
    let n = out.len();
    let centre = &around(0).0[..n];
    for i in 0..n {
        out[i] = centre[i] * weights[0];
    }
    let mut k = 1;
    while k + 1 < weights.len() {
        let (near, far) = (around(k), around(k + 1));
        let (a, b, c, d) = (&near.0[..n], &near.1[..n], &far.0[..n], &far.1[..n]);
        let (p, q) = (weights[k], weights[k + 1]);
        for i in 0..n {
            out[i] += (a[i] + b[i]) * p + (c[i] + d[i]) * q;
        }
        k += 2;
    }
    if k < weights.len() {
        let (a, b) = around(k);
        let (a, b, p) = (&a[..n], &b[..n], weights[k]);
        for i in 0..n {
            out[i] += (a[i] + b[i]) * p;
        }
    }
}
