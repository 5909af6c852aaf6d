//! Servers and connections.

use super::support::*;
use crate::codec::*;
use crate::conn::*;
use crate::options::*;
use crate::server::*;
use crate::status::drywire_status::*;
use crate::types::*;
use core::ops::Range;
use core::ptr;
use drywire::Tick;
use drywire::conn::{Limits, Peer};
use drywire::engine::{Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Shared};
use proptest::prelude::*;

/// The same script through the Rust API, whole.
pub(super) fn through_rust(script: &[u8]) -> Vec<u8> {
    let hasher = Hasher::new(0);
    let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).unwrap();
    let shared = Shared::new(Config::new(hasher, 0), Local::one(Part::new(store)));
    let mut engine: Engine<drywire::memcache::Server<_>> =
        Engine::new(shared, Limits::default(), 1024);
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(0)).unwrap();
    let (mut at, mut out) = (0, Vec::new());
    let mut ended = false;
    while !engine.wants(id).has(drywire::conn::Wants::CLOSE) {
        at += engine.receive(id, Tick::ZERO, &script[at..]);
        engine.resume(id, Tick::ZERO);
        let sent = engine.outgoing(id).map(<[u8]>::len).sum();
        engine.outgoing(id).for_each(|slice| out.extend_from_slice(slice));
        engine.sent(id, Tick::ZERO, sent);
        if at == script.len() && !ended {
            engine.end_of_input(id, Tick::ZERO);
            ended = true;
        }
        engine.was_shut_down(id, Tick::ZERO);
    }
    out
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    let key = "[a-d]{1,3}";
    // Byte by byte, a value of 100 kB is hours for Miri.
    let (middling, large, commands): (Range<usize>, Range<usize>, usize) =
        if cfg!(miri) { (40..90, 90..300, 6) } else { (2000..9000, 90_000..150_000, 30) };
    let store = (key, prop_oneof![0usize..40, middling, large])
        .prop_map(|(k, n)| format!("set {k} 7 0 {n}\r\n{}\r\n", "v".repeat(n)));
    let command = prop_oneof![
        3 => store,
        4 => key.prop_map(|k| format!("get {k} a\r\n")),
        1 => key.prop_map(|k| format!("delete {k}\r\n")),
        1 => key.prop_map(|k| format!("incr {k} 3\r\n")),
        1 => Just("nonsense\r\n".to_owned()),
        1 => Just("set k 0 0 99999999\r\n".to_owned()),
    ];
    prop::collection::vec(command, 1..commands).prop_map(|commands| commands.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 96 }))]

    /// I6 and I3: whatever the cuts and the partial sends, the C interface gives the bytes that
    /// the Rust API gives.
    #[test]
    fn any_schedule_gives_the_bytes_of_the_rust_api(
        script in script(),
        pieces in prop::collection::vec(prop_oneof![1usize..5, 1usize..100_000], 1..8),
        sends in prop::collection::vec(prop_oneof![1usize..50, 1usize..100_000], 1..8),
        debug in 0u32..2,
    ) {
        let sends: Vec<usize> = sends.iter().map(|n| n + script.len() / 5000).collect();
        let server = memcached(&drywire_server_options { flags: debug, ..defaults() });
        let out = server.open(1).drive(&script, &pieces, &sends);
        prop_assert_eq!(out, through_rust(&script));
    }
}

#[test]
fn byte_by_byte_gives_the_bytes_of_the_rust_api() {
    let value = "x".repeat(if cfg!(miri) { 200 } else { 5000 });
    let script =
        format!("set a 0 0 {}\r\n{value}\r\nget a\r\nget a b\r\nbad\r\nget a\r\n", value.len());
    let server = memcached(&defaults());
    let out = server.open(1).drive(script.as_bytes(), &[1], &[1]);
    assert_eq!(out, through_rust(script.as_bytes()));
}

