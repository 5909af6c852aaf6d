//! Rooms and topics of `drywire serve` beyond one connection's life: spilled files, stats, the end.

mod common;

use common::{Client, PATIENCE, Served, drywire, wait_for};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

fn hub(served: &Served) -> Client {
    let stream = TcpStream::connect(&served.hub).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(BufReader::new(stream))
}

/// Files of a directory that a process holds, those without a name included.
fn held(pid: u32, dir: &Path) -> usize {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = all.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|link| link.starts_with(dir)).count()
}

#[test]
fn what_is_spilled_is_counted_and_gone_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    let path = dir.to_str().unwrap();
    let args = ["-t", "2", "--slow", "spill", "--spill-dir", path];
    let mut served = Served::start(&args);
    let (stuck, publisher, mut asks) = (hub(&served), hub(&served), hub(&served));
    stuck.send("sub t\r\n");
    assert_eq!(asks.stat("stats", "spilled_bytes"), Some(0));
    let message = format!("pub t\r\n{}\r\n", "x".repeat(60_000));
    wait_for("something on disk", || {
        (0..8).for_each(|_| publisher.send(&message));
        asks.stat("stats", "spilled_bytes").filter(|bytes| *bytes > 0)
    });
    assert_eq!(asks.stat("stats", "members"), Some(1));
    assert_eq!(asks.stat("stats", "engines"), Some(2));
    assert_eq!(held(served.child.id(), &dir), 1, "one file for one receiver");
    // SIGKILL: nobody tidies up.
    served.stop();
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0, "left behind in {path}");
    let again = Served::start(&args);
    assert_eq!(hub(&again).stat("stats", "spilled_bytes"), Some(0));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}

fn read_frame(stream: &mut impl Read) -> Option<String> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).ok()?;
    let mut text = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut text).ok()?;
    Some(String::from_utf8(text).unwrap())
}

fn write_frame(mut stream: &TcpStream, text: &str) -> std::io::Result<()> {
    let frame = [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    stream.write_all(&frame)
}

/// A loop whose own connections have all left still gives the others' messages their places.
#[test]
fn a_stop_with_rooms_on_several_threads_loses_no_answer() {
    const MEMBERS: usize = 8;
    let mut child = drywire()
        .args(["serve", "--no-memcache", "--chat", "127.0.0.1:0", "-t", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("chat on ").expect(&line);
    // Each says something and hears it, so all are in.
    let members: Vec<_> = (0..MEMBERS)
        .map(|number| {
            let stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let hello = format!("hello {number}");
            write_frame(&stream, &hello).unwrap();
            while read_frame(&mut &stream).as_ref() != Some(&hello) {}
            stream
        })
        .collect();
    let talks: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(number, stream)| {
            let speaker = stream.try_clone().unwrap();
            thread::spawn(move || {
                // Until the server does not take it any more.
                thread::spawn(move || {
                    let mut say =
                        (0..).map(|i| write_frame(&speaker, &format!("say {number} {i}")));
                    say.find(Result::is_err);
                });
                let mut stream = BufReader::new(stream);
                let heard = core::iter::from_fn(|| read_frame(&mut stream));
                heard.filter(|text| text.starts_with("say ")).collect::<Vec<_>>()
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(200));
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
    let heard: Vec<_> = talks.into_iter().map(|talk| talk.join().unwrap()).collect();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !errors.contains("cut off"), "{errors}");
    let longest = heard.iter().max_by_key(|all| all.len()).unwrap();
    assert!(longest.len() > MEMBERS, "{longest:?}");
    for all in &heard {
        assert!(longest.starts_with(all), "two orders, or a hole");
    }
    for number in 0..MEMBERS {
        let own = longest.iter().filter(|text| text.starts_with(&format!("say {number} ")));
        for (i, text) in own.enumerate() {
            assert_eq!(text, &format!("say {number} {i}"), "a hole");
        }
    }
}
