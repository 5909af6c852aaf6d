//! The tokio host on streams of all kinds: the same bytes as everywhere else (I6), ends, drains,
//! jobs, deadlines and cancellation.

use core::convert::Infallible;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{
    CloseReason, Cx, Deadline, Fault, FaultKind, Job, Limits, Peer, Session, Stop, Taken,
};
use drywire::engine::{Engine, JobId, Local, Machine};
use drywire::guard::AdmitConfig;
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use drywire::sudoku;
use drywire_tokio::host::Host;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

type Memcached = Engine<Server<Local<Part>>>;

fn memcached(limits: Limits) -> Memcached {
    let hasher = Hasher::new(7);
    let store = Store::new(StoreConfig::new(64 << 20, hasher.clone())).expect("a store");
    let shared = Shared::new(Config::new(hasher, 1_800_000_000), Local::one(Part::new(store)));
    Engine::new(shared, limits, 1024)
}

/// Commands of all kinds, small and large, good and bad.
fn script() -> Vec<u8> {
    let mut script = Vec::new();
    for i in 0..200 {
        let size = [0, 1, 10, 100, 5000, 40_000][i % 6];
        script.extend_from_slice(format!("set k{} {i} 0 {size}\r\n", i % 7).as_bytes());
        script.extend(core::iter::repeat_n(b'a' + (i % 26) as u8, size));
        script.extend_from_slice(b"\r\n");
        script.extend_from_slice(format!("get k{} k{} nothing\r\n", i % 5, i % 7).as_bytes());
        script.extend_from_slice([&b"bogus\r\n"[..], b"incr k0 1\r\n", b"version\r\n"][i % 3]);
    }
    script.extend_from_slice(b"quit\r\n");
    script
}

/// What an engine answers without any host.
fn expected(script: &[u8]) -> Vec<u8> {
    let mut engine = memcached(Limits::default());
    let now = Tick::ZERO;
    let id = Machine::accept(&mut engine, now, &Peer::Virtual(1)).expect("room");
    let (mut replies, mut rest) = (Vec::new(), script);
    loop {
        let taken = Machine::receive(&mut engine, id, now, rest);
        rest = &rest[taken..];
        let before = replies.len();
        replies.extend(engine.outgoing(id).flatten());
        Machine::sent(&mut engine, id, now, replies.len() - before);
        Machine::resume(&mut engine, id, now);
        if rest.is_empty() && engine.outgoing(id).next().is_none() && before == replies.len() {
            return replies;
        }
    }
}

/// Talks to `stream` until it ends; writes in pieces of `piece` bytes.
async fn talk(stream: DuplexStream, script: Vec<u8>, piece: usize) -> Vec<u8> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        for part in script.chunks(piece) {
            // The server may have ended before: what it answered counts.
            if writer.write_all(part).await.is_err() {
                break;
            }
        }
        writer
    });
    let mut replies = Vec::new();
    reader.read_to_end(&mut replies).await.expect("an end in peace");
    drop(writing.await);
    replies
}

#[tokio::test]
async fn the_same_bytes_however_they_come() {
    let script = script();
    let expected = expected(&script);
    for (buffer, piece) in [(1, 1 << 20), (3, 7), (64, 1), (1000, 4096), (1 << 20, 1 << 20)] {
        let host = Host::new(memcached(Limits::default()));
        let (ours, theirs) = duplex(buffer);
        let script = script.clone();
        let server = host.clone();
        let serving =
            tokio::spawn(async move { server.connection(theirs, Peer::Virtual(1)).await });
        let replies = talk(ours, script, piece).await;
        assert!(replies == expected, "{buffer} {piece}: {} bytes", replies.len());
        assert_eq!(serving.await.expect("no panic"), Some(CloseReason::Finished));
        assert!(host.with(|m, _| m.is_empty()));
    }
}

