//! A lane: one function from slice file and [`ChunkSpec`] to result file. Runs in a process of its own ([`super::serve`]).
//!
//! A chunk's computation sees nothing but its [`LaneOrder`]. Four stages, each on a thread of its own, joined by short channels:
//! decode → track → swap → encode. Whoever is behind holds the others back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde::{Deserialize, Serialize};

use crate::contract::{ChunkSpec, DamageCount, Digest, Fingerprint, FrameCounts, ResultFooter, StageSeconds, Swapper};
use crate::error::{Classify, Kind};
use crate::frame::FrameIndex;
use crate::media::{ChunkEncoder, Decoded, EncodeSettings, Encoded, MediaError, Shows, Timing, WantedFrames};
use crate::photo::PhotoError;
use crate::seal::{self, SealError};
use crate::telemetry::Stage;
use crate::vision::swap::Reference;
use crate::vision::track::Tracker;
use crate::vision::{Execution, Face, TrackNets, VisionError};

use super::changer::{Changer, Kept, check_models};
use super::clock::Clock;
use super::enlarge::Enlarger;
use super::labeller::Labeller;

/// How a lane works; none of it changes a result.
#[derive(Clone, Debug)]
pub struct Means {
    /// The ONNX Runtime library.
    pub onnxruntime: PathBuf,
    /// The folder with networks that are not built in.
    pub models: PathBuf,
    /// Where and with how many threads networks run.
    pub execution: Execution,
    /// Threads of the decoder and of the encoder, each.
    pub threads: usize,
    /// The swapper whose networks are loaded at the start, before the first chunk comes.
    pub swapper: Swapper,
    /// The folder for what is made of networks and photos; none: nothing is kept.
    pub made: Option<PathBuf>,
}

impl Means {
    /// Where what is known of photos is kept.
    pub fn shelf(&self) -> Option<PathBuf> {
        self.made.as_ref().map(|made| made.join("photos"))
    }
}

/// One chunk's work: what is to be computed, and the files that it names by digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneOrder {
    /// What is to be computed.
    pub spec: ChunkSpec,
    /// The slice.
    pub slice: PathBuf,
    /// The photos, by their digests.
    pub photos: BTreeMap<Digest, PathBuf>,
    /// The clip's usual look of the face.
    pub reference: Option<PathBuf>,
    /// Where the result goes.
    pub result: PathBuf,
}

