//! `drywire serve` before clients that others wrote, and before our own load tool.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server on a free port; ends with the test.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_drywire"))
            .args(["serve", "-p", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("drywire runs");
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        let address = banner.trim_end().rsplit(' ').next().unwrap().to_owned();
        Self { child, address }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// memccapable, pymemcache and pylibmc; the script installs what is missing.
#[test]
fn real_clients_are_content() {
    let server = Served::start(&["-t", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/run.sh");
    let output = Command::new(script).arg(&server.address).output().expect("the script runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
}

/// Every answer is checked: the right key, length and content, and no outdated value.
#[test]
fn every_answer_under_load_is_right() {
    let server = Served::start(&["-t", "2"]);
    for more in [
        &["--depth", "1", "--keys", "10k"][..],
        &["--depth", "50", "--keys", "3000"],
        // Values that arrive and leave in pieces.
        &["--depth", "4", "--value-size", "200k", "--keys", "250"],
    ] {
        let load = [
            "load",
            "memcached",
            "--addr",
            &server.address,
            "--op",
            "mixed",
            "--threads",
            "2",
            "--duration",
            "1s",
        ];
        let output =
            Command::new(env!("CARGO_BIN_EXE_drywire")).args(load).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
