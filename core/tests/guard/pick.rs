//! Balancing: who may be picked, who is, and how little moves.

use drywire::Tick;
use drywire::guard::{Backend, BackendConfig, How, Outcome, Pick, PickConfig, pick};
use proptest::prelude::*;
use std::time::Duration;

const NOW: Tick = Tick::from_secs(1000);
const CONFIG: PickConfig = PickConfig::DEFAULT;

fn backends() -> impl Strategy<Value = Vec<Backend>> {
    let backend = (0u32..5, 0u32..50, prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    prop::collection::vec(backend, 0..12).prop_map(|backends| {
        backends
            .into_iter()
            .enumerate()
            .map(|(i, (weight, pending, draining, out))| {
                let mut backend = Backend::new(i as u64 * 7 + 1, weight);
                if out {
                    for _ in 0..CONFIG.backend.out_after {
                        backend.on_reply(&CONFIG.backend, NOW, Outcome::Error);
                    }
                }
                backend.pending = pending;
                backend.draining = draining;
                backend
            })
            .collect()
    })
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![Just(How::LeastPending), any::<u64>().prop_map(How::Keyed)]
}

proptest! {
    #[test]
    fn only_the_living_are_picked(
        backends in backends(), how in how(), random: u64, avoid in prop::option::of(0usize..12),
    ) {
        let may = |i: usize, b: &Backend| b.weight > 0 && !b.draining && Some(i) != avoid;
        let alive = backends.iter().enumerate().filter(|(i, b)| may(*i, b)).count();
        let healthy =
            backends.iter().enumerate().filter(|(i, b)| may(*i, b) && !b.is_out(NOW)).count();
        match pick(&CONFIG, &backends, how, avoid, NOW, random) {
            Pick::To(i) => {
                prop_assert!(may(i, &backends[i]));
                let panic = healthy * 2 < alive;
                prop_assert!(panic || healthy == 0 || !backends[i].is_out(NOW));
            }
            Pick::NoneAlive => prop_assert_eq!(alive, 0),
            Pick::LocalShed => prop_assert!(false, "there is no limit on pending"),
        }
        // The limit on pending is the only reason for a local refusal.
        let config = PickConfig { pending_max: 25, ..CONFIG };
        match pick(&config, &backends, how, avoid, NOW, random) {
            Pick::To(i) => prop_assert!(backends[i].pending < 25),
            Pick::LocalShed => prop_assert!(alive > 0),
            Pick::NoneAlive => prop_assert_eq!(alive, 0),
        }
    }

    /// Of two, the better one; of more, never the one that is worse than all others.
    #[test]
    fn two_choices_never_take_the_worst(
        backends in prop::collection::vec((1u32..5, 0u32..50), 2..6), random: u64,
    ) {
        let new = |(i, (weight, pending)): (usize, (u32, u32))| {
            let mut backend = Backend::new(i as u64, weight);
            backend.pending = pending;
            backend
        };
        let backends: Vec<Backend> = backends.into_iter().enumerate().map(new).collect();
        let Pick::To(picked) = pick(&CONFIG, &backends, How::LeastPending, None, NOW, random) else {
            panic!("all are alive");
        };
        let cost = |i: usize| {
            let b = &backends[i];
            b.cost(&CONFIG.backend, NOW) as f64 / f64::from(b.weight)
        };
        let mut others = (0..backends.len()).filter(|i| *i != picked);
        prop_assert!(others.any(|i| cost(i) >= cost(picked)));
    }

    /// A picked backend stays within ceil(bound * mean) of its share.
    #[test]
    fn keyed_load_is_bounded(
        pending in prop::collection::vec((1u32..4, 0u32..40), 1..10), key: u64, percent in 100u32..300,
    ) {
        let config = PickConfig { bound_percent: percent, ..CONFIG };
        let backends: Vec<Backend> = pending
            .iter()
            .enumerate()
            .map(|(i, (weight, pending))| {
                let mut backend = Backend::new(i as u64, *weight);
                backend.pending = *pending;
                backend
            })
            .collect();
        let Pick::To(i) = pick(&config, &backends, How::Keyed(key), None, NOW, 0) else {
            panic!("one is below the mean");
        };
        let load: u64 = pending.iter().map(|(_, pending)| u64::from(*pending)).sum::<u64>() + 1;
        let weights: u64 = pending.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let cap = (u64::from(percent) * load * u64::from(pending[i].0)).div_ceil(100 * weights);
        prop_assert!(u64::from(backends[i].pending) < cap);
    }

    /// When a backend leaves, its keys move and no others; when it comes back they return.
    #[test]
    fn only_the_keys_of_the_one_that_left_move(weights in prop::collection::vec(1u32..5, 2..10), gone: prop::sample::Index) {
        let config = PickConfig { bound_percent: 0, ..CONFIG };
        let all: Vec<Backend> =
            weights.iter().enumerate().map(|(i, weight)| Backend::new(i as u64 + 1, *weight)).collect();
        let gone = gone.index(all.len());
        let mut less = all.clone();
        less[gone].draining = true;
        for key in 0..300u64 {
            let key = key.wrapping_mul(0x1234_5678_9abc_def1);
            let before = pick(&config, &all, How::Keyed(key), None, NOW, 0);
            let after = pick(&config, &less, How::Keyed(key), None, NOW, 0);
            if before == Pick::To(gone) {
                prop_assert_ne!(after, before);
            } else {
                prop_assert_eq!(after, before);
            }
        }
    }

    /// A refusal raises the cost, and the rise is forgotten.
    #[test]
    fn a_refusal_never_attracts(mut backends in backends(), ages in prop::collection::vec(0u64..5_000_000_000, 1..20)) {
        prop_assume!(!backends.is_empty());
        let backend = &mut backends[0];
        let config = BackendConfig::DEFAULT;
        let mut now = NOW;
        for age in ages {
            now = now + Duration::from_nanos(age);
            let before = backend.cost(&config, now);
            backend.on_send();
            backend.on_reply(&config, now, Outcome::Nack);
            prop_assert!(backend.cost(&config, now) > before);
            prop_assert!(!backend.is_out(now) || backend.is_out(NOW), "a refusal is no failure");
            let later = now + Duration::from_nanos(age);
            prop_assert!(backend.cost(&config, later) <= backend.cost(&config, now), "it decays");
        }
        let pending = 256 * (u64::from(backend.pending) + 1);
        prop_assert_eq!(backend.cost(&config, now + Duration::from_secs(100)), pending);
    }
}

/// Shares of many picks, in percent.
fn shares(backends: &[Backend], picks: impl Iterator<Item = Pick>) -> Vec<f64> {
    let mut counts = vec![0u32; backends.len()];
    let mut total = 0;
    for pick in picks {
        let Pick::To(i) = pick else { panic!("{pick:?}") };
        counts[i] += 1;
        total += 1;
    }
    counts.into_iter().map(|n| f64::from(n) * 100.0 / f64::from(total)).collect()
}

#[test]
fn keys_are_spread_by_weight() {
    let config = PickConfig { bound_percent: 0, ..CONFIG };
    let backends = [Backend::new(10, 1), Backend::new(20, 2), Backend::new(30, 5)];
    let keys = (0..40_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let shares =
        shares(&backends, keys.map(|key| pick(&config, backends, How::Keyed(key), None, NOW, 0)));
    for (share, ideal) in shares.iter().zip([12.5, 25.0, 62.5]) {
        assert!((share - ideal).abs() < 1.0, "{share} for {ideal}");
    }
}

#[test]
fn an_idle_pool_is_used_by_weight() {
    let backends = [Backend::new(1, 1), Backend::new(2, 1), Backend::new(3, 2), Backend::new(4, 4)];
    let mut pool = backends;
    let mut random = 7u64;
    // Requests come and go, ten at a time under way.
    let mut under_way = std::collections::VecDeque::new();
    let picks = (0..20_000).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let picked = pick(&CONFIG, pool, How::LeastPending, None, NOW, random);
        if let Pick::To(i) = picked {
            pool[i].on_send();
            under_way.push_back(i);
        }
        if under_way.len() > 10 {
            let done = under_way.pop_front().unwrap();
            pool[done].on_reply(&CONFIG.backend, NOW, Outcome::Ok);
        }
        picked
    });
    let shares = shares(&backends, picks.collect::<Vec<_>>().into_iter());
    for (share, ideal) in shares.iter().zip([12.5, 12.5, 25.0, 50.0]) {
        // The strong ones get a little more while there is little to do.
        assert!((share - ideal).abs() < 7.0, "{share} for {ideal}");
    }
}

#[test]
fn failures_in_a_row_put_a_backend_out_longer_each_time() {
    let config = BackendConfig::DEFAULT;
    let mut backend = Backend::new(1, 1);
    let mut now = NOW;
    for times in 1..=40u64 {
        for failure in 1..=5 {
            backend.on_reply(&config, now, Outcome::Timeout);
            assert_eq!(backend.is_out(now), failure == 5);
        }
        let span = Duration::from_secs((10 * times).min(300));
        assert!(backend.is_out(now + span - Duration::from_nanos(1)));
        now = now + span;
        assert!(!backend.is_out(now));
    }
}
