//! Admission: whether a request that needs work may join the queue.

use crate::guard::{guarded, status};
use crate::policy::{begin, count, decide, drywire_decision, held, moment, nanos, span, tell};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::DRYWIRE_NO_DEADLINE;
use drywire::Tick;
use drywire::guard::{Admission, Admit, AdmitConfig, Ask, Dequeue, ShedReason, Waited};
use drywire_status::{DRYWIRE_ERR_NULL, DRYWIRE_ERR_RANGE, DRYWIRE_OK};

/// From `drywire_admission_admit`: queue it, and keep `time_ns`, its last moment, with it; `why` is 0
/// or `DRYWIRE_ACCEPT_AHEAD`.
pub const DRYWIRE_ADMISSION_ACCEPT: u32 = 1;
/// From `drywire_admission_admit` and `_dequeue`: refuse it, not executed; `why` is a
/// `DRYWIRE_SHED_*`, `time_ns` the span after which to try again at the earliest.
pub const DRYWIRE_ADMISSION_SHED: u32 = 2;
/// From `drywire_admission_admit`: neither; leave it unread until its connection has taken its output.
pub const DRYWIRE_ADMISSION_HOLD: u32 = 3;
/// From `drywire_admission_dequeue`: start it.
pub const DRYWIRE_ADMISSION_SERVE: u32 = 4;

/// `why` of an accept: queue it before those that wait, behind others that were. Its connection asks
/// for one at a time, while others have several there.
pub const DRYWIRE_ACCEPT_AHEAD: u32 = 1;

/// `why`: another reason, of a later version.
pub const DRYWIRE_SHED_OTHER: u32 = 0;
/// `why`: the server goes away; retry elsewhere.
pub const DRYWIRE_SHED_DRAINING: u32 = 1;
/// `why`: the answer would come after the request's own deadline.
pub const DRYWIRE_SHED_LATE: u32 = 2;
/// `why`: the wait would be longer than the budget.
pub const DRYWIRE_SHED_WAIT: u32 = 3;
/// `why`: the queue stands, and the wait would be longer than the target.
pub const DRYWIRE_SHED_STANDING: u32 = 4;
/// `why`: the queue stands, and this connection has more than its share of it.
pub const DRYWIRE_SHED_SHARE: u32 = 5;
/// `why`: the queue is full.
pub const DRYWIRE_SHED_FULL: u32 = 6;
/// `why`: it waited until it was not worth starting any more.
pub const DRYWIRE_SHED_EXPIRED: u32 = 7;

/// `flags` of `drywire_admission_ask`: this server refuses new work because it goes away.
pub const DRYWIRE_ASK_DRAINING: u32 = 1;

/// The promises of one queue. Start with `drywire_admission_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_admission_options {
    /// `sizeof(drywire_admission_options)`.
    pub struct_size: u32,
    /// How much of the wait in force each class may use, in percent; a class never gets more than
    /// the one before it. Default 100, 75, 50, 25.
    pub shares: [u8; 4],
    /// The longest predicted wait accepted: 0.9 of the clients' deadline, less what the network
    /// takes. Default 45 ms.
    pub budget_ns: u64,
    /// The longest actual wait after which a request is still started. Default 47.5 ms.
    pub give_up_ns: u64,
    /// The longest predicted wait while the queue stands. Default 5 ms.
    pub target_ns: u64,
    /// A queue that was not empty for this long stands. Default 100 ms.
    pub interval_ns: u64,
    /// Requests waiting at most, whatever the prediction. Default 65536.
    pub queue_max: u64,
    /// Their bytes at most. Default 16 MiB.
    pub queue_bytes: u64,
    /// Unsent output of a connection from which its requests are held. Default 256 KiB.
    pub conn_out: u64,
    /// Mean service time assumed before the first is measured. Default 100 us.
    pub service_guess_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_admission_options {
    const DEFAULT: Self = Self::of(&AdmitConfig::DEFAULT);
}

