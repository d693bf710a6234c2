//! Turns a slice back into frames, in display order, each with its time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg::codec::{self, threading};
use ffmpeg::{Discard, ffi, frame};
use ffmpeg_next as ffmpeg;

use super::decoded::Decoded;
use super::error::MediaError;
use super::nut::NutReader;
use super::properties::PictureProperties;

/// Why nothing comes out of a slice whose packets are all taken.
const NO_FRAME: &str = "no frame comes out of the decoder";

/// Decodes one slice.
pub struct SliceDecoder {
    input: NutReader,
    decoder: ffmpeg::decoder::Video,
    path: PathBuf,
    properties: Arc<PictureProperties>,
    /// Packets given to the decoder.
    packets: u64,
    /// Frames before this time are wanted only as far as others refer to them.
    wanted_from: i64,
    /// Of the last packet that could not be decoded.
    last_error: Option<ffmpeg::Error>,
    /// `width x height format` of the frames so far.
    picture: Option<(u32, u32, ffmpeg::format::Pixel)>,
}

impl SliceDecoder {
    /// Opens a slice; `threads` frames are decoded at once (each adds a frame of delay and of memory), but only one where the decoder
    /// marks what it has made up: between threads FFmpeg loses these marks.
    pub fn open(slice: &Path, threads: usize) -> Result<Self, MediaError> {
        Self::open_at(slice, threads, 0)
    }

    /// As [`SliceDecoder::open`]; only the first `payload` bytes are read.
    pub(super) fn open_part(slice: &Path, payload: u64, threads: usize) -> Result<Self, MediaError> {
        Self::open_input(slice, NutReader::open(slice, Some(payload))?, threads)
    }

    /// As [`SliceDecoder::open`], beginning with packet `first`, counted from 0.
    pub(super) fn open_at(slice: &Path, threads: usize, first: u64) -> Result<Self, MediaError> {
        let mut input = NutReader::open(slice, None)?;
        for _ in 0..first {
            input.next()?;
        }
        Self::open_input(slice, input, threads)
    }

