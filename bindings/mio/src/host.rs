//! The builder, and a host that is set up.

use crate::acceptor::Acceptor;
use crate::event_loop::{Common, EventLoop, Inbox, Message, Order, SERVICES, SIGNAL};
use crate::listen::{Listen, Listener};
use crate::pool::Pool;
use crate::service::Service;
use core::fmt;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{CloseReason, Peer, Place};
use drywire::engine::{Letter, Machine};
use drywire::guard::{Drain, DrainConfig};
use mio::Poll;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Instant, SystemTime};

type Factory = Box<dyn Fn() -> Box<dyn Machine> + Send + Sync>;
/// Takes mail to what is beside the engines of a service.
pub(crate) type Carry = Arc<dyn Fn(Letter) + Send + Sync>;
pub(crate) type Observer = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// Services, listeners and loops to be: what a server is made of.
pub struct Host {
    services: Vec<(Vec<Listen>, Factory, Option<Carry>)>,
    threads: usize,
    workers: usize,
    max_conns: usize,
    grace: Duration,
    announce: Duration,
    clock: Clock,
    observer: Option<Observer>,
    trace: bool,
    signals: bool,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// One loop, 1024 connections, as many workers for jobs as there are cores, five seconds to
    /// finish, no signals.
    #[must_use]
    pub fn new() -> Self {
        Self {
            services: Vec::new(),
            threads: 1,
            workers: thread::available_parallelism().map_or(1, Into::into),
            max_conns: 1024,
            grace: Duration::from_secs(5),
            announce: Duration::from_secs(5),
            clock: Clock::start(),
            observer: None,
            trace: false,
            signals: false,
        }
    }

    /// Adds a service: where it listens, and how a loop gets its machine (called once in each
    /// loop's thread). Machines should admit as many connections as the host does: the limit that
    /// is reached first refuses.
    ///
    /// # Panics
    /// From the 256th service on: caller misuse.
    #[must_use]
    pub fn serve<M: Machine + 'static>(
        mut self,
        listen: impl IntoIterator<Item = Listen>,
        machine: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        assert!(self.services.len() < SERVICES, "a host has at most {SERVICES} services");
        let factory = Box::new(move || Box::new(machine()) as Box<dyn Machine>);
        self.services.push((listen.into_iter().collect(), factory, None));
        self
    }

    /// How many services were added.
    #[must_use]
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// Sets something up beside the engines of the service added last: it gets what they mail to
    /// [`Place::count`], on their threads, and must not block; [`Handle::deliver`] is its way back.
    #[must_use]
    pub fn beside(mut self, carry: impl Fn(Letter) + Send + Sync + 'static) -> Self {
        if let Some((_, _, beside)) = self.services.last_mut() {
            *beside = Some(Arc::new(carry));
        }
        self
    }

    /// How many loops serve, each on its own thread; connections are dealt to them in turn.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// How many threads work on jobs. They start with the first job. With none, each loop does
    /// its jobs itself, for about half a millisecond between two looks at its sockets: no hand-over,
    /// but one long job holds all connections of the loop.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// How many connections there may be, over all loops and services. Any more are refused in
    /// their protocol's words. A few descriptors on top are needed for those.
    #[must_use]
    pub fn max_conns(mut self, max_conns: usize) -> Self {
        self.max_conns = max_conns;
        self
    }

    /// How long connections may take to finish what is owed after a stop, before they are cut.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long a host that is told to depart serves on while it says so, before it stops; less
    /// if everybody has left by then. Five seconds if not said.
    #[must_use]
    pub fn announce(mut self, announce: Duration) -> Self {
        self.announce = announce;
        self
    }

    /// The clock whose ticks the machines get, to set them up with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Stops on SIGINT or SIGTERM; a second one ends at once. Departs on SIGUSR1, see
    /// [`Handle::depart`]. For the whole process, for good.
    #[must_use]
    pub fn stop_on_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Hears what happens, from all loops: keep it short.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// The observer also hears of each read and write.
    #[must_use]
    pub fn trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Opens all listeners. From here on peers can connect; they are served by [`Server::run`].
    ///
    /// # Errors
    /// The first listener that cannot be had, or that the system has no event queue for us.
    pub fn bind(self) -> Result<Server, HostError> {
        let mut listeners = Vec::new();
        let mut factories = Vec::new();
        let mut beside = Vec::new();
        for (service, (listens, factory, carry)) in self.services.into_iter().enumerate() {
            for listen in listens {
                match Listener::bind(&listen) {
                    Ok(listener) => listeners.push((service, listener)),
                    Err(source) => return Err(HostError::Listen { listen, source }),
                }
            }
            factories.push(factory);
            beside.push(carry);
        }
        let polls = (0..self.threads).map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
        let inboxes: Arc<[_]> = polls.iter().map(Inbox::new).collect::<io::Result<_>>()?;
        let tcp_addrs = listeners.iter().filter_map(|(_, l)| l.tcp_addr()).collect();
        let mut acceptor = Acceptor::new(listeners, Arc::clone(&inboxes));
        acceptor.register(polls[0].registry(), EventLoop::tokens)?;
        let mut signals =
            self.signals.then(|| Signals::new([SIGINT, SIGTERM, SIGUSR1])).transpose()?;
        if let Some(signals) = &mut signals {
            polls[0].registry().register(signals, SIGNAL, mio::Interest::READABLE)?;
        }
        let common = Arc::new(Common {
            clock: self.clock,
            max_conns: self.max_conns,
            grace: self.grace,
            departure: DrainConfig {
                announce: self.announce,
                hard: self.announce + self.grace,
                ..DrainConfig::DEFAULT
            },
            observer: self.observer,
            trace: self.trace,
            conns: Default::default(),
            refused: Default::default(),
            wakeups: Default::default(),
            buffered: Default::default(),
        });
        let pool = Pool::new(self.workers);
        Ok(Server { polls, inboxes, tcp_addrs, acceptor, signals, common, pool, factories, beside })
    }

    /// [`Host::bind`], then [`Server::run`].
    ///
    /// # Errors
    /// Those of both.
    pub fn run(self) -> Result<Ended, HostError> {
        self.bind()?.run()
    }
}

