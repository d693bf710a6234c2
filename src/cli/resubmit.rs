//! `facemill resubmit`: plans a job anew, by what is running now. Its finished chunks are reused as far as they still fit.

use anyhow::{Context, Result};
use tracing::info;

use crate::broker::Producer;
use crate::config::Config;
use crate::contract::{Job, State, keys, partition_of, topics};
use crate::local;
use crate::seal;
use crate::site;
use crate::store::StoreError;

use super::Exit;
use super::args::Resubmit;
use super::cancel::cancel;
use super::role::{broker, store};
use super::status::line;

/// Largest job that is read, bytes.
const JOB_MAX: u64 = 1 << 20;

/// Runs the command.
pub async fn run(args: Resubmit, config: Config) -> Result<Exit> {
    let job = match args.job.job() {
        Ok(job) => job,
        Err(exit) => return Ok(exit),
    };
    let broker = broker(&config, "resubmit")?;
    let store = store(&config).await?;
    let record = match store.get(&keys::job(&job), JOB_MAX).await {
        Err(StoreError::NotFound { .. }) => {
            eprintln!("facemill: {job} is not known to the store: it was never accepted, or is long gone; submit it");
            return Ok(Exit::Failed);
        }
        record => record?,
    };
    let record: Job =
        seal::from_json(&record).map_err(anyhow::Error::msg).with_context(|| format!("object {}", keys::job(&job)))?;
    // Its run must have ended, or ingest would take the record for the same submission.
    match cancel(&broker, &job, site::laid_out(&*store).await?).await? {
        Some(status) if status.state == State::Done => {
            println!("{}", line(&status));
            eprintln!("facemill: {job} is done; it is made anew only if its output is gone");
        }
        Some(status) => info!("{}", line(&status)),
        // The request stands, and the broker's clock says that it was made before what is published now.
        None => eprintln!(
            "facemill: no answer about {job}: is an assembler running? Its run is called off, and it is planned anew, once one is"
        ),
    }
    // Any partition of `jobs` will do: other producers spread them in ways of their own.
    let producer = Producer::start(&broker)?;
    let partitions = producer.partitions(topics::JOBS).await?;
    local::publish(&producer, &record, partition_of(&job, partitions)).await?;
    println!("{job}: submitted again");
    Ok(Exit::Done)
}
