//! Chunks that can never be done, dead-lettered with the reason, and clips that are too damaged: their job fails, everything else
//! goes on.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use facemill::contract::{ChunkRecord, topics};

use super::Stage;
use crate::faults::run::{Expect, Order, Run, drive, nothing};
use crate::faults::tape::{DeadLetter, Entry, Records};
use crate::faults::universe::{Kind, Shape};

/// Clips of so many frames are poison to lanes of `CRASH_LANE`.
const POISON_FRAMES: u64 = 97;
/// What a lane has for a chunk of them, at most, when it hangs.
const DEADLINE: Duration = Duration::from_secs(4);
/// What a good job is given at least when no bad one is there; more where the first one, which is alone, is seen to be slow.
const ALONE: Duration = Duration::from_secs(15);
/// The machine may be so much busier later.
const BUSIER: u32 = 3;
/// Added to the name of a poisonous job, and of the one that runs before all others.
const POISON: &str = "bad";
const FIRST: &str = "first";
const WORKERS: usize = 2;
/// What a worker logs when a lane has died of a chunk (`src/worker/chunk.rs`).
const DEATH: &str = "a lane has died of this chunk";
/// Deaths of lanes that a chunk may cause, and attempts that may have come to nothing (`src/attempts.rs`).
const DEATHS: usize = 3;
const ATTEMPTS: u32 = 10;
/// Names of headers are those of Kafka Connect.
const TOPIC: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const MESSAGE: &str = "__connect.errors.exception.message";
/// What every dead letter tells of its origin.
const HEADERS: [&str; 7] = [
    TOPIC,
    PARTITION,
    OFFSET,
    "__connect.errors.stage",
    "__connect.errors.class.name",
    "__connect.errors.exception.class.name",
    MESSAGE,
];

pub fn segv(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    lane(stage, seeds, "segv")
}

pub fn hang(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    lane(stage, seeds, "hang")
}

pub fn memory(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    lane(stage, seeds, "memory")
}

/// Workers end one after the other, ten times for one chunk; then it is the chunk that is given up.
pub fn worker(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&shape("error").with("FACEMILL_STORE__PATIENCE_SECONDS", "1"))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = Vec::new();
    for seed in seeds {
        runs.extend(pair(stage, *seed, &|_| Ok(()))?);
    }
    drive(stage.universe, &mut runs, nothing)?;
    for run in runs.iter_mut().filter(|run| run.expect == Expect::Failed) {
        run.violations.extend(dead_letters(stage, run, is_of_workers));
    }
    Ok(runs)
}

/// A clip too many of whose pictures cannot be decoded: no lane dies of it, and no chunk is at fault.
pub fn error(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    let spoil = |clip: &Path| {
        let bytes = std::fs::read(clip)?;
        let mut spoilt = bytes.clone();
        // From the middle of the media data on, past the first keyframes.
        spoilt[bytes.len() / 2..bytes.len() / 2 + 4096].fill(0xff);
        Ok(std::fs::write(clip, spoilt)?)
    };
    play(stage, seeds, &shape("none"), spoil, told_of_damage)
}

fn shape(action: &str) -> Shape {
    Shape::new(1, WORKERS, 1)
        .with("CRASH_LANE", &format!("{POISON_FRAMES}={action}"))
        .with("FACEMILL_WORKER__CHUNK_SECONDS", "2")
        .with("FACEMILL_WORKER__FRAME_SECONDS", "0.05")
        .with("FACEMILL_WORKER__LANE_MEMORY_MB", "256")
}

fn lane(stage: &mut Stage<'_>, seeds: &[u64], action: &str) -> Result<Vec<Run>> {
    let mut runs = play(stage, seeds, &shape(action), |_| Ok(()), |stage, run| dead_letters(stage, run, is_of_lanes))?;
    let said = logs(stage);
    let by_worker: Vec<Vec<&str>> = said.iter().map(|log| deaths(log)).collect();
    let again: Vec<&str> = by_worker.iter().flat_map(|deaths| out_of_turn(deaths)).collect();
    for run in runs.iter_mut().filter(|run| run.expect == Expect::Failed) {
        let mark = format!("job={} ", run.job.job);
        let is_of_job = |chunk: &&&str| chunk.contains(&mark);
        let found = by_worker.iter().flatten().filter(is_of_job).count();
        if found < DEATHS {
            run.violations.push(format!("the logs tell of {found} deaths by {}", run.job.job));
        }
        let again = again.iter().filter(is_of_job);
        run.violations.extend(again.map(|chunk| format!("a lane has died of {chunk}, of others, and of it again")));
    }
    Ok(runs)
}

