//! A universe: topics, groups, a store and roles of its own, on a broker that it shares with others.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use facemill::broker::topics::{TopicSpec, ensure};
use facemill::broker::{BrokerConfig, Outgoing, Producer};
use facemill::contract::{JobEvent, partition_of, topics};
use rustix::process::Signal;

use super::Harness;
use super::checker::commits::CommitWatch;
use super::process::{Process, read_from};
use super::tape::Tape;

mod shape;
mod slot;

pub use shape::{Kind, Place, Sessions, Shape};
pub use slot::{Cause, Fault};

use shape::WORKER_GRACE_SECONDS;
use slot::Slot;

/// How often roles may end by themselves while they are waited for.
const GAVE_UP_MAX: usize = 10;
/// What makes a role one of another version: ingest names another group, and workers are in it.
const NEXT_VERSION: (&str, &str) = ("FACEMILL_WORKER__PROVIDER", "openvino,cpu");

/// See the module.
pub struct Universe {
    pub prefix: String,
    pub folder: PathBuf,
    pub place: Place,
    pub tape: Tape,
    pub commits: CommitWatch,
    pub brokers: String,
    pub sessions: Sessions,
    keep: bool,
    producer: Producer,
    program: PathBuf,
    runtime: tokio::runtime::Handle,
    shape: Shape,
    slots: Vec<Slot>,
    /// All that happened since they were last taken.
    faults: Vec<Fault>,
    /// How far each log has been looked through for panics.
    logs_read: HashMap<PathBuf, u64>,
    /// Objects that were spoilt when all who read them may have done so already: nobody has to find that out.
    pub spoilt_late: HashSet<PathBuf>,
}

/// Partitions of a universe's topics.
const PARTITIONS: [(&str, i32); 5] =
    [(topics::JOBS, 4), (topics::CHUNKS, 8), (topics::COMPLETIONS, 4), (topics::STATUS, 4), (topics::DEAD_LETTERS, 1)];

