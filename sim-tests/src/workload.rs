//! What a protocol brings to be tested: its requests, its replies, and what happened to each.

use crate::decide::{Decider, Key, Site};
use crate::net::LinkId;
use crate::node::Ending;
use core::fmt::Debug;
use core::time::Duration;
use drywire::Tick;

/// The client's side of a protocol: makes requests out of decisions, reads replies.
///
/// One value of it serves one caller for its whole life, over all its connections.
pub trait Workload {
    /// What is asked.
    type Request: Clone + Debug;
    /// What is answered.
    type Reply: Clone + Debug;

    /// The next request. `None` leaves this operation out, and must be what all-zero decisions
    /// lead to, so that shrinking can take operations away.
    fn draw(&mut self, draw: &mut Draw<'_>) -> Option<Self::Request>;

    /// How long after the last request was due the next one is, if requests come on schedule
    /// ([`Habits::open_loop`](crate::caller::Habits)).
    fn pause(&mut self, draw: &mut Draw<'_>) -> Duration {
        let _ = draw;
        Duration::ZERO
    }

    /// The bytes of a request.
    fn encode(&mut self, request: &Self::Request, to: &mut Vec<u8>);

    /// Reads one reply from the front of `bytes`, which starts where the last one ended.
    /// `owed` are the requests that wait for an answer, oldest first.
    ///
    /// # Errors
    /// What is wrong with the bytes: the run fails.
    fn hear(
        &mut self,
        owed: &mut dyn Iterator<Item = &Self::Request>,
        bytes: &[u8],
    ) -> Result<Option<Heard<Self::Reply>>, String>;

    /// The request gets no reply.
    fn silent(&self, request: &Self::Request) -> bool {
        let _ = request;
        false
    }

    /// Whether this request may have lost its answer with a loss that was told.
    fn lost_with(&self, request: &Self::Request, loss: &Self::Reply) -> bool {
        let _ = (request, loss);
        false
    }

    /// The connection ends behind this request, as the protocol wants it (`quit`, or a request
    /// that is broken on purpose).
    fn last(&self, request: &Self::Request) -> bool {
        let _ = request;
        false
    }

    /// A new connection: forget what belonged to the old one.
    fn connected(&mut self) {}

    /// Bytes that it says by itself: its greeting on a new connection, answers to what it heard.
    /// Asked after [`connected`](Self::connected) and after each [`hear`](Self::hear).
    fn react(&mut self, to: &mut Vec<u8>) {
        let _ = to;
    }

    /// All that its callers hear is kept for [`Run::heard`](crate::Run), answers too.
    fn listens(&self) -> bool {
        false
    }
}

/// What [`Workload::hear`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard<R> {
    /// Its length in bytes, at least 1.
    pub used: usize,
    /// What it is.
    pub what: Said<R>,
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<R> {
    /// The answer to the `n`th oldest request that waits for one (0 for protocols in order).
    Answer(usize, R),
    /// Something nobody asked for and that the protocol allows.
    Event(R),
    /// The protocol says that something is lost: what was owed with it
    /// ([`Workload::lost_with`]) is not answered any more.
    Lost(R),
    /// The server takes no (more) requests on this connection: all that is owed is refused.
    Refusal(R),
}

/// Chance, for one operation.
#[derive(Debug)]
pub struct Draw<'a> {
    /// The source.
    pub decider: &'a mut Decider,
    /// The operation.
    pub key: Key,
    /// How many operations the caller was going to make in total.
    pub of: u32,
}

impl Draw<'_> {
    /// A number below `n`.
    pub fn below(&mut self, site: Site, n: u64) -> u64 {
        self.decider.below(site, self.key, n)
    }

    /// The `nth` number below `n` of that kind.
    pub fn below_nth(&mut self, site: Site, nth: u32, n: u64) -> u64 {
        self.decider.below(site, self.key.nth(nth), n)
    }

    /// A number up to `max`, small ones more likely.
    pub fn size(&mut self, site: Site, max: u64) -> u64 {
        self.decider.size(site, self.key, max)
    }
}

/// Something that a caller heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<R> {
    /// Who heard it.
    pub caller: u32,
    /// Over which link.
    pub link: LinkId,
    /// When.
    pub at: Tick,
    /// What.
    pub what: R,
}

/// Everything that the callers of a run asked, in the order in which they began to ask.
pub type History<W> = Vec<Op<<W as Workload>::Request, <W as Workload>::Reply>>;

/// One operation.
#[derive(Clone, Debug)]
pub struct Op<Q, R> {
    /// Who asked.
    pub caller: u32,
    /// The caller's how-manieth, from 1.
    pub number: u32,
    /// Over which link.
    pub link: LinkId,
    /// What.
    pub request: Q,
    /// Whether no reply is due.
    pub silent: bool,
    /// Where its bytes lie in the stream from the caller.
    pub bytes: core::ops::Range<u64>,
    /// When its first byte was written.
    pub invoked: Tick,
    /// When it ended, one way or the other; `None` while it waits.
    pub returned: Option<Tick>,
    /// How.
    pub outcome: Outcome<R>,
}

/// How an operation ended: exactly one of these (I1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// Not yet.
    Pending,
    /// With an answer.
    Answered(R),
    /// The server said that it would not answer.
    Refused,
    /// It asked for no answer.
    Silent,
    /// The connection failed visibly; whether the request took effect is unknown.
    Failed(Ending),
    /// The caller went away itself.
    Abandoned,
}
