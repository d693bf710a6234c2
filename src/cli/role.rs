//! The roles as services: `facemill ingest`, `facemill worker`, `facemill assemble`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::topics::{TopicSpec, ensure};
use crate::broker::{BrokerConfig, Producer};
use crate::config::{Config, Kafka};
use crate::contract::topics;
use crate::credentials::Credentials;
use crate::ingest::Gate;
use crate::retry::retry;
use crate::site::{self, Retention, Scratch, Site, SiteError};
use crate::store::{self, Limits, Locations, ObjectStore, StoreConfig};
use crate::telemetry::{self, Ready};
use crate::vision::{self, Catalog};
use crate::{assemble as assembler, ingest as ingester, media, toolchain, worker as swapper};

use super::args::{Role, WorkerRole};
use super::{Exit, Misconfigured, lane};

/// Runs an ingest node.
pub async fn ingest(_args: Role, config: Config, stop: CancellationToken) -> Result<Exit> {
    vision::model::init(&config.onnxruntime_library())?;
    let catalog = Arc::new(Catalog::open(&config.models_dir())?);
    let settings = ingester::Settings {
        jobs: config.ingest.jobs,
        outstanding_chunks: config.ingest.outstanding_chunks as u32,
        provider: config.worker.provider.identity(),
        limits: config.limits.of_clips(),
        hardware: media::HardwareEncoders::Listed(config.worker.hardware_encoders.clone()),
        gate: Gate::open(config.ingest.gate, &catalog)
            .map_err(|error| Misconfigured(format!("ingest.gate: {error}")))?,
        consent: config.ingest.consent,
        catalog,
    };
    // Cancel-safe: nothing has been taken on yet.
    let site = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        site = site(&config, "ingest") => site?,
    };
    let gate = settings.gate.network().unwrap_or("off: no network of role gate is here, or it is turned off");
    info!(gate, "ingest starts");
    serve(&config, stop, |stop| ingester::run(site, settings, stop)).await
}

/// Runs a worker.
pub async fn worker(args: WorkerRole, config: Config, stop: CancellationToken) -> Result<Exit> {
    let catalog = Catalog::open(&config.models_dir())?;
    // A job of any swapper may come.
    vision::model::init(&config.onnxruntime_library())?;
    for encoder in &config.worker.hardware_encoders {
        let opened = media::encoder_version(encoder);
        opened.map_err(|error| Misconfigured(format!("worker.hardware_encoders: {error}")))?;
    }
    let wanted = lane::settings(&config, args.swapper)?;
    // Cancel-safe: a trial that is left ends. It may take minutes.
    let usable = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        usable = swapper::with_usable_providers(wanted) => usable,
    };
    let (lane, aloud) = usable.map_err(|error| Misconfigured(format!("worker.provider: {error}")))?;
    aloud.iter().for_each(|note| warn!("{note}"));
    let settings = swapper::Settings {
        group: toolchain::group(&catalog, &config.worker.provider.identity()),
        lanes: config.worker.lanes,
        grace: Duration::from_secs(config.worker.grace_seconds),
        lane,
    };
    info!(group = settings.group, lanes = settings.lanes, "worker starts");
    // Cancel-safe: nothing has been taken on yet.
    let site = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        site = site(&config, "worker") => site?,
    };
    serve(&config, stop, |stop| swapper::run(site, settings, Arc::default(), stop)).await
}

/// Runs an assembler.
pub async fn assemble(_args: Role, config: Config, stop: CancellationToken) -> Result<Exit> {
    let settings = assembler::Settings {
        joins: config.assemble.jobs,
        repair_after: Duration::from_secs(config.assemble.repair_after_seconds),
        grace: Duration::from_secs(config.assemble.grace_seconds),
        credentials: credentials(&config)?,
    };
    match &settings.credentials {
        Some(signer) if signer.is_local() => {
            warn!(
                signer = signer.holder(),
                "outputs are signed with a local identity that nobody vouches for (credentials.certificate)"
            );
        }
        Some(signer) => info!(signer = signer.holder(), valid_until = signer.valid_until(), "outputs are signed"),
        None => warn!("outputs are not signed (credentials.sign)"),
    }
    // Cancel-safe: nothing has been taken on yet.
    let site = tokio::select! {
        () = stop.cancelled() => return Ok(Exit::Done),
        site = site(&config, "assemble") => site?,
    };
    serve(&config, stop, |stop| assembler::run(site, settings, stop)).await
}

