//! Chat and the hub of `drywire serve`, over sockets and several threads.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

struct Served(Child, Vec<String>);

impl Served {
    /// A server of so many threads: the addresses of chat and hub.
    fn start(threads: usize) -> Self {
        let threads = threads.to_string();
        let args = ["serve", "--no-memcache", "--chat", "127.0.0.1:0", "--hub", "127.0.0.1:0"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_drywire"))
            .args(args)
            .args(["-t", &threads])
            .stdout(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let addrs = ["chat on ", "hub on "].map(|what| {
            let line = out.next().unwrap().unwrap();
            line.strip_prefix(what).expect(&line).to_owned()
        });
        Self(child, addrs.into())
    }

    fn connect(&self, service: usize) -> TcpStream {
        let stream = TcpStream::connect(&self.1[service]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_frame(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut text = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut text).unwrap();
    text
}

fn write_frame(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(&(text.len() as u32).to_be_bytes()).unwrap();
    stream.write_all(text).unwrap();
}

#[test]
fn members_on_different_threads_hear_one_order() {
    const MEMBERS: usize = 8;
    const EACH: usize = 200;
    let served = Served::start(4);
    let mut members: Vec<_> = (0..MEMBERS).map(|_| served.connect(0)).collect();
    // Each says something and waits for it, so all are in when the race begins.
    for (number, member) in members.iter_mut().enumerate() {
        let hello = format!("hello {number}");
        write_frame(member, hello.as_bytes());
        while read_frame(member) != hello.as_bytes() {}
    }
    let threads: Vec<_> = members
        .into_iter()
        .enumerate()
        .map(|(number, mut member)| {
            thread::spawn(move || {
                let mut speaker = member.try_clone().unwrap();
                let speaking = thread::spawn(move || {
                    for i in 0..EACH {
                        write_frame(&mut speaker, format!("say {number} {i}").as_bytes());
                    }
                });
                let mut heard = Vec::new();
                while heard.len() < MEMBERS * EACH {
                    let text = read_frame(&mut member);
                    if text.starts_with(b"say") {
                        heard.push(text);
                    }
                }
                speaking.join().unwrap();
                heard
            })
        })
        .collect();
    let heard: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(heard.iter().all(|each| *each == heard[0]), "two members heard two orders");
}

#[test]
fn a_half_close_still_gets_its_own_words() {
    let served = Served::start(3);
    let mut member = served.connect(0);
    for i in 0..100u8 {
        write_frame(&mut member, &[i; 500]);
    }
    member.shutdown(std::net::Shutdown::Write).unwrap();
    for i in 0..100u8 {
        assert_eq!(read_frame(&mut member), [i; 500]);
    }
    assert_eq!(member.read(&mut [0]).unwrap(), 0, "then the end");
}

#[test]
fn the_hub_gives_the_last_value_and_the_time() {
    let served = Served::start(3);
    let mut hub = BufReader::new(served.connect(1));
    hub.get_mut().write_all(b"pub a\r\none\r\nsub a\r\nsub utc_time\r\n").unwrap();
    let mut lines = Vec::new();
    for _ in 0..4 {
        let mut line = String::new();
        hub.read_line(&mut line).unwrap();
        lines.push(line);
    }
    let pairs: Vec<_> = lines.chunks(2).map(|pair| pair.concat()).collect();
    assert!(pairs.contains(&"pub a\r\none\r\n".to_owned()), "{pairs:?}");
    assert!(pairs.iter().any(|pair| pair.starts_with("pub utc_time\r\n20")), "{pairs:?}");
}
