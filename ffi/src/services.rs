//! Tier B: the protocols that answer by themselves, beside memcached; and work for other threads.

use crate::domain::{Domain, Inner, Kind};
use crate::guard::{Guarded, free, guarded, into_handle, status};
use crate::options::drywire_server_options;
use crate::policy::gates::drywire_out_gate_options;
use crate::policy::{count, nanos, span};
use crate::server::drywire_server;
use crate::sized::{self, Growing};
use crate::status::{Result, drywire_status};
use crate::types::{Out, drywire_bytes, input};
use bytes::Bytes;
use drywire::chat::codec;
use drywire::conn::Limits;
use drywire::engine::{Done, Engine, Local, Machine, Work};
use drywire::fanout::Fate;
use drywire::guard::{AdmitConfig, OutGateConfig};
use drywire::sudoku::Stats;
use drywire::{chat, fanout, hub, sudoku};
use drywire_status::*;
use std::sync::Arc;

/// Settings of a chat or hub server. Start with `drywire_fanout_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_fanout_options {
    /// `sizeof(drywire_fanout_options)`.
    pub struct_size: u32,
    /// Chat: messages repeated to a client that joins, at most. Default 200.
    pub history: u32,
    /// Chat: rooms of one client, 1 to 65535. Hub: subscriptions of one connection. Default 16.
    pub subscriptions: u32,
    /// Members of one room or topic. Default 100000.
    pub members: u32,
    /// Bytes that one room or topic keeps. Default 1 MiB.
    pub topic_bytes: u64,
    /// Bytes that all of them keep. Default 64 MiB.
    pub total_bytes: u64,
    /// Chat: silence after which an extended client is pinged. Default 10 s.
    pub heartbeat_ns: u64,
    /// Unix time in milliseconds when `now_ns` is 0. Default 0.
    pub unix_ms: u64,
    /// What becomes of receivers that are too slow, a `DRYWIRE_FATE_*`, where no rule says otherwise.
    /// Default they are kicked.
    pub fate: u32,
    /// Keys remembered in a room or topic that coalesces. Default 1024.
    pub keys: u32,
    /// Messages that one room or topic keeps. Default 10000.
    pub topic_messages: u64,
    /// Rooms or topics at most. Default 4096.
    pub topics: u64,
    /// How long one that nobody follows is kept. Default 10 minutes.
    pub keep_unused_ns: u64,
    /// When a receiver counts as slow. NULL, the default, is as
    /// `drywire_out_gate_options_init_fanout` has it.
    pub slow: *const drywire_out_gate_options,
    /// 0.
    pub reserved: usize,
    /// Rules for rooms or topics by name; the first that matches counts. NULL, the default, is none.
    pub rules: *const drywire_fate_rule,
    /// How many.
    pub rule_count: usize,
    /// Chat: the room that plain clients are in, at most 64 bytes. Empty, the default, is "lobby".
    pub lobby: drywire_bytes,
}

/// What becomes of slow receivers in some rooms or topics.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_fate_rule {
    /// A name, or the beginning of names followed by `*`.
    pub pattern: drywire_bytes,
    /// A `DRYWIRE_FATE_*`.
    pub fate: u32,
    /// 0.
    pub reserved: u32,
}

/// `fate`: they are told why, and their connection ends.
pub const DRYWIRE_FATE_KICK: u32 = 0;
/// `fate`: the oldest messages they have not had are dropped, and they are told how many.
pub const DRYWIRE_FATE_DROP_OLDEST: u32 = 1;
/// `fate`: until they have caught up they get only the latest message of each key.
pub const DRYWIRE_FATE_COALESCE: u32 = 2;

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_fanout_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        history: 200,
        subscriptions: 16,
        members: 100_000,
        topic_bytes: 1 << 20,
        total_bytes: 64 << 20,
        heartbeat_ns: 10_000_000_000,
        unix_ms: 0,
        fate: DRYWIRE_FATE_KICK,
        keys: 1024,
        topic_messages: 10_000,
        topics: 4096,
        keep_unused_ns: 600_000_000_000,
        slow: core::ptr::null(),
        reserved: 0,
        rules: core::ptr::null(),
        rule_count: 0,
        lobby: drywire_bytes { data: core::ptr::null(), len: 0 },
    };
}

