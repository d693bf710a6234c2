//! What every Kafka client shares: librdkafka's log lines become ours.

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::{debug, error, info, warn};

/// Context of clients that need no callbacks.
pub(super) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

/// One of librdkafka's log lines.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    // One set of properties serves producers and consumers; that each ignores the other's is as meant.
    let is_expected = facility == "CONFWARN" || facility == "MOCK";
    match level {
        _ if is_expected => debug!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            error!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => info!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// An error that belongs to no call. librdkafka goes on by itself (it reconnects); what it cannot cure comes out of
/// the next call as well.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
        return; // a reader has caught up, as it asked to be told
    }
    warn!(target: "librdkafka", %error, "{reason}");
}
