//! Frames, delays and repetitions of GIF, APNG and animated WebP, read from their chunks without decoding a pixel.
//!
//! Sources: GIF89a; W3C PNG (third edition), 11.3.6; WebP Container Specification.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::Format;
use super::header::{reader, unreadable};
use crate::media::error::MediaError;
use crate::media::probe::{Limits, over_limit};

/// How long a frame is shown, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delay {
    pub num: u32,
    pub den: u32,
}

impl Delay {
    pub(super) fn seconds(self) -> f64 {
        f64::from(self.num) / f64::from(self.den.max(1))
    }

    /// Whole parts of a second, `per_second` of them in one.
    pub(super) fn in_parts(self, per_second: u32) -> u32 {
        let parts = u64::from(self.num) * u64::from(per_second) / u64::from(self.den.max(1));
        u32::try_from(parts).unwrap_or(u32::MAX)
    }
}

/// What moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Animation {
    /// One for each frame.
    pub delays: Vec<Delay>,
    /// How often it is played; 0 is for ever.
    pub plays: u32,
}

impl Animation {
    /// `None` if the file is a still.
    pub(super) fn read(path: &Path, format: Format, limits: &Limits) -> Result<Option<Self>, MediaError> {
        match format {
            Format::Gif => gif(path, limits),
            Format::Png => png(path, limits),
            Format::WebP => webp(path, limits),
            Format::Jpeg | Format::Tiff | Format::Avif => Ok(None),
        }
    }
}

fn one_more(delays: &mut Vec<Delay>, delay: Delay, limits: &Limits) -> Result<(), MediaError> {
    delays.push(delay);
    over_limit("number of frames", delays.len() as u64, limits.max_frames)
}

fn gif(path: &Path, limits: &Limits) -> Result<Option<Animation>, MediaError> {
    let failed = |error: gif::DecodingError| unreadable(path, Format::Gif, &error);
    let mut options = gif::DecodeOptions::new();
    options.skip_frame_decoding(true);
    let mut decoder = options.read_info(reader(path)?).map_err(failed)?;
    let mut delays = Vec::new();
    while let Some(frame) = decoder.next_frame_info().map_err(failed)? {
        one_more(&mut delays, Delay { num: frame.delay.into(), den: 100 }, limits)?;
    }
    let plays = match decoder.repeat() {
        gif::Repeat::Infinite => 0,
        gif::Repeat::Finite(again) => u32::from(again) + 1,
    };
    if delays.is_empty() {
        return Err(MediaError::NoFrames { path: path.to_owned() });
    }
    Ok((delays.len() > 1).then_some(Animation { delays, plays }))
}

fn png(path: &Path, limits: &Limits) -> Result<Option<Animation>, MediaError> {
    let mut chunks = Chunks::of(path, Format::Png, 8)?;
    let mut plays = None;
    let mut delays = Vec::new();
    while let Some(name) = chunks.next_png()? {
        match &name {
            b"acTL" => plays = Some(chunks.u32_be(4)?),
            b"fcTL" => {
                let delay = chunks.u32_be(20)?;
                let (num, den) = (delay >> 16, delay & 0xFFFF);
                one_more(&mut delays, Delay { num, den: if den == 0 { 100 } else { den } }, limits)?;
            }
            b"IEND" => break,
            _ => {}
        }
    }
    Ok(plays.filter(|_| !delays.is_empty()).map(|plays| Animation { delays, plays }))
}

fn webp(path: &Path, limits: &Limits) -> Result<Option<Animation>, MediaError> {
    let mut chunks = Chunks::of(path, Format::WebP, 12)?;
    let mut plays = None;
    let mut delays = Vec::new();
    while let Some(name) = chunks.next_riff()? {
        match &name {
            b"ANIM" => plays = Some(u32::from(chunks.u16_le(4)?)),
            b"ANMF" => {
                let milliseconds = chunks.u32_le(12)? & 0xFF_FFFF;
                one_more(&mut delays, Delay { num: milliseconds, den: 1000 }, limits)?;
            }
            _ => {}
        }
    }
    Ok(plays.filter(|_| !delays.is_empty()).map(|plays| Animation { delays, plays }))
}

