//! When the host's epoch is does not show in any decision, nor (where nothing is counted per
//! second) how long a unit of time is. Admission, the out gate, the heartbeat and drain have the
//! same in their own files.

use crate::ns;
use drywire::Tick;
use drywire::guard::{
    Backend, BackendConfig, Failed, Heartbeat, HeartbeatConfig, How, Line, OutGate, OutGateConfig,
    Outcome, Patience, PatienceConfig, Phi, PhiConfig, PickConfig, PingFlood, PingFloodConfig,
    Progress, RetryBudget, RetryConfig, StallGuard, Throttle, ThrottleConfig, pick,
};
use proptest::prelude::*;

/// Time that passes, what happens then, and chance.
type Script = Vec<(u64, u8, u64)>;

fn script() -> impl Strategy<Value = Script> {
    prop::collection::vec((0u64..40, any::<u8>(), any::<u64>()), 0..120)
}

/// What a policy says along a script that begins at `start`, with times `scale` times as long.
fn along(
    script: &Script,
    start: u64,
    scale: u64,
    mut step: impl FnMut(Tick, u8, u64) -> String,
) -> Vec<String> {
    let mut now = start;
    let each = |(gap, what, random): &(u64, u8, u64)| {
        now += gap * scale;
        step(Tick(now), *what, *random)
    };
    script.iter().map(each).collect()
}

/// Times in an answer are relative to the moment it was given.
fn ahead(at: Option<Tick>, now: Tick, scale: u64) -> Option<u64> {
    at.map(|at| at.since(now).as_nanos() as u64 / scale)
}

const OUTCOMES: [Outcome; 4] = [Outcome::Ok, Outcome::Nack, Outcome::Error, Outcome::Timeout];
/// Long after any state that says "never yet".
const BASE: u64 = 1 << 40;

fn patience(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let config = PatienceConfig { idle: ns(90 * scale), request: ns(130 * scale) };
    let mut patience = Patience::new(Tick(start));
    along(script, start, scale, |now, what, _| {
        let lapse = patience.poll(&config, now);
        patience.observe(
            now,
            match what % 4 {
                0 => Progress::Idle,
                1 => Progress::NextPartial,
                2 => Progress::Busy,
                _ => Progress::Partial,
            },
        );
        format!("{lapse:?} {:?}", ahead(patience.deadline(&config), now, scale))
    })
}

fn out_gate(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let config = OutGateConfig {
        hard: 300,
        soft: 100,
        soft_for: ns(100 * scale),
        no_progress: ns(70 * scale),
        ..OutGateConfig::CHAT
    };
    let (mut gate, mut pending) = (OutGate::new(), 0);
    along(script, start, scale, |now, what, random| {
        let kick = gate.poll(&config, now, pending);
        if what % 3 == 0 {
            pending = pending.saturating_sub(random as usize % 200);
            gate.sent(&config, now, random as usize % 200, pending);
        } else {
            pending = (pending + usize::from(what)).min(300);
            gate.observe(&config, now, pending);
        }
        format!("{kick:?} {:?}", ahead(gate.deadline(&config, pending), now, scale))
    })
}

fn ping_flood(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let config = PingFloodConfig { gap: ns(50 * scale), ..PingFloodConfig::DEFAULT };
    let mut flood = PingFlood::new();
    along(script, start, scale, |now, _, _| format!("{:?}", flood.on_peer_ping(&config, now)))
}

fn stall_guard(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let mut guard = StallGuard::new(Tick(start));
    along(script, start, scale, |now, what, random| {
        let due = (what % 2 == 0).then(|| Tick(now.0 - (random % 30 * scale).min(now.0)));
        let gap = guard.woke(ns(10 * scale), now, due);
        format!("{:?}", gap.map(|gap| gap.as_nanos() as u64 / scale))
    })
}

