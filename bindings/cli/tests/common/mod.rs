//! What tests of the program have in common.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The program.
pub(crate) fn drywire() -> Command {
    Command::new(env!("CARGO_BIN_EXE_drywire"))
}

/// Has what a test needs installed: pairs `COMMAND=PACKAGE` of Debian.
pub(crate) fn install(pairs: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/install.sh");
    let output = Command::new(script).args(pairs).output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// A chat and hub server without memcached; ends with the test.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) chat: String,
    pub(crate) hub: String,
}

impl Served {
    /// On free ports.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::on("127.0.0.1:0", "127.0.0.1:0", args)
    }

    pub(crate) fn on(chat: &str, hub: &str, args: &[&str]) -> Self {
        let mut child = drywire()
            .args(["serve", "--no-memcache", "--chat", chat, "--hub", hub])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let [chat, hub] = ["chat on ", "hub on "].map(|what| {
            let line = out.next().unwrap().unwrap();
            line.strip_prefix(what).expect(&line).to_owned()
        });
        Self { child, chat, hub }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `drywire serve` with any services on free ports; ends with the test.
pub(crate) struct Services {
    pub(crate) child: Child,
    lines: Vec<String>,
}

impl Services {
    /// Say where: `-p 0`, `--sudoku 127.0.0.1:0`.
    pub(crate) fn start(args: &str) -> Self {
        let mut child = drywire()
            .arg("serve")
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        let out = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        for line in out.map_while(Result::ok) {
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains("connections, threads")) {
                break;
            }
        }
        Self { child, lines }
    }

    /// Where a service listens.
    pub(crate) fn addr(&self, service: &str) -> &str {
        let mut places = self.lines.iter();
        places.find_map(|line| line.strip_prefix(service)?.strip_prefix(" on ")).expect(service)
    }

    pub(crate) fn client(&self, service: &str) -> Client {
        let stream = TcpStream::connect(self.addr(service)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of lines.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.line()
    }

    /// What `stats` says under this name, in either protocol.
    pub(crate) fn stat(&mut self, topic: &str, name: &str) -> Option<u64> {
        self.send(format!("{topic}\r\n"));
        let mut found = None;
        loop {
            let line = self.line();
            if line == "END" {
                return found;
            }
            let line = line.strip_prefix("STAT ").unwrap_or(&line);
            if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')) {
                found = value.parse().ok();
            }
        }
    }
}
