//! The lanes of a worker: processes of their own ([`super::process`]), each with its networks loaded once, each at one chunk at a time.
//!
//! A chunk goes in as files, its result comes out as a file. What a chunk can do to its process (crash it, hang it, take its memory) ends
//! here: the process is replaced, the chunk's caller is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use crate::telemetry::{self, LaneEnd, Stage};

use super::lane::{LaneOrder, LaneReport};
use super::process::{LaneError, LaneProcess, LaneSettings, STOP_GRACE, StartError};

/// Starts that may fail in a row before the worker is told.
const STARTS: u32 = 5;
/// The wait after the first of them; it doubles.
const START_PAUSE: Duration = Duration::from_millis(100);

/// How long all lanes together may take to be gone when the pool is closed; one that the system does not let go is left after three seconds.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

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

    fn add(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }

    fn take_back(&self, frames: u64) {
        self.frames.fetch_sub(frames, Ordering::Relaxed);
    }
}

/// A chunk on its way to a lane.
struct Work {
    order: Arc<LaneOrder>,
    stop: CancellationToken,
    report: oneshot::Sender<Result<LaneReport, LaneError>>,
}

/// The way to a free lane; holds one chunk, since a lane offers itself anew for each.
type Offer = mpsc::Sender<Work>;

/// A pool of lanes.
pub struct Lanes {
    free: Mutex<mpsc::Receiver<Offer>>,
    closing: CancellationToken,
    keepers: Mutex<JoinSet<()>>,
}

impl Lanes {
    /// Starts `count` lanes; each loads its networks meanwhile.
    pub fn new(count: usize, settings: &LaneSettings, meter: Arc<Meter>) -> Self {
        let (offers, free) = mpsc::channel(count); // every lane can be free at once
        let closing = CancellationToken::new();
        let mut keepers = JoinSet::new();
        for _ in 0..count {
            let (settings, meter) = (settings.clone(), meter.clone());
            let (offers, closing) = (offers.clone(), closing.clone());
            keepers.spawn(Keeper { settings, meter, offers, closing, inbox: None, successor: None }.keep());
        }
        Self { free: Mutex::new(free), closing, keepers: Mutex::new(keepers) }
    }

    /// Waits for a lane. Cancel-safe.
    ///
    /// # Errors
    /// [`LaneError::Stopped`] once the lanes are closed.
    pub async fn acquire(&self) -> Result<FreeLane, LaneError> {
        let asked = Instant::now();
        // Cancel-safe: an offer is taken out of the channel only by the `recv` that returns it.
        let taken = async { self.free.lock().await.recv().await };
        let offer = tokio::select! {
            () = self.closing.cancelled() => return Err(LaneError::Stopped),
            offer = taken => offer.ok_or(LaneError::Stopped)?,
        };
        telemetry::stage(Stage::Wait, asked.elapsed());
        Ok(FreeLane { offer })
    }

    /// Ends every lane; what is in work is left. Returns within five seconds, whatever a lane hangs in.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut keepers = self.keepers.lock().await;
        let all_gone = async {
            while let Some(ended) = keepers.join_next().await {
                if let Err(error) = ended {
                    warn!(%error, "a lane's keeper has panicked");
                }
            }
        };
        // Cancel-safe: a keeper that has not ended stays in its set.
        if timeout(CLOSE_LIMIT, all_gone).await.is_err() {
            warn!(lanes = keepers.len(), "lanes are not gone in time; they are killed and left to the system");
            // Dropping a lane kills it.
            keepers.abort_all();
        }
    }
}

/// A lane that waits for a chunk; it is free again when this is dropped.
pub struct FreeLane {
    offer: Offer,
}

impl FreeLane {
    /// Has a chunk computed. Once `stop` is cancelled it ends with [`LaneError::Stopped`] within [`STOP_GRACE`], or with the result if
    /// that was ready first. When this is dropped the lane leaves the chunk as well.
    pub async fn run(self, order: Arc<LaneOrder>, stop: &CancellationToken) -> Result<LaneReport, LaneError> {
        let (report, mut outcome) = oneshot::channel();
        if self.offer.try_send(Work { order, stop: stop.clone(), report }).is_err() {
            return Err(LaneError::Stopped); // the lanes have been closed
        }
        // Cancel-safe: the report stays in its channel.
        let reported = tokio::select! {
            reported = &mut outcome => reported,
            // The lane that took the chunk may have died idle, and the next one may be on its way up.
            () = async { stop.cancelled().await; tokio::time::sleep(2 * STOP_GRACE).await } => return Err(LaneError::Stopped),
        };
        reported.unwrap_or(Err(LaneError::Stopped))
    }
}

/// Keeps one lane's place filled.
struct Keeper {
    settings: LaneSettings,
    meter: Arc<Meter>,
    offers: mpsc::Sender<Offer>,
    closing: CancellationToken,
    /// The offer that stands, if one does.
    inbox: Option<mpsc::Receiver<Work>>,
    /// The next process, on its way up.
    successor: Option<Starting>,
}

/// A process on its way up; it ends with this value.
type Starting = AbortOnDropHandle<Result<LaneProcess, StartError>>;

impl Keeper {
    async fn keep(mut self) {
        while !self.closing.is_cancelled() {
            match self.start().await {
                Ok(mut lane) => self.live(&mut lane).await,
                Err(error) => self.refuse(error).await,
            }
        }
        if let Some(successor) = self.successor.take()
            && let Ok(Ok(mut lane)) = successor.await
        {
            lane.end().await;
        }
    }

