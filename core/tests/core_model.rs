//! The core model under every schedule, with a session that uses all of it.

mod common;

use common::{Outcome, Schedule, drive, run};
use drywire::Tick;
use drywire::conn::{
    CloseReason, Cx, Deadline, Fault, FaultKind, Intake, Job, Limits, NoJob, Outbox, Peer, Scratch,
    Session, Stop, Taken, TransportError, Upkeep, Wants,
};
use drywire::engine::{ConnId, Engine, JobId, Machine};
use drywire::frame::line::{Lines, State};
use proptest::prelude::*;
use std::time::Duration;

/// Lines in, lines out: `big N`, `job N`, `tell SLOT TEXT`, `quit`, `boom`, anything else is echoed.
#[derive(Debug)]
struct Probe {
    lines: State,
    jobs: u32,
    deadline: Option<Tick>,
}

#[derive(Debug, Default)]
struct Book {
    open: u32,
    closed: u32,
    refused: u32,
    upkeeps: u32,
    upkeep_at: Option<Tick>,
    /// Jobs that waited longer are answered "late".
    patience: Option<Duration>,
}

struct Square(u64);

impl Job for Square {
    type Output = u64;
    fn run(self) -> u64 {
        self.0 * self.0
    }
}

const LINE_MAX: usize = 200;
/// Jobs under way before the session waits.
const JOBS_MAX: u32 = 3;

impl Session for Probe {
    type Shared = Book;
    type Message = String;
    type Job = Square;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        cx.shared.open += 1;
        cx.out.put(b"hello\n");
        Self { lines: State::default(), jobs: 0, deadline: None }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let codec = Lines::lf(LINE_MAX);
        if self.jobs >= JOBS_MAX {
            return Ok(Taken { used: 0, stop: Stop::Waiting });
        }
        let mut intake = Intake::new(&codec, self.lines, input);
        while let Some(frame) = intake.next(cx)? {
            let line = std::str::from_utf8(frame?.payload).unwrap_or("?");
            match line.split_once(' ').unwrap_or((line, "")) {
                ("big", n) => {
                    let n: usize = n.parse().unwrap_or(0);
                    cx.out.put_shared(&vec![b'x'; n.min(100_000)].into());
                    cx.out.put(b"\n");
                }
                ("job", n) => {
                    cx.spawn(Square(n.parse().unwrap_or(3)));
                    self.jobs += 1;
                    if self.jobs >= JOBS_MAX {
                        intake.stop(Stop::Waiting);
                        break;
                    }
                }
                ("tell", rest) => {
                    let (slot, text) = rest.split_once(' ').unwrap_or((rest, ""));
                    let slot = slot.parse().unwrap_or(0);
                    cx.post(ConnId { slot, generation: 0 }, text.to_owned());
                }
                ("alarm", ns) => self.deadline = ns.parse().ok().map(Tick),
                ("quit", _) => {
                    intake.stop(Stop::Closing);
                    break;
                }
                ("boom", _) => return Err(Fault::new(FaultKind::Malformed, "boom")),
                _ => {
                    cx.out.put(line.as_bytes());
                    cx.out.put(b"\n");
                }
            }
        }
        self.lines = intake.state();
        Ok(intake.taken())
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, text: String) {
        cx.out.put(text.as_bytes());
        cx.out.put(b"\n");
        if let Some(hops) = text.strip_prefix("ball ").and_then(|n| n.parse::<u32>().ok()) {
            cx.post(cx.id, format!("ball {}", hops + 1));
        }
    }

    fn on_start(&mut self, cx: &mut Cx<'_, Self>, _: JobId, _: &Square, queued_at: Tick) -> bool {
        let late = cx.shared.patience.is_some_and(|most| cx.now.since(queued_at) > most);
        if late {
            self.jobs -= 1;
            cx.out.put(b"late\n");
        }
        !late
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, square: u64) {
        self.jobs -= 1;
        cx.out.put_u64(square);
        cx.out.put(b"\n");
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        self.deadline = None;
        cx.out.put(b"ring\n");
        Ok(())
    }

    fn deadline(&self) -> Option<Deadline> {
        self.deadline.map(|at| Deadline { at, why: "alarm" })
    }

    fn owes(&self) -> bool {
        self.jobs > 0
    }

    fn on_drain(&mut self, cx: &mut Cx<'_, Self>) {
        cx.out.put(b"going away\n");
    }

    fn on_fault(&mut self, fault: Fault, out: &mut Outbox) {
        out.put(fault.what.as_bytes());
        out.put(b"!\n");
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        cx.shared.closed += 1;
    }

    fn refusal(book: &mut Book) -> &'static [u8] {
        book.refused += 1;
        b"full\n"
    }

    fn upkeep_due(book: &Book) -> Option<Deadline> {
        book.upkeep_at.map(|at| Deadline { at, why: "upkeep" })
    }

    fn upkeep(cx: &mut Upkeep<'_, Self>) {
        cx.shared.upkeeps += 1;
        cx.shared.upkeep_at = Some(cx.now + Duration::from_secs(1));
        cx.post(ConnId { slot: 0, generation: 0 }, "noon".to_owned());
    }
}

