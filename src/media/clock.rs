//! Clips whose clock starts anew on the way: recordings and downloads put together from MPEG-TS or MPEG-PS.
//!
//! Players let such a clip go on where the clock jumped, and so does its output. Each jump is found where the video's decode
//! time goes back; the other streams follow it at the packet at which their own time does. A gap (time goes forward) stays one.

use ffmpeg::Packet;
use ffmpeg::format::context::Input;
use ffmpeg_next as ffmpeg;

use super::streams::Time;

/// FFmpeg takes a clock that starts anew for one that has wrapped around, and adds 2^33 ticks: nothing else jumps as far. Seconds.
const WRAPPED: f64 = 12.0 * 3600.0;

/// Whether this container's clock may start anew.
fn may_restart(input: &Input) -> bool {
    matches!(input.format().name(), "mpegts" | "mpeg")
}

/// Follows the clock of the video.
pub(super) struct VideoClock {
    /// None where it cannot jump.
    wrapped: Option<i64>,
    /// Decode time of the packet before and how long it lasts, as the container counts.
    last: Option<(i64, i64)>,
    shift: i64,
    restarts: Vec<i64>,
}

impl VideoClock {
    /// The clock of `input`, which ticks every `seconds_per_tick`.
    pub(super) fn of(input: &Input, seconds_per_tick: f64) -> Self {
        let wrapped = may_restart(input).then_some((WRAPPED / seconds_per_tick) as i64);
        Self { wrapped, last: None, shift: 0, restarts: Vec::new() }
    }

    /// What is to be added to the times of this packet, the next of the video, ticks.
    pub(super) fn shift(&mut self, packet: &Packet) -> i64 {
        self.shift_at(packet.dts(), packet.duration())
    }

    fn shift_at(&mut self, dts: Option<i64>, duration: i64) -> i64 {
        let (Some(wrapped), Some(dts)) = (self.wrapped, dts) else { return self.shift };
        if let Some((last, lasted)) = self.last
            && (dts < last || dts - last > wrapped)
        {
            let jump = last + lasted - dts;
            self.shift += jump;
            self.restarts.push(jump);
        }
        let lasted = self.last.map_or(1, |(last, _)| dts - last);
        let lasts = if duration > 0 { duration } else { lasted.clamp(1, wrapped) };
        self.last = Some((dts, lasts));
        self.shift
    }

    /// What is added from each restart on, beside what was added before, ticks.
    pub(super) fn into_restarts(self) -> Vec<i64> {
        self.restarts
    }
}

/// Follows the clock of the streams beside the video, read in the file's order.
pub(super) struct OtherClocks {
    /// What is added before the first restart, after it, after the second, …; ticks.
    shifts: Vec<i64>,
    base: ffmpeg::Rational,
    streams: Vec<Followed>,
    /// The time of the packet before, of whichever stream.
    now: Option<i64>,
}

/// A stream beside the video.
#[derive(Clone, Copy, Default)]
struct Followed {
    /// How many restarts it has seen.
    restarts: usize,
    /// Where its last packet that was kept ends, on the clock that goes on.
    end: Option<i64>,
    /// No packet since the last restart has been kept yet.
    is_joining: bool,
}

impl OtherClocks {
    /// `restarts`: [`crate::contract::Clip::restarts`], in ticks of `base`.
    pub(super) fn new(restarts: &[i64], base: ffmpeg::Rational, streams: usize) -> Self {
        let mut shifts = vec![0];
        shifts.extend(restarts.iter().scan(0, |sum, jump| {
            *sum += jump;
            Some(*sum)
        }));
        Self { shifts, base, streams: vec![Followed::default(); streams], now: None }
    }

    /// Gives the packet, whose times are in `base`, its time on a clock that goes on. False where it has none: sound that was longer
    /// than the video before a restart takes the place of what comes first after it.
    pub(super) fn set(&mut self, packet: &mut Packet, base: ffmpeg::Rational) -> bool {
        let Some(ticks) = packet.dts().or(packet.pts()).filter(|_| self.shifts.len() > 1) else { return true };
        let in_own = |ticks: i64| Time { ticks, base }.in_base(self.base);
        let (ticks, duration) = (in_own(ticks), in_own(packet.duration()));
        let Some(shift) = self.shift_at(packet.stream(), ticks, duration) else { return false };
        let shift = Time { ticks: shift, base: self.base }.in_base(base);
        packet.set_pts(packet.pts().map(|ticks| ticks + shift));
        packet.set_dts(packet.dts().map(|ticks| ticks + shift));
        true
    }

    /// Of the shifts that the stream can have come to, the one that brings its time nearest to what was read before.
    fn shift_at(&mut self, stream: usize, ticks: i64, duration: i64) -> Option<i64> {
        let stream = self.streams.get_mut(stream)?;
        let now = self.now.unwrap_or(ticks);
        let apart = |restarts: &usize| (ticks + self.shifts[*restarts]).abs_diff(now);
        let restarts = (stream.restarts..self.shifts.len()).min_by_key(apart)?;
        stream.is_joining |= restarts > stream.restarts;
        stream.restarts = restarts;
        let time = ticks + self.shifts[restarts];
        self.now = Some(time);
        if stream.is_joining && stream.end.is_some_and(|end| time < end) {
            return None;
        }
        (stream.is_joining, stream.end) = (false, Some(time + duration.max(1)));
        Some(self.shifts[restarts])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_video_goes_on() {
        let wrapped = 1000;
        let mut clock = VideoClock { wrapped: Some(wrapped), last: None, shift: 0, restarts: Vec::new() };
        let seen = [(500, 10), (510, 10), (520, 0), (530, 0), (100, 0), (110, 0), (150, 10), (2000, 10), (2010, 10)];
        let shifted: Vec<i64> = seen.iter().map(|&(dts, duration)| dts + clock.shift_at(Some(dts), duration)).collect();
        assert_eq!(shifted, [500, 510, 520, 530, 540, 550, 590, 600, 610], "a gap of 40 stays");
        assert_eq!(clock.into_restarts(), [440, -1840]);

        let mut never = VideoClock { wrapped: None, last: None, shift: 0, restarts: Vec::new() };
        assert_eq!([500, 100].map(|dts| never.shift_at(Some(dts), 10)), [0, 0]);
    }

    #[test]
    fn other_streams_follow_each_at_its_own_packet() {
        let base = ffmpeg::Rational::new(1, 90_000);
        let mut clocks = OtherClocks::new(&[440, 125], base, 2);
        let read = [(0, 505), (1, 500), (0, 525), (0, 95), (1, 520), (0, 115), (1, 105), (0, 0), (1, 5), (0, 20)];
        let shifted: Vec<i64> =
            read.iter().filter_map(|&(stream, ticks)| Some(ticks + clocks.shift_at(stream, ticks, 15)?)).collect();
        assert_eq!(shifted, [505, 500, 525, 520, 555, 545, 570, 585], "what overlaps is left out");
    }
}
