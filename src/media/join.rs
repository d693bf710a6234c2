//! Joins a clip's chunks into one stream and puts the source's other streams beside it.
//!
//! The joiner owns the timestamps: it takes the source's presentation times from the [`Clip`] and makes the decode
//! times anew (see `timeline.rs`). Chunks are opened one at a time, and nothing is decoded.

use std::path::{Path, PathBuf};

use ffmpeg::codec;
use ffmpeg::format::context::Output;
use ffmpeg::packet::side_data;
use ffmpeg::{Packet, Stream, ffi};
use ffmpeg_next as ffmpeg;

use super::container::Container;
use super::error::{ChunkProblem, MediaError};
use super::fates::OtherStream;
use super::hdr;
use super::marking;
use super::nut::{self, NutReader};
use super::pictures;
use super::properties::PictureProperties;
use super::streams::{self, OtherStreams, Part, Time};
use super::timeline::Timeline;
use crate::contract::{Clip, Ratio};
use crate::frame::FrameIndex;
use crate::marks::Marks;

/// Movie ticks per second, at least: so fine that the start of every stream is kept to some microseconds.
const LEAST_TIMESCALE: u32 = 90_000;
/// …and at most: lengths beyond an hour get 64-bit fields, which every player knows.
const MOST_TIMESCALE: u32 = 10_000_000;

/// An encoded chunk on local disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes of NUT at the start of the file; what follows is not read.
    pub payload: u64,
    /// As [`super::Encoded::reorder_depth`] said.
    pub reorder_depth: u32,
    /// First frame of the chunk.
    pub start: FrameIndex,
    /// One past its last frame.
    pub end: FrameIndex,
}

/// What to join, and into what.
pub struct JoinRequest<'a> {
    /// The clip as it came: its other streams, its metadata and what it says about its pictures are taken over.
    pub source: &'a Path,
    /// As probed.
    pub clip: &'a Clip,
    /// Every chunk, in order; each is asked for when the one before has been written.
    pub chunks: &'a mut dyn Iterator<Item = Result<ChunkFile, MediaError>>,
    /// The largest [`super::Encoded::reorder_depth`] of all chunks.
    pub reorder_depth: u32,
    /// Where to write. Must be valid UTF-8. Replaced if it is there; on an error it is left half-written.
    pub output: &'a Path,
    /// Of the output, whatever its name.
    pub container: Container,
    /// The clip was trimmed at its start: time begins with its first frame, and the other streams do, too.
    pub trim_to_first_frame: bool,
    /// The clip was trimmed at its end: the other streams end with its last frame.
    pub trim_to_last_frame: bool,
    /// What the output says of itself beside what the source says. None: nothing.
    pub marks: Option<&'a Marks>,
    /// Asked between packets.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Told how many frames are written after each chunk.
    pub progress: &'a mut dyn FnMut(FrameIndex),
}

/// A finished clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// Video packets, one per frame.
    pub packets: u64,
    /// From the first frame's start to the last one's end.
    pub seconds: f64,
    /// The source's streams beside the video, and what became of each.
    pub others: Vec<OtherStream>,
    /// What is not in the output as it is in the source, each with its reason.
    pub warnings: Vec<String>,
}

