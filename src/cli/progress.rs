//! What the user sees while a job runs: a bar on a terminal, plain lines elsewhere, or events as JSON lines.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::contract::{State, Status, Totals};
use crate::local::Update;

/// Without a terminal: a line at most this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows a job's progress.
pub struct Progress {
    face: Face,
    started: Instant,
    /// The newest totals.
    totals: Totals,
    state: Option<State>,
    /// When the first frame was on its way: rates count from here.
    running_since: Option<Instant>,
    warned: usize,
}

enum Face {
    Bar(ProgressBar),
    Lines { last: Option<Instant> },
    Json,
}

impl Progress {
    /// `json` wins over a terminal.
    pub fn new(json: bool, started: Instant) -> Self {
        let face = match json {
            true => Face::Json,
            false if std::io::stderr().is_terminal() => Face::Bar(bar()),
            false => Face::Lines { last: None },
        };
        Self { face, started, totals: Totals::default(), state: None, running_since: None, warned: 0 }
    }

    /// Takes news in.
    pub fn show(&mut self, update: &Update<'_>) {
        match update {
            Update::Tick { encoded } => self.tick(*encoded),
            Update::Status(status) => self.status(status),
        }
    }

    fn tick(&mut self, encoded: u64) {
        let done = (self.totals.frames_reused + encoded).max(self.totals.frames_done).min(self.totals.frames);
        let rate = self.running_since.map_or(0.0, |since| encoded as f64 / since.elapsed().as_secs_f64().max(0.001));
        let stage = stage_name(self.state);
        match &mut self.face {
            Face::Bar(bar) => {
                bar.set_position(done);
                let left = (self.totals.frames - done) as f64 / rate;
                let left = match left.is_finite() && done < self.totals.frames {
                    true => format!(", {} left", HumanDuration(Duration::from_secs_f64(left.min(1e9)))),
                    false => String::new(),
                };
                bar.set_message(format!("{rate:.0} frames/s{left}"));
                bar.set_prefix(stage);
            }
            Face::Lines { last } => {
                let is_due = last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
                // The first moments need no line of their own.
                if is_due && (self.totals.frames > 0 || self.started.elapsed() >= LINE_EVERY) {
                    *last = Some(Instant::now());
                    match self.totals.frames {
                        0 => eprintln!("{stage}"),
                        frames => eprintln!("{stage}: {done} of {frames} frames, {rate:.0} frames/s"),
                    }
                }
            }
            Face::Json => {}
        }
    }

    fn status(&mut self, status: &Status) {
        if self.running_since.is_none() && status.state == State::Running {
            self.running_since = Some(Instant::now());
        }
        let changed = self.state != Some(status.state);
        self.state = Some(status.state);
        self.totals = status.totals.clone();
        let Totals { frames, frames_done, chunks, .. } = self.totals;
        if let Face::Bar(bar) = &self.face
            && frames > 0
        {
            bar.set_style(style("{prefix:9} [{wide_bar}] {pos}/{len} frames, {msg}"));
            bar.set_length(frames);
        }
        let news = &status.warnings[self.warned.min(status.warnings.len())..];
        self.warned += news.len();
        for warning in news {
            self.warn(warning);
        }
        if let Some(chunk) = &status.chunk {
            self.event(json!({
                "event": "chunk", "chunk": chunk.index, "of": chunks, "reused": chunk.reused,
                "frames_done": frames_done, "frames": frames,
            }));
        } else if changed && !status.state.is_final() {
            self.event(json!({
                "event": status.state, "job": status.job, "frames": frames, "chunks": chunks, "frames_done": frames_done,
            }));
        }
    }

    /// The job has ended.
    pub fn end(&mut self, status: &Status, output: &Path) {
        let seconds = self.started.elapsed().as_secs_f64();
        let mut totals = status.totals.clone();
        if status.before {
            (totals.chunks_done, totals.chunks_reused) = (0, totals.chunks);
        }
        self.clear();
        let without = totals.frames_without_face;
        if status.state == State::Done && without > 0 {
            self.warn(&format!(
                "no face was found in {without} of {} frames; they pass through unchanged",
                totals.frames
            ));
        }
        if matches!(self.face, Face::Json) {
            let event = match status.state {
                State::Done => json!({
                    "event": "done", "output": output, "frames": totals.frames, "frames_without_face": without,
                    "chunks_done": totals.chunks_done, "chunks_reused": totals.chunks_reused, "seconds": seconds,
                    "stage_seconds": totals.seconds,
                }),
                _ => {
                    json!({ "event": "failed", "reason": status.reason, "refused": status.refused, "seconds": seconds })
                }
            };
            return self.event(event);
        }
        match status.state {
            State::Done => summary(&totals, status.before, output, seconds),
            _ => eprintln!("facemill: {}", status.reason.as_deref().unwrap_or("failed")),
        }
    }

    /// The user has stopped the job.
    pub fn interrupted(&mut self) {
        self.clear();
        let Totals { chunks, chunks_done, chunks_reused, .. } = self.totals;
        let kept = chunks_done + chunks_reused;
        if matches!(self.face, Face::Json) {
            return self.event(json!({ "event": "interrupted", "chunks_kept": kept, "chunks": chunks }));
        }
        eprintln!("interrupted; {kept} of {chunks} chunks are kept. The same command again goes on from there.");
    }

    /// The job could not be run to its end.
    pub fn failed(&mut self, reason: &str, refused: bool) {
        self.clear();
        let seconds = self.started.elapsed().as_secs_f64();
        self.event(json!({ "event": "failed", "reason": reason, "refused": refused, "seconds": seconds }));
        eprintln!("facemill: {reason}");
    }

    fn clear(&self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
        }
    }

    fn warn(&self, message: &str) {
        match &self.face {
            Face::Bar(bar) => bar.suspend(|| eprintln!("warning: {message}")),
            Face::Lines { .. } => eprintln!("warning: {message}"),
            Face::Json => self.event(json!({ "event": "warning", "message": message })),
        }
    }

    fn event(&self, event: Value) {
        if matches!(self.face, Face::Json) {
            let mut out = std::io::stdout().lock();
            // A reader that has gone away must not stop the job.
            let _ = writeln!(out, "{event}").and_then(|()| out.flush());
        }
    }
}

/// Until the number of frames is known there is nothing to show but that work has begun.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(style("{prefix:9} {spinner}"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

fn stage_name(state: Option<State>) -> &'static str {
    match state {
        None => "starting",
        Some(State::Planning) => "planning",
        Some(State::Running) => "swapping",
        Some(State::Joining) => "joining",
        Some(State::Done) => "done",
        Some(State::Failed) => "failed",
        Some(State::Cancelled) => "cancelled",
    }
}

fn summary(totals: &Totals, before: bool, output: &Path, seconds: f64) {
    let Totals { frames, chunks, chunks_reused, .. } = totals;
    println!("{}", output.display());
    let rate = *frames as f64 / seconds;
    println!("  {frames} frames in {seconds:.1} s, {rate:.0} frames/s; {chunks_reused} of {chunks} chunks reused");
    if before {
        println!("  It was finished before; nothing was left to do.");
        return;
    }
    let mut stages: Vec<(&String, &f64)> = totals.seconds.iter().filter(|(_, spent)| **spent >= 0.01).collect();
    stages.sort_by(|a, b| b.1.total_cmp(a.1));
    let spent: Vec<String> = stages.iter().map(|(stage, spent)| format!("{stage} {spent:.2} s")).collect();
    println!("  where the time went, added up over lanes: {}", spent.join(", "));
}
