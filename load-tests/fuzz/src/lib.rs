//! The modules of facemill that parse what others send, and what the fuzz targets share.

#[path = "../../../src"]
#[expect(dead_code, reason = "some of what they hold is for modules that are not taken in")]
mod product {
    pub mod contract;
    pub mod error;
    pub mod frame;
    pub mod marks;
    pub mod media;
    pub mod photo;
    pub mod plan;
    pub mod seal;
    pub mod store {
        mod error;
        mod location;
        pub use error::LocationError;
        pub use location::Location;
    }
}
pub use product::*;

use std::path::Path;
use std::sync::Once;

use contract::{Clip, Cut, Keep, PacketInfo};
use media::{Limits, MediaError, WantedFrames};

/// Prepares FFmpeg, once.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(media::init);
}

/// Frames that a target decodes of one input: enough for every state of a decoder, and soon done.
const FRAMES: usize = 48;

/// Small limits, so that what is within them is soon done.
pub fn limits() -> Limits {
    Limits { max_pixels: 1 << 20, max_frames: 2000, ..Limits::default() }
}

/// A file with these bytes.
pub fn file_of(data: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("there is room for a temporary file");
    std::fs::write(file.path(), data).expect("there is room for a temporary file");
    file
}

/// Decodes the wanted frames of a slice.
pub fn decode(slice: &Path, times: std::ops::RangeInclusive<i64>) -> Result<usize, MediaError> {
    let mut frames = WantedFrames::open(slice, 1, times)?;
    let mut last = None;
    for number in 0..FRAMES {
        let Some(next) = frames.next()? else { return Ok(number) };
        assert!(last.is_none_or(|last| last < next.frame.pts()), "times increase");
        last = Some(next.frame.pts());
    }
    Ok(FRAMES)
}

/// What ingest and a lane do with a clip: probe, plan, slice, decode.
pub fn whole_way(path: &Path) -> Result<usize, MediaError> {
    let found = media::probe_tolerant(path, &Keep::default(), &limits());
    let strict = media::probe(path, &Keep::default(), &limits());
    assert!(strict.is_err() || found.is_ok(), "what is accepted is accepted with tolerance, too");
    let found = found?;
    check_times(&found.clip);
    let Ok(cuts) = plan::cut(&found.clip.pts, &found.packets, [16, 32], &|span| span) else { return Ok(0) };
    check_cuts(&cuts, &found.clip.pts, &found.packets);
    let dir = tempfile::tempdir().expect("there is room for a folder");
    let first = &cuts[..1];
    let times = found.clip.pts[first[0].lo as usize] - first[0].base_pts
        ..=found.clip.pts[first[0].hi as usize - 1] - first[0].base_pts;
    let mut frames = 0;
    media::slice(path, &found.clip, first, dir.path(), &mut |_, slice| {
        frames = decode(slice, times.clone())?;
        Ok(())
    })?;
    Ok(frames)
}

fn check_times(clip: &Clip) {
    assert!(!clip.pts.is_empty());
    assert!(clip.pts.is_sorted_by(|a, b| a < b), "times increase");
    assert!(clip.last_duration > 0, "the last frame is shown for a while");
}

/// What must hold of every plan.
pub fn check_cuts(cuts: &[Cut], pts: &[i64], packets: &[PacketInfo]) {
    let mut start = 0;
    for cut in cuts {
        assert_eq!(cut.start, start, "chunks follow each other");
        assert!(cut.start < cut.end && cut.lo <= cut.start && cut.end <= cut.hi, "{cut:?}");
        assert!(cut.first_packet <= cut.last_packet && (cut.last_packet as usize) < packets.len(), "{cut:?}");
        assert!(packets[cut.first_packet as usize].key, "{cut:?} begins with a keyframe");
        assert!(cut.base_pts <= pts[cut.lo as usize], "{cut:?} has no negative time");
        start = cut.end;
    }
    assert_eq!(start, pts.len() as u64, "all frames are in a chunk");
}
