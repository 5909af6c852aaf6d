//! Writing values.

use super::Kind;
use crate::frame::{EncodeError, Sink};

/// Appends RESP values, element by element: an aggregate first says how many elements follow,
/// which the caller then writes.
///
/// What cannot be wrong is a method that returns the writer; what can be, returns a result and
/// writes nothing on error.
///
/// ```
/// use drywire::conn::Outbox;
/// use drywire::frame::resp::Writer;
/// let mut out = Outbox::new();
/// let mut writer = Writer::new(&mut out);
/// writer.map(1).simple(b"size")?.integer(-3);
/// assert!(writer.simple(b"two\r\nlines").is_err());
/// assert_eq!(out.slices().next(), Some(&b"%1\r\n+size\r\n:-3\r\n"[..]));
/// # Ok::<(), drywire::frame::EncodeError>(())
/// ```
#[derive(Debug)]
pub struct Writer<'a, S> {
    out: &'a mut S,
}

impl<'a, S: Sink> Writer<'a, S> {
    /// Appends to `out`.
    pub fn new(out: &'a mut S) -> Self {
        Self { out }
    }

    /// An array of `count` values, which follow.
    pub fn array(&mut self, count: u32) -> &mut Self {
        self.head(Kind::Array, count)
    }

    /// A map of `pairs` pairs, which follow: key, value, key, value.
    pub fn map(&mut self, pairs: u32) -> &mut Self {
        self.head(Kind::Map, pairs)
    }

    /// A set of `count` values, which follow.
    pub fn set(&mut self, count: u32) -> &mut Self {
        self.head(Kind::Set, count)
    }

    /// A push of `count` values, which follow. Only outermost.
    pub fn push(&mut self, count: u32) -> &mut Self {
        self.head(Kind::Push, count)
    }

    /// `pairs` pairs about the value after them, which both follow.
    pub fn attribute(&mut self, pairs: u32) -> &mut Self {
        self.head(Kind::Attribute, pairs)
    }

    /// A bulk string.
    ///
    /// # Panics
    /// Over 4 GiB, which no decoder takes: caller misuse.
    pub fn bulk(&mut self, data: &[u8]) -> &mut Self {
        let len = u32::try_from(data.len()).expect("a bulk string of at most 4 GiB");
        self.head(Kind::Bulk, len);
        self.out.put(data);
        self.end()
    }

    /// A bulk error.
    ///
    /// # Panics
    /// As [`bulk`](Self::bulk).
    pub fn bulk_error(&mut self, data: &[u8]) -> &mut Self {
        let len = u32::try_from(data.len()).expect("a bulk error of at most 4 GiB");
        self.head(Kind::BulkError, len);
        self.out.put(data);
        self.end()
    }

    /// A text with its format, such as `txt`.
    ///
    /// # Panics
    /// As [`bulk`](Self::bulk).
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) -> &mut Self {
        let len = u32::try_from(text.len()).ok().and_then(|n| n.checked_add(4));
        self.head(Kind::Verbatim, len.expect("a text of at most 4 GiB"));
        self.out.put(&format);
        self.out.put(b":");
        self.out.put(text);
        self.end()
    }

    /// A simple string.
    ///
    /// # Errors
    /// [`EncodeError::Forbidden`] for a CR or LF.
    pub fn simple(&mut self, text: &[u8]) -> Result<&mut Self, EncodeError> {
        self.line(Kind::Simple, text)
    }

    /// An error in a line.
    ///
    /// # Errors
    /// [`EncodeError::Forbidden`] for a CR or LF.
    pub fn error(&mut self, text: &[u8]) -> Result<&mut Self, EncodeError> {
        self.line(Kind::Error, text)
    }

    /// A floating-point number, as text.
    ///
    /// # Errors
    /// [`EncodeError::Forbidden`] if the text is not one.
    pub fn double(&mut self, text: &[u8]) -> Result<&mut Self, EncodeError> {
        if !super::is_double(text) {
            return Err(EncodeError::Forbidden { at: 0 });
        }
        self.line(Kind::Double, text)
    }

    /// An integer of any size, as text.
    ///
    /// # Errors
    /// [`EncodeError::Forbidden`] if the text is not one.
    pub fn big_number(&mut self, text: &[u8]) -> Result<&mut Self, EncodeError> {
        match super::judge(Kind::BigNumber, text) {
            super::Text::Good => self.line(Kind::BigNumber, text),
            _ => Err(EncodeError::Forbidden { at: 0 }),
        }
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) -> &mut Self {
        self.out.put(b":");
        self.out.put(itoa::Buffer::new().format(n).as_bytes());
        self.end()
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.out.put(if value { b"#t\r\n" } else { b"#f\r\n" });
        self
    }

    /// Nothing, in RESP3.
    pub fn null(&mut self) -> &mut Self {
        self.out.put(b"_\r\n");
        self
    }

    /// Nothing in place of a bulk string, in RESP2.
    pub fn null_bulk(&mut self) -> &mut Self {
        self.out.put(b"$-1\r\n");
        self
    }

    /// Nothing in place of an array, in RESP2.
    pub fn null_array(&mut self) -> &mut Self {
        self.out.put(b"*-1\r\n");
        self
    }

    fn head(&mut self, kind: Kind, n: u32) -> &mut Self {
        self.out.put(&[kind as u8]);
        self.out.put(itoa::Buffer::new().format(n).as_bytes());
        self.end()
    }

    fn line(&mut self, kind: Kind, text: &[u8]) -> Result<&mut Self, EncodeError> {
        if let Some(at) = memchr::memchr2(b'\r', b'\n', text) {
            return Err(EncodeError::Forbidden { at });
        }
        self.out.put(&[kind as u8]);
        self.out.put(text);
        Ok(self.end())
    }

    fn end(&mut self) -> &mut Self {
        self.out.put(b"\r\n");
        self
    }
}
