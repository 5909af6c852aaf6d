//! What all connections of an engine hold together is bounded, and a connection that is not read
//! because of it is read again: `Limits::total`.

use drywire::Tick;
use drywire::conn::{Cx, Fault, Limits, NoJob, Peer, Session, Stop, Taken, Wants};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use proptest::prelude::*;

/// Each byte in is answered with `REPLY` bytes, or with one if it has to be refused.
#[derive(Debug)]
struct Echo;

const REPLY: usize = 1000;

impl Session for Echo {
    type Shared = u64;
    type Message = ();
    type Job = NoJob;

    fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        for used in 0..input.len() {
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            *cx.shared += 1;
            if cx.must_shed() {
                cx.out.put(b"-");
            } else {
                cx.out.put(&[b'+'; REPLY]);
            }
        }
        Ok(Taken { used: input.len(), stop: Stop::NeedInput(1) })
    }
}

const NOW: Tick = Tick::from_secs(1);
const CONNS: usize = 6;
const LIMITS: Limits = Limits {
    input: 64,
    output_high: 5 * REPLY,
    output_low: REPLY,
    total: 20 * REPLY,
    messages_per_turn: 4,
    ..Limits::DEFAULT
};

struct Rig {
    engine: Engine<Echo>,
    conns: Vec<ConnId>,
    /// What a host knows: who wanted nothing when it last looked, and was not named since.
    asleep: Vec<bool>,
    asked: u64,
}

impl Rig {
    fn new() -> Self {
        let mut engine = Engine::new(0, LIMITS, CONNS);
        let conns = (0..CONNS as u64).map(|n| engine.accept(NOW, &Peer::Virtual(n)).unwrap());
        let conns = conns.collect();
        Self { engine, conns, asleep: vec![false; CONNS], asked: 0 }
    }

    fn outgoing(&self, conn: usize) -> usize {
        self.engine.outgoing(self.conns[conn]).map(<[u8]>::len).sum()
    }

    fn ask(&mut self, conn: usize, n: usize) {
        self.asked += self.engine.receive(self.conns[conn], NOW, &[b'?'; 64][..n]) as u64;
    }

    fn take(&mut self, conn: usize, n: usize) {
        let n = n.min(self.outgoing(conn));
        self.engine.sent(self.conns[conn], NOW, n);
    }

    /// Looks at everybody as a host does: those it has just called, and those the engine names.
    fn look(&mut self, called: usize) {
        self.asleep[called] = false;
        while let Some(id) = self.engine.next_dirty(NOW) {
            let conn = self.conns.iter().position(|c| *c == id).unwrap();
            self.asleep[conn] = false;
        }
        for conn in 0..CONNS {
            let wants = self.engine.wants(self.conns[conn]);
            if self.asleep[conn] {
                let idle = !wants.has(Wants::READ) && !wants.has(Wants::AGAIN);
                assert!(idle, "{conn} went on without anybody being told");
            }
            self.asleep[conn] = !wants.has(Wants::READ) && !wants.has(Wants::AGAIN);
        }
    }

