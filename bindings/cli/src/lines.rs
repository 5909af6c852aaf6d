//! Lines in and out, for commands that talk to a server meanwhile.

use crate::Failure;
use core::task::Poll;
use std::io::{self, BufRead, Write};
use std::thread;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// The longest line taken from standard input: a longer one is an error, not memory.
const LINE_MAX: u64 = 1 << 20;

/// The lines of standard input, read on a thread of their own: a read of it cannot be given up.
pub(crate) struct Lines(mpsc::Receiver<io::Result<Vec<u8>>>);

impl Lines {
    pub(crate) fn of_stdin() -> Self {
        let (to, lines) = mpsc::channel(64);
        thread::spawn(move || {
            let mut input = io::stdin().lock();
            loop {
                let line = read_line(&mut input);
                let end = !matches!(line, Ok(Some(_)));
                if let Some(line) = line.transpose()
                    && to.blocking_send(line).is_err()
                {
                    return;
                }
                if end {
                    return;
                }
            }
        });
        Self(lines)
    }

    /// The next line without its end; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Option<Result<Vec<u8>, Failure>> {
        let line = self.0.recv().await?;
        Some(line.map_err(|error| Failure::system(format!("standard input: {error}"))))
    }
}

fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    io::Read::take(&mut *input, LINE_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() as u64 == LINE_MAX {
        return Err(io::Error::other("a line over 1 MiB"));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

/// Writes a line to standard output. With nobody left to read it the program ends, quietly.
pub(crate) fn put(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut out = io::stdout().lock();
    if write(&mut out).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// The signals that ask a program to end.
pub(crate) struct Signals(Vec<Signal>);

impl Signals {
    /// From here on they do not end it by themselves.
    ///
    /// # Errors
    /// The system has no handler for us.
    pub(crate) fn new() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// One of them came.
    pub(crate) async fn next(&mut self) {
        core::future::poll_fn(|cx| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
