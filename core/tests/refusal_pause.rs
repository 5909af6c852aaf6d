//! `Limits::refusal_pause` under an engine and a host: who was refused is served later, never much
//! later, and nothing but the moment changes.

use drywire::Tick;
use drywire::conn::{Cx, Fault, Job, Limits, Peer, Session, Stop, Taken, Wants};
use drywire::engine::{ConnId, Engine, JobId};
use proptest::prelude::*;
use std::time::Duration;

/// Each byte is a request: `w` is work, `r` is refused, anything else is answered.
#[derive(Debug)]
struct Door(u32);

struct Work;

impl Job for Work {
    type Output = u8;
    fn run(self) -> u8 {
        b'*'
    }
}

impl Session for Door {
    type Shared = ();
    type Message = ();
    type Job = Work;

    fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self(0)
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        for (used, byte) in input.iter().enumerate() {
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            match byte {
                b'w' => {
                    cx.spawn(Work);
                    self.0 += 1;
                }
                b'r' => {
                    cx.refused();
                    cx.out.put(b"-");
                }
                _ => cx.out.put(b"+"),
            }
        }
        Ok(Taken { used: input.len(), stop: Stop::NeedInput(1) })
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, answer: u8) {
        self.0 -= 1;
        cx.out.put_u8(answer);
    }

    fn owes(&self) -> bool {
        self.0 > 0
    }
}

const PAUSE: u64 = 10;

/// A host with one connection, whose network is a list of bytes with the tick at which they come.
struct Rig {
    engine: Engine<Door>,
    id: ConnId,
    /// Arrived, not read.
    socket: Vec<(u64, u8)>,
    /// When the oldest output came that is not written.
    unsent_since: Option<u64>,
    now: u64,
    said: Vec<u8>,
    reads: usize,
    writes: usize,
}

impl Rig {
    fn new(pause: u64) -> Self {
        let limits = Limits {
            refusal_pause: Duration::from_nanos(pause),
            messages_per_turn: 3,
            ..Limits::DEFAULT
        };
        let mut engine = Engine::new((), limits, 1);
        let id = engine.accept(Tick(1), &Peer::Virtual(0)).unwrap();
        Self {
            engine,
            id,
            socket: Vec::new(),
            unsent_since: None,
            now: 1,
            said: Vec::new(),
            reads: 0,
            writes: 0,
        }
    }

    /// A turn of the loop at this moment: whatever the engine wants, until it wants no more.
    fn turn(&mut self) {
        let now = Tick(self.now);
        if self.engine.deadline().is_some_and(|due| due.at <= now) {
            self.engine.tick(now);
        }
        loop {
            while self.engine.next_dirty(now).is_some() {}
            let wants = self.engine.wants(self.id);
            if wants.has(Wants::AGAIN) {
                self.engine.resume(self.id, now);
            } else if wants.has(Wants::READ) && !self.socket.is_empty() {
                for (came, _) in &self.socket {
                    assert!(self.now - came <= PAUSE, "read too late");
                }
                let bytes: Vec<u8> = self.socket.drain(..).map(|(_, byte)| byte).collect();
                assert_eq!(self.engine.receive(self.id, now, &bytes), bytes.len());
                self.reads += 1;
            } else if wants.has(Wants::WRITE) {
                let out: Vec<u8> = self.engine.outgoing(self.id).flatten().copied().collect();
                self.engine.sent(self.id, now, out.len());
                self.said.extend(out);
                self.writes += 1;
                let since = self.unsent_since.take().unwrap_or(self.now);
                assert!(self.now - since <= PAUSE, "written too late");
            } else {
                break;
            }
        }
        let mut waiting = self.engine.outgoing(self.id).flatten();
        assert!(waiting.all(|said| *said == b'*'), "only finished work may wait");
        if self.engine.outgoing(self.id).next().is_some() {
            self.unsent_since.get_or_insert(self.now);
        }
        let stuck =
            !self.engine.wants(self.id).has(Wants::READ) && self.engine.deadline().is_none();
        assert!(!stuck, "not read, and nothing will change that (I4)");
    }

    /// Runs the jobs that wait.
    fn work(&mut self) {
        while let Some((job, work)) = self.engine.next_job(Tick(self.now)) {
            self.engine.complete(Tick(self.now), job, work.run());
        }
    }

    /// Lets bytes come at their gaps, works every `every` ticks, and waits for the last answer.
    fn run(mut self, script: &[(u64, u8)], every: u64) -> Self {
        let mut due = 1;
        let mut left: Vec<(u64, u8)> = script
            .iter()
            .map(|(gap, byte)| {
                due += gap;
                (due, *byte)
            })
            .collect();
        left.reverse();
        let end = due + 3 * PAUSE + every;
        while self.now <= end {
            while left.last().is_some_and(|(at, _)| *at <= self.now) {
                self.socket.extend(left.pop());
            }
            if self.now.is_multiple_of(every) {
                self.work();
            }
            self.turn();
            self.now += 1;
        }
        assert!(self.socket.is_empty(), "everything was read");
        self
    }
}

