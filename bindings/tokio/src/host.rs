//! Any drywire engine in a tokio program: streams in, engine calls out, no protocol knowledge.
//!
//! [`Host`] is a handle, cheap to clone. Each connection is a future ([`Host::connection`]) over
//! anything that is `AsyncRead + AsyncWrite`: a socket, a TLS stream, half of a `duplex`, a
//! simulated network. The engine is behind a lock that is held for one poll of one connection,
//! never across an await; several runtimes or many cores want one host each.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use drywire::Tick;
use drywire::conn::{CloseReason, Peer, Scratch, TransportError, Wants};
use drywire::engine::{ConnId, Machine, Work};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// An engine, and what it takes to run it under tokio. See the [module](self).
pub struct Host<M> {
    inner: Arc<Inner<M>>,
}

struct Inner<M> {
    state: Mutex<State<M>>,
    epoch: Instant,
    /// The earliest deadline moved, or the host is gone.
    timer: Arc<Notify>,
    /// No connection is [`State::unheard`] any more.
    heard: Notify,
    /// A connection has ended.
    ended: Notify,
}

struct State<M> {
    machine: M,
    scratch: Scratch,
    /// By slot: whom to wake when something other than its stream touched a connection.
    wakers: Vec<Option<Place>>,
    /// Connections that are to take what waits in their streams before the next tick.
    unheard: usize,
    /// The deadline that the timer sleeps for.
    armed: Option<Tick>,
    timer_runs: bool,
    workers: usize,
    working: usize,
}

/// The task of a connection.
struct Place {
    id: ConnId,
    waker: Waker,
    unheard: bool,
}

/// Where connections come from.
pub trait Accept {
    /// What carries their bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;

    /// Ends a connection of which something owed is lost
    /// ([`CloseReason::breaks_off`]) in a way that its peer can tell from an end in peace. By
    /// default it is dropped, for transports that have no other end.
    fn reset(stream: Self::Stream) {
        drop(stream);
    }
}

#[cfg(feature = "net")]
impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, address) = Self::accept(self).await?;
        // Replies are written whole: waiting for more would only delay them.
        stream.set_nodelay(true)?;
        Ok((stream, Peer::Tcp(address)))
    }

    fn reset(stream: Self::Stream) {
        // One that the system has reset already has nothing left to lose.
        let _ = stream.set_zero_linger();
    }
}

/// Passes of one connection over its stream in one poll, before the others get their turn.
const PASSES: usize = 16;
/// Slices in one vectored write.
const SLICES: usize = 16;
/// After a failure to accept, such as too many open files; and for tasks that are to run.
const PAUSE: core::time::Duration = core::time::Duration::from_millis(50);