fn balancer(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let backend = BackendConfig {
        half_life: ns(64 * scale),
        out_after: 2,
        out_for: ns(60 * scale),
        out_max: ns(200 * scale),
        ..BackendConfig::DEFAULT
    };
    let config = PickConfig { backend, ..PickConfig::DEFAULT };
    let mut pool = [1, 2, 3].map(|key| Backend::new(key, 1));
    along(script, start, scale, |now, what, random| {
        let which = usize::from(what) % 3;
        if what % 2 == 0 {
            pool[which].on_send();
        } else {
            pool[which].on_reply(&backend, now, OUTCOMES[usize::from(what >> 4) % 4]);
        }
        let costs = pool.map(|backend| backend.cost(&config.backend, now));
        let how = if what % 5 == 0 { How::Keyed(random) } else { How::LeastPending };
        format!("{:?} {costs:?}", pick(&config, pool, how, None, now, random))
    })
}

fn throttle(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let config = ThrottleConfig { window: ns(1000 * scale), ..ThrottleConfig::DEFAULT };
    let mut throttle = Throttle::new(Tick(start));
    along(script, start, scale, |now, what, random| {
        if what % 3 == 0 {
            throttle.on_accepted(&config, now);
        }
        format!("{:?}", throttle.ask(&config, now, random))
    })
}

fn retries(script: &Script, start: u64) -> Vec<String> {
    const MS: u64 = 1_000_000;
    let config = RetryConfig::DEFAULT;
    let mut budget = RetryBudget::new(&config, Tick(start));
    along(script, start, MS, |now, what, random| {
        if what % 2 == 0 {
            budget.on_request(&config, now);
        }
        let failed =
            Failed { attempt: 1 + what % 4, ..Failed::new(OUTCOMES[usize::from(what >> 4) % 4]) };
        let sent = Tick(now.0 - random % (50 * MS));
        let hedge = budget.may_hedge(&config, now, sent, ns(20 * MS), true);
        let hedge = format!("{hedge:?}").replace(|c: char| c.is_ascii_digit(), "");
        format!("{:?} {hedge}", budget.may_retry(&config, now, &failed, random))
    })
}

fn phi(script: &Script, start: u64) -> Vec<String> {
    let config = PhiConfig::DEFAULT;
    let mut phi = Phi::new(&config, Tick(start), ns(1_000_000_000));
    along(script, start, 100_000_000, |now, _, _| {
        let suspects = phi.suspects(&config, now);
        phi.on_beat(&config, now);
        format!("{suspects} {:?}", ahead(Some(phi.deadline(&config)), now, 1))
    })
}

fn heartbeat(script: &Script, start: u64, scale: u64) -> Vec<String> {
    let config = HeartbeatConfig {
        interval: ns(100 * scale),
        timeout: ns(300 * scale),
        pong: ns(100 * scale),
        stall: ns(200 * scale),
    };
    // Without jitter, which is a share of the interval in whole nanoseconds.
    let mut beat = Heartbeat::new(&config, Tick(start), 0);
    along(script, start, scale, |now, what, _| {
        if what % 4 == 0 {
            beat.received(now);
        }
        let said = beat.poll(&config, now, &Line::IDLE);
        beat.ping_left(now);
        format!("{said:?} {:?}", ahead(beat.deadline(&config, &Line::IDLE), now, scale))
    })
}

proptest! {
    #[test]
    fn the_epoch_and_the_unit_do_not_show(script in script(), shift in 0u64..1 << 60, scale in 1u64..1000) {
        let policies = [patience, out_gate, ping_flood, stall_guard, balancer, throttle, heartbeat];
        for (number, run) in policies.into_iter().enumerate() {
            let base = run(&script, BASE, 1);
            prop_assert_eq!(&run(&script, BASE + shift, 1), &base, "epoch, policy {}", number);
            prop_assert_eq!(&run(&script, BASE, scale), &base, "unit, policy {}", number);
        }
        for (number, run) in [retries, phi].into_iter().enumerate() {
            prop_assert_eq!(run(&script, BASE + shift), run(&script, BASE), "epoch, policy {}", number);
        }
    }
}
