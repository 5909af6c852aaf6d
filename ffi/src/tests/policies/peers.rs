//! Who is alive, who asks too slowly or too often, who goes away.

use super::{Numbers, made, never, ns, said, some};
use crate::policy::{drain::*, heartbeat::*, peers::*};
use crate::sized::Growing;
use crate::status::drywire_status::*;
use core::time::Duration;
use drywire::Tick;
use drywire::guard::*;

pub(super) fn heartbeat(n: &mut Numbers<'_>) {
    let mut options = drywire_heartbeat_options::DEFAULT;
    let interval = n.u64();
    let config = match n.below(3) {
        0 => HeartbeatConfig::every(Duration::from_secs(10)),
        1 => {
            // SAFETY: valid pointers throughout.
            let status = unsafe { drywire_heartbeat_options_every(&mut options, interval, 1) };
            assert_eq!(status, DRYWIRE_OK);
            HeartbeatConfig::expect_every(ns(interval))
        }
        _ => {
            (options.interval_ns, options.timeout_ns) = (interval, n.u64());
            (options.pong_ns, options.stall_ns) = (n.u64(), n.u64());
            HeartbeatConfig {
                interval: ns(interval),
                timeout: ns(options.timeout_ns),
                pong: ns(options.pong_ns),
                stall: ns(options.stall_ns),
            }
        }
    };
    let (mut now, random) = (n.u64(), n.u64());
    let mut rust = Heartbeat::new(&config, Tick(now), random);
    let mut c: drywire_heartbeat =
        // SAFETY: as above.
        made(|to, size| unsafe { drywire_heartbeat_init(to, size, &options, now, random) });
    for _ in 0..30 {
        now = n.later(&mut now);
        // SAFETY: as above.
        let status = unsafe {
            match n.below(4) {
                0 => {
                    rust.received(Tick(now));
                    drywire_heartbeat_received(&mut c, now)
                }
                1 => {
                    rust.progressed(Tick(now));
                    drywire_heartbeat_progressed(&mut c, now)
                }
                2 => {
                    rust.ping_left(Tick(now));
                    drywire_heartbeat_ping_left(&mut c, now)
                }
                _ => {
                    rust.stalled(ns(now / 3));
                    drywire_heartbeat_stalled(&mut c, now / 3)
                }
            }
        };
        assert_eq!(status, DRYWIRE_OK);
        let (pending, progress) = (n.below(2), n.u64());
        let line = Line { pending: pending as usize, progress: Tick(progress) };
        if n.bit() {
            now = now.max(never(rust.deadline(&config, &line)).min(now.saturating_add(1 << 40)));
        }
        let expected = match rust.poll(&config, Tick(now), &line) {
            Beat::None => (0, 0, 0, 0),
            Beat::Ping => (1, 0, 0, 0),
            Beat::Suspect(intervals) => (2, 0, u64::from(intervals), 0),
            Beat::Dead(Death::Silent) => (3, 1, 0, 0),
            Beat::Dead(Death::NoPong) => (3, 2, 0, 0),
            Beat::Dead(Death::Stalled) => (3, 3, 0, 0),
            Beat::Dead(other) => panic!("C has no number for {other:?}"),
        };
        let next = never(rust.deadline(&config, &line));
        // SAFETY: as above.
        let found = said(|d| unsafe {
            drywire_heartbeat_poll(&mut c, &options, now, pending, progress, d)
        });
        assert_eq!(found, (expected, next));
        let next_c =
            // SAFETY: as above.
            unsafe { drywire_heartbeat_next_deadline(&c, &options, pending, progress) };
        assert_eq!(next_c, next);
        assert_eq!(c.state, <[u64; 4]>::from(rust));
    }
}

pub(super) fn phi_and_patience(n: &mut Numbers<'_>) {
    let mut options = drywire_phi_options::DEFAULT;
    let mut config = PhiConfig::DEFAULT;
    if n.bit() {
        (options.z, options.pause_ns, options.deviation_min_ns) = (n.u32(), n.u64(), n.u64());
        let (pause, deviation_min) = (ns(options.pause_ns), ns(options.deviation_min_ns));
        config = PhiConfig { z: options.z, pause, deviation_min };
    }
    let mut limits = drywire_patience_options::DEFAULT;
    (limits.idle_ns, limits.request_ns) = (n.u64(), n.u64());
    let patience = PatienceConfig { idle: ns(limits.idle_ns), request: ns(limits.request_ns) };
    let (mut now, expected) = (n.u64(), n.u64());
    let mut rust = Phi::new(&config, Tick(now), ns(expected));
    let mut wait = Patience::new(Tick(now));
    let mut c: drywire_phi =
        // SAFETY: valid pointers throughout.
        made(|to, size| unsafe { drywire_phi_init(to, size, &options, now, expected) });
    let mut c_wait: drywire_patience =
        // SAFETY: as above.
        made(|to, size| unsafe { drywire_patience_init(to, size, now) });
    let progresses = [Progress::Idle, Progress::Partial, Progress::NextPartial, Progress::Busy];
    for _ in 0..20 {
        now = n.later(&mut now);
        let (gap, progress) = (n.u64(), n.u32() % 4);
        rust.on_beat(&config, Tick(now));
        wait.observe(Tick(now), progresses[progress as usize]);
        // SAFETY: as above.
        unsafe {
            assert_eq!(drywire_phi_beat(&mut c, &options, now), DRYWIRE_OK);
            assert_eq!(drywire_phi_next_deadline(&c, &options), rust.deadline(&config).0);
            assert_eq!(drywire_patience_observe(&mut c_wait, now, progress), DRYWIRE_OK);
        }
        if gap.is_multiple_of(4) {
            rust.stalled(ns(gap));
            wait.stalled(ns(gap));
            // SAFETY: as above.
            unsafe {
                assert_eq!(drywire_phi_stalled(&mut c, gap), DRYWIRE_OK);
                assert_eq!(drywire_patience_stalled(&mut c_wait, gap), DRYWIRE_OK);
            }
        }
        now = n.later(&mut now);
        let expected = match wait.poll(&patience, Tick(now)) {
            None => 0,
            Some(Lapse::Idle) => 1,
            Some(Lapse::Request) => 2,
            Some(other) => panic!("C has no number for {other:?}"),
        };
        let next = never(wait.deadline(&patience));
        // SAFETY: as above.
        unsafe {
            let found = said(|d| drywire_patience_poll(&mut c_wait, &limits, now, d));
            assert_eq!(found, ((expected, 0, 0, 0), next));
            assert_eq!(drywire_patience_next_deadline(&c_wait, &limits), next);
        }
        assert_eq!(c.state, <[u64; 4]>::from(rust));
        assert_eq!(c_wait.state, <[u64; 2]>::from(wait));
    }
}

