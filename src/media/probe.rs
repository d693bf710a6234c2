//! Reads a clip through once, without decoding, and says everything that planning and cutting need, or refuses it.
//!
//! Every refusal that a clip can earn happens here, before work is spent on it.

use std::ffi::CStr;
use std::path::Path;

use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::packet::side_data;
use ffmpeg::{ffi, media};
use ffmpeg_next as ffmpeg;

use super::clock::VideoClock;
use super::error::MediaError;
use super::picture_watch::PictureWatch;
use super::properties::{Appearance, Orientation, PictureProperties};
use super::{hdr, input, missing, nut, pictures, times};
use crate::contract::{Clip, Keep, PacketInfo, Ratio};
use crate::frame::Turn;

/// The furthest time that a packet may have, either way: so far from the ends of `i64` that sums and differences stay within, and further
/// than today in nanoseconds since 1970.
pub(super) const TICKS_MAX: u64 = 1 << 61;

/// How large a clip may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels. Default 8192: 8K, and what H.264 level 6.2 allows in one direction.
    pub max_width: u32,
    /// Pixels. Default 8192.
    pub max_height: u32,
    /// Width times height. Default 8192 x 4320: a lane takes about 150 MB, and 0.11 MB for each thousand pixels, so 4 GB for these.
    pub max_pixels: u64,
    /// Shown frames. Default 2,000,000: nine hours at 60 frames/s; the probe keeps 24 bytes for each.
    pub max_frames: u64,
    /// Seconds. Default 43,200: twelve hours.
    pub max_seconds: u64,
    /// Bytes of the file. Default: none.
    pub max_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_width: 8192,
            max_height: 8192,
            max_pixels: 8192 * 4320,
            max_frames: 2_000_000,
            max_seconds: 12 * 3600,
            max_bytes: None,
        }
    }
}

impl Limits {
    /// For a clip that was judged when it was probed, by limits that may be larger than the defaults.
    pub(super) fn of_judged(clip: &Clip) -> Self {
        let usual = Self::default();
        Self {
            max_width: usual.max_width.max(clip.width).max(clip.height),
            max_height: usual.max_height.max(clip.width).max(clip.height),
            max_pixels: usual.max_pixels.max(u64::from(clip.width) * u64::from(clip.height)),
            max_frames: u64::MAX,
            max_seconds: u64::MAX,
            max_bytes: None,
        }
    }
}

/// What a clip is.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The video stream and the time of its frames.
    pub clip: Clip,
    /// What it says about its pictures.
    pub appearance: Appearance,
    /// Every packet of the video stream, in decode order, also of frames that are not kept.
    pub packets: Vec<PacketInfo>,
    /// What the clip's owner should know: streams that stay behind, damaged packets.
    pub warnings: Vec<String>,
}

/// Reads the clip at `path`. Only the frames of `keep` are kept in [`Clip::pts`].
///
/// # Errors
/// Each says what was found and what is expected: [`MediaError::Unreadable`], [`Empty`](MediaError::Empty),
/// [`NotVideo`](MediaError::NotVideo), [`NoVideoStream`](MediaError::NoVideoStream),
/// [`Truncated`](MediaError::Truncated), [`MissingTimes`](MediaError::MissingTimes),
/// [`DuplicateTimes`](MediaError::DuplicateTimes), [`NoFrames`](MediaError::NoFrames),
/// [`NothingKept`](MediaError::NothingKept),
/// [`OverLimit`](MediaError::OverLimit), [`UnsupportedCodec`](MediaError::UnsupportedCodec),
/// [`PictureChanged`](MediaError::PictureChanged).
pub fn probe(path: &Path, keep: &Keep, limits: &Limits) -> Result<Probe, MediaError> {
    look(path, keep, limits, false)
}

/// As [`probe`], but a file that was cut off is taken: its last whole frame stands in for those that are missing, as far as its
/// container tells of them.
///
/// # Errors
/// As [`probe`]; [`Truncated`](MediaError::Truncated) only where nothing can be read, since the container's index is missing.
pub fn probe_tolerant(path: &Path, keep: &Keep, limits: &Limits) -> Result<Probe, MediaError> {
    look(path, keep, limits, true)
}

