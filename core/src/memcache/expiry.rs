//! Time as the store sees it, and the rules for a client's `exptime`.
//!
//! Source: memcached `doc/protocol.txt`, section "Expiration times"; measured details in
//! memcached 1.6.45.

use crate::Tick;

/// The longest `exptime` that counts from now, in seconds (30 days). Anything longer is an
/// absolute Unix time.
pub const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

/// Whole seconds on the store's clock, which starts near 0 when the server starts, never goes
/// back and steps once a second (so a lifetime of 1 is a fraction of a second to one second).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secs(u32);

impl Secs {
    /// The last second that the clock can show, 136 years after its start.
    pub const MAX: Self = Self(u32::MAX - 1);

    /// A moment `secs` seconds after the start of the clock, at most [`Secs::MAX`].
    #[inline]
    pub const fn new(secs: u32) -> Self {
        if secs < Self::MAX.0 { Self(secs) } else { Self::MAX }
    }

    /// Seconds since the start of the clock.
    #[inline]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// The second that a moment is in, at most [`Secs::MAX`].
impl From<Tick> for Secs {
    #[inline]
    fn from(tick: Tick) -> Self {
        Self::new(u32::try_from(tick.as_secs()).unwrap_or(u32::MAX))
    }
}

/// When an item dies: never, at a second, or before it was even stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry(u32);

impl Expiry {
    /// The item lives until it is deleted, flushed or evicted.
    pub const NEVER: Self = Self(u32::MAX);
    /// The item is stored, but nobody sees it.
    pub const PAST: Self = Self(0);

    /// The item is gone from the beginning of second `at`.
    #[inline]
    pub const fn at(at: Secs) -> Self {
        Self(at.0)
    }

    /// The rule for a client's `exptime`: 0 is never; 1 to [`RELATIVE_MAX`] counts seconds from
    /// `now`; more is an absolute Unix time; negative is at once.
    ///
    /// `epoch` is the Unix time (seconds) of second 0 of the store's clock. An absolute time that
    /// is not after `now` is past; one beyond [`Secs::MAX`] is cut to it. Nothing wraps: unlike
    /// memcached, 4294967296 is not 0.
    pub fn from_exptime(exptime: i64, now: Secs, epoch: i64) -> Self {
        if exptime == 0 {
            return Self::NEVER;
        }
        match moment(exptime, now, epoch) {
            Some(at) if at > now => Self::at(at),
            _ => Self::PAST,
        }
    }

    /// Whether the item is gone in second `now`.
    #[inline]
    pub const fn is_past(self, now: Secs) -> bool {
        self.0 <= now.0
    }

    /// Seconds left at `now`: `None` when it never dies, 0 when it is gone.
    #[inline]
    pub const fn remaining(self, now: Secs) -> Option<u32> {
        if self.0 == Self::NEVER.0 { None } else { Some(self.0.saturating_sub(now.0)) }
    }

    pub(super) const fn to_bits(self) -> u32 {
        self.0
    }

    pub(super) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// When a `flush_all` with this delay strikes: same rule as [`Expiry::from_exptime`], except that
/// 0, a negative delay and a moment in the past all mean `now`.
pub fn flush_time(delay: i64, now: Secs, epoch: i64) -> Secs {
    moment(delay, now, epoch).map_or(now, |at| at.max(now))
}

/// The second that a non-zero exptime names, or `None` if it lies before the clock's start.
fn moment(exptime: i64, now: Secs, epoch: i64) -> Option<Secs> {
    if exptime < 0 {
        return None;
    }
    let at = if exptime <= RELATIVE_MAX {
        i64::from(now.0) + exptime
    } else {
        exptime.saturating_sub(epoch)
    };
    if at < 0 {
        return None;
    }
    Some(Secs::new(u32::try_from(at).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_800_000_000;
    const NOW: Secs = Secs::new(100);

    fn expiry(exptime: i64) -> Expiry {
        Expiry::from_exptime(exptime, NOW, EPOCH)
    }

    #[test]
    fn zero_is_never_and_negative_is_past() {
        assert_eq!(expiry(0), Expiry::NEVER);
        assert!(!Expiry::NEVER.is_past(Secs::MAX));
        assert_eq!(expiry(-1), Expiry::PAST);
        assert_eq!(expiry(i64::MIN), Expiry::PAST);
        assert!(Expiry::PAST.is_past(Secs::new(0)));
    }

    #[test]
    fn up_to_thirty_days_counts_from_now() {
        assert_eq!(expiry(1), Expiry::at(Secs::new(101)));
        assert_eq!(expiry(RELATIVE_MAX), Expiry::at(Secs::new(100 + 2_592_000)));
    }

    #[test]
    fn past_thirty_days_is_a_unix_time() {
        assert_eq!(expiry(RELATIVE_MAX + 1), Expiry::PAST);
        assert_eq!(expiry(EPOCH), Expiry::PAST);
        assert_eq!(expiry(EPOCH + 100), Expiry::PAST);
        assert_eq!(expiry(EPOCH + 101), Expiry::at(Secs::new(101)));
        assert_eq!(expiry(i64::MAX), Expiry::at(Secs::MAX));
    }

    #[test]
    fn an_item_is_gone_from_the_start_of_its_second() {
        let one = expiry(1);
        assert!(!one.is_past(NOW));
        assert!(one.is_past(Secs::new(101)));
        assert_eq!(one.remaining(NOW), Some(1));
        assert_eq!(one.remaining(Secs::new(102)), Some(0));
        assert_eq!(Expiry::NEVER.remaining(NOW), None);
    }

    #[test]
    fn flush_times_never_lie_in_the_past() {
        assert_eq!(flush_time(0, NOW, EPOCH), NOW);
        assert_eq!(flush_time(-5, NOW, EPOCH), NOW);
        assert_eq!(flush_time(5, NOW, EPOCH), Secs::new(105));
        assert_eq!(flush_time(EPOCH + 7, NOW, EPOCH), NOW);
        assert_eq!(flush_time(EPOCH + 107, NOW, EPOCH), Secs::new(107));
    }

    #[test]
    fn the_clock_saturates() {
        assert_eq!(Secs::from(Tick(1_999_999_999)), Secs::new(1));
        assert_eq!(Secs::from(Tick::MAX), Secs::MAX);
        assert_eq!(Secs::new(u32::MAX), Secs::MAX);
    }
}
