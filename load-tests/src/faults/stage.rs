//! Who plays what: batches of seeds on several universes at once.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::Harness;
use super::checker;
use super::report::Board;
use super::run::Run;
use super::scenarios::{Play, Scenario, Stage, points};
use super::universe::{Place, Universe};

/// How often seeds that met no fault are played again.
const ATTEMPTS: u32 = 3;
/// After so many batches a universe is replaced by a fresh one, so that reading its topics stays quick.
const BATCHES_OF_ONE: usize = 40;

/// Seeds of one scenario that are played at once.
struct Batch<'a> {
    scenario: &'a Scenario,
    seeds: Vec<u64>,
    attempt: u32,
}

/// What is to be played, and how much of each scenario is still under way.
struct Queue<'a> {
    batches: VecDeque<Batch<'a>>,
    left: HashMap<&'static str, usize>,
}

impl<'a> Queue<'a> {
    /// All batches of the scenarios that are played so.
    fn of(scenarios: &'a [Scenario], seeds: &[u64], is_played: impl Fn(&Play) -> bool) -> Self {
        let mut queue = Self { batches: VecDeque::new(), left: HashMap::new() };
        for scenario in scenarios.iter().filter(|scenario| is_played(&scenario.play)) {
            for seeds in seeds.chunks(scenario.batch) {
                queue.batches.push_back(Batch { scenario, seeds: seeds.to_vec(), attempt: 0 });
                *queue.left.entry(scenario.name).or_default() += 1;
            }
        }
        queue
    }
}

/// Plays all scenarios that share universes, on several of them side by side.
pub fn shared(harness: &Harness, scenarios: &[Scenario], seeds: &[u64], board: &Board) -> Result<()> {
    let queue = Queue::of(scenarios, seeds, |play| matches!(play, Play::At(_) | Play::Shared(_)));
    in_universes(harness, harness.universes, queue, board)
}

/// Universes side by side where time is judged: so few that each finds a processor free when it needs one.
const ALONE: usize = 3;

/// Plays all scenarios that want to be undisturbed.
pub fn alone(harness: &Harness, scenarios: &[Scenario], seeds: &[u64], board: &Board) -> Result<()> {
    in_universes(
        harness,
        ALONE.min(harness.universes),
        Queue::of(scenarios, seeds, |play| matches!(play, Play::Alone(_))),
        board,
    )
}

fn in_universes(harness: &Harness, count: usize, queue: Queue<'_>, board: &Board) -> Result<()> {
    let players = count.min(queue.batches.len());
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..players).map(|_| scope.spawn(|| player(harness, &queue, board))).collect();
        super::gather(players)
    })
}

fn lock<'a, 'q>(queue: &'a Mutex<Queue<'q>>) -> std::sync::MutexGuard<'a, Queue<'q>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plays batches until none is left.
fn player(harness: &Harness, queue: &Mutex<Queue<'_>>, board: &Board) -> Result<()> {
    let brokers = harness.kafka.as_ref().context("the harness has a broker")?.direct();
    let mut lent: Option<(Universe, Vec<Run>, usize)> = None;
    while let Some(batch) = { lock(queue).batches.pop_front() } {
        super::pause(std::time::Duration::ZERO)?;
        let (mut universe, mut past, batches) = match lent.take() {
            Some(lent) => lent,
            None => (Universe::make(harness, &brokers, "shared", None)?, Vec::new(), 0),
        };
        let name = batch.scenario.name;
        let played = play(harness, &mut universe, &batch);
        let is_over = match played {
            Ok(runs) => {
                let (met, unmet): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| {
                    let is_wrong = !run.violations.is_empty();
                    is_wrong || !run.faults.is_empty() || !batch.scenario.must_meet || batch.attempt + 1 >= ATTEMPTS
                });
                if !unmet.is_empty() {
                    let seeds = unmet.iter().map(|run| run.seed).collect();
                    let mut queue = lock(queue);
                    queue.batches.push_front(Batch { scenario: batch.scenario, seeds, attempt: batch.attempt + 1 });
                    *queue.left.entry(name).or_default() += 1;
                }
                board.add(name, &met);
                let is_wrong = met.iter().any(|run| !run.violations.is_empty());
                past.extend(met);
                is_wrong
            }
            Err(error) => {
                board.fault(name, &format!("seeds {:?} in {}: {error:#}", batch.seeds, universe.folder.display()));
                true
            }
        };
        if is_over {
            println!("      logs: {}", universe.folder.join("logs").display());
            universe.close(true);
        } else if batches + 1 >= BATCHES_OF_ONE {
            look_back(universe, &past, board);
        } else {
            lent = Some((universe, past, batches + 1));
        }
        let is_last = {
            let mut queue = lock(queue);
            let left = queue.left.entry(name).or_default();
            *left -= 1;
            *left == 0
        };
        if is_last {
            if batch.scenario.must_meet {
                board.check_met(name);
            }
            board.progress(name);
        }
    }
    if let Some((universe, past, _)) = lent {
        look_back(universe, &past, board);
    }
    Ok(())
}

fn play(harness: &Harness, universe: &mut Universe, batch: &Batch<'_>) -> Result<Vec<Run>> {
    let Batch { scenario, seeds, attempt } = batch;
    let mut stage = Stage { harness, universe, scenario: scenario.name, attempt: *attempt };
    let mut runs = match scenario.play {
        Play::At(point) => points::play(&mut stage, point, seeds)?,
        Play::Shared(play) | Play::Alone(play) => play(&mut stage, seeds)?,
        Play::Own(_) => Vec::new(), // not in the queue
    };
    for run in runs.iter_mut().filter(|run| run.gave_up > 0 && !scenario.gives_up) {
        run.violations.push(format!("J: roles ended by themselves, {} times, though nothing was away", run.gave_up));
    }
    Ok(runs)
}

/// When all that went on in the universe is over: M once more, and whether every object is whole. Ends it.
pub fn look_back(universe: Universe, past: &[Run], board: &Board) {
    let mut found: Vec<String> = past.iter().flat_map(|run| checker::unchanged(&universe, run)).collect();
    found.extend(checker::objects::broken(&universe));
    found.iter().for_each(|what| board.fault("looking back", what));
    universe.close(!found.is_empty());
}

impl Harness {
    /// Plays seeds in batches on universes at `brokers`: several side by side, or one at the given place.
    #[expect(clippy::too_many_arguments, reason = "the caller is a table of scenarios")]
    pub fn each_universe(
        &self,
        name: &'static str,
        brokers: &str,
        seeds: &[u64],
        batch: usize,
        board: &Board,
        place: Option<Place>,
        play: impl Fn(&mut Universe, &[u64]) -> Result<Vec<Run>> + Sync,
    ) -> Result<()> {
        let batches: Vec<&[u64]> = seeds.chunks(batch).collect();
        let count = if place.is_some() { 1 } else { self.universes.min(batches.len()) };
        std::thread::scope(|scope| {
            let (batches, place, play) = (&batches, &place, &play);
            let players: Vec<_> = (0..count)
                .map(|number| {
                    scope.spawn(move || {
                        let mut universe = Universe::make(self, brokers, name, place.clone())?;
                        let mut past = Vec::new();
                        for batch in batches.iter().skip(number).step_by(count) {
                            let runs = play(&mut universe, batch)?;
                            board.add(name, &runs);
                            past.extend(runs);
                        }
                        look_back(universe, &past, board);
                        Ok(())
                    })
                })
                .collect();
            super::gather(players)
        })
    }
}
