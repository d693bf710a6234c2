//! Dead letters: records that cannot be done, kept on a topic of their own with the reason, for a person to look at.
//!
//! Value and key are as they came; what happened to them stands in headers, named as Kafka Connect names them.

use crate::broker::{BrokerError, Delivery, Headers, Outgoing, Producer};
use crate::contract::topics;
use crate::error::{Classify, Kind};

const TOPIC: &str = "__connect.errors.topic";
const PARTITION: &str = "__connect.errors.partition";
const OFFSET: &str = "__connect.errors.offset";
const STAGE: &str = "__connect.errors.stage";
const CLASS: &str = "__connect.errors.class.name";
const EXCEPTION: &str = "__connect.errors.exception.class.name";
const MESSAGE: &str = "__connect.errors.exception.message";
/// On a letter that could not be kept whole: how long the value was that was left out, bytes.
const VALUE_OMITTED: &str = "facemill.value.omitted";
/// Likewise: how long the record's own headers were, names and values together.
const HEADERS_OMITTED: &str = "facemill.headers.omitted";
/// Likewise: how long the key was.
const KEY_OMITTED: &str = "facemill.key.omitted";
/// Any of them: the letter does not hold the record.
const OMITTED: [&str; 3] = [VALUE_OMITTED, HEADERS_OMITTED, KEY_OMITTED];
/// On a record that was published again: which letter it was.
const REPLAYED: &str = "facemill.replayed.from";
/// Longest message that is kept, bytes: the brokers count headers as part of the record.
const MESSAGE_MAX: usize = 4096;
/// Longest other word about the failure that is kept, bytes.
const WORD_MAX: usize = 256;
/// Longest key that is kept where the record does not fit, bytes: job ids, which are our keys, have 63.
const KEY_MAX: usize = 256;

/// Where a record was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// Why it could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Where it failed: `parse`, `worker`, `lane`, …
    pub stage: String,
    /// Whose code it was: a type or module of ours.
    pub class: String,
    /// What kind of failure: the error's type, `signal SIGSEGV`, …
    pub exception: String,
    /// What the error says, up to 4 KiB.
    pub message: String,
}

impl Reason {
    /// A reason in our own words.
    pub fn new(stage: &str, class: &str, exception: &str, message: &str) -> Self {
        let [stage, class, exception, message] = [stage, class, exception, message].map(str::to_owned);
        Self { stage, class, exception, message }
    }
}

/// A record that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was.
    pub origin: Origin,
    /// As it came; none also where it was not UTF-8.
    pub key: Option<String>,
    /// As it came; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The headers that it came with.
    pub headers: Headers,
    /// Why it could not be done.
    pub reason: Reason,
}

/// A record on the topic of dead letters that is none, or cannot be published again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A header of ours is missing or wrong.
    #[error("header {header}: {found} (expected {expected})")]
    Header {
        /// Its name.
        header: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// The record was too large to be kept whole.
    #[error("the record was too large to be kept whole; it may still be at {topic}[{partition}] offset {offset}")]
    Omitted {
        /// Where it was.
        topic: String,
        /// Where it was.
        partition: i32,
        /// Where it was.
        offset: i64,
    },
}

impl Classify for Unusable {
    fn kind(&self) -> Kind {
        Kind::Poison
    }
}

impl DeadLetter {
    /// A letter about `delivery`.
    pub fn of<T, C>(delivery: &Delivery<T, C>, reason: Reason) -> Self {
        let Delivery { topic, partition, offset, key, payload, headers, .. } = delivery;
        let origin = Origin { topic: topic.clone(), partition: *partition, offset: *offset };
        Self { origin, key: key.clone(), payload: payload.clone(), headers: headers.clone(), reason }
    }

