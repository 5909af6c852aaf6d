//! What a person or a script types.

/// A line, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Say(String),
    Join(String),
    /// This room, or the current one.
    Leave(Option<String>),
    Switch(String),
    Rooms,
    Who,
    Stats,
    Help,
    Quit,
}

pub(super) const HELP: &[&str] = &[
    "/join ROOM     enter a room (and look at it)",
    "/leave [ROOM]  leave it; the one you look at if you name none",
    "/room ROOM     look at another of your rooms; Tab takes the next",
    "/rooms         your rooms",
    "/who           who is here",
    "/stats         what the server holds",
    "/quit          goodbye; Ctrl-C and Ctrl-D do it too",
    "//text         say `/text`",
];

impl Command {
    /// Reads a line. `None` if there is nothing in it.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.trim().is_empty() {
            return Ok(None);
        }
        let Some(command) = line.strip_prefix('/') else { return Ok(Some(Self::Say(line.into()))) };
        if command.starts_with('/') {
            return Ok(Some(Self::Say(command.into())));
        }
        let (verb, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let room = || match rest {
            "" => Err(format!("/{verb} which room?")),
            room => Ok(room.to_owned()),
        };
        let alone = |command| match rest {
            "" => Ok(command),
            _ => Err(format!("/{verb} stands alone")),
        };
        match verb {
            "join" | "j" => room().map(Self::Join),
            "leave" | "part" => Ok(Self::Leave((!rest.is_empty()).then(|| rest.into()))),
            "room" | "switch" => room().map(Self::Switch),
            "rooms" | "list" => alone(Self::Rooms),
            "who" => alone(Self::Who),
            "stats" => alone(Self::Stats),
            "help" => alone(Self::Help),
            "quit" | "exit" | "q" => alone(Self::Quit),
            _ => Err(format!(
                "no command /{verb}: there are /join /leave /room /rooms /who /stats /help /quit, and // begins a text with a slash"
            )),
        }
        .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_texts_or_commands() {
        let read = |line| Command::parse(line).unwrap();
        assert_eq!(read("hello there\r\n"), Some(Command::Say("hello there".into())));
        assert_eq!(read("  "), None);
        assert_eq!(read("//usr"), Some(Command::Say("/usr".into())));
        assert_eq!(read("/join  the den "), Some(Command::Join("the den".into())));
        assert_eq!(read("/leave"), Some(Command::Leave(None)));
        assert_eq!(read("/q"), Some(Command::Quit));
    }

    #[test]
    fn a_wrong_command_is_told_what_is_allowed() {
        for (line, says) in [("/jump x", "/join"), ("/join", "which room"), ("/who me", "alone")] {
            assert!(Command::parse(line).unwrap_err().contains(says));
        }
    }
}