/// A host whose listeners are open.
pub struct Server {
    polls: Vec<Poll>,
    inboxes: Arc<[Arc<Inbox>]>,
    tcp_addrs: Vec<SocketAddr>,
    acceptor: Acceptor,
    signals: Option<Signals>,
    common: Arc<Common>,
    pool: Arc<Pool>,
    factories: Vec<Factory>,
    beside: Vec<Option<Carry>>,
}

impl Server {
    /// The TCP addresses, ports filled in, in the order they were given.
    #[must_use]
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addrs
    }

    /// To stop it and to look at it, from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { inboxes: Arc::clone(&self.inboxes), common: Arc::clone(&self.common) }
    }

    /// Serves until stopped, one loop on this thread, the others on their own.
    ///
    /// # Errors
    /// When the system's event queue fails.
    ///
    /// # Panics
    /// When a machine panics: all loops end.
    pub fn run(self) -> Result<Ended, HostError> {
        let Self { polls, inboxes, acceptor, signals, common, pool, factories, beside, .. } = self;
        let others = polls.len() - 1;
        let (factories, beside, loops) = (&factories, &beside, &inboxes);
        let start = |index: usize, poll: Poll, acceptor, signals| {
            let inboxes = Arc::clone(loops);
            let (common, pool) = (Arc::clone(&common), Arc::clone(&pool));
            move || {
                let fuse = Fuse(Arc::clone(&inboxes));
                let place = Place { index, count: inboxes.len() };
                let machines = factories.iter().map(|machine| machine());
                let cut = EventLoop {
                    poll,
                    inbox: Arc::clone(&inboxes[index]),
                    services: machines
                        .enumerate()
                        .map(|(i, m)| Service::new(i, m, place, beside[i].clone()))
                        .collect(),
                    pool,
                    common,
                    acceptor,
                    signals,
                    inboxes,
                    index,
                    queue: VecDeque::new(),
                    going_on: VecDeque::new(),
                    jobs_left: false,
                    short_until: Tick::ZERO,
                    drain: Drain::new(),
                    stop_by: None,
                    others: if index == 0 { others } else { 0 },
                    told_all: false,
                }
                .run()?;
                fuse.disarm();
                Ok::<_, io::Error>(cut)
            }
        };
        let mut polls = polls.into_iter();
        let first = polls.next().map(|poll| start(0, poll, Some(acceptor), signals));
        let cut = thread::scope(|scope| {
            let fuse = Fuse(Arc::clone(loops));
            let mut threads = Vec::new();
            for (index, poll) in (1..).zip(polls) {
                let run = start(index, poll, None, None);
                let name = format!("drywire-{index}");
                threads.push(thread::Builder::new().name(name).spawn_scoped(scope, run)?);
            }
            let mut cut = first.map_or(Ok(0), |run| run());
            for thread in threads {
                let theirs = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                cut = Ok(cut? + theirs?);
            }
            fuse.disarm();
            cut
        });
        pool.close();
        Ok(Ended { cut: cut? })
    }
}

