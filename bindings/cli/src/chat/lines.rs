//! `drywire chat` without a terminal: lines in, lines or JSON out.

use super::command::Command;
use super::talk::{Face, Talk, Then};
use crate::lines::{Lines, Signals, Teller, clean, put};
use crate::link::sleep_until;
use crate::{Failure, Verdict};
use core::fmt::Display;
use core::time::Duration;
use drywire::chat::client::Event;
use serde::Serialize;

pub(super) struct Options {
    pub(super) json: bool,
    /// Go on listening after the end of input.
    pub(super) follow: bool,
    /// How long to be without a connection before giving up.
    pub(super) retry: Duration,
}

/// Talks until the input has ended and all that was said is heard, or, if it follows, for ever.
pub(super) async fn run(mut talk: Talk, options: &Options) -> Result<Verdict, Failure> {
    let teller = Teller { json: options.json };
    let mut printer = Printer { teller, wrong: false, why: String::new() };
    let mut input = Lines::of_stdin();
    let mut signals = Signals::new().map_err(Failure::system)?;
    let (mut ended, mut waiting) = (false, None);
    loop {
        let settled = talk.client.is_current() && talk.client.unheard() == 0 && talk.asked == 0;
        if let Some(command) = waiting.take_if(|_| settled) {
            if printer.obey(&mut talk, command) {
                break;
            }
            continue;
        }
        if settled && ended && waiting.is_none() && !options.follow {
            break;
        }
        let may_say = !ended && waiting.is_none() && talk.client.has_room();
        let give_up = talk.link.down_since().map(|since| since + options.retry);
        tokio::select! {
            () = talk.turn(&mut printer) => {}
            () = sleep_until(give_up) => {
                let why = if printer.why.is_empty() { "no answer" } else { &printer.why };
                return Err(Failure::system(format!("gave up: {why}")));
            }
            line = input.next(), if may_say => match line {
                None => ended = true,
                Some(line) => {
                    let line = String::from_utf8(line?)
                        .map_err(|_| Failure::system("standard input: a line that is not UTF-8"))?;
                    match Command::parse(&line) {
                        Ok(None) => {}
                        Ok(Some(command @ (Command::Say(_) | Command::Join(_) | Command::Switch(_)))) => {
                            printer.obey(&mut talk, command);
                        }
                        // Behind what was typed before it.
                        Ok(command) => waiting = command,
                        Err(why) => printer.error(&why),
                    }
                }
            },
            () = signals.next() => match talk.client.unheard() {
                0 => break,
                n => {
                    let why = format!("interrupted: {n} messages were said and not heard yet");
                    return Err(Failure::system(why));
                }
            },
        }
    }
    Ok(if printer.wrong { Verdict::Failed } else { Verdict::Good })
}

struct Printer {
    teller: Teller,
    /// Something could not be done.
    wrong: bool,
    /// Why there is no connection.
    why: String,
}

impl Printer {
    /// Does what was typed. True at the end.
    fn obey(&mut self, talk: &mut Talk, command: Command) -> bool {
        match talk.command(command) {
            Ok(Then::Quit) => return true,
            Ok(Then::Tell(lines)) => lines.iter().for_each(|line| self.note(line)),
            Ok(Then::Nothing | Then::Look) => {}
            Err(why) => self.error(&why),
        }
        false
    }

    fn error(&mut self, why: &str) {
        self.wrong = true;
        self.teller.error(why);
    }

    fn note(&self, text: &str) {
        self.report(&Report::Note { text }, format_args!("* {}", clean(text.as_bytes())));
    }

    fn report(&self, json: &Report<'_>, words: impl Display) {
        self.teller.tell(json, words);
    }
}

