//! Text tables for a terminal: columns as wide as they need be, numbers to the right.

use std::io::{self, IsTerminal};

/// A table as it is filled.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    numbers: Vec<bool>,
}

impl Table {
    /// A table with these columns; those that start with `>` hold numbers.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let numbers = columns.iter().map(|name| name.starts_with('>')).collect();
        let header = columns.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Self { rows: vec![header], numbers }
    }

    /// Adds a row, of as many cells as there are columns.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.put(cells.into());
    }

    /// The same of a table whose columns are not known here.
    pub(crate) fn put(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.numbers.len());
        self.rows.push(cells);
    }

    /// The table as text, its header in bold if `colour`.
    pub(crate) fn text(&self, colour: bool) -> String {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.numbers.len()).map(width).collect();
        let mut out = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).zip(&self.numbers);
            let padded = cells.map(|((cell, &width), &number)| match number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            let line = padded.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            out +=
                &if index == 0 && colour { format!("\x1b[1m{line}\x1b[0m\n") } else { format!("{line}\n") };
        }
        out
    }
}

/// Whether standard output takes colour: a terminal, and nobody has asked for none (no-color.org).
pub(crate) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["PORT", ">PACKETS"]);
        table.row(["p0".into(), "7".into()]);
        table.row(["a-longer".into(), "123456789".into()]);
        assert_eq!(table.text(false), "PORT        PACKETS\np0                7\na-longer  123456789\n");
    }
}
