//! Records of a fixed number of bytes.
//!
//! ```text
//! Fixed::new(4)    01 02 03 04 | 05 06 07 08 | ...
//! ```
//!
//! Any bytes are valid, so the only thing that can be wrong is an end of input inside a record.
//!
//! ```
//! use drywire::frame::{Eof, Framing, fixed::Fixed, frames};
//! let codec = Fixed::new(4)?;
//! let mut state = Default::default();
//! let mut it = frames(&codec, &mut state, b"abcdefghij");
//! assert_eq!(it.next().unwrap()?.payload, b"abcd");
//! assert_eq!(it.next().unwrap()?.payload, b"efgh");
//! assert!(it.next().is_none());
//! assert_eq!(codec.finish(&state, b"ij"), Eof::Partial { have: 2, need: 4 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{ConfigError, Encode, EncodeError, Eof, Framing, Glance, Meta, Sink, Span, Step, need};

/// Records of `n` bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    len: usize,
}

/// What a [`Fixed`] remembers between steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    pos: u64,
}

impl Fixed {
    /// Records of `len` bytes, at least one.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for zero, or more than a buffer can hold.
    pub fn new(len: usize) -> Result<Self, ConfigError> {
        let (value, max) = (len as u64, isize::MAX as u64);
        if value == 0 || value > max {
            return Err(ConfigError::OutOfRange { what: "record length", value, min: 1, max });
        }
        Ok(Self { len })
    }
}

impl Framing for Fixed {
    type State = State;
    type Lookahead = ();

    #[inline]
    fn step(&self, state: &mut State, avail: &[u8]) -> Step {
        if avail.len() < self.len {
            return need(avail.len(), self.len);
        }
        state.pos += self.len as u64;
        let payload = Span { start: 0, end: self.len };
        Step::Frame { payload, meta: Meta::default(), consumed: self.len }
    }

    #[inline(always)]
    fn fresh(&self, _: &State) -> bool {
        true
    }

    #[inline(always)]
    fn glance<'a>(&self, _: &mut (), _: &'a [u8], avail: &'a [u8]) -> Option<Glance<'a>> {
        let (bytes, rest) = avail.split_at_checked(self.len)?;
        Some(Glance { bytes, payload: bytes, start: 0, meta: Meta::default(), rest })
    }

    #[inline(always)]
    fn glanced(&self, state: &mut State, position: u64) {
        state.pos = position;
    }

    fn finish(&self, _: &State, rest: &[u8]) -> Eof {
        match rest.len() as u64 {
            0 => Eof::Clean,
            have => Eof::Partial { have, need: self.len as u64 },
        }
    }

    fn position(&self, state: &State) -> u64 {
        state.pos
    }

    fn max_pending(&self) -> usize {
        self.len
    }
}

impl Encode for Fixed {
    fn encoded_len(&self, meta: Meta, payload: &[u8]) -> Result<usize, EncodeError> {
        if meta != Meta::default() {
            return Err(EncodeError::BadMeta);
        }
        if payload.len() != self.len {
            let (len, must) = (payload.len() as u64, self.len as u64);
            return Err(EncodeError::WrongLength { len, must });
        }
        Ok(self.len)
    }

    fn write_checked<S: Sink>(&self, _: Meta, payload: &[u8], out: &mut S) {
        out.put(payload);
    }
}