impl Universe {
    /// Makes topics and folders; no role runs yet. The store is a folder unless `place` says otherwise.
    pub fn make(harness: &Harness, brokers: &str, purpose: &str, place: Option<Place>) -> Result<Self> {
        let name = format!("{purpose}-u{}", harness.next_universe());
        // Nobody else's, so that roles which a killed harness has left do not join in.
        let prefix = format!("{name}-{}-", std::process::id());
        let folder = harness.folder.join(&name);
        for part in ["logs", "files", "scratch", "store"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let config =
            BrokerConfig { brokers: brokers.to_owned(), client_id: "harness".to_owned(), ..BrokerConfig::default() };
        let specs = TopicSpec::builtin()?.into_iter().map(|spec| {
            let partitions = PARTITIONS.iter().find(|(known, _)| *known == spec.name).map_or(1, |(_, count)| *count);
            TopicSpec { name: format!("{prefix}{}", spec.name), partitions, ..spec }
        });
        let specs: Vec<TopicSpec> = specs.collect();
        harness.runtime.block_on(ensure(&config, &specs, Some(1)))?;
        // In the file and not in the environment, like everything that makes an installation what it is.
        let configuration = format!("[kafka]\nbrokers = \"{brokers}\"\nreplication = 1\ntopic_prefix = \"{prefix}\"\n");
        std::fs::write(folder.join("facemill.toml"), configuration)?;
        let _context = harness.runtime.enter();
        let producer = Producer::start(&config)?;
        let store = folder.join("store");
        let place = place.unwrap_or_else(|| Place {
            url: format!("file://{}", store.display()),
            folder: store,
            settings: Vec::new(),
        });
        Ok(Self {
            tape: Tape::start(brokers, &prefix)?,
            commits: CommitWatch::start(brokers, &prefix, place.folder.clone())?,
            prefix,
            folder,
            place,
            brokers: brokers.to_owned(),
            sessions: harness.sessions,
            keep: harness.keep,
            producer,
            program: harness.program.clone(),
            runtime: harness.runtime.handle().clone(),
            shape: Shape::new(0, 0, 0),
            slots: Vec::new(),
            faults: Vec::new(),
            logs_read: HashMap::new(),
            spoilt_late: HashSet::new(),
        })
    }

    /// Runs exactly the roles of `shape`, none of them armed. Those that fit already stay.
    pub fn reshape(&mut self, shape: &Shape) -> Result<()> {
        let other_settings = self.shape.settings != shape.settings;
        let other_lanes = self.shape.lanes != shape.lanes;
        self.shape = shape.clone();
        for mut slot in std::mem::take(&mut self.slots) {
            let is_upgraded = shape.upgraded.contains(&(slot.kind, slot.number));
            let is_other =
                other_settings || slot.is_upgraded != is_upgraded || other_lanes && slot.kind == Kind::Worker;
            if is_other || slot.number >= shape.count(slot.kind) {
                self.faults.extend(slot.end()?);
                continue;
            }
            slot.traps.clear();
            if slot.armed.is_some() {
                self.faults.extend(slot.end()?);
            }
            self.slots.push(slot);
        }
        for kind in [Kind::Ingest, Kind::Assemble, Kind::Worker] {
            for number in 0..shape.count(kind) {
                if !self.slots.iter().any(|slot| (slot.kind, slot.number) == (kind, number)) {
                    self.slots.push(Slot::new(kind, number, shape.upgraded.contains(&(kind, number))));
                }
            }
        }
        Ok(())
    }

    /// Has a role meet crash points: the first trap at once, the others one with each restart after a crash.
    pub fn arm(&mut self, kind: Kind, number: usize, traps: &[String]) -> Result<()> {
        let slot = self.slot(kind, number)?;
        let fault = slot.end()?;
        slot.traps = traps.iter().cloned().collect();
        self.faults.extend(fault);
        Ok(())
    }

    fn slot(&mut self, kind: Kind, number: usize) -> Result<&mut Slot> {
        let found = self.slots.iter_mut().find(|slot| (slot.kind, slot.number) == (kind, number));
        found.with_context(|| format!("no {} {number} runs", kind.name()))
    }

    /// The process of a role, if it runs.
    pub fn process(&mut self, kind: Kind, number: usize) -> Result<&mut Process> {
        self.slot(kind, number)?.process.as_mut().with_context(|| format!("{} {number} is not running", kind.name()))
    }

    /// SIGKILL; [`Universe::tend`] notes it and starts the role again.
    pub fn kill(&mut self, kind: Kind, number: usize) {
        if let Ok(slot) = self.slot(kind, number) {
            slot.kill();
        }
    }

    /// SIGCONT to a process that was stopped from outside.
    pub fn go_on(&mut self, kind: Kind, number: usize) -> Result<()> {
        let slot = self.slot(kind, number)?;
        slot.stopped_at = None;
        slot.process.as_ref().context("the role runs")?.signal(Signal::CONT)
    }

    /// SIGTERM, waits for the end, starts the role again.
    pub fn restart(&mut self, kind: Kind, number: usize) -> Result<std::process::ExitStatus> {
        let status = self.slot(kind, number)?.terminate()?.context("the role runs")?;
        self.tend()?;
        Ok(status)
    }

    /// Starts what is not running, notes what has ended or stands still, and lets go on what has stood still long enough.
    pub fn tend(&mut self) -> Result<()> {
        for at in 0..self.slots.len() {
            self.note_end(at)?;
            self.note_stop(at)?;
            let slot = &self.slots[at];
            if slot.process.is_none() && Instant::now() >= slot.start_at {
                self.start(at)?;
            }
        }
        Ok(())
    }

    fn note_end(&mut self, at: usize) -> Result<()> {
        let slot = &mut self.slots[at];
        let Some(status) = slot.process.as_mut().map(Process::ended).transpose()?.flatten() else { return Ok(()) };
        let fault = slot.note_end(status);
        self.faults.push(fault);
        Ok(())
    }

    fn note_stop(&mut self, at: usize) -> Result<()> {
        let slot = &mut self.slots[at];
        let Some(process) = &slot.process else { return Ok(()) };
        match slot.stopped_at {
            None if process.is_stopped() => {
                let fault = slot.note_stop();
                self.faults.push(fault);
            }
            Some(since) if since.elapsed() > self.sessions.stopped_for() => {
                process.signal(Signal::CONT)?;
                slot.stopped_at = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, at: usize) -> Result<()> {
        let trap = self.slots[at].traps.pop_front();
        let (kind, number) = (self.slots[at].kind, self.slots[at].number);
        let mut command = self.command(kind.name());
        let root = self.folder.join("files");
        command.args(["--metrics", "off", "--store", &self.place.url, "--root"]).arg(root);
        if kind == Kind::Worker {
            command.args(["--swapper", "none", "--workers", &self.shape.lanes.to_string()]);
        }
        if let Some(trap) = &trap {
            command.env("CRASH_AT", trap);
        }
        if self.slots[at].is_upgraded {
            command.env(NEXT_VERSION.0, NEXT_VERSION.1);
        }
        let log = self.folder.join(format!("logs/{}-{number}.log", kind.name()));
        let process = Process::start(command, &log)?;
        let grace = self.shape.grace(kind);
        self.slots[at].started(process, trap, grace);
        Ok(())
    }

    /// A command of the program with this universe's settings.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).arg(name);
        // Of the harness's own (Makefile).
        command.env_remove("GLIBC_TUNABLES");
        command.envs(self.sessions.settings.iter().copied());
        // So that the proxy before the broker knows whose answers to spoil.
        command.env("FACEMILL_KAFKA__CLIENT_ID", &self.prefix);
        command.env("FACEMILL_WORKER__GRACE_SECONDS", WORKER_GRACE_SECONDS.to_string());
        command.env("FACEMILL_SCRATCH", self.folder.join("scratch"));
        command.envs(self.place.settings.iter().chain(&self.shape.settings).map(|(name, value)| (name, value)));
        command
    }

    /// Starts what is not running and waits until every role of `kind` has partitions.
    pub fn wait_assigned(&mut self, kind: Kind) -> Result<()> {
        let began = Instant::now();
        loop {
            self.tend()?;
            let mut of_kind = self.slots.iter().filter(|slot| slot.kind == kind);
            if of_kind.all(|slot| slot.process.as_ref().is_some_and(has_partitions)) {
                return Ok(());
            }
            // A role that cannot start at all says why.
            let by_themselves = |fault: &&Fault| matches!(fault.cause, Cause::GaveUp | Cause::Crashed);
            let gave_up = self.faults.iter().filter(by_themselves).count();
            if gave_up > GAVE_UP_MAX {
                let said = self.log(kind, 0);
                bail!("a {} gives up again and again: {}", kind.name(), said.lines().last().unwrap_or(""));
            }
            if began.elapsed() > self.sessions.assigned_limit() {
                bail!("not every {} has partitions after {:?}", kind.name(), began.elapsed());
            }
            super::pause(Duration::from_millis(20))?;
        }
    }

    /// What happened since this was last asked.
    pub fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// What the logs tell of panics since this was last asked.
    pub fn panics(&mut self) -> Result<Vec<String>> {
        // The system refuses everything to a lane that has no more memory, threads too: it may well panic of that.
        let is_starving_lanes = self.shape.is_starving_lanes();
        let mut found = Vec::new();
        for entry in std::fs::read_dir(self.folder.join("logs"))? {
            let log = entry?.path();
            let read = self.logs_read.entry(log.clone()).or_default();
            let text = read_from(&log, *read);
            // A line that is being written is looked at next time.
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
            *read += whole as u64;
            let role = log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = String::from_utf8_lossy(&text[..whole]);
            // What lanes say comes with a time in front.
            let of_panics = text.lines().filter(|line| line.contains("panicked at"));
            let counted = of_panics.filter(|line| !is_starving_lanes || line.starts_with("thread "));
            found.extend(counted.map(|line| format!("J: {role} has panicked: {line}")));
        }
        Ok(found)
    }

    /// A process stands still.
    pub fn has_stopped(&self) -> bool {
        self.slots.iter().any(|slot| slot.stopped_at.is_some())
    }

    /// Publishes a record as JSON. Jobs by key, as any producer would.
    pub fn publish<T: serde::Serialize>(&self, topic: &str, key: &str, value: &T) -> Result<()> {
        let topic = format!("{}{topic}", self.prefix);
        let record = Outgoing { topic: &topic, key: Some(key), partition: None, headers: &[], value };
        self.runtime.block_on(self.producer.send(record))?;
        Ok(())
    }

    /// Publishes what happened to a job, where its assembler looks for it.
    pub fn tell(&self, event: &JobEvent) -> Result<()> {
        let topic = format!("{}{}", self.prefix, topics::COMPLETIONS);
        let count = PARTITIONS.iter().find(|(known, _)| *known == topics::COMPLETIONS).map_or(1, |(_, count)| *count);
        let (key, partition) = (Some(event.job().as_str()), Some(partition_of(event.job(), count)));
        let record = Outgoing { topic: &topic, key, partition, headers: &[], value: event };
        self.runtime.block_on(self.producer.send(record))?;
        Ok(())
    }

    /// Everything that the roles of a kind have said, restarts included.
    pub fn log(&self, kind: Kind, number: usize) -> String {
        let log = self.folder.join(format!("logs/{}-{number}.log", kind.name()));
        String::from_utf8_lossy(&read_from(&log, 0)).into_owned()
    }

    /// The file that holds an object.
    pub fn object(&self, key: &str) -> PathBuf {
        self.place.folder.join(key)
    }

    /// Where jobs find their clips and put their outputs.
    pub fn files(&self) -> PathBuf {
        self.folder.join("files")
    }

    /// Ends all roles; killed ones need no grace.
    pub fn close(mut self, keep: bool) {
        self.slots.clear();
        if !keep && !self.keep {
            remove(&self.folder);
        }
    }
}

fn remove(folder: &Path) {
    // It lies in the harness's temporary folder, which goes at the end.
    let _ = std::fs::remove_dir_all(folder);
}

/// Whether the process holds partitions, by the last that it said of them. Cooperative: each line tells what came or went.
fn has_partitions(process: &Process) -> bool {
    let said = process.said();
    let assigned = said.lines().filter(|line| line.contains("partitions assigned"));
    assigned.into_iter().any(|line| !line.contains("partitions=[]"))
}
