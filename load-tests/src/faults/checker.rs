//! Judges a run by what must hold under any fault (DESIGN.md): F J D U M L, and beyond them A, the audit, and C, the output's credentials.
//! Each finding begins with its letter.

pub mod commits;
pub mod frames;
pub mod objects;

use std::path::PathBuf;

use facemill::contract::{Digest, JobId, Manifest, State, keys};

use super::clip;
use super::run::{Delivered, Run, delivered, is_expected, manifest_key};
use super::universe::Universe;

/// The manifest's bytes and the output, once the manifest is there.
pub fn seal(universe: &Universe, run: &Run) -> Option<(Vec<u8>, Delivered)> {
    let bytes = std::fs::read(universe.object(&manifest_key(run))).ok()?;
    Some((bytes, delivered(&run.output())))
}

/// The open marker of a job stands.
pub fn is_open(universe: &Universe, job: &JobId) -> bool {
    let partitions = std::fs::read_dir(universe.object("open")).into_iter().flatten().flatten();
    partitions.into_iter().any(|partition| partition.path().join(job.as_str()).exists())
}

/// Everything that is wrong with a run that should be over.
pub fn judge(universe: &Universe, run: &Run) -> Vec<String> {
    let Some(manifest) = run.manifest() else {
        return vec![format!("J: {} has no manifest; {}", run.id(), standing(universe, run))];
    };
    let mut found = Vec::new();
    if run.final_at.is_none() {
        found.push(format!("J: {} has a manifest but {}", run.id(), standing(universe, run)));
    }
    if !is_expected(run.expect, manifest.state) {
        let reason = manifest.reason.clone().unwrap_or_default();
        found.push(format!("J: {} is {:?} ({reason}), expected {:?}", run.id(), manifest.state, run.expect));
    }
    if manifest.state == State::Done {
        found.extend(frames(run).into_iter().map(|what| format!("F: {}: {what}", run.id())));
        found.extend(counts(&manifest).into_iter().map(|what| format!("D: {}: {what}", run.id())));
        found.extend(credentials(universe, run).into_iter().map(|what| format!("C: {}: {what}", run.id())));
    } else if delivered(&run.output()) != run.before {
        found.push(format!("M: {} is {:?} and its output's place has changed", run.id(), manifest.state));
    }
    found.extend(unchanged(universe, run));
    found.extend(audited(universe, run, &manifest));
    if let Some(took) = run.recovery().filter(|took| *took > run.recovery_max) {
        let last = run.faults.last().cloned().unwrap_or_default();
        found.push(format!("L: {} took {:.1} s after {last}", run.id(), took.as_secs_f64()));
    }
    found
}

/// How far a run is that should be further.
fn standing(universe: &Universe, run: &Run) -> String {
    let status = universe.tape.records.status.get(run.id()).and_then(|entry| entry.value.as_ref());
    let state = status.map_or("no status".to_owned(), |status| format!("status {:?}", status.state));
    let settled = universe.tape.records.settled_chunks(run.id());
    let marker = if is_open(universe, run.id()) { "marker stands" } else { "no marker" };
    format!("{state}, {marker}, {settled} chunks settled, after: {}", run.faults.join("; "))
}

/// F: every frame once, in order, at its time, with all of the sound.
fn frames(run: &Run) -> Vec<String> {
    match clip::read(&run.output()) {
        Ok(output) => frames::compare(&run.source, &output, clock(run)),
        Err(error) => vec![format!("{error:#}")],
    }
}

/// What times an output of this kind can have.
fn clock(run: &Run) -> frames::Clock {
    let is_matroska = run.output().extension().is_some_and(|extension| extension == "mkv");
    if is_matroska { frames::Clock::MATROSKA } else { frames::Clock::EXACT }
}

