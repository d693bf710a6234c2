//! What is said of an output, in the words of the C2PA specification.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::PARENT;
use crate::contract::{Consent, Digest, DigitalSourceType, Run, Swapper};

/// The assertion of ours: what C2PA has no words for.
pub(super) const FACTS: &str = "com.facemill.run";
/// What made the output.
pub(super) const GENERATOR: &str = "Facemill";

/// What is said of an output.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    /// The output's file name.
    pub title: &'a str,
    /// What kind of media it is; none if nothing of it is synthetic.
    pub kind: Option<DigitalSourceType>,
    /// The run that made it; none for a trial.
    pub run: Option<&'a Run>,
    /// The clip or picture that it was made from.
    pub parent: Option<Parent>,
}

/// The clip or picture that an output was made from.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its file name.
    pub title: String,
    /// Its file.
    pub path: PathBuf,
    /// Its format, as [`crate::contract::Clip::format`] says.
    pub format: String,
    /// Its digest.
    pub sha256: Digest,
}

impl Parent {
    /// The MIME type of its format, as far as its own credentials could be read from it.
    pub(super) fn mime(&self) -> &'static str {
        match self.format.as_str() {
            "png" | "apng" => "image/png",
            "jpeg" => "image/jpeg",
            "webp" => "image/webp",
            "tiff" => "image/tiff",
            "gif" => "image/gif",
            "avif" => "image/avif",
            "avi" => "video/avi",
            // FFmpeg has one demuxer for all of these.
            iso if iso.starts_with("mov,") => "video/mp4",
            matroska if matroska.starts_with("matroska,") => "video/matroska",
            "mpegts" => "video/mp2t",
            _ => "application/octet-stream",
        }
    }
}

impl Statement<'_> {
    /// One that says nothing of interest.
    pub(super) fn trial() -> Self {
        Self { title: "trial", kind: Some(DigitalSourceType::CompositeSynthetic), run: None, parent: None }
    }

    /// As the library wants it; the parent is added by itself.
    pub(super) fn definition(&self) -> Value {
        let agent = json!({ "name": GENERATOR, "version": env!("CARGO_PKG_VERSION") });
        let began = match self.parent {
            Some(_) => json!({ "action": "c2pa.opened", "parameters": { "ingredientIds": [PARENT] } }),
            None => json!({ "action": "c2pa.created", "digitalSourceType": self.kind.map(|kind| kind.to_string()) }),
        };
        let done = match self.kind {
            Some(kind) => json!({
                "action": "c2pa.edited",
                "softwareAgent": agent.clone(),
                "digitalSourceType": kind.to_string(),
                "description": self.run.map(what_was_done),
            }),
            None => {
                let is_labelled = self.run.is_some_and(|run| run.job.label.is_some());
                let action = if is_labelled { "c2pa.edited" } else { "c2pa.transcoded" };
                json!({ "action": action, "softwareAgent": agent.clone(), "description": self.run.map(what_was_done) })
            }
        };
        let mut assertions = vec![json!({
            "label": "c2pa.actions.v2",
            "data": { "actions": [began, done], "allActionsIncluded": true },
        })];
        if let Some(run) = self.run {
            assertions.push(json!({ "label": FACTS, "data": self.facts(run) }));
        }
        json!({ "claim_generator_info": [agent], "title": self.title, "assertions": assertions })
    }

    /// By what, and from what: what an auditor compares with records of his own.
    fn facts(&self, run: &Run) -> Value {
        let models: BTreeMap<&String, String> =
            run.toolchain.models.iter().map(|(id, digest)| (id, digest.to_string())).collect();
        let consents: Vec<Digest> = run.consents().into_iter().map(Consent::digest).collect();
        json!({
            "job": run.job.job,
            "run": run.run,
            "swapper": run.job.swap.swapper,
            "pipeline": run.toolchain.pipeline,
            "models": models,
            "target": self.parent.as_ref().map(|parent| parent.sha256),
            "consent": consents,
        })
    }
}

/// In a sentence, for people.
fn what_was_done(run: &Run) -> String {
    let swap = &run.job.swap;
    let mut done = Vec::new();
    if swap.swapper != Swapper::None {
        done.push(format!("faces were replaced by those of other people ({})", swap.swapper));
    }
    if let Some(restorer) = &swap.restorer {
        done.push(format!("faces were restored ({})", restorer.model.as_str()));
    }
    if let Some(upscaler) = &swap.upscaler {
        done.push(format!("the picture was made larger ({})", upscaler.model.as_str()));
    }
    if run.job.label.is_some() {
        done.push("a visible label was drawn into it".to_owned());
    }
    if done.is_empty() {
        done.push("coded anew, and not changed otherwise".to_owned());
    }
    done.join("; ")
}
