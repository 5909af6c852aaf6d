//! The loop of one thread.

use crate::acceptor::Acceptor;
use crate::host::{self, Clock, Observer};
use crate::pool::{self, Pool, Task};
use crate::service::{Fresh, Service, place};
use core::time::Duration;
use drywire::Tick;
use drywire::conn::Leave;
use drywire::engine::{Done, JobId, Letter};
use drywire::guard::{Drain, DrainConfig, DrainStep, InFlight};
use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};
use signal_hook::consts::SIGUSR1;
use signal_hook_mio::v1_0::Signals;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

const EVENTS: usize = 1024;
/// Tokens that are no connections have the top byte set.
pub(crate) const WAKE: Token = Token(usize::MAX);
pub(crate) const SIGNAL: Token = Token(usize::MAX - 1);
const LISTENER: usize = usize::MAX - 2;
/// Services fit in the top byte of a token; the last value is for the tokens above.
pub(crate) const SERVICES: usize = 255;
/// How long a loop that does its jobs itself may stay away from its sockets, one job aside.
const SLICE: Duration = Duration::from_micros(500);
/// The same while some go ahead of others, who keep the loop at work. Not always: looking so often
/// costs a seventh to a fifth of the easy boards that a loop can serve (`docs/benchmarks.md`).
const SHORT_SLICE: Duration = Duration::from_micros(100);
/// For how long it is so after one of them.
const LATELY: Duration = Duration::from_millis(100);
/// How long connections that have had their turn may go on before the loop looks who else is there.
const TURNS: Duration = Duration::from_micros(50);
/// How often a departing host looks whether everybody has left.
const LOOK: Duration = Duration::from_millis(50);
/// Refused connections that may stay to hear so; more are turned away on the spot.
const REFUSED_AT_ONCE: usize = 32;

/// What the loops of a host have in common.
pub(crate) struct Common {
    pub(crate) clock: Clock,
    pub(crate) max_conns: usize,
    pub(crate) grace: Duration,
    pub(crate) departure: DrainConfig,
    pub(crate) observer: Option<Observer>,
    pub(crate) trace: bool,
    pub(crate) conns: AtomicUsize,
    pub(crate) refused: AtomicUsize,
    pub(crate) wakeups: AtomicU64,
    /// What the connections of all loops and services have buffered, as last told by their loops.
    pub(crate) buffered: AtomicUsize,
}

impl Common {
    /// Counts a connection in. False if there are too many. One thread admits.
    pub(crate) fn admit(&self) -> bool {
        let room = self.conns.load(Relaxed) < self.max_conns;
        if room {
            self.conns.fetch_add(1, Relaxed);
        }
        room
    }

    pub(crate) fn admit_refused(&self) -> bool {
        let room = self.refused.load(Relaxed) < REFUSED_AT_ONCE;
        if room {
            self.refused.fetch_add(1, Relaxed);
        }
        room
    }

    pub(crate) fn gone(&self, admitted: bool) {
        let count = if admitted { &self.conns } else { &self.refused };
        count.fetch_sub(1, Relaxed);
    }

    /// Whether no connection is left on any loop.
    fn is_empty(&self) -> bool {
        self.conns.load(Relaxed) == 0 && self.refused.load(Relaxed) == 0
    }

    pub(crate) fn tell<'a>(&self, event: impl FnOnce() -> host::Event<'a>) {
        if let Some(observer) = &self.observer {
            observer(event());
        }
    }

    #[inline]
    pub(crate) fn trace<'a>(&self, event: impl FnOnce() -> host::Event<'a>) {
        if self.trace {
            self.tell(event);
        }
    }
}

/// What one batch of events is served with.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub(crate) now: Tick,
    pub(crate) registry: &'a Registry,
    pub(crate) common: &'a Common,
}

impl<'a> Moment<'a> {
    fn new(now: Tick, poll: &'a Poll, common: &'a Common) -> Self {
        Self { now, registry: poll.registry(), common }
    }
}

/// What other threads tell a loop.
pub(crate) enum Message {
    /// A connection is this loop's.
    Dealt {
        service: usize,
        fresh: Fresh,
    },
    /// A job is done, or panicked.
    Done {
        service: usize,
        done: Result<Done, JobId>,
    },
    /// The machine of a service on another loop wrote to ours.
    Mail {
        service: usize,
        letter: Letter,
    },
    /// Another loop has ended.
    Ended,
    /// The last connection has left, on another loop.
    Empty,
    Order(Order),
}

