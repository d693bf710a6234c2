//! What stands on the topics of a universe, and how far its groups have committed: read without joining any group.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use facemill::contract::{AuditRecord, ChunkOutcome, ChunkRecord, Job, JobEvent, JobId, Status, topics};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::de::DeserializeOwned;

/// How long one question to the broker may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it is asked, and read from, again: it may be busy with others, or starting.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
const ALL: [&str; 6] =
    [topics::JOBS, topics::CHUNKS, topics::COMPLETIONS, topics::STATUS, topics::AUDIT, topics::DEAD_LETTERS];

/// Partition and offset → value.
pub type Offsets = BTreeMap<i32, i64>;

/// A record as it stands on its topic. `None` for a value that is not of the expected form.
#[derive(Clone, Debug)]
pub struct Entry<T> {
    pub partition: i32,
    pub offset: i64,
    pub value: Option<T>,
}

/// A record of the dead-letter topic.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub headers: HashMap<String, String>,
    pub value: serde_json::Value,
}

/// Everything that was read so far.
#[derive(Debug, Default)]
pub struct Records {
    pub jobs: Vec<Entry<Job>>,
    pub chunks: Vec<Entry<ChunkRecord>>,
    pub completions: Vec<Entry<JobEvent>>,
    /// The newest of each job.
    pub status: HashMap<JobId, Entry<Status>>,
    /// As they came, trials left out.
    pub audit: Vec<AuditRecord>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Records {
    /// Completions of chunks: job, run, index, outcome.
    pub fn settled(&self) -> impl Iterator<Item = (&JobId, u32, u32, &ChunkOutcome)> {
        self.completions.iter().filter_map(|entry| match entry.value.as_ref()? {
            JobEvent::Chunk { job, run, index, outcome, .. } => Some((job, *run, *index, outcome)),
            _ => None,
        })
    }

    /// What the audit says of a job, each run's end once.
    pub fn audited(&self, job: &JobId) -> Vec<&AuditRecord> {
        let mut found: Vec<&AuditRecord> = self.audit.iter().filter(|record| record.job == *job).collect();
        found.sort_by_key(|record| record.identity());
        found.dedup_by_key(|record| record.identity());
        found
    }

    /// How many chunks of a job have been settled at least once.
    pub fn settled_chunks(&self, of: &JobId) -> usize {
        let mut indices: Vec<u32> =
            self.settled().filter(|(job, ..)| *job == of).map(|(_, _, index, _)| index).collect();
        indices.sort_unstable();
        indices.dedup();
        indices.len()
    }
}

/// Follows the topics of one universe.
pub struct Tape {
    brokers: String,
    prefix: String,
    consumer: BaseConsumer,
    /// Next offset to be read, by topic and partition.
    next: HashMap<(String, i32), i64>,
    groups: HashMap<String, BaseConsumer>,
    pub records: Records,
}

impl Tape {
    /// Begins at the beginning of all topics, which must exist.
    pub fn start(brokers: &str, prefix: &str) -> Result<Self> {
        let consumer = client(brokers, None)?;
        let mut tape = Self {
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
            consumer,
            next: HashMap::new(),
            groups: HashMap::new(),
            records: Records::default(),
        };
        tape.assign()?;
        Ok(tape)
    }

    /// Takes partitions that have been added to `chunks`, the only topic that grows.
    pub fn assign_new(&mut self) -> Result<()> {
        let name = format!("{}{}", self.prefix, topics::CHUNKS);
        let metadata = self.consumer.fetch_metadata(Some(&name), ANSWER_LIMIT).context("ask for partitions")?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let known = self.next.keys().filter(|(topic, _)| topic == topics::CHUNKS).count();
        if found > known { self.assign() } else { Ok(()) }
    }

    /// Takes all partitions that there are; goes on where it was in those that it had.
    pub fn assign(&mut self) -> Result<()> {
        let mut places = TopicPartitionList::new();
        for topic in ALL {
            let name = format!("{}{topic}", self.prefix);
            let metadata = patiently(|| self.consumer.fetch_metadata(Some(&name), ANSWER_LIMIT));
            let metadata = metadata.context("ask for partitions")?;
            let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            for partition in 0..partitions as i32 {
                let next = *self.next.entry((topic.to_owned(), partition)).or_default();
                places.add_partition_offset(&name, partition, Offset::Offset(next))?;
            }
        }
        Ok(self.consumer.assign(&places)?)
    }

