//! The limits that need the CPU's own instructions: written in C, since no Rust here may be
//! unsafe. Compiled and run as part of this run; without a C compiler, or on another CPU, the
//! rows stay out.

use std::process::Command;

/// Nanoseconds per frame, for each size.
#[derive(Default)]
pub(crate) struct Limit {
    pub(crate) lines: Vec<f64>,
    pub(crate) tlv: Vec<f64>,
}

pub(crate) fn run() -> Limit {
    measured().unwrap_or_default()
}

fn measured() -> Option<Limit> {
    let dir = tempfile::tempdir().ok()?;
    let (source, program) = (dir.path().join("limit.c"), dir.path().join("limit"));
    std::fs::write(&source, include_str!("limit.c")).ok()?;
    let flags = ["-O3", "-mavx2", "-mbmi", "-mbmi2", "-msse4.2", "-o"];
    let built = Command::new("cc").args(flags).arg(&program).arg(&source).status().ok()?;
    if !built.success() {
        return None;
    }
    let output = Command::new(&program).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let row = |name: &str| -> Option<Vec<f64>> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().skip(1).map(|n| n.parse().ok()).collect()
    };
    Some(Limit { lines: row("lines")?, tlv: row("tlv")? })
}
