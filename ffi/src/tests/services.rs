//! The services that answer by themselves, and work on other threads.

use super::support::*;
use crate::conn::*;
use crate::options::drywire_server_options;
use crate::policy::gates::drywire_out_gate_options;
use crate::server::*;
use crate::services::*;
use crate::sized::Growing;
use crate::status::drywire_status::{self, *};
use crate::types::drywire_bytes;
use core::ptr;

fn service(
    new: impl FnOnce(*const drywire_server_options, *mut *mut drywire_server) -> drywire_status,
) -> Server {
    let mut server = ptr::null_mut();
    assert_eq!(new(&defaults(), &mut server), DRYWIRE_OK);
    Server(server)
}

/// Does what is due and drives what other connections touched, as a host does, until all is quiet.
fn settle(server: &Server, conns: &[Conn]) {
    loop {
        // SAFETY: a live server.
        assert_eq!(unsafe { drywire_server_tick(server.0, 0) }, DRYWIRE_OK);
        let touched = server.ready();
        if touched.is_empty() {
            return;
        }
        touched.into_iter().for_each(|user| resume(&conns[user]));
    }
}

fn resume(conn: &Conn) {
    while conn.wants() & DRYWIRE_WANT_AGAIN != 0 {
        assert_eq!(conn.call(drywire_conn_resume), DRYWIRE_OK);
    }
}

#[test]
fn chat_reaches_everyone_in_the_room() {
    // SAFETY: valid pointers; NULL is all defaults.
    let server = service(|o, s| unsafe { drywire_chat_server_new(o, ptr::null(), s) });
    let conns: Vec<Conn> = (0..3).map(|user| server.open(user)).collect();
    assert_eq!(conns[0].feed(b"\0\0\0\x02hi").0, DRYWIRE_OK);
    settle(&server, &conns);
    for conn in &conns {
        assert_eq!(conn.output(4), b"\0\0\0\x02hi");
    }
    // SAFETY: a live server.
    let status = unsafe { drywire_server_get_memcached_stats(server.0, ptr::null_mut()) };
    assert_eq!(status, DRYWIRE_ERR_UNSUPPORTED);
}

#[test]
fn the_hub_tells_subscribers() {
    // SAFETY: as above.
    let server = service(|o, s| unsafe { drywire_hub_server_new(o, ptr::null(), s) });
    let conns: Vec<Conn> = (0..2).map(|user| server.open(user)).collect();
    assert_eq!(conns[1].feed(b"sub weather\r\n").0, DRYWIRE_OK);
    assert_eq!(conns[0].feed(b"pub weather\r\nsunny\r\n").0, DRYWIRE_OK);
    settle(&server, &conns);
    assert_eq!(conns[1].output(4), b"pub weather\r\nsunny\r\n");
}

/// A pointer that a test may move to a thread.
struct Moved(*mut drywire_work);
// SAFETY: work is made to run on other threads.
unsafe impl Send for Moved {}

fn next_work(server: &Server) -> *mut drywire_work {
    let mut work = ptr::null_mut();
    // SAFETY: a live server.
    match unsafe { drywire_server_next_work(server.0, 0, &mut work) } {
        DRYWIRE_OK => work,
        status => {
            assert_eq!((status, work.is_null()), (DRYWIRE_NOT_NOW, true));
            work
        }
    }
}

#[test]
fn sudoku_is_solved_on_another_thread() {
    // SAFETY: as above.
    let server = service(|o, s| unsafe { drywire_sudoku_server_new(o, ptr::null(), s) });
    // SAFETY: as above.
    let other = service(|o, s| unsafe { drywire_sudoku_server_new(o, ptr::null(), s) });
    let conn = server.open(0);
    let board = "530070000600195000098000060800060003400803001700020006060000280000419005000080079";
    assert_eq!(conn.feed(format!("a:{board}\r\nb:{board}\r\n").as_bytes()).0, DRYWIRE_OK);
    let (first, second) = (next_work(&server), next_work(&server));
    assert!(next_work(&server).is_null());
    // SAFETY: live handles throughout.
    unsafe {
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_ERR_STATE, "not run");
        let moved = Moved(first);
        std::thread::spawn(move || {
            let moved = moved;
            assert_eq!(drywire_work_run(moved.0), DRYWIRE_OK);
            assert_eq!(drywire_work_run(moved.0), DRYWIRE_ERR_STATE);
        })
        .join()
        .unwrap();
        assert_eq!(drywire_server_complete(other.0, 0, first), DRYWIRE_ERR_RANGE, "not its own");
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_OK);
        assert_eq!(drywire_server_complete(server.0, 0, first), DRYWIRE_ERR_STATE, "twice");
        drywire_work_free(first);
        assert_eq!(server.ready(), [0]);
        assert!(conn.output(4).starts_with(b"a:534678912672195348198342567"));
        // The connection goes, then the server; the work outlives both.
        assert_eq!(drywire_work_run(second), DRYWIRE_OK);
        drop(conn);
        assert_eq!(drywire_server_complete(server.0, 0, second), DRYWIRE_OK, "dropped");
        drop(server);
        drywire_work_free(second);
    }
}

