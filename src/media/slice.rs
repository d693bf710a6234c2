//! Cuts a clip into slices: NUT files with exactly the packets that each chunk needs, written in one pass.
//!
//! Whoever gets a slice needs no seek and no index, and the same packets always make the same bytes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use ffmpeg::Packet;
use ffmpeg::format::context::Input;
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::input;
use super::nut::{Marks, NutHeader, NutWriter};
use super::pictures;
use super::properties::PictureProperties;
use crate::contract::{Clip, Cut};

/// Slices written at once. More only happens when many small chunks lie in one GOP, and then the clip is read again
/// for each 64: files are a process's scarce good (1024 by default).
const OPEN_SLICES: usize = 64;

/// Writes the slices of `cuts` into `dir`, named `<start>-<end>.nut`, and calls `on_slice` with the position in `cuts`
/// and the path as soon as each is complete. Reading stops after the last packet that is needed.
///
/// `cuts` are in order: `first_packet` does not decrease. (`last_packet` may: a last chunk that begins with a picture which was decoded
/// before those that are shown before it ends before them.)
///
/// Packets that the clip has lost ([`Clip::lost_from`]) have their places in the slices, and nothing in them.
///
/// # Errors
/// [`MediaError::SourceChanged`] if the file is not the one that was probed, [`MediaError::File`] if a slice cannot be
/// written, and whatever `on_slice` returns, which ends the pass.
pub fn slice(
    path: &Path,
    clip: &Clip,
    cuts: &[Cut],
    dir: &Path,
    on_slice: &mut dyn FnMut(usize, &Path) -> Result<(), MediaError>,
) -> Result<(), MediaError> {
    if let Some(format) = pictures::format_of(path) {
        return pictures::slice(path, format, clip, cuts, dir, on_slice);
    }
    let mut first = 0;
    for count in passes(cuts) {
        pass(path, clip, &cuts[first..first + count], dir, &mut |index, slice| on_slice(first + index, slice))?;
        first += count;
    }
    Ok(())
}

/// How many cuts each pass takes, so that never more than [`OPEN_SLICES`] are open.
fn passes(cuts: &[Cut]) -> Vec<usize> {
    let mut passes = Vec::new();
    let mut taken = 0;
    for (index, cut) in cuts.iter().enumerate() {
        let pass = &cuts[index - taken..index];
        let open = pass.iter().filter(|earlier| earlier.last_packet >= cut.first_packet).count();
        if open >= OPEN_SLICES {
            passes.push(taken);
            taken = 0;
        }
        taken += 1;
    }
    if taken > 0 {
        passes.push(taken);
    }
    passes
}

/// A slice that still misses packets.
struct OpenSlice {
    index: usize,
    cut: Cut,
    path: PathBuf,
    writer: NutWriter,
}

fn pass(
    path: &Path,
    clip: &Clip,
    cuts: &[Cut],
    dir: &Path,
    on_slice: &mut dyn FnMut(usize, &Path) -> Result<(), MediaError>,
) -> Result<(), MediaError> {
    let mut input = input::open_clip(path)?;
    let changed = |detail: String| MediaError::SourceChanged { path: path.to_owned(), detail };
    let ended = |number: u64| changed(format!("it ends after {number} video packets"));
    let time_base = input.stream(clip.stream).map(|stream| stream.time_base());
    if time_base != Some(ffmpeg::Rational::new(clip.time_base.num, clip.time_base.den)) {
        return Err(changed(format!("stream {} is not the video it was", clip.stream)));
    }
    input::read_only(&mut input, |index| index == clip.stream);

    let mut waiting: VecDeque<(usize, Cut)> = cuts.iter().copied().enumerate().collect();
    let mut open: Vec<OpenSlice> = Vec::new();
    let mut number = 0; // of the packet, in decode order
    while !(waiting.is_empty() && open.is_empty()) {
        let (mut packet, pts) = match clip.lost_from {
            Some(lost) if number >= lost => {
                let pts = clip.packet_pts.get(number as usize).copied();
                (Packet::copy(&[0]), pts.ok_or_else(|| ended(number))?)
            }
            _ => {
                let packet = input::next_packet(&mut input).map_err(|error| changed(input::reason(error)))?;
                let packet = packet.ok_or_else(|| ended(number))?;
                if packet.stream() != clip.stream {
                    continue;
                }
                let own = clip.packet_pts.get(number as usize).copied().or(packet.pts());
                (packet, own.ok_or_else(|| changed(format!("video packet {number} has no time")))?)
            }
        };
        while let Some((index, cut)) = waiting.pop_front_if(|(_, cut)| cut.first_packet <= number) {
            if !packet.is_key() {
                return Err(changed(format!("video packet {number} is no keyframe")));
            }
            open.push(start(&input, clip, index, cut, dir)?);
        }
        for slice in open.iter_mut().filter(|slice| number <= slice.cut.last_packet) {
            slice.write(&mut packet, number, pts).map_err(|error| {
                error.unwrap_or_else(|| changed(format!("video packet {number} lies before its slice's first time")))
            })?;
        }
        number += 1;
        while let Some(at) = open.iter().position(|slice| slice.cut.last_packet < number) {
            let done = open.remove(at);
            done.writer.finish()?;
            on_slice(done.index, &done.path)?;
        }
    }
    Ok(())
}

fn start(input: &Input, clip: &Clip, index: usize, cut: Cut, dir: &Path) -> Result<OpenSlice, MediaError> {
    let stream = input.stream(clip.stream).expect("the stream was checked when the clip was opened");
    // SAFETY: the stream lives as long as `input`.
    let properties = unsafe { PictureProperties::of_stream(stream.as_ptr()) };
    let path = dir.join(format!("{}-{}.nut", cut.start, cut.end));
    let parameters = stream.parameters();
    let header = NutHeader { parameters, time_base: clip.time_base, properties: &properties };
    let within = clip.hidden.partition_point(|packet| *packet < cut.first_packet)
        ..clip.hidden.partition_point(|packet| *packet <= cut.last_packet);
    let hidden: Vec<u64> = clip.hidden[within].iter().map(|packet| packet - cut.first_packet).collect();
    let lost_from = clip.lost_from.filter(|lost| *lost <= cut.last_packet).map(|lost| lost - cut.first_packet);
    let writer = NutWriter::create_marked(&path, header, &Marks { hidden, lost_from })?;
    Ok(OpenSlice { index, cut, path, writer })
}

impl OpenSlice {
    /// `Err(None)`: the packet lies before the slice's base time.
    fn write(&mut self, packet: &mut Packet, number: u64, pts: i64) -> Result<(), Option<MediaError>> {
        let pts = pts - self.cut.base_pts;
        if pts < 0 {
            return Err(None);
        }
        // Decoders go by PTS and order. Containers' DTS are often missing or wrong, so slices get their own: one tick
        // apart and all before the first PTS.
        let dts = number as i64 - self.cut.last_packet as i64 - 1;
        self.writer.write(packet, pts, dts).map_err(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(first_packet: u64, last_packet: u64) -> Cut {
        Cut { start: 0, end: 1, lo: 0, hi: 1, first_packet, last_packet, base_pts: 0 }
    }

    #[test]
    fn few_slices_are_open_at_once() {
        let in_a_row: Vec<Cut> = (0..1000).map(|k| cut(10 * k, 10 * k + 12)).collect();
        assert_eq!(passes(&in_a_row), [1000]);
        let one_gop: Vec<Cut> = (0..150).map(|k| cut(0, k)).collect();
        assert_eq!(passes(&one_gop), [64, 64, 22]);
        assert_eq!(passes(&[]), [0_usize; 0]);
    }
}
