//! The frames that a chunk wants, each at its own time; where packets are broken, a neighbour stands in.
//!
//! Frame counts and times stay, whatever is broken. Which frame stands in depends on the clip, and not on how it was cut: the last
//! whole one before, if it belongs to the same GOP; else the next whole one. (Only where no next one lies in the slice does one of
//! an earlier GOP stand in, and where the slice has no whole frame at all, black ones; where every packet is a keyframe, the whole
//! slice counts as one GOP, so that the last one before stands in.)
//!
//! *Broken* is a frame that does not come out of the decoder, or that comes out marked: parts of it were made up
//! (`decode_error_flags`: error concealment of H.264, MPEG-1, -2 and -4), or it refers to frames that are missing
//! (`AV_FRAME_FLAG_CORRUPT`). Frames after it that the decoder takes for whole are shown, as every player does, although they may
//! show traces of it up to the next keyframe. What a decoder does not notice (HEVC hides most of its errors) is shown too. A mark
//! that the container puts on a packet (MPEG-TS: a gap in its counter) counts for nothing by itself: at the seams of clips that were
//! put together such packets are whole. Packets that a file which was cut off does not have any more are broken, too.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::decode::{SliceDecoder, State, Step};
use super::decoded::Decoded;
use super::error::MediaError;
use super::{input, nut::NutReader};

/// Reads the wanted frames of a slice, in display order.
pub struct WantedFrames {
    slice: PathBuf,
    /// When they are shown, ticks of the slice, increasing.
    times: Vec<i64>,
    /// Where decoding can start anew, in decode order.
    keys: Vec<Key>,
    /// Every packet is a keyframe.
    only_keys: bool,
    /// How many have been handed out.
    next: usize,
    pass: Pass,
}

/// A frame at a time that was wanted.
pub struct Wanted {
    /// The frame.
    pub frame: Decoded,
    /// What it shows.
    pub shows: Shows,
}

/// What a frame shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Its own picture.
    Own,
    /// Its own is broken: another one's.
    Neighbour,
    /// No picture of the slice is whole: nothing, which is black.
    Nothing,
}

#[derive(Clone, Copy)]
struct Key {
    packet: u64,
    pts: i64,
}

#[expect(clippy::large_enum_variant, reason = "a slice has one")]
enum Pass {
    /// As long as nothing is broken.
    Quick(SliceDecoder),
    Careful(Careful),
}

/// Decodes from the slice's beginning once more: every frame, on one thread, so that what a decoder makes of broken packets does not
/// depend on threads or on what was skipped. From a keyframe that is broken on with a fresh decoder, which knows nothing of what
/// came before: in another cut, it could not.
struct Careful {
    decoder: SliceDecoder,
    /// The packet that it began with.
    from: u64,
    /// Up to this time it is known which frames come out.
    judged: i64,
    /// The last whole frame before the next wanted one.
    before: Option<Decoded>,
    /// A whole frame at the next wanted one's time, or after it.
    ahead: Option<Decoded>,
    has_ended: bool,
}

impl WantedFrames {
    /// Those of `slice` whose times lie in `times`, ticks of the slice. `threads`: see [`SliceDecoder::open`].
    ///
    /// # Errors
    /// [`MediaError::File`] where the slice cannot be read, [`MediaError::Decode`] where there is no decoder for it.
    pub fn open(slice: &Path, threads: usize, times: RangeInclusive<i64>) -> Result<Self, MediaError> {
        let mut reader = NutReader::open(slice, None)?;
        let (mut wanted, mut keys, mut packets) = (Vec::new(), Vec::new(), 0);
        while let Some(packet) = reader.next()? {
            let pts = packet.pts().unwrap_or_default();
            if packet.is_key() {
                keys.push(Key { packet: packets, pts });
            }
            if times.contains(&pts) && !input::is_hidden(&packet) {
                wanted.push(pts);
            }
            packets += 1;
        }
        wanted.sort_unstable();
        wanted.dedup();
        let mut decoder = SliceDecoder::open(slice, threads)?;
        decoder.skip_before(*times.start());
        let only_keys = keys.len() as u64 == packets;
        Ok(Self { slice: slice.to_owned(), times: wanted, keys, only_keys, next: 0, pass: Pass::Quick(decoder) })
    }

