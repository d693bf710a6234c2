//! Kafka: consumers that commit contiguously, producers that are acknowledged, and a broker inside the process.
//!
//! The only user of `rdkafka`. It is generic over serde types and knows nothing of what the records mean.
//!
//! - [`Consumer`]: a member of a group. Records come with a [`Claim`]; finished claims move the commit position.
//! - [`Reader`]: follows a whole topic without a group, e.g. for progress.
//! - [`Watch`]: ends, committed offsets and members, asked from outside.
//! - [`Producer`]: idempotent, `acks=all`.
//! - [`topics`]: the topics as files, made where they are missing.
//! - [`EmbeddedBroker`]: librdkafka's own cluster on loopback, for one machine and for tests.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

mod assignment;
mod claim;
mod client;
mod consumer;
mod delivery;
mod embedded;
mod error;
mod partitioner;
mod poll;
mod producer;
mod pulse;
mod reader;
mod silence;
pub mod topics;
mod watch;
mod window;

pub use claim::{Claim, Lease, LeaseLost};
pub use consumer::{Consumer, Event, Options};
pub use delivery::{Delivery, Headers, Malformed};
pub use embedded::EmbeddedBroker;
pub use error::BrokerError;
pub use partitioner::keyed_partition;
pub use producer::{Outgoing, Producer};
pub use reader::{News, Reader, StartAt};
pub use watch::Watch;
pub use window::OffsetWindow;

/// The version of librdkafka.
pub fn library_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// Where the brokers are and how to speak to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerConfig {
    /// `host:port`, comma-separated.
    pub brokers: String,
    /// Any librdkafka property (SASL, TLS, timeouts); wins over ours, but for those on which it depends that nothing is lost: a producer's
    /// requests in flight, a consumer's group and what it commits by itself.
    pub properties: BTreeMap<String, String>,
    /// Shown in the brokers' logs and metrics; empty for librdkafka's own.
    pub client_id: String,
    /// Put before the name of every topic and group, so that several installations can share a cluster. Only this module
    /// knows: names that go in and come out are bare.
    pub prefix: String,
    /// `group.instance.id` of the members that this process starts: a restart within the session time-out causes no
    /// rebalance. Unique within each group.
    pub static_member: Option<String>,
}

impl BrokerConfig {
    /// The name of a topic or group as the cluster has it.
    fn name(&self, bare: &str) -> String {
        format!("{}{bare}", self.prefix)
    }

    /// librdkafka's configuration: `ours`, then the owner's properties over them.
    fn client(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        if !self.client_id.is_empty() {
            config.set("client.id", &self.client_id);
        }
        for (name, value) in ours {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

#[cfg(test)]
mod tests;