#[test]
fn segments_stay_until_they_are_consumed() {
    let server = memcached(&defaults());
    let (writer, reader) = (server.open(1), server.open(2));
    let big = "B".repeat(10_000);
    let set = format!("set k 0 0 {}\r\n{big}\r\n", big.len());
    assert_eq!(writer.feed(set.as_bytes()), (DRYWIRE_OK, set.len()));
    assert_eq!(reader.feed(b"get k\r\nversion\r\n"), (DRYWIRE_OK, 16));

    let mut iov = [drywire_iov { base: ptr::null_mut(), len: 0 }; 8];
    let (mut n, mut bytes) = (0, 0);
    // SAFETY: live handles and valid memory throughout.
    let look = |iov: &[drywire_iov]| -> Vec<u8> {
        iov.iter()
            // SAFETY: as above.
            .flat_map(|s| unsafe { core::slice::from_raw_parts(s.base.cast::<u8>(), s.len) })
            .copied()
            .collect()
    };
    // SAFETY: as above.
    let status = unsafe { drywire_conn_output(reader.0, iov.as_mut_ptr(), 8, &mut n, &mut bytes) };
    assert_eq!(status, DRYWIRE_OK);
    let before = look(&iov[..n]);
    assert_eq!(before.len(), bytes);
    assert!(before.ends_with(b"VERSION 1.6.45\r\n"));

    // Replies that make the outbox grow, the item replaced, its connection aborted: the bytes
    // shown stay where they are.
    for _ in 0..20 {
        assert_eq!(reader.feed(b"get k\r\nget nothing\r\n").0, DRYWIRE_OK);
        writer.feed(b"delete k\r\n");
        writer.feed(set.as_bytes());
        if reader.wants() & DRYWIRE_WANT_READ == 0 {
            break;
        }
    }
    assert_eq!(look(&iov[..n]), before);
    assert_eq!(reader.consume(1), DRYWIRE_OK);
    assert_eq!(look(&iov[..n])[1..], before[1..]);
    // SAFETY: as above.
    assert_eq!(unsafe { drywire_conn_abort(reader.0, 0, DRYWIRE_TRANSPORT_RESET) }, DRYWIRE_OK);
    assert_eq!(look(&iov[..n])[1..], before[1..]);
    assert_eq!(reader.wants(), DRYWIRE_WANT_CLOSE | DRYWIRE_WANT_RESET, "answers are lost");
    assert_eq!(reader.consume(bytes), DRYWIRE_ERR_RANGE);
    assert_eq!(reader.consume(bytes - 1), DRYWIRE_OK);
}

/// Not under Miri: to look too late is the point.
#[test]
#[cfg(not(miri))]
fn debug_views_are_overwritten_once_consumed() {
    let server = memcached(&drywire_server_options { flags: DRYWIRE_DEBUG_VIEWS, ..defaults() });
    let conn = server.open(1);
    conn.feed(b"version\r\n");
    let mut iov = [drywire_iov { base: ptr::null_mut(), len: 0 }; 1];
    let (mut n, mut bytes) = (0, 0);
    // SAFETY: live handles; the view is kept as a pattern for a while after it is consumed.
    unsafe {
        assert_eq!(
            drywire_conn_output(conn.0, iov.as_mut_ptr(), 1, &mut n, &mut bytes),
            DRYWIRE_OK
        );
        let view = || core::slice::from_raw_parts(iov[0].base.cast::<u8>(), iov[0].len);
        assert_eq!(view(), b"VERSION 1.6.45\r\n");
        assert_eq!(conn.consume(3), DRYWIRE_OK);
        assert_eq!(view()[3..], b"VERSION 1.6.45\r\n"[3..]);
        assert_eq!(conn.consume(bytes - 3), DRYWIRE_OK);
        assert!(view().iter().all(|b| *b == 0xDD));
    }
}

