//! Chunks that can never be done, dead-lettered with the reason, and clips that are too damaged: their job fails, everything else
//! goes on.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::Stage;
use crate::faults::run::{Expect, Order, Run, drive, nothing};
use crate::faults::universe::{Kind, Shape};

/// Clips of so many frames are poison to lanes of `CRASH_LANE`.
const POISON_FRAMES: u64 = 97;
/// What a lane has for a chunk of them, at most, when it hangs.
const DEADLINE: Duration = Duration::from_secs(4);
/// What a good job takes at most when no bad one is there, on a busy machine.
const ALONE: Duration = Duration::from_secs(15);
/// Added to a poisonous job's name.
const POISON: &str = "bad";
/// What every dead letter tells of its origin, as Kafka Connect has it.
const HEADERS: [&str; 7] = [
    "__connect.errors.topic",
    "__connect.errors.partition",
    "__connect.errors.offset",
    "__connect.errors.stage",
    "__connect.errors.class.name",
    "__connect.errors.exception.class.name",
    "__connect.errors.exception.message",
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
        run.violations.extend(dead_letter(stage, run));
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
    Shape::new(1, 2, 1)
        .with("CRASH_LANE", &format!("{POISON_FRAMES}={action}"))
        .with("FACEMILL_WORKER__CHUNK_SECONDS", "2")
        .with("FACEMILL_WORKER__FRAME_SECONDS", "0.05")
        .with("FACEMILL_WORKER__LANE_MEMORY_MB", "256")
}

fn lane(stage: &mut Stage<'_>, seeds: &[u64], action: &str) -> Result<Vec<Run>> {
    play(stage, seeds, &shape(action), |_| Ok(()), dead_letter)
}

/// One good job beside each bad one, of which `wrong` tells what it did not come to.
fn play(
    stage: &mut Stage<'_>,
    seeds: &[u64],
    shape: &Shape,
    spoil: impl Fn(&Path) -> Result<()>,
    wrong: fn(&mut Stage<'_>, &Run) -> Vec<String>,
) -> Result<Vec<Run>> {
    stage.universe.reshape(shape)?;
    stage.universe.wait_assigned(Kind::Worker)?;
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
    let share = 3 * DEADLINE * seeds.len() as u32 + ALONE;
    for pair in runs.chunks_exact_mut(2) {
        let [bad, good] = pair else { continue };
        let late = too_late(bad.took(), good.took(), share);
        good.violations.extend(late);
    }
    Ok(runs)
}

/// A bad job may have the lanes for the three deaths of one of its chunks, after those of the bad jobs before it, and delays nobody beyond
/// its own end.
fn too_late(bad: Option<Duration>, good: Option<Duration>, share: Duration) -> Option<String> {
    let (bad, good) = (bad?, good?);
    match (bad > share, good > bad + ALONE) {
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
    (0..2).map(|number| stage.universe.log(Kind::Worker, number).matches("partitions revoked").count()).sum()
}

/// What is wrong with the dead letters of a poisonous job.
fn dead_letter(stage: &mut Stage<'_>, run: &Run) -> Vec<String> {
    if let Err(error) = stage.universe.tape.catch_up(facemill::contract::topics::DEAD_LETTERS) {
        return vec![format!("{error:#}")];
    }
    let letters = &stage.universe.tape.records.dead_letters;
    let Some(letter) = letters.iter().find(|letter| letter.value["job"] == run.id().as_str()) else {
        return vec![format!("{} has no dead letter", run.id())];
    };
    let missing = HEADERS.iter().filter(|header| !letter.headers.contains_key(**header));
    missing.map(|header| format!("the dead letter of {} has no {header}", run.id())).collect()
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
        let share = Duration::from_secs(27);
        let seconds = |bad, good| too_late(Some(Duration::from_secs(bad)), Some(Duration::from_secs(good)), share);
        assert_eq!((seconds(10, 3), seconds(10, 25), seconds(27, 42)), (None, None, None));
        assert!(seconds(28, 3).is_some_and(|told| told.contains("its share is 27s")));
        assert!(seconds(10, 26).is_some_and(|told| told.contains("took 26.0s")));
    }

    #[test]
    fn the_limit_is_inside_the_clip() {
        assert!((GOP..FRAMES).contains(&POISON_FRAMES));
    }
}
