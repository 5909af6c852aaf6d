//! RESP, the protocol of Redis: versions 2 and 3, and inline commands.
//!
//! ```text
//! *2 CRLF $3 CRLF GET CRLF $3 CRLF key CRLF      a request: an array of two bulk strings
//! 2A 32 0D 0A 24 33 0D 0A 47 45 54 0D 0A 24 33 0D 0A 6B 65 79 0D 0A
//!
//! GET key CRLF                                    the same, inline
//! +OK CRLF   -ERR no CRLF   :42 CRLF   $-1 CRLF   %1 CRLF +a CRLF :1 CRLF     replies
//! ```
//!
//! A frame is one whole value with everything nested in it. Nothing is allocated for a count, so
//! that what a peer can make us hold is what it sends, up to [`Resp::max_frame`]; counts, depth
//! and lengths are refused at their header. Every error is fatal: after one, RESP has no boundary
//! to go on at.
//!
//! ```
//! use drywire::frame::{frames, resp::{Kind, Resp, Tokens, Writer}};
//!
//! let mut wire = Vec::new();
//! Writer::new(&mut wire).array(2).bulk(b"GET").bulk(b"key");
//! let mut state = Default::default();
//! let frame = frames(&Resp::requests(), &mut state, &wire).next().unwrap()?;
//! let tokens: Vec<_> = Tokens::new(frame.bytes).map(|t| (t.depth, t.kind, t.data)).collect();
//! assert_eq!(tokens, [
//!     (0, Kind::Array, &b"2"[..]),
//!     (1, Kind::Bulk, b"GET"),
//!     (1, Kind::Bulk, b"key"),
//! ]);
//! # Ok::<(), drywire::frame::FrameError>(())
//! ```
//!
//! The payload is the whole value, or the content of an inline command;
//! [`Meta::kind`](crate::frame::Meta) is the type byte it begins with, zero for an inline command.
//!
//! Source: the Redis serialization protocol specification, RESP2 and RESP3. Its streamed strings
//! and aggregates (`$?`, `*?`), which no server sends, are refused as
//! [`Unsupported`](crate::frame::ErrorKind::Unsupported).

mod decode;
mod tokens;
mod write;

pub use decode::State;
pub use tokens::{Token, Tokens};
pub use write::Writer;

/// The RESP framing, in one of its two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resp {
    requests: bool,
    inline: bool,
    max_frame: u32,
    max_bulk: u32,
    max_count: u32,
    max_line: u16,
    max_depth: u8,
}

impl Resp {
    /// The deepest nesting of aggregates that can be allowed.
    pub const MAX_DEPTH: usize = 8;
    /// The longest line that can be allowed.
    pub const MAX_LINE: usize = 60_000;

    /// What a server reads: arrays of bulk strings, and inline commands.
    ///
    /// Limits: 1 MiB for a frame and for a bulk string, 1024 arguments, 4 KiB for an inline
    /// command.
    #[must_use]
    pub fn requests() -> Self {
        Self {
            requests: true,
            inline: true,
            max_frame: 1 << 20,
            max_bulk: 1 << 20,
            max_count: 1024,
            max_line: 4096,
            max_depth: 1,
        }
    }

    /// What a client reads: any value of RESP 2 or 3.
    ///
    /// Limits: 1 MiB for a frame and for a bulk string, 65536 elements in one aggregate, 8 levels,
    /// 4 KiB for a line.
    #[must_use]
    pub fn replies() -> Self {
        Self {
            requests: false,
            inline: false,
            max_count: 1 << 16,
            max_depth: Self::MAX_DEPTH as u8,
            ..Self::requests()
        }
    }

