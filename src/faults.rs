//! `facemill-faults`: the same program as `facemill`, with the crash points that `load-tests faults` needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    facemill::crash::arm(std::env::var("CRASH_AT").ok().as_deref(), std::env::var("CRASH_LANE").ok().as_deref());
    facemill::cli::main()
}
