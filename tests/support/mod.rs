//! What the end-to-end tests share: the program as a user runs it, clips made by `ffmpeg`, and what `ffprobe` says of them.

#![allow(dead_code, reason = "each test target uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// How long one run of the program may take, however busy the machine is.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// A folder of one test, with its own data folder.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// A path in the test's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `facemill swap`, with events as JSON lines and a data folder of this test's own.
    pub fn swap(&self, arguments: &[&str]) -> Command {
        let mut command = facemill();
        command.current_dir(self.folder.path()).args(["swap", "--json", "--data-dir", "data"]).args(arguments);
        command
    }

    /// Makes a clip with `ffmpeg`; `arguments` are inputs and encoding, e.g. `-f lavfi -i testsrc2 -c:v libx264`.
    pub fn clip(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).args(arguments.split_whitespace()).arg(&path);
        run(&mut command);
        path
    }

    /// A clip of `frames` moving test pictures, 320×180 at 25 frames per second with a tone, a keyframe every `gop` frames.
    pub fn test_clip(&self, name: &str, frames: u32, gop: u32) -> PathBuf {
        let seconds = f64::from(frames) / 25.0;
        self.clip(
            name,
            &format!(
                "-f lavfi -i testsrc2=s=320x180:r=25:d={seconds} -f lavfi -i sine=f=440:r=48000:d={seconds} \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g {gop} -c:a aac -shortest"
            ),
        )
    }
}

/// The program under test, untouched by the environment of whoever runs the tests.
pub fn facemill() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facemill"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("FACEMILL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a helper program that must succeed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What a run of `facemill swap --json` has said.
pub struct Ran {
    pub exit: Option<i32>,
    pub events: Vec<Value>,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let events = String::from_utf8_lossy(&output.stdout);
        Self {
            exit: output.status.code(),
            events: events.lines().map(|line| serde_json::from_str(line).expect(line)).collect(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the program to its end, which must come.
    pub fn from(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
        let id = child.id();
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(child.wait_with_output()));
        let is_over = |output: std::io::Result<Output>| Self::of(&output.expect("its output can be read"));
        end.recv_timeout(RUN_LIMIT).map(is_over).unwrap_or_else(|_| {
            run(Command::new("kill").args(["-KILL", &id.to_string()]));
            let told = end.recv().map(is_over).map(|ran| ran.told()).unwrap_or_default();
            panic!("{command:?} was still at work after {RUN_LIMIT:?}: {told}")
        })
    }

    /// The last event, which must be `done`.
    pub fn done(&self) -> &Value {
        let last = self.events.last().unwrap_or(&Value::Null);
        assert_eq!((self.exit, &last["event"]), (Some(0), &Value::from("done")), "{last} {}", self.stderr);
        last
    }

    /// Everything that the user was told.
    pub fn told(&self) -> String {
        let events: Vec<String> = self.events.iter().map(Value::to_string).collect();
        format!("{}\n{}", events.join("\n"), self.stderr)
    }
}

/// A child that is killed when the test ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The digest of every decoded frame, in display order.
pub fn frame_digests(clip: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-noautorotate", "-i"]).arg(clip);
    command.args(["-map", "0:v:0", "-vsync", "passthrough", "-f", "framemd5", "-"]);
    let text = String::from_utf8(run(&mut command)).expect("framemd5 is text");
    let digest = |line: &str| line.rsplit(',').next().unwrap_or("").trim().to_owned();
    text.lines().filter(|line| !line.starts_with('#')).map(digest).collect()
}

/// Seconds of every frame and of every audio packet with its digest, as written by ffprobe.
pub fn times(clip: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let probe = |arguments: &[&str]| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "error", "-show_data_hash", "MD5", "-of", "csv=p=0"]).args(arguments).arg(clip);
        String::from_utf8(run(&mut command)).expect("csv is text")
    };
    let mut video: Vec<f64> = probe(&["-select_streams", "v:0", "-show_entries", "packet=pts_time"])
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse().ok())
        .collect();
    video.sort_by(f64::total_cmp);
    let video = video.iter().map(|time| format!("{time:.6}")).collect();
    let audio = probe(&["-select_streams", "a:0", "-show_entries", "packet=pts_time,data_hash"]);
    let audio = audio.lines().filter_map(|line| line.split_once(',')).map(|(a, b)| (a.into(), b.into())).collect();
    (video, audio)
}

/// A file that `make setup` has fetched.
pub fn fetched(name: &str) -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_default();
    let path = cache.join("facemill").join(name);
    assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
    path
}

/// The demo's portrait.
pub fn portrait() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/demo/portrait.jpg")
}

/// The demo's clip.
pub fn demo_clip() -> PathBuf {
    fetched("media/WolfgangLanger_Pexels.mp4")
}
