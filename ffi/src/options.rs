//! Settings and statistics of servers.

use crate::guard::{guarded, status};
use crate::policy::count;
use crate::sized::{Growing, init};
use crate::status::{Result, drywire_status};
use crate::types::DRYWIRE_NO_DEADLINE;
use core::time::Duration;
use drywire::conn::Limits;
use drywire::guard::OutGateConfig;
use drywire::memcache::store::{ITEM_MAX_DEFAULT, Store};
use drywire_status::DRYWIRE_ERR_RANGE;

/// `flags` of `drywire_server_options`: every view is a copy that is overwritten with 0xDD as soon as
/// it may not be used any more, so that tests find late use. Slow.
pub const DRYWIRE_DEBUG_VIEWS: u32 = 1;

/// The most that any limit in bytes may be: 1 GiB.
pub(crate) const LARGEST: usize = 1 << 30;

/// Limits of a server and its connections. Start with `drywire_server_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_server_options {
    /// `sizeof(drywire_server_options)`.
    pub struct_size: u32,
    /// 0 or `DRYWIRE_DEBUG_VIEWS`.
    pub flags: u32,
    /// Connections at most; further ones are told so and closed. Default 1024.
    pub max_connections: u32,
    /// Requests served in one turn before other connections get theirs. Default 128.
    pub messages_per_turn: u32,
    /// Unconsumed input of one connection at most, in bytes: 2048 to 1 GiB. Default 64 KiB.
    pub input_limit: u64,
    /// Output waiting from which no further request is started, in bytes, 1 to 1 GiB. Default 64 KiB.
    pub output_high: u64,
    /// Output waiting down to which work goes on, in bytes, below `output_high`. Default 16 KiB.
    pub output_low: u64,
    /// How long a connection that is ending may go without its peer taking output. Default 10 s.
    pub drain_stall_ns: u64,
    /// How long input is discarded after the write side was shut down. Default 1 s.
    pub linger_ns: u64,
    /// How many bytes are discarded then at most. Default 256 KiB.
    pub linger_bytes: u64,
    /// A connection on which nothing comes in for this long, and with nothing owed or unsent, is
    /// ended. 0, the default, is for ever.
    pub idle_ns: u64,
    /// How much later than asked for the server may be called before this process itself counts as
    /// having been away; that time is held against no peer. Default 1 s.
    pub own_stall_ns: u64,
    /// An open connection that takes nothing of its waiting output for this long is ended. 0, the
    /// default, is the service's own: 10 s, 5 minutes for chat and hub.
    pub output_stall_ns: u64,
    /// Waiting output with which a connection is ended, in bytes; at least `output_high`. Only what is
    /// pushed to it can reach that. 0, the default, is 4 MiB.
    pub output_hard: u64,
    /// More waiting output than this is tolerated for `output_soft_ns` only; 0, the default, is no such
    /// limit.
    pub output_soft: u64,
    /// How long.
    pub output_soft_ns: u64,
    /// Input and output held by all connections together, in bytes: from three quarters of it on a
    /// connection is read only once its own output is taken; at all of it the service refuses what it
    /// can. Default 256 MiB.
    pub total_limit: u64,
    /// How long a connection is not read after a request of it was refused, so that refusing stays
    /// cheap. 0, the default, is not at all.
    pub refusal_pause_ns: u64,
    /// How many requests of all connections have to be refused within such a time for it: choose it so
    /// that reading and answering each alone takes a few percent of the time. Default 1.
    pub refusal_pause_from: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_server_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        flags: 0,
        max_connections: 1024,
        messages_per_turn: 128,
        input_limit: 64 << 10,
        output_high: 64 << 10,
        output_low: 16 << 10,
        drain_stall_ns: 10_000_000_000,
        linger_ns: 1_000_000_000,
        linger_bytes: 256 << 10,
        idle_ns: 0,
        own_stall_ns: 1_000_000_000,
        output_stall_ns: 0,
        output_hard: 0,
        output_soft: 0,
        output_soft_ns: 0,
        total_limit: Limits::DEFAULT.total as u64,
        refusal_pause_ns: 0,
        refusal_pause_from: Limits::DEFAULT.refusal_pause_from,
        reserved: 0,
    };
}

impl drywire_server_options {
    /// The limits, with `own` of the service where 0 stands for them.
    pub(crate) fn limits(&self, own: &Limits) -> Result<Limits> {
        let range = |value: u64, least: usize| {
            let value = usize::try_from(value).map_err(|_| DRYWIRE_ERR_RANGE)?;
            if (least..=LARGEST).contains(&value) { Ok(value) } else { Err(DRYWIRE_ERR_RANGE) }
        };
        let limits = Limits {
            input: range(self.input_limit, 2048)?,
            output_high: range(self.output_high, 1)?,
            output_low: range(self.output_low, 0)?,
            messages_per_turn: self.messages_per_turn,
            drain_stall: Duration::from_nanos(self.drain_stall_ns),
            linger: Duration::from_nanos(self.linger_ns),
            linger_bytes: range(self.linger_bytes, 0)?,
            idle: Duration::from_nanos(self.idle_ns),
            own_stall: Duration::from_nanos(self.own_stall_ns),
            output: self.output(own.output),
            total: count(self.total_limit),
            refusal_pause: Duration::from_nanos(self.refusal_pause_ns),
            refusal_pause_from: self.refusal_pause_from,
        };
        let known_flags = self.flags & !DRYWIRE_DEBUG_VIEWS == 0;
        let sane = limits.output_low < limits.output_high
            && limits.output_high <= limits.output.hard
            && limits.messages_per_turn > 0;
        if known_flags && sane && self.max_connections > 0 {
            Ok(limits)
        } else {
            Err(DRYWIRE_ERR_RANGE)
        }
    }

