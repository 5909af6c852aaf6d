//! Too many, too fast, broken, idle.

mod common;

use common::{Running, any_port, lines, until};
use core::time::Duration;
use drywire::conn::CloseReason;
use drywire_mio::{Event, Host, HostError, Listen, Locked};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

#[test]
fn past_the_limit_is_refused_in_words() {
    for threads in [1, 2] {
        let server = Running::start(Host::new().max_conns(2).threads(threads));
        let (mut a, mut b) = (server.client(), server.client());
        assert_eq!((a.ask("a"), b.ask("b")), ("a".into(), "b".into()));
        // More than are kept around to hear it; all have asked something already.
        let mut refused: Vec<_> = (0..60).map(|_| server.client()).collect();
        for client in &mut refused {
            let _ = client.0.write_all(b"me too\n");
        }
        for client in &mut refused {
            assert_eq!(client.line(), "full");
        }
        drop(refused);
        drop(b);
        until(|| server.handle.connections() == 1);
        assert_eq!(server.client().ask("c"), "c");
        assert_eq!(a.ask("still here"), "still here");
    }
}

#[test]
fn last_words_survive_unread_input() {
    let server = Running::start(Host::new());
    for _ in 0..20 {
        let mut client = server.client();
        client.send("one\nfault\n");
        // Arrives after the fault and is never looked at.
        client.send(&"x".repeat(100_000));
        thread::sleep(Duration::from_millis(5));
        client.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "one\nbroken\n");
    }
}

#[test]
fn a_flood_does_not_starve_the_others() {
    let server = Running::start(Host::new());
    let over = AtomicBool::new(false);
    let drained = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut writer = server.client();
            let mut reader = writer.0.try_clone().unwrap();
            let (over, drained) = (&over, &drained);
            scope.spawn(move || {
                let lines = "flood\n".repeat(20_000);
                while !over.load(Ordering::Relaxed) {
                    writer.send(&lines);
                }
                writer.0.shutdown(Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut buf = vec![0; 1 << 20];
                while let Ok(n @ 1..) = reader.read(&mut buf) {
                    drained.fetch_add(n, Ordering::Relaxed);
                }
            });
        }
        until(|| drained.load(Ordering::Relaxed) > 1 << 20);
        let mut client = server.client();
        let mut slowest = Duration::ZERO;
        for i in 0..200 {
            let start = Instant::now();
            assert_eq!(client.ask(&format!("ping {i}")), format!("ping {i}"));
            slowest = slowest.max(start.elapsed());
        }
        over.store(true, Ordering::Relaxed);
        assert!(slowest < Duration::from_secs(2), "a ping took {slowest:?}");
    });
}

#[test]
fn an_idle_host_stays_still() {
    let server = Running::start(Host::new().threads(2));
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("hello"), "hello");
    }
    // One in the middle of a line, one with a job to wait for, one that has half-closed.
    clients[0].send("half a li");
    clients[1].send("job 400 done\n");
    clients[2].send("job 400 done\n");
    clients[2].0.shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(100));
    let wakeups = server.handle.wakeups();
    thread::sleep(Duration::from_millis(200));
    assert_eq!(server.handle.wakeups(), wakeups);
    assert_eq!(clients[1].line(), "done");
    assert_eq!(clients[2].rest(), "done\n");
}

#[test]
fn posts_without_end_hold_nobody_up() {
    let server = Running::start(Host::new());
    let (mut spinning, mut other) = (server.client(), server.client());
    assert_eq!(spinning.ask("hello"), "hello");
    spinning.send("spin\n");
    for i in 0..50 {
        assert_eq!(other.ask(&format!("ping {i}")), format!("ping {i}"));
        assert_eq!(spinning.ask(&format!("ping {i}")), format!("ping {i}"));
    }
    drop((spinning, other));
    assert_eq!(server.stop().cut, 0);
}

/// The data and the end arrive together: one event, and the end must not be missed.
#[test]
fn the_end_right_behind_the_data_is_seen() {
    let server = Running::start(Host::new());
    for _ in 0..200 {
        let mut client = server.client();
        client.send("last");
        client.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "broken\n");
    }
    until(|| server.handle.connections() == 0);
}

