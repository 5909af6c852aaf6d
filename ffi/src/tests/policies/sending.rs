//! What clients send, send again, and where to.

use super::{Numbers, made, ns, said, some};
use crate::policy::{pick::*, sending::*};
use crate::sized::Growing;
use crate::status::drywire_status::*;
use crate::types::DRYWIRE_NO_DEADLINE;
use core::ptr;
use drywire::Tick;
use drywire::guard::*;

pub(super) fn sending(n: &mut Numbers<'_>) {
    let (mut throttle, mut retry) =
        (drywire_throttle_options::DEFAULT, drywire_retry_options::DEFAULT);
    let (mut throttling, mut retrying) = (ThrottleConfig::DEFAULT, RetryConfig::DEFAULT);
    if n.bit() {
        (throttle.k_percent, throttle.most_percent) = (n.u32(), n.u32() % 256);
        throttle.window_ns = n.u64();
        throttling = ThrottleConfig {
            k_percent: throttle.k_percent,
            window: ns(throttle.window_ns),
            most_percent: throttle.most_percent as u8,
        };
        (retry.percent, retry.floor, retry.burst) = (n.u32(), n.u32(), n.u32() % 9);
        (retry.attempts, retry.backoff_ns, retry.backoff_max_ns) =
            (n.u32() % 256, n.u64(), n.u64());
        retrying = RetryConfig {
            percent: retry.percent,
            floor: retry.floor,
            burst: retry.burst,
            attempts: retry.attempts as u8,
            backoff: ns(retry.backoff_ns),
            backoff_max: ns(retry.backoff_max_ns),
        };
    }
    let mut now = n.u64();
    let (mut rust, mut budget) = (Throttle::new(Tick(now)), RetryBudget::new(&retrying, Tick(now)));
    // SAFETY: valid pointers throughout.
    let (mut c, mut c_budget) = unsafe {
        let c: drywire_throttle = made(|to, size| drywire_throttle_init(to, size, now));
        let budget: drywire_retry = made(|to, size| drywire_retry_init(to, size, &retry, now));
        (c, budget)
    };
    let outcomes = [Outcome::Ok, Outcome::Nack, Outcome::Error, Outcome::Timeout];
    for _ in 0..20 {
        now = n.later(&mut now);
        let random = n.u64();
        let expected = match rust.ask(&throttling, Tick(now), random) {
            Throttled::Send => 1,
            Throttled::LocalShed => 2,
        };
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_throttle_ask(&mut c, &throttle, now, random, d) });
        assert_eq!(found.0, (expected, 0, 0, 0));
        if n.bit() {
            rust.on_accepted(&throttling, Tick(now));
            budget.on_request(&retrying, Tick(now));
            // SAFETY: as above.
            unsafe {
                assert_eq!(drywire_throttle_accepted(&mut c, &throttle, now), DRYWIRE_OK);
                assert_eq!(drywire_retry_request(&mut c_budget, &retry, now), DRYWIRE_OK);
            }
        }
        let (attempt, reply, flags) = (n.u32() % 6, n.u32() % 4, n.u32() % 2);
        let (after, deadline) = (n.u64(), n.u64());
        let failed = Failed {
            attempt: attempt as u8,
            outcome: outcomes[reply as usize],
            retry_after: ns(after),
            idempotent: flags == 1,
            deadline: some(deadline),
        };
        let expected = match budget.may_retry(&retrying, Tick(now), &failed, random) {
            Retry::After(pause) => (1, 0, 0, pause.as_nanos() as u64),
            Retry::GiveUp => (2, 0, 0, 0),
        };
        // SAFETY: as above.
        let found = said(|d| unsafe {
            drywire_retry_ask(
                &mut c_budget,
                &retry,
                now,
                attempt,
                reply,
                flags,
                after,
                deadline,
                random,
                d,
            )
        });
        assert_eq!(found.0, expected);
        let (sent, p95) = (n.u64(), n.u64());
        let hedge = budget.may_hedge(&retrying, Tick(now), Tick(sent), ns(p95), flags == 1);
        let expected = match hedge {
            Hedge::At(at) => ((1, 0, 0, at.0), at.0),
            Hedge::Now => ((2, 0, 0, 0), DRYWIRE_NO_DEADLINE),
            Hedge::No => ((3, 0, 0, 0), DRYWIRE_NO_DEADLINE),
        };
        // SAFETY: as above.
        let found = said(|d| unsafe {
            drywire_retry_hedge(&mut c_budget, &retry, now, sent, p95, flags, d)
        });
        assert_eq!(found, expected);
        assert_eq!(c.state, <[u64; 12]>::from(rust));
        assert_eq!(c_budget.state, <[u64; 2]>::from(budget));
    }
}

