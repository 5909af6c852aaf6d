//! The shapes a length prefix can have, checked once.

use crate::frame::{ConfigError, Header};

/// A validated length-prefix framing.
///
/// Source of the shapes: what netty's `LengthFieldBasedFrameDecoder` and tokio-util's
/// `LengthDelimitedCodec` can express, and LEB128 (the varint of protobuf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthPrefix {
    pub(super) width: Width,
    pub(super) big_endian: bool,
    /// Opaque bytes before the length.
    pub(super) offset: u32,
    pub(super) type_width: u8,
    /// Bytes before the payload; for a varint without the varint itself.
    pub(super) header: u32,
    /// Bytes at the front of the frame that the payload span leaves out; for a varint without
    /// the varint itself, which it leaves out too unless the header is kept.
    pub(super) strip: u32,
    pub(super) keep_header: bool,
    /// How the field is read.
    pub(super) load: Load,
    /// It is [`Load::U32Be`]. Not asked of `load`: the compiler would make one table of both.
    pub(super) u32_be: bool,
    /// See [`window`]; zero for a varint.
    pub(super) window: u64,
    /// `payload = value + delta`, for values in `least ..= least + span`.
    pub(super) delta: i64,
    /// `frame = value + bias`, for a varint without the varint itself.
    pub(super) bias: i64,
    pub(super) least: u64,
    pub(super) span: u64,
    pub(super) max: usize,
    pub(super) oversize: Oversize,
}

/// Width of the length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Width {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Three bytes.
    U24,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// LEB128 of a 32-bit number: one to five bytes, in the shortest form only.
    Varint32,
    /// LEB128 of a 64-bit number: one to ten bytes, in the shortest form only.
    Varint64,
}

impl Width {
    /// Bytes of a fixed width; `None` for a varint.
    #[inline(always)]
    #[must_use]
    pub const fn fixed(self) -> Option<u8> {
        match self {
            Self::U8 => Some(1),
            Self::U16 => Some(2),
            Self::U24 => Some(3),
            Self::U32 => Some(4),
            Self::U64 => Some(8),
            Self::Varint32 | Self::Varint64 => None,
        }
    }

    /// The most bytes the field takes.
    pub(super) const fn most(self) -> u8 {
        match self {
            Self::Varint32 => 5,
            Self::Varint64 => 10,
            _ => match self.fixed() {
                Some(n) => n,
                None => 0,
            },
        }
    }

    /// The largest number the field holds.
    pub(super) const fn max_value(self) -> u64 {
        match self {
            Self::U8 => 0xff,
            Self::U16 => 0xffff,
            Self::U24 => 0xff_ffff,
            Self::U32 | Self::Varint32 => 0xffff_ffff,
            Self::U64 | Self::Varint64 => u64::MAX,
        }
    }
}

/// Width and byte order in one, so that reading a field is one jump and no arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    U8,
    U16Be,
    U16Le,
    U24Be,
    U24Le,
    U32Be,
    U32Le,
    U64Be,
    U64Le,
    Varint,
}

impl Load {
    const fn of(width: Width, big_endian: bool) -> Self {
        match (width, big_endian) {
            (Width::U8, _) => Self::U8,
            (Width::U16, true) => Self::U16Be,
            (Width::U16, false) => Self::U16Le,
            (Width::U24, true) => Self::U24Be,
            (Width::U24, false) => Self::U24Le,
            (Width::U32, true) => Self::U32Be,
            (Width::U32, false) => Self::U32Le,
            (Width::U64, true) => Self::U64Be,
            (Width::U64, false) => Self::U64Le,
            (Width::Varint32 | Width::Varint64, _) => Self::Varint,
        }
    }
}

/// Of the first eight bytes of a frame, as a little-endian number: the bits of a length field of
/// `len` bytes at `offset`. None if it reaches further or fills them all: then no bit is left to
/// tell a guess from none.
pub(super) const fn window(offset: u32, len: u8) -> u64 {
    if len == 0 || len == 8 || offset + len as u32 > 8 {
        return 0;
    }
    u64::MAX >> (64 - 8 * len) << (8 * offset)
}

