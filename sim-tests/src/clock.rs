//! Clocks that jump and drift.

use drywire::Tick;

/// A machine's clock: real time, moved and stretched.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    real: u64,
    local: u64,
    /// Parts per million that it runs fast (or slow, if negative).
    drift: i64,
}

impl Clock {
    #[inline]
    pub(crate) fn read(&self, real: u64) -> Tick {
        let gone = real - self.real;
        let gone =
            if self.drift == 0 { gone } else { scale(gone, 1_000_000 + self.drift, 1_000_000) };
        Tick(self.local.saturating_add(gone))
    }

    /// The first real moment at which it reads `local` or more.
    #[inline]
    pub(crate) fn when(&self, local: Tick) -> u64 {
        let gone = local.0.saturating_sub(self.local);
        let gone = if self.drift == 0 {
            gone
        } else {
            scale(gone, 1_000_000, 1_000_000 + self.drift).saturating_add(1)
        };
        self.real.saturating_add(gone)
    }

    pub(crate) fn change(&mut self, real: u64, jump: u64, drift: i64) {
        self.local = self.read(real).0.saturating_add(jump);
        self.real = real;
        self.drift = drift;
    }
}

fn scale(n: u64, by: i64, of: i64) -> u64 {
    u64::try_from(u128::from(n) * by.unsigned_abs() as u128 / of.unsigned_abs() as u128)
        .unwrap_or(u64::MAX)
}
