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
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};

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

/// A stream whose bytes lie there before anybody says so, as a socket's do when its program was
/// away: only a poll finds them.
struct Unannounced(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl AsyncRead for Unannounced {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.0.lock().expect("no panic");
        if bytes.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(&core::mem::take(&mut *bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unannounced {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The timer fires before the connection's task was told of its bytes, and the stall is too short
/// for the engine's own guard.
#[tokio::test(start_paused = true)]
async fn nobody_is_given_up_whose_words_lie_unread() {
    let host = slow();
    let bytes = std::sync::Arc::default();
    let stream = Unannounced(std::sync::Arc::clone(&bytes));
    let server = host.clone();
    let serving = tokio::spawn(async move { server.connection(stream, Peer::Unix).await });
    tokio::time::sleep(Duration::from_secs(9)).await;
    bytes.lock().expect("no panic").push(b'x');
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(!serving.is_finished(), "reaped at 10 s, though it spoke at 9 s");
    assert!(bytes.lock().expect("no panic").is_empty());
    // Then it really is silent.
    let reason = tokio::time::timeout(Duration::from_secs(9), serving).await.expect("in time");
    let reason = reason.expect("no panic");
    assert!(matches!(reason, Some(CloseReason::Fault(f)) if f.kind == FaultKind::TimedOut));
}

/// A task that is not polled keeps nobody's time from passing.
#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_polled_holds_nobody_up() {
    let host = slow();
    let (_ours, theirs) = duplex(8);
    let (_mine, also_theirs) = duplex(8);
    let server = host.clone();
    let mut held = Box::pin(async move { server.connection(theirs, Peer::Unix).await });
    assert!(core::future::poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx).is_pending())).await);
    let server = host.clone();
    let serving = tokio::spawn(async move { server.connection(also_theirs, Peer::Unix).await });
    let reason = tokio::time::timeout(Duration::from_secs(12), serving).await.expect("in time");
    assert!(reason.expect("no panic").is_some());
}

/// What a peer did not take is lost, and it must be able to see that.
#[tokio::test]
async fn a_reader_that_is_given_up_sees_a_reset() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut limits = Limits::default();
    limits.output.no_progress = Duration::from_millis(100);
    let host = Host::new(memcached(limits));
    let server = host.clone();
    tokio::spawn(async move { server.serve(listener).await });
    let mut client = tokio::net::TcpStream::connect(address).await.expect("connected");
    let value = vec![b'x'; 1_000_000];
    client.write_all(b"set big 0 0 1000000\r\n").await.expect("taken");
    client.write_all(&value).await.expect("taken");
    client.write_all(b"\r\n").await.expect("taken");
    client.write_all(&b"get big\r\n".repeat(50)).await.expect("taken");
    client.readable().await.expect("an answer begins");
    // Nothing is read from here on, until the server has given up.
    host.empty().await;
    let end = client.read_to_end(&mut Vec::new()).await.expect_err("an end in peace");
    assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
}

/// The pause after a refusal is a want and a deadline: this host knows nothing of it.
#[tokio::test(start_paused = true)]
async fn who_was_refused_is_served_after_a_pause() {
    const BUSY: &str = "SERVER_ERROR server too busy\r\n";
    const PAUSE: Duration = Duration::from_millis(50);
    let limits = Limits { refusal_pause: PAUSE, ..Limits::default() };
    let host = Host::new(memcached(limits));
    host.with(|machine, _| machine.set_buffered_elsewhere(limits.total));
    let (mut ours, theirs) = duplex(1 << 10);
    let server = host.clone();
    drop(tokio::spawn(async move { server.connection(theirs, Peer::Virtual(1)).await }));
    let start = tokio::time::Instant::now();
    let mut said = [0; 2 * BUSY.len()];
    ours.write_all(b"delete k\r\n").await.expect("sent");
    ours.read_exact(&mut said[..BUSY.len()]).await.expect("refused");
    assert!(start.elapsed() < PAUSE, "the first refusal does not wait");
    for _ in 0..2 {
        ours.write_all(b"delete k\r\n").await.expect("sent");
        tokio::time::sleep(PAUSE / 10).await;
    }
    ours.read_exact(&mut said).await.expect("refused");
    assert!((PAUSE..PAUSE + PAUSE / 10).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(core::str::from_utf8(&said), Ok(&*BUSY.repeat(2)));
}
