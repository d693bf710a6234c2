//! `facemill models`: the networks that are built in.

use anyhow::Result;

use crate::config::Config;
use crate::vision::{self, Catalog};

use super::Exit;
use super::args::{Models, ModelsCommand};

/// Runs the command.
pub fn run(args: Models, config: &Config) -> Result<Exit> {
    let catalog = Catalog::builtin()?;
    match args.command {
        ModelsCommand::List => {
            println!("{:<16} {:<12} {:>8}  {:<12} {:<11} description", "id", "role", "KB", "licence", "commercial");
            for model in catalog.list() {
                let card = &model.card;
                let role = format!("{:?}", card.role).to_lowercase();
                let commercial = if card.commercial_use { "yes" } else { "no" };
                println!(
                    "{:<16} {:<12} {:>8}  {:<12} {commercial:<11} {}",
                    card.id,
                    role,
                    model.bytes.len() / 1000,
                    card.licence,
                    card.description
                );
            }
            Ok(Exit::Done)
        }
        ModelsCommand::Verify => {
            vision::model::init(&config.onnxruntime_library())?;
            let mut exit = Exit::Done;
            for (id, outcome) in catalog.verify() {
                match outcome {
                    Ok(()) => println!("{id}: ok"),
                    Err(error) => {
                        println!("{id}: {error}");
                        exit = Exit::Failed;
                    }
                }
            }
            Ok(exit)
        }
    }
}
