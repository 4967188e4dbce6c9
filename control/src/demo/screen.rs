//! Standard output: lines that stay and, on a terminal, a live part below them that is redrawn in place.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use terminal_size::terminal_size;

use crate::cli::table::colour;

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
        self.paint(text);
    }

    /// Makes `text`, whole lines, the live part, where there can be one.
    pub(super) fn draw(&mut self, text: String) {
        if self.is_live {
            self.live = text;
            self.paint("");
        }
    }

    /// Ends the live part.
    pub(super) fn clear(&mut self) {
        self.draw(String::new());
    }

    /// Everything at once, over what was there, so that nothing flickers. The terminal is left as it is found after each,
    /// so that nothing need be mended when the process is killed.
    fn paint(&mut self, said: &str) {
        let mut out = String::new();
        if self.is_live {
            let rows = terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0));
            // A third of a small terminal is left to the lines that stay.
            let lines = self.live.lines().take(rows - rows / 3);
            out += &erase(self.drawn, said);
            // A line that is too long is cut, so that the next `erase` knows how many there are.
            out += "\x1b[?7l";
            self.drawn = 0;
            for line in lines {
                let _ = writeln!(out, "{line}\x1b[K");
                self.drawn += 1;
            }
            out += "\x1b[J\x1b[?7h";
        } else {
            out += said;
        }
        let mut stdout = io::stdout().lock();
        // A reader that has gone misses nothing but what it did not want; the exit code says the rest.
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }
}

/// Goes up `drawn` lines, and writes over them.
fn erase(drawn: usize, said: &str) -> String {
    let mut out = String::from("\r");
    if drawn > 0 {
        let _ = write!(out, "\x1b[{drawn}A");
    }
    for line in said.lines() {
        let _ = writeln!(out, "\x1b[K{line}");
    }
    out
}
