//! The gates: bounded, with hysteresis, never stuck; a kick only for its cause, and once.

use crate::{Polling, ns};
use drywire::Tick;
use drywire::guard::{
    Band, Buffered, Full, Kick, OutGate, OutGateConfig, OutOffer, Read, ReadGate, ReadGateConfig,
    WhenFull,
};
use proptest::prelude::*;

const READ: ReadGateConfig = ReadGateConfig {
    conn_in: Band::new(100, 30),
    conn_out: Band::new(200, 50),
    queue: Band::new(300, 100),
    total: Band::new(400, 250),
    turn_messages: 4,
    turn_bytes: 64,
};

fn buffered() -> impl Strategy<Value = Buffered> {
    (0usize..150, 0usize..300, 0usize..400, 0usize..500)
        .prop_map(|(conn_in, conn_out, queue, total)| Buffered { conn_in, conn_out, queue, total })
}

proptest! {
    /// From stop to go, the measure that stopped it has come down to its low mark.
    #[test]
    fn reading_stops_high_and_goes_on_low(trace in prop::collection::vec(buffered(), 1..50)) {
        let mut gate = ReadGate::new();
        let mut stopped_by = None;
        for now in trace {
            let of = |full| match full {
                Full::ConnIn => (READ.conn_in, now.conn_in),
                Full::ConnOut => (READ.conn_out, now.conn_out),
                Full::Queue => (READ.queue, now.queue),
                _ => (READ.total, now.total),
            };
            match gate.poll(&READ, &now) {
                Read::Stop(full) => {
                    let (band, n) = of(full);
                    let already = stopped_by.is_some();
                    prop_assert!(n >= band.high || (already && n > band.low));
                    stopped_by = Some(full);
                }
                Read::Go { bytes, messages } => {
                    if let Some(full) = stopped_by {
                        let (band, n) = of(full);
                        prop_assert!(n <= band.low, "{full:?}: {n}");
                    }
                    prop_assert!((1..=READ.turn_bytes).contains(&bytes));
                    prop_assert!(now.conn_in + bytes <= READ.conn_in.high);
                    prop_assert!(now.total + bytes <= READ.total.high);
                    prop_assert_eq!(messages, READ.turn_messages);
                    stopped_by = None;
                }
                Read::TurnOver => prop_assert!(false, "nothing was taken in this turn"),
            }
        }
        // Unstuck: with nothing buffered it reads.
        let reads = matches!(gate.poll(&READ, &Buffered::NOTHING), Read::Go { .. });
        prop_assert!(reads);
    }

    /// A turn has its share, and the next one the same again.
    #[test]
    fn a_turn_is_bounded(takes in prop::collection::vec((1usize..100, 1u32..6), 1..20)) {
        let mut gate = ReadGate::new();
        let (mut bytes_taken, mut messages_taken) = (0, 0);
        for (n, m) in takes {
            match gate.poll(&READ, &Buffered::NOTHING) {
                Read::Go { bytes, messages } => {
                    let (n, m) = (n.min(bytes), m.min(messages));
                    gate.took(n, m);
                    bytes_taken += n;
                    messages_taken += m;
                }
                Read::TurnOver => {
                    prop_assert!(bytes_taken == READ.turn_bytes || messages_taken == READ.turn_messages);
                    gate.new_turn();
                    (bytes_taken, messages_taken) = (0, 0);
                }
                Read::Stop(full) => prop_assert!(false, "{full:?}"),
            }
            prop_assert!(bytes_taken <= READ.turn_bytes && messages_taken <= READ.turn_messages);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Offer { len: usize, droppable: bool },
    Send(usize),
    Nothing,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1usize..60, any::<bool>()).prop_map(|(len, droppable)| Op::Offer { len, droppable }),
        3 => (0usize..120).prop_map(Op::Send),
        6 => Just(Op::Nothing),
    ];
    prop::collection::vec(op, 0..300)
}