/// What came out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneReport {
    /// Where the result is.
    pub result: PathBuf,
    /// Its frames.
    pub counts: FrameCounts,
    /// Where the time went.
    pub seconds: StageSeconds,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The slice cannot be decoded, or the result not encoded.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The networks or the swapper.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// A photo cannot be read.
    #[error("portrait: {0}")]
    Photo(#[from] PhotoError),
    /// A photo that the spec names did not come with it.
    #[error("photo {digest} is not there (expected it with the chunk)")]
    NoPhoto {
        /// Its digest.
        digest: Digest,
    },
    /// The slice does not hold the frames that the chunk wants.
    #[error("the slice gave {found}, expected {expected}")]
    Frames {
        /// What came out of the decoder.
        found: String,
        /// What the spec says.
        expected: String,
    },
    /// The result's file.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Scratch space.
    #[error("scratch file: {0}")]
    Io(#[from] std::io::Error),
    /// The worker stops.
    #[error("stopped before the chunk was done")]
    Stopped,
    /// A stage has panicked: there is a fault in it, and what it leaves behind is not to be used.
    #[error("a stage of the lane has panicked")]
    Panicked,
}

impl Classify for WorkError {
    fn kind(&self) -> Kind {
        match self {
            // A disk here that is full, above all.
            Self::Media(MediaError::File { .. }) | Self::Seal(_) | Self::Io(_) | Self::Stopped => Kind::Retry,
            Self::Media(error) => error.kind(),
            Self::Vision(error) => error.kind(),
            Self::Photo(_) | Self::NoPhoto { .. } | Self::Frames { .. } => Kind::Poison,
            Self::Panicked => Kind::Fatal,
        }
    }
}

/// Decoded, waiting for the tracker; encoded, waiting for the encoder: a few frames, 1.4 MB each at 720p.
const FRAMES_BETWEEN_STAGES: usize = 3;

/// A frame on its way, with the faces in it.
pub(super) struct Tracked {
    pub number: FrameIndex,
    pub frame: Decoded,
    pub faces: Vec<Face>,
}

/// A lane and what it keeps from one chunk to the next; none of it changes a result.
pub struct Lane {
    means: Means,
    kept: Kept,
    enlarger: Enlarger,
    labeller: Labeller,
}

impl Lane {
    /// A lane that has loaded nothing yet.
    pub fn new(means: Means) -> Self {
        Self { means, kept: Kept::default(), enlarger: Enlarger::default(), labeller: Labeller::default() }
    }

    /// Loads the networks that it is going to need.
    pub fn warm_up(&mut self) -> Result<(), WorkError> {
        Ok(self.kept.warm_up(&self.means)?)
    }

    /// Computes one chunk, whose result is to bear the name `fingerprint`. Ends with [`WorkError::Stopped`] at the next frame after
    /// `stop` was set; calls `encoded` with the number of frames that are: once networks are loaded, and after each.
    pub fn run(
        &mut self,
        order: &LaneOrder,
        fingerprint: Fingerprint,
        stop: &AtomicBool,
        encoded: &mut dyn FnMut(u64),
    ) -> Result<LaneReport, WorkError> {
        if order.spec.swap.upscaler.is_some() {
            check_models(&self.means, &order.spec)?;
        }
        self.enlarger.prepare(&order.spec, &self.means)?;
        let encoded = match order.spec.swap.swapper {
            Swapper::None => self.pass(order, stop, encoded)?,
            Swapper::Mesh | Swapper::Network(_) => self.swap(order, stop, encoded)?,
        };
        let counts = encoded.counts;
        let reorder_depth = encoded.encoded.reorder_depth;
        seal::seal(&order.result, |sha256| ResultFooter { fingerprint, sha256, counts, reorder_depth })?;
        Ok(LaneReport { result: order.result.clone(), counts, seconds: encoded.clock.seconds() })
    }

    /// decode → encode.
    fn pass(&mut self, order: &LaneOrder, stop: &AtomicBool, encoded: &mut dyn FnMut(u64)) -> Result<Done, WorkError> {
        let (decoded, frames) = sync_channel(FRAMES_BETWEEN_STAGES);
        let damage = Mutex::default();
        let decoding = Decoding { order, threads: self.means.threads, stop, damage: &damage };
        let done = std::thread::scope(|stages| {
            let decoding = stages.spawn(move || decode(&decoding, &decoded));
            let encoding = self.encode(order, frames.into_iter().map(|(number, frame)| (number, frame, None)), encoded);
            finish(encoding, [decoding.join()])
        });
        done.map(|done| done.with(&damage))
    }

    /// decode → track → swap → encode.
    fn swap(&mut self, order: &LaneOrder, stop: &AtomicBool, encoded: &mut dyn FnMut(u64)) -> Result<Done, WorkError> {
        let (mut track_nets, mut changer) = self.kept.take(&self.means, order)?;
        encoded(0);
        let reference = match &order.reference {
            Some(path) => Reference::from_bytes(&std::fs::read(path)?),
            None => None,
        };
        let damage = Mutex::default();
        let decoding = Decoding { order, threads: self.means.threads, stop, damage: &damage };
        let (decoded, frames) = sync_channel(FRAMES_BETWEEN_STAGES);
        let (found, with_faces) = sync_channel(FRAMES_BETWEEN_STAGES);
        let (swapped, ready) = sync_channel(FRAMES_BETWEEN_STAGES);
        let done = std::thread::scope(|stages| {
            let decoding = stages.spawn(move || decode(&decoding, &decoded));
            let tracking = stages.spawn(|| track(order, &mut track_nets, frames, found));
            let swapping = stages.spawn(|| swap_frames(order, &mut changer, reference.as_ref(), with_faces, swapped));
            let encoding = self.encode(order, ready.into_iter(), encoded);
            finish(encoding, [decoding.join(), tracking.join(), swapping.join()])
        });
        self.kept.put_back(&order.spec, track_nets, changer);
        done.map(|done| done.with(&damage))
    }

    /// The last stage: on the lane's own thread. Each frame comes with how many faces were swapped in it, if any were looked for.
    fn encode(
        &mut self,
        order: &LaneOrder,
        frames: impl Iterator<Item = (FrameIndex, Decoded, Option<u64>)>,
        encoded: &mut dyn FnMut(u64),
    ) -> Result<Done, WorkError> {
        let ChunkSpec { span, video, hdr, label, time_base, frame_rate, .. } = &order.spec;
        let settings = EncodeSettings {
            encoder: video.encoder.clone(),
            preset: video.preset.clone(),
            crf: video.crf,
            hdr: *hdr,
            threads: self.means.threads,
        };
        let timing = Timing { time_base: *time_base, frame_rate: *frame_rate };
        let mut encoder: Option<(ChunkEncoder, i64)> = None;
        let mut counts = FrameCounts::default();
        let mut clock = Clock::default();
        let mut next = span.start;
        for (number, frame, faces) in frames {
            debug_assert_eq!(number, next, "stages keep the order of frames");
            let mut frame = match self.enlarger.is_asked() {
                true => clock.spend(Stage::Upscale, || self.enlarger.enlarge(frame))?,
                false => frame,
            };
            if let Some(label) = label.as_ref().filter(|label| label.is_on(number)) {
                clock.spend(Stage::Label, || self.labeller.draw(label, &mut frame));
            }
            clock.spend(Stage::Encode, || {
                let frame = frame.pictured(&video.encoder).encodable(&video.encoder)?;
                let (encoder, start) = match &mut encoder {
                    Some(open) => open,
                    closed => {
                        closed.insert((ChunkEncoder::create(&order.result, &settings, timing, &frame)?, frame.pts()))
                    }
                };
                encoder.push(&frame, frame.pts() - *start)
            })?;
            counts.without_face += u64::from(faces == Some(0));
            counts.faces += faces.unwrap_or(0);
            counts.frames += 1;
            next += 1;
            encoded(counts.frames);
        }
        let expected = format!("{} frames", span.frames());
        let Some((encoder, _)) = encoder.filter(|_| next == span.end) else {
            return Err(WorkError::Frames { found: format!("{} frames", next - span.start), expected });
        };
        let encoded = clock.spend(Stage::Encode, || encoder.finish())?;
        Ok(Done { encoded, counts, clock })
    }
}

/// What the stages have made together.
struct Done {
    encoded: Encoded,
    counts: FrameCounts,
    clock: Clock,
}

impl Done {
    fn with(mut self, damage: &Mutex<DamageCount>) -> Self {
        self.counts.damage = noted(damage).damage();
        self
    }
}

/// A count of which a stage that has panicked leaves nothing behind: then there is no result.
fn noted(damage: &Mutex<DamageCount>) -> std::sync::MutexGuard<'_, DamageCount> {
    damage.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Adds up the stages: the first failure in the direction of the flow counts, since the later ones follow from it.
fn finish<const N: usize>(
    encoding: Result<Done, WorkError>,
    stages: [std::thread::Result<Result<Clock, WorkError>>; N],
) -> Result<Done, WorkError> {
    let mut clocks = Vec::new();
    for stage in stages {
        match stage {
            Ok(clock) => clocks.push(clock?),
            Err(_panic) => return Err(WorkError::Panicked),
        }
    }
    let mut done = encoding?;
    for clock in clocks {
        done.clock.add(&clock);
    }
    Ok(done)
}

/// What the first stage works with.
struct Decoding<'a> {
    order: &'a LaneOrder,
    threads: usize,
    stop: &'a AtomicBool,
    /// Of the result's frames: those around it are counted by the chunks that they belong to.
    damage: &'a Mutex<DamageCount>,
}

