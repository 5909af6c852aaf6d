//! `drywire chat` on a terminal.

use super::command::Command;
use super::room::{Kind, Room};
use super::talk::{Face, Talk, Then};
use super::tty::Tty;
use crate::lines::{Signals, clean};
use crate::link::sleep_until;
use crate::{Failure, Verdict};
use core::time::Duration;
use crossterm::event::{Event as Key, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use drywire::chat::client::Event;
use drywire::chat::codec::TEXT_MAX;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};
use tokio_stream::StreamExt;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

/// The shortest time between two pictures.
const FRAME: Duration = Duration::from_millis(16);
/// How often the time until the next attempt to connect is shown.
const SECOND: Duration = Duration::from_secs(1);
/// How often the server's answer is timed.
const PING: Duration = Duration::from_secs(5);
/// Lines typed that are remembered.
const TYPED: usize = 500;

/// Talks until whoever sits there has enough, or the terminal or a signal ends it.
pub(super) async fn run(mut talk: Talk, name: &str) -> Result<Verdict, Failure> {
    let mut signals = Signals::new().map_err(Failure::system)?;
    let mut tty = Tty::take().map_err(|error| Failure::system(format!("the terminal: {error}")))?;
    let mut keys = EventStream::new();
    let mut screen = Screen::new(name);
    let mut drawn: Option<Instant> = None;
    let mut ping = tokio::time::interval(PING);
    // A computer that slept does not make up for it.
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let after = |pause| drawn.map_or_else(Instant::now, |drawn| drawn + pause);
        let due = match &screen.down {
            _ if screen.changed => Some(after(FRAME)),
            Some(_) => Some(after(SECOND)),
            None => None,
        };
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(key)) => if screen.key(&key, &mut talk) {
                    return Ok(Verdict::Good);
                }
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(Verdict::Good),
            },
            () = talk.turn(&mut screen) => {}
            _ = ping.tick() => talk.client.ping(talk.link.now(), &mut talk.link.out),
            () = signals.next() => return Ok(Verdict::Good),
            () = sleep_until(due) => {
                screen.follow(&talk);
                let draw = tty.0.draw(|frame| screen.draw(frame, &talk));
                draw.map_err(|error| Failure::system(format!("the terminal: {error}")))?;
                (drawn, screen.changed) = (Some(Instant::now()), false);
            }
        }
    }
}

/// All that is seen but for what the client machine knows.
struct Screen {
    name: String,
    rooms: BTreeMap<String, Room>,
    /// The room that is looked at.
    here: String,
    /// Lines for it that were not put there yet.
    notes: Vec<(Kind, String)>,
    input: Input,
    typed: Vec<String>,
    /// Which typed line the input shows; behind the last for a new one.
    recalled: usize,
    /// Why there is no connection, and when the next attempt is.
    down: Option<(String, Instant)>,
    /// The size at the last picture, in columns and in rows of messages.
    size: (u16, u16),
    colour: bool,
    changed: bool,
}

