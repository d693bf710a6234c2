//! The frames of a clip that are looked at before any work is spent: some behind each of some keyframes, spread over the clip.

use std::path::Path;

use crate::contract::{Clip, Cut, Plan};
use crate::media::{self, Decoded, MediaError, Shows, WantedFrames};
use crate::plan;
use crate::site::SiteError;
use crate::vision::VisionError;

use super::IngestError;
use super::clip::unusable;

/// Calls `look` for each of them, in order, with the seconds from the clip's first frame; pixels can be looked at. `dir` is for files in
/// work.
pub fn each(
    plan: &Plan,
    target: &Path,
    dir: &Path,
    look: &mut dyn FnMut(&Decoded, f64) -> Result<(), VisionError>,
) -> Result<(), IngestError> {
    std::fs::create_dir_all(dir).map_err(SiteError::from)?;
    let mut cut = |number: usize, slice: &Path| {
        let seen = stretch(plan, number, slice, look);
        std::fs::remove_file(slice).ok();
        seen
    };
    media::slice(target, &plan.clip, &plan.looks, dir, &mut cut).map_err(|error| unusable(&error))
}

/// Calls `look` for the picture of a still; as [`each`].
pub fn still(
    clip: &Clip,
    target: &Path,
    dir: &Path,
    look: &mut dyn FnMut(&Decoded) -> Result<(), VisionError>,
) -> Result<(), IngestError> {
    std::fs::create_dir_all(dir).map_err(SiteError::from)?;
    let mut cut = |_, slice: &Path| {
        let mut frames = WantedFrames::open(slice, 1, 0..=0)?;
        let frame = frames.next()?;
        std::fs::remove_file(slice).ok();
        match frame {
            Some(next) => look(&next.frame.viewable()?.shown_turned(clip.turn)).map_err(MediaError::caller),
            None => Ok(()),
        }
    };
    media::slice(target, clip, &[Cut::STILL], dir, &mut cut).map_err(|error| unusable(&error))
}

fn stretch(
    plan: &Plan,
    number: usize,
    slice: &Path,
    look: &mut dyn FnMut(&Decoded, f64) -> Result<(), VisionError>,
) -> Result<(), MediaError> {
    let (stretch, clip) = (&plan.looks[number], &plan.clip);
    let time = |frame: u64| clip.pts[frame as usize] - stretch.base_pts;
    let wanted: Vec<i64> = plan::looked_at(stretch, plan.looks.len()).map(time).collect();
    let mut frames = WantedFrames::open(slice, 1, time(stretch.start)..=time(stretch.end - 1))?;
    while let Some(next) = frames.next()? {
        if next.shows != Shows::Own || wanted.binary_search(&next.frame.pts()).is_err() {
            continue;
        }
        let ticks = next.frame.pts() + stretch.base_pts - clip.pts[0];
        let seconds = ticks as f64 * f64::from(clip.time_base.num) / f64::from(clip.time_base.den);
        let frame = next.frame.viewable()?.shown_turned(clip.turn);
        look(&frame, seconds).map_err(MediaError::caller)?;
    }
    Ok(())
}
