//! What `stats` tells.

use crate::conn::{CloseReason, Cx, Outbox};
use crate::engine::{Held, Shards};
use crate::memcache::command::Topic;
use crate::memcache::server::{Config, Part, Server, Shared};
use crate::memcache::store::Counters;
use crate::tick::Tick;
use core::ops::AddAssign;

/// What connections did, in memcached's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Connections open now.
    pub curr_connections: u64,
    /// Connections ever opened.
    pub total_connections: u64,
    /// Connections refused at the limit.
    pub rejected_connections: u64,
    /// `flush_all` commands.
    pub cmd_flush: u64,
    /// Bytes of commands executed.
    pub bytes_read: u64,
    /// Bytes of replies made.
    pub bytes_written: u64,
    /// Turns that ended because their share of commands was used up.
    pub conn_yields: u64,
    /// Connections given up because their peer took no output for too long.
    pub slow_readers: u64,
    /// Connections ended because nothing happened on them for too long.
    pub idle_kicks: u64,
    /// Commands refused because the connections together held as much as they may.
    pub shed_requests: u64,
}

impl Traffic {
    pub(super) fn opened(&mut self) {
        self.curr_connections += 1;
        self.total_connections += 1;
    }

    pub(super) fn closed(&mut self, why: Option<CloseReason>) {
        self.slow_readers += u64::from(why == Some(CloseReason::SlowReader));
        self.idle_kicks += u64::from(why == Some(CloseReason::Idle));
        self.curr_connections = self.curr_connections.saturating_sub(1);
    }

    /// Forgets what was counted, not what is open.
    fn reset(&mut self) {
        *self = Self { curr_connections: self.curr_connections, ..Self::default() };
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.curr_connections += other.curr_connections;
        self.total_connections += other.total_connections;
        self.rejected_connections += other.rejected_connections;
        self.cmd_flush += other.cmd_flush;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.conn_yields += other.conn_yields;
        self.slow_readers += other.slow_readers;
        self.idle_kicks += other.idle_kicks;
        self.shed_requests += other.shed_requests;
    }
}

/// Appends the answer to `stats`. Work is bounded by the number of parts.
pub(super) fn put<Sh: Shards<Part>>(cx: &mut Cx<'_, Server<Sh>>, topic: Topic) {
    let held = cx.held();
    let (out, now, shared) = (&mut *cx.out, cx.now, &mut *cx.shared);
    shared.settle();
    match topic {
        Topic::General => general(out, now, shared, &held),
        Topic::Settings => settings(out, shared),
        Topic::Reset => {
            for index in 0..shared.shards.count() {
                shared.shards.with(index, |part| {
                    part.traffic.reset();
                    part.store.reset_counters();
                });
            }
            out.put(b"RESET\r\n");
        }
    }
}

fn general<Sh: Shards<Part>>(out: &mut Outbox, now: Tick, shared: &mut Shared<Sh>, held: &Held) {
    let mut counters = Counters::default();
    let (mut traffic, mut limit, mut footprint) = (Traffic::default(), 0, 0);
    for index in 0..shared.shards.count() {
        shared.shards.with(index, |part| {
            counters += *part.store.counters();
            traffic += part.traffic;
            limit += part.store.limit();
            footprint += part.store.footprint();
        });
    }
    let config = &shared.config;
    let uptime = now.as_secs();
    stat(out, b"pid", u64::from(config.pid));
    stat(out, b"uptime", uptime);
    stat(out, b"time", config.unix_start.max(0) as u64 + uptime);
    text(out, b"version", super::VERSION);
    stat(out, b"pointer_size", u64::from(usize::BITS));
    stat(out, b"max_connections", u64::from(config.host.max_connections));
    stat(out, b"curr_connections", traffic.curr_connections);
    stat(out, b"total_connections", traffic.total_connections);
    stat(out, b"rejected_connections", traffic.rejected_connections);
    stat(out, b"cmd_flush", traffic.cmd_flush);
    stat(out, b"bytes_read", traffic.bytes_read);
    stat(out, b"bytes_written", traffic.bytes_written);
    stat(out, b"conn_yields", traffic.conn_yields);
    stat(out, b"slow_readers", traffic.slow_readers);
    stat(out, b"idle_kicks", traffic.idle_kicks);
    stat(out, b"shed_requests", traffic.shed_requests);
    stat(out, b"buffered_bytes", held.bytes() as u64);
    stat(out, b"reads_stopped", held.stopped().into());
    stat(out, b"threads", u64::from(config.host.threads));
    stat(out, b"limit_maxbytes", limit);
    stat(out, b"footprint_bytes", footprint);
    counters.each(|name, value| stat(out, name.as_bytes(), value));
    out.put(b"END\r\n");
}

fn settings<Sh: Shards<Part>>(out: &mut Outbox, shared: &mut Shared<Sh>) {
    let parts = shared.shards.count();
    let maxbytes: u64 = (0..parts).map(|i| shared.shards.with(i, |part| part.store.limit())).sum();
    stat(out, b"maxbytes", maxbytes);
    stat(out, b"item_size_max", u64::from(shared.item_max));
    stat(out, b"shards", parts as u64);
    let Config { host, limits, .. } = &shared.config;
    host.each(limits, |name, value| stat(out, name.as_bytes(), value));
    let evicts = shared.shards.with(0, |part| part.store.evicts());
    text(out, b"evictions", if evicts { b"on" } else { b"off" });
    text(out, b"flush_enabled", if shared.config.flush { b"yes" } else { b"no" });
    text(out, b"cas_enabled", b"yes");
    text(out, b"binding_protocol", b"ascii");
    out.put(b"END\r\n");
}

fn stat(out: &mut Outbox, name: &[u8], value: u64) {
    out.put(b"STAT ");
    out.put(name);
    out.put_u8(b' ');
    out.put_u64(value);
    out.put(b"\r\n");
}

fn text(out: &mut Outbox, name: &[u8], value: &[u8]) {
    out.put(b"STAT ");
    out.put(name);
    out.put_u8(b' ');
    out.put(value);
    out.put(b"\r\n");
}
