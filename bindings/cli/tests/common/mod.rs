//! What tests of the program have in common.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{BufRead, BufReader};
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
