//! Audio, subtitles, chapters and metadata: copied from the source as they are, packet by packet.

use std::path::{Path, PathBuf};
use std::ptr;

use ffmpeg::format::context::{Input, Output};
use ffmpeg::format::stream::Disposition;
use ffmpeg::packet::Mut as _;
use ffmpeg::{Packet, Stream, codec, ffi, media};
use ffmpeg_next as ffmpeg;

use super::container::Container;
use super::error::MediaError;
use super::input;

/// A time with its time base, compared and moved between time bases exactly as FFmpeg does it.
#[derive(Clone, Copy)]
pub(super) struct Time {
    pub ticks: i64,
    pub base: ffmpeg::Rational,
}

impl Time {
    pub(super) fn is_before(self, other: Self) -> bool {
        // SAFETY: pure arithmetic.
        unsafe { ffi::av_compare_ts(self.ticks, self.base.into(), other.ticks, other.base.into()) < 0 }
    }

    pub(super) fn in_base(self, base: ffmpeg::Rational) -> i64 {
        // SAFETY: pure arithmetic.
        unsafe { ffi::av_rescale_q(self.ticks, self.base.into(), base.into()) }
    }
}

/// What becomes of a source's stream.
enum Fate {
    /// The video: its place in the output is kept for the joined chunks.
    Video,
    Copied,
    LeftOut(String),
}

/// The streams of the source beside its video, read in the file's order.
pub(super) struct OtherStreams {
    input: Input,
    path: PathBuf,
    fates: Vec<Fate>,
    /// Index in the output of each copied stream of the source.
    targets: Vec<Option<usize>>,
    /// Read, but not due yet.
    next: Option<Packet>,
    /// Subtracted from every time in the output.
    pub shift: Time,
    /// Packets that begin here or later stay behind.
    end: Option<Time>,
}

/// Names the streams of `source` that cannot be taken into an output of this kind, each with its reason.
///
/// # Errors
/// As [`super::probe()`] for a file that cannot be opened.
pub fn streams_left_out(source: &Path, video: usize, container: Container) -> Result<Vec<String>, MediaError> {
    let input = input::open_clip(source)?;
    Ok(left_out(&fates(&input, video, container)))
}

fn left_out(fates: &[Fate]) -> Vec<String> {
    let reasons = fates.iter().filter_map(|fate| match fate {
        Fate::LeftOut(reason) => Some(reason.clone()),
        _ => None,
    });
    reasons.collect()
}

fn fates(input: &Input, video: usize, container: Container) -> Vec<Fate> {
    input.streams().map(|stream| if stream.index() == video { Fate::Video } else { fate(&stream, container) }).collect()
}

fn fate(stream: &Stream<'_>, container: Container) -> Fate {
    let parameters = stream.parameters();
    let (medium, codec) = (parameters.medium(), parameters.id());
    let leave = |why: &str| {
        let medium = format!("{medium:?}").to_lowercase();
        Fate::LeftOut(format!("stream {} ({medium}, {}): {why}", stream.index(), codec.name()))
    };
    if stream.disposition().contains(Disposition::ATTACHED_PIC) {
        return leave("cover art is not copied");
    }
    if !matches!(medium, media::Type::Audio | media::Type::Subtitle) {
        return leave("only audio and subtitles are copied");
    }
    let muxer = std::ffi::CString::new(container.muxer()).expect("muxer names have no zero byte");
    // SAFETY: the format is a constant of FFmpeg's.
    let fits = unsafe {
        let format = ffi::av_guess_format(muxer.as_ptr(), ptr::null(), ptr::null());
        ffi::avformat_query_codec(format, codec.into(), ffi::FF_COMPLIANCE_NORMAL) == 1
    };
    if fits { Fate::Copied } else { leave(&format!("{} cannot hold it", container.muxer())) }
}

impl OtherStreams {
    /// Opens the source. `end`: see [`super::JoinRequest::trim_to_last_frame`].
    pub(super) fn open(
        source: &Path,
        video: usize,
        first_frame: Time,
        container: Container,
        end: Option<Time>,
    ) -> Result<Self, MediaError> {
        let input = input::open_clip(source)?;
        let fates = fates(&input, video, container);
        if !matches!(fates.get(video), Some(Fate::Video)) {
            let detail = format!("it has no stream {video}");
            return Err(MediaError::SourceChanged { path: source.to_owned(), detail });
        }
        let shift = shift(&input, &fates, first_frame);
        let targets = vec![None; fates.len()];
        Ok(Self { input, path: source.to_owned(), fates, targets, next: None, shift, end })
    }

