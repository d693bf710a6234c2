//! Turns a slice back into frames, in display order, each with its time.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ffmpeg::codec::{self, threading};
use ffmpeg::{Discard, frame};
use ffmpeg_next as ffmpeg;

use super::decoded::Decoded;
use super::error::MediaError;
use super::nut::NutReader;
use super::properties::PictureProperties;

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
    /// The last error before any frame came out.
    leading_error: Option<ffmpeg::Error>,
    /// `width x height format` of the frames so far.
    picture: Option<(u32, u32, ffmpeg::format::Pixel)>,
}

impl SliceDecoder {
    /// Opens a slice; `threads` frames are decoded at once (each adds a frame of delay and of memory).
    pub fn open(slice: &Path, threads: usize) -> Result<Self, MediaError> {
        let input = NutReader::open(slice, None)?;
        let open = || -> Result<ffmpeg::decoder::Video, ffmpeg::Error> {
            let mut context = codec::Context::from_parameters(input.parameters())?;
            context.set_threading(threading::Config {
                kind: threading::Type::Frame,
                count: threads.max(1),
                ..threading::Config::default()
            });
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
            leading_error: None,
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
    /// chunk's own times come too (those before the wanted ones that decoding starts with, those hidden by an edit
    /// list): the caller takes the frames whose times it wants and drops the others.
    ///
    /// # Errors
    /// [`MediaError::Decode`] where a packet cannot be decoded; [`MediaError::PictureChanged`] where size or format
    /// change. A packet that fails before the first frame is out is stepped over: after an open GOP's keyframe come
    /// frames that need the GOP before and are not shown.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would hide that it ends after an error")]
    pub fn next(&mut self) -> Result<Option<Decoded>, MediaError> {
        loop {
            let mut frame = frame::Video::empty();
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => return self.accept(frame).map(Some),
                Err(ffmpeg::Error::Eof) => return self.end(),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => self.feed()?,
                Err(error) => self.tolerate(error)?,
            }
        }
    }

    fn feed(&mut self) -> Result<(), MediaError> {
        let packet = self.input.next()?;
        let sent = match &packet {
            Some(packet) => {
                let is_wanted = packet.pts().is_none_or(|pts| pts >= self.wanted_from);
                self.decoder.skip_frame(if is_wanted { Discard::Default } else { Discard::NonReference });
                self.decoder.send_packet(packet)
            }
            None => self.decoder.send_eof(),
        };
        self.packets += u64::from(packet.is_some());
        sent.or_else(|error| self.tolerate(error))
    }

    fn accept(&mut self, frame: frame::Video) -> Result<Decoded, MediaError> {
        let picture = (frame.width(), frame.height(), frame.format());
        let before = *self.picture.get_or_insert(picture);
        if before != picture {
            return Err(MediaError::PictureChanged { before: describe(before), after: describe(picture) });
        }
        Decoded::new(frame, Arc::clone(&self.properties)).ok_or_else(|| MediaError::Decode {
            path: self.path.clone(),
            packets: self.packets,
            reason: "a frame came out without a time".to_owned(),
        })
    }

    fn end(&mut self) -> Result<Option<Decoded>, MediaError> {
        match self.leading_error {
            Some(error) if self.picture.is_none() => Err(self.failed(error)),
            _ => Ok(None),
        }
    }

    fn tolerate(&mut self, error: ffmpeg::Error) -> Result<(), MediaError> {
        if self.picture.is_some() {
            return Err(self.failed(error));
        }
        self.leading_error = Some(error);
        Ok(())
    }

    fn failed(&self, error: ffmpeg::Error) -> MediaError {
        let reason = error.to_string().to_lowercase();
        MediaError::Decode { path: self.path.clone(), packets: self.packets, reason }
    }
}

fn describe((width, height, format): (u32, u32, ffmpeg::format::Pixel)) -> String {
    format!("{width}x{height} {}", format.descriptor().map_or("?", |descriptor| descriptor.name()))
}
