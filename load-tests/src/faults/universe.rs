//! A universe: topics, groups, a store and roles of its own, on a broker that it shares with others.

use std::collections::VecDeque;
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
use super::process::{Process, describe};
use super::tape::Tape;

/// How soon a dead or stopped member of a group is found, and what follows from that.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// The groups' session time-out.
    pub timeout: Duration,
    /// Longest time from a fault to the final state of the jobs that were open.
    pub recovery_max: Duration,
    /// Environment that makes it so.
    settings: &'static [(&'static str, &'static str)],
}

impl Sessions {
    /// To get through many runs.
    pub const SHORT: Self = Self {
        timeout: Duration::from_secs(6),
        recovery_max: Duration::from_secs(20),
        settings: &[
            ("FACEMILL_KAFKA__SESSION_TIMEOUT_MS", "6000"),
            ("FACEMILL_KAFKA__HEARTBEAT_INTERVAL_MS", "500"),
            ("FACEMILL_ASSEMBLE__REPAIR_AFTER_SECONDS", "3"),
        ],
    };
    /// What an operator gets who sets nothing.
    pub const DEFAULT: Self =
        Self { timeout: Duration::from_secs(45), recovery_max: Duration::from_secs(60), settings: &[] };

    /// How long a stopped process stays so: its partitions are long another's when it comes back.
    fn stopped_for(self) -> Duration {
        self.timeout + Duration::from_secs(3)
    }

    /// How long a role may take to get its partitions: a session, in which a dead member is waited for, and some.
    fn assigned_limit(self) -> Duration {
        self.timeout + Duration::from_secs(35)
    }
}

/// How soon a role that gave up by itself is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// How often roles may end by themselves while they are waited for.
const GAVE_UP_MAX: usize = 10;
/// How long a role that is asked to end may take.
const END_LIMIT: Duration = Duration::from_secs(15);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Ingest,
    Worker,
    Assemble,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Worker => "worker",
            Self::Assemble => "assemble",
        }
    }
}

/// Which processes run, and with which settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub ingests: usize,
    pub workers: usize,
    pub assemblers: usize,
    /// Environment of every role.
    pub settings: Vec<(String, String)>,
    /// Those of the next version.
    pub upgraded: Vec<(Kind, usize)>,
}

/// What makes a role one of another version: ingest names another group, and workers are in it.
const NEXT_VERSION: (&str, &str) = ("FACEMILL_WORKER__PROVIDER", "openvino,cpu");

impl Shape {
    pub fn new(ingests: usize, workers: usize, assemblers: usize) -> Self {
        Self { ingests, workers, assemblers, settings: Vec::new(), upgraded: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Ingest => self.ingests,
            Kind::Worker => self.workers,
            Kind::Assemble => self.assemblers,
        }
    }
}

/// Where a universe keeps its objects, and how its roles get there.
#[derive(Clone, Debug)]
pub struct Place {
    /// `file://…` or `s3://…`.
    pub url: String,
    /// The same as a folder that the harness can look into.
    pub folder: PathBuf,
    /// Environment by which the roles reach it.
    pub settings: Vec<(String, String)>,
}

/// Something that happened to a role.
#[derive(Clone, Debug)]
pub struct Fault {
    pub at: Instant,
    pub what: String,
    /// Brought about by us; otherwise the role gave up by itself.
    pub injected: bool,
}

