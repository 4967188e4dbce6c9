//! The report as one HTML page, which needs nothing from anywhere and is XML too.

use super::svg::escape;
use super::{Cell, Report, Section, number};

const STYLE: &str = include_str!("page.css");

/// What every page begins with. It forbids itself to fetch anything.
const HEAD: &str = include_str!("head.html");

pub(super) fn html(report: &Report) -> String {
    let title = escape(&report.title);
    let sections: String = report.sections.iter().map(section).collect();
    format!(
        "{HEAD}\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}{sections}{}</main>\n</body>\n</html>\n",
        header(report),
        footer(report),
    )
}

fn header(report: &Report) -> String {
    let facts = report.machine.facts();
    let facts: String = facts
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value)))
        .collect();
    let early = report.ended_early.as_ref().map_or(String::new(), |why| {
        format!(
            "<p class=\"early\">It ended before it was done: {}. What was measured by then is here.</p>\n",
            escape(why)
        )
    });
    let method = paragraphs(&report.method, "");
    format!(
        "<header>\n<h1>{}</h1>\n<p class=\"when\"><time>{}</time> · rigswitch {}</p>\n<pre><code>{}</code></pre>\n{early}</header>\n\
         <section>\n<h2>Machine and method</h2>\n<dl>\n{facts}</dl>\n{method}</section>\n",
        escape(&report.title),
        escape(&report.date),
        escape(&report.version),
        escape(&report.command),
    )
}

fn section(section: &Section) -> String {
    let charts: String = section.charts.iter().map(super::Chart::html).collect();
    format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>\n{charts}{}{}</section>\n",
        escape(&section.id),
        escape(&section.title),
        escape(&section.about),
        table(section),
        paragraphs(&section.notes, "note"),
    )
}

fn table(section: &Section) -> String {
    if section.rows.is_empty() {
        return String::new();
    }
    let head = |(column, head): (usize, String)| {
        let class = if column < section.keys.len() { " class=\"key\"" } else { "" };
        format!("<th scope=\"col\"{class}>{}</th>", escape(&head))
    };
    let heads: String = section.heads().enumerate().map(head).collect();
    let mut above: &[String] = &[];
    let mut rows = String::new();
    for row in &section.rows {
        // What is the same as above is there, and not seen.
        let same = row.keys.iter().zip(above).take_while(|(key, above)| key == above).count();
        let keys = row.keys.iter().enumerate().map(|(column, key)| {
            let class = if column < same { " class=\"again\"" } else { "" };
            format!("<th scope=\"row\"{class}>{}</th>", escape(key))
        });
        let first = if same == 0 { " class=\"first\"" } else { "" };
        rows += &format!("<tr{first}>{}{}</tr>\n", keys.collect::<String>(), cells(&row.cells));
        above = &row.keys;
    }
    format!(
        "<div class=\"table\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Cells of a row; words have those behind them too that are empty.
fn cells(mut cells: &[Cell]) -> String {
    let mut out = String::new();
    while let [first, rest @ ..] = cells {
        let is_empty = |cell: &&Cell| matches!(cell, Cell::Text(text) if text.is_empty());
        let empty = if first.is_number() { 0 } else { rest.iter().take_while(is_empty).count() };
        out += &cell(first, 1 + empty);
        cells = &rest[empty..];
    }
    out
}

fn cell(cell: &Cell, columns: usize) -> String {
    match cell {
        Cell::Figure(figure) => {
            let (least, most) = figure.range();
            let disturbed = match figure.disturbed {
                0 => String::new(),
                count => format!(", {count} more disturbed"),
            };
            let title = format!(
                "{} samples from {} to {}{disturbed}",
                figure.samples.len(),
                number(least),
                number(most)
            );
            format!("<td title=\"{title}\">{}</td>", with_spread(cell))
        }
        Cell::Compared(_) => format!("<td>{}</td>", with_spread(cell)),
        Cell::Exact(_) => format!("<td>{cell}</td>"),
        Cell::Text(text) if columns == 1 => format!("<td class=\"words\">{}</td>", escape(text)),
        Cell::Text(text) => format!("<td class=\"words\" colspan=\"{columns}\">{}</td>", escape(text)),
    }
}

fn with_spread(cell: &Cell) -> String {
    let text = cell.to_string();
    let (value, spread) = text.split_once(' ').unwrap_or((&text, ""));
    format!("<b>{value}</b> <small>{spread}</small>")
}

fn footer(report: &Report) -> String {
    let disturbed = match report.disturbed {
        0 => "No trial was disturbed by CPU steal.".to_owned(),
        1 => "One trial was disturbed by CPU steal, thrown away and made up for.".to_owned(),
        count => format!("{count} trials were disturbed by CPU steal, thrown away and made up for."),
    };
    format!(
        "<footer>\n<p>Figures are medians, with 95 % bootstrap intervals beside them; whiskers show the same. {disturbed} \
         Samples and everything else are in <code>report.json</code>, which <code>rigswitch bench compare</code> reads.</p>\n</footer>\n"
    )
}

fn paragraphs(texts: &[String], class: &str) -> String {
    let open = if class.is_empty() { "<p>".to_owned() } else { format!("<p class=\"{class}\">") };
    texts.iter().map(|text| format!("{open}{}</p>\n", escape(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_the_empty_cells_behind_them_too() {
        let mut row = Cell::words("no <such> thing", 3);
        assert_eq!(cells(&row), "<td class=\"words\" colspan=\"3\">no &lt;such&gt; thing</td>");
        row.insert(1, Cell::Exact(7.0));
        assert_eq!(
            cells(&row),
            "<td class=\"words\">no &lt;such&gt; thing</td><td>7</td><td class=\"words\" colspan=\"2\"></td>"
        );
    }
}