/// Sends the frames of the span's window, in order, and stops after the last.
fn decode(decoding: &Decoding<'_>, frames: &SyncSender<(FrameIndex, Decoded)>) -> Result<Clock, WorkError> {
    let Decoding { order, threads, stop, damage } = decoding;
    let ChunkSpec { span, first_pts, last_pts, turn, .. } = &order.spec;
    crate::crash::lane(order.spec.clip_frames)?;
    let mut clock = Clock::default();
    let mut wanted = WantedFrames::open(&order.slice, *threads, *first_pts..=*last_pts)?;
    let times = wanted.times();
    let is_whole = times.first() == Some(first_pts) && times.last() == Some(last_pts);
    if times.len() as u64 != span.hi - span.lo || !is_whole {
        let found = format!("{} frames from {:?} to {:?}", times.len(), times.first(), times.last());
        let expected = format!("{} frames from {first_pts} to {last_pts}", span.hi - span.lo);
        return Err(WorkError::Frames { found, expected });
    }
    let mut number = span.lo;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(WorkError::Stopped);
        }
        let Some(next) = clock.spend(Stage::Decode, || wanted.next())? else { return Ok(clock) };
        if (span.start..span.end).contains(&number) {
            noted(damage).count(number, next.shows != Shows::Own, next.shows == Shows::Nothing);
        }
        let frame = match order.spec.looks_at_frames() {
            false => next.frame,
            true => next.frame.viewable()?.shown_turned(*turn),
        };
        if frames.send((number, frame)).is_err() {
            return Ok(clock); // a later stage has failed and says why
        }
        number += 1;
    }
}