/// Settings of a sudoku server. Start with `drywire_sudoku_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_sudoku_options {
    /// `sizeof(drywire_sudoku_options)`.
    pub struct_size: u32,
    /// Threads that run its work, at least 1. Default 1.
    pub workers: u32,
    /// Boards of one connection under way at most, at least 1. Default 1024.
    pub under_way: u32,
    /// Guesses for one board. Default 10000.
    pub guesses: u32,
    /// The longest predicted wait that is accepted; beyond it boards are refused. Default 45 ms.
    pub budget_ns: u64,
    /// The longest actual wait after which a board is still solved. Default 47.5 ms.
    pub give_up_ns: u64,
    /// The longest predicted wait while the queue stands. Default 5 ms.
    pub target_ns: u64,
    /// A queue that was not empty for this long stands. Default 100 ms.
    pub interval_ns: u64,
    /// Time for one board assumed before the first is measured. Default 20 us.
    pub service_guess_ns: u64,
    /// Boards waiting at most, whatever the prediction. Default 65536.
    pub queue_max: u64,
    /// Their bytes at most. Default 16 MiB.
    pub queue_bytes: u64,
    /// Unsent output of a connection from which its boards are left unread. Default 256 KiB.
    pub conn_out: u64,
}

const ADMIT: AdmitConfig = sudoku::Config::DEFAULT.admit;

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_sudoku_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        workers: 1,
        under_way: 1024,
        guesses: 10_000,
        budget_ns: ADMIT.budget.as_nanos() as u64,
        give_up_ns: ADMIT.give_up.as_nanos() as u64,
        target_ns: ADMIT.target.as_nanos() as u64,
        interval_ns: ADMIT.interval.as_nanos() as u64,
        service_guess_ns: ADMIT.service_guess.as_nanos() as u64,
        queue_max: ADMIT.queue_max as u64,
        queue_bytes: ADMIT.queue_bytes as u64,
        conn_out: ADMIT.conn_out as u64,
    };
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_fanout_options_init(
    options: *mut drywire_fanout_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_sudoku_options_init(
    options: *mut drywire_sudoku_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { sized::init(options, size) }))
}

/// Sets the times in `options` for clients that give up after `deadline_ns`: what would be answered
/// later is refused at once. The rest stays.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_sudoku_options_for_deadline(
    options: *mut drywire_sudoku_options,
    deadline_ns: u64,
) -> drywire_status {
    status(guarded(|| {
        if options.is_null() {
            return Err(DRYWIRE_ERR_NULL);
        }
        let times = AdmitConfig::for_deadline(span(deadline_ns));
        // SAFETY: as above.
        let new = drywire_sudoku_options {
            budget_ns: nanos(times.budget),
            give_up_ns: nanos(times.give_up),
            target_ns: nanos(times.target),
            interval_ns: nanos(times.interval),
            ..unsafe { sized::read(options) }?
        };
        // SAFETY: as above.
        unsafe { sized::write(options, &new) }.map(|()| DRYWIRE_OK)
    }))
}

/// Makes a chat server (docs/chat.md): what one client says, all in the room hear. Each connection may
/// hold the longest message, even if `input_limit` is less. NULL options are all defaults; they are
/// copied. Free it with `drywire_server_free`.
///
/// Errors: `DRYWIRE_ERR_RANGE`, `DRYWIRE_ERR_ABI`, `DRYWIRE_ERR_NULL`. On failure `*server` is NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_chat_server_new(
    options: *const drywire_server_options,
    fanout: *const drywire_fanout_options,
    server: *mut *mut drywire_server,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        make(options, fanout, server, chat::limits(), |limits, max, own| {
            let rooms = u16::try_from(own.subscriptions).map_err(|_| DRYWIRE_ERR_RANGE)?;
            let mut config = chat::Config {
                history: own.history,
                rooms,
                heartbeat: span(own.heartbeat_ns),
                ..chat::Config::default()
            };
            if own.lobby.len > 0 {
                let lobby = input(own.lobby.data, own.lobby.len)?;
                if !codec::is_name(lobby, codec::ROOM_MAX) {
                    return Err(DRYWIRE_ERR_RANGE);
                }
                config.lobby = Bytes::copy_from_slice(lobby);
            }
            let shared = chat::Shared::new(config, fan(limits, own)?);
            Ok(Box::new(Engine::<chat::Server>::new(shared, *limits, max)))
        })
    }
}

/// Makes a hub: publish and subscribe by line (docs/hub.md). Otherwise as `drywire_chat_server_new`.
///
/// Errors: as `drywire_chat_server_new`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_hub_server_new(
    options: *const drywire_server_options,
    fanout: *const drywire_fanout_options,
    server: *mut *mut drywire_server,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        make(options, fanout, server, hub::limits(), |limits, max, own| {
            let shared = hub::Shared::new(fan(limits, own)?);
            Ok(Box::new(Engine::<hub::Server>::new(shared, *limits, max)))
        })
    }
}

