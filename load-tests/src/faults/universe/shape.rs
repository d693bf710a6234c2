//! What a universe consists of: its sessions, which roles run with which settings, and where its objects lie.

use std::path::PathBuf;
use std::time::Duration;

/// How soon a dead or stopped member of a group is found, and what follows from that.
#[derive(Clone, Copy, Debug)]
pub struct Sessions {
    /// The groups' session time-out.
    pub timeout: Duration,
    /// Longest time from a fault to the final state of the jobs that were open.
    pub recovery_max: Duration,
    /// Environment that makes it so.
    pub(super) settings: &'static [(&'static str, &'static str)],
}

impl Sessions {
    /// To get through many runs.
    pub const SHORT: Self = Self {
        timeout: Duration::from_secs(6),
        recovery_max: Duration::from_secs(20),
        settings: &[
            ("FACEMILL_KAFKA__SESSION_TIMEOUT_MS", "6000"),
            ("FACEMILL_KAFKA__HEARTBEAT_INTERVAL_MS", "500"),
            ("FACEMILL_ASSEMBLE__REPAIR_AFTER_SECONDS", "3"),
        ],
    };
    /// What an operator gets who sets nothing.
    pub const DEFAULT: Self =
        Self { timeout: Duration::from_secs(45), recovery_max: Duration::from_secs(60), settings: &[] };

    /// How long a stopped process stays so: its partitions are long another's when it comes back.
    pub(super) fn stopped_for(self) -> Duration {
        self.timeout + Duration::from_secs(3)
    }

    /// How long a role may take to get its partitions: a session, in which a dead member is waited for, and some.
    pub(super) fn assigned_limit(self) -> Duration {
        self.timeout + Duration::from_secs(35)
    }
}

/// Grace of workers, seconds, where a scenario does not say otherwise.
pub(super) const WORKER_GRACE_SECONDS: u64 = 2;
/// Grace of assemblers, seconds, where nothing is set (`src/config.rs`).
const ASSEMBLE_GRACE_SECONDS: u64 = 30;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Ingest,
    Worker,
    Assemble,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Worker => "worker",
            Self::Assemble => "assemble",
        }
    }
}

/// Which processes run, and with which settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub ingests: usize,
    pub workers: usize,
    pub assemblers: usize,
    /// Of each worker.
    pub lanes: usize,
    /// Environment of every role.
    pub settings: Vec<(String, String)>,
    /// Those of the next version.
    pub upgraded: Vec<(Kind, usize)>,
}

impl Shape {
    pub fn new(ingests: usize, workers: usize, assemblers: usize) -> Self {
        Self { ingests, workers, assemblers, lanes: 1, settings: Vec::new(), upgraded: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn with_lanes(self, lanes: usize) -> Self {
        Self { lanes, ..self }
    }

    pub(super) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Ingest => self.ingests,
            Kind::Worker => self.workers,
            Kind::Assemble => self.assemblers,
        }
    }

    /// How long a role of this kind may go on once it was asked to end.
    pub(super) fn grace(&self, kind: Kind) -> Duration {
        let usual = match kind {
            Kind::Ingest => 0,
            Kind::Worker => WORKER_GRACE_SECONDS,
            Kind::Assemble => ASSEMBLE_GRACE_SECONDS,
        };
        let name = format!("FACEMILL_{}__GRACE_SECONDS", kind.name().to_uppercase());
        // The last one counts, as in an environment.
        let set = self.settings.iter().rfind(|(known, _)| *known == name);
        Duration::from_secs(set.and_then(|(_, seconds)| seconds.parse().ok()).unwrap_or(usual))
    }

    /// Lanes eat all memory that they can have.
    pub(super) fn is_starving_lanes(&self) -> bool {
        self.settings.iter().any(|(name, value)| name == "CRASH_LANE" && value.ends_with("=memory"))
    }
}

/// Where a universe keeps its objects, and how its roles get there.
#[derive(Clone, Debug)]
pub struct Place {
    /// `file://…` or `s3://…`.
    pub url: String,
    /// The same as a folder that the harness can look into.
    pub folder: PathBuf,
    /// Environment by which the roles reach it.
    pub settings: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_is_that_of_the_scenario_or_the_usual_one() {
        let kinds = [Kind::Ingest, Kind::Worker, Kind::Assemble];
        let seconds = |shape: &Shape| kinds.map(|kind| shape.grace(kind).as_secs());
        let usual = Shape::new(1, 1, 1);
        assert_eq!(seconds(&usual), [0, 2, 30]);
        let set = usual.with("FACEMILL_WORKER__GRACE_SECONDS", "60").with("FACEMILL_ASSEMBLE__GRACE_SECONDS", "0");
        assert_eq!(seconds(&set), [0, 60, 0]);
        assert_eq!(seconds(&set.with("FACEMILL_WORKER__GRACE_SECONDS", "0")), [0, 0, 0]);
    }
}