pub(super) fn floods_and_stalls(n: &mut Numbers<'_>) {
    let mut options = drywire_ping_flood_options::DEFAULT;
    let mut config = PingFloodConfig::DEFAULT;
    if n.bit() {
        (options.gap_ns, options.burst, options.strikes) = (n.u64(), n.u32(), n.u32() % 5);
        let (burst, strikes) = (options.burst, options.strikes);
        config = PingFloodConfig { gap: ns(options.gap_ns), burst, strikes };
    }
    let mut now = n.u64();
    let (mut rust, mut guard) = (PingFlood::new(), StallGuard::new(Tick(now)));
    // SAFETY: valid pointers throughout.
    let (mut c, mut c_guard) = unsafe {
        let c: drywire_ping_flood = made(|to, size| drywire_ping_flood_init(to, size));
        let guard: drywire_stall_guard = made(|to, size| drywire_stall_guard_init(to, size, now));
        (c, guard)
    };
    for _ in 0..20 {
        now = n.later(&mut now);
        let expected = match rust.on_peer_ping(&config, Tick(now)) {
            PeerPing::Pong => 1,
            PeerPing::IgnoreExcess => 2,
            PeerPing::KickFlood => 3,
        };
        // SAFETY: as above.
        let found = said(|d| unsafe { drywire_ping_flood_ping(&mut c, &options, now, d) });
        assert_eq!(found.0, (expected, 0, 0, 0));
        let (slack, due) = (n.u64(), n.u64());
        let expected = guard.woke(ns(slack), Tick(now), some(due));
        let mut gap = 99;
        // SAFETY: as above.
        let status = unsafe { drywire_stall_guard_woke(&mut c_guard, slack, now, due, &mut gap) };
        assert_eq!((status, gap), (DRYWIRE_OK, expected.map_or(0, |gap| gap.as_nanos() as u64)));
        assert_eq!(c.state, <[u64; 2]>::from(rust));
        assert_eq!(c_guard.state, <[u64; 1]>::from(guard));
    }
}

pub(super) fn drain(n: &mut Numbers<'_>) {
    let mut options = drywire_drain_options::DEFAULT;
    let mut config = DrainConfig::DEFAULT;
    if n.bit() {
        (options.announce_ns, options.grace_ns) = (n.u64(), n.u64());
        (options.spread_ns, options.hard_ns) = (n.u64(), n.u64());
        config = DrainConfig {
            announce: ns(options.announce_ns),
            grace: ns(options.grace_ns),
            spread: ns(options.spread_ns),
            hard: ns(options.hard_ns),
        };
    }
    let (mut rust, mut now) = (Drain::new(), n.u64());
    // SAFETY: valid pointers throughout.
    let mut c: drywire_drain = made(|to, size| unsafe { drywire_drain_init(to, size) });
    let start = n.below(4);
    for turn in 0..20 {
        now = n.later(&mut now);
        if turn == start {
            rust.start(Tick(now));
            // SAFETY: as above.
            assert_eq!(unsafe { drywire_drain_start(&mut c, now) }, DRYWIRE_OK);
        }
        let (requests, conns) = (n.below(2), n.u64());
        let (closing, acked) = (n.below(3), n.u64());
        let load = InFlight {
            requests: requests as usize,
            conns: conns as usize,
            closing: closing as usize,
            acked: acked as usize,
        };
        let expected = match rust.poll(&config, Tick(now), &load) {
            DrainStep::None => (0, 0, 0, 0),
            DrainStep::Announce => (1, 0, 0, 0),
            DrainStep::RefuseNew => (2, 0, 0, 0),
            DrainStep::Close(conns) => (3, 0, conns as u64, 0),
            DrainStep::Abort => (4, 0, 0, 0),
            DrainStep::Done => (5, 0, 0, 0),
        };
        let next = never(rust.deadline(&config, &load));
        // SAFETY: as above.
        unsafe {
            let found = said(|d| {
                drywire_drain_poll(&mut c, &options, now, requests, conns, closing, acked, d)
            });
            assert_eq!(found, (expected, next));
            let next_c = drywire_drain_next_deadline(&c, &options, requests, conns, closing, acked);
            assert_eq!(next_c, next);
            let flags = u32::from(rust.accepts()) | u32::from(rust.announces()) << 1;
            assert_eq!(drywire_drain_flags(&c), flags);
        }
        assert_eq!(c.state, <[u64; 4]>::from(rust));
    }
}
