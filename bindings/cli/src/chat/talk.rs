//! The client machine on a link: what both faces of `drywire chat` stand on.

use super::command::Command;
use crate::link::{Link, News, sleep_until};
use core::net::SocketAddr;
use core::time::Duration;
use drywire::chat::client::{Client, Event, Step};

/// What is shown of a conversation: on a screen, or line by line.
pub(super) trait Face {
    /// Something happened.
    fn event(&mut self, event: &Event<'_>);
    /// There is no connection.
    fn down(&mut self, why: &str, again_in: Duration);
    /// A say will not be heard, or nobody knows whether it was.
    fn failed(&mut self, number: u64);
}

/// One's part in a conversation.
pub(super) struct Talk {
    pub(super) client: Client,
    pub(super) link: Link,
    /// Where what is said goes.
    pub(super) room: String,
    pub(super) history: u32,
    /// Questions on their way: who is there, and leaving.
    pub(super) asked: u32,
}

/// What a command leads to.
pub(super) enum Then {
    Nothing,
    /// Tell whoever typed it.
    Tell(Vec<String>),
    /// Look at this room.
    Look,
    Quit,
}

impl Talk {
    pub(super) fn new(addr: SocketAddr, client: Client, rooms: &[String], history: u32) -> Self {
        let room = rooms.first().cloned().unwrap_or_default();
        let mut talk = Self { client, link: Link::new(addr), room, history, asked: 0 };
        for room in rooms {
            talk.client.join(room.as_bytes(), history, &mut talk.link.out);
        }
        talk
    }

    /// Waits for what the network or the clock brings, and shows it. May be dropped at any time.
    pub(super) async fn turn(&mut self, face: &mut impl Face) {
        let due = self.client.deadline().map(|tick| self.link.instant(tick));
        tokio::select! {
            news = self.link.next() => match news {
                News::Up => self.client.connected(self.link.now(), &mut self.link.out),
                News::Down { why, again_in } => {
                    self.client.disconnected();
                    self.asked = 0;
                    face.down(&why, again_in);
                }
                News::Input => self.read(face),
                News::Finished => {}
            },
            () = sleep_until(due) => {
                if let Err(fault) = self.client.tick(self.link.now(), &mut self.link.out) {
                    self.link.fail(fault.what);
                }
            }
        }
        while let Some(number) = self.client.next_failed() {
            face.failed(number);
        }
    }

    fn read(&mut self, face: &mut impl Face) {
        let now = self.link.now();
        let mut used = 0;
        let result = loop {
            let (input, out) = self.link.parts();
            match self.client.step(now, &input[used..], out) {
                Ok(Step::Need(_)) => break Ok(()),
                Ok(Step::Event { event, used: n }) => {
                    match event {
                        Event::Left { .. } | Event::Roster { .. } | Event::Stats { .. } => {
                            self.asked = self.asked.saturating_sub(1);
                        }
                        Event::Refused { number: None, .. } => {
                            self.asked = self.asked.saturating_sub(1);
                        }
                        _ => {}
                    }
                    used += n;
                    face.event(&event);
                }
                Err(fault) => break Err(fault),
            }
        };
        self.link.consume(used);
        self.look_at_a_room();
        if self.client.is_up() {
            self.link.is_good();
        }
        if let Err(fault) = result {
            self.link.fail(fault.what);
        }
    }

    /// Does what a line says.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub(super) fn command(&mut self, command: Command) -> Result<Then, String> {
        let out = &mut self.link.out;
        match command {
            Command::Say(text) => {
                self.client
                    .say(self.room.as_bytes(), b"", text.as_bytes(), out)
                    .map_err(|why| why.to_string())?;
                Ok(Then::Nothing)
            }
            Command::Join(room) => {
                let known = self.is_in(&room);
                if !known && !self.client.join(room.as_bytes(), self.history, &mut self.link.out) {
                    return Err("a room has 1 to 64 bytes, without control characters".into());
                }
                self.room = room;
                Ok(Then::Look)
            }
            Command::Leave(room) => {
                let room = room.unwrap_or_else(|| self.room.clone());
                if !self.is_in(&room) {
                    return Err(format!("not in {room}"));
                }
                self.asked += u32::from(self.client.is_up());
                self.client.leave(room.as_bytes(), &mut self.link.out);
                self.look_at_a_room();
                Ok(Then::Look)
            }
            Command::Switch(room) => {
                if !self.is_in(&room) {
                    return Err(format!("not in {room}: /join it first"));
                }
                self.room = room;
                Ok(Then::Look)
            }
            Command::Rooms => {
                let rooms = self.client.rooms().map(|room| {
                    let members = self.client.members(room);
                    let room = String::from_utf8_lossy(room);
                    let here = if *room == *self.room { "*" } else { " " };
                    match members {
                        Some(members) => format!("{here} {room} ({members})"),
                        None => format!("{here} {room} (not in yet)"),
                    }
                });
                Ok(Then::Tell(rooms.collect()))
            }
            Command::Who => {
                if !self.client.is_up() {
                    return Err("not connected".into());
                }
                self.asked += 1;
                self.client.who(self.room.as_bytes(), out);
                Ok(Then::Nothing)
            }
            Command::Stats => {
                if !self.client.is_up() {
                    return Err("not connected".into());
                }
                self.asked += 1;
                self.client.stats(out);
                Ok(Then::Nothing)
            }
            Command::Help => {
                Ok(Then::Tell(super::command::HELP.iter().map(|&l| l.into()).collect()))
            }
            Command::Quit => Ok(Then::Quit),
        }
    }

    /// After the one it was looking at is left: any of the others.
    fn look_at_a_room(&mut self) {
        if !self.is_in(&self.room) {
            let other = self.client.rooms().next().unwrap_or_default();
            self.room = String::from_utf8_lossy(other).into_owned();
        }
    }

    pub(super) fn is_in(&self, room: &str) -> bool {
        self.client.rooms().any(|known| known == room.as_bytes())
    }
}
