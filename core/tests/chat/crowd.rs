//! Ten thousand members of one room, a hundred of whom do not read.

use drywire::Tick;
use drywire::chat::{Config, Server, Shared, limits};
use drywire::conn::{CloseReason, FaultKind, Peer, Wants};
use drywire::engine::{ConnId, Engine};
use drywire::fanout;
use drywire::guard::OutGateConfig;
use std::time::Duration;

const MEMBERS: usize = 10_000;
const MESSAGES: u64 = 300;
const SIZE: usize = 1024;
/// Bytes after which a member is kicked: so small that it comes within the run.
const HARD: usize = 128 << 10;

struct Crowd {
    engine: Engine<Server>,
    members: Vec<ConnId>,
    stuck: usize,
    heard: Vec<u64>,
    /// When each stuck member's fate came.
    kicked: Vec<Option<Tick>>,
    most_held: usize,
}

impl Crowd {
    /// Runs a room in which the first `stuck` members read nothing: a message each millisecond.
    fn run(stuck: usize) -> Self {
        let slow = OutGateConfig { hard: HARD, soft: HARD / 2, ..OutGateConfig::CHAT };
        let fanout = fanout::Config { slow, log_bytes: 2 * HARD, ..fanout::Config::default() };
        let shared = Shared::new(Config::default(), fanout);
        let mut engine = Engine::<Server>::new(shared, limits(), MEMBERS + 1);
        let accept = |engine: &mut Engine<Server>| {
            engine.accept(Tick::ZERO, &Peer::Virtual(1)).expect("room for all")
        };
        let members = (0..MEMBERS).map(|_| accept(&mut engine)).collect();
        let speaker = accept(&mut engine);
        let (heard, kicked) = (vec![0; MEMBERS], vec![None; MEMBERS]);
        let mut crowd = Self { engine, members, stuck, heard, kicked, most_held: 0 };
        let mut frame = (SIZE as u32).to_be_bytes().to_vec();
        frame.resize(4 + SIZE, b'x');
        for number in 1..=MESSAGES {
            let now = Tick::from_millis(number);
            if crowd.engine.deadline().is_some_and(|due| due.at <= now) {
                crowd.engine.tick(now);
            }
            let taken = crowd.engine.receive(speaker, now, &frame);
            assert_eq!(taken, frame.len(), "the speaker is never held up");
            crowd.serve(now);
            crowd.most_held = crowd.most_held.max(crowd.held());
            // Nobody who reads waits for one who does not: it is there in the same moment.
            let bytes = number * frame.len() as u64;
            assert!(crowd.heard[stuck..].iter().all(|heard| *heard == bytes), "at {number}");
        }
        crowd
    }

    fn serve(&mut self, now: Tick) {
        while let Some(id) = self.engine.next_dirty(now) {
            let reads = id.slot as usize >= self.stuck;
            loop {
                let wants = self.engine.wants(id);
                if wants.has(Wants::AGAIN) {
                    self.engine.resume(id, now);
                } else if wants.has(Wants::WRITE) && reads {
                    let n: usize = self.engine.outgoing(id).map(<[u8]>::len).sum();
                    self.engine.sent(id, now, n);
                    if let Some(heard) = self.heard.get_mut(id.slot as usize) {
                        *heard += n as u64;
                    }
                } else {
                    break;
                }
            }
            if !reads && self.engine.close_reason(id).is_some() {
                self.kicked[id.slot as usize].get_or_insert(now);
            }
            // A condemned one is due at once.
            if self.engine.deadline().is_some_and(|due| due.at <= now) {
                self.engine.tick(now);
            }
        }
    }

    fn held(&self) -> usize {
        self.engine.footprint() + self.engine.world().shared.exchange().footprint()
    }
}

#[test]
fn readers_do_not_notice_those_who_do_not_read() {
    let alone = Crowd::run(0);
    let crowd = Crowd::run(100);
    // A stuck member holds a filled outbox, twice because vectors double, and no more.
    let config = fanout::Config::default();
    let cap = alone.most_held + 100 * 2 * (config.fill + SIZE + 4) + (64 << 10);
    assert!(crowd.most_held <= cap, "{} over {cap}", crowd.most_held);
    // Over the limit by the message that breaks it and what an outbox may hold beside.
    let due = (HARD / SIZE + config.fill / SIZE + 8) as u64;
    for member in 0..100 {
        let at = crowd.kicked[member].expect("each stuck member meets its fate");
        assert!(at <= Tick::from_millis(due), "{at:?}");
        let reason = crowd.engine.close_reason(crowd.members[member]);
        let slow = |r| matches!(r, CloseReason::Fault(f) if f.kind == FaultKind::TooSlow);
        assert!(reason.is_some_and(slow), "{reason:?}");
    }
    assert!(
        crowd
            .engine
            .deadline()
            .is_some_and(|due| { due.at <= Tick::from_millis(MESSAGES) + Duration::from_secs(10) })
    );
}
