//! An S3 store that errs, stalls, trickles, loses its answers, or does not keep its promises.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::faults::Harness;
use crate::faults::dice::Dice;
use crate::faults::kafka::Kafka;
use crate::faults::proxy_store::{Faults, StoreProxy};
use crate::faults::report::Board;
use crate::faults::run::{Order, Run, drive, nothing};
use crate::faults::universe::{Kind, Shape, Universe};

const JOBS: usize = 3;
/// How soon a role must have refused to start.
const REFUSED_LIMIT: Duration = Duration::from_secs(30);

pub fn errors(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    play(harness, name, seeds, board, |dice| Faults { errors: 0.15, dice, ..Faults::none() })
}

pub fn stalls(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    play(harness, name, seeds, board, |dice| Faults { stalls: 0.02, dice, ..Faults::none() })
}

pub fn slow(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    play(harness, name, seeds, board, |dice| Faults { slow: 0.2, dice, ..Faults::none() })
}

pub fn lost(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    play(harness, name, seeds, board, |dice| Faults { lost: 0.1, dice, ..Faults::none() })
}

fn play(
    harness: &Harness,
    name: &'static str,
    seeds: &[u64],
    board: &Board,
    faults: impl Fn(Dice) -> Faults + Sync,
) -> Result<()> {
    let kafka = harness.kafka.as_ref().context("the harness has a broker")?;
    let store = harness.runtime.block_on(StoreProxy::start(&harness.folder.join(format!("s3-{name}"))))?;
    // One store, and so one universe at a time: its faults have no owner.
    harness.each_universe(name, &kafka.direct(), seeds, JOBS, board, Some(store.place()), |universe, batch| {
        universe.reshape(&Shape::new(1, 2, 1))?;
        universe.wait_assigned(Kind::Worker)?;
        store.set(faults(Dice::new(*batch.first().context("a batch has seeds")?)));
        let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
        let mut runs = batch.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()?;
        drive(universe, &mut runs, nothing)?;
        let struck = store.struck();
        store.set(Faults::none());
        runs.iter_mut().for_each(|run| run.faults.extend((0..struck).map(|_| "a request spoilt".to_owned())));
        Ok(runs)
    })
}

/// Every role ends at once, says why, and has touched nothing.
pub fn heedless(harness: &Harness, name: &'static str, _: &[u64], board: &Board) -> Result<()> {
    let kafka: &Kafka = harness.kafka.as_ref().context("the harness has a broker")?;
    let store = harness.runtime.block_on(StoreProxy::start(&harness.folder.join(format!("s3-{name}"))))?;
    store.set(Faults { heedless: true, ..Faults::none() });
    let universe = Universe::make(harness, &kafka.direct(), name, Some(store.place()))?;
    for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
        let mut command = universe.command(kind.name());
        command.args(["--metrics", "off", "--store", &universe.place.url]);
        if kind == Kind::Worker {
            command.args(["--swapper", "none"]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let began = Instant::now();
        while child.try_wait()?.is_none() && began.elapsed() < REFUSED_LIMIT {
            std::thread::sleep(Duration::from_millis(20));
        }
        let is_running = child.try_wait()?.is_none();
        // Gone already is what is hoped for.
        let _ = child.kill();
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let mut wrong = Vec::new();
        if is_running {
            wrong.push(format!("{} runs on a store that ignores If-None-Match", kind.name()));
        } else if output.status.code().is_none_or(|code| code == 0) || !said.contains("If-None-Match") {
            let last = said.lines().last().unwrap_or("nothing").to_owned();
            wrong.push(format!("{} ended with {}, saying {last}", kind.name(), output.status));
        }
        board.add_bare(name, wrong);
    }
    ensure!(store.struck() == 0, "only conditions were spoilt");
    universe.close(false);
    Ok(())
}
