//! Heartbeat, phi, ping flood, own stall, patience: nobody dies who lives, and the dead are found.

use crate::{Polling, ns};
use drywire::Tick;
use drywire::guard::{
    Beat, Death, Heartbeat, HeartbeatConfig, Lapse, Line, Patience, PatienceConfig, PeerPing, Phi,
    PhiConfig, PingFlood, PingFloodConfig, Progress, StallGuard,
};
use proptest::prelude::*;

/// What happens at one tick of a connection.
#[derive(Clone, Debug)]
enum Op {
    Nothing,
    Receive,
    /// Output begins to wait for the transport.
    Block,
    /// The transport takes some of it.
    Progress,
    /// The transport takes all of it.
    Unblock,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let busy = prop_oneof![
        20 => Just(Op::Nothing),
        2 => Just(Op::Receive),
        1 => Just(Op::Block),
        2 => Just(Op::Progress),
        1 => Just(Op::Unblock),
    ];
    let silent = prop::collection::vec(Just(Op::Nothing), 0..200);
    (prop::collection::vec(busy, 0..300), silent).prop_map(|(mut ops, silent)| {
        ops.extend(silent);
        ops
    })
}

fn config() -> impl Strategy<Value = HeartbeatConfig> {
    (prop_oneof![1 => Just(0u64), 4 => 5u64..30], 1u64..90, 1u64..60, 0u64..90).prop_map(
        |(interval, timeout, pong, stall)| HeartbeatConfig {
            interval: ns(interval),
            timeout: ns(timeout),
            pong: ns(pong),
            stall: ns(stall),
        },
    )
}

#[derive(Debug, PartialEq, Eq)]
struct Trace {
    beats: Vec<(u64, Beat)>,
}

impl Trace {
    fn death(&self) -> Option<(u64, Death)> {
        self.beats.iter().find_map(|(at, beat)| match beat {
            Beat::Dead(death) => Some((*at, *death)),
            _ => None,
        })
    }
}

/// A line that follows the operations. The ping leaves when nothing is in front of it.
fn run(config: &HeartbeatConfig, ops: &[Op], start: u64, random: u64, polling: Polling) -> Trace {
    let mut beat = Heartbeat::new(config, Tick(start), random);
    let mut line = Line::IDLE;
    let mut trace = Trace { beats: Vec::new() };
    for (at, op) in ops.iter().enumerate() {
        let at = at as u64;
        let now = Tick(start + at);
        match op {
            Op::Nothing => {}
            Op::Receive => beat.received(now),
            Op::Block if line.pending == 0 => line = Line { pending: 9, progress: now },
            Op::Progress if line.pending > 0 => {
                line.progress = now;
                beat.progressed(now);
            }
            Op::Unblock if line.pending > 0 => {
                line = Line::IDLE;
                beat.progressed(now);
                beat.ping_left(now);
            }
            Op::Block | Op::Progress | Op::Unblock => {}
        }
        if polling.is_due(now, beat.deadline(config, &line)) {
            for turn in 0.. {
                assert!(turn < 4, "it never says that there is nothing");
                match beat.poll(config, now, &line) {
                    Beat::None => break,
                    said => trace.beats.push((at, said)),
                }
            }
        }
        let due = beat.deadline(config, &line);
        assert!(due.is_none_or(|due| due > now), "{due:?} is due at {now:?} after a poll");
    }
    trace
}

