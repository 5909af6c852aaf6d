//! The codec of the classic text protocol: a command line in, a [`Command`] or the exact refusal
//! out.
//!
//! Source: memcached `doc/protocol.txt`; replies and edge cases as measured on memcached 1.6.45.
//! Retrieval commands are not here: their key lists have no length limit and are read as they
//! arrive (`super::retrieve`).

use crate::memcache::store::{KEY_MAX, Verb};

/// A line and its end have to fit into this many bytes, except a list of keys to get.
pub const LINE_MAX: usize = 2048;

/// The largest value length that a line may declare; more is no length at all. What is larger
/// than the item size limit but not than this is swallowed.
pub const DECLARED_MAX: u64 = (1 << 31) - 3;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'a> {
    /// `set`, `add`, `replace`, `append`, `prepend`, `cas`: a value of `len` bytes follows.
    Store(Storage<'a>),
    /// `delete`.
    Delete {
        /// Which item.
        key: &'a [u8],
        /// Whether the reply is to be left out.
        noreply: bool,
    },
    /// `incr`, `decr`.
    Delta {
        /// Which item.
        key: &'a [u8],
        /// By how much.
        delta: u64,
        /// `incr` or `decr`.
        up: bool,
        /// Whether the reply is to be left out.
        noreply: bool,
    },
    /// `touch`.
    Touch {
        /// Which item.
        key: &'a [u8],
        /// The new expiry, as the client gave it.
        exptime: i64,
        /// Whether the reply is to be left out.
        noreply: bool,
    },
    /// `flush_all`.
    FlushAll {
        /// When, as the client gave it.
        delay: i64,
        /// Whether the reply is to be left out.
        noreply: bool,
    },
    /// `version`.
    Version,
    /// `verbosity`: accepted, changes nothing.
    Verbosity {
        /// Whether the reply is to be left out.
        noreply: bool,
    },
    /// `stats`.
    Stats(Topic),
    /// `quit`.
    Quit,
}

/// The line of a storage command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage<'a> {
    /// Which command, with the unique of `cas`.
    pub verb: Verb,
    /// Which item.
    pub key: &'a [u8],
    /// Opaque to the server.
    pub flags: u32,
    /// As the client gave it.
    pub exptime: i64,
    /// Length of the value, at most [`DECLARED_MAX`].
    pub len: u32,
    /// Whether the reply is to be left out.
    pub noreply: bool,
}

/// What `stats` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `stats`.
    General,
    /// `stats settings`.
    Settings,
    /// `stats reset`.
    Reset,
}

/// A line that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub error: Error,
    /// Bytes that follow the line and belong to it: a value and its line end. They are swallowed
    /// before the error is sent, so that data is never taken for commands.
    pub swallow: u64,
}

/// The errors of the protocol; [`Error::reply`] is the one place of their wire text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The value is not followed by a line end.
    BadDataChunk,
    /// Too few words, a number that is none, a key that is too long.
    BadFormat,
    /// The delta of incr or decr is not a 64-bit number.
    InvalidDelta,
    /// The exptime of touch or gat is no number.
    InvalidExptime,
    /// A line longer than [`LINE_MAX`].
    LineTooLong,
    /// incr or decr of something that is not a number.
    NonNumeric,
    /// Nothing can be removed to make room.
    OutOfMemory,
    /// Over the item size limit.
    TooLarge,
    /// No such command.
    Unknown,
    /// `flush_all` is switched off.
    FlushNotAllowed,
    /// The connections together hold as much as they may; not executed.
    TooBusy,
}

impl Error {
    /// The wire text, line end included.
    #[must_use]
    pub const fn reply(self) -> &'static [u8] {
        match self {
            Self::BadDataChunk => b"CLIENT_ERROR bad data chunk\r\n",
            Self::BadFormat => b"CLIENT_ERROR bad command line format\r\n",
            Self::InvalidDelta => b"CLIENT_ERROR invalid numeric delta argument\r\n",
            Self::InvalidExptime => b"CLIENT_ERROR invalid exptime argument\r\n",
            Self::LineTooLong => b"CLIENT_ERROR line too long: 2048 bytes at most, except get\r\n",
            Self::NonNumeric => b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            Self::OutOfMemory => b"SERVER_ERROR out of memory storing object\r\n",
            Self::TooLarge => b"SERVER_ERROR object too large for cache\r\n",
            Self::Unknown => b"ERROR\r\n",
            Self::FlushNotAllowed => b"CLIENT_ERROR flush_all not allowed\r\n",
            Self::TooBusy => b"SERVER_ERROR server too busy\r\n",
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, swallow: 0 }
    }
}