    /// Reads what has arrived. Errors of a broker that is away are left to librdkafka.
    pub fn poll(&mut self) {
        while let Some(polled) = self.consumer.poll(Duration::ZERO) {
            let Ok(message) = polled else { continue };
            let Some(topic) = message.topic().strip_prefix(&self.prefix) else { continue };
            self.next.insert((topic.to_owned(), message.partition()), message.offset() + 1);
            let records = &mut self.records;
            match topic {
                topics::JOBS => records.jobs.push(entry(&message)),
                topics::CHUNKS => records.chunks.push(entry(&message)),
                topics::COMPLETIONS => records.completions.push(entry(&message)),
                topics::STATUS => {
                    let status: Entry<Status> = entry(&message);
                    let Some(job) = status.value.as_ref().map(|status| status.job.clone()) else { continue };
                    records.status.insert(job, status);
                }
                // Trials of whether it can be written are empty.
                topics::AUDIT => records.audit.extend(entry::<AuditRecord>(&message).value),
                _ => records.dead_letters.push(dead_letter(&message)),
            }
        }
    }

    /// Reads all that was on `topic` when this was called.
    pub fn catch_up(&mut self, topic: &str) -> Result<()> {
        let name = format!("{}{topic}", self.prefix);
        let ends = patiently(|| {
            let mut list = TopicPartitionList::new();
            for (_, partition) in self.next.keys().filter(|(known, _)| known == topic) {
                list.add_partition(&name, *partition);
            }
            // As a time it means the end of the log. (To ask for watermarks can end the process while brokers come and go: librdkafka #5160.)
            list.set_all_offsets(Offset::End)?;
            let ends = self.consumer.offsets_for_times(list, ANSWER_LIMIT)?;
            ends.elements().iter().try_for_each(|element| element.error()).map(|()| ends)
        })?;
        let mut wanted = Vec::new();
        for element in ends.elements() {
            let Offset::Offset(end) = element.offset() else { bail!("{topic} {} has no end", element.partition()) };
            wanted.push(((topic.to_owned(), element.partition()), end));
        }
        let began = Instant::now();
        loop {
            self.poll();
            if wanted.iter().all(|(place, high)| self.next.get(place).is_some_and(|next| next >= high)) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{topic} could not be read to its end");
            super::pause(Duration::from_millis(5))?;
        }
    }

    /// What `group` has committed on `topic`.
    pub fn committed(&mut self, group: &str, topic: &str) -> Result<Offsets> {
        let name = format!("{}{topic}", self.prefix);
        let full = format!("{}{group}", self.prefix);
        if !self.groups.contains_key(group) {
            self.groups.insert(group.to_owned(), client(&self.brokers, Some(&full))?);
        }
        let mut list = TopicPartitionList::new();
        for (_, partition) in self.next.keys().filter(|(known, _)| known == topic) {
            list.add_partition(&name, *partition);
        }
        let committed = self.groups[group].committed_offsets(list, ANSWER_LIMIT)?;
        let mut offsets = Offsets::new();
        for element in committed.elements() {
            // What cannot be told is not the same as nothing.
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }
}

/// Asks the broker until it answers.
fn patiently<T>(mut ask: impl FnMut() -> KafkaResult<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(_) if began.elapsed() < PATIENCE => super::pause(ASK_AGAIN_AFTER)?,
            answered => return Ok(answered?),
        }
    }
}

fn client(brokers: &str, group: Option<&str>) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "harness").set("enable.auto.commit", "false");
    config.set("auto.offset.reset", "earliest").set("reconnect.backoff.max.ms", "1000");
    // A group's offsets are only asked for; it is never joined.
    config.set("group.id", group.unwrap_or("harness"));
    config.set("log_level", "0");
    Ok(config.create()?)
}

fn entry<T: DeserializeOwned>(message: &rdkafka::message::BorrowedMessage<'_>) -> Entry<T> {
    Entry {
        partition: message.partition(),
        offset: message.offset(),
        value: serde_json::from_slice(message.payload().unwrap_or_default()).ok(),
    }
}

fn dead_letter(message: &rdkafka::message::BorrowedMessage<'_>) -> DeadLetter {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    DeadLetter {
        headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect(),
        value: serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default(),
    }
}
