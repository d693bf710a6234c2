//! A session of ONNX Runtime on one execution provider.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::util::preload_dylib;

use super::LIBRARY;
use crate::vision::catalog::Weights;
use crate::vision::execution::{Precision, Provider, ProviderKind};

/// cuDNN, which loads its parts from beside itself.
const CUDNN: &str = "libcudnn.so.9";

/// Loads a network; `engines` is a folder for what the provider makes of it, and of no other network.
pub(super) fn open(
    environment: &Environment,
    weights: &Weights,
    provider: &Provider,
    threads: usize,
    engines: Option<&Path>,
) -> ort::Result<Session> {
    let mut builder = builder(environment, threads)?;
    if provider.kind == ProviderKind::Directml {
        // DirectML keeps the memory of its tensors itself, and runs one network at a time.
        builder = builder.with_memory_pattern(false)?.with_parallel_execution(false)?;
    }
    if let Some(dispatch) = dispatch(provider, threads, engines)? {
        builder = builder.with_execution_providers([dispatch.error_on_failure()])?;
    }
    match weights {
        Weights::Builtin(bytes) => builder.commit_from_memory(bytes),
        Weights::File(path) => builder.commit_from_file(path),
    }
}

/// Lanes share the processor, so threads that wait must sleep and not spin.
fn builder(environment: &Environment, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(threads.max(1))?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?)
}

/// The provider with its options; none for the processor, which ONNX Runtime always has.
fn dispatch(
    provider: &Provider,
    threads: usize,
    engines: Option<&Path>,
) -> ort::Result<Option<ExecutionProviderDispatch>> {
    let device = provider.device_number();
    let fp16 = provider.precision == Precision::Fp16;
    let int8 = provider.precision == Precision::Int8;
    let engines = engines.map(|folder| folder.display().to_string());
    Ok(Some(match provider.kind {
        ProviderKind::Cpu => return Ok(None),
        ProviderKind::Cuda => {
            checked::<ep::CUDA>()?;
            load_cuda()?;
            // Trying all algorithms takes seconds at each start of a lane, and may choose another each time.
            let search = ep::cuda::ConvAlgorithmSearch::Heuristic;
            ep::CUDA::default().with_device_id(device).with_conv_algorithm_search(search).build()
        }
        ProviderKind::Tensorrt => {
            checked::<ep::TensorRT>()?;
            load_cuda()?;
            let tensorrt = ep::TensorRT::default().with_device_id(device).with_fp16(fp16).with_int8(int8);
            match engines {
                Some(folder) => tensorrt
                    .with_engine_cache(true)
                    .with_engine_cache_path(&folder)
                    .with_timing_cache(true)
                    .with_timing_cache_path(&folder)
                    .build(),
                None => tensorrt.build(),
            }
        }
        ProviderKind::Openvino => {
            checked::<ep::OpenVINO>()?;
            let device = provider.device.as_deref().unwrap_or("CPU");
            // Single precision is what the other providers compute in; of itself OpenVINO takes half on GPUs.
            let precision = if fp16 { "FP16" } else { "FP32" };
            let openvino = ep::OpenVINO::default()
                .with_device_type(device)
                .with_precision(precision)
                .with_num_threads(threads.max(1));
            match engines {
                Some(folder) => openvino.with_cache_dir(folder).build(),
                None => openvino.build(),
            }
        }
        ProviderKind::Coreml => {
            checked::<ep::CoreML>()?;
            let coreml = ep::CoreML::default().with_model_format(ep::coreml::ModelFormat::MLProgram);
            match engines {
                Some(folder) => coreml.with_model_cache_dir(folder).build(),
                None => coreml.build(),
            }
        }
        ProviderKind::Directml => {
            checked::<ep::DirectML>()?;
            ep::DirectML::default().with_device_id(device).build()
        }
        ProviderKind::Migraphx => {
            checked::<ep::MIGraphX>()?;
            ep::MIGraphX::default().with_device_id(device).with_fp16(fp16).with_int8(int8).build()
        }
        ProviderKind::Cann => {
            checked::<ep::CANN>()?;
            ep::CANN::default().with_device_id(device).build()
        }
    }))
}

/// Loads CUDA's libraries and cuDNN where they lie beside ONNX Runtime (deploy/setup/accelerator.sh); the system's loader finds others.
fn load_cuda() -> ort::Result<()> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        preload_dylib("libcuda.so.1").map_err(|error| format!("NVIDIA's driver is not here: libcuda.so.1: {error}"))?;
        let Some(folder) = LIBRARY.get().and_then(|library| library.parent()) else { return Ok(()) };
        for name in ep::cuda::CUDA_DYLIBS.iter().chain(&[CUDNN]).filter(|name| folder.join(name).is_file()) {
            preload_dylib(folder.join(name)).map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    LOADED.get_or_init(load).clone().map_err(ort::Error::new)
}

/// Whether this ONNX Runtime was built with a provider: where it was not, asking for it may take the process down.
fn checked<E: ExecutionProvider>() -> ort::Result<()> {
    match E::is_available()? {
        true => Ok(()),
        false => Err(ort::Error::new("this ONNX Runtime was built without it")),
    }
}
