//! The assembler: counts completions, and joins a job's chunks into its clip when the last one is there.
//!
//! It keeps its ledgers in memory and can always rebuild them from the store. It alone writes final states.

mod desk;
mod finish;
mod join;
pub mod ledger;
mod open;

use tokio_util::sync::CancellationToken;

use crate::broker::{Consumer, Event, Options};
use crate::contract::{JobEvent, topics};
use crate::site::{Site, SiteError};
use crate::telemetry;
use desk::Desk;

/// How an assembler works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clips joined at once.
    pub joins: usize,
}

/// Completions that are taken in and not yet counted: they are small, and counted within milliseconds.
const IN_FLIGHT: usize = 256;

/// Assembles jobs until `stop`.
pub async fn run(site: Site, settings: Settings, stop: CancellationToken) -> Result<(), SiteError> {
    let options = Options { in_flight: IN_FLIGHT };
    let mut events = Consumer::<JobEvent>::start(&site.broker, topics::ASSEMBLE_GROUP, topics::COMPLETIONS, options)?;
    let mut desk = Desk::new(site, settings.joins);
    let mut tick = tokio::time::interval(telemetry::LOOK_EVERY);
    let ended = loop {
        // Cancel-safe: `next`, `joined` and `tick` lose nothing when another branch wins.
        let worked = tokio::select! {
            () = stop.cancelled() => break Ok(()),
            _ = tick.tick() => {
                telemetry::consumer_lag(telemetry::Topic::Completions, events.lag());
                Ok(())
            }
            joined = desk.joined() => desk.close(joined).await,
            event = events.next() => match event {
                Some(Ok(Event::Assigned(partitions))) => desk.adopt(&partitions).await,
                Some(Ok(Event::Revoked(partitions))) => {
                    desk.let_go(&partitions);
                    Ok(())
                }
                Some(Ok(Event::Record(delivery))) => desk.take(delivery).await,
                Some(Err(error)) => Err(error.into()),
                None => break Ok(()),
            },
        };
        if let Err(error) = worked {
            break Err(error);
        }
    };
    desk.stop().await;
    events.close().await;
    ended
}