    /// When the wanted frames are shown.
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// The next wanted frame; `None` after the last.
    ///
    /// # Errors
    /// [`MediaError::PictureChanged`]; [`MediaError::File`]; [`MediaError::Decode`] where there is not even a black frame.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would hide that it ends after an error")]
    pub fn next(&mut self) -> Result<Option<Wanted>, MediaError> {
        let Some(&wanted) = self.times.get(self.next) else { return Ok(None) };
        if let Pass::Quick(decoder) = &mut self.pass {
            match quick(decoder, wanted)? {
                Some(frame) => {
                    self.next += 1;
                    return Ok(Some(Wanted { frame, shows: Shows::Own }));
                }
                None => self.pass = Pass::Careful(Careful::open(&self.slice)?),
            }
        }
        let Pass::Careful(careful) = &mut self.pass else { return Ok(None) };
        careful.read_up_to(wanted, &self.slice, if self.only_keys { &[] } else { &self.keys })?;
        let gop = match self.only_keys {
            true => i64::MIN,
            false => self.keys.iter().map(|key| key.pts).filter(|pts| *pts <= wanted).max().unwrap_or(i64::MIN),
        };
        let found = careful.frame_at(wanted, gop);
        let black = || careful.decoder.black(wanted).map(|frame| Wanted { frame, shows: Shows::Nothing });
        let Some(found) = found.or_else(black) else { return Err(careful.decoder.failure()) };
        self.next += 1;
        Ok(Some(found))
    }
}

/// The frame at `wanted`; `None` as soon as anything is broken.
fn quick(decoder: &mut SliceDecoder, wanted: i64) -> Result<Option<Decoded>, MediaError> {
    loop {
        match decoder.step()? {
            Step::Frame { frame, state } => match frame.pts().cmp(&wanted) {
                Ordering::Less if state != State::MadeUp => {} // needed by the decoder only
                Ordering::Equal if state == State::Whole => return Ok(Some(frame)),
                _ => return Ok(None),
            },
            // After an open GOP's keyframe come packets that need the GOP before.
            Step::Broken if !decoder.has_begun() => {}
            Step::Broken | Step::End => return Ok(None),
        }
    }
}

impl Careful {
    fn open(slice: &Path) -> Result<Self, MediaError> {
        let decoder = SliceDecoder::open_at(slice, 1, 0)?;
        Ok(Self { decoder, from: 0, judged: i64::MIN, before: None, ahead: None, has_ended: false })
    }

    /// Reads until a whole frame at `wanted` or after it is known, or there is none.
    fn read_up_to(&mut self, wanted: i64, slice: &Path, keys: &[Key]) -> Result<(), MediaError> {
        while self.ahead.is_none() && !self.has_ended {
            let (shown, frame) = match self.decoder.step()? {
                Step::Broken => continue,
                Step::Frame { frame, .. } if frame.pts() <= self.judged => continue,
                Step::Frame { frame, state } => (frame.pts(), Some(frame).filter(|_| state == State::Whole)),
                Step::End => (i64::MAX, None),
            };
            let is_behind = |key: &&Key| key.packet > self.from && key.pts > self.judged;
            let is_broken = |key: &&Key| key.pts < shown || key.pts == shown && frame.is_none();
            if let Some(key) = keys.iter().filter(is_behind).filter(is_broken).min_by_key(|key| key.pts) {
                self.decoder = SliceDecoder::open_at(slice, 1, key.packet)?;
                (self.from, self.judged) = (key.packet, key.pts - 1);
                continue;
            }
            (self.judged, self.has_ended) = (shown, shown == i64::MAX);
            match frame {
                Some(frame) if frame.pts() < wanted => self.before = Some(frame),
                frame => self.ahead = frame,
            }
        }
        Ok(())
    }

    /// The frame at `wanted`, or what stands in for it; `gop` is when its GOP's first frame is shown.
    fn frame_at(&mut self, wanted: i64, gop: i64) -> Option<Wanted> {
        if let Some(frame) = self.ahead.take_if(|ahead| ahead.pts() == wanted) {
            self.before = Some(frame.repeated_at(wanted));
            return Some(Wanted { frame, shows: Shows::Own });
        }
        let same_gop = self.before.as_ref().filter(|before| before.pts() >= gop);
        let other = same_gop.or(self.ahead.as_ref()).or(self.before.as_ref())?;
        Some(Wanted { frame: other.repeated_at(wanted), shows: Shows::Neighbour })
    }
}
