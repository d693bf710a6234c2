//! A role's place in a universe: its process, what that is to die of, and whose doing it is when it ends.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Signal;

use super::shape::Kind;
use crate::faults::process::{Process, describe};

/// How soon a role that ended by itself is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// How long a role that is asked to end may take beyond its grace.
const END_LIMIT: Duration = Duration::from_secs(15);

const KILLED: i32 = 9;
const TERMINATED: i32 = 15;

/// Something that happened to a role.
#[derive(Clone, Debug)]
pub struct Fault {
    pub at: Instant,
    pub what: String,
    pub cause: Cause,
}

/// Whose doing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGKILL by us, or at a crash point.
    Killed,
    /// SIGSTOP by us, or at a crash point.
    Stopped,
    /// The role has ended by itself, with a status.
    GaveUp,
    /// The role has died of a signal that nobody has sent it on purpose.
    Crashed,
}

impl Cause {
    /// Brought about by us.
    fn is_ours(self) -> bool {
        matches!(self, Self::Killed | Self::Stopped)
    }

    /// `is_expected`: we have sent SIGKILL, or the process was to send it to itself.
    fn of(status: ExitStatus, is_expected: bool) -> Self {
        match status.signal() {
            None => Self::GaveUp,
            Some(KILLED) if is_expected => Self::Killed,
            Some(_) => Self::Crashed,
        }
    }
}

/// See the module.
pub struct Slot {
    pub kind: Kind,
    pub number: usize,
    /// Of the next version.
    pub is_upgraded: bool,
    pub process: Option<Process>,
    /// `CRASH_AT` of the next starts, one each.
    pub traps: VecDeque<String>,
    pub armed: Option<String>,
    pub stopped_at: Option<Instant>,
    pub start_at: Instant,
    /// We have sent SIGKILL.
    is_killed: bool,
    /// How long the process may go on once it was asked to end.
    grace: Duration,
}

impl Slot {
    /// Nothing runs in it yet.
    pub fn new(kind: Kind, number: usize, is_upgraded: bool) -> Self {
        Self {
            kind,
            number,
            is_upgraded,
            process: None,
            traps: VecDeque::new(),
            armed: None,
            stopped_at: None,
            start_at: Instant::now(),
            is_killed: false,
            grace: Duration::ZERO,
        }
    }

    pub fn name(&self) -> String {
        format!("{}-{}", self.kind.name(), self.number)
    }

    /// A process with this trap in it runs from now on.
    pub fn started(&mut self, process: Process, trap: Option<String>, grace: Duration) {
        self.process = Some(process);
        self.armed = trap;
        self.grace = grace;
        self.is_killed = false;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(process) = &self.process {
            // One that has just ended by itself takes no signal, and its end is its own.
            self.is_killed = process.signal(Signal::KILL).is_ok();
        }
    }

    /// Takes note of an end that was not asked for; the role may start again.
    pub fn note_end(&mut self, status: ExitStatus) -> Fault {
        let is_trapped = self.armed.as_ref().is_some_and(|trap| trap.ends_with("=kill"));
        let cause = Cause::of(status, self.is_killed || is_trapped);
        let trap = self.armed.take().map(|trap| format!(" at {trap}")).unwrap_or_default();
        let by_itself = if cause == Cause::Crashed { "died of itself: " } else { "" };
        let what = format!("{} {by_itself}{}{trap}", self.name(), describe(status));
        self.process = None;
        self.stopped_at = None;
        self.start_at = Instant::now() + if cause.is_ours() { Duration::ZERO } else { RESTART_AFTER };
        Fault { at: Instant::now(), what, cause }
    }

    /// Takes note of a process that stands still.
    pub fn note_stop(&mut self) -> Fault {
        let trap = self.armed.take().map(|trap| format!(" at {trap}")).unwrap_or_default();
        let what = format!("{} stands still{trap}", self.name());
        self.stopped_at = Some(Instant::now());
        Fault { at: Instant::now(), what, cause: Cause::Stopped }
    }

    /// SIGTERM, and waits for the end as long as the role's grace lasts. `None` where nothing runs.
    pub fn terminate(&mut self) -> Result<Option<ExitStatus>> {
        let grace = self.grace + END_LIMIT;
        let Some(mut process) = self.process.take() else { return Ok(None) };
        Ok(Some(process.end(grace)?))
    }

    /// Ends the role, whatever becomes of it. Tells if it has died of itself, before that or on the way.
    pub fn end(&mut self) -> Result<Option<Fault>> {
        let ended = self.process.as_mut().map(Process::ended).transpose()?.flatten();
        let fault = match ended {
            // That it gave up concerned those for whom it ran.
            Some(status) => Some(self.note_end(status)).filter(|fault| fault.cause == Cause::Crashed),
            None => {
                let signal = self.terminate()?.and_then(|status| status.signal());
                // SIGTERM before it listens, SIGKILL when its time is over.
                let died = signal.filter(|signal| ![TERMINATED, KILLED].contains(signal));
                died.map(|signal| {
                    let what = format!("{} died of itself: of signal {signal} when it was to end", self.name());
                    Fault { at: Instant::now(), what, cause: Cause::Crashed }
                })
            }
        };
        self.armed = None;
        self.stopped_at = None;
        self.start_at = Instant::now();
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_ours_only_if_we_have_asked_for_it() {
        let table = [
            (0, false, Cause::GaveUp),
            (1 << 8, true, Cause::GaveUp),
            (KILLED, true, Cause::Killed),
            (KILLED, false, Cause::Crashed), // by the system, for want of memory
            (11, true, Cause::Crashed),
            (6, false, Cause::Crashed),
        ];
        for (status, is_expected, cause) in table {
            assert_eq!(Cause::of(ExitStatus::from_raw(status), is_expected), cause, "{status} {is_expected}");
        }
    }
}
