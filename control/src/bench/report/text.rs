//! The report on a terminal.

use std::fmt::Write;

use super::{Cell, Report, Section};
use crate::cli::table::Table;

impl Report {
    /// As text, with the heads of tables in bold if `colour`.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        let machine = &self.machine;
        let kind = if machine.is_virtual { ", virtual" } else { "" };
        // A string takes what is written to it, here and below.
        let _ = writeln!(
            out,
            "{}, {} CPUs{kind}, kernel {}, steal {:.2} %, {}",
            machine.cpu, machine.cpus, machine.kernel, machine.steal_percent, self.date
        );
        for line in machine.drivers.iter().chain(&machine.offloads).chain(&self.method) {
            let _ = writeln!(out, "{line}");
        }
        self.sections.iter().for_each(|section| section.write_text(&mut out, colour));
        let _ = write!(out, "\nmedians (95 % bootstrap interval)");
        if self.disturbed > 0 {
            let trials = if self.disturbed == 1 { "trial" } else { "trials" };
            let _ = write!(out, "; {} {trials} disturbed by CPU steal thrown away", self.disturbed);
        }
        out + "\n"
    }
}

impl Section {
    fn write_text(&self, out: &mut String, colour: bool) {
        let _ = write!(out, "\n{}: {}\n", self.title, self.about);
        if !self.rows.is_empty() {
            let heads: Vec<_> = self.heads().map(|head| upper(&head)).collect();
            let heads = heads.iter().enumerate().map(|(column, head)| {
                let is_number = self.rows.iter().any(|row| {
                    column.checked_sub(row.keys.len()).is_some_and(|cell| row.cells[cell].is_number())
                });
                if is_number { format!(">{head}") } else { head.clone() }
            });
            let heads: Vec<_> = heads.collect();
            let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
            for row in &self.rows {
                table.put(row.keys.iter().cloned().chain(row.cells.iter().map(Cell::to_string)).collect());
            }
            *out += &table.text(colour);
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
    }
}

/// As heads of tables are written; units stay as they are.
fn upper(head: &str) -> String {
    match head.split_once(" (") {
        Some((name, unit)) => format!("{} ({unit}", upper(name)),
        // Of what is no ASCII, as in µs, the capital would be another letter.
        None => head.to_ascii_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::example;
    use super::*;

    #[test]
    fn heads_are_in_capitals_and_units_are_not() {
        for (head, said) in [
            ("way", "WAY"),
            ("round trip, 99 % (µs)", "ROUND TRIP, 99 % (µs)"),
            ("ns, µs", "NS, µS"),
            ("into it: instructions", "INTO IT: INSTRUCTIONS"),
        ] {
            assert_eq!(upper(head), said);
        }
    }

    #[test]
    fn a_run_that_was_disturbed_says_so() {
        let mut report = example();
        assert!(report.text(false).contains("; 1 trial disturbed by CPU steal thrown away\n"));
        report.disturbed = 2;
        assert!(report.text(false).contains("; 2 trials disturbed by CPU steal thrown away\n"));
        report.disturbed = 0;
        assert!(report.text(false).ends_with("medians (95 % bootstrap interval)\n"));
    }
}
