//! The live line: what happens now, once a second, on a terminal only.

use super::closed::Progress;
use core::sync::atomic::Ordering;
use core::time::Duration;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use std::thread::sleep;
use std::time::Instant;

/// Shows the progress of one phase until all of its threads have ended it.
pub(crate) struct Live {
    bar: ProgressBar,
}

impl Live {
    /// A phase that takes about this long; without a length it shows no bar, only numbers.
    pub(crate) fn new(name: &'static str, length: Option<Duration>) -> Self {
        let bar = match length {
            Some(length) => ProgressBar::new(length.as_secs().max(1)),
            None => ProgressBar::no_length(),
        };
        let template = if length.is_some() {
            "{prefix} {elapsed} {wide_bar} {msg}"
        } else {
            "{prefix} {elapsed} {msg}"
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        bar.set_prefix(name);
        Self { bar }
    }

    /// Watches until `ended`, with a new line of numbers each second.
    pub(crate) fn watch(&self, progress: &[Progress], mut ended: impl FnMut() -> bool) {
        let sum = |field: fn(&Progress) -> u64| progress.iter().map(field).sum::<u64>();
        let mut last = (Instant::now(), 0);
        while !ended() {
            sleep(Duration::from_millis(20));
            let seconds = last.0.elapsed().as_secs_f64();
            if seconds < 1.0 {
                continue;
            }
            let answered = sum(|p| p.answered.load(Ordering::Relaxed));
            let bad = sum(|p| p.bad.load(Ordering::Relaxed));
            let rate = HumanCount(((answered - last.1) as f64 / seconds) as u64);
            let total = HumanCount(answered);
            self.bar.set_message(if bad == 0 {
                format!("{rate}/s, {total} answered")
            } else {
                format!("{rate}/s, {total} answered, {} BAD", HumanCount(bad))
            });
            self.bar.inc(1);
            last = (Instant::now(), answered);
        }
        self.bar.finish_and_clear();
    }
}
