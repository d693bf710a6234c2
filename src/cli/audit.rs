//! `facemill audit export`: how runs have ended, for whoever has to show it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::broker::{BrokerConfig, News, Reader, StartAt};
use crate::calendar;
use crate::config::{Config, cache_dir};
use crate::contract::{AuditRecord, JobId, topics};
use crate::local::AUDIT;
use crate::site::unix_millis;

use super::args::{Audit, AuditCommand, ExportAudit};
use super::role::broker;
use super::{Exit, SILENCE_LIMIT};

/// Runs the command.
pub async fn run(args: Audit, config: Config) -> Result<Exit> {
    let AuditCommand::Export(export) = args.command;
    let mut lines = Lines::new(&export, std::io::stdout().lock());
    match &config.kafka.brokers {
        Some(_) if export.data_dir.is_none() => from_topic(&broker(&config, "audit")?, &mut lines).await?,
        _ => {
            let folder = export.data_dir.clone().unwrap_or_else(|| cache_dir().join("data"));
            from_file(&folder.join(AUDIT), &mut lines)?;
        }
    }
    if lines.unreadable > 0 {
        eprintln!("facemill: {} records are no audit records and were left out", lines.unreadable);
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

/// Writes out what is wanted, each run's end once.
struct Lines<W> {
    out: W,
    since: Option<i64>,
    job: Option<JobId>,
    seen: HashSet<(JobId, u32, String)>,
    unreadable: u64,
}

impl<W: Write> Lines<W> {
    fn new(export: &ExportAudit, out: W) -> Self {
        let ExportAudit { since, job, .. } = export;
        Self { out, since: *since, job: job.clone(), seen: HashSet::new(), unreadable: 0 }
    }

    /// One record; `false` when nobody reads on.
    fn take(&mut self, record: &AuditRecord) -> Result<bool> {
        let ended = calendar::parse(&record.ended_at, unix_millis()).unwrap_or_default();
        let is_wanted =
            self.since.is_none_or(|since| ended >= since) && self.job.as_ref().is_none_or(|job| *job == record.job);
        if !is_wanted || !self.seen.insert(record.identity()) {
            return Ok(true);
        }
        let line = serde_json::to_string(record).context("write an audit record as JSON")?;
        Ok(writeln!(self.out, "{line}").is_ok()) // `| head` has seen enough
    }
}

/// Reads the topic as it is now.
async fn from_topic(broker: &BrokerConfig, lines: &mut Lines<impl Write>) -> Result<()> {
    let mut reader = Reader::<AuditRecord>::start(broker, topics::AUDIT, StartAt::Beginning).await?;
    while let Some(news) = reader.next_within(SILENCE_LIMIT).await {
        let News::Record(found) = news.context("read the audit to its end")? else { break };
        match &found.record {
            Ok(record) if lines.take(record)? => {}
            Ok(_) => break,
            // A trial of whether the topic can be written.
            Err(_) if found.payload.as_ref().is_none_or(|payload| payload.is_empty()) => {}
            Err(_) => lines.unreadable += 1,
        }
    }
    Ok(())
}

/// Reads what was done on this machine.
fn from_file(path: &Path, lines: &mut Lines<impl Write>) -> Result<()> {
    let file = File::open(path).with_context(|| {
        format!("open {}, the audit of this machine (that of a cluster: --brokers)", path.display())
    })?;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(|| format!("read {}", path.display()))?;
        match serde_json::from_slice::<AuditRecord>(&line) {
            Ok(record) if lines.take(&record)? => {}
            Ok(_) => break,
            Err(_) => lines.unreadable += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Digest, State};

    fn record(job: &str, run: u32, ended_at: &str) -> AuditRecord {
        AuditRecord {
            v: 1,
            job: job.parse().unwrap(),
            run,
            state: State::Done,
            refused: false,
            reason: None,
            content: Digest::of(b""),
            submission: String::new(),
            sources: Vec::new(),
            target: None,
            output: None,
            swapper: None,
            digital_source_type: None,
            models: Default::default(),
            consent: Vec::new(),
            decisions: None,
            labels: Default::default(),
            accepted_at: None,
            ended_at: ended_at.to_owned(),
            facemill: String::new(),
            pipeline: 4,
        }
    }

    #[test]
    fn each_end_of_a_run_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut file = File::create(&path).unwrap();
        let records = [
            record("a", 1, "2026-11-20T10:00:00Z"),
            record("a", 1, "2026-11-20T10:00:00Z"),
            record("a", 2, "2026-11-21T10:00:00Z"),
            record("b", 1, "2026-11-22T10:00:00Z"),
            // Forgotten by gc, and submitted anew.
            record("b", 1, "2026-12-30T10:00:00Z"),
        ];
        for record in &records {
            writeln!(file, "{}", serde_json::to_string(record).unwrap()).unwrap();
        }
        let told = |since: Option<&str>, job: Option<&str>| {
            let since = since.map(|since| calendar::parse(since, 0).unwrap());
            let export = ExportAudit { since, job: job.map(|job| job.parse().unwrap()), ..ExportAudit::default() };
            let mut lines = Lines::new(&export, Vec::new());
            from_file(&path, &mut lines).unwrap();
            let text = String::from_utf8(lines.out).unwrap();
            let told = text.lines().map(|line| serde_json::from_str::<AuditRecord>(line).unwrap());
            told.map(|record| (record.job.to_string(), record.run)).collect::<Vec<_>>()
        };
        let of = |job: &str, run| (job.to_owned(), run);
        assert_eq!(told(None, None), [of("a", 1), of("a", 2), of("b", 1), of("b", 1)]);
        assert_eq!(told(Some("2026-11-21"), None), [of("a", 2), of("b", 1), of("b", 1)]);
        assert_eq!(told(Some("2026-11-21"), Some("a")), [of("a", 2)]);
    }
}
