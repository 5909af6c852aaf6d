//! Admission: whether a request that needs work may join the queue.
//!
//! **Decides** at the door, from the wait a newcomer would have, and again when a worker is free.
//! A count of waiting requests says nothing about time; so the queue is judged by the *predicted
//! wait* (Little's law: waiting × mean service time / workers) against a budget of 0.9 of the
//! clients' deadline. A burst may use the whole budget. A queue that was not empty for a whole
//! `interval` is no burst, it *stands*: then only `target` (5 ms) of waiting is allowed, so that
//! what is served is served fresh. Between the two the wait allowed falls with the time in which the
//! queue is not empty, and rises eight times as fast while it is: a moment without requests, in an
//! overload that goes on, does not open the door to the next thousand. An empty queue always takes
//! one, so a bad estimate heals itself.
//!
//! | the queue | a newcomer may wait |
//! |---|---|
//! | is empty | it is accepted |
//! | was not empty for less than `interval` | from `budget` down to `target`, × its class's share, as long as with what the workers have just begun it is sure to start before `give_up`, and from a connection that has eight in the queue a little earlier, so that others can go ahead; none, if nobody took the oldest in twice `give_up`: the workers are stuck |
//! | stands | `target` × its class's share, half of that from a connection with more than its share of the queue |
//!
//! Who asks for little does not wait behind the burst of another. A request whose connection had
//! none waiting and none refused lately is queued *ahead* of the others if those have eight or more
//! in the mean, and as long as all of them can begin that much later before they are given up. In an
//! overload by all alike nobody has eight, and the queue is in order. Turns for all connections would
//! be fairer, but then what comes later decides what waits now, and the prediction is lost
//! (`docs/benchmarks.md`).
//!
//! A waiting request is given up after `give_up`, or when its own deadline is too near to serve
//! it: the prediction was wrong then (a worker stuck, a machine gone slow). In the standing state
//! nothing is thrown out that can still be answered in time: giving up all that waited longer than
//! `target`, as is often done, costs as many answers and makes the refusals slow (measured:
//! `docs/overload.md`).
//!
//! **Units**: [`Tick`] and [`Duration`], bytes, percent. **Work**: bounded, no allocation.
//! **Deadline**: a waiting request's `expires_at`; from the next tick on it is given up.
//!
//! **Sources**: B. Maurer, "Fail at Scale", ACM Queue 13(8), 2015 (the standing-queue rule, 5 ms
//! and 100 ms); J. D. C. Little, 1961; the request-level findings on CoDel in Meta's folly.
//! The control law of RFC 8289 is *not* used: it relies on senders that slow down.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Admission, Admit, AdmitConfig, Ask, Dequeue, ShedReason, Waited};
//! use core::time::Duration;
//!
//! let config = AdmitConfig::for_deadline(Duration::from_millis(50));
//! let mut admission = Admission::new(&config, Tick::ZERO);
//! admission.on_complete(Duration::from_micros(100)); // what a worker measured
//!
//! // 100 wait for one worker: 10 ms, within the budget of 45 ms.
//! let now = Tick::from_millis(20);
//! let ask = Ask { queue_len: 100, oldest: Some(Tick::from_millis(11)), ..Ask::new(now) };
//! assert!(matches!(admission.admit(&config, &ask), Admit::Accept { .. }));
//!
//! // 500 wait: a newcomer would come too late, and is told so at once.
//! let ask = Ask { queue_len: 500, ..ask };
//! let Admit::Shed { reason, .. } = admission.admit(&config, &ask) else { panic!() };
//! assert_eq!(reason, ShedReason::Wait);
//!
//! // A worker is free, but this one has waited past its own deadline.
//! let waited = Waited { now, expires_at: Tick::from_millis(15), left: 99 };
//! assert_eq!(admission.on_dequeue(&waited), Dequeue::Shed(ShedReason::Expired));
//! ```