proptest! {
    #[test]
    fn polling_at_deadlines_is_polling_every_tick(
        ops in ops(), config in config(), random: u64, shift in 0u64..1 << 60,
    ) {
        let every = run(&config, &ops, 0, random, Polling::EveryTick);
        prop_assert_eq!(&run(&config, &ops, 0, random, Polling::AtDeadlines), &every);
        prop_assert_eq!(&run(&config, &ops, shift, random, Polling::AtDeadlines), &every);
    }

    /// Safety and completeness, pings outstanding and their pace.
    #[test]
    fn the_dead_are_found_and_the_living_spared(ops in ops(), config in config(), random: u64) {
        let trace = run(&config, &ops, 0, random, Polling::EveryTick);
        let (interval, timeout) = (config.interval.as_nanos() as u64, config.timeout.as_nanos() as u64);
        let end = trace.death().map_or(ops.len() as u64, |(at, _)| at);
        let last_rx = |until: u64| {
            let heard = |at: &u64| matches!(ops[*at as usize], Op::Receive);
            (0..=until.min(ops.len() as u64 - 1)).rev().find(heard).unwrap_or(0)
        };
        if let Some((at, death)) = trace.death() {
            let silence = at - last_rx(at);
            match death {
                Death::Stalled => prop_assert!(config.stall > ns(0)),
                Death::NoPong => prop_assert!(interval > 0 && silence >= timeout),
                _ => prop_assert!(interval == 0 && silence >= timeout),
            }
            prop_assert_eq!(trace.beats.last().map(|(at, _)| *at), Some(at), "silence after death");
        }
        // One ping per interval, and none while one is out.
        let pings: Vec<u64> =
            trace.beats.iter().filter(|(_, b)| *b == Beat::Ping).map(|(at, _)| *at).collect();
        for pair in pings.windows(2) {
            prop_assert!(pair[1] - pair[0] >= interval, "two pings within an interval");
            prop_assert!(last_rx(pair[1]) >= pair[0], "a second ping before an answer");
        }
        for (i, at) in pings.iter().enumerate() {
            let least = if i == 0 && last_rx(*at) == 0 { interval - interval / 5 } else { interval };
            prop_assert!(at - last_rx(*at) >= least, "pinged at {at} though there was input");
        }
        // Complete, on a line that is never blocked: silence is found out.
        if !ops.iter().any(|op| matches!(op, Op::Block)) && !ops.is_empty() {
            let patience = timeout.max(interval + interval / 5 + config.pong.as_nanos() as u64);
            prop_assert!(end - last_rx(end.saturating_sub(1)) <= patience.max(timeout) + 1, "never found");
        }
    }

    /// A peer that says something in time, or takes output while it is blocked, lives: on the
    /// side that pings and on the one that does not.
    #[test]
    fn a_slow_but_living_peer_is_never_killed(
        gaps in prop::collection::vec((1u64..29, any::<bool>()), 1..100), pings: bool,
    ) {
        let every = if pings { HeartbeatConfig::every } else { HeartbeatConfig::expect_every };
        let config = every(ns(10));
        let mut beat = Heartbeat::new(&config, Tick::ZERO, 0);
        let mut line = Line { pending: 1, progress: Tick::ZERO };
        let mut now = 0;
        for (gap, by_progress) in gaps {
            for t in now + 1..=now + gap {
                let said = beat.poll(&config, Tick(t), &line);
                prop_assert!(!matches!(said, Beat::Dead(_)), "{said:?} at {t}");
            }
            now += gap;
            line.progress = Tick(now);
            if by_progress {
                beat.progressed(Tick(now));
            } else {
                beat.received(Tick(now));
            }
        }
    }

    /// Our own stall of any length kills nobody, wherever it falls.
    #[test]
    fn our_own_stall_kills_nobody(at in 0u64..29_999, gap in 0u64..1 << 50, random: u64) {
        let config = HeartbeatConfig::every(ns(10_000));
        let slack = ns(100);
        let mut beat = Heartbeat::new(&config, Tick::ZERO, random);
        let mut guard = StallGuard::new(Tick::ZERO);
        let line = Line::IDLE;
        let mut now = Tick::ZERO;
        // Runs as asked until the stall.
        while let Some(due) = beat.deadline(&config, &line).filter(|due| due.0 <= at) {
            now = due;
            prop_assert_eq!(guard.woke(slack, now, Some(due)), None);
            prop_assert!(!matches!(beat.poll(&config, now, &line), Beat::Dead(_)));
        }
        now = Tick(now.0.max(at) + gap);
        let due = beat.deadline(&config, &line);
        if let Some(gap) = guard.woke(slack, now, due) {
            beat.stalled(gap);
        }
        let said = beat.poll(&config, now, &line);
        let slept = due.unwrap().0;
        prop_assert!(!matches!(said, Beat::Dead(_)) || now.0 <= slept + 100, "{said:?} after {gap}");
        // The input that waited is read: it lives for at least another timeout.
        beat.received(now);
        let next = beat.deadline(&config, &line).filter(|_| !matches!(said, Beat::Dead(_)));
        prop_assert!(next.is_none_or(|due| due >= Tick(now.0 + 8_000)));
    }

    /// The time given back is never more than what passed, and a prompt loop gets none.
    #[test]
    fn stalls_are_measured_in_our_time(steps in prop::collection::vec((0u64..500, prop::option::of(0u64..500)), 1..50)) {
        let slack = ns(50);
        let mut guard = StallGuard::new(Tick::ZERO);
        let (mut now, mut given) = (0, 0);
        for (dt, due) in steps {
            let before = now;
            now += dt;
            let due = due.map(|after| before + after);
            let gap = guard.woke(slack, Tick(now), due.map(Tick));
            let late = due.is_some_and(|due| now > due.max(before) + 50);
            prop_assert_eq!(gap.is_some(), late);
            given += gap.map_or(0, |gap| gap.as_nanos() as u64);
            prop_assert!(given <= now);
        }
    }

    /// Pongs are paced: in any window at most burst + time / gap of them.
    #[test]
    fn pongs_are_paced(gaps in prop::collection::vec(0u64..20, 1..200), gap in 1u64..30, burst in 1u32..6) {
        let config = PingFloodConfig { gap: ns(gap), burst, strikes: 3 };
        let mut guard = PingFlood::new();
        let mut now = 1000;
        let mut pongs = Vec::new();
        let mut strikes = 0;
        for dt in gaps {
            now += dt;
            match guard.on_peer_ping(&config, Tick(now)) {
                PeerPing::Pong => {
                    pongs.push(now);
                    strikes = 0;
                }
                PeerPing::IgnoreExcess => strikes += 1,
                PeerPing::KickFlood => {
                    prop_assert_eq!(strikes, 3);
                    break;
                }
            }
            prop_assert!(strikes <= 3);
        }
        for (i, from) in pongs.iter().enumerate() {
            for (n, to) in pongs[i..].iter().enumerate() {
                prop_assert!(n as u64 <= u64::from(burst) + (to - from) / gap);
            }
        }
    }

    /// Against the same arithmetic in floating point.
    #[test]
    fn phi_is_near_the_exact_one(gaps in prop::collection::vec(1u64..3_000_000_000, 1..300)) {
        let config = PhiConfig::DEFAULT;
        let mut phi = Phi::new(&config, Tick::ZERO, ns(1_000_000_000));
        let (mut mean, mut variance, mut now) = (1e9, 2.5e8 * 2.5e8, 0);
        for gap in gaps {
            let patience = |mean: f64, variance: f64| mean + 1e9 + 5.23 * variance.sqrt().max(1e8);
            now += gap;
            phi.on_beat(&config, Tick(now));
            let gap = (gap as f64).min(patience(mean, variance));
            let off = gap - mean;
            mean += off / 32.0;
            variance += (off * off - variance) / 32.0;
            let exact = now as f64 + patience(mean, variance);
            let got = phi.deadline(&config).0 as f64;
            prop_assert!((got - exact).abs() < 1e4, "{got} for {exact}");
        }
    }

    /// A request that trickles is cut off at its deadline, whatever the trickle; a connection that
    /// works is not.
    #[test]
    fn patience_ends(ops in prop::collection::vec((0u64..12, 0u8..5), 1..100)) {
        let config = PatienceConfig { idle: ns(20), request: ns(30) };
        let [every, due] = Polling::BOTH.map(|polling| {
            let mut patience = Patience::new(Tick::ZERO);
            let mut now = 0;
            for (dt, what) in &ops {
                for t in now..now + dt {
                    if polling.is_due(Tick(t), patience.deadline(&config))
                        && let Some(lapse) = patience.poll(&config, Tick(t))
                    {
                        assert_eq!(patience.deadline(&config), None, "nothing follows");
                        return Some((t, lapse));
                    }
                    assert!(patience.deadline(&config).is_none_or(|at| at.0 > t));
                }
                now += dt;
                let progress = match what {
                    0 => Progress::Idle,
                    1 => Progress::NextPartial,
                    2 => Progress::Busy,
                    _ => Progress::Partial,
                };
                patience.observe(Tick(now), progress);
            }
            None
        });
        prop_assert_eq!(every, due);
    }
}