#[test]
fn nothing_but_the_commit_is_allowed_during_a_read() {
    let server = memcached(&defaults());
    let (a, b) = (server.open(1), server.open(2));
    let (mut room, mut cap, mut consumed) = (ptr::null_mut(), 0, 0);
    // SAFETY: live handles and valid memory.
    unsafe {
        assert_eq!(drywire_conn_input_commit(a.0, 0, 0), DRYWIRE_ERR_STATE);
        assert_eq!(drywire_conn_input_reserve(a.0, &mut room, &mut cap), DRYWIRE_OK);
        assert_eq!(cap, 64 << 10);
        let other = b"get k\r\n";
        for conn in [&a, &b] {
            let feed = drywire_conn_feed(conn.0, 0, other.as_ptr(), 7, &mut consumed);
            assert_eq!((feed, consumed), (DRYWIRE_ERR_STATE, 0));
            assert_eq!(conn.call(drywire_conn_eof), DRYWIRE_ERR_STATE);
            assert_ne!(conn.wants(), DRYWIRE_WANT_CLOSE);
        }
        assert_eq!(drywire_conn_input_reserve(b.0, &mut room, &mut cap), DRYWIRE_ERR_STATE);
        assert_eq!(drywire_server_tick(server.0, 0), DRYWIRE_ERR_STATE);
        assert_eq!(drywire_conn_input_commit(b.0, 0, 0), DRYWIRE_ERR_STATE);
        assert_eq!(drywire_conn_input_commit(a.0, 0, (64 << 10) + 1), DRYWIRE_ERR_RANGE);
        assert_eq!(drywire_conn_input_commit(a.0, 0, 0), DRYWIRE_OK);
        assert_eq!(b.read(b"version\r\n"), 9);
        // A connection that is freed takes its reservation along.
        assert_eq!(drywire_conn_input_reserve(b.0, &mut room, &mut cap), DRYWIRE_OK);
        drop(b);
        assert_eq!(drywire_server_tick(server.0, 0), DRYWIRE_OK);
    }
}

#[test]
fn free_order_does_not_matter() {
    let server = memcached(&defaults());
    let conn = server.open(7);
    drop(server);
    assert_eq!(conn.feed(b"version\r\n").0, DRYWIRE_OK);
    assert_eq!(conn.output(4), b"VERSION 1.6.45\r\n");
}

#[test]
fn a_full_server_refuses_in_words_and_then_without() {
    let server = memcached(&drywire_server_options { max_connections: 1, ..defaults() });
    let _first = server.open(1);
    let refused = server.open(2);
    assert_eq!(refused.wants(), DRYWIRE_WANT_WRITE);
    assert_eq!(refused.feed(b"get k\r\n"), (DRYWIRE_NEED_OUTPUT_DRAIN, 0));
    assert_eq!(refused.output(2), b"ERROR Too many open connections\r\n");
    assert_eq!(refused.error().code, DRYWIRE_CLOSE_REFUSED);
    assert_eq!(refused.error().status, DRYWIRE_ERR_OVERLOADED as i32);
    let mut held = Vec::new();
    loop {
        let mut conn = ptr::null_mut();
        // SAFETY: a live server.
        match unsafe { drywire_conn_open(server.0, 0, ptr::null_mut(), &mut conn) } {
            DRYWIRE_OK => held.push(Conn(conn)),
            status => {
                assert_eq!(status, DRYWIRE_ERR_OVERLOADED);
                assert!(conn.is_null());
                break;
            }
        }
        assert!(held.len() < 1000);
    }
}

#[test]
fn back_pressure_and_faults_have_their_status() {
    let server = memcached(&drywire_server_options {
        output_high: 4096,
        output_low: 100,
        messages_per_turn: 1000,
        ..defaults()
    });
    let conn = server.open(1);
    let flood = b"version\r\n".repeat(1000);
    let (status, used) = conn.feed(&flood);
    assert_eq!(status, DRYWIRE_OK);
    assert_eq!(used, flood.len(), "bytes up to the input limit are kept");
    let (status, used) = conn.feed(&flood);
    assert_eq!((status, used), (DRYWIRE_NEED_OUTPUT_DRAIN, 0));
    assert_eq!(conn.error().code, DRYWIRE_CLOSE_NONE);

    let bad = server.open(2);
    let (status, _) = bad.feed(&b"x".repeat(4000));
    assert_eq!(status, DRYWIRE_ERR_TOO_LONG);
    assert_eq!(bad.feed(b"more").0, DRYWIRE_ERR_TOO_LONG);
    let error = bad.error();
    assert_eq!((error.code, error.status), (DRYWIRE_CLOSE_FAULT, status as i32));
    assert_eq!(text(error.text), "a command line over 2048 bytes");
}

