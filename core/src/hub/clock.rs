//! The built-in topic: the time.

use core::time::Duration;

/// The name of the built-in topic.
pub const UTC_TIME: &[u8] = b"utc_time";
/// How often it has a value.
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Bytes of its values.
pub const TIME_LEN: usize = 24;

/// The value for a moment: `20261121 09:05:00.000000`, UTC, the Gregorian calendar. Good until
/// the year 9999.
#[must_use]
pub fn utc_time(unix_ms: u64) -> [u8; TIME_LEN] {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = date(days);
    let second = ms / 1000;
    let mut text = *b"00000000 00:00:00.000000";
    let fields = [
        (0, 4, year),
        (4, 2, month),
        (6, 2, day),
        (9, 2, second / 3600),
        (12, 2, second / 60 % 60),
        (15, 2, second % 60),
        (18, 3, ms % 1000),
    ];
    for (at, width, mut value) in fields {
        for digit in text[at..at + width].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    }
    text
}

/// Year, month and day, so many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end, and 400 of them repeat.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year + u64::from(month >= 10);
    (year, if month < 10 { month + 3 } else { month - 9 }, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let cases: [(u64, &[u8; TIME_LEN]); 6] = [
            (0, b"19700101 00:00:00.000000"),
            (951_782_399_999, b"20000228 23:59:59.999000"),
            (951_782_400_000, b"20000229 00:00:00.000000"),
            (951_868_800_000, b"20000301 00:00:00.000000"),
            (4_107_542_399_000, b"21000228 23:59:59.000000"),
            (4_107_542_400_000, b"21000301 00:00:00.000000"),
        ];
        for (ms, text) in cases {
            assert_eq!(utc_time(ms), *text, "{ms}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = date(0);
        for days in 1..200_000 {
            let next = date(days);
            let (y, m, d) = last;
            let follows = [(y, m, d + 1), (y, m + 1, 1), (y + 1, 1, 1)].contains(&next);
            assert!(follows && next.1 <= 12 && next.2 <= 31, "{last:?} {next:?}");
            last = next;
        }
    }
}
