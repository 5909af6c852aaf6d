//! The client's side: which of several backends gets a request.

use crate::guard::{guarded, status};
use crate::policy::sending::outcome;
use crate::policy::{byte, done, drywire_decision, span};
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::Out;
use drywire::Tick;
use drywire::guard::{Backend, BackendConfig, How, Pick, PickConfig};
use drywire_status::{DRYWIRE_ERR_NULL, DRYWIRE_ERR_RANGE, DRYWIRE_OK};

/// From `drywire_pick`: to the backend with index `num`.
pub const DRYWIRE_PICK_TO: u32 = 1;
/// From `drywire_pick`: nowhere; all backends have as many pending as they may have.
pub const DRYWIRE_PICK_SHED: u32 = 2;
/// From `drywire_pick`: nowhere; none is left that may be picked.
pub const DRYWIRE_PICK_NONE_ALIVE: u32 = 3;

/// `how` of `drywire_pick`: any backend can serve it; `key` is not looked at.
pub const DRYWIRE_PICK_LEAST_PENDING: u32 = 0;
/// `how`: requests with the same `key`, a hash, go to the same backend where possible.
pub const DRYWIRE_PICK_KEYED: u32 = 1;

/// How to balance. Start with `drywire_pick_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_pick_options {
    /// `sizeof(drywire_pick_options)`.
    pub struct_size: u32,
    /// Requests pending at one backend at most. Default `UINT32_MAX`.
    pub pending_max: u32,
    /// For keyed traffic: the most that one backend may have pending, in percent of the mean; 0 for no
    /// bound, otherwise at least 100. Default 125.
    pub bound_percent: u32,
    /// With fewer than this share of the backends in, those that are out are tried too. Default 50.
    pub panic_percent: u32,
    /// Pending requests that one refusal or failure counts as. Default 8.
    pub penalty: u32,
    /// Failures in a row that put a backend out; 0 for never, 255 at most. Default 5.
    pub out_after: u32,
    /// Half of the penalty is forgotten in this time. Default 1 s.
    pub half_life_ns: u64,
    /// For how long a backend is out, times how often it happened. Default 10 s.
    pub out_for_ns: u64,
    /// For how long at most. Default 5 minutes.
    pub out_max_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_pick_options {
    const DEFAULT: Self = {
        let config = PickConfig::DEFAULT;
        Self {
            struct_size: size_of::<Self>() as u32,
            pending_max: config.pending_max,
            bound_percent: config.bound_percent,
            panic_percent: config.panic_percent as u32,
            penalty: config.backend.penalty,
            out_after: config.backend.out_after as u32,
            half_life_ns: config.backend.half_life.as_nanos() as u64,
            out_for_ns: config.backend.out_for.as_nanos() as u64,
            out_max_ns: config.backend.out_max.as_nanos() as u64,
        }
    };
}

impl drywire_pick_options {
    fn config(&self) -> PickConfig {
        PickConfig {
            backend: BackendConfig {
                penalty: self.penalty,
                half_life: span(self.half_life_ns),
                out_after: byte(self.out_after),
                out_for: span(self.out_for_ns),
                out_max: span(self.out_max_ns),
            },
            pending_max: self.pending_max,
            bound_percent: self.bound_percent,
            panic_percent: byte(self.panic_percent),
        }
    }
}

/// One backend of one client; an array of them is what `drywire_pick` picks from. Yours to copy. The
/// first four fields are yours to read and write. 64 bytes, frozen.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_backend {
    /// Its identity for keyed traffic; stable over restarts and reorderings.
    pub key: u64,
    /// Its share; 0 takes it out.
    pub weight: u32,
    /// Requests sent and not answered.
    pub pending: u32,
    /// Not 0: it announced that it goes away.
    pub draining: u32,
    /// 0.
    pub reserved: u32,
    /// The library's.
    pub state: [u64; 5],
}

impl drywire_backend {
    fn policy(&self) -> Backend {
        let [counts, penalty, penalty_at, out_until, _] = self.state;
        let share = u64::from(self.weight) << 32 | u64::from(self.pending);
        let counts = counts & !1 | u64::from(self.draining != 0);
        Backend::from([self.key, share, counts, penalty, penalty_at, out_until])
    }