/// Parses a line without its line end. Work is bounded by [`LINE_MAX`].
///
/// # Errors
/// What the client is to be told, and what is to be swallowed first.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Refused> {
    // A leading space is an error; a line of two or three bytes cannot be a command.
    let (name, rest) = first_word(line);
    let words = Words(rest);
    match name {
        b"set" => storage(Verb::Set, words),
        b"add" => storage(Verb::Add, words),
        b"cas" => storage(Verb::Cas(0), words),
        b"incr" => delta(true, words),
        b"decr" => delta(false, words),
        b"touch" => touch(words),
        b"delete" => delete(words),
        b"append" => storage(Verb::Append, words),
        b"prepend" => storage(Verb::Prepend, words),
        b"replace" => storage(Verb::Replace, words),
        b"version" => Ok(Command::Version),
        b"verbosity" => verbosity(words),
        b"flush_all" => flush_all(words),
        b"stats" => stats(words),
        b"quit" => Ok(Command::Quit),
        b"get" | b"gets" | b"gat" | b"gats" => Err(Error::BadFormat.into()),
        // With its line end under four bytes: nothing that could have been meant.
        _ if line.len() < 2 => Err(Error::BadFormat.into()),
        _ => Err(Error::Unknown.into()),
    }
}

/// Whether a line that is no command looks like an HTTP request.
pub(crate) fn is_http(line: &[u8]) -> bool {
    line.split(|b| *b == b' ').next_back().is_some_and(|last| last.starts_with(b"HTTP/"))
}

/// A decimal number of 64 bits: digits only.
#[must_use]
pub fn parse_u64(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 20 {
        return None;
    }
    word.iter().try_fold(0u64, |n, &b| {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A decimal number that may be negative.
#[must_use]
pub fn parse_i64(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        None => parse_u64(word).and_then(|n| i64::try_from(n).ok()),
    }
}

/// The words of a line, separated by runs of spaces. A tab is part of a word.
struct Words<'a>(&'a [u8]);

impl<'a> Iterator for Words<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.0.iter().position(|b| *b != b' ')?;
        let (word, rest) = first_word(&self.0[start..]);
        self.0 = rest;
        Some(word)
    }
}

fn first_word(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len()))
}

/// `key flags exptime len [unique] [noreply]`. A good length is found first: whatever else is
/// wrong, the value that follows is then known to be a value.
fn storage(mut verb: Verb, mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let bad = Refused::from(Error::BadFormat);
    let (key, flags, exptime, len) =
        (|| Some((words.next()?, words.next()?, words.next()?, words.next()?)))().ok_or(bad)?;
    let len = parse_u64(len).filter(|n| *n <= DECLARED_MAX).ok_or(bad)?;
    let refused = Refused { error: Error::BadFormat, swallow: len + 2 };
    if let Verb::Cas(unique) = &mut verb {
        // Without its unique the line has too few words, and no length can be trusted.
        *unique = parse_u64(words.next().ok_or(bad)?).ok_or(refused)?;
    }
    let noreply = noreply(&mut words).map_err(|()| refused)?;
    let flags = parse_u64(flags).and_then(|n| u32::try_from(n).ok()).ok_or(refused)?;
    let exptime = parse_i64(exptime).ok_or(refused)?;
    if key.len() > KEY_MAX {
        return Err(refused);
    }
    Ok(Command::Store(Storage { verb, key, flags, exptime, len: len as u32, noreply }))
}

fn delta(up: bool, mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let key = key(&mut words)?;
    let by = words.next().ok_or(Error::BadFormat)?;
    let delta = parse_u64(by).ok_or(Error::InvalidDelta)?;
    let noreply = noreply(&mut words).map_err(|()| Error::BadFormat)?;
    Ok(Command::Delta { key, delta, up, noreply })
}

fn touch(mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let key = key(&mut words)?;
    let exptime = words.next().ok_or(Error::BadFormat)?;
    let exptime = parse_i64(exptime).ok_or(Error::InvalidExptime)?;
    let noreply = noreply(&mut words).map_err(|()| Error::BadFormat)?;
    Ok(Command::Touch { key, exptime, noreply })
}

/// `key [number] [noreply]`: the number is a relic that old clients still send.
fn delete(mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let key = key(&mut words)?;
    let rest = words.0;
    if words.next().is_some_and(|word| parse_u64(word).is_none()) {
        words.0 = rest;
    }
    let noreply = noreply(&mut words).map_err(|()| Error::BadFormat)?;
    Ok(Command::Delete { key, noreply })
}

fn flush_all(mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let rest = words.0;
    let delay = match words.next() {
        None => 0,
        Some(b"noreply") => {
            words.0 = rest;
            0
        }
        Some(word) => parse_i64(word).ok_or(Error::BadFormat)?,
    };
    let noreply = noreply(&mut words).map_err(|()| Error::BadFormat)?;
    Ok(Command::FlushAll { delay, noreply })
}

/// `level [noreply]` or `noreply`; which number the level is does not matter.
fn verbosity(mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    let level = words.next().ok_or(Error::Unknown)?;
    if level == b"noreply" {
        return Ok(Command::Verbosity { noreply: true });
    }
    parse_u64(level).ok_or(Error::BadFormat)?;
    let noreply = noreply(&mut words).map_err(|()| Error::BadFormat)?;
    Ok(Command::Verbosity { noreply })
}

