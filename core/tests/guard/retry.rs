//! The client's side: the budget holds in every window, the throttle never closes.

use crate::ns;
use drywire::Tick;
use drywire::guard::{
    Failed, Hedge, Outcome, Retry, RetryBudget, RetryConfig, Throttle, ThrottleConfig, Throttled,
};
use proptest::prelude::*;
use std::time::Duration;

const MS: u64 = 1_000_000;

#[derive(Clone, Debug)]
enum Op {
    Request,
    Retry,
    Hedge,
}

proptest! {
    #[test]
    fn retries_are_within_the_budget_in_every_window(
        ops in prop::collection::vec(
            (0u64..400, prop_oneof![5 => Just(Op::Request), 3 => Just(Op::Retry), 1 => Just(Op::Hedge)]),
            1..250,
        ),
        percent in 0u32..40, floor in 0u32..5, burst in 0u32..10,
    ) {
        let config = RetryConfig { percent, floor, burst, ..RetryConfig::DEFAULT };
        let mut budget = RetryBudget::new(&config, Tick::ZERO);
        let mut now = Tick::ZERO;
        let mut log = Vec::new();
        for (dt, op) in ops {
            now = now + ns(dt * MS);
            let sent = match op {
                Op::Request => {
                    budget.on_request(&config, now);
                    log.push((now, 1u64, 0u64));
                    continue;
                }
                Op::Retry => {
                    let failed = Failed::new(Outcome::Nack);
                    matches!(budget.may_retry(&config, now, &failed, 0), Retry::After(_))
                }
                Op::Hedge => budget.may_hedge(&config, now, Tick::ZERO, ns(0), true) == Hedge::Now,
            };
            log.push((now, 0, u64::from(sent)));
        }
        for from in 0..log.len() {
            let (mut requests, mut retries) = (0, 0);
            for (at, request, retry) in &log[from..] {
                requests += request;
                retries += retry;
                let seconds = (at.0 - log[from].0.0) as f64 / 1e9;
                let allowed = f64::from(percent) / 100.0 * requests as f64
                    + f64::from(floor) * seconds
                    + f64::from(burst);
                prop_assert!(retries as f64 <= allowed + 1e-6, "{retries} of {allowed}");
            }
        }
    }

    /// Pauses double between their halves, and what the server asked for is honoured.
    #[test]
    fn pauses_double_and_are_spread(attempt in 1u8..200, random: u64, asked in 0u64..3000) {
        let config = RetryConfig { attempts: 255, ..RetryConfig::DEFAULT };
        let mut budget = RetryBudget::new(&config, Tick::ZERO);
        let failed = Failed {
            attempt,
            retry_after: Duration::from_millis(asked),
            ..Failed::new(Outcome::Nack)
        };
        let Retry::After(pause) = budget.may_retry(&config, Tick::ZERO, &failed, random) else {
            panic!("within the budget");
        };
        let most = (10u64 << (attempt - 1).min(10)).min(1000);
        let (least, most) = ((most / 2).max(asked), most.max(asked));
        prop_assert!(pause >= Duration::from_millis(least) && pause <= Duration::from_millis(most));
    }

    /// Whatever was refused, a probe gets out.
    #[test]
    fn the_throttle_never_closes(
        asks in prop::collection::vec((0u64..1 << 40, any::<u64>(), any::<bool>()), 0..300),
        k_percent: u32, most_percent: u8,
    ) {
        let config = ThrottleConfig { k_percent, most_percent, ..ThrottleConfig::DEFAULT };
        let mut throttle = Throttle::new(Tick::ZERO);
        let mut now = Tick::ZERO;
        for (dt, random, accepted) in asks {
            now = now + ns(dt);
            let _ = throttle.ask(&config, now, random);
            if accepted {
                throttle.on_accepted(&config, now);
            }
            prop_assert_eq!(throttle.clone().ask(&config, now, u64::MAX), Throttled::Send);
        }
        // Everything is forgotten after the window.
        now = now + config.window + config.window;
        prop_assert_eq!(throttle.ask(&config, now, 0), Throttled::Send);
    }

    /// Against the formula.
    #[test]
    fn the_throttle_follows_its_formula(requests in 0u64..500, accepted in 0u64..500, random: u64) {
        let accepted = accepted.min(requests);
        let config = ThrottleConfig::DEFAULT;
        let mut throttle = Throttle::new(Tick::ZERO);
        for i in 0..requests {
            let _ = throttle.ask(&config, Tick::ZERO, 0);
            if i < accepted {
                throttle.on_accepted(&config, Tick::ZERO);
            }
        }
        let reject = (requests as f64 - 2.0 * accepted as f64) / (requests as f64 + 1.0);
        let reject = reject.clamp(0.0, 0.9);
        let draw = random as f64 / 2f64.powi(64);
        prop_assume!((draw - reject).abs() > 1e-9);
        let verdict = throttle.ask(&config, Tick::ZERO, random);
        prop_assert_eq!(verdict == Throttled::LocalShed, draw < reject);
    }
}

#[test]
fn what_may_be_sent_again() {
    let config = RetryConfig::DEFAULT;
    let again = |failed: &Failed| {
        let mut budget = RetryBudget::new(&config, Tick::ZERO);
        matches!(budget.may_retry(&config, Tick::ZERO, failed, u64::MAX), Retry::After(_))
    };
    let nack = Failed::new(Outcome::Nack);
    let timeout = Failed::new(Outcome::Timeout);
    assert!(again(&nack));
    assert!(!again(&timeout), "it may have been executed");
    assert!(again(&Failed { idempotent: true, ..timeout }));
    assert!(!again(&Failed { idempotent: true, ..Failed::new(Outcome::Ok) }));
    assert!(!again(&Failed { attempt: 3, ..nack }));
    assert!(!again(&Failed { deadline: Some(Tick(9 * MS)), ..nack }), "it would come too late");
    assert!(again(&Failed { deadline: Some(Tick(11 * MS)), ..nack }));
}

#[test]
fn a_hedge_waits_for_its_moment() {
    let config = RetryConfig { burst: 1, floor: 0, ..RetryConfig::DEFAULT };
    let mut budget = RetryBudget::new(&config, Tick::ZERO);
    let p95 = ns(100);
    assert_eq!(budget.may_hedge(&config, Tick(50), Tick(10), p95, true), Hedge::At(Tick(110)));
    assert_eq!(budget.may_hedge(&config, Tick(110), Tick(10), p95, false), Hedge::No);
    assert_eq!(budget.may_hedge(&config, Tick(110), Tick(10), p95, true), Hedge::Now);
    assert_eq!(budget.may_hedge(&config, Tick(110), Tick(10), p95, true), Hedge::No, "spent");
}
