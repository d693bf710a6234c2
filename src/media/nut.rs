//! The NUT files between processes, written and read: one video stream, exact times, the same bytes for the same
//! packets.
//!
//! NUT counts time in its own ticks, a whole number of which make one of the clip's. The header's metadata says how
//! long the clip's are, and what else NUT has no place for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::ptr;

use ffmpeg::codec;
use ffmpeg::format::context::{Input, Output, StreamIo};
use ffmpeg::packet::Mut as _;
use ffmpeg::{Packet, ffi};
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::input::{self, READ_BUFFER, reason};
use super::probe::pixel_format_name;
use super::properties::PictureProperties;
use crate::contract::Ratio;

/// Metadata: [`PictureProperties`] as text.
const PICTURE: &str = "picture";
/// Metadata: seconds per tick of the clip, `num/den`.
const TICK: &str = "tick";
/// Metadata: numbers of the packets that are decoded and not shown, in the file's order from 0, `3,4`; left out if there are none.
const HIDDEN: &str = "hidden";
/// Metadata: number of the first packet whose content was not in the clip's file, nor that of those after it; left out if all was.
const LOST_FROM: &str = "lost_from";

/// A NUT file in the making.
pub(super) struct NutWriter {
    output: Output,
    path: PathBuf,
    /// NUT's ticks per tick of the clip.
    scale: i64,
    /// When the last keyframe is shown.
    last_key: i64,
}

/// What the header of a NUT file says.
pub(super) struct NutHeader<'a> {
    /// Codec, size, extradata.
    pub parameters: codec::Parameters,
    /// Seconds per tick of the packets' times.
    pub time_base: Ratio,
    pub properties: &'a PictureProperties,
}

/// Packets that are not as others, by their numbers in the file, from 0.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Decoded and not shown.
    pub hidden: Vec<u64>,
    /// The first whose content is not there, nor that of any after it.
    pub lost_from: Option<u64>,
}

impl NutWriter {
    /// Creates the file, or empties it, and writes the header.
    pub(super) fn create(path: &Path, header: NutHeader<'_>) -> Result<Self, MediaError> {
        Self::create_marked(path, header, &Marks::default())
    }

    /// As [`NutWriter::create`], where not all packets are as others.
    pub(super) fn create_marked(path: &Path, header: NutHeader<'_>, marks: &Marks) -> Result<Self, MediaError> {
        let failed = |reason: String| MediaError::File { action: "create", path: path.to_owned(), reason };
        let file = File::create(path).map_err(|error| failed(error.to_string()))?;
        let Ratio { num, den } = header.time_base;
        let tag = tag(&header.parameters).unwrap_or(0);
        let open = || -> Result<Output, ffmpeg::Error> {
            let mut output = ffmpeg::format::output_to_stream(StreamIo::from_write_seek(file)?, None, Some("nut"))?;
            let mut stream = output.add_stream(ffmpeg::encoder::find(codec::Id::None))?;
            stream.set_parameters(header.parameters);
            stream.set_time_base((num, den));
            // SAFETY: the stream and the context belong to `output`, which is ours alone.
            unsafe {
                let stream = stream.as_mut_ptr();
                (*stream).sample_aspect_ratio = header.properties.aspect();
                (*(*stream).codecpar).codec_tag = tag;
                let context = output.as_mut_ptr();
                (*context).avoid_negative_ts = 0; // decoding may start before tick 0
                (*context).flags |= ffi::AVFMT_FLAG_BITEXACT; // no date, no version
            }
            let mut metadata = ffmpeg::Dictionary::new();
            metadata.set(PICTURE, &header.properties.to_string());
            metadata.set(TICK, &format!("{num}/{den}"));
            if !marks.hidden.is_empty() {
                let numbers: Vec<String> = marks.hidden.iter().map(u64::to_string).collect();
                metadata.set(HIDDEN, &numbers.join(","));
            }
            if let Some(number) = marks.lost_from {
                metadata.set(LOST_FROM, &number.to_string());
            }
            output.set_metadata(metadata);
            output.write_header()?;
            Ok(output)
        };
        let output = open().map_err(|error| failed(reason(error)))?;
        let nut_base = output.stream(0).expect("one stream was added").time_base();
        let scale = ticks_per_tick(header.time_base, nut_base)
            .ok_or_else(|| failed(format!("nut cannot count ticks of {num}/{den} s exactly")))?;
        Ok(Self { output, path: path.to_owned(), scale, last_key: i64::MIN })
    }

