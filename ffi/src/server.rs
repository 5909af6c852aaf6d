//! Tier B: servers. One handle type for all protocols; each protocol has its constructor.

use crate::codec::{self, drywire_framer_options};
use crate::custom::{Ask, CustomShared, Payload, Request, frame};
use crate::domain::{Domain, Inner, Kind, conn_of, id_of};
use crate::guard::{Guarded, free, guarded, into_handle, status};
use crate::options::{
    drywire_custom_options, drywire_memcached_options, drywire_memcached_stats,
    drywire_server_options, drywire_server_stats,
};
use crate::sized;
use crate::status::{Result, drywire_status};
use crate::types::{
    DRYWIRE_EVENT_BAD_REQUEST, DRYWIRE_EVENT_REQUEST, DRYWIRE_NO_DEADLINE, Out, OutArray,
    drywire_bytes, drywire_event, drywire_ready, input,
};
use bytes::Bytes;
use core::time::Duration;
use drywire::conn::{HostSettings, Limits};
use drywire::engine::{ConnId, Engine, Local};
use drywire::frame::Meta;
use drywire::memcache::store::{Config as StoreConfig, Hasher, Store};
use drywire::memcache::{Config, Part, Server, Shared};
use drywire_status::*;
use std::sync::Arc;

/// `flags` of `drywire_server_reply` and `_send`: the bytes go out as they are, without a frame.
pub const DRYWIRE_RAW: u32 = 1;
/// `flags` of `drywire_server_reply`: this request gets no answer on the wire.
pub const DRYWIRE_NO_ANSWER: u32 = 2;

/// All connections of one service. Of a server and its connections one is used at a time, from any
/// thread; different servers are independent.
#[allow(non_camel_case_types)]
pub struct drywire_server(pub(crate) Domain);

/// Makes a memcached server with its own item store. NULL options are all defaults; they are
/// copied. Free it with `drywire_server_free`.
///
/// Errors: `DRYWIRE_ERR_RANGE` for a setting outside its range; `DRYWIRE_ERR_ABI`;
/// `DRYWIRE_ERR_NULL`. On failure `*server` is NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_memcached_server_new(
    options: *const drywire_server_options,
    memcached: *const drywire_memcached_options,
    server: *mut *mut drywire_server,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
        let out = unsafe { Out::new(server) }?;
        out.set(core::ptr::null_mut());
        // SAFETY: as above.
        let (options, memcached) = unsafe { (sized::read(options)?, sized::read(memcached)?) };
        let limits = options.limits(&Limits::default())?;
        let hasher = Hasher::new(memcached.seed);
        let store = StoreConfig {
            item_max: memcached.item_max,
            evict: memcached.no_evict == 0,
            ..StoreConfig::new(memcached.memory, hasher.clone())
        };
        let store = Store::new(store).map_err(|_| DRYWIRE_ERR_RANGE)?;
        let config = Config {
            flush: memcached.no_flush == 0,
            pid: memcached.pid,
            host: HostSettings {
                max_connections: options.max_connections,
                ..HostSettings::DEFAULT
            },
            limits,
            ..Config::new(hasher, memcached.unix_start)
        };
        let shared = Shared::new(config, Local::one(Part::new(store)));
        let engine: Engine<Server<_>> =
            Engine::new(shared, limits, options.max_connections as usize);
        let inner = Inner::new(Kind::Memcached(Box::new(engine)), limits, options.debug());
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(server, drywire_server(Arc::new(Guarded::new(inner)))) }
    }))
}