fn engine(limits: Limits) -> Engine<Probe> {
    Engine::new(Book::default(), limits, 8)
}

fn outcome(limits: Limits, script: &str, schedule: &Schedule) -> Outcome {
    run(&mut engine(limits), script.as_bytes(), schedule)
}

fn text(outcome: &Outcome) -> &str {
    std::str::from_utf8(&outcome.bytes).unwrap()
}

fn outgoing(engine: &Engine<Probe>, id: ConnId) -> String {
    engine.outgoing(id).map(|s| std::str::from_utf8(s).unwrap()).collect()
}

/// Without jobs: their results come back at moments that depend on the schedule.
fn script() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        8 => "[a-z]{0,30}",
        2 => (0usize..6000).prop_map(|n| format!("big {n}")),
        1 => Just("quit".to_owned()),
        1 => Just("boom".to_owned()),
        1 => "[a-z]{195,210}",
    ];
    (prop::collection::vec(line, 0..40), any::<bool>())
        .prop_map(|(lines, end)| lines.join("\n") + if end { "\n" } else { "" })
}

fn limits() -> impl Strategy<Value = Limits> {
    (1usize..3000, 0usize..3000, 1u32..5, 256usize..1000).prop_map(|(high, low, turn, input)| {
        Limits {
            input,
            output_high: high,
            output_low: low.min(high - 1),
            messages_per_turn: turn,
            ..Limits::default()
        }
    })
}

proptest! {
    /// I3: neither the cuts of the input, nor the sizes of the sends, nor the limits show.
    #[test]
    fn schedules_do_not_show(script in script(), limits in limits(), schedule in Schedule::any()) {
        let whole = outcome(Limits::default(), &script, &Schedule::whole());
        prop_assert_eq!(&outcome(limits, &script, &schedule), &whole);
        prop_assert_eq!(&outcome(limits, &script, &Schedule::byte_by_byte()), &whole);
    }

    /// I1 with jobs: each line is answered once, in whatever order the jobs come back.
    #[test]
    fn jobs_are_all_answered(
        jobs in prop::collection::vec(0u64..1000, 0..30),
        limits in limits(),
        schedule in Schedule::any(),
    ) {
        let script: String = jobs.iter().map(|n| format!("job {n}\n")).collect();
        let outcome = outcome(limits, &script, &schedule);
        let mut got: Vec<u64> = text(&outcome).lines().skip(1).map(|l| l.parse().unwrap()).collect();
        let mut want: Vec<u64> = jobs.iter().map(|n| n * n).collect();
        got.sort_unstable();
        want.sort_unstable();
        prop_assert_eq!(got, want);
        prop_assert_eq!(outcome.reason, Some(CloseReason::PeerDone));
    }

    /// I2: a connection whose peer never reads holds no more than its caps, and stops reading.
    #[test]
    fn a_peer_that_never_reads_is_bounded(limits in limits(), piece in 1usize..5000) {
        let mut engine = engine(limits);
        let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();
        let script = b"0123456789\nbig 500\n".repeat(2000);
        let mut fed = 0;
        while engine.wants(id).has(Wants::READ) || engine.wants(id).has(Wants::AGAIN) {
            engine.resume(id, Tick::ZERO);
            fed += engine.receive(id, Tick::ZERO, &script[fed..(fed + piece).min(script.len())]);
            prop_assert!(fed < script.len(), "it never stopped reading");
        }
        let held: usize = engine.outgoing(id).map(<[u8]>::len).sum();
        prop_assert!(held <= limits.output_high + 600, "{held} bytes of output");
        // Vectors grow by doubling.
        let cap = 2 * (limits.input + limits.output_high + 600) + 1024;
        let conn = engine.conn(id).unwrap();
        prop_assert!(conn.footprint() <= cap, "{} > {cap}", conn.footprint());
    }
}

