//! Everything that can be watched: metrics, all declared here; the log; and the HTTP that serves them.
//!
//! Modules call the small functions below (`telemetry::stage(Stage::Decode, elapsed)`); nothing else names a metric. Every
//! label is an enum, so the number of series is known: job ids, chunks and paths belong in the log.
//! Where nothing was [`install`]ed the functions do nothing.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::error::{Classify, Kind};

mod http;
mod logs;

pub use http::{Ready, Server, bind};
pub use logs::init_logs;

/// One metric as `/metrics` shows it.
#[derive(Clone, Copy, Debug)]
struct Metric {
    name: &'static str,
    kind: MetricKind,
    unit: Unit,
    help: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum MetricKind {
    Counter,
    Gauge,
    /// Upper bounds of the buckets, in the metric's unit.
    Histogram(&'static [f64]),
}

/// A chunk of a short clip passes a stage in milliseconds, one of a 4K clip on a slow disk in minutes.
const STAGE_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// A local file answers in under a millisecond; requests are given up after a minute.
const REQUEST_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

const JOBS: Metric = Metric {
    name: "facemill_jobs_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Jobs by what became of them.",
};
const CHUNKS: Metric = Metric {
    name: "facemill_chunks_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Chunks by how they were settled; reused ones were found in the store.",
};
const FRAMES: Metric = Metric {
    name: "facemill_frames_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Frames of chunks that were computed here: swapped, or passed through without a face.",
};
const FACES: Metric =
    Metric { name: "facemill_faces_total", kind: MetricKind::Counter, unit: Unit::Count, help: "Faces swapped." };
const STAGE_SECONDS: Metric = Metric {
    name: "facemill_stage_seconds",
    kind: MetricKind::Histogram(STAGE_BUCKETS),
    unit: Unit::Seconds,
    help: "Time that one chunk (in ingest and assemble: one job) spent in a stage.",
};
const CONSUMER_LAG: Metric = Metric {
    name: "facemill_consumer_lag_records",
    kind: MetricKind::Gauge,
    unit: Unit::Count,
    help: "Records of this consumer's partitions that are not committed yet.",
};
const CONSUMER_STALLS: Metric = Metric {
    name: "facemill_consumer_stalls_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Partitions that gave nothing although records were waiting; their group was joined again.",
};
const LANES: Metric =
    Metric { name: "facemill_lanes", kind: MetricKind::Gauge, unit: Unit::Count, help: "Lanes of this worker." };
const LANES_BUSY: Metric = Metric {
    name: "facemill_lanes_busy",
    kind: MetricKind::Gauge,
    unit: Unit::Count,
    help: "Lanes that have a chunk.",
};
const LANE_ENDS: Metric = Metric {
    name: "facemill_lane_ends_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Processes of lanes that have ended and were replaced, by why.",
};
const STORE_REQUESTS: Metric = Metric {
    name: "facemill_store_requests_total",
    kind: MetricKind::Counter,
    unit: Unit::Count,
    help: "Requests to the object store, by answer.",
};
const STORE_SECONDS: Metric = Metric {
    name: "facemill_store_request_seconds",
    kind: MetricKind::Histogram(REQUEST_BUCKETS),
    unit: Unit::Seconds,
    help: "Time until the object store had answered in full.",
};

/// Every metric there is.
const ALL: [Metric; 12] = [
    JOBS,
    CHUNKS,
    FRAMES,
    FACES,
    STAGE_SECONDS,
    CONSUMER_LAG,
    CONSUMER_STALLS,
    LANES,
    LANES_BUSY,
    LANE_ENDS,
    STORE_REQUESTS,
    STORE_SECONDS,
];

/// An enum whose variants are the values of one label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The label's text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

label! {
    /// What became of a job.
    JobOutcome {
        /// Planned; its chunks are being published.
        Accepted = "accepted",
        /// Its output is in place.
        Done = "done",
        /// Given up, with a reason.
        Failed = "failed",
        /// Stopped by its producer.
        Cancelled = "cancelled",
    }
}

label! {
    /// How a chunk was settled.
    ChunkOutcome {
        /// Computed here.
        Done = "done",
        /// Its result was in the store.
        Reused = "reused",
        /// Given up, with a reason.
        Failed = "failed",
        /// What it is made from was not there, or corrupt: asked for again.
        Missing = "missing",
        /// Not for this worker, or of a job that is over.
        Skipped = "skipped",
    }
}

label! {
    /// What was done to a frame.
    FrameOutcome {
        /// At least one face was swapped.
        Swapped = "swapped",
        /// No face was seen, or none was looked for.
        Passed = "passed",
    }
}

label! {
    /// Where the time goes, in the order in which data meets the stages.
    Stage {
        /// A clip, portrait or slice comes to local disk.
        Fetch = "fetch",
        /// A clip is read through.
        Probe = "probe",
        /// Photos are checked, and a clip's usual look is learnt.
        Analyse = "analyse",
        /// A clip is cut into slices.
        Slice = "slice",
        /// A chunk waits for a lane.
        Wait = "wait",
        /// Packets become frames.
        Decode = "decode",
        /// Faces are found and followed.
        Track = "track",
        /// Faces are swapped.
        Swap = "swap",
        /// Frames are made larger.
        Upscale = "upscale",
        /// A text is drawn into frames.
        Label = "label",
        /// Frames become packets.
        Encode = "encode",
        /// A slice or result goes to the store.
        Upload = "upload",
        /// A record is sent and acknowledged.
        Publish = "publish",
        /// Results become the output.
        Join = "join",
    }
}

label! {
    /// Why a lane's process was replaced.
    LaneEnd {
        /// It has done its number of chunks.
        Worn = "worn",
        /// It has died by itself.
        Crashed = "crashed",
        /// It had no more memory.
        Memory = "memory",
        /// It was at one chunk for too long.
        Deadline = "deadline",
        /// It did not stop when it was asked to.
        Stuck = "stuck",
        /// It did not come up.
        Start = "start",
    }
}

label! {
    /// A topic that is consumed.
    Topic {
        /// Jobs from producers.
        Jobs = "jobs",
        /// Chunks to be worked on.
        Chunks = "chunks",
        /// News of chunks.
        Completions = "completions",
        /// News of jobs.
        Status = "status",
    }
}

label! {
    /// A request to the object store.
    StoreOperation {
        /// Create if absent.
        PutNew = "put_new",
        /// Replace a known version.
        Replace = "replace",
        /// Read into memory.
        Get = "get",
        /// Read into a file.
        Fetch = "fetch",
        /// Read the end.
        Tail = "tail",
        /// Ask for size and version.
        Head = "head",
        /// List a prefix.
        List = "list",
        /// Remove.
        Delete = "delete",
    }
}

label! {
    /// The object store's answer.
    StoreOutcome {
        /// Done.
        Ok = "ok",
        /// There already, or another version is: someone else was first.
        Exists = "exists",
        /// Not there.
        NotFound = "not_found",
        /// Refused, or not reachable.
        Error = "error",
    }
}

/// A job was accepted or reached a final state.
pub fn job(outcome: JobOutcome) {
    counter!(JOBS.name, "outcome" => outcome.as_str()).increment(1);
}

/// A chunk was settled.
pub fn chunk(outcome: ChunkOutcome) {
    counter!(CHUNKS.name, "outcome" => outcome.as_str()).increment(1);
}

/// Frames of one chunk were computed.
pub fn frames(outcome: FrameOutcome, count: u64) {
    counter!(FRAMES.name, "outcome" => outcome.as_str()).increment(count);
}

/// Faces of one chunk were swapped.
pub fn faces(count: u64) {
    counter!(FACES.name).increment(count);
}

/// A chunk or job has left a stage in which it spent `elapsed`; for stages that work frame by frame, the sum over its frames.
pub fn stage(stage: Stage, elapsed: Duration) {
    histogram!(STAGE_SECONDS.name, "stage" => stage.as_str()).record(elapsed.as_secs_f64());
}

/// How often a role looks at its lag.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Records of `topic` not committed yet, over the partitions assigned to this process.
pub fn consumer_lag(topic: Topic, records: i64) {
    gauge!(CONSUMER_LAG.name, "topic" => topic.as_str()).set(records.max(0) as f64);
}

/// A partition of `topic` gave nothing although records were waiting.
pub fn consumer_stalled(topic: &str) {
    counter!(CONSUMER_STALLS.name, "topic" => topic.to_owned()).increment(1);
}

/// This worker has so many lanes.
pub fn lanes(count: usize) {
    gauge!(LANES.name).set(count as f64);
    gauge!(LANES_BUSY.name).increment(0.0);
}

/// A lane has a chunk for as long as the value lives.
#[must_use = "the lane counts as busy until this is dropped"]
pub struct BusyLane(());

/// A lane takes a chunk.
pub fn busy_lane() -> BusyLane {
    gauge!(LANES_BUSY.name).increment(1.0);
    BusyLane(())
}

impl Drop for BusyLane {
    fn drop(&mut self) {
        gauge!(LANES_BUSY.name).decrement(1.0);
    }
}

/// A lane's process has ended, and another takes its place.
pub fn lane_ended(why: LaneEnd) {
    counter!(LANE_ENDS.name, "reason" => why.as_str()).increment(1);
}

/// The object store answered.
pub fn store_request(operation: StoreOperation, outcome: StoreOutcome, elapsed: Duration) {
    let operation = operation.as_str();
    counter!(STORE_REQUESTS.name, "operation" => operation, "outcome" => outcome.as_str()).increment(1);
    histogram!(STORE_SECONDS.name, "operation" => operation).record(elapsed.as_secs_f64());
}

/// Why a process cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// [`install`] was called twice, or another recorder is there.
    #[error("metrics are already recorded in this process; install telemetry once, at start")]
    Installed,
    /// The log is already set up.
    #[error("the log is already set up in this process; call init_logs once, at start")]
    LogsInstalled,
    /// The directives of `log.filter` cannot be read.
    #[error("log.filter is {filter:?} (expected directives, \"warn,facemill=debug\"): {reason}")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("metrics.listen {address} cannot be listened on: {source}; free it, choose another, or set it to off")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server broke off.
    #[error("the metrics server broke off: {0}")]
    Serve(#[source] std::io::Error),
}

impl Classify for TelemetryError {
    fn kind(&self) -> Kind {
        Kind::Fatal
    }
}

/// What has been recorded so far.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples into their buckets; called now and then, it keeps memory bounded where nobody scrapes.
    fn fold(&self) {
        self.0.run_upkeep();
    }
}

/// Starts recording in this process, once.
pub fn install() -> Result<Metrics, TelemetryError> {
    let recorder = recorder();
    let metrics = Metrics(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Installed)?;
    declare();
    Ok(metrics)
}

fn recorder() -> PrometheusRecorder {
    let mut builder = PrometheusBuilder::new();
    for metric in ALL {
        if let MetricKind::Histogram(bounds) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                .expect("every histogram is declared with at least one bucket");
        }
    }
    builder.build_recorder()
}

