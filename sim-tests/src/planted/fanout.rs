//! What goes wrong in any fan-out server.

use super::flawed::Flaw;
use crate::caller::Habits;
use crate::fanout::Shape;
use crate::trial::Trial;
use crate::workload::Workload;
use core::time::Duration;
use drywire::fanout::{OpenSpill, SpillError, SpillFile};

/// What is wrong.
#[derive(Clone, Copy)]
pub(super) enum Wrong<H> {
    /// A client machine.
    Client(H),
    /// The host or the engine: what stands between them.
    Machine(Flaw),
    /// What the server was told, while it promises something else.
    Told(fn(&mut Shape)),
    /// The same, and there is much to be told.
    ToldMuch(fn(&mut Shape)),
}

/// What the engine is like that promised another shape.
pub(super) struct Told {
    pub(super) shape: Shape,
    pub(super) flaw: Flaw,
}

impl<H> Wrong<H> {
    pub(super) fn told(&self, promised: &Shape) -> Told {
        let mut told = Told { shape: promised.clone(), flaw: Flaw::Nothing };
        match self {
            Self::Told(twist) | Self::ToldMuch(twist) => twist(&mut told.shape),
            Self::Machine(flaw) => told.flaw = *flaw,
            Self::Client(_) => {}
        }
        told
    }

    /// The trial of it.
    pub(super) fn busy<W: Workload + 'static>(&self, trial: Trial<W>) -> Trial<W> {
        match self {
            Self::ToldMuch(_) => {
                let stay = Duration::from_millis(800);
                trial.habits(Habits { ops: 200, stay, ..Habits::default() })
            }
            _ => trial,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn kicks_nobody(shape: &mut Shape) {
    let slow = &mut shape.fanout.slow;
    (slow.no_progress, slow.soft_for) = (HOUR, HOUR);
    shape.limits.output.no_progress = HOUR;
}

pub(super) fn forgets_nothing(shape: &mut Shape) {
    shape.fanout.keep_unused = HOUR;
}

/// Room for a message or two.
pub(super) fn has_no_room(shape: &mut Shape) {
    (shape.fanout.log_bytes, shape.fanout.keys) = (1 << 10, 1);
}

pub(super) fn logs_without_end(shape: &mut Shape) {
    (shape.fanout.log_bytes, shape.fanout.total_bytes) = (1 << 30, 1 << 30);
}

pub(super) fn reads_the_front(shape: &mut Shape) {
    // More of it goes there.
    shape.fanout.fill = 1 << 10;
    (shape.fanout.slow.hard, shape.fanout.slow.soft) = (8 << 10, 2 << 10);
    shape.fanout.spill = Some(OpenSpill::new(|| Ok(Box::new(Front(Vec::new())))));
}

/// A scratch file that always reads from its beginning.
struct Front(Vec<u8>);

impl SpillFile for Front {
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), SpillError> {
        let (at, end) = (at as usize, at as usize + bytes.len());
        self.0.resize(self.0.len().max(end), 0);
        self.0[at..end].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, _: u64, into: &mut [u8]) -> Result<(), SpillError> {
        into.copy_from_slice(self.0.get(..into.len()).ok_or(SpillError)?);
        Ok(())
    }
}
