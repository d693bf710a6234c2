//! A job is called off: while its only chunk is computed; and just before it is submitted again, while nobody hears of it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use facemill::contract::{ChunkOutcome, JobEvent, JobId, keys, topics};

use super::Stage;
use crate::faults::clip::{FRAMES, GOP};
use crate::faults::pause;
use crate::faults::run::{Expect, Order, Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// From the start of the command until the job is final and its worker has let the chunk go.
const WITHIN: Duration = Duration::from_secs(2);

/// Chunks take so long, without work for the processor.
const LINGER: &str = "linger:1";

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

/// No assembler runs when a job is called off and submitted again: the first run is cancelled, the second is done. Until the first has ended no
/// worker runs either: an assembler that finds all results of a run is done with it before it reads that it was called off.
pub fn and_submitted(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let shape = |workers, assemblers| {
        let shape = Shape::new(1, workers, assemblers).with("FACEMILL_ASSEMBLE__GRACE_SECONDS", "0");
        shape.with("CRASH_LANE", &format!("{FRAMES}={LINGER}"))
    };
    stage.universe.reshape(&shape(2, 1))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    stage.universe.wait_assigned(Kind::Assemble)?;
    let mut runs = stage.submit(seeds)?;
    let mut finished = Vec::new();
    let mut step = Step::UnderWay;
    drive(stage.universe, &mut runs, |universe, runs| {
        match step {
            Step::UnderWay if runs.iter().any(|run| universe.tape.records.settled_chunks(run.id()) > 0) => {
                universe.reshape(&shape(0, 0))?;
                // Whoever said something before it ended is heard: a job whose chunks are all done would be done.
                universe.tape.catch_up(topics::COMPLETIONS)?;
                finished = call_off_and_submit(universe, runs)?;
                universe.reshape(&shape(0, 1))?;
                step = Step::CalledOff;
            }
            Step::CalledOff if runs.iter().all(|run| first_manifest(universe, run).exists()) => {
                universe.reshape(&shape(2, 1))?;
                runs.iter_mut()
                    .filter(|run| run.number == 2)
                    .for_each(|run| run.met("no worker until now", Instant::now()));
                step = Step::Over;
            }
            _ => {}
        }
        Ok(matches!(step, Step::Over))
    })?;
    for run in runs.iter_mut().filter(|run| run.number == 2) {
        let first = std::fs::read_to_string(first_manifest(stage.universe, run));
        if !first.is_ok_and(|manifest| manifest.contains("\"cancelled\"")) {
            run.violations.push(format!("run 1 of {} is not cancelled", run.id()));
        }
        let before = finished.iter().find(|(job, _)| job == run.id()).map_or(0, |(_, chunks)| *chunks);
        let reused = run.manifest().map_or(0, |manifest| manifest.totals.chunks_reused as usize);
        if reused < before {
            run.violations.push(format!("J: run 2 of {} reuses {reused} of {before} finished chunks", run.id()));
        }
    }
    Ok(runs)
}

enum Step {
    UnderWay,
    CalledOff,
    Over,
}

/// A job whose chunks are all done meets nothing, and is played again. Tells how many chunks the others had done.
fn call_off_and_submit(universe: &Universe, runs: &mut [Run]) -> Result<Vec<(JobId, usize)>> {
    let mut finished = Vec::new();
    for run in runs.iter_mut().filter(|run| (universe.tape.records.settled_chunks(run.id()) as u64) < FRAMES / GOP) {
        universe.tell(&JobEvent::Cancel { job: run.id().clone(), at: None })?;
        finished.push((run.id().clone(), done_chunks(universe, run)));
        run.number = 2;
        run.met("cancelled", Instant::now());
    }
    // The broker's clock has milliseconds.
    pause(Duration::from_millis(5))?;
    for run in runs.iter().filter(|run| run.number == 2) {
        universe.publish(topics::JOBS, run.id().as_str(), &run.job)?;
    }
    Ok(finished)
}

/// Chunks of which a result is in the store.
fn done_chunks(universe: &Universe, run: &Run) -> usize {
    let settled = universe.tape.records.settled();
    let done = settled.filter(|(job, _, _, outcome)| *job == run.id() && matches!(outcome, ChunkOutcome::Done { .. }));
    done.map(|(_, _, index, _)| index).collect::<HashSet<u32>>().len()
}

fn first_manifest(universe: &Universe, run: &Run) -> PathBuf {
    universe.object(&keys::manifest(run.id(), 1))
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