#[test]
fn limits_of_connections_reach_every_service() {
    let options = drywire_server_options {
        messages_per_turn: 7,
        output_high: 5000,
        output_low: 1000,
        output_stall_ns: 3_000_000_000,
        idle_ns: 1000,
        ..defaults()
    };
    let server = memcached(&options);
    let conn = server.open(0);
    assert_eq!(conn.feed(b"stats settings\r\n").0, DRYWIRE_OK);
    let settings = String::from_utf8(conn.output(4)).unwrap();
    for line in ["reqs_per_event 7", "output_limit 5000", "stall_us 3000000", "idle_us 1"] {
        assert!(settings.contains(&format!("STAT {line}\r\n")), "{line} is not in {settings}");
    }
    let all = settings.len();
    assert_eq!(conn.consume(all), DRYWIRE_OK);
    // SAFETY: a live server.
    unsafe {
        assert_eq!(drywire_server_next_deadline(server.0), 1000);
        assert_eq!(drywire_server_tick(server.0, 1000), DRYWIRE_OK);
    }
    assert_eq!(conn.wants(), DRYWIRE_WANT_SHUTDOWN, "idle for too long");
    assert_eq!(conn.error().code, DRYWIRE_CLOSE_IDLE);
    let mut none = ptr::null_mut();
    for wrong in [
        drywire_server_options { output_hard: 4999, ..options },
        drywire_server_options { output_low: 5000, ..options },
    ] {
        // SAFETY: valid pointers.
        let status = unsafe { drywire_memcached_server_new(&wrong, ptr::null(), &mut none) };
        assert_eq!(status, DRYWIRE_ERR_RANGE);
    }
}

#[test]
fn what_all_connections_hold_is_limited() {
    let options = drywire_server_options {
        output_high: 4000,
        output_low: 1000,
        total_limit: 5000,
        ..defaults()
    };
    let server = memcached(&options);
    let conns: Vec<Conn> = (0..3).map(|user| server.open(user)).collect();
    let set = format!("set k 0 0 1000 noreply\r\n{}\r\n", "x".repeat(1000));
    assert_eq!(conns[0].feed(set.as_bytes()).0, DRYWIRE_OK);
    assert!(conns[0].feed("get k\r\n".repeat(4).as_bytes()).0 as i32 >= 0);
    assert_eq!(conns[1].feed(b"get k\r\n").0, DRYWIRE_OK);
    assert!(conns[0].output(16).len() + conns[1].output(4).len() > 5000);
    assert_eq!(conns[2].feed(b"get k\r\n").0, DRYWIRE_OK);
    assert_eq!(conns[2].output(4), b"SERVER_ERROR server too busy\r\n");
    let all = conns[0].output(16).len();
    assert_eq!(conns[0].consume(all), DRYWIRE_OK);
    assert_eq!(conns[2].consume(30), DRYWIRE_OK);
    assert_eq!(conns[2].feed(b"get k\r\n").0, DRYWIRE_OK);
    assert!(conns[2].output(4).starts_with(b"VALUE k"));
}

#[test]
fn slow_receivers_meet_the_fate_of_their_topic() {
    let rules = [
        drywire_fate_rule { pattern: drywire_bytes::of(b"fast"), fate: 0, reserved: 0 },
        drywire_fate_rule {
            pattern: drywire_bytes::of(b"f*"),
            fate: DRYWIRE_FATE_DROP_OLDEST,
            reserved: 0,
        },
    ];
    let slow = drywire_out_gate_options { hard: 10_000, ..Growing::DEFAULT };
    let fanout = drywire_fanout_options {
        topic_bytes: 20_000,
        slow: &slow,
        rules: rules.as_ptr(),
        rule_count: 2,
        ..Growing::DEFAULT
    };
    let options = drywire_server_options { output_high: 4000, output_low: 1000, ..defaults() };
    let mut server = ptr::null_mut();
    // SAFETY: valid pointers.
    let status = unsafe { drywire_hub_server_new(&options, &fanout, &mut server) };
    assert_eq!(status, DRYWIRE_OK);
    let server = Server(server);
    let conns: Vec<Conn> = (0..3).map(|user| server.open(user)).collect();
    assert_eq!(conns[1].feed(b"sub fast\r\n").0, DRYWIRE_OK);
    assert_eq!(conns[2].feed(b"sub flow\r\n").0, DRYWIRE_OK);
    let content = "x".repeat(1000);
    let mut until_kicked = 0;
    for n in 0..100 {
        for topic in ["fast", "flow"] {
            let message = format!("pub {topic}\r\n{n} {content}\r\n");
            assert_eq!(conns[0].feed(message.as_bytes()).0, DRYWIRE_OK);
            settle(&server, &conns);
        }
        until_kicked += usize::from(conns[1].error().code == DRYWIRE_CLOSE_NONE);
    }
    assert_eq!(conns[1].error().code, DRYWIRE_CLOSE_FAULT, "kicked");
    assert!((9..15).contains(&until_kicked), "at 10,000 bytes, not at {until_kicked} messages");
    assert_eq!(conns[2].error().code, DRYWIRE_CLOSE_NONE);
    let mut heard = String::new();
    loop {
        resume(&conns[2]);
        let some = String::from_utf8(conns[2].output(64)).unwrap();
        if some.is_empty() {
            break;
        }
        assert_eq!(conns[2].consume(some.len()), DRYWIRE_OK);
        heard += &some;
        settle(&server, &conns);
    }
    assert!(heard.contains("\r\n99 x"), "the newest is there");
    assert!(!heard.contains("\r\n50 x"), "what was too much is not");
    assert!(heard.contains("lost"), "and it is told so");

    let mut none = ptr::null_mut();
    let wrong = drywire_fanout_options { fate: 3, ..Growing::DEFAULT };
    // SAFETY: valid pointers.
    let status = unsafe { drywire_hub_server_new(&options, &wrong, &mut none) };
    assert_eq!(status, DRYWIRE_ERR_RANGE);
    let wrong = drywire_fanout_options { rules: ptr::null(), rule_count: 1, ..Growing::DEFAULT };
    // SAFETY: valid pointers.
    let status = unsafe { drywire_chat_server_new(&options, &wrong, &mut none) };
    assert_eq!(status, DRYWIRE_ERR_NULL);
}

