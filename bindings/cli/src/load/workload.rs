//! What a load is made of, apart from sockets and time: the part each protocol brings.

use super::tally::Tally;
use drywire::conn::Outbox;

/// One thread's share of a load in one protocol: makes requests, judges the answers.
///
/// The runners (closed loop, and whatever comes beside it) own sockets, clocks and the number
/// in flight; a workload knows none of them, so each protocol works with each runner.
/// Times are nanoseconds since the start of the runner.
pub(crate) trait Workload {
    /// What one connection has to remember, above all the requests in flight.
    type Conn;

    /// A new connection.
    fn open(&mut self) -> Self::Conn;

    /// Appends one request to `out` and counts it as sent, to be timed from `now`. False if
    /// there is nothing left to ask.
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
