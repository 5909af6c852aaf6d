//! Type, length, value and checksums: drywire's own wire format for networks, logs and serial
//! lines. `docs/tlv.md` fixes it for good; in short:
//!
//! ```text
//!  0     2     3     4       6        8        12           16
//! +-----+-----+-----+-------+--------+--------+------------+------ - - -+-----+----------+
//! |F5 D7|ver/f|class| type  | stream | length | header CRC | body       | pad | body CRC |
//! +-----+-----+-----+-------+--------+--------+------------+------ - - -+-----+----------+
//! F5 D7  11    00    01 00   00 00    02 00 00 00  91 6E FF CA  'h' 'i'    77 AC 87 EF
//! ```
//!
//! Little-endian. The header has its own CRC-32C, so that a bad length is found after 16 bytes
//! and a damaged body never costs the next frame; the body's CRC continues the header's, so that
//! a body is bound to its header. A CRC finds noise, not malice: against a hostile peer use TLS.
//!
//! | damage | [`Damage::Fatal`] | [`Damage::Skip`] | [`Damage::Resync`] |
//! |---|---|---|---|
//! | header: magic, version, reserved, checksum | stream ends | stream ends | one error, then search |
//! | length over the limit, header valid | stream ends | frame skipped | frame skipped |
//! | body checksum or padding, header valid | stream ends | frame skipped | frame skipped |
//!
//! Resynchronising never searches inside a frame whose header was valid, so its work stays linear.
//! It is for logs and serial lines: on a socket, a payload that contains a valid frame would be
//! delivered after a damaged header.
//!
//! ```
//! use drywire::frame::{Encode, datagram, tlv::{Info, Tlv}};
//! let codec = Tlv::new(1 << 16);
//! let mut wire = Vec::new();
//! let info = Info { kind: 1, ..Info::default() };
//! codec.encode(info.meta(), b"hi", &mut wire)?;
//! assert_eq!(
//!     wire,
//!     b"\xF5\xD7\x11\0\x01\0\0\0\x02\0\0\0\x91\x6E\xFF\xCAhi\x77\xAC\x87\xEF"
//! );
//! // One frame also fits a datagram.
//! let frame = datagram(&codec, &wire)?;
//! assert_eq!((frame.payload, Info::of(frame.meta)), (&b"hi"[..], info));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Compact`] is the 8-byte profile for small messages on reliable transports; [`fields`] reads
//! nested type-length-value fields inside a body.

mod compact;
mod decode;
mod encode;
pub mod fields;

use super::Meta;
use super::cpu::Cpu;

pub use super::crc::{crc32c, crc32c_append};
pub use compact::{Compact, State as CompactState};
pub use decode::State;
pub use encode::Open;

/// The first two bytes of a frame: never part of UTF-8 text, TLS, HTTP or gzip.
pub const MAGIC: [u8; 2] = [0xF5, 0xD7];
/// The only version there is, in the upper half of the third byte.
const VERSION: u8 = 0x10;
/// The body is followed by its CRC.
const FLAG_CHECKED: u8 = 1;
/// The body is padded with zeros to a multiple of eight.
const FLAG_PADDED: u8 = 2;
/// The message goes on in the next frame of the same stream.
const FLAG_MORE: u8 = 4;
/// Must be zero.
const FLAG_RESERVED: u8 = 8;
/// Bytes of a header.
const HEADER: usize = 16;

/// The format with the 16-byte header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv {
    max: u32,
    damage: Damage,
    cpu: Cpu,
}

/// What happens to damaged frames; the table is in the [module](self) page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Damage {
    /// Any damage ends the stream.
    #[default]
    Fatal,
    /// A frame with a valid header and a bad or oversize body costs one error; a bad header ends
    /// the stream.
    Skip,
    /// As `Skip`; and after a bad header the next valid one is searched for. One error per gap.
    Resync,
}

impl Tlv {
    /// The largest body of the format, 128 MiB: up to there CRC-32C finds any three flipped bits.
    pub const MAX: usize = 1 << 27;

    /// Bodies of at most `max` bytes ([`Tlv::MAX`] if it is more); any damage ends the stream.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.min(Self::MAX) as u32, damage: Damage::Fatal, cpu: Cpu::detect() }
    }

    /// What happens to damaged frames.
    #[must_use]
    pub fn damage(mut self, damage: Damage) -> Self {
        self.damage = damage;
        self
    }

    /// The limit of the body, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max as usize
    }
}

/// What a header says besides the length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Info {
    /// The type. Types from [`Info::IGNORABLE`] on may be ignored by who does not know them.
    pub kind: u16,
    /// A number that is the caller's alone.
    pub stream: u16,
    /// The message goes on in the next frame of the same stream.
    pub more: bool,
    /// The body is padded with zeros to a multiple of eight bytes.
    pub padded: bool,
    /// The body has no checksum of its own.
    pub unchecked: bool,
}

impl Info {
    /// The bit of a type that says: ignore me if you do not know me.
    pub const IGNORABLE: u16 = 0x8000;

    const MORE: u32 = 1 << 16;
    const PADDED: u32 = 1 << 17;
    const UNCHECKED: u32 = 1 << 18;

    /// The info that a frame's meta holds.
    #[inline]
    #[must_use]
    pub const fn of(meta: Meta) -> Self {
        Self {
            kind: meta.kind as u16,
            stream: meta.extra as u16,
            more: meta.kind & Self::MORE != 0,
            padded: meta.kind & Self::PADDED != 0,
            unchecked: meta.kind & Self::UNCHECKED != 0,
        }
    }

    /// The info as a meta: the default is a checked, unpadded, whole message of type 0.
    #[inline]
    #[must_use]
    pub const fn meta(self) -> Meta {
        let mut kind = self.kind as u32;
        if self.more {
            kind |= Self::MORE;
        }
        if self.padded {
            kind |= Self::PADDED;
        }
        if self.unchecked {
            kind |= Self::UNCHECKED;
        }
        Meta { kind, extra: self.stream as u32 }
    }
}

/// Body and padding, and the trailer's size, of a body of `len` bytes.
#[inline]
fn layout(flags: u8, len: u32) -> (u64, u64) {
    let len = u64::from(len);
    let padded = if flags & FLAG_PADDED != 0 { len.next_multiple_of(8) } else { len };
    let trailer = if flags & FLAG_CHECKED != 0 && len > 0 { 4 } else { 0 };
    (padded, trailer)
}
