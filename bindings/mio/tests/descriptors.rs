//! Out of descriptors. The limit is the process's, so these tests have a process of their own
//! and run one at a time.

mod common;

use common::{Client, PATIENCE, Running, until};
use core::time::Duration;
use drywire_mio::{Event, Host};
use rlimit::Resource;
use socket2::{Domain, Socket, Type};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Clients' sockets, made before descriptors run out.
fn sockets(n: usize) -> Vec<Socket> {
    (0..n).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect()
}

fn connect(socket: Socket, addr: SocketAddr) -> Client<TcpStream> {
    socket.connect(&addr.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(socket.into())
}

/// Allows descriptors below `limit` while `f` runs.
fn with_limit<R>(limit: u64, f: impl FnOnce() -> R) -> R {
    let (soft, hard) = Resource::NOFILE.get().unwrap();
    Resource::NOFILE.set(limit, hard).unwrap();
    let result = f();
    Resource::NOFILE.set(soft, hard).unwrap();
    result
}

#[test]
fn without_descriptors_peers_are_refused_visibly_and_the_loop_does_not_spin() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Running::start(Host::new());
    let probe = server.client();
    until(|| server.handle.connections() == 1);
    drop(probe);
    until(|| server.handle.connections() == 0);
    let mut sockets = sockets(40);
    let top = sockets.last().unwrap().as_raw_fd() as u64;
    with_limit(top + 11, || {
        let wakeups = server.handle.wakeups();
        let mut served = Vec::new();
        let mut refused = 0;
        for socket in sockets.drain(..39) {
            let mut client = connect(socket, server.addr);
            client.send("hello\n");
            match client.line().as_str() {
                "hello" => served.push(client),
                "full" => refused += 1,
                other => panic!("{other}"),
            }
        }
        assert!(served.len() >= 10 && refused >= 10, "{} served", served.len());
        thread::sleep(Duration::from_millis(100));
        let woken = server.handle.wakeups() - wakeups;
        assert!(woken < 400, "{woken} turns for 39 connections");
        // One goes, one can come: and nobody else was disturbed.
        let gone = served.pop().unwrap();
        drop(gone);
        until(|| server.handle.connections() == served.len());
        let mut late = connect(sockets.pop().unwrap(), server.addr);
        assert_eq!(late.ask("hello"), "hello");
        for client in &mut served {
            assert_eq!(client.ask("still here"), "still here");
        }
    });
}

#[test]
fn without_even_the_spare_one_the_listener_pauses_and_recovers() {
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let pauses = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&pauses);
    let server = Running::start(Host::new().observe(move |event| {
        if let Event::Paused { error, .. } = event {
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            heard.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let mut clients = sockets(3);
    let wakeups = server.handle.wakeups();
    let waiting = with_limit(3, || {
        let waiting: Vec<_> = clients.drain(..).map(|s| connect(s, server.addr)).collect();
        until(|| pauses.load(Ordering::Relaxed) >= 3);
        waiting
    });
    let woken = server.handle.wakeups() - wakeups;
    assert!(woken < 40, "{woken} turns for nothing");
    for mut client in waiting {
        // They waited all the time, and are served now.
        assert_eq!(client.ask("hello"), "hello");
        client.send("quit\n");
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
    }
}
