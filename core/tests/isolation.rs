//! A peer that does not read its answers changes nothing for the others, until it is given up and
//! after; and it does not matter how often the engine is asked to look at its deadlines.

use drywire::Tick;
use drywire::conn::{CloseReason, Limits, Peer, Wants};
use drywire::engine::{ConnId, Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use proptest::prelude::*;

const POLITE: usize = 3;
/// The place of the peer that never reads.
const DEAF: usize = POLITE;
const VALUE: usize = 3000;

#[derive(Clone, Debug)]
struct Step {
    /// Milliseconds since the step before.
    gap: u64,
    conn: usize,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Set(u8),
    Get(usize),
    /// The peer takes at most so much of its output.
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let what = prop_oneof![
        1 => any::<u8>().prop_map(What::Set),
        3 => (1usize..40).prop_map(What::Get),
        3 => (1usize..3 * VALUE).prop_map(What::Take),
    ];
    let step = (0u64..2_000, 0..=DEAF, what).prop_map(|(gap, conn, what)| Step { gap, conn, what });
    prop::collection::vec(step, 0..120)
}

struct Rig {
    engine: Engine<Server<Local<Part>>>,
    conns: Vec<ConnId>,
    /// What could not be taken in yet.
    input: Vec<Vec<u8>>,
    /// What each peer was told, and when.
    said: Vec<Vec<(u64, Vec<u8>)>>,
    now: u64,
    often: bool,
}

impl Rig {
    fn new(often: bool) -> Self {
        let hasher = Hasher::new(1);
        let part = Part::new(Store::new(StoreConfig::new(64 << 20, hasher.clone())).unwrap());
        let shared = Shared::new(Config::new(hasher, 0), Local::one(part));
        let mut engine = Engine::new(shared, Limits::default(), POLITE + 1);
        let start = Tick::from_secs(1);
        let conns: Vec<_> =
            (0..=DEAF as u64).map(|n| engine.accept(start, &Peer::Virtual(n)).unwrap()).collect();
        let (input, said) = (vec![Vec::new(); conns.len()], vec![Vec::new(); conns.len()]);
        Self { engine, conns, input, said, now: 1000, often }
    }

    /// Lets time pass, looking at the deadlines when they are due or all the time.
    fn pass(&mut self, gap: u64) {
        let end = self.now + gap;
        loop {
            let due = self.engine.deadline().map(|due| due.at.0.div_ceil(1_000_000));
            let often = self.often.then_some(self.now + 100);
            let next = due.into_iter().chain(often).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.engine.tick(Tick::from_millis(self.now));
            self.look();
        }
        self.now = end;
    }

    /// Whatever can go on goes on; the peers of all but output.
    fn look(&mut self) {
        let now = Tick::from_millis(self.now);
        while self.engine.next_dirty(now).is_some() {}
        for (conn, id) in self.conns.iter().enumerate() {
            loop {
                let wants = self.engine.wants(*id);
                if wants.has(Wants::AGAIN) {
                    self.engine.resume(*id, now);
                } else if wants.has(Wants::READ) && !self.input[conn].is_empty() {
                    let taken = self.engine.receive(*id, now, &self.input[conn]);
                    self.input[conn].drain(..taken);
                } else {
                    break;
                }
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.pass(step.gap);
        let (conn, now) = (step.conn, Tick::from_millis(self.now));
        match &step.what {
            What::Set(byte) => {
                let value = [*byte; VALUE];
                self.input[conn].extend(format!("set k{conn} 0 0 {VALUE}\r\n").into_bytes());
                self.input[conn].extend(value);
                self.input[conn].extend(b"\r\n");
            }
            What::Get(times) => {
                self.input[conn].extend(format!("get k{conn}\r\n").repeat(*times).into_bytes());
            }
            What::Take(most) if conn != DEAF => {
                let out: Vec<u8> =
                    self.engine.outgoing(self.conns[conn]).flatten().copied().take(*most).collect();
                self.engine.sent(self.conns[conn], now, out.len());
                self.said[conn].push((self.now, out));
            }
            What::Take(_) => {}
        }
        self.look();
    }

    fn run(mut self, steps: &[Step], deaf: bool) -> Self {
        for step in steps {
            if deaf || step.conn != DEAF {
                self.step(step);
            } else {
                self.pass(step.gap);
                self.look();
            }
        }
        self.pass(30_000);
        self
    }
}

proptest! {
    #[test]
    fn a_deaf_peer_changes_nothing_for_the_others(steps in steps()) {
        let beside = Rig::new(false).run(&steps, true);
        let alone = Rig::new(false).run(&steps, false);
        prop_assert_eq!(&beside.said[..DEAF], &alone.said[..DEAF]);
        let asked = steps.iter().any(|s| s.conn == DEAF && !matches!(s.what, What::Take(_)));
        let gone = beside.engine.close_reason(beside.conns[DEAF]) == Some(CloseReason::SlowReader);
        prop_assert_eq!(gone, asked, "it is given up if and only if it owes us a reading");
    }

    /// Deadlines are enough: a host that sleeps until they are due does what one does that looks
    /// ten times a second besides.
    #[test]
    fn looking_at_deadlines_is_looking_all_the_time(steps in steps()) {
        let [often, due] = [true, false].map(|often| Rig::new(often).run(&steps, true));
        prop_assert_eq!(&often.said, &due.said);
        for id in &due.conns {
            prop_assert_eq!(often.engine.close_reason(*id), due.engine.close_reason(*id));
        }
    }
}
