//! Fields inside a body: type, length, value, nested to any allowed depth.
//!
//! ```text
//! 01 02 'h' 'i'              field 1: "hi"
//! 02 03 | 01 01 'x'          field 2, nested: its field 1: "x"
//! ```
//! Types and lengths are LEB128 numbers of 32 bits in their shortest form. Within one level types
//! ascend, and equal types stand next to each other where a repetition is allowed: so there is one
//! encoding of a set of fields, and finding duplicates needs no memory.
//!
//! ```
//! use drywire::frame::tlv::fields::{Fields, Limits, Rule, Writer};
//!
//! let mut body = Vec::new();
//! let mut writer = Writer::new(&mut body);
//! writer.field(1, b"hi")?;
//! writer.open(2)?;
//! writer.field(1, b"x")?;
//! writer.close()?;
//! writer.finish()?;
//! assert_eq!(body, b"\x01\x02hi\x02\x03\x01\x01x");
//!
//! // Field 2 of the outermost level is nested, everything else is a value that may not repeat.
//! let rules = |depth, kind| if (depth, kind) == (0, 2) { Rule::Nested } else { Rule::Once };
//! let read: Result<Vec<_>, _> = Fields::new(&body, Limits::default(), rules).collect();
//! let read: Vec<_> = read?.iter().map(|f| (f.depth, f.kind, f.value)).collect();
//! assert_eq!(read, [(0, 1, &b"hi"[..]), (0, 2, b"\x01\x01x"), (1, 1, b"x")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::frame::length_prefix::varint::{self, Partial, Read};
use crate::frame::{EncodeError, ErrorKind, FrameError, Patch};

/// How deep fields can nest at most.
pub const MAX_DEPTH: usize = 16;

/// What a body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of nesting, the outermost included; at most [`MAX_DEPTH`].
    pub depth: usize,
    /// Fields in all, on all levels.
    pub count: usize,
}

impl Default for Limits {
    /// Eight levels, 1024 fields.
    fn default() -> Self {
        Self { depth: 8, count: 1024 }
    }
}

/// What a type of field is, as the caller's schema says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// A value that stands at most once in its level.
    Once,
    /// A value that may repeat.
    Many,
    /// Holds fields, and stands at most once in its level.
    Nested,
    /// Holds fields, and may repeat.
    NestedMany,
    /// Must not stand here: an error.
    Unknown,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Level of nesting, 0 for the outermost.
    pub depth: usize,
    /// The type.
    pub kind: u32,
    /// The bytes of the value; of a nested field, those of its fields, which come next.
    pub value: &'a [u8],
}

/// The fields of a body, depth first, checked against a schema: `rules(depth, kind)`.
///
/// Work is linear in the bytes. The iterator ends after the first error; an error's offset counts
/// from the start of the body. Nothing is allocated.
#[derive(Clone, Debug)]
pub struct Fields<'a, R> {
    body: &'a [u8],
    at: usize,
    limits: Limits,
    count: usize,
    rules: R,
    /// The open levels; `levels[..depth]` are in use.
    levels: [Level; MAX_DEPTH],
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    end: usize,
    last: Option<u32>,
}

impl<'a, R: Fn(usize, u32) -> Rule> Fields<'a, R> {
    /// The fields of `body` under `rules`.
    #[must_use]
    pub fn new(body: &'a [u8], limits: Limits, rules: R) -> Self {
        let mut levels = [Level::default(); MAX_DEPTH];
        levels[0].end = body.len();
        let depth = 1;
        Self { body, at: 0, limits, count: 0, rules, levels, depth }
    }

    fn field(&mut self, level: Level) -> Result<Field<'a>, FrameError> {
        let start = self.at;
        let limits = self.limits;
        self.count += 1;
        if self.count > limits.count {
            return Err(error(ErrorKind::TooMany, start, self.count, limits.count));
        }
        let kind = self.number(level.end)?;
        let rule = (self.rules)(self.depth - 1, kind);
        let (nested, repeats) = match rule {
            Rule::Once => (false, false),
            Rule::Many => (false, true),
            Rule::Nested => (true, false),
            Rule::NestedMany => (true, true),
            Rule::Unknown => {
                return Err(error(ErrorKind::UnknownType, start, kind as usize, 0));
            }
        };
        if let Some(last) = level.last
            && (kind < last || (kind == last && !repeats))
        {
            return Err(error(ErrorKind::Duplicate, start, kind as usize, last as usize));
        }
        let len_at = self.at;
        let len = self.number(level.end)? as usize;
        let rest = level.end - self.at;
        if len > rest {
            return Err(error(ErrorKind::BadField, len_at, len, rest));
        }
        let value = self.body.get(self.at..self.at + len).unwrap_or_default();
        let depth = self.depth - 1;
        self.levels[depth].last = Some(kind);
        if nested {
            let allowed = limits.depth.min(MAX_DEPTH);
            if self.depth >= allowed {
                return Err(error(ErrorKind::TooDeep, start, self.depth + 1, allowed));
            }
            self.levels[self.depth] = Level { end: self.at + len, last: None };
            self.depth += 1;
        } else {
            self.at += len;
        }
        Ok(Field { depth, kind, value })
    }

    /// The number at the current place, which must end before `end`.
    fn number(&mut self, end: usize) -> Result<u32, FrameError> {
        let mut partial = Partial::default();
        let start = self.at;
        while let Some(&byte) = self.body.get(..end).and_then(|level| level.get(self.at)) {
            match partial.push(byte, 32) {
                Read::Done(number) => {
                    self.at += 1;
                    return Ok(number as u32);
                }
                Read::More => self.at += 1,
                Read::Bad => {
                    return Err(error(ErrorKind::NonMinimal, self.at, byte.into(), 0));
                }
            }
        }
        Err(error(ErrorKind::Truncated, self.at, self.at + 1 - start, self.at - start))
    }
}

