//! `facemill doctor`: what this machine has of what the program can use, what is missing, and what to do about it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;

use crate::broker::topics::TopicSpec;
use crate::broker::{self, BrokerError, Producer};
use crate::config::{Config, ONNXRUNTIME_VERSION};
use crate::contract::{ENCODERS, Swapper};
use crate::credentials::{self, Credentials};
use crate::ingest::{Gate, GateMode};
use crate::media;
use crate::store;
use crate::vision::card::Role;
use crate::vision::{self, Catalog};
use crate::worker;

use super::{Exit, lane, role};

/// How long broker and store may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// Below so much room in scratch, MB, clips of some minutes may not fit.
const ROOM_MB: u64 = 2048;

/// What a row says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// It is there and works.
    Good,
    /// It could be better, and nothing needs it as things are set.
    Note,
    /// It is needed and is not there.
    Missing,
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Good => "✓",
            Self::Note => "–",
            Self::Missing => "✗",
        })
    }
}

/// The table.
#[derive(Default)]
struct Table {
    is_missing_something: bool,
}

impl Table {
    fn good(&mut self, name: &str, told: impl fmt::Display) {
        self.row(Mark::Good, name, &told.to_string(), "");
    }

    fn note(&mut self, name: &str, told: impl fmt::Display, remedy: &str) {
        self.row(Mark::Note, name, &told.to_string(), remedy);
    }

    fn missing(&mut self, name: &str, told: impl fmt::Display, remedy: &str) {
        self.is_missing_something = true;
        self.row(Mark::Missing, name, &told.to_string(), remedy);
    }

    fn row(&mut self, mark: Mark, name: &str, told: &str, remedy: &str) {
        println!("{mark} {name:<13} {told}");
        if !remedy.is_empty() {
            println!("  {:<13} → {remedy}", "");
        }
    }
}

/// Runs the command.
pub async fn run(config: &Config) -> Result<Exit> {
    let mut table = Table::default();
    table.good("facemill", env!("CARGO_PKG_VERSION"));
    let (librdkafka, c2pa) = (broker::library_version(), credentials::library_version());
    table.good("libraries", format!("librdkafka {librdkafka}, c2pa {c2pa}"));
    media(&mut table);
    networks(&mut table, config).await?;
    signer(&mut table, config);
    cluster(&mut table, config).await;
    scratch(&mut table, config);
    Ok(if table.is_missing_something { Exit::Failed } else { Exit::Done })
}

fn media(table: &mut Table) {
    table.good("ffmpeg", format!("libavcodec {}", media::library_version().trim_start_matches("lavc")));
    let (here, gone): (Vec<&str>, Vec<&str>) =
        ENCODERS.iter().filter(|name| **name != "auto").partition(|name| media::encoder_version(name).is_ok());
    match here.contains(&ENCODERS[0]) {
        true => table.good("encoders", here.join(", ")),
        false => {
            table.missing("encoders", format!("{} does not open", ENCODERS[0]), "an FFmpeg that has it (make setup)")
        }
    }
    if !gone.is_empty() {
        let remedy = "hardware's need its driver; a job that asks for one gets software of the same codec";
        table.note("", format!("do not open: {}", gone.join(", ")), remedy);
    }
}

async fn networks(table: &mut Table, config: &Config) -> Result<()> {
    let library = config.onnxruntime_library();
    match vision::model::init(&library) {
        Ok(()) => table.good("onnxruntime", format!("{} (tested with {ONNXRUNTIME_VERSION})", library.display())),
        Err(error) => table.missing("onnxruntime", error, "make setup, or onnxruntime = \"…\" in facemill.toml"),
    }
    let lane = lane::settings(config, Swapper::Mesh)?;
    for provider in config.worker.provider.all() {
        let verified = if provider.kind.is_verified() { "" } else { ", unverified" };
        match worker::try_provider(&lane, provider).await {
            Ok(()) => table.good("provider", format!("{provider}: works{verified}")),
            Err(reason) => table.note(
                "provider",
                format!("{provider}: cannot be used here: {reason}"),
                "its driver and libraries (make setup-cuda, make setup-openvino), or another worker.provider",
            ),
        }
    }
    if let Err(error) = worker::with_usable_providers(lane).await {
        table.missing("", error, "worker.provider = \"cpu\", or a fallback behind a comma");
    }

    let folder = config.models_dir();
    let catalog = match Catalog::open(&folder) {
        Ok(catalog) => catalog,
        Err(error) => {
            table.missing("models", error, "the card or file that it names; facemill models verify");
            return Ok(());
        }
    };
    let (here, all) = (catalog.list().len(), catalog.list().len() + catalog.absent().len());
    table.good("models", format!("{}, {here} of {all} networks that have cards are here", folder.display()));
    for role in Role::ALL {
        let of_role = catalog.list().iter().filter(|model| model.card.role == role);
        let ids: Vec<&str> = of_role.map(|model| model.card.id.as_str()).collect();
        match ids.is_empty() {
            true => table.note("", format!("{role}: none"), ""),
            false => table.good("", format!("{role}: {}", ids.join(", "))),
        }
    }
    gate(table, config, &catalog);
    table.good("consent", format!("{} (ingest.consent)", config.ingest.consent));
    Ok(())
}

