//! What can be wrong with a stream, a message to encode, or a configuration.

use core::fmt;

/// A stream that breaks its format: what, where, and what is allowed. Plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Whether the stream ends here: every later step gives this same error. Otherwise the codec
    /// drops the bad frame and goes on at the next.
    pub fatal: bool,
    /// Absolute offset in the stream of the field or byte that is wrong.
    pub at: u64,
    /// The size, count or value that was found, where there is one.
    pub declared: u64,
    /// What is allowed in its place, where there is a bound.
    pub limit: u64,
}

/// The kinds of [`FrameError`]. The numbers are stable: the C API passes them on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ErrorKind {
    /// A payload, line or count over its limit.
    TooLarge = 1,
    /// A length that is less than the header it counts, or negative, or not a length at all.
    BadLength = 2,
    /// A variable-length number in more bytes than it needs, or with more bits than it may have.
    NonMinimal = 3,
    /// A CR without its LF where the format does not allow one.
    BareCr = 4,
    /// An LF without its CR where the format does not allow one.
    BareLf = 5,
    /// The frame does not begin with the magic bytes.
    BadMagic = 6,
    /// Zero bytes where a frame should begin: the tail of a preallocated file, or padding.
    ZeroFill = 7,
    /// A version this codec does not know.
    BadVersion = 8,
    /// A reserved bit or field that is not zero.
    Reserved = 9,
    /// The checksum of the header does not match.
    HeaderChecksum = 10,
    /// The checksum of the body does not match.
    BodyChecksum = 11,
    /// Padding that is not zero.
    BadPadding = 12,
    /// A field inside the frame that reaches past the frame.
    BadField = 13,
    /// Nested more deeply than allowed.
    TooDeep = 14,
    /// More elements than allowed.
    TooMany = 15,
    /// A type byte that the format does not have.
    UnknownType = 16,
    /// Text that does not follow the grammar of its place.
    Syntax = 17,
    /// A field that may appear once appeared again, or out of order.
    Duplicate = 18,
    /// Two fields that contradict each other, such as Content-Length and Transfer-Encoding.
    Conflict = 19,
    /// A datagram or body that ends inside a frame.
    Truncated = 20,
    /// A datagram with bytes after its frame.
    TrailingBytes = 21,
    /// A part of the format that this codec refuses by choice.
    Unsupported = 22,
}

impl ErrorKind {
    /// All kinds, by number.
    const ALL: [Self; 22] = [
        Self::TooLarge,
        Self::BadLength,
        Self::NonMinimal,
        Self::BareCr,
        Self::BareLf,
        Self::BadMagic,
        Self::ZeroFill,
        Self::BadVersion,
        Self::Reserved,
        Self::HeaderChecksum,
        Self::BodyChecksum,
        Self::BadPadding,
        Self::BadField,
        Self::TooDeep,
        Self::TooMany,
        Self::UnknownType,
        Self::Syntax,
        Self::Duplicate,
        Self::Conflict,
        Self::Truncated,
        Self::TrailingBytes,
        Self::Unsupported,
    ];

    /// The kind with this number, if there is one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        if code >= 1 && code as usize <= Self::ALL.len() {
            Some(Self::ALL[code as usize - 1])
        } else {
            None
        }
    }

    /// The stable number of the kind.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What is wrong, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "frame too large",
            Self::BadLength => "impossible length",
            Self::NonMinimal => "number not in its shortest form",
            Self::BareCr => "CR without LF",
            Self::BareLf => "LF without CR",
            Self::BadMagic => "not the beginning of a frame",
            Self::ZeroFill => "zero bytes instead of a frame",
            Self::BadVersion => "unknown version",
            Self::Reserved => "reserved bits are set",
            Self::HeaderChecksum => "header checksum mismatch",
            Self::BodyChecksum => "body checksum mismatch",
            Self::BadPadding => "padding is not zero",
            Self::BadField => "field reaches past its frame",
            Self::TooDeep => "nested too deeply",
            Self::TooMany => "too many elements",
            Self::UnknownType => "unknown type",
            Self::Syntax => "malformed text",
            Self::Duplicate => "field repeated or out of order",
            Self::Conflict => "fields contradict each other",
            Self::Truncated => "ends inside a frame",
            Self::TrailingBytes => "bytes after the frame",
            Self::Unsupported => "refused part of the format",
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.kind.as_str(), self.at)?;
        match self.kind {
            ErrorKind::TooLarge | ErrorKind::TooDeep | ErrorKind::TooMany => {
                write!(f, ": {} found, at most {} allowed", self.declared, self.limit)
            }
            ErrorKind::BadLength | ErrorKind::BadField => {
                write!(f, ": {} found, {} is the bound", self.declared, self.limit)
            }
            ErrorKind::HeaderChecksum | ErrorKind::BodyChecksum => {
                write!(f, ": {:#010x} received, {:#010x} computed", self.declared, self.limit)
            }
            ErrorKind::Truncated => {
                write!(f, ": {} bytes needed, {} there", self.declared, self.limit)
            }
            ErrorKind::TrailingBytes => {
                write!(f, ": the frame has {} of {} bytes", self.limit, self.declared)
            }
            _ => Ok(()),
        }
    }
}

impl core::error::Error for FrameError {}

/// A message that its decoder would refuse, or that does not fit where it should go. Nothing was
/// written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The decoder's limit, or what the length field can hold.
    TooLarge {
        /// Size of the payload in bytes.
        len: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The payload is not of the one length this framing has, or below the smallest.
    WrongLength {
        /// Size of the payload in bytes.
        len: u64,
        /// The size it must have.
        must: u64,
    },
    /// The caller's slice is too small.
    NoRoom {
        /// Bytes that the whole frame takes.
        needed: usize,
    },
    /// The payload holds a byte that would end or break the frame.
    Forbidden {
        /// Offset of the byte in the payload.
        at: usize,
    },
    /// The [`Meta`](crate::frame::Meta) is not one that this framing can express.
    BadMeta,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TooLarge { len, limit } => {
                write!(f, "payload of {len} bytes, at most {limit} allowed")
            }
            Self::WrongLength { len, must } => {
                write!(f, "payload of {len} bytes, must be {must}")
            }
            Self::NoRoom { needed } => write!(f, "the frame takes {needed} bytes"),
            Self::Forbidden { at } => {
                write!(f, "byte {at} of the payload cannot be sent in this framing")
            }
            Self::BadMeta => f.write_str("this framing cannot carry that type or flag"),
        }
    }
}

impl core::error::Error for EncodeError {}

/// A configuration that makes no sense: found once, when it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A width, size or offset outside what the codec supports.
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// Its value.
        value: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// Two settings that exclude each other.
    Contradiction(&'static str),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfRange { what, value, min, max } => {
                write!(f, "{what} is {value}, must be {min} to {max}")
            }
            Self::Contradiction(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn codes_are_stable_and_round_trip() {
        for (i, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), i + 1);
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(ErrorKind::from_code(0), None);
        assert_eq!(ErrorKind::from_code(ErrorKind::ALL.len() as u8 + 1), None);
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_is_allowed() {
        let error = FrameError {
            kind: ErrorKind::TooLarge,
            fatal: true,
            at: 12,
            declared: 70_000,
            limit: 65_536,
        };
        assert_eq!(
            error.to_string(),
            "frame too large at byte 12: 70000 found, at most 65536 allowed"
        );
    }
}