fn look(path: &Path, keep: &Keep, limits: &Limits, tolerant: bool) -> Result<Probe, MediaError> {
    if let Some(limit) = limits.max_bytes {
        let length = path.metadata().map_err(|source| MediaError::Unreadable { path: path.to_owned(), source })?.len();
        over_limit("size in bytes", length, limit)?;
    }
    if let Some(picture) = pictures::probe(path, keep, limits)? {
        return Ok(picture);
    }
    let mut input = input::open_clip(path)?;
    let stream = VideoStream::choose(&input, path)?;
    stream.check(limits)?;
    let mut warnings = stream.warnings(&input);

    input::read_only(&mut input, |index| index == stream.index);
    let mut read = read_packets(&mut input, &stream, limits)?;
    let missing = match read.ended_by.take() {
        Some(error) => Some(format!("its packets end with {}", input::reason(error))),
        None => missing::end(&input, stream.index, path)?,
    };
    let truncated = missing.is_some();
    if let Some(detail) = missing {
        let last_good = seconds_into(&read, stream.time_base);
        if !tolerant {
            return Err(MediaError::Truncated { path: path.to_owned(), detail, last_good });
        }
        read.damaged -= (read.packets.len() - read.whole) as u64; // they are left out, and all of them are
        read.packets.truncate(read.whole);
        read.last_shown_duration = 0;
        let end =
            last_good.map(|seconds| format!("; its last whole frame is shown at {seconds:.3} s")).unwrap_or_default();
        warnings.push(format!("the file is cut off: {detail}{end}"));
    }
    let restarts = std::mem::take(&mut read.restarts);
    let is_timed = read.is_timed();
    let mut packet_pts = match is_timed {
        true if restarts.is_empty() => Vec::new(),
        true => {
            warnings.push(format!("the clip's clock starts anew ({} times); its times go on", restarts.len()));
            read.packets.iter().map(|packet| packet.pts).collect()
        }
        false => {
            let count = read.packets.len();
            let made = times::made_anew(path, stream.index, stream.time_base, stream.average_rate, count)?;
            if made.len() != read.packets.len() {
                let detail = format!("{} video packets, then {}", read.packets.len(), made.len());
                return Err(MediaError::SourceChanged { path: path.to_owned(), detail });
            }
            read.packets.iter_mut().zip(&made).for_each(|(packet, pts)| packet.pts = *pts);
            read.last_shown_duration = 0;
            let what = if read.untimed { "has frames without a time" } else { "shows frames at the same time" };
            warnings.push(format!("the video {what}; they are shown in their order, one after the other"));
            made
        }
    };
    let lost_from = read.packets.len() as u64;
    if truncated {
        let shown: Vec<i64> = read.shown().collect();
        let rest = missing::Rest {
            path,
            stream: stream.index,
            packets: &read.packets,
            is_timed,
            time_base: stream.time_base,
            frame_rate: stream.frame_rate(&shown, stream.seconds(&shown)),
            max_frames: limits.max_frames,
        };
        let lost = rest.lost_packets(&input)?;
        read.packets.extend(lost);
    }
    let is_held = read.packets.len() as u64 > lost_from;
    if is_held {
        packet_pts = read.packets.iter().map(|packet| packet.pts).collect();
        let frames = read.packets[lost_from as usize..].iter().filter(|packet| !packet.hidden).count();
        warnings
            .push(format!("{frames} frames are missing at the file's end; the last whole one is shown in their place"));
    }
    if read.damaged > 0 {
        warnings.push(format!(
            "packets of the video that are marked as damaged: {}; what can be decoded of them is shown",
            read.damaged
        ));
    }

    let mut shown: Vec<i64> = read.shown().collect();
    shown.sort_unstable();
    if shown.is_empty() {
        return Err(MediaError::NoFrames { path: path.to_owned() });
    }
    let seconds = stream.seconds(&shown);
    over_limit("number of frames", shown.len() as u64, limits.max_frames)?;
    over_limit("length in seconds", seconds.ceil() as u64, limits.max_seconds)?;

    let frame_rate = stream.frame_rate(&shown, seconds);
    let kept = keep.of(&shown, stream.time_base.num, stream.time_base.den);
    if kept.is_empty() {
        return Err(MediaError::NothingKept { frames: shown.len() as u64, seconds });
    }
    let last = kept.end - 1;
    let last_duration = match shown.get(kept.end) {
        Some(next) => next - shown[last],
        // What a file that was cut off says of its end is not so.
        None => stream.last_duration(shown[last], read.last_shown_duration, frame_rate, !truncated || is_held),
    };
    let is_cut_before_end = kept.end < shown.len();
    let mut pts = shown;
    pts.truncate(kept.end);
    pts.drain(..kept.start);
    let source = input.stream(stream.index).expect("the stream was found in this input");
    // SAFETY: the stream lives as long as `input`.
    let properties = unsafe { PictureProperties::of_stream(source.as_ptr()) };
    let orientation = orientation(&source);
    let clip = Clip {
        format: input.format().name().to_owned(),
        stream: stream.index,
        codec: stream.codec,
        width: stream.width,
        height: stream.height,
        pixel_format: stream.pixel_format,
        time_base: stream.time_base,
        frame_rate,
        pts,
        last_duration,
        packet_pts,
        restarts,
        hdr: hdr::of_clip(path, stream.index)?,
        hidden: (0..).zip(&read.packets).filter(|(_, packet)| packet.hidden).map(|(number, _)| number).collect(),
        truncated: truncated && !(keep.has_end() && is_cut_before_end),
        lost_from: is_held.then_some(lost_from),
        turn: Turn::nearest(orientation.rotation),
        mirrored: orientation.mirrored,
        stills: Vec::new(),
    };
    let appearance = properties.in_words(orientation);
    Ok(Probe { clip, appearance, packets: read.packets, warnings })
}