/// Writes the finished clip.
///
/// # Errors
/// [`MediaError::Chunk`] names a chunk that does not fit; [`MediaError::Cancelled`]; [`MediaError::SourceChanged`];
/// [`MediaError::File`] if the output cannot be written; whatever `chunks` yields.
pub fn join(request: JoinRequest<'_>) -> Result<Joined, MediaError> {
    if let Container::Picture(format) = request.container {
        return pictures::join(request, format);
    }
    let JoinRequest { source, clip, chunks, reorder_depth, cancelled, progress, .. } = request;
    let base = ffmpeg::Rational::new(clip.time_base.num, clip.time_base.den);
    let timeline = Timeline::new(clip, reorder_depth);
    let no_frame = || MediaError::NoFrames { path: source.to_owned() };
    let mut chunks = chunks.peekable();
    let stand_in = match (pictures::format_of(source), chunks.peek()) {
        (Some(_), Some(Ok(first))) => Some(first.clone()),
        (Some(_), _) => return chunks.next().map_or_else(|| Err(no_frame()), |first| first.and(Err(no_frame()))),
        (None, _) => None,
    };
    let spec = OutputSpec {
        path: request.output,
        container: request.container,
        time_base: clip.time_base,
        has_facts: stand_in.is_none(),
        marks: request.marks,
    };
    let end = request.trim_to_last_frame.then(|| Time { ticks: timeline.end(), base });
    let Some(&first_pts) = clip.pts.first() else { return Err(no_frame()) };
    let first_frame = Time { ticks: first_pts, base };
    let part = Part { start: request.trim_to_first_frame.then_some(first_frame), end };
    // Nothing lies beside a picture, and its first chunk says what its video looks like.
    let (described, stream) = stand_in.as_ref().map_or((source, clip.stream), |chunk| (chunk.path.as_path(), 0));
    let mut others = OtherStreams::open(described, clip, stream, first_frame, spec.container, part)?;

    let mut joiner: Option<Joiner<'_>> = None;
    let mut next_frame: FrameIndex = 0;
    for chunk in chunks {
        let file = chunk?;
        if file.start != next_frame {
            return Err(file.refused(ChunkProblem::Gap { expected: next_frame }));
        }
        if file.reorder_depth > reorder_depth {
            let found = file.reorder_depth.into();
            return Err(file.refused(ChunkProblem::Depth { found, announced: reorder_depth }));
        }
        let chunk = Chunk::open(&file, clip)?;
        let joiner = match &mut joiner {
            Some(joiner) => joiner,
            None => joiner.insert(Joiner::start(&spec, &chunk, &mut others, &timeline)?),
        };
        joiner.write(chunk, &mut others, cancelled)?;
        next_frame = file.end;
        progress(next_frame);
    }
    let Some(joiner) = joiner.filter(|_| next_frame == clip.frames()) else {
        let missing = ChunkProblem::Gap { expected: next_frame };
        return Err(MediaError::Chunk { start: clip.frames(), end: clip.frames(), problem: missing });
    };
    joiner.finish(&mut others)?;
    if let Some(marks) = spec.marks {
        marking::complete(spec.path, spec.container, marks)?;
    }
    Ok(Joined { packets: next_frame, seconds: clip.seconds(), others: others.list(), warnings: others.warnings() })
}

struct OutputSpec<'a> {
    path: &'a Path,
    container: Container,
    time_base: Ratio,
    /// The source has metadata of its own.
    has_facts: bool,
    marks: Option<&'a Marks>,
}

impl ChunkFile {
    fn refused(&self, problem: ChunkProblem) -> MediaError {
        MediaError::Chunk { start: self.start, end: self.end, problem }
    }
}

/// An opened chunk.
struct Chunk<'a> {
    file: &'a ChunkFile,
    input: NutReader,
    /// The clip's times of its frames.
    pts: &'a [i64],
    extradata: Vec<u8>,
}

impl<'a> Chunk<'a> {
    fn open(file: &'a ChunkFile, clip: &'a Clip) -> Result<Self, MediaError> {
        let (start, end) = (file.start as usize, file.end as usize);
        let Some(pts) = clip.pts.get(start..end).filter(|pts| !pts.is_empty()) else {
            return Err(file.refused(ChunkProblem::Gap { expected: clip.frames() }));
        };
        let input = NutReader::open(&file.path, Some(file.payload))?;
        if input.time_base != clip.time_base {
            return Err(file.refused(ChunkProblem::Parameters));
        }
        let parameters = input.parameters();
        // SAFETY: the parameters live as long as `input`; extradata has the size that they say.
        let extradata = unsafe {
            let parameters = &*parameters.as_ptr();
            match usize::try_from(parameters.extradata_size) {
                Ok(size) if size > 0 => std::slice::from_raw_parts(parameters.extradata, size).to_vec(),
                _ => Vec::new(),
            }
        };
        Ok(Self { file, input, pts, extradata })
    }
}

/// The output in the making.
struct Joiner<'a> {
    output: Output,
    path: PathBuf,
    timeline: &'a Timeline<'a>,
    base: ffmpeg::Rational,
    /// Index of the video in the output.
    video: usize,
    shift: Time,
    /// SPS and PPS of every chunk.
    extradata: Vec<u8>,
    written: usize,
}

