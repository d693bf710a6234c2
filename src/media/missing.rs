//! What a file that was cut off does not have any more: told from a whole one, and when its missing frames would be shown.
//!
//! The index at the front of an MP4 names every frame with its time. Matroska and AVI only say how long the video is: its frames go on
//! as fast as those before. Other containers promise nothing, and their clips end with what is there.

use std::path::Path;

use ffmpeg::ffi;
use ffmpeg::format::context::Input;
use ffmpeg_next as ffmpeg;

use super::error::MediaError;
use super::probe::{TICKS_MAX, over_limit};
use super::{input, integrity};
use crate::contract::{Moment, PacketInfo, Ratio};

/// What is missing at the file's end, by what its container promises; `None` if nothing is known to be.
pub(super) fn end(input: &Input, stream: usize, path: &Path) -> Result<Option<String>, MediaError> {
    let unreadable = |source| MediaError::Unreadable { path: path.to_owned(), source };
    let length = path.metadata().map_err(unreadable)?.len();
    Ok(match integrity::cut_off(path).map_err(unreadable)? {
        Some(detail) => Some(detail),
        None if is_mp4(input) => integrity::shorter("its sample table", last_indexed_byte(input, stream), length),
        None => None,
    })
}

/// The video of a file that was cut off, as far as it is there.
pub(super) struct Rest<'a> {
    pub path: &'a Path,
    pub stream: usize,
    /// Its whole packets, in decode order.
    pub packets: &'a [PacketInfo],
    /// Their times are the container's own.
    pub is_timed: bool,
    pub time_base: Ratio,
    /// Of the frames before, frames per second.
    pub frame_rate: Ratio,
    /// Shown frames that the whole clip may have.
    pub max_frames: u64,
}

impl Rest<'_> {
    /// The packets that would follow, in decode order; none if nobody knows of any. No decoding can start at one.
    ///
    /// # Errors
    /// [`MediaError::OverLimit`], before they are counted one by one; as [`super::probe()`] for a file that cannot be opened.
    pub(super) fn lost_packets(&self, input: &Input) -> Result<Vec<PacketInfo>, MediaError> {
        let lost = self.known_to_be_lost(input)?;
        let furthest = lost.iter().map(|packet| packet.pts.unsigned_abs()).max().unwrap_or(0);
        over_limit("time in ticks", furthest, TICKS_MAX)?;
        Ok(lost)
    }

    fn known_to_be_lost(&self, input: &Input) -> Result<Vec<PacketInfo>, MediaError> {
        if is_mp4(input) && self.is_timed {
            let indexed = self.indexed()?;
            let is_known = |(found, indexed): (&PacketInfo, &PacketInfo)| found.pts == indexed.pts;
            if indexed.len() > self.packets.len() && self.packets.iter().zip(&indexed).all(is_known) {
                return Ok(indexed[self.packets.len()..].to_vec());
            }
        }
        let shown = self.packets.iter().filter(|packet| !packet.hidden);
        let (Some(last), Some(end)) = (shown.map(|packet| packet.pts).max(), self.promised_end(input)) else {
            return Ok(Vec::new());
        };
        let count = frames_until(end.saturating_sub(last), self.time_base, self.frame_rate);
        over_limit("number of frames", self.packets.len() as u64 + count, self.max_frames)?;
        let ticks = ticks_of_frames(self.time_base, self.frame_rate);
        Ok((1..=count).map(|frame| lost(last.saturating_add(ticks(frame)), false)).collect())
    }

    /// Every packet that the index of an MP4 names, also those of which nothing is in the file.
    fn indexed(&self) -> Result<Vec<PacketInfo>, MediaError> {
        let mut input = input::open_clip(self.path)?;
        input::read_only(&mut input, |index| index == self.stream);
        if let Some(mut stream) = input.stream_mut(self.stream) {
            // SAFETY: the stream and its index belong to `input`, which nothing else uses. The demuxer takes the times of packets from
            // the index's other parts; with these places it finds a byte of each packet, whatever is missing.
            unsafe {
                let stream = stream.as_mut_ptr();
                for entry in 0..ffi::avformat_index_get_entries_count(stream) {
                    if let Some(entry) = ffi::avformat_index_get_entry(stream, entry).cast_mut().as_mut() {
                        entry.pos = 0;
                        entry.set_size(1);
                    }
                }
            }
        }
        let mut packets = Vec::new();
        while let Ok(Some(packet)) = input::next_packet(&mut input) {
            if packet.stream() != self.stream {
                continue;
            }
            let Some(pts) = packet.pts() else { return Ok(Vec::new()) };
            packets.push(lost(pts, input::is_hidden(&packet)));
            over_limit("number of frames", packets.len() as u64 / 2, self.max_frames)?;
        }
        Ok(packets)
    }

    /// When the whole video would end, ticks.
    fn promised_end(&self, input: &Input) -> Option<i64> {
        let stream = input.stream(self.stream)?;
        let in_ticks = |amount: i64, base: ffmpeg::Rational| {
            // SAFETY: pure arithmetic.
            unsafe { ffi::av_rescale_q(amount, base.into(), stream.time_base().into()) }
        };
        let format = input.format();
        if format.name().contains("matroska") {
            let tag = stream.metadata().get("DURATION").and_then(|text| text.trim_end_matches('\0').parse().ok());
            return match tag {
                Some(Moment::Time(nanos)) => {
                    Some(in_ticks(i64::try_from(nanos).ok()?, ffmpeg::Rational::new(1, 1_000_000_000)))
                }
                _ => Some(input.duration())
                    .filter(|&length| length > 0)
                    .map(|length| in_ticks(length, ffmpeg::Rational::new(1, ffi::AV_TIME_BASE))),
            };
        }
        let length = match format.name() {
            "avi" => stream.frames(), // which last a tick each; FFmpeg makes the length anew, of what is there
            _ if is_mp4(input) => stream.duration(),
            _ => 0,
        };
        let start = Some(stream.start_time()).filter(|&start| start != ffi::AV_NOPTS_VALUE).unwrap_or(0);
        (length > 0).then(|| start.saturating_add(length))
    }
}

