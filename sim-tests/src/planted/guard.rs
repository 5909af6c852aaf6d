//! Bugs of heartbeats, limits on time, gates and drains.

use super::flawed::{Flaw, Flawed};
use super::{Planted, Row};
use crate::guard::{Guest, Mistake, Rules, Shape, drain_of, gates_of, heartbeat_of};
use crate::serve::Serve;
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;
use drywire::guard::DrainConfig;

/// What is wrong.
#[derive(Clone, Copy)]
enum Wrong {
    /// The host, or what stands between it and the engine.
    Machine(Flaw),
    /// The protocol.
    Session(Mistake),
    /// What the server was told.
    Told(fn(&mut Shape, &mut Rules)),
    /// How it goes away.
    Leaves(DrainConfig),
}

/// The trial that is to find it.
type Of = fn(&str, Wrong) -> Trial<Guest>;

pub(super) fn planted() -> impl Iterator<Item = Planted> {
    WRONG.iter().map(|&((of, wrong), name, area, catchers, budget)| {
        let experiment = Box::new(of(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    })
}

const HOUR: Duration = Duration::from_secs(3600);
const AT_ONCE: DrainConfig = DrainConfig { spread: Duration::ZERO, ..crate::guard::DEPARTURE };
const WITHOUT_END: DrainConfig = DrainConfig { hard: HOUR, ..crate::guard::DEPARTURE };

const BEAT: Of = |name, wrong| heartbeat_of(name, serve(wrong));
const GATE: Of = |name, wrong| gates_of(name, serve(wrong));
const DRAIN: Of = |name, wrong| drain_of(name, serve(wrong));

#[rustfmt::skip]
const WRONG: &[Row<(Of, Wrong)>] = &[
    ((BEAT, Wrong::Told(|s, _| s.limits.own_stall = HOUR)), "our own stall kills a living peer", "heartbeat", &["heartbeat"], 4000),
    ((BEAT, Wrong::Machine(Flaw::TicksFirst)), "the host ticks before it reads", "heartbeat", &["heartbeat"], 10_000),
    ((BEAT, Wrong::Session(Mistake::PingsBehindBulk)), "a ping waits behind bulk data", "heartbeat", &["heartbeat"], 400),
    ((BEAT, Wrong::Session(Mistake::ForgetsProgress)), "a slow reader is taken for dead", "heartbeat", &["heartbeat"], 4000),
    ((BEAT, Wrong::Session(Mistake::AnyByteTaken)), "what an idle kernel buffer takes is taken for life", "heartbeat", &["heartbeat"], 400),
    ((BEAT, Wrong::Session(Mistake::DeafToPongs)), "a pong is no sign of life", "heartbeat", &["heartbeat"], 400),
    ((BEAT, Wrong::Told(|_, r| r.beat.timeout *= 2)), "the silent are kept for six intervals", "heartbeat", &["heartbeat"], 100),
    ((BEAT, Wrong::Session(Mistake::EveryByteIsProgress)), "one byte a second keeps a request alive", "deadlines", &["request"], 4000),
    ((BEAT, Wrong::Told(|_, r| r.patience.request /= 4)), "a request is cut off before its time", "deadlines", &["request"], 400),
    ((BEAT, Wrong::Told(|_, r| r.flood.strikes = u32::MAX)), "pings without end are answered", "flood", &["flood"], 400),
    ((BEAT, Wrong::Told(|_, r| r.flood.strikes = 2)), "a few pings are a flood", "flood", &["flood"], 400),
    ((GATE, Wrong::Told(|s, _| s.limits.output.no_progress = HOUR)), "a reader that takes nothing is kept", "gates", &["gate"], 400),
    ((GATE, Wrong::Told(|s, _| s.limits.output.no_progress /= 3)), "a slow reader is given up early", "gates", &["gate"], 400),
    ((GATE, Wrong::Told(|s, _| s.limits.output.soft_for = HOUR)), "too many bytes for too long are kept", "gates", &["gate"], 400),
    ((GATE, Wrong::Told(|s, _| s.limits.output.soft_for = Duration::from_millis(100))), "a short burst is too long", "gates", &["gate"], 400),
    ((GATE, Wrong::Told(|s, _| s.limits.output.hard = usize::MAX)), "output has no end", "gates", &["gate", "footprint"], 1000),
    ((DRAIN, Wrong::Machine(Flaw::DrainIsTheEnd)), "closing drops the answers that are owed", "drain", &["drain"], 4000),
    ((DRAIN, Wrong::Session(Mistake::ServesWhileRefusing)), "work is done after it was to be refused", "drain", &["drain"], 400),
    ((DRAIN, Wrong::Leaves(AT_ONCE)), "a server that leaves closes all at once", "drain", &["drain"], 400),
    ((DRAIN, Wrong::Leaves(WITHOUT_END)), "a server that leaves stays for whoever holds on", "drain", &["drain"], 1000),
];

fn serve(wrong: Wrong) -> impl Fn(&mut crate::decide::Decider) -> Factory + Send + Sync + 'static {
    move |decider| {
        let shape = Shape::draw(decider);
        Box::new(move |life| {
            let (mut told, mut rules, mut flaw) = (shape, shape.rules(), Flaw::Nothing);
            match wrong {
                Wrong::Machine(machine) => flaw = machine,
                Wrong::Session(mistake) => rules.mistake = Some(mistake),
                Wrong::Told(twist) => twist(&mut told, &mut rules),
                Wrong::Leaves(_) => {}
            }
            // It is judged by what it should have been told.
            let serve: Serve<_> = shape.serve(Flawed::new(told.engine(rules), flaw), life);
            Box::new(match wrong {
                Wrong::Leaves(config) => serve.departing(config),
                _ => serve,
            })
        })
    }
}
