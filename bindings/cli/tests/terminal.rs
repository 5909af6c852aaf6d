//! `drywire` on a terminal, as a person sees it: driven under tmux.

mod common;

#[path = "../src/chat/tty.rs"]
#[allow(dead_code, reason = "a module of the program")]
mod tty;

use common::{Served, install, wait_for};
use std::process::{Command, Output};

/// A tmux server of its own.
struct Tmux {
    socket: String,
}

impl Tmux {
    fn start() -> Self {
        install(&["tmux=tmux"]);
        let socket = format!("drywire-{}-{}", std::process::id(), fastrand::u32(..));
        Self { socket }
    }

    fn tmux(&self, args: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-L", &self.socket, "-f", "/dev/null"])
            .args(args)
            .output()
            .unwrap()
    }

    /// A window of 80 by 24 in which a shell runs a command and stays.
    fn open(&self, name: &str, command: &str) {
        let size = ["-x", "80", "-y", "24"];
        let shell = format!(
            "PS1='prompt> ' TERM=screen-256color sh -c '{command}; echo \"ended: $?\"; exec sh'"
        );
        let mut args = vec!["new-session", "-d", "-s", name];
        args.extend(size);
        args.push(&shell);
        let output = self.tmux(&args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn keys(&self, name: &str, keys: &[&str]) {
        let mut args = vec!["send-keys", "-t", name];
        args.extend(keys);
        assert!(self.tmux(&args).status.success());
    }

    /// Types text, letter by letter, and presses Enter.
    fn type_line(&self, name: &str, text: &str) {
        assert!(self.tmux(&["send-keys", "-t", name, "-l", text]).status.success());
        self.keys(name, &["Enter"]);
    }

    fn screen(&self, name: &str) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-t", name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The screen with its colours, as escape sequences.
    fn colours(&self, name: &str) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-e", "-t", name]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn see(&self, name: &str, text: &str) {
        self.see_that(name, text, |screen| screen.contains(text));
    }

    fn see_that(&self, name: &str, what: &str, test: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let start = std::time::Instant::now();
        wait_for(&format!("`{what}` in {name}"), || {
            last = self.screen(name);
            if start.elapsed() > common::PATIENCE / 2 {
                eprintln!("{last}");
            }
            test(&last).then_some(())
        });
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

fn chat(server: &str, name: &str, more: &str) -> String {
    format!("{} chat {server} -n {name} {more}", env!("CARGO_BIN_EXE_drywire"))
}

#[test]
fn two_people_join_say_see_and_leave() {
    let served = Served::start(&["-t", "2"]);
    let tmux = Tmux::start();
    tmux.open("ann", &chat(&served.chat, "ann", "-r den"));
    tmux.see("ann", "in den, 1 here");
    tmux.see("ann", "ann | den | alone here");
    tmux.type_line("ann", "first words");
    tmux.see("ann", "ann: first words");

    // Who comes later gets the history, and is announced.
    tmux.open("bob", &chat(&served.chat, "bob", "-r den"));
    tmux.see("bob", "ann: first words");
    tmux.see("bob", "bob | den | 2 here");
    tmux.see("ann", "* bob came");
    tmux.see("ann", "ann | den | 2 here");
    // Both see the same name in the same colour.
    let name = |screen: &str| {
        let line = screen.lines().find(|line| line.contains("first words")).unwrap().to_owned();
        let at = line.find("ann").unwrap();
        line[..at].rsplit('\u{1b}').next().unwrap().to_owned()
    };
    let (of_ann, of_bob) = (name(&tmux.colours("ann")), name(&tmux.colours("bob")));
    let colour =
        |code: &str| code.trim_end_matches('m').rsplit([';', '[']).next().unwrap().to_owned();
    assert_eq!(colour(&of_ann), colour(&of_bob), "{of_ann} {of_bob}");
    assert_ne!(colour(&of_ann), "39");

    // What comes in does not touch what is being typed, and it can be edited.
    tmux.keys("bob", &["-l", "helo"]);
    tmux.see("bob", "> helo");
    tmux.type_line("ann", "while you type");
    tmux.see("bob", "ann: while you type");
    tmux.see("bob", "> helo");
    tmux.keys("bob", &["Left", "l", "End", "!", "Enter"]);
    tmux.see("ann", "bob: hello!");
    // What was typed comes back.
    tmux.keys("bob", &["Up"]);
    tmux.see("bob", "> hello!");
    tmux.keys("bob", &["C-u"]);

    // Rooms: join, see what is unread, switch, list, leave.
    tmux.type_line("bob", "/join ops");
    tmux.see("bob", "in ops, 1 here");
    tmux.type_line("ann", "are you there?");
    tmux.see("bob", "den (1)");
    tmux.type_line("bob", "/rooms");
    tmux.see("bob", "* ops (1)");
    tmux.keys("bob", &["Tab"]);
    tmux.see("bob", "ann: are you there?");
    tmux.type_line("bob", "/who");
    tmux.see("bob", "2 here: ann, bob");
    tmux.type_line("bob", "/leave");
    tmux.see("bob", "left den");
    tmux.see("bob", "bob | ops | alone here");
    tmux.see("ann", "* bob went");
    // The heartbeat's round trip is measured.
    tmux.see("ann", "round trip");

    tmux.type_line("bob", "/quit");
    tmux.see("bob", "ended: 0");
    // The terminal is as it was: it shows what is typed, and no more of the talk.
    tmux.type_line("bob", "echo still $((1+1))");
    tmux.see("bob", "still 2");
    assert!(!tmux.screen("bob").contains("alone here"), "{}", tmux.screen("bob"));
    tmux.keys("ann", &["C-c"]);
    tmux.see("ann", "ended: 0");
}

#[test]
fn one_scrolls_back_and_stays_there() {
    let served = Served::start(&["-t", "1"]);
    let tmux = Tmux::start();
    let mut script = Command::new("sh");
    let lines = format!("seq -f 'line %g.' 60 | {}", chat(&served.chat, "bot", "-r den"));
    // The script stays in the room until its words are heard, so they are there.
    assert!(script.args(["-c", &lines]).status().unwrap().success());
    tmux.open("ann", &chat(&served.chat, "ann", "-r den --history 100"));
    tmux.see("ann", "bot: line 60.");
    tmux.keys("ann", &["PageUp"]);
    tmux.see("ann", "rows below");
    tmux.see_that("ann", "older lines only", |screen| !screen.contains("line 60."));
    let say = format!("echo one more | {}", chat(&served.chat, "bot", "-r den"));
    assert!(Command::new("sh").args(["-c", &say]).status().unwrap().success());
    tmux.see_that("ann", "older lines still", |screen| {
        screen.contains("rows below") && !screen.contains("one more")
    });
    tmux.keys("ann", &["Escape"]);
    tmux.see("ann", "bot: one more");
}

#[test]
fn a_lost_connection_is_shown_and_made_again() {
    let mut served = Served::start(&["-t", "1"]);
    let tmux = Tmux::start();
    tmux.open("ann", &chat(&served.chat, "ann", "-r den"));
    tmux.see("ann", "in den, 1 here");
    let (chat, hub) = (served.chat.clone(), served.hub.clone());
    served.stop();
    tmux.see("ann", "NO CONNECTION");
    tmux.type_line("ann", "said in between");
    tmux.see("ann", "1 on the way");
    let _again = Served::on(&chat, &hub, &["-t", "1"]);
    tmux.see("ann", "back in den, 1 here");
    // A server that forgot everything cannot say how many were missed: marked.
    tmux.see("ann", "! messages are missing here");
    tmux.see("ann", "ann: ");
    tmux.see("ann", "said in between");
    tmux.see_that("ann", "no alarm", |screen| !screen.contains("NO CONNECTION"));
}

/// Escape sequences in what others say must not reach the terminal.
#[test]
fn nobody_can_write_on_anothers_screen() {
    let served = Served::start(&["-t", "1"]);
    let tmux = Tmux::start();
    tmux.open("ann", &chat(&served.chat, "ann", "-r den"));
    tmux.see("ann", "in den, 1 here");
    let say = format!(
        "printf 'evil\\033[2J\\033]0;owned\\007 text\\n' | {}",
        chat(&served.chat, "eve", "-r den")
    );
    assert!(Command::new("sh").args(["-c", &say]).status().unwrap().success());
    tmux.see_that("ann", "the text without its effect", |screen| {
        screen.contains("evil\u{fffd}[2J") && screen.contains("in den, 1 here")
    });
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for signal in ["TERM", "HUP", "INT"] {
        let served = Served::start(&["-t", "1"]);
        let tmux = Tmux::start();
        let name = format!("s{signal}");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let command = chat(&served.chat, &name, "-r den");
        tmux.open(&name, &format!("sh -c \"echo \\$\\$ >{}; exec {command}\"", file.display()));
        tmux.see(&name, "in den, 1 here");
        let pid = std::fs::read_to_string(&file).unwrap();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), pid.trim()])
                .status()
                .unwrap()
                .success()
        );
        tmux.see(&name, "ended: 0");
        tmux.type_line(&name, "echo still $((1+1))");
        tmux.see(&name, "still 2");
    }
}

