//! Requests and answers over real sockets.

mod common;

use common::{Client, PATIENCE, Running, any_port, lines, until};
use core::time::Duration;
use drywire::conn::Limits;
use drywire_mio::{Host, Listen, Locked};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

#[test]
fn byte_by_byte() {
    let server = Running::start(Host::new());
    let mut client = server.client();
    for byte in "hello\nput 3\nabcquit\n".bytes() {
        client.0.write_all(&[byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.rest(), "hello\ngot 3\n");
}

#[test]
fn pipelined_far_beyond_a_turn() {
    let server = Running::start(Host::new());
    let mut client = server.client();
    let expected: String = (0..50_000).map(|i| format!("line {i}\n")).collect();
    let sent = expected.clone();
    let mut writer = client.0.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(sent.as_bytes()).unwrap());
    let mut answer = vec![0; expected.len()];
    client.0.read_exact(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer == expected.as_bytes());
}

#[test]
fn half_close_after_50_requests_gets_50_answers() {
    let server = Running::start(Host::new().threads(2));
    for _ in 0..20 {
        let mut client = server.client();
        let sent: String = (0..50).map(|i| format!("request {i}\n")).collect();
        client.send(&sent);
        client.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), sent);
    }
}

#[test]
fn half_close_waits_for_jobs() {
    let server = Running::start(Host::new().workers(4));
    let mut client = server.client();
    client.send("job 30 a\njob 20 b\njob 1 c\n");
    client.0.shutdown(Shutdown::Write).unwrap();
    let mut words: Vec<_> = client.rest().lines().map(String::from).collect();
    words.sort();
    assert_eq!(words, ["a", "b", "c"]);
}

#[test]
fn megabytes_both_ways() {
    const SIZE: usize = 1 << 20;
    let server = Running::start(Host::new());
    let mut client = server.client();
    for _ in 0..5 {
        client.send(&format!("put {SIZE}\n"));
        client.0.write_all(&vec![b'y'; SIZE]).unwrap();
        assert_eq!(client.line(), format!("got {SIZE}"));
        client.send(&format!("big {SIZE}\n"));
        let mut value = vec![0; SIZE + 1];
        client.0.read_exact(&mut value).unwrap();
        assert!(value[..SIZE].iter().all(|b| *b == b'x') && value[SIZE] == b'\n');
    }
}

#[test]
fn many_segments_in_one_answer() {
    let server = Running::start(Host::new());
    let mut client = server.client();
    // 100 shared segments and inline bytes between them: more than one vectored write takes.
    client.send(&"big 3000\nsmall\n".repeat(100));
    let expected = format!("{}\nsmall\n", "x".repeat(3000)).repeat(100);
    let mut answer = vec![0; expected.len()];
    client.0.read_exact(&mut answer).unwrap();
    assert!(answer == expected.as_bytes());
}

/// Bounded memory: it is served no further than its output limit and the system's buffers go.
#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    const ANSWERS: usize = 200;
    let server = Running::start(Host::new());
    let (mut deaf, mut other) = (server.client(), server.client());
    deaf.send(&"big 1000000\n".repeat(ANSWERS));
    until(|| server.count() > 1);
    for i in 0..100 {
        assert_eq!(other.ask(&format!("ping {i}")), format!("ping {i}"));
    }
    until(|| {
        let before = server.count();
        thread::sleep(Duration::from_millis(50));
        before == server.count()
    });
    assert!(server.count() < 40, "{} answers made for nobody", server.count());
    let wakeups = server.handle.wakeups();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(server.handle.wakeups(), wakeups, "a stuck connection keeps the loop busy");
    // It wakes up after all: nothing is lost.
    let mut answer = vec![0; 1_000_001 * ANSWERS];
    deaf.0.read_exact(&mut answer).unwrap();
    assert_eq!(answer.iter().filter(|b| **b == b'\n').count(), ANSWERS);
}

#[test]
fn loops_share_state_and_each_serves() {
    let server = Running::start(Host::new().threads(4));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..500 {
                    client.send("add\n");
                    assert!(client.line().parse::<u64>().unwrap() <= 4000);
                }
            });
        }
    });
    assert_eq!(server.count(), 4000);
    // Dealt in turn: eight connections, two of them on each loop hear each other.
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("here"), "here");
    }
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&format!("all from-{i}\n"));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        let mut heard = [client.line(), client.line()];
        heard.sort();
        assert_eq!(heard, [format!("from-{}", i % 4), format!("from-{}", i % 4 + 4)]);
    }
    // And mail goes between loops.
    clients[3].send("everyone hear\n");
    for client in &mut clients {
        assert_eq!(client.line(), "hear");
    }
}

#[test]
fn posts_reach_idle_connections() {
    let server = Running::start(Host::new());
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("here"), "here");
    }
    clients[0].send("all hello\n");
    for client in &mut clients {
        assert_eq!(client.line(), "hello");
    }
}

#[test]
fn deadlines_come() {
    let server = Running::start(Host::new());
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&format!("alarm {}\n", 100 - 10 * i));
    }
    for client in &mut clients {
        assert_eq!(client.line(), "alarm");
    }
}

#[test]
fn jobs_leave_and_come_back() {
    jobs_come_back(2, 2);
}

#[test]
fn loops_without_workers_do_their_jobs_themselves() {
    jobs_come_back(1, 0);
    jobs_come_back(2, 0);
}

fn jobs_come_back(threads: usize, workers: usize) {
    let server = Running::start(Host::new().threads(threads).workers(workers));
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(&format!("job 5 a{i}\nat once\n"));
    }
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(), "at once");
        assert_eq!(client.line(), format!("a{i}"));
    }
}

#[test]
fn a_job_that_panics_fails_its_connection_visibly() {
    for workers in [0, 1] {
        let server = Running::start(Host::new().workers(workers));
        let (mut client, mut other) = (server.client(), server.client());
        client.send("panic\n");
        assert!(client.ends_in_a_reset(), "{workers} workers: an end in peace, and no answer");
        assert_eq!(other.ask("job 1 alive"), "alive");
    }
}

/// What it did not take is lost, and it must be able to see that: an end in peace would look like
/// the end of the answers.
#[test]
fn a_reader_that_is_given_up_sees_a_reset() {
    let mut limits = Limits::default();
    limits.output.no_progress = Duration::from_millis(100);
    let counter = Locked::new([0]);
    let host = common::lines_within(Host::new(), [any_port()], &counter, limits);
    let server = Running::run(host, counter);
    let mut client = server.client();
    client.send("big 20000000\n");
    until(|| server.count() == 1);
    until(|| server.handle.connections() == 0);
    assert!(client.ends_in_a_reset());
}

#[test]
fn several_services_and_a_unix_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    // Somebody's leftover, with nobody behind it.
    drop(UnixListener::bind(&path).unwrap());
    let counter = Locked::new([0]);
    let host = lines(Host::new().threads(2), [any_port()], &counter);
    let host = lines(host, [Listen::unix(&path, 0o640)], &counter);
    let server = Running::run(host, counter);
    let meta = std::fs::metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o640);
    let mut clients = [0; 4].map(|_| {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    });
    for client in &mut clients {
        assert_eq!(client.ask("hello"), "hello");
        client.send("big 1000000\n");
        assert_eq!(client.line().len(), 1_000_000);
    }
    assert_eq!(server.client().ask("add"), "5");
    drop(clients);
    assert_eq!(server.stop().cut, 0);
    assert!(!path.exists());
}
