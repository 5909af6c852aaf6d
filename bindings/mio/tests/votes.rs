//! `docs/write-a-protocol.md` does what it says: its code is the example, and the example serves.

#[allow(dead_code, unreachable_pub, reason = "an example has a main of its own")]
#[path = "../examples/votes.rs"]
mod votes;

use drywire::Tick;
use drywire::conn::{Peer, Wants};
use drywire_mio::{Host, Listen};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

#[test]
fn the_page_shows_the_example_as_it_is() {
    let page = include_str!("../../../docs/write-a-protocol.md");
    assert!(page.contains(include_str!("../examples/votes.rs")), "copy the example to the page");
    let code = include_str!("../examples/votes.rs").lines().map(str::trim);
    let lines = code.filter(|l| !l.is_empty() && !l.starts_with("//")).count();
    assert!(lines < 100, "{lines} lines of code");
}

#[test]
fn votes_are_counted_and_heard() {
    let server =
        Host::new().serve([Listen::tcp(([127, 0, 0, 1], 0))], votes::engine).bind().unwrap();
    let (addr, handle) = (server.tcp_addrs()[0], server.handle());
    let thread = std::thread::spawn(move || server.run());
    let connect = || {
        let stream = TcpStream::connect(addr).unwrap();
        (stream.try_clone().unwrap(), BufReader::new(stream).lines().map(Result::unwrap))
    };
    let (mut watcher, mut heard) = connect();
    watcher.write_all(b"watch\nvote tea\n").unwrap();
    assert_eq!(heard.next().unwrap(), "tea 1");
    assert_eq!(heard.next().unwrap(), "tea 1", "a watcher hears its own vote too");
    let (mut voter, mut answers) = connect();
    voter.write_all(b"vote tea\ndance\nquit\n").unwrap();
    assert_eq!(answers.next().unwrap(), "tea 2");
    assert!(answers.next().unwrap().starts_with("error: "));
    assert_eq!(answers.next(), None);
    assert_eq!(heard.next().unwrap(), "tea 2");
    handle.stop();
    assert_eq!(heard.next(), None);
    assert_eq!(thread.join().unwrap().unwrap().cut, 0);
}

#[test]
fn time_is_an_argument() {
    let mut engine = votes::engine();
    let id = engine.accept(Tick::ZERO, &Peer::Virtual(1)).unwrap();
    for byte in b"vote tea\n" {
        engine.receive(id, Tick::ZERO, &[*byte]);
    }
    let bytes: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
    assert_eq!(bytes, b"tea 1\n");
    engine.sent(id, Tick::ZERO, 6);
    engine.tick(Tick::from_secs(60));
    let bytes: Vec<u8> = engine.outgoing(id).flatten().copied().collect();
    assert_eq!(bytes, b"goodbye: silent for 60 seconds\n");
    engine.sent(id, Tick::from_secs(60), bytes.len());
    assert_eq!(engine.wants(id), Wants::SHUTDOWN);
}
