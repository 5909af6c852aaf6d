//! Balancing by request: which backend gets the next one.
//!
//! **Decides** from what this client knows: requests pending, penalties, weights, who drains and
//! who is out.
//!
//! * [`How::LeastPending`]: two backends are drawn by weight, the one with the lower cost for its
//!   weight gets the request. Nearly as even as asking all, without the herd to the idlest.
//! * [`How::Keyed`]: each key has its order of backends (rendezvous hashing, weighted); it goes to
//!   the first whose load is below `bound` × the mean. When a backend leaves, only its keys move.
//!
//! Backends that drain, have no weight or are to be avoided are never picked. Those that are out
//! after failures are not either, unless that leaves fewer than `panic_percent` of all: then the
//! fault is more likely ours, and all are tried.
//!
//! **Units**: requests, percent. **Work**: one or two passes over the backends. **No deadline.**
//!
//! **Sources**: M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001;
//! D. Thaler and C. Ravishankar, "Using name-based mappings to increase hit rates", 1998;
//! V. Mirrokni et al., "Consistent hashing with bounded loads", 2018; Envoy's panic threshold.
//!
//! ```
//! use drywire::Tick;
//! use drywire::guard::{Backend, How, Pick, PickConfig, pick};
//!
//! let config = PickConfig::DEFAULT;
//! let mut backends = [Backend::new(11, 1), Backend::new(22, 1)];
//! backends[0].pending = 5;
//! let now = Tick::ZERO;
//! assert_eq!(pick(&config, &backends, How::LeastPending, None, now, 42), Pick::To(1));
//! backends[1].draining = true;
//! assert_eq!(pick(&config, &backends, How::LeastPending, None, now, 42), Pick::To(0));
//! // A retry does not go back to where it failed.
//! assert_eq!(pick(&config, &backends, How::LeastPending, Some(0), now, 42), Pick::NoneAlive);
//! ```

use crate::guard::backend::REQUEST;
use crate::guard::{Backend, BackendConfig};
use crate::tick::Tick;
use core::borrow::Borrow;
use core::cmp::Ordering;

/// How to balance. Configuration of [`pick()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickConfig {
    /// What failures cost.
    pub backend: BackendConfig,
    /// Requests pending at one backend at most; [`Pick::LocalShed`] when all have that many.
    /// Default no limit.
    pub pending_max: u32,
    /// For keyed traffic: the most that one backend may have pending, in percent of the mean; 0
    /// for no bound, otherwise at least 100. Default 125.
    pub bound_percent: u32,
    /// With fewer than this share of the backends in, those that are out are tried too. Default 50.
    pub panic_percent: u8,
}

impl PickConfig {
    /// Defaults.
    pub const DEFAULT: Self = Self {
        backend: BackendConfig::DEFAULT,
        pending_max: u32::MAX,
        bound_percent: 125,
        panic_percent: 50,
    };
}

impl Default for PickConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// By what a request is balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Any backend can serve it.
    LeastPending,
    /// Requests with the same hash of their key go to the same backend where possible.
    Keyed(u64),
}

/// Where it goes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To the backend with this index.
    To(usize),
    /// Nowhere: all backends have as many pending as they may have.
    LocalShed,
    /// Nowhere: none is left that may be picked.
    NoneAlive,
}

/// Picks a backend. `backends` is walked a few times: a slice, or whatever yields them in the same
/// order each time. `avoid` is the one that failed, for a retry. `random` is uniform.
pub fn pick<I>(
    config: &PickConfig,
    backends: I,
    how: How,
    avoid: Option<usize>,
    now: Tick,
    random: u64,
) -> Pick
where
    I: IntoIterator<Item: Borrow<Backend>, IntoIter: Clone>,
{
    let pool = Pool::new(config, backends.into_iter(), avoid, now);
    if pool.alive().next().is_none() {
        return Pick::NoneAlive;
    }
    let picked = match how {
        How::LeastPending => pool.least_pending(random),
        How::Keyed(key) => pool.keyed(key),
    };
    picked.map_or(Pick::LocalShed, Pick::To)
}

/// The backends that may be picked.
struct Pool<'a, I> {
    config: &'a PickConfig,
    backends: I,
    avoid: Option<usize>,
    now: Tick,
    /// Also those that are out.
    panic: bool,
}

