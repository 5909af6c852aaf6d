//! The sudoku service as a pure machine: chunks, completion order, refusals, last words.

use drywire::Tick;
use drywire::conn::{CloseReason, FaultKind, Job, Leave, Limits, Outbox, Peer, Wants};
use drywire::engine::{ConnId, Engine, Local};
use drywire::guard::AdmitConfig;
use drywire::sudoku::client::{Client, Event, Step};
use drywire::sudoku::{Board, Config, Reply, Server, Shared, Stats, Verdict, solver};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

type Sudoku = Engine<Server<Local<Stats>>>;

const EASY: &str =
    "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
const SOLVED: &str =
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179";
/// Two 5s in the first row.
const CONTRADICTORY: &str =
    "535070000600195000098000060800060003400803001700020006060000280000419005000080079";

fn engine(config: Config) -> Sudoku {
    let shared = Shared::new(config, Local::one(Stats::default()));
    Engine::new(shared, Limits { messages_per_turn: 7, ..Limits::default() }, 8)
}

/// What happens in what order: repeated as often as needed.
#[derive(Clone, Debug)]
struct Schedule {
    pieces: Vec<usize>,
    sends: Vec<usize>,
    /// Which of the jobs under way is done next.
    done: Vec<usize>,
    workers: usize,
}

impl Schedule {
    fn plain() -> Self {
        Self { pieces: vec![usize::MAX], sends: vec![usize::MAX], done: vec![0], workers: 1 }
    }

    fn any() -> impl Strategy<Value = Self> {
        let sizes = || {
            let size = prop_oneof![3 => 1usize..4, 2 => 1usize..200, 1 => Just(usize::MAX)];
            prop::collection::vec(size, 1..9)
        };
        let done = prop::collection::vec(0usize..100, 1..9);
        (sizes(), sizes(), done, 1usize..6).prop_map(|(pieces, sends, done, workers)| Self {
            pieces,
            sends,
            done,
            workers,
        })
    }
}

/// Feeds `script`, ends the input, drives until the connection is over.
fn run(engine: &mut Sudoku, script: &[u8], schedule: &Schedule) -> (Vec<u8>, Option<CloseReason>) {
    let now = Tick::ZERO;
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let Schedule { pieces, sends, done, workers } = schedule;
    let (mut pieces, mut sends, mut done) =
        (pieces.iter().cycle(), sends.iter().cycle(), done.iter().cycle());
    let (mut fed, mut ended, mut bytes, mut jobs) = (0, false, Vec::new(), Vec::new());
    loop {
        let wants = engine.wants(id);
        if wants.has(Wants::CLOSE) {
            let reason = engine.close_reason(id);
            engine.release(id, now);
            assert!(jobs.is_empty(), "closed while it owes");
            return (bytes, reason);
        }
        let mut moved = false;
        if wants.has(Wants::READ) && fed < script.len() {
            let n = (*pieces.next().unwrap()).min(script.len() - fed);
            fed += engine.receive(id, now, &script[fed..fed + n]);
            moved = true;
        } else if fed == script.len() && !ended {
            engine.end_of_input(id, now);
            (ended, moved) = (true, true);
        }
        moved |= send(engine, id, now, *sends.next().unwrap(), &mut bytes);
        if engine.wants(id).has(Wants::AGAIN) {
            engine.resume(id, now);
            moved = true;
        }
        if engine.wants(id).has(Wants::SHUTDOWN) {
            engine.was_shut_down(id, now);
            (fed, moved) = (script.len(), true);
        }
        while jobs.len() < *workers
            && let Some(job) = engine.next_job(now)
        {
            jobs.push(job);
            moved = true;
        }
        if !jobs.is_empty() && (jobs.len() == *workers || !moved) {
            let (job, work) = jobs.swap_remove(done.next().unwrap() % jobs.len());
            engine.complete(now, job, work.run());
            moved = true;
        }
        moved |= engine.next_dirty(now).is_some();
        assert!(moved, "stuck with {wants:?} after {fed} of {}", script.len());
    }
}

