//! Ingest, assembler and three workers of each kind as processes, on an Apache Kafka of their own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use facemill::broker::topics::{self as broker_topics, TopicSpec};
use facemill::broker::{BrokerConfig, Outgoing, Producer};
use facemill::contract::{Job, JobId, State, Status, topics};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::lock;
use super::work::Outcome;
use crate::faults::checker::commits;
use crate::faults::kafka::Kafka;
use crate::faults::process::Process;
use crate::faults::tape::Tape;

/// Workers of each kind: those that swap, and those that pass frames through.
const WORKERS: usize = 3;
/// Partitions of each topic: more than workers, so that all get some.
const PARTITIONS: i32 = 6;
/// How often it is looked whether a job has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fewer chunks than these say nothing about how they are shared.
const SHARED_LEAST: u64 = 200;

/// Of the roles' logs so many lines are told of a job that does not end.
const STORY_LINES: usize = 200;

/// A worker and where it serves its metrics.
struct Worker {
    name: String,
    metrics: SocketAddr,
}

/// All roles over one store.
pub struct Cluster {
    // Dropped in this order: roles end before their broker does.
    roles: Mutex<Vec<Process>>,
    workers: Vec<Worker>,
    tape: Mutex<Tape>,
    producer: Producer,
    runtime: Runtime,
    /// Before the name of each topic and group; nobody else's, so that roles which a killed harness has left do not join in.
    prefix: String,
    _kafka: Kafka,
}