#[test]
fn half_close_after_many_requests_answers_them_all() {
    let script: String = (0..50).map(|i| format!("request {i}\njob {i}\n")).collect();
    let outcome = outcome(Limits::default(), &script, &Schedule::whole());
    assert_eq!(text(&outcome).lines().count(), 101);
    assert_eq!(outcome.reason, Some(CloseReason::PeerDone));
}

#[test]
fn last_words_follow_what_is_owed_and_input_is_discarded_until_the_end() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(id, now, b"one\nboom\ntwo\n");
    assert_eq!(outgoing(&engine, id), "hello\none\nboom!\n");
    assert_eq!(engine.wants(id), Wants::WRITE);
    engine.sent(id, now, 16);
    assert_eq!(engine.wants(id), Wants::SHUTDOWN);
    engine.was_shut_down(id, now);
    assert_eq!(engine.wants(id), Wants::READ);
    assert_eq!(engine.receive(id, now, b"more\n"), 5);
    assert_eq!(outgoing(&engine, id), "");
    engine.end_of_input(id, now);
    assert_eq!(engine.wants(id), Wants::CLOSE);
    let fault = Fault::new(FaultKind::Malformed, "boom");
    assert_eq!(engine.close_reason(id), Some(CloseReason::Fault(fault)));
    engine.release(id, now);
    assert!(engine.is_empty());
    assert_eq!(engine.world().shared.closed, 1);
}

#[test]
fn lingering_ends_by_time_and_by_bytes() {
    for flood in [false, true] {
        let limits = Limits { linger_bytes: 1000, ..Limits::default() };
        let mut engine = engine(limits);
        let now = Tick::from_secs(5);
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        engine.receive(id, now, b"quit\n");
        engine.sent(id, now, 6);
        engine.was_shut_down(id, now);
        if flood {
            engine.receive(id, now, &[0; 1001]);
        } else {
            let due = engine.deadline().unwrap();
            assert_eq!(due, Deadline { at: now + limits.linger, why: "linger" });
            engine.tick(due.at);
            assert_eq!(engine.next_dirty(due.at), Some(id));
        }
        assert_eq!(engine.wants(id), Wants::CLOSE);
        assert_eq!(engine.close_reason(id), Some(CloseReason::Finished));
    }
}

#[test]
fn an_ending_connection_does_not_wait_for_ever_for_its_reader() {
    let mut engine = engine(Limits { output_high: 100, output_low: 10, ..Limits::default() });
    let now = Tick::from_secs(1);
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(id, now, b"big 5000\nbig 5000\nmore\n");
    engine.close(id, now);
    engine.sent(id, now, 100);
    let due = engine.deadline().unwrap();
    assert_eq!(due, Deadline { at: now + Duration::from_secs(10), why: "drain" });
    engine.tick(due.at);
    assert_eq!(engine.wants(id), Wants::CLOSE);
    assert_eq!(engine.close_reason(id), Some(CloseReason::SlowReader));
}

