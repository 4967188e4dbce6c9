//! Charts: each drawn twice, for wide pages and for narrow ones, of which the page shows the one that fits.

use super::scale::{Scale, label};
use super::svg::{Anchor, Svg, escape};
use super::{Axis, AxisScale, Chart, Kind, Point, Series, spread};

/// Series that have a colour of their own.
const COLOURS: usize = 8;

/// About the width of a letter.
const LETTER: f64 = 7.2;

/// A page to draw for.
#[derive(Clone, Copy)]
struct Layout {
    class: &'static str,
    width: f64,
    height: f64,
    ticks: usize,
}

const LAYOUTS: [Layout; 2] = [
    Layout { class: "wide", width: 820.0, height: 380.0, ticks: 8 },
    Layout { class: "narrow", width: 400.0, height: 320.0, ticks: 4 },
];

/// The rectangle that values are in.
#[derive(Clone, Copy)]
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Chart {
    /// As HTML.
    pub(super) fn html(&self) -> String {
        let drawn = LAYOUTS.map(|layout| match &self.y.scale {
            AxisScale::Categories(categories) => self.bars(layout, categories),
            _ => self.lines(layout),
        });
        format!(
            "<figure>\n<h3>{}</h3>\n{}{}<figcaption>{}</figcaption>\n</figure>\n",
            escape(&self.title),
            self.legend(),
            drawn.concat(),
            escape(&self.caption)
        )
    }

    /// The marks of the series. A single bar stands for what the title says; a single curve is one of those that could be there.
    fn legend(&self) -> String {
        let is_bar = matches!(self.kind, Kind::Bars | Kind::Stacked);
        if is_bar && self.series.len() < 2 {
            return String::new();
        }
        let entries = self.drawn().map(|(index, series)| {
            let class = class(index, series);
            let mut key = Svg::new("key", 26.0, 12.0, "");
            if is_bar {
                key.rectangle(&format!("bar {class}"), (4.0, 0.0), (18.0, 12.0), &series.name);
            } else {
                key.line(&format!("curve {class}"), (0.0, 6.0), (26.0, 6.0));
                if self.has_marks(series) {
                    key.mark(&format!("mark {class}"), index, (13.0, 6.0), &series.name);
                }
            }
            format!("<li>{}{}</li>\n", key.end(), escape(&series.name))
        });
        format!("<ul class=\"legend\">\n{}</ul>\n", entries.collect::<String>())
    }

    /// The series that have something to draw, with the numbers that their colours go by.
    fn drawn(&self) -> impl Iterator<Item = (usize, &Series)> {
        self.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty())
    }

    fn has_marks(&self, series: &Series) -> bool {
        self.kind != Kind::Steps && !series.is_limit
    }

    /// What is said of a value.
    fn told(&self, series: &Series, place: &str, point: &Point) -> String {
        let axis = if matches!(self.kind, Kind::Bars | Kind::Stacked) { &self.x } else { &self.y };
        let value = if point.low == point.high {
            label(point.value)
        } else {
            spread(point.value, point.low, point.high)
        };
        format!("{}, {place}: {value} {}", series.name, axis.unit).trim_end().to_owned()
    }

    fn lines(&self, layout: Layout) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let plot = Plot { left: 62.0, right: layout.width - 18.0, top: 12.0, bottom: layout.height - 50.0 };
        let x = Scale::new(&self.x.scale, points().map(|point| point.at), plot.width(), layout.ticks);
        let values = points().flat_map(|point| [point.low, point.high]);
        let y = Scale::new(&self.y.scale, values, plot.height(), 5);
        let at = |point: &Point, value: f64| (plot.left + x.place(point.at), plot.bottom - y.place(value));
        let mut svg = Svg::new(layout.class, layout.width, layout.height, &self.spoken());
        plot.axes(&mut svg, &x, &y, &self.x, &self.y);
        let behind = self.drawn().filter(|(_, series)| series.is_limit);
        let before = self.drawn().filter(|(_, series)| !series.is_limit);
        for (index, series) in behind.chain(before) {
            let class = class(index, series);
            let middle: Vec<_> = series.points.iter().map(|point| at(point, point.value)).collect();
            svg.polyline(&format!("curve {class}"), &middle, self.kind == Kind::Steps);
            if !self.has_marks(series) {
                continue;
            }
            for (point, &middle) in series.points.iter().zip(&middle) {
                let (low, high) = (at(point, point.low), at(point, point.high));
                if low.1 - high.1 >= 1.0 {
                    svg.line(&format!("whisker {class}"), low, high);
                    for end in [low, high] {
                        svg.line(&format!("whisker {class}"), (end.0 - 4.0, end.1), (end.0 + 4.0, end.1));
                    }
                }
                let place = format!("{} {}", label(point.at), self.x.unit);
                svg.mark(
                    &format!("mark {class}"),
                    index,
                    middle,
                    &self.told(series, place.trim_end(), point),
                );
            }
        }
        svg.end()
    }

    fn bars(&self, layout: Layout, categories: &[String]) -> String {
        let is_stacked = self.kind == Kind::Stacked;
        let is_narrow = layout.class == "narrow";
        let bars_of = |place: usize| match is_stacked {
            true => 1,
            false => self.series.iter().filter(|series| at_place(series, place).is_some()).count().max(1),
        };
        let bars: Vec<usize> = (0..categories.len()).map(bars_of).collect();
        let longest = categories.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64;
        let (thick, gap) = (if bars.iter().any(|&bars| bars > 1) { 14.0 } else { 20.0 }, 14.0);
        // The name is beside the bars, or above them where there is no room.
        let above = if is_narrow { 18.0 } else { 0.0 };
        let band = |bars: usize| above + thick * bars as f64 + gap;
        let bottom = 8.0 + bars.iter().map(|&bars| band(bars)).sum::<f64>();
        let left = if is_narrow { 10.0 } else { (longest * LETTER + 18.0).min(layout.width * 0.4) };
        let plot = Plot { left, right: layout.width - 92.0, top: 8.0, bottom };
        let ends = self.series.iter().flat_map(|series| &series.points).map(|point| point.high);
        let ends: Vec<f64> = if is_stacked {
            (0..categories.len()).map(|place| self.total(place)).collect()
        } else {
            ends.collect()
        };
        let x = Scale::new(&self.x.scale, ends, plot.width(), layout.ticks.min(6));
        let mut svg = Svg::new(layout.class, layout.width, bottom + 46.0, &self.spoken());
        plot.upright_grid(&mut svg, &x, &self.x);
        let mut begin = plot.top;
        for (place, (name, &bars)) in categories.iter().zip(&bars).enumerate() {
            let top = begin + gap / 2.0;
            begin += band(bars);
            match is_narrow {
                true => svg.text("label", Anchor::Start, (plot.left + 4.0, top + 11.0), name),
                false => {
                    let middle = top + thick * bars as f64 / 2.0 + 4.0;
                    svg.text("label", Anchor::End, (plot.left - 10.0, middle), name);
                }
            }
            let here = Bar { svg: &mut svg, x: &x, left: plot.left, top: top + above, thick };
            if is_stacked { self.stack(here, place, name) } else { self.beside(here, place, name) }
        }
        svg.line("axis", (plot.left, plot.top), (plot.left, plot.bottom));
        svg.end()
    }

    /// The bars of a category, one below the other.
    fn beside(&self, bar: Bar<'_>, place: usize, name: &str) {
        let all = self.series.iter().enumerate();
        let here: Vec<_> =
            all.filter_map(|(index, series)| Some((index, series, at_place(series, place)?))).collect();
        if here.is_empty() {
            let place = (bar.left + 6.0, bar.top + bar.thick / 2.0 + 3.5);
            bar.svg.text("absent", Anchor::Start, place, "not measured");
        }
        for (row, (index, series, point)) in here.into_iter().enumerate() {
            let class = class(index, series);
            let top = bar.top + bar.thick * row as f64;
            let width = bar.x.place(point.value);
            let told = self.told(series, name, point);
            bar.svg.rectangle(&format!("bar {class}"), (bar.left, top), (width, bar.thick - 2.0), &told);
            let (low, high) = (bar.left + bar.x.place(point.low), bar.left + bar.x.place(point.high));
            let middle = top + bar.thick / 2.0 - 1.0;
            if high - low >= 1.0 {
                bar.svg.line("whisker over", (low, middle), (high, middle));
            }
            let beyond = (bar.left + width).max(high) + 6.0;
            bar.svg.text("value", Anchor::Start, (beyond, middle + 4.5), &super::number(point.value));
        }
    }

    /// The bars of a category, end to end, and their sum.
    fn stack(&self, bar: Bar<'_>, place: usize, name: &str) {
        let mut sum = 0.0;
        for (index, series) in self.series.iter().enumerate() {
            let Some(point) = at_place(series, place) else { continue };
            let from = bar.x.place(sum);
            sum += point.value.max(0.0);
            let width = bar.x.place(sum) - from;
            let told = self.told(series, name, point);
            let class = format!("bar {}", class(index, series));
            bar.svg.rectangle(&class, (bar.left + from, bar.top), (width - 1.0, bar.thick), &told);
            let text = super::number(point.value);
            if width > text.len() as f64 * LETTER + 8.0 {
                let middle = (bar.left + from + width / 2.0, bar.top + bar.thick / 2.0 + 4.5);
                bar.svg.text("inside", Anchor::Middle, middle, &text);
            }
        }
        let beyond = bar.left + bar.x.place(sum) + 6.0;
        bar.svg.text("value", Anchor::Start, (beyond, bar.top + bar.thick / 2.0 + 4.5), &super::number(sum));
    }

    fn total(&self, place: usize) -> f64 {
        self.series
            .iter()
            .filter_map(|series| at_place(series, place))
            .map(|point| point.value.max(0.0))
            .sum()
    }

    /// What a picture shows, for who cannot see it; the figures are in the table.
    fn spoken(&self) -> String {
        let series: Vec<_> = self.drawn().map(|(_, series)| series.name.as_str()).collect();
        format!("{}: {} by {}; {}", self.title, self.y.title(), self.x.title(), series.join(", "))
    }
}

