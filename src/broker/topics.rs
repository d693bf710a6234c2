//! Topics as files, in the form of a Strimzi `KafkaTopic`, and making those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use serde::Deserialize;
use tracing::{info, warn};

use super::BrokerConfig;
use super::client::Quiet;
use super::error::BrokerError;

/// How long the broker may take to describe itself.
pub(super) const METADATA_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take to make topics and elect their leaders.
const CREATE_LIMIT: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(100);
const MIN_INSYNC: &str = "min.insync.replicas";

/// The project's own topics: file name and text of `topics/*.yaml`.
pub const BUILTIN: &[(&str, &str)] = &[
    ("jobs.yaml", include_str!("../../topics/jobs.yaml")),
    ("chunks.yaml", include_str!("../../topics/chunks.yaml")),
    ("completions.yaml", include_str!("../../topics/completions.yaml")),
    ("status.yaml", include_str!("../../topics/status.yaml")),
    ("audit.yaml", include_str!("../../topics/audit.yaml")),
    ("dead-letters.yaml", include_str!("../../topics/dead-letters.yaml")),
];

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    pub replicas: i32,
    /// The broker's settings of this topic, e.g. `retention.ms`.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// Reads a Strimzi `KafkaTopic`. `file` is for messages.
    ///
    /// # Errors
    /// [`BrokerError::TopicFile`] with the field's name.
    pub fn parse(file: &str, text: &str) -> Result<Self, BrokerError> {
        let refuse = |reason: String| BrokerError::TopicFile { file: file.to_owned(), reason };
        let document: Document = serde_saphyr::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if document.kind != "KafkaTopic" {
            return Err(refuse(format!("kind is {} (expected KafkaTopic)", document.kind)));
        }
        let Spec { topic_name, partitions, replicas, config } = document.spec;
        if partitions < 1 || replicas < 1 {
            let found = format!("spec.partitions is {partitions}, spec.replicas is {replicas}");
            return Err(refuse(format!("{found} (expected 1 or more of each)")));
        }
        let config = config.into_iter().map(|(name, value)| (name, value.to_string())).collect();
        Ok(Self { name: topic_name.unwrap_or(document.metadata.name), partitions, replicas, config })
    }

    /// The project's own topics.
    ///
    /// # Errors
    /// [`BrokerError::TopicFile`], which a test excludes for the files as they are.
    pub fn builtin() -> Result<Vec<Self>, BrokerError> {
        BUILTIN.iter().map(|(file, text)| Self::parse(file, text)).collect()
    }

    /// With another replication: a write must still not need more replicas than survive the loss of one.
    fn with_replicas(&self, replicas: i32) -> Self {
        let mut lowered = Self { replicas, ..self.clone() };
        if let Some(needed) = lowered.config.get_mut(MIN_INSYNC) {
            let most = (replicas - 1).max(1);
            *needed = needed.parse::<i32>().map_or(most, |wanted| wanted.min(most)).to_string();
        }
        lowered
    }
}

#[derive(Deserialize)]
struct Document {
    kind: String,
    metadata: Named,
    spec: Spec,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    topic_name: Option<String>,
    partitions: i32,
    replicas: i32,
    #[serde(default)]
    config: BTreeMap<String, Scalar>,
}

/// YAML has numbers and booleans where Kafka has text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Flag(bool),
    Whole(i64),
    Real(f64),
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// What the brokers say of themselves.
pub(super) struct Cluster {
    brokers: usize,
    /// Topics whose partitions all have a leader.
    topics: BTreeMap<String, i32>,
    /// The others: just made, or between leaders.
    leaderless: BTreeSet<String>,
}

impl Cluster {
    /// Asks for all topics: asking for one by name would create it on a broker that creates topics by itself.
    pub async fn ask(
        fetch: impl FnOnce(Duration) -> KafkaResult<Metadata> + Send + 'static,
        brokers: String,
    ) -> Result<Self, BrokerError> {
        let asked =
            tokio::task::spawn_blocking(move || fetch(METADATA_LIMIT).map(|metadata| Self::of(&metadata))).await;
        let lost =
            |error: tokio::task::JoinError| BrokerError::Client { doing: "ask for topics", reason: error.to_string() };
        asked.map_err(lost)?.map_err(|error| BrokerError::sort("ask for topics", &brokers, &error))
    }

