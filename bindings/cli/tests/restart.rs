//! A graceful restart: two servers behind a client that balances by request. Each is told to
//! depart, leaves, and comes back, under load. No board is lost, none is answered twice.

use core::time::Duration;
use drywire::Tick;
use drywire::sudoku::balancer::{Balancer, BalancerConfig};
use drywire::sudoku::{Board, Reply};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

const EASY: &[u8; 81] =
    b"530070000600195000098000060800060003400803001700020006060000280000419005000080079";
const PATIENCE: Duration = Duration::from_secs(60);

struct Backend {
    child: Child,
    addr: String,
    stream: Option<TcpStream>,
}

impl Backend {
    fn start(addr: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_drywire"))
            .args(["serve", "--no-memcache", "--sudoku", addr, "--announce", "30s", "-t", "2"])
            .args(["--sudoku-deadline", "10s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("drywire runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim_end().strip_prefix("sudoku on ").expect("where it is").to_owned();
        Self { child, addr, stream: None }
    }

    fn connect(&mut self, balancer: &mut Balancer, at: usize) {
        let stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        self.stream = Some(stream);
        balancer.connected(at);
    }

    fn depart(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    }

    /// Moves bytes both ways. False if the connection is gone.
    fn exchange(
        &mut self,
        balancer: &mut Balancer,
        at: usize,
        now: Tick,
        answers: &mut BTreeMap<u64, u32>,
    ) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        let out = balancer.outgoing(at);
        while let Some(slice) = out.slices().next() {
            match stream.write(slice) {
                Ok(n) => out.sent(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let mut bytes = [0; 16 << 10];
        match stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => balancer
                .receive(at, now, &bytes[..n], |name, reply| {
                    assert!(matches!(reply, Reply::Solved(_)), "{reply:?}");
                    *answers.entry(name).or_insert(0) += 1;
                })
                .is_ok(),
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn restarting_one_server_after_the_other_loses_nothing() {
    let mut backends = [Backend::start("127.0.0.1:0"), Backend::start("127.0.0.1:0")];
    let mut balancer = Balancer::new(2, BalancerConfig::DEFAULT);
    for (at, backend) in backends.iter_mut().enumerate() {
        backend.connect(&mut balancer, at);
    }
    let board = Board::parse(EASY).unwrap();
    let (start, mut random) = (Instant::now(), fastrand::Rng::with_seed(1));
    let (mut asked, mut answers, mut pinged) = (0, BTreeMap::new(), Instant::now());
    // Which one is told, then which has to come back, each after so many boards.
    let mut told = [false; 2];
    let mut returned = 0;
    while returned < 2 || answers.len() < asked as usize || asked < 6000 {
        assert!(start.elapsed() < PATIENCE, "{returned} back, {} of {asked}", answers.len());
        let now = Tick::ZERO + start.elapsed();
        let busy = returned < 2 || asked < 6000;
        while busy && (asked as usize) < answers.len() + 60 {
            balancer.ask(now, asked, board);
            asked += 1;
        }
        balancer.send(now, || random.u64(..));
        assert_eq!(balancer.next_lost(), None);
        if pinged.elapsed() > Duration::from_millis(10) {
            pinged = Instant::now();
            balancer.ping();
        }
        for at in 0..2 {
            let alive = backends[at].exchange(&mut balancer, at, now, &mut answers);
            assert!(alive, "a server that announces does not cut connections");
            if balancer.may_leave(at) && backends[at].stream.take().is_some() {
                balancer.disconnected(at, now);
                let status = backends[at].child.wait().unwrap();
                assert!(status.success(), "it ends well when everybody has left");
                let addr = backends[at].addr.clone();
                backends[at] = Backend::start(&addr);
                backends[at].connect(&mut balancer, at);
                returned += 1;
            }
            if !told[at] && returned == at && asked > 1000 * (at as u64 + 1) {
                told[at] = true;
                backends[at].depart();
            }
        }
        sleep(Duration::from_micros(100));
    }
    assert_eq!(answers.len() as u64, asked);
    assert!(answers.values().all(|times| *times == 1));
}