/// Its time is for taking output: nothing else that a peer or a host does gives it more of that.
#[test]
fn an_ending_connection_gains_no_time_by_ending_again() {
    let now = Tick::from_secs(1);
    let later = |secs| now + Duration::from_secs(secs);
    for script in ["big 5000\nbig 5000\nquit\n", "big 5000\nbig 5000\nboom\n"] {
        let mut engine = engine(Limits::default());
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        engine.receive(id, now, script.as_bytes());
        assert!(engine.close_reason(id).is_some());
        engine.end_of_input(id, later(5));
        engine.close(id, later(6));
        let due = Deadline { at: later(10), why: "drain" };
        assert_eq!(engine.deadline(), Some(due));
        engine.sent(id, later(7), 1);
        engine.tick(due.at);
        assert_eq!(engine.deadline(), Some(Deadline { at: later(17), ..due }));
    }
    let mut engine = engine(Limits { output_high: 100, output_low: 10, ..Limits::default() });
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(id, now, b"big 5000\nmore\n");
    engine.end_of_input(id, now);
    engine.close(id, later(5));
    assert_eq!(engine.deadline(), Some(Deadline { at: later(10), why: "drain" }));
}

/// An answer that comes late has its whole time.
#[test]
fn an_ending_connection_has_its_time_from_the_first_byte_that_waits() {
    let mut engine = engine(Limits::default());
    let now = Tick::from_secs(1);
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(id, now, b"job 3\n");
    engine.sent(id, now, 6);
    engine.end_of_input(id, now);
    let (job, work) = engine.next_job(now).unwrap();
    let late = now + Duration::from_secs(60);
    engine.complete(late, job, work.run());
    engine.tick(late);
    assert_eq!(engine.close_reason(id), Some(CloseReason::PeerDone));
    let due = Deadline { at: late + Duration::from_secs(10), why: "drain" };
    assert_eq!(engine.deadline(), Some(due));
}

#[test]
fn posts_reach_others_in_order_and_skip_the_dead() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
    engine.receive(a, now, b"tell 1 first\ntell 1 second\ntell 7 nobody\ntell 0 self\n");
    assert_eq!(outgoing(&engine, b), "hello\nfirst\nsecond\n");
    assert_eq!(outgoing(&engine, a), "hello\nself\n");
    let dirty: Vec<_> = std::iter::from_fn(|| engine.next_dirty(now)).collect();
    assert_eq!(dirty, [b, a]);
    engine.abort(b, now, CloseReason::Transport(TransportError::Reset));
    engine.release(b, now);
    let c = engine.accept(now, &Peer::Virtual(3)).unwrap();
    assert_eq!((c.slot, c.generation), (b.slot, 1), "places are reused, names are not");
    engine.receive(a, now, b"tell 1 too late\n");
    assert_eq!(outgoing(&engine, c), "hello\n");
}

#[test]
fn a_chain_of_posts_without_end_does_not_hold_the_host() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(a, now, b"tell 0 ball 0\n");
    assert!(outgoing(&engine, a).lines().count() > 1000);
    assert_eq!(engine.deadline().map(|d| d.why), Some("posts"), "the rest is not forgotten");
}

#[test]
fn a_late_job_result_finds_nobody() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(a, now, b"job 2\njob 3\n");
    let work = Machine::next_work(&mut engine, now).unwrap();
    engine.release(a, now);
    assert!(Machine::next_work(&mut engine, now).is_none(), "queued jobs of the dead are dropped");
    let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
    assert_eq!(b.slot, a.slot);
    Machine::complete(&mut engine, now, work.run());
    assert_eq!(outgoing(&engine, b), "hello\n");
}

