//! The worker: a member of the consumer group on `chunks`. It swaps chunks on its lanes; one chunk's journey is in `chunk.rs`.

mod chunk;
pub mod lane;
mod lanes;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span, warn};

use crate::broker::{Consumer, Delivery, Event, Options};
use crate::contract::{ChunkRecord, topics};
use crate::site::{Site, SiteError};
use crate::telemetry;
pub use lane::LaneSettings;
use lanes::Lanes;
pub use lanes::Meter;

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
    let worker = Arc::new(Worker { site, lanes, stop: stop.clone() });
    let mut tasks = JoinSet::new();
    let ended = loop {
        // Cancel-safe: `next` and `join_next` lose nothing when another branch wins.
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            Some(task) = tasks.join_next() => if let Err(error) = task.map_err(SiteError::from).flatten() {
                break Err(error);
            },
            event = chunks.next() => match event {
                Some(Ok(Event::Record(delivery))) => {
                    let worker = worker.clone();
                    tasks.spawn(async move { worker.take(delivery).await });
                    telemetry::consumer_lag(telemetry::Topic::Chunks, chunks.lag().max(0) as u64);
                }
                Some(Ok(Event::Assigned(_) | Event::Revoked(_))) => {}
                Some(Err(error)) => break Err(error.into()),
                None => break Ok(()),
            },
        }
    };
    worker.lanes.stop();
    tasks.shutdown().await;
    chunks.close().await;
    ended
}

/// What the chunks of one worker share.
struct Worker {
    site: Site,
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
        let span = info_span!("chunk", job = %record.job, run = record.run, chunk = record.index);
        let settled = chunk::settle(self, &record).instrument(span).await?;
        if settled == chunk::Settlement::Settled {
            delivery.claim.finish();
        }
        Ok(())
    }
}