/// I6: over real sockets, the mio host and this one give the same bytes.
#[test]
fn the_same_bytes_as_the_mio_host() {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    let script = script();
    let expected = expected(&script);
    let ask = |address| {
        let mut stream = TcpStream::connect(address).expect("connected");
        let mut writing = stream.try_clone().expect("a second handle");
        let script = script.clone();
        let writer = std::thread::spawn(move || {
            writing.write_all(&script).and_then(|()| writing.shutdown(Shutdown::Write))
        });
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).expect("an end in peace");
        drop(writer.join());
        replies
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("non-blocking");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("tokio's listener");
        Host::new(memcached(Limits::default())).serve(listener).await;
    });
    assert!(ask(address) == expected, "tokio");

    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let server = drywire_mio::Host::new()
        .serve([drywire_mio::Listen::tcp(any)], || memcached(Limits::default()))
        .bind()
        .expect("the mio host");
    let (address, handle) = (server.tcp_addrs()[0], server.handle());
    let serving = std::thread::spawn(move || server.run());
    assert!(ask(address) == expected, "mio");
    handle.stop();
    let _ = serving.join().expect("no panic").expect("served");
}

#[tokio::test]
async fn a_half_close_is_answered_in_full() {
    let host = Host::new(memcached(Limits::default()));
    let (mut ours, theirs) = duplex(16);
    let server = host.clone();
    let serving = tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    let writing = async {
        for _ in 0..50 {
            ours.write_all(b"get a\r\n").await.expect("taken");
            let mut end = [0; 5];
            ours.read_exact(&mut end).await.expect("an answer");
        }
        ours.write_all(b"get a\r\nget b\r\n").await.expect("taken");
        ours.shutdown().await.expect("ended");
        let mut rest = String::new();
        ours.read_to_string(&mut rest).await.expect("an end in peace");
        rest
    };
    assert_eq!(writing.await, "END\r\nEND\r\n");
    assert_eq!(serving.await.expect("no panic"), Some(CloseReason::PeerDone));
}

#[tokio::test]
async fn a_dropped_connection_leaves_nothing_behind() {
    let host = Host::new(memcached(Limits::default()));
    for _ in 0..10 {
        let (ours, theirs) = duplex(64);
        let server = host.clone();
        let serving = tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
        tokio::task::yield_now().await;
        assert_eq!(host.with(|m, _| m.len()), 1);
        serving.abort();
        assert!(serving.await.expect_err("aborted").is_cancelled());
        assert!(host.with(|m, _| m.is_empty()));
        drop(ours);
    }
}

#[tokio::test]
async fn a_drain_answers_and_ends() {
    let host = Host::new(memcached(Limits::default()));
    let (mut ours, theirs) = duplex(1024);
    let server = host.clone();
    tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    ours.write_all(b"get a\r\n").await.expect("taken");
    let mut end = [0; 5];
    ours.read_exact(&mut end).await.expect("an answer");
    host.drain();
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).await.expect("an end in peace");
    assert!(rest.is_empty());
    drop(ours);
    tokio::time::timeout(Duration::from_secs(5), host.empty()).await.expect("all are gone");
}

/// Answers each byte by way of a job; `!` makes the job panic. Silent for 10 s: the end.
struct Slow {
    heard: Tick,
    jobs: usize,
}

struct Double(u8);

impl Job for Double {
    type Output = u8;
    fn run(self) -> u8 {
        assert_ne!(self.0, b'!', "a job that fails");
        self.0
    }
}

impl Session for Slow {
    type Shared = ();
    type Message = Infallible;
    type Job = Double;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        Self { heard: cx.now, jobs: 0 }
    }
    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        self.heard = cx.now;
        let Some(byte) = input.first() else {
            return Ok(Taken { used: 0, stop: Stop::NeedInput(1) });
        };
        cx.spawn(Double(*byte));
        self.jobs += 1;
        Ok(Taken { used: 1, stop: Stop::Waiting })
    }
    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, byte: u8) {
        self.jobs -= 1;
        cx.out.put(&[byte, byte]);
    }
    fn owes(&self) -> bool {
        self.jobs > 0
    }
    fn deadline(&self) -> Option<Deadline> {
        Some(Deadline { at: self.heard + Duration::from_secs(10), why: "idle" })
    }
    fn on_tick(&mut self, _: &mut Cx<'_, Self>) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::TimedOut, "silent"))
    }
}

fn slow() -> Host<Engine<Slow>> {
    Host::new(Engine::new((), Limits::default(), 16))
}

#[tokio::test]
async fn jobs_go_out_and_come_back() {
    let host = slow();
    let (mut ours, theirs) = duplex(8);
    let server = host.clone();
    let serving = tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    ours.write_all(b"abc").await.expect("taken");
    ours.shutdown().await.expect("ended");
    let mut all = String::new();
    ours.read_to_string(&mut all).await.expect("an end in peace");
    assert_eq!(all, "aabbcc");
    assert_eq!(serving.await.expect("no panic"), Some(CloseReason::PeerDone));
}