/// Makes a sudoku server: its requests are slow work, to be run with `drywire_server_next_work`.
/// Otherwise as `drywire_chat_server_new`.
///
/// Errors: as `drywire_chat_server_new`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_sudoku_server_new(
    options: *const drywire_server_options,
    sudoku: *const drywire_sudoku_options,
    server: *mut *mut drywire_server,
) -> drywire_status {
    // SAFETY: as above.
    unsafe {
        make(options, sudoku, server, sudoku::limits(), |limits, max, own| {
            if own.workers == 0 || own.under_way == 0 {
                return Err(DRYWIRE_ERR_RANGE);
            }
            let default = sudoku::Config::DEFAULT;
            let config = sudoku::Config {
                admit: AdmitConfig {
                    budget: span(own.budget_ns),
                    give_up: span(own.give_up_ns),
                    target: span(own.target_ns),
                    interval: span(own.interval_ns),
                    service_guess: span(own.service_guess_ns),
                    queue_max: count(own.queue_max),
                    queue_bytes: count(own.queue_bytes),
                    conn_out: count(own.conn_out),
                    ..default.admit
                },
                workers: own.workers,
                guesses: own.guesses,
                under_way: own.under_way,
                ..default
            };
            let shared = sudoku::Shared::new(config, Local::one(Stats::default()));
            Ok(Box::new(Engine::<sudoku::Server<_>>::new(shared, *limits, max)))
        })
    }
}

/// A piece of slow work on its way to a thread and back. It belongs to no other handle: run it on any
/// thread, while the server goes on.
#[allow(non_camel_case_types)]
pub struct drywire_work {
    /// Where it came from and belongs back to.
    domain: Domain,
    stage: Guarded<Stage>,
}

enum Stage {
    Waiting(Work),
    Done(Done),
    Spent,
}

/// Takes the next piece of work of a server, oldest first, to `work`. Run it with `drywire_work_run`,
/// bring it back with `drywire_server_complete`, free it with `drywire_work_free`. One that is freed
/// without that leaves its request unanswered.
///
/// Returns `DRYWIRE_OK`, or `DRYWIRE_NOT_NOW` and a NULL `work` if there is none.
/// Errors: `DRYWIRE_ERR_NULL`; `DRYWIRE_ERR_STATE` between `_input_reserve` and `_input_commit`;
/// `DRYWIRE_ERR_UNSUPPORTED` for a custom server, see `drywire_server_poll`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_next_work(
    server: *mut drywire_server,
    now_ns: u64,
    work: *mut *mut drywire_work,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        let domain = server.as_ref().map(|server| &server.0);
        crate::server::enter(server, |inner| {
            let out = Out::new(work)?;
            out.set(core::ptr::null_mut());
            let now = inner.begin(now_ns)?;
            if matches!(inner.engine, Kind::Custom(_)) {
                return Err(DRYWIRE_ERR_UNSUPPORTED);
            }
            match (inner.machine().next_work(now), domain) {
                (Some(next), Some(domain)) => {
                    let stage = Guarded::new(Stage::Waiting(next));
                    into_handle(work, drywire_work { domain: domain.clone(), stage })
                }
                _ => Ok(DRYWIRE_NOT_NOW),
            }
        })
    })
}

/// Does the work: bounded, but long. On any thread.
///
/// Errors: `DRYWIRE_ERR_STATE` if it was run before; `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_work_run(work: *mut drywire_work) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        work.as_ref().ok_or(DRYWIRE_ERR_NULL).and_then(|work| {
            work.stage.run(|stage| match core::mem::replace(stage, Stage::Spent) {
                Stage::Waiting(work) => {
                    *stage = Stage::Done(work.run());
                    Ok(DRYWIRE_OK)
                }
                other => {
                    *stage = other;
                    Err(DRYWIRE_ERR_STATE)
                }
            })
        })
    })
}