fn gate(table: &mut Table, config: &Config, catalog: &Catalog) {
    let fetch = "facemill models fetch open_nsfw";
    match (Gate::open(config.ingest.gate, catalog), config.ingest.gate) {
        (Err(error), _) => table.missing("content gate", error, fetch),
        (Ok(_), GateMode::Off) => table.note("content gate", "off (ingest.gate)", ""),
        (Ok(gate), _) => match gate.network() {
            Some(network) => table.good("content gate", format!("photos and clips are judged by {network}")),
            None => table.note("content gate", "nothing is judged: no network of role gate is here", fetch),
        },
    }
}

fn signer(table: &mut Table, config: &Config) {
    if !config.credentials.sign {
        return table.note("signer", "off: outputs bear no Content Credentials", "credentials.sign = true");
    }
    let opened = config.signer().and_then(|settings| Credentials::open(&settings).map_err(|error| error.to_string()));
    match opened {
        Ok(signer) if signer.is_local() => table.note(
            "signer",
            format!("{}: made here, nobody vouches for it", signer.holder()),
            "a certificate of your own: credentials.certificate, with .key or .command",
        ),
        Ok(signer) => table.good("signer", format!("{}, valid until {}", signer.holder(), signer.valid_until())),
        Err(error) => table.missing("signer", error, "the setting that it names, in [credentials] of facemill.toml"),
    }
}

/// Only what is configured is needed: one machine has its own.
async fn cluster(table: &mut Table, config: &Config) {
    match &config.kafka.brokers {
        None => table.note("broker", "none is configured; facemill swap has its own", "for services: kafka.brokers"),
        Some(brokers) => match tokio::time::timeout(ANSWER, topics(config)).await {
            Ok(Ok(gone)) if gone.is_empty() => table.good("broker", format!("{brokers}, all topics are there")),
            Ok(Ok(gone)) => {
                let remedy = "services make them when they start, if they may; else from topics/*.yaml";
                table.note("broker", format!("{brokers}, topics that are missing: {}", gone.join(", ")), remedy);
            }
            Ok(Err(error)) => {
                table.missing("broker", format!("{brokers}: {error:#}"), "kafka.brokers and its properties")
            }
            Err(_) => table.missing("broker", format!("{brokers} does not answer"), "kafka.brokers; is it running?"),
        },
    }
    match &config.store.url {
        None => table.note("store", "none is configured; facemill swap has a folder", "for services: store.url"),
        Some(url) => match tokio::time::timeout(ANSWER, probe(config)).await {
            Ok(Ok(())) => table.good("store", format!("{url}, reads, writes and conditional writes work")),
            Ok(Err(error)) => {
                table.missing("store", format!("{url}: {error:#}"), "store.url, its endpoint, AWS credentials")
            }
            Err(_) => table.missing(
                "store",
                format!("{url} does not answer"),
                "store.url, store.endpoint_url; is it running?",
            ),
        },
    }
}

/// Topics that should be there and are not.
async fn topics(config: &Config) -> Result<Vec<String>> {
    let producer = Producer::start(&role::broker(config, "doctor")?)?;
    let mut gone = Vec::new();
    let specs = TopicSpec::builtin()?;
    for spec in specs {
        match producer.partitions(&spec.name).await {
            Ok(_) => {}
            Err(BrokerError::NoTopic { topic, .. }) => gone.push(topic),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(gone)
}

async fn probe(config: &Config) -> Result<()> {
    let store = role::bare_store(config).await?;
    Ok(store::probe(&*store).await?)
}

fn scratch(table: &mut Table, config: &Config) {
    let folder = config.scratch_dir();
    let usable = std::fs::create_dir_all(&folder).and_then(|()| tempfile::tempfile_in(&folder).map(drop));
    if let Err(error) = usable {
        return table.missing(
            "scratch",
            format!("{}: {error}", folder.display()),
            "a folder that can be written: scratch",
        );
    }
    let room = rustix::fs::statvfs(&folder).map(|room| room.f_bavail * room.f_frsize / 1_000_000);
    match room {
        Ok(room) if room < ROOM_MB => {
            table.note("scratch", format!("{}, {room} MB free", folder.display()), "a larger disk: scratch");
        }
        Ok(room) => table.good("scratch", format!("{}, {room} MB free", folder.display())),
        Err(_) => table.good("scratch", folder.display()),
    }
}
