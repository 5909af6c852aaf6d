//! What a server took in and what it answered, call by call: the order in which requests took
//! effect, without asking the server.

use drywire::conn::{CloseReason, Fault, FaultKind, Wants};
use drywire::engine::{ConnId, Machine};

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
    /// When bytes came to lie in its socket, by the server's clock (ns), and how many had by then.
    pub arrivals: Vec<(u64, u64)>,
    /// When the server was done with it, by its clock (ns): everything owed was sent or given up.
    pub over: Option<u64>,
    /// When the server gave it up because it was silent too long.
    pub timed_out: Option<u64>,
    /// How many of its bytes lay unread then, although the server wanted to read.
    pub unread: usize,
    /// When the server gave it up because it did not read.
    pub kicked: Option<u64>,
    /// The server ended it of its own accord (a drain), and had taken in so much by then.
    pub drained: Option<u64>,
    /// When its server began to go away, and when it began to refuse work, in steps.
    pub departing: Option<u64>,
    /// See `departing`.
    pub refusing: Option<u64>,
    /// When its server let go of it.
    pub released: Option<u64>,
    /// When its server's process died under it.
    pub cut: Option<u64>,
    /// It was released after everything owed was sent.
    pub in_peace: bool,
    /// The longest time that something waited for the peer of which it took nothing (ns).
    pub stuck: u64,
    /// The longest time for which the peer had not taken everything (ns).
    pub behind: u64,
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
    /// The real time.
    pub real: u64,
    /// Input bytes it was given so far.
    pub fed: u64,
    /// Output bytes it produced so far.
    pub produced: u64,
    /// Of those, what the transport took.
    pub sent: u64,
    /// Everything complete it was given has been executed: it waits for input.
    pub caught_up: bool,
}

/// A moment at which a host looks at a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// As in [`Call`].
    pub(crate) event: u64,
    pub(crate) now: u64,
    pub(crate) real: u64,
    pub(crate) fed: u64,
    pub(crate) sent: u64,
    /// Input that arrived and was not taken.
    pub(crate) waiting: usize,
}

impl Transcript {
    /// Writes down what a call into `machine` changed.
    pub(crate) fn enter<M: Machine + ?Sized>(&mut self, machine: &M, id: ConnId, look: Look) {
        let Look { event, now, real, fed, sent, waiting } = look;
        // Once it is ending, what it reads is thrown away.
        let over = machine.close_reason(id);
        let caught_up = machine.wants(id).has(Wants::READ) && over.is_none();
        let mut skip = (self.produced.len() as u64).saturating_sub(sent) as usize;
        for slice in machine.outgoing(id) {
            if skip < slice.len() {
                self.produced.extend_from_slice(&slice[skip..]);
            }
            skip = skip.saturating_sub(slice.len());
        }
        let produced = self.produced.len() as u64;
        let read = self.calls.last().is_some_and(|call| call.caught_up);
        self.calls.push(Call { event, now, real, fed, produced, sent, caught_up });
        let Some(reason) = over else { return };
        self.over.get_or_insert(now);
        match reason {
            CloseReason::Idle | CloseReason::Fault(Fault { kind: FaultKind::TimedOut, .. }) => {
                let first = self.timed_out.replace(self.timed_out.unwrap_or(now));
                if first.is_none() && read {
                    self.unread = waiting;
                }
            }
            CloseReason::SlowReader => {
                self.kicked.get_or_insert(now);
            }
            CloseReason::Local => {
                self.drained.get_or_insert(fed);
            }
            _ => {}
        }
    }

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

    /// When the first `n` bytes had come, read or not.
    #[must_use]
    pub fn arriving(&self, n: u64) -> Option<u64> {
        let at = self.arrivals.partition_point(|(_, came)| *came < n);
        self.arrivals.get(at).map(|(now, _)| *now)
    }

    /// Input bytes given in total.
    #[must_use]
    pub fn fed(&self) -> u64 {
        self.calls.last().map_or(0, |c| c.fed)
    }
}
