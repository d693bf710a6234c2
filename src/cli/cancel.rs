//! `facemill cancel`: calls a job off.

use std::time::Duration;

use anyhow::Result;

use crate::broker::{BrokerConfig, Outgoing, Producer, StartAt};
use crate::config::Config;
use crate::contract::{JobEvent, JobId, State, Status, partition_of, topics};

use super::Exit;
use super::args::OfJob;
use super::follow::{Follower, Seen};
use super::role::broker;
use super::status::line;

/// How long the assembler's answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs the command.
pub async fn run(args: OfJob, config: Config) -> Result<Exit> {
    let job = match args.job() {
        Ok(job) => job,
        Err(exit) => return Ok(exit),
    };
    match cancel(&broker(&config, "cancel")?, &job).await? {
        Some(status) => {
            println!("{}", line(&status));
            Ok(if status.state == State::Cancelled { Exit::Done } else { Exit::Failed })
        }
        None => {
            eprintln!(
                "facemill: no answer about {job}: it is not known (yet), or no assembler is running; the request stands for \
                 what was submitted before it"
            );
            Ok(Exit::Failed)
        }
    }
}

/// Publishes the request and waits for the assembler's answer, the job's final state; `None` if there is none in time.
pub async fn cancel(broker: &BrokerConfig, job: &JobId) -> Result<Option<Status>> {
    let mut news = Follower::start(broker, job, StartAt::End).await?;
    let producer = Producer::start(broker)?;
    let partition = partition_of(job, producer.partitions(topics::COMPLETIONS).await?);
    let value = JobEvent::Cancel { job: job.clone(), at: None };
    let (topic, key) = (topics::COMPLETIONS, Some(job.as_str()));
    producer.send(Outgoing { topic, key, partition: Some(partition), headers: &[], value: &value }).await?;
    let answered = async {
        loop {
            match news.next().await {
                Ok(Some(Seen::Status(status))) if status.state.is_final() => return Ok(Some(*status)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    };
    tokio::time::timeout(ANSWER, answered).await.unwrap_or(Ok(None))
}
