//! Heartbeats over a model of TCP: loss is delay, in order. The dead are found in time, the
//! living are spared for months.

use drywire::Tick;
use drywire::guard::{Beat, Heartbeat, HeartbeatConfig, Line};
use std::time::Duration;

const MS: u64 = 1_000_000;
const S: u64 = 1000 * MS;
const DAY: u64 = 86_400 * S;

struct Chance(u64);

impl Chance {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }
}

/// One direction of a link: 20 ms, up to 20 ms of jitter, and for each loss a retransmission
/// timeout that doubles from 200 ms.
struct Way {
    loss_percent: u64,
    /// When the byte before arrived: nothing overtakes it.
    before: u64,
}

impl Way {
    fn arrival(&mut self, chance: &mut Chance, sent: u64) -> u64 {
        let mut at = sent + 20 * MS + chance.below(20 * MS);
        let mut timeout = 200 * MS;
        while chance.below(100) < self.loss_percent {
            at += timeout;
            timeout *= 2;
        }
        self.before = self.before.max(at);
        self.before
    }
}

/// Runs one idle connection from a new heartbeat until it dies, or until `until`. From `crash` on
/// the peer answers nothing. Returns when it died and when the last byte had come in.
fn run(
    chance: &mut Chance,
    loss_percent: u64,
    start: u64,
    crash: u64,
    until: u64,
) -> Option<(u64, u64)> {
    let config = HeartbeatConfig::every(Duration::from_secs(1));
    let mut beat = Heartbeat::new(&config, Tick(start), chance.bits());
    let mut there = Way { loss_percent, before: 0 };
    let mut back = Way { loss_percent, before: 0 };
    let mut pong: Option<u64> = None;
    let line = Line::IDLE;
    let mut last_rx = start;
    loop {
        let due = beat.deadline(&config, &line).expect("always something to wait for").0;
        let now = pong.map_or(due, |at| at.min(due));
        if now >= until {
            return None;
        }
        if pong == Some(now) {
            pong = None;
            last_rx = now;
            beat.received(Tick(now));
        }
        match beat.poll(&config, Tick(now), &line) {
            Beat::Ping => {
                beat.ping_left(Tick(now));
                let heard = there.arrival(chance, now);
                if heard < crash {
                    pong = Some(back.arrival(chance, heard));
                }
            }
            Beat::Dead(_) => return Some((now, last_rx)),
            Beat::None | Beat::Suspect(_) => {}
        }
    }
}

#[test]
fn a_slow_but_living_peer_is_spared_for_a_month() {
    let mut chance = Chance(7);
    let (mut now, mut alarms) = (0, 0);
    while let Some((died, _)) = run(&mut chance, 1, now, u64::MAX, 30 * DAY) {
        alarms += 1;
        now = died;
    }
    assert_eq!(alarms, 0, "false alarms in 30 days at 1 % loss");
}

/// The model can kill: on a link that loses a fifth there are false alarms.
#[test]
fn a_terrible_link_is_not_spared() {
    let mut chance = Chance(7);
    assert!(run(&mut chance, 20, 0, u64::MAX, DAY).is_some());
}

#[test]
fn a_silent_peer_is_dead_within_three_intervals() {
    let mut chance = Chance(11);
    for i in 0..2000 {
        let crash = 10 * S + chance.below(5 * S);
        let (died, last_rx) = run(&mut chance, i % 2, 0, crash, u64::MAX).expect("it is found");
        assert_eq!(died - last_rx, 3 * S, "run {i}");
        // What was on its way at the crash may still arrive, once retransmitted.
        assert!(died <= crash + 3 * S + 500 * MS, "run {i}: crash at {crash}, found at {died}");
    }
}