fn out_config() -> impl Strategy<Value = OutGateConfig> {
    let full =
        prop_oneof![Just(WhenFull::DropNew), Just(WhenFull::DropOldest), Just(WhenFull::Conflate)];
    (20usize..300, 1usize..100, 1u64..60, 1u64..40, full).prop_map(|(hard, soft, t, p, full)| {
        OutGateConfig {
            hard,
            soft,
            soft_for: ns(t),
            no_progress: ns(p),
            full,
            stall: hard * 3 / 4,
            stall_each: ns(2),
            stall_total: ns(5),
        }
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Trace {
    outputs: Vec<(u64, OutOffer)>,
    kick: Option<(u64, Kick)>,
    pending: Vec<usize>,
}

/// One operation per tick. The pending bytes at each tick are recorded after it.
fn run(config: &OutGateConfig, ops: &[Op], start: u64, polling: Polling) -> Trace {
    let mut gate = OutGate::new();
    let mut pending = 0;
    let mut trace = Trace { outputs: Vec::new(), kick: None, pending: Vec::new() };
    for (at, op) in ops.iter().enumerate() {
        let at = at as u64;
        let now = Tick(start + at);
        if polling.is_due(now, gate.deadline(config, pending))
            && let Some(kick) = gate.poll(config, now, pending)
        {
            assert_eq!(trace.kick.replace((at, kick)), None, "kicked twice");
        }
        if trace.kick.is_none() {
            let due = gate.deadline(config, pending);
            assert!(due.is_none_or(|due| due > now), "still due after a poll");
        }
        match *op {
            Op::Offer { len, droppable } => {
                let offer = gate.offer(config, now, pending, len, droppable);
                trace.outputs.push((at, offer));
                match offer {
                    OutOffer::Queue | OutOffer::QueueAndStall(_) => pending += len,
                    OutOffer::DropOldest { bytes } => {
                        pending = (pending + len).saturating_sub(bytes)
                    }
                    OutOffer::Kick(kick) => {
                        assert_eq!(trace.kick.replace((at, kick)), None, "kicked twice");
                    }
                    OutOffer::DropNew | OutOffer::Conflate | OutOffer::Gone => {}
                }
            }
            Op::Send(n) => {
                let n = n.min(pending);
                pending -= n;
                gate.sent(config, now, n, pending);
            }
            Op::Nothing => {}
        }
        trace.pending.push(pending);
    }
    trace
}

proptest! {
    #[test]
    fn polling_at_deadlines_is_polling_every_tick(ops in ops(), config in out_config()) {
        let [every, due] = Polling::BOTH.map(|polling| run(&config, &ops, 0, polling));
        prop_assert_eq!(every, due);
    }

    #[test]
    fn the_epoch_does_not_show(ops in ops(), config in out_config(), shift in 0u64..1 << 60) {
        let [base, moved] = [0, shift].map(|start| run(&config, &ops, start, Polling::EveryTick));
        prop_assert_eq!(base, moved);
    }

    /// The kick, against the definition: what was pending at each tick.
    #[test]
    fn a_kick_has_its_cause(ops in ops(), config in out_config()) {
        let trace = run(&config, &ops, 0, Polling::EveryTick);
        let alive = trace.kick.map_or(ops.len(), |(at, _)| at as usize);
        // Bounded: the hard limit, or one message that came when nothing was pending.
        prop_assert!(trace.pending.iter().all(|n| *n <= config.hard.max(60)));
        let soft_for = config.soft_for.as_nanos() as usize;
        let no_progress = config.no_progress.as_nanos() as usize;
        let over_soft = |ticks: &[usize]| ticks.iter().all(|n| *n > config.soft);
        match trace.kick {
            Some((at, Kick::SoftTooLong)) => {
                let at = at as usize;
                prop_assert!(over_soft(&trace.pending[at - soft_for..at]));
            }
            Some((at, Kick::NoProgress)) => {
                let at = at as usize;
                let window = &trace.pending[at - no_progress..at];
                prop_assert!(window.iter().all(|n| *n > 0));
                let took = ops[at + 1 - no_progress..at].iter().zip(window).any(|(op, _)| {
                    matches!(op, Op::Send(n) if *n > 0)
                });
                prop_assert!(!took, "something was taken in between");
            }
            Some((at, Kick::HardBytes)) => {
                let Op::Offer { len, droppable } = ops[at as usize] else { panic!() };
                let before = trace.pending[at as usize - 1];
                prop_assert!(!droppable && before > 0 && before + len > config.hard);
            }
            Some((_, other)) => prop_assert!(false, "{other:?}"),
            None => {}
        }
        // Never missed while alive.
        for end in soft_for + 1..alive {
            prop_assert!(!over_soft(&trace.pending[end - soft_for - 1..end]), "soft at {end}");
        }
        // Nothing is emitted after the kick.
        let after = trace.outputs.iter().filter(|(at, _)| *at as usize > alive);
        prop_assert!(after.clone().all(|(_, offer)| *offer == OutOffer::Gone));
    }

    /// A producer is never held for longer than the episode allows.
    #[test]
    fn stalls_are_capped(ops in ops(), config in out_config()) {
        let trace = run(&config, &ops, 0, Polling::EveryTick);
        let mut episode = ns(0);
        let mut outputs = trace.outputs.iter().peekable();
        for (at, pending) in trace.pending.iter().enumerate() {
            if let Some((_, OutOffer::QueueAndStall(pause))) = outputs.next_if(|(t, _)| *t == at as u64) {
                prop_assert!(*pause <= config.stall_each);
                episode += *pause;
            }
            prop_assert!(episode <= config.stall_total);
            if *pending < config.stall {
                episode = ns(0);
            }
        }
    }

    /// A stall of our own moves every deadline by as much.
    #[test]
    fn our_own_stall_kicks_nobody(ops in ops(), config in out_config(), gap in 1u64..1 << 40) {
        let mut gate = OutGate::new();
        let mut now = Tick(5);
        for op in &ops {
            now = Tick(now.0 + 1);
            if let Op::Offer { len, droppable } = *op {
                let _ = gate.offer(&config, now, 10, len, droppable);
            }
        }
        let before = gate.deadline(&config, 10);
        gate.stalled(ns(gap));
        prop_assert_eq!(gate.deadline(&config, 10), before.map(|at| Tick(at.0 + gap)));
    }
}

#[test]
fn one_message_is_always_taken_when_nothing_is_pending() {
    let mut gate = OutGate::new();
    let offer = gate.offer(&OutGateConfig::REPLIES, Tick::ZERO, 0, usize::MAX, false);
    assert_eq!(offer, OutOffer::Queue);
    let offer = gate.offer(&OutGateConfig::REPLIES, Tick::ZERO, usize::MAX, 1, false);
    assert_eq!(offer, OutOffer::Kick(Kick::HardBytes));
}
