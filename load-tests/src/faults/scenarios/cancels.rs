//! A job is called off while its chunks are computed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Stage;
use crate::faults::run::{Expect, Order, Run, drive};
use crate::faults::universe::{Kind, Shape};

/// From the end of the command to the final state.
const WITHIN: Duration = Duration::from_secs(2);

pub fn mid_chunk(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = Vec::new();
    for seed in seeds {
        runs.push(Run::submit(stage.universe, Order { expect: Expect::Cancelled, ..stage.slow_order(*seed) })?);
    }
    let mut cancelled: Option<Instant> = None;
    drive(stage.universe, &mut runs, |universe, runs| {
        if cancelled.is_some() || universe.tape.records.settled_chunks(runs[0].id()) == 0 {
            return Ok(cancelled.is_some());
        }
        for run in runs.iter_mut() {
            let told = universe.command("cancel").arg(run.id().as_str()).output()?;
            ensure!(told.status.success(), "facemill cancel: {}", String::from_utf8_lossy(&told.stderr));
            run.recovery_max = WITHIN;
            run.met("cancelled", Instant::now());
        }
        cancelled = Some(Instant::now());
        Ok(true)
    })?;
    Ok(runs)
}