    pub fn of(metadata: &Metadata) -> Self {
        let has_leaders = |partitions: &[rdkafka::metadata::MetadataPartition]| {
            !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0)
        };
        let (mut topics, mut leaderless) = (BTreeMap::new(), BTreeSet::new());
        for topic in metadata.topics() {
            if has_leaders(topic.partitions()) {
                topics.insert(topic.name().to_owned(), topic.partitions().len() as i32);
            } else {
                leaderless.insert(topic.name().to_owned());
            }
        }
        Self { brokers: metadata.brokers().len(), topics, leaderless }
    }

    pub fn partitions(&self, topic: &str) -> Option<i32> {
        self.topics.get(topic).copied()
    }

    /// The partitions of the topic of this bare name.
    ///
    /// # Errors
    /// Retry: it is between leaders. Fatal: it is not there.
    pub fn ready(&self, config: &BrokerConfig, topic: &str) -> Result<i32, BrokerError> {
        let name = config.name(topic);
        if self.leaderless.contains(&name) {
            let reason = format!("a partition of topic {name} has no leader");
            return Err(BrokerError::Unavailable { doing: "ask for topics", brokers: config.brokers.clone(), reason });
        }
        self.partitions(&name).ok_or_else(|| BrokerError::no_topic(config, topic))
    }
}