impl Cluster {
    /// Starts everything. Jobs may name files in `root`; logs and store go to `folder`.
    pub fn start(program: &Path, folder: &Path, root: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let kafka = Kafka::start(&folder.join("kafka"), None, Kafka::free_port()?)?;
        let brokers = kafka.address();
        let config =
            BrokerConfig { brokers: brokers.clone(), client_id: "matrix".to_owned(), ..BrokerConfig::default() };
        let prefix = format!("matrix-{}-", std::process::id());
        let named =
            |spec: TopicSpec| TopicSpec { name: format!("{prefix}{}", spec.name), partitions: PARTITIONS, ..spec };
        let specs: Vec<TopicSpec> = TopicSpec::builtin()?.into_iter().map(named).collect();
        runtime.block_on(broker_topics::ensure(&config, &specs, Some(1)))?;
        let producer = {
            let _context = runtime.enter();
            Producer::start(&config)?
        };
        let settings = format!("[kafka]\nbrokers = \"{brokers}\"\nreplication = 1\ntopic_prefix = \"{prefix}\"\n");
        std::fs::write(folder.join("facemill.toml"), settings)?;
        let (store, photos) =
            (folder.join("store"), Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo").canonicalize()?);
        let start = |name: &str, metrics: &str, arguments: &[&str]| -> Result<Process> {
            let mut command = Command::new(program);
            command.current_dir(folder).env("FACEMILL_SCRATCH", folder.join("scratch")).args(arguments);
            command.args(["--verbose", "--metrics", metrics, "--store", &format!("file://{}", store.display())]);
            command.arg("--root").arg(root).arg("--root").arg(&photos);
            Process::start(command, &folder.join(format!("{name}.log")))
        };
        let mut roles = vec![start("ingest", "off", &["ingest"])?, start("assemble", "off", &["assemble"])?];
        let mut workers = Vec::new();
        for swapper in ["none", "mesh"] {
            for number in 0..WORKERS {
                let name = format!("worker-{swapper}-{number}");
                let metrics = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // free again at once
                roles.push(start(&name, &metrics.to_string(), &["worker", "--workers", "1", "--swapper", swapper])?);
                workers.push(Worker { name, metrics });
            }
        }
        let tape = Tape::start(&brokers, &prefix)?;
        Ok(Self { roles: Mutex::new(roles), workers, tape: Mutex::new(tape), producer, runtime, prefix, _kafka: kafka })
    }

    /// Publishes a job and waits for its end.
    pub fn run(&self, name: &str, job: &Value, limit: Duration) -> Result<Outcome> {
        let id: JobId = name.parse()?;
        let job: Job = serde_json::from_value(job.clone())?;
        let topic = format!("{}{}", self.prefix, topics::JOBS);
        let record = Outgoing { topic: &topic, key: Some(name), partition: None, headers: &[], value: &job };
        self.runtime.block_on(self.producer.send(record))?;
        let began = Instant::now();
        loop {
            if let Some(outcome) = self.status(&id).as_ref().and_then(outcome) {
                return Ok(outcome);
            }
            if let Some(ended) = lock(&self.roles).iter_mut().find_map(|role| role.ended().transpose()) {
                bail!("a role has ended: {}", ended?);
            }
            if began.elapsed() > limit {
                bail!("{name} has not ended after {limit:?}: {}", self.story(&id));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// How many chunks each worker has done, in words; an error if there were many and one has done none.
    pub fn shares(&self) -> Result<String> {
        let mut shares = Vec::new();
        for worker in &self.workers {
            shares.push((&worker.name, chunks_done(worker.metrics)?));
        }
        let all: u64 = shares.iter().map(|(_, done)| done).sum();
        let words: Vec<String> = shares.iter().map(|(name, done)| format!("{name} {done}")).collect();
        let words = format!("chunks done: {}", words.join(", "));
        ensure!(all < SHARED_LEAST || shares.iter().all(|(_, done)| *done > 0), "a worker has done nothing: {words}");
        Ok(words)
    }

    /// What the roles have said of a job, then how far it and they have come: the end is what stays where output is cut off.
    fn story(&self, job: &JobId) -> String {
        let said: Vec<String> = lock(&self.roles).iter().map(|role| role.said()).collect();
        let marks = [job.as_str(), "partitions=", "come again", "handed back", "WARN", "ERROR"];
        let is_told = |line: &&str| marks.iter().any(|mark| line.contains(mark));
        let mut lines: Vec<&str> = said.iter().flat_map(|said| said.lines().filter(is_told)).collect();
        lines.sort_unstable(); // each begins with its time
        let last = &lines[lines.len().saturating_sub(STORY_LINES)..];
        let status = self.status(job);
        let mut tape = lock(&self.tape);
        let groups =
            [(topics::INGEST_GROUP.to_owned(), topics::JOBS), (topics::ASSEMBLE_GROUP.to_owned(), topics::COMPLETIONS)];
        let workers = commits::workers(&tape.records).into_iter().map(|group| (group, topics::CHUNKS));
        let committed: Vec<String> = groups
            .into_iter()
            .chain(workers)
            .map(|(group, topic)| format!("{group} on {topic} {:?}", tape.committed(&group, topic)))
            .collect();
        let records = &tape.records;
        let published =
            records.jobs.iter().filter(|entry| entry.value.as_ref().is_some_and(|record| record.job == *job));
        let published: Vec<String> = published.map(|entry| format!("{}@{}", entry.partition, entry.offset)).collect();
        let ordered = records.chunks.iter().filter_map(|entry| Some((entry, entry.value.as_ref()?)));
        let ordered = ordered.filter(|(_, record)| record.job == *job);
        let ordered: Vec<String> = ordered
            .map(|(entry, record)| format!("{} at {}@{}", record.index, entry.partition, entry.offset))
            .collect();
        let settled = records.settled().filter(|(of, ..)| *of == job);
        let settled: Vec<String> = settled.map(|(_, _, index, outcome)| format!("{index}: {outcome:?}")).collect();
        format!(
            "the roles' logs:\n{}\npublished at {}; chunks ordered: {}; settled: {}; committed: {}; last status: {status:?}",
            last.join("\n"),
            published.join(", "),
            ordered.join(", "),
            settled.join(", "),
            committed.join(", "),
        )
    }

    fn status(&self, job: &JobId) -> Option<Status> {
        let mut tape = lock(&self.tape);
        tape.poll();
        tape.records.status.get(job)?.value.clone()
    }
}

fn chunks_done(metrics: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(metrics).context("ask a worker for its metrics")?;
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {metrics}\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let is_mine = |line: &&str| line.starts_with("facemill_chunks_total") && line.contains("outcome=\"done\"");
    let values = text.lines().filter(is_mine).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

fn outcome(status: &Status) -> Option<Outcome> {
    let reason = || status.reason.clone().unwrap_or_default();
    match status.state {
        State::Done => Some(Outcome::Done),
        _ if !status.state.is_final() => None,
        _ if status.refused => Some(Outcome::Refused(reason())),
        _ => Some(Outcome::Failed(reason())),
    }
}