#[test]
fn one_byte_a_second_does_not_keep_a_request_alive() {
    let config = PatienceConfig { idle: ns(0), request: ns(10) };
    let mut patience = Patience::new(Tick::ZERO);
    for t in 5..15 {
        patience.observe(Tick(t), Progress::Partial);
        assert_eq!(patience.poll(&config, Tick(t)), None);
    }
    assert_eq!(patience.poll(&config, Tick(15)), Some(Lapse::Request));
    let mut pipelining = Patience::new(Tick::ZERO);
    for t in 5..50 {
        pipelining.observe(Tick(t), Progress::NextPartial);
        assert_eq!(pipelining.poll(&config, Tick(t)), None, "each request has its own time");
    }
}

#[test]
fn an_answer_that_the_peer_does_not_take_is_not_its_silence() {
    let config = PatienceConfig { idle: ns(10), request: ns(10) };
    let mut patience = Patience::new(Tick::ZERO);
    patience.observe(Tick(5), Progress::Busy);
    assert_eq!(patience.deadline(&config), None);
    patience.observe(Tick(100), Progress::Idle);
    assert_eq!(patience.deadline(&config), Some(Tick(110)));
}

#[test]
fn a_silent_peer_is_dead_within_three_intervals_whatever_the_jitter() {
    for random in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        let config = HeartbeatConfig::every(ns(1000));
        let mut beat = Heartbeat::new(&config, Tick(77), random);
        let died =
            (77..).find(|t| matches!(beat.poll(&config, Tick(*t), &Line::IDLE), Beat::Dead(_)));
        assert_eq!(died, Some(77 + 3000));
    }
}