    fn output(&self, own: OutGateConfig) -> OutGateConfig {
        let mut output = own;
        if self.output_stall_ns > 0 {
            output.no_progress = Duration::from_nanos(self.output_stall_ns);
        }
        output.hard = match self.output_hard {
            0 => own.hard.max(count(self.output_high)),
            hard => count(hard),
        };
        (output.soft, output.soft_for) = match self.output_soft {
            0 => (output.hard, Duration::MAX),
            soft => (count(soft), Duration::from_nanos(self.output_soft_ns)),
        };
        output
    }

    pub(crate) const fn debug(&self) -> bool {
        self.flags & DRYWIRE_DEBUG_VIEWS != 0
    }
}

/// Settings of a memcached server. Start with `drywire_memcached_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_memcached_options {
    /// `sizeof(drywire_memcached_options)`.
    pub struct_size: u32,
    /// The item size limit in bytes, 1 KiB to 1 GiB and at most half of `memory`. Default 1 MiB.
    pub item_max: u32,
    /// All memory of the store, in bytes, 256 KiB to 32 GiB. Default 64 MiB.
    pub memory: u64,
    /// Secret seed of the hash, from a random source. A fixed one gives a fixed trace. Default 0.
    pub seed: u64,
    /// Unix time in seconds when `now_ns` is 0, for absolute expiry times. Default 0.
    pub unix_start: i64,
    /// Not 0: a full store refuses instead of removing cold items.
    pub no_evict: u32,
    /// Not 0: `flush_all` is refused.
    pub no_flush: u32,
    /// The process id that `stats` shows. Default 0.
    pub pid: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_memcached_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        item_max: ITEM_MAX_DEFAULT,
        memory: 64 << 20,
        seed: 0,
        unix_start: 0,
        no_evict: 0,
        no_flush: 0,
        pid: 0,
        reserved: 0,
    };
}

/// Settings of a custom server. Start with `drywire_custom_options_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_custom_options {
    /// `sizeof(drywire_custom_options)`.
    pub struct_size: u32,
    /// Requests of one connection that wait for their answer at most, at least 1; then its input is
    /// not read. Default 64.
    pub window: u32,
    /// A connection without input for this long, and with nothing owed, is ended.
    /// Default `DRYWIRE_NO_DEADLINE`.
    pub idle_ns: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_custom_options {
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>() as u32, window: 64, idle_ns: DRYWIRE_NO_DEADLINE };
}

/// What `drywire_server_get_stats` tells.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_server_stats {
    /// `sizeof(drywire_server_stats)`, set by the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Connections held now, refused ones included.
    pub connections: u64,
    /// Connections ever opened.
    pub accepted: u64,
    /// Connections turned away with `DRYWIRE_ERR_OVERLOADED`.
    pub overloaded: u64,
    /// Bytes of input taken.
    pub bytes_in: u64,
    /// Bytes of output consumed.
    pub bytes_out: u64,
    /// Memory held by connections and queues, without the store, in bytes.
    pub memory: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_server_stats {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        reserved: 0,
        connections: 0,
        accepted: 0,
        overloaded: 0,
        bytes_in: 0,
        bytes_out: 0,
        memory: 0,
    };
}

/// What `drywire_server_get_memcached_stats` tells.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct drywire_memcached_stats {
    /// `sizeof(drywire_memcached_stats)`, set by the caller.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Items held now.
    pub items: u64,
    /// Bytes that items take now.
    pub item_bytes: u64,
    /// Memory charged to the limit now, in bytes.
    pub memory: u64,
    /// The limit, in bytes.
    pub memory_limit: u64,
    /// Keys looked up.
    pub gets: u64,
    /// Keys found.
    pub hits: u64,
    /// Storage commands.
    pub sets: u64,
    /// Live items removed to make room.
    pub evictions: u64,
}

// SAFETY: plain numbers in C order.
unsafe impl Growing for drywire_memcached_stats {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        reserved: 0,
        items: 0,
        item_bytes: 0,
        memory: 0,
        memory_limit: 0,
        gets: 0,
        hits: 0,
        sets: 0,
        evictions: 0,
    };
}

impl drywire_memcached_stats {
    pub(crate) fn of(store: &Store) -> Self {
        let counters = store.counters();
        Self {
            items: counters.curr_items,
            item_bytes: counters.bytes,
            memory: store.footprint(),
            memory_limit: store.limit(),
            gets: counters.cmd_get,
            hits: counters.get_hits,
            sets: counters.cmd_set,
            evictions: counters.evictions,
            ..Self::DEFAULT
        }
    }
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_server_options_init(
    options: *mut drywire_server_options,
    size: usize,
) -> drywire_status {
    // SAFETY: the caller keeps the rules at the top of the header; so for all pointers below.
    status(guarded(|| unsafe { init(options, size) }))
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_memcached_options_init(
    options: *mut drywire_memcached_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { init(options, size) }))
}

/// Fills `options` (`size` bytes of it) with defaults.
///
/// Errors: `DRYWIRE_ERR_NULL`, `DRYWIRE_ERR_ABI`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn drywire_custom_options_init(
    options: *mut drywire_custom_options,
    size: usize,
) -> drywire_status {
    // SAFETY: as above.
    status(guarded(|| unsafe { init(options, size) }))
}