struct Slot {
    kind: Kind,
    number: usize,
    /// Of the next version.
    is_upgraded: bool,
    process: Option<Process>,
    /// `CRASH_AT` of the next starts, one each.
    traps: VecDeque<String>,
    armed: Option<String>,
    stopped_at: Option<Instant>,
    start_at: Instant,
}

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
        })
    }

    /// Runs exactly the roles of `shape`, none of them armed. Those that fit already stay.
    pub fn reshape(&mut self, shape: &Shape) -> Result<()> {
        let other_settings = self.shape.settings != shape.settings;
        self.shape = shape.clone();
        for mut slot in std::mem::take(&mut self.slots) {
            let is_upgraded = shape.upgraded.contains(&(slot.kind, slot.number));
            if other_settings || slot.is_upgraded != is_upgraded || slot.number >= shape.count(slot.kind) {
                end(&mut slot)?;
                continue;
            }
            slot.traps.clear();
            if slot.armed.is_some() {
                end(&mut slot)?;
            }
            self.slots.push(slot);
        }
        for kind in [Kind::Ingest, Kind::Assemble, Kind::Worker] {
            for number in 0..shape.count(kind) {
                if !self.slots.iter().any(|slot| (slot.kind, slot.number) == (kind, number)) {
                    self.slots.push(Slot {
                        kind,
                        number,
                        is_upgraded: shape.upgraded.contains(&(kind, number)),
                        process: None,
                        traps: VecDeque::new(),
                        armed: None,
                        stopped_at: None,
                        start_at: Instant::now(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Has a role meet crash points: the first trap at once, the others one with each restart after a crash.
    pub fn arm(&mut self, kind: Kind, number: usize, traps: &[String]) -> Result<()> {
        let slot = self.slot(kind, number)?;
        end(slot)?;
        slot.traps = traps.iter().cloned().collect();
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
        if let Ok(process) = self.process(kind, number) {
            // One that has just ended by itself needs no signal.
            let _ = process.signal(Signal::KILL);
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
        let slot = self.slot(kind, number)?;
        let status = slot.process.as_mut().context("the role runs")?.end(END_LIMIT)?;
        slot.process = None;
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
        let injected = status.code().is_none();
        let trap = slot.armed.take().map(|trap| format!(" at {trap}")).unwrap_or_default();
        let what = format!("{}-{} {}{trap}", slot.kind.name(), slot.number, describe(status));
        slot.process = None;
        slot.stopped_at = None;
        slot.start_at = Instant::now() + if injected { Duration::ZERO } else { RESTART_AFTER };
        self.faults.push(Fault { at: Instant::now(), what, injected });
        Ok(())
    }

    fn note_stop(&mut self, at: usize) -> Result<()> {
        let slot = &mut self.slots[at];
        let Some(process) = &slot.process else { return Ok(()) };
        match slot.stopped_at {
            None if process.is_stopped() => {
                let trap = slot.armed.take().map(|trap| format!(" at {trap}")).unwrap_or_default();
                let what = format!("{}-{} stands still{trap}", slot.kind.name(), slot.number);
                slot.stopped_at = Some(Instant::now());
                self.faults.push(Fault { at: Instant::now(), what, injected: true });
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
            command.args(["--swapper", "none", "--workers", "1"]);
        }
        if let Some(trap) = &trap {
            command.env("CRASH_AT", trap);
        }
        if self.slots[at].is_upgraded {
            command.env(NEXT_VERSION.0, NEXT_VERSION.1);
        }
        let log = self.folder.join(format!("logs/{}-{number}.log", kind.name()));
        let process = Process::start(command, &log)?;
        let slot = &mut self.slots[at];
        slot.process = Some(process);
        slot.armed = trap;
        Ok(())
    }

    /// A command of the program with this universe's settings.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).arg(name);
        command.envs(self.sessions.settings.iter().copied());
        // So that the proxy before the broker knows whose answers to spoil.
        command.env("FACEMILL_KAFKA__CLIENT_ID", &self.prefix);
        command.env("FACEMILL_WORKER__GRACE_SECONDS", "2");
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
            let gave_up = self.faults.iter().filter(|fault| !fault.injected).count();
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
        std::fs::read_to_string(self.folder.join(format!("logs/{}-{number}.log", kind.name()))).unwrap_or_default()
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

fn end(slot: &mut Slot) -> Result<()> {
    if let Some(mut process) = slot.process.take() {
        process.end(END_LIMIT)?;
    }
    slot.armed = None;
    slot.stopped_at = None;
    slot.start_at = Instant::now();
    Ok(())
}

/// Whether the process holds partitions, by the last that it said of them. Cooperative: each line tells what came or went.
fn has_partitions(process: &Process) -> bool {
    let said = process.said();
    let assigned = said.lines().filter(|line| line.contains("partitions assigned"));
    assigned.into_iter().any(|line| !line.contains("partitions=[]"))
}
