//! What can go wrong with a clip, a slice or a chunk file, in words for whoever sent the clip.

use std::io;
use std::path::PathBuf;

use crate::error::{Classify, Kind};
use crate::frame::FrameIndex;

/// A failure of probing, slicing, decoding, encoding or joining.
///
/// What of it a clip's owner can meet, as `field: found (expected …)` with field `target`, before any work is spent:
///
/// | found | refused as |
/// |---|---|
/// | no file, no permission, a folder | [`Unreadable`](Self::Unreadable) |
/// | no bytes | [`Empty`](Self::Empty) |
/// | text, playlists and whatever else would reach out, unknown containers | [`NotVideo`](Self::NotVideo) |
/// | sound only, or a picture of a record's cover | [`NoVideoStream`](Self::NoVideoStream) |
/// | a file that was cut off, with its last good time | [`Truncated`](Self::Truncated), unless `tolerate_damage` |
/// | another size or pixel format further on, with the time | [`PictureChanged`](Self::PictureChanged) |
/// | width, height, pixels, frames, seconds or bytes beyond `[limits]` | [`OverLimit`](Self::OverLimit) |
/// | no decoder; nothing tells the pictures' size | [`UnsupportedCodec`](Self::UnsupportedCodec) |
/// | pixels that the encoder does not take | [`UnsupportedPixels`](Self::UnsupportedPixels) |
/// | no times and no frame rate; too many frames at one time | [`MissingTimes`](Self::MissingTimes), [`DuplicateTimes`](Self::DuplicateTimes) |
/// | no frame that is shown; none that is not trimmed | [`NoFrames`](Self::NoFrames), [`NothingKept`](Self::NothingKept) |
///
/// The job's own fields are refused by [`crate::contract::Job::validate`]; places outside the roots, links that lead out of them and
/// keys that are not plain by `store::LocationError`. Too many broken frames are found at work: see [`crate::contract::Damage`].
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The clip's file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },

    /// The clip's file has no bytes.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// The file's content is in no container that is accepted.
    #[error("{} is not a video file that can be read: {reason}", path.display())]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What FFmpeg found.
        reason: String,
    },

    /// The file is a picture by its first bytes, and cannot be read as one.
    #[error("{} is not a {format} picture that can be read: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// `png`, `jpeg`, …
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },

    /// There is a container, but no video in it.
    #[error("{} has no video stream (found {found})", path.display())]
    NoVideoStream {
        /// The file.
        path: PathBuf,
        /// The streams that are there, e.g. `audio (aac)`.
        found: String,
    },

    /// The container promises more than the file holds.
    #[error("{} is cut off: {detail}{}", path.display(), after(*last_good))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What is missing.
        detail: String,
        /// Seconds from the first frame to the last packet that is whole; `None` if nothing can be read.
        last_good: Option<f64>,
    },

    /// A frame without any time, in a clip that does not tell its frame rate either.
    #[error("packet {packet} of the video has no time, and the clip tells no frame rate")]
    MissingTimes {
        /// Counted in decode order.
        packet: u64,
    },

    /// More shown frames at one time than can be moved apart without losing the sound.
    #[error("too many frames are shown at {seconds:.3} s")]
    DuplicateTimes {
        /// Seconds from the clip's first frame.
        seconds: f64,
    },

    /// No frame at all is shown.
    #[error("{} shows no frame", path.display())]
    NoFrames {
        /// The file.
        path: PathBuf,
    },

    /// No frame lies between where the clip is to be trimmed.
    #[error("nothing is left of the clip's {frames} frames ({seconds:.3} s) between trim_start and trim_end")]
    NothingKept {
        /// All frames of the clip.
        frames: u64,
        /// From its first frame to its last.
        seconds: f64,
    },

    /// The clip is larger than this installation accepts.
    #[error("the clip's {what} is {found}")]
    OverLimit {
        /// `width`, `height`, `number of frames` or `length in seconds`.
        what: &'static str,
        /// What the clip has.
        found: u64,
        /// What is accepted.
        limit: u64,
    },

    /// There is no decoder for the video, or slices cannot carry it.
    #[error("video codec {codec} is not supported: {reason}")]
    UnsupportedCodec {
        /// FFmpeg's name of the codec.
        codec: String,
        /// What is missing.
        reason: &'static str,
    },

    /// The encoder does not take these pixels.
    #[error("{encoder} does not encode pixel format {pixel_format}")]
    UnsupportedPixels {
        /// FFmpeg's name of the encoder.
        encoder: String,
        /// FFmpeg's name of the pixel format.
        pixel_format: String,
        /// What it takes, by FFmpeg's names.
        accepted: String,
    },

    /// Nobody can look at these pixels.
    #[error("pixel format {pixel_format} cannot be looked at")]
    OpaquePixels {
        /// FFmpeg's name of the pixel format.
        pixel_format: String,
    },

    /// The file is not the one that was probed.
    #[error("{} does not match its plan: {detail}", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
        /// What differs.
        detail: String,
    },

    /// A packet cannot be decoded.
    #[error("cannot decode {} after {packets} packets: {reason}", path.display())]
    Decode {
        /// The slice.
        path: PathBuf,
        /// Packets given to the decoder before.
        packets: u64,
        /// What FFmpeg said.
        reason: String,
    },

    /// Size or pixel format changes inside the clip.
    #[error("the picture changes from {before} to {after}{}", at(*seconds))]
    PictureChanged {
        /// E.g. `640x360 yuv420p`.
        before: String,
        /// E.g. `480x360 yuv420p`.
        after: String,
        /// From the clip's first frame; `None` where only a part of it is known.
        seconds: Option<f64>,
    },

    /// This FFmpeg has no such encoder.
    #[error("encoder {name} is not built into this machine's ffmpeg")]
    EncoderMissing {
        /// FFmpeg's name.
        name: String,
    },

    /// The encoder refuses its settings or a picture.
    #[error("{encoder} cannot {action}: {reason}")]
    Encode {
        /// FFmpeg's name.
        encoder: String,
        /// `open with preset …`, `encode frame …`.
        action: String,
        /// What FFmpeg said.
        reason: String,
    },

    /// An encoder in hardware does not open: it is not there, or in use.
    #[error("{encoder} does not open: {reason}")]
    Hardware {
        /// FFmpeg's name.
        encoder: String,
        /// What FFmpeg said.
        reason: String,
    },

    /// The encoder does not make what the container can hold.
    #[error("{container} cannot hold what {encoder} makes")]
    EncoderAndContainer {
        /// FFmpeg's name.
        encoder: String,
        /// FFmpeg's name.
        container: String,
        /// The encoders whose video it holds.
        expected: String,
    },

    /// The encoder cannot be lossless.
    #[error("{encoder} cannot be lossless")]
    NotLossless {
        /// FFmpeg's name.
        encoder: String,
    },

    /// A chunk's file is not what the clip needs at this place.
    #[error("chunk {start}..{end} does not fit: {problem}")]
    Chunk {
        /// First frame of the chunk.
        start: FrameIndex,
        /// One past its last frame.
        end: FrameIndex,
        /// What is wrong.
        problem: ChunkProblem,
    },

    /// No container is known by this name.
    #[error("output container {name:?} is not supported")]
    Container {
        /// The extension that was asked for.
        name: String,
    },

    /// One of our own files (slice, chunk, output) cannot be read or written.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// `create`, `write`, `read`, `open`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What FFmpeg or the operating system said.
        reason: String,
    },

    /// FFmpeg takes what is to be written for wrong: times of a stream that go back, a stream of which nothing is known.
    #[error("cannot {action} the output: {reason}")]
    Unwritable {
        /// `create`, `write`, `copy a packet into`.
        action: &'static str,
        /// What FFmpeg said, and of which stream.
        reason: String,
    },

    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,

    /// A caller's own step failed in the middle (a slice's upload, a chunk's download).
    #[error("{source}")]
    Caller {
        /// As the caller's error classifies itself.
        kind: Kind,
        /// The caller's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a chunk's file cannot be joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkProblem {
    /// Its packets are too few or too many.
    #[error("{found} packets (expected {expected})")]
    Packets {
        /// In the file.
        found: u64,
        /// Frames of the chunk.
        expected: u64,
    },
    /// A packet's time is not that of a frame of this chunk, or comes twice.
    #[error("a frame at tick {pts} of the chunk (expected each frame's own time once)")]
    Times {
        /// Ticks from the chunk's first frame.
        pts: i64,
    },
    /// It cannot be decoded on its own.
    #[error("its first packet is no keyframe")]
    NotKey,
    /// Other SPS/PPS than the first chunk: one decoder cannot play both.
    #[error("its codec parameters differ from the first chunk's")]
    Parameters,
    /// Frames are reordered further than the join was told.
    #[error("its frames are reordered by {found} (expected at most {announced})")]
    Depth {
        /// What its packets need.
        found: u64,
        /// What the request said.
        announced: u32,
    },
    /// The chunks do not follow each other.
    #[error("it does not begin at frame {expected}, where the one before ends")]
    Gap {
        /// First frame that is missing.
        expected: FrameIndex,
    },
}

