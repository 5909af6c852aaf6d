//! What a run found, as text for people or as one JSON object.

use super::phase::Phase;
use anstyle::AnsiColor;
use core::fmt::Display;
use serde::Serialize;

/// A whole run.
#[derive(Serialize)]
pub(crate) struct Report<S> {
    /// What was asked for, in words and in fields.
    pub(crate) setup: S,
    /// Storing each key once, before the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preload: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measured: Option<Phase>,
}

impl<S: Serialize + Display> Report<S> {
    /// Every request had one outcome, and none of them was an error, wrong or lost.
    pub(crate) fn good(&self) -> bool {
        self.preload.iter().chain(&self.measured).all(Phase::good)
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            let mut object = serde_json::json!(self);
            object["good"] = self.good().into();
            println!("{object}");
            return;
        }
        println!("{}", self.setup);
        for (name, phase) in [("preload", &self.preload), ("measured", &self.measured)] {
            if let Some(phase) = phase {
                anstream::println!("{name}\n{phase}");
            }
        }
        let (style, words) = if self.good() {
            (AnsiColor::Green.on_default(), "good: every request was answered once, and rightly")
        } else {
            (
                AnsiColor::Red.on_default(),
                "FAILED: there were requests with an error reply, a wrong answer or none",
            )
        };
        anstream::println!("{style}{words}{style:#}");
    }
}
