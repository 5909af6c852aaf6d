//! A session's side of the fan-out: filling its outbox, and noticing that its peer is slow.

use crate::conn::{Cx, Deadline, Fault, FaultKind, Outbox, Session};
use crate::engine::ConnId;
use crate::fanout::Style;
use crate::fanout::exchange::Exchange;
use crate::fanout::pull::{From, Lag, Pulled};
use crate::fanout::spill::{BATCH, Spill, SpillDone, SpillError, SpillJob};
use crate::guard::{Kick, OutGate};
use crate::tick::Tick;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

/// What a session that receives keeps. Call [`fill`](Self::fill) from
/// [`on_wake`](Session::on_wake) and [`on_tick`](Session::on_tick), there followed by
/// [`verdict`](Self::verdict); [`spilled`](Self::spilled) from [`on_done`](Session::on_done); and
/// [`watch`](Self::watch) at the end of whatever else may have appended to the output.
#[derive(Debug, Default)]
pub struct Feed {
    gate: OutGate,
    /// The last progress that the gate has heard of.
    taken_at: Tick,
    /// Where the output ended when the feed last looked.
    given: u64,
    backlog: bool,
    due: Option<Tick>,
    /// Only with a receiver that spilled.
    spill: Option<Box<Spill>>,
    /// Why it is to be kicked.
    kick: Option<Fault>,
    over: bool,
}

/// What a fill looks at and changes besides the feed.
struct Scene<'a> {
    exchange: &'a mut Exchange,
    conn: ConnId,
    now: Tick,
    out: &'a mut Outbox,
}

