//! The command line: one file per command.

mod args;
mod audit;
mod cancel;
mod dead_letters;
mod doctor;
mod follow;
mod gc;
mod lane;
mod models;
mod probe;
mod progress;
mod resubmit;
mod role;
mod status;
mod submit;
mod swap;
mod verify;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Log, LogFormat};
use crate::{shutdown, telemetry};
use args::{Cli, Command};

/// How long a topic may give nothing before its end, to a command that reads what is there: longer than partitions take to find a new
/// leader. Brokers that have gone would be waited for without end.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It could not be done.
    Failed = 1,
    /// The command line or the configuration is wrong. (Also what the parser exits with.)
    Usage = 2,
    /// An input or a path was refused.
    Refused = 3,
    /// Stopped by a signal.
    Interrupted = 130,
}

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Lane(args) = cli.command {
        return lane::run(args);
    }
    let config = match Config::load(cli.config.as_deref(), cli.command.settings()) {
        Ok(config) => config,
        Err(error) => return fail(&error.into(), Exit::Usage),
    };
    // Services tell what they do; a command's progress is not to be mixed with that.
    let verbosity = cli.verbose as i8 - i8::from(!cli.command.is_service());
    let log = Log { format: cli.log_format.unwrap_or(config.log.format), ..config.log.clone() };
    if let Err(error) = telemetry::init_logs(&log, verbosity, std::io::stderr, std::io::stderr().is_terminal()) {
        return fail(&error.into(), Exit::Usage);
    }
    crate::media::init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into(), Exit::Failed),
    };
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(shutdown::signals(stop.clone())?);
        match cli.command {
            Command::Swap(args) => swap::run(*args, config, stop).await,
            Command::Ingest(args) => role::ingest(args, config, stop).await,
            Command::Worker(args) => role::worker(args, config, stop).await,
            Command::Assemble(args) => role::assemble(args, config, stop).await,
            // Cancel-safe: what is not published or told then is not; running the command again does it.
            Command::Submit(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = submit::run(args, config) => outcome,
            },
            Command::Status(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = status::run(args, config) => outcome,
            },
            Command::Cancel(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = cancel::run(args, config) => outcome,
            },
            Command::Resubmit(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = resubmit::run(args, config) => outcome,
            },
            // A letter may be published again or not then; replaying it twice does no harm.
            Command::DeadLetters(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = dead_letters::run(args, config) => outcome,
            },
            // Cancel-safe: what is not deleted then is left for the next time.
            Command::Gc(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = gc::run(args, config) => outcome,
            },
            // Cancel-safe: nothing is written but what is told.
            Command::Audit(args) => tokio::select! {
                () = stop.cancelled() => Ok(Exit::Interrupted),
                outcome = audit::run(args, config) => outcome,
            },
            Command::Verify(args) => verify::run(&args),
            Command::Probe(args) => probe::run(&args, &config),
            Command::Models(args) => models::run(args, &config),
            Command::Doctor => doctor::run(&config).await,
            Command::Lane(_) => unreachable!("a lane needs none of this and has its own way"),
        }
    });
    // Blocking work that was asked to stop does so at its next frame; nobody waits for it here.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) if error.is::<Misconfigured>() => fail(&error, Exit::Usage),
        Err(error) => fail(&error, Exit::Failed),
    }
}

/// A setting that the command needs is missing or wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misconfigured(String);

fn fail(error: &anyhow::Error, exit: Exit) -> ExitCode {
    eprintln!("facemill: {error:#}");
    ExitCode::from(exit as u8)
}

impl clap::ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::Text => clap::builder::PossibleValue::new("text").help("for people"),
            Self::Json => clap::builder::PossibleValue::new("json").help("one JSON object a line"),
        })
    }
}