#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// Go away in steps: announce, refuse, stop. To loop 0.
    Depart,
    /// Announce that this server goes away, or refuse new work.
    Leave(Leave),
    /// Finish what is owed, then end. No connection is dealt after this.
    Stop,
    /// End now.
    Abort,
}

pub(crate) struct Inbox {
    messages: Mutex<Vec<Message>>,
    waker: Waker,
}

impl Inbox {
    pub(crate) fn new(poll: &Poll) -> io::Result<Arc<Self>> {
        let waker = Waker::new(poll.registry(), WAKE)?;
        Ok(Arc::new(Self { messages: Mutex::default(), waker }))
    }

    pub(crate) fn send(&self, message: Message) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.push(message);
        // Whoever found it empty wakes; the loop takes all at once.
        if messages.len() == 1 {
            self.waker.wake().expect("a loop can be woken");
        }
    }

    fn take(&self) -> Vec<Message> {
        core::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) struct EventLoop {
    pub(crate) poll: Poll,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) services: Vec<Service>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) common: Arc<Common>,
    /// On loop 0, until it stops.
    pub(crate) acceptor: Option<Acceptor>,
    /// On loop 0, if the host minds signals.
    pub(crate) signals: Option<Signals>,
    /// All loops, for loop 0 to pass Stop and Abort on.
    pub(crate) inboxes: Arc<[Arc<Inbox>]>,
    pub(crate) index: usize,
    /// Connections that have something to do, in order.
    pub(crate) queue: VecDeque<(usize, u32)>,
    /// Connections that had their turn and could go on at once, in order.
    pub(crate) going_on: VecDeque<(usize, u32)>,
    /// Jobs were left when this loop's slice of time for them was over.
    pub(crate) jobs_left: bool,
    /// Until when the slices are short.
    pub(crate) short_until: Tick,
    /// On loop 0: the steps of going away.
    pub(crate) drain: Drain,
    /// When those that are left are cut off.
    pub(crate) stop_by: Option<Tick>,
    /// On loop 0: loops that have not ended. It goes last, because it hears the signals.
    pub(crate) others: usize,
    /// The others were told that the last connection has left.
    pub(crate) told_all: bool,
}

impl EventLoop {
    pub(crate) fn tokens(listener: usize) -> Token {
        Token(LISTENER - listener)
    }