/// Runs a role beside its metrics server, until it ends or is stopped.
async fn serve<F: Future<Output = Result<(), SiteError>>>(
    config: &Config,
    stop: CancellationToken,
    role: impl FnOnce(CancellationToken) -> F,
) -> Result<Exit> {
    let metrics = telemetry::install()?;
    let ready = Ready::default();
    let server = telemetry::bind(config.metrics.listen).await?;
    let done = stop.child_token();
    let watched = async {
        match server {
            Some(server) => {
                info!(address = %server.address(), "metrics are served");
                server.run(metrics, ready.clone(), done.clone()).await.map_err(anyhow::Error::from)
            }
            None => Ok(()),
        }
    };
    let work = async {
        ready.set(true);
        let unready = async {
            stop.cancelled().await;
            // No new traffic while it finishes what it has.
            ready.set(false);
            std::future::pending().await
        };
        // Cancel-safe: `unready` never ends.
        let ended = tokio::select! {
            ended = role(stop.clone()) => ended,
            never = unready => never,
        };
        ready.set(false);
        done.cancel();
        ended
    };
    let (worked, watched) = tokio::join!(work, watched);
    worked?;
    watched?;
    Ok(Exit::Done)
}

/// Connects to broker and store; makes missing topics.
async fn site(config: &Config, role: &str) -> Result<Site> {
    let broker = broker(config, role)?;
    let specs = TopicSpec::builtin()?;
    let patience = Duration::from_secs(config.store.patience_seconds);
    let made = || ensure(&broker, &specs, config.kafka.replication);
    retry(patience, "make topics at", &broker.brokers, made).await?;
    let producer = Producer::start(&broker)?;
    let partitions = async |topic| retry(patience, "look at topic", topic, || producer.partitions(topic)).await;
    let mut job_topics = Vec::new();
    for topic in [topics::JOBS, topics::COMPLETIONS, topics::STATUS] {
        job_topics.push((topic, partitions(topic).await?));
    }
    let chunk_partitions = partitions(topics::CHUNKS).await?;

    let store = store(config).await?;
    store::probe(&*store).await?;
    let job_partitions = site::job_partitions(&*store, &job_topics).await?;
    let limits = Limits { roots: config.locations.roots.clone(), buckets: Vec::new() };
    let locations = Locations::new(limits, store_config(config)).with_patience(patience);
    let folder = config.scratch_dir();
    let scratch = Scratch::open(&folder).with_context(|| format!("open scratch folder {}", folder.display()))?;
    Ok(Site {
        store,
        locations: Arc::new(locations),
        broker,
        producer,
        job_partitions,
        chunk_partitions,
        scratch,
        patience,
        retention: retention(config),
        audit_file: None,
    })
}

/// The configured store, with the configured patience.
pub async fn store(config: &Config) -> Result<Arc<dyn ObjectStore>> {
    let store = bare_store(config).await?;
    Ok(site::patient(store, Duration::from_secs(config.store.patience_seconds)))
}

/// The same with none.
pub async fn bare_store(config: &Config) -> Result<Arc<dyn ObjectStore>> {
    let Some(url) = &config.store.url else {
        let missing = "store.url is not set (expected file:///folder or s3://bucket/prefix; --store)";
        return Err(Misconfigured(missing.to_owned()).into());
    };
    Ok(store::open(url, &store_config(config)).await?)
}

/// With whose signature outputs are signed; none where they are not to be. What is wrong with it is found here.
pub fn credentials(config: &Config) -> Result<Option<Credentials>> {
    if !config.credentials.sign {
        return Ok(None);
    }
    let settings = config.signer().map_err(Misconfigured)?;
    let opened = Credentials::open(&settings).map_err(|error| Misconfigured(error.to_string()))?;
    Ok(Some(opened))
}

/// How long objects are kept.
pub fn retention(config: &Config) -> Retention {
    let days = |days| Duration::from_secs(days * 24 * 3600);
    Retention { keep: days(config.store.retention_days), longest_job: days(config.store.longest_job_days) }
}

fn store_config(config: &Config) -> StoreConfig {
    StoreConfig {
        endpoint_url: config.store.endpoint_url.clone(),
        region: config.store.region.clone(),
        force_path_style: config.store.force_path_style,
        ..StoreConfig::default()
    }
}

/// How to reach the cluster.
pub fn broker(config: &Config, role: &str) -> Result<BrokerConfig> {
    let Some(brokers) = config.kafka.brokers.clone() else {
        let missing = "kafka.brokers is not set (expected host:port; --brokers, or FACEMILL_KAFKA__BROKERS)";
        return Err(Misconfigured(missing.to_owned()).into());
    };
    let Kafka { properties, topic_prefix, static_member, .. } = config.kafka.clone();
    let client_id = format!("facemill-{role}");
    Ok(BrokerConfig { brokers, properties, client_id, prefix: topic_prefix, static_member })
}
