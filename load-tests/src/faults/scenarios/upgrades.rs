//! A rolling upgrade while jobs run: workers of the next version come beside the old ones, then ingest and assembler are replaced, and
//! the old workers leave when their jobs are done.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use facemill::contract::JobId;

use super::Stage;
use crate::faults::run::{Order, Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// Added to the names of jobs that are submitted after ingest was replaced.
const LATER: &str = "later";

/// Workers 0 and 1 are old, 2 and 3 new.
fn shape(workers: usize, upgraded: &[(Kind, usize)]) -> Shape {
    let mut shape = Shape::new(1, workers, 1).with("FACEMILL_WORKER__GRACE_SECONDS", "60");
    shape.upgraded = upgraded.to_vec();
    shape
}

pub fn rolling(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    use Kind::{Assemble, Ingest, Worker};
    let steps: [(&str, Shape, Kind); 3] = [
        ("new workers came", shape(4, &[(Worker, 2), (Worker, 3)]), Worker),
        ("ingest is new", shape(4, &[(Worker, 2), (Worker, 3), (Ingest, 0)]), Ingest),
        ("the assembler is new", shape(4, &[(Worker, 2), (Worker, 3), (Ingest, 0), (Assemble, 0)]), Assemble),
    ];
    stage.universe.reshape(&shape(2, &[]))?;
    for kind in [Ingest, Worker, Assemble] {
        stage.universe.wait_assigned(kind)?;
    }
    let mut runs =
        seeds.iter().map(|seed| Run::submit(stage.universe, stage.slow_order(*seed))).collect::<Result<Vec<Run>>>()?;
    let count = runs.len();
    let clip = &stage.harness.tiny;
    let mut later: Vec<(u64, String)> =
        seeds.iter().map(|seed| (*seed, format!("{}-{LATER}", stage.order(*seed).name))).collect();
    let mut steps = steps.into_iter();
    let mut old_left = false;
    drive(stage.universe, &mut runs, |universe, runs| {
        if universe.tape.records.settled_chunks(runs[0].id()) == 0 {
            return Ok(false);
        }
        if let Some((what, shape, kind)) = steps.next() {
            universe.reshape(&shape)?;
            universe.wait_assigned(kind)?;
            runs.iter_mut().for_each(|run| run.met(what, Instant::now()));
            return Ok(false);
        }
        for (seed, name) in later.drain(..) {
            runs.push(Run::submit(universe, Order::quick(clip, &name, seed))?);
        }
        if !old_left && runs[..count].iter().all(|run| run.final_at.is_some()) {
            universe.reshape(&shape(
                4,
                &[(Worker, 0), (Worker, 1), (Worker, 2), (Worker, 3), (Ingest, 0), (Assemble, 0)],
            ))?;
            runs.iter_mut().for_each(|run| run.met("the old workers have left", Instant::now()));
            old_left = true;
        }
        Ok(old_left)
    })?;
    let (old, later) = runs.split_at_mut(count);
    for (old, later) in old.iter_mut().zip(later) {
        let (of_old, of_later) = (groups(stage.universe, old.id()), groups(stage.universe, later.id()));
        if of_old.len() != 1 || of_later.len() != 1 || of_old == of_later {
            later.violations.push(format!("workers of {of_old:?} before and of {of_later:?} after the upgrade"));
        }
    }
    Ok(runs)
}

/// The groups that a job's chunks were for.
fn groups<'a>(universe: &'a Universe, job: &JobId) -> BTreeSet<&'a str> {
    let chunks = universe.tape.records.chunks.iter().filter_map(|entry| entry.value.as_ref());
    chunks.filter(|chunk| chunk.job == *job).map(|chunk| chunk.group.as_str()).collect()
}