/// Brings work that was run back to its server. The connection that asked shows up in
/// `drywire_server_ready`; if it is gone, the result is dropped.
///
/// Errors: `DRYWIRE_ERR_RANGE` if it is another server's; `DRYWIRE_ERR_STATE` if it was not run, was
/// brought back before, or between `_input_reserve` and `_input_commit`; `DRYWIRE_ERR_NULL`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_complete(
    server: *mut drywire_server,
    now_ns: u64,
    work: *mut drywire_work,
) -> drywire_status {
    status(unsafe {
        // SAFETY: as above.
        crate::server::enter(server, |inner| {
            let work = work.as_ref().ok_or(DRYWIRE_ERR_NULL)?;
            if !server.as_ref().is_some_and(|server| Arc::ptr_eq(&server.0, &work.domain)) {
                return Err(DRYWIRE_ERR_RANGE);
            }
            let now = inner.begin(now_ns)?;
            let done = work.stage.run(|stage| match core::mem::replace(stage, Stage::Spent) {
                Stage::Done(done) => Ok(done),
                other => {
                    *stage = other;
                    Err(DRYWIRE_ERR_STATE)
                }
            })?;
            inner.machine().complete(now, done);
            Ok(DRYWIRE_OK)
        })
    })
}

/// Frees a piece of work in any state. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_work_free(work: *mut drywire_work) {
    // SAFETY: as above.
    unsafe { free(work) };
}

/// # Safety
/// The pointers in `own` are as the header's rules want them.
unsafe fn fan(limits: &Limits, own: &drywire_fanout_options) -> Result<fanout::Config> {
    let size = |n: u64| usize::try_from(n).map_err(|_| DRYWIRE_ERR_RANGE);
    if own.subscriptions == 0 || own.members == 0 || own.topic_bytes == 0 {
        return Err(DRYWIRE_ERR_RANGE);
    }
    let slow = match own.slow.is_null() {
        true => OutGateConfig::CHAT,
        // SAFETY: as above.
        false => unsafe { sized::read(own.slow) }?.config()?,
    };
    Ok(fanout::Config {
        // Between the marks, so that a receiver who is slow to read may still speak.
        fill: limits.output_low + (limits.output_high - limits.output_low) / 2,
        log_bytes: size(own.topic_bytes)?,
        total_bytes: size(own.total_bytes)?,
        members: own.members as usize,
        subscriptions: own.subscriptions as usize,
        slow,
        // SAFETY: as above.
        fates: unsafe { rules(own) }?,
        fate: fate(own.fate)?,
        log_messages: count(own.topic_messages).max(1),
        keys: own.keys as usize,
        topics: count(own.topics),
        keep_unused: span(own.keep_unused_ns),
        unix_ms: own.unix_ms,
        ..fanout::Config::default()
    })
}

/// # Safety
/// The rules are as the header wants them.
unsafe fn rules(own: &drywire_fanout_options) -> Result<Vec<(Box<[u8]>, Fate)>> {
    if own.rule_count == 0 {
        return Ok(Vec::new());
    }
    if own.rules.is_null() {
        return Err(DRYWIRE_ERR_NULL);
    }
    if own.rule_count > isize::MAX as usize / size_of::<drywire_fate_rule>() {
        return Err(DRYWIRE_ERR_RANGE);
    }
    // SAFETY: promised by the caller, and of a possible size.
    let rules = unsafe { core::slice::from_raw_parts(own.rules, own.rule_count) };
    let rule = |rule: &drywire_fate_rule| {
        // SAFETY: promised by the caller.
        let pattern = unsafe { input(rule.pattern.data, rule.pattern.len) }?;
        Ok((pattern.into(), fate(rule.fate)?))
    };
    rules.iter().map(rule).collect()
}

const fn fate(number: u32) -> Result<Fate> {
    match number {
        DRYWIRE_FATE_KICK => Ok(Fate::Kick),
        DRYWIRE_FATE_DROP_OLDEST => Ok(Fate::DropOldest),
        DRYWIRE_FATE_COALESCE => Ok(Fate::Coalesce),
        _ => Err(DRYWIRE_ERR_RANGE),
    }
}

/// # Safety
/// The pointers are NULL or as the header's rules want them.
unsafe fn make<T: Growing>(
    options: *const drywire_server_options,
    own: *const T,
    server: *mut *mut drywire_server,
    needs: Limits,
    engine: impl FnOnce(&Limits, usize, &T) -> Result<Box<dyn Machine + Send>>,
) -> drywire_status {
    status(guarded(|| {
        // SAFETY: promised by the caller.
        let out = unsafe { Out::new(server) }?;
        out.set(core::ptr::null_mut());
        // SAFETY: promised by the caller.
        let (options, own) = unsafe { (sized::read(options)?, sized::read(own)?) };
        let mut limits = options.limits(&needs)?;
        limits.input = limits.input.max(needs.input);
        let engine = engine(&limits, options.max_connections as usize, &own)?;
        let inner = Inner::new(Kind::Plain(engine), limits, options.debug());
        // SAFETY: checked by `Out::new`.
        unsafe { into_handle(server, drywire_server(Arc::new(Guarded::new(inner)))) }
    }))
}