impl Screen {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            rooms: BTreeMap::new(),
            here: String::new(),
            notes: Vec::new(),
            input: Input::default(),
            typed: Vec::new(),
            recalled: 0,
            down: None,
            size: (80, 20),
            colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            changed: true,
        }
    }

    /// One look at each room the client is in, none at others.
    fn follow(&mut self, talk: &Talk) {
        self.here.clone_from(&talk.room);
        self.rooms.retain(|room, _| *room == self.here || talk.is_in(room));
        for room in talk.client.rooms().map(String::from_utf8_lossy) {
            self.rooms.entry(room.into_owned()).or_default();
        }
        self.rooms.entry(self.here.clone()).or_default().unread = 0;
        for (kind, text) in core::mem::take(&mut self.notes) {
            let here = self.here.clone();
            self.push(&here, kind, Some(now_ms()), text);
        }
    }

    /// True at the end.
    fn key(&mut self, key: &Key, talk: &mut Talk) -> bool {
        self.changed = true;
        match *key {
            Key::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => {}
            Key::Key(key) => return self.press(key, talk),
            Key::Paste(ref text) => {
                // All at once: letter by letter it would take the square of its length.
                let text = text.chars().map(|c| if c.is_control() { ' ' } else { c });
                let text: String = text.take(TEXT_MAX).collect();
                let (value, at) = (self.input.value(), self.input.cursor());
                let byte = value.char_indices().nth(at).map_or(value.len(), |(byte, _)| byte);
                let whole = [&value[..byte], &text, &value[byte..]].concat();
                self.input = Input::new(whole).with_cursor(at + text.chars().count());
            }
            _ => {}
        }
        false
    }

    fn press(&mut self, key: KeyEvent, talk: &mut Talk) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let page = isize::from(self.size.1.max(2) as i16 - 1);
        match key.code {
            KeyCode::Char('c') if control => return true,
            KeyCode::Char('d') if control && self.input.value().is_empty() => return true,
            KeyCode::Enter => {
                let line = self.input.value_and_reset();
                return self.enter(&line, talk);
            }
            KeyCode::Tab | KeyCode::BackTab => self.turn(talk, key.code == KeyCode::Tab),
            KeyCode::Char('n') if control => self.turn(talk, true),
            KeyCode::Char('p') if control => self.turn(talk, false),
            KeyCode::PageUp => self.room().scroll(page),
            KeyCode::PageDown => self.room().scroll(-page),
            KeyCode::Up => self.recall(self.recalled.saturating_sub(1)),
            KeyCode::Down => self.recall(self.recalled + 1),
            KeyCode::Esc => self.room().show_end(),
            _ => drop(self.input.handle_event(&Key::Key(key))),
        }
        false
    }

    fn enter(&mut self, line: &str, talk: &mut Talk) -> bool {
        self.follow(talk);
        self.room().show_end();
        if !line.is_empty() && self.typed.last().is_none_or(|last| last != line) {
            self.typed.push(line.into());
            if self.typed.len() > TYPED {
                self.typed.remove(0);
            }
        }
        self.recalled = self.typed.len();
        let command = match Command::parse(line) {
            Ok(None) => return false,
            Ok(Some(command)) => Ok(command),
            Err(why) => Err(why),
        };
        match command.and_then(|command| talk.command(command)) {
            Ok(Then::Quit) => return true,
            Ok(Then::Tell(lines)) => {
                lines.into_iter().for_each(|line| self.note(Kind::Notice, line))
            }
            Ok(Then::Look) => self.follow(talk),
            Ok(Then::Nothing) => {}
            Err(why) => self.note(Kind::Warning, why),
        }
        false
    }

    /// Looks at the next room, or the one before.
    fn turn(&mut self, talk: &mut Talk, forward: bool) {
        let rooms: Vec<_> = talk.client.rooms().map(String::from_utf8_lossy).collect();
        let Some(at) = rooms.iter().position(|room| *room == *talk.room) else { return };
        let step = if forward { 1 } else { rooms.len() - 1 };
        talk.room = rooms[(at + step) % rooms.len()].clone().into_owned();
        self.follow(talk);
    }

    fn recall(&mut self, number: usize) {
        self.recalled = number.min(self.typed.len());
        let line = self.typed.get(self.recalled).cloned().unwrap_or_default();
        self.input = Input::new(line);
    }

    fn room(&mut self) -> &mut Room {
        self.rooms.entry(self.here.clone()).or_default()
    }

    /// A line for the room that will be looked at.
    fn note(&mut self, kind: Kind, text: String) {
        self.changed = true;
        self.notes.push((kind, text));
    }

    fn push(&mut self, room: &str, kind: Kind, time: Option<u64>, text: String) {
        self.changed = true;
        let width = self.size.0;
        self.rooms.entry(room.into()).or_default().push(kind, time, text, width);
    }

    fn draw(&mut self, frame: &mut Frame<'_>, talk: &Talk) {
        let rows = [
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
            Constraint::Length(1),
        ];
        let [top, middle, status, bottom] = Layout::vertical(rows).areas(frame.area());
        self.size = (middle.width, middle.height);
        frame.render_widget(self.tabs(top.width), top);
        let colour = self.colour;
        let (lines, below) = self.room().rows(middle.width, middle.height, colour);
        // Above the input, as talk is.
        let empty = usize::from(middle.height).saturating_sub(lines.len());
        let lines: Vec<_> = core::iter::repeat_n(Line::default(), empty).chain(lines).collect();
        frame.render_widget(ratatui::text::Text::from(lines), middle);
        let style = Style::new().add_modifier(Modifier::REVERSED);
        let words =
            format!("{:width$}", self.status(talk, below), width = usize::from(status.width));
        frame.render_widget(Line::styled(words, style), status);
        let width = usize::from(bottom.width.max(4)) - 3;
        let scroll = self.input.visual_scroll(width);
        let shown = textual_skip(self.input.value(), scroll);
        frame.render_widget(Line::from(vec![Span::raw("> "), Span::raw(shown.to_owned())]), bottom);
        let column = self.input.visual_cursor().saturating_sub(scroll).min(width) as u16;
        frame.set_cursor_position((bottom.x + 2 + column, bottom.y));
    }

    /// The rooms; those in front of the one that is looked at only as far as there is room.
    fn tabs(&self, width: u16) -> Line<'static> {
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let named = self.rooms.iter().filter(|(name, _)| !name.is_empty());
        let tabs = named.map(|(name, room)| match room.unread {
            _ if *name == self.here => Span::styled(format!(" {name} "), reversed),
            0 => Span::raw(format!(" {name} ")),
            n => Span::styled(format!(" {name} ({n}) "), bold),
        });
        let mut tabs: Vec<_> = tabs.collect();
        let mut here = tabs.iter().position(|tab| tab.style == reversed).unwrap_or(0);
        let columns = |tabs: &[Span<'_>]| tabs.iter().map(|tab| tab.width() + 1).sum::<usize>();
        while here > 0 && columns(&tabs[..=here]) > usize::from(width) + 1 {
            tabs.remove(0);
            here -= 1;
        }
        Line::from_iter(tabs.into_iter().flat_map(|tab| [tab, Span::raw(" ")]))
    }

    fn status(&self, talk: &Talk, below: usize) -> String {
        let mut parts = vec![self.name.clone()];
        if self.here.is_empty() {
            parts.push("in no room: /join ROOM".into());
        } else {
            parts.push(self.here.clone());
            match talk.client.members(self.here.as_bytes()) {
                Some(1) => parts.push("alone here".into()),
                Some(members) => parts.push(format!("{members} here")),
                None => parts.push("not in yet".into()),
            }
        }
        match talk.client.unheard() {
            0 => {}
            n => parts.push(format!("{n} on the way")),
        }
        match (&self.down, talk.client.round_trip()) {
            (Some((why, at)), _) => {
                let left = at.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
                // In front, where a narrow terminal has it too.
                parts.insert(0, format!("NO CONNECTION, again in {left:.0} s"));
                parts.push(why.clone());
            }
            (None, _) if !talk.client.is_up() => parts.push("connecting".into()),
            (None, Some(time)) => parts.push(format!("round trip {}", millis(time))),
            (None, None) => parts.push("connected".into()),
        }
        if below > 0 {
            parts.push(format!("{below} rows below, Esc to see them"));
        }
        format!(" {}", parts.join(" | "))
    }
}

