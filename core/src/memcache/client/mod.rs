//! The client's side of the memcached text protocol, without a socket.
//!
//! [`Client`] is one connection: [`Client::send`] appends a request to an [`Outbox`],
//! [`Client::step`] reads replies out of the bytes received and says which request each of them
//! answers. The protocol has no request numbers; replies come in the order of the requests, so
//! the client keeps what it expects in a queue, bounded by [`Limits::window`].
//!
//! Its ledger is invariant I1 seen from this side: each request that asks for a reply gets
//! exactly one outcome, namely an answer ([`Outcome`]), an error reply ([`Outcome::Refused`]), or
//! failure when the connection ends or the peer breaks the protocol ([`Client::next_failed`]).
//!
//! ```
//! use drywire::conn::Outbox;
//! use drywire::memcache::client::{Client, Event, Limits, Outcome, Request, Step};
//!
//! let mut client = Client::new(Limits::default());
//! let mut out = Outbox::new();
//! let get = Request::Get { keys: &[b"city", b"river"], cas: false, touch: None };
//! let id = client.send(&get, &mut out)?;
//! // ... the host sends `out` and receives, in whatever pieces:
//! let mut input: &[u8] = b"VALUE city 0 4\r\nBern\r\nEND\r\n";
//! let mut seen = Vec::new();
//! while let Step::Event { event, used } = client.step(input).expect("a sane server") {
//!     match event {
//!         Event::Value { value, .. } => seen.push((value.key, value.data)),
//!         Event::Done { id: done, outcome } => {
//!             assert_eq!((Some(done), outcome), (id, Outcome::End { hits: 1 }));
//!         }
//!         Event::Stat { .. } => unreachable!("nobody asked"),
//!     }
//!     input = &input[used..];
//! }
//! assert_eq!(seen, [(&b"city"[..], &b"Bern"[..])]);
//! # Ok::<(), drywire::memcache::client::Refusal>(())
//! ```

mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use crate::memcache::store::Verb;
pub use reply::{ErrorKind, FaultCode, MAX_LINE, Reply, ReplyCodec, ReplyFault, ReplyState, Value};
pub use request::{Refusal, Request, Stats};

use crate::conn::Outbox;
use alloc::collections::VecDeque;

/// The caps of one client connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight at most; further ones are refused. Default 1024. The client's memory
    /// is 16 bytes for each.
    pub window: usize,
    /// Longest value sent or accepted, in bytes. Default 1 MiB, the usual limit of servers. The
    /// caller holds at most [`MAX_LINE`] + `value` + 2 bytes of input that is not yet consumed.
    pub value: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: 1024, value: 1 << 20 }
    }
}

/// Names a request of one client: they count up from 0 in the order sent, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One memcached connection, seen from the client. Pure: bytes in, bytes and events out.
///
/// All work is bounded by the bytes handed in. It never panics, whatever the server sends.
#[derive(Clone, Debug)]
pub struct Client {
    codec: ReplyCodec,
    state: ReplyState,
    window: usize,
    phase: Phase,
    expected: VecDeque<Expected>,
    ledger: Ledger,
}

/// Where every request went: `sent = answered + refused + failed + in flight`, at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Requests that ask for a reply.
    pub sent: u64,
    /// ... that got their answer, be it a miss.
    pub answered: u64,
    /// ... that got an error reply.
    pub refused: u64,
    /// ... that will never be answered: the connection ended or lost its framing.
    pub failed: u64,
    /// Requests that ask for no reply (`noreply`, `quit`); they are not part of the sum.
    pub unacknowledged: u64,
}

/// What [`Client::step`] found at the front of the input.
pub type Step<'a> = crate::client::Step<Event<'a>>;

/// A part of an answer, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// One hit of a retrieval that is still in flight.
    Value {
        /// The request it belongs to.
        id: RequestId,
        /// The item.
        value: Value<'a>,
    },
    /// One line of statistics; the request is still in flight.
    Stat {
        /// The request it belongs to.
        id: RequestId,
        /// The name, without spaces.
        name: &'a [u8],
        /// The rest of the line; may be empty or contain spaces.
        value: &'a [u8],
    },
    /// The request has its one outcome and is no longer in flight.
    Done {
        /// The request.
        id: RequestId,
        /// How it ended.
        outcome: Outcome<'a>,
    },
}

/// The final reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// All of a retrieval (`hits` of its keys were found) or of statistics (`hits` lines) came.
    End {
        /// Values or statistics received.
        hits: u32,
    },
    /// `STORED`
    Stored,
    /// `NOT_STORED`: the condition of add, replace, append or prepend does not hold.
    NotStored,
    /// `EXISTS`: the item changed since its cas number was read.
    Exists,
    /// `NOT_FOUND`
    NotFound,
    /// `DELETED`
    Deleted,
    /// `TOUCHED`
    Touched,
    /// `OK`, also `RESET`
    Ok,
    /// The new number after incr or decr.
    Number(u64),
    /// What the server calls its version.
    Version(&'a [u8]),
    /// An error reply; the connection goes on unless the server ends it.
    Refused {
        /// Whose fault the server says it is.
        kind: ErrorKind,
        /// Its explanation; may be empty.
        text: &'a [u8],
    },
}

/// What may come back for a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// `VALUE` at most `left` more times, then `END`.
    Values {
        left: u32,
        hits: u32,
        cas: bool,
    },
    Stored,
    Deleted,
    Number,
    Touched,
    Ok,
    Version,
    /// `STAT` any number of times, then `END`; or `RESET`.
    Stats {
        lines: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// `quit` was sent: replies still come, requests no longer go.
    Quitting,
    Ended(Option<ReplyFault>),
}

