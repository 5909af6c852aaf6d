//! `drywire serve` as a process: what it prints, serves, refuses and leaves behind.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;

const PATIENCE: Duration = Duration::from_secs(20);

fn drywire(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drywire"));
    command.arg("serve").args(args.split_whitespace());
    command
}

/// A server on a free port.
struct Served {
    child: Child,
    /// What it said about itself.
    banner: Vec<String>,
}

impl Served {
    fn start(args: &str) -> Self {
        Self::of(&mut drywire(&format!("-p 0 {args}")))
    }

    fn of(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("drywire runs");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut banner = Vec::new();
        while !banner.last().is_some_and(|line: &String| line.starts_with("try it")) {
            let mut line = String::new();
            if out.read_line(&mut line).unwrap() == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("no server: {error}");
            }
            banner.push(line.trim_end().to_owned());
        }
        Self { child, banner }
    }

    fn addr(&self) -> &str {
        self.banner[0].strip_prefix("memcached on ").unwrap()
    }

    fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.addr()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// How it ended, and what it logged.
    fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, log)
    }

    fn stop(self) -> String {
        self.signal("-TERM");
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client<T>(BufReader<T>);

impl<T: Read> Client<T>
where
    for<'a> &'a T: Write,
{
    fn send(&self, bytes: impl AsRef<[u8]>) {
        let mut stream = self.0.get_ref();
        stream.write_all(bytes.as_ref()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, request: impl AsRef<[u8]>) -> String {
        self.send(request);
        self.line()
    }

    fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        rest
    }
}

#[test]
fn it_says_where_and_the_line_to_try_works() {
    let served = Served::start("-m 128 -t 2");
    assert!(served.addr().starts_with("127.0.0.1:"), "{:?}", served.banner);
    assert_eq!(served.banner[1], "128M for items of up to 1M, 1024 connections, threads: 2");
    let line = served.banner[2].strip_prefix("try it: ").unwrap();
    let said = Command::new("bash").args(["-c", line]).output().unwrap().stdout;
    assert_eq!(String::from_utf8(said).unwrap(), "STORED\r\nVALUE k 0 5\r\nhello\r\nEND\r\n");
    assert!(served.stop().contains("stopping"));
}

#[test]
fn byte_by_byte() {
    let served = Served::start("");
    let mut client = served.client();
    for byte in b"set k 7 0 5\r\nhello\r\nget k\r\nnonsense\r\nquit\r\n" {
        client.send([*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.rest(), "STORED\r\nVALUE k 7 5\r\nhello\r\nEND\r\nERROR\r\n");
}

#[test]
fn half_close_after_50_requests_gets_50_answers() {
    let served = Served::start("-t 2");
    for _ in 0..20 {
        let mut client = served.client();
        let requests: String =
            (0..50).map(|i| format!("set k{i} 0 0 1\r\n{}\r\n", i % 10)).collect();
        client.send(requests);
        client.0.get_ref().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "STORED\r\n".repeat(50));
    }
}

#[test]
fn megabyte_values_and_pipelines() {
    let served = Served::start("-m 64");
    let mut client = served.client();
    let value = vec![b'v'; 1_048_516];
    client.send(format!("set b 0 0 {}\r\n", value.len()));
    client.send(&value);
    assert_eq!(client.ask("\r\n"), "STORED");
    const GETS: usize = 100;
    let stream = client.0.get_ref().try_clone().unwrap();
    let writing = thread::spawn(move || (&stream).write_all(&b"get b\r\n".repeat(GETS)).unwrap());
    for _ in 0..GETS {
        assert_eq!(client.line(), format!("VALUE b 0 {}", value.len()));
        let mut got = vec![0; value.len() + 2];
        client.0.read_exact(&mut got).unwrap();
        assert!(got[..value.len()] == value && got.ends_with(b"\r\n"));
        assert_eq!(client.line(), "END");
    }
    writing.join().unwrap();
    client.send("set b 0 0 1048517\r\n");
    client.send(vec![b'x'; 1_048_517]);
    assert_eq!(client.ask("\r\n"), "SERVER_ERROR object too large for cache");
    assert_eq!(client.ask("get b\r\n"), "END");
}

#[test]
fn threads_share_keys() {
    let served = Served::start("-t 2");
    let mut client = served.client();
    for key in 0..10 {
        assert_eq!(client.ask(format!("set n{key} 0 0 1\r\n0\r\n")), "STORED");
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = served.client();
                for i in 0..1000 {
                    let n = client.ask(format!("incr n{} 1\r\n", i % 10)).parse::<u64>().unwrap();
                    assert!(n <= 400);
                }
            });
        }
    });
    for key in 0..10 {
        assert_eq!(client.ask(format!("get n{key}\r\n")), format!("VALUE n{key} 0 3"));
        assert_eq!((client.line(), client.line()), ("400".into(), "END".into()));
    }
}

