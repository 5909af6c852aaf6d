//! The open loop: requests are due at times that are fixed before the run, whatever the server
//! does. A latency runs from the moment a request was *due*, so that a server which stalls is not
//! spared the requests that would have come meanwhile (no coordinated omission).
//!
//! One thread. It spins when the next request is due within a millisecond, because the system's
//! timers are no finer; how far it is behind its schedule is measured and reported.

use super::closed::{Progress, flush, nanos};
use super::phase::Runner;
use super::stream::Stream;
use super::tally::Tally;
use super::workload::Workload;
use core::sync::atomic::Ordering;
use core::time::Duration;
use drywire::conn::Outbox;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read};
use std::time::Instant;

/// One read from a socket at most.
const READ_SIZE: usize = 256 << 10;
/// Below this the loop spins instead of sleeping.
const SPIN: u64 = 2_000_000;
/// Due requests that are sent before the sockets are looked at again.
const AT_ONCE: usize = 256;

/// When requests are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Arrivals {
    /// At random and independent of each other, each on any connection, as from many users
    Poisson,
    /// Evenly spaced
    Constant,
    /// Groups of 20 at once, evenly spaced
    Bursts,
}

/// A request to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// In nanoseconds from the start.
    pub at: u64,
    /// On which connection, modulo their number.
    pub on: usize,
}

/// The requests of a whole run. Those of [`Arrivals::Poisson`] are on connections at random, so that
/// each of these has its own independent arrivals; others on all of them in turn.
pub(crate) fn schedule(arrivals: Arrivals, rate: f64, duration: Duration, seed: u64) -> Vec<Due> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (gap, end) = (1e9 / rate, nanos(duration) as f64);
    let mut due = Vec::with_capacity((end / gap) as usize + 64);
    let mut at = 0.0;
    while at < end {
        match arrivals {
            Arrivals::Poisson => {
                due.push(Due { at: at as u64, on: random.usize(..) });
                at -= gap * (1.0 - random.f64()).ln();
            }
            Arrivals::Constant => {
                due.push(Due { at: at as u64, on: due.len() });
                at += gap;
            }
            Arrivals::Bursts => {
                let first = due.len();
                due.extend((first..first + 20).map(|on| Due { at: at as u64, on }));
                at += 20.0 * gap;
            }
        }
    }
    due
}

/// Connections and the schedule they share.
pub(crate) struct OpenLoop<W: Workload> {
    poll: Poll,
    links: Vec<Link<W::Conn>>,
    workload: W,
    due: Vec<Due>,
    /// Nothing is read before this.
    hold: Duration,
    patience: Duration,
    scratch: Box<[u8]>,
}

struct Link<C> {
    stream: Option<Stream>,
    conn: C,
    out: Outbox,
    carry: Vec<u8>,
}