use crate::guard::leeway::Leeway;
use crate::guard::{elapsed, percent};
use crate::tick::{Tick, nanos};
use core::time::Duration;

/// Priority classes: 0 is the most important, everything from 3 on the least.
pub const CLASSES: usize = 4;

/// The promises of one queue. Configuration of [`Admission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmitConfig {
    /// The longest predicted wait accepted: 0.9 of the clients' deadline, less what the network
    /// takes. Default 45 ms.
    pub budget: Duration,
    /// The longest actual wait after which a request is still started. Default 47.5 ms.
    pub give_up: Duration,
    /// The same while the queue stands; no more than `budget` has any effect. Default 5 ms.
    pub target: Duration,
    /// A queue that was not empty for this long stands; an eighth of it without requests makes up
    /// for that. Default 100 ms.
    pub interval: Duration,
    /// How much of the wait in force each class may use, in percent; a class never gets more than
    /// the one before it. Default 100, 75, 50, 25.
    pub shares: [u8; CLASSES],
    /// Requests waiting at most, whatever the prediction. Default 65,536.
    pub queue_max: usize,
    /// Their bytes at most. Default 16 MiB.
    pub queue_bytes: usize,
    /// Unsent output of a connection from which its requests are held, not refused: a refusal
    /// would add to it. Default 256 KiB.
    pub conn_out: usize,
    /// Mean service time assumed before the first is measured. Default 100 us.
    pub service_guess: Duration,
}

impl AdmitConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        budget: Duration::from_millis(45),
        give_up: Duration::from_micros(47_500),
        target: Duration::from_millis(5),
        interval: Duration::from_millis(100),
        shares: [100, 75, 50, 25],
        queue_max: 1 << 16,
        queue_bytes: 16 << 20,
        conn_out: 256 << 10,
        service_guess: Duration::from_micros(100),
    };

    /// Defaults for clients that give up after `deadline`, the network not counted: a budget of
    /// 0.9 of it, the last start at 0.95, a target of a tenth, 5 ms at most, and an interval in
    /// which the longest burst accepted can drain at half load: twice the deadline.
    #[must_use]
    pub const fn for_deadline(deadline: Duration) -> Self {
        let ns = nanos(deadline);
        let target = if ns / 10 < 5_000_000 { ns / 10 } else { 5_000_000 };
        Self {
            budget: Duration::from_nanos(ns / 10 * 9),
            give_up: Duration::from_nanos(ns / 20 * 19),
            target: Duration::from_nanos(target),
            interval: Duration::from_nanos(ns.saturating_mul(2)),
            ..Self::DEFAULT
        }
    }

    /// As [`AdmitConfig::for_deadline`], where whoever was refused is served after a `pause`
    /// ([`RefusalPause`](crate::guard::RefusalPause)): a request may wait for the end of one before
    /// it is asked about, and its answer for the end of another. Pauses may fall into step, and a
    /// queue that stands has to last until they end: it is cut to two of them, not less.
    #[must_use]
    pub const fn for_deadline_after(deadline: Duration, pause: Duration) -> Self {
        let both = nanos(pause).saturating_mul(2);
        let rest = Self::for_deadline(Duration::from_nanos(nanos(deadline).saturating_sub(both)));
        let target = if nanos(rest.target) < both { both } else { nanos(rest.target) };
        Self { target: Duration::from_nanos(target), ..rest }
    }
}