    /// Publishes it and waits until it is durable. Returns where it lies. May be done again: readers know a letter by its
    /// origin.
    ///
    /// Of a record that the broker does not take with our headers, by its value, key or own headers, only the key is kept, if it
    /// is one of sane length: the letter still says where it was and why, and how long the rest was.
    ///
    /// # Errors
    /// Retry and fatal ones of [`Producer::send`].
    pub async fn send(&self, producer: &Producer) -> Result<(i32, i64), BrokerError> {
        match self.publish(producer).await {
            Err(BrokerError::Unsendable { .. }) => self.reduced().publish(producer).await,
            sent => sent,
        }
    }

    /// The letter without what its record's producer can make as long as it likes, and with how long that was.
    fn reduced(&self) -> Self {
        let of_headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let omitted = [
            (VALUE_OMITTED, self.payload.as_ref().map(Vec::len)),
            (HEADERS_OMITTED, (!self.headers.is_empty()).then_some(of_headers)),
            (KEY_OMITTED, self.key.as_ref().map(String::len).filter(|length| *length > KEY_MAX)),
        ];
        let told = omitted
            .into_iter()
            .filter_map(|(name, length)| length.map(|length| (name.to_owned(), length.to_string().into_bytes())));
        Self {
            origin: self.origin.clone(),
            key: self.key.clone().filter(|key| key.len() <= KEY_MAX),
            payload: None,
            headers: told.collect(),
            reason: self.reason.clone(),
        }
    }

    async fn publish(&self, producer: &Producer) -> Result<(i32, i64), BrokerError> {
        let Self { origin, reason, .. } = self;
        let (partition, offset) = (origin.partition.to_string(), origin.offset.to_string());
        let ours = [
            (TOPIC, origin.topic.as_str()),
            (PARTITION, &partition),
            (OFFSET, &offset),
            (STAGE, beginning(&reason.stage, WORD_MAX)),
            (CLASS, beginning(&reason.class, WORD_MAX)),
            (EXCEPTION, beginning(&reason.exception, WORD_MAX)),
            (MESSAGE, beginning(&reason.message, MESSAGE_MAX)),
        ];
        let mut headers = borrowed(&self.headers);
        headers.extend(ours.map(|(name, value)| (name, value.as_bytes())));
        let (key, value) = (self.key.as_deref(), self.payload.as_deref());
        let record = Outgoing { topic: topics::DEAD_LETTERS, key, partition: None, headers: &headers, value: &value };
        producer.send_bytes(record).await
    }

    /// The letter that `delivery`, from the topic of dead letters, is.
    ///
    /// # Errors
    /// [`Unusable::Header`]: something else wrote it.
    pub fn read<T, C>(delivery: &Delivery<T, C>) -> Result<Self, Unusable> {
        let text = |header| text(&delivery.headers, header);
        let number = |header| {
            let found: String = text(header)?;
            let parsed = found.parse::<i64>().ok().filter(|number| *number >= 0);
            parsed.ok_or(Unusable::Header { header, found, expected: "a number from 0" })
        };
        let partition = number(PARTITION)?;
        let partition = i32::try_from(partition).map_err(|_| Unusable::Header {
            header: PARTITION,
            found: partition.to_string(),
            expected: "a partition",
        })?;
        let origin = Origin { topic: text(TOPIC)?, partition, offset: number(OFFSET)? };
        let reason =
            Reason { stage: text(STAGE)?, class: text(CLASS)?, exception: text(EXCEPTION)?, message: text(MESSAGE)? };
        let theirs = delivery.headers.iter().filter(|(name, _)| !name.starts_with("__connect.errors."));
        Ok(Self {
            origin,
            key: delivery.key.clone(),
            payload: delivery.payload.clone(),
            headers: theirs.cloned().collect(),
            reason,
        })
    }

