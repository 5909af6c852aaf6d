//! Numbers as incr and decr read them.

/// Reads a decimal u64: white space, one `+` and zeros before it are tolerated, white space after
/// it too. Everything else is not a number: a sign `-`, a letter, nothing, more than 2^64 - 1.
///
/// memcached also takes `12 abc` for 12 and would overwrite the rest; here it is not a number.
pub(super) fn parse(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.trim_ascii();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerated_forms() {
        for (text, number) in [
            ("0", 0),
            ("18446744073709551615", u64::MAX),
            ("99 ", 99),
            ("  7", 7),
            ("+5", 5),
            (" +005   ", 5),
            ("000000000000000000000000000001", 1),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(number), "{text:?}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            " ",
            "+",
            "-1",
            "1a",
            "a",
            "1 2",
            "12 abc",
            "++1",
            "+ 1",
            "1.0",
            "0x1",
            "18446744073709551616",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
