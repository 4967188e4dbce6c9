//! Two reports beside each other: which figures differ by more than chance would have it.

use super::report::{Better, Cell, Column, Report, Row, Section};

/// What differs between `a` and `b`, as a report of the same shape.
pub(crate) fn compare(a: &Report, b: &Report, command: String) -> Report {
    let mut report = Report::new("Two runs compared", command);
    report.method = vec![
        format!("a: {}, {}, rigswitch {}", a.command, a.date, a.version),
        format!("b: {}, {}, rigswitch {}", b.command, b.date, b.version),
    ];
    for (what, of_a, of_b) in
        [("CPUs", &a.machine.cpu, &b.machine.cpu), ("kernels", &a.machine.kernel, &b.machine.kernel)]
    {
        if of_a != of_b {
            report.method.push(format!("Their {what} differ: {of_a}, {of_b}."));
        }
    }
    for (name, early) in [("a", &a.ended_early), ("b", &b.ended_early)] {
        report.method.extend(early.as_ref().map(|why| format!("{name} ended before it was done: {why}.")));
    }
    for of_a in &a.sections {
        if let Some(of_b) = b.sections.iter().find(|section| section.id == of_a.id) {
            report.sections.push(sections(of_a, of_b));
        }
    }
    report
}

fn sections(a: &Section, b: &Section) -> Section {
    let mut rows = Vec::new();
    let mut alone = 0;
    for of_a in &a.rows {
        let Some(of_b) = b.rows.iter().find(|row| row.keys == of_a.keys) else {
            alone += 1;
            continue;
        };
        for (cell, column) in of_a.cells.iter().zip(&a.columns) {
            let place = b.columns.iter().position(|other| other == column);
            let other = place.and_then(|place| of_b.cells.get(place));
            if let Some(cells) = other.and_then(|other| cells(cell, other, column.better)) {
                let quantity = if column.unit.is_empty() {
                    column.name.clone()
                } else {
                    format!("{} ({})", column.name, column.unit)
                };
                rows.push(Row { keys: of_a.keys.iter().cloned().chain([quantity]).collect(), cells });
            }
        }
    }
    alone += b.rows.iter().filter(|row| !a.rows.iter().any(|of_a| of_a.keys == row.keys)).count();
    let notes = match alone {
        0 => Vec::new(),
        1 => vec!["One row is in one of the two only.".to_owned()],
        count => vec![format!("{count} rows are in one of the two only.")],
    };
    Section {
        id: a.id.clone(),
        title: a.title.clone(),
        about: "medians, their ratio, and whether it is more than chance: its interval leaves 1 out"
            .to_owned(),
        keys: a.keys.iter().cloned().chain(["quantity".to_owned()]).collect(),
        columns: ["a", "b", "b / a", "so"].map(|name| Column::new(name, "", Better::Neither)).into(),
        rows,
        charts: Vec::new(),
        notes,
    }
}

/// Both values, the ratio and the verdict; nothing for words.
fn cells(a: &Cell, b: &Cell, better: Better) -> Option<Vec<Cell>> {
    let (ratio, verdict) = match (a, b) {
        (Cell::Figure(of_a), Cell::Figure(of_b)) => {
            let ratio = of_b.ratio(of_a)?;
            (Cell::Compared(ratio), verdict(ratio.low, ratio.high, better))
        }
        (Cell::Exact(of_a), Cell::Exact(of_b)) => {
            let verdict = if of_a == of_b { "equal" } else { verdict(of_b / of_a, of_b / of_a, better) };
            (if *of_a == 0.0 { Cell::text("") } else { Cell::Exact(of_b / of_a) }, verdict)
        }
        _ => return None,
    };
    Some(vec![a.clone(), b.clone(), ratio, Cell::text(verdict)])
}

fn verdict(low: f64, high: f64, better: Better) -> &'static str {
    match (better, low > 1.0, high < 1.0) {
        (Better::Higher, true, _) | (Better::Lower, _, true) => "b is better",
        (Better::Lower, true, _) | (Better::Higher, _, true) => "b is worse",
        (Better::Neither, true, _) => "b is more",
        (Better::Neither, _, true) => "b is less",
        (_, false, false) => "no difference shown",
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::example;
    use super::super::stats::Figure;
    use super::*;

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let compared = compare(&example(), &example(), String::new());
        let verdicts: Vec<_> = compared.sections[0].rows.iter().map(|row| row.cells[3].to_string()).collect();
        assert_eq!(verdicts, ["no difference shown", "equal", "equal"]);
        assert!(compared.sections[0].notes.is_empty());
    }

    #[test]
    fn what_is_faster_is_better() {
        let (a, mut b) = (example(), example());
        b.machine.kernel = "6.1".into();
        b.sections[0].rows[0].cells[0] = Cell::Figure(Figure::of(vec![12.0, 12.5, 12.2], 0).unwrap());
        b.sections[0].rows[1].keys[0] = "another".into();
        let compared = compare(&a, &b, String::new());
        let row = &compared.sections[0].rows[0];
        assert_eq!(row.keys, ["bridge", "64", "time a frame (ns)"]);
        assert_eq!(row.cells[3], Cell::text("b is better"));
        let back = compare(&b, &a, String::new());
        assert_eq!(back.sections[0].rows[0].cells[3], Cell::text("b is worse"));
        assert_eq!(compared.sections[0].notes, ["2 rows are in one of the two only."]);
        assert!(compared.method.iter().any(|line| line.contains("kernels differ")), "{:?}", compared.method);
    }
}
