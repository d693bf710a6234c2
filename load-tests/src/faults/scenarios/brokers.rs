//! The broker killed and started again, and answers of the broker that do not arrive.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::faults::dice::Dice;
use crate::faults::kafka::Kafka;
use crate::faults::proxy_broker::{BrokerProxy, OFFSET_COMMIT, PRODUCE, Rule};
use crate::faults::report::Board;
use crate::faults::run::{Order, Run, drive, nothing};
use crate::faults::universe::{Kind, Shape, Universe};
use crate::faults::{Harness, gather};

/// Jobs that each universe has under way when the broker dies.
const JOBS: usize = 3;
/// Seconds that the broker is away, from and to; its own start comes on top.
const DOWN_SECONDS: (u64, u64) = (1, 15);
/// Share of answers that are lost and that come late.
const LOST: f64 = 0.15;
const LATE: f64 = 0.3;
const LATE_BY: Duration = Duration::from_millis(800);

/// All universes lose the broker at the same moment.
pub fn restart(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    let data = harness.folder.join(format!("kafka-{name}"));
    let kafka = Kafka::start(&data, None, Kafka::free_port()?)?;
    let rounds: Vec<&[u64]> = seeds.chunks(JOBS * harness.universes).collect();
    let barrier = Barrier::new(harness.universes + 1);
    std::thread::scope(|scope| {
        let mut players = Vec::new();
        for number in 0..harness.universes {
            let (rounds, barrier, kafka) = (&rounds, &barrier, &kafka);
            players.push(scope.spawn(move || {
                let mut universe = Universe::make(harness, &kafka.direct(), name, None);
                let mut outcome = Ok(());
                for round in rounds {
                    let mine: Vec<u64> = round.iter().skip(number).step_by(harness.universes).copied().collect();
                    let submitted =
                        universe.as_mut().map_err(|error| anyhow::anyhow!("{error:#}")).and_then(|universe| {
                            universe.reshape(&Shape::new(1, 2, 1))?;
                            for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
                                universe.wait_assigned(kind)?;
                            }
                            let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
                            mine.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()
                        });
                    barrier.wait(); // everybody has submitted
                    barrier.wait(); // the broker is dead
                    let died = Instant::now();
                    barrier.wait(); // it is back
                    let back = Instant::now();
                    let played = submitted.and_then(|mut runs| {
                        let universe = universe.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                        for run in &mut runs {
                            run.met(&format!("broker away for {:.0} s", (back - died).as_secs_f64()), back);
                        }
                        drive(universe, &mut runs, nothing)?;
                        board.add(name, &runs);
                        Ok(())
                    });
                    outcome = outcome.and(played);
                }
                if let Ok(universe) = universe {
                    universe.close(board.has_violations(name));
                }
                outcome
            }));
        }
        let mut controlled = Ok(());
        for round in &rounds {
            let mut dice = Dice::new(round[0]);
            barrier.wait();
            // Somewhere between acceptance and the last join.
            std::thread::sleep(Duration::from_millis(dice.below(1500)));
            let killed = kafka.kill();
            barrier.wait();
            std::thread::sleep(Duration::from_secs(DOWN_SECONDS.0 + dice.below(DOWN_SECONDS.1 - DOWN_SECONDS.0)));
            let back = kafka.up();
            barrier.wait();
            controlled = controlled.and(killed).and(back);
        }
        controlled.and(gather(players))
    })
}

pub fn produce(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    answers(harness, name, seeds, board, PRODUCE)
}

pub fn commit(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    answers(harness, name, seeds, board, OFFSET_COMMIT)
}

/// A broker of its own behind a proxy.
fn answers(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board, api: i16) -> Result<()> {
    let port = Kafka::free_port()?;
    let proxy = harness.runtime.block_on(BrokerProxy::start(port))?;
    let kafka = Kafka::start(&harness.folder.join(format!("kafka-{name}")), Some(proxy.port), port)?;
    let address = kafka.address();
    harness.each_universe(name, &address, seeds, JOBS, board, None, |universe, batch| {
        universe.reshape(&Shape::new(1, 2, 1))?;
        universe.wait_assigned(Kind::Worker)?;
        let dice = Dice::new(*batch.first().context("a batch has seeds")?);
        proxy.rules.set(&universe.prefix, Rule { apis: vec![api], late: LATE, late_by: LATE_BY, lost: LOST, dice });
        let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
        let mut runs = batch.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()?;
        drive(universe, &mut runs, nothing)?;
        let struck = proxy.rules.struck(&universe.prefix);
        proxy.rules.clear(&universe.prefix);
        runs.iter_mut().for_each(|run| run.faults.extend((0..struck).map(|_| "an answer spoilt".to_owned())));
        Ok(runs)
    })
}
