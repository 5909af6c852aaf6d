//! The engine alone, on this thread: requests and replies as bytes, without sockets between them.

use super::workload::{Conn, Memcached};
use crate::load::closed::{Progress, nanos};
use crate::load::phase::Runner;
use crate::load::tally::Tally;
use crate::load::workload::{Ask, What, Workload};
use core::sync::atomic::Ordering;
use core::time::Duration;
use drywire::Tick;
use drywire::conn::{Limits, Outbox, Peer, Wants};
use drywire::engine::{ConnId, Engine, Local as Alone};
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use std::time::Instant;

pub(super) struct Local {
    engine: Engine<Server<Alone<Part>>>,
    id: ConnId,
    workload: Memcached,
    conn: Conn,
    depth: usize,
    out: Outbox,
    replies: Vec<u8>,
}

impl Local {
    /// An engine with room for all the keys; `preload` stores each of them.
    pub(super) fn new(mut workload: Memcached, depth: usize, memory: u64, preload: bool) -> Self {
        let hasher = Hasher::new(1);
        let store = Store::new(StoreConfig::new(memory, hasher.clone()))
            .expect("more memory than a store needs at least");
        let shared = Shared::new(Config::new(hasher, 0), Alone::one(Part::new(store)));
        let mut engine = Engine::new(shared, Limits::default(), 1);
        let id = engine.accept(Tick::ZERO, &Peer::Virtual(0)).expect("an empty engine has room");
        let conn = workload.open();
        let (out, replies) = (Outbox::new(), Vec::new());
        let mut local = Self { engine, id, workload, conn, depth, out, replies };
        if preload {
            local.begin(What::Preload);
            let (mut tally, start) = (Tally::new(), Instant::now());
            while local.round(start, &mut tally) {}
        }
        local.begin(What::Load);
        local
    }

    fn begin(&mut self, what: What) {
        let ask = Ask { what, left: u64::MAX, deadline: u64::MAX, window: self.depth };
        self.workload.begin(&ask);
        self.conn = self.workload.open();
    }

    /// Asks for as many as may be in flight, and takes all answers. False if nothing was asked.
    fn round(&mut self, start: Instant, tally: &mut Tally) -> bool {
        let before = nanos(start.elapsed());
        while self.workload.in_flight(&self.conn) < self.depth
            && self.workload.ask(&mut self.conn, before, &mut self.out, tally)
        {}
        let now = Tick(before);
        let asked = !self.out.is_empty();
        loop {
            let wants = self.engine.wants(self.id);
            if wants.has(Wants::WRITE) {
                let had = self.replies.len();
                for slice in self.engine.outgoing(self.id) {
                    self.replies.extend_from_slice(slice);
                }
                self.engine.sent(self.id, now, self.replies.len() - had);
                let came = nanos(start.elapsed());
                match self.workload.take(&mut self.conn, came, &self.replies, tally) {
                    Ok(used) => drop(self.replies.drain(..used)),
                    Err(wrong) => {
                        tally.complain(|| wrong);
                        self.workload.lose(&mut self.conn, tally);
                        return false;
                    }
                }
            } else if wants.has(Wants::AGAIN) {
                self.engine.resume(self.id, now);
            } else if let Some(slice) = self.out.slices().next() {
                let taken = self.engine.receive(self.id, now, slice);
                self.out.sent(taken);
                if taken == 0 {
                    tally.complain(|| "the engine takes no input".to_owned());
                    self.workload.lose(&mut self.conn, tally);
                    return false;
                }
            } else {
                return asked;
            }
        }
    }
}

impl Runner for Local {
    fn run(&mut self, duration: Option<Duration>, progress: &Progress) -> Tally {
        let (mut tally, start) = (Tally::new(), Instant::now());
        let duration = duration.unwrap_or(Duration::MAX);
        while start.elapsed() < duration && self.round(start, &mut tally) {
            progress.answered.store(tally.counts().answered(), Ordering::Relaxed);
        }
        tally
    }
}