    /// Adds the output's streams in the source's order; `add_video` adds the joined one. Returns its index.
    pub(super) fn add_to(
        &mut self,
        output: &mut Output,
        add_video: impl FnOnce(&mut Output, &Stream<'_>) -> Result<(), ffmpeg::Error>,
    ) -> Result<usize, ffmpeg::Error> {
        let mut add_video = Some(add_video);
        let mut video = 0;
        for (index, fate) in self.fates.iter().enumerate() {
            let source = self.input.stream(index).expect("there is a fate for each stream");
            let target = output.nb_streams() as usize;
            match fate {
                Fate::LeftOut(_) => continue,
                Fate::Video => {
                    video = target;
                    let add = add_video.take().expect("a source has one chosen video stream");
                    add(output, &source)?;
                }
                Fate::Copied => {
                    self.targets[index] = Some(target);
                    add_copy(output, &source)?;
                }
            }
        }
        copy_container_facts(&self.input, output, self.shift, self.end);
        let copied: Vec<bool> = self.fates.iter().map(|fate| matches!(fate, Fate::Copied)).collect();
        input::read_only(&mut self.input, |index| copied[index]);
        Ok(video)
    }

    /// Movie ticks per second in which the start of each stream is a whole number, at most `most`.
    pub(super) fn common_timescale(&self, video: u32, most: u32) -> u32 {
        let copied = self.fates.iter().enumerate().filter(|(_, fate)| matches!(fate, Fate::Copied));
        let bases = copied.filter_map(|(index, _)| self.input.stream(index)).map(|stream| stream.time_base());
        bases.fold(video, |common, base| {
            let den = u32::try_from(base.denominator()).unwrap_or(1).max(1);
            match lcm(common, den) {
                Some(both) if both <= most => both,
                _ => common,
            }
        })
    }

    /// Writes every packet that begins before `until`; all that are left if `None`.
    pub(super) fn write_until(&mut self, output: &mut Output, until: Option<Time>) -> Result<(), MediaError> {
        if self.copied() == 0 {
            return Ok(());
        }
        loop {
            let packet = match self.next.take() {
                Some(packet) => packet,
                None => match input::next_packet(&mut self.input) {
                    Ok(Some(packet)) => packet,
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        let reason = error.to_string().to_lowercase();
                        return Err(MediaError::File { action: "read", path: self.path.clone(), reason });
                    }
                },
            };
            let index = packet.stream();
            let Some(target) = self.targets.get(index).copied().flatten() else { continue };
            let base = self.input.stream(index).expect("it has a target").time_base();
            let begins = packet.dts().or(packet.pts()).map(|ticks| Time { ticks, base });
            let is_due = match (begins, until) {
                (Some(begins), Some(until)) => begins.is_before(until),
                _ => true,
            };
            if !is_due {
                self.next = Some(packet);
                return Ok(());
            }
            let is_past_end = match (begins, self.end) {
                (Some(begins), Some(end)) => !begins.is_before(end),
                _ => false,
            };
            if !is_past_end {
                write(output, packet, target, base, self.shift).map_err(|error| {
                    MediaError::writing("copy a packet into", &self.path, &format!("stream {index}: "), error)
                })?;
            }
        }
    }

    /// How many streams are copied.
    pub(super) fn copied(&self) -> usize {
        self.fates.iter().filter(|fate| matches!(fate, Fate::Copied)).count()
    }

    /// The streams that are not, each with its reason.
    pub(super) fn left_out(&self) -> Vec<String> {
        left_out(&self.fates)
    }
}

