//! The table of scenarios: one for each row of the faults that the system must survive, and one for each crash point.

mod brokers;
mod cancels;
mod corrupt;
mod disk;
mod drains;
mod kills;
pub mod points;
mod poison;
mod repeats;
mod stores;
mod topics;
mod upgrades;
mod zombies;

use anyhow::Result;

use super::Harness;
use super::report::Board;
use super::run::{Order, Run};
use super::universe::Universe;
use points::Point;

/// A universe lent to one batch of seeds.
pub struct Stage<'a> {
    pub harness: &'a Harness,
    pub universe: &'a mut Universe,
    pub scenario: &'static str,
    /// 0 at first, then how often these seeds were tried without meeting a fault.
    pub attempt: u32,
}

impl Stage<'_> {
    /// A quick job of this scenario.
    pub fn order(&self, seed: u64) -> Order<'_> {
        Order::quick(&self.harness.tiny, &self.job_name(seed), seed)
    }

    /// A job whose chunks take about a second.
    pub fn slow_order(&self, seed: u64) -> Order<'_> {
        Order { preset: "placebo", ..Order::quick(&self.harness.slow, &self.job_name(seed), seed) }
    }

    fn job_name(&self, seed: u64) -> String {
        match self.attempt {
            0 => format!("{}-{seed}", self.scenario),
            attempt => format!("{}-{seed}-{attempt}", self.scenario),
        }
    }

    /// Submits a quick job for each seed.
    pub fn submit(&self, seeds: &[u64]) -> Result<Vec<Run>> {
        seeds.iter().map(|seed| Run::submit(self.universe, self.order(*seed))).collect()
    }
}

/// Which batch of its scenario it is: what takes turns goes by that.
fn turn(seeds: &[u64]) -> usize {
    seeds[0] as usize / seeds.len()
}

/// How a scenario is played.
#[derive(Clone, Copy)]
pub enum Play {
    /// A role dies at a crash point; on a universe that others use before and after.
    At(Point),
    /// Anything that leaves its universe usable.
    Shared(fn(&mut Stage<'_>, &[u64]) -> Result<Vec<Run>>),
    /// The same where times are judged: few universes run beside it.
    Alone(fn(&mut Stage<'_>, &[u64]) -> Result<Vec<Run>>),
    /// What concerns the broker, or needs a store or a broker of its own.
    Own(fn(&Harness, &'static str, &[u64], &Board) -> Result<()>),
}

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Seeds played at once in one universe.
    pub batch: usize,
    /// Each run is to meet a fault; one that met none is played again.
    pub must_meet: bool,
    /// Roles may end by themselves, with a status: what they need is away, or chunks end them.
    pub gives_up: bool,
    /// Part of `--quick`.
    pub quick: bool,
    pub play: Play,
}

/// All scenarios in the order in which they are played.
pub fn all() -> Vec<Scenario> {
    let mut all = points::scenarios();
    let shared = |name, about, batch, must_meet, quick, play| Scenario {
        name,
        about,
        batch,
        must_meet,
        gives_up: false,
        quick,
        play: Play::Shared(play),
    };
    let alone = |name, about, batch, quick, play| Scenario {
        name,
        about,
        batch,
        must_meet: false,
        gives_up: false,
        quick,
        play: Play::Alone(play),
    };
    let own = |name, about, quick, play| Scenario {
        name,
        about,
        batch: 1,
        must_meet: false,
        gives_up: true,
        quick,
        play: Play::Own(play),
    };
    all.extend([
        shared("random-worker-kills", "SIGKILL 1 of 3 workers, again and again", 3, true, true, kills::workers),
        shared("random-role-kills", "SIGKILL any role, again and again", 3, true, false, kills::any),
        shared("two-assemblers", "two share the jobs; one of them is killed", 3, true, true, kills::assemblers),
        shared("zombie-worker", "SIGSTOP at 4 points beyond the session, then SIGCONT", 2, true, true, zombies::worker),
        shared(
            "zombie-assembler",
            "SIGSTOP at 4 points beyond the session, then SIGCONT",
            2,
            true,
            true,
            zombies::assembler,
        ),
        shared("rebalance-storm", "a worker joins or leaves every 3 s under 30 s chunks", 1, true, false, kills::storm),
        alone("poison-segv", "every chunk of a clip kills its lane by SIGSEGV", 2, true, poison::segv),
        alone("poison-hang", "every chunk of a clip hangs its lane", 2, false, poison::hang),
        alone("poison-memory", "every chunk of a clip eats all memory of its lane", 2, false, poison::memory),
        alone("poison-error", "a clip with spoilt pictures", 2, true, poison::error),
        Scenario {
            gives_up: true,
            ..shared(
                "poison-worker",
                "every chunk of a clip ends its worker, by an error that is not known to be the chunk's",
                1,
                false,
                false,
                poison::worker,
            )
        },
        shared("corrupt-slice", "bytes of slices flipped in the store", 2, false, true, corrupt::slice),
        shared(
            "corrupt-result",
            "bytes of results flipped in the store before they are joined",
            2,
            false,
            true,
            corrupt::result,
        ),
        shared("duplicate-jobs", "every job published three times", 2, false, true, repeats::jobs),
        shared("duplicate-chunks", "every chunk record published three times", 2, false, false, repeats::chunks),
        shared(
            "drain-long-grace",
            "SIGTERM mid-chunk: finished within the grace, nothing computed twice",
            1,
            false,
            true,
            drains::long,
        ),
        shared(
            "drain-zero-grace",
            "SIGTERM mid-chunk without grace: handed back at once",
            1,
            false,
            false,
            drains::zero,
        ),
        shared(
            "rolling-restart",
            "every role restarted by SIGTERM, one after the other",
            2,
            false,
            false,
            drains::rolling,
        ),
        shared(
            "rolling-upgrade",
            "workers of the next version beside the old ones, then every other role, while jobs run",
            2,
            false,
            false,
            upgrades::rolling,
        ),
        alone("cancel-mid-chunk", "cancelled while chunks are computed: final within 2 s", 1, true, cancels::mid_chunk),
        shared(
            "cancel-and-submit",
            "called off and submitted again while no assembler runs: the next run is done",
            2,
            true,
            true,
            cancels::and_submitted,
        ),
        shared("topic-grown", "partitions added to chunks while a job runs", 2, false, false, topics::grown),
        own("offsets-deleted", "committed offsets of the workers' group deleted", false, topics::forgotten),
        own("broker-restart", "kill -9 of the broker, 5 to 60 s down (1 to 8 s with --quick)", true, brokers::restart),
        own("lost-produce-answers", "answers to Produce lost or late", false, brokers::produce),
        own("lost-commit-answers", "answers to OffsetCommit lost or late", false, brokers::commit),
        own("store-errors", "500 and 503 from the store", false, stores::errors),
        own("store-stalls", "requests to the store stand still for seconds", false, stores::stalls),
        own("store-slow", "answers of the store trickle", false, stores::slow),
        own("store-lost-answers", "done by the store, but the answer is lost", true, stores::lost),
        own("store-heedless", "a store that ignores If-None-Match: roles refuse to start", true, stores::heedless),
        own("disk-full", "the store's disk fills up and is freed", false, disk::full),
    ]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_distinct_and_fit_into_job_ids() {
        let all = all();
        let names: HashSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        for name in names {
            format!("{name}-9999999999-9").parse::<facemill::contract::JobId>().unwrap();
        }
        assert!(all.iter().all(|scenario| scenario.batch >= 1));
    }
}
