//! Audio, subtitles, chapters and metadata: copied from the source as they are, packet by packet, where the output's
//! container can hold them.

use std::path::{Path, PathBuf};
use std::ptr;

use ffmpeg::format::context::{Input, Output};
use ffmpeg::packet::Mut as _;
use ffmpeg::{Packet, Stream, codec, ffi, media};
use ffmpeg_next as ffmpeg;

use super::clock::OtherClocks;
use super::container::Container;
use super::convert::Converter;
use super::error::MediaError;
use super::fates::{Fate, OtherStream, fates, is_cover, others};
use super::input;
use crate::contract::Clip;

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

/// The part of the source that the output shows.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Becomes the output's time 0; what ends before stays behind.
    pub start: Option<Time>,
    /// What begins here or later stays behind.
    pub end: Option<Time>,
}

/// The streams of the source beside its video, read in the file's order.
pub(super) struct OtherStreams {
    input: Input,
    path: PathBuf,
    fates: Vec<Fate>,
    /// Index in the output of each stream of the source whose packets go there.
    targets: Vec<Option<usize>>,
    /// For each stream of the source that is converted.
    converters: Vec<Option<Converter>>,
    clocks: OtherClocks,
    /// Read, but not due yet.
    next: Option<Packet>,
    /// Subtracted from every time in the output.
    pub shift: Time,
    part: Part,
    /// Why no more of them could be read than was; none if they end where the file does.
    broken: Option<String>,
}