    /// Writes a packet with these times, in ticks of the clip. PTS ≥ 0, DTS strictly increasing and ≤ PTS.
    pub(super) fn write(&mut self, packet: &mut Packet, pts: i64, dts: i64) -> Result<(), MediaError> {
        if packet.is_key() {
            if pts <= self.last_key {
                // SAFETY: the muxer's own options belong to `output`. An index of keyframes whose times go back (damaged clips)
                // makes FFmpeg abort the process; nobody reads it, so it ends here.
                unsafe {
                    ffi::av_opt_set_int((*self.output.as_mut_ptr()).priv_data, c"write_index".as_ptr(), 0, 0);
                }
            }
            self.last_key = self.last_key.max(pts);
        }
        packet.set_stream(0);
        packet.set_pts(Some(pts * self.scale));
        packet.set_dts(Some(dts * self.scale));
        packet.set_position(-1);
        // SAFETY: both belong to us; the muxer takes a reference of its own to the data.
        let code = unsafe { ffi::av_write_frame(self.output.as_mut_ptr(), packet.as_mut_ptr()) };
        if code < 0 { Err(self.failed(ffmpeg::Error::from(code))) } else { Ok(()) }
    }

    /// Writes what is left and closes the file.
    pub(super) fn finish(mut self) -> Result<(), MediaError> {
        close(&mut self.output).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ffmpeg::Error) -> MediaError {
        MediaError::File { action: "write", path: self.path.clone(), reason: error.to_string().to_lowercase() }
    }
}

/// The four letters by which NUT files call a codec; 0: FFmpeg chooses; `None`: a reader would not know it again.
///
/// FFmpeg's writer knows fewer than its reader, which also takes QuickTime's: those of ProRes and DNxHD, of which some tell the profile.
pub(super) fn tag(parameters: &codec::Parameters) -> Option<u32> {
    let id = ffi::AVCodecID::from(parameters.id());
    if parameters.id() == codec::Id::RAWVIDEO {
        return raw_tag(parameters);
    }
    // SAFETY: formats and tables are constants of FFmpeg's; the parameters live as long as the borrow.
    unsafe {
        let nut = ffi::av_guess_format(c"nut".as_ptr(), ptr::null(), ptr::null());
        if ffi::avformat_query_codec(nut, id, ffi::FF_COMPLIANCE_NORMAL) == 1 {
            return Some(0);
        }
        let quicktime = [ffi::avformat_get_mov_video_tags(), ptr::null()];
        let own = (*parameters.as_ptr()).codec_tag;
        if own != 0 && ffi::av_codec_get_id(quicktime.as_ptr(), own) == id {
            return Some(own);
        }
        Some(ffi::av_codec_get_tag(quicktime.as_ptr(), id)).filter(|tag| *tag != 0)
    }
}

/// Of raw video the four letters alone say what the pixels are.
fn raw_tag(parameters: &codec::Parameters) -> Option<u32> {
    // SAFETY: the parameters live as long as the borrow.
    let format = pixel_format_name(unsafe { (*parameters.as_ptr()).format }).parse::<ffmpeg::format::Pixel>().ok()?;
    // SAFETY: a table is looked up.
    let tag = unsafe { ffi::avcodec_pix_fmt_to_codec_tag(format.into()) };
    (tag != 0).then_some(tag)
}

/// Ends a file of any container: what is left is written, and an error of the last write is not lost.
pub(super) fn close(output: &mut Output) -> Result<(), ffmpeg::Error> {
    output.write_trailer()?;
    // SAFETY: the context belongs to `output`. Errors while flushing show up here only.
    let code = unsafe {
        let io = (*output.as_mut_ptr()).pb;
        ffi::avio_flush(io);
        (*io).error
    };
    if code < 0 { Err(ffmpeg::Error::from(code)) } else { Ok(()) }
}

/// A NUT file of ours.
pub(super) struct NutReader {
    input: Input,
    path: PathBuf,
    /// Seconds per tick of the packets' times.
    pub time_base: Ratio,
    pub properties: PictureProperties,
    /// NUT's ticks per tick of the clip.
    scale: i64,
    marks: Marks,
    /// Packets read.
    packets: u64,
}

impl NutReader {
    /// Opens a slice or a chunk. Only its first `payload` bytes are read, all if `None`.
    ///
    /// The header says all that is needed, so no packet is decoded to learn more.
    pub(super) fn open(path: &Path, payload: Option<u64>) -> Result<Self, MediaError> {
        let failed = |reason: String| MediaError::File { action: "open", path: path.to_owned(), reason };
        let mut input = open(path, payload).map_err(failed)?;
        let metadata = |key: &str| input.metadata().get(key).map(str::to_owned);
        let properties = metadata(PICTURE).as_deref().and_then(PictureProperties::parse);
        let time_base = metadata(TICK).as_deref().and_then(parse_ratio);
        let hidden = metadata(HIDDEN).unwrap_or_default();
        let hidden = hidden.split(',').filter_map(|number| number.parse().ok()).collect();
        let marks = Marks { hidden, lost_from: metadata(LOST_FROM).and_then(|number| number.parse().ok()) };
        let (Some(properties), Some(time_base), Some(mut stream)) = (properties, time_base, input.stream_mut(0)) else {
            return Err(failed("it is not one of our slices or chunks".to_owned()));
        };
        // SAFETY: the stream belongs to `input`, which is ours alone.
        unsafe { properties.mark_stream(stream.as_mut_ptr()) };
        let scale = ticks_per_tick(time_base, stream.time_base());
        let scale = scale.ok_or_else(|| failed("its time base does not divide its clip's".to_owned()))?;
        Ok(Self { input, path: path.to_owned(), time_base, properties, scale, marks, packets: 0 })
    }