fn send(engine: &mut Sudoku, id: ConnId, now: Tick, most: usize, to: &mut Vec<u8>) -> bool {
    let bytes: Vec<u8> = engine.outgoing(id).flatten().copied().take(most).collect();
    engine.sent(id, now, bytes.len());
    to.extend_from_slice(&bytes);
    !bytes.is_empty()
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.strip_suffix("\r\n").map_or_else(Vec::new, |text| text.split("\r\n").collect())
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// A line and its answer, given that nothing is refused.
fn exchange(with_id: bool) -> impl Strategy<Value = (String, String)> {
    let id = if with_id { "[a-z0-9]{1,16}:" } else { ":?" };
    let cells = prop_oneof![
        4 => Just((EASY, SOLVED)),
        1 => Just((SOLVED, SOLVED)),
        1 => Just((CONTRADICTORY, "NoSolution")),
    ];
    let hopeless = EASY.replace('7', "x");
    let end = prop_oneof![Just("\r\n"), Just("\n")];
    (id, cells, any::<bool>(), end).prop_map(move |(id, (cells, answer), spoil, end)| {
        let (cells, answer) =
            if spoil { (hopeless.as_str(), "NoSolution") } else { (cells, answer) };
        let prefix = if id == ":" { "" } else { &id };
        (format!("{id}{cells}{end}"), format!("{prefix}{answer}"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// I1 and I3: each board is answered once, ids may repeat, whatever the chunks, the order in
    /// which workers finish, and the way it ends; a bad line's words come last.
    #[test]
    fn every_board_is_answered_once(
        asked in prop::collection::vec(exchange(true), 0..40),
        bad in prop::option::of(prop_oneof![
            Just("abc\r\n"), Just("\n"), Just("x:123\r\n"), Just("0123456789abcdefg:1\r\n")
        ]),
        schedule in Schedule::any(),
    ) {
        let mut script: String = asked.iter().map(|(line, _)| line.as_str()).collect();
        script.push_str(bad.unwrap_or_default());
        let mut engine = engine(Config::DEFAULT);
        let (bytes, reason) = run(&mut engine, script.as_bytes(), &schedule);
        let mut found: Vec<_> = lines(&bytes).into_iter().map(str::to_owned).collect();
        match bad {
            Some(bad) => {
                let words = if bad.len() > 15 { "Id too long!" } else { "Bad Request!" };
                prop_assert_eq!(found.pop().unwrap(), words);
                prop_assert!(matches!(reason, Some(CloseReason::Fault(_))));
            }
            None => prop_assert_eq!(reason, Some(CloseReason::PeerDone)),
        }
        let expected = asked.into_iter().map(|(_, answer)| answer).collect();
        prop_assert_eq!(sorted(found), sorted(expected));
    }

    /// I3, to the byte: without ids answers come in the order of the boards.
    #[test]
    fn answers_without_ids_come_in_order(
        asked in prop::collection::vec(exchange(false), 0..30),
        schedule in Schedule::any(),
    ) {
        let script: String = asked.iter().map(|(line, _)| line.as_str()).collect();
        let (bytes, _) = run(&mut engine(Config::DEFAULT), script.as_bytes(), &schedule);
        let expected: Vec<_> = asked.iter().map(|(_, answer)| answer.as_str()).collect();
        prop_assert_eq!(lines(&bytes), expected);
    }

    /// I1 under refusal: whatever the limits, an id has one answer, and the statistics say the
    /// same as the replies.
    #[test]
    fn refusals_keep_the_ledger(
        count in 0usize..120, queue in 0usize..20, under_way in 0u32..40, schedule in Schedule::any(),
    ) {
        let admit = AdmitConfig { queue_max: queue, ..Config::DEFAULT.admit };
        let mut engine = engine(Config { admit, under_way, ..Config::DEFAULT });
        let mut script = String::new();
        for id in 0..count {
            script += &format!("{id}:{EASY}\r\n");
        }
        let (bytes, _) = run(&mut engine, script.as_bytes(), &schedule);
        let mut answers = BTreeMap::new();
        for line in lines(&bytes) {
            let (id, answer) = line.split_once(':').unwrap();
            prop_assert!(answer == SOLVED || answer == "ServerTooBusy");
            prop_assert!(answers.insert(id.parse::<usize>().unwrap(), answer).is_none());
        }
        prop_assert_eq!(answers.len(), count);
        let refused = answers.values().filter(|a| **a == "ServerTooBusy").count();
        let told = stats(&mut engine);
        prop_assert_eq!(told["total_requests"], count as u64);
        prop_assert_eq!(told["total_responses"], (count - refused) as u64);
        prop_assert_eq!(told["dropped_requests"], refused as u64);
        prop_assert_eq!(told["lost_requests"] + told["task_queue_size"], 0);
    }

    /// Nothing a peer sends panics or hangs, and it costs a bounded amount of memory.
    #[test]
    fn any_bytes_end(
        script in prop::collection::vec(
            prop_oneof![4 => b'0'..=b'9', 1 => Just(b':'), 1 => Just(b'\n'), 1 => any::<u8>()],
            0..2000
        ),
        schedule in Schedule::any(),
    ) {
        let mut engine = engine(Config { guesses: 50, ..Config::DEFAULT });
        let _ = run(&mut engine, &script, &schedule);
        prop_assert!(engine.footprint() < 256 << 10);
    }
}

fn stats(engine: &mut Sudoku) -> BTreeMap<String, u64> {
    let (bytes, _) = run(engine, b"stats\r\n", &Schedule::plain());
    let mut lines = lines(&bytes);
    assert_eq!(lines.pop(), Some("END"));
    let fields = lines.iter().filter_map(|line| line.split_once(' '));
    fields.filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?))).collect()
}

fn connect(engine: &mut Sudoku, now: Tick, script: &str) -> ConnId {
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    assert_eq!(engine.receive(id, now, script.as_bytes()), script.len());
    id
}

fn said(engine: &mut Sudoku, id: ConnId, now: Tick) -> String {
    let mut bytes = Vec::new();
    send(engine, id, now, usize::MAX, &mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_short_bad_line_is_answered_at_once_and_long_ones_at_their_limit() {
    for (line, words) in [
        ("abc\r\n".to_owned(), "Bad Request!\r\n"),
        (format!("0123456789abcdef:{EASY}0\r\n"), "Id too long!\r\n"),
        ("x".repeat(100), "Id too long!\r\n"),
        (format!("0123456789abcdefg:{}\r\n", &EASY[1..]), "Id too long!\r\n"),
    ] {
        let mut engine = engine(Config::DEFAULT);
        let id = connect(&mut engine, Tick::ZERO, &line);
        assert_eq!(said(&mut engine, id, Tick::ZERO), words, "{line}");
        assert!(engine.wants(id).has(Wants::SHUTDOWN));
    }
}

#[test]
fn a_board_that_waited_too_long_is_refused_when_a_worker_is_free() {
    let mut engine = engine(Config::DEFAULT);
    let id = connect(&mut engine, Tick::ZERO, &format!("a:{EASY}\r\nb:{EASY}\r\n"));
    let late = Tick::ZERO + Config::DEFAULT.admit.give_up + Duration::from_nanos(1);
    assert!(engine.next_job(late).is_none());
    assert_eq!(said(&mut engine, id, late), "a:ServerTooBusy\r\nb:ServerTooBusy\r\n");
    assert_eq!(stats(&mut engine)["expired_requests"], 2);
}

#[test]
fn a_predicted_wait_over_the_budget_is_refused_at_the_door() {
    let mut engine = engine(Config::DEFAULT);
    let mut now = Tick::ZERO;
    for _ in 0..500 {
        let id = connect(&mut engine, now, &format!("a:{EASY}\r\n"));
        let (job, work) = engine.next_job(now).unwrap();
        now = now + Duration::from_millis(1);
        engine.complete(now, job, work.run());
        engine.abort(id, now, CloseReason::Local);
        engine.release(id, now);
    }
    let script: String = (0..60).map(|id| format!("{id}:{EASY}\r\n")).collect();
    let id = connect(&mut engine, now, &script);
    while engine.wants(id).has(Wants::AGAIN) {
        engine.resume(id, now);
    }
    let refused = said(&mut engine, id, now).matches("ServerTooBusy").count();
    // Who fills the queue leaves a little for others to go ahead.
    let budget = Config::DEFAULT.admit.budget;
    let fit = (budget - budget / 32).as_millis() as usize + 1;
    assert!((58 - fit..=60 - fit).contains(&refused), "{fit} of 60 fit: {refused} refused");
}

/// Whoever has none waiting does not wait behind the burst of another, but goes behind others like
/// it; after that it queues like everybody.
#[test]
fn a_lone_board_goes_ahead_of_a_burst() {
    let mut engine = engine(Config::DEFAULT);
    let now = Tick::from_secs(1);
    let burst: String = (0..40).map(|id| format!("{id}:{EASY}\r\n")).collect();
    let many = connect(&mut engine, now, &burst);
    while engine.wants(many).has(Wants::AGAIN) {
        engine.resume(many, now);
    }
    let lone: Vec<_> =
        (0..3).map(|_| connect(&mut engine, now, &format!("a:{EASY}\r\nb:{EASY}\r\n"))).collect();
    let order: Vec<_> =
        core::iter::from_fn(|| engine.next_job(now)).map(|(job, _)| job.conn).collect();
    assert_eq!(order[..3], lone);
    assert_eq!(order[3..43], [many; 40]);
    assert_eq!(order[43..], lone);
}

/// Workers in step end several boards at one moment: the time from one end to the next says
/// nothing then.
#[test]
fn the_mean_is_what_a_board_takes_however_the_workers_are_in_step() {
    let each = Duration::from_millis(1);
    let admit = AdmitConfig { service_guess: each, ..Config::DEFAULT.admit };
    let mut engine = engine(Config { workers: 2, admit, ..Config::DEFAULT });
    let mut now = Tick::ZERO;
    for boards in (1..8).cycle().take(200) {
        let script: String = (0..boards).map(|id| format!("{id}:{EASY}\r\n")).collect();
        let id = connect(&mut engine, now, &script);
        loop {
            let jobs: Vec<_> = (0..2).map_while(|_| engine.next_job(now)).collect();
            if jobs.is_empty() {
                break;
            }
            now = now + each;
            for (job, work) in jobs {
                engine.complete(now, job, work.run());
            }
        }
        assert_eq!(said(&mut engine, id, now).lines().count(), boards);
        engine.abort(id, now, CloseReason::Local);
        engine.release(id, now);
        assert_eq!(stats(&mut engine)["service_ns"], 1_000_000, "after {boards} at once");
    }
}

#[test]
fn a_board_that_uses_up_its_guesses_is_refused() {
    let mut engine = engine(Config { guesses: 2, ..Config::DEFAULT });
    let script = format!("a:{}\r\n", "0".repeat(81));
    let (bytes, _) = run(&mut engine, script.as_bytes(), &Schedule::plain());
    assert_eq!(lines(&bytes), ["a:ServerTooBusy"]);
    assert_eq!(stats(&mut engine)["given_up_requests"], 1);
}

#[test]
fn a_server_that_goes_away_says_so_then_refuses() {
    let mut engine = engine(Config::DEFAULT);
    let now = Tick::ZERO;
    let id = connect(&mut engine, now, "ping\r\n");
    assert_eq!(said(&mut engine, id, now), "pong\r\n");
    engine.leave(now, Leave::Announce);
    engine.receive(id, now, format!("ping\r\na:{EASY}\r\n").as_bytes());
    let (job, work) = engine.next_job(now).expect("announced, and still serving");
    engine.leave(now, Leave::RefuseNew);
    engine.complete(now, job, work.run());
    engine.receive(id, now, format!("b:{EASY}\r\n").as_bytes());
    assert_eq!(
        said(&mut engine, id, now),
        format!("pong draining\r\na:{SOLVED}\r\nb:ServerTooBusy\r\n")
    );
}

#[test]
fn a_connection_that_is_gone_loses_its_boards_and_nothing_else() {
    let mut engine = engine(Config::DEFAULT);
    let now = Tick::ZERO;
    let gone = connect(&mut engine, now, &format!("a:{EASY}\r\nb:{EASY}\r\n"));
    let stays = connect(&mut engine, now, &format!("c:{EASY}\r\n"));
    let (job, work) = engine.next_job(now).unwrap();
    engine.release(gone, now);
    engine.complete(now, job, work.run());
    let (job, work) = engine.next_job(now).unwrap();
    assert_eq!(job.conn, stays);
    engine.complete(now, job, work.run());
    assert_eq!(said(&mut engine, stays, now), format!("c:{SOLVED}\r\n"));
    let told = stats(&mut engine);
    assert_eq!((told["lost_requests"], told["total_responses"]), (2, 1));
}

#[test]
fn who_does_not_read_is_not_read() {
    let mut engine = engine(Config::DEFAULT);
    let (now, id) = (Tick::ZERO, engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap());
    let line = format!("0123456789abcdef:{EASY}\r\n");
    let mut most = 0;
    for _ in 0..200_000 {
        engine.receive(id, now, line.as_bytes());
        if engine.wants(id).has(Wants::AGAIN) {
            engine.resume(id, now);
        }
        if let Some((job, work)) = engine.next_job(now) {
            engine.complete(now, job, work.run());
        }
        most = most.max(engine.footprint());
    }
    assert!(!engine.wants(id).has(Wants::READ));
    assert!(most < 512 << 10, "{most} bytes for one connection");
}

#[test]
fn who_takes_nothing_for_too_long_is_given_up_and_who_takes_a_little_is_not() {
    let mut engine = engine(Config::DEFAULT);
    let stall = engine.limits().output.no_progress;
    let start = Tick::from_secs(100);
    let stuck = connect(&mut engine, start, "ping\nping\n");
    let slow = connect(&mut engine, start, "ping\nping\n");
    let due = start + stall;
    send(&mut engine, slow, due, 1, &mut Vec::new());
    engine.tick(due);
    assert_eq!(engine.close_reason(stuck), Some(CloseReason::SlowReader));
    assert_eq!(engine.close_reason(slow), None);
    engine.tick(due + stall);
    assert_eq!(engine.close_reason(slow), Some(CloseReason::SlowReader));
    assert_eq!(stats(&mut engine)["slow_readers"], 2);
}

/// Only short replies, a window of one, a byte at a time: the deadlock of clients that look for a
/// line only when a whole solution could be there.
#[test]
fn a_client_with_a_window_of_one_lives_on_short_replies() {
    let mut engine = engine(Config::DEFAULT);
    let now = Tick::ZERO;
    let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let (mut client, mut out, mut received) = (Client::new(1), Outbox::new(), Vec::new());
    let board = Board::parse(CONTRADICTORY.as_bytes().try_into().unwrap()).unwrap();
    for _ in 0..50 {
        let ticket = client.ask(&board, &mut out).unwrap();
        let sent: Vec<u8> = out.slices().flatten().copied().collect();
        out.sent(sent.len());
        sent.iter().for_each(|byte| assert_eq!(engine.receive(id, now, &[*byte]), 1));
        let (job, work) = engine.next_job(now).unwrap();
        engine.complete(now, job, work.run());
        let answer = loop {
            send(&mut engine, id, now, 1, &mut received);
            if let Step::Event { event, used } = client.step(&received).unwrap() {
                received.drain(..used);
                break event;
            }
        };
        assert_eq!(answer, Event::Answer { ticket, reply: Reply::NoSolution });
    }
    assert_eq!(client.ledger().answered, 50);
}

#[test]
fn a_client_is_not_taken_in() {
    let board = Board::parse(EASY.as_bytes().try_into().unwrap()).unwrap();
    for (input, what) in [
        ("1:NoSolution\r\n", FaultKind::Malformed),
        ("NoSolution\r\n", FaultKind::Malformed),
        ("00:NoSolution\r\n", FaultKind::Malformed),
        ("0:NoSolutions\r\n", FaultKind::Malformed),
        ("Bad Request!\r\n", FaultKind::Malformed),
        (&"x".repeat(101), FaultKind::TooLong),
    ] {
        let (mut client, mut out) = (Client::new(9), Outbox::new());
        let ticket = client.ask(&board, &mut out).unwrap();
        assert_eq!(client.step(input.as_bytes()).unwrap_err().kind, what, "{input}");
        assert!(client.ask(&board, &mut out).is_none());
        assert_eq!((client.next_failed(), client.next_failed()), (Some(ticket), None));
    }
    let (mut client, mut out) = (Client::new(2), Outbox::new());
    client.ask(&board, &mut out).unwrap();
    client.ask(&board, &mut out).unwrap();
    assert!(matches!(client.step(b"0:NoSolution\r\n"), Ok(Step::Event { .. })));
    assert!(client.step(b"0:NoSolution\r\n").is_err(), "the same answer twice");
}

proptest! {
    /// The client finds each answer whatever their order and chunks, over many rounds of its ids.
    #[test]
    fn a_client_names_every_board(
        steps in prop::collection::vec((1usize..9, any::<prop::sample::Index>()), 1..60),
    ) {
        let (mut client, mut out) = (Client::new(8), Outbox::new());
        let board = Board::parse(EASY.as_bytes().try_into().unwrap()).unwrap();
        let mut asked: Vec<(_, String)> = Vec::new();
        for (count, which) in steps {
            for _ in 0..count {
                let Some(ticket) = client.ask(&board, &mut out) else { break };
                let sent: Vec<u8> = out.slices().flatten().copied().collect();
                out.sent(sent.len());
                let id = String::from_utf8(sent).unwrap().split_once(':').unwrap().0.to_owned();
                prop_assert!(asked.iter().all(|(_, other)| *other != id));
                asked.push((ticket, id));
            }
            let (ticket, id) = asked.swap_remove(which.index(asked.len()));
            let line = format!("{id}:{SOLVED}\r\n").into_bytes();
            for end in 0..line.len() {
                prop_assert!(matches!(client.step(&line[..end]), Ok(Step::Need(n)) if n > end));
            }
            let Ok(Step::Event { event: Event::Answer { ticket: found, reply }, used }) =
                client.step(&line) else { panic!("no answer") };
            prop_assert_eq!((found, used), (ticket, line.len()));
            let Reply::Solved(solution) = reply else { panic!("{reply:?}") };
            prop_assert!(solution.solves(&board));
        }
        let ledger = client.ledger();
        prop_assert_eq!(client.in_flight(), asked.len());
        client.end();
        let failed: Vec<_> = std::iter::from_fn(|| client.next_failed()).collect();
        prop_assert_eq!(failed.len(), asked.len());
        prop_assert_eq!(ledger.sent, ledger.answered + failed.len() as u64);
    }
}

#[test]
fn the_solver_is_the_same_with_and_without_the_service() {
    let board = Board::parse(EASY.as_bytes().try_into().unwrap()).unwrap();
    let Verdict::Solved(solution) = solver::solve(&board, 0) else { panic!("needs no guess") };
    assert_eq!(solution.text(), SOLVED.as_bytes());
}
