//! Damaged files as they come: small clips of many containers and codecs, mutated by chance that comes out the same for the same seed,
//! through the program as a user runs it. Each must be finished or refused; no process may die, and none may take more than it is given.

mod change;
mod parts;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::clips::ffmpeg;
use crate::faults::dice::Dice;
use crate::measure::look;
use change::Change;

/// What is done.
#[derive(Args, Debug)]
pub struct Mutate {
    /// The program under test
    #[arg(long, default_value = "target/release/facemill")]
    pub facemill: PathBuf,
    /// How many files
    #[arg(long, default_value_t = 1000)]
    pub files: u64,
    /// The first file's seed; the others follow
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Files at once
    #[arg(long, default_value_t = 2)]
    pub at_once: usize,
    /// Seconds that a file may take
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Memory that the program and its lane may take together, MB
    #[arg(long, default_value_t = 1000)]
    pub memory_mb: u64,
    /// Keep the files that end badly in this folder
    #[arg(long)]
    pub keep: Option<PathBuf>,
}

/// The clips: name and what ffmpeg makes them of, besides picture and sound.
const CLIPS: [(&str, &str); 21] = [
    ("h264.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 8 -bf 2 -c:a aac -movflags +faststart"),
    ("late.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 12 -c:a aac"),
    (
        "fragmented.mp4",
        "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 8 -c:a aac -movflags +frag_keyframe+empty_moov",
    ),
    ("hevc.mp4", "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=error:keyint=8 -c:a aac"),
    ("av1.mp4", "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p -g 8 -c:a aac"),
    ("prores.mov", "-c:v prores_ks -profile:v 0 -c:a pcm_s16le"),
    ("mjpeg.mov", "-c:v mjpeg -pix_fmt yuvj420p -q:v 5 -c:a pcm_s16le"),
    ("h264.mkv", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 8 -bf 2 -c:a libopus"),
    ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p -g 8 -c:a libopus"),
    ("h264.ts", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 8 -bf 2 -c:a aac"),
    ("mpeg2.ts", "-c:v mpeg2video -b:v 500k -g 8 -bf 2 -c:a mp2"),
    ("mpeg4.avi", "-c:v mpeg4 -q:v 5 -g 8 -bf 1 -c:a mp3"),
    ("h264.flv", "-c:v libx264 -preset veryfast -pix_fmt yuv420p -g 8 -c:a aac"),
    ("mpeg1.mpg", "-c:v mpeg1video -b:v 500k -g 8 -c:a mp2"),
    ("still.png", "-an -frames:v 1"),
    ("still.jpg", "-an -frames:v 1"),
    ("still.webp", "-an -frames:v 1 -c:v libwebp"),
    ("still.tiff", "-an -frames:v 1 -pix_fmt rgb24"),
    ("moving.gif", "-an"),
    ("moving.apng", "-an"),
    ("moving.webp", "-an -c:v libwebp_anim"),
];
/// Extensions of those that stay pictures.
const PICTURES: [&str; 6] = ["png", "jpg", "webp", "tiff", "gif", "apng"];

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// As if nothing were.
    Finished,
    /// With frames that repeat others, or a file taken up to where it was cut off.
    Mended,
    Refused,
    /// At work: too much is damaged, or what cannot be seen before.
    Failed,
    /// A lane's process has died of it, and was replaced.
    LaneDied,
    /// The program has died.
    Crashed,
    TooLong,
    TooMuchMemory,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Finished,
        Self::Mended,
        Self::Refused,
        Self::Failed,
        Self::LaneDied,
        Self::Crashed,
        Self::TooLong,
        Self::TooMuchMemory,
    ];

    fn is_bad(self) -> bool {
        self >= Self::LaneDied
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Finished => "finished",
            Self::Mended => "mended",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::LaneDied => "lane died",
            Self::Crashed => "crashed",
            Self::TooLong => "too long",
            Self::TooMuchMemory => "memory",
        })
    }
}

