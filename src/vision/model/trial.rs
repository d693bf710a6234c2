//! Whether execution providers work here: each runs a small network, whose outputs must be the processor's.

use ort::value::TensorRef;

use super::{ENVIRONMENT, session};
use crate::vision::catalog::Weights;
use crate::vision::execution::{Execution, Provider};

/// `x` [1,3,16,16] → convolution, ReLU → `y` [1,4,16,16]; made by models/trial.py.
const NETWORK: &[u8] = include_bytes!("../../../models/builtin/trial.onnx");
const SHAPE: [i64; 4] = [1, 3, 16, 16];
/// Half precision has three digits; the outputs are at most about 4.
const TOLERANCE: f32 = 0.02;

/// Runs the small network on a provider.
///
/// # Errors
/// Why it cannot be used, in words.
pub fn try_provider(provider: &Provider, execution: &Execution) -> Result<(), String> {
    let expected = run(&Provider::default(), execution)?;
    let found = run(provider, execution)?;
    // NaN is near nothing.
    let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE;
    let wrong = found.iter().zip(&expected).position(|pair| !is_near(pair));
    match wrong {
        None if found.len() == expected.len() => Ok(()),
        None => Err(format!("it gives {} numbers (expected {})", found.len(), expected.len())),
        Some(place) => Err(format!("it computes wrongly: {} (expected {})", found[place], expected[place])),
    }
}

fn run(provider: &Provider, execution: &Execution) -> Result<Vec<f32>, String> {
    let environment = ENVIRONMENT.get().ok_or("ONNX Runtime is not loaded yet")?;
    let told = |error: ort::Error| error.to_string();
    let mut session =
        session::open(environment, &Weights::Builtin(NETWORK), provider, execution.threads, None).map_err(told)?;
    let input: Vec<f32> = (0..SHAPE.iter().product()).map(|place: i64| (place * 7 % 31) as f32 / 31.0).collect();
    let input = TensorRef::from_array_view((SHAPE, input.as_slice())).map_err(told)?;
    let outputs = session.run(ort::inputs![input]).map_err(told)?;
    let (_, elements) = outputs[0].try_extract_tensor::<f32>().map_err(told)?;
    Ok(elements.to_vec())
}
