//! Bugs of chat: order, fates, coming back.

use super::Planted;
use super::fanout::{self, Told, Wrong};
use super::flawed::{Flaw, Flawed};
use crate::chat::{Chat, ChatEngine, Habit, OneOrder, Prompt, engine, held, shape};
use crate::fanout::crowd;
use crate::trial::Trial;
use crate::world::Factory;
use core::time::Duration;

pub(super) fn planted() -> impl Iterator<Item = Planted> {
    WRONG.iter().map(|&(wrong, name, area, catchers, budget)| {
        let experiment = Box::new(trial(name, wrong));
        Planted { name, area, catchers, budget, experiment }
    })
}

#[rustfmt::skip]
const WRONG: &[super::Row<Wrong<Habit>>] = &[
    (Wrong::Client(Habit::SkipsOne), "a client comes back behind a message it never had", "chat", &["reply"], 400),
    (Wrong::Client(Habit::RepeatsOne), "a client comes back before a message it had", "chat", &["reply"], 400),
    (Wrong::Client(Habit::Unmarked), "a client says something again without the mark", "chat", &["order"], 2000),
    (Wrong::Client(Habit::OneKey), "messages about one thing replace those about another", "chat", &["order"], 4000),
    (Wrong::Machine(Flaw::LosesMail), "one letter between engines in twenty is lost", "host", &["live", "reply", "ledger", "leak", "deadline"], 50),
    (Wrong::Machine(Flaw::ShufflesMail), "a letter between engines overtakes another", "host", &["reply", "live", "ledger", "order", "leak", "deadline"], 100),
    (Wrong::Machine(Flaw::ForgetsPeer), "a member whose connection was reset stays in its rooms", "chat", &["leak", "live"], 100),
    (Wrong::Machine(Flaw::LosesResults), "one batch on its way from or to disk in forty is lost", "jobs", &["live", "leak", "deadline", "ledger"], 8000),
    (Wrong::Told(fanout::reads_the_front), "what is on disk is replayed from the wrong place", "chat", &["reply", "order", "live"], 8000),
    (Wrong::Told(fanout::kicks_nobody), "a member that takes nothing is never kicked", "chat", &["deadline"], 2000),
    (Wrong::Told(fanout::forgets_nothing), "a room that everybody left is never forgotten", "chat", &["leak"], 100),
    (Wrong::Told(fanout::has_no_room), "a room that coalesces does not keep the latest message of each key", "chat", &["order"], 4000),
    (Wrong::ToldMuch(fanout::logs_without_end), "a room keeps more than it may", "chat", &["footprint"], 4000),
];

fn trial(name: &str, wrong: Wrong<Habit>) -> Trial<Chat> {
    let serve = move |decider: &mut crate::decide::Decider| -> Factory {
        let mut promised = shape(decider);
        promised.fanout.keep_unused = Duration::from_secs(1);
        Box::new(move |life| {
            let promised = promised.clone().at(life);
            let Told { shape, flaw } = wrong.told(&promised);
            if flaw != Flaw::Nothing {
                let serve = promised.serve(|_| Flawed::new(engine(&shape), flaw));
                return Box::new(serve.life(life));
            }
            let serve = promised.serve(|_| engine(&shape)).life(life).leftover(rooms);
            Box::new(serve.total_cap(promised.total_cap(), held))
        })
    };
    let habit = if let Wrong::Client(habit) = wrong { habit } else { Habit::Good };
    let trial = crowd(Trial::of(name, serve, move |who| Chat::with(who, habit)));
    wrong.busy(trial).expect(Prompt).expect(OneOrder)
}

/// Rooms, a second and more after the last member left.
fn rooms(engine: &ChatEngine) -> Option<String> {
    let exchange = engine.world().shared.exchange();
    (exchange.topics() > 0).then(|| format!("an empty room: {exchange:?}"))
}