fn track(
    order: &LaneOrder,
    nets: &mut TrackNets,
    frames: Receiver<(FrameIndex, Decoded)>,
    found: SyncSender<Tracked>,
) -> Result<Clock, WorkError> {
    let span = &order.spec.span;
    let mut clock = Clock::default();
    let mut tracker = Tracker::new(span.start..span.end, order.spec.clip_frames);
    for (_, frame) in frames {
        for (number, frame, faces) in clock.spend(Stage::Track, || tracker.push(nets, frame))? {
            if found.send(Tracked { number, frame, faces }).is_err() {
                return Ok(clock);
            }
        }
    }
    for (number, frame, faces) in clock.spend(Stage::Track, || tracker.finish())? {
        if found.send(Tracked { number, frame, faces }).is_err() {
            return Ok(clock);
        }
    }
    Ok(clock)
}

fn swap_frames(
    order: &LaneOrder,
    changer: &mut Changer,
    reference: Option<&Reference>,
    frames: Receiver<Tracked>,
    swapped: SyncSender<(FrameIndex, Decoded, Option<u64>)>,
) -> Result<Clock, WorkError> {
    let blend_ratio = order.spec.swap.blend_ratio as f32;
    let batch = changer.batch() as u64;
    let mut clock = Clock::default();
    let mut together = Vec::new();
    for tracked in frames {
        let next = tracked.number + 1;
        together.push(tracked);
        // Batches begin at frames that do not depend on where the chunk does.
        if !next.is_multiple_of(batch) && next < order.spec.span.end {
            continue;
        }
        let counts = clock.spend(Stage::Swap, || changer.change(&mut together, blend_ratio, reference))?;
        for (Tracked { number, frame, .. }, changed) in together.drain(..).zip(counts) {
            if swapped.send((number, frame, Some(changed))).is_err() {
                return Ok(clock); // the encoder has failed and says why
            }
        }
    }
    Ok(clock)
}
