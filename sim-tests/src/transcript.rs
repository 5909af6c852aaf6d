//! What a server took in and what it answered, call by call: the order in which requests took
//! effect, without asking the server.

/// The two streams of one accepted connection, as its server saw them.
///
/// A reply is appended in the call in which its request is executed, so the event that appended
/// the last byte of a reply *is* the moment at which the request took effect. That gives every
/// in-order protocol a witness for linearizability for free.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// After each call that may have changed something.
    pub calls: Vec<Call>,
    /// The bytes produced, sent or not.
    pub produced: Vec<u8>,
    /// When the server was done with it, by its clock (ns): everything owed was sent or given up.
    pub over: Option<u64>,
    /// When the server gave it up because it was silent too long.
    pub timed_out: Option<u64>,
    /// Which life of the server it was.
    pub life: u32,
    /// What the server told its checkers about itself ([`Serve::remark`](crate::Serve::remark)).
    pub remark: u64,
}

/// One call into the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Counts the calls into this life of the server, over all connections.
    pub event: u64,
    /// Server's clock, in nanoseconds.
    pub now: u64,
    /// Input bytes it was given so far.
    pub fed: u64,
    /// Output bytes it produced so far.
    pub produced: u64,
    /// Everything complete it was given has been executed: it waits for input.
    pub caught_up: bool,
}

impl Transcript {
    /// The call that brought the produced bytes to `n` or more.
    #[must_use]
    pub fn producing(&self, n: u64) -> Option<&Call> {
        self.calls.get(self.calls.partition_point(|c| c.produced < n))
    }

    /// The call that brought the fed bytes to `n` or more.
    #[must_use]
    pub fn feeding(&self, n: u64) -> Option<&Call> {
        self.calls.get(self.calls.partition_point(|c| c.fed < n))
    }

    /// Input bytes given in total.
    #[must_use]
    pub fn fed(&self) -> u64 {
        self.calls.last().map_or(0, |c| c.fed)
    }
}
