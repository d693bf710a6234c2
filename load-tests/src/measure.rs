//! One command as a whole: wall-clock seconds, and the peak memory of its process and that process's children.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How often memory is looked at. Peaks of single processes are kept by the kernel, so none is missed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What one run took.
#[derive(Clone, Debug)]
pub struct Run {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Sum of the peak resident sizes of all processes of the tree, MB.
    pub peak_mb: f64,
    /// What it printed.
    pub stdout: String,
}

/// Runs a command to its end; it must succeed.
pub fn run(command: &mut Command) -> Result<Run> {
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let mut out = child.stdout.take().context("the child has an output")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut out, &mut text).map(|_| text)
    });
    let mut peaks: HashMap<u32, u64> = HashMap::new();
    let status = loop {
        look(child.id(), &mut peaks);
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let stdout = reader.join().map_err(|_| anyhow::anyhow!("the reader has panicked"))??;
    ensure!(status.success(), "{command:?} ended with {status}: {stdout}");
    Ok(Run { seconds, peak_mb: peaks.values().sum::<u64>() as f64 / 1000.0, stdout })
}

/// Notes the peak of a process and of all below it, kB.
pub fn look(process: u32, peaks: &mut HashMap<u32, u64>) {
    for Memory { id, peak_kb, .. } in tree(process) {
        let known = peaks.entry(id).or_default();
        *known = peak_kb.max(*known);
    }
}

/// Memory of a process, kB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The process.
    pub id: u32,
    /// Resident now.
    pub resident_kb: u64,
    /// The most that was ever resident.
    pub peak_kb: u64,
}

/// A process and all below it.
pub fn tree(process: u32) -> Vec<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
    };
    let mut found = Vec::new();
    if let (Some(resident_kb), Some(peak_kb)) = (value("VmRSS"), value("VmHWM")) {
        found.push(Memory { id: process, resident_kb, peak_kb });
    }
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(tree));
    }
    found
}

/// The middle of the values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
