//! The audit: how each run has ended, on topic `audit`; on one machine also in a file, since the broker there keeps nothing.
//!
//! Written after the manifest and before the news of it. So every run that has ended has a record, whatever is killed when; one that was written
//! twice says the same twice ([`AuditRecord::identity`]).

use std::fmt::Display;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use tracing::warn;

use crate::broker::Outgoing;
use crate::calendar::rfc3339;
use crate::contract::{
    AuditRecord, AuditedConsent, AuditedOutput, Consent, Decisions, Job, Manifest, PIPELINE, Run, VERSION, keys,
    partition_of, topics,
};
use crate::site::{Site, SiteError};

/// Header of records that only find out whether the topic takes any.
const TRIAL: &str = "facemill.trial";

/// Finds out whether records can be written, before anything is done that would need one: an empty record, which readers pass over.
///
/// # Errors
/// Retry: the broker is away for longer than its patience. Fatal: the topic or the file takes none.
pub async fn ensure_writable(site: &Site) -> Result<(), SiteError> {
    let (headers, value): (&[(&str, &[u8])], _) = (&[(TRIAL, b"")], Some(&b""[..]));
    let trial = || Outgoing { topic: topics::AUDIT, key: None, partition: None, headers, value: &value };
    let sent = site.patiently("publish to", topics::AUDIT, || site.producer.send_bytes(trial())).await;
    sent.map_err(unwritable)?;
    ensure_file_writable(site)
}

/// The same for the file, if there is one.
///
/// # Errors
/// Fatal.
pub fn ensure_file_writable(site: &Site) -> Result<(), SiteError> {
    let Some(path) = &site.audit_file else { return Ok(()) };
    append(path, b"").map_err(|error| unwritable(format!("{}: {error}", path.display())))
}

/// Writes down how a run has ended.
///
/// # Errors
/// As [`ensure_writable`]; [`SiteError::Store`] if what is known of the run cannot be read.
pub async fn record(site: &Site, manifest: &Manifest) -> Result<(), SiteError> {
    let run = readable(site.read_json::<Run>(&keys::run(&manifest.job, manifest.run)).await)?;
    let job = match &run {
        Some(run) => Some(run.job.clone()),
        None => readable(site.read_json::<Job>(&keys::job(&manifest.job)).await)?,
    };
    let record = of(manifest, run.as_ref(), job.as_ref());
    let asked = site.patiently("look at topic", topics::AUDIT, || site.producer.partitions(topics::AUDIT)).await;
    let partition = partition_of(&manifest.job, asked.map_err(unwritable)?);
    site.send(topics::AUDIT, &manifest.job, partition, &record).await.map_err(unwritable)?;
    let Some(path) = &site.audit_file else { return Ok(()) };
    let mut line = serde_json::to_vec(&record).map_err(io::Error::from)?;
    line.push(b'\n');
    Ok(append(path, &line)?)
}

/// Whatever the broker says: this process cannot go on, and what it was about to end stays open.
fn unwritable(error: impl Display) -> SiteError {
    SiteError::Work(format!("the audit cannot be written: {error}"))
}

/// An object that cannot be read says nothing.
fn readable<T>(read: Result<Option<T>, SiteError>) -> Result<Option<T>, SiteError> {
    match read {
        Err(error @ SiteError::BadObject { .. }) => {
            warn!(%error, "the audit of a run is not complete");
            Ok(None)
        }
        read => read,
    }
}

/// What is known of a run, as one record.
fn of(manifest: &Manifest, run: Option<&Run>, job: Option<&Job>) -> AuditRecord {
    let decisions = run.map(|run| run.decisions.clone()).or_else(|| manifest.decisions.clone());
    let audited = |consent: &Consent| AuditedConsent { digest: consent.digest(), consent: consent.clone() };
    let consent = job.map(|job| recorded(job, decisions.as_ref())).unwrap_or_default();
    AuditRecord {
        v: VERSION,
        job: manifest.job.clone(),
        run: manifest.run,
        state: manifest.state,
        refused: manifest.refused,
        reason: manifest.reason.clone(),
        content: manifest.content,
        submission: manifest.submission.clone(),
        sources: run.map(Run::lenders).unwrap_or_default(),
        target: run.map(|run| run.clip),
        output: manifest.output.as_ref().map(|output| AuditedOutput {
            location: output.location.clone(),
            bytes: output.bytes,
            sha256: output.sha256,
            signed_by: output.signed_by.clone(),
        }),
        swapper: job.map(|job| job.swap.swapper.to_string()),
        digital_source_type: run.and_then(|run| run.digital_source_type),
        models: run.map(|run| run.toolchain.models.clone()).unwrap_or_default(),
        consent: consent.into_iter().map(audited).collect(),
        decisions,
        labels: manifest.labels.clone(),
        accepted_at: run.map(|run| rfc3339((run.accepted_at * 1000.0) as i64)),
        ended_at: rfc3339(manifest.ended_at),
        facemill: env!("CARGO_PKG_VERSION").to_owned(),
        pipeline: run.map_or(PIPELINE, |run| run.toolchain.pipeline),
    }
}

fn recorded<'a>(job: &'a Job, decisions: Option<&Decisions>) -> Vec<&'a Consent> {
    job.consents_under(decisions.map(|decisions| decisions.consent).unwrap_or_default())
}

/// One write for each line, so that lines of several processes do not mix.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line)?;
    file.sync_data()
}
