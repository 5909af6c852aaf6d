//! The read gate: how much a connection may read now.
//!
//! **Decides** whether to read from a connection, and how much, from what is already buffered
//! for it, in front of it and in total. Stop-reading protects memory and slows down clients that
//! wait for answers; against clients that do not wait it only moves the queue into the kernel,
//! which is what [`admit`](crate::guard::admit) is for.
//!
//! Each measure has a high and a low mark ([`Band`]): at `high` reading stops, and it goes on
//! when every measure is at `low` or below. Nothing buffered always means reading: a gate can not
//! be stuck. A turn has a share of messages and bytes, so that one connection can not starve the
//! others.
//!
//! **Units**: bytes, messages. **Work**: constant. **No deadline**: only buffered bytes matter,
//! and each of them is the reason for an event that will change it. Bytes of incomplete requests
//! are freed by the whole-request deadline of [`Patience`](crate::guard::Patience).
//!
//! **Sources**: netty's write-buffer water marks, Kafka's bounded request queue, memcached's
//! requests per event (20).
//!
//! ```
//! use drywire::guard::{Band, Buffered, Read, ReadGate, ReadGateConfig};
//!
//! let config = ReadGateConfig { conn_out: Band::new(1000, 250), ..ReadGateConfig::DEFAULT };
//! let mut gate = ReadGate::new();
//! let full = Buffered { conn_out: 1000, ..Buffered::NOTHING };
//! assert!(matches!(gate.poll(&config, &full), Read::Stop(_)));
//! // Half of it has left: not enough to start again.
//! let half = Buffered { conn_out: 500, ..Buffered::NOTHING };
//! assert!(matches!(gate.poll(&config, &half), Read::Stop(_)));
//! let low = Buffered { conn_out: 250, ..Buffered::NOTHING };
//! assert!(matches!(gate.poll(&config, &low), Read::Go { .. }));
//! ```

/// A high and a low mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// Stop at this many.
    pub high: usize,
    /// Go on at this many; at least one below `high` counts.
    pub low: usize,
}

impl Band {
    /// No limit.
    pub const OFF: Self = Self { high: usize::MAX, low: usize::MAX - 1 };

    /// Stop at `high`, go on at `low`.
    #[must_use]
    pub const fn new(high: usize, low: usize) -> Self {
        Self { high, low }
    }

    /// Stop at `high`, go on at a quarter of it.
    #[must_use]
    pub const fn quarter(high: usize) -> Self {
        Self { high, low: high / 4 }
    }

    /// Whether `n` stops, given that it is `stopped` already.
    #[must_use]
    pub const fn stops(&self, stopped: bool, n: usize) -> bool {
        let low = if self.low < self.high { self.low } else { self.high.saturating_sub(1) };
        n > 0 && (n >= self.high || (stopped && n > low))
    }
}

/// The caps on what is buffered. Configuration of [`ReadGate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadGateConfig {
    /// Unconsumed input of the connection. Default 64 KiB, 16 KiB.
    pub conn_in: Band,
    /// Unsent output of the connection. Default 256 KiB, 64 KiB.
    pub conn_out: Band,
    /// Bytes of requests that wait for a worker. Default 16 MiB, 4 MiB.
    pub queue: Band,
    /// Bytes of all connections together. Default 256 MiB, 192 MiB.
    pub total: Band,
    /// Messages of one connection in one turn; at least one. Default 20.
    pub turn_messages: u32,
    /// Bytes of one connection in one turn; at least one. Default 64 KiB.
    pub turn_bytes: usize,
}

impl ReadGateConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        conn_in: Band::quarter(64 << 10),
        conn_out: Band::quarter(256 << 10),
        queue: Band::quarter(16 << 20),
        total: Band::new(256 << 20, 192 << 20),
        turn_messages: 20,
        turn_bytes: 64 << 10,
    };
}

impl Default for ReadGateConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is buffered now, in bytes. Input of [`ReadGate::poll`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffered {
    /// Unconsumed input of this connection.
    pub conn_in: usize,
    /// Unsent output of this connection.
    pub conn_out: usize,
    /// Requests that wait for a worker, of all connections.
    pub queue: usize,
    /// Everything, of all connections.
    pub total: usize,
}

impl Buffered {
    /// Nothing is buffered.
    pub const NOTHING: Self = Self { conn_in: 0, conn_out: 0, queue: 0, total: 0 };
}

/// Whether to read.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Read, but no more than this. Both are at least 1.
    Go {
        /// Bytes.
        bytes: usize,
        /// Messages.
        messages: u32,
    },
    /// This turn's share is used: go on after the others had theirs.
    TurnOver,
    /// Do not read until this has drained to its low mark.
    Stop(Full),
}

/// Which measure stopped the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Full {
    /// Unconsumed input of the connection.
    ConnIn,
    /// Unsent output of the connection: its peer does not read.
    ConnOut,
    /// The work queue.
    Queue,
    /// All connections together.
    Total,
}

/// The state of one connection's gate: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadGate {
    stopped: bool,
    turn_messages: u32,
    turn_bytes: usize,
}

impl ReadGate {
    /// An open gate at the start of a turn.
    #[must_use]
    pub const fn new() -> Self {
        Self { stopped: false, turn_messages: 0, turn_bytes: 0 }
    }

    /// Whether to read now.
    pub fn poll(&mut self, config: &ReadGateConfig, now: &Buffered) -> Read {
        let measures = [
            (Full::ConnOut, config.conn_out, now.conn_out),
            (Full::ConnIn, config.conn_in, now.conn_in),
            (Full::Queue, config.queue, now.queue),
            (Full::Total, config.total, now.total),
        ];
        let full = measures.iter().find(|(_, band, n)| band.stops(self.stopped, *n));
        self.stopped = full.is_some();
        if let Some((full, ..)) = full {
            return Read::Stop(*full);
        }
        let messages = config.turn_messages.max(1).saturating_sub(self.turn_messages);
        let turn = config.turn_bytes.max(1).saturating_sub(self.turn_bytes);
        if messages == 0 || turn == 0 {
            return Read::TurnOver;
        }
        let room = |band: Band, n: usize| band.high.saturating_sub(n).max(1);
        let bytes = turn.min(room(config.conn_in, now.conn_in)).min(room(config.total, now.total));
        Read::Go { bytes, messages }
    }

    /// This much was taken in.
    pub fn took(&mut self, bytes: usize, messages: u32) {
        self.turn_bytes = self.turn_bytes.saturating_add(bytes);
        self.turn_messages = self.turn_messages.saturating_add(messages);
    }

    /// A new turn begins: the others had theirs.
    pub fn new_turn(&mut self) {
        self.turn_bytes = 0;
        self.turn_messages = 0;
    }
}

impl From<ReadGate> for [u64; 2] {
    fn from(state: ReadGate) -> Self {
        [u64::from(state.turn_messages) << 1 | u64::from(state.stopped), state.turn_bytes as u64]
    }
}

impl From<[u64; 2]> for ReadGate {
    fn from(words: [u64; 2]) -> Self {
        let [turn, bytes] = words;
        let turn_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { stopped: turn & 1 == 1, turn_messages: (turn >> 1) as u32, turn_bytes }
    }
}
