//! What a file says of itself, and whether that can be believed. Of any file with Content Credentials, whoever made them.

use std::fmt;
use std::fs::{self, File};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use c2pa::assertions::Actions;
use c2pa::{Ingredient, Manifest, Reader, ValidationState};
use serde::Serialize;
use serde_json::Value;

use super::error::{CredentialsError, file_error};
use super::statement::FACTS;
use super::{carries, context, sidecar_of};

/// The largest sidecar that is read, bytes.
const SIDECAR_MAX: u64 = 64 << 20;
/// A format that carries no credentials.
const BESIDE: &str = "application/octet-stream";
/// The one problem that is none of the file's: nobody here knows the issuer.
const UNTRUSTED: &str = "signingCredential.untrusted";

/// What the credentials of a file are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There are none.
    #[default]
    None,
    /// The signature does not verify, or the file was changed after it was signed.
    Invalid,
    /// Signed, and unchanged since; whether the signer is who they say they are is for you to know.
    Valid,
    /// The same, and the signer's certificate comes from one of those that are trusted.
    Trusted,
}

/// What the credentials of a file say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What they are worth.
    pub verdict: Verdict,
    /// Whether they lie in a file beside it.
    pub is_beside: bool,
    /// Whose certificate they are signed with: organisation.
    pub issuer: Option<String>,
    /// The certificate's common name.
    pub common_name: Option<String>,
    /// The certificate's serial number.
    pub serial: Option<String>,
    /// The algorithm of the signature.
    pub algorithm: Option<String>,
    /// When it was signed, by a time-stamp of an authority; none without one.
    pub signed_at: Option<String>,
    /// What software made them.
    pub generator: Option<String>,
    /// How they call the file.
    pub title: Option<String>,
    /// What was done, in order.
    pub actions: Vec<Action>,
    /// From what it was made.
    pub origins: Vec<Origin>,
    /// What this program has said beyond that, if it made the file: job, run, networks, digests.
    pub facemill: Option<Value>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something that was done to a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Action {
    /// C2PA's name of it, e.g. `c2pa.edited`.
    pub action: String,
    /// In words.
    pub description: Option<String>,
    /// The kind of media that came out, an address in IPTC's vocabulary.
    pub digital_source_type: Option<String>,
    /// What software did it.
    pub software: Option<String>,
}

/// A file that a file was made from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Origin {
    /// How the credentials call it.
    pub title: Option<String>,
    /// `parentOf`, `componentOf`, `inputTo`.
    pub relationship: String,
    /// Whether it had credentials of its own.
    pub has_credentials: bool,
    /// What is wrong with these.
    pub problems: Vec<Problem>,
}

/// Something that is wrong, in C2PA's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// C2PA's code, e.g. `assertion.bmffHash.mismatch`.
    pub code: String,
    /// In words.
    pub explanation: Option<String>,
}

impl Problem {
    /// Whether it says that the file is not what was signed.
    pub fn is_tampering(&self) -> bool {
        self.code.ends_with(".mismatch") || self.code.ends_with("Mismatch")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explanation {
            Some(explanation) => write!(out, "{} ({explanation})", self.code),
            None => out.write_str(&self.code),
        }
    }
}