    /// Publishes the record where it was, as it was, with a header that says which letter it comes from. Returns where it
    /// lies now.
    ///
    /// # Errors
    /// [`Unusable::Omitted`], and those of [`Producer::send`]; [`ReplayError::is_of_this_letter`] tells whether others may go on.
    pub async fn replay(&self, producer: &Producer, from: (i32, i64)) -> Result<(i32, i64), ReplayError> {
        let Origin { topic, partition, offset } = self.origin.clone();
        if self.headers.iter().any(|(name, _)| OMITTED.contains(&name.as_str())) {
            return Err(Unusable::Omitted { topic, partition, offset }.into());
        }
        let from = format!("{}:{}", from.0, from.1);
        let mut headers = borrowed(&self.headers);
        // As its producer wrote it: the assembler's note, that it is for one run only, is over with that run.
        headers.retain(|(name, _)| ![REPLAYED, crate::ingest::REPAIR, crate::ingest::SUBMITTED].contains(name));
        headers.push((REPLAYED, from.as_bytes()));
        let (key, value) = (self.key.as_deref(), self.payload.as_deref());
        let record = Outgoing { topic: &topic, key, partition: Some(partition), headers: &headers, value: &value };
        Ok(producer.send_bytes(record).await?)
    }
}

/// Why a letter was not published again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The letter does not hold the record.
    #[error(transparent)]
    Letter(#[from] Unusable),
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl ReplayError {
    /// Only this letter cannot be published, or those of its topic: others may.
    pub fn is_of_this_letter(&self) -> bool {
        match self {
            Self::Letter(_) => true,
            Self::Broker(error) => matches!(
                error,
                BrokerError::Unsendable { .. } | BrokerError::NoTopic { .. } | BrokerError::NoPartition { .. }
            ),
        }
    }
}

impl Classify for ReplayError {
    fn kind(&self) -> Kind {
        match self {
            Self::Letter(error) => error.kind(),
            Self::Broker(error) => error.kind(),
        }
    }
}

fn borrowed(headers: &Headers) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
}

