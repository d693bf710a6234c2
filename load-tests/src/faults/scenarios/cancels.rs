//! A job is called off while its only chunk is computed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use facemill::contract::{ChunkOutcome, keys};

use super::Stage;
use crate::faults::clip::FRAMES;
use crate::faults::run::{Expect, Order, Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// From the start of the command until the job is final and its worker has let the chunk go.
const WITHIN: Duration = Duration::from_secs(2);

/// The whole clip is one chunk, of several seconds: it must be broken off.
pub fn mid_chunk(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = Vec::new();
    for seed in seeds {
        let order = Order { expect: Expect::Cancelled, chunk_frames: [FRAMES, FRAMES], ..stage.slow_order(*seed) };
        runs.push(Run::submit(stage.universe, order)?);
    }
    let mut cancelled: Option<Instant> = None;
    let mut let_go: Option<Duration> = None;
    drive(stage.universe, &mut runs, |universe, runs| {
        let run = &mut runs[0];
        match cancelled {
            None if is_begun(universe, run) => {
                let began = Instant::now();
                let told = universe.command("cancel").arg(run.id().as_str()).output()?;
                ensure!(told.status.success(), "facemill cancel: {}", String::from_utf8_lossy(&told.stderr));
                run.recovery_max = WITHIN;
                run.met("cancelled", began);
                cancelled = Some(began);
            }
            Some(since) if is_let_go(universe, run) => let_go = let_go.or(Some(since.elapsed())),
            // Late enough to be told.
            Some(since) if since.elapsed() > 5 * WITHIN => let_go = let_go.or(Some(since.elapsed())),
            _ => {}
        }
        Ok(let_go.is_some())
    })?;
    if let Some(took) = let_go.filter(|took| *took > WITHIN) {
        runs[0].violations.push(format!("the worker let the chunk go only after {:.1} s", took.as_secs_f64()));
    }
    Ok(runs)
}

/// A worker has counted its attempt at the chunk: it is in a lane.
fn is_begun(universe: &Universe, run: &Run) -> bool {
    let attempts = universe.object(&keys::attempts(run.id(), 1, 0));
    std::fs::read_dir(attempts).is_ok_and(|mut begun| begun.next().is_some())
}

fn is_let_go(universe: &Universe, run: &Run) -> bool {
    let mut settled = universe.tape.records.settled();
    settled.any(|(job, _, _, outcome)| job == run.id() && *outcome == ChunkOutcome::Skipped)
}