#[test]
fn a_job_that_waited_too_long_is_taken_back_and_answered() {
    let mut engine = engine(Limits::default());
    engine.shared_mut().patience = Some(Duration::from_millis(40));
    let start = Tick::from_secs(1);
    let a = engine.accept(start, &Peer::Virtual(1)).unwrap();
    // Three at a time: the others wait in the input.
    engine.receive(a, start, b"job 2\njob 3\njob 4\njob 5\n");
    let (id, job) = engine.next_job(start + Duration::from_millis(40)).unwrap();
    assert_eq!(job.0, 2, "just in time");
    let now = start + Duration::from_millis(41);
    assert!(engine.next_job(now).is_none(), "3 and 4 are late");
    assert_eq!(outgoing(&engine, a), "hello\nlate\nlate\n");
    assert_eq!(engine.next_dirty(now), Some(a), "there is something to send");
    engine.resume(a, now);
    assert_eq!(engine.next_job(now).unwrap().1.0, 5, "what waited for them goes on");
    engine.complete(now, id, 4);
    assert_eq!(outgoing(&engine, a), "hello\nlate\nlate\n4\n");
}

#[test]
fn deadlines_fire_once_and_moving_them_is_noticed() {
    let mut engine = engine(Limits::default());
    let a = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();
    engine.sent(a, Tick::ZERO, 6);
    engine.receive(a, Tick::ZERO, b"alarm 500\nalarm 300\n");
    assert_eq!(engine.deadline(), Some(Deadline { at: Tick(300), why: "alarm" }));
    engine.receive(a, Tick::ZERO, b"alarm 700\n");
    engine.tick(Tick(400));
    assert_eq!(outgoing(&engine, a), "", "it was moved to 700");
    assert_eq!(engine.deadline(), Some(Deadline { at: Tick(700), why: "alarm" }));
    engine.tick(Tick(700));
    assert_eq!(outgoing(&engine, a), "ring\n");
    engine.sent(a, Tick(700), 5);
    // The timer of the unsent output was not moved, it fires for nothing.
    assert_eq!(engine.deadline().map(|d| d.why), Some("stale"));
    engine.tick(Tick::MAX);
    assert_eq!(engine.deadline(), None);
    assert_eq!(outgoing(&engine, a), "");
}

#[test]
fn upkeep_of_the_shared_state_has_its_own_deadline() {
    let mut engine = engine(Limits::default());
    let a = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();
    engine.shared_mut().upkeep_at = Some(Tick::from_secs(3));
    assert_eq!(engine.deadline(), Some(Deadline { at: Tick::from_secs(3), why: "upkeep" }));
    engine.tick(Tick::from_secs(2));
    assert_eq!(engine.world().shared.upkeeps, 0);
    engine.tick(Tick::from_secs(9));
    assert_eq!(engine.world().shared.upkeeps, 1);
    assert_eq!(outgoing(&engine, a), "hello\nnoon\n");
    assert_eq!(engine.deadline().map(|d| d.at), Some(Tick::from_secs(10)));
}

#[test]
fn past_the_limit_a_connection_is_told_so_and_the_next_one_fits_again() {
    let mut engine: Engine<Probe> = Engine::new(Book::default(), Limits::default(), 1);
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let refused = run(&mut engine, b"", &Schedule::whole());
    assert_eq!(text(&refused), "full\n");
    assert_eq!(refused.reason, Some(CloseReason::Refused));
    let crowd: Vec<_> = std::iter::from_fn(|| engine.accept(now, &Peer::Virtual(2))).collect();
    assert_eq!(crowd.len(), 64, "even those who are refused are bounded");
    for id in crowd {
        engine.release(id, now);
    }
    drive(&mut engine, a, b"quit\n", &Schedule::whole());
    let welcome = run(&mut engine, b"me\n", &Schedule::whole());
    assert_eq!(text(&welcome), "hello\nme\n");
    let book = &engine.world().shared;
    assert_eq!((book.open, book.closed, book.refused), (2, 2, 65));
}

#[test]
fn drain_answers_what_was_received_and_ends_every_connection() {
    let limits = Limits { messages_per_turn: 2, ..Limits::default() };
    let mut engine = engine(limits);
    let now = Tick::ZERO;
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(a, now, b"1\n2\n3\n4\n5\n6\nincompl");
    assert!(engine.wants(a).has(Wants::AGAIN));
    engine.drain(now);
    let outcome = drive(&mut engine, a, b"", &Schedule::whole());
    assert_eq!(text(&outcome), "hello\n1\n2\n3\n4\n5\n6\ngoing away\n");
    assert_eq!(outcome.reason, Some(CloseReason::Local));
    let refused = run(&mut engine, b"", &Schedule::whole());
    assert_eq!(text(&refused), "full\n", "a draining engine takes nobody");
}

