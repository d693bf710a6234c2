//! Shows that nothing is lost, doubled or left undone under any fault: real processes on a real Kafka, killed, stopped, cut off and lied to.
//!
//! A *scenario* is one kind of fault; a *run* is one job with one seed. Runs are judged by what must hold whatever happens
//! (DESIGN.md, "Exactly-once chunks"): **F** every frame once, in order, at its time; **J** every job final; **D** every chunk counted once;
//! **U** nothing committed before it is durable; **M** manifest and output never change; **L** recovery takes a bounded time.

pub mod checker;
mod clip;
pub(crate) mod dice;
pub mod kafka;
pub mod process;
mod proxy_broker;
mod proxy_store;
mod report;
mod run;
mod scenarios;
mod soak;
mod stage;
pub mod tape;
mod universe;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use clip::Stamped;
use kafka::Kafka;
use report::Board;
use scenarios::{Play, Scenario};
use universe::Sessions;

/// Seeds of each scenario in `--quick`.
const QUICK_SEEDS: u64 = 4;

/// What is played.
#[derive(Args, Debug)]
pub struct Faults {
    /// Print the scenarios and end
    #[arg(long)]
    list: bool,
    /// Only scenarios whose name contains this; repeat for several
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Runs of each scenario [default: 20; with --quick: 4]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Universes (topics, store and roles of their own) side by side on one broker
    #[arg(long, value_name = "N", default_value_t = 5)]
    universes: usize,
    /// Not the scenarios: random kills and broker restarts for so long, while jobs keep coming
    #[arg(long, value_name = "MINUTES")]
    soak: Option<u64>,
    /// Sessions as they are by default (45 s) and not 6 s; recovery may then take 60 s
    #[arg(long)]
    default_sessions: bool,
    /// Keep logs and stores although nothing went wrong
    #[arg(long)]
    keep: bool,
    /// A part that takes at most ten minutes, for CI
    #[arg(long)]
    quick: bool,
    /// The program under test: facemill with feature crash-points
    #[arg(long, value_name = "FILE", default_value = "target/release/facemill-faults")]
    facemill: PathBuf,
}

/// What all scenarios share.
pub struct Harness {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub runtime: tokio::runtime::Runtime,
    pub kafka: Option<Kafka>,
    pub universes: usize,
    pub sessions: Sessions,
    /// What takes long is kept short.
    pub is_quick: bool,
    /// Folders of universes stay.
    pub keep: bool,
    pub tiny: Stamped,
    pub slow: Stamped,
    made: AtomicU32,
}

impl Harness {
    /// A number that no other universe has.
    fn next_universe(&self) -> u32 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }
}

/// Set by Ctrl-C: everything that waits ends, and what was started is stopped.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Waits; an error after Ctrl-C.
fn pause(time: Duration) -> Result<()> {
    std::thread::sleep(time);
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

/// Waits for all universes; the first error counts.
fn gather(players: Vec<std::thread::ScopedJoinHandle<'_, Result<()>>>) -> Result<()> {
    let mut ended = players.into_iter().map(|player| player.join());
    ended.try_for_each(|ended| ended.map_err(|_| anyhow::anyhow!("a universe has panicked"))?)
}

/// Runs the command; an error if anything was violated.
pub fn run(args: &Faults) -> Result<()> {
    let wanted = |scenario: &Scenario| {
        let is_named = args.only.iter().any(|name| scenario.name.contains(name.as_str()));
        if args.only.is_empty() { !args.quick || scenario.quick } else { is_named }
    };
    let scenarios: Vec<Scenario> = scenarios::all().into_iter().filter(wanted).collect();
    ensure!(!scenarios.is_empty(), "no scenario is called {:?}; see --list", args.only);
    if args.list {
        scenarios.iter().for_each(|scenario| println!("{:24} {}", scenario.name, scenario.about));
        return Ok(());
    }
    let program = args.facemill.canonicalize().with_context(|| {
        let path = args.facemill.display();
        format!("{path}: build it by `cargo build --release --workspace --features facemill/crash-points`")
    })?;
    let folder = tempfile::Builder::new().prefix("facemill-faults-").tempdir()?;
    let board = Board::new();
    let played = play(args, &scenarios, program, folder.path(), &board);
    let is_clean = board.finish();
    if !is_clean || played.is_err() || args.keep {
        println!("logs and stores: {}", folder.keep().display());
    }
    played?;
    ensure!(is_clean, "something was violated");
    Ok(())
}

fn play(args: &Faults, scenarios: &[Scenario], program: PathBuf, folder: &Path, board: &Board) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.spawn(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
        let terminated = async {
            match &mut terminate {
                Some(terminate) => drop(terminate.recv().await),
                None => std::future::pending().await,
            }
        };
        // Both only wait.
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminated => {}
        }
        INTERRUPTED.store(true, Ordering::Relaxed);
    });
    let harness = Harness {
        program,
        folder: folder.to_owned(),
        kafka: Some(Kafka::start(&folder.join("kafka"), None, Kafka::free_port()?)?),
        runtime,
        universes: args.universes.max(1),
        sessions: if args.default_sessions { Sessions::DEFAULT } else { Sessions::SHORT },
        is_quick: args.quick,
        keep: args.keep,
        tiny: Stamped::make(folder, clip::TINY)?,
        slow: Stamped::make(folder, clip::SLOW)?,
        made: AtomicU32::new(0),
    };
    if let Some(minutes) = args.soak {
        return soak::run(&harness, args.seed, Duration::from_secs(60 * minutes), board);
    }
    let count = args.seeds.unwrap_or(if args.quick { QUICK_SEEDS } else { 20 });
    let seeds: Vec<u64> = (args.seed..args.seed + count).collect();
    stage::shared(&harness, scenarios, &seeds, board)?;
    stage::alone(&harness, scenarios, &seeds, board)?;
    for scenario in scenarios {
        let Play::Own(play) = scenario.play else { continue };
        if let Err(error) = play(&harness, scenario.name, &seeds, board) {
            board.fault(scenario.name, &format!("{error:#}"));
        }
        board.progress(scenario.name);
        pause(Duration::ZERO)?;
    }
    Ok(())
}
