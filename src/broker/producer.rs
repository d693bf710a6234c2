//! Records out: idempotent, acknowledged by all in-sync replicas.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use serde::Serialize;

use super::BrokerConfig;
use super::client::Quiet;
use super::error::BrokerError;
use super::topics::Cluster;

/// How long a record may wait for room in librdkafka's queue; delivery has its own limit after that.
const QUEUE_LIMIT: Duration = Duration::from_secs(30);

/// A record to send.
#[derive(Debug)]
pub struct Outgoing<'a, V: ?Sized> {
    /// Its bare name.
    pub topic: &'a str,
    pub key: Option<&'a str>,
    /// `None`: by key as Kafka's own producers do ([`super::keyed_partition`]), spread where there is none.
    pub partition: Option<i32>,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub value: &'a V,
}

/// An idempotent producer. Clones share one connection. Its first record waits for a producer id (0.6 s on the embedded
/// broker), so start it early.
#[derive(Clone)]
pub struct Producer {
    inner: FutureProducer<Quiet>,
    config: Arc<BrokerConfig>,
}

impl Producer {
    /// # Errors
    /// [`BrokerError::Refused`] for a property that librdkafka does not take.
    pub fn start(config: &BrokerConfig) -> Result<Self, BrokerError> {
        let mut client = config.client(SETTINGS);
        // Ours and not to be overridden. A broker that takes a partition over may refuse one request and take the next, of a producer of
        // which it knows nothing yet. From that librdkafka (2.12) concludes that it has the first one too, and acknowledges a record that
        // is nowhere. So there is no next one before the answer.
        client.remove("max.in.flight");
        client.set("max.in.flight.requests.per.connection", "1");
        let inner = client
            .create_with_context(Quiet)
            .map_err(|error| BrokerError::sort("start producer", &config.brokers, &error))?;
        Ok(Self { inner, config: Arc::new(config.clone()) })
    }

    /// Sends a value as JSON and waits for the acknowledgement. Returns partition and offset.
    ///
    /// # Errors
    /// Retry: not acknowledged within `delivery.timeout.ms` (it may have been written all the same). Poison: larger than
    /// the broker takes, or not writable as JSON. Fatal: not allowed, no such topic or partition, or the client is beyond use.
    pub async fn send<T: Serialize + ?Sized>(&self, record: Outgoing<'_, T>) -> Result<(i32, i64), BrokerError> {
        let json = serde_json::to_vec(record.value)
            .map_err(|error| BrokerError::Unsendable { topic: record.topic.to_owned(), reason: error.to_string() })?;
        let Outgoing { topic, key, partition, headers, .. } = record;
        self.send_bytes(Outgoing { topic, key, partition, headers, value: &Some(&json) }).await
    }

    /// Sends bytes as they are, e.g. a malformed record to where it is looked at; none is a tombstone.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn send_bytes(&self, record: Outgoing<'_, Option<&[u8]>>) -> Result<(i32, i64), BrokerError> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in record.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let outgoing = FutureRecord::<str, [u8]> {
            topic: &self.config.name(record.topic),
            partition: record.partition,
            payload: *record.value,
            key: record.key,
            timestamp: None,
            headers: Some(headers),
        };
        match self.inner.send(outgoing, QUEUE_LIMIT).await {
            Ok(delivered) => Ok((delivered.partition, delivered.offset)),
            Err((error, _)) => Err(self.sort(record.topic, record.partition, &error)),
        }
    }

    /// How many partitions `topic` has.
    ///
    /// # Errors
    /// Retry: the broker is away, or the topic between leaders. Fatal: no such topic.
    pub async fn partitions(&self, topic: &str) -> Result<i32, BrokerError> {
        let producer = self.inner.clone();
        let brokers = self.config.brokers.clone();
        let cluster = Cluster::ask(move |limit| producer.client().fetch_metadata(None, limit), brokers).await?;
        cluster.ready(&self.config, topic)
    }

    fn sort(&self, topic: &str, partition: Option<i32>, error: &KafkaError) -> BrokerError {
        if let Some((_, reason)) = self.inner.client().fatal_error() {
            return BrokerError::Client { doing: "produce", reason };
        }
        sort(&self.config, topic, partition, error)
    }
}

/// Sorts the error of a record for `topic`; `partition` is the one that was asked for.
fn sort(config: &BrokerConfig, topic: &str, partition: Option<i32>, error: &KafkaError) -> BrokerError {
    match (error.rdkafka_error_code(), partition) {
        (Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidRecord), _) => {
            BrokerError::Unsendable { topic: topic.to_owned(), reason: error.to_string() }
        }
        (Some(Code::UnknownTopic | Code::UnknownTopicOrPartition), _) => BrokerError::no_topic(config, topic),
        // Comes only once the topic's partitions have been counted: without leaders for a moment they count as well.
        (Some(Code::UnknownPartition), Some(partition)) => {
            BrokerError::NoPartition { name: config.name(topic), partition }
        }
        // Among them a partition that was chosen by key and is gone since: the next try chooses among those that are left.
        _ => BrokerError::sort("produce", &config.brokers, error),
    }
}

const SETTINGS: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("delivery.timeout.ms", "120000"),
    // Whoever sends waits for the acknowledgement, so waiting for company costs more than it saves.
    ("linger.ms", "1"),
    // As Kafka's own producers: other languages' records of the same key go to the same partition.
    ("partitioner", "murmur2_random"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify, Kind};

    #[test]
    fn what_fails_a_record_is_named() {
        let config = BrokerConfig { prefix: "acme.".into(), ..BrokerConfig::default() };
        let table = [
            (Code::UnknownTopic, Some(3), Kind::Fatal, "topic acme.notes does not exist"),
            (Code::UnknownTopicOrPartition, Some(3), Kind::Fatal, "topic acme.notes does not exist"),
            (Code::UnknownPartition, Some(3), Kind::Fatal, "topic acme.notes has no partition 3 "),
            (Code::UnknownPartition, None, Kind::Retry, "produce: broker not available"),
            (Code::MessageSizeTooLarge, None, Kind::Poison, "record for topic notes cannot be sent"),
            (Code::MessageTimedOut, Some(3), Kind::Retry, "produce: broker not available"),
        ];
        for (code, partition, kind, expected) in table {
            let error = sort(&config, "notes", partition, &KafkaError::MessageProduction(code));
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{code:?}: {text}");
            assert!(text.starts_with(expected), "{code:?}: {text} (expected {expected})");
        }
    }
}