/// Writes a packet whose times are in `base`.
pub(super) fn write(
    output: &mut Output,
    mut packet: Packet,
    target: usize,
    base: ffmpeg::Rational,
    shift: Time,
) -> Result<(), ffmpeg::Error> {
    let target_base = output.stream(target).expect("it was added").time_base();
    let shift = shift.in_base(base);
    packet.set_pts(packet.pts().map(|ticks| ticks - shift));
    packet.set_dts(packet.dts().map(|ticks| ticks - shift));
    packet.rescale_ts(base, target_base);
    packet.set_stream(target);
    packet.set_position(-1);
    // SAFETY: both belong to us; the muxer takes a reference of its own. Packets come in the order of their times, so
    // the muxer need not (and does not) hold them back to sort them.
    let code = unsafe { ffi::av_write_frame(output.as_mut_ptr(), packet.as_mut_ptr()) };
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(()) }
}

/// Broadcasts begin at any time of their clock; players of files wait for it. Their output begins at 0.
fn shift(input: &Input, fates: &[Fate], first_frame: Time) -> Time {
    if !input.format().name().starts_with("mpeg") {
        return Time { ticks: 0, base: first_frame.base };
    }
    let copied = input.streams().zip(fates).filter(|(_, fate)| matches!(fate, Fate::Copied));
    copied
        .filter(|(stream, _)| stream.start_time() != ffi::AV_NOPTS_VALUE)
        .map(|(stream, _)| Time { ticks: stream.start_time(), base: stream.time_base() })
        .fold(first_frame, |first, other| if other.is_before(first) { other } else { first })
}

fn add_copy(output: &mut Output, source: &Stream<'_>) -> Result<(), ffmpeg::Error> {
    let mut stream = output.add_stream(ffmpeg::encoder::find(codec::Id::None))?;
    stream.set_parameters(source.parameters());
    stream.set_time_base(source.time_base());
    // SAFETY: both streams are valid; each container has its own tags for codecs.
    unsafe {
        let target = stream.as_mut_ptr();
        (*(*target).codecpar).codec_tag = 0;
        copy_stream_facts(target, source.as_ptr());
    }
    Ok(())
}

/// Copies disposition and metadata (language, title, handler).
///
/// # Safety
/// Both must be valid.
pub(super) unsafe fn copy_stream_facts(target: *mut ffi::AVStream, source: *const ffi::AVStream) {
    // SAFETY: valid by contract.
    unsafe {
        (*target).disposition = (*source).disposition;
        copy_metadata(&mut (*target).metadata, (*source).metadata);
    }
}

fn copy_container_facts(input: &Input, output: &mut Output, shift: Time, end: Option<Time>) {
    // SAFETY: both contexts are valid and ours.
    unsafe { copy_metadata(&mut (*output.as_mut_ptr()).metadata, (*input.as_ptr()).metadata) };
    for chapter in input.chapters() {
        let base = chapter.time_base();
        let (start, mut stop) = (chapter.start(), chapter.end());
        if let Some(end) = end {
            if !(Time { ticks: start, base }).is_before(end) {
                continue;
            }
            stop = stop.min(end.in_base(base));
        }
        let shift = shift.in_base(base);
        // A chapter that cannot be added is no reason to lose the clip.
        if output.add_chapter(chapter.id(), base, start - shift, stop - shift, "").is_ok() {
            // SAFETY: the chapter was just added last; its metadata is replaced by a copy of the source's.
            unsafe {
                let context = output.as_mut_ptr();
                let added = *(*context).chapters.add((*context).nb_chapters as usize - 1);
                ffi::av_dict_free(&mut (*added).metadata);
                copy_metadata(&mut (*added).metadata, (*chapter.as_ptr()).metadata);
            }
        }
    }
}

/// Copies all but what the writer of the source's container said about itself. Byte by byte: not all of it is UTF-8.
///
/// # Safety
/// Both must be dictionaries, or null.
unsafe fn copy_metadata(target: &mut *mut ffi::AVDictionary, source: *const ffi::AVDictionary) {
    const OWN: [&std::ffi::CStr; 6] =
        [c"major_brand", c"minor_version", c"compatible_brands", c"encoder", c"DURATION", c"BPS"];
    // SAFETY: valid by contract; keys are constants.
    unsafe {
        ffi::av_dict_copy(target, source, 0);
        for key in OWN {
            ffi::av_dict_set(target, key.as_ptr(), ptr::null(), 0);
        }
    }
}

fn lcm(a: u32, b: u32) -> Option<u32> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x.max(1)).checked_mul(b)
}
