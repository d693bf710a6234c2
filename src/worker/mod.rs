//! The worker: a member of the consumer group on `chunks`. It swaps chunks on its lanes; one chunk's journey is in `chunk.rs`.

mod cast;
mod changer;
mod chunk;
mod clock;
mod endings;
mod enlarge;
mod in_hand;
mod labeller;
pub mod lane;
pub mod lanes;
mod process;
mod protocol;
mod serve;
mod shelf;
mod trial;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::broker::{Consumer, Delivery, Event, Options};
use crate::contract::{ChunkRecord, topics};
use crate::crash;
use crate::dead_letters::Reason;
use crate::site::{Site, SiteError};
use crate::telemetry::{self, Topic};
use chunk::Settlement;
use endings::Endings;
use in_hand::InHand;
pub use lane::Means;
use lanes::Lanes;
pub use lanes::Meter;
pub use process::{LaneError, LaneSettings};
pub use serve::{ServeError, limit_memory, serve};
pub use trial::{TOLD, try_provider, with_usable_providers};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its consumer group; see [`crate::contract::worker_group`].
    pub group: String,
    /// Lanes at work at once.
    pub lanes: usize,
    /// How each lane works.
    pub lane: LaneSettings,
    /// How long chunks in work may take once the worker is to stop. The last five seconds of it are for handing back those that are not
    /// finished; of a shorter one all of it. Handing back has three seconds even where the grace is less.
    pub grace: Duration,
}

/// Records looked at beside those at work: most of a second run, or of a log that is read again, needs no lane, only the store's answer.
const LOOKED_AT: usize = 8;

/// How long handing back may take: a lane leaves its chunk within two seconds, and its attempt is taken back in the store.
const HAND_BACK: Duration = Duration::from_secs(5);
/// How long it may take however short the grace is: two seconds for the lane, one for the store. An attempt that is not taken back would
/// count as one that the chunk has cost.
const HAND_BACK_MIN: Duration = Duration::from_secs(3);

/// Swaps chunks until `stop`, then finishes those in work as far as the grace period allows.
pub async fn run(site: Site, settings: Settings, meter: Arc<Meter>, stop: CancellationToken) -> Result<(), SiteError> {
    let options = Options { in_flight: settings.lanes + LOOKED_AT };
    let mut chunks = Consumer::<ChunkRecord>::start(&site.broker, &settings.group, topics::CHUNKS, options)?;
    // Cancel-safe: no chunk has been taken on yet.
    let endings = tokio::select! {
        () = stop.cancelled() => {
            chunks.close().await;
            return Ok(());
        }
        endings = Endings::follow(&site) => endings?,
    };
    let lanes = Lanes::new(settings.lanes, &settings.lane, meter);
    telemetry::lanes(settings.lanes);
    let give_up = CancellationToken::new();
    // One more than there are lanes: its slice is fetched while the lanes are at work.
    let places = Semaphore::new(settings.lanes + 1);
    let turns = Semaphore::new(settings.lanes);
    let (in_hand, draining) = (InHand::default(), stop.child_token());
    let worker = Worker { site, group: settings.group, lanes, in_hand, places, turns, endings, draining, give_up };
    let worker = Arc::new(worker);
    let mut tasks = JoinSet::new();
    let mut tick = tokio::time::interval(telemetry::LOOK_EVERY);
    let ended = loop {
        // Cancel-safe: `next`, `join_next`, `lost` and `tick` lose nothing when another branch wins.
        tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = tick.tick() => telemetry::consumer_lag(Topic::Chunks, chunks.lag()),
            Some(task) = tasks.join_next() => if let Err(error) = task.map_err(SiteError::from).flatten() {
                break Err(error);
            },
            error = worker.endings.lost() => break Err(error),
            event = chunks.next() => match event {
                Some(Ok(Event::Record(delivery))) => {
                    let worker = worker.clone();
                    tasks.spawn(async move { worker.take(delivery).await });
                }
                Some(Ok(Event::Assigned(_) | Event::Revoked(_))) => {}
                Some(Err(error)) => break Err(error.into()),
                None => break Err(SiteError::Work("the consumer of topic chunks has ended".to_owned())),
            },
        }
    };
    // Also where an error has ended it: no further chunk is begun by a worker that leaves.
    worker.draining.cancel();
    chunks.hold();
    let mut left = TimeLeft::of(settings.grace);
    if ended.is_err() {
        left.finish = Duration::ZERO;
    }
    let drained = drain(&worker, &mut tasks, &mut chunks, left).await;
    worker.lanes.close().await;
    chunks.close().await;
    ended.and(drained)
}

