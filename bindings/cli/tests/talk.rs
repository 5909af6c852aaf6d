//! `drywire chat` without a terminal and `drywire hub`: as scripts use them.

mod common;

use common::{Served, drywire, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A command that runs beside the test, its output line by line.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("drywire runs");
        let (to, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || out.lines().map_while(Result::ok).all(|line| to.send(line).is_ok()));
        Self { input: child.stdin.take(), child, lines }
    }

    fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(common::PATIENCE).expect("a line")
    }

    /// The next line in JSON about this.
    fn event(&self, what: &str) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).expect("JSON");
            if event["event"] == what {
                return event;
            }
        }
    }

    /// Ends the input; how it ended.
    fn end(mut self) -> Option<i32> {
        self.input = None;
        wait_for("the end", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end with this input.
fn run(args: &[&str], input: &str) -> Output {
    let mut child = drywire()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_script_says_its_lines_and_ends_when_they_are_heard() {
    let served = Served::start(&["-t", "3"]);
    let mut ann = Running::start(drywire().args([
        "chat",
        &served.chat,
        "-n",
        "ann",
        "-r",
        "den",
        "--json",
        "--follow",
    ]));
    ann.event("joined");
    let output = run(&["chat", &served.chat, "-n", "bot", "-r", "den"], "one\n\n//two\n/who\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "[den] bot: one\n[den] bot: /two\n");
    assert!(text(&output.stderr).contains("* [den] 2 here: ann, bot"), "{}", text(&output.stderr));
    assert_eq!(ann.event("presence")["name"], "ann");
    let came = ann.event("presence");
    assert_eq!((&came["name"], &came["came"]), (&"bot".into(), &true.into()));
    for words in ["one", "/two"] {
        let said = ann.event("said");
        assert_eq!(
            (&said["text"], &said["name"], &said["own"]),
            (&words.into(), &"bot".into(), &false.into())
        );
        assert!(said["time_ms"].as_u64().unwrap() > 1_600_000_000_000, "{said}");
    }
    assert_eq!(ann.event("presence")["came"], false);
    // Who comes later gets what was said, and can tell it from news.
    let output =
        run(&["chat", &served.chat, "-n", "late", "-r", "den", "--json", "--history", "1"], "");
    let said = text(&output.stdout);
    let said: Value =
        serde_json::from_str(said.lines().find(|l| l.contains("said")).unwrap()).unwrap();
    assert_eq!((&said["text"], &said["past"]), (&"/two".into(), &true.into()));
    ann.type_line("/quit");
    assert_eq!(ann.end(), Some(0));
}

#[test]
fn rooms_are_joined_listed_and_left_by_lines() {
    let served = Served::start(&["-t", "2"]);
    let script = "/join b\nin b\n/room a\nin a\n/rooms\n/leave b\n/leave nowhere\n/jump\n";
    let output = run(&["chat", &served.chat, "-n", "ann", "-r", "a"], script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    // Two rooms have no order between them.
    for line in ["[a] ann: in a\n", "[b] ann: in b\n"] {
        assert!(out.contains(line), "{out}");
    }
    for line in ["* * a", "*   b", "* left b", "! not in nowhere", "! no command /jump"] {
        assert!(err.contains(line), "{line} in {err}");
    }
    assert_eq!(output.status.code(), Some(1), "some of it could not be done");
}

#[test]
fn what_cannot_be_is_told_by_the_exit_code() {
    let served = Served::start(&["-t", "2"]);
    let ann = Running::start(drywire().args([
        "chat",
        &served.chat,
        "-n",
        "ann",
        "-r",
        "den",
        "--json",
        "--follow",
    ]));
    ann.event("joined");
    let output = run(&["chat", &served.chat, "-n", "ann", "-r", "den"], "me too\n");
    assert!(text(&output.stderr).contains("the name is taken"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let output = run(&["chat", &nobody, "-n", "ann", "--retry", "300ms"], "hello?\n");
    assert!(
        text(&output.stderr).contains("gave up: nothing listens on"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
    let long = "x".repeat(33);
    for args in [["-n", &long], ["-r", "a\tb"]] {
        let args: Vec<_> =
            ["chat", &served.chat, "-n", "x"].into_iter().take(2).chain(args).collect();
        assert_eq!(run(&args, "").status.code(), Some(2), "{args:?}");
    }
}

/// A server without the extension takes the hello for a message and repeats it.
#[test]
fn an_old_server_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut back = stream.try_clone().unwrap();
            let mut hello = [0; 1024];
            let n = (&stream).read(&mut hello).unwrap();
            let _ = back.write_all(&hello[..n]);
        }
    });
    let output = run(&["chat", &addr, "-n", "al", "--retry", "500ms"], "");
    assert!(text(&output.stderr).contains("plain protocol only"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_lost_connection_is_made_again_and_the_gap_marked() {
    let mut served = Served::start(&["-t", "1"]);
    let mut ann = Running::start(drywire().args([
        "chat",
        &served.chat,
        "-n",
        "ann",
        "-r",
        "den",
        "--json",
        "--follow",
    ]));
    ann.event("joined");
    ann.type_line("before");
    assert_eq!(ann.event("said")["text"], "before");
    let (chat, hub) = (served.chat.clone(), served.hub.clone());
    served.stop();
    ann.event("disconnected");
    ann.type_line("in between");
    let _again = Served::on(&chat, &hub, &["-t", "1"]);
    assert_eq!(ann.event("joined")["again"], true);
    assert_eq!(ann.event("lost")["count"], Value::Null, "a server that forgot everything");
    let said = ann.event("said");
    assert_eq!((&said["text"], &said["maybe_repeat"]), (&"in between".into(), &false.into()));
    ann.type_line("/quit");
    assert_eq!(ann.end(), Some(0));
}

#[test]
fn published_lines_are_heard_by_subscribers() {
    let served = Served::start(&["-t", "3"]);
    let hub = &served.hub;
    let output = run(&["hub", "pub", hub, "a", "first"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // The last value at once.
    let output = run(&["hub", "sub", hub, "a", "--once"], "");
    assert_eq!((text(&output.stdout), output.status.code()), ("first\n".into(), Some(0)));
    let sub = Running::start(drywire().args(["hub", "sub", hub, "a", "--count", "1001"]));
    assert_eq!(sub.line(), "first");
    let lines: String = (0..1000).map(|n| format!("line {n}\n")).collect();
    let output = run(&["hub", "pub", hub, "a", "-"], &lines);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for n in 0..1000 {
        assert_eq!(sub.line(), format!("line {n}"));
    }
    assert_eq!(sub.end(), Some(0), "after so many");
}

#[test]
fn several_topics_are_told_apart() {
    let served = Served::start(&["-t", "2"]);
    let hub = &served.hub;
    let sub = Running::start(drywire().args(["hub", "sub", hub, "a b", "c", "--count", "2"]));
    let json = Running::start(drywire().args(["hub", "sub", hub, "c", "utc_time", "--json"]));
    json.event("connected");
    assert_eq!(run(&["hub", "pub", hub, "a b"], "x y\n").status.code(), Some(0));
    assert_eq!(sub.line(), "a b\tx y");
    assert_eq!(run(&["hub", "pub", hub, "c"], "\n").status.code(), Some(0));
    assert_eq!(sub.line(), "c\t");
    assert_eq!(sub.end(), Some(0));
    let mut topics: Vec<_> = (0..2).map(|_| json.event("value")["topic"].to_string()).collect();
    topics.dedup();
    assert!(topics.contains(&"\"utc_time\"".to_owned()), "{topics:?}");
}

#[test]
fn what_the_hub_refuses_is_told_by_the_exit_code() {
    let served = Served::start(&["-t", "1"]);
    let hub = &served.hub;
    let output = run(&["hub", "pub", hub, "utc_time", "noon"], "");
    assert!(
        text(&output.stderr).contains("! utc_time is the server's own"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
    let long = "x".repeat(65_537);
    let output = run(&["hub", "pub", hub, "a", &long], "");
    assert!(text(&output.stderr).contains("up to 65536 bytes"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(run(&["hub", "sub", hub, &"t".repeat(256)], "").status.code(), Some(2));
    assert_eq!(run(&["hub", "sub", hub], "").status.code(), Some(2));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for args in [
        &["hub", "pub", &nobody, "a", "x", "--retry", "200ms"][..],
        &["hub", "sub", &nobody, "a", "--retry", "200ms"],
    ] {
        assert_eq!(run(args, "").status.code(), Some(1));
    }
}

#[test]
fn a_subscriber_comes_back_and_marks_it() {
    let mut served = Served::start(&["-t", "1"]);
    let sub = Running::start(drywire().args(["hub", "sub", &served.hub, "a", "--json"]));
    sub.event("connected");
    run(&["hub", "pub", &served.hub, "a", "1"], "");
    let first = sub.event("value");
    assert_eq!((&first["content"], &first["resumed"]), (&"1".into(), &false.into()));
    let (chat, hub) = (served.chat.clone(), served.hub.clone());
    served.stop();
    sub.event("disconnected");
    let _again = Served::on(&chat, &hub, &["-t", "1"]);
    sub.event("connected");
    run(&["hub", "pub", &hub, "a", "1"], "");
    let value = sub.event("value");
    assert_eq!((&value["resumed"], &value["repeat"]), (&true.into(), &true.into()));
}

/// A server that goes away in the middle: it is said what is not known.
#[test]
fn a_publisher_whose_connection_is_lost_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
    });
    let mut publisher = drywire()
        .args(["hub", "pub", &addr, "a"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = publisher.stdin.take().unwrap();
    writeln!(input, "one").unwrap();
    server.join().unwrap();
    let output = publisher.wait_with_output().unwrap();
    assert!(
        text(&output.stderr).contains("1 messages were sent, it is not known"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
    drop(input);
}

#[test]
fn lines_wait_until_what_was_said_before_is_heard() {
    let served = Served::start(&["-t", "1"]);
    // More than may be said before anything is heard.
    let mut input = tempfile::tempfile().unwrap();
    let line = "x".repeat(60_000) + "\n";
    input.write_all(line.repeat(100).as_bytes()).unwrap();
    input.rewind().unwrap();
    let mut command = drywire();
    let output =
        command.args(["chat", &served.chat, "-n", "ann", "-r", "den"]).stdin(input).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 100);
}

#[test]
fn who_interrupts_it_is_told_what_was_not_heard() {
    let mut chat = drywire()
        .args(["chat", "127.0.0.1:1", "-n", "ann", "-r", "den"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = BufReader::new(chat.stderr.take().unwrap());
    chat.stdin.take().unwrap().write_all(b"words\n").unwrap();
    let mut line = String::new();
    // By the second attempt the line was read.
    while line.matches("no connection").count() < 3 {
        errors.read_line(&mut line).unwrap();
    }
    let kill = Command::new("kill").args(["-INT", &chat.id().to_string()]).status();
    assert!(kill.unwrap().success());
    errors.read_to_string(&mut line).unwrap();
    assert_eq!(chat.wait().unwrap().code(), Some(1), "{line}");
    assert!(line.contains("1 messages were said and not heard yet"), "{line}");
}
