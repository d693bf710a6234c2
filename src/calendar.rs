//! Moments as people and other programs read them: RFC 3339, in UTC.

use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{Date, Duration, OffsetDateTime, UtcOffset};

/// `2026-11-22T16:40:05Z`, or with up to three digits of a second more where they are not zero. From milliseconds since 1970.
pub fn rfc3339(millis: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{millis} ms"))
}

/// The same to the second.
pub fn to_the_second(millis: i64) -> String {
    rfc3339(millis.div_euclid(1000) * 1000)
}

/// Reads a moment, milliseconds since 1970: RFC 3339, a date (its first moment in UTC), or how long ago (`30m`, `24h`, `7d`), before `now`.
pub fn parse(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = ago(text) {
        return now.checked_sub(i64::try_from(ago.whole_milliseconds()).ok()?);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| Date::parse(text, &Iso8601::DATE).map(|date| date.midnight().assume_offset(UtcOffset::UTC)));
    moment.ok().and_then(|moment| i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok())
}

fn ago(text: &str) -> Option<Duration> {
    let number = text.get(..text.len().checked_sub(1)?)?;
    let count: i64 = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())??;
    match text.as_bytes().last()? {
        b'm' => Some(Duration::minutes(count.min(1 << 40))),
        b'h' => Some(Duration::hours(count.min(1 << 30))),
        b'd' => Some(Duration::days(count.min(1 << 30))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `date -u -d @SECONDS +%FT%TZ`.
    #[test]
    fn moments_read_as_rfc_3339() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ];
        for (millis, expected) in table {
            assert_eq!(to_the_second(millis), expected);
        }
        assert_eq!(rfc3339(951_782_399_120), "2000-02-28T23:59:59.12Z");
    }

    #[test]
    fn moments_are_named_as_dates_times_or_how_long_ago() {
        let now = 1_709_251_200_000;
        let table = [
            ("2024-03-01", Some(now)),
            ("2024-03-01T00:00:00Z", Some(now)),
            ("2024-03-01T02:00:00.5+02:00", Some(now + 500)),
            ("1d", Some(now - 86_400_000)),
            ("36h", Some(now - 129_600_000)),
            ("5m", Some(now - 300_000)),
            ("d", None),
            ("-1d", None),
            ("2024-02-30", None),
            ("", None),
            ("é", None),
            ("yesterday", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text, now), expected, "{text}");
        }
    }
}
