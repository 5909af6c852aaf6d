//! The load tool against servers that misbehave: each kind of wrong has to be found, counted
//! and reported by the exit code, or a good result means nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

type Store = Arc<Mutex<HashMap<String, Vec<Vec<u8>>>>>;

/// How a server treats its n-th request.
#[derive(Clone, Copy)]
enum Manner {
    Honest,
    /// Sends every reply one byte at a time.
    Trickling,
    /// Forgets some items.
    Forgetful,
    /// Turns one bit of some values.
    Garbling,
    /// Answers some gets with the value before the last.
    Outdated,
    /// Answers some gets with a neighbour's item.
    Confused,
    /// Answers some requests with an error.
    Refusing,
    /// Sends a word that the protocol does not have.
    Babbling,
    /// Ends the connection.
    Leaving,
    /// Stops answering.
    Silent,
}

/// Serves memcached's get and set on a free port until the test process ends.
fn server(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let store = Store::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = store.clone();
            thread::spawn(move || serve(&stream, manner, &store));
        }
    });
    address
}

fn serve(stream: &TcpStream, manner: Manner, store: &Store) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut input = BufReader::new(stream);
    for n in 1_u64.. {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        // The preload of the tests has fewer requests than this on each connection.
        let odd = n > 400 && n.is_multiple_of(50);
        let words: Vec<_> = line.split_whitespace().collect();
        let mut reply = if let ["set", key, _, _, len] = words[..] {
            let mut data = vec![0; len.parse::<usize>().ok()? + 2];
            input.read_exact(&mut data).ok()?;
            data.truncate(data.len() - 2);
            store.lock().ok()?.entry(key.to_owned()).or_default().push(data);
            b"STORED\r\n".to_vec()
        } else {
            retrieve(words[1], manner, odd, store)
        };
        match manner {
            Manner::Refusing if odd => reply = b"SERVER_ERROR no\r\n".to_vec(),
            Manner::Babbling if odd => reply = b"WHAT\r\n".to_vec(),
            Manner::Leaving if odd => return None,
            Manner::Silent if odd => loop {
                thread::park();
            },
            _ => {}
        }
        let piece = if matches!(manner, Manner::Trickling) { 1 } else { reply.len().max(1) };
        for piece in reply.chunks(piece) {
            let mut stream = stream;
            stream.write_all(piece).ok()?;
        }
    }
    None
}

fn retrieve(key: &str, manner: Manner, odd: bool, store: &Store) -> Vec<u8> {
    let store = store.lock().unwrap();
    let Some(versions) = store.get(key) else { return b"END\r\n".to_vec() };
    let mut value = versions.last().unwrap().clone();
    let mut named = key;
    match manner {
        Manner::Forgetful if odd => return b"END\r\n".to_vec(),
        Manner::Garbling if odd => value[20] ^= 1,
        Manner::Outdated if odd && versions.len() > 1 => {
            value.clone_from(&versions[versions.len() - 2])
        }
        Manner::Confused if odd => {
            let (other, versions) = store.iter().find(|(other, _)| *other != key).unwrap();
            (named, value) = (other, versions.last().unwrap().clone());
        }
        _ => {}
    }
    let mut reply = format!("VALUE {named} 0 {}\r\n", value.len()).into_bytes();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\nEND\r\n");
    reply
}

fn drywire(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_drywire")).args(args).output().unwrap()
}

/// Runs the tool on a server with this manner: (exit code, report).
fn load(manner: Manner, more: &[&str]) -> (i32, serde_json::Value) {
    let address = server(manner);
    let args =
        ["load", "memcached", "--json", "--addr", &address, "--connections", "2", "--keys", "100"];
    let op: &[&str] = if more.contains(&"--op") { &[] } else { &["--op", "mixed"] };
    let output =
        drywire(&[&args[..], &["--duration", "300ms", "--patience", "300ms"], op, more].concat());
    let report = serde_json::from_slice(&output.stdout).expect("one JSON object");
    (output.status.code().unwrap(), report)
}

fn count(report: &serde_json::Value, class: &str) -> u64 {
    report["measured"][class].as_u64().unwrap()
}

#[test]
fn an_honest_server_passes_and_the_ledger_adds_up() {
    for more in [
        &["--depth", "1"][..],
        &["--depth", "20", "--threads", "2"],
        &["--value-size", "70k"],
        &["--op", "set"],
        &["--op", "get"],
    ] {
        let (code, report) = load(Manner::Honest, more);
        assert_eq!((code, &report["good"]), (0, &true.into()), "{report}");
        assert!(count(&report, "ok") > 100);
        assert_eq!(count(&report, "sent"), count(&report, "ok"));
        assert_eq!(report["preload"]["ok"], 100);
        let latency = &report["measured"]["latency_us"];
        assert!(
            latency["p50"].as_f64() > Some(0.0)
                && latency["max"].as_f64() >= latency["p99_99"].as_f64()
        );
    }
}

