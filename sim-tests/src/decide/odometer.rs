//! All runs of a small scope, one after the other.

/// Walks through every combination of answers, depth first: each run asks its questions, and the
/// last question that has an untried answer moves on.
///
/// ```
/// use drywire_sim::decide::{Decider, Key, Odometer, Site};
/// const SITE: Site = Site::new("doc.coin");
/// let mut seen = Vec::new();
/// let mut odometer = Some(Odometer::new());
/// while let Some(point) = odometer {
///     let mut d = Decider::odometer(point);
///     let first = d.below(SITE, Key::of(0, 1), 2);
///     let second = if first == 1 { d.below(SITE, Key::of(0, 2), 3) } else { 0 };
///     seen.push((first, second));
///     odometer = d.into_odometer().and_then(Odometer::advance);
/// }
/// assert_eq!(seen, [(0, 0), (1, 0), (1, 1), (1, 2)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Odometer {
    /// Answer and number of answers of each question, in order.
    wheels: Vec<(u64, u64)>,
    at: usize,
}

impl Odometer {
    /// At the first point: every answer 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The answer to the next question, which has `n` answers.
    pub(super) fn next(&mut self, n: u64) -> u64 {
        if self.at == self.wheels.len() {
            self.wheels.push((0, n));
        }
        let (value, of) = self.wheels[self.at];
        debug_assert_eq!(of, n, "the same answers must lead to the same questions");
        self.at += 1;
        value
    }

    /// The next point; `None` after the last.
    #[must_use]
    pub fn advance(mut self) -> Option<Self> {
        self.wheels.truncate(self.at);
        self.at = 0;
        while let Some((value, n)) = self.wheels.pop() {
            if value + 1 < n {
                self.wheels.push((value + 1, n));
                return Some(self);
            }
        }
        None
    }
}
