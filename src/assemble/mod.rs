//! The assembler: counts completions, and joins a job's chunks into its clip when the last one is there.
//!
//! It keeps its ledgers in memory and can always rebuild them from the store. It alone writes final states.

mod attempt;
mod damage;
mod deliver;
mod desk;
mod finish;
mod join;
pub mod ledger;
mod open;
mod repair;
mod stills;

use std::time::Duration;

use tokio::time::Interval;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit;
use crate::broker::{Consumer, Event, Options};
use crate::contract::{JobEvent, topics};
use crate::credentials::Credentials;
use crate::site::{Site, SiteError};
use crate::telemetry;
use desk::Desk;

/// How an assembler works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clips joined at once.
    pub joins: usize,
    /// A job without news for so long is looked after.
    pub repair_after: Duration,
    /// How long clips that are being joined may take once it is to stop.
    pub grace: Duration,
    /// With whose signature outputs are signed; none: they are not.
    pub credentials: Option<Credentials>,
}

/// Completions that are taken in and not yet counted: they are small, and counted within milliseconds.
const IN_FLIGHT: usize = 256;

/// Assembles jobs until `stop`, then finishes the clips that it has begun.
pub async fn run(site: Site, settings: Settings, stop: CancellationToken) -> Result<(), SiteError> {
    let options = Options { in_flight: IN_FLIGHT };
    let mut events = Consumer::<JobEvent>::start(&site.broker, topics::ASSEMBLE_GROUP, topics::COMPLETIONS, options)?;
    // What could not be written down must not be done. Cancel-safe: nothing has been taken yet.
    let is_writable = tokio::select! {
        () = stop.cancelled() => None,
        tried = audit::ensure_writable(&site) => Some(tried),
    };
    let Some(Ok(())) = is_writable else {
        events.close().await;
        return is_writable.unwrap_or(Ok(()));
    };
    let mut desk = Desk::new(site, &settings);
    let mut tick = tokio::time::interval(telemetry::LOOK_EVERY);
    // However long the store or the broker may be away.
    let mut over = std::pin::pin!(async {
        stop.cancelled().await;
        tokio::time::sleep(settings.grace).await;
    });
    let mut is_over = false;
    let ended = loop {
        // What is dropped in the middle is as after a crash there: it is done by the next assembler.
        let stepped = tokio::select! {
            stepped = step(&mut desk, &mut events, &mut tick, &stop) => stepped,
            () = &mut over => {
                warn!("the grace is over; what is not counted is left to the next assembler");
                is_over = true;
                break Ok(());
            }
        };
        match stepped {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    if ended.is_ok() && !is_over && desk.is_joining() {
        events.hold();
        // Cancel-safe as far as it must be: what is broken off is begun anew, or seen to be done, by the next assembler.
        tokio::select! {
            () = finish_joins(&mut desk, &mut events) => {}
            () = &mut over => warn!("the grace is over; what is not joined is left to the next assembler"),
        }
    }
    desk.stop().await;
    events.close().await;
    ended
}

/// The next thing that happens, and what follows from it; `false` once it is to stop.
async fn step(
    desk: &mut Desk,
    events: &mut Consumer<JobEvent>,
    tick: &mut Interval,
    stop: &CancellationToken,
) -> Result<bool, SiteError> {
    // Cancel-safe: both `next` and `tick` lose nothing when another branch wins.
    let worked = tokio::select! {
        () = stop.cancelled() => return Ok(false),
        _ = tick.tick() => {
            telemetry::consumer_lag(telemetry::Topic::Completions, events.lag());
            desk.look_for_idle().await
        }
        happened = desk.next() => match happened {
            Ok(happened) => desk.go_on(happened).await,
            Err(error) => Err(error),
        },
        event = events.next() => match event {
            Some(Ok(Event::Assigned(partitions))) => desk.adopt(&partitions).await,
            Some(Ok(Event::Revoked(partitions))) => {
                desk.let_go(&partitions).await;
                Ok(())
            }
            Some(Ok(Event::Record(delivery))) => desk.take(delivery).await,
            Some(Err(error)) => Err(error.into()),
            None => Err(SiteError::Work("the consumer of topic completions has ended".to_owned())),
        },
    };
    worked.map(|()| true)
}

/// Still a member of the group, so that nobody else begins the same clips; what is counted meanwhile is counted by the next one.
async fn finish_joins(desk: &mut Desk, events: &mut Consumer<JobEvent>) {
    info!("finishing the clips that are being joined");
    while desk.is_joining() {
        // Cancel-safe, as above.
        let closed = tokio::select! {
            happened = desk.next() => match happened {
                Ok(happened) => desk.go_on(happened).await,
                Err(error) => Err(error),
            },
            event = events.next() => match event {
                Some(Ok(Event::Revoked(partitions))) => {
                    desk.let_go(&partitions).await;
                    Ok(())
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(_)) | None => return,
            },
        };
        if let Err(error) = closed {
            return warn!(%error, "left to the next assembler");
        }
    }
}
