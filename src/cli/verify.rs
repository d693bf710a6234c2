//! `facemill verify`: what a file says of itself, and whether that can be believed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::credentials::{self, Action, Origin, Report, Verdict};

use crate::marks::Found;
use crate::media;

use super::Exit;
use super::args::Verify;

/// Runs the command.
pub fn run(args: &Verify) -> Result<Exit> {
    let trusted = match &args.trust {
        Some(path) => Some(fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?),
        None => None,
    };
    let format = args.file.extension().unwrap_or_default().to_string_lossy();
    let report = credentials::read(&args.file, &format, trusted.as_deref())?;
    let labels = media::read_marks(&args.file)?;
    if args.json {
        let labels = json!({ "digital_source_type": labels.digital_source_type, "aigc": labels.aigc });
        println!("{}", json!({ "file": args.file, "credentials": report, "labels": labels }));
    } else {
        tell(&args.file, &report);
        tell_labels(&labels);
    }
    Ok(match report.verdict {
        Verdict::Valid | Verdict::Trusted => Exit::Done,
        Verdict::None | Verdict::Invalid => Exit::Failed,
    })
}

fn line(name: &str, told: &str) {
    println!("{name:<12} {told}");
}

fn tell(file: &Path, report: &Report) {
    line("file", &file.display().to_string());
    let is_changed = report.problems.iter().any(credentials::Problem::is_tampering);
    let verdict = match report.verdict {
        Verdict::None => "no Content Credentials",
        Verdict::Invalid if is_changed => "TAMPERED WITH: the file is not what was signed",
        Verdict::Invalid => "NOT VALID",
        Verdict::Valid => "valid: unchanged since it was signed; nobody here vouches for the signer (--trust)",
        Verdict::Trusted => "valid: unchanged since it was signed, by a signer whom you trust",
    };
    line("credentials", verdict);
    report.problems.iter().for_each(|problem| line("", &problem.to_string()));
    if report.verdict == Verdict::None {
        return;
    }
    let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    line("signed by", &format!("{}, {}", or_unknown(&report.issuer), or_unknown(&report.common_name)));
    if let Some(at) = &report.signed_at {
        line("signed at", at);
    }
    if let Some(generator) = &report.generator {
        line("made by", generator);
    }
    for (number, action) in report.actions.iter().enumerate() {
        line(if number == 0 { "done" } else { "" }, &sentence(action));
    }
    for (number, origin) in report.origins.iter().enumerate() {
        line(if number == 0 { "from" } else { "" }, &whence(origin));
        origin.problems.iter().for_each(|problem| line("", &format!("  {problem}")));
    }
    if let Some(facts) = report.facemill.as_ref().and_then(|facts| facts.as_object()) {
        for (number, (name, value)) in facts.iter().enumerate() {
            line(if number == 0 { "facemill" } else { "" }, &format!("{name}: {value}"));
        }
    }
}

/// What other software reads; nobody has signed it where there are no credentials.
fn tell_labels(labels: &Found) {
    let or_none = |label: &Option<String>| label.clone().unwrap_or_else(|| "none".to_owned());
    line("labels", &format!("digital source type: {}", or_none(&labels.digital_source_type)));
    line("", &format!("AIGC (GB 45438): {}", or_none(&labels.aigc)));
}

fn sentence(action: &Action) -> String {
    let kind = action.digital_source_type.as_ref().and_then(|kind| kind.rsplit('/').next());
    let parts = [Some(action.action.as_str()), kind, action.description.as_deref(), action.software.as_deref()];
    parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn whence(origin: &Origin) -> String {
    let title = origin.title.as_deref().unwrap_or("a file without a name");
    let own = if origin.has_credentials { "with credentials of its own" } else { "without credentials" };
    format!("{title} ({}), {own}", origin.relationship)
}
