//! What each setting accepts: as a check, and in the words of an error message.

use std::path::Path;

use super::{Config, JOBS, LANES, OUTSTANDING_CHUNKS, REPAIR_AFTER_SECONDS, REPLICATION, THREADS};

/// The first setting whose value is of the right type and still not accepted.
pub(super) fn first_out_of_range(config: &Config) -> Option<&'static str> {
    let Config { kafka, store, locations, ingest, worker, assemble, .. } = config;
    let accepted = [
        ("kafka.brokers", kafka.brokers.as_deref().is_none_or(are_brokers)),
        ("kafka.replication", kafka.replication.is_none_or(|replicas| REPLICATION.contains(&replicas))),
        ("store.url", store.url.as_deref().is_none_or(is_store)),
        ("store.endpoint_url", store.endpoint_url.as_deref().is_none_or(is_endpoint)),
        ("locations.roots", locations.roots.iter().all(|root| root.is_absolute())),
        ("ingest.jobs", JOBS.contains(&ingest.jobs)),
        ("ingest.outstanding_chunks", OUTSTANDING_CHUNKS.contains(&ingest.outstanding_chunks)),
        ("worker.lanes", LANES.contains(&worker.lanes)),
        ("worker.threads", THREADS.contains(&worker.threads)),
        ("worker.provider", !worker.provider.is_empty()),
        ("assemble.jobs", JOBS.contains(&assemble.jobs)),
        ("assemble.repair_after_seconds", REPAIR_AFTER_SECONDS.contains(&assemble.repair_after_seconds)),
    ];
    accepted.into_iter().find_map(|(setting, is_accepted)| (!is_accepted).then_some(setting))
}

/// What a setting accepts, in words; `otherwise` for those not listed.
pub(super) fn expected(setting: &str, otherwise: String) -> String {
    match setting {
        "kafka.brokers" => "host:port, several separated by commas".to_owned(),
        "kafka.replication" => format!("{REPLICATION:?}"),
        "store.url" => "file:///folder or s3://bucket/prefix".to_owned(),
        "store.endpoint_url" => "http://… or https://…".to_owned(),
        "store.force_path_style" => "true or false".to_owned(),
        "locations.roots" => "a list of absolute folders, [\"/srv/faces\"]".to_owned(),
        "ingest.jobs" | "assemble.jobs" => format!("{JOBS:?}"),
        "ingest.outstanding_chunks" => format!("{OUTSTANDING_CHUNKS:?}"),
        "worker.lanes" => format!("{LANES:?}"),
        "worker.threads" => format!("{THREADS:?}"),
        "worker.provider" => "the name of an execution provider, cpu".to_owned(),
        "assemble.repair_after_seconds" => format!("{REPAIR_AFTER_SECONDS:?}"),
        "metrics.listen" => "auto, off or address:port".to_owned(),
        "log.format" => "text or json".to_owned(),
        "onnxruntime" | "scratch" => "a path".to_owned(),
        "kafka" | "store" | "locations" | "ingest" | "worker" | "assemble" | "metrics" | "log" => {
            format!("a section, [{setting}]")
        }
        _ => otherwise,
    }
}

/// `host:port`, comma-separated; the port may be left out, as librdkafka allows.
fn are_brokers(list: &str) -> bool {
    list.split(',').all(|broker| {
        let broker = broker.trim();
        let (host, port) = broker.rsplit_once(':').unwrap_or((broker, "9092"));
        let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
        is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn is_store(url: &str) -> bool {
    let is_folder = url.strip_prefix("file://").is_some_and(|path| Path::new(path).is_absolute());
    is_folder || url.strip_prefix("s3://").is_some_and(|bucket| !bucket.is_empty() && !bucket.starts_with('/'))
}

fn is_endpoint(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty())
}
