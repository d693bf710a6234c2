//! The lanes of a worker: threads of their own, each with its networks loaded once, each at one chunk at a time.
//!
//! Nothing outside knows that they are threads: a chunk goes in as files, its result comes out as a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry::{self, Stage};

use super::lane::{Lane, LaneError, LaneOrder, LaneReport, LaneSettings};

/// Frames that have left the lanes, of chunks that are not settled yet: what a progress bar adds to the settled ones.
#[derive(Debug, Default)]
pub struct Meter {
    frames: AtomicU64,
}

impl Meter {
    /// Frames encoded since the start, over all lanes.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// One frame more.
    pub fn add_frame(&self) {
        self.frames.fetch_add(1, Ordering::Relaxed);
    }
}

struct Order {
    order: Arc<LaneOrder>,
    stop: Arc<AtomicBool>,
    report: oneshot::Sender<Result<LaneReport, LaneError>>,
}

/// A pool of lanes.
pub struct Lanes {
    /// Free lanes: each is the way to one lane's thread.
    free_sender: mpsc::Sender<std::sync::mpsc::SyncSender<Order>>,
    free: tokio::sync::Mutex<mpsc::Receiver<std::sync::mpsc::SyncSender<Order>>>,
    stopping: Arc<AtomicBool>,
    settings: LaneSettings,
    meter: Arc<Meter>,
}

impl Lanes {
    /// Starts `count` lanes; each loads its networks meanwhile.
    pub fn new(count: usize, settings: &LaneSettings, meter: Arc<Meter>) -> Self {
        let (free_sender, free) = mpsc::channel(count); // every lane can be free at once
        let free = tokio::sync::Mutex::new(free);
        let lanes = Self { free_sender, free, stopping: Arc::default(), settings: settings.clone(), meter };
        (0..count).for_each(|_| lanes.start_lane());
        lanes
    }

    /// Starts a lane, at the beginning or in the place of one that has died.
    fn start_lane(&self) {
        let (orders, inbox) = std::sync::mpsc::sync_channel::<Order>(1); // a lane is offered only when free
        let mut lane = Lane::new(self.settings.clone(), self.meter.clone());
        let work = move || {
            if let Err(error) = lane.warm_up() {
                warn!(%error, "networks are not loaded yet; the first chunk tries again");
            }
            while let Ok(Order { order, stop, report }) = inbox.recv() {
                let busy = telemetry::busy_lane();
                let outcome = lane.run(&order, &stop);
                drop(busy);
                // Whoever asked may be gone; the lane goes on.
                let _ = report.send(outcome);
            }
        };
        let thread = std::thread::Builder::new().name("lane".into());
        thread.spawn(work).expect("the system can start a thread per lane");
        self.free_sender.try_send(orders).expect("the channel has a place for every lane");
    }

    /// Runs a chunk on the next free lane. Ends with `Stopped` soon after `stop`.
    pub async fn run(&self, order: Arc<LaneOrder>, stop: &CancellationToken) -> Result<LaneReport, LaneError> {
        let asked = Instant::now();
        // Cancel-safe: a lane is taken out of the channel only by the `recv` that returns it.
        let taken = async { self.free.lock().await.recv().await };
        let lane = tokio::select! {
            () = stop.cancelled() => return Err(LaneError::Stopped),
            lane = taken => lane.ok_or(LaneError::Stopped)?,
        };
        telemetry::stage(Stage::Wait, asked.elapsed());
        let (report, outcome) = oneshot::channel();
        let sent = lane.send(Order { order, stop: self.stopping.clone(), report });
        let outcome = match sent {
            Ok(()) => outcome.await.unwrap_or(Err(LaneError::Died)),
            Err(_) => Err(LaneError::Died),
        };
        match outcome {
            Err(LaneError::Died) => self.start_lane(),
            _ => self.free_sender.try_send(lane).expect("the channel has a place for every lane"),
        }
        outcome
    }

    /// Asks every lane to stop at its next frame.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}
