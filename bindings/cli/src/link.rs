//! A connection that comes back: what `drywire chat` and `drywire hub` reach a server through.

use crate::Failure;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::Outbox;
use drywire::guard::{Failed, Outcome, Retry, RetryBudget, RetryConfig};
use std::io::{self, ErrorKind, IoSlice};
use std::time::Instant;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// The first pause after a failure is a fifth of a second, then twice as long each time, up to
/// ten seconds; the budget is never what ends it.
const BACKOFF: RetryConfig = RetryConfig {
    percent: 0,
    floor: 1000,
    burst: 1000,
    attempts: u8::MAX,
    backoff: Duration::from_millis(200),
    backoff_max: Duration::from_secs(10),
};
/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(10);
/// A connection that stood for so long was a good one.
const LASTED: Duration = Duration::from_secs(10);
/// Slices in one vectored write.
const SLICES: usize = 64;
/// Bytes of one read.
const READ: usize = 64 << 10;

/// What a [`Link`] has to tell.
#[derive(Debug)]
pub(crate) enum News {
    /// A connection stands; the outbox is empty and so is the input.
    Up,
    /// It is lost, or could not be had.
    Down { why: String, again_in: Duration },
    /// There is more input than before.
    Input,
    /// After [`Link::finish`]: the server has taken everything and has said its last.
    Finished,
}

/// One connection after the other to a server. The caller fills `out` and reads the input.
pub(crate) struct Link {
    pub(crate) out: Outbox,
    addr: SocketAddr,
    start: Instant,
    state: State,
    input: Vec<u8>,
    failures: u8,
    budget: RetryBudget,
    /// Since when there has been none that was any good.
    down_since: Option<Instant>,
    /// Nothing more will be said on this connection.
    last: bool,
    /// ... and the server has been told.
    shut: bool,
}

enum State {
    Waiting(Instant),
    Connecting(Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>),
    Up(TcpStream, Instant),
    /// The caller gave it up.
    Failed(String),
}

impl Link {
    /// To this server, at once.
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let start = Instant::now();
        Self {
            out: Outbox::new(),
            addr,
            start,
            state: State::Waiting(start),
            input: Vec::new(),
            failures: 0,
            budget: RetryBudget::new(&BACKOFF, Tick::ZERO),
            down_since: Some(start),
            last: false,
            shut: false,
        }
    }

    /// The time, for the client machine.
    pub(crate) fn now(&self) -> Tick {
        Tick::ZERO + self.start.elapsed()
    }

    /// When a tick of the client machine is.
    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.start + tick.since(Tick::ZERO)
    }

    /// The input and the outbox, for a client machine that reads one and writes the other.
    pub(crate) fn parts(&mut self) -> (&[u8], &mut Outbox) {
        (&self.input, &mut self.out)
    }

    /// Drops the first bytes of the input.
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.drain(..n);
    }

    /// The server is the right one: the next failure is a first one again.
    pub(crate) fn is_good(&mut self) {
        self.failures = 0;
        self.down_since = None;
    }

    /// Since when there has been no connection that was any good. `None` while there is one.
    pub(crate) const fn down_since(&self) -> Option<Instant> {
        if matches!(self.state, State::Up(..)) { None } else { self.down_since }
    }

    /// Says no more on this connection, once what is in `out` is sent.
    pub(crate) const fn finish(&mut self) {
        self.last = true;
    }

    /// Whether it says no more.
    pub(crate) const fn is_finishing(&self) -> bool {
        self.last
    }

    /// Gives the connection up.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        self.state = State::Failed(why.into());
    }

    /// Connects, sends what is in `out`, and receives, until there is something to tell. May be
    /// dropped at any time; nothing is lost by that.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            let result = match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(Some(*until)).await;
                    let addr = self.addr;
                    self.state = State::Connecting(Box::pin(async move {
                        let stream = timeout(CONNECT, TcpStream::connect(addr)).await??;
                        stream.set_nodelay(true)?;
                        Ok(stream)
                    }));
                    continue;
                }
                State::Connecting(attempt) => attempt.as_mut().await.map(|stream| {
                    self.state = State::Up(stream, Instant::now());
                    (self.out, self.input) = (Outbox::new(), Vec::new());
                    self.shut = false;
                    News::Up
                }),
                State::Up(stream, _) => {
                    if self.last
                        && self.out.is_empty()
                        && !core::mem::replace(&mut self.shut, true)
                        && let Err(error) = stream.shutdown().await
                    {
                        return self.down(&error);
                    }
                    match exchange(stream, &mut self.out, &mut self.input).await {
                        Ok(false) => continue,
                        Ok(true) => Ok(News::Input),
                        Err(error) if self.last && error.kind() == ErrorKind::UnexpectedEof => {
                            Ok(News::Finished)
                        }
                        Err(error) => Err(error),
                    }
                }
                State::Failed(why) => Err(io::Error::other(core::mem::take(why))),
            };
            return result.unwrap_or_else(|error| self.down(&error));
        }
    }

    fn down(&mut self, error: &io::Error) -> News {
        if matches!(self.state, State::Up(_, since) if since.elapsed() >= LASTED) {
            self.is_good();
        }
        self.failures = self.failures.saturating_add(1).min(BACKOFF.attempts - 1);
        self.down_since.get_or_insert_with(Instant::now);
        let failed =
            Failed { attempt: self.failures, idempotent: true, ..Failed::new(Outcome::Error) };
        let now = self.now();
        let again_in = match self.budget.may_retry(&BACKOFF, now, &failed, fastrand::u64(..)) {
            Retry::After(pause) => pause,
            Retry::GiveUp => BACKOFF.backoff_max,
        };
        self.state = State::Waiting(Instant::now() + again_in);
        let why = match error.kind() {
            ErrorKind::ConnectionRefused => format!("nothing listens on {}", self.addr),
            ErrorKind::TimedOut => "no answer".into(),
            ErrorKind::UnexpectedEof => "the server closed the connection".into(),
            _ => error.to_string(),
        };
        News::Down { why, again_in }
    }
}

/// One turn on a socket that is ready. Whether something came.
async fn exchange(stream: &TcpStream, out: &mut Outbox, input: &mut Vec<u8>) -> io::Result<bool> {
    let both = Interest::READABLE | Interest::WRITABLE;
    let ready = stream.ready(if out.is_empty() { Interest::READABLE } else { both }).await?;
    if ready.is_writable() && !out.is_empty() {
        let slices: Vec<_> = out.slices().take(SLICES).map(IoSlice::new).collect();
        match stream.try_write_vectored(&slices) {
            Ok(n) => out.sent(n),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    if !ready.is_readable() && !ready.is_read_closed() {
        return Ok(false);
    }
    let had = input.len();
    input.resize(had + READ, 0);
    let read = stream.try_read(&mut input[had..]);
    input.truncate(had + *read.as_ref().unwrap_or(&0));
    match read {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Until then, or for ever.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => core::future::pending().await,
    }
}

/// Where links live: one thread.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::system)
}
