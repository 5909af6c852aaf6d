//! HTTP/1.1 message framing: where a head ends, how long its body is, where the next message
//! begins. Stricter than it would have to be, because lenient framing is how requests are
//! smuggled.
//!
//! ```text
//! POST /a HTTP/1.1 CRLF                      ┐
//! Transfer-Encoding: chunked CRLF            │ one frame, Part::Head
//! CRLF                                       ┘
//! 5 CRLF                                       skipped
//! hello                                        frames, Part::Body: as it arrives
//! CRLF 0 CRLF                                  skipped
//! CRLF                                         one frame, Part::Trailers: the message is complete
//! ```
//! A body is not gathered: each step gives what is there of it, so that the *bytes* of a body do
//! not depend on how it was cut, but its pieces do. A body of known length is complete with the
//! piece marked [`Piece::Last`]; a chunked one with its [`Part::Trailers`], which may be empty.
//!
//! Refused, always fatally: bare CR or LF anywhere in a head, chunk line or trailer; whitespace
//! before a colon; folded lines; `Content-Length` that is not digits only, or repeated;
//! `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0, or beside a
//! `Content-Length`; chunk sizes with signs, spaces, prefixes, no digit or more than 16;
//! malformed or oversized chunk extensions, and chunk lines that outweigh their data; fields in
//! trailers that would change the framing. Each leniency is a named setting of [`Http`].
//!
//! ```
//! use drywire::frame::{Framing, frames, http::{Body, Http, Part, fields}};
//! let codec = Http::requests();
//! let mut state = Default::default();
//! let wire = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET";
//! let mut it = frames(&codec, &mut state, wire);
//! let head = it.next().unwrap()?;
//! assert_eq!(Part::of(head.meta), Some(Part::Head(Body::Length)));
//! assert!(head.payload.starts_with(b"PUT /x HTTP/1.1\r\n"));
//! assert_eq!(fields(head.payload).nth(1), Some((&b"Content-Length"[..], &b"2"[..])));
//! assert_eq!(it.next().unwrap()?.payload, b"hi");
//! assert!(it.next().is_none());
//! assert_eq!(it.consumed(), wire.len() - 3);
//! # Ok::<(), drywire::frame::FrameError>(())
//! ```
//!
//! Source: RFC 9112 (message syntax, sections 5 to 7), RFC 9110 (fields). The syntax of a head is
//! judged by the `httparse` crate; everything that decides framing is judged here.

mod chunk;
mod decode;
mod head;
mod write;

use super::Meta;

pub use decode::State;
pub use head::{Fields, fields};
pub use write::{chunk, last_chunk, request_head, response_head};

/// The HTTP/1.1 framing of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http {
    requests: bool,
    max_head: u32,
    max_fields: u8,
    max_body: u64,
    leading_empty_line: bool,
    repeated_content_length: bool,
}

impl Http {
    /// The most header fields that can be allowed.
    pub const MAX_FIELDS: usize = 128;

    /// What a server reads. Limits: 16 KiB of head (and of trailers), 64 fields, 1 MiB of body.
    #[must_use]
    pub fn requests() -> Self {
        Self {
            requests: true,
            max_head: 16 * 1024,
            max_fields: 64,
            max_body: 1 << 20,
            leading_empty_line: false,
            repeated_content_length: false,
        }
    }

    /// What a client reads, with the same limits. The client says which responses belong to
    /// requests that get no body: [`State::answers_head`].
    #[must_use]
    pub fn responses() -> Self {
        Self { requests: false, ..Self::requests() }
    }

    /// The most bytes of a head, and of a trailer section (at most 1 GiB).
    #[must_use]
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes.min(1 << 30) as u32;
        self
    }

    /// The most header fields, at most [`Http::MAX_FIELDS`].
    #[must_use]
    pub fn max_fields(mut self, fields: usize) -> Self {
        self.max_fields = fields.min(Self::MAX_FIELDS) as u8;
        self
    }

    /// The most bytes of a body.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Leniency: skips one empty line before a head (RFC 9112, 2.2).
    #[must_use]
    pub fn leading_empty_line(mut self, allowed: bool) -> Self {
        self.leading_empty_line = allowed;
        self
    }

    /// Leniency: takes a Content-Length that is repeated with the same value (RFC 9110, 8.6).
    #[must_use]
    pub fn repeated_content_length(mut self, allowed: bool) -> Self {
        self.repeated_content_length = allowed;
        self
    }
}

/// How the body after a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum Body {
    /// There is none: the message is complete.
    None = 0,
    /// By its length, which is not zero.
    Length = 1,
    /// In chunks.
    Chunked = 2,
    /// By the end of input (responses only): also after a 101, and whatever a tunnel carries.
    UntilClose = 3,
}

/// Whether a piece of a body is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Piece {
    /// More may follow.
    More = 0,
    /// The body of known length, and with it the message, is complete.
    Last = 1,
}

/// What a frame is: the meaning of its [`Meta`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Start line and header fields, with the empty line that ends them.
    Head(Body),
    /// Some bytes of the body.
    Body(Piece),
    /// The trailer fields of a chunked message, without the empty line that ends them: the
    /// message is complete.
    Trailers,
}

impl Part {
    /// The part that a frame's meta names.
    #[must_use]
    pub const fn of(meta: Meta) -> Option<Self> {
        Some(match (meta.kind, meta.extra) {
            (1, 0) => Self::Head(Body::None),
            (1, 1) => Self::Head(Body::Length),
            (1, 2) => Self::Head(Body::Chunked),
            (1, 3) => Self::Head(Body::UntilClose),
            (2, 0) => Self::Body(Piece::More),
            (2, 1) => Self::Body(Piece::Last),
            (3, 0) => Self::Trailers,
            _ => return None,
        })
    }

    /// The part as a meta.
    #[must_use]
    pub const fn meta(self) -> Meta {
        match self {
            Self::Head(body) => Meta { kind: 1, extra: body as u32 },
            Self::Body(piece) => Meta { kind: 2, extra: piece as u32 },
            Self::Trailers => Meta::kind(3),
        }
    }
}