/// Peers that write and read in pieces of any size, at any moment: readiness that comes while a
/// connection wants no input, or cannot write, must not get lost.
#[test]
fn no_order_of_readiness_strands_anything() {
    const CONNECTIONS: u64 = 24;
    let server = Running::start(Host::new().threads(2));
    thread::scope(|scope| {
        for seed in 0..CONNECTIONS {
            let server = &server;
            scope.spawn(move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut client = server.client();
                let (mut asked, mut expected) = (Vec::new(), Vec::new());
                for i in 0..2000 {
                    let size = if rng.u8(..) < 4 { rng.usize(..300_000) } else { rng.usize(..60) };
                    let line = match i % 5 {
                        0 if size > 60 => format!("big {size}"),
                        _ => "y".repeat(size.min(5000)),
                    };
                    asked.extend(line.bytes().chain(*b"\n"));
                    match line.strip_prefix("big ") {
                        Some(_) => expected.resize(expected.len() + size, b'x'),
                        None => expected.extend(line.bytes()),
                    }
                    expected.push(b'\n');
                }
                let mut writer = client.0.try_clone().unwrap();
                let mut pieces = rng.fork();
                let writing = thread::spawn(move || {
                    let mut left = &asked[..];
                    while !left.is_empty() {
                        let n = pieces.usize(1..20_000).min(left.len());
                        writer.write_all(&left[..n]).unwrap();
                        left = &left[n..];
                        if pieces.u8(..) < 32 {
                            thread::sleep(Duration::from_micros(pieces.u64(..3000)));
                        }
                    }
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let (mut answers, mut buf) = (Vec::new(), vec![0; 100_000]);
                loop {
                    let n = rng.usize(1..buf.len());
                    match client.0.read(&mut buf[..n]).unwrap() {
                        0 => break,
                        n => answers.extend_from_slice(&buf[..n]),
                    }
                    if rng.u8(..) < 32 {
                        thread::sleep(Duration::from_micros(rng.u64(..3000)));
                    }
                }
                writing.join().unwrap();
                assert!(
                    answers == expected,
                    "seed {seed}: {} of {}",
                    answers.len(),
                    expected.len()
                );
            });
        }
    });
    until(|| server.handle.connections() == 0);
}

#[test]
fn no_connection_of_a_rush_gets_lost() {
    let server = Running::start(Host::new().threads(3));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
                    for client in &mut clients {
                        assert_eq!(client.ask("hello"), "hello");
                    }
                }
            });
        }
    });
    until(|| server.handle.connections() == 0);
}

/// A read stops short at urgent data, though more is behind it.
#[test]
fn urgent_data_hides_nothing() {
    let server = Running::start(Host::new());
    for _ in 0..50 {
        let mut client = server.client();
        let raw = SockRef::from(&client.0);
        raw.send(b"one\ntw").unwrap();
        raw.send_out_of_band(b"!").unwrap();
        raw.send(b"o\nthree\n").unwrap();
        assert_eq!([client.line(), client.line(), client.line()], ["one", "two", "three"]);
    }
}

#[test]
fn resets_end_connections_and_nothing_else() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&reasons);
    let server = Running::start(Host::new().observe(move |event| {
        if let Event::Closed { reason, .. } = event {
            log.lock().unwrap().push(reason.unwrap());
        }
    }));
    let mut other = server.client();
    for i in 0..30 {
        let mut client = server.client();
        match i % 3 {
            0 => client.send("big 9000000\nbig 9000000\n"),
            1 => client.send("job 10 x\n"),
            _ => client.send("half"),
        }
        thread::sleep(Duration::from_millis(3));
        SockRef::from(&client.0).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(other.ask("alive"), "alive");
    }
    until(|| server.handle.connections() == 1);
    let reasons = reasons.lock().unwrap();
    assert_eq!(reasons.len(), 30);
    assert!(reasons.iter().all(|r| matches!(r, CloseReason::Transport(_))), "{reasons:?}");
}

#[test]
fn what_is_in_the_way_of_a_listener_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (live, file) = (dir.path().join("live"), dir.path().join("file"));
    let _live = UnixListener::bind(&live).unwrap();
    std::fs::write(&file, "precious").unwrap();
    for (listen, kind) in [
        (Listen::tcp(taken.local_addr().unwrap()), ErrorKind::AddrInUse),
        (Listen::unix(&live, 0o700), ErrorKind::AddrInUse),
        (Listen::unix(&file, 0o700), ErrorKind::AlreadyExists),
        (Listen::unix(dir.path().join("no/such/dir"), 0o700), ErrorKind::NotFound),
    ] {
        let host = lines(Host::new(), [any_port(), listen.clone()], &Locked::new([0]));
        match host.bind() {
            Err(HostError::Listen { listen: named, source }) => {
                assert_eq!((named, source.kind()), (listen, kind));
            }
            other => panic!("{listen}: {:?}", other.map(|_| ())),
        }
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert!(live.exists());
}
