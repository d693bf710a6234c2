//! What a lane's process is started with: this program, and of the environment only what it needs.

use std::ffi::OsString;
use std::path::PathBuf;

/// Variables that lanes get: where libraries, temporary files and caches lie, how text and times are written, and how drivers of GPUs, OpenMP and
/// ONNX Runtime behave. No credentials are among them, and no `FACEMILL_…`: lanes get their settings as arguments.
const NAMES: [&str; 9] =
    ["PATH", "HOME", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "RUST_BACKTRACE", CRASH_LANE];
/// Variables that lanes get, by how their names begin, unless they look like credentials.
const PREFIXES: [&str; 9] = ["LC_", "CUDA_", "NVIDIA_", "OMP_", "ORT_", "HIP_", "ROCR_", "MIGRAPHX_", "ASCEND_"];
/// What the name of a credential has in it: `NVIDIA_API_KEY`.
const CREDENTIALS: [&str; 6] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];
/// What the fault tests ask of lanes; nothing reads it without the feature.
const CRASH_LANE: &str = "CRASH_LANE";

/// The part of this process's environment that its lanes get.
pub fn lane_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_lanes)).collect()
}

fn is_for_lanes(name: &str) -> bool {
    let is_credential = || {
        let upper = name.to_ascii_uppercase();
        CREDENTIALS.iter().any(|word| upper.contains(word))
    };
    let is_prefixed = PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !is_credential();
    let is_listed = NAMES.contains(&name) || is_prefixed;
    is_listed && (name != CRASH_LANE || cfg!(feature = "crash-points"))
}

/// The program that lanes are run by: this one, also when the file it was started from has been replaced meanwhile by another
/// version, whose results would bear the wrong name.
pub fn lane_program() -> std::io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_get_no_credentials_and_no_settings() {
        let given = [
            "PATH",
            "HOME",
            "LC_ALL",
            "LC_MONETARY",
            "LD_LIBRARY_PATH",
            "CUDA_VISIBLE_DEVICES",
            "NVIDIA_DRIVER_CAPABILITIES",
            "OMP_NUM_THREADS",
        ];
        for name in given {
            assert!(is_for_lanes(name), "{name}");
        }
        let kept_back = [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "NVIDIA_API_KEY",
            "NVIDIA_NGC_TOKEN",
            "CUDA_CLIENT_SECRET",
            "ORT_FEED_PASSWORD",
            "ASCEND_PASSWD",
            "HIP_CREDENTIALS_FILE",
            "NVIDIA_api_key",
            "FACEMILL_KAFKA__SASL_PASSWORD",
            "FACEMILL_STORE__URL",
            "KUBERNETES_SERVICE_HOST",
            "CRASH_AT",
            "LD_PRELOAD",
            "PATHS",
            "",
        ];
        for name in kept_back {
            assert!(!is_for_lanes(name), "{name}");
        }
        assert_eq!(is_for_lanes("CRASH_LANE"), cfg!(feature = "crash-points"));
    }
}