#[test]
fn options_are_checked_and_may_be_of_another_age() {
    let refuse = |options: drywire_server_options| {
        let mut server = ptr::without_provenance_mut(1);
        // SAFETY: valid memory.
        let status = unsafe { drywire_memcached_server_new(&options, ptr::null(), &mut server) };
        assert!(server.is_null());
        status
    };
    assert_eq!(refuse(drywire_server_options { flags: 2, ..defaults() }), DRYWIRE_ERR_RANGE);
    for options in [
        drywire_server_options { input_limit: 2047, ..defaults() },
        drywire_server_options { output_high: 0, ..defaults() },
        drywire_server_options { output_low: 64 << 10, ..defaults() },
        drywire_server_options { max_connections: 0, ..defaults() },
        drywire_server_options { messages_per_turn: 0, ..defaults() },
        drywire_server_options { linger_bytes: 1 << 31, ..defaults() },
    ] {
        assert_eq!(refuse(options), DRYWIRE_ERR_RANGE, "{options:?}");
    }
    assert_eq!(refuse(drywire_server_options { struct_size: 7, ..defaults() }), DRYWIRE_ERR_ABI);

    // A program of the past knows less: what it does not know has its default.
    let past = drywire_server_options {
        struct_size: 16,
        messages_per_turn: 1,
        linger_bytes: u64::MAX,
        ..defaults()
    };
    let conn = memcached(&past).open(1);
    assert_eq!(conn.feed(b"version\r\nversion\r\n"), (DRYWIRE_OK, 18));
    assert_ne!(conn.wants() & DRYWIRE_WANT_AGAIN, 0, "one message a turn");

    // A program of the future passes more; fine as long as it does not use it.
    #[repr(C)]
    struct Longer {
        known: drywire_server_options,
        unknown: u64,
    }
    for (unknown, expected) in [(0, DRYWIRE_OK), (1, DRYWIRE_ERR_ABI)] {
        let size = size_of::<Longer>() as u32;
        let known = drywire_server_options { struct_size: size, ..defaults() };
        let longer = Longer { known, unknown };
        let mut server = ptr::null_mut();
        // SAFETY: as long as it says.
        unsafe {
            let options = (&raw const longer).cast();
            let status = drywire_memcached_server_new(options, ptr::null(), &mut server);
            assert_eq!(status, expected);
            drywire_server_free(server);
        }
    }
}

fn lines_server(window: u32, idle_ns: u64) -> Server {
    let mut framing: drywire_framer_options = crate::sized::Growing::DEFAULT;
    framing.kind = DRYWIRE_FRAMING_LINES;
    framing.max_payload = 100;
    framing.oversize = DRYWIRE_OVERSIZE_SKIP;
    let mut custom: drywire_custom_options = crate::sized::Growing::DEFAULT;
    (custom.window, custom.idle_ns) = (window, idle_ns);
    let mut server = ptr::null_mut();
    // SAFETY: valid memory.
    let status = unsafe { drywire_custom_server_new(ptr::null(), &framing, &custom, &mut server) };
    assert_eq!(status, DRYWIRE_OK);
    Server(server)
}

/// It has no words for a refusal, and a peaceful end would look like one that owes nothing.
#[test]
fn a_custom_server_refuses_with_a_reset() {
    let server = lines_server(4, DRYWIRE_NO_DEADLINE);
    let conn = server.open(0);
    // SAFETY: a live server.
    assert_eq!(unsafe { drywire_server_drain(server.0, 0) }, DRYWIRE_OK);
    let mut late = ptr::null_mut();
    // SAFETY: as above.
    let status = unsafe { drywire_conn_open(server.0, 0, ptr::null_mut(), &mut late) };
    assert_eq!((status, late.is_null()), (DRYWIRE_ERR_OVERLOADED, true));
    let mut stats = drywire_server_stats { struct_size: 56, ..crate::sized::Growing::DEFAULT };
    // SAFETY: as above.
    unsafe { drywire_server_get_stats(server.0, &mut stats) };
    assert_eq!((stats.connections, stats.overloaded), (1, 1));
    drop(conn);
}

