//! The closed loop: a fixed number in flight on each connection, each answer replaced by the
//! next request. One thread, any number of connections.
//!
//! What a latency means here: the clock is read once after each read from a socket. That moment
//! ends all requests whose replies were in it and starts the requests that replace them. So a
//! latency includes this tool's own work on that batch, and the wait while it serves its other
//! connections; it is never too low. At one in flight the clock is thus read once per request
//! (about 25 ns of some microseconds, most of them system calls).

use super::phase::Runner;
use super::stream::Stream;
use super::tally::Tally;
use super::workload::Workload;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use drywire::conn::Outbox;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

/// One read from a socket at most.
const READ_SIZE: usize = 256 << 10;

/// One thread's connections and its share of the load.
pub(crate) struct ClosedLoop<W: Workload> {
    poll: Poll,
    links: Vec<Link<W::Conn>>,
    workload: W,
    depth: usize,
    /// How long a silent server is waited for.
    patience: Duration,
    scratch: Box<[u8]>,
    epoch: Instant,
}

struct Link<C> {
    /// `None` once it ended.
    stream: Option<Stream>,
    conn: C,
    out: Outbox,
    /// Received bytes of a reply that is not complete.
    carry: Vec<u8>,
}

/// What one thread shows to the others while it runs.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) answered: AtomicU64,
    pub(crate) bad: AtomicU64,
}

impl<W: Workload> ClosedLoop<W> {
    /// Takes over connected streams.
    pub(crate) fn new(
        mut workload: W,
        streams: Vec<Stream>,
        depth: usize,
        patience: Duration,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut links = Vec::with_capacity(streams.len());
        for mut stream in streams {
            poll.registry().register(
                &mut stream,
                Token(links.len()),
                Interest::READABLE | Interest::WRITABLE,
            )?;
            let conn = workload.open();
            links.push(Link { stream: Some(stream), conn, out: Outbox::new(), carry: Vec::new() });
        }
        let scratch = vec![0; READ_SIZE].into();
        Ok(Self { poll, links, workload, depth, patience, scratch, epoch: Instant::now() })
    }

    /// The workload, for the next phase.
    pub(crate) fn into_workload(self) -> W {
        self.workload
    }

    fn run_for(&mut self, duration: Option<Duration>, progress: &Progress) -> Tally {
        let mut tally = Tally::new();
        let stop = duration.map_or(u64::MAX, |duration| self.now() + nanos(duration));
        for link in 0..self.links.len() {
            let now = self.now();
            self.turn(link, now, stop, &mut tally);
        }
        let mut events = Events::with_capacity(self.links.len().clamp(16, 1024));
        let mut heard = self.now();
        while tally.counts().in_flight() > 0 {
            self.wait(&mut events, stop, &mut heard, &mut tally);
            let counts = tally.counts();
            progress.answered.store(counts.answered(), Ordering::Relaxed);
            progress.bad.store(counts.error + counts.wrong + counts.lost, Ordering::Relaxed);
        }
        tally
    }

    /// Serves what is ready; gives up on everybody after `patience` without a word.
    fn wait(&mut self, events: &mut Events, stop: u64, heard: &mut u64, tally: &mut Tally) {
        let waited = self.poll.poll(events, Some(Duration::from_millis(100)));
        for event in &*events {
            *heard = self.read(event.token().0, stop, tally);
        }
        let failed = waited.is_err_and(|error| error.kind() != ErrorKind::Interrupted);
        if failed || (events.is_empty() && self.now().saturating_sub(*heard) > nanos(self.patience))
        {
            tally.complain(|| format!("no answer for {:?}", self.patience));
            for link in 0..self.links.len() {
                self.close(link, tally);
            }
        }
    }

    /// Reads until the socket is empty, and serves what came. Returns when that was.
    #[inline]
    fn read(&mut self, index: usize, stop: u64, tally: &mut Tally) -> u64 {
        loop {
            let link = &mut self.links[index];
            let Some(stream) = &mut link.stream else { return self.now() };
            let got = stream.read(&mut self.scratch);
            let now = nanos(self.epoch.elapsed());
            match got {
                Ok(0) => {
                    tally.complain(|| "the server closed a connection".to_owned());
                    self.close(index, tally);
                    return now;
                }
                Ok(n) => {
                    if let Err(complaint) = self.take(index, n, now, tally) {
                        tally.complain(|| complaint);
                        self.close(index, tally);
                        return now;
                    }
                    self.turn(index, now, stop, tally);
                    // A short read has emptied the socket: the next bytes make a new event.
                    if n < self.scratch.len() {
                        return now;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.turn(index, now, stop, tally);
                    return now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tally.complain(|| format!("a connection broke: {error}"));
                    self.close(index, tally);
                    return now;
                }
            }
        }
    }

    /// Hands `n` bytes in the scratch buffer to the workload, behind what was left before.
    #[inline]
    fn take(&mut self, index: usize, n: usize, now: u64, tally: &mut Tally) -> Result<(), String> {
        let link = &mut self.links[index];
        let fresh = &self.scratch[..n];
        if link.carry.is_empty() {
            let used = self.workload.take(&mut link.conn, now, fresh, tally)?;
            link.carry.extend_from_slice(&fresh[used..]);
        } else {
            link.carry.extend_from_slice(fresh);
            let used = self.workload.take(&mut link.conn, now, &link.carry, tally)?;
            link.carry.drain(..used);
        }
        Ok(())
    }

    /// Fills the connection up to its depth and sends, with one write for all that was asked.
    #[inline]
    fn turn(&mut self, index: usize, now: u64, stop: u64, tally: &mut Tally) {
        let link = &mut self.links[index];
        let Some(stream) = &mut link.stream else { return };
        if now < stop {
            while self.workload.in_flight(&link.conn) < self.depth
                && self.workload.ask(&mut link.conn, now, &mut link.out, tally)
            {}
        }
        if let Err(error) = flush(stream, &mut link.out) {
            tally.complain(|| format!("a connection broke: {error}"));
            self.close(index, tally);
        }
    }

    fn close(&mut self, index: usize, tally: &mut Tally) {
        let link = &mut self.links[index];
        link.stream = None;
        self.workload.lose(&mut link.conn, tally);
    }

    fn now(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }
}

impl<W: Workload + Send> Runner for ClosedLoop<W>
where
    W::Conn: Send,
{
    fn run(&mut self, duration: Option<Duration>, progress: &Progress) -> Tally {
        self.run_for(duration, progress)
    }
}

/// Writes until everything is sent or the socket is full; its next event goes on from there.
#[inline]
pub(super) fn flush(stream: &mut Stream, out: &mut Outbox) -> io::Result<()> {
    while let Some(slice) = out.slices().next() {
        match stream.write(slice) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => out.sent(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
