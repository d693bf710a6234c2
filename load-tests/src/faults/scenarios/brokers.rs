//! The broker killed and started again, and answers of the broker that do not arrive.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::faults::checker;
use crate::faults::clip::FRAMES;
use crate::faults::dice::Dice;
use crate::faults::kafka::Kafka;
use crate::faults::proxy_broker::{BrokerProxy, OFFSET_COMMIT, PRODUCE, Rule};
use crate::faults::report::Board;
use crate::faults::run::{Order, Run, drive, nothing};
use crate::faults::stage::look_back;
use crate::faults::universe::{Kind, Shape, Universe};
use crate::faults::{Harness, gather};

/// Jobs that each universe has under way while answers are spoilt.
const JOBS: usize = 3;
/// Universes at most, each with a job under way when the broker dies: so that twenty seeds see it die several times.
const UNIVERSES: usize = 5;
/// The broker dies so soon after the jobs were submitted, ms: chunks take a second each, and no job is over by then.
const DIES_WITHIN_MS: u64 = 4000;
const LINGER: &str = "linger:1";
/// Seconds that the broker is away, from and to; its own start comes on top. Long and short ones take turns, so that twenty seeds take
/// some minutes only.
const DOWN_LONG: (u64, u64) = (40, 60);
const DOWN_SHORT: (u64, u64) = (5, 12);
const DOWN_QUICK: (u64, u64) = (1, 8);
/// Share of answers that are lost and that come late.
const LOST: f64 = 0.15;
const LATE: f64 = 0.3;
const LATE_BY: Duration = Duration::from_millis(800);

/// All universes lose the broker at the same moment.
pub fn restart(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    let data = harness.folder.join(format!("kafka-{name}"));
    let kafka = Kafka::start(&data, None, Kafka::free_port()?)?;
    let universes = harness.universes.min(UNIVERSES);
    let rounds: Vec<&[u64]> = seeds.chunks(universes).collect();
    let barrier = Barrier::new(universes + 1);
    std::thread::scope(|scope| {
        let mut players = Vec::new();
        for number in 0..universes {
            let (rounds, barrier, kafka) = (&rounds, &barrier, &kafka);
            players.push(scope.spawn(move || {
                let mut universe = Universe::make(harness, &kafka.direct(), name, None).and_then(|universe| {
                    // A commit whose answer was lost with the broker is sent again, perhaps after a later one.
                    universe.commits.may_go_back(true)?;
                    Ok(universe)
                });
                let mut outcome = Ok(());
                let mut past = Vec::new();
                for round in rounds {
                    let mine: Vec<u64> = round.get(number).copied().into_iter().collect();
                    let ready = universe.as_mut().map_err(|error| anyhow::anyhow!("{error:#}")).and_then(|universe| {
                        let lingering = format!("{FRAMES}={LINGER}");
                        universe.reshape(&Shape::new(1, 2, 1).with("CRASH_LANE", &lingering))?;
                        for kind in [Kind::Ingest, Kind::Worker, Kind::Assemble] {
                            universe.wait_assigned(kind)?;
                        }
                        Ok(universe)
                    });
                    barrier.wait(); // everybody is ready
                    let submitted = ready.and_then(|universe| {
                        let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
                        mine.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()
                    });
                    barrier.wait(); // everybody has submitted
                    barrier.wait(); // the broker is dead
                    let died = Instant::now();
                    let is_over = match (&universe, &submitted) {
                        (Ok(universe), Ok(runs)) => over(universe, runs),
                        _ => Vec::new(),
                    };
                    barrier.wait(); // it is back
                    let back = Instant::now();
                    let played = submitted.and_then(|mut runs| {
                        let universe = universe.as_mut().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                        for run in runs.iter_mut().filter(|run| !is_over.contains(&run.seed)) {
                            run.met_death(&format!("broker away for {:.0} s", (back - died).as_secs_f64()), back);
                        }
                        drive(universe, &mut runs, nothing)?;
                        board.add(name, &runs);
                        past.extend(runs);
                        Ok(())
                    });
                    outcome = outcome.and(played);
                }
                match universe {
                    Ok(universe) if board.has_violations(name) => universe.close(true),
                    Ok(universe) => look_back(universe, &past, board),
                    Err(_) => {} // told of with the first round
                }
                outcome
            }));
        }
        let mut controlled = Ok(());
        for (number, round) in rounds.iter().enumerate() {
            let mut dice = Dice::new(round[0]);
            barrier.wait();
            barrier.wait();
            // Somewhere between acceptance and the last join.
            std::thread::sleep(Duration::from_millis(dice.below(DIES_WITHIN_MS)));
            let killed = kafka.kill();
            barrier.wait();
            std::thread::sleep(down(harness.is_quick, number, &mut dice));
            let back = kafka.up();
            barrier.wait();
            controlled = controlled.and(killed).and(back);
        }
        controlled.and(gather(players))
    })
}

/// Seeds whose jobs are over already: they do not meet what comes now.
fn over(universe: &Universe, runs: &[Run]) -> Vec<u64> {
    let is_over = |run: &&Run| checker::seal(universe, run).is_some() && !checker::is_open(universe, run.id());
    runs.iter().filter(is_over).map(|run| run.seed).collect()
}

/// How long the broker is away in a round.
fn down(is_quick: bool, round: usize, dice: &mut Dice) -> Duration {
    let (from, to) = match (is_quick, round % 2) {
        (true, _) => DOWN_QUICK,
        (false, 0) => DOWN_LONG,
        (false, _) => DOWN_SHORT,
    };
    Duration::from_secs(from + dice.below(to - from + 1))
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
        // A commit whose answer was lost is sent again, after later ones that were under way with it.
        universe.commits.may_go_back(api == OFFSET_COMMIT)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_away_for_as_long_as_is_told() {
        let seconds = |is_quick, round| {
            let mut dice = Dice::new(7);
            let drawn: Vec<u64> = (0..1000).map(|_| down(is_quick, round, &mut dice).as_secs()).collect();
            (drawn.iter().min().copied(), drawn.iter().max().copied())
        };
        assert_eq!(seconds(false, 0), (Some(40), Some(60)));
        assert_eq!(seconds(false, 1), (Some(5), Some(12)));
        assert_eq!(seconds(true, 0), (Some(1), Some(8)));
    }
}