/// Not under Miri: to look too late is the point.
#[test]
#[cfg(not(miri))]
fn views_of_a_poll_are_overwritten_by_the_next_in_debug_mode() {
    let framing = drywire_framer_options {
        kind: DRYWIRE_FRAMING_LINES,
        max_payload: 100,
        ..crate::sized::Growing::DEFAULT
    };
    let options = drywire_server_options { flags: DRYWIRE_DEBUG_VIEWS, ..defaults() };
    let mut server = ptr::null_mut();
    // SAFETY: valid memory.
    let status = unsafe { drywire_custom_server_new(&options, &framing, ptr::null(), &mut server) };
    assert_eq!(status, DRYWIRE_OK);
    let server = Server(server);
    let conn = server.open(0);
    assert_eq!(conn.feed(b"one\ntwo\n").0, DRYWIRE_OK);
    let (mut event, mut n) = (drywire_event::new(0, 0), 0);
    // SAFETY: a live server; views of it are kept for a while in debug mode.
    unsafe {
        assert_eq!(drywire_server_poll(server.0, &mut event, 1, &mut n), DRYWIRE_MORE);
        let first = event.a;
        assert_eq!(text(first), "one");
        assert_eq!(drywire_server_poll(server.0, &mut event, 1, &mut n), DRYWIRE_MORE);
        assert_eq!(text(event.a), "two");
        assert_eq!(core::slice::from_raw_parts(first.data, first.len), [0xDD; 3]);
    }
}

/// Polls all requests: connection, token, kind of event, payload.
fn poll(server: &Server) -> Vec<(u64, u64, u32, String)> {
    let mut requests = Vec::new();
    loop {
        let mut events = [drywire_event::new(0, 0); 2];
        let mut n = 0;
        // SAFETY: a live server and room for two.
        let status = unsafe { drywire_server_poll(server.0, events.as_mut_ptr(), 2, &mut n) };
        requests.extend(events[..n].iter().map(|e| (e.id, e.num, e.kind, text(e.a))));
        if status == DRYWIRE_OK {
            return requests;
        }
    }
}

fn reply(
    server: &Server,
    id: u64,
    token: u64,
    flags: u32,
    data: &str,
) -> crate::status::drywire_status {
    // SAFETY: a live server and valid memory.
    unsafe { drywire_server_reply(server.0, 0, id, token, 0, flags, data.as_ptr(), data.len()) }
}

#[test]
fn a_custom_protocol_answers_each_request_once_and_in_order() {
    let server = lines_server(3, DRYWIRE_NO_DEADLINE);
    let conn = server.open(42);
    let long = "x".repeat(101);
    let script = format!("one\ntwo\n{long}\nfour\nfive\n");
    assert_eq!(conn.feed(script.as_bytes()), (DRYWIRE_OK, script.len()));
    let requests = poll(&server);
    let told: Vec<_> = requests.iter().map(|r| (r.2, r.3.as_str())).collect();
    assert_eq!(
        told,
        [
            (DRYWIRE_EVENT_REQUEST, "one"),
            (DRYWIRE_EVENT_REQUEST, "two"),
            (DRYWIRE_EVENT_BAD_REQUEST, "frame too large"),
        ]
    );
    assert_eq!(conn.wants() & DRYWIRE_WANT_READ, 0, "the window is full");

    // Early answers wait for their turn; one is refused because it cannot be framed.
    let (id, tokens) = (requests[0].0, requests.iter().map(|r| r.1).collect::<Vec<_>>());
    assert_eq!(reply(&server, id, tokens[2], 0, "too long"), DRYWIRE_OK);
    assert_eq!(reply(&server, id, tokens[1], 0, "b\nb"), DRYWIRE_ERR_RANGE);
    assert_eq!(reply(&server, id, tokens[1], 0, "b"), DRYWIRE_OK);
    assert_eq!(reply(&server, id, tokens[1], 0, "b"), DRYWIRE_ERR_GONE);
    assert_eq!(conn.output(4), b"");
    assert_eq!(reply(&server, id, tokens[0], DRYWIRE_RAW, "a!"), DRYWIRE_OK);
    assert_eq!(conn.output(4), b"a!b\ntoo long\n");
    assert_eq!(server.ready(), [42]);

    assert_ne!(conn.wants() & DRYWIRE_WANT_AGAIN, 0, "what was received before goes on");
    assert_eq!(conn.call(drywire_conn_resume), DRYWIRE_OK);
    let rest = poll(&server);
    assert_eq!(rest.iter().map(|r| r.3.as_str()).collect::<Vec<_>>(), ["four", "five"]);
    assert_eq!(conn.call(drywire_conn_eof), DRYWIRE_OK);
    let n = conn.output(4).len();
    assert_eq!(conn.consume(n), DRYWIRE_OK);
    assert_eq!(conn.wants() & DRYWIRE_WANT_SHUTDOWN, 0, "answers are owed");
    assert_eq!(reply(&server, id, rest[0].1, DRYWIRE_NO_ANSWER, "ignored"), DRYWIRE_OK);
    assert_eq!(reply(&server, id, rest[1].1, 0, "5"), DRYWIRE_OK);
    assert_eq!(conn.output(4), b"5\n");
    assert_eq!(conn.consume(2), DRYWIRE_OK);
    assert_ne!(conn.wants() & (DRYWIRE_WANT_SHUTDOWN | DRYWIRE_WANT_CLOSE), 0);
    drop(conn);
    assert_eq!(reply(&server, id, rest[1].1, 0, "late"), DRYWIRE_ERR_GONE);
    assert_eq!(reply(&server, u64::MAX, 1, 0, "nobody"), DRYWIRE_ERR_GONE);
}