    fn of(policy: Backend) -> Self {
        let [key, share, counts, penalty, penalty_at, out_until] = policy.into();
        Self {
            key,
            weight: (share >> 32) as u32,
            pending: share as u32,
            draining: (counts & 1) as u32,
            reserved: 0,
            state: [counts & !1, penalty, penalty_at, out_until, 0],
        }
    }
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_pick_options_init(
    options: *mut drywire_pick_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Makes a backend that nothing is known about.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_backend_init(
    backend: *mut drywire_backend,
    key: u64,
    weight: u32,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        unsafe { Out::new(backend) }?.set(drywire_backend::of(Backend::new(key, weight)));
        Ok(DRYWIRE_OK)
    }))
}

/// A request goes to it: one more is pending.
///
/// Errors: `DRYWIRE_ERR_NULL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_backend_sent(backend: *mut drywire_backend) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        change(backend, |backend| {
            backend.on_send();
            Ok(())
        })
    }
}

/// A request that was sent to it ended, as `reply` (`DRYWIRE_REPLY_*`) says: one less is pending. A
/// refusal or failure makes it dearer for a while, failures in a row put it out. NULL options are all
/// defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `reply`; `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_backend_replied(
    backend: *mut drywire_backend,
    options: *const drywire_pick_options,
    now_ns: u64,
    reply: u32,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        change(backend, |backend| {
            let config = sized::read(options)?.config().backend;
            backend.on_reply(&config, Tick(now_ns), outcome(reply)?);
            Ok(())
        })
    }
}

/// Picks the backend for one request: a `DRYWIRE_PICK_*` goes to `decision`. `avoid` is the index of
/// the one that failed, for a retry, or `count` or more. `random` is uniform over all of 64 bits. Work
/// grows with the number of backends. NULL options are all defaults.
///
/// Errors: `DRYWIRE_ERR_RANGE` for an unknown `how` or an impossible `count`; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_pick(
    options: *const drywire_pick_options,
    backends: *const drywire_backend,
    count: usize,
    how: u32,
    key: u64,
    avoid: u64,
    now_ns: u64,
    random: u64,
    decision: *mut drywire_decision,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        let to = unsafe { Out::new(decision) }?;
        to.set(drywire_decision::NOTHING);
        // SAFETY: as above.
        let config = unsafe { sized::read(options) }?.config();
        let how = match how {
            DRYWIRE_PICK_LEAST_PENDING => How::LeastPending,
            DRYWIRE_PICK_KEYED => How::Keyed(key),
            _ => return Err(DRYWIRE_ERR_RANGE),
        };
        let backends: &[drywire_backend] = match count {
            0 => &[],
            _ if count > isize::MAX as usize / size_of::<drywire_backend>() => {
                return Err(DRYWIRE_ERR_RANGE);
            }
            _ if backends.is_null() => return Err(DRYWIRE_ERR_NULL),
            // SAFETY: as above; of a possible size.
            _ => unsafe { core::slice::from_raw_parts(backends, count) },
        };
        let avoid = usize::try_from(avoid).ok();
        let all = backends.iter().map(drywire_backend::policy);
        to.set(match drywire::guard::pick(&config, all, how, avoid, Tick(now_ns), random) {
            Pick::To(at) => {
                drywire_decision { num: at as u64, ..drywire_decision::of(DRYWIRE_PICK_TO) }
            }
            Pick::LocalShed => drywire_decision::of(DRYWIRE_PICK_SHED),
            Pick::NoneAlive => drywire_decision::of(DRYWIRE_PICK_NONE_ALIVE),
        });
        Ok(DRYWIRE_OK)
    }))
}

/// # Safety
/// `backend` is NULL or valid for reading and writing.
unsafe fn change(
    backend: *mut drywire_backend,
    f: impl FnOnce(&mut Backend) -> Result<()>,
) -> drywire_status {
    done(guarded(|| {
        if backend.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        // SAFETY: promised by the caller.
        let mut policy = unsafe { backend.read() }.policy();
        f(&mut policy)?;
        // SAFETY: promised by the caller.
        unsafe { backend.write(drywire_backend::of(policy)) };
        Ok(())
    }))
}
