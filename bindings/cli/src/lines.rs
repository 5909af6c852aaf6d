//! Lines in and out, for commands that talk to a server meanwhile.

use crate::Failure;
use core::fmt::Display;
use core::task::Poll;
use core::time::Duration;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
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

/// What a command has to tell beside what it is for: as JSON among that, or in words on standard
/// error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teller {
    pub(crate) json: bool,
}

/// What happens to every command of that kind, in JSON.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Common<'a> {
    Connected,
    Disconnected { reason: &'a str, again_in_ms: u64 },
    Error { reason: &'a str },
}

impl Teller {
    pub(crate) fn tell(self, json: &impl Serialize, words: impl Display) {
        if self.json {
            self.print(json);
        } else {
            self.note(words);
        }
    }

    /// A line on standard error. Nobody has to be there: the command goes on.
    pub(crate) fn note(self, words: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{words}");
    }

    /// A line of JSON on standard output.
    pub(crate) fn print(self, json: &impl Serialize) {
        put(|out| {
            json.serialize(&mut Serializer::with_formatter(&mut *out, Plain))?;
            writeln!(out)
        });
    }

    pub(crate) fn connected(self) {
        self.tell(&Common::Connected, "* connected");
    }

    pub(crate) fn down(self, why: &str, again_in: Duration) {
        let again_in_ms = u64::try_from(again_in.as_millis()).unwrap_or(u64::MAX);
        let json = Common::Disconnected { reason: why, again_in_ms };
        let seconds = again_in.as_secs_f64();
        self.tell(&json, format_args!("* no connection: {why}; again in {seconds:.1} s"));
    }

    pub(crate) fn error(self, reason: &str) {
        self.tell(&Common::Error { reason }, format_args!("! {}", clean(reason.as_bytes())));
    }
}

/// JSON that may be looked at on a terminal: it escapes the control characters that JSON itself
/// does not ask to be escaped, and what turns the direction of writing.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let mut rest = text;
        while let Some(at) = rest.find(is_unfit) {
            CompactFormatter.write_string_fragment(out, &rest[..at])?;
            let mut after = rest[at..].chars();
            // All of them are in the first plane.
            after.next().map_or(Ok(()), |c| write!(out, "\\u{:04x}", u32::from(c)))?;
            rest = after.as_str();
        }
        CompactFormatter.write_string_fragment(out, rest)
    }
}

/// Text from someone else, fit for a terminal: one line, no control characters, nothing that
/// turns the direction of writing.
pub(crate) fn clean(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let shown = text.chars().map(|c| match c {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if is_unfit(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    shown.collect()
}

fn is_unfit(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let evil = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b\u{200f}\u{2028}c \u{e9}\u{1f44d}";
        let shown = clean(evil.as_bytes());
        assert_eq!(shown, "a\u{fffd}[2J\u{fffd}31m\u{fffd}\u{fffd}b\u{fffd} c \u{e9}\u{1f44d}");
        let mut json = Vec::new();
        evil.serialize(&mut Serializer::with_formatter(&mut json, Plain)).unwrap();
        let text = str::from_utf8(&json).unwrap();
        assert!(!text.contains(is_unfit), "{text}");
        assert_eq!(serde_json::from_str::<String>(text).unwrap(), evil, "it means the same");
    }
}
