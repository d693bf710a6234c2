//! What came out: counted by scenario, told as it comes, and printed as a table at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::run::Run;

/// Violations that are printed in full, of each scenario.
const TOLD: usize = 12;

#[derive(Debug, Default)]
struct Row {
    runs: u32,
    /// Runs that met anything.
    met: u32,
    /// Runs under which a role or the broker was killed.
    killed: u32,
    faults: u32,
    violations: u32,
    gave_up: u32,
    slowest: Duration,
    notes: Vec<String>,
}

/// Takes results from all universes.
#[derive(Debug)]
pub struct Board {
    began: Instant,
    rows: Mutex<BTreeMap<String, Row>>,
}

impl Board {
    pub fn new() -> Self {
        Self { began: Instant::now(), rows: Mutex::default() }
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds runs that have been judged.
    pub fn add(&self, scenario: &str, runs: &[Run]) {
        let mut rows = self.rows();
        let row = rows.entry(scenario.to_owned()).or_default();
        for run in runs {
            row.runs += 1;
            row.met += u32::from(!run.faults.is_empty());
            row.killed += u32::from(run.is_killed);
            row.faults += run.faults.len() as u32;
            row.gave_up += run.gave_up;
            row.slowest = row.slowest.max(run.recovery().unwrap_or_default());
            for violation in &run.violations {
                row.violations += 1;
                if row.violations as usize <= TOLD {
                    println!("  {scenario} seed {}: {violation}", run.seed);
                    println!("      after: {}", run.faults.join("; "));
                }
            }
        }
    }

    /// Adds what is no run: a role that refuses to start, or offsets and manifests looked at once more.
    pub fn add_bare(&self, scenario: &str, violations: Vec<String>) {
        let mut rows = self.rows();
        let row = rows.entry(scenario.to_owned()).or_default();
        row.runs += 1;
        row.violations += violations.len() as u32;
        violations.iter().for_each(|violation| println!("  {scenario}: {violation}"));
    }

    /// Something that went wrong outside any run.
    pub fn fault(&self, scenario: &str, what: &str) {
        let mut rows = self.rows();
        rows.entry(scenario.to_owned()).or_default().violations += 1;
        println!("  {scenario}: {what}");
    }

    /// A scenario whose fault does not come shows nothing: half of its runs must have met it. (Of jobs side by side one may be over when it
    /// comes.)
    pub fn check_met(&self, scenario: &str) {
        let (met, runs) = self.rows().get(scenario).map_or((0, 0), |row| (row.met, row.runs));
        if 2 * met < runs {
            self.fault(scenario, &format!("only {met} of {runs} runs met a fault"));
        }
    }

    pub fn note(&self, scenario: &str, note: &str) {
        self.rows().entry(scenario.to_owned()).or_default().notes.push(note.to_owned());
        println!("  {scenario}: {note}");
    }

    pub fn has_violations(&self, scenario: &str) -> bool {
        self.rows().get(scenario).is_some_and(|row| row.violations > 0)
    }

    /// A line of progress.
    pub fn progress(&self, scenario: &str) {
        let rows = self.rows();
        let sum = |number: fn(&Row) -> u32| rows.values().map(number).sum::<u32>();
        let (met, killed) = (sum(|row| row.met), sum(|row| row.killed));
        let Some(row) = rows.get(scenario) else { return };
        println!(
            "[{:5.0} s] {scenario}: {} runs, {} violations, slowest {:.1} s; in all {met} runs met a fault, {killed} a SIGKILL",
            self.began.elapsed().as_secs_f64(),
            row.runs,
            row.violations,
            row.slowest.as_secs_f64(),
        );
    }

    /// Prints the table; true if nothing was violated.
    pub fn finish(&self) -> bool {
        let rows = self.rows();
        println!(
            "\n| scenario | runs | met a fault | killed | faults | roles that gave up | violations | slowest recovery, s |"
        );
        println!("|---|---:|---:|---:|---:|---:|---:|---:|");
        let mut sums = Row::default();
        for (name, row) in rows.iter() {
            let note = if row.notes.is_empty() { String::new() } else { format!(" ({})", row.notes.join("; ")) };
            print_row(&format!("{name}{note}"), row);
            sums.runs += row.runs;
            sums.met += row.met;
            sums.killed += row.killed;
            sums.faults += row.faults;
            sums.violations += row.violations;
            sums.gave_up += row.gave_up;
            sums.slowest = sums.slowest.max(row.slowest);
        }
        print_row("all", &sums);
        println!("\n{:.0} s", self.began.elapsed().as_secs_f64());
        sums.violations == 0
    }
}

fn print_row(name: &str, row: &Row) {
    let Row { runs, met, killed, faults, violations, gave_up, slowest, .. } = row;
    println!(
        "| {name} | {runs} | {met} | {killed} | {faults} | {gave_up} | {violations} | {:.1} |",
        slowest.as_secs_f64()
    );
}
