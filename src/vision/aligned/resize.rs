//! A square plane at another size: bilinear where it grows, area averages where it shrinks (`cv2.resize` with INTER_LINEAR and
//! INTER_AREA).

/// What one output sample is made of along an axis: input samples from `first` on, by weight.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let step = from as f64 / to as f64;
    (0..to).map(|index| if to < from { area(index, step, from) } else { between(index, step, from) }).collect()
}

fn area(index: usize, step: f64, from: usize) -> Tap {
    let (left, right) = (index as f64 * step, (index as f64 + 1.0) * step);
    let first = left as usize;
    let last = ((right - 1e-9) as usize).min(from - 1);
    let share = |sample: usize| (((sample + 1) as f64).min(right) - (sample as f64).max(left)) / step;
    Tap { first, weights: (first..=last).map(|sample| share(sample) as f32).collect() }
}

fn between(index: usize, step: f64, from: usize) -> Tap {
    let at = ((index as f64 + 0.5) * step - 0.5).clamp(0.0, from as f64 - 1.0);
    let first = (at as usize).min(from.saturating_sub(2));
    let share = (at - first as f64) as f32;
    Tap { first, weights: if from == 1 { vec![1.0] } else { vec![1.0 - share, share] } }
}

/// `plane` of `from²` values as `to²` values.
pub fn resize(plane: &[f32], from: usize, to: usize) -> Vec<f32> {
    assert_eq!(plane.len(), from * from, "a plane of {from} rows is square");
    if from == to || from == 0 {
        return plane.to_vec();
    }
    // Rows and columns are the same.
    let taps = taps(from, to);
    let mut out = vec![0.0; to * to];
    let mut column = vec![0.0; from];
    for (Tap { first, weights }, line) in taps.iter().zip(out.chunks_exact_mut(to)) {
        column.fill(0.0);
        for (&weight, row) in weights.iter().zip(plane[first * from..].chunks_exact(from)) {
            column.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        for (value, Tap { first, weights }) in line.iter_mut().zip(&taps) {
            *value = weights.iter().zip(&column[*first..]).map(|(weight, sample)| weight * sample).sum();
        }
    }
    out
}
