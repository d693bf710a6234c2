//! Follows a whole topic without belonging to a group: every reader sees every record, and nothing is committed.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::BrokerConfig;
use super::client::Quiet;
use super::delivery::Delivery;
use super::error::BrokerError;
use super::topics::{Cluster, METADATA_LIMIT};
use crate::error::{Classify, Kind};

/// How soon the thread notices that its reader is gone.
const POLL: Duration = Duration::from_millis(100);
/// How long a start is tried, and how soon again.
const START_LIMIT: Duration = Duration::from_secs(30);
const START_AGAIN: Duration = Duration::from_millis(200);
/// Records read ahead: enough that polling and handling overlap, a few hundred kilobytes.
const READ_AHEAD: usize = 256;

/// Where a reader starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// The oldest record still kept.
    Beginning,
    /// What is produced after [`Reader::start`] has returned.
    End,
}

/// What a reader sees.
#[derive(Debug)]
pub enum News<T> {
    Record(Delivery<T, ()>),
    /// All that was there at some moment after the start has been read. Comes once.
    CaughtUp,
}

/// Reads all partitions of a topic as of its start. Ends when dropped.
pub struct Reader<T> {
    news: mpsc::Receiver<Result<News<T>, BrokerError>>,
    /// What is read, as it is called on the cluster.
    name: String,
    brokers: String,
}

impl ConsumerContext for Quiet {}

impl<T: DeserializeOwned + Send + 'static> Reader<T> {
    /// Starts reading; its place in every partition is fixed when this returns.
    ///
    /// # Errors
    /// Retry: the broker is away. Fatal: no such topic, not allowed, or a property that librdkafka does not take.
    pub async fn start(config: &BrokerConfig, topic: &str, start: StartAt) -> Result<Self, BrokerError> {
        let mut client = config.client(SETTINGS);
        // librdkafka reads only with a group id; it is never joined.
        let group = config.name(&format!("reader-{}", config.client_id));
        client.set("group.id", group).set("enable.auto.commit", "false");
        let (news_in, news) = mpsc::channel(READ_AHEAD);
        let (ready_in, ready) = oneshot::channel();
        let (name, brokers) = (config.name(topic), config.brokers.clone());
        let (topic, config) = (topic.to_owned(), config.clone());
        let read = move || {
            let opened = client
                .create_with_context(Quiet)
                .map_err(|error| BrokerError::sort("start reader", &config.brokers, &error))
                .and_then(|consumer| Ok((assign_patiently(&consumer, &config, &topic, start)?, consumer)));
            match opened {
                Ok((partitions, consumer)) => {
                    // Nobody waits any more: then the first send ends the thread.
                    let _ = ready_in.send(Ok(()));
                    let source = Source { consumer, topic, partitions, brokers: config.brokers };
                    follow(&source, &news_in);
                }
                Err(error) => drop(ready_in.send(Err(error))),
            }
        };
        let lost = |reason: String| BrokerError::Client { doing: "start read thread", reason };
        std::thread::Builder::new().name("read".into()).spawn(read).map_err(|error| lost(error.to_string()))?;
        ready.await.map_err(|error| lost(error.to_string()))??;
        Ok(Self { news, name, brokers })
    }

    /// The next record; `None` after a fatal error was returned. Cancel-safe.
    ///
    /// # Errors
    /// Only fatal ones.
    pub async fn next(&mut self) -> Option<Result<News<T>, BrokerError>> {
        self.news.recv().await
    }

    /// As [`Reader::next`], for whoever reads what is there and does not wait for brokers that have gone, which a reader does
    /// for ever. Cancel-safe.
    ///
    /// # Errors
    /// Fatal ones, and retry: no news for `limit`.
    pub async fn next_within(&mut self, limit: Duration) -> Option<Result<News<T>, BrokerError>> {
        let late = |_| {
            let name = &self.name;
            let reason =
                format!("no news of topic {name} for {limit:?}: a broker is away, or a partition has no leader");
            Some(Err(BrokerError::Unavailable { doing: "read", brokers: self.brokers.clone(), reason }))
        };
        tokio::time::timeout(limit, self.news.recv()).await.unwrap_or_else(late)
    }
}

/// As [`assign`], again and again while the brokers are not ready: a topic just made has no leaders for a moment.
fn assign_patiently(
    consumer: &BaseConsumer<Quiet>,
    config: &BrokerConfig,
    topic: &str,
    start: StartAt,
) -> Result<usize, BrokerError> {
    let began = Instant::now();
    loop {
        match assign(consumer, config, topic, start) {
            Err(error) if error.kind() == Kind::Retry && began.elapsed() < START_LIMIT => {
                debug!(%error, "reader starts again");
                std::thread::sleep(START_AGAIN);
            }
            assigned => return assigned,
        }
    }
}

/// Takes all partitions; returns how many there are.
fn assign(
    consumer: &BaseConsumer<Quiet>,
    config: &BrokerConfig,
    topic: &str,
    start: StartAt,
) -> Result<usize, BrokerError> {
    let sort = |error: KafkaError| BrokerError::sort("start reader", &config.brokers, &error);
    let name = config.name(topic);
    let metadata = consumer.fetch_metadata(None, METADATA_LIMIT).map_err(sort)?;
    let partitions = Cluster::of(&metadata).ready(config, topic)?;
    let mut places = TopicPartitionList::with_capacity(partitions as usize);
    places.add_partition_range(&name, 0, partitions - 1);
    match start {
        StartAt::Beginning => places.set_all_offsets(Offset::Beginning).map_err(sort)?,
        StartAt::End => {
            // As a time it means the end of the log. (To ask for watermarks can end the process while brokers come and go: librdkafka #5160.)
            places.set_all_offsets(Offset::End).map_err(sort)?;
            places = consumer.offsets_for_times(places, METADATA_LIMIT).map_err(sort)?;
            places.elements().iter().try_for_each(TopicPartitionListElem::error).map_err(sort)?;
        }
    }
    consumer.assign(&places).map_err(sort)?;
    Ok(partitions as usize)
}

/// What is read.
struct Source {
    consumer: BaseConsumer<Quiet>,
    /// The bare name.
    topic: String,
    partitions: usize,
    brokers: String,
}

fn follow<T: DeserializeOwned>(source: &Source, news: &mpsc::Sender<Result<News<T>, BrokerError>>) {
    let mut at_end = std::collections::BTreeSet::new();
    while !news.is_closed() {
        let next = match source.consumer.poll(POLL) {
            None => continue,
            Some(Ok(message)) => Ok(News::Record(Delivery::decode(&message, &source.topic, ()))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let is_last = at_end.insert(partition) && at_end.len() == source.partitions;
                if !is_last {
                    continue;
                }
                Ok(News::CaughtUp)
            }
            Some(Err(error)) => {
                let sorted = BrokerError::sort("read", &source.brokers, &error);
                if sorted.kind() != Kind::Fatal {
                    warn!(%error, "reader error, librdkafka tries again");
                    continue;
                }
                Err(sorted)
            }
        };
        let is_over = next.is_err();
        if news.blocking_send(next).is_err() || is_over {
            return;
        }
    }
}

const SETTINGS: &[(&str, &str)] = &[
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    ("enable.partition.eof", "true"),
    ("check.crcs", "true"),
];