impl Default for AdmitConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A request at the door. Input of [`Admission::admit`]; [`Ask::new`] fills in the neutral values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Now.
    pub now: Tick,
    /// Requests waiting; those being served do not count.
    pub queue_len: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Workers that serve this queue; 0 counts as 1.
    pub workers: u32,
    /// When the oldest waiting request was queued.
    pub oldest: Option<Tick>,
    /// The request's priority, see [`CLASSES`].
    pub class: u8,
    /// What this request is known to cost, if it is known.
    pub cost: Option<Duration>,
    /// When its answer becomes useless, if the request says so.
    pub deadline: Option<Tick>,
    /// Unsent output of its connection, in bytes.
    pub conn_out: usize,
    /// Requests of its connection that wait.
    pub conn_waiting: usize,
    /// Connections that have requests waiting; 0 switches the fair share off, and that anything goes
    /// ahead.
    pub conns_waiting: usize,
    /// When a request of its connection last came while another of it waited, or was refused.
    pub conn_crowded: Option<Tick>,
    /// Whether this server refuses new work because it goes away.
    pub draining: bool,
}

impl Ask {
    /// A request of the highest class, without a deadline, at an empty queue with one worker.
    #[must_use]
    pub const fn new(now: Tick) -> Self {
        Self {
            now,
            queue_len: 0,
            queue_bytes: 0,
            workers: 1,
            oldest: None,
            class: 0,
            cost: None,
            deadline: None,
            conn_out: 0,
            conn_waiting: 0,
            conns_waiting: 0,
            conn_crowded: None,
            draining: false,
        }
    }
}

/// The answer at the door.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Queue it. Pass `expires_at` back to [`Admission::on_dequeue`].
    Accept {
        /// The last moment at which it is worth starting.
        expires_at: Tick,
        /// Queue it before those that wait, behind others that were: its connection asks for one
        /// at a time, while others have several there.
        ahead: bool,
    },
    /// Refuse it now, not executed.
    Shed {
        /// Why.
        reason: ShedReason,
        /// When to try again at the earliest, from now.
        retry_after: Duration,
    },
    /// Neither: leave it unread until this connection has taken its output.
    Hold,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShedReason {
    /// The server goes away: retry elsewhere.
    Draining,
    /// The answer would come after the request's own deadline.
    Late,
    /// The wait would be longer than the budget.
    Wait,
    /// The queue stands and the wait would be longer than the target.
    Standing,
    /// The queue stands and this connection has more than its share of it.
    Share,
    /// The queue is full, in requests or bytes.
    Full,
    /// It waited until it was not worth starting any more.
    Expired,
}

/// A request at the head of the queue, and a worker free for it. Input of
/// [`Admission::on_dequeue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Now.
    pub now: Tick,
    /// What [`Admit::Accept`] said.
    pub expires_at: Tick,
    /// Requests still waiting without this one.
    pub left: usize,
}

/// The answer when a worker is free.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dequeue {
    /// Start it.
    Serve,
    /// Refuse it, not executed: [`ShedReason::Expired`].
    Shed(ShedReason),
}

/// The state of one queue's admission: 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Since when the queue is empty; [`Tick::MAX`] if it is not.
    empty_since: Tick,
    /// From when on it stands if it is never empty again. Moves on while it is empty.
    stands_at: Tick,
    /// Moving mean of the service time, in ns.
    service: u64,
    /// How much later all that wait could begin.
    leeway: Leeway,
}

impl Admission {
    /// The weight of one new sample in the moving mean is 1 / 2^SMOOTHING.
    const SMOOTHING: u32 = 6;
    /// How much longer an empty queue takes to stand for each moment of being empty. It has to be
    /// more than what is not empty to what is at a load that is no overload: 9 at 0.95x, for
    /// arrivals and work without memory.
    const RECOVERY: u64 = 8;
    /// How many a connection has in the queue that fills it: others go ahead.
    const SEVERAL: usize = 8;

    /// For a queue that is empty.
    #[must_use]
    pub fn new(config: &AdmitConfig, now: Tick) -> Self {
        let service = nanos(config.service_guess);
        let stands_at = now + config.interval;
        Self { empty_since: now, stands_at, service, leeway: Leeway::new() }
    }

