//! Has the program under test turn a clip into another: by one command, or on a cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cluster::Cluster;
use crate::clips::portrait;

/// How long one clip may take, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(240);

/// What is to be made of a clip.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// Nothing else is called so.
    pub name: String,
    pub source: &'a Path,
    pub output: &'a Path,
    /// `none` or `mesh`.
    pub swapper: &'static str,
    /// Shortest and longest chunk, frames.
    pub chunk_frames: (u32, u32),
    pub lossless: bool,
    /// Not the default.
    pub encoder: Option<&'static str>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Refused(String),
    Failed(String),
}

/// Who does it.
pub enum Engine {
    /// `facemill swap`.
    Command { program: PathBuf, folder: PathBuf },
    /// Roles as processes, on a Kafka.
    Cluster(Box<Cluster>),
}

impl Engine {
    /// Does one task.
    pub fn run(&self, task: &Task<'_>) -> Result<Outcome> {
        match self {
            Self::Command { program, folder } => swap(program, &folder.join(&task.name), task),
            Self::Cluster(cluster) => cluster.run(&task.name, &task.job()?, LIMIT),
        }
    }
}

impl Task<'_> {
    /// As a record of topic `jobs`.
    fn job(&self) -> Result<Value> {
        let location = |path: &Path| format!("file://{}", path.display());
        let mut video = json!({});
        if self.lossless {
            video = json!({ "preset": "ultrafast", "crf": 0 });
        }
        if let Some(encoder) = self.encoder {
            video["encoder"] = encoder.into();
        }
        let is_mesh = self.swapper == "mesh";
        let photos = if is_mesh { vec![location(&portrait().canonicalize()?)] } else { Vec::new() };
        Ok(json!({
            "job": self.name, "sources": photos, "target": location(self.source), "output": location(self.output),
            "swap": { "swapper": self.swapper }, "video": video, "chunk_frames": [self.chunk_frames.0, self.chunk_frames.1],
        }))
    }
}

/// One command, with a data folder of its own, so that nothing is reused.
fn swap(program: &Path, data: &Path, task: &Task<'_>) -> Result<Outcome> {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FACEMILL_")) {
        command.env_remove(name);
    }
    command.args(["swap", "--json", "--workers", "1", "--data-dir"]).arg(data);
    command.args(["--swapper", task.swapper, "--chunk-frames"]);
    command.arg(format!("{}..{}", task.chunk_frames.0, task.chunk_frames.1));
    if task.swapper == "mesh" {
        command.arg("-s").arg(portrait());
    }
    if task.lossless {
        command.args(["--output-video-crf", "0", "--output-video-preset", "ultrafast"]);
    }
    if let Some(encoder) = task.encoder {
        command.args(["--output-video-encoder", encoder]);
    }
    command.arg("-t").arg(task.source).arg("-o").arg(task.output);
    let log = data.with_extension("log");
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&log)?).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() > LIMIT => {
                child.kill()?;
                child.wait()?;
                bail!("{} was still at work after {LIMIT:?}", task.name);
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = std::fs::read_to_string(&log)?;
    std::fs::remove_dir_all(data).ok(); // it may not have come so far as to make it
    std::fs::remove_file(&log)?;
    let last: Value = said.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let reason = last["reason"].as_str().unwrap_or(&said).trim().to_owned();
    Ok(match status.code() {
        Some(0) => Outcome::Done,
        Some(3) => Outcome::Refused(reason),
        _ => Outcome::Failed(format!("{status}: {reason}")),
    })
}