fn stats(mut words: Words<'_>) -> Result<Command<'_>, Refused> {
    match words.next() {
        None => Ok(Command::Stats(Topic::General)),
        Some(b"settings") => Ok(Command::Stats(Topic::Settings)),
        Some(b"reset") => Ok(Command::Stats(Topic::Reset)),
        Some(_) => Err(Error::Unknown.into()),
    }
}

fn key<'a>(words: &mut Words<'a>) -> Result<&'a [u8], Error> {
    words.next().filter(|key| key.len() <= KEY_MAX).ok_or(Error::BadFormat)
}

/// The optional last word.
fn noreply(words: &mut Words<'_>) -> Result<bool, ()> {
    match (words.next(), words.next()) {
        (None, _) => Ok(false),
        (Some(b"noreply"), None) => Ok(true),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn set(line: &str) -> Result<Command<'_>, Refused> {
        parse(line.as_bytes())
    }

    #[test]
    fn a_key_may_be_called_noreply() {
        assert_eq!(set("delete noreply"), Ok(Command::Delete { key: b"noreply", noreply: false }));
        assert_eq!(
            set("delete noreply noreply"),
            Ok(Command::Delete { key: b"noreply", noreply: true })
        );
        let Ok(Command::Store(s)) = set("set noreply 0 0 1") else { panic!() };
        assert_eq!((s.key, s.noreply), (&b"noreply"[..], false));
    }

    #[test]
    fn a_bad_word_beside_a_good_length_swallows_the_value() {
        let swallow = Err(Refused { error: Error::BadFormat, swallow: 7 });
        assert_eq!(set("set k x 0 5"), swallow);
        assert_eq!(set("set k 4294967296 0 5"), swallow);
        assert_eq!(set("set k -1 0 5"), swallow);
        assert_eq!(set("set k 0 y 5"), swallow);
        assert_eq!(set("set k 0 0 5 what"), swallow);
        assert_eq!(set("cas k 0 0 5 z"), swallow);
        assert_eq!(set(&format!("set {} 0 0 5", "k".repeat(251))), swallow);
    }

    #[test]
    fn a_hostile_length_is_no_length() {
        let refused = Err(Error::BadFormat.into());
        for len in ["-300", "-1", "2147483646", "99999999999999999999999", "0x10", "5.", ""] {
            assert_eq!(set(&format!("set k 0 0 {len}")), refused, "{len}");
        }
        let Ok(Command::Store(s)) = set("set k 0 0 2147483645") else { panic!() };
        assert_eq!(u64::from(s.len), DECLARED_MAX);
    }

    #[test]
    fn delete_takes_a_number_and_no_more() {
        for line in ["delete k 0", "delete k 10", "delete k"] {
            assert_eq!(set(line), Ok(Command::Delete { key: b"k", noreply: false }));
        }
        for line in ["delete k 0 noreply", "delete k noreply"] {
            assert_eq!(set(line), Ok(Command::Delete { key: b"k", noreply: true }));
        }
        for line in ["delete", "delete a b", "delete a b c d e", "delete k 0 noreply x"] {
            assert_eq!(set(line), Err(Error::BadFormat.into()), "{line}");
        }
    }

    #[test]
    fn verbosity_takes_a_number_and_no_more() {
        assert_eq!(set("verbosity 0"), Ok(Command::Verbosity { noreply: false }));
        assert_eq!(set("verbosity 1 noreply"), Ok(Command::Verbosity { noreply: true }));
        assert_eq!(set("verbosity"), Err(Error::Unknown.into()));
        // Without a number and without a reply: libmemcached's capability test sends it.
        assert_eq!(set("verbosity noreply"), Ok(Command::Verbosity { noreply: true }));
        for line in ["verbosity foo bar my", "verbosity x", "verbosity 1 2"] {
            assert_eq!(set(line), Err(Error::BadFormat.into()), "{line}");
        }
    }

    #[test]
    fn numbers_at_their_edges() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_i64(b"9223372036854775808"), None);
        for bad in [&b""[..], b"-", b"--1", b"+1", b"1x", b" 1"] {
            assert_eq!((parse_u64(bad), parse_i64(bad)), (None, None));
        }
    }

    #[test]
    fn spaces_separate_and_tabs_do_not() {
        assert_eq!(
            set("touch  k\t  -5   noreply  "),
            Ok(Command::Touch { key: b"k\t", exptime: -5, noreply: true })
        );
        assert_eq!(set(" version"), Err(Error::Unknown.into()));
        assert_eq!(set("version and more"), Ok(Command::Version));
        assert_eq!(set(""), Err(Error::BadFormat.into()));
        assert_eq!(set("SET k 0 0 1"), Err(Error::Unknown.into()));
    }
}
