//! A real Apache Kafka for the harness alone: started by deploy/kafka, killed and started again by its pid file, and gone at the end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::process;

/// Where free ports are looked for. `start.sh` takes the port of the broker and, five above, that of its controller.
const PORTS: std::ops::Range<u16> = 19592..20592;
const PORTS_OF_ONE: u16 = 12;
/// How long a killed JVM may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// One broker.
#[derive(Debug)]
pub struct Kafka {
    port: u16,
    data: PathBuf,
    /// The port that clients are told, where a proxy stands in front.
    advertised: Option<u16>,
}

impl Kafka {
    /// Starts a broker with its data in `data`. Clients are told `advertised`, where that is given: somebody must listen there already.
    pub fn start(data: &Path, advertised: Option<u16>, port: u16) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let kafka = Self { port, data: data.canonicalize()?, advertised };
        kafka.up()?;
        Ok(kafka)
    }

    /// A port at which `start.sh` finds all that it takes free. Harnesses that are started at one moment look in different places first.
    pub fn free_port() -> Result<u16> {
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let starts: Vec<u16> = PORTS.step_by(usize::from(PORTS_OF_ONE)).collect();
        let first = std::process::id() as usize % starts.len();
        let mut starts = starts.iter().copied().cycle().skip(first).take(starts.len());
        starts.find(|port| is_free(*port) && is_free(port + 5)).context("no free ports from 19592 on")
    }

    /// What clients connect to first.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.advertised.unwrap_or(self.port))
    }

    /// The same without a proxy.
    pub fn direct(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the broker, or finds it running; returns when it answers.
    pub fn up(&self) -> Result<()> {
        let mut command = self.script("start.sh");
        if let Some(port) = self.advertised {
            command.env("FACEMILL_KAFKA_ADVERTISED_PORT", port.to_string());
        }
        let started = command.output().context("start deploy/kafka/start.sh")?;
        ensure!(started.status.success(), "kafka did not start: {}", String::from_utf8_lossy(&started.stderr));
        Ok(())
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&self) -> Result<()> {
        let file = self.data.join("broker-1.pid");
        let pid: i32 = std::fs::read_to_string(&file).context("read the broker's pid file")?.trim().parse()?;
        process::send(pid, Signal::KILL)?;
        let began = Instant::now();
        while !process::is_gone(pid) {
            if began.elapsed() > GONE_LIMIT {
                bail!("broker {pid} is still there");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka").join(name));
        command.env("FACEMILL_KAFKA_PORT", self.port.to_string()).env("FACEMILL_KAFKA_DATA", &self.data);
        command.env("FACEMILL_KAFKA_LOG", "warn");
        command
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // Best effort at the end: what is left is told by stop.sh itself.
        let _ = self.script("stop.sh").arg("--delete").output();
    }
}