/// Ends all loops when one of them fails or panics, instead of serving on with a part.
struct Fuse(Arc<[Arc<Inbox>]>);

impl Fuse {
    /// This one ended well.
    fn disarm(self) {
        self.0[0].send(Message::Ended);
        core::mem::forget(self);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        self.0.iter().for_each(|inbox| inbox.send(Message::Order(Order::Abort)));
    }
}

/// Stops a [`Server`] and looks at it.
#[derive(Clone)]
pub struct Handle {
    inboxes: Arc<[Arc<Inbox>]>,
    common: Arc<Common>,
}

impl Handle {
    /// No new connections; the others get what they are owed, within the grace period.
    pub fn stop(&self) {
        self.inboxes[0].send(Message::Order(Order::Stop));
    }

    /// Goes away in steps: announces it where the protocol can, and serves on; refuses new work
    /// and stops once everybody has left, or after the time of [`Host::announce`].
    pub fn depart(&self) {
        self.inboxes[0].send(Message::Order(Order::Depart));
    }

    /// Ends at once: connections are cut off.
    pub fn abort(&self) {
        self.inboxes[0].send(Message::Order(Order::Abort));
    }

    /// Brings mail to an engine of a service (numbered as they were added) from what is beside
    /// them: [`Host::beside`]. Letters to one engine keep their order.
    ///
    /// # Panics
    /// If there is no such engine: caller misuse.
    pub fn deliver(&self, service: usize, letter: Letter) {
        self.inboxes[letter.to()].send(Message::Mail { service, letter });
    }

    /// How many loops there are, and so engines of each service.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.inboxes.len()
    }

    /// Connections that count against the limit now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.common.conns.load(Relaxed)
    }

    /// How often the loops woke up since the start. An idle host stays still.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        self.common.wakeups.load(Relaxed)
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// Connections cut off before they had got all they were owed.
    pub cut: usize,
}

/// What an observer hears. Connections are numbered from 1 in the order they came.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A connection came, or was refused but stays to hear so.
    #[expect(missing_docs, reason = "the names say it")]
    Opened { conn: u64, service: usize, peer: &'a Peer },
    /// It is gone, and why.
    #[expect(missing_docs, reason = "the names say it")]
    Closed { conn: u64, service: usize, reason: Option<CloseReason> },
    /// A connection was refused and closed on the spot: too many refused at once, or no
    /// descriptor left to keep it.
    #[expect(missing_docs, reason = "the names say it")]
    TurnedAway { service: usize },
    /// A listener rests for a moment: the system cannot give us a connection.
    #[expect(missing_docs, reason = "the names say it")]
    Paused { service: usize, error: &'a io::Error },
    /// The listeners are closed; connections have this long to finish.
    #[expect(missing_docs, reason = "the names say it")]
    Stopping { grace: Duration },
    /// Bytes came in; with [`Host::trace`].
    #[expect(missing_docs, reason = "the names say it")]
    Received { conn: u64, bytes: usize },
    /// Bytes went out; with [`Host::trace`].
    #[expect(missing_docs, reason = "the names say it")]
    Sent { conn: u64, bytes: usize },
}

/// The clock of a host: ticks since it was set up.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    wall: Duration,
}

impl Clock {
    fn start() -> Self {
        let wall = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self { start: Instant::now(), wall }
    }

    /// The time now. Never goes back.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick::ZERO + self.start.elapsed()
    }

    /// Wall-clock time at tick zero, since 1970; zero if the system's clock is before that.
    #[must_use]
    pub const fn unix_start(&self) -> Duration {
        self.wall
    }
}

/// Why a host could not start, or go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// It cannot listen there.
    Listen {
        /// Where.
        listen: Listen,
        /// Why not.
        source: io::Error,
    },
    /// The system has no event queue, thread or signal handler for us.
    System(io::Error),
}

impl From<io::Error> for HostError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { listen, source } => write!(f, "cannot listen on {listen}: {source}"),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for HostError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::System(source) => Some(source),
        }
    }
}