/// How the time is spent that a worker has once it is to stop.
#[derive(Debug, PartialEq, Eq)]
struct TimeLeft {
    /// For finishing chunks in work.
    finish: Duration,
    /// Then, for handing back those that are not finished.
    hand_back: Duration,
}

impl TimeLeft {
    /// Handing back is part of the grace.
    fn of(grace: Duration) -> Self {
        let hand_back = grace.clamp(HAND_BACK_MIN, HAND_BACK);
        Self { finish: grace.saturating_sub(hand_back), hand_back }
    }
}

/// Finishes what the lanes have begun, still a member of the group; then hands back what is left.
async fn drain(
    worker: &Worker,
    tasks: &mut JoinSet<Result<(), SiteError>>,
    chunks: &mut Consumer<ChunkRecord>,
    left: TimeLeft,
) -> Result<(), SiteError> {
    info!(seconds = left.finish.as_secs(), "finishing chunks in work");
    let mut over = std::pin::pin!(tokio::time::sleep(left.finish));
    let mut drained = Ok(());
    loop {
        // Cancel-safe, as above. What is delivered now is handed back by dropping it.
        tokio::select! {
            () = &mut over => {
                if worker.give_up.is_cancelled() {
                    // A store or broker that is away must not keep a worker from ending: what it could not say comes again.
                    tasks.shutdown().await;
                    return drained;
                }
                worker.give_up.cancel();
                over.set(tokio::time::sleep(left.hand_back));
            }
            task = tasks.join_next() => match task {
                Some(task) => drained = drained.and(task.map_err(SiteError::from).flatten()),
                None => return drained,
            },
            Some(_) = chunks.next() => {}
        }
    }
}

/// What the chunks of one worker share.
struct Worker {
    site: Site,
    group: String,
    lanes: Lanes,
    /// Chunks of which a record waits for a place, or has one.
    in_hand: InHand,
    /// Chunks that are fetched or at work.
    places: Semaphore,
    /// Chunks that are at work, or tried again.
    turns: Semaphore,
    endings: Endings,
    /// No further chunk is begun.
    draining: CancellationToken,
    /// Chunks in work are handed back.
    give_up: CancellationToken,
}

impl Worker {
    /// One record: its chunk is settled; then, and only then, its offset may be committed.
    async fn take(&self, delivery: Delivery<ChunkRecord>) -> Result<(), SiteError> {
        crash::point("worker.received");
        let record = match &delivery.record {
            Ok(record) => record,
            Err(malformed) => {
                self.bury(&delivery, "Malformed", &malformed.to_string()).await?;
                delivery.claim.finish();
                return Ok(());
            }
        };
        if record.group != self.group {
            // For workers of another version or with other models: their group reads the same record.
            debug!(job = %record.job, chunk = record.index, "not for this group");
            delivery.claim.finish();
            return Ok(());
        }
        let span = info_span!("chunk", job = %record.job, run = record.run, chunk = record.index);
        if chunk::settle(self, &delivery, record).instrument(span).await? == Settlement::HandedBack {
            return Ok(());
        }
        crash::point("worker.published");
        delivery.claim.finish();
        crash::point("worker.finished");
        Ok(())
    }

    async fn bury(&self, delivery: &Delivery<ChunkRecord>, error: &str, reason: &str) -> Result<(), SiteError> {
        warn!(
            key = delivery.key,
            partition = delivery.partition,
            offset = delivery.offset,
            reason,
            "chunk dead-lettered"
        );
        self.site.bury(delivery, Reason::new("worker", module_path!(), error, reason)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handing_back_is_part_of_the_grace_and_has_its_time() {
        let seconds = Duration::from_secs;
        for (grace, finish, hand_back) in [(0, 0, 3), (2, 0, 3), (4, 0, 4), (5, 0, 5), (6, 1, 5), (3600, 3595, 5)] {
            let expected = TimeLeft { finish: seconds(finish), hand_back: seconds(hand_back) };
            assert_eq!(TimeLeft::of(seconds(grace)), expected, "grace of {grace} s");
        }
    }
}
