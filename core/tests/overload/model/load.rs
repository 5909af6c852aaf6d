//! What the clients do.

use super::{MS, S};

/// The offered load.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub kind: Kind,
    /// When the clients give up, in ns from the scheduled send.
    pub deadline: u64,
    /// Attempts after the first, when one is refused or times out.
    pub retries: u8,
    /// How long the run is.
    pub until: u64,
}

/// How requests come about.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Poisson arrivals, whatever happens to them: (until, rate as a multiple of the capacity),
    /// spread over the connections.
    Open(Vec<(u64, f64)>),
    /// Each client sends one, waits for its end, thinks for this long on average.
    Closed { clients: usize, think: f64 },
    /// Connection 0 sends at the first rate, the others together at the second.
    Flood { flooder: f64, polite: f64 },
}

impl Load {
    pub(crate) fn open(x: f64, seconds: u64) -> Self {
        Self { kind: Kind::Open(vec![(u64::MAX, x)]), ..Self::profile(vec![], seconds) }
    }

    pub(crate) fn profile(profile: Vec<(u64, f64)>, seconds: u64) -> Self {
        Self { kind: Kind::Open(profile), deadline: 50 * MS, retries: 0, until: seconds * S }
    }

    /// Clients that would offer `x` times the capacity if they got all their answers at once.
    pub(crate) fn closed(x: f64, service: u64, seconds: u64) -> Self {
        let think = 10.0 * MS as f64;
        let clients = (x * think / service as f64).round() as usize;
        Self { kind: Kind::Closed { clients, think }, ..Self::open(0.0, seconds) }
    }

    /// A mean of 0.6: 0.5 all the time, and bursts of `work` ns at once.
    pub(crate) fn bursts(work: u64, seconds: u64) -> Self {
        let period = work * 10;
        let bursts = (0..seconds * S / period).flat_map(|i| {
            let at = i * period;
            [(at + MS, 0.5 + work as f64 / MS as f64), (at + period, 0.5)]
        });
        Self::profile(bursts.collect(), seconds)
    }
}