#[test]
fn fan_out_reaches_those_who_can_take_it() {
    let server = lines_server(8, DRYWIRE_NO_DEADLINE);
    let conns: Vec<Conn> = (1..=5).map(|user| server.open(user)).collect();
    // SAFETY: live connections.
    let mut ids: Vec<u64> = conns.iter().map(|c| unsafe { drywire_conn_id(c.0) }).collect();
    ids.push(u64::MAX);
    let text = "news ".repeat(10);
    let mut sent = 0;
    let mut send = |ids: &[u64]| {
        // SAFETY: a live server and valid memory.
        let status = unsafe {
            drywire_server_send(
                server.0,
                0,
                ids.as_ptr(),
                ids.len(),
                0,
                0,
                text.as_ptr(),
                text.len(),
                &mut sent,
            )
        };
        assert_eq!(status, DRYWIRE_OK);
        sent
    };
    assert_eq!(send(&ids), 5);
    assert_eq!(server.ready(), [1, 2, 3, 4, 5]);
    assert_eq!(conns[3].output(4), format!("{text}\n").as_bytes());
    // One that never reads fills up and is passed over, the others are not disturbed.
    for _ in 0..2000 {
        send(&ids[..1]);
    }
    assert_eq!(send(&ids), 4);
    assert!(conns[0].output(64).len() < (64 << 10) + 100);
}

#[test]
fn silent_connections_of_a_custom_protocol_end() {
    let server = lines_server(8, 1_000);
    let conn = server.open(9);
    assert_eq!(conn.feed(b"hello\npart").0, DRYWIRE_OK);
    // SAFETY: a live server.
    unsafe {
        // While an answer is owed the silence is ours.
        assert_eq!(drywire_server_tick(server.0, 5_000), DRYWIRE_OK);
        assert_eq!(drywire_server_next_deadline(server.0), DRYWIRE_NO_DEADLINE);
        assert_eq!(conn.feed(b"ial").0, DRYWIRE_OK);
        let requests = poll(&server);
        assert_eq!(reply(&server, requests[0].0, requests[0].1, 0, "hi"), DRYWIRE_OK);
        assert_eq!(drywire_server_next_deadline(server.0), 6_000);
        assert_eq!(drywire_server_tick(server.0, 5_999), DRYWIRE_OK);
        assert_eq!(conn.error().code, DRYWIRE_CLOSE_NONE);
        assert_eq!(drywire_server_tick(server.0, 6_000), DRYWIRE_OK);
    }
    assert_eq!(server.ready(), [9]);
    assert_eq!(conn.error().status, DRYWIRE_ERR_TIMED_OUT as i32);
    assert_eq!(conn.output(4), b"hi\n", "what is owed is still delivered");
}