/// Memory bounded: the process does not hold what nobody takes.
#[test]
fn a_client_that_never_reads_costs_little_and_holds_nobody_up() {
    let served = Served::start("-m 16");
    let (mut other, deaf) = (served.client(), served.client());
    let value = vec![b'v'; 1_000_000];
    other.send(format!("set b 0 0 {}\r\n", value.len()));
    other.send(&value);
    assert_eq!(other.ask("\r\n"), "STORED");
    deaf.send(b"get b\r\n".repeat(2000));
    for i in 0..200 {
        assert_eq!(other.ask(format!("set k{i} 0 0 1\r\n1\r\n")), "STORED");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: usize = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 40_000, "{peak} kB for a value of 1 MB");
}

/// All that is waiting for clients who do not read is bounded over all loops: others are told so
/// as long as it is too much, and served again once the deaf are gone.
#[test]
fn what_all_connections_hold_is_bounded_and_comes_back() {
    for threads in [1, 2] {
        let limits = "--buffer-limit 4M --output-limit 1k --stall 2s";
        let served = Served::start(&format!("-t {threads} {limits}"));
        let mut other = served.client();
        let value = vec![b'v'; 1_000_000];
        other.send(format!("set b 0 0 {}\r\n", value.len()));
        other.send(&value);
        assert_eq!(other.ask("\r\n"), "STORED");
        assert_eq!(other.ask("set k 0 0 1\r\n1\r\n"), "STORED");
        // As many as it takes, whatever the system's own buffers hold.
        let mut deaf = Vec::new();
        while !other.ask("delete none\r\n").starts_with("SERVER_ERROR server too busy") {
            assert!(deaf.len() < 500);
            let client = served.client();
            client.send(b"get b\r\n".repeat(20));
            deaf.push(client);
        }
        // The system may still take a little for the deaf, and then there is room for a moment: it is
        // over when each of them has been given up that takes nothing for two seconds.
        let asked = std::time::Instant::now();
        let mut served_since = asked;
        while served_since.elapsed() < Duration::from_secs(4) {
            assert!(asked.elapsed() < PATIENCE, "it never came back");
            if other.ask("delete none\r\n") != "NOT_FOUND" {
                served_since = std::time::Instant::now();
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(other.ask("get k\r\n"), "VALUE k 0 1");
        assert_eq!([other.line(), other.line()], ["1", "END"]);
        other.send("stats\r\n");
        let stats: Vec<String> =
            core::iter::from_fn(|| Some(other.line()).filter(|line| line != "END")).collect();
        let stat = |name: &str| {
            let line = stats.iter().find_map(|l| l.strip_prefix(&format!("STAT {name} ")));
            line.unwrap().parse::<usize>().unwrap()
        };
        assert!(stat("shed_requests") > 0 && stat("slow_readers") > 0);
        assert!(stat("slow_readers") <= deaf.len());
        assert!(stat("buffered_bytes") < 4 << 20);
    }
}

#[test]
fn past_the_limit_connections_are_refused_in_memcacheds_words() {
    let served = Served::start("-c 2 -vv");
    let (mut a, mut b) = (served.client(), served.client());
    assert_eq!((a.ask("version\r\n"), b.ask("version\r\n")), (a_version(), a_version()));
    assert_eq!(served.client().rest(), "ERROR Too many open connections\r\n");
    b.send("quit\r\n");
    assert_eq!(b.rest(), "");
    drop((a, b));
    let log = served.stop();
    for part in [
        "#1 from 127.0.0.1:",
        "#1 received 9 bytes",
        "#1 sent 16 bytes",
        "#2 closed: the protocol ended it",
        "#3 closed: refused",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains('\x1b'), "colour is for terminals");
}

fn a_version() -> String {
    "VERSION 1.6.45".into()
}

#[test]
fn a_unix_socket_instead_of_tcp() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let served = Served::of(&mut drywire(&format!("-s {} -a 0750", path.display())));
    assert_eq!(served.banner[0], format!("memcached on {}", path.display()));
    assert!(served.banner[2].ends_with(&format!("| nc -U {}", path.display())));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o750);
    let stream = UnixStream::connect(&path).unwrap();
    assert_eq!(Client(BufReader::new(stream)).ask("version\r\n"), a_version());
    served.stop();
    assert!(!path.exists());
}

