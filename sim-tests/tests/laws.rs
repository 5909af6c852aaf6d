//! The simulator's own laws: a tester that breaks them finds bugs that are not there.

use core::time::Duration;
use drywire::Tick;
use drywire_sim::decide::{Decider, Key};
use drywire_sim::{Ending, Faults, Io, LinkId, Node, NodeId, Pipe, World};
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

proptest! {
    /// What is taken is a prefix of what was written, in order, and the window holds.
    #[test]
    fn a_pipe_conserves_bytes(
        window in 1_usize..300,
        steps in prop::collection::vec((0_u8..4, 0_usize..200), 1..200),
    ) {
        let mut pipe = Pipe::new(window);
        let (mut written, mut taken) = (Vec::new(), Vec::new());
        for (i, (step, n)) in steps.into_iter().enumerate() {
            match step {
                0 => {
                    let bytes: Vec<u8> = (0..n).map(|j| (i * 7 + j) as u8).collect();
                    let room = pipe.room();
                    let took = pipe.write(&bytes);
                    prop_assert_eq!(took, n.min(room));
                    written.extend_from_slice(&bytes[..took]);
                }
                1 => { pipe.launch(n.min(pipe.unlaunched())); }
                2 => pipe.arrive(n.min((pipe.launched() - pipe.arrived()) as usize)),
                _ => {
                    let n = n.min(pipe.input().len());
                    taken.extend_from_slice(&pipe.input()[..n]);
                    pipe.take(n);
                }
            }
            prop_assert!(pipe.written() - pipe.taken() <= window as u64);
            prop_assert!(pipe.taken() <= pipe.arrived() && pipe.arrived() <= pipe.launched());
            prop_assert_eq!(&taken[..], &written[..taken.len()]);
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    sent: Vec<u8>,
    received: Vec<u8>,
    /// How the receiver was told that it ended, and how many bytes it had by then.
    ended: Vec<(Ending, usize)>,
    last: Tick,
}

/// Sends a stream as fast as it may, then ends it.
struct Sender {
    to: NodeId,
    log: Rc<RefCell<Log>>,
    left: usize,
}

impl Sender {
    fn go(&mut self, io: &mut Io<'_>, link: LinkId) {
        while self.left > 0 {
            let n = self.left.min(700);
            let at = self.log.borrow().sent.len();
            let bytes: Vec<u8> = (at..at + n).map(|i| (i * i / 251) as u8).collect();
            let took = io.write(link, &bytes);
            self.log.borrow_mut().sent.extend_from_slice(&bytes[..took]);
            self.left -= took;
            if took < n {
                return;
            }
        }
        io.finish(link);
    }
}

impl Node for Sender {
    fn start(&mut self, io: &mut Io<'_>) {
        io.connect(self.to, Key::of(0, 1));
    }
    fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.go(io, link);
    }
    fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
        self.go(io, link);
    }
    fn readable(&mut self, _: &mut Io<'_>, _: LinkId) {}
}

struct Receiver(Rc<RefCell<Log>>);

impl Node for Receiver {
    fn readable(&mut self, io: &mut Io<'_>, link: LinkId) {
        let mut log = self.0.borrow_mut();
        assert!(io.now() >= log.last, "time runs forwards");
        log.last = io.now();
        // Not always all of it.
        let n = io.input(link).len().div_ceil(2);
        log.received.extend_from_slice(&io.input(link)[..n]);
        io.take(link, n);
        if !io.input(link).is_empty() {
            io.again(link.0);
        }
    }
    fn turn(&mut self, io: &mut Io<'_>, token: u32) {
        if !io.input(LinkId(token)).is_empty() {
            self.readable(io, LinkId(token));
        }
    }
    fn ended(&mut self, io: &mut Io<'_>, link: LinkId, how: Ending) {
        let mut log = self.0.borrow_mut();
        let n = log.received.len();
        log.ended.push((how, n));
        io.close(link);
    }
}

fn stream(seed: u64, faults: Faults, bytes: usize) -> Log {
    let log = Rc::new(RefCell::new(Log::default()));
    let mut world = World::new(Decider::seeded(seed), faults);
    let to = world.add("receiver", Box::new(Receiver(Rc::clone(&log))));
    world.add("sender", Box::new(Sender { to, log: Rc::clone(&log), left: bytes }));
    world.run_until(Tick::from_secs(30));
    world.calm(Duration::from_secs(1));
    world.run_until(Tick::from_secs(300));
    assert_eq!(world.violation(), None);
    drop(world);
    Rc::into_inner(log).expect("the world is gone").into_inner()
}

/// Under any faults but flipped bits: FIFO, nothing made up, and an end in peace only after
/// everything. Without resets everything arrives.
#[test]
fn links_are_honest_under_every_fault() {
    use drywire_sim::Fault;
    let all = Faults::all().except(&[Fault::Flip]);
    let kind = all.except(&[Fault::Reset, Fault::Unreachable]);
    let (mut resets, mut whole) = (0, 0);
    for seed in 0..400 {
        let log = stream(seed, all, 20_000);
        assert_eq!(log.received[..], log.sent[..log.received.len()], "seed {seed}");
        for (how, n) in &log.ended {
            match how {
                Ending::Fin => assert_eq!(*n, 20_000, "seed {seed}"),
                _ => resets += 1,
            }
        }
        let log = stream(seed, kind, 20_000);
        whole += usize::from(log.received.len() == 20_000 && log.ended == [(Ending::Fin, 20_000)]);
    }
    assert!(resets > 20, "{resets}");
    assert_eq!(whole, 400);
}

/// A flipped bit changes one bit and nothing else.
#[test]
fn a_flip_changes_one_bit() {
    use drywire_sim::Fault;
    use drywire_sim::decide::Chance;
    let faults = Faults::NONE.with(Fault::Flip, Chance::one_in(3));
    let mut flipped = 0;
    for seed in 0..100 {
        let log = stream(seed, faults, 3000);
        assert_eq!(log.received.len(), 3000);
        let bits: u32 = log.received.iter().zip(&log.sent).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!(bits <= 5, "one write, at most one bit");
        flipped += bits;
    }
    assert!(flipped > 30);
}

/// A window of one byte makes a link slow, not wrong.
#[test]
fn a_narrow_window_only_slows() {
    use drywire_sim::Fault;
    use drywire_sim::decide::Chance;
    let faults = Faults::NONE.with(Fault::Narrow, Chance::ALWAYS);
    for seed in 0..30 {
        let log = stream(seed, faults, 2000);
        assert_eq!(log.received, log.sent);
        assert_eq!(log.ended, [(Ending::Fin, 2000)]);
    }
}

/// A connection to a port where nobody listens, or that the network swallows, says so.
#[test]
fn connecting_ends_in_one_way_or_another() {
    use drywire_sim::Fault;
    use drywire_sim::decide::Chance;
    struct Knocker(NodeId, Rc<RefCell<Vec<Ending>>>);
    impl Node for Knocker {
        fn start(&mut self, io: &mut Io<'_>) {
            for op in 0..50 {
                io.connect(self.0, Key::of(0, op));
            }
        }
        fn readable(&mut self, _: &mut Io<'_>, _: LinkId) {}
        fn ended(&mut self, _: &mut Io<'_>, _: LinkId, how: Ending) {
            self.1.borrow_mut().push(how);
        }
    }
    let endings = Rc::new(RefCell::new(Vec::new()));
    let faults = Faults::NONE.with(Fault::Unreachable, Chance::ALWAYS);
    let mut world = World::new(Decider::seeded(1), faults);
    let to = world.add("receiver", Box::new(Receiver(Rc::default())));
    world.add("knocker", Box::new(Knocker(to, Rc::clone(&endings))));
    world.run_until(Tick::from_secs(10));
    let count = |how| endings.borrow().iter().filter(|e| **e == how).count();
    assert_eq!(count(Ending::Refused) + count(Ending::TimedOut), 50);
    assert!(count(Ending::Refused) > 10 && count(Ending::TimedOut) > 10);
}

/// A writer is told once that it may try again, however often it tried meanwhile: or who tries
/// twice each time is told twice as often from time to time, and time stands still.
#[test]
fn who_tries_again_and_again_is_told_once() {
    use drywire_sim::Fault;
    use drywire_sim::decide::Chance;
    struct Impatient(NodeId, Rc<RefCell<u32>>);
    impl Node for Impatient {
        fn start(&mut self, io: &mut Io<'_>) {
            io.connect(self.0, Key::of(0, 1));
        }
        fn opened(&mut self, io: &mut Io<'_>, link: LinkId) {
            self.writable(io, link);
        }
        fn writable(&mut self, io: &mut Io<'_>, link: LinkId) {
            *self.1.borrow_mut() += 1;
            for _ in 0..3 {
                io.write(link, b"again");
            }
        }
        fn readable(&mut self, _: &mut Io<'_>, _: LinkId) {}
    }
    let told = Rc::new(RefCell::new(0));
    let faults = Faults::NONE.with(Fault::Short, Chance::ALWAYS);
    let mut world = World::new(Decider::seeded(7), faults);
    let to = world.add("receiver", Box::new(Receiver(Rc::default())));
    world.add("sender", Box::new(Impatient(to, Rc::clone(&told))));
    world.run_for(Duration::from_millis(10));
    // Every 50 us.
    assert!((150..=201).contains(&*told.borrow()), "told {} times", told.borrow());
}
