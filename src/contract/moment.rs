//! A place in a clip: a frame's number or a time.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Refusal;
use crate::frame::FrameIndex;

/// Nanoseconds per second.
const NANOS: u64 = 1_000_000_000;
/// Longest time that can be named: a thousand hours.
const SECONDS_MAX: u64 = 3_600_000;
const EXPECTED: &str = "a frame's number (250) or a time from the first frame (12.5s, 1:02.5, 1:00:02)";

/// A place in a clip, counted from its first frame: `250` is a frame's number, from 0; `12.5s`, `1:02.5` and `1:00:02` are times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// A frame's number, from 0.
    Frame(FrameIndex),
    /// Nanoseconds from the time of the first frame.
    Time(u64),
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A place in a clip, counted from its first frame: \"250\" is a frame's number, from 0; \"12.5s\", \"1:02.5\" and \"1:00:02\" are times.",
            "type": "string",
            "pattern": r"^([0-9]+|[0-9]+(\.[0-9]{1,9})?s|([0-9]+:)?[0-9]{1,2}:[0-9]{2}(\.[0-9]{1,9})?)$",
        })
    }
}

impl FromStr for Moment {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let refuse = || Refusal::new("moment", format!("{text:.40?}"), EXPECTED);
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u64>().map_err(|_| refuse()),
            false => Err(refuse()),
        };
        if !text.contains([':', 's', '.']) {
            return Ok(Self::Frame(number(text)?));
        }
        let (clock, fraction) = match text.strip_suffix('s') {
            Some(seconds) => seconds.split_once('.').unwrap_or((seconds, "0")),
            None => text.split_once('.').unwrap_or((text, "0")),
        };
        let parts = clock.split(':').map(number).collect::<Result<Vec<u64>, _>>()?;
        let is_clock = !text.ends_with('s');
        let seconds = match parts[..] {
            [seconds] if !is_clock => Some(seconds),
            [minutes, seconds] if is_clock && seconds < 60 => minutes.checked_mul(60).map(|all| all + seconds),
            [hours, minutes, seconds] if is_clock && minutes < 60 && seconds < 60 => {
                hours.checked_mul(3600).map(|all| all + 60 * minutes + seconds)
            }
            _ => None,
        };
        let seconds = seconds.filter(|seconds| *seconds <= SECONDS_MAX).ok_or_else(refuse)?;
        if fraction.is_empty() || fraction.len() > 9 {
            return Err(refuse());
        }
        let nanos = number(&format!("{fraction:0<9}"))?;
        Ok(Self::Time(seconds * NANOS + nanos))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(frame) => write!(out, "{frame}"),
            Self::Time(nanos) if nanos % NANOS == 0 => write!(out, "{}s", nanos / NANOS),
            Self::Time(nanos) => {
                let fraction = format!("{:09}", nanos % NANOS);
                write!(out, "{}.{}s", nanos / NANOS, fraction.trim_end_matches('0'))
            }
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

/// Which frames of a clip are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// From this one on.
    pub start: Option<Moment>,
    /// Up to this one, which is not.
    pub end: Option<Moment>,
    /// Of these, at most so many.
    pub limit: Option<u64>,
}

impl Keep {
    /// Whether frames at the end may be left out.
    pub fn has_end(&self) -> bool {
        self.end.is_some() || self.limit.is_some()
    }

    /// The frames that are kept of those shown at `pts`: increasing, in ticks of `num`/`den` seconds.
    pub fn of(&self, pts: &[i64], num: i32, den: i32) -> std::ops::Range<usize> {
        let place = |moment: Moment| match moment {
            Moment::Frame(frame) => usize::try_from(frame).unwrap_or(usize::MAX).min(pts.len()),
            Moment::Time(nanos) => pts.partition_point(|time| {
                // Exact: a frame that is shown at the very time is not before it.
                let ticks = i128::from(time - pts[0]);
                ticks * i128::from(num) * i128::from(NANOS) < i128::from(nanos) * i128::from(den)
            }),
        };
        let start = self.start.map_or(0, place);
        let end = self.end.map_or(pts.len(), place).max(start);
        let limit = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        start..end.min(start.saturating_add(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_times() {
        for (text, expected, written) in [
            ("0", Moment::Frame(0), "0"),
            ("250", Moment::Frame(250), "250"),
            ("12s", Moment::Time(12 * NANOS), "12s"),
            ("12.5s", Moment::Time(12_500_000_000), "12.5s"),
            ("0.040s", Moment::Time(40_000_000), "0.04s"),
            ("1:02.5", Moment::Time(62_500_000_000), "62.5s"),
            ("1:00:02", Moment::Time(3602 * NANOS), "3602s"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap(), expected, "{text}");
            assert_eq!(expected.to_string(), written);
            assert_eq!(written.parse::<Moment>().unwrap(), expected);
        }
        for bad in [
            "",
            "s",
            "-1",
            "1.5",
            "1:60",
            "1:2:3:4",
            "1:02s",
            ".5s",
            "1.s",
            "1.0000000001s",
            "x",
            "9999999:00",
            "+1",
            "1:",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_kept() {
        let pts: Vec<i64> = (0..10).map(|frame| 500 + frame * 40).collect();
        let moment = |text: &str| text.parse::<Moment>().ok();
        for (start, end, limit, expected) in [
            ("", "", None, 0..10),
            ("2", "", None, 2..10),
            ("", "4", None, 0..4),
            ("0.08s", "0.16s", None, 2..4),
            ("0.081s", "0.161s", None, 3..5),
            ("2", "9", Some(3), 2..5),
            ("20", "", None, 10..10),
            ("5", "3", None, 5..5),
        ] {
            let keep = Keep { start: moment(start), end: moment(end), limit };
            assert_eq!(keep.of(&pts, 1, 1000), expected, "{keep:?}");
        }
        assert_eq!(Keep::default().of(&[], 1, 1000), 0..0);
    }
}