    /// Serves until stopped. How many connections were cut off.
    pub(crate) fn run(mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                // The events are those of last time.
                Err(_) => continue,
                Ok(()) => {}
            }
            let now = self.common.clock.now();
            self.common.wakeups.fetch_add(1, Relaxed);
            let mut orders = Vec::new();
            for event in &events {
                match event.token() {
                    WAKE => self.inbox(now, &mut orders),
                    SIGNAL => self.signals(&mut orders),
                    token => self.ready(token, event),
                }
            }
            self.accept(now);
            self.turns(now);
            self.timers(now);
            // Those whose pauses are over by now are served before the work, not after it.
            self.go_on(now);
            self.work(now);
            // Last, so that requests which came before the order are served.
            if self.stop_by.is_none() {
                orders.extend(self.depart(now));
            }
            for order in orders {
                match order {
                    Order::Depart => self.drain.start(now),
                    Order::Leave(step) => self.leave(now, step),
                    Order::Stop if self.stop_by.is_none() => self.stop(now),
                    Order::Stop => {}
                    Order::Abort => return Ok(self.abort()),
                }
            }
            if let Some(by) = self.stop_by {
                // What a loop keeps for connections of others, as the home of a room, stays until
                // they have left too.
                let empty = self.common.is_empty();
                if empty && !core::mem::replace(&mut self.told_all, true) {
                    self.inboxes.iter().for_each(|inbox| inbox.send(Message::Empty));
                }
                let ours = || self.services.iter().all(|s| s.machine.is_empty());
                if empty && self.others == 0 && ours() {
                    return Ok(0);
                }
                if by <= now {
                    return Ok(self.abort());
                }
            }
        }
    }

    fn ready(&mut self, token: Token, event: &Event) {
        let (service, slot) = place(token);
        if service >= SERVICES {
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.ready(LISTENER - token.0);
            }
        } else if self.services[service].ready(slot, event) {
            self.queue.push_back((service, slot));
        }
    }

    /// The first signal to stop stops, one more ends.
    fn signals(&mut self, orders: &mut Vec<Order>) {
        for signal in self.signals.iter_mut().flat_map(Signals::pending) {
            let stopping = self.stop_by.is_some()
                || orders.iter().any(|order| matches!(order, Order::Stop | Order::Abort));
            orders.push(match signal {
                SIGUSR1 => Order::Depart,
                _ if stopping => Order::Abort,
                _ => Order::Stop,
            });
        }
    }

    /// How long to sleep: not at all while there is something to do.
    fn timeout(&self) -> Option<Duration> {
        if self.jobs_left || !self.queue.is_empty() || !self.going_on.is_empty() {
            return Some(Duration::ZERO);
        }
        let machines = self.services.iter().filter_map(|s| s.machine.deadline()).map(|d| d.at);
        let accepts = self.acceptor.as_ref().and_then(Acceptor::due);
        let leaving = match self.stop_by {
            Some(_) => None,
            None => self.drain.deadline(&self.common.departure, &self.in_flight()),
        };
        // Another loop does not tell that its last connection left, or that its buffers are empty.
        let stopped = self.services.iter().any(|service| service.machine.reads_stopped());
        let look = (leaving.is_some() || stopped).then_some(LOOK);
        let due = machines.chain(accepts).chain(self.stop_by).chain(leaving).min();
        let timeout = due.map(|due| due.since(self.common.clock.now()));
        timeout.into_iter().chain(look).min()
    }

    /// Takes what other threads sent.
    fn inbox(&mut self, now: Tick, orders: &mut Vec<Order>) {
        for message in self.inbox.take() {
            match message {
                Message::Dealt { service, fresh } => {
                    let moment = Moment::new(now, &self.poll, &self.common);
                    let slot = self.services[service].adopt(fresh, true, moment);
                    self.queue.extend(slot.map(|slot| (service, slot)));
                }
                Message::Done { service: index, done } => {
                    let service = &mut self.services[index];
                    service.at_work -= 1;
                    let lost = service.bring_back(done, now);
                    self.queue.extend(lost.map(|slot| (index, slot)));
                }
                Message::Mail { service, letter } => {
                    self.services[service].machine.receive_mail(now, letter);
                }
                Message::Ended => self.others -= 1,
                Message::Empty => {}
                Message::Order(order) => orders.push(order),
            }
        }
    }

    fn accept(&mut self, now: Tick) {
        if let Some(acceptor) = &mut self.acceptor {
            let moment = Moment::new(now, &self.poll, &self.common);
            let queue = &mut self.queue;
            let kept = |service, slot| queue.push_back((service, slot));
            acceptor.run(&mut self.services, moment, kept);
        }
    }

    /// Each queued connection takes one turn.
    fn turns(&mut self, now: Tick) {
        for _ in 0..self.queue.len() {
            let Some((service, slot)) = self.queue.pop_front() else { return };
            self.turn(service, slot, now);
        }
    }

    /// Those that could go on take another turn, for a slice of time, but one of them at least:
    /// whoever has a lot to say does not keep the loop from those who have just come. Where these are
    /// a quarter of all or more, they are the many.
    fn go_on(&mut self, now: Tick) {
        let open: usize = self.services.iter().map(|service| service.machine.len()).sum();
        let few = 4 * self.going_on.len() < open;
        let begun = (few && !self.going_on.is_empty()).then(|| self.common.clock.now());
        for _ in 0..self.going_on.len() {
            let Some((service, slot)) = self.going_on.pop_front() else { return };
            self.turn(service, slot, now);
            if begun.is_some_and(|begun| self.common.clock.now().since(begun) >= TURNS) {
                return;
            }
        }
    }

    /// A connection takes its turn. One that could go on is to go on after the others.
    fn turn(&mut self, service: usize, slot: u32, now: Tick) {
        let moment = Moment::new(now, &self.poll, &self.common);
        let ours = &mut self.services[service];
        // Before and after each turn, so that what is held is overstepped by a turn of each
        // loop at most. A turn that leaves nothing behind costs one load.
        ours.share_buffered(&self.common);
        if ours.turn(slot, moment) {
            self.going_on.push_back((service, slot));
        }
        ours.share_buffered(&self.common);
    }

    /// What is due. Whom it touches goes on after those that the system reported.
    fn timers(&mut self, now: Tick) {
        let mut due = Vec::new();
        for (index, service) in self.services.iter_mut().enumerate() {
            if service.machine.deadline().is_none_or(|due| due.at > now) {
                continue;
            }
            service.share_buffered(&self.common);
            // Nobody is given up whose words lie unread.
            service.machine.due(now, &mut due);
            for id in due.drain(..) {
                let moment = Moment::new(now, &self.poll, &self.common);
                if service.unheard(id.slot) && service.turn(id.slot, moment) {
                    self.going_on.push_back((index, id.slot));
                }
            }
            service.machine.tick(now);
            service.touched(now, |slot| self.going_on.push_back((index, slot)));
        }
    }

    /// What is not about a socket: jobs, mail, connections that others touched.
    fn work(&mut self, now: Tick) {
        if self.pool.quota() == 0 {
            self.jobs(now);
        }
        for (index, service) in self.services.iter_mut().enumerate() {
            service.share_buffered(&self.common);
            while service.at_work < self.pool.quota()
                && let Some(work) = service.machine.next_work(now)
            {
                service.at_work += 1;
                let inbox = Arc::clone(&self.inbox);
                self.pool.submit(Task { work, service: index, inbox });
            }
            service.touched(now, |slot| self.queue.push_back((index, slot)));
            while let Some(letter) = service.machine.next_mail() {
                match (self.inboxes.get(letter.to()), &service.beside) {
                    (Some(inbox), _) => inbox.send(Message::Mail { service: index, letter }),
                    (None, Some(carry)) => carry(letter),
                    (None, None) => debug_assert!(false, "mail to what is not there"),
                }
            }
        }
    }

    /// Does jobs on this thread, service by service in turn, for a slice of time that begins now,
    /// however long the turns before took, and ends early if something is due or after a job that went
    /// ahead. It is longer while what comes gathers in the sockets of all services.
    fn jobs(&mut self, mut now: Tick) {
        let (mut until, mut ahead) = (Tick::MAX, false);
        self.jobs_left = true;
        while self.jobs_left && now < until {
            self.jobs_left = false;
            for (index, service) in self.services.iter_mut().enumerate() {
                let Some(work) = service.machine.next_work(now) else { continue };
                ahead |= work.is_ahead();
                let done = pool::run(work);
                now = self.common.clock.now();
                let lost = service.bring_back(done, now);
                self.queue.extend(lost.map(|slot| (index, slot)));
                self.jobs_left = true;
            }
            if until == Tick::MAX {
                let gathers = self.services.iter().map(|s| s.machine.gathers_until(now));
                let slice = if now < self.short_until { SHORT_SLICE } else { SLICE };
                until = gathers.min().flatten().unwrap_or(now).max(now + slice);
            }
            if ahead {
                self.short_until = now + LATELY;
            }
            if ahead || self.is_due(now) {
                return;
            }
        }
    }

    /// Whether a deadline of some machine has come.
    fn is_due(&self, now: Tick) -> bool {
        let mut machines = self.services.iter().filter_map(|service| service.machine.deadline());
        machines.any(|due| due.at <= now)
    }

    /// The next step of going away, if it is time for one.
    fn depart(&mut self, now: Tick) -> Option<Order> {
        Some(match self.drain.poll(&self.common.departure, now, &self.in_flight()) {
            DrainStep::None => return None,
            DrainStep::Announce => Order::Leave(Leave::Announce),
            DrainStep::RefuseNew => Order::Leave(Leave::RefuseNew),
            // Whoever is still here gets what it is owed within the grace of a stop.
            DrainStep::Close(_) | DrainStep::Abort | DrainStep::Done => Order::Stop,
        })
    }

    fn leave(&mut self, now: Tick, step: Leave) {
        self.pass_on(Order::Leave(step));
        for service in &mut self.services {
            service.machine.leave(now, step);
        }
    }

    /// What going away waits for. Connections leave of themselves when they have heard of it;
    /// what each has under way is finished by the stop.
    fn in_flight(&self) -> InFlight {
        InFlight { conns: self.common.conns.load(Relaxed), ..InFlight::NONE }
    }

    fn stop(&mut self, now: Tick) {
        self.stop_by = Some(now + self.common.grace);
        // Closes the listeners: from here on the system refuses.
        if self.acceptor.take().is_some() {
            self.common.tell(|| host::Event::Stopping { grace: self.common.grace });
            self.pass_on(Order::Stop);
        }
        for (index, service) in self.services.iter_mut().enumerate() {
            service.machine.drain(now);
            service.touched(now, |slot| self.queue.push_back((index, slot)));
        }
    }

    fn abort(&mut self) -> usize {
        self.acceptor = None;
        self.pass_on(Order::Abort);
        let now = self.common.clock.now();
        let moment = Moment::new(now, &self.poll, &self.common);
        self.services.iter_mut().map(|service| service.abort_all(moment)).sum()
    }

    fn pass_on(&self, order: Order) {
        if self.index == 0 {
            self.inboxes[1..].iter().for_each(|inbox| inbox.send(Message::Order(order)));
        }
    }
}