    /// Decides on a request at the door.
    pub fn admit(&mut self, config: &AdmitConfig, ask: &Ask) -> Admit {
        self.observe(config, ask.now, ask.queue_len == 0);
        self.leeway.observe(ask.now, config.give_up, ask.queue_len == 0);
        let ahead = self.may_go_ahead(config, ask);
        let wait = if ahead { 0 } else { self.predicted_wait(ask) };
        // What each worker has begun takes up to a whole service time more, and a mean that follows
        // what is measured is a few percent behind it.
        let most = wait.saturating_add(wait / 32).saturating_add(self.service);
        let shed = |reason, limit| {
            let over = wait.saturating_sub(limit).max(nanos(config.target));
            Admit::Shed { reason, retry_after: Duration::from_nanos(over) }
        };
        if ask.draining {
            return shed(ShedReason::Draining, 0);
        }
        if ask.conn_out > 0 && ask.conn_out >= config.conn_out {
            return Admit::Hold;
        }
        let left = ask.deadline.map(|at| at.0.saturating_sub(ask.now.0));
        let cost = ask.cost.map_or(0, nanos);
        if left.is_some_and(|left| left == 0 || wait.saturating_add(cost) > left) {
            return shed(ShedReason::Late, left.unwrap_or(0));
        }
        if ask.queue_len > 0 {
            if ask.queue_len >= config.queue_max || ask.queue_bytes >= config.queue_bytes {
                return shed(ShedReason::Full, 0);
            }
            let share = |span: Duration| percent(nanos(span), config.share(ask.class));
            let budget = share(config.budget);
            let sure = nanos(config.give_up).saturating_sub(config.left_to_others(ask));
            if wait > budget || most > sure || config.is_stuck(ask) {
                return shed(ShedReason::Wait, budget);
            }
            let allowed = share(self.allowed_wait(config, ask.now));
            if wait > allowed {
                return shed(ShedReason::Standing, allowed);
            }
            if self.standing(ask.now) && wait > allowed / 2 && ask.over_its_share() {
                return shed(ShedReason::Share, allowed / 2);
            }
        }
        self.empty_since = Tick::MAX;
        let mut expires_at = ask.now + config.give_up;
        if let (Some(at), Some(left)) = (ask.deadline, left) {
            // Started at its deadline it would be late by its own service time. The estimate is
            // not trusted with more than a quarter: one wrong sample must not refuse for ever.
            let margin = ask.cost.map_or_else(|| self.service.min(left / 4), nanos);
            expires_at = expires_at.min(Tick(at.0.saturating_sub(margin)));
        }
        if ahead {
            self.leeway.delayed(self.delay(ask));
        } else {
            self.leeway.queued(elapsed(expires_at, ask.now).saturating_sub(most));
        }
        Admit::Accept { expires_at, ahead }
    }

    /// Decides on a waiting request when a worker is free for it.
    pub fn on_dequeue(&mut self, waited: &Waited) -> Dequeue {
        if waited.left == 0 && self.empty_since == Tick::MAX {
            self.empty_since = waited.now;
        }
        if waited.now > waited.expires_at {
            Dequeue::Shed(ShedReason::Expired)
        } else {
            Dequeue::Serve
        }
    }

    /// A worker served a request in this time. Call it for work that ran.
    pub fn on_complete(&mut self, service: Duration) {
        let sample = nanos(service);
        if sample >= self.service {
            self.service += (sample - self.service).div_ceil(1 << Self::SMOOTHING);
        } else {
            self.service -= (self.service - sample).div_ceil(1 << Self::SMOOTHING);
        }
    }

    /// How long a newcomer would wait before it is started, in ns.
    #[must_use]
    pub fn predicted_wait(&self, ask: &Ask) -> u64 {
        if ask.queue_len == 0 {
            return 0;
        }
        let work = ask.queue_len as u128 * u128::from(self.service);
        let wait = work.div_ceil(u128::from(ask.workers.max(1)));
        u64::try_from(wait).unwrap_or(u64::MAX)
    }

