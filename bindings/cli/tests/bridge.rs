//! Servers that share rooms and topics by way of a real nats-server, which is killed and comes
//! back while they talk.

mod common;

use common::{Client, PATIENCE, Served, install, wait_for};
use drywire::Tick;
use drywire::chat::client::{self, Event, Step};
use drywire::conn::Outbox;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// Everything that a name may hold and a subject may not.
const ROOM: &[u8] = b"den .*> 100%";

/// A broker that keeps its log on disk, on one port over its lives.
struct Broker {
    dir: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    fn new() -> Self {
        install(&["nats-server=nats-server"]);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { dir: tempfile::tempdir().unwrap(), port, child: None }
    }

    fn start(&mut self) {
        let child = Command::new("nats-server")
            .args(["-js", "-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("nats-server is installed"));
        wait_for("nats-server", || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// It holds its connections and says nothing: a frozen machine, a lost network.
    fn freeze(&self, frozen: bool) {
        let child = self.child.as_ref().expect("it runs");
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// As a crash does.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a member heard.
#[derive(Default)]
struct Heard {
    /// Who said what, in order, and whether it was marked as a possible repeat.
    said: Vec<(u64, u64, bool)>,
    refused: BTreeSet<u64>,
    lost: u64,
    links: Vec<String>,
    texts: Vec<Vec<u8>>,
}

/// How many of the members were told that there is no link, and that it is back.
#[derive(Default)]
struct Told {
    lost: AtomicUsize,
    back: AtomicUsize,
}

struct Member {
    id: u64,
    client: client::Client,
    stream: TcpStream,
    out: Outbox,
    input: Vec<u8>,
    start: Instant,
    joined: bool,
    own: BTreeMap<u64, u32>,
    heard: Heard,
    told: Arc<Told>,
}

impl Member {
    fn connect(addr: &str, id: u64, told: &Arc<Told>) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let client = client::Client::new(id, format!("member {id}").as_bytes()).unwrap();
        let mut member = Self {
            id,
            client,
            stream,
            out: Outbox::new(),
            input: Vec::new(),
            start: Instant::now(),
            joined: false,
            own: BTreeMap::new(),
            heard: Heard::default(),
            told: Arc::clone(told),
        };
        member.client.connected(Tick::ZERO, &mut member.out);
        member.client.join(ROOM, 0, &mut member.out);
        while !member.joined {
            member.turn();
        }
        member
    }

    fn say(&mut self, text: &[u8]) -> u64 {
        let number = self.client.say(ROOM, b"", text, &mut self.out).unwrap();
        self.own.insert(number, 0);
        number
    }

    /// Sends what is to be sent and reads what comes within a moment.
    fn turn(&mut self) {
        assert!(self.start.elapsed() < PATIENCE * 2, "member {} waits in vain", self.id);
        while !self.out.is_empty() {
            let bytes: Vec<u8> = self.out.slices().flatten().copied().collect();
            self.stream.write_all(&bytes).unwrap();
            self.out.sent(bytes.len());
        }
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("member {} was disconnected", self.id),
            Ok(n) => self.input.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let now = Tick::ZERO + self.start.elapsed();
        let mut used = 0;
        loop {
            let step = self.client.step(now, &self.input[used..], &mut self.out).unwrap();
            let Step::Event { event, used: n } = step else { break };
            used += n;
            match event {
                Event::Joined { .. } => self.joined = true,
                Event::Said(message) => {
                    let said = message.said;
                    self.heard.said.push((said.from, said.number, said.again));
                    self.heard.texts.push(said.text.to_vec());
                    if message.own {
                        *self.own.get_mut(&said.number).expect("said by us") += 1;
                    }
                }
                Event::Refused { number, .. } => {
                    let number = number.expect("only says are refused");
                    *self.own.get_mut(&number).expect("said by us") += 1;
                    self.heard.refused.insert(number);
                }
                Event::Lost { count, .. } => self.heard.lost += count.unwrap_or(1),
                Event::Link { text, .. } => {
                    let text = String::from_utf8_lossy(text);
                    self.told.lost.fetch_add(usize::from(text.contains("no link")), SeqCst);
                    self.told.back.fetch_add(usize::from(text.contains("is back")), SeqCst);
                    self.heard.links.push(text.into_owned());
                }
                _ => {}
            }
        }
        self.input.drain(..used);
        self.client.tick(now, &mut self.out).unwrap();
    }

    /// Talks until told to stop, then waits for what everybody said.
    fn talk(mut self, all: usize, together: &Barrier, stop: &AtomicBool) -> Heard {
        together.wait();
        while !stop.load(SeqCst) {
            // What is said while there is no link does not wait for what is under way.
            let down = self.heard.links.last().is_some_and(|text| text.contains("no link"));
            if self.client.unheard() < if down { 220 } else { 200 } {
                self.say(b"words");
            }
            self.turn();
        }
        while self.client.unheard() > 0 {
            self.turn();
        }
        // The last word, until it is taken.
        let mut last = self.say(b"end");
        loop {
            self.turn();
            if self.heard.refused.contains(&last) {
                thread::sleep(Duration::from_millis(50));
                last = self.say(b"end");
            }
            let ends = self.heard.texts.iter().filter(|text| *text == b"end").count();
            if self.own[&last] > 0 && ends == all {
                break;
            }
        }
        assert!(self.own.values().all(|answers| *answers == 1), "each say is answered once");
        self.heard
    }
}

/// Members of three servers talk while the broker comes to harm, which they have to see `losses`
/// times: one order for all, nothing lost, nothing twice.
fn talk_while(losses: usize, harm: impl FnOnce(&mut Broker, &Told, &Served)) {
    let mut broker = Broker::new();
    broker.start();
    let url = broker.url();
    let servers: Vec<_> = (0..3).map(|_| Served::start(&["-t", "2", "--bridge", &url])).collect();
    let (together, stop) = (Arc::new(Barrier::new(4)), Arc::new(AtomicBool::new(false)));
    let told = Arc::new(Told::default());
    let talks: Vec<_> = (1..)
        .zip(&servers)
        .map(|(id, server)| {
            let member = Member::connect(&server.chat, id, &told);
            let (together, stop) = (Arc::clone(&together), Arc::clone(&stop));
            thread::spawn(move || member.talk(3, &together, &stop))
        })
        .collect();
    together.wait();
    thread::sleep(Duration::from_millis(600));
    harm(&mut broker, &told, &servers[0]);
    thread::sleep(Duration::from_millis(1500));
    stop.store(true, SeqCst);
    let heard: Vec<Heard> = talks.into_iter().map(|talk| talk.join().unwrap()).collect();
    let refused: BTreeSet<_> =
        (1..).zip(&heard).flat_map(|(id, h)| h.refused.iter().map(move |n| (id, *n))).collect();
    for member in &heard {
        assert_eq!(member.lost, 0);
        assert!(member.said == heard[0].said, "members of two servers hear two orders");
        let once: BTreeSet<_> = member.said.iter().map(|(from, n, _)| (*from, *n)).collect();
        assert_eq!(once.len(), member.said.len(), "a repeat");
        assert!(once.is_disjoint(&refused), "refused, and heard all the same");
        // The loss was visible, each time, and healed.
        let words = member.links.join("\n");
        assert_eq!(words.matches("no link").count(), losses, "{words}");
        assert_eq!(words.matches("is back").count(), losses, "{words}");
    }
    assert!(!refused.is_empty(), "nothing was said while there was no link");
    let by = |id| heard[0].said.iter().filter(|(from, ..)| *from == id).count();
    assert!([1, 2, 3].iter().all(|id| by(*id) > 50), "{} {} {}", by(1), by(2), by(3));
}

#[test]
fn one_order_for_all_servers_though_the_broker_dies() {
    talk_while(2, |broker, told, _| {
        let all = |of: &AtomicUsize, round: usize| (of.load(SeqCst) >= 3 * round).then_some(());
        for round in 1..=2 {
            broker.kill();
            wait_for("all to be told of the loss", || all(&told.lost, round));
            thread::sleep(Duration::from_millis(600));
            broker.start();
            wait_for("all to be told that it is back", || all(&told.back, round));
            thread::sleep(Duration::from_millis(600));
        }
    });
}

/// Three seconds, says docs/bridge.md; a busy machine may take longer to notice.
const NOTICED: Duration = Duration::from_secs(3);

#[test]
fn a_broker_that_freezes_is_missed_in_time_and_what_it_held_is_heard_once() {
    talk_while(1, |broker, told, server| {
        let stream = TcpStream::connect(&server.hub).unwrap();
        let mut hub = Client(BufReader::new(stream));
        assert_eq!(hub.stat("stats", "engines"), Some(2));
        let mut linked = |wanted| {
            let what = format!("a link: {wanted}");
            let is = || (hub.stat("stats", "bridge_linked") == Some(wanted)).then_some(());
            wait_for(&what, is);
            hub.stat("stats", "bridge_losses")
        };
        assert_eq!(linked(1), Some(0));
        broker.freeze(true);
        // Time in which nothing here ran, as when the machine sleeps, is not counted.
        let (mut last, mut passed) = (Instant::now(), Duration::ZERO);
        while told.lost.load(SeqCst) < 3 {
            thread::sleep(Duration::from_millis(5));
            passed += last.elapsed().min(Duration::from_millis(20));
            last = Instant::now();
            assert!(passed < PATIENCE, "nobody is told");
        }
        println!("all were told within {passed:?}");
        assert!(passed < 4 * NOTICED, "{passed:?}");
        assert_eq!(linked(0), Some(1));
        // Long enough for attempts to connect to it, which the kernel takes for it.
        thread::sleep(Duration::from_secs(1));
        broker.freeze(false);
        assert_eq!(linked(1), Some(1));
    });
}

/// A line from a hub, within patience.
fn lines(stream: &mut TcpStream, count: usize) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    let mut byte = [0];
    while heard.iter().filter(|byte| **byte == b'\n').count() < count {
        stream.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    String::from_utf8(heard).unwrap()
}

#[test]
fn a_server_that_comes_later_has_the_last_values() {
    let mut broker = Broker::new();
    broker.start();
    let url = broker.url();
    let first = Served::start(&["--bridge", &url]);
    let mut publisher = TcpStream::connect(&first.hub).unwrap();
    publisher
        .write_all(b"sub a .*\r\npub a .*\r\n1\r\npub a .*\r\n2\r\npub \r\nno name\r\n")
        .unwrap();
    assert_eq!(lines(&mut publisher, 4), "pub a .*\r\n1\r\npub a .*\r\n2\r\n");
    // Another program may say anything there.
    let mut nats = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    nats.write_all(b"CONNECT {}\r\nPUB drywire.hub.a 3\r\nboo\r\nPING\r\n").unwrap();
    for server in [&first, &Served::start(&["--bridge", &url])] {
        let mut late = TcpStream::connect(&server.hub).unwrap();
        // The values come at once or as they are read from the log.
        late.write_all(b"sub a .*\r\n").unwrap();
        wait_for("the last value", || lines(&mut late, 2).ends_with("\r\n2\r\n").then_some(()));
        late.write_all(b"unsub a .*\r\nsub \r\n").unwrap();
        assert!(lines(&mut late, 2).ends_with("no name\r\n"));
    }
}

#[test]
fn without_a_broker_what_is_said_is_refused_and_all_are_told() {
    let broker = Broker::new();
    let server = Served::start(&["-t", "2", "--bridge", &broker.url()]);
    let mut plain = TcpStream::connect(&server.chat).unwrap();
    let mut publisher = TcpStream::connect(&server.hub).unwrap();
    wait_for("a refusal", || {
        plain.write_all(b"\0\0\0\x02hi").unwrap();
        plain.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut heard = [0; 256];
        let n = plain.read(&mut heard).unwrap_or(0);
        String::from_utf8_lossy(&heard[..n]).contains("no link to the other servers").then_some(())
    });
    publisher.write_all(b"pub t\r\nx\r\n").unwrap();
    assert!(lines(&mut publisher, 1).starts_with("error no link to the other servers"));
    assert_eq!(publisher.write(b"pub t\r\n").unwrap(), 7, "the connection goes on");
}