    /// Tells whoever asks next that there is no lane.
    async fn refuse(&mut self, error: StartError) {
        let closing = self.closing.clone();
        // Cancel-safe: what is not answered is told that the lanes are closed.
        tokio::select! {
            () = closing.cancelled() => {}
            work = self.next_work() => if let Some(work) = work {
                // Whoever asked may be gone.
                let _ = work.report.send(Err(LaneError::Start(error.reason)));
            }
        }
    }

    /// A lane's life: chunk after chunk, until it is lost or has done its number of them.
    async fn live(&mut self, lane: &mut LaneProcess) {
        let closing = self.closing.clone();
        while lane.is_usable && lane.orders < self.settings.chunks_per_lane {
            // Cancel-safe: chunks stay in their channel, and what a lane says in its pipe.
            let work = tokio::select! {
                () = closing.cancelled() => return lane.end().await,
                () = lane.silence() => {
                    let death = lane.post_mortem().await;
                    warn!(error = %death, "an idle lane has died; another takes its place");
                    return telemetry::lane_ended(LaneEnd::Crashed);
                }
                work = self.next_work() => work,
            };
            let Some(work) = work else { return lane.end().await };
            if lane.orders + 1 == self.settings.chunks_per_lane {
                self.successor = Some(self.begin_start());
            }
            self.work(lane, work).await;
        }
        if lane.is_usable {
            debug!(chunks = lane.orders, "a lane has done its time");
            telemetry::lane_ended(LaneEnd::Worn);
            lane.end().await;
        }
    }

    /// A lane that is up; what was started ahead, else a fresh one. An error after a few failures in a row, or if none will ever come.
    async fn start(&mut self) -> Result<LaneProcess, StartError> {
        let mut pause = START_PAUSE;
        for failures in 1.. {
            let starting = self.successor.take().unwrap_or_else(|| self.begin_start());
            let error = match starting.await {
                Ok(Ok(lane)) => return Ok(lane),
                Ok(Err(error)) => error,
                Err(error) => StartError { is_final: false, reason: error.to_string() },
            };
            if self.closing.is_cancelled() {
                return Err(error);
            }
            telemetry::lane_ended(LaneEnd::Start);
            if error.is_final || failures == STARTS {
                return Err(error);
            }
            warn!(%error, "a lane has not come up; another is started");
            // Cancel-safe: a moment's wait; a start that finds the lanes closed ends at once.
            tokio::select! {
                () = self.closing.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause *= 2;
        }
        unreachable!("the last failure returns")
    }

    fn begin_start(&self) -> Starting {
        AbortOnDropHandle::new(tokio::spawn(LaneProcess::start(self.settings.clone(), self.closing.clone())))
    }

    /// Offers this lane and waits for a chunk. Cancel-safe: an offer stands until it was taken.
    async fn next_work(&mut self) -> Option<Work> {
        loop {
            let inbox = match &mut self.inbox {
                Some(inbox) => inbox,
                closed => {
                    let (offer, inbox) = mpsc::channel(1); // an offer is for one chunk
                    self.offers.send(offer).await.ok()?;
                    closed.insert(inbox)
                }
            };
            let work = inbox.recv().await;
            self.inbox = None;
            // An offer may have been dropped, or a chunk been left while this lane was not up.
            match work {
                Some(work) if !work.report.is_closed() && !work.stop.is_cancelled() => return Some(work),
                Some(Work { report, .. }) => drop(report.send(Err(LaneError::Stopped))),
                None => {}
            }
        }
    }

    async fn work(&self, lane: &mut LaneProcess, work: Work) {
        let Work { order, stop, mut report } = work;
        let leave = stop.child_token();
        let mut counted = 0;
        let mut count = |frames: u64| {
            self.meter.add(frames.saturating_sub(counted));
            counted = counted.max(frames);
        };
        let busy = telemetry::busy_lane();
        let outcome = {
            let mut running = std::pin::pin!(lane.run(&order, &leave, &mut count));
            loop {
                // Cancel-safe: `running` is not dropped, the others are asked again.
                tokio::select! {
                    outcome = &mut running => break outcome,
                    () = report.closed(), if !leave.is_cancelled() => leave.cancel(),
                    () = self.closing.cancelled() => break Err(LaneError::Stopped),
                }
            }
        };
        drop(busy);
        if self.closing.is_cancelled() {
            lane.end().await;
        }
        match &outcome {
            Ok(made) => count(made.counts.frames),
            Err(error) => {
                self.meter.take_back(counted);
                self.tell_end(error, lane.is_usable);
            }
        }
        // Whoever asked may be gone.
        let _ = report.send(outcome);
    }

    fn tell_end(&self, error: &LaneError, is_usable: bool) {
        let why = match error {
            _ if is_usable || self.closing.is_cancelled() => return,
            LaneError::Deadline { .. } => LaneEnd::Deadline,
            LaneError::OutOfMemory { .. } => LaneEnd::Memory,
            LaneError::Stopped => LaneEnd::Stuck,
            _ => LaneEnd::Crashed,
        };
        warn!(reason = why.as_str(), %error, "a lane is lost; another takes its place");
        telemetry::lane_ended(why);
    }
}
