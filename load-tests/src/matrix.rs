//! Any clip in, the same clip out: many clips through the real program, compared with what they were by `ffmpeg` and `ffprobe`.
//!
//! A *case* is a recipe and a container of its output. It goes four *ways*: passed through without loss, and through the swapper
//! with the default encoder, each in short and in long chunks; where a face is seen, also through the swapper without loss.

mod browser;
mod cluster;
mod compare;
mod face;
mod look;
mod make;
#[path = "../../tests/clips/recipes.rs"]
mod recipes;
mod table;
mod work;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use compare::{Finding, Terms, compare};
use look::{Look, look};
use recipes::{Difference, Recipe};
use table::{Cell, Row};
use work::{Engine, Outcome, Task};

/// What is tried.
#[derive(Args, Debug)]
pub struct Matrix {
    /// Only recipes whose name contains this; repeat for several
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Of these only every so many-th
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Through ingest, assembler and three workers of each kind, on an Apache Kafka that is started for it
    #[arg(long)]
    kafka: bool,
    /// Play every output in headless Chromium, too, and count the frames
    #[arg(long)]
    browser: bool,
    /// Clips at work at once [default: cores; with --kafka eight]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Keep clips and outputs in this folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Print the recipes' names and end
    #[arg(long)]
    list: bool,
    /// The program under test
    #[arg(long, value_name = "FILE", default_value = "target/release/facemill")]
    facemill: PathBuf,
}

/// How a clip goes through the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Heads its column.
    pub name: &'static str,
    swapper: &'static str,
    chunk_frames: (u32, u32),
    lossless: bool,
}

pub const WAYS: [Way; 5] = [
    Way { name: "none, lossless, 16", swapper: "none", chunk_frames: (16, 16), lossless: true },
    Way { name: "none, lossless, 64–128", swapper: "none", chunk_frames: (64, 128), lossless: true },
    Way { name: "mesh, 16", swapper: "mesh", chunk_frames: (16, 16), lossless: false },
    Way { name: "mesh, 64–128", swapper: "mesh", chunk_frames: (64, 128), lossless: false },
    FACE,
];
/// Only where a face is seen: nothing but the face may change.
const FACE: Way = Way { name: "face, lossless", swapper: "mesh", chunk_frames: (16, 16), lossless: true };
/// Whose outputs browsers play.
const PLAYED: usize = 3;

/// A recipe and a container of its output.
struct Case<'a> {
    recipe: &'a Recipe,
    extension: &'static str,
    source: PathBuf,
    outputs: &'a Path,
}

/// A lock; what a thread that has panicked leaves behind is no worse than before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the matrix and prints its table; an error if anything differs that no recipe declares.
pub fn run(args: &Matrix) -> Result<()> {
    let all = recipes::all();
    let is_wanted = |recipe: &&Recipe| {
        !recipe.is_part && (args.only.is_empty() || args.only.iter().any(|name| recipe.name.contains(name.as_str())))
    };
    let wanted: Vec<Recipe> = all.iter().filter(is_wanted).step_by(args.every.into()).cloned().collect();
    ensure!(!wanted.is_empty(), "no recipe is called {:?}; see --list", args.only);
    if args.list {
        wanted.iter().for_each(|recipe| println!("{}", recipe.name));
        return Ok(());
    }
    let program = args.facemill.canonicalize().with_context(|| format!("find {}", args.facemill.display()))?;
    let cores = std::thread::available_parallelism()?.get();
    let temporary = tempfile::Builder::new().prefix("facemill-matrix-").tempdir()?;
    let folder = args.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    for part in ["clips", "outputs", "work"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let folder = folder.canonicalize()?;
    let began = Instant::now();
    make::make(&all, &wanted, &folder.join("clips"), cores)?;
    eprintln!("{} clips made in {:.0} s", wanted.len(), began.elapsed().as_secs_f64());

    let engine = match args.kafka {
        true => Engine::Cluster(Box::new(cluster::Cluster::start(&program, &folder.join("work"), &folder)?)),
        false => Engine::Command { program, folder: folder.join("work") },
    };
    let outputs = folder.join("outputs");
    let case = |recipe: &'_ Recipe| -> Vec<(usize, &'static str)> {
        let number = wanted.iter().position(|other| other.name == recipe.name).unwrap_or_default();
        recipe.to.iter().map(|extension| (number, *extension)).collect()
    };
    let cases: Vec<Case<'_>> = wanted
        .iter()
        .flat_map(case)
        .map(|(number, extension)| Case {
            recipe: &wanted[number],
            extension,
            source: folder.join("clips").join(wanted[number].name),
            outputs: &outputs,
        })
        .collect();
    let jobs = args.jobs.unwrap_or(if args.kafka { 8 } else { cores });
    let mut rows = try_all(&cases, &engine, jobs)?;
    let shares = match &engine {
        Engine::Cluster(cluster) => Some(cluster.shares()?),
        Engine::Command { .. } => None,
    };
    drop(engine);
    if args.browser {
        browser::play(&mut rows, &folder.join("work"))?;
    }
    let is_clean = table::print(&rows, args.browser);
    shares.into_iter().for_each(|shares| println!("\n{shares}"));
    println!("\n{} cases, {:.0} s", rows.len(), began.elapsed().as_secs_f64());
    ensure!(is_clean, "something differs that no recipe declares");
    Ok(())
}