/// An event in JSON. Names, rooms and texts that are no UTF-8 have replacement characters.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Report<'a> {
    Joined {
        room: &'a str,
        members: u64,
        again: bool,
    },
    Left {
        room: &'a str,
    },
    Said {
        room: &'a str,
        seq: u64,
        time_ms: u64,
        name: &'a str,
        text: &'a str,
        own: bool,
        maybe_repeat: bool,
        past: bool,
    },
    Presence {
        room: &'a str,
        name: &'a str,
        came: bool,
        past: bool,
    },
    Roster {
        room: &'a str,
        members: u64,
        names: Vec<String>,
    },
    Stats {
        text: &'a str,
    },
    Link {
        room: &'a str,
        text: &'a str,
    },
    /// `count` is null if nobody knows.
    Lost {
        room: &'a str,
        count: Option<u64>,
    },
    Refused {
        room: &'a str,
        number: Option<u64>,
        reason: &'a str,
    },
    /// Said, and never heard.
    Failed {
        number: u64,
    },
    Bye {
        reason: &'a str,
    },
    Note {
        text: &'a str,
    },
}

impl Face for Printer {
    fn event(&mut self, event: &Event<'_>) {
        let text = |bytes| String::from_utf8_lossy(bytes);
        match *event {
            Event::Welcome => self.teller.connected(),
            Event::Joined { room, members, again } => {
                let back = if again { "back in" } else { "in" };
                self.report(
                    &Report::Joined { room: &text(room), members, again },
                    format_args!("* {back} {} ({members} here)", clean(room)),
                );
            }
            Event::Left { room } => self.report(
                &Report::Left { room: &text(room) },
                format_args!("* left {}", clean(room)),
            ),
            Event::Said(message) => {
                let said = message.said;
                if self.teller.json {
                    return self.teller.print(&Report::Said {
                        room: &text(said.room),
                        seq: said.seq,
                        time_ms: said.time,
                        name: &text(said.name),
                        text: &text(said.text),
                        own: message.own,
                        maybe_repeat: message.maybe_repeat,
                        past: message.past,
                    });
                }
                let repeat = if message.maybe_repeat { " (perhaps again)" } else { "" };
                let name = if said.name.is_empty() { "-".into() } else { clean(said.name) };
                let (room, text) = (clean(said.room), clean(said.text));
                put(|out| writeln!(out, "[{room}] {name}{repeat}: {text}"));
            }
            Event::Presence { room, name, came, past } => {
                let json = Report::Presence { room: &text(room), name: &text(name), came, past };
                if self.teller.json || !past {
                    let what = if came { "came" } else { "went" };
                    self.report(&json, format_args!("* [{}] {} {what}", clean(room), clean(name)));
                }
            }
            Event::Roster { room, total, names } => {
                let list = names.map(|name| text(name).into_owned()).collect();
                let json = Report::Roster { room: &text(room), members: total, names: list };
                let names: Vec<_> = names.map(clean).collect();
                let (room, names) = (clean(room), names.join(", "));
                self.report(&json, format_args!("* [{room}] {total} here: {names}"));
            }
            Event::Stats { text: lines } => {
                let lines = text(lines);
                self.report(&Report::Stats { text: &lines }, clean(lines.trim_end().as_bytes()));
            }
            Event::Lost { room, count } => {
                self.report(
                    &Report::Lost { room: &text(room), count },
                    format_args!("* [{}] {}", clean(room), super::gap(count)),
                );
            }
            Event::Link { room, text: words } => {
                self.report(
                    &Report::Link { room: &text(room), text: &text(words) },
                    format_args!("* [{}] {}", clean(room), clean(words)),
                );
            }
            Event::Refused { room, number, reason } => {
                self.wrong = true;
                let json = Report::Refused { room: &text(room), number, reason: &text(reason) };
                self.report(&json, format_args!("! [{}] refused: {}", clean(room), clean(reason)));
            }
            Event::Bye { reason } => {
                self.report(
                    &Report::Bye { reason: &text(reason) },
                    format_args!("* the server says goodbye: {}", clean(reason)),
                );
            }
            Event::Pong | Event::Nothing => {}
        }
    }

    fn down(&mut self, why: &str, again_in: Duration) {
        self.why = why.into();
        self.teller.down(why, again_in);
    }

    fn failed(&mut self, number: u64) {
        self.wrong = true;
        self.report(
            &Report::Failed { number },
            format_args!("! message {number} will not be heard: its room was left or refused"),
        );
    }
}
