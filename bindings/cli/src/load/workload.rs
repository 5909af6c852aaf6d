//! What a load is made of, apart from sockets and time: the part each protocol brings.

use super::tally::Tally;
use drywire::conn::Outbox;

/// One thread's share of a load in one protocol: makes requests, judges the answers.
///
/// The runners (closed loop, open loop) own sockets, clocks and the number in flight; a workload
/// knows none of them, so each protocol works with each runner. It lives through all phases of a
/// run, so that what it learned in one (which value a key has) holds in the next.
/// Times are nanoseconds since the start of the runner.
pub(crate) trait Workload {
    /// What one connection has to remember, above all the requests in flight.
    type Conn;

    /// A phase begins: what is asked for from now on.
    fn begin(&mut self, ask: &Ask);

    /// A new connection.
    fn open(&mut self) -> Self::Conn;

    /// Appends one request to `out` and counts it as sent, to be timed from `now`. False if
    /// there is nothing left to ask, or no room for more in flight.
    fn ask(&mut self, conn: &mut Self::Conn, now: u64, out: &mut Outbox, tally: &mut Tally)
    -> bool;

    /// Reads all whole replies at the front of `input`, judges each and counts its class, as
    /// of `now`. Returns the bytes consumed; the rest comes again with more behind it.
    ///
    /// # Errors
    /// What is wrong with the stream, if no further reply can be found in it.
    fn take(
        &mut self,
        conn: &mut Self::Conn,
        now: u64,
        input: &[u8],
        tally: &mut Tally,
    ) -> Result<usize, String>;

    /// Requests whose outcome is not known yet.
    fn in_flight(&self, conn: &Self::Conn) -> usize;

    /// The connection is gone: counts everything in flight as lost.
    fn lose(&mut self, conn: &mut Self::Conn, tally: &mut Tally);
}

/// What a workload asks for in one phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) what: What,
    /// How many requests in all; [`u64::MAX`] for no end.
    pub(crate) left: u64,
    /// A right answer after this many nanoseconds is late.
    pub(crate) deadline: u64,
    /// In flight on one connection at most.
    pub(crate) window: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// What has to be there before the load, once.
    Preload,
    Load,
    /// Requests whose answers cost the server what a refusal does, and no more.
    Unserved,
}
