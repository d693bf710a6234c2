//! `facemill cancel`: calls a job off.

use std::time::Duration;

use anyhow::Result;

use crate::broker::{BrokerConfig, Outgoing, Producer, StartAt};
use crate::config::Config;
use crate::contract::{JobEvent, JobId, State, Status, partition_of, topics};
use crate::site;

use super::Exit;
use super::args::OfJob;
use super::follow::{Follower, Seen};
use super::role::{bare_store, broker};
use super::status::line;

/// How long the assembler's answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// How long that of the store, which is only asked for the way.
const STORE_ANSWER: Duration = Duration::from_secs(10);

/// Runs the command.
pub async fn run(args: OfJob, config: Config) -> Result<Exit> {
    let job = match args.job() {
        Ok(job) => job,
        Err(exit) => return Ok(exit),
    };
    let broker = broker(&config, "cancel")?;
    match cancel(&broker, &job, laid_out(&config).await).await? {
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

/// Over how many partitions the configured store has jobs spread; none where there is no such store, or it cannot be asked.
async fn laid_out(config: &Config) -> Option<i32> {
    let url = config.store.url.as_ref()?;
    let asked = async {
        let store = bare_store(config).await?;
        anyhow::Ok(site::laid_out(&*store).await?)
    };
    let error = match tokio::time::timeout(STORE_ANSWER, asked).await {
        Ok(Ok(laid_out)) => return laid_out,
        Ok(Err(error)) => format!("{error:#}"),
        Err(_) => "it does not answer".to_owned(),
    };
    eprintln!(
        "facemill: store {url} cannot tell over how many partitions jobs are spread ({error}); taken to be as many as topic {} has",
        topics::COMPLETIONS
    );
    None
}

/// Publishes the request and waits for the assembler's answer, the job's final state; `None` if there is none in time. `laid_out`:
/// over how many partitions the store has jobs spread, if that is known.
pub async fn cancel(broker: &BrokerConfig, job: &JobId, laid_out: Option<i32>) -> Result<Option<Status>> {
    let mut news = Follower::start(broker, job, StartAt::End).await?;
    request(&Producer::start(broker)?, job, laid_out).await?;
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

/// Publishes the request to the assembler that has the job: by the store's layout, which holds however a topic grows.
async fn request(producer: &Producer, job: &JobId, laid_out: Option<i32>) -> Result<()> {
    let there = producer.partitions(topics::COMPLETIONS).await?;
    // A store that was laid out for more than there are is another cluster's.
    let spread = laid_out.filter(|laid_out| *laid_out <= there).unwrap_or(there);
    let value = JobEvent::Cancel { job: job.clone(), at: None };
    let (topic, key, partition) = (topics::COMPLETIONS, Some(job.as_str()), Some(partition_of(job, spread)));
    producer.send(Outgoing { topic, key, partition, headers: &[], value: &value }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::broker::topics::TopicSpec;
    use crate::broker::{EmbeddedBroker, News, Reader};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_goes_by_the_layout_however_the_topic_has_grown() {
        let (name, config) = (topics::COMPLETIONS.to_owned(), BTreeMap::new());
        let grown = TopicSpec { name, partitions: 12, replicas: 1, config };
        let broker = EmbeddedBroker::start(&[grown], None).unwrap();
        let producer = Producer::start(&broker.config("producer")).unwrap();
        let table = [(Some(3), 3), (None, 12), (Some(24), 12)];
        // Jobs that are elsewhere by either number.
        let jobs = (0..99).map(|number| format!("job-{number}").parse::<JobId>().unwrap());
        let jobs: Vec<JobId> = jobs.filter(|job| partition_of(job, 12) >= 3).take(table.len()).collect();
        let mut expected = BTreeMap::new();
        for (job, (laid_out, spread)) in jobs.iter().zip(table) {
            request(&producer, job, laid_out).await.unwrap();
            expected.insert(job.to_string(), partition_of(job, spread));
        }
        let config = broker.config("reader");
        let mut reader = Reader::<JobEvent>::start(&config, topics::COMPLETIONS, StartAt::Beginning).await.unwrap();
        let mut found = BTreeMap::new();
        while let News::Record(delivery) = reader.next().await.unwrap().unwrap() {
            found.insert(delivery.key.unwrap(), delivery.partition);
        }
        assert_eq!(found, expected);
    }
}