    fn check(&self) {
        let sum: usize = (0..CONNS).map(|conn| self.outgoing(conn)).sum();
        let held = self.engine.world();
        assert!(self.engine.buffered() >= sum && self.engine.buffered() <= sum + CONNS * 64);
        let most = LIMITS.total + LIMITS.output_high + REPLY + CONNS;
        assert!(sum <= most, "{sum} bytes are held, {held:p}");
        for conn in 0..CONNS {
            let (out, wants) = (self.outgoing(conn), self.engine.wants(self.conns[conn]));
            let goes_on = wants.has(Wants::READ) || wants.has(Wants::AGAIN);
            assert!(goes_on || out > 0, "{conn} is not read and has nothing to be taken (I4)");
            if self.engine.reads_stopped() {
                assert!(!goes_on || out == 0, "{conn} is read with {out} bytes waiting");
            }
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(usize, usize, usize)>> {
    prop::collection::vec((0..3usize, 0..CONNS, 1..6 * REPLY), 1..300)
}

proptest! {
    #[test]
    fn the_sum_is_bounded_and_everybody_goes_on(steps in steps()) {
        let mut rig = Rig::new();
        let mut stopped_at = None;
        for (step, conn, n) in steps {
            match step {
                0 => rig.ask(conn, n % 64 + 1),
                1 => rig.take(conn, n),
                _ => rig.engine.resume(rig.conns[conn], NOW),
            }
            rig.look(conn);
            rig.check();
            // Hysteresis: at least a quarter of the cap is taken between stop and resumption.
            let (held, stopped) = (rig.engine.buffered(), rig.engine.reads_stopped());
            match stopped_at {
                None if stopped => prop_assert!(held >= LIMITS.total / 4 * 3),
                Some(_) if !stopped => prop_assert!(held <= LIMITS.total / 2),
                _ => {}
            }
            stopped_at = stopped.then_some(held);
        }
        // Whoever reads gets all answers, whatever the others held before.
        for _ in 0..1000 {
            for conn in 0..CONNS {
                rig.take(conn, usize::MAX);
                rig.engine.resume(rig.conns[conn], NOW);
                rig.look(conn);
            }
        }
        prop_assert!(!rig.engine.reads_stopped());
        prop_assert_eq!(rig.engine.buffered(), 0);
        prop_assert_eq!(*rig.engine.shared_mut(), rig.asked, "each request is served once");
    }
}

#[test]
fn those_who_read_are_served_beside_those_who_do_not() {
    let mut rig = Rig::new();
    for conn in 0..4 {
        for _ in 0..10 {
            rig.ask(conn, 8);
            rig.engine.resume(rig.conns[conn], NOW);
        }
        rig.look(conn);
        rig.check();
    }
    assert!(rig.engine.reads_stopped());
    assert_eq!(rig.engine.receive(rig.conns[0], NOW, b"?"), 0, "it does not read");
    for _ in 0..100 {
        rig.ask(5, 1);
        assert!(rig.outgoing(5) > 0);
        rig.take(5, usize::MAX);
    }
    assert_eq!(rig.asked, *rig.engine.shared_mut() + rig.engine.buffered() as u64 % REPLY as u64);
}

#[test]
fn what_others_hold_counts_and_its_end_is_told() {
    let mut rig = Rig::new();
    rig.ask(0, 1);
    rig.engine.set_buffered_elsewhere(LIMITS.total);
    assert!(rig.engine.reads_stopped());
    assert!(!rig.engine.wants(rig.conns[0]).has(Wants::READ));
    rig.look(0);
    rig.ask(1, 1);
    assert_eq!(rig.outgoing(1), 1, "refused");
    rig.look(1);
    rig.engine.set_buffered_elsewhere(0);
    rig.look(2);
    assert!(rig.engine.wants(rig.conns[0]).has(Wants::READ));
}

type Memcached = Engine<Server<Local<Part>>>;

fn memcached() -> (Memcached, ConnId) {
    let hasher = Hasher::new(1);
    let part = Part::new(Store::new(StoreConfig::new(4 << 20, hasher.clone())).unwrap());
    let shared = Shared::new(Config::new(hasher, 0), Local::one(part));
    let mut engine = Engine::new(shared, Limits::default(), 64);
    let id = engine.accept(NOW, &Peer::Virtual(0)).unwrap();
    (engine, id)
}

/// What is answered to `input` cut into pieces of `piece` bytes; output is taken at once.
fn say(engine: &mut Memcached, id: ConnId, input: &[u8], piece: usize) -> String {
    let mut said = Vec::new();
    for mut bytes in input.chunks(piece) {
        loop {
            let n = engine.receive(id, NOW, bytes);
            bytes = &bytes[n..];
            let out: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
            engine.sent(id, NOW, out.len());
            said.extend(out);
            if engine.wants(id).has(Wants::AGAIN) {
                engine.resume(id, NOW);
            } else if bytes.is_empty() && engine.outgoing(id).next().is_none() {
                break;
            }
        }
    }
    String::from_utf8(said).unwrap()
}

#[test]
fn memcached_refuses_what_it_has_no_room_for_and_stays_in_step() {
    const BUSY: &str = "SERVER_ERROR server too busy\r\n";
    let keys = " k".repeat(2000);
    let script = format!(
        "get k\r\ngets k n\r\ngat 0 k\r\nget{keys}\r\nset k 1 0 9\r\nget k\r\n\r\n\r\nset k 0 0 1 noreply\r\nx\r\n\
         delete k\r\ndelete k noreply\r\nincr n 1\r\nincr n 1 noreply\r\ntouch k 0\r\n\
         add k 0 0 3\r\nabc\r\nflush_all\r\nverbosity 1\r\nset k 0 0 x\r\nbad\r\nversion\r\n"
    );
    for piece in [1, 7, 1000, usize::MAX] {
        let (mut engine, id) = memcached();
        let before = say(&mut engine, id, b"set k 7 0 3\r\nold\r\nset n 0 0 1\r\n1\r\n", piece);
        assert_eq!(before, "STORED\r\nSTORED\r\n");
        engine.set_buffered_elsewhere(Limits::default().total);
        let said = say(&mut engine, id, script.as_bytes(), piece);
        let version = said.rfind("VERSION").expect("tells who it is");
        let rest = "OK\r\nCLIENT_ERROR bad command line format\r\nERROR\r\n";
        assert_eq!(&said[..version], BUSY.repeat(10) + rest, "in pieces of {piece}");
        let stats = say(&mut engine, id, b"stats\r\n", piece);
        for line in ["shed_requests 13\r\n", "reads_stopped 1\r\n", "buffered_bytes 2684354"] {
            assert!(stats.contains(&format!("STAT {line}")), "{line}: {stats}");
        }
        engine.set_buffered_elsewhere(0);
        while engine.next_dirty(NOW).is_some() {}
        let after = say(&mut engine, id, b"gets k n\r\n", piece);
        assert!(
            after.starts_with("VALUE k 7 3 1\r\nold\r\nVALUE n 0 1 2\r\n1\r\n"),
            "not executed: {after}"
        );
    }
}

/// Whoever has begun a list of keys before, without a value in it, is refused in the middle.
#[test]
fn lists_that_were_begun_before_do_not_break_the_bound() {
    const VALUE: usize = 1 << 20 >> 1;
    let (mut engine, first) = memcached();
    let stored = format!("set b 0 0 {VALUE}\r\n{}\r\n", "v".repeat(VALUE));
    assert_eq!(say(&mut engine, first, stored.as_bytes(), 1 << 15), "STORED\r\n");
    let conns: Vec<ConnId> =
        (1..60).map(|n| engine.accept(NOW, &Peer::Virtual(n)).unwrap()).collect();
    let begun = format!("get{} ", " k".repeat(2000));
    for id in &conns {
        assert_eq!(engine.receive(*id, NOW, begun.as_bytes()), begun.len());
        while engine.wants(*id).has(Wants::AGAIN) {
            engine.resume(*id, NOW);
        }
    }
    assert!(engine.buffered() < VALUE, "nothing is answered yet");
    let elsewhere = Limits::default().total - 3 * VALUE;
    engine.set_buffered_elsewhere(elsewhere);
    for id in &conns {
        assert_eq!(engine.receive(*id, NOW, b"b \r\n"), 4);
    }
    let held = elsewhere + engine.buffered();
    assert!(held <= Limits::default().total + VALUE + (64 << 10), "{held}");
    let said: Vec<Vec<u8>> =
        conns.iter().map(|id| engine.outgoing(*id).flatten().copied().collect()).collect();
    let values = said.iter().filter(|said| said.ends_with(b"v\r\nEND\r\n")).count();
    let refused = said.iter().filter(|said| *said == b"SERVER_ERROR server too busy\r\n").count();
    assert_eq!((values, refused), (3, conns.len() - 3), "each list has one end");
}