impl<'a> Joiner<'a> {
    fn start(
        spec: &OutputSpec<'_>,
        first: &Chunk<'_>,
        others: &mut OtherStreams,
        timeline: &'a Timeline<'a>,
    ) -> Result<Self, MediaError> {
        let failed = |reason: String| MediaError::File { action: "create", path: spec.path.to_owned(), reason };
        let path = spec.path.to_str().ok_or_else(|| failed("its name is not valid utf-8".to_owned()))?;
        let parameters = first.input.parameters();
        // FFmpeg reopens the file by its name to put the index in front. `file:` keeps a colon in it from being a
        // protocol.
        let url = format!("file:{path}");
        let timescale = u32::try_from(spec.time_base.den).unwrap_or(LEAST_TIMESCALE);
        let movie_timescale = others.common_timescale(timescale, MOST_TIMESCALE).max(LEAST_TIMESCALE);

        let open = || -> Result<(Output, usize), ffmpeg::Error> {
            let mut output = ffmpeg::format::output_as(&url, spec.container.muxer())?;
            // SAFETY: the context is ours. The same input makes the same bytes: no dates, no versions. FLAC in MP4 has been a
            // standard for years, but FFmpeg wants to be asked for it.
            unsafe {
                (*output.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_BITEXACT;
                (*output.as_mut_ptr()).strict_std_compliance = ffi::FF_COMPLIANCE_EXPERIMENTAL;
            }
            let video =
                others.add_to(&mut output, |output, source| add_video(output, source, parameters, timeline.clip()))?;
            if !spec.has_facts {
                // SAFETY: the context is ours; what a chunk says of itself is for nobody else.
                unsafe { ffi::av_dict_free(&mut (*output.as_mut_ptr()).metadata) };
            }
            if let Some(marks) = spec.marks {
                marking::tell(&mut output, spec.container, marks);
            }
            let mut options = ffmpeg::Dictionary::new();
            match spec.container {
                Container::Mp4 | Container::Mov => {
                    options.set("movflags", "+faststart");
                    options.set("video_track_timescale", &timescale.to_string());
                    options.set("movie_timescale", &movie_timescale.to_string());
                }
                Container::Matroska | Container::WebM => options.set("cues_to_front", "1"),
                Container::Picture(_) => {}
            }
            output.write_header_with(options)?;
            Ok((output, video))
        };
        let (output, video) = open().map_err(|error| MediaError::writing("create", spec.path, "", error))?;
        Ok(Self {
            output,
            path: spec.path.to_owned(),
            timeline,
            base: ffmpeg::Rational::new(spec.time_base.num, spec.time_base.den),
            video,
            shift: others.shift,
            extradata: first.extradata.clone(),
            written: 0,
        })
    }

    fn write(
        &mut self,
        mut chunk: Chunk<'_>,
        others: &mut OtherStreams,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), MediaError> {
        let file = chunk.file;
        if chunk.extradata != self.extradata {
            return Err(file.refused(ChunkProblem::Parameters));
        }
        let mut seen = vec![false; chunk.pts.len()];
        let mut packets = 0;
        while let Some(packet) = chunk.input.next()? {
            if cancelled() {
                return Err(MediaError::Cancelled);
            }
            if packets == 0 && !packet.is_key() {
                return Err(file.refused(ChunkProblem::NotKey));
            }
            let in_chunk = packet.pts().unwrap_or(ffi::AV_NOPTS_VALUE);
            let rank = chunk.pts.binary_search(&in_chunk.saturating_add(chunk.pts[0])).ok();
            let Some(rank) = rank.filter(|&rank| !std::mem::replace(&mut seen[rank], true)) else {
                return Err(file.refused(ChunkProblem::Times { pts: in_chunk }));
            };
            self.write_frame(packet, file, rank, others)?;
            packets += 1;
        }
        let expected = chunk.pts.len() as u64;
        if packets != expected {
            return Err(file.refused(ChunkProblem::Packets { found: packets, expected }));
        }
        Ok(())
    }

    /// Writes the packet of the frame that is shown as number `rank` of its chunk.
    fn write_frame(
        &mut self,
        mut packet: Packet,
        file: &ChunkFile,
        rank: usize,
        others: &mut OtherStreams,
    ) -> Result<(), MediaError> {
        let index = file.start as usize + rank;
        let (pts, dts) = (self.timeline.pts(index), self.timeline.dts(self.written));
        if dts > pts {
            let found = (self.written - index) as u64;
            let announced = self.timeline.depth();
            return Err(file.refused(ChunkProblem::Depth { found, announced }));
        }
        packet.set_pts(Some(pts));
        packet.set_dts(Some(dts));
        packet.set_duration(self.timeline.duration(index));
        others.write_until(&mut self.output, Some(Time { ticks: dts, base: self.base }))?;
        streams::write(&mut self.output, packet, self.video, self.base, self.shift)
            .map_err(|error| self.failed(error))?;
        self.written += 1;
        Ok(())
    }

    fn finish(mut self, others: &mut OtherStreams) -> Result<(), MediaError> {
        others.write_until(&mut self.output, None)?;
        nut::close(&mut self.output).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ffmpeg::Error) -> MediaError {
        MediaError::writing("write", &self.path, "", error)
    }
}

/// Adds the joined video: coded as the chunks, described as the source.
fn add_video(
    output: &mut Output,
    source: &Stream<'_>,
    parameters: codec::Parameters,
    clip: &Clip,
) -> Result<(), ffmpeg::Error> {
    let is_hevc = parameters.id() == codec::Id::HEVC;
    // SAFETY: both are valid.
    let larger = unsafe { times((*(*source.as_ptr()).codecpar).width, (*parameters.as_ptr()).width) };
    let mut stream = output.add_stream(ffmpeg::encoder::find(codec::Id::None))?;
    stream.set_parameters(parameters);
    stream.set_time_base((clip.time_base.num, clip.time_base.den));
    stream.set_avg_frame_rate(source.avg_frame_rate());
    stream.set_rate(source.rate());
    // SAFETY: both streams are valid and ours.
    unsafe {
        let target = stream.as_mut_ptr();
        // Players of Apple's know HEVC by this tag only.
        (*(*target).codecpar).codec_tag = if is_hevc { u32::from_le_bytes(*b"hvc1") } else { 0 };
        let coded = PictureProperties::of_stream(target);
        let mut properties = PictureProperties::of_stream(source.as_ptr()).or_coded(coded);
        if larger > 1 {
            properties.field_order = coded.field_order; // what is made larger has no fields any more
        }
        properties.mark_stream(target);
        streams::copy_stream_facts(target, source.as_ptr());
    }
    for data in source.side_data().filter(|data| describes_pictures(data.kind())) {
        let bytes = data.data();
        // SAFETY: FFmpeg allocates as many bytes as are copied, or returns null.
        unsafe {
            let room = ffi::av_stream_new_side_data(stream.as_mut_ptr(), data.kind().into(), bytes.len() as _);
            if !room.is_null() {
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
                if data.kind() == side_data::Type::DisplayMatrix && bytes.len() >= MATRIX_BYTES {
                    move_shown(std::slice::from_raw_parts_mut(room, MATRIX_BYTES), larger);
                }
            }
        }
    }
    if let Some(hdr) = &clip.hdr {
        // SAFETY: the stream is ours.
        unsafe { hdr::mark_stream(hdr, stream.as_mut_ptr()) };
    }
    Ok(())
}

/// Bytes of a display matrix: nine numbers.
const MATRIX_BYTES: usize = 36;

/// How many times as large a side has become; 1 where it was at most padded.
fn times(before: i32, after: i32) -> i32 {
    if before > 0 { ((f64::from(after) / f64::from(before)).round() as i32).max(1) } else { 1 }
}

/// A display matrix also says by how many pixels the turned picture is moved back into view.
fn move_shown(matrix: &mut [u8], times: i32) {
    for number in matrix.as_chunks_mut::<4>().0[6..8].iter_mut() {
        *number = i32::from_ne_bytes(*number).saturating_mul(times).to_ne_bytes();
    }
}

/// Rotation, HDR, 3D: holds for the new pictures as for the old. Others (buffer sizes, Dolby Vision) describe the old
/// bits.
fn describes_pictures(kind: side_data::Type) -> bool {
    use side_data::Type;
    matches!(
        kind,
        Type::DisplayMatrix
            | Type::Stereo3d
            | Type::DataSpherical
            | Type::MasteringDisplayMetadata
            | Type::ContentLightLevel
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_larger_is_moved_back_further() {
        let check = |(before, after): (i32, i32), expected: i32| assert_eq!(times(before, after), expected);
        check((320, 320), 1);
        check((321, 322), 1); // padded to an even side
        check((320, 640), 2);
        check((1, 2), 2);
        check((0, 640), 1);
        // A quarter turn of a picture that is 320 pixels wide when it is shown.
        let numbers = |back: i32| [0, 65_536, 0, -65_536, 0, 0, back << 16, 0, 1 << 30];
        let bytes = |back: i32| numbers(back).iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>();
        let mut matrix = bytes(320);
        move_shown(&mut matrix, 2);
        assert_eq!(matrix, bytes(640));
    }
}
