//! A line protocol that shows everything a host must carry, and a server of it to talk to.
//!
//! | line | answer |
//! |---|---|
//! | `big N` | N bytes and a line end, as one shared segment |
//! | `put N` | after N more bytes: `got N` |
//! | `job MS WORD` | WORD, after a job of MS milliseconds |
//! | `panic` | a job that panics |
//! | `add` | the counter that all loops share, one up |
//! | `all WORD` | WORD to each connection of this loop |
//! | `everyone WORD` | WORD to each connection of all loops |
//! | `spin` | nothing, but the connection posts to itself for ever |
//! | `alarm MS` | `alarm`, MS milliseconds later |
//! | `fault` | last words `broken`, the end |
//! | `quit` | the end |
//! | anything else | itself |

#![allow(dead_code, reason = "each test file takes what it needs")]

use bytes::Bytes;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{
    Cx, Deadline, Fault, FaultKind, Job, Limits, Outbox, Peer, Place, Session, Stop, Taken, Upkeep,
};
use drywire::engine::{ConnId, Engine, JobId, Shards};
use drywire_mio::{Ended, Handle, Host, Listen, Locked};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Instant;

pub(crate) struct Lines {
    /// Bytes of a `put` to come, and how many there were.
    body: Option<(usize, usize)>,
    jobs: usize,
    alarm: Option<Tick>,
}

pub(crate) struct Shared {
    pub(crate) counter: Locked<u64>,
    members: Vec<ConnId>,
}

pub(crate) struct Sleep(Option<(Duration, Vec<u8>)>);

impl Job for Sleep {
    type Output = Vec<u8>;
    fn run(self) -> Vec<u8> {
        let (time, word) = self.0.expect("asked to panic");
        thread::sleep(time);
        word
    }
}

const SPIN: &[u8] = b"spin";

impl Session for Lines {
    type Shared = Shared;
    type Message = Bytes;
    type Job = Sleep;

    fn open(cx: &mut Cx<'_, Self>, _: &Peer) -> Self {
        cx.shared.members.push(cx.id);
        Self { body: None, jobs: 0, alarm: None }
    }

    fn on_input(&mut self, cx: &mut Cx<'_, Self>, input: &[u8]) -> Result<Taken, Fault> {
        let mut used = 0;
        loop {
            if let Some((left, size)) = &mut self.body {
                let n = (input.len() - used).min(*left);
                (used, *left) = (used + n, *left - n);
                if *left > 0 {
                    return Ok(Taken { used, stop: Stop::NeedInput(1) });
                }
                cx.out.put(format!("got {size}\n").as_bytes());
                self.body = None;
            }
            let Some(end) = input[used..].iter().position(|b| *b == b'\n') else {
                return Ok(Taken { used, stop: Stop::NeedInput(input.len() - used + 1) });
            };
            if let Some(stop) = cx.stop() {
                return Ok(Taken { used, stop });
            }
            let line = &input[used..used + end];
            used += end + 1;
            match self.line(cx, line) {
                Ok(None) => {}
                Ok(Some(stop)) => return Ok(Taken { used, stop }),
                Err(fault) => return Err(fault),
            }
        }
    }

    fn on_post(&mut self, cx: &mut Cx<'_, Self>, message: Bytes) {
        if &message[..] == SPIN {
            return cx.post(cx.id, message);
        }
        cx.out.put_shared(&message);
    }

    fn on_mail(cx: &mut Upkeep<'_, Self>, _: usize, message: Bytes) {
        tell(cx, &message);
    }

    fn on_done(&mut self, cx: &mut Cx<'_, Self>, _: JobId, word: Vec<u8>) {
        self.jobs -= 1;
        cx.out.put(&word);
        cx.out.put(b"\n");
    }

    fn on_tick(&mut self, cx: &mut Cx<'_, Self>) -> Result<(), Fault> {
        self.alarm = None;
        cx.out.put(b"alarm\n");
        Ok(())
    }

    fn deadline(&self) -> Option<Deadline> {
        self.alarm.map(|at| Deadline { at, why: "alarm" })
    }

    fn owes(&self) -> bool {
        self.jobs > 0
    }

    fn on_fault(&mut self, _: Fault, out: &mut Outbox) {
        out.put(b"broken\n");
    }

    fn on_close(&mut self, cx: &mut Cx<'_, Self>) {
        cx.shared.members.retain(|id| *id != cx.id);
    }

    fn refusal(_: &mut Shared) -> &'static [u8] {
        b"full\n"
    }
}

