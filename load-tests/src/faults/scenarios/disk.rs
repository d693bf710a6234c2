//! The disk of store and scratch fills up while a job runs, and is freed: the job becomes final, and no half object is ever there.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::faults::Harness;
use crate::faults::dice::Dice;
use crate::faults::report::Board;
use crate::faults::run::{Order, Run, drive};
use crate::faults::universe::{Kind, Place, Shape};

/// Room for a few jobs.
const SIZE: &str = "size=24m";
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(4);
const JOBS: usize = 2;

/// A small disk of its own; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder).output()?;
        ensure!(mounted.status.success(), "a tmpfs needs root: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        Ok(Self(folder.to_owned()))
    }

    /// Takes all room.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler())?;
        while file.write_all(&[7; 4096]).is_ok() {}
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still uses it keeps it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

pub fn full(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    let kafka = harness.kafka.as_ref().context("the harness has a broker")?;
    for (number, batch) in seeds.chunks(JOBS).enumerate() {
        let disk = match SmallDisk::mount(&harness.folder.join(format!("disk-{name}-{number}"))) {
            Ok(disk) => disk,
            Err(error) => {
                board.note(name, &format!("not played: {error:#}"));
                return Ok(());
            }
        };
        let store = disk.0.join("store");
        std::fs::create_dir_all(&store)?;
        let place = Place { url: format!("file://{}", store.display()), folder: store, settings: Vec::new() };
        harness.each_universe(name, &kafka.direct(), batch, JOBS, board, Some(place), |universe, batch| {
            let scratch = disk.0.join("scratch");
            universe.reshape(&Shape::new(1, 2, 1).with("FACEMILL_SCRATCH", &scratch.display().to_string()))?;
            for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
                universe.wait_assigned(kind)?;
            }
            let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
            let mut runs = batch.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()?;
            let mut dice = Dice::new(batch[0]);
            let wanted = dice.below(6) as usize;
            let mut full_since: Option<Instant> = None;
            let mut is_over = false;
            drive(universe, &mut runs, |universe, runs| {
                match full_since {
                    _ if is_over => {}
                    None if universe.tape.records.settled_chunks(runs[0].id()) >= wanted => {
                        disk.fill()?;
                        full_since = Some(Instant::now());
                    }
                    Some(since) if since.elapsed() > FULL_FOR => {
                        disk.free()?;
                        runs.iter_mut().for_each(|run| run.met("disk full", Instant::now()));
                        is_over = true;
                    }
                    _ => {}
                }
                Ok(is_over)
            })?;
            Ok(runs)
        })?;
    }
    Ok(())
}