    fn open_input(slice: &Path, input: NutReader, threads: usize) -> Result<Self, MediaError> {
        let open = || -> Result<ffmpeg::decoder::Video, ffmpeg::Error> {
            let mut context = codec::Context::from_parameters(input.parameters())?;
            let marks = conceals(input.parameters().id());
            context.set_threading(threading::Config {
                kind: threading::Type::Frame,
                count: if marks { 1 } else { threads.max(1) },
                ..threading::Config::default()
            });
            if input.parameters().id() == codec::Id::H264 {
                // Frames that refer to what lies before the slice come out marked. Kept back, one of them would end the draining of
                // the decoder before the whole ones behind it are out.
                // SAFETY: the context is ours and not yet opened.
                unsafe { (*context.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as std::ffi::c_int };
            }
            let mut decoder = context.decoder();
            decoder.set_packet_time_base((input.time_base.num, input.time_base.den));
            decoder.video()
        };
        let decoder = open().map_err(|error| MediaError::Decode {
            path: slice.to_owned(),
            packets: 0,
            reason: error.to_string().to_lowercase(),
        })?;
        Ok(Self {
            properties: Arc::new(input.properties),
            input,
            decoder,
            path: slice.to_owned(),
            packets: 0,
            wanted_from: i64::MIN,
            last_error: None,
            picture: None,
        })
    }

    /// Says that frames before `pts` are not wanted: of these, the ones that no other frame refers to are not even
    /// decoded, and do not come. Wanted frames are the same bits with and without it.
    pub fn skip_before(&mut self, pts: i64) {
        self.wanted_from = pts;
    }

    /// The next frame in display order, or `None` after the last.
    ///
    /// Its time is in ticks of the clip's time base, relative to the cut's `base_pts`. Frames that are not among the
    /// chunk's own times come too (those before the wanted ones that decoding starts with): the caller takes the frames
    /// whose times it wants and drops the others. [`super::WantedFrames`] does that, and deals with broken packets.
    ///
    /// # Errors
    /// [`MediaError::Decode`] where a packet cannot be decoded; [`MediaError::PictureChanged`] where size or format
    /// change. A packet that fails before the first frame is out is stepped over: after an open GOP's keyframe come
    /// frames that need the GOP before and are not shown.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would hide that it ends after an error")]
    pub fn next(&mut self) -> Result<Option<Decoded>, MediaError> {
        loop {
            match self.step()? {
                Step::Frame { frame, .. } => return Ok(Some(frame)),
                Step::Broken if self.picture.is_some() => return Err(self.failure()),
                Step::Broken => {}
                Step::End if self.picture.is_none() && self.last_error.is_some() => return Err(self.failure()),
                Step::End => return Ok(None),
            }
        }
    }

    /// What the decoder does next.
    ///
    /// # Errors
    /// [`MediaError::PictureChanged`]; [`MediaError::File`] where the slice cannot be read.
    pub(super) fn step(&mut self) -> Result<Step, MediaError> {
        loop {
            let mut frame = frame::Video::empty();
            let error = match self.decoder.receive_frame(&mut frame) {
                Ok(()) => return self.accept(frame),
                Err(ffmpeg::Error::Eof) => return Ok(Step::End),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => match self.feed()? {
                    Ok(()) => continue,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.last_error = Some(error);
            if error == (ffmpeg::Error::Other { errno: libc::ENOMEM }) {
                return Err(self.failure()); // says nothing of the packet
            }
            return Ok(Step::Broken);
        }
    }

    /// A black frame of the size that the slice tells; `None` if it tells none.
    pub(super) fn black(&self, pts: i64) -> Option<Decoded> {
        let parameters = self.input.parameters();
        // NUT tells sizes, but no pixel formats: it is the usual one, unless the decoder has learnt of another.
        let format = match self.decoder.format() {
            ffmpeg::format::Pixel::None => ffmpeg::format::Pixel::YUV420P,
            known => known,
        };
        let mut frame = frame::Video::empty();
        // SAFETY: the frame and the parameters are ours; FFmpeg checks size and format when it allocates the samples.
        let code = unsafe {
            let (parameters, frame) = (&*parameters.as_ptr(), frame.as_mut_ptr());
            let format = ffi::AVPixelFormat::from(format);
            ((*frame).width, (*frame).height) = (parameters.width, parameters.height);
            (*frame).format = format as std::ffi::c_int;
            match ffi::av_frame_get_buffer(frame, 0) {
                0 => {
                    let strides = (*frame).linesize.map(|stride| stride as isize);
                    let range = match self.properties.range {
                        2 => ffi::AVColorRange::AVCOL_RANGE_JPEG,
                        _ => ffi::AVColorRange::AVCOL_RANGE_MPEG,
                    };
                    let (width, height) = ((*frame).width, (*frame).height);
                    ffi::av_image_fill_black((*frame).data.as_mut_ptr(), strides.as_ptr(), format, range, width, height)
                }
                code => code,
            }
        };
        frame.set_pts(Some(pts));
        (code >= 0).then(|| Decoded::new(frame, Arc::clone(&self.properties)))?
    }

    /// A frame has come out.
    pub(super) fn has_begun(&self) -> bool {
        self.picture.is_some()
    }

    /// The last packet that could not be decoded.
    pub(super) fn failure(&self) -> MediaError {
        let reason = self.last_error.map_or_else(|| NO_FRAME.to_owned(), |error| error.to_string().to_lowercase());
        MediaError::Decode { path: self.path.clone(), packets: self.packets, reason }
    }

    /// Gives the decoder a packet; within: whether it could use it.
    fn feed(&mut self) -> Result<Result<(), ffmpeg::Error>, MediaError> {
        let packet = self.input.next()?;
        let Some(packet) = packet else { return Ok(self.decoder.send_eof()) };
        let is_wanted = packet.pts().is_none_or(|pts| pts >= self.wanted_from);
        self.decoder.skip_frame(if is_wanted { Discard::Default } else { Discard::NonReference });
        self.packets += 1;
        if packet.is_corrupt() {
            return Ok(Err(ffmpeg::Error::InvalidData)); // there is nothing in it
        }
        Ok(self.decoder.send_packet(&packet))
    }

    fn accept(&mut self, frame: frame::Video) -> Result<Step, MediaError> {
        let picture = (frame.width(), frame.height(), frame.format());
        let before = *self.picture.get_or_insert(picture);
        if before != picture {
            return Err(MediaError::PictureChanged {
                before: describe(before),
                after: describe(picture),
                seconds: None,
            });
        }
        // SAFETY: the frame is ours.
        let (flags, errors) = unsafe { ((*frame.as_ptr()).flags, (*frame.as_ptr()).decode_error_flags) };
        let state = match (errors, flags & ffi::AV_FRAME_FLAG_CORRUPT) {
            (0, 0) => State::Whole,
            (0, _) => State::Unfounded,
            _ => State::MadeUp,
        };
        // A frame without a time can be put nowhere.
        let decoded = Decoded::new(frame, Arc::clone(&self.properties));
        Ok(decoded.map_or(Step::Broken, |frame| Step::Frame { frame, state }))
    }
}

/// What a decoder says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// It refers to frames that were never there: decoding has begun too late for it.
    Unfounded,
    /// Parts of it were broken, and are guessed.
    MadeUp,
}

/// What a decoder does next.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and most are frames")]
pub(super) enum Step {
    /// It hands out a frame.
    Frame { frame: Decoded, state: State },
    /// It could not use a packet.
    Broken,
    /// It has no more frames.
    End,
}

/// Whether FFmpeg's decoder makes up what is missing of a picture, and says so.
fn conceals(codec: codec::Id) -> bool {
    use codec::Id;
    let mpeg = matches!(codec, Id::MPEG1VIDEO | Id::MPEG2VIDEO | Id::MPEG4 | Id::H263 | Id::H263P | Id::FLV1);
    let windows =
        matches!(codec, Id::MSMPEG4V1 | Id::MSMPEG4V2 | Id::MSMPEG4V3 | Id::WMV1 | Id::WMV2 | Id::WMV3 | Id::VC1);
    mpeg || windows || matches!(codec, Id::H264 | Id::RV10 | Id::RV20 | Id::RV30 | Id::RV40)
}

fn describe((width, height, format): (u32, u32, ffmpeg::format::Pixel)) -> String {
    format!("{width}x{height} {}", format.descriptor().map_or("?", |descriptor| descriptor.name()))
}
