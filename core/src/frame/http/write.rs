//! Writing messages that the decoder takes.

use super::chunk::is_token;
use super::head::FORBIDDEN;
use super::{Body, Http};
use crate::frame::{EncodeError, Sink};

/// Appends the head of a request; returns its size. `length` is of [`Body::Length`].
///
/// The field that delimits the body is written here and must not be among `fields`.
///
/// # Errors
/// [`EncodeError::Forbidden`] for a method, target or field that would not be read back as it is
/// (`at` counts the parts: 0 is the method, 1 the target, 2 the first field);
/// [`EncodeError::TooLarge`] over a limit of `codec`; [`EncodeError::BadMeta`] for a body that a
/// request cannot have. Nothing is written then.
///
/// ```
/// use drywire::frame::http::{Body, Http, request_head};
/// let mut out = Vec::new();
/// let fields = [("Host", &b"a"[..])];
/// request_head(&Http::requests(), &mut out, "PUT", "/x", &fields, Body::Length, 5)?;
/// assert_eq!(out, b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
/// # Ok::<(), drywire::frame::EncodeError>(())
/// ```
pub fn request_head<S: Sink>(
    codec: &Http,
    out: &mut S,
    method: &str,
    target: &str,
    fields: &[(&str, &[u8])],
    body: Body,
    length: u64,
) -> Result<usize, EncodeError> {
    if body == Body::UntilClose {
        return Err(EncodeError::BadMeta);
    }
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(EncodeError::Forbidden { at: 0 });
    }
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EncodeError::Forbidden { at: 1 });
    }
    let start = [method, " ", target, " HTTP/1.1\r\n"];
    head(codec, out, start, fields, body, length)
}

/// Appends the head of a response; returns its size. As [`request_head`], with the status (100 to
/// 999) as part 0 and the reason as part 1.
///
/// # Errors
/// As [`request_head`]; and [`EncodeError::BadMeta`] for a status that cannot have that body.
pub fn response_head<S: Sink>(
    codec: &Http,
    out: &mut S,
    status: u16,
    reason: &str,
    fields: &[(&str, &[u8])],
    body: Body,
    length: u64,
) -> Result<usize, EncodeError> {
    if !(100..1000).contains(&status) {
        return Err(EncodeError::Forbidden { at: 0 });
    }
    let bodiless = matches!(status, 100..200 | 204 | 304);
    if bodiless && !(body == Body::None || (status == 101 && body == Body::UntilClose)) {
        return Err(EncodeError::BadMeta);
    }
    if !reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(EncodeError::Forbidden { at: 1 });
    }
    let mut digits = itoa::Buffer::new();
    let start = ["HTTP/1.1 ", digits.format(status), " ", reason];
    head(codec, out, start, fields, body, length)
}

/// Appends one chunk of a chunked body; returns its size.
///
/// # Errors
/// [`EncodeError::WrongLength`] if `data` is empty: that would end the body.
pub fn chunk<S: Sink>(out: &mut S, data: &[u8]) -> Result<usize, EncodeError> {
    if data.is_empty() {
        return Err(EncodeError::WrongLength { len: 0, must: 1 });
    }
    let mut digits = [0; 16];
    let mut at = digits.len();
    let mut left = data.len();
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 0xf];
        left >>= 4;
    }
    out.put(&digits[at..]);
    out.put(b"\r\n");
    out.put(data);
    out.put(b"\r\n");
    Ok(digits.len() - at + data.len() + 4)
}

/// Appends the end of a chunked body, with its trailer fields; returns its size.
///
/// # Errors
/// [`EncodeError::Forbidden`] for a field that would not be read back, or must not stand in
/// trailers (`at` counts the fields); [`EncodeError::TooLarge`] over a limit of `codec`.
pub fn last_chunk<S: Sink>(
    codec: &Http,
    out: &mut S,
    trailers: &[(&str, &[u8])],
) -> Result<usize, EncodeError> {
    let len = check(codec, trailers, 0, 2)?;
    out.put(b"0\r\n");
    put_fields(out, trailers);
    out.put(b"\r\n");
    Ok(len + 3)
}

fn head<S: Sink>(
    codec: &Http,
    out: &mut S,
    start: [&str; 4],
    fields: &[(&str, &[u8])],
    body: Body,
    length: u64,
) -> Result<usize, EncodeError> {
    let mut digits = itoa::Buffer::new();
    let (name, value) = match body {
        Body::Length if length > codec.max_body => {
            return Err(EncodeError::TooLarge { len: length, limit: codec.max_body });
        }
        Body::Length => ("Content-Length", digits.format(length)),
        Body::Chunked => ("Transfer-Encoding", "chunked"),
        // A response without a body says so, or its end would have to be waited for.
        Body::None if start[0].starts_with("HTTP/") && may_have_body(start[1]) => {
            ("Content-Length", "0")
        }
        Body::None | Body::UntilClose => ("", ""),
    };
    let own = [(name, value.as_bytes())];
    let own = if name.is_empty() { &[][..] } else { &own[..] };
    // A response's start line has no end of its own in `start`.
    let line_end = if start[3].ends_with('\n') { "" } else { "\r\n" };
    let line = start.iter().map(|part| part.len()).sum::<usize>() + line_end.len();
    let own_len: usize = own.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let len = check(codec, fields, own.len(), line + own_len + 2)?;
    for part in start.into_iter().chain([line_end]) {
        out.put(part.as_bytes());
    }
    put_fields(out, fields);
    put_fields(out, own);
    out.put(b"\r\n");
    Ok(len)
}

fn may_have_body(status: &str) -> bool {
    !(status.starts_with('1') || status == "204" || status == "304")
}

/// The size of the fields with `rest` bytes around them, if all is allowed.
fn check(
    codec: &Http,
    fields: &[(&str, &[u8])],
    more: usize,
    rest: usize,
) -> Result<usize, EncodeError> {
    let count = fields.len() + more;
    if count > codec.max_fields.into() {
        let (len, limit) = (count as u64, codec.max_fields.into());
        return Err(EncodeError::TooLarge { len, limit });
    }
    let mut size = rest;
    let trailers = rest == 2;
    for (i, (name, value)) in fields.iter().enumerate() {
        let token = !name.is_empty() && name.bytes().all(is_token);
        let decides = |list: &[&[u8]]| list.iter().any(|f| name.as_bytes().eq_ignore_ascii_case(f));
        let taken = decides(if trailers { &FORBIDDEN } else { &FORBIDDEN[..2] });
        let plain = value.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f);
        if !token || taken || !plain || value.trim_ascii().len() != value.len() {
            return Err(EncodeError::Forbidden { at: if trailers { i } else { i + 2 } });
        }
        size += name.len() + value.len() + 4;
    }
    if size > codec.max_head as usize {
        let (len, limit) = (size as u64, codec.max_head.into());
        return Err(EncodeError::TooLarge { len, limit });
    }
    Ok(size)
}

fn put_fields<S: Sink>(out: &mut S, fields: &[(&str, &[u8])]) {
    for (name, value) in fields {
        out.put(name.as_bytes());
        out.put(b": ");
        out.put(value);
        out.put(b"\r\n");
    }
}