/// A host that was away reads before it ticks: who had spoken meanwhile stays.
#[test]
fn who_is_due_is_named_before_a_tick_gives_it_up() {
    let server = lines_server(8, 1_000);
    let conns: Vec<Conn> = (0..4).map(|user| server.open(user)).collect();
    let due = |now: u64| {
        let mut one = drywire_ready { id: 0, user: ptr::null_mut(), flags: 0, reserved: 0 };
        let mut n = usize::MAX;
        // SAFETY: a live server and room for one.
        let status = unsafe { drywire_server_due(server.0, now, &mut one, 1, &mut n) };
        (status, (n == 1).then(|| one.user.addr()))
    };
    assert_eq!(due(999), (DRYWIRE_OK, None));
    assert_eq!(due(1_000), (DRYWIRE_MORE, Some(0)));
    let mut gone = conns.into_iter();
    let (spoke, freed, silent, late) =
        (gone.next().unwrap(), gone.next(), gone.next().unwrap(), gone.next().unwrap());
    drop(freed);
    let mut n = 0;
    // SAFETY: a live connection and valid memory.
    unsafe {
        let fed = drywire_conn_feed(spoke.0, 1_000, b"a".as_ptr(), 1, &mut n);
        assert_eq!(fed, DRYWIRE_OK);
    }
    // The rest of the same list, though one is gone by now.
    assert_eq!(due(1_000), (DRYWIRE_MORE, Some(2)));
    assert_eq!(due(1_000), (DRYWIRE_OK, Some(3)));
    // A new one: without the one that spoke.
    assert_eq!(due(1_000), (DRYWIRE_MORE, Some(2)));
    // SAFETY: a live server.
    assert_eq!(unsafe { drywire_server_tick(server.0, 1_000) }, DRYWIRE_OK);
    assert_eq!(due(1_000), (DRYWIRE_OK, None), "a tick ends the list");
    let ended = [&spoke, &silent, &late].map(|conn| conn.error().code);
    assert_eq!(ended, [DRYWIRE_CLOSE_NONE, DRYWIRE_CLOSE_FAULT, DRYWIRE_CLOSE_FAULT]);
}

#[test]
fn the_gate_refuses_a_second_call_and_everything_after_a_panic() {
    let gate = gate();
    let second = gate.run(|_| Ok(gate.run(|_| Ok(())).unwrap_err()));
    assert_eq!(second, Ok(DRYWIRE_ERR_REENTRANT));
    assert_eq!(gate.run(|n| Ok(*n)), Ok(0));
    let panicked: crate::status::Result<()> = gate.run(|_| panic!("a defect"));
    assert_eq!(panicked, Err(DRYWIRE_ERR_PANIC));
    assert_eq!(gate.run(|n| Ok(*n)), Err(DRYWIRE_ERR_POISONED));
}

#[test]
fn stats_add_up() {
    let server = memcached(&defaults());
    let conn = server.open(1);
    conn.feed(b"set a 0 0 1\r\nx\r\nget a\r\nget b\r\n");
    let n = conn.output(9).len();
    conn.consume(n);
    let mut stats = drywire_server_stats {
        struct_size: size_of::<drywire_server_stats>() as u32,
        ..crate::sized::Growing::DEFAULT
    };
    let mut store: drywire_memcached_stats = crate::sized::Growing::DEFAULT;
    // SAFETY: live handles and sized structs.
    unsafe {
        assert_eq!(drywire_server_get_stats(server.0, &mut stats), DRYWIRE_OK);
        assert_eq!(drywire_server_get_memcached_stats(server.0, &mut store), DRYWIRE_OK);
    }
    assert_eq!((stats.connections, stats.accepted, stats.bytes_in), (1, 1, 30));
    assert_eq!(stats.bytes_out, n as u64);
    assert_eq!((store.items, store.gets, store.hits, store.sets), (1, 2, 1, 1));
    assert_eq!(store.memory_limit, 64 << 20);
}