    /// The most bytes of one value, everything in it included (at most 2 GiB).
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes.min(i32::MAX as usize) as u32;
        self
    }

    /// The most bytes of one bulk string.
    #[must_use]
    pub fn max_bulk(mut self, bytes: usize) -> Self {
        self.max_bulk = bytes.min(i32::MAX as usize) as u32;
        self
    }

    /// The most elements of one aggregate; a pair of a map counts as two.
    #[must_use]
    pub fn max_count(mut self, count: usize) -> Self {
        self.max_count = count.min(i32::MAX as usize) as u32;
        self
    }

    /// The most bytes of a line without its type byte and its end: simple strings, errors, big
    /// numbers, inline commands (at most [`Resp::MAX_LINE`]).
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes.min(Self::MAX_LINE) as u16;
        self
    }

    /// The most levels of aggregates inside each other (at most [`Resp::MAX_DEPTH`]).
    #[must_use]
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.max_depth = levels.min(Self::MAX_DEPTH) as u8;
        self
    }

    /// Whether requests may be inline commands (they may, unless this says no).
    #[must_use]
    pub fn inline(mut self, allowed: bool) -> Self {
        self.inline = allowed && self.requests;
        self
    }
}

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Kind {
    /// `+`: a short text without line ends.
    Simple = b'+',
    /// `-`: an error in a line.
    Error = b'-',
    /// `:`: a signed 64-bit integer.
    Integer = b':',
    /// `$`: bytes of any kind.
    Bulk = b'$',
    /// `*`: a list of values.
    Array = b'*',
    /// `_`: nothing.
    Null = b'_',
    /// `#`: true or false.
    Boolean = b'#',
    /// `,`: a floating-point number as text.
    Double = b',',
    /// `(`: an integer of any size as text.
    BigNumber = b'(',
    /// `!`: an error of any bytes.
    BulkError = b'!',
    /// `=`: a text with its format, `txt:` or `mkd:`.
    Verbatim = b'=',
    /// `%`: pairs of values.
    Map = b'%',
    /// `~`: values in no order.
    Set = b'~',
    /// `|`: pairs of values that say something about the value that follows.
    Attribute = b'|',
    /// `>`: values that were not asked for; only outermost.
    Push = b'>',
}

impl Kind {
    /// The type with this type byte.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            b'+' => Self::Simple,
            b'-' => Self::Error,
            b':' => Self::Integer,
            b'$' => Self::Bulk,
            b'*' => Self::Array,
            b'_' => Self::Null,
            b'#' => Self::Boolean,
            b',' => Self::Double,
            b'(' => Self::BigNumber,
            b'!' => Self::BulkError,
            b'=' => Self::Verbatim,
            b'%' => Self::Map,
            b'~' => Self::Set,
            b'|' => Self::Attribute,
            b'>' => Self::Push,
            _ => return None,
        })
    }

    /// Whether a length and that many bytes follow.
    const fn is_bulk(self) -> bool {
        matches!(self, Self::Bulk | Self::BulkError | Self::Verbatim)
    }

    /// Whether a count and that many values follow.
    const fn is_aggregate(self) -> bool {
        matches!(self, Self::Array | Self::Map | Self::Set | Self::Attribute | Self::Push)
    }

    /// Whether its count is of pairs.
    const fn is_pairs(self) -> bool {
        matches!(self, Self::Map | Self::Attribute)
    }

    /// Whether `-1` stands for nothing.
    const fn has_null(self) -> bool {
        matches!(self, Self::Bulk | Self::Array)
    }
}

/// What the text of a line says, for types whose line has a grammar.
enum Text {
    Good,
    /// A length or count.
    Number(u64),
    /// `-1` for a length or count.
    Null,
    /// `?` for a length or count.
    Streamed,
    /// A negative length.
    Negative,
    Bad,
}

/// Judges the line of a value, without type byte and end.
fn judge(kind: Kind, text: &[u8]) -> Text {
    let digits = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let unsigned = |text: &[u8]| match text {
        [b'+' | b'-', rest @ ..] => digits(rest),
        _ => digits(text),
    };
    let good = match kind {
        Kind::Simple | Kind::Error => true,
        Kind::Integer => {
            unsigned(text) && core::str::from_utf8(text).is_ok_and(|t| t.parse::<i64>().is_ok())
        }
        Kind::BigNumber => unsigned(text),
        Kind::Null => text.is_empty(),
        Kind::Boolean => matches!(text, b"t" | b"f"),
        Kind::Double => is_double(text),
        _ => {
            return match text {
                b"?" => Text::Streamed,
                b"-1" if kind.has_null() => Text::Null,
                [b'-', rest @ ..] if digits(rest) => Text::Negative,
                // One way to write each length: no sign, no zero in front.
                [b'0', _, ..] => Text::Bad,
                _ if digits(text) => Text::Number(decimal(text)),
                _ => Text::Bad,
            };
        }
    };
    if good { Text::Good } else { Text::Bad }
}

/// `[+-]digits[.digits][e[+-]digits]`, `inf`, `-inf` or `nan`.
fn is_double(text: &[u8]) -> bool {
    if matches!(text, b"inf" | b"-inf" | b"nan") {
        return true;
    }
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let (whole, mut rest) = text.split_at(digits(text));
    if whole.is_empty() {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = fraction.get(n..).unwrap_or_default();
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// Saturating.
fn decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |n, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit.wrapping_sub(b'0')))
    })
}
