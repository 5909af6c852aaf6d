//! One connection: a protocol, its buffers and its lifecycle, without a socket.
//!
//! ```text
//!             bytes from the peer                     bytes to the peer
//!                    │                                        ▲
//!   receive / ingest ▼                                        │ outgoing, sent
//!   ┌──────────────────────────────── Conn ──────────────────────────────────┐
//!   │  carry-over input  ──►  Session::on_input  ──►  Outbox                  │
//!   │                         on_post, on_done, on_tick, on_end              │
//!   └────────────────────────────────────────────────────────────────────────┘
//!        wants() = READ | WRITE | AGAIN | SHUTDOWN | CLOSE        deadline()
//! ```
//!
//! A host feeds bytes and time in, then looks at [`Conn::wants`] and [`Conn::deadline`]: facts
//! that may be read at any time, in any order, any number of times. Nothing has to be polled
//! "before" anything else.

mod intake;
mod lifecycle;
mod outbox;
mod reason;
mod session;
mod settings;

pub use intake::Intake;
pub use lifecycle::Conn;
pub use outbox::{Mark, Outbox, SHARE_FROM, Slices};
pub use reason::{CloseReason, TransportError};
pub use session::{
    Cx, Deadline, Fault, FaultKind, Job, Leave, NoJob, Peer, Place, Session, Stop, Taken, Upkeep,
};
pub use settings::HostSettings;
pub(crate) use settings::micros;

use crate::guard::OutGateConfig;
use alloc::boxed::Box;
use alloc::vec;
use core::fmt;
use core::ops::{BitOr, BitOrAssign};
use core::time::Duration;

/// What a connection wants from its host: a set of level facts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wants(u8);

impl Wants {
    /// Nothing: waiting for a job, a post or a deadline.
    pub const NOTHING: Self = Self(0);
    /// It has room for input.
    pub const READ: Self = Self(1);
    /// Output is waiting.
    pub const WRITE: Self = Self(2);
    /// It can go on without the socket: call `resume` after the others had their turn.
    pub const AGAIN: Self = Self(4);
    /// Everything owed is sent: shut the write side down, then say `was_shut_down`.
    pub const SHUTDOWN: Self = Self(8);
    /// It is over: close the socket and `release` it.
    pub const CLOSE: Self = Self(16);

    /// Whether all of `other` is wanted.
    #[inline]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set as bits, in the order of the constants; part of the C ABI.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Wants {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Wants {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Wants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READ, "READ"),
            (Self::WRITE, "WRITE"),
            (Self::AGAIN, "AGAIN"),
            (Self::SHUTDOWN, "SHUTDOWN"),
            (Self::CLOSE, "CLOSE"),
        ];
        f.debug_set().entries(names.iter().filter(|(w, _)| self.has(*w)).map(|(_, n)| n)).finish()
    }
}

/// The caps and shares of one connection; the same for all connections of an engine.
///
/// The memory of a connection is at most `input` plus `output_high` plus the largest single
/// reply of its protocol plus what the session holds ([`Session::footprint`]). The output of all
/// connections together is at most `total`, plus `output_high` and one reply (of each engine that
/// shares it), plus a refusal for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Unconsumed input held at most, in bytes; also the largest message that has to be in
    /// memory in one piece. Default 64 KiB.
    pub input: usize,
    /// Output waiting from which no further message is started, in bytes. Default 64 KiB.
    pub output_high: usize,
    /// Output waiting down to which work is resumed, in bytes. Default 16 KiB.
    pub output_low: usize,
    /// Input and output held by all connections together, in bytes. From three quarters of it
    /// on, and until half of it is held, a connection is read only once its own output is taken;
    /// at all of it a session refuses what it can ([`Cx::must_shed`]). Default 256 MiB.
    pub total: usize,
    /// Messages served in one turn before the other connections get theirs. Default 128.
    pub messages_per_turn: u32,
    /// How long a connection is at most not read after a request of it was refused
    /// ([`Cx::refused`]), see [`RefusalPause`](crate::guard::RefusalPause). Default zero: off.
    pub refusal_pause: Duration,
    /// How many requests of all connections have to be refused within such a time for it. Choose
    /// it so that reading and answering each of them alone takes a few percent of the time.
    /// Default 1: each refusal is followed by a pause.
    pub refusal_pause_from: u32,
    /// When an open connection whose peer does not take its output is given up. Of
    /// [`OutGateConfig`] the limits on bytes, and on time without progress, are used here; posts
    /// are what can reach the hard limit, since no message is started above `output_high`.
    /// Default [`OutGateConfig::REPLIES`]: 4 MiB, 10 s without progress.
    pub output: OutGateConfig,
    /// How long nothing may come in, and nothing be owed or unsent, before the connection is
    /// ended. Default zero: for ever.
    pub idle: Duration,
    /// How much later than asked for the engine may be called before this process itself counts
    /// as having been away, and the time is held against no peer. Default 1 s.
    pub own_stall: Duration,
    /// How long a connection that is ending may go without its peer taking any output.
    /// Default 10 s.
    pub drain_stall: Duration,
    /// How long input is discarded after our side was shut down, so that a reset does not
    /// destroy the last words. Default 1 s.
    pub linger: Duration,
    /// How many bytes are discarded then at most. Default 256 KiB.
    pub linger_bytes: usize,
}

impl Limits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        input: 64 << 10,
        output_high: 64 << 10,
        output_low: 16 << 10,
        total: 256 << 20,
        messages_per_turn: 128,
        refusal_pause: Duration::ZERO,
        refusal_pause_from: 1,
        output: OutGateConfig::REPLIES,
        idle: Duration::ZERO,
        own_stall: Duration::from_secs(1),
        drain_stall: Duration::from_secs(10),
        linger: Duration::from_secs(1),
        linger_bytes: 256 << 10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A read buffer that all connections of a thread share, so that an idle one owns none.
///
/// `room` puts a connection's carry-over in front and lends the space behind it; the host reads
/// from the socket straight into that; `ingest` parses in place.
pub struct Scratch {
    buf: Box<[u8]>,
}

impl Scratch {
    /// A buffer for engines with exactly these limits: `limits.input` bytes.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { buf: vec![0; limits.input].into_boxed_slice() }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("len", &self.buf.len()).finish()
    }
}
