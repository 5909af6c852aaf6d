//! Lines: payloads that end at a terminator.
//!
//! ```text
//! Lines::lf(max)            h  e  l  l  o  LF          68 65 6C 6C 6F 0A
//! Lines::crlf(max)          h  i  CR LF                68 69 0D 0A
//! Lines::lf_or_crlf(max)    either; one CR before the LF is not part of the line
//! Lines::any_newline(max)   CR, LF or CR LF, each one line end
//! Lines::delimiter(d, max)  any 1 to 8 bytes
//! Lines::any_of(set, max)   any one byte of a set
//! ```
//!
//! The limit counts the content without its terminator. Payloads are bytes, not text.
//!
//! ```
//! use drywire::frame::{Eof, Framing, Span, frames, line::{Ending, Lines}};
//!
//! let codec = Lines::lf_or_crlf(80);
//! let mut state = Default::default();
//! let wire = b"get key\r\nquit\nrest";
//! let mut it = frames(&codec, &mut state, wire);
//! let first = it.next().unwrap()?;
//! assert_eq!((first.payload, Ending::of(first.meta)), (&b"get key"[..], Some(Ending::CrLf)));
//! assert_eq!(it.next().unwrap()?.payload, b"quit");
//! assert!(it.next().is_none());
//!
//! // The unterminated rest is reported, never turned into a line.
//! let rest = &wire[it.consumed()..];
//! assert_eq!(codec.finish(&state, rest), Eof::Unterminated(Span { start: 0, end: 4 }));
//! # Ok::<(), drywire::frame::FrameError>(())
//! ```
//!
//! [`Meta::kind`](crate::frame::Meta) is the [`Ending`]; `extra` is the byte that ended the line
//! in [`Lines::any_of`].

mod config;
mod decode;
mod encode;

pub use super::scan::Lookahead;
pub use config::{Ending, Lines, Lone, Oversize};
pub use decode::State;
