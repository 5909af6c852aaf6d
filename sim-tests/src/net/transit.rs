//! What happens to bytes on their way.

use super::{Due, LinkId, MS, Net};
use crate::decide::{Key, Site};
use crate::fault::Fault;
use crate::node::Ending;
use crate::trace;
use drywire::Tick;

const PIECE: Site = Site::new("plan.piece");
const JITTER: Site = Site::new("plan.jitter");

impl Net {
    /// Sends what was written on its way, with whatever happens to it there.
    pub(super) fn launch(&mut self, link: LinkId, end: usize, key: Key) {
        let all = self.links[link.0 as usize].pipes[end].unlaunched();
        let reset = self.roll(Fault::Reset, key, 19) as usize;
        let mut reset_after = (reset > 0).then(|| all * (reset - 1) / 17);
        let l = &self.links[link.0 as usize];
        let (jitter, most) = (l.jitter, l.cut);
        let before = l.reset_at[end].saturating_sub(l.pipes[end].launched());
        if before < all as u64 {
            reset_after = Some(before as usize);
        }
        let thin = self.roll(Fault::Thin, key, 11);
        if thin > 0 {
            self.links[link.0 as usize].rate = 8192 << thin;
            self.hit(Fault::Thin, link, thin);
        }
        let hole = self.roll(Fault::Hole, key, 9);
        if hole > 0 {
            self.links[link.0 as usize].pipes[end].hole_until =
                self.now + ((250 * MS) << (hole - 1).min(5));
            self.hit(Fault::Hole, link, hole);
        }
        let flip = self.roll(Fault::Flip, key, 513) as usize;
        if flip > 0 {
            let l = &mut self.links[link.0 as usize];
            let offset = l.pipes[end].launched() + (all * ((flip - 1) / 8) / 64) as u64;
            l.pipes[end].flip(offset, flip as u8);
            l.tainted[1 - end] = true;
            self.hit(Fault::Flip, link, flip as u64);
        }
        let mut left = all.min(reset_after.unwrap_or(all));
        let mut piece = 0;
        let mut drip = 0;
        while left > 0 {
            let key = key.nth(key.nth + (piece << 20));
            let mut n = left;
            if drip > 0 {
                n = 1;
                drip -= 1;
            } else {
                let cut = self.roll(Fault::Cut, key, 66) as usize;
                match cut {
                    0 => {}
                    65 => (n, drip) = (1, 200),
                    1..=32 => n = cut.min(left),
                    _ => n = (left * (cut - 32) / 33).max(1),
                }
                if cut > 0 && (n < left || piece > 0) {
                    self.hit(Fault::Cut, link, cut as u64);
                }
            }
            if most > 0 {
                n = n.min(1 + self.decider.below(PIECE, key, most) as usize);
            }
            let mut late = 0;
            if jitter > 0 {
                late += self.decider.below(JITTER, key, jitter);
            }
            let delay = self.roll(Fault::Delay, key, 21);
            if delay > 0 {
                late += 1000 << delay;
                self.hit(Fault::Delay, link, delay);
            }
            let stall = self.roll(Fault::Stall, key, 6);
            if stall > 0 {
                late += 200 * MS * ((1 << stall) - 1);
                self.hit(Fault::Stall, link, stall);
            }
            self.piece(link, end, n, late);
            left -= n;
            piece = (piece + 1).min(2047);
        }
        if reset_after.is_some() {
            self.hit(Fault::Reset, link, reset as u64);
            let l = &mut self.links[link.0 as usize];
            let at = l.pipes[end].busy_until.max(self.now + l.latency);
            let back = self.now + l.latency;
            self.at(at, Due::Reset { link, end: 1 - end as u8, how: Ending::Reset });
            self.at(back, Due::Reset { link, end: end as u8, how: Ending::Reset });
        }
    }

    pub(super) fn piece(&mut self, link: LinkId, end: usize, n: usize, late: u64) {
        let l = &mut self.links[link.0 as usize];
        let pipe = &mut l.pipes[end];
        let mut at = self.now.max(pipe.hole_until) + l.latency + late;
        if let Some(takes) = (n as u64 * 1_000_000_000).checked_div(l.rate) {
            at = at.max(pipe.busy_until) + takes;
        }
        let at = at.max(pipe.busy_until);
        pipe.busy_until = at;
        let offset = pipe.launch(n);
        if self.trace.is_some() {
            let l = &self.links[link.0 as usize];
            let what = trace::What::Sent {
                offset,
                bytes: l.pipes[end].peek(offset, n).to_vec(),
                until: Tick(at),
                full: l.pipes[end].room() == 0,
            };
            self.record(l.ends[end], Some(link), what);
        }
        self.at(at, Due::Arrive { link, reader: 1 - end as u8, n: n as u32 });
    }
}