impl Client {
    /// A fresh connection. Allocates nothing until the first request.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            codec: ReplyCodec::new(limits.value),
            state: ReplyState::default(),
            window: limits.window,
            phase: Phase::Open,
            expected: VecDeque::new(),
            ledger: Ledger::default(),
        }
    }

    /// Appends `request` to `out`. Returns its name, or `None` if it asks for no reply.
    ///
    /// # Errors
    /// A [`Refusal`] if the protocol cannot carry the request or it may not be sent now. Then
    /// nothing is appended and nothing is counted.
    #[inline]
    pub fn send(
        &mut self,
        request: &Request<'_>,
        out: &mut Outbox,
    ) -> Result<Option<RequestId>, Refusal> {
        match self.phase {
            Phase::Open => {}
            Phase::Quitting | Phase::Ended(_) => return Err(Refusal::Closed),
        }
        let expected = request.expects();
        if expected.is_some() && self.expected.len() >= self.window {
            return Err(Refusal::WindowFull { limit: self.window });
        }
        request.encode(self.codec.max_value(), out)?;
        if matches!(request, Request::Quit) {
            self.phase = Phase::Quitting;
        }
        let Some(expected) = expected else {
            self.ledger.unacknowledged += 1;
            return Ok(None);
        };
        let id = RequestId(self.ledger.sent);
        self.expected.push_back(expected);
        self.ledger.sent += 1;
        Ok(Some(id))
    }

    /// Reads one reply from the front of `input`, which starts at the first byte not yet
    /// consumed. Remembers how far it searched, so that the work is linear in the bytes.
    ///
    /// # Errors
    /// A [`ReplyFault`] when the peer does not speak the protocol. It is final: the same fault
    /// comes again, and everything in flight has failed ([`Client::next_failed`]).
    #[inline]
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, ReplyFault> {
        if let Phase::Ended(Some(fault)) = self.phase {
            return Err(fault);
        }
        let at = self.state.consumed();
        let found = self.codec.step(&mut self.state, input).and_then(|found| match found {
            reply::Step::Need(n) => Ok(Step::Need(n)),
            reply::Step::Reply { reply, used } => {
                let event = self.settle(reply).map_err(|code| ReplyFault { code, at })?;
                Ok(Step::Event { event, used })
            }
        });
        if let Err(fault) = found {
            self.phase = Phase::Ended(Some(fault));
        }
        found
    }

    /// The connection is over: hand in all bytes received before calling this. Everything still
    /// in flight has failed.
    pub fn end(&mut self) {
        if !matches!(self.phase, Phase::Ended(_)) {
            self.phase = Phase::Ended(None);
        }
    }

    /// The next request that will never be answered, in order; `None` once all are named, and
    /// as long as the connection lives.
    pub fn next_failed(&mut self) -> Option<RequestId> {
        if !matches!(self.phase, Phase::Ended(_)) {
            return None;
        }
        let id = self.oldest();
        self.expected.pop_front()?;
        self.ledger.failed += 1;
        Some(id)
    }

    /// Where every request went.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ledger
    }

    /// Requests waiting for their outcome.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.expected.len()
    }

    /// Bytes of memory held outside the struct itself.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.expected.capacity() * size_of::<Expected>()
    }

    fn oldest(&self) -> RequestId {
        RequestId(self.ledger.sent - self.expected.len() as u64)
    }

    /// Matches a reply with the oldest request in flight.
    #[inline]
    fn settle<'a>(&mut self, reply: Reply<'a>) -> Result<Event<'a>, FaultCode> {
        let id = self.oldest();
        let expected = self.expected.front_mut().ok_or(FaultCode::Unsolicited)?;
        let outcome = match (expected, reply) {
            (Expected::Values { left, hits, cas }, Reply::Value(value)) => {
                if *left == 0 || *cas != value.cas.is_some() {
                    return Err(FaultCode::Unexpected);
                }
                *left -= 1;
                *hits += 1;
                return Ok(Event::Value { id, value });
            }
            (Expected::Stats { lines }, Reply::Stat { name, value }) => {
                *lines = lines.saturating_add(1);
                return Ok(Event::Stat { id, name, value });
            }
            (_, Reply::Error { kind, text }) => {
                self.expected.pop_front();
                self.ledger.refused += 1;
                return Ok(Event::Done { id, outcome: Outcome::Refused { kind, text } });
            }
            (Expected::Values { hits, .. } | Expected::Stats { lines: hits }, Reply::End) => {
                Outcome::End { hits: *hits }
            }
            (Expected::Stored, Reply::Stored) => Outcome::Stored,
            (Expected::Stored, Reply::NotStored) => Outcome::NotStored,
            (Expected::Stored, Reply::Exists) => Outcome::Exists,
            (
                Expected::Stored | Expected::Deleted | Expected::Number | Expected::Touched,
                Reply::NotFound,
            ) => Outcome::NotFound,
            (Expected::Deleted, Reply::Deleted) => Outcome::Deleted,
            (Expected::Touched, Reply::Touched) => Outcome::Touched,
            (Expected::Number, Reply::Number(n)) => Outcome::Number(n),
            (Expected::Ok, Reply::Ok) | (Expected::Stats { lines: 0 }, Reply::Reset) => Outcome::Ok,
            (Expected::Version, Reply::Version(version)) => Outcome::Version(version),
            _ => return Err(FaultCode::Unexpected),
        };
        self.expected.pop_front();
        self.ledger.answered += 1;
        Ok(Event::Done { id, outcome })
    }
}
