//! What [`crate::media::probe()`] says of a picture.

use std::path::Path;

use super::header::{Header, Times};
use super::{format_of, lossless};
use crate::contract::{Clip, Keep, PacketInfo, Ratio};
use crate::frame::Turn;
use crate::media::error::MediaError;
use crate::media::probe::{Limits, Probe, over_limit};
use crate::media::properties::{Orientation, PictureProperties};

/// The picture at `path` as a clip; `None` if it is none.
///
/// # Errors
/// [`MediaError::Picture`], [`MediaError::Truncated`], [`MediaError::OverLimit`], [`MediaError::UnsupportedCodec`],
/// [`MediaError::NothingKept`].
pub(in super::super) fn probe(path: &Path, keep: &Keep, limits: &Limits) -> Result<Option<Probe>, MediaError> {
    let Some(format) = format_of(path) else { return Ok(None) };
    let header = Header::read(path, format, limits)?;
    let Times { time_base, mut pts, last_duration } = header.times();
    let packets = pts.iter().map(|&pts| PacketInfo { pts, key: true, hidden: false, gradual: false }).collect();
    let ticks_per_second = f64::from(time_base.den) / f64::from(time_base.num);
    let end = pts.last().copied().unwrap_or(0) + last_duration;
    let seconds = end as f64 / ticks_per_second;
    over_limit("length in seconds", seconds.ceil() as u64, limits.max_seconds)?;

    let frames = pts.len();
    let kept = keep.of(&pts, time_base.num, time_base.den);
    if kept.is_empty() {
        return Err(MediaError::NothingKept { frames: frames as u64, seconds });
    }
    let last_duration = pts.get(kept.end).map_or(last_duration, |next| next - pts[kept.end - 1]);
    pts.truncate(kept.end);
    pts.drain(..kept.start);
    let frame_rate = match header.animation {
        Some(_) => {
            let per_1000_seconds = (frames as f64 / seconds * 1000.0).round().max(1.0) as i32;
            match per_1000_seconds % 1000 {
                0 => Ratio { num: per_1000_seconds / 1000, den: 1 },
                _ => Ratio { num: per_1000_seconds, den: 1000 },
            }
        }
        None => Ratio { num: 25, den: 1 },
    };
    let clip = Clip {
        format: format.name().to_owned(),
        stream: 0,
        codec: if header.animation.is_some() { "animation" } else { "still" }.to_owned(),
        width: header.width,
        height: header.height,
        pixel_format: header.pixel_format()?.to_owned(),
        time_base,
        frame_rate,
        pts,
        last_duration,
        packet_pts: Vec::new(),
        restarts: Vec::new(),
        hdr: None,
        hidden: Vec::new(),
        truncated: false,
        lost_from: None,
        turn: Turn::None,
        mirrored: false,
        stills: Vec::new(),
    };
    let (primaries, transfer) = (header.space.primaries.into(), header.space.transfer.into());
    let colors = PictureProperties { primaries, transfer, ..lossless::PICTURE };
    let appearance = colors.in_words(Orientation::default());
    let more_pages = "only the first page of the file is worked on and kept".to_owned();
    let warnings = header.has_more_pages.then_some(more_pages).into_iter().collect();
    Ok(Some(Probe { clip, appearance, packets, warnings }))
}
