//! The limits of `drywire serve`, each by its flag, over real sockets; what they are and what they
//! did is in `stats`.

mod common;

use common::{Client, Services, drywire, wait_for};
use std::io::Read;
use std::time::{Duration, Instant};

const BOARD: &str =
    "800000000003600000070090200050007000000045700000100030001000068008500010090000400";

/// Stores `b`, a value of so many bytes.
fn store(client: &mut Client, size: usize) {
    let value = vec![b'v'; size];
    client.send(format!("set b 0 0 {size}\r\n"));
    client.send(&value);
    assert_eq!(client.ask("\r\n"), "STORED");
}

/// Takes one answer to `get b`.
fn take(client: &mut Client, size: usize) {
    assert_eq!(client.line(), format!("VALUE b 0 {size}"));
    let mut value = vec![0; size + 2];
    client.0.read_exact(&mut value).unwrap();
    assert!(value[..size].iter().all(|byte| *byte == b'v') && value.ends_with(b"\r\n"));
    assert_eq!(client.line(), "END");
}

#[test]
fn a_connection_has_a_share_of_each_turn() {
    for (flag, yields) in [("-R 4", true), ("-R 1000", false)] {
        let served = Services::start(&format!("-p 0 -t 1 {flag}"));
        let mut client = served.client("memcached");
        client.send("get none\r\n".repeat(200));
        assert!((0..200).all(|_| client.line() == "END"));
        let yielded = client.stat("stats", "conn_yields").unwrap();
        // However the requests were cut up on their way, turns of four are not enough.
        assert_eq!(yielded > 0, yields, "{flag}: {yielded}");
        let share = client.stat("stats settings", "reqs_per_event");
        assert_eq!(share, flag[3..].parse().ok());
    }
}

#[test]
fn who_does_not_read_is_not_read_and_loses_nothing() {
    const GETS: usize = 2000;
    const SIZE: usize = 100_000;
    let served = Services::start("-p 0 -t 1 --output-limit 2k --stall 10m");
    let (mut deaf, mut other) = (served.client("memcached"), served.client("memcached"));
    store(&mut other, SIZE);
    deaf.send("get b\r\n".repeat(GETS));
    // Until the system's own buffers are full.
    let mut last = 0;
    let asked = wait_for("the reading to stop", || {
        let now = other.stat("stats", "cmd_get").unwrap();
        let stands = core::mem::replace(&mut last, now) == now && now > 0;
        stands.then_some(now)
    });
    assert!(asked < GETS as u64, "all of it was executed");
    assert!(other.stat("stats", "buffered_bytes").unwrap() < 64 * SIZE as u64);
    assert_eq!(other.stat("stats settings", "output_limit"), Some(2048));
    assert_eq!(other.ask("get none\r\n"), "END", "others are served meanwhile");
    (0..GETS).for_each(|_| take(&mut deaf, SIZE));
    assert_eq!(other.stat("stats", "cmd_get"), Some(GETS as u64 + 1), "each once");
}

#[test]
fn a_reader_without_progress_is_closed_and_counted() {
    let served = Services::start("-p 0 -t 1 --stall 300ms");
    let (mut deaf, mut other) = (served.client("memcached"), served.client("memcached"));
    store(&mut other, 1_000_000);
    deaf.send("get b\r\n".repeat(100));
    wait_for("the slow reader to be counted", || {
        (other.stat("stats", "slow_readers") == Some(1)).then_some(())
    });
    assert_eq!(other.stat("stats", "curr_connections"), Some(1));
    // Visibly closed: what was sent before, then the end or a reset, and not all answers.
    let mut rest = Vec::new();
    let ended = deaf.0.read_to_end(&mut rest);
    assert!(ended.is_err() || rest.len() < 100 * 1_000_000, "{ended:?}");
}

/// Lower bounds of time only: a busy machine makes nothing earlier.
#[test]
fn who_was_refused_is_served_after_a_pause() {
    const PAUSE: Duration = Duration::from_millis(500);
    let limits = "--buffer-limit 1M --output-limit 1k --stall 10m --refusal-pause 500ms \
         --refusal-pause-from 1";
    let served = Services::start(&format!("-p 0 -t 1 {limits}"));
    let mut other = served.client("memcached");
    assert_eq!(other.stat("stats settings", "refusal_pause_us"), Some(500_000));
    store(&mut other, 1_000_000);
    let mut deaf = Vec::new();
    while !other.ask("delete none\r\n").starts_with("SERVER_ERROR server too busy") {
        assert!(deaf.len() < 500);
        let client = served.client("memcached");
        client.send("get b\r\n".repeat(20));
        deaf.push(client);
    }
    let refused = Instant::now();
    for _ in 0..3 {
        assert_eq!(other.ask("delete none\r\n"), "SERVER_ERROR server too busy");
    }
    // The first pause may have begun a little before its refusal was heard of.
    assert!(refused.elapsed() >= 2 * PAUSE, "{:?}", refused.elapsed());
    assert_eq!(other.stat("stats", "reads_stopped"), Some(1));
    assert_eq!(other.stat("stats settings", "buffer_limit"), Some(1 << 20));
    drop(deaf);
    wait_for("the memory to come back", || {
        (other.ask("delete none\r\n") == "NOT_FOUND").then_some(())
    });
    let shed = other.stat("stats", "shed_requests").unwrap();
    assert!(shed >= 4, "{shed}");
}

#[test]
fn sudoku_has_its_own_limits() {
    let served = Services::start(
        "--no-memcache --sudoku 127.0.0.1:0 -t 1 --workers 1 --sudoku-guesses 1 --sudoku-window 2 \
         --sudoku-deadline 16ms --refusal-pause 1s --output-limit 4k --buffer-limit 2M",
    );
    let mut client = served.client("sudoku");
    assert_eq!(client.ask(format!("a:{BOARD}\r\n")), "a:ServerTooBusy", "one guess is not enough");
    assert_eq!(client.stat("stats", "given_up_requests"), Some(1));
    assert_eq!(client.stat("stats", "refusal_pause_us"), Some(2000), "an eighth of the deadline");
    assert_eq!(client.stat("stats", "buffer_limit"), Some(2 << 20));
    // A window of two holds up nobody for good.
    client.send((0..500).map(|n| format!("{n}:{BOARD}\r\n")).collect::<String>());
    let mut answered: Vec<usize> =
        (0..500).map(|_| client.line().split(':').next().unwrap().parse().unwrap()).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..500), "each once");
}

#[test]
fn flags_say_what_is_allowed() {
    for (flag, words) in [
        ("--output-limit 1", "1k to 1G"),
        ("--buffer-limit 1k", "1M to 1T"),
        ("--refusal-pause 2s", "0 to 1s"),
        ("--stall soon", "250ms"),
        ("--sudoku-window 0", "1..="),
        ("-R 0", "1..="),
    ] {
        let output = drywire().args(["serve", "-p", "0"]).args(flag.split(' ')).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(words), "{flag}: {error}");
    }
}