#[test]
fn replies_may_come_byte_by_byte() {
    let (code, report) = load(Manner::Trickling, &["--depth", "7"]);
    assert_eq!(code, 0, "{report}");
}

#[test]
fn a_miss_is_counted_and_no_failure() {
    let (code, report) = load(Manner::Forgetful, &[]);
    assert_eq!(code, 0, "{report}");
    assert!(count(&report, "miss") > 0);
    let (code, report) = load(Manner::Honest, &["--no-preload", "--op", "get"]);
    assert_eq!((code, count(&report, "sent")), (0, count(&report, "miss")), "{report}");
}

#[test]
fn wrong_content_outdated_values_and_other_keys_are_found() {
    for manner in [Manner::Garbling, Manner::Outdated, Manner::Confused] {
        let (code, report) = load(manner, &["--depth", "3"]);
        assert_eq!((code, &report["good"]), (1, &false.into()), "{report}");
        assert!(count(&report, "wrong") > 0 && count(&report, "lost") == 0, "{report}");
        assert!(report["measured"]["complaint"].as_str().unwrap().contains("key "), "{report}");
    }
}

#[test]
fn error_replies_are_counted_and_quoted() {
    let (code, report) = load(Manner::Refusing, &[]);
    assert!(code == 1 && count(&report, "error") > 0 && count(&report, "wrong") == 0, "{report}");
    assert!(report["measured"]["complaint"].as_str().unwrap().contains("no"));
}

#[test]
fn what_is_never_answered_is_lost() {
    // A server that leaves with requests unread resets the connection: the system decides.
    let leaving: &[&str] = &["closed", "reset"];
    for (manner, words) in [
        (Manner::Babbling, &["no reply of"][..]),
        (Manner::Leaving, leaving),
        (Manner::Silent, &["no answer"]),
    ] {
        let (code, report) = load(manner, &["--depth", "5"]);
        assert!(code == 1 && count(&report, "lost") > 0, "{report}");
        let classes = ["ok", "miss", "error", "wrong", "lost"];
        assert_eq!(
            count(&report, "sent"),
            classes.iter().map(|class| count(&report, class)).sum::<u64>()
        );
        let complaint = report["measured"]["complaint"].as_str().unwrap();
        assert!(words.iter().any(|words| complaint.contains(words)), "{report}");
    }
}

#[test]
fn people_get_words() {
    let address = server(Manner::Honest);
    let output = drywire(&[
        "load",
        "memcached",
        "--addr",
        &address,
        "--duration",
        "100ms",
        "-c",
        "2",
        "--keys",
        "100",
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("measured") && text.contains("p99.99") && text.contains("good: "),
        "{text}"
    );
    assert!(
        !text.contains('\x1b') && output.stderr.is_empty(),
        "colour and bars only on a terminal"
    );
}

#[test]
fn idle_connections_are_held_and_counted() {
    let address = server(Manner::Honest);
    let pid = std::process::id().to_string();
    let idle =
        ["load", "idle", "--json", "--ask", "--hold", "10ms", "-c", "20", "--addr", &address];
    let output = drywire(&[&idle[..], &["--pid", &pid]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &report["held"], &report["answered"]),
        (Some(0), &20.into(), &20.into()),
        "{report}"
    );
    assert!(report["memory"]["bytes_per_connection"].is_number());
}

#[test]
fn mistakes_on_the_command_line_exit_with_2_and_nobody_there_with_1() {
    for (args, code, words) in [
        (&["--addr", "nowhere"][..], 2, "HOST:PORT"),
        (&["--value-size", "3"], 2, "4 bytes"),
        (&["--keys", "10"], 2, "50 connections"),
        (&["--threads", "51"], 2, "1 to 50"),
        (&["--depth", "0"], 2, "1 to 100000"),
        (&["--key-size", "5"], 2, "6 to 250"),
        (&["--pid", "4294967295"], 2, "no such process"),
        (&["--addr", "127.0.0.1:1"], 1, "is the server running"),
        (&["--addr", "/nowhere.sock"], 1, "/nowhere.sock"),
    ] {
        let output = drywire(&[&["load", "memcached"], args].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && text.contains(words), "{args:?}: {text}");
    }
}