/// Makes a server for a protocol of the caller's own, on top of a framing: requests are pulled with
/// `drywire_server_poll` and answered with `drywire_server_reply`. Each connection may hold the
/// framing's `drywire_framer_max_pending` bytes of input, even if `input_limit` is less. NULL
/// `options` and `custom` are all defaults; all are copied.
///
/// Errors: as `drywire_framer_new` and `drywire_memcached_server_new`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_custom_server_new(
    options: *const drywire_server_options,
    framing: *const drywire_framer_options,
    custom: *const drywire_custom_options,
    server: *mut *mut drywire_server,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: as above.
        let out = unsafe { Out::new(server) }?;
        out.set(core::ptr::null_mut());
        if framing.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        // SAFETY: as above.
        let (options, custom) = unsafe { (sized::read(options)?, sized::read(custom)?) };
        // SAFETY: as above.
        let codec = codec::build(&unsafe { sized::read(framing) }?)?;
        let mut limits = options.limits(&Limits::default())?;
        limits.input = limits.input.max(codec.max_pending());
        if custom.window == 0 || limits.input > crate::options::LARGEST {
            return Err(DRYWIRE_ERR_RANGE);
        }
        let idle =
            (custom.idle_ns != DRYWIRE_NO_DEADLINE).then(|| Duration::from_nanos(custom.idle_ns));
        let shared = CustomShared { codec, window: custom.window as usize, idle };
        let engine = Engine::new(shared, limits, options.max_connections as usize);
        let inner = Inner::new(Kind::Custom(Box::new(engine)), limits, options.debug());
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(server, drywire_server(Arc::new(Guarded::new(inner)))) }
    }))
}

/// Frees a server. NULL is fine. Its memory goes when its last connection is freed; until then
/// connections go on working.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_free(server: *mut drywire_server) {
    // SAFETY: as above.
    unsafe { free(server) };
}

/// Drains the list of connections that something other than their own socket touched since the
/// last call (another connection, an answer, a deadline): look at their `flags` and drive them.
/// Writes at most `cap` to `ready` and their number to `n`.
///
/// Returns `DRYWIRE_OK` when the list is empty now, `DRYWIRE_MORE` when there may be more.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_ready(
    server: *mut drywire_server,
    now_ns: u64,
    ready: *mut drywire_ready,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let n = Out::new(n)?;
            n.set(0);
            let mut ready = OutArray::new(ready, cap)?;
            let now = inner.begin(now_ns)?;
            while !ready.is_full() {
                let Some(id) = inner.machine().next_dirty(now) else {
                    n.set(ready.len());
                    return Ok(DRYWIRE_OK);
                };
                ready.push(ready_of(inner, id));
            }
            n.set(ready.len());
            Ok(DRYWIRE_MORE)
        })
    })
}

fn ready_of(inner: &mut Inner, id: ConnId) -> drywire_ready {
    let flags = u32::from(inner.machine().wants(id).bits());
    let user = core::ptr::with_exposed_provenance_mut(inner.user(id));
    drywire_ready { id: id_of(id), user, flags, reserved: 0 }
}

/// Pulls requests of a custom protocol: at most `cap` `DRYWIRE_EVENT_REQUEST` and
/// `DRYWIRE_EVENT_BAD_REQUEST` to `events`, their number to `n`. Each must be answered once with
/// `drywire_server_reply`, in any order; answers go out in the order of the requests. Other
/// protocols answer by themselves and give none.
///
/// The bytes of events are good until the next `drywire_server_poll` on this server.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there may be.
/// Errors: `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_poll(
    server: *mut drywire_server,
    events: *mut drywire_event,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let n = Out::new(n)?;
            n.set(0);
            let mut events = OutArray::new(events, cap)?;
            inner.end_polled();
            let now = inner.now;
            let mut all = true;
            if let Kind::Custom(engine) = &mut inner.engine {
                while inner.polled.len() < cap
                    && let Some((id, Ask { kind, payload })) = engine.next_job(now)
                {
                    inner.polled.push(Request { id, kind, payload });
                }
                all = inner.polled.len() < cap;
            }
            for at in 0..inner.polled.len() {
                let user = inner.user(inner.polled[at].id.conn);
                events.push(request_event(&inner.polled[at], user));
            }
            n.set(events.len());
            Ok(if all { DRYWIRE_OK } else { DRYWIRE_MORE })
        })
    })
}

fn request_event(request: &Request, user: usize) -> drywire_event {
    let (event, bytes): (u32, &[u8]) = match &request.payload {
        Payload::Frame(bytes) => (DRYWIRE_EVENT_REQUEST, bytes),
        Payload::Bad(kind) => (DRYWIRE_EVENT_BAD_REQUEST, kind.as_str().as_bytes()),
    };
    let mut event = drywire_event::new(event, id_of(request.id.conn));
    event.num = request.id.number;
    event.flags = request.kind;
    event.aux = user as u64;
    event.a = drywire_bytes::of(bytes);
    event
}