/// C: the output's credentials, in it or beside it, are its own.
fn credentials(universe: &Universe, run: &Run) -> Vec<String> {
    match universe.command("verify").arg(run.output()).output() {
        Ok(verified) if verified.status.success() => Vec::new(),
        Ok(verified) => vec![String::from_utf8_lossy(&[verified.stdout, verified.stderr].concat()).into_owned()],
        Err(error) => vec![error.to_string()],
    }
}

/// D: every chunk counted once.
fn counts(manifest: &Manifest) -> Vec<String> {
    let totals = &manifest.totals;
    let mut found = Vec::new();
    if totals.chunks_done + totals.chunks_reused != totals.chunks {
        let (done, reused, all) = (totals.chunks_done, totals.chunks_reused, totals.chunks);
        found.push(format!("{done} chunks done and {reused} reused of {all}"));
    }
    if totals.frames_done != totals.frames {
        found.push(format!("{} frames done of {}", totals.frames_done, totals.frames));
    }
    found
}

/// A: every run that has ended is written down, once when repetitions are left out, and as it has ended.
fn audited(universe: &Universe, run: &Run, manifest: &Manifest) -> Vec<String> {
    let records = universe.tape.records.audited(run.id());
    let of_runs: Vec<u32> = records.iter().map(|record| record.run).collect();
    let (Some(record), true) = (records.last(), of_runs == Vec::from_iter(1..=run.number)) else {
        return vec![format!("A: {} has audit records of runs {of_runs:?}", run.id())];
    };
    let mut found = Vec::new();
    if (record.run, record.state, &record.reason) != (manifest.run, manifest.state, &manifest.reason) {
        found.push(format!("A: the audit says that {} is {:?} ({:?})", run.id(), record.state, record.reason));
    }
    let delivered = std::fs::read(run.output()).ok().map(|output| Digest::of(&output));
    let recorded = record.output.as_ref().and_then(|output| output.sha256);
    if manifest.state == State::Done && recorded != delivered {
        found.push(format!("A: the audit has another digest for the output of {}", run.id()));
    }
    found
}

/// M: the manifest and the output are what they were when they were first seen, and there is no second manifest.
pub fn unchanged(universe: &Universe, run: &Run) -> Vec<String> {
    let Some(first) = &run.sealed else { return Vec::new() };
    let mut found = Vec::new();
    match seal(universe, run) {
        None => found.push(format!("M: the manifest of {} is gone", run.id())),
        Some(now) if now.0 != first.0 => found.push(format!("M: the manifest of {} has changed", run.id())),
        Some(now) if now.1 != first.1 => {
            found.push(format!("M: the output of {} has changed, or what is beside it", run.id()))
        }
        Some(_) => {}
    }
    let manifests = manifests(universe, run.id());
    if manifests.len() > run.number as usize {
        found.push(format!("M: {} has {} manifests", run.id(), manifests.len()));
    }
    found
}

fn manifests(universe: &Universe, job: &JobId) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(universe.object(&keys::runs(job))).into_iter().flatten().flatten();
    runs.map(|run| run.path().join("manifest.json")).filter(|manifest| manifest.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use facemill::contract::Totals;

    fn manifest(totals: Totals) -> Manifest {
        Manifest {
            v: 1,
            job: "j".parse().unwrap(),
            run: 1,
            content: Digest::of(b""),
            submission: String::new(),
            state: State::Done,
            reason: None,
            refused: false,
            decisions: None,
            output: None,
            totals,
            warnings: Vec::new(),
            labels: Default::default(),
            ended_at: 0,
        }
    }

    #[test]
    fn every_chunk_and_frame_is_counted_once() {
        let good =
            Totals { frames: 160, frames_done: 160, chunks: 8, chunks_done: 6, chunks_reused: 2, ..Totals::default() };
        assert!(counts(&manifest(good.clone())).is_empty());
        assert_eq!(counts(&manifest(Totals { chunks_reused: 3, ..good.clone() })).len(), 1);
        assert_eq!(counts(&manifest(Totals { frames_done: 180, ..good })).len(), 1);
    }
}