/// What the workers have said so far.
fn logs(stage: &Stage<'_>) -> [String; WORKERS] {
    std::array::from_fn(|number| stage.universe.log(Kind::Worker, number))
}

/// The chunks of which a worker's lane has died, in that order: what its log says between `chunk{` and `}`.
fn deaths(log: &str) -> Vec<&str> {
    let told = log.lines().filter(|line| line.contains(DEATH));
    told.filter_map(|line| Some(line.split_once("chunk{")?.1.split_once('}')?.0)).collect()
}

/// Those that come again after others. A lane tries a bad chunk as often as it may be tried, and others after that: so a bad job has it for
/// the deaths of one chunk and not of several in turn, however fast the machine is.
fn out_of_turn<'a>(deaths: &[&'a str]) -> Vec<&'a str> {
    let firsts = deaths.chunk_by(|one, next| one == next).map(|same| same[0]);
    let mut over = HashSet::new();
    firsts.filter(|chunk| !over.insert(*chunk)).collect()
}

/// One good job beside each bad one, of which `wrong` tells what it did not come to; and one before all of them.
fn play(
    stage: &mut Stage<'_>,
    seeds: &[u64],
    shape: &Shape,
    spoil: impl Fn(&Path) -> Result<()>,
    wrong: fn(&mut Stage<'_>, &Run) -> Vec<String>,
) -> Result<Vec<Run>> {
    stage.universe.reshape(shape)?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let order = stage.order(seeds[0]);
    let mut first = vec![Run::submit(stage.universe, Order { name: format!("{}-{FIRST}", order.name), ..order })?];
    drive(stage.universe, &mut first, nothing)?;
    // Judged and counted like any other.
    let alone = ALONE.max(BUSIER * first[0].took().unwrap_or_default());
    let revoked = revocations(stage);
    let mut runs = Vec::new();
    for seed in seeds {
        runs.extend(pair(stage, *seed, &spoil)?);
    }
    drive(stage.universe, &mut runs, nothing)?;
    let now = revocations(stage);
    for run in runs.iter_mut().filter(|run| run.expect == Expect::Failed) {
        if now != revoked {
            run.violations.push(format!("the workers' group rebalanced {} times", now - revoked));
        }
        run.violations.extend(wrong(stage, run));
    }
    for pair in runs.chunks_exact_mut(2) {
        let [bad, good] = pair else { continue };
        let late = too_late((bad.took(), good.took()), DEATHS as u32 * DEADLINE * seeds.len() as u32, alone);
        good.violations.extend(late);
    }
    runs.append(&mut first);
    Ok(runs)
}

/// A bad job may have the lanes for the deaths of one of its chunks, after those of the bad jobs before it, `deaths` in all; and delays nobody
/// beyond its own end. A job takes `alone` by itself.
fn too_late(took: (Option<Duration>, Option<Duration>), deaths: Duration, alone: Duration) -> Option<String> {
    let (bad, good) = (took.0?, took.1?);
    let share = deaths + alone;
    match (bad > share, good > bad + alone) {
        (true, _) => Some(format!("a bad job had the lanes for {bad:.1?}, its share is {share:?}")),
        (_, true) => Some(format!("a good job took {good:.1?} beside a bad one that was over after {bad:.1?}")),
        _ => None,
    }
}

/// Submits a bad job, and a good one beside it.
fn pair(stage: &Stage<'_>, seed: u64, spoil: &dyn Fn(&Path) -> Result<()>) -> Result<[Run; 2]> {
    let good = stage.order(seed);
    let name = format!("{}-{POISON}", good.name);
    let bad = Order { name, frame_limit: Some(POISON_FRAMES), expect: Expect::Failed, ..good.clone() };
    Ok([Run::submit_spoilt(stage.universe, bad, spoil)?, Run::submit(stage.universe, good)?])
}

/// How often workers lost partitions.
fn revocations(stage: &Stage<'_>) -> usize {
    logs(stage).iter().map(|log| log.matches("partitions revoked").count()).sum()
}

/// What is wrong with the dead letters of a poisonous job, and with the reason by which it has failed: `is_expected` knows that.
fn dead_letters(stage: &mut Stage<'_>, run: &Run, is_expected: fn(&str) -> bool) -> Vec<String> {
    let tape = &mut stage.universe.tape;
    if let Err(error) = tape.catch_up(topics::DEAD_LETTERS).and_then(|()| tape.catch_up(topics::CHUNKS)) {
        return vec![format!("{error:#}")];
    }
    let of_run = |letter: &&DeadLetter| letter.value["job"] == run.id().as_str();
    let letters: Vec<&DeadLetter> = tape.records.dead_letters.iter().filter(of_run).collect();
    if letters.is_empty() {
        return vec![format!("{} has no dead letter", run.id())];
    }
    let mut found: Vec<String> =
        letters.into_iter().flat_map(|letter| wrong_in(letter, &tape.records, run, is_expected)).collect();
    let reason = run.manifest().and_then(|manifest| manifest.reason).unwrap_or_default();
    if !is_expected(&reason) {
        found.push(format!("{} failed with {reason:?}", run.id()));
    }
    found
}

/// What is wrong with one of them.
fn wrong_in(letter: &DeadLetter, records: &Records, run: &Run, is_expected: fn(&str) -> bool) -> Vec<String> {
    let header = |name: &str| letter.headers.get(name).map(String::as_str).unwrap_or_default();
    let missing = HEADERS.iter().filter(|name| !letter.headers.contains_key(**name));
    let mut found: Vec<String> = missing.map(|name| format!("the dead letter of {} has no {name}", run.id())).collect();
    // Bare names, whatever stands before them on the brokers: who replays it may have another prefix.
    let is_from = |entry: &&Entry<ChunkRecord>| {
        entry.partition.to_string() == header(PARTITION) && entry.offset.to_string() == header(OFFSET)
    };
    let origin = records.chunks.iter().find(is_from).and_then(|entry| entry.value.as_ref());
    if header(TOPIC) != topics::CHUNKS || origin.is_none_or(|chunk| chunk.job != *run.id()) {
        let place = format!("{} {}/{}", header(TOPIC), header(PARTITION), header(OFFSET));
        found.push(format!("the dead letter of {} says that it comes from {place}", run.id()));
    }
    if !is_expected(header(MESSAGE)) {
        found.push(format!("the dead letter of {} says {:?}", run.id(), header(MESSAGE)));
    }
    found
}

/// A chunk is given up for the lanes that have died of it.
fn is_of_lanes(reason: &str) -> bool {
    reason.contains(&format!("of which {DEATHS} took their lane with them"))
}

/// A chunk is given up since its workers have ended, one after the other.
fn is_of_workers(reason: &str) -> bool {
    let attempts =
        reason.split_once("given up after ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok());
    attempts.is_some_and(|attempts| attempts >= ATTEMPTS) && reason.contains("of which none came to its end")
}

/// What is wrong with the reason by which a job with too much damage has failed.
fn told_of_damage(stage: &mut Stage<'_>, run: &Run) -> Vec<String> {
    let status = stage.universe.tape.records.status.get(run.id()).and_then(|entry| entry.value.as_ref());
    let reason = status.and_then(|status| status.reason.as_deref()).unwrap_or_default();
    match reason.contains("frames are damaged") {
        true => Vec::new(),
        false => vec![format!("{} failed with {reason:?}", run.id())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::clip::{FRAMES, GOP};

    #[test]
    fn a_bad_job_has_its_share_and_no_more() {
        let seconds = |bad, good| {
            let took = (Some(Duration::from_secs(bad)), Some(Duration::from_secs(good)));
            too_late(took, Duration::from_secs(12), Duration::from_secs(15))
        };
        assert_eq!((seconds(10, 3), seconds(10, 25), seconds(27, 42)), (None, None, None));
        assert!(seconds(28, 3).is_some_and(|told| told.contains("its share is 27s")));
        assert!(seconds(10, 26).is_some_and(|told| told.contains("took 26.0s")));
    }

    #[test]
    fn a_chunk_has_its_deaths_in_one_go() {
        let line =
            |chunk: &str| format!("2026 WARN chunk{{job=j-bad run=1 chunk={chunk}}}: {DEATH} chunk={chunk} error=x\n");
        let log = |chunks: &str| chunks.chars().map(|chunk| line(&chunk.to_string())).collect::<String>();
        let late = |chunks: &str| out_of_turn(&deaths(&log(chunks))).len();
        assert_eq!(deaths(&log("0")), ["job=j-bad run=1 chunk=0"]);
        assert_eq!((late(""), late("000111"), late("0001"), late("000100")), (0, 0, 0, 1));
        assert_eq!(late("010101"), 4, "in turn");
    }

    #[test]
    fn reasons_are_those_of_the_count_of_attempts() {
        let lanes = "chunk 3: given up after 3 attempts, of which 3 took their lane with them; the last time: it hung";
        let workers = "given up after 10 attempts, of which none came to its end; the last time: no space";
        assert_eq!((is_of_lanes(lanes), is_of_lanes(workers)), (true, false));
        assert_eq!((is_of_workers(lanes), is_of_workers(workers)), (false, true));
        assert!(!is_of_workers("given up after 9 attempts, of which none came to its end"));
    }

    #[test]
    fn the_limit_is_inside_the_clip() {
        assert!((GOP..FRAMES).contains(&POISON_FRAMES));
    }
}
