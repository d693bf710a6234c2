//! The same record again and again.

use anyhow::Result;
use facemill::contract::{ChunkRecord, topics};

use super::drains::computed_more_often;
use super::{Stage, turn};
use crate::faults::clip::{FRAMES, GOP};
use crate::faults::run::{Run, drive, nothing};
use crate::faults::universe::{Kind, Shape};

/// How often more than once.
const REPEATS: usize = 2;

pub fn jobs(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    stage.universe.wait_assigned(Kind::Ingest)?;
    let mut runs = stage.submit(seeds)?;
    for run in &runs {
        for _ in 0..REPEATS {
            stage.universe.publish(topics::JOBS, run.id().as_str(), &run.job)?;
        }
    }
    drive(stage.universe, &mut runs, nothing)?;
    Ok(runs)
}

/// All records of a job at once, as soon as they are all there. Two workers do not know of each other's chunks, but each of its own: none
/// computes a chunk twice, with however many lanes. Half of the seeds have one worker with two lanes, which computes each chunk once.
pub fn chunks(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let (workers, lanes) = if turn(seeds).is_multiple_of(2) { (2, 1) } else { (1, 2) };
    stage.universe.reshape(&Shape::new(1, workers, 1).with_lanes(lanes))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = stage.submit(seeds)?;
    let mut is_repeated = vec![false; runs.len()];
    drive(stage.universe, &mut runs, |universe, runs| {
        for (run, is_repeated) in runs.iter().zip(&mut is_repeated).filter(|(_, is_repeated)| !**is_repeated) {
            let chunks: Vec<ChunkRecord> = universe
                .tape
                .records
                .chunks
                .iter()
                .filter_map(|entry| entry.value.clone())
                .filter(|chunk| chunk.job == *run.id())
                .collect();
            if chunks.len() < (FRAMES / GOP) as usize {
                continue;
            }
            for chunk in chunks.iter().cycle().take(REPEATS * chunks.len()) {
                universe.publish(topics::CHUNKS, run.id().as_str(), chunk)?;
            }
            *is_repeated = true;
        }
        Ok(is_repeated.iter().all(|is_repeated| *is_repeated))
    })?;
    for run in &mut runs {
        let too_often = computed_more_often(stage.universe, run, workers as u32);
        let told =
            too_often.into_iter().map(|index| format!("D: {workers} workers have computed chunk {index} more often"));
        run.violations.extend(told);
    }
    Ok(runs)
}
