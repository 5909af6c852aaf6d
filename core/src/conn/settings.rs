//! What `stats` of every protocol repeats of the numbers its server was started with.

use crate::conn::Limits;
use core::time::Duration;

/// What the host was told. Nothing in the core depends on it but what `stats` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostSettings {
    /// Threads that serve connections. Default 1.
    pub threads: u32,
    /// Threads that do slow work; 0 if those that serve do it. Default 0.
    pub workers: u32,
    /// Connections at most. Default 1024.
    pub max_connections: u32,
    /// How long connections may take to finish after a stop. Default 5 s.
    pub grace: Duration,
    /// How long an end is announced before it. Default 5 s.
    pub announce: Duration,
}

impl HostSettings {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        threads: 1,
        workers: 0,
        max_connections: 1024,
        grace: Duration::from_secs(5),
        announce: Duration::from_secs(5),
    };

    /// Each of these settings and of `limits` that a server can be started with, in a fixed order.
    pub(crate) fn each(&self, limits: &Limits, mut f: impl FnMut(&'static str, u64)) {
        for (name, value) in [
            ("maxconns", self.max_connections.into()),
            ("num_threads", self.threads.into()),
            ("num_workers", self.workers.into()),
            ("grace_us", micros(self.grace)),
            ("announce_us", micros(self.announce)),
            ("reqs_per_event", limits.messages_per_turn.into()),
            ("output_limit", limits.output_high as u64),
            ("buffer_limit", limits.total as u64),
            ("refusal_pause_us", micros(limits.refusal_pause)),
            ("refusal_pause_from", limits.refusal_pause_from.into()),
            ("stall_us", micros(limits.output.no_progress)),
            ("idle_us", micros(limits.idle)),
        ] {
            f(name, value);
        }
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