/// Where the bars of a category are drawn.
struct Bar<'a> {
    svg: &'a mut Svg,
    x: &'a Scale,
    left: f64,
    top: f64,
    thick: f64,
}

impl Plot {
    fn width(&self) -> f64 {
        self.right - self.left
    }

    fn height(&self) -> f64 {
        self.bottom - self.top
    }

    fn axes(&self, svg: &mut Svg, x: &Scale, y: &Scale, across: &Axis, up: &Axis) {
        for &tick in &y.ticks {
            let place = self.bottom - y.place(tick);
            svg.line("grid", (self.left, place), (self.right, place));
            svg.text("tick", Anchor::End, (self.left - 8.0, place + 4.5), &label(tick));
        }
        svg.upright_text("title", (16.0, (self.top + self.bottom) / 2.0), &up.title());
        self.upright_grid(svg, x, across);
    }

    fn upright_grid(&self, svg: &mut Svg, x: &Scale, across: &Axis) {
        for &tick in &x.ticks {
            let place = self.left + x.place(tick);
            svg.line("grid", (place, self.top), (place, self.bottom));
            svg.text("tick", Anchor::Middle, (place, self.bottom + 18.0), &label(tick));
        }
        svg.line("axis", (self.left, self.bottom), (self.right, self.bottom));
        let middle = ((self.left + self.right) / 2.0, self.bottom + 38.0);
        svg.text("title", Anchor::Middle, middle, &across.title());
    }
}

