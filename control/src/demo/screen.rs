//! Standard output: lines that stay and, on a terminal, a live part below them that is redrawn in place.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use terminal_size::terminal_size;

use crate::cli::table::colour;

/// Has the terminal cut lines at its edge (DECAWM off), and fold them again.
const CUT: &str = "\x1b[?7l";
const FOLD: &str = "\x1b[?7h";

/// What has been put on standard output.
pub(super) struct Screen {
    /// A terminal, and nobody has asked for plain text.
    pub(super) is_live: bool,
    live: String,
    drawn: usize, // lines of the live part that are on the terminal
}

impl Screen {
    pub(super) fn new() -> Self {
        Self { is_live: colour(), live: String::new(), drawn: 0 }
    }

    /// Puts `text`, whole lines, where it stays.
    pub(super) fn say(&mut self, text: &str) {
        let rows = terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0));
        let out = if self.is_live { self.redrawn(text, rows) } else { text.to_owned() };
        let mut stdout = io::stdout().lock();
        // A reader that has gone misses nothing that it wanted; the exit code says the rest.
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }

    /// As [`Screen::say`], but cut at the edge of a terminal: a wide table cannot be read when it is folded.
    pub(super) fn say_cut(&mut self, text: &str) {
        match self.is_live {
            true => self.say(&format!("{CUT}{}{FOLD}\n", text.trim_end_matches('\n'))),
            false => self.say(text),
        }
    }

    /// Makes `text`, whole lines, the live part, where there can be one.
    pub(super) fn draw(&mut self, text: String) {
        if self.is_live {
            self.live = text;
            self.say("");
        }
    }

    /// Ends the live part.
    pub(super) fn clear(&mut self) {
        self.draw(String::new());
    }

    /// `said` over the live part, and the live part below it again, in one piece so that nothing flickers. It leaves the
    /// terminal as it was: a process that is killed leaves nothing to be mended.
    fn redrawn(&mut self, said: &str, rows: usize) -> String {
        let mut out = String::from("\r");
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A", self.drawn);
        }
        said.lines().for_each(|line| out += &format!("\x1b[K{line}\n"));
        // A third of a small terminal is left to what stays. Lines are cut: the next time, `drawn` must be their number.
        out += CUT;
        self.drawn = 0;
        for line in self.live.lines().take(rows - rows / 3) {
            out += &format!("{line}\x1b[K\n");
            self.drawn += 1;
        }
        out + "\x1b[J" + FOLD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_stays_above_what_is_redrawn() {
        let mut screen = Screen { is_live: true, live: "table\nrow\n".into(), drawn: 0 };
        let live = format!("{CUT}table\x1b[K\nrow\x1b[K\n\x1b[J{FOLD}");
        assert_eq!(screen.redrawn("one\n", 24), format!("\r\x1b[Kone\n{live}"));
        assert_eq!(screen.redrawn("two\n", 24), format!("\r\x1b[2A\x1b[Ktwo\n{live}"));
        screen.live.clear();
        assert_eq!(screen.redrawn("", 24), format!("\r\x1b[2A{CUT}\x1b[J{FOLD}"));
    }

    #[test]
    fn a_small_terminal_keeps_a_third_for_what_stays() {
        let mut screen = Screen { is_live: true, live: "line\n".repeat(50), drawn: 0 };
        assert_eq!(screen.redrawn("", 24).matches("line").count(), 16);
        assert!(screen.redrawn("", 24).contains("\x1b[16A"));
    }
}
