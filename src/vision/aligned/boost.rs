//! A small network's crop taken n times as large ("pixel boost"): n² interleaved sub-images, one inference each.
//!
//! Neighbouring pixels go to different sub-images, so each shows the whole face at the network's own size.

/// Sub-image `i · n + j` of a crop of `side · n` pixels holds the pixels (row `i + n·y`, column `j + n·x`); planes of red,
/// green and blue like the crop's, `3 · side²` values each.
///
/// # Panics
/// Unless `rgb` holds `3 · (side · n)²` values.
pub fn split(rgb: &[f32], side: usize, n: usize) -> Vec<Vec<f32>> {
    let whole = side * n;
    assert_eq!(rgb.len(), 3 * whole * whole, "a crop of {whole} pixels has three planes");
    let mut images = vec![Vec::with_capacity(3 * side * side); n * n];
    for (row, line) in rgb.chunks_exact(whole.max(1)).enumerate() {
        // Planes are a multiple of n rows high: rows of all three are counted in one.
        for (j, image) in images[row % n * n..][..n].iter_mut().enumerate() {
            image.extend(line[j..].iter().step_by(n));
        }
    }
    images
}

/// The crop of `side · n` pixels from its sub-images: the inverse of [`split`], bit for bit.
///
/// # Panics
/// Unless there are `n²` images of `3 · side²` values.
pub fn join(images: &[Vec<f32>], side: usize, n: usize) -> Vec<f32> {
    assert_eq!(images.len(), n * n, "a crop {n} times as large has {n}² sub-images");
    assert!(images.iter().all(|image| image.len() == 3 * side * side), "a sub-image has three planes");
    let whole = side * n;
    let mut rgb = vec![0.0; 3 * whole * whole];
    for (row, line) in rgb.chunks_exact_mut(whole.max(1)).enumerate() {
        for (j, image) in images[row % n * n..][..n].iter().enumerate() {
            let values = &image[row / n * side..][..side];
            line[j..].iter_mut().step_by(n).zip(values).for_each(|(to, value)| *to = *value);
        }
    }
    rgb
}
