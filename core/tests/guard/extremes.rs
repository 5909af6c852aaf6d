//! Nothing panics, whatever the numbers: every combination of the extremes, and any others.

use drywire::Tick;
use drywire::guard::{
    Admission, AdmitConfig, Ask, Backend, BackendConfig, Band, Buffered, Drain, DrainConfig,
    DrainStep, Failed, Heartbeat, HeartbeatConfig, How, InFlight, Line, OutGate, OutGateConfig,
    Outcome, Patience, PatienceConfig, Phi, PhiConfig, PickConfig, PingFlood, PingFloodConfig,
    Progress, ReadGate, ReadGateConfig, RefusalPause, RefusalWindow, RetryBudget, RetryConfig,
    StallGuard, Throttle, ThrottleConfig, Waited, WhenFull, pick,
};
use proptest::prelude::*;
use std::fmt::Debug;
use std::time::Duration;

const EXTREMES: [u64; 3] = [0, 1, u64::MAX];

/// A source of numbers: a list read round and round.
struct Numbers<'a>(std::iter::Cycle<std::slice::Iter<'a, u64>>);

impl Numbers<'_> {
    fn u64(&mut self) -> u64 {
        *self.0.next().unwrap()
    }
    fn size(&mut self) -> usize {
        self.u64() as usize
    }
    fn small(&mut self) -> u32 {
        self.u64() as u32
    }
    fn byte(&mut self) -> u8 {
        self.u64() as u8
    }
    fn tick(&mut self) -> Tick {
        Tick(self.u64())
    }
    /// Also spans that do not fit into 64 bits of nanoseconds.
    fn span(&mut self) -> Duration {
        match self.u64() {
            u64::MAX => Duration::MAX,
            n => Duration::from_nanos(n),
        }
    }
    fn maybe(&mut self) -> Option<Tick> {
        (!self.u64().is_multiple_of(3)).then(|| self.tick())
    }
    /// The same state, or any other: states are plain numbers and back, and any numbers are one.
    fn state<S, const N: usize>(&mut self, state: S) -> S
    where
        S: Copy + Debug + PartialEq + From<[u64; N]>,
        [u64; N]: From<S>,
    {
        let any = S::from(std::array::from_fn(|_| self.u64()));
        for state in [state, any] {
            assert_eq!(S::from(<[u64; N]>::from(state)), state);
        }
        if self.u64().is_multiple_of(2) { state } else { any }
    }
}

fn admit(n: &mut Numbers<'_>) {
    let config = AdmitConfig {
        budget: n.span(),
        give_up: n.span(),
        target: n.span(),
        interval: n.span(),
        shares: [n.byte(), n.byte(), n.byte(), n.byte()],
        queue_max: n.size(),
        queue_bytes: n.size(),
        conn_out: n.size(),
        service_guess: n.span(),
    };
    let _ = AdmitConfig::for_deadline(n.span());
    let mut admission = Admission::new(&config, n.tick());
    for _ in 0..4 {
        let ask = Ask {
            now: n.tick(),
            queue_len: n.size(),
            queue_bytes: n.size(),
            workers: n.small(),
            oldest: n.maybe(),
            class: n.byte(),
            cost: n.maybe().map(|t| Duration::from_nanos(t.0)),
            deadline: n.maybe(),
            conn_out: n.size(),
            conn_waiting: n.size(),
            conns_waiting: n.size(),
            conn_crowded: n.maybe(),
            draining: n.u64().is_multiple_of(2),
        };
        admission = n.state(admission);
        let _ = admission.admit(&config, &ask);
        let waited = Waited { now: n.tick(), expires_at: n.tick(), left: n.size() };
        let _ = admission.on_dequeue(&waited);
        admission.on_complete(n.span());
        let _ = admission.standing(n.tick());
    }
}

fn gates(n: &mut Numbers<'_>) {
    let mut band = || Band::new(n.size(), n.size());
    let config = ReadGateConfig {
        conn_in: band(),
        conn_out: band(),
        queue: band(),
        total: band(),
        turn_messages: n.small(),
        turn_bytes: n.size(),
    };
    let mut gate = ReadGate::new();
    for _ in 0..4 {
        let now =
            Buffered { conn_in: n.size(), conn_out: n.size(), queue: n.size(), total: n.size() };
        gate = n.state(gate);
        let _ = gate.poll(&config, &now);
        gate.took(n.size(), n.small());
    }
    gate.new_turn();
    let open = gate.poll(&config, &Buffered::NOTHING);
    assert!(matches!(open, drywire::guard::Read::Go { .. }), "stuck: {config:?}");

    let mut window = RefusalWindow::new();
    let mut pause = RefusalPause::new();
    for _ in 0..4 {
        (window, pause) = (n.state(window), n.state(pause));
        let (length, now) = (n.span(), n.tick());
        let end = window.refused(length, n.small(), n.small(), now);
        assert!(end.is_none_or(|end| now < end && end <= now + length), "longer than a pause");
        pause.refused(end);
        pause.drained();
        pause.poll(n.tick());
        let _ = (pause.deadline(), pause.holds_input(), pause.holds_output());
    }
    pause.poll(Tick::MAX);
    assert!(!pause.holds_input(), "stuck");

    let config = OutGateConfig {
        hard: n.size(),
        soft: n.size(),
        soft_for: n.span(),
        no_progress: n.span(),
        full: WhenFull::DropOldest,
        stall: n.size(),
        stall_each: n.span(),
        stall_total: n.span(),
    };
    let mut gate = OutGate::new();
    for _ in 0..4 {
        gate = n.state(gate);
        let _ = gate.offer(&config, n.tick(), n.size(), n.size(), n.u64().is_multiple_of(2));
        gate.sent(&config, n.tick(), n.size(), n.size());
        gate.stalled(n.span());
        let _ = gate.deadline(&config, n.size());
        let _ = gate.poll(&config, n.tick(), n.size());
    }
}