/// Tries all cases, several at a time; rows in the cases' order.
fn try_all(cases: &[Case<'_>], engine: &Engine, jobs: usize) -> Result<Vec<Row>> {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    let row = case.row(engine).with_context(|| case.name());
                    let line = row.as_ref().map_or_else(|error| format!("FAILED: {error:#}"), table::line);
                    eprintln!("{:>3} of {} {line}", number + 1, cases.len());
                    lock(&rows).push((number, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    rows.sort_by_key(|(number, _)| *number);
    rows.into_iter().map(|(_, row)| row).collect()
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("{} to {}", self.recipe.name, self.extension)
    }

    /// All ways of this case.
    fn row(&self, engine: &Engine) -> Result<Row> {
        let source = look(&self.source, self.recipe.filter, self.recipe.has_adts)?;
        let mut row = Row::new(self.recipe.name, self.extension, &source);
        for (number, way) in WAYS.into_iter().enumerate() {
            if way == FACE && !self.recipe.has_face {
                continue;
            }
            let output = self.output(number);
            let (findings, codec) = self.findings(engine, way, &source, &output)?;
            row.cells.push(Cell::new(number, findings, |finding| self.declared(way, finding)));
            let is_video = !["gif", "apng"].contains(&self.extension);
            match codec.filter(|_| number == PLAYED && is_video) {
                Some(codec) => row.output = Some((output, source.times.len(), codec)),
                // It may not have come to be.
                None => drop(std::fs::remove_file(&output)),
            }
        }
        for declared in &self.recipe.differs {
            let is_mine = declared.extension.is_none_or(|extension| extension == self.extension);
            if is_mine && !row.cells.iter().any(|cell| cell.has(declared.what)) {
                row.stale.push(format!("{} is declared to differ, and does not: {}", declared.what, declared.why));
            }
        }
        Ok(row)
    }

    fn output(&self, way: usize) -> PathBuf {
        self.outputs.join(format!("{}-{way}.{}", self.recipe.name, self.extension))
    }

    /// Has the clip made, and says what differs, and which codec it has.
    fn findings(
        &self,
        engine: &Engine,
        way: Way,
        source: &Look,
        output: &Path,
    ) -> Result<(Vec<Finding>, Option<String>)> {
        let number = WAYS.iter().position(|other| *other == way).unwrap_or_default();
        let name = format!("{}-{}-{number}", self.recipe.name.replace('.', "-"), self.extension);
        let task = Task {
            name,
            source: &self.source,
            output,
            swapper: way.swapper,
            chunk_frames: way.chunk_frames,
            lossless: way.lossless,
            encoder: match self.recipe.encoder {
                Some("libx265") => Some("libx265"),
                _ if way.lossless => Some("libx264"),
                encoder => encoder,
            },
        };
        match engine.run(&task)? {
            Outcome::Done => {}
            Outcome::Refused(detail) => return Ok((vec![Finding { what: "refused", detail }], None)),
            Outcome::Failed(detail) => return Ok((vec![Finding { what: "failed", detail }], None)),
        }
        if way == FACE {
            return Ok((face::judge(&self.source, output, &source.picture)?, None));
        }
        let terms = Terms {
            lossless: way.lossless,
            untimed: self.recipe.untimed,
            moved: self.recipe.is_moved,
            rounds_times: ["mkv", "webm"].contains(&self.extension),
        };
        let made = look(output, self.recipe.filter, false)?;
        Ok((compare(source, &made, terms), Some(made.codec)))
    }

    /// The declaration of a difference, if there is one.
    fn declared(&self, way: Way, finding: &Finding) -> Option<&Difference> {
        let mut all = self.recipe.differs.iter();
        all.find(|declared| {
            declared.what == finding.what
                && declared.swapper.is_none_or(|swapper| swapper == way.swapper)
                && declared.extension.is_none_or(|extension| extension == self.extension)
        })
    }
}
