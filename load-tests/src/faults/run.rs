//! One run: a job, from its record to its final state, and what happened meanwhile.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use facemill::contract::{Digest, Job, JobId, Manifest, State, Swap, Swapper, Video, keys, topics};

use super::checker;
use super::clip::{self, GOP, Stamped};
use super::universe::{Cause, Fault, Universe};

/// How long a job may take before it counts as never final: several sessions at their default.
const FINAL_LIMIT: Duration = Duration::from_secs(180);
/// How often a universe is looked at. This drives the faults; nothing is taken for granted after a time.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// How long a scenario may want something more of jobs that are all final. The soak lets none come to be for longer.
const ACT_LIMIT: Duration = Duration::from_secs(120);
/// How the name of a file with credentials ends.
const CREDENTIALS: &str = "c2pa";

/// How a run should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Done,
    Failed,
    Cancelled,
}

/// See the module.
pub struct Run {
    pub seed: u64,
    pub job: Job,
    pub expect: Expect,
    /// Its number among the job's runs.
    pub number: u32,
    pub source: clip::Reading,
    /// What stood in the place of the output, and of its credentials beside it, when it was submitted.
    pub before: Delivered,
    pub submitted: Instant,
    /// What happened while it was open.
    pub faults: Vec<String>,
    /// What happened when it was final, while others beside it were not.
    pub afterwards: Vec<String>,
    /// A role or the broker was killed while it was open.
    pub is_killed: bool,
    pub last_fault: Option<Instant>,
    /// How often a role ended by itself meanwhile.
    pub gave_up: u32,
    pub final_at: Option<Instant>,
    /// Longest allowed time from the last fault to the final state.
    pub recovery_max: Duration,
    /// The manifest's bytes when it was first seen, and the output then.
    pub sealed: Option<(Vec<u8>, Delivered)>,
    pub violations: Vec<String>,
    judged: bool,
}

/// Digests of an output and of the file with its credentials beside it, where they are there.
pub type Delivered = [Option<Digest>; 2];

/// Where an output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To an MP4 that is not there yet.
    Free,
    /// Over an MP4.
    Taken,
    /// Over an MKV with its credentials in a file beside it.
    TakenBesideCredentials,
}

/// What a job is like.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    pub clip: &'a Stamped,
    pub name: String,
    pub seed: u64,
    pub preset: &'static str,
    /// Shortest and longest chunk.
    pub chunk_frames: [u64; 2],
    pub frame_limit: Option<u64>,
    pub expect: Expect,
    pub place: Place,
}

impl<'a> Order<'a> {
    /// A quick job that should be done. Of four seeds in a row, two find their output's place taken.
    pub fn quick(clip: &'a Stamped, name: &str, seed: u64) -> Self {
        let (name, chunk_frames) = (name.to_owned(), [GOP, GOP]);
        let place = match seed % 4 {
            1 => Place::Taken,
            2 => Place::TakenBesideCredentials,
            _ => Place::Free,
        };
        Self { clip, name, seed, preset: "ultrafast", chunk_frames, frame_limit: None, expect: Expect::Done, place }
    }
}

impl Run {
    /// Writes the clip and publishes the job.
    pub fn submit(universe: &Universe, order: Order<'_>) -> Result<Self> {
        Self::submit_spoilt(universe, order, &|_| Ok(()))
    }

    /// The same, with something done to the clip's file before.
    pub fn submit_spoilt(universe: &Universe, order: Order<'_>, spoil: &dyn Fn(&Path) -> Result<()>) -> Result<Self> {
        let Order { clip, name, seed, preset, chunk_frames, frame_limit, expect, place } = order;
        let job: JobId = name.parse()?;
        let target = clip::variant_path(&universe.files(), &name);
        // Distinct in clip and settings: no slice and no result of another run fits.
        clip.write_variant(&target, unique(&name))?;
        spoil(&target)?;
        let location = |path: &Path| format!("file://{}", path.display());
        let output = universe.files().join(match place {
            Place::Free | Place::Taken => format!("{name}-out.mp4"),
            Place::TakenBesideCredentials => format!("{name}-out.mkv"),
        });
        if place != Place::Free {
            std::fs::write(&output, b"what was there before")?;
        }
        if place == Place::TakenBesideCredentials {
            std::fs::write(output.with_extension(CREDENTIALS), b"its credentials")?;
        }
        let blend_ratio = (unique(&name) >> 11) as f64 / (1_u64 << 53) as f64;
        let job = Job {
            v: 1,
            job,
            sources: Vec::new(),
            target: location(&target),
            output: location(&output),
            swap: Swap { swapper: Swapper::None, blend_ratio, ..Swap::default() },
            video: Video { encoder: "libx264".to_owned(), preset: preset.to_owned(), crf: 0 },
            chunk_frames,
            trim_start: None,
            trim_end: None,
            frame_limit,
            tolerate_damage: false,
            people: Vec::new(),
            consent: None,
            label: None,
            labels: [("seed".to_owned(), seed.to_string())].into(),
        };
        let before = delivered(&output);
        universe.publish(topics::JOBS, &name, &job)?;
        Ok(Self {
            seed,
            job,
            expect,
            number: 1,
            source: clip.reading.clone(),
            before,
            submitted: Instant::now(),
            faults: Vec::new(),
            afterwards: Vec::new(),
            is_killed: false,
            last_fault: None,
            gave_up: 0,
            final_at: None,
            recovery_max: universe.sessions.recovery_max,
            sealed: None,
            violations: Vec::new(),
            judged: false,
        })
    }

    pub fn id(&self) -> &JobId {
        &self.job.job
    }

    pub fn output(&self) -> PathBuf {
        PathBuf::from(self.job.output.trim_start_matches("file://"))
    }

