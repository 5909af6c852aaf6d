//! Replies: from bytes to [`Reply`], one at a time (protocol.txt of memcached).

use core::fmt;
use memchr::memchr;

/// Longest reply line accepted, in bytes with its line end. Real ones stay far below.
pub const MAX_LINE: usize = 2048;

/// One reply line, with its data block if it has one. Borrows from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<'a> {
    /// `VALUE key flags bytes [cas]` and the data.
    Value(Value<'a>),
    /// `STAT name value`
    Stat {
        /// Without spaces.
        name: &'a [u8],
        /// The rest of the line.
        value: &'a [u8],
    },
    /// `END`
    End,
    /// `STORED`
    Stored,
    /// `NOT_STORED`
    NotStored,
    /// `EXISTS`
    Exists,
    /// `NOT_FOUND`
    NotFound,
    /// `DELETED`
    Deleted,
    /// `TOUCHED`
    Touched,
    /// `OK`
    Ok,
    /// `RESET`
    Reset,
    /// A bare number.
    Number(u64),
    /// `VERSION text`
    Version(&'a [u8]),
    /// `ERROR`, `CLIENT_ERROR text` or `SERVER_ERROR text`.
    Error {
        /// Which of the three.
        kind: ErrorKind,
        /// The explanation; may be empty.
        text: &'a [u8],
    },
}

/// An item as a retrieval returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// The client's own flags.
    pub flags: u32,
    /// The cas number, if it was asked for.
    pub cas: Option<u64>,
    /// The value; any bytes, also line ends.
    pub data: &'a [u8],
}

/// The three kinds of error reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `ERROR`: the server does not know the command (or has too many connections).
    Error,
    /// `CLIENT_ERROR`: the request is wrong.
    Client,
    /// `SERVER_ERROR`: the server cannot do it.
    Server,
}

/// How the peer broke the protocol, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyFault {
    /// What is wrong.
    pub code: FaultCode,
    /// Offset in the stream received of the first byte of the reply concerned.
    pub at: u64,
}

/// What is wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultCode {
    /// No line end within [`MAX_LINE`] bytes.
    LineTooLong,
    /// The line is none that the protocol knows, or does not end in CR LF.
    Malformed,
    /// A data block was announced that is over the limit; it is not read.
    ValueTooLarge {
        /// What was announced, in bytes.
        declared: u64,
        /// [`Limits::value`](super::Limits::value).
        limit: usize,
    },
    /// The data block does not end in CR LF after the length announced.
    BadDataEnd,
    /// A reply, and no request is in flight.
    Unsolicited,
    /// A reply of a kind that the oldest request in flight cannot have.
    Unexpected,
}

impl fmt::Display for ReplyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            FaultCode::LineTooLong => write!(f, "a reply line longer than {MAX_LINE} bytes")?,
            FaultCode::Malformed => {
                f.write_str("a line that is no reply of the memcached text protocol")?
            }
            FaultCode::ValueTooLarge { declared, limit } => {
                write!(f, "a value of {declared} bytes, at most {limit} are allowed")?
            }
            FaultCode::BadDataEnd => {
                f.write_str("a value that does not end in CR LF after the length announced")?
            }
            FaultCode::Unsolicited => f.write_str("a reply without a request")?,
            FaultCode::Unexpected => {
                f.write_str("a reply that does not fit the oldest request in flight")?
            }
        }
        write!(f, " (at byte {} of the stream)", self.at)
    }
}

impl core::error::Error for ReplyFault {}

/// The parser of replies: pure, with no buffer of its own.
#[derive(Clone, Copy, Debug)]
pub struct ReplyCodec {
    max_value: usize,
}

/// What the parser remembers between two calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplyState {
    /// Bytes at the front of the input that hold no line end.
    searched: usize,
    /// Bytes without which a step cannot succeed: a whole data block, once it is announced.
    need: usize,
    /// Bytes consumed since the beginning.
    consumed: u64,
}

impl ReplyState {
    /// Bytes consumed since the beginning: the stream offset of the input's first byte.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.consumed
    }
}

/// What [`ReplyCodec::step`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Call again with at least this many bytes.
    Need(usize),
    /// A whole reply.
    Reply {
        /// It.
        reply: Reply<'a>,
        /// Its length in bytes.
        used: usize,
    },
}

impl ReplyCodec {
    /// Accepts values up to `max_value` bytes.
    #[must_use]
    pub fn new(max_value: usize) -> Self {
        // A whole reply must have a length that the address space can hold.
        Self { max_value: max_value.min(isize::MAX as usize - MAX_LINE - 2) }
    }

