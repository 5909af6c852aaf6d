//! Faults at times: what a scenario plans, whoever brings it about.

use core::time::Duration;
use drywire::Tick;

/// A fault at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// When.
    pub at: Tick,
    /// Whose connections; nobody named is everybody.
    pub callers: Vec<u32>,
    /// Which of several servers; all if none is named.
    pub server: Option<u32>,
    /// What.
    pub nemesis: Nemesis,
}

impl Strike {
    /// Whether it is about this caller.
    #[must_use]
    pub fn hits(&self, who: u32) -> bool {
        self.callers.is_empty() || self.callers.contains(&who)
    }

    /// Whether it is about this server.
    #[must_use]
    pub fn is_at(&self, server: usize) -> bool {
        self.server.is_none_or(|named| named as usize == server)
    }
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// What callers send.
    Server,
    /// What the server sends.
    Callers,
}

impl Toward {
    /// The end of a link that writes in this direction: 0 opened it, 1 accepted it.
    #[must_use]
    pub const fn writer(self) -> usize {
        match self {
            Self::Server => 0,
            Self::Callers => 1,
        }
    }
}

/// What can be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nemesis {
    /// From here on everything takes so long, one way: each piece from `least` to `most`.
    Latency {
        /// At least.
        least: Duration,
        /// At most.
        most: Duration,
    },
    /// From here on everything travels in pieces of up to so many bytes; 0 ends it.
    Cut {
        /// The largest piece.
        bytes: usize,
    },
    /// From here on each direction of a connection carries so many bytes a second.
    Thin {
        /// Bytes a second.
        rate: u64,
    },
    /// Connections made from here on hold so many bytes under way.
    Narrow {
        /// Bytes.
        bytes: usize,
    },
    /// What is sent meanwhile arrives afterwards.
    Hold {
        /// How long.
        lasts: Duration,
    },
    /// Nothing gets through meanwhile. TCP sends it again afterwards.
    Partition {
        /// How long.
        lasts: Duration,
    },
    /// The same in one direction.
    Hole {
        /// Which one.
        toward: Toward,
        /// How long.
        lasts: Duration,
    },
    /// Connections that are up are reset once so many more bytes went in that direction.
    Reset {
        /// Which one.
        toward: Toward,
        /// Bytes.
        byte: u64,
    },
    /// The caller ends its side, and waits for its answers.
    HalfClose,
    /// The caller is killed in the middle of what it does.
    Abort,
    /// The caller's machine is gone: no end, no reset.
    Vanish,
    /// The caller reads nothing.
    Deaf {
        /// How long.
        lasts: Duration,
    },
    /// The caller does nothing at all, while its machine goes on acknowledging what arrives.
    Hang {
        /// How long.
        lasts: Duration,
    },
    /// The caller reads little.
    Drip {
        /// So many bytes
        bytes: usize,
        /// in such a time
        every: Duration,
        /// for so long.
        lasts: Duration,
    },
    /// Connections come at once, and say nothing.
    Storm {
        /// How many.
        connections: u32,
        /// How long they stay.
        lasts: Duration,
    },
    /// The server's process is killed, and started again later.
    Crash {
        /// How much later.
        lasts: Duration,
    },
    /// The server's machine loses power, and comes back later.
    PowerLoss {
        /// How much later.
        lasts: Duration,
    },
    /// The server is drained, and replaced later.
    Drain {
        /// How much later.
        lasts: Duration,
    },
    /// The server does not run.
    Freeze {
        /// How long.
        lasts: Duration,
    },
}

impl Nemesis {
    /// Something that a caller does, not something that is done to it.
    #[must_use]
    pub const fn is_of_callers(self) -> bool {
        matches!(
            self,
            Self::HalfClose
                | Self::Abort
                | Self::Vanish
                | Self::Deaf { .. }
                | Self::Hang { .. }
                | Self::Drip { .. }
        )
    }

    /// Afterwards another server is there, without the items of the first.
    #[must_use]
    pub const fn replaces_the_server(self) -> bool {
        matches!(self, Self::Crash { .. } | Self::PowerLoss { .. } | Self::Drain { .. })
    }
}