    /// Codec, size, extradata, and what the source's container said about its pictures.
    pub(super) fn parameters(&self) -> codec::Parameters {
        self.input.stream(0).expect("checked when opened").parameters()
    }

    /// The next packet, its PTS in ticks of the clip; no DTS; marked if it is not shown, and as corrupt if its
    /// content is not there. `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Packet>, MediaError> {
        let failed = |reason: String| MediaError::File { action: "read", path: self.path.clone(), reason };
        let read = input::next_packet(&mut self.input).map_err(|error| failed(reason(error)))?;
        let Some(mut packet) = read else { return Ok(None) };
        match packet.pts() {
            Some(pts) if pts % self.scale == 0 => packet.set_pts(Some(pts / self.scale)),
            other => {
                return Err(failed(format!("a packet's time is {other:?} (expected a multiple of {})", self.scale)));
            }
        }
        packet.set_dts(None);
        packet.set_duration(0);
        let is_lost = self.marks.lost_from.is_some_and(|first| self.packets >= first);
        for (is_marked, flag) in [
            // Decoders keep back the frames of such packets.
            (self.marks.hidden.contains(&self.packets), ffi::AV_PKT_FLAG_DISCARD),
            (is_lost, ffi::AV_PKT_FLAG_CORRUPT),
        ] {
            if is_marked {
                // SAFETY: the packet is ours.
                unsafe { (*packet.as_mut_ptr()).flags |= flag };
            }
        }
        self.packets += 1;
        Ok(Some(packet))
    }
}

fn open(path: &Path, payload: Option<u64>) -> Result<Input, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let payload = payload.unwrap_or(length);
    if payload > length {
        return Err(format!("it has {length} bytes (expected at least {payload})"));
    }
    let prefix = Prefix { file, length: payload, position: 0 };
    let mut io = StreamIo::from_read_seek_with_capacity(prefix, READ_BUFFER).map_err(reason)?;
    // SAFETY: the context is allocated here and given to `Input`, which closes it and then `io`, which it reads from;
    // when opening fails, FFmpeg frees the context and leaves `io` to us.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err("out of memory".to_owned());
        }
        (*context).pb = io.as_mut_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let nut = ffi::av_find_input_format(c"nut".as_ptr());
        match ffi::avformat_open_input(&mut context, ptr::null(), nut, ptr::null_mut()) {
            0 => Ok(Input::wrap_with_custom_io(context, io)),
            code => Err(reason(ffmpeg::Error::from(code))),
        }
    }
}

/// How many of NUT's ticks make one of the clip's; `None` if not a whole number.
fn ticks_per_tick(clip: Ratio, nut: ffmpeg::Rational) -> Option<i64> {
    let long = i64::from(clip.num) * i64::from(nut.denominator());
    let short = i64::from(clip.den) * i64::from(nut.numerator());
    (short > 0 && long > 0 && long % short == 0).then(|| long / short)
}

fn parse_ratio(text: &str) -> Option<Ratio> {
    let (num, den) = text.split_once('/')?;
    Some(Ratio { num: num.parse().ok()?, den: den.parse().ok()? })
}

/// The first `length` bytes of a file, as if there were no more.
struct Prefix {
    file: File,
    length: u64,
    position: u64,
}

impl Read for Prefix {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..wanted])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Prefix {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.position = self.file.seek(SeekFrom::Start(target))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_video_is_known_by_its_tag() {
        use ffmpeg::format::Pixel;
        for (format, expected) in [
            (Pixel::YUYV422, Some(*b"YUY2")),
            (Pixel::UYVY422, Some(*b"UYVY")),
            (Pixel::NV12, Some(*b"NV12")),
            (Pixel::YUV420P, Some(*b"I420")),
            (Pixel::VAAPI, None),
        ] {
            let mut parameters = codec::Parameters::new();
            // SAFETY: the parameters are ours.
            unsafe {
                (*parameters.as_mut_ptr()).codec_id = ffi::AVCodecID::AV_CODEC_ID_RAWVIDEO;
                (*parameters.as_mut_ptr()).format = ffi::AVPixelFormat::from(format) as i32;
            }
            assert_eq!(tag(&parameters), expected.map(u32::from_le_bytes), "{format:?}");
        }
    }
}