    /// Longest value accepted, in bytes.
    #[must_use]
    pub fn max_value(&self) -> usize {
        self.max_value
    }

    /// Reads one reply from the front of `input`, which starts where the last one ended. The
    /// work is linear in the bytes, however they are cut up.
    ///
    /// # Errors
    /// A [`ReplyFault`] about this codec's share of the protocol: everything but the order of
    /// replies. Nothing is consumed then.
    #[inline]
    pub fn step<'a>(
        &self,
        state: &mut ReplyState,
        input: &'a [u8],
    ) -> Result<Step<'a>, ReplyFault> {
        if input.len() < state.need {
            return Ok(Step::Need(state.need));
        }
        let fault = |code| ReplyFault { code, at: state.consumed };
        let window = &input[..input.len().min(MAX_LINE)];
        let searched = state.searched.min(window.len());
        let Some(end) = memchr(b'\n', &window[searched..]).map(|i| searched + i) else {
            if window.len() == MAX_LINE {
                return Err(fault(FaultCode::LineTooLong));
            }
            state.searched = window.len();
            return Ok(Step::Need(window.len() + 1));
        };
        let line = window[..end].strip_suffix(b"\r").ok_or_else(|| fault(FaultCode::Malformed))?;
        let mut used = end + 1;
        let reply = if let Some(rest) = line.strip_prefix(b"VALUE ") {
            let header = Header::parse(rest).ok_or_else(|| fault(FaultCode::Malformed))?;
            if header.len > self.max_value as u64 {
                let declared = header.len;
                return Err(fault(FaultCode::ValueTooLarge { declared, limit: self.max_value }));
            }
            // Within `max_value`, which is a usize.
            let data_end = used + header.len as usize;
            used = data_end + 2;
            if input.len() < used {
                // The line end is found again at once when the data is here.
                (state.searched, state.need) = (end, used);
                return Ok(Step::Need(used));
            }
            if input[data_end..used] != *b"\r\n" {
                return Err(fault(FaultCode::BadDataEnd));
            }
            Reply::Value(Value {
                key: header.key,
                flags: header.flags,
                cas: header.cas,
                data: &input[end + 1..data_end],
            })
        } else {
            parse_line(line).ok_or_else(|| fault(FaultCode::Malformed))?
        };
        *state = ReplyState { searched: 0, need: 0, consumed: state.consumed + used as u64 };
        Ok(Step::Reply { reply, used })
    }
}

/// `key flags bytes [cas]`
struct Header<'a> {
    key: &'a [u8],
    flags: u32,
    len: u64,
    cas: Option<u64>,
}

impl<'a> Header<'a> {
    #[inline]
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (key, rest) = word(line);
        let (flags, rest) = word(rest);
        let (len, rest) = word(rest);
        let cas = if rest.is_empty() { None } else { Some(number(rest)?) };
        let flags = u32::try_from(number(flags)?).ok()?;
        (!key.is_empty()).then_some(Self { key, flags, len: number(len)?, cas })
    }
}

#[inline]
fn parse_line(line: &[u8]) -> Option<Reply<'_>> {
    Some(match line {
        b"END" => Reply::End,
        b"STORED" => Reply::Stored,
        b"NOT_STORED" => Reply::NotStored,
        b"EXISTS" => Reply::Exists,
        b"NOT_FOUND" => Reply::NotFound,
        b"DELETED" => Reply::Deleted,
        b"TOUCHED" => Reply::Touched,
        b"OK" => Reply::Ok,
        b"RESET" => Reply::Reset,
        [b'0'..=b'9', ..] => Reply::Number(number(line)?),
        _ => return parse_text(line),
    })
}

fn parse_text(line: &[u8]) -> Option<Reply<'_>> {
    let (first, text) = word(line);
    Some(match first {
        b"STAT" => {
            let (name, value) = word(text);
            if name.is_empty() {
                return None;
            }
            Reply::Stat { name, value }
        }
        b"VERSION" => Reply::Version(text),
        b"ERROR" => Reply::Error { kind: ErrorKind::Error, text },
        b"CLIENT_ERROR" => Reply::Error { kind: ErrorKind::Client, text },
        b"SERVER_ERROR" => Reply::Error { kind: ErrorKind::Server, text },
        _ => return None,
    })
}

/// The bytes before the first space, and those after it.
#[inline]
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b' ', line) {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[]),
    }
}

/// Decimal digits only, at least one, below 2^64.
#[inline]
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