/// Whether any frame of a WebP went through VP8.
pub(super) fn webp_is_lossy(path: &Path) -> Result<bool, MediaError> {
    let mut chunks = Chunks::of(path, Format::WebP, 12)?;
    while let Some(name) = chunks.next_riff()? {
        if &name == b"VP8 " {
            return Ok(true);
        }
        // A frame's own chunks lie behind 16 bytes of its header; alpha may come first.
        if &name == b"ANMF" && chunks.contains(16, *b"VP8 ")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Walks over the chunks of a file. A chunk that reaches beyond its end is an error: the file is cut off.
struct Chunks<'a> {
    path: &'a Path,
    format: Format,
    file: BufReader<File>,
    length: u64,
    /// Where the present chunk's content begins, and its size.
    content: (u64, u64),
    next: u64,
}

impl<'a> Chunks<'a> {
    fn of(path: &'a Path, format: Format, start: u64) -> Result<Self, MediaError> {
        let file = reader(path)?;
        let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
        let length = file.get_ref().metadata().map_err(unreadable)?.len();
        Ok(Self { path, format, file, length, content: (0, 0), next: start })
    }

    /// Length, name, content, checksum.
    fn next_png(&mut self) -> Result<Option<[u8; 4]>, MediaError> {
        let Some([size, name]) = self.head()? else { return Ok(None) };
        self.enter(u32::from_be_bytes(size).into(), 4)?;
        Ok(Some(name))
    }

    /// Name, length, content, a byte where that makes its length even.
    fn next_riff(&mut self) -> Result<Option<[u8; 4]>, MediaError> {
        let Some([name, size]) = self.head()? else { return Ok(None) };
        let size = u32::from_le_bytes(size);
        self.enter(size.into(), 0)?;
        self.next += u64::from(size % 2);
        Ok(Some(name))
    }

    fn head(&mut self) -> Result<Option<[[u8; 4]; 2]>, MediaError> {
        if self.next + 8 > self.length {
            return Ok(None);
        }
        let head: [u8; 8] = self.bytes_at(self.next)?;
        let (first, second) = head.split_at(4);
        let four = |bytes: &[u8]| bytes.try_into().expect("eight bytes are twice four");
        Ok(Some([four(first), four(second)]))
    }

    fn enter(&mut self, size: u64, trailer: u64) -> Result<(), MediaError> {
        self.content = (self.next + 8, size);
        self.next = self.content.0 + size + trailer;
        if self.content.0 + size > self.length {
            let (detail, last_good) = (format!("it has {} bytes of {}", self.length, self.next), None);
            return Err(MediaError::Truncated { path: self.path.to_owned(), detail, last_good });
        }
        Ok(())
    }

    fn u32_be(&mut self, at: u64) -> Result<u32, MediaError> {
        self.field(at).map(u32::from_be_bytes)
    }

    fn u32_le(&mut self, at: u64) -> Result<u32, MediaError> {
        self.field(at).map(u32::from_le_bytes)
    }

    fn u16_le(&mut self, at: u64) -> Result<u16, MediaError> {
        self.field(at).map(u16::from_le_bytes)
    }

    fn field<const N: usize>(&mut self, at: u64) -> Result<[u8; N], MediaError> {
        if at + N as u64 > self.content.1 {
            return Err(unreadable(self.path, self.format, &"a chunk is shorter than its fields"));
        }
        self.bytes_at(self.content.0 + at)
    }

    /// Whether a chunk of this name stands among those within the present one.
    fn contains(&mut self, from: u64, wanted: [u8; 4]) -> Result<bool, MediaError> {
        let mut at = from;
        while at + 8 <= self.content.1 {
            let name: [u8; 4] = self.field(at)?;
            if name == wanted {
                return Ok(true);
            }
            let size = u64::from(self.u32_le(at + 4)?);
            at += 8 + size + size % 2;
        }
        Ok(false)
    }

    fn bytes_at<const N: usize>(&mut self, place: u64) -> Result<[u8; N], MediaError> {
        let mut bytes = [0; N];
        let read = self.file.seek(SeekFrom::Start(place)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|source| MediaError::Unreadable { path: self.path.to_owned(), source })?;
        Ok(bytes)
    }
}