pub(super) fn picking(n: &mut Numbers<'_>) {
    let mut options = drywire_pick_options::DEFAULT;
    let mut config = PickConfig::DEFAULT;
    if n.bit() {
        (options.pending_max, options.bound_percent) = (n.u32(), n.u32());
        (options.panic_percent, options.penalty) = (n.u32() % 256, n.u32());
        (options.out_after, options.half_life_ns) = (n.u32() % 256, n.u64());
        (options.out_for_ns, options.out_max_ns) = (n.u64(), n.u64());
        config = PickConfig {
            backend: BackendConfig {
                penalty: options.penalty,
                half_life: ns(options.half_life_ns),
                out_after: options.out_after as u8,
                out_for: ns(options.out_for_ns),
                out_max: ns(options.out_max_ns),
            },
            pending_max: options.pending_max,
            bound_percent: options.bound_percent,
            panic_percent: options.panic_percent as u8,
        };
    }
    let mut rust: Vec<Backend> = Vec::new();
    let mut c: Vec<drywire_backend> = Vec::new();
    for _ in 0..n.below(5) {
        let (key, weight) = (n.u64(), n.u32());
        rust.push(Backend::new(key, weight));
        let mut backend = core::mem::MaybeUninit::uninit();
        // SAFETY: valid pointers throughout; written by init.
        c.push(unsafe {
            assert_eq!(drywire_backend_init(backend.as_mut_ptr(), key, weight), DRYWIRE_OK);
            backend.assume_init()
        });
    }
    let outcomes = [Outcome::Ok, Outcome::Nack, Outcome::Error, Outcome::Timeout];
    let mut now = n.u64();
    for _ in 0..20 {
        now = n.later(&mut now);
        let (how, key, avoid, random) = (n.u32() % 2, n.u64(), n.below(6), n.u64());
        let by = if how == 0 { How::LeastPending } else { How::Keyed(key) };
        let picked = pick(&config, &rust, by, Some(avoid as usize), Tick(now), random);
        let expected = match picked {
            Pick::To(at) => (1, 0, at as u64, 0),
            Pick::LocalShed => (2, 0, 0, 0),
            Pick::NoneAlive => (3, 0, 0, 0),
        };
        let array = if c.is_empty() { ptr::null() } else { c.as_ptr() };
        // SAFETY: as above.
        let found = said(|d| unsafe {
            drywire_pick(&options, array, c.len(), how, key, avoid, now, random, d)
        });
        assert_eq!(found.0, expected);
        let Pick::To(at) = picked else { continue };
        rust[at].on_send();
        // SAFETY: as above.
        assert_eq!(unsafe { drywire_backend_sent(&mut c[at]) }, DRYWIRE_OK);
        let reply = n.u32() % 4;
        if n.bit() {
            rust[at].on_reply(&config.backend, Tick(now), outcomes[reply as usize]);
            let status =
                // SAFETY: as above.
                unsafe { drywire_backend_replied(&mut c[at], &options, now, reply) };
            assert_eq!(status, DRYWIRE_OK);
        }
        rust[at].draining = n.below(5) == 0;
        c[at].draining = u32::from(rust[at].draining) * 7;
        assert_eq!((c[at].key, c[at].weight), (rust[at].key, rust[at].weight));
        assert_eq!(c[at].pending, rust[at].pending);
    }
}
