//! `facemill`: parse the command line, load the configuration, run.

use std::process::ExitCode;

fn main() -> ExitCode {
    facemill::cli::main()
}