impl<'a, R: Fn(usize, u32) -> Rule> Iterator for Fields<'a, R> {
    type Item = Result<Field<'a>, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let level = *self.levels.get(self.depth.checked_sub(1)?)?;
            if self.at < level.end {
                let field = self.field(level);
                if field.is_err() {
                    self.depth = 0;
                }
                return Some(field);
            }
            self.depth -= 1;
        }
    }
}

fn error(kind: ErrorKind, at: usize, declared: usize, limit: usize) -> FrameError {
    let (at, declared, limit) = (at as u64, declared as u64, limit as u64);
    FrameError { kind, fatal: true, at, declared, limit }
}

/// Writes fields in the one order that [`Fields`] reads.
#[derive(Debug)]
pub struct Writer<'a, P: Patch> {
    out: &'a mut P,
    open: [Option<Open<P::Mark>>; MAX_DEPTH],
    last: [Option<u32>; MAX_DEPTH],
    depth: usize,
}

#[derive(Clone, Copy, Debug)]
struct Open<M> {
    mark: M,
    from: u64,
}

/// Bytes kept free for the length of a nested field: the most that a 32-bit number takes.
const RESERVED: [u8; 5] = [0; 5];

impl<'a, P: Patch> Writer<'a, P> {
    /// Appends fields to `out`.
    pub fn new(out: &'a mut P) -> Self {
        Self { out, open: [None; MAX_DEPTH], last: [None; MAX_DEPTH], depth: 0 }
    }

    /// Appends a value.
    ///
    /// # Errors
    /// [`EncodeError::BadMeta`] if the type is less than the one before it in its level;
    /// [`EncodeError::TooLarge`] over 4 GiB.
    pub fn field(&mut self, kind: u32, value: &[u8]) -> Result<(), EncodeError> {
        let Ok(len) = u32::try_from(value.len()) else {
            return Err(EncodeError::TooLarge { len: value.len() as u64, limit: u32::MAX.into() });
        };
        self.kind(kind)?;
        self.number(len);
        self.out.put(value);
        Ok(())
    }

    /// Opens a nested field: the following fields are inside it, until [`close`](Self::close).
    ///
    /// # Errors
    /// As [`field`](Self::field); [`EncodeError::TooLarge`] below [`MAX_DEPTH`] levels.
    pub fn open(&mut self, kind: u32) -> Result<(), EncodeError> {
        if self.depth + 1 >= MAX_DEPTH {
            let (len, limit) = (MAX_DEPTH as u64 + 1, MAX_DEPTH as u64);
            return Err(EncodeError::TooLarge { len, limit });
        }
        self.kind(kind)?;
        let mark = self.out.mark();
        self.out.put(&RESERVED);
        let from = self.out.appended();
        self.depth += 1;
        self.last[self.depth] = None;
        self.open[self.depth] = Some(Open { mark, from });
        Ok(())
    }

    /// Closes the innermost open field.
    ///
    /// # Errors
    /// [`EncodeError::BadMeta`] if none is open; [`EncodeError::TooLarge`] over 4 GiB.
    pub fn close(&mut self) -> Result<(), EncodeError> {
        let open = self.open[self.depth].take().ok_or(EncodeError::BadMeta)?;
        self.depth -= 1;
        let len = self.out.appended() - open.from;
        if len > u32::MAX.into() {
            return Err(EncodeError::TooLarge { len, limit: u32::MAX.into() });
        }
        let (bytes, n) = varint::write(len);
        self.out.replace(open.mark, RESERVED.len(), bytes.get(..n).unwrap_or_default());
        Ok(())
    }

    /// Ends the fields.
    ///
    /// # Errors
    /// [`EncodeError::BadMeta`] if a nested field is still open.
    pub fn finish(self) -> Result<(), EncodeError> {
        if self.depth == 0 { Ok(()) } else { Err(EncodeError::BadMeta) }
    }

    fn kind(&mut self, kind: u32) -> Result<(), EncodeError> {
        let last = &mut self.last[self.depth];
        if last.is_some_and(|last| kind < last) {
            return Err(EncodeError::BadMeta);
        }
        *last = Some(kind);
        self.number(kind);
        Ok(())
    }

    fn number(&mut self, number: u32) {
        let (bytes, n) = varint::write(number.into());
        self.out.put(bytes.get(..n).unwrap_or_default());
    }
}
