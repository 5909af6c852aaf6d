//! What all connections of an engine hold in their buffers, and what follows from it.

use crate::conn::Limits;
use crate::guard::Band;

/// Unconsumed input and unsent output of all connections, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    here: usize,
    elsewhere: usize,
    stopped: bool,
    resumed: bool,
}

impl Held {
    /// Bytes held now, by this engine and by those the host told it of.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.here.saturating_add(self.elsewhere)
    }

    /// Whether connections are read only once their own output is taken: so from three quarters of
    /// [`Limits::total`] on, until half of it is held.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Bytes held by this engine alone.
    pub(crate) const fn here(&self) -> usize {
        self.here
    }

    /// A connection that held `before` holds `after`.
    #[inline]
    pub(crate) fn change(&mut self, limits: &Limits, before: usize, after: usize) {
        self.here = self.here.saturating_sub(before).saturating_add(after);
        self.look(limits);
    }

    pub(crate) fn set_elsewhere(&mut self, limits: &Limits, bytes: usize) {
        self.elsewhere = bytes;
        self.look(limits);
    }

    /// Whether reading has just been resumed: connections that were not read have to be looked at.
    pub(crate) fn take_resumed(&mut self) -> bool {
        core::mem::take(&mut self.resumed)
    }

    /// From where on a connection stops at its waiting output, and down to where.
    #[inline]
    pub(crate) const fn marks(&self, limits: &Limits) -> Band {
        if self.stopped {
            Band::new(1, 0)
        } else {
            Band::new(limits.output_high, limits.output_low)
        }
    }

    #[inline]
    fn look(&mut self, limits: &Limits) {
        let marks = Band::new(limits.total / 4 * 3, limits.total / 2);
        let stopped = marks.stops(self.stopped, self.bytes());
        self.resumed |= self.stopped && !stopped;
        self.stopped = stopped;
    }
}
