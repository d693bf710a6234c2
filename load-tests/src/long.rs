//! What does not fit into a test: an hour of 1080p, which must be planned in seconds and flow in bounded memory and scratch space, and
//! the memory of a lane at 1080p and 4K.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::clips::{demo, ffmpeg, frames, portrait};
use crate::measure::tree;

/// How often processes and folders are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Length of the encoded part, of which the hour is made by copying it, seconds.
const PART: u32 = 60;
/// Frames of the clips by which memory is measured: two whole chunks, so that a second one finds the first one's memory.
const MEMORY_FRAMES: u32 = 160;

/// What is measured.
#[derive(Args, Debug)]
pub struct Long {
    /// Length of the long clip, minutes
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// How many of its frames are passed through, one run each; `all`: --frames 0
    #[arg(long, value_delimiter = ',', default_value = "4500,9000,18000")]
    frames: Vec<u64>,
    /// Not the long clip
    #[arg(long)]
    only_memory: bool,
    /// Not the memory of lanes
    #[arg(long)]
    only_long: bool,
    /// The program under test
    #[arg(long, value_name = "FILE", default_value = "target/release/facemill")]
    facemill: PathBuf,
}

/// Prints the tables.
pub fn run(args: &Long) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("facemill-long-").tempdir()?;
    let program = args.facemill.canonicalize().with_context(|| format!("find {}", args.facemill.display()))?;
    if !args.only_memory {
        long(args, &program, folder.path())?;
    }
    if !args.only_long {
        memory(&program, folder.path())?;
    }
    Ok(())
}

/// One clip, planned, and as much of it as was asked for passed through.
fn long(args: &Long, program: &Path, folder: &Path) -> Result<()> {
    let clip = folder.join("long.mp4");
    make_long(&clip, folder, args.minutes)?;
    let (shown, megabytes) = (frames(&clip)?, clip.metadata()?.len() as f64 / 1e6);
    println!("{} minutes of 1920×1080, {shown} frames, {megabytes:.0} MB\n", args.minutes);
    let began = Instant::now();
    let probed = Command::new(program).args(["probe", "--json", "--swapper", "none"]).arg(&clip).output()?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(probed.status.success(), "probe: {}", String::from_utf8_lossy(&probed.stdout));
    let report: Value = serde_json::from_slice(&probed.stdout)?;
    println!("planned in {seconds:.1} s: {} chunks\n", report["chunks"]["count"]);
    println!(
        "| frames | seconds | until the first chunk is done | peak memory of all processes, MB | peak scratch, MB | output, MB | store at the end, MB |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for &limit in &args.frames {
        let data = folder.join("data");
        let output = folder.join("out.mp4");
        let mut command = Command::new(program);
        command.args(["swap", "--json", "--swapper", "none", "--output-video-preset", "ultrafast"]);
        command.args(["--output-video-crf", "30", "--data-dir"]).arg(&data).arg("-t").arg(&clip).arg("-o").arg(&output);
        if limit > 0 {
            command.args(["--frame-limit", &limit.to_string()]);
        }
        let flow = flow(&mut command, &data)?;
        println!(
            "| {} | {:.0} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
            if limit > 0 { limit } else { shown },
            flow.seconds,
            flow.first_chunk,
            flow.peak_memory,
            flow.peak_scratch,
            output.metadata()?.len() as f64 / 1e6,
            size(&data.join("store")),
        );
        std::fs::remove_dir_all(&data)?;
    }
    println!();
    Ok(())
}

/// A clip of test pictures and a tone: a minute is encoded, the rest are copies of it.
fn make_long(clip: &Path, folder: &Path, minutes: u32) -> Result<()> {
    let part = folder.join("part.mp4");
    let (part_name, clip) = (part.to_str().context("UTF-8 path")?, clip.to_str().context("UTF-8 path")?);
    let (pictures, tone) = (format!("testsrc2=s=1920x1080:r=25:d={PART}"), format!("sine=f=440:r=48000:d={PART}"));
    let inputs = ["-f", "lavfi", "-i", pictures.as_str(), "-f", "lavfi", "-i", tone.as_str()];
    let encoding =
        ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "30", "-pix_fmt", "yuv420p", "-g", "100", "-c:a", "aac"];
    ffmpeg(&[&inputs[..], &encoding, &[part_name]].concat())?;
    let times = (minutes * 60 / PART).saturating_sub(1).to_string();
    ffmpeg(&["-stream_loop", &times, "-i", part_name, "-c", "copy", clip])
}

