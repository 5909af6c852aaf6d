//! Chat under fire: members of all kinds in a few rooms, on several engines.

mod order;
mod work;

pub use order::{OneOrder, Prompt};
pub use work::{Chat, Habit, Reply, Request};

use crate::decide::Decider;
use crate::fanout::{Shape, crowd, phase};
use crate::trial::Trial;
use crate::workload::Outcome;
use crate::world::Factory;
use drywire::chat::{Config, Server, Shared, limits};
use drywire::engine::Engine;

/// The engine under test.
pub type ChatEngine = Engine<Server>;

/// Rooms that there can be.
const ROOMS: usize = 8;

/// The limits of one run, drawn.
pub fn shape(decider: &mut Decider) -> Shape {
    Shape::draw(decider, limits(), ROOMS)
}

/// A chat engine of this shape.
#[must_use]
pub fn engine(shape: &Shape) -> ChatEngine {
    let config = Config { heartbeat: shape.heartbeat, ..Config::default() };
    let shared = Shared::new(config, shape.fanout.clone());
    Engine::new(shared, shape.limits, crate::fanout::CONNECTIONS)
}

/// The server, for each of its lives.
#[must_use]
pub fn serve(decider: &mut Decider) -> Factory {
    let shape = shape(decider);
    Box::new(move |life| {
        let shape = shape.clone().at(life);
        let serve = shape.serve(engine).life(life).phases(phase).leftover(rooms);
        Box::new(serve.total_cap(shape.total_cap(), held))
    })
}

/// What the rooms of an engine hold.
pub(crate) fn held(engine: &ChatEngine) -> usize {
    Shape::held(engine.world().shared.exchange(), engine)
}

/// Rooms that nobody is in and that should have been forgotten.
fn rooms(engine: &ChatEngine) -> Option<String> {
    let exchange = engine.world().shared.exchange();
    let soon = Shape::forgets_soon(exchange.config());
    (soon && exchange.topics() > 0).then(|| format!("an empty room: {exchange:?}"))
}

/// Chat under everything but bits flipped, which chat has no way to notice.
#[must_use]
pub fn trial() -> Trial<Chat> {
    crowd(Trial::of("chat", serve, Chat::new))
        .expect(Prompt)
        .expect(OneOrder)
        .sometimes("a message was heard as said again", |run| {
            run.listened(|reply| matches!(reply, Reply::Said { again: true, .. }))
        })
        .sometimes("a gap was told", |run| {
            run.listened(|reply| matches!(reply, Reply::Lost { .. }))
        })
        .sometimes("a plain member was told of a gap", |run| {
            run.listened(|reply| matches!(reply, Reply::PlainLost(_)))
        })
        .sometimes("something was not granted", |run| {
            run.history.iter().any(|op| op.outcome == Outcome::Refused)
        })
}
