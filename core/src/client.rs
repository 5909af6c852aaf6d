//! What the client machines of all protocols have in common.
//!
//! A client is `step(&mut self, input) -> Result<Step, Fault>` over bytes that the caller owns, as
//! a codec is: one event a call, consumed bytes named, no buffer inside.

/// What a client machine found at the front of its input.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Nothing yet: call again when there are at least this many bytes, counted from the same
    /// first byte. Always more than there are now.
    Need(usize),
    /// Something came. The caller drops `used` bytes (at least 1) before the next call.
    Event {
        /// What it is; may borrow from the input.
        event: E,
        /// Bytes consumed.
        used: usize,
    },
}
