//! What can go wrong between us and the broker, sorted by what to do about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::BrokerConfig;
use crate::error::{Classify, Kind};

/// A failure of the broker or of the connection to it.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker is away, slow or between leaders.
    #[error("{doing}: broker not available: {reason} (is it running at {brokers}?)")]
    Unavailable { doing: &'static str, brokers: String, reason: String },
    /// The configuration or the broker's access rules do not allow this.
    #[error("{doing}: refused: {reason} (check [kafka] properties and the broker's access rules)")]
    Refused { doing: &'static str, reason: String },
    /// The client is beyond use; librdkafka prescribes that the process ends.
    #[error("{doing}: kafka client cannot go on: {reason}")]
    Client { doing: &'static str, reason: String },
    /// A record that the broker will never take, or that cannot be written as JSON.
    #[error("record for topic {topic} cannot be sent: {reason}")]
    Unsendable { topic: String, reason: String },
    /// The topic is not there.
    #[error("topic {name} does not exist (create it from topics/{topic}.yaml)")]
    NoTopic {
        /// The bare name.
        topic: String,
        /// As it should be on the cluster.
        name: String,
    },
    /// The topic has fewer partitions than whoever sends takes it to have.
    #[error("topic {name} has no partition {partition} (it had more once: grow it to as many as it had)")]
    NoPartition {
        /// As the topic is called on the cluster.
        name: String,
        partition: i32,
    },
    /// A topic file is not as expected.
    #[error("topic file {file}: {reason}")]
    TopicFile { file: String, reason: String },
    /// More replicas asked for than there are brokers.
    #[error(
        "topic {topic} wants {replicas} replicas, found {brokers} brokers (start more brokers or set the replication to at most {brokers})"
    )]
    TooFewBrokers { topic: String, replicas: i32, brokers: usize },
}

impl Classify for BrokerError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. } => Kind::Retry,
            Self::Unsendable { .. } => Kind::Poison,
            Self::Refused { .. }
            | Self::Client { .. }
            | Self::NoTopic { .. }
            // Not the record's fault: a role that starts anew learns how many there are, or says that they are too few.
            | Self::NoPartition { .. }
            | Self::TopicFile { .. }
            | Self::TooFewBrokers { .. } => Kind::Fatal,
        }
    }
}

impl BrokerError {
    /// The topic of this bare name is not there.
    pub(super) fn no_topic(config: &BrokerConfig, topic: &str) -> Self {
        Self::NoTopic { topic: topic.to_owned(), name: config.name(topic) }
    }

    /// Sorts a librdkafka error that arose while `doing` something.
    pub(super) fn sort(doing: &'static str, brokers: &str, error: &KafkaError) -> Self {
        let reason = error.to_string();
        match error {
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => Self::Refused { doing, reason },
            KafkaError::MessageConsumptionFatal(_) => Self::Client { doing, reason },
            _ => match error.rdkafka_error_code() {
                Some(Code::Fatal | Code::FencedInstanceId) => Self::Client { doing, reason },
                Some(code) if is_refusal(code) => Self::Refused { doing, reason },
                _ => Self::Unavailable { doing, brokers: brokers.to_owned(), reason },
            },
        }
    }
}

/// Codes that waiting does not cure.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidGroupId
            | Code::InvalidConfig
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::PolicyViolation
            | Code::UnsupportedVersion
            | Code::InconsistentGroupProtocol
            | Code::AutoOffsetReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_by_what_to_do() {
        #[rustfmt::skip]
        let table = [
            (KafkaError::MessageConsumption(Code::AllBrokersDown),            Kind::Retry),
            (KafkaError::MessageProduction(Code::MessageTimedOut),            Kind::Retry),
            (KafkaError::MessageConsumption(Code::UnknownTopicOrPartition),   Kind::Retry),
            (KafkaError::MessageConsumption(Code::GroupAuthorizationFailed),  Kind::Fatal),
            (KafkaError::Global(Code::Authentication),                        Kind::Fatal),
            (KafkaError::MessageConsumptionFatal(Code::FencedInstanceId),     Kind::Fatal),
            (KafkaError::MessageProduction(Code::Fatal),                      Kind::Fatal),
            (KafkaError::ClientCreation("no such property".into()),           Kind::Fatal),
        ];
        for (error, kind) in table {
            assert_eq!(BrokerError::sort("poll", "localhost:9092", &error).kind(), kind, "{error}");
        }
    }
}
