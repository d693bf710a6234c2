//! `facemill lane`: what a worker runs for each of its lanes.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::config::{Config, Log, LogFormat, lane_environment, lane_program};
use crate::contract::Swapper;
use crate::vision::{self, Execution};
use crate::worker::{self, LaneSettings, Means};
use crate::{media, shutdown, telemetry};

use super::args::LaneArgs;
use super::{Exit, fail};

/// One MB, bytes.
const MB: u64 = 1 << 20;

/// Runs the command: without a configuration, an environment or an async runtime.
pub fn run(args: LaneArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, Exit::Failed),
    }
}

fn serve(args: LaneArgs) -> Result<()> {
    shutdown::leave_to_parent().context("set up signals")?;
    let log = Log { format: LogFormat::Json, filter: Some(args.log) };
    telemetry::init_logs(&log, 0, std::io::stderr, false)?;
    let execution = Execution {
        providers: args.execution_provider,
        threads: args.network_threads,
        engines: args.made.as_ref().map(|made| made.join("engines")),
    };
    if args.trial {
        worker::limit_memory(args.memory_mb.saturating_mul(MB))?;
        return trial(&args.onnxruntime, &execution);
    }
    media::init();
    let means = Means {
        onnxruntime: args.onnxruntime,
        models: args.models,
        execution,
        threads: args.execution_threads,
        swapper: args.swapper,
        made: args.made,
    };
    worker::serve(means, args.memory_mb.saturating_mul(MB))?;
    Ok(())
}

/// Tries each provider, and prints why it cannot be used.
fn trial(onnxruntime: &Path, execution: &Execution) -> Result<()> {
    vision::model::init(onnxruntime)?;
    for provider in execution.providers.all() {
        let told = vision::model::try_provider(provider, execution).err().unwrap_or_default();
        println!("{}{}", worker::TOLD, told.replace('\n', " "));
    }
    Ok(())
}

/// How a worker's lanes work, by its configuration.
pub fn settings(config: &Config, swapper: Swapper) -> Result<LaneSettings> {
    let worker = &config.worker;
    Ok(LaneSettings {
        program: lane_program().context("find this program, to run lanes by it")?,
        environment: lane_environment(),
        onnxruntime: config.onnxruntime_library(),
        models: config.models_dir(),
        execution: Execution { providers: worker.provider.clone(), threads: worker.threads, engines: None },
        threads: worker.threads,
        swapper,
        memory_mb: worker.lane_memory_mb,
        made: config.made_dir(),
        chunk_time: Duration::from_secs(worker.chunk_seconds),
        frame_time: Duration::from_secs_f64(worker.frame_seconds),
        chunks_per_lane: worker.chunks_per_lane,
    })
}