impl<W: Workload> OpenLoop<W> {
    /// Takes over connected streams. With `hold` nothing is read for so long.
    pub(crate) fn new(
        mut workload: W,
        streams: Vec<Stream>,
        due: Vec<Due>,
        hold: Duration,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let mut links = Vec::with_capacity(streams.len());
        for mut stream in streams {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(links.len()), interest)?;
            let conn = workload.open();
            links.push(Link { stream: Some(stream), conn, out: Outbox::new(), carry: Vec::new() });
        }
        let scratch = vec![0; READ_SIZE].into();
        Ok(Self { poll, links, workload, due, hold, patience, scratch })
    }

    /// The workload, for the next phase.
    pub(crate) fn into_workload(self) -> W {
        self.workload
    }

    /// Reads until the socket is empty. True if something came.
    fn read(&mut self, index: usize, start: Instant, tally: &mut Tally) -> bool {
        let mut came = false;
        loop {
            let link = &mut self.links[index];
            let Some(stream) = &mut link.stream else { return came };
            let wrong = match stream.read(&mut self.scratch) {
                Ok(0) => "the server closed a connection".to_owned(),
                Ok(n) => {
                    came = true;
                    let now = nanos(start.elapsed());
                    link.carry.extend_from_slice(&self.scratch[..n]);
                    match self.workload.take(&mut link.conn, now, &link.carry, tally) {
                        Ok(used) => {
                            link.carry.drain(..used);
                            if n < self.scratch.len() {
                                return came;
                            }
                            continue;
                        }
                        Err(complaint) => complaint,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return came,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => format!("a connection broke: {error}"),
            };
            tally.complain(|| wrong);
            self.close(index, tally);
            return came;
        }
    }

    fn write(&mut self, index: usize, tally: &mut Tally) {
        let link = &mut self.links[index];
        let Some(stream) = &mut link.stream else { return };
        if let Err(error) = flush(stream, &mut link.out) {
            tally.complain(|| format!("a connection broke: {error}"));
            self.close(index, tally);
        }
    }

    fn close(&mut self, index: usize, tally: &mut Tally) {
        let link = &mut self.links[index];
        link.stream = None;
        link.out = Outbox::new();
        self.workload.lose(&mut link.conn, tally);
    }

    /// Sends what is due. What is due on one connection at the same time is one write.
    fn send_due(&mut self, next: &mut usize, start: Instant, tally: &mut Tally) {
        let now = nanos(start.elapsed());
        let from = *next;
        while *next < self.due.len() && *next - from < AT_ONCE && self.due[*next].at <= now {
            let Due { at, on } = self.due[*next];
            *next += 1;
            let index = on % self.links.len();
            let link = &mut self.links[index];
            if !self.workload.ask(&mut link.conn, at, &mut link.out, tally) {
                tally.complain(|| "a connection's window was full: use more of them".to_owned());
            }
        }
        for at in from..*next {
            // The second write of a connection finds nothing to send.
            self.write(self.due[at].on % self.links.len(), tally);
        }
        let sent = nanos(start.elapsed());
        for due in &self.due[from..*next] {
            tally.lagged(sent.saturating_sub(due.at));
        }
    }
}

impl<W: Workload + Send> Runner for OpenLoop<W>
where
    W::Conn: Send,
{
    fn run(&mut self, _: Option<Duration>, progress: &Progress) -> Tally {
        let mut tally = Tally::in_halves(self.due.last().map_or(0, |due| due.at) / 2);
        let mut events = Events::with_capacity(1024);
        let start = Instant::now();
        let (mut next, mut heard, mut holding) = (0, 0, !self.hold.is_zero());
        while next < self.due.len() || tally.counts().in_flight() > 0 {
            self.send_due(&mut next, start, &mut tally);
            let now = nanos(start.elapsed());
            let wait = match self.due.get(next) {
                Some(due) if due.at.saturating_sub(now) < SPIN => Duration::ZERO,
                Some(due) => Duration::from_nanos(due.at - now - SPIN / 2),
                None => Duration::from_millis(20),
            };
            let failed = self.poll.poll(&mut events, Some(wait));
            if holding && start.elapsed() >= self.hold {
                holding = false;
                heard = nanos(start.elapsed());
                // An end that came meanwhile makes no event any more.
                for index in 0..self.links.len() {
                    while self.read(index, start, &mut tally) {}
                }
            }
            for event in &events {
                let index = event.token().0;
                if !holding && self.read(index, start, &mut tally) {
                    heard = nanos(start.elapsed());
                }
                self.write(index, &mut tally);
            }
            let counts = tally.counts();
            progress.answered.store(counts.answered(), Ordering::Relaxed);
            progress.bad.store(counts.error + counts.wrong + counts.lost, Ordering::Relaxed);
            let silent = nanos(start.elapsed()).saturating_sub(heard) > nanos(self.patience);
            let broken = failed.is_err_and(|error| error.kind() != ErrorKind::Interrupted);
            if broken || (next == self.due.len() && !holding && silent) {
                tally.complain(|| format!("no answer for {:?}", self.patience));
                (0..self.links.len()).for_each(|index| self.close(index, &mut tally));
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_the_rate_asked_for_and_repeat_with_their_seed() {
        for arrivals in [Arrivals::Poisson, Arrivals::Constant, Arrivals::Bursts] {
            let due = schedule(arrivals, 10_000.0, Duration::from_secs(5), 7);
            assert!((due.len() as f64 / 50_000.0 - 1.0).abs() < 0.02, "{arrivals:?}");
            assert!(due.is_sorted_by_key(|due| due.at) && due.last().unwrap().at < 5_000_000_000);
            let first = due.iter().filter(|due| due.on % 100 == 0).count() as f64;
            assert!((first / 500.0 - 1.0).abs() < 0.15, "{arrivals:?}: each has its share");
            assert_eq!(due, schedule(arrivals, 10_000.0, Duration::from_secs(5), 7));
        }
        let gaps = |arrivals| {
            let due = schedule(arrivals, 10_000.0, Duration::from_secs(5), 7);
            due.windows(2).filter(|pair| pair[0].at == pair[1].at).count() as f64 / due.len() as f64
        };
        assert!(gaps(Arrivals::Constant) == 0.0 && gaps(Arrivals::Bursts) > 0.9);
    }
}