impl drywire_admission_options {
    /// Only spans below 584 years.
    const fn of(config: &AdmitConfig) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            shares: config.shares,
            budget_ns: config.budget.as_nanos() as u64,
            give_up_ns: config.give_up.as_nanos() as u64,
            target_ns: config.target.as_nanos() as u64,
            interval_ns: config.interval.as_nanos() as u64,
            queue_max: config.queue_max as u64,
            queue_bytes: config.queue_bytes as u64,
            conn_out: config.conn_out as u64,
            service_guess_ns: config.service_guess.as_nanos() as u64,
        }
    }

    pub(crate) fn config(&self) -> AdmitConfig {
        AdmitConfig {
            budget: span(self.budget_ns),
            give_up: span(self.give_up_ns),
            target: span(self.target_ns),
            interval: span(self.interval_ns),
            shares: self.shares,
            queue_max: count(self.queue_max),
            queue_bytes: count(self.queue_bytes),
            conn_out: count(self.conn_out),
            service_guess: span(self.service_guess_ns),
        }
    }
}

/// A request at the door. Start with `drywire_admission_ask_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_admission_ask {
    /// `sizeof(drywire_admission_ask)`.
    pub struct_size: u32,
    /// The request's priority: 0 is the most important, everything from 3 on the least. Default 0.
    pub request_class: u32,
    /// Workers that serve this queue. Default 1.
    pub workers: u32,
    /// 0 or `DRYWIRE_ASK_DRAINING`.
    pub flags: u32,
    /// Requests waiting; those being served do not count.
    pub queue_len: u64,
    /// Their bytes.
    pub queue_bytes: u64,
    /// When the oldest waiting request was queued; `DRYWIRE_NO_DEADLINE`, the default, if none waits.
    pub oldest_ns: u64,
    /// What this request is known to cost; `DRYWIRE_NO_DEADLINE`, the default, if that is not known.
    pub cost_ns: u64,
    /// When its answer becomes useless; `DRYWIRE_NO_DEADLINE`, the default, if it does not say.
    pub deadline_ns: u64,
    /// Unsent output of its connection, in bytes.
    pub conn_out: u64,
    /// Requests of its connection that wait.
    pub conn_waiting: u64,
    /// Connections that have requests waiting; 0, the default, switches the fair share off, and that
    /// anything goes ahead.
    pub conns_waiting: u64,
    /// When a request of its connection last came while another of it waited, or was refused;
    /// `DRYWIRE_NO_DEADLINE`, the default, if never.
    pub conn_crowded_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_admission_ask {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        request_class: 0,
        workers: 1,
        flags: 0,
        queue_len: 0,
        queue_bytes: 0,
        oldest_ns: DRYWIRE_NO_DEADLINE,
        cost_ns: DRYWIRE_NO_DEADLINE,
        deadline_ns: DRYWIRE_NO_DEADLINE,
        conn_out: 0,
        conn_waiting: 0,
        conns_waiting: 0,
        conn_crowded_ns: DRYWIRE_NO_DEADLINE,
    };
}

impl drywire_admission_ask {
    fn ask(&self, now: u64) -> Result<Ask> {
        if self.flags & !DRYWIRE_ASK_DRAINING != 0 {
            return Err(DRYWIRE_ERR_RANGE);
        }
        Ok(Ask {
            now: Tick(now),
            queue_len: count(self.queue_len),
            queue_bytes: count(self.queue_bytes),
            workers: self.workers,
            oldest: moment(self.oldest_ns),
            class: crate::policy::byte(self.request_class),
            cost: moment(self.cost_ns).map(|cost| span(cost.0)),
            deadline: moment(self.deadline_ns),
            conn_out: count(self.conn_out),
            conn_waiting: count(self.conn_waiting),
            conns_waiting: count(self.conns_waiting),
            conn_crowded: moment(self.conn_crowded_ns),
            draining: self.flags & DRYWIRE_ASK_DRAINING != 0,
        })
    }
}

/// The state of one queue's admission: refuses at the door by the wait that a newcomer would have
/// (requests waiting x mean service time / workers), and gives up what waited too long. Yours to
/// copy; the numbers in it are the library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_admission {
    /// Set by `drywire_admission_init`.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 6],
}

