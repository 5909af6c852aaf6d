//! Accepts for all loops: counts, refuses, deals round-robin, and lives through a lack of
//! descriptors.

use crate::event_loop::{Inbox, Message, Moment};
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
    /// Connections accepted so far.
    number: u64,
    /// Who was dealt the last one that was admitted.
    dealt: usize,
}

struct Entry {
    listener: Listener,
    service: usize,
    /// Connections may be waiting.
    ready: bool,
    /// Not before then.
    pause: Tick,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<(usize, Listener)>, inboxes: Arc<[Arc<Inbox>]>) -> Self {
        let entry =
            |(service, listener)| Entry { listener, service, ready: true, pause: Tick::ZERO };
        Self {
            listeners: listeners.into_iter().map(entry).collect(),
            inboxes,
            spare: spare(),
            number: 0,
            dealt: 0,
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
        self.listeners.iter().filter(|e| e.ready).map(|e| e.pause).min()
    }

    /// Accepts what is there, up to a share. `kept(service, slot)` hears of connections that
    /// stay on this loop.
    pub(crate) fn run(
        &mut self,
        services: &mut [Service],
        moment: Moment<'_>,
        mut kept: impl FnMut(usize, u32),
    ) {
        for i in 0..self.listeners.len() {
            for _ in 0..BATCH {
                let entry = &mut self.listeners[i];
                if !entry.ready || entry.pause > moment.now {
                    break;
                }
                let index = entry.service;
                let service = &mut services[index];
                match entry.listener.accept() {
                    Ok((socket, peer)) => {
                        self.number += 1;
                        let fresh = Fresh { socket, peer, number: self.number };
                        if let Some(slot) = self.place(index, service, fresh, moment) {
                            kept(index, slot);
                        }
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => entry.ready = false,
                        // The peer left before we came.
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                        _ => entry.cannot_accept(&error, &mut self.spare, service, moment),
                    },
                }
            }
        }
    }

    /// Deals a connection to a loop, or has it refused. Its slot, if it stays on this loop.
    fn place(
        &mut self,
        index: usize,
        service: &mut Service,
        fresh: Fresh,
        moment: Moment<'_>,
    ) -> Option<u32> {
        if moment.common.admit() {
            self.dealt = (self.dealt + 1) % self.inboxes.len();
            if self.dealt == 0 {
                return service.adopt(fresh, true, moment);
            }
            self.inboxes[self.dealt].send(Message::Dealt { service: index, fresh });
        } else if moment.common.admit_refused() {
            return service.adopt(fresh, false, moment);
        } else {
            service.turn_away(&fresh.socket, moment);
        }
        None
    }
}

impl Entry {
    /// The system cannot give us a connection. Out of descriptors, one peer is turned away on the
    /// spare one; if even that fails, the listener rests.
    fn cannot_accept(
        &mut self,
        error: &io::Error,
        spare: &mut Option<File>,
        service: &mut Service,
        moment: Moment<'_>,
    ) {
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            *spare = None;
            let accepted = self.listener.accept();
            match &accepted {
                Ok((socket, _)) => service.turn_away(socket, moment),
                Err(error) => self.ready = error.kind() != ErrorKind::WouldBlock,
            }
            let done = accepted.is_ok() || !self.ready;
            // Its descriptor is the next spare one.
            drop(accepted);
            *spare = self::spare();
            if done {
                return;
            }
        }
        self.pause = moment.now + PAUSE;
        moment.common.tell(|| Event::Paused { service: self.service, error });
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}