impl Feed {
    /// Nothing is waiting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what waits for the receiver, as far as there is room, and judges whether it is too
    /// slow.
    pub fn fill<S>(&mut self, cx: &mut Cx<'_, S>, style: &impl Style)
    where
        S: Session<Job = SpillJob>,
        S::Shared: AsMut<Exchange>,
    {
        if self.over {
            return;
        }
        let taken_at = cx.taken_at;
        let exchange = cx.shared.as_mut();
        let scene = Scene { exchange, conn: cx.id, now: cx.now, out: cx.out };
        let turn = self.turn(scene, taken_at, style);
        self.given = cx.out.sent_total() + cx.out.len() as u64;
        match turn {
            Ok(Some(job)) => drop(cx.spawn(job)),
            Ok(None) => {}
            Err(kick) => {
                cx.shared.as_mut().kicked += 1;
                self.condemn(kick);
            }
        }
    }

    /// The session itself may have said something, an answer for instance: from now on the peer
    /// has to take that too.
    pub fn watch<S>(&mut self, cx: &mut Cx<'_, S>)
    where
        S: Session,
        S::Shared: AsMut<Exchange>,
    {
        let (taken, pending) = (cx.out.sent_total(), cx.out.len());
        let end = taken + pending as u64;
        if self.over || end == self.given {
            return;
        }
        if taken >= self.given {
            let slow_config = cx.shared.as_mut().config().slow;
            self.gate = OutGate::new();
            self.gate.sent(&slow_config, cx.now, 1, pending);
            self.due = self.gate.deadline(&slow_config, pending);
        }
        self.given = end;
    }

    /// A job of the feed is done.
    pub fn spilled<S>(&mut self, cx: &mut Cx<'_, S>, done: SpillDone, style: &impl Style)
    where
        S: Session<Job = SpillJob>,
        S::Shared: AsMut<Exchange>,
    {
        let Some(spill) = self.spill.as_mut() else { return };
        match spill.done(done) {
            Ok(Some(bytes)) => {
                cx.shared.as_mut().replayed += bytes.len() as u64;
                cx.out.put_shared(&bytes);
            }
            Ok(None) => {}
            Err(SpillError) => {
                return self.condemn(kick("the storage for slow receivers failed"));
            }
        }
        self.fill(cx, style);
    }

    /// What [`Session::on_tick`] is to end with.
    ///
    /// # Errors
    /// The receiver is too slow: it is to be kicked.
    pub fn verdict(&mut self) -> Result<(), Fault> {
        self.kick.take().map_or(Ok(()), Err)
    }

    /// For [`Session::on_lost_time`]: what this process missed is not the peer's slowness.
    pub fn lost_time(&mut self, gap: Duration) {
        self.gate.stalled(gap);
        self.taken_at = self.taken_at + gap;
        self.due = self.due.map(|due| due + gap);
    }

    /// What is on disk is not for this receiver any more.
    pub fn forget(&mut self) {
        if let Some(spill) = &mut self.spill {
            spill.forget();
        }
    }

    /// For [`Session::has_backlog`].
    #[must_use]
    pub const fn has_backlog(&self) -> bool {
        self.backlog
    }

    /// For [`Session::owes`]: a job is under way whose result belongs to the peer.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.spill.as_ref().is_some_and(|spill| spill.working)
    }

    /// For [`Session::deadline`]: when to fill again to find out whether the peer is too slow.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let at = if self.kick.is_some() { Some(Tick::ZERO) } else { self.due };
        at.map(|at| Deadline { at, why: "slow reader" })
    }

    /// The connection ends for another reason: nothing more is delivered.
    pub fn give_up(&mut self) {
        *self = Self { over: true, ..Self::default() };
    }

    /// Has the connection end with this fault.
    pub(crate) fn condemn(&mut self, kick: Fault) {
        self.give_up();
        self.kick = Some(kick);
    }

    fn turn(
        &mut self,
        mut scene: Scene<'_>,
        taken_at: Tick,
        style: &impl Style,
    ) -> Result<Option<SpillJob>, Fault> {
        let (now, conn) = (scene.now, scene.conn);
        let config = scene.exchange.config();
        let (full, slow_config) = (config.fill, config.slow);
        let was_empty = scene.out.sent_total() >= self.given;
        let spilling = self.spill.as_ref().is_some_and(|s| s.working || !s.is_empty());
        let from = if spilling { From::NotSpilling } else { From::All };
        let pulled = scene.exchange.pull_from(conn, style, scene.out, full, from);
        if pulled == Pulled::FellOut {
            return Err(slow(Kick::HardBytes));
        }
        if was_empty && pulled == Pulled::CaughtUp && !spilling {
            // It had taken everything, and now it is given everything.
            self.gate = OutGate::new();
            self.gate.sent(&slow_config, now, 1, scene.out.len());
            self.backlog = false;
            self.due = self.gate.deadline(&slow_config, scene.out.len());
            return Ok(None);
        }
        let mut lag = scene.exchange.lag(conn);
        let job = self.move_to_disk(&mut scene, style, &mut lag)?;
        if was_empty || taken_at > self.taken_at {
            let pending = scene.out.len() + lag.total();
            self.gate.sent(&slow_config, if was_empty { now } else { taken_at }, 1, pending);
            self.taken_at = taken_at;
        }
        self.judge(&mut scene, style, lag)?;
        let working = self.spill.as_ref().is_some_and(|s| s.working);
        let on_disk = self.spill.as_ref().is_some_and(|s| !s.is_empty());
        // With a batch on its way the next step is that job's end.
        self.backlog = pulled == Pulled::Full || on_disk && !working;
        let pending = scene.out.len() + scene.exchange.lag(conn).total();
        // What is over one mark is next looked at when it is over the other, or in time.
        let mark = if pending > slow_config.soft { slow_config.hard } else { slow_config.soft };
        scene.exchange.alarm(conn, mark as u64);
        self.due = self.gate.deadline(&slow_config, pending).map(|at| at.max(Tick(now.0 + 1)));
        Ok(job)
    }

    /// Whether the peer is too slow, and what follows.
    fn judge(&mut self, scene: &mut Scene<'_>, style: &impl Style, lag: Lag) -> Result<(), Fault> {
        let slow_config = scene.exchange.config().slow;
        let (now, pending) = (scene.now, scene.out.len() + lag.total());
        let bytes = (pending > slow_config.hard).then_some(Kick::HardBytes);
        let Some(reason) = self.gate.poll(&slow_config, now, pending).or(bytes) else {
            return Ok(());
        };
        if lag.kick > 0 || reason == Kick::NoProgress && scene.exchange.kicks(scene.conn) {
            return Err(slow(reason));
        }
        let keep = (slow_config.soft / 2) as u64;
        scene.exchange.skip(scene.conn, style, scene.out, keep);
        // The next episode begins now; that nothing was taken still counts for the other limit.
        let progress = if reason == Kick::NoProgress { now } else { self.gate.progress() };
        self.gate = OutGate::new();
        self.gate.sent(&slow_config, progress, 1, pending.min(slow_config.soft));
        self.gate.observe(&slow_config, now, pending);
        Ok(())
    }

    /// Starts the job that the spilling topics need next, if any.
    fn move_to_disk(
        &mut self,
        scene: &mut Scene<'_>,
        style: &impl Style,
        lag: &mut Lag,
    ) -> Result<Option<SpillJob>, Fault> {
        let (soft, most) =
            (scene.exchange.config.slow.soft as u64, scene.exchange.config.spill_bytes);
        let (fill, conn) = (scene.exchange.config.fill, scene.conn);
        let spill = self.spill.as_mut();
        if spill.as_ref().is_some_and(|spill| spill.working) {
            return Ok(None);
        }
        let empty = spill.as_ref().is_none_or(|spill| spill.is_empty());
        if !empty && scene.out.len() < fill {
            return Ok(spill.and_then(|spill| spill.read()));
        }
        if lag.spill == 0 {
            return Ok(None);
        }
        // Behind what is on disk comes everything; otherwise only what would fall out.
        if lag.spill < soft {
            return Ok(None);
        }
        let Some(open) = scene.exchange.config.spill.clone() else {
            return Err(kick("too slow, and there is no storage for slow receivers"));
        };
        let mut batch = Vec::new();
        let pulled = scene.exchange.pull_from(conn, style, &mut batch, BATCH, From::OnlySpilling);
        if pulled == Pulled::FellOut || batch.is_empty() {
            return Ok(None);
        }
        *lag = scene.exchange.lag(conn);
        scene.exchange.spilled += batch.len() as u64;
        let job = self.spill.get_or_insert_default().write(batch, most, &open);
        job.map(Some).ok_or(kick("too slow: the storage for this receiver is full"))
    }
}

fn slow(reason: Kick) -> Fault {
    kick(match reason {
        Kick::HardBytes => "too slow: too many bytes are waiting",
        Kick::SoftTooLong => "too slow: many bytes have been waiting for too long",
        Kick::NoProgress => "too slow: nothing was read for too long",
    })
}

const fn kick(what: &'static str) -> Fault {
    Fault::new(FaultKind::TooSlow, what)
}
