//! Accepts for all loops: counts, refuses, deals round-robin, and lives through a lack of
//! descriptors.

use crate::event_loop::{Common, Inbox, Message};
use crate::host::Event;
use crate::listen::Listener;
use crate::service::{Fresh, Service};
use core::time::Duration;
use drywire::Tick;
use mio::{Registry, Token};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// Connections accepted on one listener before the others get their turn.
const BATCH: usize = 64;
/// How long a listener rests when the system cannot give us a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Lives on loop 0, which also serves the refused.
pub(crate) struct Acceptor {
    listeners: Vec<Entry>,
    inboxes: Arc<[Arc<Inbox>]>,
    /// Given up to accept a connection, refuse it and close it, when no descriptor is left.
    spare: Option<File>,
    number: u64,
    /// Who is dealt the next connection.
    next: usize,
}

struct Entry {
    listener: Listener,
    service: usize,
    /// Connections may be waiting.
    ready: bool,
    /// Not before then.
    pause: Option<Tick>,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<(usize, Listener)>, inboxes: Arc<[Arc<Inbox>]>) -> Self {
        let entry = |(service, listener)| Entry { listener, service, ready: true, pause: None };
        Self {
            listeners: listeners.into_iter().map(entry).collect(),
            inboxes,
            spare: spare(),
            number: 0,
            next: 0,
        }
    }

    /// Registers listener `i` under `token(i)`.
    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<()> {
        for (i, entry) in self.listeners.iter_mut().enumerate() {
            entry.listener.register(registry, token(i))?;
        }
        Ok(())
    }

    pub(crate) fn ready(&mut self, listener: usize) {
        self.listeners[listener].ready = true;
    }

    /// When [`Acceptor::run`] can do something, as far as is known now.
    pub(crate) fn due(&self) -> Option<Tick> {
        let due = |e: &Entry| e.ready.then(|| e.pause.unwrap_or(Tick::ZERO));
        self.listeners.iter().filter_map(due).min()
    }

    /// Accepts what is there, up to a share. `kept(service, slot)` hears of connections that
    /// stay on this loop.
    pub(crate) fn run(
        &mut self,
        services: &mut [Service],
        now: Tick,
        registry: &Registry,
        common: &Common,
        mut kept: impl FnMut(usize, u32),
    ) {
        for i in 0..self.listeners.len() {
            let entry = &mut self.listeners[i];
            if !entry.ready || entry.pause.is_some_and(|until| until > now) {
                continue;
            }
            entry.pause = None;
            for _ in 0..BATCH {
                let entry = &mut self.listeners[i];
                let service = &mut services[entry.service];
                match entry.listener.accept() {
                    Ok((socket, peer)) => {
                        self.number += 1;
                        let fresh = Fresh { socket, peer, number: self.number };
                        if common.admit() {
                            self.next = (self.next + 1) % self.inboxes.len();
                            if self.next != 0 {
                                let message = Message::Dealt { service: entry.service, fresh };
                                self.inboxes[self.next].send(message);
                                continue;
                            }
                            if let Some(slot) = service.adopt(fresh, true, now, registry, common) {
                                kept(entry.service, slot);
                            }
                        } else if common.admit_refused() {
                            if let Some(slot) = service.adopt(fresh, false, now, registry, common) {
                                kept(entry.service, slot);
                            }
                        } else {
                            service.turn_away(&fresh.socket, now);
                            common.tell(|| Event::TurnedAway { service: entry.service });
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => {
                            entry.ready = false;
                            break;
                        }
                        // The peer left before we came.
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                        _ => {
                            let starved =
                                matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                            if starved && sacrifice(&mut self.spare, entry, service, now) {
                                common.tell(|| Event::TurnedAway { service: entry.service });
                                continue;
                            }
                            if entry.ready {
                                entry.pause = Some(now + PAUSE);
                                common.tell(|| Event::Paused {
                                    service: entry.service,
                                    error: &error,
                                });
                            }
                            break;
                        }
                    },
                }
            }
        }
    }
}

/// Out of descriptors: accepts one connection on the spare one and turns it away. False if even
/// that failed, or nobody was there.
fn sacrifice(
    spare: &mut Option<File>,
    entry: &mut Entry,
    service: &mut Service,
    now: Tick,
) -> bool {
    *spare = None;
    let accepted = entry.listener.accept();
    if let Ok((socket, _)) = &accepted {
        service.turn_away(socket, now);
    }
    entry.ready = !accepted.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    let turned_away = accepted.is_ok();
    drop(accepted);
    *spare = self::spare();
    turned_away
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
