//! Sizes, times and counts as people write them: `64M`, `10s`, `100k`.

use core::time::Duration;

/// Bytes, in powers of 1024: `512`, `128k`, `64M`, `64MiB`, `1g`. Whole numbers only.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let suffixes = [("", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1 << 40)];
    let (digits, suffix) = split(text);
    let suffix = suffix.to_ascii_lowercase();
    let unit = suffix.strip_suffix("ib").or_else(|| suffix.strip_suffix('b')).unwrap_or(&suffix);
    whole(digits, unit, &suffixes).ok_or_else(|| {
        format!("`{text}` is not a size: write bytes, or k, M, G for powers of 1024, such as 64M")
    })
}

/// How many of something, in powers of 1000: `50`, `100k`, `1M`. Whole numbers only.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let suffixes = [("", 1), ("k", 1_000), ("m", 1_000_000), ("g", 1_000_000_000)];
    let (digits, suffix) = split(text);
    whole(digits, &suffix.to_ascii_lowercase(), &suffixes)
        .ok_or_else(|| format!("`{text}` is not a count: write a whole number, or k, M, G for powers of 1000, such as 100k"))
}

/// A span of time: `10s`, `1.5s`, `250ms`, `20us`, `2m`, `1h`. A bare number is seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let (digits, suffix) = split(text);
    let unit = match suffix {
        "ns" => Some(1e-9),
        "us" | "µs" => Some(1e-6),
        "ms" => Some(1e-3),
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let number = digits.parse::<f64>().ok();
    unit.zip(number)
        .and_then(|(unit, number)| Duration::try_from_secs_f64(number * unit).ok())
        .ok_or_else(|| format!("`{text}` is not a time: write a number and ns, us, ms, s, m or h, such as 10s or 250ms"))
}

/// The number and what follows it.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn whole(digits: &str, unit: &str, suffixes: &[(&str, u64)]) -> Option<u64> {
    let (_, scale) = suffixes.iter().find(|(suffix, _)| *suffix == unit)?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_in_either_case() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("128k", 131_072),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("1gb", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn counts_are_powers_of_1000() {
        for (text, n) in [("50", 50), ("100k", 100_000), ("1M", 1_000_000)] {
            assert_eq!(count(text), Ok(n), "{text}");
        }
    }

    #[test]
    fn times_have_units_and_fractions() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("2", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("250ms", 250_000_000),
            ("20us", 20_000),
            ("5ns", 5),
            ("2m", 120_000_000_000),
        ] {
            assert_eq!(time(text).map(|t| t.as_nanos()), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for text in ["", "M", "-1", "1.5M", "64X", "1 M", "99999999999999999999", "17179869184G"] {
            assert!(size(text).is_err_and(|e| e.contains(text) && e.contains("64M")), "{text}");
        }
        for text in ["", "s", "-1s", "1.2.3s", "10 parsecs", "1e400h"] {
            assert!(time(text).is_err_and(|e| e.contains("250ms")), "{text}");
        }
        for text in ["", "1.5k", "10s"] {
            assert!(count(text).is_err_and(|e| e.contains("100k")), "{text}");
        }
    }
}
