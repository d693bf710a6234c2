//! A Kafka cluster inside the process: librdkafka's own mock cluster, listening on loopback.
//!
//! It keeps everything in memory, at most 5 MiB or 100,000 records per partition (the oldest go silently), and is gone
//! with the value. Other processes of this machine can connect.

use std::ffi::{CStr, CString};

use rdkafka::ClientConfig;
use rdkafka::bindings::{
    rd_kafka_handle_mock_cluster, rd_kafka_mock_cluster_bootstraps, rd_kafka_mock_cluster_t,
    rd_kafka_mock_group_initial_rebalance_delay_ms, rd_kafka_mock_topic_create, rd_kafka_resp_err_t,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer as _};

use super::BrokerConfig;
use super::error::BrokerError;
use super::topics::TopicSpec;

const DOING: &str = "start embedded broker";
/// Kafka's number of the request by which records are given to it.
#[cfg(test)]
const PRODUCE: i16 = 0;

/// Reasons in the order of the lines.
const SETTINGS: &[(&str, &str)] = &[
    // The mock answers a fetch that found nothing only when its time is up, whatever arrives in between.
    ("fetch.wait.max.ms", "10"),
    // A rebalance of a group that had members waits one second less than this, come who may.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "500"),
];

/// A one-broker cluster that lives as long as this value. Close consumers before dropping it: they leave their groups
/// through it.
pub struct EmbeddedBroker {
    brokers: String,
    /// The client that owns the cluster. It produces nothing itself.
    _owner: BaseProducer,
}

impl EmbeddedBroker {
    /// Starts a cluster with `topics`, each of `partitions` partitions where that is given.
    ///
    /// Replication is one; the topics' configuration is not applied.
    ///
    /// # Errors
    /// Fatal: librdkafka cannot listen on loopback, or a topic's name is not acceptable.
    pub fn start(topics: &[TopicSpec], partitions: Option<i32>) -> Result<Self, BrokerError> {
        let owner: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // Ignored, but it must be there.
            .set("bootstrap.servers", "localhost:1")
            // Nothing polls this client, so nothing would read its log.
            .set_log_level(RDKafkaLogLevel::Emerg)
            .create_with_context(DefaultProducerContext)
            .map_err(|error| failed(error.to_string()))?;

        // SAFETY: the handle is a live client's; the cluster that it returns belongs to that client and lives as long.
        let cluster = unsafe { rd_kafka_handle_mock_cluster(owner.client().native_ptr()) };
        if cluster.is_null() {
            return Err(failed("librdkafka did not make its cluster".into()));
        }
        // SAFETY: `cluster` is not null and lives as long as `owner`. Zero spares the first member of a group the
        // three seconds in which a real broker waits for others.
        unsafe { rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        for topic in topics {
            create(cluster, &topic.name, partitions.unwrap_or(topic.partitions))?;
        }
        // SAFETY: as above; the string belongs to the cluster and is copied before anything else happens.
        let brokers = unsafe { CStr::from_ptr(rd_kafka_mock_cluster_bootstraps(cluster)) };
        Ok(Self { brokers: brokers.to_string_lossy().into_owned(), _owner: owner })
    }

    /// `host:port` on loopback.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Answers the next question for a group's committed offsets with an error after which librdkafka does not ask again.
    #[cfg(test)]
    pub(super) fn refuse_offsets(&self) {
        const OFFSET_FETCH: i16 = 9;
        self.refuse(OFFSET_FETCH, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN);
    }

    /// Does not take the next records, as a broker that does not lead their partition yet. From now on it answers after a tenth of a second,
    /// and counts what it is asked.
    #[cfg(test)]
    pub(super) fn refuse_records(&self) {
        use rdkafka::bindings::{rd_kafka_mock_broker_set_rtt, rd_kafka_mock_start_request_tracking};
        self.refuse(PRODUCE, rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION);
        // SAFETY: the handle is a live client's, which owns the cluster.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self._owner.client().native_ptr());
            rd_kafka_mock_start_request_tracking(cluster);
            rd_kafka_mock_broker_set_rtt(cluster, 1, 100);
        }
    }

    /// How often it was asked to take records since [`Self::refuse_records`], answered or not.
    #[cfg(test)]
    pub(super) fn produce_requests(&self) -> usize {
        use rdkafka::bindings::{
            rd_kafka_mock_get_requests, rd_kafka_mock_request_api_key, rd_kafka_mock_request_destroy_array,
        };
        // SAFETY: the handle is a live client's, which owns the cluster; the array has as many requests as is told, and is ours to destroy.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self._owner.client().native_ptr());
            let mut count = 0;
            let requests = rd_kafka_mock_get_requests(cluster, &raw mut count);
            let of_records =
                (0..count).filter(|at| rd_kafka_mock_request_api_key(*requests.add(*at)) == PRODUCE).count();
            rd_kafka_mock_request_destroy_array(requests, count);
            of_records
        }
    }

    /// Answers the next request of a kind with an error.
    #[cfg(test)]
    fn refuse(&self, kind: i16, error: rd_kafka_resp_err_t) {
        use rdkafka::bindings::rd_kafka_mock_push_request_errors_array;
        // SAFETY: the handle is a live client's, which owns the cluster; the one error is copied.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self._owner.client().native_ptr());
            rd_kafka_mock_push_request_errors_array(cluster, kind, 1, &raw const error);
        }
    }

    /// How to reach it, tuned for it.
    pub fn config(&self, client_id: &str) -> BrokerConfig {
        let properties = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (brokers, client_id) = (self.brokers.clone(), client_id.to_owned());
        BrokerConfig { brokers, properties, client_id, ..BrokerConfig::default() }
    }
}

fn create(cluster: *mut rd_kafka_mock_cluster_t, topic: &str, partitions: i32) -> Result<(), BrokerError> {
    let name = CString::new(topic).map_err(|_| failed(format!("topic name {topic:?} contains a zero byte")))?;
    // SAFETY: `cluster` comes from a live client (see `start`), `name` is a C string that the call copies.
    let outcome = unsafe { rd_kafka_mock_topic_create(cluster, name.as_ptr(), partitions, 1) };
    if outcome != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(failed(format!("topic {topic} with {partitions} partitions not created: {outcome:?}")));
    }
    Ok(())
}

fn failed(reason: String) -> BrokerError {
    BrokerError::Client { doing: DOING, reason }
}