const PANIC: &str = "DRYWIRE_TEST_PANIC_ON_THE_TERMINAL";

/// This test is both sides: under tmux it takes the terminal and panics.
#[test]
fn a_panic_gives_the_terminal_back_and_can_be_read() {
    if std::env::var_os(PANIC).is_some() {
        let _tty = tty::Tty::take().expect("a terminal");
        panic!("what went wrong");
    }
    let tmux = Tmux::start();
    let exe = std::env::current_exe().unwrap();
    let test = "a_panic_gives_the_terminal_back_and_can_be_read";
    let command =
        format!("{PANIC}=1 {} --exact {test} --nocapture --test-threads 1", exe.display());
    tmux.open("panic", &command);
    tmux.see("panic", "what went wrong");
    tmux.see("panic", "ended: 101");
    tmux.type_line("panic", "echo still $((1+1))");
    tmux.see("panic", "still 2");
}

#[test]
fn a_load_says_each_second_how_it_goes() {
    let tmux = Tmux::start();
    let load = "load sudoku local --board easy --duration 10m";
    tmux.open("load", &format!("{} {load}", env!("CARGO_BIN_EXE_drywire")));
    // A bar, the rate, the sum; and a second later more of it.
    let answered = || {
        let screen = tmux.screen("load");
        let line = screen.lines().find(|line| line.starts_with("local"))?;
        let (rate, sum) = line.split_once("/s, ")?;
        let sum = sum.split_once(" answered")?.0.replace(',', "").parse::<u64>().ok()?;
        rate.contains(['█', '░']).then_some(sum)
    };
    let first = wait_for("the live line", answered);
    wait_for("progress", || answered().filter(|now| *now > first));
}