impl<'a, I> Pool<'a, I>
where
    I: Iterator<Item: Borrow<Backend>> + Clone,
{
    fn new(config: &'a PickConfig, backends: I, avoid: Option<usize>, now: Tick) -> Self {
        let mut pool = Self { config, backends, avoid, now, panic: true };
        let all = pool.alive().count() as u128;
        let healthy = pool.alive().filter(|(_, b)| !b.borrow().is_out(now)).count() as u128;
        pool.panic = healthy * 100 < all * u128::from(config.panic_percent) || healthy == 0;
        pool
    }

    fn alive(&self) -> impl Iterator<Item = (usize, I::Item)> {
        let (avoid, now, panic) = (self.avoid, self.now, self.panic);
        self.backends.clone().enumerate().filter(move |(i, b)| {
            let b = b.borrow();
            b.weight > 0 && !b.draining && Some(*i) != avoid && (panic || !b.is_out(now))
        })
    }

    /// Those that can take one more.
    fn open(&self) -> impl Iterator<Item = (usize, I::Item)> {
        let most = self.config.pending_max;
        self.alive().filter(move |(_, b)| b.borrow().pending < most)
    }

    fn least_pending(&self, random: u64) -> Option<usize> {
        let (first, a) = self.draw(random, None)?;
        let Some((second, b)) = self.draw(mix(random), Some(first)) else { return Some(first) };
        let cost = |b: &Backend| u128::from(b.cost(&self.config.backend, self.now));
        let (a, b) = (a.borrow(), b.borrow());
        if cost(b) * u128::from(a.weight) < cost(a) * u128::from(b.weight) {
            Some(second)
        } else {
            Some(first)
        }
    }

    /// One of the open backends but `except`, in proportion to the weights.
    fn draw(&self, random: u64, except: Option<usize>) -> Option<(usize, I::Item)> {
        let candidates = || self.open().filter(|(i, _)| Some(*i) != except);
        let total: u128 = candidates().map(|(_, b)| u128::from(b.borrow().weight)).sum();
        let mut at = (total * u128::from(random)) >> 64;
        for (i, b) in candidates() {
            match at.checked_sub(u128::from(b.borrow().weight)) {
                Some(rest) => at = rest,
                None => return Some((i, b)),
            }
        }
        None
    }

    fn keyed(&self, key: u64) -> Option<usize> {
        let weights: u128 = self.open().map(|(_, b)| u128::from(b.borrow().weight)).sum();
        let load: u128 = self.open().map(|(_, b)| u128::from(b.borrow().pending)).sum();
        let bound = match self.config.bound_percent {
            0 => None,
            percent => Some(u128::from(percent.max(100))),
        };
        let below = |b: &Backend, pending: u128| {
            bound.is_none_or(|percent| {
                let cap = (percent * (load + 1) * u128::from(b.weight)).div_ceil(100 * weights);
                pending < cap
            })
        };
        // Penalties push keys away; if all are penalised, they cancel out.
        let with_penalty = |b: &Backend| {
            u128::from(b.cost(&self.config.backend, self.now) / REQUEST).saturating_sub(1)
        };
        let first = |ok: &dyn Fn(&Backend) -> bool| {
            self.open()
                .filter(|(_, b)| ok(b.borrow()))
                .max_by(|a, b| rank(key, a.1.borrow(), b.1.borrow()))
                .map(|(i, _)| i)
        };
        first(&|b| below(b, with_penalty(b)))
            .or_else(|| first(&|b| below(b, u128::from(b.pending))))
    }
}

/// Which of two backends comes first for a key: the higher weight / -ln(hash / 2^64).
fn rank(key: u64, a: &Backend, b: &Backend) -> Ordering {
    let score = |b: &Backend| distance(mix(key ^ mix(b.key)));
    let left = u128::from(a.weight) * u128::from(score(b));
    let right = u128::from(b.weight) * u128::from(score(a));
    left.cmp(&right).then(a.key.cmp(&b.key))
}

/// -log2(x / 2^64) in units of 2^-32, at least 1.
fn distance(x: u64) -> u64 {
    const FRACTION: u32 = 32;
    let x = x.max(1);
    let zeros = x.leading_zeros();
    // In [1, 2), 63 bits after the point; each squaring yields one bit of the logarithm.
    let mut y = x << zeros;
    let mut log = 0u64;
    for _ in 0..FRACTION {
        let square = (u128::from(y) * u128::from(y)) >> 63;
        let over = square >> 64 != 0;
        log = log << 1 | u64::from(over);
        y = (square >> u32::from(over)) as u64;
    }
    let log = (u64::from(63 - zeros) << FRACTION) + log;
    ((64u64 << FRACTION) - log).max(1)
}

/// Spreads every bit over all (the finaliser of splitmix64).
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