/// What the container says about the video stream.
struct VideoStream {
    index: usize,
    codec: String,
    codec_id: ffmpeg::codec::Id,
    width: u32,
    height: u32,
    pixel_format: String,
    time_base: Ratio,
    average_rate: Ratio,
    /// Slices can hold its packets.
    is_carried: bool,
    /// One past the last tick, if the container says so for this very stream.
    end: Option<i64>,
}

impl VideoStream {
    fn choose(input: &Input, path: &Path) -> Result<Self, MediaError> {
        // A song's cover art is a video stream too, by FFmpeg's count.
        let best = input.streams().best(media::Type::Video);
        let Some(stream) = best.filter(|stream| !stream.disposition().contains(Disposition::ATTACHED_PIC)) else {
            return Err(MediaError::NoVideoStream { path: path.to_owned(), found: list_streams(input) });
        };
        let parameters = stream.parameters();
        // SAFETY: the parameters live as long as `input`; the name is a constant of FFmpeg's, or null.
        let (width, height, pixel_format) = unsafe {
            let parameters = &*parameters.as_ptr();
            let name = pixel_format_name(parameters.format);
            (parameters.width, parameters.height, name)
        };
        let time_base = ratio(stream.time_base());
        let average_rate = [stream.avg_frame_rate(), stream.rate()]
            .into_iter()
            .map(ratio)
            .find(|rate| rate.num > 0 && rate.den > 0)
            .unwrap_or(Ratio { num: 0, den: 1 });
        let is_mp4 = input.format().name().contains("mp4");
        let knows_its_end = is_mp4 && stream.duration() > 0 && stream.start_time() != ffi::AV_NOPTS_VALUE;
        Ok(Self {
            index: stream.index(),
            codec: parameters.id().name().to_owned(),
            codec_id: parameters.id(),
            is_carried: nut::tag(&parameters).is_some(),
            width: u32::try_from(width).unwrap_or(0),
            height: u32::try_from(height).unwrap_or(0),
            pixel_format,
            time_base,
            average_rate,
            end: knows_its_end.then(|| stream.start_time().saturating_add(stream.duration())),
        })
    }

    fn check(&self, limits: &Limits) -> Result<(), MediaError> {
        over_limit("width", self.width.into(), limits.max_width.into())?;
        over_limit("height", self.height.into(), limits.max_height.into())?;
        over_limit("number of pixels", u64::from(self.width) * u64::from(self.height), limits.max_pixels)?;
        let unsupported = |reason| Err(MediaError::UnsupportedCodec { codec: self.codec.clone(), reason });
        if ffmpeg::decoder::find(self.codec_id).is_none() {
            return unsupported("this machine's ffmpeg has no decoder for it");
        }
        if self.width == 0 || self.height == 0 || self.pixel_format.is_empty() {
            return unsupported("neither the container nor its first packets tell the size and format of the pictures");
        }
        if !self.is_carried {
            return unsupported("slices (NUT) cannot carry it");
        }
        Ok(())
    }

