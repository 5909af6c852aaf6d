//! The trials that come with this crate, by name.

use crate::trial::Experiment;
use crate::{chat, guard, hub, memcache, sudoku};

/// All of them. A protocol that is added to the core adds its trial here, and the command line,
/// the campaigns and the replay files know it.
#[must_use]
pub fn trials() -> Vec<Box<dyn Experiment>> {
    vec![
        Box::new(memcache::trial()),
        Box::new(sudoku::trial()),
        Box::new(sudoku::overload()),
        Box::new(sudoku::rolling()),
        Box::new(chat::trial()),
        Box::new(hub::trial()),
        Box::new(guard::heartbeat()),
        Box::new(guard::gates()),
        Box::new(guard::drain()),
    ]
}

/// The trial called `name`.
#[must_use]
pub fn find(name: &str) -> Option<Box<dyn Experiment>> {
    trials().into_iter().find(|t| t.name() == name)
}