held! { drywire_admission: Admission, 6; }

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_options_init(
    options: *mut drywire_admission_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Sets the times in `options` for clients that give up after `deadline_ns`, the network not counted:
/// a budget of 0.9 of it, the last start at 0.95, a target of a tenth (5 ms at most), an interval of
/// twice the deadline. The rest stays.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_options_for_deadline(
    options: *mut drywire_admission_options,
    deadline_ns: u64,
) -> drywire_status {
    status(guarded(|| {
        if options.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        // SAFETY: as above.
        let old = unsafe { sized::read(options) }?;
        let times = AdmitConfig::for_deadline(span(deadline_ns));
        let new = drywire_admission_options {
            budget_ns: nanos(times.budget),
            give_up_ns: nanos(times.give_up),
            target_ns: nanos(times.target),
            interval_ns: nanos(times.interval),
            ..old
        };
        // SAFETY: as above.
        unsafe { sized::write(options, &new) }.map(|()| DRYWIRE_OK)
    }))
}

/// Makes the state for a queue that is empty: `size` is `sizeof *admission`. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_init(
    admission: *mut drywire_admission,
    size: usize,
    options: *const drywire_admission_options,
    now_ns: u64,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe {
            let config = sized::read(options)?.config();
            begin(admission, size, Admission::new(&config, Tick(now_ns)))
        }
    }))
}

/// Fills `ask` (`size` bytes of it) with a request of the highest class at an empty queue with one
/// worker.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_ask_init(
    ask: *mut drywire_admission_ask,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(ask, size) }))
}

/// Decides on a request at the door: `DRYWIRE_ADMISSION_ACCEPT`, `_SHED` or `_HOLD` goes to
/// `decision`, with the wait that was predicted, in ns, in `num`. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_RANGE` for unknown flags.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_admit(
    admission: *mut drywire_admission,
    options: *const drywire_admission_options,
    now_ns: u64,
    ask: *const drywire_admission_ask,
    decision: *mut drywire_decision,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        decide(admission, decision, |admission| {
            if ask.is_null() {
                return Err(DRYWIRE_ERR_NULL);
            }
            let config = sized::read(options)?.config();
            let ask = sized::read(ask)?.ask(now_ns)?;
            let (what, why, time_ns) = match admission.admit(&config, &ask) {
                Admit::Accept { expires_at, ahead } => {
                    let why = if ahead { DRYWIRE_ACCEPT_AHEAD } else { 0 };
                    (DRYWIRE_ADMISSION_ACCEPT, why, expires_at.0)
                }
                Admit::Shed { reason, retry_after } => {
                    (DRYWIRE_ADMISSION_SHED, why(reason), nanos(retry_after))
                }
                Admit::Hold => (DRYWIRE_ADMISSION_HOLD, 0, 0),
            };
            let num = admission.predicted_wait(&ask);
            Ok(drywire_decision { why, num, time_ns, ..drywire_decision::of(what) })
        })
    }
}

/// Decides on a waiting request when a worker is free for it: `DRYWIRE_ADMISSION_SERVE` or `_SHED` goes
/// to `decision`. `expires_ns` is what `DRYWIRE_ADMISSION_ACCEPT` said, `left` how many requests wait
/// still.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_dequeue(
    admission: *mut drywire_admission,
    now_ns: u64,
    expires_ns: u64,
    left: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    let waited = Waited { now: Tick(now_ns), expires_at: Tick(expires_ns), left: count(left) };
    // SAFETY: as above.
    unsafe {
        decide(admission, decision, |admission| {
            Ok(match admission.on_dequeue(&waited) {
                Dequeue::Serve => drywire_decision::of(DRYWIRE_ADMISSION_SERVE),
                Dequeue::Shed(reason) => drywire_decision {
                    why: why(reason),
                    ..drywire_decision::of(DRYWIRE_ADMISSION_SHED)
                },
            })
        })
    }
}

/// A worker served a request in `service_ns`. Call it for work that ran.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_admission_complete(
    admission: *mut drywire_admission,
    service_ns: u64,
) -> drywire_status {
    // SAFETY: as above.
    unsafe { tell(admission, |admission| admission.on_complete(span(service_ns))) }
}

const fn why(reason: ShedReason) -> u32 {
    match reason {
        ShedReason::Draining => DRYWIRE_SHED_DRAINING,
        ShedReason::Late => DRYWIRE_SHED_LATE,
        ShedReason::Wait => DRYWIRE_SHED_WAIT,
        ShedReason::Standing => DRYWIRE_SHED_STANDING,
        ShedReason::Share => DRYWIRE_SHED_SHARE,
        ShedReason::Full => DRYWIRE_SHED_FULL,
        ShedReason::Expired => DRYWIRE_SHED_EXPIRED,
        _ => DRYWIRE_SHED_OTHER,
    }
}