/// What of `text` fits into `max` bytes.
fn beginning(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// The last header of a name counts, as it does in Connect.
fn text(headers: &Headers, header: &'static str) -> Result<String, Unusable> {
    let found = headers.iter().rev().find(|(name, _)| name == header);
    let missing = || Unusable::Header { header, found: "missing".to_owned(), expected: "that of a dead letter" };
    Ok(String::from_utf8_lossy(&found.ok_or_else(missing)?.1).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::IgnoredAny;

    use super::*;
    use crate::broker::topics::TopicSpec;
    use crate::broker::{EmbeddedBroker, News, Reader, StartAt};

    fn broker() -> EmbeddedBroker {
        let topic =
            |name: &str, partitions| TopicSpec { name: name.into(), partitions, replicas: 1, config: BTreeMap::new() };
        EmbeddedBroker::start(&[topic("jobs", 4), topic(topics::DEAD_LETTERS, 2)], None).unwrap()
    }

    /// All records of a topic.
    async fn records(broker: &EmbeddedBroker, topic: &str) -> Vec<Delivery<IgnoredAny, ()>> {
        let mut reader = Reader::start(&broker.config("reader"), topic, StartAt::Beginning).await.unwrap();
        let mut records = Vec::new();
        while let News::Record(delivery) = reader.next().await.unwrap().unwrap() {
            records.push(delivery);
        }
        records
    }

    fn reason(message: &str) -> Reason {
        let [stage, class, exception] = ["parse", "facemill::ingest", "Malformed"].map(str::to_owned);
        Reason { stage, class, exception, message: message.to_owned() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_goes_to_the_dead_letters_and_back_as_it_was() {
        let broker = broker();
        let producer = Producer::start(&broker.config("producer")).unwrap();
        let values: [Option<&[u8]>; 3] = [Some(b"{\"no\": \"job\"}"), Some(b"\xff\x00"), None];
        for value in &values {
            let headers: &[(&str, &[u8])] = &[("trace", b"t-1")];
            let record = Outgoing { topic: "jobs", key: Some("k"), partition: Some(3), headers, value };
            producer.send_bytes(record).await.unwrap();
        }
        let came = records(&broker, "jobs").await;
        for delivery in &came {
            let letter = DeadLetter::of(
                delivery,
                reason(&delivery.record.as_ref().map_or_else(ToString::to_string, |_| "x".repeat(5000))),
            );
            letter.send(&producer).await.unwrap();
        }
        let letters = records(&broker, topics::DEAD_LETTERS).await;
        assert_eq!(letters.len(), 3);
        let header = |name: &str| {
            let (_, value) = letters[1].headers.iter().find(|(found, _)| found == name).unwrap();
            String::from_utf8(value.clone()).unwrap()
        };
        assert_eq!((header(TOPIC), header(PARTITION), header(OFFSET)), ("jobs".into(), "3".into(), "1".into()));
        assert_eq!((header(STAGE), header("trace")), ("parse".into(), "t-1".into()));
        for (offset, (delivery, value)) in letters.iter().zip(values).enumerate() {
            let letter = DeadLetter::read(delivery).unwrap();
            assert_eq!(letter.origin, Origin { topic: "jobs".into(), partition: 3, offset: offset as i64 });
            assert_eq!((letter.key.as_deref(), letter.payload.as_deref()), (Some("k"), value));
            assert_eq!(letter.headers, [("trace".to_owned(), b"t-1".to_vec())]);
            assert_eq!(
                (letter.reason.class.as_str(), letter.reason.exception.as_str()),
                ("facemill::ingest", "Malformed")
            );
            let replayed = letter.replay(&producer, (delivery.partition, delivery.offset)).await.unwrap();
            assert_eq!(replayed, (3, 3 + offset as i64));
        }
        assert_eq!(DeadLetter::read(&letters[0]).unwrap().reason.message.len(), MESSAGE_MAX);
        let again = &records(&broker, "jobs").await[3..];
        for (delivery, value) in again.iter().zip(values) {
            assert_eq!((delivery.key.as_deref(), delivery.payload.as_deref()), (Some("k"), value));
        }
        let from = format!("{}:0", letters[0].partition).into_bytes();
        assert_eq!(again[0].headers, [("trace".to_owned(), b"t-1".to_vec()), (REPLAYED.to_owned(), from)]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_letter_whose_partition_is_gone_is_told_from_a_broker_that_is() {
        let broker = broker();
        let producer = Producer::start(&broker.config("producer")).unwrap();
        let letter = |partition| {
            let origin = Origin { topic: "jobs".into(), partition, offset: 7 };
            let payload = Some(b"{}".to_vec());
            DeadLetter { origin, key: None, payload, headers: Vec::new(), reason: reason("no job") }
        };
        let error = letter(4).replay(&producer, (0, 0)).await.unwrap_err();
        assert!(error.to_string().starts_with("topic jobs has no partition 4 "), "{error}");
        assert!(error.is_of_this_letter(), "{error}");
        assert_eq!(letter(3).replay(&producer, (0, 1)).await.unwrap(), (3, 0));

        let brokers = broker.brokers().to_owned();
        let away: ReplayError =
            BrokerError::Unavailable { doing: "produce", brokers, reason: "timed out".into() }.into();
        assert!(!away.is_of_this_letter(), "{away}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_value_too_large_for_the_broker_is_left_out_and_the_letter_says_so() {
        let broker = broker();
        let mut config = broker.config("producer");
        config.properties.insert("message.max.bytes".into(), "2000".into());
        let producer = Producer::start(&config).unwrap();
        let origin = Origin { topic: "jobs".into(), partition: 0, offset: 7 };
        let payload = Some(vec![b'x'; 1999]);
        let letter = DeadLetter { origin, key: None, payload, headers: Vec::new(), reason: reason("too long") };
        letter.send(&producer).await.unwrap();
        let letters = records(&broker, topics::DEAD_LETTERS).await;
        let letter = DeadLetter::read(&letters[0]).unwrap();
        assert_eq!((letter.payload.clone(), letter.origin.offset), (None, 7));
        let error = letter.replay(&producer, (0, 0)).await.unwrap_err().to_string();
        assert!(error.contains("jobs[0] offset 7"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_of_a_record_is_too_large_is_left_out_and_its_length_told() {
        let broker = broker();
        let mut config = broker.config("producer");
        config.properties.insert("message.max.bytes".into(), "8000".into());
        let producer = Producer::start(&config).unwrap();
        // How long key, header and value are, and what the letter tells of each; the header's name has five letters.
        type Row = ([Option<usize>; 3], [Option<&'static str>; 3]);
        let table: [Row; 4] = [
            ([Some(9000), None, None], [Some("9000"), None, None]),
            ([Some(256), Some(9000), Some(5)], [None, Some("9005"), Some("5")]),
            ([None, None, Some(9000)], [None, None, Some("9000")]),
            ([Some(257), Some(9000), Some(9000)], [Some("257"), Some("9005"), Some("9000")]),
        ];
        for (offset, ([key, header, value], _)) in table.into_iter().enumerate() {
            let letter = DeadLetter {
                origin: Origin { topic: "jobs".into(), partition: 0, offset: offset as i64 },
                key: key.map(|length| "k".repeat(length)),
                payload: value.map(|length| vec![b'v'; length]),
                headers: header.map(|length| ("trace".to_owned(), vec![b'h'; length])).into_iter().collect(),
                reason: reason(&"x".repeat(5000)),
            };
            letter.send(&producer).await.unwrap();
        }
        let found = records(&broker, topics::DEAD_LETTERS).await;
        let letters: Vec<DeadLetter> = found.iter().map(|found| DeadLetter::read(found).unwrap()).collect();
        for (offset, ([key, ..], expected)) in table.into_iter().enumerate() {
            let letter = letters.iter().find(|letter| letter.origin.offset == offset as i64).unwrap();
            let told = [KEY_OMITTED, HEADERS_OMITTED, VALUE_OMITTED].map(|name| text(&letter.headers, name).ok());
            assert_eq!(told.each_ref().map(Option::as_deref), expected, "letter {offset}");
            assert!(letter.headers.iter().all(|(name, _)| OMITTED.contains(&name.as_str())), "letter {offset}");
            assert_eq!(letter.key.as_ref().map(String::len), key.filter(|length| *length <= 256), "letter {offset}");
            assert_eq!((letter.payload.as_ref(), letter.reason.message.len()), (None, MESSAGE_MAX), "letter {offset}");
            let error = letter.replay(&producer, (0, 0)).await.unwrap_err();
            assert!(matches!(error, ReplayError::Letter(Unusable::Omitted { .. })), "letter {offset}: {error}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_no_letter_is_named() {
        let broker = broker();
        let producer = Producer::start(&broker.config("producer")).unwrap();
        let bad: [&[(&str, &[u8])]; 3] = [
            &[],
            &[(TOPIC, b"jobs"), (PARTITION, b"-1"), (OFFSET, b"0")],
            &[(TOPIC, b"jobs"), (PARTITION, b"4294967296"), (OFFSET, b"0")],
        ];
        for headers in bad {
            let value = &Some(&b"{}"[..]);
            let record = Outgoing { topic: topics::DEAD_LETTERS, key: None, partition: Some(0), headers, value };
            producer.send_bytes(record).await.unwrap();
        }
        let found = records(&broker, topics::DEAD_LETTERS).await;
        let errors: Vec<String> = found.iter().map(|found| DeadLetter::read(found).unwrap_err().to_string()).collect();
        assert_eq!(
            errors,
            [
                "header __connect.errors.partition: missing (expected that of a dead letter)",
                "header __connect.errors.partition: -1 (expected a number from 0)",
                "header __connect.errors.partition: 4294967296 (expected a partition)",
            ]
        );
    }
}
