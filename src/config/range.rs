//! What each setting accepts: as a check, and in the words of an error message.

use std::path::Path;

use crate::vision::execution::ProviderKind;

use super::{
    CHUNK_SECONDS, CHUNKS_PER_LANE, Config, DAYS, FILE_MB, FRAME_SECONDS, FRAMES, GRACE_SECONDS, JOBS, LANE_MEMORY_MB,
    LANES, OUTSTANDING_CHUNKS, PATIENCE_SECONDS, PIXELS, REPAIR_AFTER_SECONDS, REPLICATION, SECONDS, SIDE, THREADS,
};

/// The first setting whose value is of the right type and still not accepted.
pub(super) fn first_out_of_range(config: &Config) -> Option<&'static str> {
    let Config { kafka, store, locations, limits, ingest, worker, assemble, .. } = config;
    let accepted = [
        ("kafka.brokers", kafka.brokers.as_deref().is_none_or(are_brokers)),
        ("kafka.replication", kafka.replication.is_none_or(|replicas| REPLICATION.contains(&replicas))),
        ("kafka.topic_prefix", is_prefix(&kafka.topic_prefix)),
        ("kafka.static_member", kafka.static_member.as_deref().is_none_or(|name| !name.is_empty())),
        ("store.url", store.url.as_deref().is_none_or(is_store)),
        ("store.endpoint_url", store.endpoint_url.as_deref().is_none_or(is_endpoint)),
        ("store.patience_seconds", PATIENCE_SECONDS.contains(&store.patience_seconds)),
        ("store.retention_days", DAYS.contains(&store.retention_days) && store.retention_days > store.longest_job_days),
        ("store.longest_job_days", DAYS.contains(&store.longest_job_days)),
        ("locations.roots", locations.roots.iter().all(|root| root.is_absolute())),
        ("limits.width", SIDE.contains(&limits.width)),
        ("limits.height", SIDE.contains(&limits.height)),
        ("limits.pixels", PIXELS.contains(&limits.pixels)),
        ("limits.frames", FRAMES.contains(&limits.frames)),
        ("limits.seconds", SECONDS.contains(&limits.seconds)),
        ("limits.file_mb", limits.file_mb.is_none_or(|mb| FILE_MB.contains(&mb))),
        ("ingest.jobs", JOBS.contains(&ingest.jobs)),
        ("ingest.outstanding_chunks", OUTSTANDING_CHUNKS.contains(&ingest.outstanding_chunks)),
        ("worker.lanes", LANES.contains(&worker.lanes)),
        ("worker.threads", THREADS.contains(&worker.threads)),
        ("worker.grace_seconds", GRACE_SECONDS.contains(&worker.grace_seconds)),
        ("worker.lane_memory_mb", LANE_MEMORY_MB.contains(&worker.lane_memory_mb)),
        ("worker.chunk_seconds", CHUNK_SECONDS.contains(&worker.chunk_seconds)),
        ("worker.frame_seconds", FRAME_SECONDS.contains(&worker.frame_seconds)),
        ("worker.chunks_per_lane", CHUNKS_PER_LANE.contains(&worker.chunks_per_lane)),
        ("assemble.grace_seconds", GRACE_SECONDS.contains(&assemble.grace_seconds)),
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
        "kafka.topic_prefix" => "at most 64 of letters, digits, . _ and -".to_owned(),
        "kafka.static_member" => "a name, unique for each process of a role".to_owned(),
        "store.patience_seconds" => format!("{PATIENCE_SECONDS:?}"),
        "store.retention_days" => format!("{DAYS:?}, more than store.longest_job_days"),
        "store.longest_job_days" => format!("{DAYS:?}"),
        "worker.grace_seconds" | "assemble.grace_seconds" => format!("{GRACE_SECONDS:?}"),
        "worker.lane_memory_mb" => format!("{LANE_MEMORY_MB:?}"),
        "worker.chunk_seconds" => format!("{CHUNK_SECONDS:?}"),
        "worker.frame_seconds" => format!("{FRAME_SECONDS:?}"),
        "worker.chunks_per_lane" => format!("{CHUNKS_PER_LANE:?}"),
        "store.url" => "file:///folder or s3://bucket/prefix".to_owned(),
        "store.endpoint_url" => "http://… or https://…".to_owned(),
        "store.force_path_style" => "true or false".to_owned(),
        "locations.roots" => "a list of absolute folders, [\"/srv/faces\"]".to_owned(),
        "limits.width" | "limits.height" => format!("{SIDE:?}"),
        "limits.pixels" => format!("{PIXELS:?}"),
        "limits.frames" => format!("{FRAMES:?}"),
        "limits.seconds" => format!("{SECONDS:?}"),
        "limits.file_mb" => format!("{FILE_MB:?}"),
        "ingest.jobs" | "assemble.jobs" => format!("{JOBS:?}"),
        "ingest.outstanding_chunks" => format!("{OUTSTANDING_CHUNKS:?}"),
        "ingest.gate" => "auto, required or off".to_owned(),
        "ingest.consent" => "required, recorded or off".to_owned(),
        "credentials.sign" => "true or false".to_owned(),
        "credentials.certificate" | "credentials.key" => "a path".to_owned(),
        "credentials.command" => "a program and its arguments, [\"/usr/local/bin/sign\", \"--slot\", \"1\"]".to_owned(),
        "credentials.producer" => {
            "1 to 256 printable ASCII characters but the space, quotation mark and backslash".to_owned()
        }
        "worker.lanes" => format!("{LANES:?}"),
        "worker.threads" => format!("{THREADS:?}"),
        "worker.provider" => format!(
            "some of {}, the preferred one first, as in tensorrt:0/fp16,cuda:0,cpu; for one role as in cpu;swapper=cuda",
            ProviderKind::ALL.map(ProviderKind::name).join(", ")
        ),
        "assemble.repair_after_seconds" => format!("{REPAIR_AFTER_SECONDS:?}"),
        "metrics.listen" => "auto, off or address:port".to_owned(),
        "log.format" => "text or json".to_owned(),
        "onnxruntime" | "scratch" | "models" => "a path".to_owned(),
        "kafka" | "store" | "locations" | "limits" | "ingest" | "worker" | "assemble" | "credentials" | "metrics"
        | "log" => {
            format!("a section, [{setting}]")
        }
        _ => otherwise,
    }
}

fn is_prefix(prefix: &str) -> bool {
    prefix.len() <= 64 && prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
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