#[test]
fn in_place_input_equals_copied_input() {
    let script = "one\nbig 3000\nsomewhat longer line\n".repeat(20);
    let whole = outcome(Limits::default(), &script, &Schedule::whole());
    for piece in 1..40 {
        let limits = Limits { input: 256, output_high: 500, output_low: 100, ..Limits::default() };
        let mut engine = engine(limits);
        let now = Tick::ZERO;
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        let mut scratch = Scratch::new(&limits);
        let mut left = script.as_bytes();
        let mut bytes = Vec::new();
        while !left.is_empty() {
            if engine.wants(id).has(Wants::READ) {
                let room = engine.room(id, &mut scratch);
                let n = piece.min(left.len()).min(room.len());
                assert!(n > 0, "READ without room");
                room[..n].copy_from_slice(&left[..n]);
                left = &left[n..];
                engine.ingest(id, now, &scratch, n);
            } else {
                assert!(engine.room(id, &mut scratch).is_empty());
            }
            let taken = bytes.len();
            bytes.extend(engine.outgoing(id).flatten());
            engine.sent(id, now, bytes.len() - taken);
            engine.resume(id, now);
        }
        bytes.extend(drive(&mut engine, id, b"", &Schedule::whole()).bytes);
        assert_eq!(bytes, whole.bytes, "pieces of {piece}");
    }
}

/// Echoes messages of as many bytes as its shared state says.
struct Blocks;

impl Session for Blocks {
    type Shared = usize;
    type Message = ();
    type Job = NoJob;

    fn open(_: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let size = *cx.shared;
        let used = input.len() / size * size;
        cx.out.put(&input[..used]);
        Ok(Taken { used, stop: Stop::NeedInput(size) })
    }
}

/// Copied in front of each read, a large message in small pieces would cost the square of its
/// size.
#[test]
fn a_large_carry_over_is_appended_to_and_not_copied() {
    for size in [10, 1024, 1025, 5000] {
        let limits = Limits { input: 8192, ..Limits::default() };
        let mut engine: Engine<Blocks> = Engine::new(size, limits, 1);
        let now = Tick::ZERO;
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        let mut scratch = Scratch::new(&limits);
        let front = engine.room(id, &mut scratch).as_ptr();
        for i in 0..3 * size {
            let carry = i % size;
            let room = engine.room(id, &mut scratch);
            assert_eq!(room.len(), limits.input - carry);
            assert_eq!(room.as_ptr() == front, carry == 0 || carry > 1024);
            room[0] = i as u8;
            engine.ingest(id, now, &scratch, 1);
        }
        let bytes: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
        assert!(bytes.iter().copied().eq((0..3 * size).map(|i| i as u8)), "size {size}");
    }
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.receive(id, now, b"some\nlines\nand a par");
    let n = engine.outgoing(id).map(<[u8]>::len).sum();
    engine.sent(id, now, n);
    assert_eq!(engine.conn(id).unwrap().footprint(), 9, "only the incomplete tail");
    engine.receive(id, now, b"t\n");
    engine.sent(id, now, 11);
    assert_eq!(engine.conn(id).unwrap().footprint(), 0);
}

#[test]
fn ids_that_are_gone_are_harmless() {
    let mut engine = engine(Limits::default());
    let now = Tick::ZERO;
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    engine.release(id, now);
    engine.release(id, now);
    assert_eq!(engine.wants(id), Wants::CLOSE);
    assert_eq!(engine.receive(id, now, b"x\n"), 0);
    engine.end_of_input(id, now);
    engine.resume(id, now);
    engine.sent(id, now, 0);
    engine.was_shut_down(id, now);
    engine.close(id, now);
    assert_eq!(engine.outgoing(id).count(), 0);
    assert_eq!(engine.close_reason(id), None);
    assert_eq!(engine.world().shared.closed, 1);
}