    fn warnings(&self, input: &Input) -> Vec<String> {
        let mut warnings = Vec::new();
        for other in input.streams().filter(|other| other.index() != self.index) {
            let cover = other.disposition().contains(Disposition::ATTACHED_PIC);
            if other.parameters().medium() == media::Type::Video && !cover {
                warnings.push(format!("stream {} is a second video and is left out", other.index()));
            }
        }
        if self.pixel_format.starts_with("yuv") && (self.width % 2 == 1 || self.height % 2 == 1) {
            warnings.push(format!(
                "the picture of {}x{} pixels has an odd side; where the encoder needs even ones, its edge is repeated",
                self.width, self.height
            ));
        }
        warnings
    }

    /// From the first to the last of these times.
    fn seconds(&self, shown: &[i64]) -> f64 {
        let (first, last) = (shown.iter().min(), shown.iter().max());
        let ticks = last.unwrap_or(&0) - first.unwrap_or(&0);
        ticks as f64 * f64::from(self.time_base.num) / f64::from(self.time_base.den)
    }

    /// As the container says, or as the frames' times show.
    fn frame_rate(&self, shown: &[i64], seconds: f64) -> Ratio {
        if self.average_rate.num > 0 {
            return self.average_rate;
        }
        if shown.len() < 2 || seconds <= 0.0 {
            return Ratio { num: 0, den: 1 };
        }
        let rate = (shown.len() - 1) as f64 / seconds;
        Ratio { num: (rate * 1000.0).round().max(1.0) as i32, den: 1000 }
    }

    fn last_duration(&self, last_pts: i64, packet_duration: i64, frame_rate: Ratio, has_end: bool) -> i64 {
        let until_end =
            self.end.filter(|_| has_end).map(|end| end.saturating_sub(last_pts)).filter(|&duration| duration > 0);
        let from_packet = Some(packet_duration).filter(|&duration| duration > 0);
        let from_rate = || {
            let ticks = i64::from(self.time_base.den) * i64::from(frame_rate.den);
            let per_frame = i64::from(self.time_base.num) * i64::from(frame_rate.num);
            if per_frame > 0 { (ticks / per_frame).max(1) } else { 1 }
        };
        until_end.or(from_packet).unwrap_or_else(from_rate).min(TICKS_MAX as i64)
    }
}

/// The packets of the video stream.
struct ReadPackets {
    packets: Vec<PacketInfo>,
    /// Of the shown frame with the latest time; 0 if the container does not say.
    last_shown_duration: i64,
    /// Time of the last packet that is whole.
    last_good: Option<i64>,
    damaged: u64,
    /// Packets without a time are among them.
    untimed: bool,
    /// How many there are up to the last that is whole.
    whole: usize,
    /// See [`Clip::restarts`].
    restarts: Vec<i64>,
    /// What the demuxer gave up with; none at the file's end.
    ended_by: Option<ffmpeg::Error>,
}

impl ReadPackets {
    /// Whether every shown frame has a time of its own.
    fn is_timed(&self) -> bool {
        let mut shown: Vec<i64> = self.shown().collect();
        shown.sort_unstable();
        !self.untimed && shown.is_sorted_by(|a, b| a < b)
    }

    /// From the first shown frame to `pts`.
    fn seconds_to(&self, pts: i64, time_base: Ratio) -> Option<f64> {
        let ticks = pts.saturating_sub(self.shown().min()?) as f64;
        Some(ticks * f64::from(time_base.num) / f64::from(time_base.den))
    }

    /// The times of shown frames, in decode order.
    fn shown(&self) -> impl Iterator<Item = i64> {
        self.packets.iter().filter(|packet| !packet.hidden).map(|packet| packet.pts)
    }
}

