//! A role as a process: started with its log in a file, signalled by its pid, and watched for how it ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A running role.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    /// Where this process's lines begin in its log; earlier ones are of its predecessors.
    log_start: u64,
}

impl Process {
    /// Starts `command`; what it says goes to the end of `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log).context("open log")?;
        let log_start = file.metadata()?.len();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, log: log.to_owned(), log_start })
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Stopped by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        state(self.pid()) == Some('T')
    }

    /// What it has said since it was started.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&read_from(&self.log, self.log_start)).into_owned()
    }

    /// Asks it to end, waits for `grace`, then does not ask. Returns how it ended.
    pub fn end(&mut self, grace: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.signal(Signal::CONT)?;
        let began = Instant::now();
        while began.elapsed() < grace {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// SIGKILL, and its status is taken.
    pub fn kill(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a log says from this byte on. One that is not there, or cannot be read, says nothing.
pub fn read_from(log: &Path, start: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let _ = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_end(&mut text));
    }
    text
}

/// How a process ended, in words.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(9)) => "was killed".to_owned(),
        (None, signal) => format!("died of signal {}", signal.unwrap_or(0)),
    }
}

/// Sends a signal; a process that is gone is an error.
pub fn send(pid: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid).context("a pid is positive")?;
    kill_process(pid, signal).with_context(|| format!("signal {pid:?}"))
}

/// No such process, or nothing of it but its status.
pub fn is_gone(pid: i32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

/// The letter of `/proc/<pid>/stat`. The name before it, in brackets, may hold anything.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_stopped_continued_and_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready >&2; exec sleep 60"]);
        let mut sleeper = Process::start(command, &folder.path().join("log")).unwrap();
        let wait = |is_so: &dyn Fn(&Process) -> bool, sleeper: &Process| {
            let began = Instant::now();
            while !is_so(sleeper) {
                assert!(began.elapsed() < Duration::from_secs(20));
                std::thread::yield_now();
            }
        };
        wait(&|sleeper| sleeper.said().contains("ready"), &sleeper);
        sleeper.signal(Signal::STOP).unwrap();
        wait(&|sleeper| sleeper.is_stopped(), &sleeper);
        assert!(sleeper.ended().unwrap().is_none());
        let status = sleeper.end(Duration::from_secs(20)).unwrap();
        assert_eq!(describe(status), "died of signal 15");
        assert!(is_gone(sleeper.pid()));
    }
}
