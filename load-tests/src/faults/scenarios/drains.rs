//! SIGTERM: what is in work is finished or handed back, and nothing is computed twice when the grace suffices.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use facemill::contract::ChunkOutcome;

use super::{Stage, turn};
use crate::faults::clip::FRAMES;
use crate::faults::run::{Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// How long chunks of two jobs take that linger, on two workers, and what a restart takes.
const LINGERING_MAX: Duration = Duration::from_secs(60);
/// How soon a worker without grace is gone: it kills its lane, commits and leaves the group.
const AT_ONCE: Duration = Duration::from_secs(5);

pub fn long(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let mut runs = terminate(stage, seeds, "60")?;
    for run in &mut runs {
        let twice = computed_twice(stage.universe, run);
        run.violations.extend(twice.into_iter().map(|index| format!("chunk {index} was computed twice")));
    }
    Ok(runs)
}

pub fn zero(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    terminate(stage, seeds, "0")
}

/// One of two workers is terminated while it computes.
fn terminate(stage: &mut Stage<'_>, seeds: &[u64], grace: &str) -> Result<Vec<Run>> {
    let shape = Shape::new(1, 2, 1).with("FACEMILL_WORKER__GRACE_SECONDS", grace);
    stage.universe.reshape(&shape)?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let orders: Result<Vec<Run>> =
        seeds.iter().map(|seed| Run::submit(stage.universe, stage.slow_order(*seed))).collect();
    let mut runs = orders?;
    let mut is_done = false;
    drive(stage.universe, &mut runs, |universe, runs| {
        if is_done || universe.tape.records.settled_chunks(runs[0].id()) == 0 {
            return Ok(is_done);
        }
        is_done = true;
        let began = Instant::now();
        runs[0].met("SIGTERM of worker-0", began);
        let status = universe.restart(Kind::Worker, 0)?;
        if status.code() != Some(0) {
            runs[0].violations.push(format!("the drained worker {}", crate::faults::process::describe(status)));
        }
        if grace == "0" && began.elapsed() > AT_ONCE {
            runs[0].violations.push(format!("without grace, gone only after {:?}", began.elapsed()));
        }
        Ok(true)
    })?;
    Ok(runs)
}

/// Chunks of a job of which more than one completion tells of work.
pub fn computed_twice(universe: &Universe, run: &Run) -> Vec<u32> {
    computed_more_often(universe, run, 1)
}

/// Chunks of a job of which more than `times` completions tell of work.
pub fn computed_more_often(universe: &Universe, run: &Run, times: u32) -> Vec<u32> {
    let mut computed: HashMap<u32, u32> = HashMap::new();
    for (job, _, index, outcome) in universe.tape.records.settled() {
        let is_work = matches!(outcome, ChunkOutcome::Done { seconds, .. } if seconds.contains_key("encode"));
        if job == run.id() && is_work {
            *computed.entry(index).or_default() += 1;
        }
    }
    computed.into_iter().filter(|(_, found)| *found > times).map(|(index, _)| index).collect()
}

/// Every role is replaced while jobs run.
pub fn rolling(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    // Long enough to be in work when their partitions move to the worker that is new.
    let lingering = format!("{FRAMES}=linger:6");
    let shape = Shape::new(1, 2, 1).with("FACEMILL_WORKER__GRACE_SECONDS", "60").with("CRASH_LANE", &lingering);
    stage.universe.reshape(&shape.with_lanes(1 + turn(seeds) % 2))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = stage.submit(seeds)?;
    runs.iter_mut().for_each(|run| run.recovery_max = LINGERING_MAX);
    let mut next = vec![(Kind::Assemble, 0), (Kind::Ingest, 0), (Kind::Worker, 1), (Kind::Worker, 0)];
    drive(stage.universe, &mut runs, |universe, runs| {
        let is_under_way = universe.tape.records.settled_chunks(runs[0].id()) > 0;
        if !is_under_way {
            return Ok(false);
        }
        let Some((kind, number)) = next.pop() else { return Ok(true) };
        let what = format!("SIGTERM of {}-{number}", kind.name());
        runs.iter_mut().for_each(|run| run.met(&what, Instant::now()));
        let status = universe.restart(kind, number)?;
        if status.code() != Some(0) {
            runs[0].violations.push(format!("{what}: {}", crate::faults::process::describe(status)));
        }
        universe.wait_assigned(kind)?;
        Ok(next.is_empty())
    })?;
    for run in &mut runs {
        let twice = computed_twice(stage.universe, run);
        run.violations.extend(twice.into_iter().map(|index| format!("chunk {index} was computed twice")));
    }
    Ok(runs)
}
