//! What ends a line, and what happens to lines that break the rules.

use crate::frame::scan::Search;
use crate::frame::{ConfigError, Meta};

/// A line framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    pub(super) terminator: Terminator,
    pub(super) quick: Quick,
    /// Lines with less content are good, if LF ends them: zero for all other terminators.
    pub(super) lf_below: usize,
    pub(super) needles: Search,
    pub(super) max: usize,
    pub(super) oversize: Oversize,
    pub(super) lone_cr: Lone,
    pub(super) lone_lf: Lone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Terminator {
    Lf,
    CrLf,
    LfOrCrLf,
    AnyNewline,
    Delimiter { bytes: [u8; 8], len: u8 },
    AnyOf { written: u8 },
}

/// The terminators that are decided at a glance: by one byte and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quick {
    /// See `Lines::lf_below`.
    Lf,
    CrLf,
    LfOrCrLf,
    AnyOf,
    No,
}

impl Terminator {
    const fn quick(&self) -> Quick {
        match self {
            Self::Lf => Quick::Lf,
            Self::CrLf => Quick::CrLf,
            Self::LfOrCrLf => Quick::LfOrCrLf,
            Self::AnyOf { .. } => Quick::AnyOf,
            Self::AnyNewline | Self::Delimiter { .. } => Quick::No,
        }
    }

    /// The most bytes it takes.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lf | Self::AnyNewline | Self::AnyOf { .. } => 1,
            Self::CrLf | Self::LfOrCrLf => 2,
            Self::Delimiter { len, .. } => usize::from(*len),
        }
    }
}

/// What a CR without its LF, or an LF without its CR, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Lone {
    /// A byte like any other.
    #[default]
    Data,
    /// An error. It costs what an oversize line costs: the stream, or the line.
    Error,
}

/// What happens to a line over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Oversize {
    /// The stream ends: a fatal error.
    #[default]
    Fatal,
    /// One error, then the line is dropped up to its true end and the next one is read.
    Skip,
    /// The line is cut at the limit, marked [`Ending::Cut`], and the rest of it is dropped.
    Truncate,
}

/// How a line ended: the meaning of [`Meta::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum Ending {
    /// LF.
    Lf = 1,
    /// CR LF.
    CrLf = 2,
    /// CR; an LF may follow and is skipped.
    Cr = 3,
    /// The configured delimiter, or a byte of the configured set.
    Delimiter = 4,
    /// Not at a terminator: the line was cut at the limit.
    Cut = 5,
}

impl Ending {
    /// How the line with this meta ended.
    #[must_use]
    pub const fn of(meta: Meta) -> Option<Self> {
        match meta.kind {
            1 => Some(Self::Lf),
            2 => Some(Self::CrLf),
            3 => Some(Self::Cr),
            4 => Some(Self::Delimiter),
            5 => Some(Self::Cut),
            _ => None,
        }
    }

    /// The meta of a line that ended with this byte of a set.
    #[inline]
    pub(super) fn one_of(byte: u8) -> Meta {
        Meta { extra: u32::from(byte), ..Self::Delimiter.meta() }
    }

    /// This ending as a meta.
    #[inline]
    #[must_use]
    pub const fn meta(self) -> Meta {
        Meta::kind(self as u32)
    }
}

impl Lines {
    /// A limit that is enough for most protocols: 64 KiB.
    pub const DEFAULT_MAX: usize = 64 * 1024;

    /// The largest limit: what a buffer can hold.
    pub const MAX: usize = isize::MAX as usize - 16;

    /// Lines that end with LF; a CR is a byte like any other.
    #[must_use]
    pub fn lf(max: usize) -> Self {
        Self::of(Terminator::Lf, b"\n", max)
    }

    /// Lines that end with CR LF and nothing else; see [`lone_cr`](Self::lone_cr) and
    /// [`lone_lf`](Self::lone_lf).
    #[must_use]
    pub fn crlf(max: usize) -> Self {
        Self::of(Terminator::CrLf, b"\n", max)
    }

    /// Lines that end with LF; one CR right before it belongs to the terminator.
    #[must_use]
    pub fn lf_or_crlf(max: usize) -> Self {
        Self::of(Terminator::LfOrCrLf, b"\n", max)
    }

    /// Lines that end with CR, LF or CR LF. A CR ends the line at once; an LF after it is skipped
    /// when it comes.
    #[must_use]
    pub fn any_newline(max: usize) -> Self {
        Self::of(Terminator::AnyNewline, b"\r\n", max)
    }

    /// Lines that end with `delimiter`, 1 to 8 bytes.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for any other size.
    pub fn delimiter(delimiter: &[u8], max: usize) -> Result<Self, ConfigError> {
        let len = delimiter.len();
        let out_of_range =
            ConfigError::OutOfRange { what: "delimiter length", value: len as u64, min: 1, max: 8 };
        let mut bytes = [0; 8];
        let (Some(to), Some(last)) = (bytes.get_mut(..len), delimiter.last()) else {
            return Err(out_of_range);
        };
        to.copy_from_slice(delimiter);
        Ok(Self::of(Terminator::Delimiter { bytes, len: len as u8 }, &[*last], max))
    }

    /// Lines that end with any one byte of `set`; the first is the one that encoding writes.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for an empty set.
    pub fn any_of(set: &[u8], max: usize) -> Result<Self, ConfigError> {
        match set.first() {
            Some(&written) => Ok(Self::of(Terminator::AnyOf { written }, set, max)),
            None => {
                Err(ConfigError::OutOfRange { what: "delimiter set", value: 0, min: 1, max: 256 })
            }
        }
    }

    /// What happens to lines over the limit.
    #[must_use]
    pub fn oversize(mut self, oversize: Oversize) -> Self {
        self.oversize = oversize;
        self
    }

    /// What a CR without LF is, in [`crlf`](Self::crlf) and [`lf_or_crlf`](Self::lf_or_crlf).
    #[must_use]
    pub fn lone_cr(mut self, lone: Lone) -> Self {
        self.lone_cr = lone;
        if matches!(self.terminator, Terminator::CrLf | Terminator::LfOrCrLf) {
            let strict = lone == Lone::Error;
            self.needles = Search::new(if strict { b"\r\n" } else { b"\n" });
            self.quick = if strict { Quick::No } else { self.terminator.quick() };
        }
        self
    }

    /// What an LF without CR is, in [`crlf`](Self::crlf).
    #[must_use]
    pub fn lone_lf(mut self, lone: Lone) -> Self {
        self.lone_lf = lone;
        self
    }

    /// The limit of the content, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    fn of(terminator: Terminator, needles: &[u8], max: usize) -> Self {
        let max = max.min(Self::MAX);
        Self {
            terminator,
            quick: terminator.quick(),
            lf_below: if matches!(terminator, Terminator::Lf) { max + 1 } else { 0 },
            needles: Search::new(needles),
            max,
            oversize: Oversize::Fatal,
            lone_cr: Lone::Data,
            lone_lf: Lone::Data,
        }
    }
}
