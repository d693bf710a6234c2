//! A job is called off: while its only chunk is computed; and just before it is submitted again, while nobody hears of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use facemill::contract::{ChunkOutcome, JobEvent, keys, topics};

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

/// No assembler runs when a job is called off and submitted again: the first run is cancelled, the second is done.
pub fn and_submitted(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let shape = |assemblers| Shape::new(1, 2, assemblers).with("FACEMILL_ASSEMBLE__GRACE_SECONDS", "0");
    stage.universe.reshape(&shape(1))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    stage.universe.wait_assigned(Kind::Assemble)?;
    let mut runs =
        seeds.iter().map(|seed| Run::submit(stage.universe, stage.slow_order(*seed))).collect::<Result<Vec<Run>>>()?;
    let mut is_over = false;
    drive(stage.universe, &mut runs, |universe, runs| {
        let is_under_way = runs.iter().all(|run| universe.tape.records.settled_chunks(run.id()) > 0);
        if is_over || !is_under_way {
            return Ok(is_over);
        }
        is_over = true;
        universe.reshape(&shape(0))?;
        // One that is done already meets nothing, and is played again.
        for run in runs.iter_mut().filter(|run| !universe.object(&keys::manifest(run.id(), 1)).exists()) {
            universe.tell(&JobEvent::Cancel { job: run.id().clone(), at: None })?;
            run.number = 2;
            run.met("cancelled", Instant::now());
        }
        // The broker's clock has milliseconds.
        std::thread::sleep(Duration::from_millis(5));
        for run in runs.iter().filter(|run| run.number == 2) {
            universe.publish(topics::JOBS, run.id().as_str(), &run.job)?;
        }
        universe.reshape(&shape(1))?;
        Ok(true)
    })?;
    for run in runs.iter_mut().filter(|run| run.number == 2) {
        let first = std::fs::read_to_string(stage.universe.object(&keys::manifest(run.id(), 1)));
        if !first.is_ok_and(|manifest| manifest.contains("\"cancelled\"")) {
            run.violations.push(format!("run 1 of {} is not cancelled", run.id()));
        }
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
