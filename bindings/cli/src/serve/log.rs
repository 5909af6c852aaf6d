//! What happens, on standard error.

use anstyle::{AnsiColor, Style};
use core::fmt::Display;
use core::time::Duration;
use drywire::conn::{CloseReason, Peer};
use drywire_mio::Event;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

const DIM: Style = Style::new().dimmed();
const WARN: Style = AnsiColor::Yellow.on_default();
/// A lack of descriptors is told no more often than this.
const COMPLAIN: Duration = Duration::from_secs(1);

/// A line for each event: the time since the start, the connection, what happened. Coloured on a
/// terminal.
pub(super) struct Log {
    verbose: bool,
    start: Instant,
    complained: Mutex<Option<Instant>>,
}

impl Log {
    pub(super) fn new(verbosity: u8) -> Self {
        Self { verbose: verbosity > 0, start: Instant::now(), complained: Mutex::new(None) }
    }

    /// Called from all loops.
    pub(super) fn event(&self, event: &Event<'_>) {
        match event {
            Event::Stopping { grace } => self.line(
                Style::new(),
                format_args!(
                    "stopping: connections have {grace:?} to finish, a second signal ends at once"
                ),
            ),
            Event::Paused { error, .. } if self.may_complain() => self.line(
                WARN,
                format_args!("cannot accept connections: {error}; raise `ulimit -n` or lower -c"),
            ),
            _ if !self.verbose => {}
            Event::Opened { conn, peer, .. } => match peer {
                Peer::Tcp(addr) => self.line(Style::new(), format_args!("#{conn} from {addr}")),
                _ => self.line(Style::new(), format_args!("#{conn} from the unix socket")),
            },
            Event::Closed { conn, reason: Some(reason), .. } => {
                let style = match reason {
                    CloseReason::PeerDone | CloseReason::Finished | CloseReason::Local => DIM,
                    _ => WARN,
                };
                self.line(style, format_args!("#{conn} closed: {reason}"));
            }
            Event::Closed { conn, .. } => self.line(DIM, format_args!("#{conn} closed")),
            Event::TurnedAway { .. } => {
                self.line(WARN, format_args!("a connection was refused on the spot"));
            }
            Event::Received { conn, bytes } => {
                self.line(DIM, format_args!("#{conn} received {bytes} bytes"));
            }
            Event::Sent { conn, bytes } => {
                self.line(DIM, format_args!("#{conn} sent {bytes} bytes"));
            }
            _ => {}
        }
    }

    fn may_complain(&self) -> bool {
        let mut last = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= COMPLAIN);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    fn line(&self, style: Style, text: impl Display) {
        let time = self.start.elapsed().as_secs_f64();
        // A log that cannot be written must not end the service.
        let _ =
            writeln!(anstream::stderr().lock(), "{DIM}{time:10.3}{DIM:#} {style}{text}{style:#}");
    }
}
