//! What callers do that they should not.

use super::{Caller, Do};
use crate::decide::{Decider, Key};
use crate::fault::Fault;
use crate::plan::Nemesis;
use crate::workload::Workload;
use core::time::Duration;
use drywire::Tick;

impl<W: Workload> Caller<W> {
    /// Rolls the dice for how the caller itself behaves around operation `op`, which has just
    /// begun. Returns the faults that were drawn.
    pub fn misbehave(&mut self, now: Tick, decider: &mut Decider) -> Vec<(Fault, u64)> {
        let mut drawn = Vec::new();
        if self.calm {
            return drawn;
        }
        let key = Key::of(self.who, self.next);
        let faults = self.faults;
        let mut roll = |fault: Fault, n: u64| {
            let value = decider.rare(fault.site(), key, faults.chance(fault), n);
            if value > 0 {
                drawn.push((fault, value));
            }
            value
        };
        if roll(Fault::HalfClose, 2) > 0 {
            self.closing = true;
        }
        let last = self.history.borrow().last().map_or(0, |op| op.bytes.end - op.bytes.start);
        for (fault, what) in [(Fault::Abort, Do::Abort), (Fault::Vanish, Do::Vanish)] {
            let value = roll(fault, 19);
            if value > 0 {
                // After so much of the request, or behind it while its answer is under way.
                let kept = last * (value.min(18) - 1) / 17;
                self.cut_off = Some(what);
                self.closing = true;
                self.truncate_out(kept, last);
            }
        }
        let deaf = roll(Fault::Deaf, 15);
        if deaf > 0 {
            self.deaf_until = now + Duration::from_millis(1 << deaf);
        }
        let drip = roll(Fault::Drip, 65);
        if drip > 0 {
            let bytes = (1_usize << ((drip - 1) % 8)).max(faults.grain());
            let every = 10_000_u64 << ((drip - 1) / 8);
            self.drip = Some((bytes, every));
            self.drip_until = Tick(u64::MAX);
        }
        drawn
    }

    /// Does what was planned.
    pub(super) fn misdo(&mut self, now: Tick, what: Nemesis) {
        match what {
            Nemesis::HalfClose => self.closing = true,
            Nemesis::Abort | Nemesis::Vanish => {
                self.cut_off = Some(if what == Nemesis::Abort { Do::Abort } else { Do::Vanish });
                self.closing = true;
                self.out.truncate(self.out_head);
            }
            Nemesis::Deaf { lasts } => self.deaf_until = now + lasts,
            Nemesis::Hang { lasts } => self.hung_until = now + lasts,
            Nemesis::Drip { bytes, every, lasts } => {
                let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
                self.drip = Some((bytes, every));
                self.drip_until = now + lasts;
            }
            _ => {}
        }
    }

    /// Forgets the tail of the last request: it will never be sent.
    fn truncate_out(&mut self, kept: u64, of: u64) {
        let drop = (of - kept) as usize;
        self.out.truncate(self.out.len().saturating_sub(drop).max(self.out_head));
    }

    /// How many bytes it is willing to read now.
    pub fn appetite(&mut self, now: Tick) -> usize {
        if now < self.deaf_until || now < self.hung_until {
            return 0;
        }
        match self.drip.filter(|_| now < self.drip_until) {
            None => usize::MAX,
            Some(_) if now < self.drip_at => 0,
            Some((bytes, every)) => {
                self.drip_at = now + Duration::from_nanos(every);
                bytes
            }
        }
    }
}
