//! `drywire load fanout`: one speaker, many listeners, and how many messages a second reach them.

use super::process::Process;
use super::stream::allow_open_files;
use crate::address::Address;
use crate::{Failure, Verdict, units};
use core::time::Duration;
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream as Blocking;
use std::time::Instant;

/// Let one connection publish, and as many as asked for receive; count the deliveries.
///
/// A closed loop without --rate: the publisher is at most --window messages ahead of the slowest receiver, so
/// nobody is kicked for being slow. Each byte received is compared with what was published.
///
/// Exit code 1 if a receiver got anything but the messages in their order, or was closed.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What the server speaks
    #[arg(value_enum)]
    protocol: Protocol,
    /// The server: HOST:PORT
    #[arg(long)]
    addr: Address,
    /// How many receive
    #[arg(long, short, default_value = "100", value_parser = units::count)]
    members: u64,
    /// Bytes of each message, 16 to 60000
    #[arg(long, default_value = "64", value_parser = units::size)]
    size: u64,
    /// Messages that the publisher may be ahead of the slowest receiver
    #[arg(long, default_value = "4096", value_parser = units::count)]
    window: u64,
    /// Messages a second, however fast they are taken; reports how long they are on their way
    #[arg(long, value_parser = units::count)]
    rate: Option<u64>,
    /// Further connections that read nothing, with --rate: each has to be ended by the server. Their
    /// receive buffers are as small as the system allows, so that it is soon felt
    #[arg(long, default_value = "0", value_parser = units::count, requires = "rate")]
    stuck: u64,
    /// How long
    #[arg(long, default_value = "3s", value_parser = units::time)]
    duration: Duration,
    /// The server's process on this machine: report its CPU time and memory too
    #[arg(long)]
    pid: Option<u32>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// drywire's plain chat, as muduo's
    Chat,
    /// drywire's hub
    Hub,
    /// nats-server
    Nats,
    /// Redis publish/subscribe
    Redis,
}

#[derive(Serialize)]
struct Report {
    protocol: String,
    members: u64,
    size: u64,
    seconds: f64,
    messages: u64,
    deliveries: u64,
    deliveries_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    paced: Option<Paced>,
}

/// What a run with a rate finds beside.
#[derive(Serialize)]
struct Paced {
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    stuck: u64,
    /// Of them, those that the server has ended.
    stuck_ended: u64,
}

impl Protocol {
    /// What a receiver says first, and how the server's answer ends.
    fn subscribe(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Chat => (b"", b""),
            Self::Hub => (b"sub t\r\n", b""),
            Self::Nats => (b"CONNECT {\"verbose\":false}\r\nSUB t 1\r\nPING\r\n", b"PONG\r\n"),
            Self::Redis => (b"SUBSCRIBE t\r\n", b":1\r\n"),
        }
    }

    fn greet(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Nats => (b"CONNECT {\"verbose\":false}\r\nPING\r\n", b"PONG\r\n"),
            _ => (b"", b""),
        }
    }

    /// A message as it is published.
    fn publish(self, content: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Chat => {
                out.extend_from_slice(&(content.len() as u32).to_be_bytes());
                out.extend_from_slice(content);
            }
            Self::Hub => parts(out, &[b"pub t\r\n", content, b"\r\n"]),
            Self::Nats => {
                parts(out, &[format!("PUB t {}\r\n", content.len()).as_bytes(), content, b"\r\n"]);
            }
            Self::Redis => {
                let head = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n${}\r\n", content.len());
                parts(out, &[head.as_bytes(), content, b"\r\n"]);
            }
        }
    }

    /// A message as it is received.
    fn deliver(self, content: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Chat | Self::Hub => self.publish(content, out),
            Self::Nats => {
                parts(
                    out,
                    &[format!("MSG t 1 {}\r\n", content.len()).as_bytes(), content, b"\r\n"],
                );
            }
            Self::Redis => {
                let head = format!("*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n${}\r\n", content.len());
                parts(out, &[head.as_bytes(), content, b"\r\n"]);
            }
        }
    }
}

fn parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

/// All that will be published and received: numbered messages, repeated from the beginning.
struct Script {
    publish: Vec<u8>,
    deliver: Vec<u8>,
    /// Bytes of one message.
    published: usize,
    delivered: usize,
    /// What may come between two messages, and what is answered.
    ping: (&'static [u8], &'static [u8]),
}

impl Script {
    fn new(protocol: Protocol, size: usize, messages: u64) -> Self {
        let (mut publish, mut deliver) = (Vec::new(), Vec::new());
        for number in 0..messages {
            let mut content = format!("{number:016}").into_bytes();
            content.resize(size, b'.');
            protocol.publish(&content, &mut publish);
            protocol.deliver(&content, &mut deliver);
        }
        let published = publish.len() / messages as usize;
        let delivered = deliver.len() / messages as usize;
        let ping = match protocol {
            Protocol::Nats => (&b"PING\r\n"[..], &b"PONG\r\n"[..]),
            _ => (&b""[..], &b""[..]),
        };
        Self { publish, deliver, published, delivered, ping }
    }
}

