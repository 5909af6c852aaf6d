//! The terminal while a program owns it, and given back however the program ends.

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use std::io::{self, Stdout, stdout};
use std::panic;

/// A terminal in raw mode, on its alternate screen, until this is dropped or the program panics.
pub(crate) struct Tty(pub(crate) Terminal<CrosstermBackend<Stdout>>);

impl Tty {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is none, or broken; it is left as it was.
    pub(crate) fn take() -> io::Result<Self> {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            report(panic);
        }));
        enable_raw_mode()?;
        let taken = execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        taken.map(Self).inspect_err(|_| give_back())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        give_back();
    }
}

/// As far as it goes: a terminal that is gone cannot be written to.
fn give_back() {
    let _ =
        execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, crossterm::cursor::Show);
    let _ = disable_raw_mode();
}