    /// Whether a request may be queued before those that wait: its connection asks for one at a
    /// time, others have several, and none of them is given up for it.
    fn may_go_ahead(&self, config: &AdmitConfig, ask: &Ask) -> bool {
        let crowded = |at| elapsed(ask.now, at) < nanos(config.budget);
        ask.conn_waiting == 0
            && !ask.conn_crowded.is_some_and(crowded)
            && ask.conns_waiting > 0
            && ask.queue_len / Self::SEVERAL >= ask.conns_waiting
            && self.delay(ask) <= self.leeway.least()
    }

    /// By how much those behind this request wait longer for it, in ns.
    fn delay(&self, ask: &Ask) -> u64 {
        let delay = ask.cost.map_or(self.service, nanos) / u64::from(ask.workers.max(1));
        delay.saturating_add(delay / 32)
    }

    /// Whether the queue stands: it was hardly ever empty for a whole interval.
    #[must_use]
    pub fn standing(&self, now: Tick) -> bool {
        self.empty_since == Tick::MAX && now > self.stands_at
    }

    /// How long a newcomer of the highest class may wait for now, if the queue is not empty.
    #[must_use]
    pub fn allowed_wait(&self, config: &AdmitConfig, now: Tick) -> Duration {
        let (budget, interval) = (nanos(config.budget), nanos(config.interval));
        let target = nanos(config.target).min(budget);
        let left = elapsed(self.stands_at, now).min(interval);
        let more = u128::from(budget - target) * u128::from(left);
        let more = more.checked_div(u128::from(interval)).map_or(0, |more| more as u64);
        Duration::from_nanos(target + more)
    }

    /// Counts the time in which the queue was empty, up to now.
    fn observe(&mut self, config: &AdmitConfig, now: Tick, empty: bool) {
        let since = self.empty_since.min(now);
        let moves = elapsed(now, since).saturating_mul(1 + Self::RECOVERY);
        if empty || since < now {
            let at = self.stands_at.max(since) + Duration::from_nanos(moves);
            self.stands_at = at.min(now + config.interval);
        }
        self.empty_since = if empty { now } else { Tick::MAX };
    }

    /// The mean service time as measured.
    #[must_use]
    pub const fn service(&self) -> Duration {
        Duration::from_nanos(self.service)
    }
}

impl AdmitConfig {
    /// A worker that is free gives up what is older than `give_up`; so no worker was free.
    fn is_stuck(&self, ask: &Ask) -> bool {
        let patience = nanos(self.give_up).saturating_mul(2);
        ask.oldest.is_some_and(|at| elapsed(ask.now, at) > patience)
    }

    /// How much earlier than it has to, in ns, a request is to be sure to start whose connection fills
    /// the queue.
    fn left_to_others(&self, ask: &Ask) -> u64 {
        if ask.conn_waiting < Admission::SEVERAL { 0 } else { nanos(self.budget) / 32 }
    }

    fn share(&self, class: u8) -> u8 {
        let class = usize::from(class).min(CLASSES - 1);
        self.shares[..=class].iter().fold(100, |least, share| least.min(*share))
    }
}

impl Ask {
    const fn over_its_share(&self) -> bool {
        self.conns_waiting > 0 && self.conn_waiting > self.queue_len.div_ceil(self.conns_waiting)
    }
}

impl From<Admission> for [u64; 6] {
    fn from(state: Admission) -> Self {
        let [recent, earlier, turns_at] = state.leeway.into();
        [state.empty_since.0, state.stands_at.0, state.service, recent, earlier, turns_at]
    }
}

impl From<[u64; 6]> for Admission {
    fn from([empty_since, stands_at, service, leeway @ ..]: [u64; 6]) -> Self {
        let (empty_since, stands_at) = (Tick(empty_since), Tick(stands_at));
        Self { empty_since, stands_at, service, leeway: leeway.into() }
    }
}
