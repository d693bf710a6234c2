//! `facemill doctor`: what this machine has of what the program can use.

use anyhow::Result;

use crate::config::{Config, ONNXRUNTIME_VERSION};
use crate::contract::{ENCODERS, Swapper};
use crate::ingest::{Gate, GateMode};
use crate::media;
use crate::vision::card::Role;
use crate::vision::{self, Catalog};
use crate::worker;

use super::{Exit, lane};

/// Runs the command.
pub async fn run(config: &Config) -> Result<Exit> {
    let mut exit = Exit::Done;
    let line = |name: &str, told: &str| println!("{name:<13} {told}");
    line("facemill", env!("CARGO_PKG_VERSION"));
    line("ffmpeg", &format!("libavcodec {}", media::library_version().trim_start_matches("lavc")));
    let (here, gone): (Vec<&str>, Vec<&str>) =
        ENCODERS.iter().filter(|name| **name != "auto").partition(|name| media::encoder_version(name).is_ok());
    line("encoders", &here.join(", "));
    line("", &format!("not here: {}", if gone.is_empty() { "none".to_owned() } else { gone.join(", ") }));

    let library = config.onnxruntime_library();
    match vision::model::init(&library) {
        Ok(()) => line("onnxruntime", &format!("{} (tested with {ONNXRUNTIME_VERSION})", library.display())),
        Err(error) => {
            line("onnxruntime", &error.to_string());
            exit = Exit::Failed;
        }
    }
    line("provider", &config.worker.provider.to_string());
    let lane = lane::settings(config, Swapper::Mesh)?;
    for provider in config.worker.provider.all() {
        let verified = if provider.kind.is_verified() { "" } else { ", unverified" };
        let told = match worker::try_provider(&lane, provider).await {
            Ok(()) => format!("works{verified}"),
            Err(reason) => format!("cannot be used here: {reason}"),
        };
        line("", &format!("{provider}: {told}"));
    }
    if let Err(error) = worker::with_usable_providers(lane).await {
        line("", &error.to_string());
        exit = Exit::Failed;
    }

    let folder = config.models_dir();
    match Catalog::open(&folder) {
        Err(error) => {
            line("models", &error.to_string());
            exit = Exit::Failed;
        }
        Ok(catalog) => {
            line(
                "models",
                &format!(
                    "{}, {} of {} networks that have cards are here",
                    folder.display(),
                    catalog.list().len(),
                    catalog.list().len() + catalog.absent().len()
                ),
            );
            for role in Role::ALL {
                let ids: Vec<&str> = catalog
                    .list()
                    .iter()
                    .filter(|model| model.card.role == role)
                    .map(|model| model.card.id.as_str())
                    .collect();
                line("", &format!("{role}: {}", if ids.is_empty() { "none".to_owned() } else { ids.join(", ") }));
            }
            let gate = Gate::open(config.ingest.gate, &catalog);
            let told = match (&gate, config.ingest.gate) {
                (Err(error), _) => error.to_string(),
                (Ok(_), GateMode::Off) => "off (ingest.gate)".to_owned(),
                (Ok(gate), _) => match gate.network() {
                    Some(network) => format!("photos and clips are judged by {network}"),
                    None => "nothing is judged: no network of role gate is here (facemill models fetch open_nsfw)"
                        .to_owned(),
                },
            };
            line("content gate", &told);
            if gate.is_err() {
                exit = Exit::Failed;
            }
        }
    }
    line("scratch", &config.scratch_dir().display().to_string());
    Ok(exit)
}
