//! Roles killed, or joining and leaving, at times of chance.

use std::time::{Duration, Instant};

use anyhow::Result;
use facemill::contract::keys;

use super::Stage;
use super::drains::computed_twice;
use crate::faults::clip::{FRAMES, GOP};
use crate::faults::dice::Dice;
use crate::faults::run::{Order, Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// Kills of one batch at most, so that a chunk does not meet ten deaths.
const KILLS_MAX: u32 = 4;
/// Chunks of all jobs that are settled at most before the first kill: no job is over by then.
const SETTLED_FIRST_MAX: u64 = FRAMES / GOP - 2;
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
    // Seeds that have met nothing are played again, and not the same.
    let mut dice = Dice::new(seeds[0] + (u64::from(stage.attempt) << 32));
    let settled_first = dice.below(SETTLED_FIRST_MAX + 1) as usize;
    let mut next_kill: Option<Instant> = None;
    let mut kills = 0;
    drive(stage.universe, &mut runs, |universe, runs| {
        let is_due = match next_kill {
            None => has_come_to(universe, runs, settled_first),
            Some(at) => Instant::now() >= at,
        };
        if kills < KILLS_MAX && is_due {
            let (kind, count) = victims[dice.below(victims.len() as u64) as usize];
            universe.kill(kind, dice.below(count as u64) as usize);
            let wait = KILL_EVERY_MS.start + dice.below(KILL_EVERY_MS.end - KILL_EVERY_MS.start);
            next_kill = Some(Instant::now() + Duration::from_millis(wait));
            kills += 1;
        }
        Ok(true)
    })?;
    Ok(runs)
}

/// So many chunks of these runs are settled, and at least one is begun.
fn has_come_to(universe: &Universe, runs: &[Run], settled: usize) -> bool {
    let found: usize = runs.iter().map(|run| universe.tape.records.settled_chunks(run.id())).sum();
    // The folder of a chunk's attempts stays when they are taken back.
    let is_begun = |run: &Run| {
        (0..FRAMES / GOP).any(|index| universe.object(&keys::attempts(run.id(), run.number, index)).exists())
    };
    found >= settled && (found > 0 || runs.iter().any(is_begun))
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