/// What the number in the length field counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Counts {
    /// The payload only.
    #[default]
    Body,
    /// Everything after the length field: type word, opaque bytes, payload.
    AfterField,
    /// The length field and everything after it.
    FieldAndBody,
    /// The whole frame, with the opaque bytes before the length.
    WholeFrame,
    /// The escape hatch: the frame ends at `end of the length field + value + adjustment`.
    Adjusted(i32),
}

/// What happens to a frame whose payload is over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Oversize {
    /// The stream ends: a fatal error. Right for peers that should know better.
    #[default]
    Fatal,
    /// One error, then the frame is dropped as it arrives and the next one is read.
    Skip,
}

impl LengthPrefix {
    /// The largest limit there is: what a buffer in memory can hold, less the largest header.
    pub const MAX: usize = isize::MAX as usize - Header::MAX;

    /// One byte of length, then up to 255 bytes.
    #[must_use]
    pub fn u8() -> Self {
        Self::named(Width::U8, 255, true)
    }

    /// Big-endian u16, then at most `max` bytes of payload.
    #[must_use]
    pub fn u16_be(max: usize) -> Self {
        Self::named(Width::U16, max, true)
    }

    /// Little-endian u16, then at most `max` bytes of payload.
    #[must_use]
    pub fn u16_le(max: usize) -> Self {
        Self::named(Width::U16, max, false)
    }

    /// Big-endian u32, then at most `max` bytes of payload.
    #[must_use]
    pub fn u32_be(max: usize) -> Self {
        Self::named(Width::U32, max, true)
    }

    /// Little-endian u32, then at most `max` bytes of payload.
    #[must_use]
    pub fn u32_le(max: usize) -> Self {
        Self::named(Width::U32, max, false)
    }

    /// Big-endian u64, then at most `max` bytes of payload.
    #[must_use]
    pub fn u64_be(max: usize) -> Self {
        Self::named(Width::U64, max, true)
    }

    /// LEB128 of a u32 (protobuf's delimited messages), then at most `max` bytes of payload.
    #[must_use]
    pub fn varint(max: usize) -> Self {
        Self::named(Width::Varint32, max, true)
    }

    /// Any other shape, with at most `max` bytes of payload.
    pub fn builder(width: Width, max: usize) -> Builder {
        Builder {
            width,
            max,
            big_endian: true,
            offset: 0,
            counts: Counts::Body,
            type_width: 0,
            extra: 0,
            strip: None,
            keep_header: false,
            oversize: Oversize::Fatal,
        }
    }

    /// The limit of the payload, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// A shape that needs no check: nothing but the field and the payload.
    fn named(width: Width, max: usize, big_endian: bool) -> Self {
        let max = max.min(Self::MAX);
        Self {
            width,
            big_endian,
            offset: 0,
            type_width: 0,
            header: width.fixed().map_or(0, u32::from),
            strip: width.fixed().map_or(0, u32::from),
            keep_header: false,
            load: Load::of(width, big_endian),
            u32_be: big_endian && matches!(width, Width::U32),
            window: width.fixed().map_or(0, |n| window(0, n)),
            delta: 0,
            bias: width.fixed().map_or(0, i64::from),
            least: 0,
            span: max as u64,
            max,
            oversize: Oversize::Fatal,
        }
    }
}

/// Builds a [`LengthPrefix`] of any shape; see [`LengthPrefix::builder`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Builder {
    width: Width,
    max: usize,
    big_endian: bool,
    offset: u32,
    counts: Counts,
    type_width: u8,
    extra: u32,
    strip: Option<u32>,
    keep_header: bool,
    oversize: Oversize,
}

impl Builder {
    /// Length and type word in little-endian order (big-endian is the default).
    pub fn little_endian(mut self) -> Self {
        self.big_endian = false;
        self
    }

    /// Opaque bytes before the length field.
    pub fn offset(mut self, bytes: u32) -> Self {
        self.offset = bytes;
        self
    }

    /// What the length counts; the payload by default.
    pub fn counts(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }

