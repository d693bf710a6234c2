//! One plane at another size: area averages where it shrinks, bilinear where it grows (OpenCV's INTER_AREA and
//! INTER_LINEAR).

use crate::frame::{PlaneRef, Sample};

/// Weights that make one output sample from neighbouring input samples.
#[derive(Clone, Debug, PartialEq)]
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

/// How the samples of one axis are made from those of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    taps: Vec<Tap>,
}

impl Axis {
    /// `count` output samples; the first covers input coordinates `start .. start + step`, the second the next `step`,
    /// and so on. Input sample k covers k − ½ .. k + ½; beyond the ends the outermost samples repeat.
    pub fn new(count: usize, start: f64, step: f64, inputs: usize) -> Self {
        let tap = |index: usize| {
            let left = start + index as f64 * step;
            if step > 1.0 { Tap::average(left, left + step, inputs) } else { Tap::between(left + step / 2.0, inputs) }
        };
        Self { taps: (0..count).map(tap).collect() }
    }
}

impl Tap {
    fn average(left: f64, right: f64, inputs: usize) -> Self {
        let (low, high) = ((left + 0.5).floor(), (right + 0.5 - 1e-9).floor());
        let share = |sample: f64| ((sample + 0.5).min(right) - (sample - 0.5).max(left)).max(0.0) / (right - left);
        Self::gather((low as i64..=high as i64).map(|sample| (sample, share(sample as f64))), inputs)
    }

    fn between(at: f64, inputs: usize) -> Self {
        let low = at.floor();
        let weight = at - low;
        Self::gather([(low as i64, 1.0 - weight), (low as i64 + 1, weight)].into_iter(), inputs)
    }

    /// Samples beyond the ends count as the outermost ones; weights of nothing are left out.
    fn gather(samples: impl Iterator<Item = (i64, f64)>, inputs: usize) -> Self {
        let clamp = |sample: i64| sample.clamp(0, inputs as i64 - 1) as usize;
        let mut tap = Tap { first: 0, weights: Vec::new() };
        for (sample, weight) in samples.filter(|&(_, weight)| weight > 1e-7) {
            if tap.weights.is_empty() {
                tap.first = clamp(sample);
            }
            let slot = clamp(sample) - tap.first;
            tap.weights.resize(tap.weights.len().max(slot + 1), 0.0);
            tap.weights[slot] += weight as f32;
        }
        tap
    }
}

/// Row `row` of the plane at its new size; `column` is scratch of the plane's width.
pub fn row<S: Sample>(
    plane: &PlaneRef<'_, S>,
    (columns, rows): (&Axis, &Axis),
    row: usize,
    column: &mut Vec<f32>,
    out: &mut [f32],
) {
    let Tap { first, weights } = &rows.taps[row];
    column.clear();
    column.resize(plane.width, 0.0);
    for (offset, &weight) in weights.iter().enumerate() {
        for (sum, &sample) in column.iter_mut().zip(plane.row(first + offset)) {
            *sum += weight * Into::<f32>::into(sample);
        }
    }
    for (value, Tap { first, weights }) in out.iter_mut().zip(&columns.taps) {
        *value = match weights.as_slice() {
            [only] => only * column[*first],
            [a, b] => a * column[*first] + b * column[first + 1],
            _ => weights.iter().zip(&column[*first..]).map(|(weight, sample)| weight * sample).sum(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resize(samples: &[u8], count: usize, start: f64, step: f64) -> Vec<f32> {
        let plane = PlaneRef { data: samples, stride: samples.len(), width: samples.len(), height: 1 };
        let mut out = vec![0.0; count];
        let (columns, rows) = (Axis::new(count, start, step, samples.len()), Axis::new(1, -0.5, 1.0, 1));
        row(&plane, (&columns, &rows), 0, &mut Vec::new(), &mut out);
        out
    }

    #[test]
    fn samples_come_from_where_they_lie() {
        let check = |samples: &[u8], count, start, step, expected: &[f32]| {
            let found = resize(samples, count, start, step);
            let is_near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
            assert!(found.len() == expected.len() && is_near, "{found:?} {expected:?}");
        };
        check(&[1, 2, 3], 3, -0.5, 1.0, &[1.0, 2.0, 3.0]); // the same size
        check(&[10, 20, 30, 40], 2, -0.5, 2.0, &[15.0, 35.0]); // halves
        check(&[10, 20, 30], 2, -0.5, 1.5, &[40.0 / 3.0, 80.0 / 3.0]); // two thirds: shares 1, ½
        check(&[10, 20], 4, -0.5, 0.5, &[10.0, 12.5, 17.5, 20.0]); // doubled, as cv2.resize does
        check(&[10, 20], 2, -0.75, 1.0, &[10.0, 17.5]); // chroma on the left luma sample
        check(&[7], 3, -0.5, 1.0 / 3.0, &[7.0, 7.0, 7.0]);
    }
}
