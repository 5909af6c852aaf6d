//! Wakes, backlogs and mail: a wall of lines that every connection of every engine reads.

use drywire::Tick;
use drywire::conn::{
    CloseReason, Cx, Fault, Limits, NoJob, Peer, Place, Session, Stop, Taken, Upkeep, Wants,
};
use drywire::engine::{ConnId, Engine};
use proptest::prelude::*;

#[derive(Default)]
struct Wall {
    lines: Vec<u8>,
    readers: Vec<ConnId>,
}

/// Writes each byte it gets on the wall of every engine, and reads the wall in small bites.
struct Reader {
    read: usize,
    until: usize,
}

const BITE: usize = 10;

fn write(up: &mut Upkeep<'_, Reader>, byte: u8) {
    up.shared.lines.push(byte);
    for i in 0..up.shared.readers.len() {
        let id = up.shared.readers[i];
        up.wake(id);
    }
}

impl Session for Reader {
    type Shared = Wall;
    type Message = u8;
    type Job = NoJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        cx.shared.readers.push(cx.id);
        Self { read: 0, until: 0 }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let mut up = cx.upkeep();
        for byte in input {
            write(&mut up, *byte);
            let Place { index, count } = up.place();
            for to in (0..count).filter(|to| *to != index) {
                up.mail(to, *byte);
            }
        }
        Ok(Taken { used: input.len(), stop: Stop::NeedInput(1) })
    }

    fn on_wake(&mut self, cx: &mut Cx<'_, Self>) {
        let end = cx.shared.lines.len().min(self.read + BITE);
        cx.out.put(&cx.shared.lines[self.read..end]);
        self.read = end;
        self.until = cx.shared.lines.len();
    }

    fn has_backlog(&self) -> bool {
        self.read < self.until
    }

    fn on_mail(up: &mut Upkeep<'_, Self>, _: usize, byte: u8) {
        write(up, byte);
    }
}

fn limits() -> Limits {
    Limits { output_low: 3, ..Limits::default() }
}

/// What a connection says until it has nothing more to do, sent `piece` bytes at a time.
fn hear(engine: &mut Engine<Reader>, id: ConnId, piece: usize) -> Vec<u8> {
    let now = Tick::from_secs(1);
    let mut heard = Vec::new();
    loop {
        let wants = engine.wants(id);
        if wants.has(Wants::AGAIN) {
            engine.resume(id, now);
        } else if wants.has(Wants::WRITE) {
            let all: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
            let n = piece.min(all.len());
            heard.extend_from_slice(&all[..n]);
            engine.sent(id, now, n);
        } else {
            return heard;
        }
    }
}

#[test]
fn a_wake_is_heard_once_in_the_next_turn() {
    let mut engine = Engine::<Reader>::new(Wall::default(), limits(), 8);
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
    engine.receive(a, now, b"abc");
    assert_eq!(engine.deadline().map(|d| d.at), Some(Tick::ZERO), "the host must not sleep");
    assert_eq!([engine.next_dirty(now), engine.next_dirty(now)], [Some(a), Some(b)]);
    assert_eq!(engine.next_dirty(now), None);
    assert_eq!(engine.deadline(), None);
    assert_eq!(engine.wants(b), Wants::READ | Wants::AGAIN);
    engine.resume(b, now);
    assert_eq!(engine.wants(b), Wants::READ | Wants::WRITE);
    assert_eq!(hear(&mut engine, b, 100), b"abc");
}

#[test]
fn a_connection_that_is_gone_is_not_woken() {
    let mut engine = Engine::<Reader>::new(Wall::default(), limits(), 8);
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
    engine.receive(a, now, b"x");
    engine.release(b, now);
    let c = engine.accept(now, &Peer::Virtual(3)).unwrap();
    assert_eq!(c.slot, b.slot);
    assert_eq!(engine.next_dirty(now), Some(a));
    assert_eq!(engine.next_dirty(now), None);
}

#[test]
fn an_ending_connection_gets_its_backlog_first() {
    let mut engine = Engine::<Reader>::new(Wall::default(), limits(), 8);
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let text = [b'x'; 95];
    engine.receive(a, now, &text);
    while engine.next_dirty(now).is_some() {}
    engine.resume(a, now);
    engine.end_of_input(a, now);
    assert_eq!(hear(&mut engine, a, 4), text);
    assert_eq!(engine.wants(a), Wants::CLOSE);
    assert_eq!(engine.close_reason(a), Some(CloseReason::PeerDone));
}

proptest! {
    /// However bites, sends and turns fall, each reader of each engine reads its whole wall, and
    /// the mail of one engine arrives in its order.
    #[test]
    fn everything_is_read_once(
        writes in prop::collection::vec((0usize..3, 1usize..40), 1..20),
        piece in 1usize..30,
    ) {
        let now = Tick::ZERO;
        let mut engines: Vec<_> =
            (0..3).map(|_| Engine::<Reader>::new(Wall::default(), limits(), 8)).collect();
        for (index, engine) in engines.iter_mut().enumerate() {
            engine.seat(Place { index, count: 3 });
            engine.accept(now, &Peer::Virtual(1)).unwrap();
        }
        let id = ConnId { slot: 0, generation: 0 };
        let mut heard = vec![Vec::new(); 3];
        let mut number = 0u8;
        for (writer, n) in &writes {
            for _ in 0..*n {
                engines[*writer].receive(id, now, &[((*writer as u8) << 6) | (number % 64)]);
                number = number.wrapping_add(1);
            }
            while let Some(letter) = engines[*writer].next_mail() {
                prop_assert_eq!(letter.from(), *writer);
                let to = letter.to();
                engines[to].receive_mail(now, letter);
            }
            for (i, engine) in engines.iter_mut().enumerate() {
                while engine.next_dirty(now).is_some() {}
                heard[i].extend(hear(engine, id, piece));
            }
        }
        for (engine, heard) in engines.iter().zip(&heard) {
            prop_assert_eq!(heard, &engine.world().shared.lines);
        }
        prop_assert_eq!(heard[0].len(), writes.iter().map(|(_, n)| n).sum::<usize>());
        // With the mail carried at once, all walls are the same.
        prop_assert!(heard.iter().all(|h| *h == heard[0]));
    }
}