/// Reads and checks the credentials of a file of this format (an extension or MIME type), in it or beside it. `trusted`: certificates (PEM)
/// whose holders vouch for signers. Blocks.
///
/// # Errors
/// Fatal: the file cannot be read. Credentials that cannot be understood are a [`Verdict::Invalid`].
pub fn read(file: &Path, format: &str, trusted: Option<&str>) -> Result<Report, CredentialsError> {
    let mut context = context()?;
    if let Some(anchors) = trusted {
        let settings = serde_json::json!({ "trust": { "user_anchors": anchors } });
        context.set_settings(settings).map_err(|error| CredentialsError::Library(error.to_string()))?;
    }
    let open = || File::open(file).map_err(|error| file_error("open", file, error));
    let reader = Reader::from_context(context);
    let beside = sidecar_of(file);
    let has_beside = beside != file && beside.is_file();
    let is_beside = has_beside && !carries(format);
    let stream = match is_beside || carries(format) {
        true => open()?,
        false => return Ok(Report::default()),
    };
    let manifest = if is_beside { Some(small(&beside)?) } else { None };
    // A file of anybody's: one that the library breaks on is one that cannot be read.
    let told = panic::catch_unwind(AssertUnwindSafe(|| match manifest {
        Some(manifest) => reader.with_manifest_data_and_stream(&manifest, format, stream),
        None => reader.with_stream(format, stream),
    }));
    let reason = match told {
        Ok(Ok(reader)) => return Ok(Report { is_beside, ..report(&reader) }),
        // An animated PNG may bear the name of a still.
        Ok(Err(c2pa::Error::JumbfNotFound | c2pa::Error::ProvenanceMissing)) if has_beside && !is_beside => {
            return read(file, BESIDE, trusted);
        }
        Ok(Err(c2pa::Error::JumbfNotFound | c2pa::Error::ProvenanceMissing)) => return Ok(Report::default()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "they are no credentials that can be understood".to_owned(),
    };
    let problem = Problem { code: "unreadable".to_owned(), explanation: Some(reason) };
    Ok(Report { verdict: Verdict::Invalid, is_beside, problems: vec![problem], ..Report::default() })
}

fn small(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let size = fs::metadata(path).map_err(|error| file_error("open", path, error))?.len();
    if size > SIDECAR_MAX {
        let reason = format!("{} is {size} bytes large (expected at most {SIDECAR_MAX})", path.display());
        return Err(CredentialsError::Asset { format: "c2pa".to_owned(), reason });
    }
    fs::read(path).map_err(|error| file_error("read", path, error))
}

fn report(reader: &Reader) -> Report {
    let problems: Vec<Problem> = reader
        .validation_status()
        .unwrap_or_default()
        .iter()
        .filter(|status| status.code() != UNTRUSTED)
        .map(|status| problem(status.code(), status.explanation()))
        .collect();
    let verdict = match reader.validation_state() {
        ValidationState::Invalid => Verdict::Invalid,
        ValidationState::Valid => Verdict::Valid,
        ValidationState::Trusted => Verdict::Trusted,
    };
    let Some(manifest) = reader.active_manifest() else {
        return Report { verdict: Verdict::Invalid, problems, ..Report::default() };
    };
    let signature = manifest.signature_info();
    let text = |of: fn(&c2pa::SignatureInfo) -> Option<&String>| signature.and_then(of).cloned();
    let generator = manifest.claim_generator_info.as_ref().and_then(|all| all.first()).map(|info| {
        let version = info.version.as_deref().unwrap_or_default();
        format!("{} {version}", info.name).trim_end().to_owned()
    });
    Report {
        verdict,
        is_beside: false,
        issuer: text(|info| info.issuer.as_ref()),
        common_name: text(|info| info.common_name.as_ref()),
        serial: text(|info| info.cert_serial_number.as_ref()),
        algorithm: signature.and_then(|info| info.alg).map(|algorithm| algorithm.to_string()),
        signed_at: text(|info| info.time.as_ref()),
        generator,
        title: manifest.title().map(str::to_owned),
        actions: actions(manifest),
        origins: manifest.ingredients().iter().map(origin).collect(),
        facemill: manifest.find_assertion::<Value>(FACTS).ok(),
        problems,
    }
}

fn actions(manifest: &Manifest) -> Vec<Action> {
    let found = manifest.find_assertion::<Actions>(Actions::LABEL);
    let Ok(found) = found else { return Vec::new() };
    let as_json = serde_json::to_value(&found).unwrap_or_default();
    let all = as_json.get("actions").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |action: &Value, name: &str| action.get(name).and_then(Value::as_str).map(str::to_owned);
    all.iter()
        .map(|action| Action {
            action: text(action, "action").unwrap_or_default(),
            description: text(action, "description"),
            digital_source_type: text(action, "digitalSourceType"),
            software: action.get("softwareAgent").and_then(|agent| match agent {
                Value::String(name) => Some(name.clone()),
                agent => {
                    let (name, version) = (text(agent, "name")?, text(agent, "version").unwrap_or_default());
                    Some(format!("{name} {version}").trim_end().to_owned())
                }
            }),
        })
        .collect()
}

fn origin(ingredient: &Ingredient) -> Origin {
    // Newer credentials have the one, older ones the other.
    let results = ingredient.validation_results().and_then(|results| results.active_manifest());
    let wrong = results.map_or_else(|| ingredient.validation_status().unwrap_or_default(), |found| found.failure());
    Origin {
        title: ingredient.title().map(str::to_owned),
        relationship: serde_json::to_value(ingredient.relationship())
            .ok()
            .and_then(|name| name.as_str().map(str::to_owned))
            .unwrap_or_default(),
        has_credentials: ingredient.active_manifest().is_some(),
        problems: wrong
            .iter()
            .filter(|status| status.code() != UNTRUSTED)
            .map(|status| problem(status.code(), status.explanation()))
            .collect(),
    }
}

fn problem(code: &str, explanation: Option<&str>) -> Problem {
    Problem { code: code.to_owned(), explanation: explanation.map(str::to_owned) }
}
