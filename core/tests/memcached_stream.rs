//! The memcached server as a machine: any stream of commands, valid or hostile, under any
//! schedule, gives the same bytes (I3) and stays within its caps (I2).

mod common;

use common::{Outcome, Schedule, run};
use drywire::Tick;
use drywire::conn::{CloseReason, Limits, Peer, Wants};
use drywire::engine::{Engine, Local};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use proptest::prelude::*;

type Memcached = Engine<Server<Local<Part>>>;

fn memcached(limits: Limits, item_max: u32) -> Memcached {
    let hasher = Hasher::new(7);
    let store = StoreConfig { item_max, ..StoreConfig::new(64 << 20, hasher.clone()) };
    let part = Part::new(Store::new(store).unwrap());
    let shared = Shared::new(Config::new(hasher, 1_800_000_000), Local::one(part));
    Engine::new(shared, limits, 16)
}

fn outcome(limits: Limits, script: &[u8], schedule: &Schedule) -> Outcome {
    run(&mut memcached(limits, 1024), script, schedule)
}

fn replies(script: &str) -> String {
    let outcome = outcome(Limits::default(), script.as_bytes(), &Schedule::whole());
    String::from_utf8(outcome.bytes).unwrap()
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[a-c]", 1 => Just("noreply".to_owned()), 1 => "[a-z]{245,255}"]
}