/// Answers request `token` of connection `id`, both from a `DRYWIRE_EVENT_REQUEST`, with one frame
/// around `data`, which is copied. `kind` is the frame's type, 0 where the framing has none.
/// `flags`: 0, `DRYWIRE_RAW` or `DRYWIRE_NO_ANSWER`. The connection then shows up in
/// `drywire_server_ready`.
///
/// Errors: `DRYWIRE_ERR_GONE` if the connection has ended or the request was answered already:
/// harmless; `DRYWIRE_ERR_RANGE` for what the framing cannot carry, the request still waits then;
/// `DRYWIRE_ERR_UNSUPPORTED` if this is no custom server; `DRYWIRE_ERR_NOMEM`; `DRYWIRE_ERR_NULL`;
/// `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_reply(
    server: *mut drywire_server,
    now_ns: u64,
    id: u64,
    token: u64,
    kind: u32,
    flags: u32,
    data: *const u8,
    len: usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let data = input(data, len)?;
            let now = inner.begin(now_ns)?;
            let Kind::Custom(engine) = &mut inner.engine else {
                return Err(DRYWIRE_ERR_UNSUPPORTED);
            };
            let conn = conn_of(id);
            let session = engine.conn(conn).and_then(|conn| conn.session());
            if !session.is_some_and(|session| session.awaits(token)) {
                return Err(DRYWIRE_ERR_GONE);
            }
            let answer = match flags {
                0 | DRYWIRE_RAW => outgoing(&*engine.world().shared.codec, kind, flags, data)?,
                DRYWIRE_NO_ANSWER => Bytes::new(),
                _ => return Err(DRYWIRE_ERR_RANGE),
            };
            engine.complete(now, drywire::engine::JobId { conn, number: token }, answer);
            Ok(DRYWIRE_OK)
        })
    })
}

/// Sends one frame around `data` to each of `count` connections, asked or not: the way to push and
/// to fan out. The frame is made once and shared. How many took it goes to `sent`; connections that
/// are gone, ending, or have `output_high` bytes of output waiting are passed over. Those that took
/// it show up in `drywire_server_ready`. `flags`: 0 or `DRYWIRE_RAW`.
///
/// Errors: as `drywire_server_reply`, without `DRYWIRE_ERR_GONE`; nothing is sent then.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_send(
    server: *mut drywire_server,
    now_ns: u64,
    ids: *const u64,
    count: usize,
    kind: u32,
    flags: u32,
    data: *const u8,
    len: usize,
    sent: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let sent = Out::new(sent)?;
            sent.set(0);
            if flags & !DRYWIRE_RAW != 0 || count > isize::MAX as usize / 8 {
                return Err(DRYWIRE_ERR_RANGE);
            }
            if ids.is_null() && count > 0 {
                return Err(DRYWIRE_ERR_NULL);
            }
            let data = input(data, len)?;
            let now = inner.begin(now_ns)?;
            let high = inner.limits.output_high;
            let Kind::Custom(engine) = &mut inner.engine else {
                return Err(DRYWIRE_ERR_UNSUPPORTED);
            };
            let message = outgoing(&*engine.world().shared.codec, kind, flags, data)?;
            let mut took = 0;
            for at in 0..count {
                let id = conn_of(ids.add(at).read());
                let open = engine.conn(id).is_some_and(|conn| {
                    conn.close_reason().is_none() && conn.outgoing_len() < high
                });
                if open {
                    engine.post(now, id, message.clone());
                    took += 1;
                }
            }
            sent.set(took);
            Ok(DRYWIRE_OK)
        })
    })
}

fn outgoing(codec: &dyn codec::Codec, kind: u32, flags: u32, data: &[u8]) -> Result<Bytes> {
    if flags == DRYWIRE_RAW {
        return Ok(Bytes::copy_from_slice(data));
    }
    frame(codec, Meta::kind(kind), data)
}