impl MediaError {
    /// What would have been accepted, where a clip, its output or its settings are at fault: [`crate::error::Refusal::expected`].
    pub fn expected(&self) -> String {
        let fixed = match self {
            Self::OverLimit { limit, .. } => return format!("at most {limit}"),
            Self::UnsupportedPixels { accepted, .. } => return format!("one of {accepted}"),
            Self::EncoderAndContainer { expected, .. } => return format!("one of {expected}"),
            Self::Container { .. } => super::container::NAMES,
            Self::Unreadable { .. } => "a file that can be read",
            Self::Picture { .. } => "a whole picture",
            Self::NoVideoStream { .. } => "a video stream",
            Self::Truncated { .. } => "the whole file, or tolerate_damage",
            Self::MissingTimes { .. } => "a frame rate, as mp4 and mkv have: remux the clip",
            Self::DuplicateTimes { .. } => "a time of its own for each frame: re-encode the clip",
            Self::NoFrames { .. } => "at least one",
            Self::NothingKept { .. } => "a place before trim_end and the clip's end",
            Self::UnsupportedCodec { .. } => "another codec: re-encode the clip",
            Self::OpaquePixels { .. } => "YUV or grey of 8 to 16 bits, or RGB, in this machine's memory",
            Self::SourceChanged { .. } => "the file that was probed",
            Self::PictureChanged { .. } => "one size and pixel format: cut the clip there, or re-encode it",
            Self::EncoderMissing { .. } | Self::Hardware { .. } => "an encoder that this machine has",
            Self::NotLossless { .. } => "crf 1..=51, or one of libx264, libx265, h264_nvenc, hevc_nvenc",
            Self::Unwritable { .. } => "streams whose packets have rising times and known parameters",
            Self::Empty { .. }
            | Self::NotVideo { .. }
            | Self::Decode { .. }
            | Self::Encode { .. }
            | Self::Chunk { .. }
            | Self::File { .. }
            | Self::Cancelled
            | Self::Caller { .. } => "a video or picture that can be read to its end",
        };
        fixed.to_owned()
    }

