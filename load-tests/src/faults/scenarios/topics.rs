//! Topics and offsets that change under the roles' feet.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use facemill::contract::topics;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;

use super::Stage;
use crate::faults::Harness;
use crate::faults::checker::commits::workers;
use crate::faults::report::Board;
use crate::faults::run::{Order, Run, drive};
use crate::faults::universe::{Kind, Shape, Universe};

/// Jobs of which some chunks are settled already.
const JOBS: usize = 2;
/// How long a group may take to be empty.
const EMPTY_LIMIT: Duration = Duration::from_secs(15);

fn admin(universe: &Universe) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", &universe.brokers).create()?)
}

/// Two partitions more with each batch.
pub fn grown(stage: &mut Stage<'_>, seeds: &[u64]) -> Result<Vec<Run>> {
    stage.universe.reshape(&Shape::new(1, 2, 1))?;
    stage.universe.wait_assigned(Kind::Worker)?;
    let mut runs = stage.submit(seeds)?;
    let runtime = stage.harness.runtime.handle().clone();
    let mut is_grown = false;
    drive(stage.universe, &mut runs, |universe, runs| {
        if !is_grown {
            let admin = admin(universe)?;
            let topic = format!("{}{}", universe.prefix, topics::CHUNKS);
            let metadata = admin.inner().fetch_metadata(Some(&topic), EMPTY_LIMIT)?;
            let count = metadata.topics().first().context("the topic is known")?.partitions().len();
            let more = [NewPartitions::new(&topic, count + 2)];
            let answers = runtime.block_on(admin.create_partitions(&more, &AdminOptions::new()))?;
            for answer in answers {
                answer.map_err(|(topic, code)| anyhow!("{topic} did not grow: {code}"))?;
            }
            universe.tape.assign()?;
            runs.iter_mut().for_each(|run| run.met("chunks grew", Instant::now()));
            is_grown = true;
        }
        Ok(true)
    })?;
    Ok(runs)
}

/// The workers' group is deleted while no worker runs: they begin at the beginning. On universes of its own, since how long that takes
/// depends on how much was there before.
pub fn forgotten(harness: &Harness, name: &'static str, seeds: &[u64], board: &Board) -> Result<()> {
    let kafka = harness.kafka.as_ref().context("the harness has a broker")?;
    harness.each_universe(name, &kafka.direct(), seeds, JOBS, board, None, |universe, batch| {
        forget(harness, name, universe, batch)
    })
}

fn forget(harness: &Harness, name: &str, universe: &mut Universe, seeds: &[u64]) -> Result<Vec<Run>> {
    universe.reshape(&Shape::new(1, 2, 1))?;
    universe.wait_assigned(Kind::Worker)?;
    let order = |seed: &u64| Order::quick(&harness.tiny, &format!("{name}-{seed}"), *seed);
    let mut runs = seeds.iter().map(|seed| Run::submit(universe, order(seed))).collect::<Result<Vec<Run>>>()?;
    let runtime = harness.runtime.handle().clone();
    let mut is_forgotten = false;
    drive(universe, &mut runs, |universe, runs| {
        if is_forgotten || universe.tape.records.settled_chunks(runs[0].id()) == 0 {
            return Ok(is_forgotten);
        }
        universe.reshape(&Shape::new(1, 0, 1))?;
        let workers = workers(&universe.tape.records);
        let group = format!("{}{}", universe.prefix, workers.first().context("a chunk is settled")?);
        let admin = admin(universe)?;
        universe.commits.may_go_back(true)?;
        let began = Instant::now();
        loop {
            let answers = runtime.block_on(admin.delete_groups(&[&group], &AdminOptions::new()))?;
            match answers.into_iter().next() {
                Some(Err((_, code))) if began.elapsed() > EMPTY_LIMIT => return Err(anyhow!("{group}: {code}")),
                Some(Err(_)) => std::thread::sleep(Duration::from_millis(200)),
                _ => break,
            }
        }
        // Nobody commits anything yet.
        universe.commits.may_go_back(false)?;
        runs.iter_mut().for_each(|run| run.met("offsets deleted", Instant::now()));
        universe.reshape(&Shape::new(1, 2, 1))?;
        is_forgotten = true;
        Ok(true)
    })?;
    Ok(runs)
}
