//! Slices of a picture: its frames, decoded and upright, coded without loss.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ffmpeg::codec;
use ffmpeg_next as ffmpeg;

use super::frames::Frames;
use super::header::Header;
use super::{Format, lossless, raster};
use crate::contract::{Clip, Cut};
use crate::media::error::MediaError;
use crate::media::nut::{NutHeader, NutWriter};
use crate::media::probe::Limits;

/// A slice that still misses frames.
struct OpenSlice {
    index: usize,
    cut: Cut,
    path: PathBuf,
    writer: NutWriter,
}

/// As [`crate::media::slice()`]. Each frame is decoded and coded once, however many slices it goes into; slices of pictures begin with
/// the first frame that they need, so few are open at once.
pub(in super::super) fn slice(
    path: &Path,
    format: Format,
    clip: &Clip,
    cuts: &[Cut],
    dir: &Path,
    on_slice: &mut dyn FnMut(usize, &Path) -> Result<(), MediaError>,
) -> Result<(), MediaError> {
    let limits = Limits::of_judged(clip);
    let header = Header::read(path, format, &limits)?;
    let changed = |detail: String| MediaError::SourceChanged { path: path.to_owned(), detail };
    let times = header.times();
    let is_the_same = (header.width, header.height) == (clip.width, clip.height)
        && header.pixel_format()? == clip.pixel_format
        && times.time_base == clip.time_base;
    if !is_the_same {
        return Err(changed("it is not the picture it was".to_owned()));
    }
    let mut frames = Frames::open(path, &header, &limits)?;
    let mut encoder = None;
    let mut waiting: VecDeque<(usize, Cut)> = cuts.iter().copied().enumerate().collect();
    let mut open: VecDeque<OpenSlice> = VecDeque::new();
    let mut number = 0;
    while !(waiting.is_empty() && open.is_empty()) {
        let Some(picture) = frames.next() else { return Err(changed(format!("it ends after {number} frames"))) };
        let Some(mut frame) = raster::to_frame(&picture?) else { return Err(changed("its samples differ".to_owned())) };
        let Some(&pts) = times.pts.get(number as usize) else {
            return Err(changed(format!("it has more than {number} frames")));
        };
        if waiting.front().is_none_or(|(_, cut)| cut.first_packet > number) && open.is_empty() {
            number += 1;
            continue;
        }
        let encoder = match &mut encoder {
            Some(encoder) => encoder,
            none => none.insert(lossless::open(&frame, clip.time_base, &lossless::PICTURE, 1)?),
        };
        while let Some((index, cut)) = waiting.pop_front_if(|(_, cut)| cut.first_packet <= number) {
            let path = dir.join(format!("{}-{}.nut", cut.start, cut.end));
            let parameters = codec::Parameters::from(&*encoder);
            let header = NutHeader { parameters, time_base: clip.time_base, properties: &lossless::PICTURE };
            open.push_back(OpenSlice { index, cut, writer: NutWriter::create(&path, header)?, path });
        }
        let mut packet = lossless::encode(encoder, &mut frame, number as i64)?;
        for slice in &mut open {
            let dts = number as i64 - slice.cut.last_packet as i64 - 1;
            slice.writer.write(&mut packet, pts - slice.cut.base_pts, dts)?;
        }
        number += 1;
        while let Some(done) = open.pop_front_if(|slice| slice.cut.last_packet < number) {
            done.writer.finish()?;
            on_slice(done.index, &done.path)?;
        }
    }
    Ok(())
}
