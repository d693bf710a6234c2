//! `facemill models`: the networks, built in or in the models folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::vision::card::{Card, Fetch, Role, TensorSpec};
use crate::vision::catalog::Weights;
use crate::vision::{self, Catalog, Execution, Model};

use super::Exit;
use super::args::{Models, ModelsCommand};

mod fetch;

/// Runs the command.
pub fn run(args: Models, config: &Config) -> Result<Exit> {
    let folder = config.models_dir();
    let catalog = Catalog::open(&folder)?;
    match args.command {
        ModelsCommand::List { all, role } => list(&catalog, all, role.as_deref(), &folder),
        ModelsCommand::Show { id } => show(&catalog, &id),
        ModelsCommand::Add { file, card } => {
            vision::model::init(&config.onnxruntime_library())?;
            let card = card_of(&catalog, &file, card.as_deref())?;
            put(card, &file, &folder)?;
            Ok(Exit::Done)
        }
        ModelsCommand::Verify { id } => {
            vision::model::init(&config.onnxruntime_library())?;
            verify(&catalog, id.as_deref())
        }
        ModelsCommand::Fetch { id } => {
            vision::model::init(&config.onnxruntime_library())?;
            let Some(card) = catalog.card(&id) else { return Ok(catalog.get(&id).map(|_| Exit::Done)?) };
            let Some(from) = &card.fetch else {
                bail!(
                    "model {id} cannot be fetched: its card names no address (published by {}; expected its file, with `facemill models add`)",
                    card.origin
                );
            };
            fs::create_dir_all(&folder).with_context(|| format!("make the models folder {}", folder.display()))?;
            let file = fetch::fetch(from, card, &folder)?;
            // What is whole and not what the card says is not gone on with.
            let taken = put(card, &file, &folder);
            fetch::clean(card, &folder);
            taken?;
            Ok(Exit::Done)
        }
    }
}

fn list(catalog: &Catalog, all: bool, role: Option<&str>, folder: &Path) -> Result<Exit> {
    let role = match role {
        Some(name) => match Role::ALL.into_iter().find(|role| role.to_string() == name) {
            Some(role) => Some(role),
            None => {
                let names: Vec<String> = Role::ALL.iter().map(Role::to_string).collect();
                eprintln!("facemill: --role is {name:?} (expected one of: {})", names.join(", "));
                return Ok(Exit::Usage);
            }
        },
        None => None,
    };
    println!("{:<26} {:<11} {:>9}  {:<26} {:<11} description", "id", "role", "KB", "licence", "commercial");
    let row = |card: &Card, size: String| {
        let commercial = if card.commercial_use { "yes" } else { "no" };
        let Card { id, role, licence, description, .. } = card;
        println!("{id:<26} {role:<11} {size:>9}  {licence:<26} {commercial:<11} {description}");
    };
    let mut rows: Vec<(&Card, String)> =
        catalog.list().iter().map(|model| (&model.card, (model.size() / 1000).to_string())).collect();
    if all {
        rows.extend(catalog.absent().iter().map(|card| (card, "not here".to_owned())));
    }
    rows.retain(|(card, _)| role.is_none_or(|role| card.role == role));
    rows.sort_by_key(|(card, _)| card.role);
    rows.into_iter().for_each(|(card, size)| row(card, size));
    if !all {
        let absent = catalog.absent().len();
        println!("{absent} more have cards; their files belong into {} (--all lists them)", folder.display());
    }
    Ok(Exit::Done)
}