fn beats(n: &mut Numbers<'_>) {
    let config =
        HeartbeatConfig { interval: n.span(), timeout: n.span(), pong: n.span(), stall: n.span() };
    let _ = HeartbeatConfig::every(n.span());
    let mut beat = Heartbeat::new(&config, n.tick(), n.u64());
    let phi_config = PhiConfig { z: n.small(), pause: n.span(), deviation_min: n.span() };
    let mut phi = Phi::new(&phi_config, n.tick(), n.span());
    let flood_config = PingFloodConfig { gap: n.span(), burst: n.small(), strikes: n.small() };
    let mut flood = PingFlood::new();
    let mut stall = StallGuard::new(n.tick());
    let patience_config = PatienceConfig { idle: n.span(), request: n.span() };
    let mut patience = Patience::new(n.tick());
    for progress in [Progress::Partial, Progress::Busy, Progress::NextPartial, Progress::Idle] {
        (beat, phi, flood) = (n.state(beat), n.state(phi), n.state(flood));
        (stall, patience) = (n.state(stall), n.state(patience));
        let line = Line { pending: n.size(), progress: n.tick() };
        let _ = beat.poll(&config, n.tick(), &line);
        let _ = beat.deadline(&config, &line);
        beat.ping_left(n.tick());
        let _ = beat.poll(&config, n.tick(), &line);
        beat.stalled(n.span());
        beat.received(n.tick());
        phi.on_beat(&phi_config, n.tick());
        let _ = phi.deadline(&phi_config);
        phi.stalled(n.span());
        let _ = flood.on_peer_ping(&flood_config, n.tick());
        let _ = stall.woke(n.span(), n.tick(), n.maybe());
        patience.observe(n.tick(), progress);
        patience.stalled(n.span());
        let _ = patience.deadline(&patience_config);
        let _ = patience.poll(&patience_config, n.tick());
    }
}

fn drain(n: &mut Numbers<'_>) {
    let config =
        DrainConfig { announce: n.span(), grace: n.span(), spread: n.span(), hard: n.span() };
    let mut drain = Drain::new();
    drain.start(n.tick());
    for _ in 0..8 {
        let load =
            InFlight { requests: n.size(), conns: n.size(), closing: n.size(), acked: n.size() };
        drain = n.state(drain);
        let step = drain.poll(&config, n.tick(), &load);
        if let DrainStep::Close(closes) = step {
            assert!(closes <= load.conns);
        }
        let _ = drain.deadline(&config, &load);
    }
}

fn client(n: &mut Numbers<'_>) {
    let config = RetryConfig {
        percent: n.small(),
        floor: n.small(),
        burst: n.small(),
        attempts: n.byte(),
        backoff: n.span(),
        backoff_max: n.span(),
    };
    let mut budget = RetryBudget::new(&config, n.tick());
    let throttle_config =
        ThrottleConfig { k_percent: n.small(), window: n.span(), most_percent: n.byte() };
    let mut throttle = Throttle::new(n.tick());
    let backend_config = BackendConfig {
        penalty: n.small(),
        half_life: n.span(),
        out_after: n.byte(),
        out_for: n.span(),
        out_max: n.span(),
    };
    let mut backends = [Backend::new(n.u64(), n.small()), Backend::new(n.u64(), n.small())];
    for outcome in [Outcome::Nack, Outcome::Timeout, Outcome::Ok, Outcome::Error] {
        budget = n.state(budget);
        budget.on_request(&config, n.tick());
        let failed = Failed {
            attempt: n.byte(),
            outcome,
            retry_after: n.span(),
            idempotent: n.u64().is_multiple_of(2),
            deadline: n.maybe(),
        };
        let _ = budget.may_retry(&config, n.tick(), &failed, n.u64());
        let _ = budget.may_hedge(&config, n.tick(), n.tick(), n.span(), true);
        throttle = n.state(throttle);
        let _ = throttle.ask(&throttle_config, n.tick(), n.u64());
        throttle.on_accepted(&throttle_config, n.tick());
        backends[0].on_reply(&backend_config, n.tick(), outcome);
        for backend in &mut backends {
            *backend = n.state(*backend);
            backend.pending = n.small();
            backend.on_send();
        }
        let pick_config = PickConfig {
            backend: backend_config,
            pending_max: n.small(),
            bound_percent: n.small(),
            panic_percent: n.byte(),
        };
        let avoid = n.maybe().map(|t| t.0 as usize);
        let _ = pick(&pick_config, backends, How::LeastPending, avoid, n.tick(), n.u64());
        let _ = pick(&pick_config, backends, How::Keyed(n.u64()), avoid, n.tick(), n.u64());
    }
}

fn all(numbers: &[u64]) {
    for policy in [admit, gates, beats, drain, client] {
        policy(&mut Numbers(numbers.iter().cycle()));
    }
}

/// All sequences of ten extremes, repeated: every neighbourhood of numbers that a policy sees.
#[test]
fn every_combination_of_the_extremes() {
    let mut numbers = [0; 10];
    for code in 0..3u32.pow(10) {
        let mut rest = code;
        for number in &mut numbers {
            *number = EXTREMES[rest as usize % 3];
            rest /= 3;
        }
        all(&numbers);
    }
}

proptest! {
    #[test]
    fn any_numbers(
        numbers in prop::collection::vec(
            prop_oneof![
                Just(0), Just(1), Just(2), Just(u64::MAX - 1), Just(u64::MAX), Just(1 << 63),
                any::<u64>(), 0u64..1000,
            ],
            1..97,
        )
    ) {
        all(&numbers);
    }
}
