//! A process stands still longer than its session and comes back when others have long taken its work.

use anyhow::Result;

use super::{Stage, turn};
use crate::faults::run::{Run, drive, nothing};
use crate::faults::universe::{Kind, Shape};

const WORKER_POINTS: [&str; 4] = ["worker.fetched", "worker.encode", "worker.uploaded", "worker.published"];
const ASSEMBLER_POINTS: [&str; 7] = [
    "assemble.counted",
    "assemble.join.mux",
    "assemble.output.signed",
    "assemble.output.announced",
    "assemble.output.put",
    "assemble.manifest.put",
    "assemble.audited",
];

pub fn worker(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stand_still(stage, seeds, &Shape::new(1, 2, 1), Kind::Worker, &WORKER_POINTS)
}

/// Its jobs go to the other one.
pub fn assembler(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stand_still(stage, seeds, &Shape::new(1, 2, 2), Kind::Assemble, &ASSEMBLER_POINTS)
}

fn stand_still(stage: &mut Stage<'_>, seeds: &[u64], shape: &Shape, kind: Kind, points: &[&str]) -> Result<Vec<Run>> {
    stage.universe.reshape(shape)?;
    let point = points[turn(seeds) % points.len()];
    // Which of the two gets the jobs is not known: either may stand still, the first of them for sure.
    for number in 0..2 {
        stage.universe.arm(kind, number, &[format!("{point}:1=stop")])?;
    }
    stage.universe.wait_assigned(kind)?;
    let mut runs = stage.submit(seeds)?;
    drive(stage.universe, &mut runs, nothing)?;
    Ok(runs)
}