fn show(catalog: &Catalog, id: &str) -> Result<Exit> {
    let Some(card) = catalog.card(id) else { return Ok(catalog.get(id).map(|_| Exit::Done)?) };
    let here = match catalog.get(id).map(|model| (&model.weights, model.size())) {
        Ok((Weights::Builtin(_), size)) => format!("built in, {} KB", size / 1000),
        Ok((Weights::File(path), size)) => format!("{}, {} KB", path.display(), size / 1000),
        Err(_) => "not here".to_owned(),
    };
    let fetch = match &card.fetch {
        Some(Fetch::Url(url)) => url.clone(),
        Some(Fetch::Package { requirement, member, .. }) => format!("package {requirement}, {member}"),
        None => "cannot be fetched: `facemill models add FILE`".to_owned(),
    };
    println!("{id}: {}", card.description);
    let line = |name: &str, value: &str| println!("  {name:<11} {value}");
    line("role", &card.role.to_string());
    line("file", &format!("{}, {here}", card.file));
    line("sha256", card.sha256.as_deref().unwrap_or("not known: a file of that name with these tensors is taken"));
    line("licence", &card.licence);
    line("commercial", if card.commercial_use { "yes" } else { "no" });
    line("published", &card.origin);
    if let Some(kind) = card.digital_source_type() {
        line("marks as", &format!("{} (IPTC's digital source type of outputs)", kind.term()));
    }
    line("fetch", &fetch);
    if let Some(template) = &card.template {
        line("template", template);
    }
    if let Some(picture) = &card.picture {
        let vision::card::Picture { colour, layout, scale, mean } = picture;
        let (scale, layout, colour) = (scale.each(), format!("{layout:?}"), format!("{colour:?}"));
        line("picture", &format!("{colour} {layout}, (sample − {mean:?}) · {scale:?}, samples 0..=255").to_lowercase());
    }
    if let Some(contract) = &card.contract {
        let others = contract.other_cards();
        if !others.is_empty() {
            line("works with", &others.join(", "));
        }
    }
    let tensors = |specs: &[TensorSpec]| {
        let text = |spec: &TensorSpec| format!("{} {spec}", spec.name);
        specs.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    line("inputs", &tensors(&card.inputs));
    line("outputs", &tensors(&card.outputs));
    Ok(Exit::Done)
}

/// The card that describes a file: the one that is named, or that names a file like it, or the only one that fits.
fn card_of<'a>(catalog: &'a Catalog, file: &Path, named: Option<&str>) -> Result<&'a Card> {
    if let Some(id) = named {
        return match catalog.card(id) {
            Some(card) => Ok(card),
            None => Ok(catalog.get(id).map(|model| &model.card)?),
        };
    }
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if let Some(card) =
        catalog.absent().iter().chain(catalog.list().iter().map(|model| &model.card)).find(|card| card.file == name)
    {
        return Ok(card);
    }
    match catalog.fitting_cards(file)?[..] {
        [card] => Ok(card),
        ref several => {
            let ids: Vec<&str> = several.iter().map(|card| card.id.as_str()).collect();
            let found = if ids.is_empty() { "none that its tensors fit".to_owned() } else { ids.join(", ") };
            bail!(
                "{}: no card names this file, and of the cards {found} (expected one; name it with --card)",
                file.display()
            )
        }
    }
}

/// Checks a file against its card, tries it, and puts it into the models folder.
fn put(card: &Card, file: &Path, folder: &Path) -> Result<()> {
    let model = Model { card: card.clone(), weights: Weights::File(file.to_owned()) };
    model.verify_digest()?;
    vision::model::Network::load(&model, &Execution::default())?;
    fs::create_dir_all(folder).with_context(|| format!("make the models folder {}", folder.display()))?;
    let place = folder.join(&card.file);
    let part = folder.join(format!(".{}.part", card.file));
    fs::copy(file, &part).with_context(|| format!("copy {} to {}", file.display(), part.display()))?;
    fs::rename(&part, &place).with_context(|| format!("put {} into place", place.display()))?;
    println!("{}: {} is in {}", card.id, card.file, folder.display());
    let commercial = if card.commercial_use { "commercial use allowed" } else { "no commercial use" };
    println!("licence: {} ({commercial})", card.licence);
    Ok(())
}

fn verify(catalog: &Catalog, id: Option<&str>) -> Result<Exit> {
    if let Some(id) = id {
        catalog.get(id)?;
    }
    let mut exit = Exit::Done;
    for (found, outcome) in catalog.verify(id) {
        match outcome {
            Ok(()) => println!("{found}: ok"),
            Err(error) => {
                println!("{found}: {error}");
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}
