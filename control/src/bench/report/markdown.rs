//! The report as Markdown: what fits into a README or an issue.

use std::fmt::Write;

use super::{Cell, Report, Section};

pub(super) fn markdown(report: &Report) -> String {
    let mut out = format!(
        "# {}\n\n`{}`, {}, rigswitch {}\n\n",
        report.title, report.command, report.date, report.version
    );
    if let Some(why) = &report.ended_early {
        // A string takes what is written to it, here and below.
        let _ = writeln!(out, "**It ended before it was done: {why}.**\n");
    }
    for (name, value) in report.machine.facts() {
        let _ = writeln!(out, "- {name}: {value}");
    }
    for paragraph in &report.method {
        let _ = write!(out, "\n{paragraph}\n");
    }
    report.sections.iter().for_each(|part| section(&mut out, part));
    let _ = write!(
        out,
        "\nFigures are medians with 95 % bootstrap intervals; {} trials were disturbed by CPU steal and thrown away.\n",
        report.disturbed
    );
    out
}

fn section(out: &mut String, section: &Section) {
    let _ = write!(out, "\n## {}\n\n{}\n", section.title, section.about);
    if !section.rows.is_empty() {
        let heads: Vec<_> = section.heads().map(|head| escape(&head)).collect();
        let rules = (0..heads.len()).map(|column| if column < section.keys.len() { "---" } else { "---:" });
        let _ = write!(out, "\n| {} |\n| {} |\n", heads.join(" | "), rules.collect::<Vec<_>>().join(" | "));
        for row in &section.rows {
            let cells = row.keys.iter().cloned().chain(row.cells.iter().map(Cell::to_string));
            let _ = writeln!(out, "| {} |", cells.map(|cell| escape(&cell)).collect::<Vec<_>>().join(" | "));
        }
    }
    for note in &section.notes {
        let _ = write!(out, "\n{note}\n");
    }
}

/// A bar would end the cell.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}