/// Mostly right commands over few keys, some wrong in one place, some not commands at all.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40),
        2 => "[0-9]{0,21}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 900..1100),
    ];
    let number = prop_oneof![
        6 => (0u64..100).prop_map(|n| n.to_string()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => any::<u64>().prop_map(|n| n.to_string()),
        1 => "[a-z0-9-]{0,25}",
    ];
    let end = prop_oneof![6 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r"), 1 => Just(" \r\n")];
    let noreply = prop_oneof![4 => Just(""), 2 => Just(" noreply"), 1 => Just(" what")];
    let verb = prop::sample::select(vec!["set", "add", "replace", "append", "prepend"]);
    let storage = (verb, key(), number.clone(), number.clone(), -3i64..4, noreply.clone(), value)
        .prop_map(|(verb, key, flags, exptime, off, noreply, value)| {
            let len = value.len() as i64 + if off.abs() == 3 { off } else { 0 };
            let mut bytes =
                format!("{verb} {key} {flags} {exptime} {len}{noreply}\r\n").into_bytes();
            bytes.extend(value);
            bytes.extend(b"\r\n");
            bytes
        });
    let cas = (key(), number.clone(), 0u64..30).prop_map(|(key, flags, unique)| {
        format!("cas {key} {flags} 0 2 {unique}\r\nab\r\n").into_bytes()
    });
    let get = prop::sample::select(vec!["get", "gets", "gat 0", "gats 100", "gat x", "gat"]);
    let retrieval = (get, prop::collection::vec(key(), 0..6), end.clone())
        .prop_map(|(get, keys, end)| format!("{get} {}{end}", keys.join(" ")).into_bytes());
    let long_retrieval =
        (prop::sample::select(vec!["get", "gats 5"]), any::<bool>()).prop_map(|(get, bad)| {
            let mut line = format!("{get} {}", "a noreply b ".repeat(300));
            if bad {
                line += &"x".repeat(251);
            }
            (line + " a\r\n").into_bytes()
        });
    let word = prop::sample::select(vec![
        "incr",
        "decr",
        "touch",
        "delete",
        "flush_all",
        "verbosity",
        "version",
        "stats",
        "mn",
        "",
        "get",
        "set",
        " get",
    ]);
    let other =
        (word, key(), number, noreply, end).prop_map(|(word, key, number, noreply, end)| {
            format!("{word} {key} {number}{noreply}{end}").into_bytes()
        });
    let garbage = prop::collection::vec(any::<u8>(), 0..60);
    let long = (2000usize..2100).prop_map(|n| [vec![b'z'; n], b"\r\n".to_vec()].concat());
    prop_oneof![
        8 => storage, 2 => cas, 6 => retrieval, 1 => long_retrieval, 6 => other, 1 => garbage,
        1 => Just(b"quit\r\n".to_vec()),
        1 => long,
    ]
}

/// Small enough to stop everywhere; the input limit has to hold one command line.
fn limits() -> impl Strategy<Value = Limits> {
    (1usize..3000, 0usize..3000, 1u32..5, 2048usize..5000).prop_map(|(high, low, turn, input)| {
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
    #[test]
    fn schedules_do_not_show(
        commands in prop::collection::vec(command(), 0..25),
        cut in any::<prop::sample::Index>(),
        limits in limits(),
        schedule in Schedule::any(),
    ) {
        // `stats` counts turns and bytes: what a schedule is made of.
        let mut script = commands.concat();
        script.truncate(cut.index(2 * script.len() + 1));
        let whole = outcome(Limits::default(), &script, &Schedule::whole());
        prop_assert_eq!(&outcome(limits, &script, &schedule), &whole);
        prop_assert_eq!(&outcome(limits, &script, &Schedule::byte_by_byte()), &whole);
    }

    #[test]
    fn arbitrary_bytes_stay_within_the_cap(
        pieces in prop::collection::vec(prop_oneof![
            3 => command(),
            1 => prop::collection::vec(any::<u8>(), 0..200),
            1 => Just(b"set big 0 0 2147483645\r\n".to_vec()),
            1 => Just(b"set k 0 0 900\r\n".to_vec()),
        ], 0..60),
        limits in limits(),
    ) {
        let mut engine = memcached(limits, 1024);
        let now = Tick::from_secs(1);
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        // Vectors grow by doubling; one reply may start just under the mark.
        let cap = 2 * (limits.input + limits.output_high + 4096) + 1024;
        for piece in pieces {
            let mut left = &piece[..];
            while !left.is_empty() && engine.wants(id).has(Wants::READ) {
                let taken = engine.receive(id, now, left);
                prop_assert!(taken > 0);
                left = &left[taken..];
                while engine.wants(id).has(Wants::AGAIN) {
                    engine.resume(id, now);
                }
            }
            if let Some(conn) = engine.conn(id) {
                prop_assert!(conn.footprint() <= cap, "{} > {cap}", conn.footprint());
            }
        }
    }
}

#[test]
fn every_split_of_a_short_script_gives_the_same() {
    let script = b"set k 7 0 2\r\nhi\r\ngets k x\nset k 0 0 1\r\nbad\r\nincr k 1\r\n";
    let whole = outcome(Limits::default(), script, &Schedule::whole());
    for a in 0..script.len() {
        for b in a..script.len() {
            let pieces = vec![a.max(1), (b - a).max(1), usize::MAX];
            let schedule = Schedule { pieces, sends: vec![usize::MAX] };
            assert_eq!(outcome(Limits::default(), script, &schedule), whole, "at {a} and {b}");
        }
    }
}

#[test]
fn a_transcript() {
    assert_eq!(
        replies(
            "set k 5 0 5\r\nhello\r\nget k\r\nadd k 0 0 1\r\nx\r\nreplace k 0 0 2\r\n10\r\n\
             incr k 5\r\ndecr k 100\r\nappend k 0 0 1\r\n1\r\nprepend k 0 0 1\r\n2\r\nget k\r\n\
             delete k\r\ndelete k\r\nget k\r\ntouch k 0\r\nversion\r\nverbosity 1\r\nflush_all\r\n"
        ),
        "STORED\r\nVALUE k 5 5\r\nhello\r\nEND\r\nNOT_STORED\r\nSTORED\r\n15\r\n0\r\nSTORED\r\n\
         STORED\r\nVALUE k 0 4\r\n20 1\r\nEND\r\nDELETED\r\nNOT_FOUND\r\nEND\r\nNOT_FOUND\r\n\
         VERSION 1.6.45\r\nOK\r\nOK\r\n"
    );
}

#[test]
fn noreply_is_silent_and_a_key_may_be_called_so() {
    assert_eq!(
        replies(
            "set noreply 0 0 1\r\n5\r\nset k 0 0 1 noreply\r\n1\r\nincr k 1 noreply\r\n\
             touch k 0 noreply\r\nincr k x noreply\r\nget noreply k\r\ndelete k noreply\r\n\
             delete noreply\r\nflush_all noreply\r\nverbosity 1 noreply\r\nget k\r\n"
        ),
        "STORED\r\nCLIENT_ERROR invalid numeric delta argument\r\nVALUE noreply 0 1\r\n5\r\n\
         VALUE k 0 1\r\n2\r\nEND\r\nDELETED\r\nEND\r\n"
    );
}

#[test]
fn errors_and_what_they_swallow() {
    let too_long = "k".repeat(251);
    let cases = [
        ("foo\r\n", "ERROR\r\n"),
        (" get k\r\n", "ERROR\r\n"),
        ("\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("get\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("set k 0 0\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("set k 0 0 -300\r\n", "CLIENT_ERROR bad command line format\r\n"),
        // The value of a refused line is swallowed: it is not taken for a command.
        ("set k x 0 5\r\nstats\r\n", "CLIENT_ERROR bad command line format\r\n"),
        ("set k 0 0 5000 noreply\r\nVALUE\r\n", ""),
        ("set k 0 0 2\r\nabcdef\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n"),
        ("incr k 1\r\n", "NOT_FOUND\r\n"),
        ("touch k x\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
        ("gat x k\r\n", "CLIENT_ERROR invalid exptime argument\r\n"),
        ("GET / HTTP/1.1\r\n", ""),
    ];
    for (line, reply) in cases {
        assert_eq!(replies(line), reply, "{line:?}");
    }
    assert_eq!(
        replies(&format!("set k 0 0 1\r\nv\r\nget k {too_long} k\r\nget k\r\n")),
        "STORED\r\nCLIENT_ERROR bad command line format\r\nVALUE k 0 1\r\nv\r\nEND\r\n",
        "one error line, no more"
    );
    let body = "v".repeat(5000);
    assert_eq!(
        replies(&format!("set k 0 0 1\r\nv\r\nadd k 0 0 5000\r\n{body}\r\nget k\r\n")),
        "STORED\r\nSERVER_ERROR object too large for cache\r\nVALUE k 0 1\r\nv\r\nEND\r\n"
    );
    assert_eq!(
        replies(&format!("set k 0 0 1\r\nv\r\nset k 0 0 5000\r\n{body}\r\nget k\r\n")),
        "STORED\r\nSERVER_ERROR object too large for cache\r\nEND\r\n",
        "a failed set must not leave the old value"
    );
}

#[test]
fn a_hostile_length_allocates_nothing() {
    let mut engine = memcached(Limits::default(), 1 << 20);
    let now = Tick::ZERO;
    let before = engine.shared_mut().shards_mut().parts()[0].store.footprint();
    for line in ["set a 0 0 2147483645\r\n", "set a 0 0 1000000\r\n"] {
        let id = engine.accept(now, &Peer::Virtual(1)).unwrap();
        engine.receive(id, now, line.as_bytes());
        assert!(engine.conn(id).unwrap().footprint() < 4096);
        let store = &engine.shared_mut().shards_mut().parts()[0].store;
        assert!(store.footprint() - before < 4096, "{line}: {}", store.footprint());
    }
}

#[test]
fn a_key_list_has_no_length_limit() {
    let mut script = String::from("set a 0 0 1\r\nx\r\nget");
    for i in 0..20_000 {
        script += &format!(" key:{i}");
    }
    script += " a\r\n";
    assert_eq!(replies(&script), "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn a_line_without_end_is_a_visible_failure() {
    let outcome = outcome(Limits::default(), &[b'x'; 5000], &Schedule::byte_by_byte());
    assert!(outcome.bytes.starts_with(b"CLIENT_ERROR line too long"));
    assert!(matches!(outcome.reason, Some(CloseReason::Fault(_))));
}

#[test]
fn input_that_ends_inside_a_value_is_truncated() {
    let outcome = outcome(Limits::default(), b"get a\r\nset k 0 0 10\r\nabc", &Schedule::whole());
    assert_eq!(outcome.bytes, b"END\r\n");
    assert!(matches!(outcome.reason, Some(CloseReason::Fault(_))));
}

#[test]
fn a_large_value_is_sent_without_a_copy_and_stays_whole_while_it_changes() {
    let mut engine = memcached(Limits::default(), 1 << 20);
    let now = Tick::ZERO;
    let value = vec![b'v'; 1_000_000];
    let script = [b"set k 0 0 1000000\r\n".to_vec(), value.clone(), b"\r\n".to_vec()].concat();
    let a = engine.accept(now, &Peer::Virtual(1)).unwrap();
    let b = engine.accept(now, &Peer::Virtual(2)).unwrap();
    let mut fed = 0;
    while fed < script.len() {
        fed += engine.receive(a, now, &script[fed..]);
    }
    engine.receive(b, now, b"get k\r\n");
    engine.sent(b, now, 1000);
    engine.sent(a, now, 8);
    engine.receive(a, now, b"set k 0 0 3\r\nnew\r\ndelete k\r\n");
    assert!(engine.conn(b).unwrap().outgoing().any(|s| s.len() > 900_000), "one shared segment");
    let rest: Vec<u8> = engine.outgoing(b).flatten().copied().collect();
    let whole = [b"VALUE k 0 1000000\r\n".to_vec(), value, b"\r\nEND\r\n".to_vec()].concat();
    assert_eq!(rest, whole[1000..]);
}

#[test]
fn stats_count_what_happened() {
    let stats = replies("set k 0 0 1\r\nv\r\nget k x\r\nincr k 1\r\nstats\r\nstats nonsense\r\n");
    for line in [
        "cmd_get 2",
        "get_hits 1",
        "get_misses 1",
        "cmd_set 1",
        "curr_items 1",
        "curr_connections 1",
        "total_connections 1",
        "version 1.6.45",
    ] {
        assert!(stats.contains(&format!("STAT {line}\r\n")), "{line} in {stats}");
    }
    assert!(stats.ends_with("END\r\nERROR\r\n"));
    let reset = replies("get k\r\nstats reset\r\nstats\r\n");
    assert!(reset.contains("RESET\r\n") && reset.contains("STAT cmd_get 0\r\n"));
}