#[test]
fn plain_chat_clients_are_in_the_room_that_is_set() {
    let named = |name: &'static [u8]| drywire_fanout_options {
        lobby: drywire_bytes::of(name),
        ..Growing::DEFAULT
    };
    let mut none = ptr::null_mut();
    for wrong in [&b"bell\x07"[..], &[b'x'; 65]] {
        let options = named(wrong);
        // SAFETY: valid pointers.
        let status = unsafe { drywire_chat_server_new(&defaults(), &options, &mut none) };
        assert_eq!(status, DRYWIRE_ERR_RANGE);
    }
    let options = named(b"den");
    // SAFETY: valid pointers.
    let server = service(|o, s| unsafe { drywire_chat_server_new(o, &options, s) });
    let conns: Vec<Conn> = (0..2).map(|user| server.open(user)).collect();
    // A client of extended chat that joins the room hears the plain one.
    let mut out = drywire::conn::Outbox::new();
    let mut client = drywire::chat::client::Client::new(7, b"ann").unwrap();
    client.join(b"den", 0, &mut out);
    client.connected(drywire::Tick::ZERO, &mut out);
    for slice in out.slices() {
        assert_eq!(conns[1].feed(slice).0, DRYWIRE_OK);
    }
    settle(&server, &conns);
    let welcome = conns[1].output(16).len();
    assert_eq!(conns[1].consume(welcome), DRYWIRE_OK);
    assert_eq!(conns[0].feed(b"\0\0\0\x02hi").0, DRYWIRE_OK);
    settle(&server, &conns);
    let heard = conns[1].output(16);
    assert!(heard.windows(3).any(|w| w == b"den") && heard.ends_with(b"hi"), "{heard:?}");
}

#[test]
fn boards_are_refused_as_the_options_say() {
    let mut sudoku = drywire_sudoku_options { queue_max: 1, ..Growing::DEFAULT };
    // SAFETY: valid pointers.
    unsafe {
        let status = drywire_sudoku_options_for_deadline(&mut sudoku, 100_000_000);
        assert_eq!((status, sudoku.budget_ns), (DRYWIRE_OK, 90_000_000));
    }
    assert_eq!((sudoku.give_up_ns, sudoku.queue_max), (95_000_000, 1));
    // SAFETY: valid pointers.
    let pausing = drywire_server_options { refusal_pause_ns: 50, ..defaults() };
    // SAFETY: valid pointers.
    let server = service(|_, s| unsafe { drywire_sudoku_server_new(&pausing, &sudoku, s) });
    let conn = server.open(0);
    let boards = (0..4).map(|n| format!("{n}:{}\r\n", "0".repeat(81))).collect::<String>();
    assert_eq!(conn.feed(boards.as_bytes()).0, DRYWIRE_OK);
    let refused = String::from_utf8(conn.output(4)).unwrap();
    assert_eq!(refused.matches("ServerTooBusy").count(), 3, "{refused}");
    assert_eq!(conn.consume(refused.len()), DRYWIRE_OK);
    assert_eq!(conn.wants() & DRYWIRE_WANT_READ, 0, "a pause after a refusal");
    // SAFETY: a live server.
    assert_eq!(unsafe { drywire_server_tick(server.0, 50) }, DRYWIRE_OK);
    assert_eq!(conn.wants() & DRYWIRE_WANT_READ, DRYWIRE_WANT_READ);

    let patient = drywire_server_options { refusal_pause_from: 4, ..pausing };
    // SAFETY: valid pointers.
    let server = service(|_, s| unsafe { drywire_sudoku_server_new(&patient, &sudoku, s) });
    let conn = server.open(0);
    assert_eq!(conn.feed(boards.as_bytes()).0, DRYWIRE_OK);
    let refused = conn.output(4).len();
    assert_eq!(conn.consume(refused), DRYWIRE_OK);
    assert_eq!(conn.wants() & DRYWIRE_WANT_READ, DRYWIRE_WANT_READ, "three are no burden");
}