/// One file's end.
struct Ended {
    outcome: Outcome,
    seconds: f64,
    peak_mb: u64,
    /// The last thing that it said.
    last: String,
}

/// Runs all files and prints the table; fails if one ended badly.
pub fn run(args: &Mutate) -> Result<()> {
    let facemill = args.facemill.canonicalize().with_context(|| format!("find {}", args.facemill.display()))?;
    let dir = tempfile::tempdir()?;
    let clips = make_clips(dir.path())?;
    let table: Mutex<BTreeMap<(Change, Outcome), u64>> = Mutex::default();
    let (next, bad) = (AtomicU64::new(0), AtomicU64::new(0));
    let (slowest, largest) = (Mutex::new(0.0_f64), AtomicU64::new(0));
    std::thread::scope(|files| {
        let workers: Vec<_> = (0..args.at_once.max(1))
            .map(|worker| {
                let work = dir.path().join(format!("at-{worker}"));
                let (facemill, clips, table, next, bad, slowest, largest) =
                    (&facemill, &clips, &table, &next, &bad, &slowest, &largest);
                files.spawn(move || -> Result<()> {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= args.files {
                            return Ok(());
                        }
                        let seed = args.seed + number;
                        let (clip, change, bytes) = mutated(clips, seed);
                        let file = fresh(&work, clip, &bytes)?;
                        let ended = swap(facemill, &file, seed, args)?;
                        let row = &mut *table.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        *row.entry((change, ended.outcome)).or_default() += 1;
                        let slowest = &mut *slowest.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        *slowest = slowest.max(ended.seconds);
                        largest.fetch_max(ended.peak_mb, Ordering::Relaxed);
                        if ended.outcome.is_bad() {
                            bad.fetch_add(1, Ordering::Relaxed);
                            eprintln!("seed {seed}, {clip}, {change}: {} ({})", ended.outcome, ended.last);
                            if let Some(folder) = &args.keep {
                                std::fs::create_dir_all(folder)?;
                                std::fs::write(folder.join(format!("{seed}-{clip}")), &bytes)?;
                            }
                        }
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("a worker has panicked")))
    })?;
    let table = table.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    print(&table);
    let (slowest, largest) = (slowest.into_inner().unwrap_or_default(), largest.into_inner());
    println!("\nslowest {slowest:.1} s, largest {largest} MB (the program and its lane together)");
    let bad = bad.into_inner();
    ensure!(bad == 0, "{bad} of {} files ended badly", args.files);
    Ok(())
}

fn print(table: &BTreeMap<(Change, Outcome), u64>) {
    let cell = |change: Change, outcome: Outcome| table.get(&(change, outcome)).copied().unwrap_or(0);
    let seen = |outcome: &Outcome| !outcome.is_bad() || Change::ALL.iter().any(|change| cell(*change, *outcome) > 0);
    let columns: Vec<Outcome> = Outcome::ALL.into_iter().filter(seen).collect();
    let heads: Vec<String> = columns.iter().map(Outcome::to_string).collect();
    println!("| mutation | files | {} |", heads.join(" | "));
    println!("|---|{}", "--:|".repeat(columns.len() + 1));
    let row = |name: &str, counts: Vec<u64>| {
        let cells: Vec<String> = counts.iter().map(u64::to_string).collect();
        println!("| {name} | {} | {} |", counts.iter().sum::<u64>(), cells.join(" | "));
    };
    for change in Change::ALL {
        row(&change.to_string(), columns.iter().map(|outcome| cell(change, *outcome)).collect());
    }
    let sum = |outcome: &Outcome| Change::ALL.iter().map(|change| cell(*change, *outcome)).sum();
    row("all", columns.iter().map(sum).collect());
}

fn make_clips(dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let make = |&(name, how): &(&'static str, &str)| {
        let path = dir.join(name);
        let picture = "-f lavfi -i testsrc2=s=160x96:r=25:d=1 -f lavfi -i sine=d=1 -threads 1";
        let path_text = path.to_str().context("temporary paths are UTF-8")?;
        let arguments: Vec<&str> = picture.split(' ').chain(how.split(' ')).chain([path_text]).collect();
        ffmpeg(&arguments)?;
        Ok((name, std::fs::read(&path)?))
    };
    CLIPS.iter().map(make).collect()
}

fn mutated<'a>(clips: &'a [(&'static str, Vec<u8>)], seed: u64) -> (&'a str, Change, Vec<u8>) {
    let mut dice = Dice::new(seed);
    let (name, bytes) = &clips[dice.below(clips.len() as u64) as usize];
    let change = Change::ALL[dice.below(Change::ALL.len() as u64) as usize];
    let mut bytes = bytes.clone();
    change.apply(&mut bytes, &mut dice);
    (name, change, bytes)
}

/// A folder with nothing but the file in it.
fn fresh(work: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    if work.exists() {
        std::fs::remove_dir_all(work)?;
    }
    std::fs::create_dir_all(work)?;
    let file = work.join(name);
    std::fs::write(&file, bytes)?;
    Ok(file)
}

/// Every second file is tolerated however damaged it is.
fn swap(facemill: &Path, file: &Path, seed: u64, args: &Mutate) -> Result<Ended> {
    let work = file.parent().context("it lies in a folder")?;
    let extension = file.extension().and_then(std::ffi::OsStr::to_str);
    let output = work.join("out").with_extension(extension.filter(|known| PICTURES.contains(known)).unwrap_or("mkv"));
    let (told, said) = (work.join("told"), work.join("said"));
    let mut command = Command::new(facemill);
    command.args(["-v", "swap", "--json", "--swapper", "none", "--workers", "1", "--chunk-frames", "6..8"]);
    command.args(["--output-video-preset", "ultrafast", "--data-dir"]).arg(work.join("data"));
    command.arg("-t").arg(file).arg("-o").arg(&output);
    if seed.is_multiple_of(2) {
        command.arg("--tolerate-damage");
    }
    command.env("TMPDIR", work).stdin(Stdio::null()).process_group(0);
    command.stdout(std::fs::File::create(&told)?).stderr(std::fs::File::create(&said)?);
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("start {}", facemill.display()))?;
    let (ended, peak_mb) = watch(&mut child, Duration::from_secs(args.seconds))?;
    let seconds = started.elapsed().as_secs_f64();
    let (told, said) = (std::fs::read_to_string(&told)?, std::fs::read_to_string(&said)?);
    let outcome = match ended.map(|status| status.code()) {
        None => Outcome::TooLong,
        Some(_) if peak_mb > args.memory_mb => Outcome::TooMuchMemory,
        Some(_) if said.contains("a lane has died") => Outcome::LaneDied,
        Some(Some(0)) if !output.is_file() => Outcome::Crashed,
        Some(Some(0)) if told.contains("damaged and repeat") || told.contains("cut off") => Outcome::Mended,
        Some(Some(0)) => Outcome::Finished,
        Some(Some(3)) => Outcome::Refused,
        Some(Some(1)) if told.contains("\"event\":\"failed\"") => Outcome::Failed,
        Some(_) => Outcome::Crashed,
    };
    let last = if outcome.is_bad() { said.lines().rfind(|line| !line.is_empty()) } else { told.lines().last() };
    Ok(Ended { outcome, seconds, peak_mb, last: last.unwrap_or_default().to_owned() })
}

/// Waits for the end, with the peak of memory, MB; none if it took too long, and was ended.
fn watch(child: &mut Child, within: Duration) -> Result<(Option<std::process::ExitStatus>, u64)> {
    let started = Instant::now();
    let mut peaks = std::collections::HashMap::new();
    let peak = |peaks: &std::collections::HashMap<u32, u64>| peaks.values().sum::<u64>() / 1000;
    loop {
        look(child.id(), &mut peaks);
        if let Some(status) = child.try_wait()? {
            return Ok((Some(status), peak(&peaks)));
        }
        if started.elapsed() > within {
            child.kill()?; // its lanes end with it
            child.wait()?;
            return Ok((None, peak(&peaks)));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