impl<M> Clone for Host<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Machine + Send + 'static> Host<M> {
    /// A host for `machine`, whose ticks count from now. As many jobs run at a time as there are
    /// cores.
    pub fn new(machine: M) -> Self {
        let state = State {
            scratch: Scratch::new(machine.limits()),
            machine,
            wakers: Vec::new(),
            unheard: 0,
            armed: None,
            timer_runs: false,
            workers: std::thread::available_parallelism().map_or(1, Into::into),
            working: 0,
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                epoch: Instant::now(),
                timer: Arc::default(),
                heard: Notify::new(),
                ended: Notify::new(),
            }),
        }
    }

    /// Serves everything that `listener` accepts, each connection in a task of its own. Ends only
    /// by being dropped; connections that are up go on.
    ///
    /// A failure to accept (too many open files, a connection that is gone already) is waited
    /// out: those who are served are not disturbed.
    pub async fn serve<A: Accept>(&self, mut listener: A) {
        loop {
            match listener.accept().await {
                Ok((mut stream, peer)) => {
                    let host = self.clone();
                    drop(tokio::spawn(async move {
                        let reason = host.connection(&mut stream, peer).await;
                        if reason.is_some_and(CloseReason::breaks_off) {
                            A::reset(stream);
                        }
                    }));
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Serves one connection until it is over. `None`: refused without a word, because too many
    /// are being refused already. Dropping the future gives the connection up. If the reason
    /// [breaks off](CloseReason::breaks_off), the caller resets the transport, as
    /// [`Host::serve`] does with [`Accept::reset`].
    pub async fn connection(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Peer,
    ) -> Option<CloseReason> {
        let id = {
            let mut state = self.lock();
            if !core::mem::replace(&mut state.timer_runs, true) {
                let timer = Arc::clone(&self.inner.timer);
                drop(tokio::spawn(keep_time(Arc::downgrade(&self.inner), timer)));
            }
            let id = state.machine.accept(self.now(), &peer);
            self.settle(state);
            id?
        };
        let mut connection = Connection { host: self, id, stream, flushed: true };
        poll_fn(|cx| connection.poll(cx)).await
    }

    /// The server goes away: no new connections, each one finishes what it owes. Wait with
    /// [`Host::empty`].
    pub fn drain(&self) {
        let mut state = self.lock();
        state.machine.drain(self.now());
        self.settle(state);
    }

    /// Returns once no connection is left.
    pub async fn empty(&self) {
        loop {
            let ended = self.inner.ended.notified();
            if self.lock().machine.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Looks at the machine, or changes it from outside; what that touches goes on by itself.
    pub fn with<R>(&self, f: impl FnOnce(&mut M, Tick) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state.machine, self.now());
        self.settle(state);
        result
    }

    /// The time as the machine sees it.
    #[must_use]
    pub fn now(&self) -> Tick {
        let since = self.inner.epoch.elapsed().as_nanos();
        Tick(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What follows every call: wakes whom the call touched, starts jobs, re-arms the timer.
    fn settle(&self, mut state: MutexGuard<'_, State<M>>) {
        let now = self.now();
        let mut jobs = Vec::new();
        // First: a job that is refused here touches its connection.
        while state.working < state.workers
            && let Some(work) = state.machine.next_work(now)
        {
            state.working += 1;
            jobs.push(work);
        }
        // At most one round: those that keep touching each other must not hold up the others.
        for _ in 0..state.machine.len() {
            let Some(id) = state.machine.next_dirty(now) else { break };
            if let Some(place) = state.place(id) {
                place.waker.wake_by_ref();
            }
        }
        let deadline = state.machine.deadline().map(|d| d.at);
        if deadline.is_some_and(|at| state.armed.is_none_or(|armed| at < armed)) {
            state.armed = deadline;
            self.inner.timer.notify_one();
        }
        drop(state);
        for work in jobs {
            self.work(work);
        }
    }

    /// Lets the connections that are due at `now` take what waits in their streams: a runtime that
    /// was away may look at its timers first, and a peer is not to be given up for words that only
    /// were not read. One that is not polled at all does not hold up the others for long.
    async fn hear(&self, now: Tick) {
        // Behind this the runtime has looked at its sockets.
        tokio::task::yield_now().await;
        {
            let mut state = self.lock();
            let mut due = Vec::new();
            state.machine.due(now, &mut due);
            for id in due {
                if let Some(place) = state.place(id) {
                    place.unheard = true;
                    place.waker.wake_by_ref();
                    state.unheard += 1;
                }
            }
            if state.unheard == 0 {
                return;
            }
        }
        let heard = async {
            while self.lock().unheard > 0 {
                self.inner.heard.notified().await;
            }
        };
        if timeout(PAUSE, heard).await.is_err() {
            let mut state = self.lock();
            state.unheard = 0;
            state.wakers.iter_mut().flatten().for_each(|place| place.unheard = false);
        }
    }

    /// A connection took what waited, or is gone.
    fn heard(&self, state: &mut State<M>, id: ConnId) {
        if let Some(place) = state.place(id)
            && core::mem::take(&mut place.unheard)
        {
            state.unheard -= 1;
            if state.unheard == 0 {
                self.inner.heard.notify_one();
            }
        }
    }

    fn work(&self, work: Work) {
        let host = self.clone();
        let id = work.id();
        drop(tokio::spawn(async move {
            let done = tokio::task::spawn_blocking(move || work.run()).await;
            let mut state = host.lock();
            state.working -= 1;
            match done {
                Ok(done) => state.machine.complete(host.now(), done),
                // It panicked: the answer cannot come any more, and its connection shows that.
                Err(_) => {
                    let lost = CloseReason::Transport(TransportError::Other);
                    state.machine.abort(id.conn, host.now(), lost);
                    if let Some(place) = state.place(id.conn) {
                        place.waker.wake_by_ref();
                    }
                }
            }
            host.settle(state);
        }));
    }
}

impl<M> State<M> {
    fn place(&mut self, id: ConnId) -> Option<&mut Place> {
        self.wakers.get_mut(id.slot as usize)?.as_mut().filter(|place| place.id == id)
    }
}

impl<M> fmt::Debug for Host<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

impl<M> Drop for Inner<M> {
    fn drop(&mut self) {
        self.timer.notify_one();
    }
}

/// Sleeps until the machine's next deadline, again and again, as long as there is a host.
async fn keep_time<M: Machine + Send + 'static>(inner: Weak<Inner<M>>, timer: Arc<Notify>) {
    loop {
        let wake_at = {
            let Some(inner) = inner.upgrade() else { return };
            let host = Host { inner };
            let now = host.now();
            let due = host.lock().machine.deadline().is_some_and(|d| d.at <= now);
            if due {
                host.hear(now).await;
            }
            let mut state = host.lock();
            if due {
                state.machine.tick(now);
            }
            state.armed = state.machine.deadline().map(|d| d.at);
            let at = state.armed.map(|at| host.inner.epoch + at.since(Tick::ZERO));
            host.settle(state);
            at
        };
        match wake_at {
            // Early or late, the machine says what is due.
            Some(at) => drop(timeout_at(at, timer.notified()).await),
            None => timer.notified().await,
        }
    }
}

/// One connection while it is served.
struct Connection<'a, M: Machine + Send + 'static, S> {
    host: &'a Host<M>,
    id: ConnId,
    stream: S,
    flushed: bool,
}

impl<M: Machine + Send + 'static, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, M, S> {
    /// Does whatever can be done now. Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<CloseReason>> {
        let host = self.host;
        let mut state = host.lock();
        self.leave_waker(&mut state, cx);
        let mut over = None;
        let mut blocked = Blocked::default();
        for pass in 0.. {
            let wants = state.machine.wants(self.id);
            if wants.has(Wants::CLOSE) {
                over = Some(state.machine.close_reason(self.id));
                break;
            }
            if pass == PASSES {
                cx.waker().wake_by_ref();
                break;
            }
            if !self.pass(cx, &mut state, wants, &mut blocked) {
                break;
            }
        }
        host.heard(&mut state, self.id);
        host.settle(state);
        over.map_or(Poll::Pending, Poll::Ready)
    }

    /// One read, one write, one step of the end, each if wanted. False if nothing moved.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        state: &mut State<M>,
        wants: Wants,
        blocked: &mut Blocked,
    ) -> bool {
        let (id, now) = (self.id, self.host.now());
        let machine = &mut state.machine;
        let mut moved = false;
        if wants.has(Wants::AGAIN) {
            machine.resume(id, now);
            moved = true;
        }
        if machine.wants(id).has(Wants::READ) && !blocked.read {
            match self.read(cx, machine, &mut state.scratch, now) {
                Poll::Ready(()) => moved = true,
                Poll::Pending => blocked.read = true,
            }
        }
        if machine.wants(id).has(Wants::WRITE) && !blocked.write {
            match self.write(cx, machine) {
                Poll::Ready(Ok(n)) => {
                    self.flushed = false;
                    machine.sent(id, now, n);
                    moved = true;
                }
                Poll::Ready(Err(error)) => {
                    machine.abort(id, now, failed(&error));
                    moved = true;
                }
                Poll::Pending => blocked.write = true,
            }
        }
        if !machine.wants(id).has(Wants::WRITE) && !self.flushed {
            match Pin::new(&mut self.stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.flushed = true,
                Poll::Ready(Err(error)) => {
                    machine.abort(id, now, failed(&error));
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        if machine.wants(id).has(Wants::SHUTDOWN) && !blocked.shutdown {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                // One that is gone already needs no end.
                Poll::Ready(_) => {
                    machine.was_shut_down(id, now);
                    moved = true;
                }
                Poll::Pending => blocked.shutdown = true,
            }
        }
        moved
    }

    fn read(
        &mut self,
        cx: &mut Context<'_>,
        machine: &mut M,
        scratch: &mut Scratch,
        now: Tick,
    ) -> Poll<()> {
        let room = machine.room(self.id, scratch);
        if room.is_empty() {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(room);
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf));
        let n = buf.filled().len();
        match result {
            Ok(()) if n == 0 => machine.end_of_input(self.id, now),
            Ok(()) => machine.ingest(self.id, now, scratch, n),
            Err(error) => machine.abort(self.id, now, failed(&error)),
        }
        Poll::Ready(())
    }

    fn write(&mut self, cx: &mut Context<'_>, machine: &M) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let mut slices = machine.outgoing(self.id);
        let first = slices.next().unwrap_or_default();
        let result = if stream.is_write_vectored() {
            let mut list = [IoSlice::new(first); SLICES];
            let mut used = 1;
            for (place, slice) in list[1..].iter_mut().zip(slices) {
                *place = IoSlice::new(slice);
                used += 1;
            }
            ready!(stream.poll_write_vectored(cx, &list[..used]))
        } else {
            ready!(stream.poll_write(cx, first))
        };
        Poll::Ready(match result {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            result => result,
        })
    }

    fn leave_waker(&self, state: &mut State<M>, cx: &Context<'_>) {
        let slot = self.id.slot as usize;
        if state.wakers.len() <= slot {
            state.wakers.resize_with(slot + 1, || None);
        }
        match &mut state.wakers[slot] {
            Some(place) if place.id == self.id => place.waker.clone_from(cx.waker()),
            place => {
                *place = Some(Place { id: self.id, waker: cx.waker().clone(), unheard: false });
            }
        }
    }
}

/// What the stream could not do in this poll; it wakes us when it can.
#[derive(Default)]
struct Blocked {
    read: bool,
    write: bool,
    shutdown: bool,
}

impl<M: Machine + Send + 'static, S> Drop for Connection<'_, M, S> {
    fn drop(&mut self) {
        let mut state = self.host.lock();
        state.machine.release(self.id, self.host.now());
        self.host.heard(&mut state, self.id);
        if state.place(self.id).is_some() {
            state.wakers[self.id.slot as usize] = None;
        }
        self.host.settle(state);
        self.host.inner.ended.notify_waiters();
    }
}

fn failed(error: &io::Error) -> CloseReason {
    CloseReason::Transport(match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            TransportError::Reset
        }
        ErrorKind::TimedOut => TransportError::TimedOut,
        _ => TransportError::Other,
    })
}