fn at_place(series: &Series, place: usize) -> Option<&Point> {
    series.points.iter().find(|point| (point.at - place as f64).abs() < 0.5)
}

fn class(index: usize, series: &Series) -> String {
    if series.is_limit { "limit".to_owned() } else { format!("s{}", index % COLOURS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_curve_says_what_it_is_and_a_single_bar_does_not() {
        let chart = |kind, y| Chart {
            title: "Rate".into(),
            kind,
            x: Axis::new("frame", "bytes", AxisScale::Logarithmic),
            y: Axis::new("rate", "Mpps", y),
            series: vec![Series {
                name: "VXLAN".into(),
                is_limit: false,
                points: vec![Point::exact(0.0, 5.0)],
            }],
            caption: String::new(),
        };
        assert!(chart(Kind::Lines, AxisScale::Linear).html().contains("</svg>\nVXLAN</li>"));
        let bars = chart(Kind::Bars, AxisScale::Categories(vec!["a".into()])).html();
        assert!(!bars.contains("legend"), "{bars}");
        let mut lines = chart(Kind::Lines, AxisScale::Linear);
        lines.series.insert(0, Series { name: "IPIP".into(), is_limit: false, points: Vec::new() });
        let html = lines.html();
        assert!(html.contains("curve s1") && !html.contains("curve s0") && !html.contains("IPIP"), "{html}");
    }

    #[test]
    fn bars_leave_no_room_for_those_that_are_not_there() {
        let series = |name: &str, places: &[u8]| Series {
            name: name.into(),
            is_limit: false,
            points: places.iter().map(|&at| Point::exact(at.into(), 5.0)).collect(),
        };
        let chart = |series: Vec<Series>| Chart {
            title: "Rate".into(),
            kind: Kind::Bars,
            x: Axis::new("rate", "Mpps", AxisScale::Linear),
            y: Axis::new("way", "", AxisScale::Categories(vec!["a".into(), "b".into()])),
            series,
            caption: String::new(),
        };
        let heights = |html: &str| -> Vec<f64> {
            let pictures = html.split("viewBox=\"0 0 ").skip(1).filter(|text| !text.starts_with("26 12"));
            pictures.map(|text| text.split(['"', ' ']).nth(1).unwrap().parse().unwrap()).collect()
        };
        let whole = chart(vec![series("one", &[0, 1]), series("two", &[0, 1])]).html();
        let part = chart(vec![series("one", &[0]), series("two", &[0])]).html();
        assert_eq!((whole.matches("not measured").count(), part.matches("not measured").count()), (0, 2));
        let less: Vec<_> = heights(&whole).into_iter().zip(heights(&part)).map(|(a, b)| a - b).collect();
        assert_eq!(less, [14.0, 14.0]); // one bar, in the wide picture and in the narrow one
    }
}