struct Receiver {
    stream: TcpStream,
    /// Bytes of messages received since the beginning.
    got: u64,
    /// Bytes received of a ping.
    pinged: usize,
}

pub(crate) fn run(args: &Args) -> Result<Verdict, Failure> {
    let Address::Tcp(addr) = args.addr else {
        return Err(Failure::usage("--addr: fan-out is measured over TCP, write HOST:PORT"));
    };
    if !(16..=60_000).contains(&args.size) || args.members == 0 || args.window == 0 {
        return Err(Failure::usage("--size is 16 to 60000, --members and --window at least 1"));
    }
    allow_open_files(args.members + args.stuck + 1)?;
    let protocol = args.protocol;
    // Twice the window, so that a message lost or repeated is seen.
    let ahead = args.rate.map_or(args.window * 2, |rate| rate.max(16));
    let script = Script::new(protocol, args.size as usize, ahead);
    let connect = |greeting| join(addr, greeting, None).map_err(Failure::system);
    let mut receivers = Vec::new();
    for _ in 0..args.members {
        receivers.push(Receiver { stream: connect(protocol.subscribe())?, got: 0, pinged: 0 });
    }
    // In a room the speaker listens too: it is the first of them.
    let speaker = (protocol != Protocol::Chat).then(|| connect(protocol.greet())).transpose()?;
    let stick = |_| join(addr, protocol.subscribe(), Some(1)).map_err(Failure::system);
    let stuck = (0..args.stuck).map(stick);
    let mut stuck: Vec<TcpStream> = stuck.collect::<Result<_, _>>()?;
    // Everyone is in before the first word.
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    let mut latency = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).expect("good bounds");
    let spoken = speak(&script, args, speaker, &mut receivers, &mut latency);
    let (messages, ok) = spoken.map_err(Failure::system)?;
    let seconds = started.elapsed().as_secs_f64();
    let deliveries: u64 = receivers.iter().map(|r| r.got / script.delivered as u64).sum();
    let resident = args.pid.map(Process::new).transpose()?.and_then(Process::resident);
    let stuck_ended = stuck.iter_mut().filter_map(|stream| has_ended(stream).then_some(())).count();
    let ok = ok && stuck_ended == stuck.len();
    let report = Report {
        protocol: format!("{protocol:?}").to_lowercase(),
        members: args.members,
        size: args.size,
        seconds,
        messages,
        deliveries,
        deliveries_per_second: deliveries as f64 / seconds,
        resident_bytes: resident,
        paced: args.rate.map(|_| Paced {
            p50_us: latency.value_at_quantile(0.5),
            p99_us: latency.value_at_quantile(0.99),
            max_us: latency.max(),
            stuck: args.stuck,
            stuck_ended: stuck_ended as u64,
        }),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report).map_err(Failure::system)?);
    } else {
        println!(
            "{deliveries} deliveries of {messages} messages in {seconds:.2} s: {:.0} a second",
            report.deliveries_per_second
        );
        if let Some(paced) = &report.paced {
            let Paced { p50_us, p99_us, max_us, stuck, stuck_ended } = paced;
            println!("on their way: half within {p50_us} us, 99% {p99_us} us, all {max_us} us");
            println!("{stuck_ended} of {stuck} that read nothing were ended");
        }
        if !ok {
            println!("a receiver got something else than the messages in their order");
        }
    }
    Ok(if ok { Verdict::Good } else { Verdict::Failed })
}

/// A connection that has said what there is to say. `receive`: the size of its receive buffer.
fn join(
    addr: core::net::SocketAddr,
    (say, end): (&[u8], &[u8]),
    receive: Option<usize>,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    // Before it connects: the peer is told a window then.
    receive.map_or(Ok(()), |bytes| socket.set_recv_buffer_size(bytes))?;
    socket.connect(&addr.into())?;
    let mut stream = Blocking::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(say)?;
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(end) {
        stream.read_exact(&mut byte)?;
        heard.push(byte[0]);
    }
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Whether the server has ended a connection that read nothing: reads what is left of it.
fn has_ended(stream: &mut TcpStream) -> bool {
    let mut buffer = vec![0; 64 << 10];
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => return true,
        }
    }
    false
}

