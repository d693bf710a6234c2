//! Measures facemill as its users run it and breaks what can break around it; prints the tables of `RESULTS.md`.

mod bench;
mod clips;
mod faults;
mod long;
mod matrix;
mod measure;
mod mutate;
mod quality;
mod sheet;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Benchmarks, measurements and fault tests of facemill
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Speed and memory beside `ffmpeg` re-encoding the same clips with the same encoder settings
    Bench {
        /// The program under test
        #[arg(long, default_value = "target/release/facemill")]
        facemill: PathBuf,
        /// Runs of each command; medians are printed
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Another program, e.g. of an older commit, in turn with it: rows of its own, and how much faster the newer one is
        #[arg(long, value_name = "FILE")]
        before: Option<PathBuf>,
    },
    /// Roles killed, stopped, cut off and lied to, on a real Kafka: does every frame still come out once?
    Faults(faults::Faults),
    /// Clips with flipped bits, cut off, their boxes swapped: each must be finished or refused, within memory and time
    Mutate(mutate::Mutate),
    /// Any clip in, the same clip out: many clips through the program, compared with what they were
    Matrix(matrix::Matrix),
    /// An hour of 1080p: how soon it is planned, in how much memory and scratch space it flows; and the memory of a lane at 1080p and 4K
    Long(long::Long),
    /// How good a swap is: identity, pose, expression, jitter, sharpness, what is outside; and a contact sheet
    Quality(quality::Quality),
    /// A contact sheet: frames before above the same frames after
    Sheet {
        /// The clip before
        before: PathBuf,
        /// The clip after
        after: PathBuf,
        /// Where the picture goes (.png, .jpg)
        output: PathBuf,
        /// Numbers of the frames
        #[arg(long, value_delimiter = ',', required = true)]
        frames: Vec<usize>,
        /// Part of each frame, WIDTHxHEIGHT+X+Y
        #[arg(long)]
        crop: Option<sheet::Crop>,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Bench { facemill, runs, before } => bench::run(&facemill, before.as_deref(), runs),
        Command::Faults(args) => faults::run(&args),
        Command::Mutate(args) => mutate::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Long(args) => long::run(&args),
        Command::Quality(args) => quality::run(&args),
        Command::Sheet { before, after, output, frames, crop } => sheet::run(&before, &after, &output, &frames, crop),
    }
}