/// What one run took.
struct Flow {
    seconds: f64,
    first_chunk: f64,
    /// Largest sum of the resident sizes of all processes at one moment, MB.
    peak_memory: f64,
    /// Largest size of the scratch folder at one moment, MB.
    peak_scratch: f64,
}

fn flow(command: &mut Command, data: &Path) -> Result<Flow> {
    let log = data.with_extension("log");
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&log)?).stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let mut flow = Flow { seconds: 0.0, first_chunk: 0.0, peak_memory: 0.0, peak_scratch: 0.0 };
    let status = loop {
        let memory: u64 = tree(child.id()).iter().map(|process| process.resident_kb).sum();
        flow.peak_memory = flow.peak_memory.max(memory as f64 / 1000.0);
        flow.peak_scratch = flow.peak_scratch.max(size(&data.join("scratch")));
        if flow.first_chunk == 0.0 && std::fs::read_to_string(&log)?.contains("\"chunk\"") {
            flow.first_chunk = began.elapsed().as_secs_f64();
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(LOOK_EVERY),
        }
    };
    flow.seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "{command:?} ended with {status}: {}", std::fs::read_to_string(&log)?);
    Ok(flow)
}

/// All files below a folder, MB; what goes away meanwhile does not count.
fn size(folder: &Path) -> f64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len() as f64 / 1e6,
        Err(_) => 0.0,
    });
    sizes.sum()
}

/// The memory of a lane, and of the process that holds all roles.
fn memory(program: &Path, folder: &Path) -> Result<()> {
    println!("| picture | swapper | lane's process, peak MB | all roles' process, peak MB |");
    println!("|---|---|---:|---:|");
    let demo = demo()?;
    for (width, height) in [(1920, 1080), (3840, 2160)] {
        let clip = folder.join(format!("{height}.mp4"));
        let (from, to) = (demo.to_str().context("UTF-8 path")?, clip.to_str().context("UTF-8 path")?);
        let (scale, count) = (format!("scale={width}:{height}:flags=bicubic"), MEMORY_FRAMES.to_string());
        let encoding = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "20", "-c:a", "copy"];
        ffmpeg(&[&["-ss", "10", "-i", from, "-vf", &scale, "-frames:v", &count][..], &encoding, &[to]].concat())?;
        for swapper in ["none", "mesh"] {
            let data = folder.join("data");
            let mut command = Command::new(program);
            command.args(["swap", "--json", "--workers", "1", "--swapper", swapper, "--data-dir"]).arg(&data);
            if swapper == "mesh" {
                command.arg("-s").arg(portrait());
            }
            command.arg("-t").arg(&clip).arg("-o").arg(folder.join("out.mp4"));
            let (lane, roles) = peaks(&mut command)?;
            println!("| {width}×{height} | {swapper} | {lane:.0} | {roles:.0} |");
            std::fs::remove_dir_all(&data)?;
        }
    }
    Ok(())
}

/// The largest resident sizes of a command's children and of itself, MB.
fn peaks(command: &mut Command) -> Result<(f64, f64)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut peaks: HashMap<u32, u64> = HashMap::new();
    let status = loop {
        for process in tree(child.id()) {
            let known = peaks.entry(process.id).or_default();
            *known = process.peak_kb.max(*known);
        }
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    ensure!(status.success(), "{command:?} ended with {status}");
    let own = peaks.remove(&child.id()).unwrap_or_default();
    let lane = peaks.into_values().max().unwrap_or_default();
    Ok((lane as f64 / 1000.0, own as f64 / 1000.0))
}