fn script() -> impl Strategy<Value = Vec<(u64, u8)>> {
    let byte = prop_oneof![3 => Just(b'r'), 1 => Just(b'w'), 1 => Just(b'a')];
    prop::collection::vec((0u64..6, byte), 0..120)
}

proptest! {
    #[test]
    fn it_changes_when_and_nothing_else(script in script(), every in 1u64..8) {
        let [plain, paused] = [0, PAUSE].map(|pause| Rig::new(pause).run(&script, every));
        // Not so for writes: work that ends with a refusal by chance shares its write only there.
        prop_assert!(paused.reads <= plain.reads);
        let count = |rig: &Rig, what| rig.said.iter().filter(|said| **said == what).count();
        for (asked, answer) in [(b'r', b'-'), (b'w', b'*'), (b'a', b'+')] {
            let wanted = script.iter().filter(|(_, byte)| *byte == asked).count();
            prop_assert_eq!(count(&plain, answer), wanted);
            prop_assert_eq!(count(&paused, answer), wanted, "each once (I1)");
        }
        // In order but for work, which is answered in its own time.
        let direct = |rig: &Rig| rig.said.iter().copied().filter(|said| *said != b'*').collect::<Vec<_>>();
        prop_assert_eq!(direct(&plain), direct(&paused));
    }

    /// An ending connection is not held: the peer's end, ours, and what is owed.
    #[test]
    fn the_end_does_not_wait(script in script(), by_peer: bool) {
        let mut rig = Rig::new(PAUSE).run(&script, 3);
        let now = Tick(rig.now);
        assert_eq!(rig.engine.receive(rig.id, now, b"rw"), 2);
        if by_peer {
            rig.engine.end_of_input(rig.id, now);
        } else {
            rig.engine.close(rig.id, now);
        }
        rig.work();
        rig.turn();
        prop_assert!(rig.said.ends_with(b"-*"));
        prop_assert!(rig.engine.wants(rig.id) != Wants::NOTHING, "it goes on to its end");
    }

    #[test]
    fn nobody_waits_who_is_not_refused(script in script(), every in 1u64..8) {
        let kept: Vec<_> = script.into_iter().filter(|(_, byte)| *byte != b'r').collect();
        let [plain, paused] = [0, PAUSE].map(|pause| Rig::new(pause).run(&kept, every));
        prop_assert_eq!((plain.reads, plain.writes, plain.said), (paused.reads, paused.writes, paused.said));
    }
}

#[test]
fn a_flood_is_refused_with_one_read_for_each_pause() {
    let flood: Vec<_> = (0..1000).map(|_| (1, b'r')).collect();
    let [plain, paused] = [0, PAUSE].map(|pause| Rig::new(pause).run(&flood, 1));
    // The first alone, then ten at a time.
    assert_eq!((plain.reads, paused.reads), (1000, 101));
    assert_eq!((plain.writes, paused.writes), (1000, 101));
    assert_eq!(paused.said, plain.said);
}

fn crowd(connections: usize) -> (Engine<Door>, Vec<ConnId>) {
    let limits = Limits { refusal_pause: Duration::from_nanos(PAUSE), ..Limits::DEFAULT };
    let mut engine = Engine::new((), limits, connections);
    let accept = |_| engine.accept(Tick(1), &Peer::Virtual(0)).unwrap();
    let ids = (0..connections).map(accept).collect();
    (engine, ids)
}

/// A host stays away from its sockets while many of them are not to be read, and only then: those who
/// were refused nothing do not wait for a few others.
#[test]
fn a_host_gathers_while_a_quarter_of_the_connections_pause() {
    let (mut engine, ids) = crowd(8);
    for (refused, id) in (1..).zip(&ids[..3]) {
        assert_eq!(engine.receive(*id, Tick(2), b"rr"), 2);
        let gathers = engine.gathers_until(Tick(2));
        assert_eq!(gathers, (refused >= 2).then_some(Tick(2 + PAUSE)), "{refused} of 8");
    }
    assert_eq!(engine.gathers_until(Tick(2 + PAUSE)), None);
    // In the next span they are counted anew.
    engine.tick(Tick(2 + PAUSE));
    assert_eq!(engine.receive(ids[3], Tick(2 + PAUSE), b"r"), 1);
    assert_eq!(engine.gathers_until(Tick(2 + PAUSE)), None);
}