#[test]
fn a_stop_finishes_what_is_owed_and_a_second_one_does_not_wait() {
    let served = Served::start("-t 2 --grace 60s");
    let mut client = served.client();
    let value = vec![b'v'; 1_000_000];
    client.send(format!("set b 0 0 {}\r\n", value.len()));
    client.send(&value);
    assert_eq!(client.ask("\r\n"), "STORED");
    let mut slow = served.client();
    slow.send(b"get b\r\n".repeat(10));
    assert_eq!(client.ask("version\r\n"), a_version());
    thread::sleep(Duration::from_millis(100));
    served.signal("-INT");
    thread::sleep(Duration::from_millis(100));
    assert!(TcpStream::connect(served.addr()).is_err(), "still listening");
    assert_eq!(slow.rest().len(), 10 * (1_000_000 + "VALUE b 0 1000000\r\n\r\nEND\r\n".len()));
    drop((client, slow));
    assert_eq!(served.wait().0.code(), Some(0));

    let served = Served::start("--grace 1h");
    let mut client = served.client();
    client.send(format!("set b 0 0 {}\r\n", value.len()));
    client.send(&value);
    assert_eq!(client.ask("\r\n"), "STORED");
    client.send(b"get b\r\n".repeat(100));
    thread::sleep(Duration::from_millis(100));
    served.signal("-TERM");
    thread::sleep(Duration::from_millis(100));
    served.signal("-TERM");
    let (status, log) = served.wait();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("1 connections were cut off"), "{log}");
}

/// A command line that cannot work: its code, and what has to be in what it says.
fn fails(command: &mut Command, code: i32, parts: &[&str]) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in: {stderr}");
    }
}

#[test]
fn errors_name_the_flag_and_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fails(&mut drywire(&format!("-p {port}")), 1, &[&format!("127.0.0.1:{port}"), "in use", "-p"]);
    fails(&mut drywire("-l 203.0.113.7"), 1, &["203.0.113.7:11211", "no such address", "-l"]);
    fails(&mut drywire("-s /no/such/dir/s"), 1, &["mkdir -p /no/such/dir", "-s"]);
    fails(&mut drywire("-s /etc/passwd"), 1, &["/etc/passwd", "no socket"]);
    fails(&mut drywire(&format!("-s /tmp/{}", "x".repeat(200))), 1, &["longer", "-s"]);
    fails(&mut drywire("-m 1M"), 2, &["-m 1M", "-I 1M", "2M"]);
    fails(&mut drywire("-m lots"), 2, &["lots", "--memory-limit", "64M"]);
    fails(&mut drywire("-I 3G"), 2, &["3G", "--max-item-size", "1k to 1G"]);
    fails(&mut drywire("-c 0"), 2, &["--conn-limit", "1 to 10M"]);
    fails(&mut drywire("-t 0"), 2, &["--threads"]);
    fails(&mut drywire("-d"), 2, &["-d", "systemd"]);
    fails(&mut drywire("-U 11211"), 2, &["-U", "UDP"]);
    fails(&mut drywire("--no-such-flag"), 2, &["--no-such-flag", "--help"]);
    let exe = env!("CARGO_BIN_EXE_drywire");
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -n 300; exec \"$0\" serve -p 0 -c 1000", exe]);
    fails(&mut few, 2, &["-c 1000", "1256", "300", "lower -c to 44"]);
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() {
    let exe = env!("CARGO_BIN_EXE_drywire");
    let mut few = Command::new("sh");
    few.args(["-c", "ulimit -Sn 64; exec \"$0\" serve -p 0 -c 100", exe]);
    let served = Served::of(&mut few);
    let mut clients: Vec<_> = (0..100).map(|_| served.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask("version\r\n"), a_version());
    }
}
