//! An identity on its way from the recogniser to a swapper that knows it by other coordinates.

/// `embedding · emap / ‖embedding‖`: what inswapper's `source` wants of ArcFace's embedding. `emap` holds one row of as many
/// values as the result has per value of `embedding` (the graph's last initializer, 512×512); sums are made in double
/// precision. An embedding of nothing but zeros becomes zeros.
///
/// # Panics
/// Unless the length of `emap` is a multiple of that of `embedding`, which is not 0.
pub fn project(embedding: &[f32], emap: &[f32]) -> Vec<f32> {
    assert_eq!(emap.len() % embedding.len(), 0, "emap holds a row per value of the embedding");
    let columns = emap.len() / embedding.len();
    let length = embedding.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let mut sums = vec![0.0f64; columns];
    for (&value, row) in embedding.iter().zip(emap.chunks_exact(columns.max(1))) {
        sums.iter_mut().zip(row).for_each(|(sum, &weight)| *sum += f64::from(value) * f64::from(weight));
    }
    sums.iter().map(|sum| (sum / length.max(f64::MIN_POSITIVE)) as f32).collect()
}
