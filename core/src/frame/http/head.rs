//! Judging a complete head: its syntax, and what it says about the body.

use super::{Body, Http};
use crate::frame::ErrorKind;

/// What a head says about what follows it.
pub(super) struct Verdict {
    pub(super) body: Body,
    /// Of [`Body::Length`].
    pub(super) length: u64,
}

/// Kind, offset in the head, declared, limit.
pub(super) type Defect = (ErrorKind, usize, u64, u64);

/// The header or trailer fields in `block`: a head with its start line, or a trailer section,
/// as this codec gave it.
///
/// Names as sent (compare them without case), values without the whitespace around them.
#[must_use]
pub fn fields(block: &[u8]) -> Fields<'_> {
    let start_line = block.iter().position(|&b| b == b'\n').map_or(block.len(), |i| i + 1);
    let first = block.get(..start_line).unwrap_or_default();
    // A start line holds a space before any colon, a field name never does.
    let name = first.iter().take_while(|&&b| b != b':' && b != b' ').count();
    let is_field = first.get(name) == Some(&b':');
    Fields { rest: if is_field { block } else { block.get(start_line..).unwrap_or_default() } }
}

/// Iterator of [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end + 1)?;
        let colon = memchr::memchr(b':', line)?;
        self.rest = rest;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    }
}

impl Http {
    /// Judges a whole head. `answers_head` is true for the response to a HEAD request.
    pub(super) fn judge_head(&self, head: &[u8], answers_head: bool) -> Result<Verdict, Defect> {
        let mut headers = [httparse::EMPTY_HEADER; Self::MAX_FIELDS];
        let headers = headers.get_mut(..self.max_fields.into()).unwrap_or_default();
        let (version, status) = if self.requests {
            let mut request = httparse::Request::new(headers);
            self.complete(request.parse(head), head)?;
            (request.version, None)
        } else {
            let mut response = httparse::Response::new(headers);
            self.complete(response.parse(head), head)?;
            (response.version, response.code)
        };
        let mut length = None;
        let mut chunked = false;
        let mut fields = fields(head);
        loop {
            let at = head.len() - fields.rest.len();
            let Some((name, value)) = fields.next() else { break };
            if name.eq_ignore_ascii_case(b"content-length") {
                let n = content_length(value).ok_or((ErrorKind::BadLength, at, 0, 0))?;
                if length.is_some_and(|first| !self.repeated_content_length || first != n) {
                    return Err((ErrorKind::Duplicate, at, 0, 0));
                }
                length = Some(n);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if chunked {
                    return Err((ErrorKind::Duplicate, at, 0, 0));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err((ErrorKind::Unsupported, at, 0, 0));
                }
                chunked = true;
            } else {
                continue;
            }
            if chunked && (length.is_some() || version == Some(0)) {
                return Err((ErrorKind::Conflict, at, 0, 0));
            }
        }
        let none = Verdict { body: Body::None, length: 0 };
        if answers_head || matches!(status, Some(100 | 102..=199 | 204 | 304)) {
            return Ok(none);
        }
        let until_close = Verdict { body: Body::UntilClose, length: 0 };
        match length {
            _ if status == Some(101) => Ok(until_close),
            _ if chunked => Ok(Verdict { body: Body::Chunked, length: 0 }),
            Some(0) => Ok(none),
            Some(n) if n > self.max_body => Err((ErrorKind::TooLarge, 0, n, self.max_body)),
            Some(length) => Ok(Verdict { body: Body::Length, length }),
            None if self.requests => Ok(none),
            None => Ok(until_close),
        }
    }

    /// Judges a whole trailer section with the empty line that ends it.
    pub(super) fn judge_trailers(&self, section: &[u8]) -> Result<(), Defect> {
        let mut headers = [httparse::EMPTY_HEADER; Self::MAX_FIELDS];
        let headers = headers.get_mut(..self.max_fields.into()).unwrap_or_default();
        match httparse::parse_headers(section, headers) {
            Ok(httparse::Status::Complete((used, _))) if used == section.len() => {}
            Ok(_) => return Err((ErrorKind::Syntax, 0, 0, 0)),
            Err(error) => return Err(self.defect(error)),
        }
        let mut fields = Fields { rest: section };
        loop {
            let at = section.len() - fields.rest.len();
            let Some((name, _)) = fields.next() else { return Ok(()) };
            if FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden)) {
                return Err((ErrorKind::Conflict, at, 0, 0));
            }
        }
    }

    fn complete(
        &self,
        parsed: Result<httparse::Status<usize>, httparse::Error>,
        head: &[u8],
    ) -> Result<(), Defect> {
        match parsed {
            Ok(httparse::Status::Complete(used)) if used == head.len() => Ok(()),
            Ok(_) => Err((ErrorKind::Syntax, 0, 0, 0)),
            Err(error) => Err(self.defect(error)),
        }
    }

    fn defect(&self, error: httparse::Error) -> Defect {
        let max = u64::from(self.max_fields);
        match error {
            httparse::Error::TooManyHeaders => (ErrorKind::TooMany, 0, max + 1, max),
            httparse::Error::Version => (ErrorKind::BadVersion, 0, 0, 0),
            _ => (ErrorKind::Syntax, 0, 0, 0),
        }
    }
}

/// Fields that decide framing or routing: not in trailers (RFC 9110, 6.5.1).
pub(super) const FORBIDDEN: [&[u8]; 8] = [
    b"content-length",
    b"transfer-encoding",
    b"trailer",
    b"host",
    b"connection",
    b"content-encoding",
    b"content-type",
    b"authorization",
];

/// Digits only, at most 19 of them.
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    digits.then(|| value.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}