fn is_mp4(input: &Input) -> bool {
    input.format().name().contains("mp4")
}

fn lost(pts: i64, hidden: bool) -> PacketInfo {
    PacketInfo { pts, key: false, gradual: false, hidden }
}

/// Frames that are shown for half of their time at least within `left` ticks after the start of another one, without that one.
fn frames_until(left: i64, time_base: Ratio, rate: Ratio) -> u64 {
    let (frame, second) = ticks_per_frame(time_base, rate);
    match frame {
        1.. if left > 0 => {
            let frames = (i128::from(left) * second - frame / 2) / frame;
            u64::try_from(frames).unwrap_or(0)
        }
        _ => 0,
    }
}

/// How many ticks so many frames take, rounded.
fn ticks_of_frames(time_base: Ratio, rate: Ratio) -> impl Fn(u64) -> i64 {
    let (frame, second) = ticks_per_frame(time_base, rate);
    move |frames| {
        let ticks = (i128::from(frames) * frame + second / 2) / second.max(1);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

/// As a fraction: its numerator and denominator.
fn ticks_per_frame(time_base: Ratio, rate: Ratio) -> (i128, i128) {
    let product = |a: i32, b: i32| i128::from(a) * i128::from(b);
    match product(time_base.num, rate.num) {
        per_frame @ 1.. => (product(time_base.den, rate.den), per_frame),
        _ => (0, 1),
    }
}

/// One past the last byte that the container's index names.
fn last_indexed_byte(input: &Input, stream: usize) -> u64 {
    let stream = input.stream(stream).expect("the stream was found in this input");
    // SAFETY: the stream lives as long as `input`, and the entries until it is read further.
    unsafe {
        let stream = stream.as_ptr().cast_mut();
        (0..ffi::avformat_index_get_entries_count(stream))
            .filter_map(|entry| ffi::avformat_index_get_entry(stream, entry).as_ref())
            .map(|entry| u64::try_from(entry.pos + i64::from(entry.size())).unwrap_or(0))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECONDS: Ratio = Ratio { num: 1, den: 1000 };

    #[test]
    fn frames_go_on_at_their_rate_up_to_the_end() {
        let rate = Ratio { num: 25, den: 1 };
        for (left, frames) in [(-100, 0), (0, 0), (40, 0), (59, 0), (60, 1), (80, 1), (1000, 24), (1021, 25)] {
            assert_eq!(frames_until(left, MILLISECONDS, rate), frames, "{left} ms");
        }
        let film = Ratio { num: 24000, den: 1001 };
        let times: Vec<i64> = (0..5).map(ticks_of_frames(MILLISECONDS, film)).collect();
        assert_eq!(times, [0, 42, 83, 125, 167]);
        let unknown = Ratio { num: 0, den: 1 };
        assert_eq!(frames_until(1000, MILLISECONDS, unknown), 0);
        assert_eq!(frames_until(i64::MAX, Ratio { num: 1, den: i32::MAX }, Ratio { num: 1, den: i32::MAX }), 1);
    }
}
