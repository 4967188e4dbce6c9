//! What was measured, in one model: printed as tables, and written as a page, as JSON and as Markdown.

mod chart;
mod machine;
mod markdown;
mod page;
mod scale;
mod svg;
mod text;
mod write;

use machine::now;
pub(crate) use machine::{Machine, StolenSince};
pub(crate) use write::{Folder, ReportError, read};

use std::fmt;

use serde::{Deserialize, Serialize};

use super::stats::{Compared, Figure};

/// Counts the changes of the model that an older reader would not understand.
pub(crate) const FORMAT: u32 = 1;

/// A run of `rigswitch bench`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) format: u32,
    pub(crate) title: String,
    /// As it was typed.
    pub(crate) command: String,
    /// When it began, in RFC 3339's form.
    pub(crate) date: String,
    /// Of rigswitch.
    pub(crate) version: String,
    pub(crate) machine: Machine,
    /// How it was measured, a paragraph each.
    pub(crate) method: Vec<String>,
    /// Why it ended before it was done, if it did. What is in the sections was measured by then.
    pub(crate) ended_early: Option<String>,
    /// Trials that were thrown away, because the hypervisor took the CPU during them.
    pub(crate) disturbed: u64,
    pub(crate) sections: Vec<Section>,
}

/// A table and what can be drawn of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    /// What it is called where it is compared with another run's.
    pub(crate) id: String,
    pub(crate) title: String,
    /// What the figures are of.
    pub(crate) about: String,
    /// What tells the rows apart, in so many words each.
    pub(crate) keys: Vec<String>,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    pub(crate) charts: Vec<Chart>,
    /// What else a reader should know.
    pub(crate) notes: Vec<String>,
}

/// A quantity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Empty for what has none.
    pub(crate) unit: String,
    pub(crate) better: Better,
}

/// Which way a quantity improves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
    Neither,
}

/// What was measured of one thing: as many keys and cells as there are of the section.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) keys: Vec<String>,
    pub(crate) cells: Vec<Cell>,
}

/// One value.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Cell {
    /// Measured, with its spread.
    Figure(Figure),
    /// Two figures in one, with its interval.
    Compared(Compared),
    /// Counted or calculated: it has no spread.
    Exact(f64),
    /// Why there is none, or what is no number.
    Text(String),
}

/// Something to look at.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// What to see in it.
    pub(crate) caption: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A line through the points of each series.
    Lines,
    /// The same, level until the next point: distributions.
    Steps,
    /// Bars to the right, those of a category beside each other. `y` has the categories, `x` the values.
    Bars,
    /// The same, those of a category end to end.
    Stacked,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    pub(crate) label: String,
    /// Empty for what has none.
    pub(crate) unit: String,
    pub(crate) scale: AxisScale,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AxisScale {
    /// From zero.
    Linear,
    /// Linear, from about the least to about the greatest value.
    Near,
    Logarithmic,
    /// Named, in this order; a place on it is a name's number.
    Categories(Vec<String>),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Calculated, not measured: drawn behind the others.
    pub(crate) is_limit: bool,
    pub(crate) points: Vec<Point>,
}

/// A value, and between what it lies.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    /// The place: of bars, the category's number.
    pub(crate) at: f64,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Report {
    /// A report of a run that begins now, without sections yet.
    pub(crate) fn new(title: &str, command: String) -> Self {
        Self {
            format: FORMAT,
            title: title.to_owned(),
            command,
            date: now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::look(),
            method: Vec::new(),
            ended_early: None,
            disturbed: 0,
            sections: Vec::new(),
        }
    }
}

impl Section {
    /// The heads of the table's columns.
    fn heads(&self) -> impl Iterator<Item = String> {
        let keys = self.keys.iter().cloned();
        keys.chain(self.columns.iter().map(|column| with_unit(&column.name, &column.unit)))
    }
}

impl Column {
    pub(crate) fn new(name: &str, unit: &str, better: Better) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), better }
    }
}

impl Axis {
    pub(crate) fn new(label: &str, unit: &str, scale: AxisScale) -> Self {
        Self { label: label.to_owned(), unit: unit.to_owned(), scale }
    }

    fn title(&self) -> String {
        with_unit(&self.label, &self.unit)
    }
}

impl Point {
    /// A measured one.
    pub(crate) fn of(at: f64, figure: &Figure) -> Self {
        Self { at, value: figure.median, low: figure.low, high: figure.high }
    }

    /// A calculated one.
    pub(crate) fn exact(at: f64, value: f64) -> Self {
        Self { at, value, low: value, high: value }
    }
}