impl OtherStreams {
    /// Opens the source. `part`: see [`super::JoinRequest`].
    pub(super) fn open(
        source: &Path,
        clip: &Clip,
        video: usize,
        first_frame: Time,
        container: Container,
        part: Part,
    ) -> Result<Self, MediaError> {
        let input = input::open_clip(source)?;
        let fates = fates(&input, video, container);
        if !matches!(fates.get(video), Some(Fate::Video)) {
            let detail = format!("it has no stream {video}");
            return Err(MediaError::SourceChanged { path: source.to_owned(), detail });
        }
        let shift = part.start.unwrap_or_else(|| shift(&input, &fates, first_frame));
        let mut converters = Vec::new();
        for (stream, fate) in input.streams().zip(&fates) {
            let converter = match fate {
                Fate::Converted(to) => Some(Converter::open(&stream, *to).map_err(|error| {
                    let reason = format!("stream {}: {}", stream.index(), error.to_string().to_lowercase());
                    MediaError::Unwritable { action: "convert a stream for", reason }
                })?),
                _ => None,
            };
            converters.push(converter);
        }
        let targets = vec![None; fates.len()];
        let clocks = OtherClocks::new(&clip.restarts, first_frame.base, fates.len());
        let path = source.to_owned();
        Ok(Self { input, path, fates, targets, converters, clocks, next: None, shift, part, broken: None })
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
                Fate::LeftOut(_) | Fate::Chapters => continue,
                Fate::Video => {
                    video = target;
                    let add = add_video.take().expect("a source has one chosen video stream");
                    add(output, &source)?;
                }
                Fate::Copied => {
                    self.targets[index] = Some(target);
                    add_stream(output, &source, source.parameters(), source.time_base())?;
                }
                Fate::Converted(_) => {
                    let converter = self.converters[index].as_ref().ok_or(ffmpeg::Error::Bug)?;
                    self.targets[index] = Some(target);
                    add_stream(output, &source, converter.parameters(), converter.base())?;
                }
                Fate::Attached => attach(output, &source)?,
            }
        }
        copy_container_facts(&self.input, output, self.shift, self.part);
        let wanted: Vec<bool> = self.targets.iter().map(Option::is_some).collect();
        input::read_only(&mut self.input, |index| wanted[index]);
        Ok(video)
    }

    /// Movie ticks per second in which the start of each stream is a whole number, at most `most`.
    pub(super) fn common_timescale(&self, video: u32, most: u32) -> u32 {
        let kept = self.fates.iter().enumerate().filter(|(_, fate)| matches!(fate, Fate::Copied | Fate::Converted(_)));
        let bases = kept.filter_map(|(index, _)| match &self.converters[index] {
            Some(converter) => Some(converter.base()),
            None => self.input.stream(index).map(|stream| stream.time_base()),
        });
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
        if self.targets.iter().all(Option::is_none) || self.broken.is_some() {
            return Ok(());
        }
        loop {
            let (mut packet, is_new) = match self.next.take() {
                Some(packet) => (packet, false),
                None => match input::next_packet(&mut self.input) {
                    Ok(Some(packet)) => (packet, true),
                    Ok(None) => return self.finish_converters(output),
                    Err(error) if input::is_unreadable(&self.input) => {
                        let reason = error.to_string().to_lowercase();
                        return Err(MediaError::File { action: "read", path: self.path.clone(), reason });
                    }
                    // The file is damaged: what comes before is kept.
                    Err(error) => {
                        self.broken = Some(error.to_string().to_lowercase());
                        return self.finish_converters(output);
                    }
                },
            };
            let index = packet.stream();
            let Some(target) = self.targets.get(index).copied().flatten() else { continue };
            let base = self.input.stream(index).expect("it has a target").time_base();
            if is_new && !self.clocks.set(&mut packet, base) {
                continue;
            }
            let begins = packet.dts().or(packet.pts()).map(|ticks| Time { ticks, base });
            let is_due = match (begins, until) {
                (Some(begins), Some(until)) => begins.is_before(until),
                _ => true,
            };
            if !is_due {
                self.next = Some(packet);
                return Ok(());
            }
            let is_past_end = match (begins, self.part.end) {
                (Some(begins), Some(end)) => !begins.is_before(end),
                _ => false,
            };
            if is_past_end || self.is_over(&packet, base) {
                continue;
            }
            let (packets, base) = match &mut self.converters[index] {
                None => (vec![packet], base),
                Some(converter) => {
                    let (converted, base) = (converter.push(&packet), converter.base());
                    (converted.map_err(|error| self.failed("convert", index, error))?, base)
                }
            };
            self.write_all(output, packets, index, target, base)?;
        }
    }

    fn finish_converters(&mut self, output: &mut Output) -> Result<(), MediaError> {
        for index in 0..self.converters.len() {
            let (Some(converter), Some(target)) = (&mut self.converters[index], self.targets[index]) else { continue };
            let (packets, base) = (converter.finish(), converter.base());
            let packets = packets.map_err(|error| self.failed("convert", index, error))?;
            self.write_all(output, packets, index, target, base)?;
        }
        Ok(())
    }

    fn write_all(
        &self,
        output: &mut Output,
        packets: Vec<Packet>,
        index: usize,
        target: usize,
        base: ffmpeg::Rational,
    ) -> Result<(), MediaError> {
        for packet in packets {
            let written = write(output, packet, target, base, self.shift);
            written.map_err(|error| self.failed("copy a packet into", index, error))?;
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, index: usize, error: ffmpeg::Error) -> MediaError {
        MediaError::writing(action, &self.path, &format!("stream {index}: "), error)
    }

    /// Whether all that a packet is for lies before the output's first frame. A packet of sound that does stays if the next one does
    /// not: decoders need it to begin with, and containers hide what lies before their time 0.
    fn is_over(&self, packet: &Packet, base: ffmpeg::Rational) -> bool {
        let (Some(start), Some(begins)) = (self.part.start, packet.pts().or(packet.dts())) else { return false };
        let Some(stream) = self.input.stream(packet.stream()).filter(|stream| !is_cover(stream)) else { return false };
        let lasts = packet.duration().max(0);
        let is_sound = stream.parameters().medium() == media::Type::Audio;
        let needed_until = begins + if is_sound { 2 * lasts } else { lasts };
        !start.is_before(Time { ticks: needed_until, base })
    }

    /// All of them, and what becomes of each.
    pub(super) fn list(&self) -> Vec<OtherStream> {
        others(&self.input, &self.fates)
    }

    /// What is not in the output as it is in the source, each with its reason.
    pub(super) fn warnings(&self) -> Vec<String> {
        let others = self.list();
        let changed = others.iter().filter(|other| !other.is_copied()).map(OtherStream::to_string);
        let broken =
            self.broken.as_ref().map(|reason| format!("the file's end cannot be read ({reason}): sound may end early"));
        changed.chain(broken).collect()
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
    let kept = input.streams().zip(fates).filter(|(_, fate)| matches!(fate, Fate::Copied | Fate::Converted(_)));
    kept.filter(|(stream, _)| stream.start_time() != ffi::AV_NOPTS_VALUE)
        .map(|(stream, _)| Time { ticks: stream.start_time(), base: stream.time_base() })
        .fold(first_frame, |first, other| if other.is_before(first) { other } else { first })
}

fn add_stream(
    output: &mut Output,
    source: &Stream<'_>,
    parameters: codec::Parameters,
    base: ffmpeg::Rational,
) -> Result<(), ffmpeg::Error> {
    let mut stream = output.add_stream(ffmpeg::encoder::find(codec::Id::None))?;
    stream.set_parameters(parameters);
    stream.set_time_base(base);
    // SAFETY: both streams are valid; each container has its own tags for codecs.
    unsafe {
        let target = stream.as_mut_ptr();
        (*(*target).codecpar).codec_tag = 0;
        copy_stream_facts(target, source.as_ptr());
    }
    Ok(())
}

/// Adds a file within the file: a font as it is, a picture of the clip as Matroska names it.
fn attach(output: &mut Output, source: &Stream<'_>) -> Result<(), ffmpeg::Error> {
    add_stream(output, source, source.parameters(), source.time_base())?;
    if !is_cover(source) {
        return Ok(());
    }
    let index = output.nb_streams() as usize - 1;
    let (extension, kind) = match source.parameters().id() {
        codec::Id::PNG => ("png", "image/png"),
        codec::Id::BMP => ("bmp", "image/bmp"),
        _ => ("jpg", "image/jpeg"),
    };
    let mut stream = output.stream_mut(index).ok_or(ffmpeg::Error::Bug)?;
    let mut metadata = stream.metadata().to_owned();
    metadata.set("filename", &format!("cover.{extension}"));
    metadata.set("mimetype", kind);
    stream.set_metadata(metadata);
    // SAFETY: the picture is as long as its packet says; its copy has the padding that FFmpeg wants, and is freed with the
    // parameters, whose own extradata (a picture has none) is given back first.
    unsafe {
        let (picture, parameters) = (&(*source.as_ptr()).attached_pic, (*stream.as_mut_ptr()).codecpar);
        let size = usize::try_from(picture.size).map_err(|_| ffmpeg::Error::InvalidData)?;
        let copy = ffi::av_mallocz(size + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
        if copy.is_null() {
            return Err(ffmpeg::Error::Other { errno: libc::ENOMEM });
        }
        ptr::copy_nonoverlapping(picture.data, copy, size);
        ffi::av_free((*parameters).extradata.cast());
        (*parameters).extradata = copy;
        (*parameters).extradata_size = picture.size;
        (*parameters).codec_type = ffi::AVMediaType::AVMEDIA_TYPE_ATTACHMENT;
        (*stream.as_mut_ptr()).disposition = 0;
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

fn copy_container_facts(input: &Input, output: &mut Output, shift: Time, part: Part) {
    // SAFETY: both contexts are valid and ours.
    unsafe { copy_metadata(&mut (*output.as_mut_ptr()).metadata, (*input.as_ptr()).metadata) };
    for chapter in input.chapters() {
        let base = chapter.time_base();
        let (mut start, mut stop) = (chapter.start(), chapter.end());
        if let Some(first) = part.start {
            if !first.is_before(Time { ticks: stop, base }) {
                continue;
            }
            start = start.max(first.in_base(base));
        }
        if let Some(end) = part.end {
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
