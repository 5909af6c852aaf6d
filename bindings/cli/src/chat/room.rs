//! What is on the screen of one room: its lines, wrapped and scrolled.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::collections::VecDeque;

/// Lines kept to scroll back to.
const SCROLLBACK: usize = 10_000;
/// The width below which nothing is indented.
const NARROW: usize = 24;

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Said {
        name: String,
        own: bool,
    },
    /// Someone came or went, the answer to a command, the state of the connection.
    Notice,
    /// Something is missing or went wrong.
    Warning,
}

#[derive(Clone, Debug)]
struct Item {
    kind: Kind,
    /// Unix milliseconds.
    time: Option<u64>,
    text: String,
}

/// The lines of one room, oldest first.
#[derive(Debug, Default)]
pub(super) struct Room {
    items: VecDeque<Item>,
    /// Rows that are below the visible ones.
    below: usize,
    /// Messages that came while another room was looked at.
    pub(super) unread: usize,
}

impl Room {
    /// Appends a line. `width` is the screen's: who has scrolled back stays where they are.
    pub(super) fn push(&mut self, kind: Kind, time: Option<u64>, text: String, width: u16) {
        let item = Item { kind, time, text };
        if self.below > 0 {
            self.below += item.rows(width, true).len();
        }
        self.items.push_back(item);
        if self.items.len() > SCROLLBACK {
            self.items.pop_front();
        }
    }

    /// The rows that are to be seen, at most `height`, and how many are below them.
    pub(super) fn rows(
        &mut self,
        width: u16,
        height: u16,
        colour: bool,
    ) -> (Vec<Line<'static>>, usize) {
        let wanted = usize::from(height).saturating_add(self.below);
        // Newest first.
        let mut rows: Vec<Line<'static>> = Vec::new();
        for item in self.items.iter().rev() {
            if rows.len() >= wanted {
                break;
            }
            rows.extend(item.rows(width, colour).into_iter().rev());
        }
        self.below = self.below.min(rows.len().saturating_sub(usize::from(height)));
        let seen = rows.into_iter().skip(self.below).take(usize::from(height));
        let mut seen: Vec<_> = seen.collect();
        seen.reverse();
        (seen, self.below)
    }

    /// Scrolls by so many rows, back for a positive number; as far as there are any.
    pub(super) fn scroll(&mut self, rows: isize) {
        self.below = self.below.saturating_add_signed(rows);
    }

    /// Shows the newest lines again.
    pub(super) fn show_end(&mut self) {
        self.below = 0;
    }
}

impl Item {
    fn rows(&self, width: u16, colour: bool) -> Vec<Line<'static>> {
        let time = self.time.map(clock).unwrap_or_default();
        let paint = |style: Style| if colour { style } else { Style::new() };
        let dim = paint(Style::new().add_modifier(Modifier::DIM));
        let (who, who_style, text_style) = match &self.kind {
            Kind::Said { name, own } => {
                let bold = if *own { Modifier::BOLD } else { Modifier::empty() };
                let style = Style::new().fg(colour_of(name)).add_modifier(bold);
                let style = if colour { style } else { Style::new().add_modifier(bold) };
                (format!("{}: ", if name.is_empty() { "-" } else { name }), style, Style::new())
            }
            Kind::Notice => ("* ".into(), dim, dim),
            Kind::Warning => {
                let style = paint(Style::new().fg(Color::Yellow));
                ("! ".into(), style, style)
            }
        };
        let time = if time.is_empty() { time } else { format!("{time} ") };
        let head = format!("{time}{who}");
        let whole = format!("{head}{}", self.text);
        let width = usize::from(width).max(1);
        let indent = if width < NARROW { "" } else { "      " };
        let options = textwrap::Options::new(width).subsequent_indent(indent);
        let mut rows = textwrap::wrap(&whole, options).into_iter().map(|row| row.into_owned());
        let first = rows.next().unwrap_or_default();
        let first = match first.strip_prefix(&head) {
            Some(text) => Line::from(vec![
                Span::styled(time, dim),
                Span::styled(who, who_style),
                Span::styled(text.to_owned(), text_style),
            ]),
            None => Line::styled(first, text_style),
        };
        core::iter::once(first).chain(rows.map(|row| Line::styled(row, text_style))).collect()
    }
}

/// The same colour for the same name, here and on every other screen.
pub(super) fn colour_of(name: &str) -> Color {
    const COLOURS: [Color; 12] = [
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::LightRed,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightBlue,
        Color::LightMagenta,
        Color::LightCyan,
    ];
    // FNV-1a.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    COLOURS[((hash ^ hash >> 32) % COLOURS.len() as u64) as usize]
}

/// Hours and minutes where we are.
fn clock(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(String::new, |time| {
        time.to_zoned_datetime(TimeZone::system()).strftime("%H:%M").to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> (Kind, Option<u64>, String, u16) {
        (Kind::Said { name: "ann".into(), own: false }, None, text.into(), 40)
    }

    fn texts(room: &mut Room, width: u16, height: u16) -> Vec<String> {
        room.rows(width, height, true).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_lines_are_seen_and_long_ones_wrapped() {
        let mut room = Room::default();
        for text in ["one", "two", "a text that is longer than the forty columns of this screen"] {
            let (kind, time, text, width) = said(text);
            room.push(kind, time, text, width);
        }
        let rows = texts(&mut room, 40, 3);
        assert_eq!(rows[0], "ann: two");
        assert!(rows[1].starts_with("ann: a text") && rows[2].starts_with("      "), "{rows:?}");
    }

    #[test]
    fn whatever_the_width_all_is_there_and_fits() {
        let text =
            "wide \u{4e16}\u{754c}\u{4e16}\u{754c} and alongwordthatfitsnowhere, e\u{301} too";
        for width in 2..60 {
            let mut room = Room::default();
            let (kind, time, line, _) = said(text);
            room.push(kind, time, line, width);
            let rows = texts(&mut room, width, 200);
            for row in &rows {
                let columns = textwrap::core::display_width(row);
                assert!(columns <= usize::from(width), "{columns} of {width}: {row:?}");
            }
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(letters(&rows.concat()), letters(&format!("ann: {text}")));
        }
    }

    #[test]
    fn who_scrolled_back_stays_there() {
        let mut room = Room::default();
        let push = |room: &mut Room, n: usize| {
            let (kind, time, text, width) = said(&format!("line {n}"));
            room.push(kind, time, text, width);
        };
        (0..100).for_each(|n| push(&mut room, n));
        room.scroll(10);
        let before = texts(&mut room, 40, 5);
        assert_eq!(before.last().unwrap(), "ann: line 89");
        (100..130).for_each(|n| push(&mut room, n));
        assert_eq!(texts(&mut room, 40, 5), before);
        room.scroll(isize::MAX);
        assert_eq!(texts(&mut room, 40, 5)[0], "ann: line 0", "no further than there is");
        room.show_end();
        assert_eq!(texts(&mut room, 40, 5)[4], "ann: line 129");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut room = Room::default();
        for n in 0..SCROLLBACK + 7 {
            let (kind, time, _, width) = said("");
            room.push(kind, time, n.to_string(), width);
        }
        assert_eq!(room.items.len(), SCROLLBACK);
    }

    #[test]
    fn a_name_has_one_colour() {
        assert_eq!(colour_of("ann"), colour_of("ann"));
        let many: std::collections::BTreeSet<_> =
            (0..100).map(|n| format!("{:?}", colour_of(&format!("user{n}")))).collect();
        assert!(many.len() >= 10, "names are told apart: {many:?}");
    }
}