/// Describes every metric, and starts every counter and histogram at zero so that rates are right from the first event on.
/// Gauges appear when they are first set: a worker has no lag of `jobs`.
fn declare() {
    for Metric { name, kind, unit, help } in ALL {
        match kind {
            MetricKind::Counter => describe_counter!(name, unit, help),
            MetricKind::Gauge => describe_gauge!(name, unit, help),
            MetricKind::Histogram(_) => describe_histogram!(name, unit, help),
        }
    }
    for outcome in JobOutcome::ALL {
        counter!(JOBS.name, "outcome" => outcome.as_str()).increment(0);
    }
    for outcome in ChunkOutcome::ALL {
        counter!(CHUNKS.name, "outcome" => outcome.as_str()).increment(0);
    }
    for outcome in FrameOutcome::ALL {
        counter!(FRAMES.name, "outcome" => outcome.as_str()).increment(0);
    }
    faces(0);
    for why in LaneEnd::ALL {
        counter!(LANE_ENDS.name, "reason" => why.as_str()).increment(0);
    }
    for stage in Stage::ALL {
        drop(histogram!(STAGE_SECONDS.name, "stage" => stage.as_str()));
    }
    for topic in Topic::ALL {
        counter!(CONSUMER_STALLS.name, "topic" => topic.as_str()).increment(0);
    }
    for operation in StoreOperation::ALL {
        for outcome in StoreOutcome::ALL {
            let labels = [("operation", operation.as_str()), ("outcome", outcome.as_str())];
            counter!(STORE_REQUESTS.name, &labels).increment(0);
        }
        drop(histogram!(STORE_SECONDS.name, "operation" => operation.as_str()));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `/metrics` shows after `record`, in a recorder of its own.
    pub(crate) fn recorded(record: impl FnOnce()) -> Metrics {
        let recorder = recorder();
        let metrics = Metrics(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            declare();
            record();
        });
        metrics
    }

    /// Sets every gauge; counters and histograms need no event.
    pub(crate) fn set_gauges() {
        lanes(2);
        Topic::ALL.iter().for_each(|topic| consumer_lag(*topic, 0));
    }

    #[test]
    fn names_follow_the_field() {
        for metric in ALL {
            let suffix = match (metric.kind, metric.unit) {
                (MetricKind::Counter, _) => "_total",
                (_, Unit::Seconds) => "_seconds",
                _ => "",
            };
            assert!(metric.name.starts_with("facemill_") && metric.name.ends_with(suffix), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.help);
            if let MetricKind::Histogram(bounds) = metric.kind {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }

    #[test]
    fn every_function_moves_its_metric() {
        let metrics = recorded(|| {
            job(JobOutcome::Accepted);
            chunk(ChunkOutcome::Done);
            chunk(ChunkOutcome::Done);
            frames(FrameOutcome::Swapped, 64);
            faces(65);
            stage(Stage::Decode, Duration::from_millis(20));
            consumer_lag(Topic::Chunks, 7);
            consumer_stalled("chunks");
            lanes(4);
            let _first = busy_lane();
            drop(busy_lane());
            lane_ended(LaneEnd::Deadline);
            store_request(StoreOperation::PutNew, StoreOutcome::Exists, Duration::from_millis(3));
            std::mem::forget(_first);
        });
        let text = metrics.render();
        let expected = [
            r#"facemill_jobs_total{outcome="accepted"} 1"#,
            r#"facemill_jobs_total{outcome="failed"} 0"#,
            r#"facemill_chunks_total{outcome="done"} 2"#,
            r#"facemill_frames_total{outcome="swapped"} 64"#,
            "facemill_faces_total 65",
            r#"facemill_stage_seconds_bucket{stage="decode",le="0.01"} 0"#,
            r#"facemill_stage_seconds_bucket{stage="decode",le="0.025"} 1"#,
            r#"facemill_stage_seconds_count{stage="join"} 0"#,
            r#"facemill_consumer_lag_records{topic="chunks"} 7"#,
            r#"facemill_consumer_stalls_total{topic="chunks"} 1"#,
            r#"facemill_consumer_stalls_total{topic="jobs"} 0"#,
            "facemill_lanes 4",
            "facemill_lanes_busy 1",
            r#"facemill_lane_ends_total{reason="deadline"} 1"#,
            r#"facemill_store_requests_total{operation="put_new",outcome="exists"} 1"#,
            r#"facemill_store_request_seconds_count{operation="put_new"} 1"#,
        ];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn every_metric_is_shown_with_help_and_type() {
        let text = recorded(set_gauges).render();
        for metric in ALL {
            let kind = match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram(_) => "histogram",
            };
            let help = format!("# HELP {} {}", metric.name, metric.help);
            let kind = format!("# TYPE {} {kind}", metric.name);
            assert!(text.lines().any(|line| line == help), "{help} is missing in:\n{text}");
            assert!(text.lines().any(|line| line == kind), "{kind} is missing in:\n{text}");
        }
    }
}