impl Lines {
    fn line(&mut self, cx: &mut Cx<'_, Self>, line: &[u8]) -> Result<Option<Stop>, Fault> {
        let text = String::from_utf8_lossy(line);
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["big", n] => {
                cx.shared.counter.with(0, |c| *c += 1);
                let mut body = vec![b'x'; n.parse().unwrap()];
                body.push(b'\n');
                cx.out.put_shared(&Bytes::from(body));
            }
            ["put", n] => {
                let n = n.parse().unwrap();
                self.body = Some((n, n));
            }
            ["job", ms, word] => {
                let time = Duration::from_millis(ms.parse().unwrap());
                self.jobs += 1;
                cx.spawn(Sleep(Some((time, word.into()))));
            }
            ["panic"] => {
                self.jobs += 1;
                cx.spawn(Sleep(None));
            }
            ["add"] => {
                let n = cx.shared.counter.with(0, |c| {
                    *c += 1;
                    *c
                });
                cx.out.put_u64(n);
                cx.out.put(b"\n");
            }
            ["all", word] => tell(&mut cx.upkeep(), &Bytes::from(format!("{word}\n"))),
            ["everyone", word] => {
                let message = Bytes::from(format!("{word}\n"));
                let mut cx = cx.upkeep();
                tell(&mut cx, &message);
                let Place { index, count } = cx.place();
                for other in (0..count).filter(|i| *i != index) {
                    cx.mail(other, message.clone());
                }
            }
            ["spin"] => cx.post(cx.id, Bytes::from_static(SPIN)),
            ["alarm", ms] => {
                self.alarm = Some(cx.now + Duration::from_millis(ms.parse().unwrap()));
            }
            ["fault"] => return Err(Fault::new(FaultKind::Malformed, "asked for")),
            ["quit"] => return Ok(Some(Stop::Closing)),
            _ => {
                cx.out.put(line);
                cx.out.put(b"\n");
            }
        }
        Ok(None)
    }
}

fn tell(cx: &mut Upkeep<'_, Lines>, message: &Bytes) {
    for id in cx.shared.members.clone() {
        cx.post(id, message.clone());
    }
}

/// A host that serves [`Lines`] there; all loops count on `counter`.
pub(crate) fn lines(
    host: Host,
    listen: impl IntoIterator<Item = Listen>,
    counter: &Locked<u64>,
) -> Host {
    lines_within(host, listen, counter, Limits::default())
}

/// The same with these limits.
pub(crate) fn lines_within(
    host: Host,
    listen: impl IntoIterator<Item = Listen>,
    counter: &Locked<u64>,
    limits: Limits,
) -> Host {
    let counter = counter.clone();
    host.serve(listen, move || {
        let shared = Shared { counter: counter.clone(), members: Vec::new() };
        Engine::<Lines>::new(shared, limits, 4096)
    })
}

pub(crate) fn any_port() -> Listen {
    Listen::tcp(([127, 0, 0, 1], 0))
}

/// A server on a thread; stopped in order when dropped.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) counter: Locked<u64>,
    thread: Option<JoinHandle<Ended>>,
}

impl Running {
    pub(crate) fn start(host: Host) -> Self {
        let counter = Locked::new([0]);
        Self::run(lines(host, [any_port()], &counter), counter)
    }

    pub(crate) fn run(host: Host, counter: Locked<u64>) -> Self {
        let server = host.bind().unwrap();
        let handle = server.handle();
        let addr = server.tcp_addrs()[0];
        let thread = Some(thread::spawn(move || server.run().unwrap()));
        Self { addr, handle, counter, thread }
    }

    pub(crate) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    pub(crate) fn count(&self) -> u64 {
        self.counter.clone().with(0, |n| *n)
    }

    pub(crate) fn stop(mut self) -> Ended {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits for a server that was told to stop by other means.
    pub(crate) fn join(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.stop();
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Client<T>(pub(crate) T);

impl<T: Read + Write> Client<T> {
    pub(crate) fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            assert_eq!(self.0.read(&mut byte).unwrap(), 1, "the end after {line:?}");
            line.push(byte[0]);
        }
        line.pop();
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.line()
    }

    /// Everything up to the end, which must be no reset.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    }
}

impl Client<TcpStream> {
    /// Reads on to the end, which should be a reset.
    pub(crate) fn ends_in_a_reset(&mut self) -> bool {
        let end = self.0.read_to_end(&mut Vec::new());
        matches!(end, Err(error) if error.kind() == ErrorKind::ConnectionReset)
    }
}

/// Waits until `fact` holds.
pub(crate) fn until(fact: impl Fn() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}