impl Cell {
    /// A figure, or why there is none.
    pub(crate) fn of(samples: Vec<f64>, disturbed: u32) -> Self {
        match Figure::of(samples, disturbed) {
            Some(figure) => Self::Figure(figure),
            None if disturbed == 1 => Self::Text("the only trial was disturbed by steal".to_owned()),
            None if disturbed > 0 => Self::Text(format!("all {disturbed} trials were disturbed by steal")),
            None => Self::Text("not measured".to_owned()),
        }
    }

    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// As many cells, of which the first says why there is nothing in them.
    pub(crate) fn words(text: &str, cells: usize) -> Vec<Self> {
        let texts = [text].into_iter().chain(std::iter::repeat(""));
        texts.take(cells).map(Self::text).collect()
    }

    fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
}

impl fmt::Display for Cell {
    /// A median with the ends of its interval, or what else there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Figure(figure) => f.write_str(&spread(figure.median, figure.low, figure.high)),
            Self::Compared(both) => f.write_str(&spread(both.value, both.low, both.high)),
            Self::Exact(value) => f.write_str(&number(*value)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

fn with_unit(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

/// A value and its interval, all with as many decimals as the value has.
pub(crate) fn spread(value: f64, low: f64, high: f64) -> String {
    let decimals = decimals(value);
    format!("{value:.decimals$} ({low:.decimals$}–{high:.decimals$})")
}

/// A number with three digits that count; of a whole one all of them.
pub(crate) fn number(value: f64) -> String {
    let decimals = if value.fract() == 0.0 { 0 } else { decimals(value) };
    format!("{value:.decimals$}")
}

fn decimals(value: f64) -> usize {
    match value.abs() {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with everything that there can be in one.
    pub(crate) fn example() -> Report {
        let figure = |n: f64| Figure::of(vec![n, n * 1.1, n * 0.95], 1).unwrap();
        let point = |at, n| Point::of(at, &figure(n));
        let series = |name: &str, n: f64| Series {
            name: name.to_owned(),
            is_limit: false,
            points: (0..3).map(|at| point([64.0, 512.0, 1518.0][at], n)).collect(),
        };
        let bar = |name: &str, n: f64| Series {
            name: name.to_owned(),
            is_limit: false,
            points: vec![point(0.0, n), point(1.0, 2.0 * n)],
        };
        let categories = || AxisScale::Categories(vec!["bridge".into(), "a <b> & \"c\"".into()]);
        let bars = |kind| Chart {
            title: "Cost".into(),
            kind,
            x: Axis::new("time a frame", "ns", AxisScale::Linear),
            y: Axis::new("way", "", categories()),
            series: vec![bar("one", 10.0), bar("two", 3.0)],
            caption: "less is better".into(),
        };
        let lines = |kind, scale: AxisScale| Chart {
            title: "Rate".into(),
            kind,
            x: Axis::new("frame", "bytes", scale),
            y: Axis::new("rate", "Mpps", AxisScale::Linear),
            series: vec![series("bridge", 30.0), Series { is_limit: true, ..series("limit", 40.0) }],
            caption: String::new(),
        };
        let mut report = Report::new("A <title>", "rigswitch bench forward --size 64".into());
        report.method.push("By turns & often.".into());
        report.ended_early = Some("interrupted".into());
        report.disturbed = 1;
        report.sections.push(Section {
            id: "memory".into(),
            title: "In memory".into(),
            about: "What | it costs".into(),
            keys: vec!["way".into(), "frame".into()],
            columns: vec![
                Column::new("time a frame", "ns", Better::Lower),
                Column::new("added", "bytes", Better::Neither),
            ],
            rows: vec![
                Row {
                    keys: vec!["bridge".into(), "64".into()],
                    cells: vec![Cell::Figure(figure(25.0)), Cell::Exact(4.0)],
                },
                Row {
                    keys: vec!["a <b> | c".into(), "64".into()],
                    cells: vec![Cell::text("not in this version"), Cell::Exact(0.5)],
                },
            ],
            charts: vec![
                lines(Kind::Lines, AxisScale::Logarithmic),
                lines(Kind::Steps, AxisScale::Near),
                bars(Kind::Bars),
                bars(Kind::Stacked),
            ],
            notes: vec!["A note.".into()],
        });
        report
    }

    #[test]
    fn it_comes_back_from_json_as_it_went() {
        let report = example();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (1.0, "1"),
            (2.346, "2.35"),
            (25.88, "25.9"),
            (1234.5, "1234"),
            (54.0, "54"),
        ] {
            assert_eq!(number(value), text);
        }
        let cell = Cell::of(vec![25.88, 26.11, 25.0], 0);
        assert_eq!(cell.to_string(), "25.9 (25.0–26.1)");
        assert_eq!(Cell::of(vec![], 3).to_string(), "all 3 trials were disturbed by steal");
        assert_eq!(Cell::of(vec![], 1).to_string(), "the only trial was disturbed by steal");
        assert_eq!(Cell::of(vec![], 0).to_string(), "not measured");
    }
}