    /// A type word of 1, 2 or 4 bytes right after the length, given as
    /// [`Meta::kind`](crate::frame::Meta).
    pub fn type_width(mut self, bytes: u8) -> Self {
        self.type_width = bytes;
        self
    }

    /// Opaque bytes between the length (and type) and the payload.
    pub fn extra(mut self, bytes: u32) -> Self {
        self.extra = bytes;
        self
    }

    /// Shows the header in the payload span too.
    pub fn keep_header(mut self, keep: bool) -> Self {
        self.keep_header = keep;
        self
    }

    /// Leaves out exactly this many bytes at the front of the frame, instead of the whole header.
    pub fn strip(mut self, bytes: u32) -> Self {
        self.strip = Some(bytes);
        self
    }

    /// What happens to frames over the limit.
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`]: a header longer than [`Header::MAX`], a type width other than
    /// 0, 1, 2 or 4, more stripped than the header has, a limit over [`LengthPrefix::MAX`], or one
    /// that no value of the length field can reach even with an empty payload.
    /// [`ConfigError::Contradiction`]: a varint that counts itself, a kept header with a strip.
    pub fn build(self) -> Result<LengthPrefix, ConfigError> {
        let range = |what, value: u64, min: u64, max: u64| {
            let error = ConfigError::OutOfRange { what, value, min, max };
            if (min..=max).contains(&value) { Ok(()) } else { Err(error) }
        };
        let fixed = self.width.fixed();
        if !matches!(self.type_width, 0 | 1 | 2 | 4) {
            range("type width", u64::from(self.type_width), 0, 4)?;
            return Err(ConfigError::Contradiction("a type word has 1, 2 or 4 bytes"));
        }
        let after = u64::from(self.type_width) + u64::from(self.extra);
        let longest = u64::from(self.offset) + u64::from(self.width.most()) + after;
        range("header length", longest, 1, Header::MAX as u64)?;
        range("limit of the payload", self.max as u64, 0, LengthPrefix::MAX as u64)?;
        if self.keep_header && self.strip.is_some() {
            return Err(ConfigError::Contradiction("a kept header cannot be stripped"));
        }
        if fixed.is_none() && self.strip.is_some() {
            return Err(ConfigError::Contradiction("a varint header has no fixed size to strip"));
        }
        let header = self.offset + fixed.map_or(0, u32::from) + after as u32;
        let strip = self.strip.unwrap_or(if self.keep_header { 0 } else { header });
        range("strip", u64::from(strip), 0, u64::from(header))?;

        // The frame's end, counted from the end of the length field, is value + bias.
        let field_end = i64::from(self.offset) + i64::from(fixed.unwrap_or(0));
        let bias = match (self.counts, fixed) {
            (Counts::Body, _) => after as i64,
            (Counts::AfterField, _) => 0,
            (Counts::FieldAndBody, Some(width)) => -i64::from(width),
            (Counts::WholeFrame, Some(_)) => -field_end,
            (Counts::FieldAndBody | Counts::WholeFrame, None) => {
                return Err(ConfigError::Contradiction("a varint length cannot count itself"));
            }
            (Counts::Adjusted(adjustment), _) => i64::from(adjustment),
        };
        let delta = bias - after as i64;
        let least = delta.min(0).unsigned_abs();
        range("length of an empty payload", least, 0, self.width.max_value())?;
        let smallest = delta.max(0) as u64;
        if smallest > self.max as u64 {
            return Err(ConfigError::Contradiction(
                "the adjustment alone is more than the limit of the payload",
            ));
        }
        Ok(LengthPrefix {
            width: self.width,
            big_endian: self.big_endian,
            offset: self.offset,
            type_width: self.type_width,
            header,
            strip,
            keep_header: self.keep_header,
            load: Load::of(self.width, self.big_endian),
            u32_be: self.big_endian && self.width == Width::U32,
            window: fixed.map_or(0, |n| window(self.offset, n)),
            delta,
            bias: delta + i64::from(header),
            least,
            span: self.max as u64 - smallest,
            max: self.max,
            oversize: self.oversize,
        })
    }
}