#[tokio::test]
async fn a_job_that_panics_fails_its_connection_and_no_other() {
    let host = slow();
    let (mut bad, theirs) = duplex(8);
    let (mut good, also_theirs) = duplex(8);
    let (first, second) = (host.clone(), host.clone());
    let failing = tokio::spawn(async move { first.connection(theirs, Peer::Unix).await });
    tokio::spawn(async move { second.connection(also_theirs, Peer::Unix).await });
    bad.write_all(b"!").await.expect("taken");
    let reason = failing.await.expect("the host does not panic");
    assert!(matches!(reason, Some(CloseReason::Transport(_))), "{reason:?}");
    good.write_all(b"g").await.expect("taken");
    let mut answer = [0; 2];
    good.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(&answer, b"gg");
}

/// A board that waited too long for a worker is refused when one is free, and its connection hears
/// so, though nothing else happens on it and whoever had the workers is gone.
#[tokio::test]
async fn a_job_refused_at_its_start_is_answered() {
    // Of the workers one is let go, and the others only after the answer: each call of the host
    // would find what the one before it left.
    static OPEN: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];
    let [first, others] = &OPEN;
    let config = sudoku::Config {
        admit: AdmitConfig::for_deadline(Duration::from_millis(20)),
        workers: 1000,
        solve: |board, _| {
            while !OPEN[usize::from(board.cells()[0])].load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            sudoku::Verdict::NoSolution
        },
        ..sudoku::Config::DEFAULT
    };
    let shared = sudoku::Shared::new(config, Local::one(sudoku::Stats::default()));
    // The timer is not to help out: its next time is that of an idle connection, early enough.
    let mut limits = Limits { idle: Duration::from_secs(600), ..Limits::default() };
    limits.output.no_progress = Duration::from_secs(3600);
    let engine: Engine<sudoku::Server<_>> = Engine::new(shared, limits, 16);
    let host = Host::new(engine);
    let (_idle, theirs) = duplex(64);
    let server = host.clone();
    tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let board = "0".repeat(81);

    let (mut gone, theirs) = duplex(1 << 16);
    let server = host.clone();
    let serving = tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    let boards: String =
        (0..workers).map(|n| format!("{n}:{}{}\n", n.min(1), &board[1..])).collect();
    gone.write_all(boards.as_bytes()).await.expect("taken");
    let (mut ours, theirs) = duplex(1 << 16);
    let server = host.clone();
    tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    tokio::task::yield_now().await;
    ours.write_all(format!("late:{board}\n").as_bytes()).await.expect("taken");
    tokio::time::sleep(Duration::from_millis(50)).await;
    serving.abort();
    assert!(serving.await.expect_err("aborted").is_cancelled());
    first.store(true, Relaxed);
    let mut answer = [0; 20];
    let heard = ours.read_exact(&mut answer);
    let heard = tokio::time::timeout(Duration::from_secs(10), heard).await;
    // Whatever came of it: the runtime waits for its threads.
    others.store(true, Relaxed);
    heard.expect("in time").expect("all");
    assert_eq!(&answer, b"late:ServerTooBusy\r\n");
}

#[tokio::test(start_paused = true)]
async fn deadlines_come_in_time_and_move_with_traffic() {
    let host = slow();
    let (mut ours, theirs) = duplex(8);
    let server = host.clone();
    let begin = tokio::time::Instant::now();
    let serving = tokio::spawn(async move { server.connection(theirs, Peer::Unix).await });
    tokio::time::sleep(Duration::from_secs(7)).await;
    ours.write_all(b"x").await.expect("taken");
    let mut answer = [0; 2];
    ours.read_exact(&mut answer).await.expect("an answer");
    let mut rest = Vec::new();
    ours.read_to_end(&mut rest).await.expect("an end in peace");
    let waited = begin.elapsed();
    assert!(waited >= Duration::from_secs(17), "{waited:?}");
    assert!(waited < Duration::from_millis(17_100), "{waited:?}");
    drop(ours);
    let reason = serving.await.expect("no panic");
    assert!(matches!(reason, Some(CloseReason::Fault(f)) if f.kind == FaultKind::TimedOut));
}
