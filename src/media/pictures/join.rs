//! The last stage of a picture: results without loss become the file that was asked for.

use std::path::Path;

use image::{ColorType, DynamicImage};

use super::frames::Frames;
use super::header::Header;
use super::write::{Described, Writer};
use super::{Format, format_of, raster};
use crate::marks::xmp;
use crate::media::decode::SliceDecoder;
use crate::media::error::{ChunkProblem, MediaError};
use crate::media::join::{ChunkFile, JoinRequest, Joined};
use crate::media::probe::Limits;

/// As [`crate::media::join()`], into a picture of this format.
pub(in super::super) fn join(request: JoinRequest<'_>, format: Format) -> Result<Joined, MediaError> {
    let JoinRequest { source, clip, chunks, output, marks, cancelled, progress, .. } = request;
    let limits = Limits::of_judged(clip);
    let header = format_of(source).map(|found| Header::read(source, found, &limits)).transpose()?;
    let (mut described, mut originals) = match &header {
        Some(header) => {
            let kept = kept(header, clip.pts.first().copied(), clip.pts.len());
            let originals = match format {
                Format::Gif => Some(Frames::open(source, header, &limits)?.skip(kept.start)),
                _ => None,
            };
            (Described::of(header, kept), originals)
        }
        None => (Described::default(), None),
    };
    described.xmp = marks.map(|marks| xmp::packet(marks.digital_source_type, marks.aigc.as_ref()));
    let mut writer = Writer::create(output, format, described)?;
    let mut next_frame = 0;
    for chunk in chunks {
        let file = chunk?;
        let refused = |problem| MediaError::Chunk { start: file.start, end: file.end, problem };
        if file.start != next_frame {
            return Err(refused(ChunkProblem::Gap { expected: next_frame }));
        }
        let mut results = Results::open(&file, clip)?;
        while let Some(picture) = results.next()? {
            if cancelled() {
                return Err(MediaError::Cancelled);
            }
            let original = originals.as_mut().and_then(Iterator::next).transpose()?;
            // What has been made larger has no pixel of the source's any more.
            let original = original.filter(|original| picture.width() == original.width());
            writer.push(as_source(picture, header.as_ref()), original.as_ref())?;
        }
        next_frame = file.end;
        progress(next_frame);
    }
    if next_frame != clip.frames() {
        let problem = ChunkProblem::Gap { expected: next_frame };
        return Err(MediaError::Chunk { start: clip.frames(), end: clip.frames(), problem });
    }
    writer.finish()?;
    Ok(Joined { packets: next_frame, seconds: clip.seconds(), others: Vec::new(), warnings: Vec::new() })
}

/// Grey with transparency again, which went through RGB, if it still is grey.
fn as_source(picture: DynamicImage, header: Option<&Header>) -> DynamicImage {
    let was_grey = header.is_some_and(|header| matches!(header.color, ColorType::La8 | ColorType::La16));
    match &picture {
        DynamicImage::ImageRgba8(image) if was_grey && image.pixels().all(|pixel| is_grey(&pixel.0)) => {
            picture.into_luma_alpha8().into()
        }
        DynamicImage::ImageRgba16(image) if was_grey && image.pixels().all(|pixel| is_grey(&pixel.0)) => {
            picture.into_luma_alpha16().into()
        }
        _ => picture,
    }
}

fn is_grey<S: PartialEq>([r, g, b, _]: &[S; 4]) -> bool {
    r == g && g == b
}

/// Which frames of the picture the clip keeps.
fn kept(header: &Header, first: Option<i64>, frames: usize) -> std::ops::Range<usize> {
    let pts = header.times().pts;
    let start = first.and_then(|first| pts.binary_search(&first).ok()).unwrap_or(0);
    start..(start + frames).min(pts.len())
}

/// The pictures of a chunk's result.
struct Results<'a> {
    file: &'a ChunkFile,
    decoder: SliceDecoder,
    /// The clip's times of its frames.
    pts: &'a [i64],
    done: usize,
}

impl<'a> Results<'a> {
    fn open(file: &'a ChunkFile, clip: &'a crate::contract::Clip) -> Result<Self, MediaError> {
        let Some(pts) = clip.pts.get(file.start as usize..file.end as usize).filter(|pts| !pts.is_empty()) else {
            let problem = ChunkProblem::Gap { expected: clip.frames() };
            return Err(MediaError::Chunk { start: file.start, end: file.end, problem });
        };
        Ok(Self { file, decoder: SliceDecoder::open_part(&file.path, file.payload, 1)?, pts, done: 0 })
    }

    fn next(&mut self) -> Result<Option<DynamicImage>, MediaError> {
        let refused = |problem| Err(MediaError::Chunk { start: self.file.start, end: self.file.end, problem });
        let Some(frame) = self.decoder.next()? else {
            return match self.done == self.pts.len() {
                true => Ok(None),
                false => refused(ChunkProblem::Packets { found: self.done as u64, expected: self.pts.len() as u64 }),
            };
        };
        if self.pts.get(self.done).is_none_or(|pts| pts - self.pts[0] != frame.pts()) {
            return refused(ChunkProblem::Times { pts: frame.pts() });
        }
        self.done += 1;
        match raster::from_frame(frame.frame()) {
            Some(picture) => Ok(Some(picture)),
            None => refused(ChunkProblem::Parameters),
        }
    }
}

/// Creates the output's file.
pub(super) fn create(path: &Path) -> Result<std::fs::File, MediaError> {
    std::fs::File::create(path).map_err(|error| super::write::failed(path, &error))
}