    /// A failure to write `path`: the content's own fault where FFmpeg calls it invalid, else this machine's.
    pub(super) fn writing(
        action: &'static str,
        path: &std::path::Path,
        stream: &str,
        error: ffmpeg_next::Error,
    ) -> Self {
        use ffmpeg_next::Error;
        let reason = format!("{stream}{}", error.to_string().to_lowercase());
        match error {
            Error::Other { errno: libc::EINVAL | libc::ENOSYS | libc::ERANGE }
            | Error::InvalidData
            | Error::PatchWelcome => Self::Unwritable { action, reason },
            _ => Self::File { action, path: path.to_owned(), reason },
        }
    }

    /// Wraps an error of the caller's own, so that it can pass through a callback.
    pub fn caller<E: std::error::Error + Classify + Send + Sync + 'static>(error: E) -> Self {
        Self::Caller { kind: error.kind(), source: Box::new(error) }
    }
}

impl Classify for MediaError {
    fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::EncoderMissing { .. } | Self::Hardware { .. } => Kind::Fatal,
            Self::Cancelled => Kind::Retry,
            Self::Caller { kind, .. } => *kind,
            _ => Kind::Poison,
        }
    }
}

fn at(seconds: Option<f64>) -> String {
    seconds.map(|seconds| format!(" at {seconds:.3} s")).unwrap_or_default()
}

fn after(last_good: Option<f64>) -> String {
    last_good.map(|seconds| format!("; the last whole packet is {seconds:.3} s into it")).unwrap_or_default()
}