/// Makes the topics that are missing, with `replication` where that is given, and waits until they can be used. Those
/// that exist are left as they are. Returns the bare names of those made.
///
/// # Errors
/// Retry: the broker is away. Fatal: fewer brokers than replicas, or creating topics is not allowed.
pub async fn ensure(
    config: &BrokerConfig,
    topics: &[TopicSpec],
    replication: Option<i32>,
) -> Result<Vec<String>, BrokerError> {
    let sort = |error| BrokerError::sort("create topics", &config.brokers, &error);
    let admin: AdminClient<Quiet> = config.client(&[]).create_with_context(Quiet).map_err(sort)?;
    let admin = std::sync::Arc::new(admin);
    let ask = || {
        let admin = admin.clone();
        Cluster::ask(move |limit| admin.inner().fetch_metadata(None, limit), config.brokers.clone())
    };

    let cluster = ask().await?;
    let mut missing = Vec::new();
    for topic in topics {
        match cluster.partitions(&config.name(&topic.name)) {
            Some(found) if found < topic.partitions => {
                warn!(topic = %topic.name, found, expected = topic.partitions, "topic has fewer partitions than its file says");
            }
            Some(_) => {}
            None => missing.push(topic.with_replicas(replication.unwrap_or(topic.replicas))),
        }
    }
    for topic in &mut missing {
        topic.name = config.name(&topic.name);
    }
    if let Some(topic) = missing.iter().find(|topic| topic.replicas as usize > cluster.brokers) {
        let (name, replicas) = (topic.name.clone(), topic.replicas);
        return Err(BrokerError::TooFewBrokers { topic: name, replicas, brokers: cluster.brokers });
    }
    if missing.is_empty() {
        return Ok(Vec::new());
    }

    let wanted: Vec<NewTopic<'_>> = missing.iter().map(new_topic).collect();
    let options = AdminOptions::new().operation_timeout(Some(CREATE_LIMIT)).request_timeout(Some(CREATE_LIMIT));
    let mut made = Vec::new();
    for outcome in admin.create_topics(&wanted, &options).await.map_err(sort)? {
        match outcome {
            Ok(name) => {
                info!(topic = %name, "topic created");
                made.push(name.strip_prefix(&config.prefix).unwrap_or(&name).to_owned());
            }
            // Another process was quicker.
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                let error = rdkafka::error::KafkaError::AdminOp(code);
                warn!(topic = %name, %error, "topic not created");
                return Err(sort(error));
            }
        }
    }
    let all_usable = async {
        loop {
            let cluster = ask().await?;
            if missing.iter().all(|topic| cluster.partitions(&topic.name).is_some()) {
                return Ok(());
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let late = |_| BrokerError::Unavailable {
        doing: "create topics",
        brokers: config.brokers.clone(),
        reason: format!("new topics have no leaders after {} s", CREATE_LIMIT.as_secs()),
    };
    tokio::time::timeout(CREATE_LIMIT, all_usable).await.map_err(late)??;
    Ok(made)
}

fn new_topic(topic: &TopicSpec) -> NewTopic<'_> {
    let new = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(topic.replicas));
    topic.config.iter().fold(new, |new, (name, value)| new.set(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Classify, Kind};

    #[test]
    fn the_projects_topics_are_as_the_protocol_needs_them() {
        let topics = TopicSpec::builtin().unwrap();
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["jobs", "chunks", "completions", "status", "audit", "dead-letters"]);
        for topic in &topics {
            assert_eq!(topic.replicas, 3, "{}", topic.name);
            assert_eq!(topic.config[MIN_INSYNC], "2", "{}", topic.name);
            assert_eq!(topic.config["unclean.leader.election.enable"], "false", "{}", topic.name);
        }
        assert!(topics[3].config["cleanup.policy"].contains("compact"));
        assert_eq!(
            (topics[4].config["cleanup.policy"].as_str(), topics[4].config["retention.ms"].as_str()),
            ("delete", "-1")
        );
    }

    #[test]
    fn a_topic_between_leaders_is_waited_for_and_one_that_is_not_there_is_not() {
        let leaderless = BTreeSet::from(["p-between".to_owned()]);
        let cluster = Cluster { brokers: 1, topics: BTreeMap::from([("p-there".to_owned(), 3)]), leaderless };
        let config = BrokerConfig { prefix: "p-".to_owned(), ..BrokerConfig::default() };
        assert_eq!(cluster.ready(&config, "there").unwrap(), 3);
        assert_eq!(cluster.ready(&config, "between").unwrap_err().kind(), Kind::Retry);
        assert!(matches!(cluster.ready(&config, "gone"), Err(BrokerError::NoTopic { .. })));
    }

    #[test]
    fn refuses_with_the_fields_name() {
        let file = |kind: &str, spec: &str| format!("kind: {kind}\nmetadata: {{name: t}}\nspec: {spec}\n");
        let table = [
            (file("KafkaTopic", "{partitions: 0, replicas: 1}"), "spec.partitions is 0"),
            (file("KafkaTopic", "{replicas: 1}"), "partitions"),
            (file("KafkaUser", "{partitions: 1, replicas: 1}"), "kind is KafkaUser"),
            ("kind: [".to_owned(), "t.yaml"),
        ];
        for (text, expected) in table {
            let error = TopicSpec::parse("t.yaml", &text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }

    #[test]
    fn values_become_text_and_fewer_replicas_need_fewer_in_sync() {
        let text = "kind: KafkaTopic\nmetadata: {name: t}\nspec:\n  topicName: other\n  partitions: 4\n  replicas: 3\n  \
                    config: {min.insync.replicas: 2, retention.ms: -1, min.cleanable.dirty.ratio: 0.1, preallocate: false, cleanup.policy: compact}\n";
        let topic = TopicSpec::parse("t.yaml", text).unwrap();
        assert_eq!((topic.name.as_str(), topic.partitions), ("other", 4));
        let value = |name: &str| topic.config[name].as_str();
        let values = ["retention.ms", "min.cleanable.dirty.ratio", "preallocate", "cleanup.policy"].map(value);
        assert_eq!(values, ["-1", "0.1", "false", "compact"]);
        for (replicas, needed) in [(1, "1"), (2, "1"), (3, "2"), (5, "2")] {
            assert_eq!(topic.with_replicas(replicas).config[MIN_INSYNC], needed, "{replicas} replicas");
        }
    }
}
