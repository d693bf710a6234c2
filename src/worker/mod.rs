//! The worker: a member of the consumer group on `chunks`. It swaps chunks on its lanes; one chunk's journey is in `chunk.rs`.

pub mod attempts;
mod chunk;
pub mod lane;
pub mod lanes;
mod process;
mod protocol;
mod serve;
mod words;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info_span, warn};

use crate::broker::{Consumer, Delivery, Event, Options};
use crate::contract::{ChunkRecord, topics, worker_group};
use crate::site::{Site, SiteError};
use crate::telemetry::{self, Topic};
pub use lane::Means;
use lanes::Lanes;
pub use lanes::Meter;
pub use process::{LaneError, LaneSettings};
pub use serve::{ServeError, serve};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its consumer group; see [`crate::contract::worker_group`].
    pub group: String,
    /// Lanes at work at once.
    pub lanes: usize,
    /// How each lane works.
    pub lane: LaneSettings,
}

/// Swaps chunks until `stop`.
pub async fn run(site: Site, settings: Settings, meter: Arc<Meter>, stop: CancellationToken) -> Result<(), SiteError> {
    // One more than there are lanes: its slice is fetched while the lanes are at work.
    let options = Options { in_flight: settings.lanes + 1, static_member: None };
    let mut chunks = Consumer::<ChunkRecord>::start(&site.broker, &settings.group, topics::CHUNKS, options)?;
    let lanes = Lanes::new(settings.lanes, &settings.lane, meter);
    telemetry::lanes(settings.lanes);
    let worker = Arc::new(Worker { site, group: settings.group, lanes, stop: stop.clone() });
    let mut tasks = JoinSet::new();
    let mut tick = tokio::time::interval(telemetry::LOOK_EVERY);
    let ended = loop {
        // Cancel-safe: `next`, `join_next` and `tick` lose nothing when another branch wins.
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = tick.tick() => telemetry::consumer_lag(Topic::Chunks, chunks.lag()),
            Some(task) = tasks.join_next() => if let Err(error) = task.map_err(SiteError::from).flatten() {
                break Err(error);
            },
            event = chunks.next() => match event {
                Some(Ok(Event::Record(delivery))) => {
                    let worker = worker.clone();
                    tasks.spawn(async move { worker.take(delivery).await });
                }
                Some(Ok(Event::Assigned(_) | Event::Revoked(_))) => {}
                Some(Err(error)) => break Err(error.into()),
                None => break Ok(()),
            },
        }
    };
    tasks.shutdown().await;
    worker.lanes.close().await;
    chunks.close().await;
    ended
}

/// What the chunks of one worker share.
struct Worker {
    site: Site,
    group: String,
    lanes: Lanes,
    stop: CancellationToken,
}

impl Worker {
    /// One record: its chunk is settled; then, and only then, its offset may be committed.
    async fn take(&self, delivery: Delivery<ChunkRecord>) -> Result<(), SiteError> {
        let record = match delivery.record {
            Ok(record) => record,
            Err(malformed) => {
                let (partition, offset) = (delivery.partition, delivery.offset);
                warn!(partition, offset, error = %malformed, "chunk record skipped");
                delivery.claim.finish();
                return Ok(());
            }
        };
        if worker_group(&record.spec.toolchain) != self.group {
            // For workers of another version or with other models: their group reads the same record.
            debug!(job = %record.job, chunk = record.index, "not for this group");
            delivery.claim.finish();
            return Ok(());
        }
        let span = info_span!("chunk", job = %record.job, run = record.run, chunk = record.index);
        let settled = chunk::settle(self, &record).instrument(span).await?;
        if settled == chunk::Settlement::Settled {
            delivery.claim.finish();
        }
        Ok(())
    }
}
