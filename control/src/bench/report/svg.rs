//! SVG, written by hand: a crate that draws would fix colours and the widths of letters in the file, and here the page decides them,
//! light or dark, by classes. Marks say what they are when they are pointed at.

use std::fmt::Write;

/// A picture as it is drawn.
pub(super) struct Svg {
    out: String,
}

/// Which end of a text is at its place.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty one of this size, which says in `label` what it shows.
    pub(super) fn new(class: &str, width: f64, height: f64, label: &str) -> Self {
        let label = escape(label);
        Self {
            out: format!(
                "<svg class=\"{class}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\n"
            ),
        }
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ));
    }

    /// A rectangle that says `title` when it is pointed at.
    pub(super) fn rectangle(&mut self, class: &str, at: (f64, f64), size: (f64, f64), title: &str) {
        let ((x, y), (width, height)) = (at, (size.0.max(0.0), size.1.max(0.0)));
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>\n",
            escape(title)
        ));
    }

    pub(super) fn text(&mut self, class: &str, anchor: Anchor, at: (f64, f64), text: &str) {
        self.put(format_args!(
            "<text class=\"{class}\" text-anchor=\"{}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            anchor.name(),
            at.0,
            at.1,
            escape(text)
        ));
    }

    /// A text that is read from below.
    pub(super) fn upright_text(&mut self, class: &str, at: (f64, f64), text: &str) {
        self.put(format_args!(
            "<text class=\"{class}\" text-anchor=\"middle\" transform=\"translate({:.1} {:.1}) rotate(-90)\">{}</text>\n",
            at.0,
            at.1,
            escape(text)
        ));
    }

    /// A line through these points, or, `is_level`, level until the next one.
    pub(super) fn polyline(&mut self, class: &str, points: &[(f64, f64)], is_level: bool) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            // A string takes what is written to it.
            let _ = match (index, is_level) {
                (0, _) => write!(path, "M{x:.1} {y:.1}"),
                (_, true) => write!(path, "H{x:.1}V{y:.1}"),
                (_, false) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        self.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>\n"));
    }

    /// The mark of a series at a place: series differ in shape as well as in colour.
    pub(super) fn mark(&mut self, class: &str, series: usize, at: (f64, f64), title: &str) {
        let (x, y) = at;
        let path = match series % 4 {
            0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
            1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
            2 => format!("M{x:.1} {:.1}l4.6 8h-9.2z", y - 5.0),
            _ => format!("M{x:.1} {:.1}l5 5l-5 5l-5 -5z", y - 5.0),
        };
        self.put(format_args!(
            "<path class=\"{class}\" d=\"{path}\"><title>{}</title></path>\n",
            escape(title)
        ));
    }

    pub(super) fn end(mut self) -> String {
        self.out += "</svg>\n";
        self.out
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // A string takes what is written to it.
        let _ = self.out.write_fmt(what);
    }
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// Text as it stands in XML and HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