impl Face for Screen {
    fn event(&mut self, event: &Event<'_>) {
        let lossy = |room| String::from_utf8_lossy(room).into_owned();
        self.changed = true;
        match *event {
            Event::Welcome => self.down = None,
            Event::Joined { room, members, again } => {
                let back = if again { "back in" } else { "in" };
                let text = format!("{back} {}, {members} here", clean(room));
                self.push(&lossy(room), Kind::Notice, Some(now_ms()), text);
            }
            Event::Left { room } => {
                self.rooms.remove(&lossy(room));
                self.note(Kind::Notice, format!("left {}", clean(room)));
            }
            Event::Said(message) => {
                let said = message.said;
                let room = lossy(said.room);
                let repeat = if message.maybe_repeat { "(perhaps again) " } else { "" };
                let kind = Kind::Said { name: clean(said.name), own: message.own };
                let text = format!("{repeat}{}", clean(said.text));
                self.push(&room, kind, Some(said.time), text);
                if room != self.here && !message.past {
                    self.rooms.entry(room).or_default().unread += 1;
                }
            }
            Event::Presence { room, name, came, past } => {
                if !past {
                    let what = if came { "came" } else { "went" };
                    let text = format!("{} {what}", clean(name));
                    self.push(&lossy(room), Kind::Notice, Some(now_ms()), text);
                }
            }
            Event::Roster { room, total, names } => {
                let names: Vec<_> = names.map(clean).collect();
                let text = format!("{total} here: {}", names.join(", "));
                self.push(&lossy(room), Kind::Notice, Some(now_ms()), text);
            }
            Event::Stats { text } => {
                let text = String::from_utf8_lossy(text);
                let lines = text.lines().map(|line| clean(line.as_bytes()));
                lines.for_each(|line| self.note(Kind::Notice, line));
            }
            Event::Lost { room, count } => {
                self.push(&lossy(room), Kind::Warning, None, super::gap(count));
            }
            Event::Link { room, text } => {
                self.push(&lossy(room), Kind::Warning, None, clean(text));
            }
            Event::Refused { room, reason, .. } => {
                self.note(Kind::Warning, format!("{}: {}", clean(room), clean(reason)));
            }
            Event::Bye { reason } => {
                self.note(Kind::Warning, format!("the server says goodbye: {}", clean(reason)));
            }
            Event::Pong | Event::Nothing => {}
        }
    }

    fn down(&mut self, why: &str, again_in: Duration) {
        if self.down.is_none() {
            self.note(Kind::Warning, format!("no connection: {why}"));
        }
        self.changed = true;
        self.down = Some((why.into(), Instant::now() + again_in));
    }

    fn failed(&mut self, _: u64) {
        let text = "a message will not be heard: its room was left or refused";
        self.note(Kind::Warning, text.into());
    }
}

/// What is left of a text behind so many columns.
fn textual_skip(text: &str, columns: usize) -> &str {
    let mut passed = 0;
    for (at, c) in text.char_indices() {
        if passed >= columns {
            return &text[at..];
        }
        passed += textwrap::core::display_width(c.encode_utf8(&mut [0; 4]));
    }
    ""
}

fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis() as u64)
}
