//! Roles killed, or joining and leaving, at times of chance.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Stage;
use super::drains::computed_twice;
use crate::faults::clip::FRAMES;
use crate::faults::dice::Dice;
use crate::faults::run::{Order, Run, drive};
use crate::faults::universe::{Kind, Shape};

/// Kills of one batch at most, so that a chunk does not meet ten deaths.
const KILLS_MAX: u32 = 4;
/// Between a kill and the next, ms.
const KILL_EVERY_MS: std::ops::Range<u64> = 100..1500;
const STORM_EVERY: Duration = Duration::from_secs(3);
/// As many as come while a chunk is computed.
const STORM_CHANGES: u32 = 10;
/// Two chunks of the clip, of 30 s each; what the third worker begins is not finished.
const STORM_CHUNK_FRAMES: u64 = FRAMES / 2;
/// Both of them, one after the other on one worker, and half a one more that had moved at the last moment.
const STORM_RECOVERY_MAX: Duration = Duration::from_secs(80);

/// 1 of 3 workers.
pub fn workers(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    at_random(stage, seeds, &Shape::new(1, 3, 1), &[(Kind::Worker, 3)])
}

/// Any role.
pub fn any(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    at_random(stage, seeds, &Shape::new(1, 2, 1), &[(Kind::Ingest, 1), (Kind::Worker, 2), (Kind::Assemble, 1)])
}

/// 1 of 2 assemblers.
pub fn assemblers(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    at_random(stage, seeds, &Shape::new(1, 2, 2), &[(Kind::Assemble, 2)])
}

fn at_random(stage: &mut Stage<'_>, seeds: &[u64], shape: &Shape, victims: &[(Kind, usize)]) -> Result<Vec<Run>> {
    stage.universe.reshape(shape)?;
    for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
        stage.universe.wait_assigned(kind)?;
    }
    let mut runs = stage.submit(seeds)?;
    let mut dice = Dice::new(seeds[0]);
    let wait = |dice: &mut Dice| {
        Duration::from_millis(KILL_EVERY_MS.start + dice.below(KILL_EVERY_MS.end - KILL_EVERY_MS.start))
    };
    let mut next_kill = Instant::now() + wait(&mut dice).mul_f64(0.3);
    let mut kills = 0;
    drive(stage.universe, &mut runs, |universe, _| {
        if kills < KILLS_MAX && Instant::now() >= next_kill {
            let (kind, count) = victims[dice.below(victims.len() as u64) as usize];
            universe.kill(kind, dice.below(count as u64) as usize);
            next_kill = Instant::now() + wait(&mut dice);
            kills += 1;
        }
        Ok(true)
    })?;
    Ok(runs)
}

/// A third worker comes and goes while two work. Chunks that have been begun when their partition moves are not begun again.
pub fn storm(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let shape = |workers| Shape::new(1, workers, 1).with("CRASH_LANE", &format!("{FRAMES}=linger:30"));
    stage.universe.reshape(&shape(2))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = Vec::new();
    for seed in seeds {
        let chunk_frames = [STORM_CHUNK_FRAMES, STORM_CHUNK_FRAMES];
        let mut run = Run::submit(stage.universe, Order { chunk_frames, ..stage.order(*seed) })?;
        run.recovery_max = STORM_RECOVERY_MAX;
        runs.push(run);
    }
    let mut next = Instant::now();
    let mut changes = 0;
    drive(stage.universe, &mut runs, |universe, runs| {
        if changes < STORM_CHANGES && Instant::now() >= next {
            let workers = if changes % 2 == 0 { 3 } else { 2 };
            universe.reshape(&shape(workers))?;
            runs.iter_mut().for_each(|run| run.met(&format!("{workers} workers"), Instant::now()));
            next = Instant::now() + STORM_EVERY;
            changes += 1;
        }
        Ok(true)
    })?;
    for run in &mut runs {
        let twice = computed_twice(stage.universe, run);
        run.violations.extend(twice.into_iter().map(|index| format!("chunk {index} was computed twice")));
    }
    Ok(runs)
}
