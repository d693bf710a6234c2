//! Every role of one cluster, as processes over one store.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::support::{Bench, Running, facemill};

/// So that a fault fails a test instead of hanging it.
pub const LIMIT: Duration = Duration::from_secs(180);

/// All tests use the same topics and groups: a role of one would take the jobs of another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Every role of one cluster, over one store.
pub struct Cluster {
    // Fields are dropped in this order: the roles end before the turn does.
    pub roles: Vec<Running>,
    pub bench: Bench,
    pub brokers: String,
    pub settings: Vec<(&'static str, &'static str)>,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    pub fn new() -> Self {
        let brokers = std::env::var("FACEMILL_TEST_BROKERS")
            .expect("FACEMILL_TEST_BROKERS names a Kafka broker: run `make test-kafka`, or set it to what deploy/kafka/start.sh prints");
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        Self { roles: Vec::new(), bench: Bench::new(), brokers, settings: Vec::new(), _turn }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = facemill();
        command.current_dir(self.bench.path(".")).args(arguments).args(["--brokers", &self.brokers]);
        command.env("FACEMILL_KAFKA__REPLICATION", "1").env("FACEMILL_KAFKA__SESSION_TIMEOUT_MS", "6000");
        command.env("FACEMILL_SCRATCH", self.bench.path("scratch")).envs(self.settings.iter().copied());
        command
    }

    /// Starts a role and waits until it serves its metrics; returns its number and their address.
    pub fn start(&mut self, role: &[&str]) -> (usize, String) {
        let free = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = free.local_addr().expect("a bound address").to_string();
        drop(free);
        let mut started = self.spawn(role, &address);
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            let ended = started.0.try_wait().expect("its state can be asked for");
            assert!(ended.is_none() && began.elapsed() < LIMIT, "{role:?} serves no metrics: {ended:?}");
            std::thread::yield_now();
        }
        self.roles.push(started);
        (self.roles.len() - 1, address)
    }

    pub fn spawn(&self, role: &[&str], metrics: &str) -> Running {
        let store = format!("file://{}", self.bench.path("store").display());
        let root = self.bench.path("").display().to_string();
        let mut command = self.command(role);
        command
            .args(["--store", &store, "--root", &root, "--metrics", metrics])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.spawn().expect("a role can be started"))
    }

    pub fn submit(&self, job: &Value) {
        let mut submit = self.command(&["submit", "-"]);
        let mut child =
            Running(submit.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("submit can be started"));
        write!(child.0.stdin.take().expect("a pipe"), "{job}").expect("submit reads its input");
        assert!(child.0.wait().expect("submit ends").success());
    }

    /// Runs a command of the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program can be started")
    }

    /// Deletes every record of a topic, as its retention would one day.
    pub fn delete_all_records(&self, topic: &str) {
        let admin: AdminClient<_> =
            ClientConfig::new().set("bootstrap.servers", &self.brokers).create().expect("a client");
        let metadata = admin.inner().fetch_metadata(None, LIMIT).expect("the broker answers");
        let found = metadata.topics().iter().find(|found| found.name() == topic).expect("the topic is there");
        let mut ends = TopicPartitionList::new();
        for partition in found.partitions() {
            ends.add_partition_offset(topic, partition.id(), Offset::End).expect("an offset");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let deleted = runtime.block_on(admin.delete_records(&ends, &AdminOptions::new()));
        deleted.expect("records can be deleted");
    }

    /// The topic's dead letters, newest last.
    pub fn dead_letters(&self) -> Vec<Value> {
        let output = self.run(&["dead-letters", "list", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("text");
        lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Follows a job to the end of its first run that has one; calls `each` with every status, and returns the last one.
    pub fn follow(&self, job: &str, each: impl FnMut(&Value)) -> Value {
        self.follow_from_run(job, 1, each)
    }

    /// As [`Cluster::follow`], to the end of run `run` or a later one.
    pub fn follow_from_run(&self, job: &str, run: u64, mut each: impl FnMut(&Value)) -> Value {
        let began = Instant::now();
        loop {
            let last = self.watch(job, &mut each);
            if last["run"].as_u64() >= Some(run) {
                return last;
            }
            assert!(began.elapsed() < LIMIT, "{job} has no run {run}");
        }
    }

    fn watch(&self, job: &str, each: &mut impl FnMut(&Value)) -> Value {
        let status = self.command(&["status", job, "--watch", "--json"]);
        let mut watch = Command::new("timeout");
        watch.arg(LIMIT.as_secs().to_string()).arg(status.get_program()).args(status.get_args());
        watch.envs(status.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut child =
            Running(watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("status can be started"));
        let lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
        for line in lines {
            let status: Value = serde_json::from_str(&line.expect("text")).expect("JSON lines");
            each(&status);
            if ["done", "failed", "cancelled"].contains(&status["state"].as_str().unwrap_or("")) {
                return status;
            }
        }
        panic!("{job} has no final state after {LIMIT:?}");
    }
}

/// A metric's value over all its labels that contain `label`.
pub fn metric(address: &str, name: &str, label: &str) -> f64 {
    let mut stream = TcpStream::connect(address).expect("the role serves its metrics");
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
        .expect("a request can be sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

pub fn location(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// A job that passes frames through, in chunks of `frames` frames.
pub fn pass(job: &str, clip: &Path, output: &Path, frames: u32) -> Value {
    json!({
        "job": job, "sources": [], "target": location(clip), "output": location(output),
        "swap": { "swapper": "none" }, "video": { "crf": 0, "preset": "ultrafast" }, "chunk_frames": [frames, frames],
    })
}
