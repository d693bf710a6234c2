//! Speed and memory of whole commands, each beside `ffmpeg` re-encoding the same clip with the same encoder settings in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::clips::{demo, ffmpeg, frames, portrait};
use crate::measure::{self, Run, median};

/// x264's settings on both sides.
const PRESET: &str = "veryfast";
const CRF: &str = "20";

/// Runs the benchmark and prints its tables; `before` is an older program, measured in turn with it.
pub fn run(facemill: &Path, before: Option<&Path>, runs: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clips = Clips::make(folder.path())?;
    println!("| clip | command | frames/s (median of {runs}) | beside ffmpeg | peak memory, MB |");
    println!("|---|---|---|---|---|");
    let mut stages = Vec::new();
    let cases = [
        Case { name: "720p, 79 s", clip: &clips.long, swapper: "none" },
        Case { name: "demo, 640×360", clip: &clips.small, swapper: "mesh" },
        Case { name: "demo at 1280×720", clip: &clips.large, swapper: "mesh" },
        Case { name: "720p, 79 s", clip: &clips.long, swapper: "mesh" },
    ];
    for case in &cases {
        stages.push(case.measure(facemill, before, runs, folder.path())?);
    }
    println!("\nWhere the time goes (seconds by stage, added up over lanes, of the last run):\n");
    for (case, stages) in cases.iter().zip(stages) {
        println!("- {} `{}`: {stages}", case.name, case.swapper);
    }
    Ok(())
}

struct Clips {
    small: PathBuf,
    large: PathBuf,
    long: PathBuf,
}

impl Clips {
    fn make(folder: &Path) -> Result<Self> {
        let small = demo()?;
        let (large, long) = (folder.join("720p.mp4"), folder.join("720p-long.mp4"));
        let source = small.to_str().context("UTF-8 path")?;
        let encode =
            ["-vf", "scale=1280:720:flags=bicubic", "-c:v", "libx264", "-preset", "fast", "-crf", "16", "-c:a", "copy"];
        ffmpeg(&[&["-i", source], &encode[..], &[large.to_str().context("UTF-8 path")?]].concat())?;
        let looped = ["-stream_loop", "3", "-i", large.to_str().context("UTF-8 path")?, "-c", "copy"];
        ffmpeg(&[&looped[..], &[long.to_str().context("UTF-8 path")?]].concat())?;
        Ok(Self { small, large, long })
    }
}

struct Case<'a> {
    name: &'a str,
    clip: &'a Path,
    swapper: &'a str,
}

impl Case<'_> {
    /// All commands in turn; prints a row each; returns where facemill's time went.
    fn measure(&self, facemill: &Path, before: Option<&Path>, runs: usize, folder: &Path) -> Result<String> {
        let frames = frames(self.clip)? as f64;
        let (mut ours, mut theirs, mut older) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..=runs {
            let our = self.facemill(facemill, folder)?;
            let old = before.map(|before| self.facemill(before, folder)).transpose()?;
            let their = self.ffmpeg(folder)?;
            if number > 0 {
                ours.push(our); // the first round warms the caches
                theirs.push(their);
                older.extend(old);
            }
        }
        let rate = |runs: &[Run]| median(runs.iter().map(|run| frames / run.seconds).collect());
        let memory = |runs: &[Run]| runs.iter().map(|run| run.peak_mb).fold(0.0, f64::max);
        let faster = |runs: &[Run], than: &[Run]| -> f64 {
            median(runs.iter().zip(than).map(|(one, other)| other.seconds / one.seconds).collect())
        };
        let Self { name, swapper, .. } = self;
        let row = |command: &str, runs: &[Run], beside: f64| {
            println!("| {name} | {command} | {:.1} | {beside:.2} | {:.0} |", rate(runs), memory(runs));
        };
        row(&format!("facemill swap, `{swapper}`"), &ours, faster(&ours, &theirs));
        if !older.is_empty() {
            let command = format!("before (now: {:.3} times as fast)", faster(&ours, &older));
            row(&command, &older, faster(&older, &theirs));
        }
        row("ffmpeg", &theirs, 1.0);
        let done: Value = serde_json::from_str(ours[runs - 1].stdout.lines().last().context("a last event")?)?;
        let stages = done["stage_seconds"].as_object().context("stage_seconds")?;
        let mut stages: Vec<(&str, f64)> =
            stages.iter().map(|(stage, spent)| (stage.as_str(), spent.as_f64().unwrap_or(0.0))).collect();
        stages.sort_by(|a, b| b.1.total_cmp(&a.1));
        let listed: Vec<String> = stages.iter().map(|(stage, spent)| format!("{stage} {spent:.2}")).collect();
        Ok(format!("{} (whole command {:.2})", listed.join(", "), ours[runs - 1].seconds))
    }

    fn facemill(&self, facemill: &Path, folder: &Path) -> Result<Run> {
        let data = folder.join("data");
        std::fs::remove_dir_all(&data).ok(); // nothing is reused
        let mut command = Command::new(facemill);
        command.arg("swap").arg("--json").arg("--data-dir").arg(&data).args(["--swapper", self.swapper]);
        if self.swapper != "none" {
            command.arg("-s").arg(portrait());
        }
        command.arg("-t").arg(self.clip).arg("-o").arg(folder.join("ours.mp4"));
        command.args(["--output-video-preset", PRESET, "--output-video-crf", CRF]);
        measure::run(&mut command)
    }

    fn ffmpeg(&self, folder: &Path) -> Result<Run> {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "error", "-y", "-i"]).arg(self.clip);
        command
            .args(["-c:v", "libx264", "-preset", PRESET, "-crf", CRF, "-c:a", "copy"])
            .arg(folder.join("theirs.mp4"));
        measure::run(&mut command)
    }
}
