//! Half an hour of chance: workers are killed and the broker is restarted while jobs keep coming.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Harness;
use super::dice::Dice;
use super::kafka::Kafka;
use super::report::Board;
use super::run::{Order, Run, drive};
use super::stage::look_back;
use super::universe::{Kind, Shape, Universe};

const NAME: &str = "soak";
/// Jobs under way at once in each universe.
const JOBS: usize = 3;
/// Seconds between kills of 1 of 3 workers.
const KILL_EVERY: (u64, u64) = (5, 20);
/// Seconds between deaths of the broker, and how long it is away.
const BROKER_EVERY: (u64, u64) = (60, 150);
const BROKER_DOWN: (u64, u64) = (5, 20);
/// Universes: each has three workers.
const UNIVERSES: usize = 2;
/// No recovery is measured: another fault comes before the last one is over.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// Runs for `time`, then lets all jobs become final.
pub fn run(harness: &Harness, seed: u64, time: Duration, board: &Board) -> Result<()> {
    let kafka = Kafka::start(&harness.folder.join("kafka-soak"), None, Kafka::free_port()?)?;
    let end = Instant::now() + time;
    // When the broker died last, for the universes to note.
    let deaths: Mutex<Vec<Instant>> = Mutex::default();
    std::thread::scope(|scope| {
        let players: Vec<_> = (0..harness.universes.min(UNIVERSES) as u64)
            .map(|number| {
                let (kafka, deaths) = (&kafka, &deaths);
                scope.spawn(move || universe(harness, kafka, seed + number, end, deaths, board))
            })
            .collect();
        let mut dice = Dice::new(seed);
        let mut controlled = Ok(());
        let mut next = Instant::now() + seconds(&mut dice, BROKER_EVERY);
        while Instant::now() < end && controlled.is_ok() {
            if Instant::now() >= next {
                controlled = kafka.kill();
                std::thread::sleep(seconds(&mut dice, BROKER_DOWN));
                controlled = controlled.and_then(|()| kafka.up());
                deaths.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                next = Instant::now() + seconds(&mut dice, BROKER_EVERY);
                board.progress(NAME);
            }
            controlled = controlled.and_then(|()| super::pause(Duration::from_millis(200)));
        }
        controlled.and(super::gather(players))
    })
}

fn seconds(dice: &mut Dice, (from, to): (u64, u64)) -> Duration {
    Duration::from_secs(from + dice.below(to - from))
}

fn universe(
    harness: &Harness,
    kafka: &Kafka,
    seed: u64,
    end: Instant,
    deaths: &Mutex<Vec<Instant>>,
    board: &Board,
) -> Result<()> {
    let mut universe = Universe::make(harness, &kafka.direct(), NAME, None)?;
    // A commit whose answer was lost with the broker is sent again, perhaps after a later one.
    universe.commits.may_go_back(true)?;
    universe.reshape(&Shape::new(1, 3, 1))?;
    universe.wait_assigned(Kind::Worker)?;
    let mut dice = Dice::new(seed);
    let mut next_kill = Instant::now() + seconds(&mut dice, KILL_EVERY);
    let mut next_seed = seed << 32;
    let mut noted = 0;
    let mut runs: Vec<Run> = Vec::new();
    let driven = drive(&mut universe, &mut runs, |universe, runs| {
        let known: Vec<Instant> = deaths.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for at in &known[noted..] {
            runs.iter_mut().for_each(|run| run.met_death("the broker was away", *at));
        }
        noted = known.len();
        // One at a time, so that the faults keep their times; all at the end would take as long as the soak.
        if let Some(run) = runs.iter_mut().find(|run| run.is_to_be_judged()) {
            run.judge(universe);
        }
        let is_over = Instant::now() >= end;
        let open = runs.iter().filter(|run| run.final_at.is_none()).count();
        if !is_over && open < JOBS {
            next_seed += 1;
            let order = Order::quick(&harness.tiny, &format!("{NAME}-{next_seed}"), next_seed);
            // The broker may be away: then later.
            if let Ok(mut run) = Run::submit(universe, order) {
                run.recovery_max = RECOVERY_MAX;
                runs.push(run);
            }
        }
        if !is_over && Instant::now() >= next_kill {
            universe.kill(Kind::Worker, dice.below(3) as usize);
            next_kill = Instant::now() + seconds(&mut dice, KILL_EVERY);
        }
        Ok(is_over)
    });
    board.add(NAME, &runs);
    match board.has_violations(NAME) || driven.is_err() {
        true => universe.close(true),
        false => look_back(universe, &runs, board),
    }
    driven
}
