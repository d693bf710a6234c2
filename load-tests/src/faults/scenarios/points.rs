//! A role dies at a crash point (`src/crash.rs`); its successor, or its colleague, goes on.

use anyhow::Result;

use super::{Play, Scenario, Stage};
use crate::faults::run::{Order, Place, Run, drive, nothing};
use crate::faults::universe::{Kind, Shape};

/// Seeds of one batch.
const BATCH: usize = 2;

/// Only outputs with credentials beside them come there.
const SIDECAR_PUT: &str = "assemble.sidecar.put";
/// A job that comes there is final.
const MARKER_GONE: &str = "assemble.marker.gone";
/// Each role comes there once when it starts, as it tries the store.
const STAGED: &str = "store.staged";

/// Where a role dies.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub kind: Kind,
    pub place: &'static str,
    /// The seed chooses among the first so many times that a process comes there.
    pub hits: u64,
}

/// Scenario, role, place, hits, part of `--quick`. An ingest or an assembler passes most places once for each of the batch's jobs.
const POINTS: &[(&str, Kind, &str, u64, bool)] = &[
    ("ingest-received", Kind::Ingest, "ingest.received", 2, false),
    ("ingest-bound", Kind::Ingest, "ingest.bound", 2, false),
    ("ingest-opened", Kind::Ingest, "ingest.opened", 2, true),
    ("ingest-planned", Kind::Ingest, "ingest.planned", 2, false),
    ("ingest-run-put", Kind::Ingest, "ingest.run.put", 2, false),
    ("ingest-accepted", Kind::Ingest, "ingest.accepted", 2, false),
    ("ingest-slice-put", Kind::Ingest, "ingest.slice.put", 12, true),
    ("ingest-slices-put", Kind::Ingest, "ingest.slices.put", 2, false),
    ("ingest-chunk-published", Kind::Ingest, "ingest.chunk.published", 12, false),
    ("ingest-published", Kind::Ingest, "ingest.published", 2, false),
    ("ingest-finished", Kind::Ingest, "ingest.finished", 2, false),
    ("ingest-mid-put", Kind::Ingest, STAGED, 12, false),
    ("ingest-before-commit", Kind::Ingest, "broker.commit.before", 1, false),
    ("ingest-after-commit", Kind::Ingest, "broker.commit.after", 1, false),
    ("worker-received", Kind::Worker, "worker.received", 6, false),
    ("worker-attempted", Kind::Worker, "worker.attempted", 6, false),
    ("worker-fetched", Kind::Worker, "worker.fetched", 6, false),
    ("worker-decode", Kind::Worker, "worker.decode", 6, false),
    ("worker-infer", Kind::Worker, "worker.infer", 6, true),
    ("worker-encode", Kind::Worker, "worker.encode", 6, false),
    ("worker-mid-put", Kind::Worker, STAGED, 8, true),
    ("worker-uploaded", Kind::Worker, "worker.uploaded", 6, true),
    ("worker-published", Kind::Worker, "worker.published", 6, false),
    ("worker-finished", Kind::Worker, "worker.finished", 6, false),
    ("worker-before-commit", Kind::Worker, "broker.commit.before", 3, true),
    ("worker-after-commit", Kind::Worker, "broker.commit.after", 3, false),
    ("assemble-received", Kind::Assemble, "assemble.received", 16, false),
    ("assemble-counted", Kind::Assemble, "assemble.counted", 12, false),
    ("assemble-join-begun", Kind::Assemble, "assemble.join.begun", 2, false),
    ("assemble-mux", Kind::Assemble, "assemble.join.mux", 2, true),
    ("assemble-muxed", Kind::Assemble, "assemble.join.muxed", 2, false),
    ("assemble-signed", Kind::Assemble, "assemble.output.signed", 2, false),
    ("assemble-announced-file", Kind::Assemble, "assemble.output.announced", 2, false),
    ("assemble-output-staged", Kind::Assemble, "place.staged", 2, true),
    ("assemble-output-put", Kind::Assemble, "assemble.output.put", 2, true),
    ("assemble-sidecar-put", Kind::Assemble, SIDECAR_PUT, 2, true),
    ("assemble-mid-put", Kind::Assemble, STAGED, 2, false),
    ("assemble-manifest-put", Kind::Assemble, "assemble.manifest.put", 2, true),
    ("assemble-audited", Kind::Assemble, "assemble.audited", 2, true),
    ("assemble-announced", Kind::Assemble, "assemble.announced", 2, false),
    ("assemble-marker-gone", Kind::Assemble, MARKER_GONE, 1, false),
    ("assemble-before-commit", Kind::Assemble, "broker.commit.before", 3, false),
    ("assemble-after-commit", Kind::Assemble, "broker.commit.after", 3, false),
];

pub fn scenarios() -> Vec<Scenario> {
    let points = POINTS.iter().map(|(name, kind, place, hits, quick)| Scenario {
        name,
        about: place,
        batch: BATCH,
        must_meet: true,
        gives_up: false,
        quick: *quick,
        play: Play::At(Point { kind: *kind, place, hits: *hits }),
    });
    points.collect()
}

/// Each seed has a death of its own: of a worker each, or one after the other of the only ingest or assembler.
pub fn play(stage: &mut Stage<'_>, point: Point, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    let at_start = u64::from(point.place == STAGED);
    let trap = |seed: &u64| {
        // Whoever met nothing at first dies at the first chance.
        let hit = if stage.attempt == 0 { 1 + seed % point.hits } else { 1 };
        format!("{}:{}=kill", point.place, at_start + hit)
    };
    match point.kind {
        Kind::Worker => {
            for (number, seed) in seeds.iter().enumerate() {
                stage.universe.arm(Kind::Worker, number, &[trap(seed)])?;
            }
        }
        kind => stage.universe.arm(kind, 0, &seeds.iter().map(trap).collect::<Vec<_>>())?,
    }
    stage.universe.wait_assigned(point.kind)?;
    let order = |seed: &u64| match point.place {
        SIDECAR_PUT => Order { place: Place::TakenBesideCredentials, ..stage.order(*seed) },
        _ => stage.order(*seed),
    };
    let mut runs = seeds.iter().map(|seed| Run::submit(stage.universe, order(seed))).collect::<Result<Vec<Run>>>()?;
    if point.place == MARKER_GONE {
        // The death is noticed when the job that has brought it about is over.
        drive(stage.universe, &mut runs, |_, runs| {
            Ok(runs.iter().any(|run| !run.faults.is_empty() || !run.afterwards.is_empty()))
        })?;
        runs.iter_mut().for_each(Run::count_afterwards);
    } else {
        drive(stage.universe, &mut runs, nothing)?;
    }
    Ok(runs)
}