/// When `drywire_server_tick` is due, on the clock of `now_ns`; may be early, never late.
/// `DRYWIRE_NO_DEADLINE` if nothing is due ever, and for NULL or an unusable server.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_next_deadline(server: *const drywire_server) -> u64 {
    // SAFETY: as above.
    unsafe { enter(server, |inner| Ok(inner.machine().deadline().map(|d| d.at.0))) }
        .ok()
        .flatten()
        .unwrap_or(DRYWIRE_NO_DEADLINE)
}

/// Lists the connections that a `drywire_server_tick` at `now_ns` may give up, each once. Read what waits in
/// their sockets before that tick: after a pause of the caller's own, a peer would otherwise be blamed for a
/// silence in which it was only not listened to. Writes at most `cap` to `ready` and their number to `n`.
///
/// The list is made when the one before is used up, and a tick ends it: on `DRYWIRE_MORE` ask again
/// for the rest of it. Cheap when nothing is due.
///
/// Returns `DRYWIRE_OK` when there are no more, `DRYWIRE_MORE` when there are.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_due(
    server: *mut drywire_server,
    now_ns: u64,
    ready: *mut drywire_ready,
    cap: usize,
    n: *mut usize,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let n = Out::new(n)?;
            n.set(0);
            let mut ready = OutArray::new(ready, cap)?;
            let now = inner.begin(now_ns)?;
            inner.list_due(now);
            while !ready.is_full()
                && let Some(id) = inner.next_due()
            {
                ready.push(ready_of(inner, id));
            }
            n.set(ready.len());
            Ok(if inner.all_due_told() { DRYWIRE_OK } else { DRYWIRE_MORE })
        })
    })
}

/// Time has passed: does what is due (expiry, idle connections, slow readers). Whoever is in
/// `drywire_server_due` is to be read before. Connections that it touched show up in
/// `drywire_server_ready`. Cheap when nothing is due.
///
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_tick(
    server: *mut drywire_server,
    now_ns: u64,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let now = inner.begin(now_ns)?;
            inner.forget_due();
            inner.machine().tick(now);
            Ok(DRYWIRE_OK)
        })
    })
}

/// The server is going away: new connections are refused, each open one finishes what it owes and
/// shows up in `drywire_server_ready`.
///
/// Errors: as `drywire_server_tick`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_drain(
    server: *mut drywire_server,
    now_ns: u64,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let now = inner.begin(now_ns)?;
            inner.machine().drain(now);
            Ok(DRYWIRE_OK)
        })
    })
}

/// Counters and gauges that all protocols have. Set `stats->struct_size` first. Work grows with the
/// number of connections; fine once a second.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_get_stats(
    server: *const drywire_server,
    stats: *mut drywire_server_stats,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let found = drywire_server_stats {
                struct_size: 0,
                reserved: 0,
                connections: inner.machine().len() as u64,
                accepted: inner.totals.accepted,
                overloaded: inner.totals.overloaded,
                bytes_in: inner.totals.bytes_in,
                bytes_out: inner.totals.bytes_out,
                memory: inner.machine().footprint() as u64,
            };
            sized::write(stats, &found).map(|()| DRYWIRE_OK)
        })
    })
}

/// Counters and gauges of a memcached server's store. Set `stats->struct_size` first.
///
/// Errors: `DRYWIRE_ERR_UNSUPPORTED` if this is no memcached server; `DRYWIRE_ERR_NULL`,
/// `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_get_memcached_stats(
    server: *const drywire_server,
    stats: *mut drywire_memcached_stats,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        enter(server, |inner| {
            let Kind::Memcached(engine) = &mut inner.engine else {
                return Err(DRYWIRE_ERR_UNSUPPORTED);
            };
            let part = &engine.shared_mut().shards_mut().parts()[0];
            let found = drywire_memcached_stats::of(&part.store);
            sized::write(stats, &found).map(|()| DRYWIRE_OK)
        })
    })
}

/// # Safety
/// `server` is NULL or a server that was not freed.
#[inline]
pub(crate) unsafe fn enter<R>(
    server: *const drywire_server,
    f: impl FnOnce(&mut Inner) -> Result<R>,
) -> Result<R> {
    // SAFETY: promised by the caller.
    unsafe { server.as_ref() }.ok_or(DRYWIRE_ERR_NULL)?.0.run(f)
}
