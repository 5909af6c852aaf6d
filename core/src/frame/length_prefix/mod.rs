//! Length-prefixed frames: `[opaque][length][type][opaque][payload]`.
//!
//! ```text
//! LengthPrefix::u32_be(max)            00 00 00 05  68 65 6C 6C 6F
//!                                      length = 5   h  e  l  l  o
//!
//! LengthPrefix::varint(max)            05  68 65 6C 6C 6F
//!
//! builder(Width::U32).type_width(4)    00 00 00 02  00 00 00 07  68 69
//!                                      length = 2   type = 7     h  i
//! ```
//!
//! The common shapes are named constructors; everything else is a [`Builder`]: the width of the
//! length, its byte order, what it counts, how many opaque bytes stand before and after it, a type
//! word, how much of the frame the payload shows. The limit is on the *payload* and always set.
//!
//! ```
//! use drywire::frame::{Encode, Meta, frames};
//! use drywire::frame::length_prefix::{Counts, LengthPrefix, Width};
//!
//! // Two opaque bytes, then a little-endian u16 that counts the whole frame.
//! let codec = LengthPrefix::builder(Width::U16, 500)
//!     .little_endian()
//!     .offset(2)
//!     .counts(Counts::WholeFrame)
//!     .build()?;
//! let wire = b"\xCA\xFE\x06\0hi";
//! let frame = frames(&codec, &mut Default::default(), wire).next().unwrap()?;
//! assert_eq!(frame.payload, b"hi");
//!
//! let mut out = [0; 16];
//! let n = LengthPrefix::varint(500).encode_slice(Meta::default(), b"hi", &mut out)?;
//! assert_eq!(&out[..n], b"\x02hi");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Meta::kind`](crate::frame::Meta) is the type word, zero without one.

mod config;
mod decode;
mod encode;
pub(crate) mod varint;

pub use config::{Builder, Counts, LengthPrefix, Oversize, Width};
pub use decode::State;
pub use encode::Open;