#[test]
fn a_pong_is_due_after_the_ping_left_not_after_it_was_queued() {
    let config = HeartbeatConfig::every(ns(100));
    let mut beat = Heartbeat::new(&config, Tick(0), u64::MAX / 2);
    let mut line = Line { pending: 1_000_000, progress: Tick(0) };
    let mut pinged = false;
    // The ping sits behind bulk data on a slow link for 20 intervals.
    for t in 1..2000 {
        line.progress = Tick(t);
        beat.progressed(Tick(t));
        match beat.poll(&config, Tick(t), &line) {
            Beat::Ping => pinged = true,
            Beat::Dead(death) => panic!("{death:?} at {t}"),
            Beat::None | Beat::Suspect(_) => {}
        }
    }
    assert!(pinged);
    beat.ping_left(Tick(2000));
    let idle = Line::IDLE;
    let died = (2000..).find(|t| matches!(beat.poll(&config, Tick(*t), &idle), Beat::Dead(_)));
    assert_eq!(died, Some(1999 + 300), "a timeout after the last sign of life");

    // Nothing moved for a while, then everything at once: the pong has its time from then on.
    let mut beat = Heartbeat::new(&config, Tick(0), u64::MAX / 2);
    let blocked = Line { pending: 1, progress: Tick(0) };
    assert_eq!(beat.poll(&config, Tick(100), &blocked), Beat::Ping);
    beat.ping_left(Tick(250));
    let died = (250..).find(|t| matches!(beat.poll(&config, Tick(*t), &idle), Beat::Dead(_)));
    assert_eq!(died, Some(250 + 150));
}
