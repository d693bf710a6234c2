//! Bytes that change in the store: found by digest, never joined, made again.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use facemill::contract::{ChunkOutcome, ChunkRecord, JobEvent, keys};
use rustix::process::Signal;

use super::Stage;
use crate::faults::clip::{FRAMES, GOP};
use crate::faults::dice::Dice;
use crate::faults::run::{Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// Objects spoilt in each job, at most.
const SPOILT: usize = 2;
const CHUNKS: usize = (FRAMES / GOP) as usize;

/// Workers stand still (shorter than their session) until all slices are there and some of them are spoilt.
pub fn slice(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    spoil(stage, seeds, Kind::Worker, 2, |universe, run| {
        let of_run = |chunk: &&ChunkRecord| chunk.job == *run.id();
        let chunks: Vec<ChunkRecord> = universe
            .tape
            .records
            .chunks
            .iter()
            .filter_map(|entry| entry.value.as_ref())
            .filter(of_run)
            .cloned()
            .collect();
        let key =
            |chunk: &ChunkRecord| keys::slice(&chunk.clip, &chunk.cut, chunk.spec.span.start, chunk.spec.span.end);
        chunks.iter().map(|chunk| universe.object(&key(chunk))).collect()
    })
}

/// The assembler stands still until all results are there and some of them are spoilt.
pub fn result(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    spoil(stage, seeds, Kind::Assemble, 1, |universe, run| {
        let events = universe.tape.records.completions.iter().filter_map(|entry| entry.value.as_ref());
        let results = events.filter_map(|event| match event {
            JobEvent::Chunk { job, fingerprint, outcome: ChunkOutcome::Done { .. }, .. } if job == run.id() => {
                Some(universe.object(&keys::result(fingerprint)))
            }
            _ => None,
        });
        results.collect()
    })
}

fn spoil(
    stage: &mut Stage<'_>,
    seeds: &[u64],
    still: Kind,
    count: usize,
    objects: impl Fn(&Universe, &Run) -> Vec<PathBuf>,
) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
        stage.universe.wait_assigned(kind)?;
    }
    for number in 0..count {
        stage.universe.process(still, number)?.signal(Signal::STOP)?;
    }
    let mut runs = stage.submit(seeds)?;
    let mut dice = Dice::new(seeds[0]);
    let mut is_done = false;
    drive(stage.universe, &mut runs, |universe, runs| {
        if is_done {
            return Ok(true);
        }
        let found: Vec<Vec<PathBuf>> = runs.iter().map(|run| objects(universe, run)).collect();
        if found.iter().any(|objects| objects.len() < CHUNKS) {
            return Ok(false);
        }
        let mut all_stand = true;
        for number in 0..count {
            all_stand &= universe.process(still, number)?.is_stopped();
        }
        for (run, objects) in runs.iter_mut().zip(&found) {
            for _ in 0..SPOILT {
                let object = &objects[dice.below(objects.len() as u64) as usize];
                flip(object, &mut dice)?;
                if !all_stand {
                    // They have been let go, since this took longer than their session: it may have been read before.
                    universe.spoilt_late.insert(object.clone());
                }
                run.met(&format!("spoilt {}", object.display()), Instant::now());
            }
        }
        for number in 0..count {
            universe.go_on(still, number)?;
        }
        is_done = true;
        Ok(true)
    })?;
    Ok(runs)
}

/// Inverts one byte somewhere in the file.
fn flip(path: &Path, dice: &mut Dice) -> Result<()> {
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
    let place = dice.below(file.metadata()?.len());
    let mut byte = [0];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut byte)?;
    file.seek(SeekFrom::Start(place))?;
    Ok(file.write_all(&[!byte[0]])?)
}