    /// From the last fault to the final state.
    pub fn recovery(&self) -> Option<Duration> {
        Some(self.final_at?.saturating_duration_since(self.last_fault?))
    }

    /// From its submission to the final state.
    pub fn took(&self) -> Option<Duration> {
        Some(self.final_at?.saturating_duration_since(self.submitted))
    }

    /// Notes something that happened to it. What happened before it was submitted is none of its own.
    pub fn met(&mut self, what: &str, at: Instant) {
        if self.final_at.is_some() {
            self.afterwards.push(what.to_owned());
        } else if at >= self.submitted {
            self.faults.push(what.to_owned());
            self.last_fault = Some(at);
        }
    }

    /// The same of a death by SIGKILL.
    pub fn met_death(&mut self, what: &str, at: Instant) {
        self.met(what, at);
        self.is_killed |= self.final_at.is_none() && at >= self.submitted;
    }

    /// Counts what happened when it was final as met: that it was left alone then is what is to be shown.
    pub fn count_afterwards(&mut self) {
        self.is_killed |= self.afterwards.iter().any(|what| what.contains("was killed"));
        self.faults.append(&mut self.afterwards);
    }

    /// Judges it; the second time only whether it has changed since.
    pub fn judge(&mut self, universe: &Universe) {
        let found = match std::mem::replace(&mut self.judged, true) {
            false => checker::judge(universe, self),
            true => checker::unchanged(universe, self),
        };
        self.violations.extend(found);
    }

    /// It is final and nobody has judged it.
    pub fn is_to_be_judged(&self) -> bool {
        self.final_at.is_some() && !self.judged
    }

    pub fn manifest(&self) -> Option<Manifest> {
        serde_json::from_slice(&self.sealed.as_ref()?.0).ok()
    }

    /// Looks whether it has become final: manifest there, marker gone, status and audit told.
    fn look(&mut self, universe: &Universe) {
        if self.sealed.is_none() {
            self.sealed = checker::seal(universe, self);
        }
        let told = universe.tape.records.status.get(self.id()).and_then(|entry| entry.value.as_ref());
        let is_told = told.is_some_and(|status| status.state.is_final());
        let is_audited = !universe.tape.records.audited(self.id()).is_empty();
        if self.sealed.is_some() && is_told && is_audited && !checker::is_open(universe, self.id()) {
            self.final_at = Some(Instant::now());
        }
    }
}

/// What stands in an output's place and beside it.
pub fn delivered(output: &Path) -> Delivered {
    [output.to_owned(), output.with_extension(CREDENTIALS)]
        .map(|path| std::fs::read(path).ok().map(|bytes| Digest::of(&bytes)))
}

/// A number that belongs to a name.
fn unique(name: &str) -> u64 {
    u64::from_str_radix(&Digest::of(name.as_bytes()).short(16), 16).unwrap_or(0)
}

/// Goes on until all runs are final and `act` has done what it wanted; judges them. `act` is asked again and again and says
/// `true` once it wants nothing more.
pub fn drive(
    universe: &mut Universe,
    runs: &mut Vec<Run>,
    mut act: impl FnMut(&mut Universe, &mut Vec<Run>) -> Result<bool>,
) -> Result<()> {
    // Since when nothing is left but what `act` waits for.
    let mut all_final_since: Option<Instant> = None;
    loop {
        universe.tend()?;
        universe.tape.poll();
        // First what had ended, then what was hit: a job that was final meets no fault.
        runs.iter_mut().filter(|run| run.final_at.is_none()).for_each(|run| run.look(universe));
        let faults = universe.take_faults();
        for Fault { at, what, cause } in &faults {
            for run in runs.iter_mut() {
                match cause {
                    Cause::Killed => run.met_death(what, *at),
                    _ => run.met(what, *at),
                }
            }
            // Counted once, whoever's fault it was.
            let Some(first) = runs.first_mut() else { continue };
            match cause {
                Cause::GaveUp => first.gave_up += 1,
                Cause::Crashed => first.violations.push(format!("J: {what}")),
                Cause::Killed | Cause::Stopped => {}
            }
        }
        let is_content = act(universe, runs)?;
        let all_final = runs.iter().all(|run| run.final_at.is_some());
        all_final_since = all_final_since.filter(|_| all_final).or_else(|| all_final.then(Instant::now));
        ensure!(
            all_final_since.is_none_or(|since| since.elapsed() < ACT_LIMIT),
            "all jobs are final, and what the scenario waits for has not come"
        );
        let is_late = runs.iter().any(|run| run.final_at.is_none() && run.submitted.elapsed() > FINAL_LIMIT);
        if all_final && is_content && !universe.has_stopped() || is_late {
            break;
        }
        super::pause(LOOK_EVERY)?;
    }
    // Offsets and panics belong to no single run: the first one tells of them.
    let early = universe.commits.found()?;
    let panics = universe.panics()?;
    runs.first_mut().into_iter().for_each(|run| run.violations.extend(early.iter().chain(&panics).cloned()));
    runs.iter_mut().for_each(|run| run.judge(universe));
    Ok(())
}

/// Nothing to do but to wait.
pub fn nothing(_: &mut Universe, _: &mut Vec<Run>) -> Result<bool> {
    Ok(true)
}

/// Whether the state that was reached is the one that was expected.
pub fn is_expected(expect: Expect, state: State) -> bool {
    match expect {
        Expect::Done => state == State::Done,
        Expect::Failed => state == State::Failed,
        Expect::Cancelled => state == State::Cancelled,
    }
}

/// Key of a run's manifest.
pub fn manifest_key(run: &Run) -> String {
    keys::manifest(run.id(), run.number)
}