fn read_packets(input: &mut Input, stream: &VideoStream, limits: &Limits) -> Result<ReadPackets, MediaError> {
    let mut read = ReadPackets {
        packets: Vec::new(),
        last_shown_duration: 0,
        last_good: None,
        damaged: 0,
        untimed: false,
        whole: 0,
        restarts: Vec::new(),
        ended_by: None,
    };
    let mut last_shown = i64::MIN;
    let parameters = || input.stream(stream.index).expect("the stream was found in this input").parameters();
    let mut pictures = PictureWatch::new(parameters());
    let mut refresh = times::Refresh::of(parameters());
    let mut clock = VideoClock::of(input, f64::from(stream.time_base.num) / f64::from(stream.time_base.den));
    loop {
        let packet = match input::next_packet(input) {
            Ok(Some(packet)) if packet.stream() == stream.index => packet,
            Ok(Some(_)) => continue,
            ended => {
                read.ended_by = ended.err();
                read.restarts = clock.into_restarts();
                return Ok(read);
            }
        };
        for time in [packet.pts(), packet.dts()].into_iter().flatten() {
            over_limit("time in ticks", time.unsigned_abs(), TICKS_MAX)?;
        }
        read.untimed |= packet.pts().is_none();
        let pts = packet.pts().unwrap_or_default() + clock.shift(&packet);
        let hidden = input::is_hidden(&packet);
        let gradual = refresh.is_gradual(&packet);
        read.packets.push(PacketInfo { pts, key: packet.is_key(), gradual, hidden });
        if packet.is_corrupt() {
            read.damaged += 1;
        } else {
            read.last_good = read.last_good.max(Some(pts));
            read.whole = read.packets.len();
            if let Some((before, after)) = pictures.change(&packet) {
                let seconds = packet.pts().and_then(|_| read.seconds_to(pts, stream.time_base));
                return Err(MediaError::PictureChanged {
                    before: before.to_string(),
                    after: after.to_string(),
                    seconds,
                });
            }
        }
        if !hidden && pts > last_shown {
            last_shown = pts;
            read.last_shown_duration = packet.duration();
        }
        // Twice: hidden packets count too, but a file that never ends must not fill the memory.
        over_limit("number of frames", read.packets.len() as u64 / 2, limits.max_frames)?;
    }
}

fn seconds_into(read: &ReadPackets, time_base: Ratio) -> Option<f64> {
    read.seconds_to(read.last_good?, time_base)
}

pub(super) fn over_limit(what: &'static str, found: u64, limit: u64) -> Result<(), MediaError> {
    if found > limit { Err(MediaError::OverLimit { what, found, limit }) } else { Ok(()) }
}

fn list_streams(input: &Input) -> String {
    let streams: Vec<String> = input
        .streams()
        .map(|stream| {
            let parameters = stream.parameters();
            format!("{:?} ({})", parameters.medium(), parameters.id().name()).to_lowercase()
        })
        .collect();
    if streams.is_empty() { "no stream at all".to_owned() } else { streams.join(", ") }
}

/// FFmpeg's name; empty if the number means nothing.
pub(super) fn pixel_format_name(format: std::ffi::c_int) -> String {
    // SAFETY: the descriptor list is constant; formats are walked by FFmpeg itself, so no unknown number becomes an
    // enum.
    unsafe {
        let mut descriptor = ffi::av_pix_fmt_desc_next(std::ptr::null());
        while let Some(found) = descriptor.as_ref() {
            if ffi::av_pix_fmt_desc_get_id(descriptor) as std::ffi::c_int == format {
                return CStr::from_ptr(found.name).to_string_lossy().into_owned();
            }
            descriptor = ffi::av_pix_fmt_desc_next(descriptor);
        }
    }
    String::new()
}

/// As its display matrix says.
fn orientation(stream: &ffmpeg::Stream<'_>) -> Orientation {
    let matrix = stream.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    let numbers = matrix.and_then(|matrix| {
        let (numbers, _) = matrix.data().as_chunks::<4>();
        <[i32; 9]>::try_from(numbers.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect::<Vec<_>>()).ok()
    });
    numbers.map(|numbers| Orientation::of_matrix(&numbers)).unwrap_or_default()
}

fn ratio(value: ffmpeg::Rational) -> Ratio {
    Ratio { num: value.numerator(), den: value.denominator() }
}
