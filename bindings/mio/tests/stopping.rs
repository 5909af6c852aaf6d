//! The end. Signals are the process's, so these tests have a process of their own and run one at
//! a time.

mod common;

use common::{Running, lines};
use core::time::Duration;
use drywire_mio::{Ended, Host, Listen, Locked};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::raise;
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_signal_lets_owed_answers_out() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (threads, signal) in [(1, SIGTERM), (3, SIGINT)] {
        let server = Running::start(Host::new().threads(threads).workers(8).stop_on_signals());
        let (addr, mut idle) = (server.addr, server.client());
        assert_eq!(idle.ask("hello"), "hello");
        let mut clients: Vec<_> = (0..6).map(|_| server.client()).collect();
        for client in &mut clients {
            assert_eq!(client.ask("hello"), "hello");
            client.send("job 150 owed\nbig 2000000\n");
        }
        thread::sleep(Duration::from_millis(50));
        raise(signal).unwrap();
        assert_eq!(idle.rest(), "");
        for client in &mut clients {
            let rest = client.rest();
            assert!(rest.starts_with("xxx") && rest.ends_with("owed\n"), "{} bytes", rest.len());
            assert_eq!(rest.len(), 2_000_001 + 5);
        }
        drop((idle, clients));
        assert_eq!(server.join(), Ended { cut: 0 });
        assert!(TcpStream::connect(addr).is_err());
    }
}

#[test]
fn after_the_grace_period_connections_are_cut() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Running::start(Host::new().threads(2).grace(Duration::from_millis(200)));
    let mut deaf: Vec<_> = (0..3).map(|_| server.client()).collect();
    for client in &mut deaf {
        client.send("big 9000000\nbig 9000000\n");
    }
    while server.count() < 3 {
        thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    assert_eq!(server.stop(), Ended { cut: 3 });
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(deaf.iter_mut().all(common::Client::ends_in_a_reset), "cut off in peace");
}

#[test]
fn a_second_signal_ends_at_once() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for threads in [1, 3] {
        let grace = Duration::from_secs(3600);
        let server = Running::start(Host::new().threads(threads).grace(grace).stop_on_signals());
        let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();
        for client in &mut clients {
            client.send("job 500 late\nhello\n");
            assert_eq!(client.line(), "hello");
        }
        raise(SIGTERM).unwrap();
        thread::sleep(Duration::from_millis(100));
        raise(SIGTERM).unwrap();
        assert_eq!(server.join(), Ended { cut: 3 });
    }
}

#[test]
fn requests_that_came_before_the_stop_are_answered() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Running::start(Host::new());
    let mut client = server.client();
    let lines = "a line\n".repeat(1000);
    assert_eq!(client.ask("hello"), "hello");
    client.send(&lines);
    thread::sleep(Duration::from_millis(50));
    let ended = server.stop();
    assert_eq!(client.rest(), lines);
    assert_eq!(ended, Ended { cut: 0 });
}

/// The side that closes first leaves the port in TIME_WAIT for a minute.
#[test]
fn a_restart_gets_the_same_port_at_once() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Running::start(Host::new());
    let addr = server.addr;
    let mut client = server.client();
    client.send("quit\n");
    assert_eq!(client.rest(), "");
    drop(client);
    assert_eq!(server.stop(), Ended { cut: 0 });
    for _ in 0..3 {
        let counter = Locked::new([0]);
        let host = lines(Host::new(), [Listen::tcp(addr)], &counter);
        let server = Running::run(host, counter);
        let mut client = server.client();
        assert_eq!(client.ask("hello"), "hello");
        assert_eq!(server.stop(), Ended { cut: 0 });
        assert_eq!(client.rest(), "");
    }
}