/// Publishes until the time is up and everyone has everything. The messages published, and
/// whether all went well.
fn speak(
    script: &Script,
    args: &Args,
    mut speaker: Option<TcpStream>,
    receivers: &mut [Receiver],
    latency: &mut Histogram<u64>,
) -> io::Result<(u64, bool)> {
    let mut poll = Poll::new()?;
    for (i, receiver) in receivers.iter_mut().enumerate() {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut receiver.stream, Token(i), interest)?;
    }
    if let Some(speaker) = &mut speaker {
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(speaker, Token(receivers.len()), interest)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    let start = Instant::now();
    let end = start + args.duration;
    let mut sent_at: Vec<Instant> = Vec::new();
    let (mut sent, mut last) = (0u64, None);
    loop {
        // Whole messages only: what is begun is finished, however long it takes.
        let slowest = receivers.iter().map(|r| r.got / script.delivered as u64).min().unwrap_or(0);
        if last.is_none() && Instant::now() >= end {
            last = Some(sent.div_ceil(script.published as u64));
        }
        let due = match args.rate {
            Some(rate) => (start.elapsed().as_secs_f64() * rate as f64) as u64,
            None => slowest + args.window,
        };
        let may = last.unwrap_or(due) * script.published as u64;
        if last.is_some_and(|messages| slowest >= messages) {
            return Ok((slowest, true));
        }
        if Instant::now() > end + Duration::from_secs(10) {
            return Ok((slowest, false));
        }
        let mut stream: &TcpStream = match &speaker {
            Some(speaker) => speaker,
            None => &receivers[0].stream,
        };
        while sent < may {
            let at = (sent % script.publish.len() as u64) as usize;
            let n = script.publish.len().min(at + (may - sent) as usize);
            match stream.write(&script.publish[at..n]) {
                Ok(n) => {
                    sent += n as u64;
                    let begun = sent.div_ceil(script.published as u64);
                    if args.rate.is_some() {
                        sent_at.resize(begun as usize, Instant::now());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let pause = if args.rate.is_some() { 1 } else { 10 };
        poll.poll(&mut events, Some(Duration::from_millis(pause)))?;
        for event in &events {
            match receivers.get_mut(event.token().0) {
                Some(receiver) => {
                    let before = receiver.got / script.delivered as u64;
                    if !receiver.read(script, &mut buffer)? {
                        return Ok((slowest, false));
                    }
                    let after = receiver.got / script.delivered as u64;
                    if args.rate.is_some() && after > before {
                        let now = Instant::now();
                        for at in &sent_at[before as usize..after as usize] {
                            let us = u64::try_from((now - *at).as_micros()).unwrap_or(u64::MAX);
                            latency.saturating_record(us.max(1));
                        }
                    }
                }
                // What the server tells its publisher is none of our business.
                None => {
                    if let Some(speaker) = &mut speaker {
                        while matches!(speaker.read(&mut buffer), Ok(1..)) {}
                    }
                }
            }
        }
    }
}

impl Receiver {
    /// Reads what is there; false if it is not what it has to be.
    fn read(&mut self, script: &Script, buffer: &mut [u8]) -> io::Result<bool> {
        loop {
            let n = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            let mut heard = &buffer[..n];
            while !heard.is_empty() {
                let at = (self.got % script.deliver.len() as u64) as usize;
                let expected = &script.deliver[at..script.deliver.len().min(at + heard.len())];
                let n = if self.pinged > 0 {
                    0
                } else if heard.starts_with(expected) {
                    expected.len()
                } else {
                    heard.iter().zip(expected).take_while(|(a, b)| a == b).count()
                };
                self.got += n as u64;
                heard = &heard[n..];
                if n < expected.len() && !self.skip_ping(script, &mut heard)? {
                    return Ok(false);
                }
            }
        }
    }

    /// Takes a byte of a ping, which is answered when it is whole. False if it is none.
    fn skip_ping(&mut self, script: &Script, heard: &mut &[u8]) -> io::Result<bool> {
        let (ping, answer) = script.ping;
        let between = self.got.is_multiple_of(script.delivered as u64);
        if !between || heard.first() != ping.get(self.pinged) {
            return Ok(false);
        }
        *heard = &heard[1..];
        self.pinged += 1;
        if self.pinged == ping.len() {
            self.pinged = 0;
            // A few bytes on a connection that carries nothing else this way.
            self.stream.write_all(answer)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_look_as_the_protocols_say() {
        for (protocol, published, delivered) in [
            (Protocol::Chat, "\0\0\0\x02hi", "\0\0\0\x02hi"),
            (Protocol::Hub, "pub t\r\nhi\r\n", "pub t\r\nhi\r\n"),
            (Protocol::Nats, "PUB t 2\r\nhi\r\n", "MSG t 1 2\r\nhi\r\n"),
            (
                Protocol::Redis,
                "*3\r\n$7\r\nPUBLISH\r\n$1\r\nt\r\n$2\r\nhi\r\n",
                "*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$2\r\nhi\r\n",
            ),
        ] {
            let (mut out, mut got) = (Vec::new(), Vec::new());
            protocol.publish(b"hi", &mut out);
            protocol.deliver(b"hi", &mut got);
            assert_eq!((&out[..], &got[..]), (published.as_bytes(), delivered.as_bytes()));
        }
    }

    #[test]
    fn a_script_is_made_of_messages_of_one_size() {
        let script = Script::new(Protocol::Nats, 64, 8);
        assert_eq!(script.publish.len(), 8 * script.published);
        assert_eq!(script.deliver.len(), 8 * script.delivered);
    }
}
