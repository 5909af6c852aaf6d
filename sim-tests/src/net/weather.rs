//! What is planned for the connections of a machine, and the calm after it.

use super::{Call, Due, End, LATENCY, MS, Net, NodeId, WINDOW};
use crate::net::LinkId;
use crate::node::Ending;
use crate::plan::Nemesis;
use core::time::Duration;

/// What is planned for all connections that a machine opens to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) latency: u64,
    pub(crate) jitter: u64,
    pub(crate) rate: u64,
    pub(crate) cut: u64,
    pub(crate) window: usize,
    /// What end 0 and end 1 of them write does not get through before.
    pub(crate) dark_until: [u64; 2],
}

impl Default for Weather {
    fn default() -> Self {
        let (latency, window) = (LATENCY, WINDOW);
        Self { latency, jitter: 0, rate: 0, cut: 0, window, dark_until: [0; 2] }
    }
}

impl Net {
    /// Ends faults: whatever is under way arrives, and nothing new goes wrong.
    pub(crate) fn calm(&mut self, keepalive: u64) {
        self.calm = true;
        for place in &mut self.places {
            place.weather.clear();
        }
        for at in 0..self.links.len() {
            let link = LinkId(at as u32);
            let l = &mut self.links[at];
            (l.rate, l.latency, l.jitter, l.cut) = (0, LATENCY, 0, 0);
            l.reset_at = [u64::MAX; 2];
            for end in 0..2 {
                let l = &mut self.links[at];
                // A machine that came back without memory of the link resets the probe.
                let told = match l.state[end] {
                    End::Silent => Some(Ending::TimedOut),
                    End::Forgotten => Some(Ending::Reset),
                    _ => None,
                };
                if let Some(how) = told {
                    self.after(keepalive, Due::Reset { link, end: 1 - end as u8, how });
                } else if l.pipes[end].widen(WINDOW) {
                    let writer = l.ends[end];
                    self.soon.push_back(Due::Call(writer, Call::Writable(link)));
                }
            }
        }
    }

    /// Applies a strike to the connections that `node` has opened and will open to `server`.
    pub(crate) fn plan(&mut self, node: NodeId, server: NodeId, nemesis: Nemesis) {
        let nanos = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let now = self.now;
        let weather = self.places[node.0 as usize].weather.entry(server).or_default();
        let mut dark = |writers: &[usize], lasts: Duration| {
            for writer in writers {
                let until = &mut weather.dark_until[*writer];
                *until = (*until).max(now.saturating_add(nanos(lasts)));
            }
        };
        match nemesis {
            Nemesis::Latency { least, most } => {
                weather.latency = nanos(least);
                weather.jitter = nanos(most.saturating_sub(least));
            }
            Nemesis::Cut { bytes } => weather.cut = bytes as u64,
            Nemesis::Thin { rate } => weather.rate = rate,
            Nemesis::Narrow { bytes } => weather.window = bytes,
            Nemesis::Hold { lasts } | Nemesis::Partition { lasts } => dark(&[0, 1], lasts),
            Nemesis::Hole { toward, lasts } => dark(&[toward.writer()], lasts),
            _ => {}
        }
        let weather = *weather;
        for l in self.links.iter_mut().filter(|l| l.ends == [node, server]) {
            (l.latency, l.jitter) = (weather.latency, weather.jitter);
            (l.rate, l.cut) = (weather.rate, weather.cut);
            for end in 0..2 {
                let hole = &mut l.pipes[end].hole_until;
                *hole = (*hole).max(weather.dark_until[end]);
            }
            if let Nemesis::Reset { toward, byte } = nemesis {
                let end = toward.writer();
                l.reset_at[end] = l.pipes[end].launched().saturating_add(byte);
            }
        }
    }

    /// Changes the clock of a machine.
    pub(crate) fn set_clock(&mut self, node: NodeId, value: u32) {
        let (jump, drift) = match value {
            1 => (10 * MS, 0),
            2 => (1_000 * MS, 0),
            3 => (10_000 * MS, 0),
            4 => (3_600_000 * MS, 0),
            5 => (40 * 86_400_000 * MS, 0),
            6 => (0, 200_000),
            _ => (0, -200_000),
        };
        let now = self.now;
        self.places[node.0 as usize].clock.change(now, jump, drift);
    }
}
