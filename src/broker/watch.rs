//! Looks at topics and groups from outside, without being a member: what there is to do, and who does it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use super::BrokerConfig;
use super::client::Quiet;
use super::error::BrokerError;
use super::topics::Cluster;

/// How long a question may take; one that asks for the partitions first, twice that.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks about topics and groups. Clones share their connections.
#[derive(Clone)]
pub struct Watch {
    config: Arc<BrokerConfig>,
    /// librdkafka asks for a group's offsets only through a client of that group, which need not join it. The empty name:
    /// the client of no group. There are as many as groups were asked for, a handful.
    clients: Arc<Mutex<BTreeMap<String, Arc<BaseConsumer<Quiet>>>>>,
}

impl Watch {
    /// Connects with the first question.
    pub fn new(config: &BrokerConfig) -> Self {
        Self { config: Arc::new(config.clone()), clients: Arc::default() }
    }

    /// The offset that the next record of each partition of `topic` will get.
    ///
    /// # Errors
    /// Retry: a leader is away. Fatal: no such topic, or not allowed.
    pub async fn ends(&self, topic: &str) -> Result<BTreeMap<i32, i64>, BrokerError> {
        self.edges("ask for ends", topic, Offset::End).await
    }

    /// The offset of the oldest record that each partition of `topic` still holds, or its end where it holds none.
    ///
    /// # Errors
    /// As [`Watch::ends`].
    pub async fn starts(&self, topic: &str) -> Result<BTreeMap<i32, i64>, BrokerError> {
        self.edges("ask for starts", topic, Offset::Beginning).await
    }

    async fn edges(&self, doing: &'static str, topic: &str, edge: Offset) -> Result<BTreeMap<i32, i64>, BrokerError> {
        let name = self.config.name(topic);
        let asked = self.ask(doing, "", move |client| {
            let Some(mut list) = partitions(client, &name)? else { return Ok(None) };
            // As times these two mean the edges of the log.
            list.set_all_offsets(edge)?;
            offsets(&client.offsets_for_times(list, LIMIT)?).map(Some)
        });
        asked.await?.ok_or_else(|| BrokerError::no_topic(&self.config, topic))
    }

    /// What `group` has committed on `topic`; no entry for a partition of which it has committed nothing.
    ///
    /// # Errors
    /// Retry: the group's coordinator is away. Fatal: no such topic, or not allowed.
    pub async fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, i64>, BrokerError> {
        let (name, group) = (self.config.name(topic), self.config.name(group));
        let asked = self.ask("ask for committed offsets", &group, move |client| {
            let Some(list) = partitions(client, &name)? else { return Ok(None) };
            offsets(&client.committed_offsets(list, LIMIT)?).map(Some)
        });
        asked.await?.ok_or_else(|| BrokerError::no_topic(&self.config, topic))
    }

    /// How many members `group` has; 0 for one that there is not.
    ///
    /// # Errors
    /// Retry: the group's coordinator is away, or the broker cannot tell (the embedded one).
    pub async fn members(&self, group: &str) -> Result<usize, BrokerError> {
        let name = self.config.name(group);
        let asked = self.ask("ask for members", "", move |client| {
            let groups = client.fetch_group_list(Some(&name), LIMIT)?;
            Ok(groups.groups().iter().filter(|group| group.name() == name).map(|group| group.members().len()).sum())
        });
        asked.await
    }

    /// librdkafka's questions block, so they are asked on a thread that may.
    async fn ask<A: Send + 'static>(
        &self,
        doing: &'static str,
        group: &str,
        question: impl FnOnce(&BaseConsumer<Quiet>) -> Result<A, KafkaError> + Send + 'static,
    ) -> Result<A, BrokerError> {
        let (watch, group) = (self.clone(), group.to_owned());
        let asked = tokio::task::spawn_blocking(move || {
            let client = watch.client(&group)?;
            // Nobody else polls it, and what it has to say (a broker is away) would pile up.
            while client.poll(Duration::ZERO).is_some() {}
            question(&client)
        });
        let lost = |error: tokio::task::JoinError| BrokerError::Client { doing, reason: error.to_string() };
        asked.await.map_err(lost)?.map_err(|error| BrokerError::sort(doing, &self.config.brokers, &error))
    }

    fn client(&self, group: &str) -> Result<Arc<BaseConsumer<Quiet>>, KafkaError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(group) {
            return Ok(client.clone());
        }
        let mut settings = self.config.client(&[]);
        settings.set("enable.auto.commit", "false");
        if !group.is_empty() {
            settings.set("group.id", group);
        }
        let client: Arc<BaseConsumer<Quiet>> = Arc::new(settings.create_with_context(Quiet)?);
        clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }
}

/// All partitions of the topic; `None` if it is not there.
fn partitions(client: &BaseConsumer<Quiet>, name: &str) -> Result<Option<TopicPartitionList>, KafkaError> {
    let count = Cluster::of(&client.fetch_metadata(None, LIMIT)?).partitions(name);
    Ok(count.map(|count| {
        let mut list = TopicPartitionList::with_capacity(count as usize);
        list.add_partition_range(name, 0, count - 1);
        list
    }))
}

fn offsets(list: &TopicPartitionList) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let offset = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => Some((element.partition(), offset)),
        _ => None,
    };
    let elements = list.elements();
    elements.iter().try_for_each(TopicPartitionListElem::error)?;
    Ok(elements.iter().filter_map(offset).collect())
}
