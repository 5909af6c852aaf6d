//! What every connection is held to, whatever its protocol: it reads its output, it does
//! something; and what is never held against it: that this process was away.

use drywire::Tick;
use drywire::conn::{
    CloseReason, Cx, Deadline, Fault, FaultKind, Limits, NoJob, Peer, Session, Stop, Taken,
    TransportError, Wants,
};
use drywire::engine::{ConnId, Engine};
use drywire::guard::{Beat, Heartbeat, HeartbeatConfig, Line, OutGateConfig};
use proptest::prelude::*;
use std::time::Duration;

/// One byte in, `shared` bytes out; `p` is a pong and `s` sends a post of 1000 bytes to itself.
/// With a heartbeat it pings after ten seconds of silence.
#[derive(Debug)]
struct Echo {
    beat: Option<(HeartbeatConfig, Heartbeat)>,
}

#[derive(Clone, Copy, Debug)]
struct Style {
    answer: usize,
    heartbeat: bool,
}

impl Session for Echo {
    type Shared = Style;
    type Message = usize;
    type Job = NoJob;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        let config = HeartbeatConfig::every(secs(10));
        let beat = cx.shared.heartbeat.then(|| (config, Heartbeat::new(&config, cx.now, 1 << 63)));
        Self { beat }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        if let Some((_, beat)) = &mut self.beat {
            beat.received(cx.now);
        }
        for (used, byte) in input.iter().enumerate() {
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            match byte {
                b'p' => {}
                b's' => cx.post(cx.id, 1000),
                _ => cx.out.put(&vec![*byte; cx.shared.answer]),
            }
        }
        Ok(Taken { used: input.len(), stop: Stop::NeedInput(1) })
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, n: usize) {
        cx.out.put(&vec![b'.'; n]);
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        let Some((config, beat)) = &mut self.beat else { return Ok(()) };
        let line = Line { pending: cx.out.len(), progress: cx.taken_at };
        loop {
            match beat.poll(config, cx.now, &line) {
                Beat::Ping => cx.out.put(b"?"),
                Beat::Dead(_) => return Err(Fault::new(FaultKind::TimedOut, "no pong")),
                Beat::Suspect(_) => {}
                Beat::None => return Ok(()),
            }
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let (config, beat) = self.beat.as_ref()?;
        beat.deadline(config, &Line::IDLE).map(|at| Deadline { at, why: "heartbeat" })
    }

    fn on_lost_time(&mut self, gap: Duration) {
        if let Some((_, beat)) = &mut self.beat {
            beat.stalled(gap);
        }
    }
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const START: Tick = Tick::from_secs(1000);

fn engine(limits: Limits, answer: usize, heartbeat: bool) -> Engine<Echo> {
    Engine::new(Style { answer, heartbeat }, limits, 100)
}

fn accept(engine: &mut Engine<Echo>) -> ConnId {
    engine.accept(START, &Peer::Virtual(1)).unwrap()
}

/// Ticks at each deadline until `until`, as a host without any traffic would.
fn pass(engine: &mut Engine<Echo>, until: Tick) {
    for _ in 0..1000 {
        match engine.deadline().filter(|due| due.at <= until) {
            Some(due) => engine.tick(due.at),
            None => return,
        }
    }
    panic!("deadlines without end (I4): {:?}", engine.deadline());
}

fn send_all(engine: &mut Engine<Echo>, id: ConnId, now: Tick) {
    let n = engine.outgoing(id).map(<[u8]>::len).sum();
    engine.sent(id, now, n);
}

#[test]
fn a_reader_that_takes_nothing_is_given_up_after_its_time_and_not_before() {
    let mut engine = engine(Limits::default(), 100, false);
    let id = accept(&mut engine);
    engine.receive(id, START, b"abc");
    assert_eq!(engine.deadline(), Some(Deadline { at: START + secs(10), why: "slow reader" }));
    // It takes a byte now and then, and asks for more.
    let mut now = START;
    for _ in 0..20 {
        now = now + secs(9);
        pass(&mut engine, now);
        engine.sent(id, now, 1);
        engine.receive(id, now, b"d");
        assert_eq!(engine.close_reason(id), None);
    }
    // Asking alone is not taking.
    let stuck = now;
    for _ in 0..9 {
        now = now + secs(1);
        engine.receive(id, now, b"e");
    }
    pass(&mut engine, stuck + secs(10) - Duration::from_nanos(1));
    assert_eq!(engine.close_reason(id), None);
    pass(&mut engine, stuck + secs(10));
    assert_eq!(engine.close_reason(id), Some(CloseReason::SlowReader));
    assert_eq!(engine.wants(id), Wants::CLOSE);
}

#[test]
fn too_much_for_too_long_is_given_up_though_some_is_taken() {
    let output = OutGateConfig { soft: 1000, soft_for: secs(5), ..OutGateConfig::REPLIES };
    let mut engine = engine(Limits { output, ..Limits::default() }, 600, false);
    let id = accept(&mut engine);
    engine.receive(id, START, b"ab");
    for s in 1..5 {
        pass(&mut engine, START + secs(s));
        engine.sent(id, START + secs(s), 1);
    }
    engine.sent(id, START + secs(4), 200);
    engine.receive(id, START + secs(4), b"c");
    pass(&mut engine, START + secs(9) - Duration::from_nanos(1));
    assert_eq!(engine.close_reason(id), None, "it was below in between");
    pass(&mut engine, START + secs(9));
    assert_eq!(engine.close_reason(id), Some(CloseReason::SlowReader));
}

#[test]
fn posts_to_a_reader_that_is_full_end_it_instead_of_growing_without_bound() {
    let output = OutGateConfig { hard: 5000, ..OutGateConfig::REPLIES };
    let mut engine = engine(Limits { output, ..Limits::default() }, 0, false);
    let id = accept(&mut engine);
    for _ in 0..5 {
        engine.receive(id, START, b"s");
    }
    assert_eq!(engine.close_reason(id), None);
    assert_eq!(engine.conn(id).unwrap().outgoing_len(), 5000);
    engine.receive(id, START, b"s");
    assert_eq!(engine.close_reason(id), Some(CloseReason::SlowReader));
    assert_eq!(engine.conn(id).unwrap().outgoing_len(), 0, "what was pending is dropped");
}

/// An end that was on its way in peace and is cut short loses answers: that is no peace.
#[test]
fn what_is_lost_with_an_abort_shows_in_the_reason() {
    let cut = CloseReason::Transport(TransportError::Other);
    for (asked, reason) in [(&b"a"[..], cut), (b"p", CloseReason::Local)] {
        let mut engine = engine(Limits::default(), 100, false);
        let id = accept(&mut engine);
        engine.receive(id, START, asked);
        engine.close(id, START);
        assert_eq!(engine.close_reason(id), Some(CloseReason::Local));
        engine.abort(id, START, cut);
        assert_eq!(engine.close_reason(id), Some(reason));
        assert!(engine.wants(id).has(Wants::CLOSE));
    }
}

#[test]
fn one_large_answer_is_no_reason_to_give_up() {
    let mut engine = engine(Limits::default(), 50 << 20, false);
    let id = accept(&mut engine);
    engine.receive(id, START, b"a");
    let mut now = START;
    for _ in 0..5 {
        now = now + secs(9);
        pass(&mut engine, now);
        engine.sent(id, now, 10 << 20);
    }
    assert_eq!(engine.close_reason(id), None);
    pass(&mut engine, now + secs(1000));
    assert_eq!(engine.close_reason(id), None);
}

#[test]
fn an_idle_connection_is_ended_in_order() {
    let limits = Limits { idle: secs(60), ..Limits::default() };
    let mut engine = engine(limits, 1, false);
    let id = accept(&mut engine);
    pass(&mut engine, START + secs(50));
    engine.receive(id, START + secs(50), b"a");
    pass(&mut engine, START + secs(55));
    send_all(&mut engine, id, START + secs(55));
    let due = START + secs(115);
    pass(&mut engine, due - Duration::from_nanos(1));
    assert_eq!(engine.close_reason(id), None);
    assert_eq!(engine.deadline(), Some(Deadline { at: due, why: "idle" }));
    engine.tick(due);
    assert_eq!(engine.close_reason(id), Some(CloseReason::Idle));
    assert_eq!(engine.wants(id), Wants::SHUTDOWN);
    engine.was_shut_down(id, due);
    engine.end_of_input(id, due);
    assert_eq!(engine.wants(id), Wants::CLOSE);
}

#[test]
fn a_silent_peer_is_found_dead_within_three_intervals() {
    let mut engine = engine(Limits::default(), 1, true);
    let id = accept(&mut engine);
    let mut now = START;
    for _ in 0..5 {
        now = now + secs(10);
        pass(&mut engine, now);
        assert_eq!(engine.outgoing(id).next(), Some(&b"?"[..]), "a ping after ten silent seconds");
        send_all(&mut engine, id, now);
        engine.receive(id, now, b"p");
    }
    let last = now;
    pass(&mut engine, last + secs(10));
    send_all(&mut engine, id, last + secs(10));
    pass(&mut engine, last + secs(30) - Duration::from_nanos(1));
    assert_eq!(engine.close_reason(id), None);
    pass(&mut engine, last + secs(30));
    let fault = Fault::new(FaultKind::TimedOut, "no pong");
    assert_eq!(engine.close_reason(id), Some(CloseReason::Fault(fault)));
}

proptest! {
    /// This process is stopped for a while, wherever in the life of its peers that falls; when it
    /// is back, what the living had sent meanwhile is read. Nobody has died.
    #[test]
    fn our_own_stall_kills_nobody(
        before in 0u64..29_000, away in 1_100u64..100_000, reads_first: bool, dirty: bool,
    ) {
        let ms = Duration::from_millis;
        let limits = Limits { idle: secs(25), ..Limits::default() };
        let mut engine = engine(limits, 100, true);
        // One answers pings, one has output that it takes slowly.
        let (pong, slow) = (accept(&mut engine), accept(&mut engine));
        engine.receive(slow, START, b"abc");
        let mut now = START;
        let step = |engine: &mut Engine<Echo>, now: Tick| {
            if !engine.outgoing(pong).all(<[u8]>::is_empty) {
                send_all(engine, pong, now);
                engine.receive(pong, now, b"p");
            }
            engine.sent(slow, now, 1);
            engine.receive(slow, now, b"a");
        };
        while now < START + ms(before) {
            now = now + ms(1000);
            pass(&mut engine, now);
            step(&mut engine, now);
        }
        let asleep = now;
        now = now + ms(away);
        if reads_first {
            engine.receive(slow, now, b"a");
        }
        engine.tick(now);
        if dirty {
            while engine.next_dirty(now).is_some() {}
        }
        // One full pass over the sockets.
        step(&mut engine, now);
        engine.tick(now);
        for id in [pong, slow] {
            prop_assert_eq!(engine.close_reason(id), None, "away from {:?} for {} ms", asleep, away);
        }
        // And life goes on, as does death.
        for _ in 0..40 {
            now = now + ms(1000);
            pass(&mut engine, now);
            step(&mut engine, now);
        }
        for id in [pong, slow] {
            prop_assert_eq!(engine.close_reason(id), None);
        }
        pass(&mut engine, now + secs(31));
        for id in [pong, slow] {
            prop_assert!(engine.close_reason(id).is_some(), "silence is found out again");
        }
    }

    /// A loop that is always late still finds the dead.
    #[test]
    fn a_loop_that_is_always_late_still_finds_the_dead(late in 1_001u64..5_000) {
        let mut engine = engine(Limits::default(), 1, true);
        let id = accept(&mut engine);
        let mut rounds = 0;
        while engine.close_reason(id).is_none() {
            let due = engine.deadline().expect("something to wait for").at;
            engine.tick(due + Duration::from_millis(late));
            rounds += 1;
            prop_assert!(rounds < 200, "never found");
        }
    }
}
