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
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    match found.len() == expected.len() && worst <= TOLERANCE {
        true => Ok(()),
        false => Err(format!("it computes wrongly: {worst} off (expected at most {TOLERANCE})")),
    }
}

fn run(provider: &Provider, execution: &Execution) -> Result<Vec<f32>, String> {
    let environment = ENVIRONMENT.get().ok_or("ONNX Runtime is not loaded yet")?;
    let told = |error: ort::Error| error.to_string();
    let mut session = session::open(environment, &Weights::Builtin(NETWORK), provider, execution).map_err(told)?;
    let input: Vec<f32> = (0..SHAPE.iter().product()).map(|place: i64| (place * 7 % 31) as f32 / 31.0).collect();
    let input = TensorRef::from_array_view((SHAPE, input.as_slice())).map_err(told)?;
    let outputs = session.run(ort::inputs![input]).map_err(told)?;
    let (_, elements) = outputs[0].try_extract_tensor::<f32>().map_err(told)?;
    Ok(elements.to_vec())
}
