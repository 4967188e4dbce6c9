//! What encapsulation adds, and what share of the wire is left: by the standards, and as frames that were encapsulated have it.

use super::Encap;
use super::ways::Way;
use crate::bench::BenchError;
use crate::bench::memory::through;
use crate::bench::report::{Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Row, Section, Series};
use crate::config::Config;

/// Bytes on the wire before and after a frame: preamble and start delimiter 8, frame check sequence 4, the least gap 12 (IEEE
/// 802.3-2022, 3.1.1 and 4.4.2).
const AROUND: usize = 8 + 4 + 12;

/// The shortest frame without its frame check sequence (IEEE 802.3-2022, 4.4.2): shorter ones are padded.
const SHORTEST: usize = 60;

/// Bytes of a station's frame that are its Ethernet header.
const HEADER: usize = 14;

/// The share of the wire, in percent, that is payload of the station's frame of `size` bytes, when the one on the wire has `sent`.
fn share(size: usize, sent: usize) -> f64 {
    100.0 * (size - HEADER) as f64 / (sent.max(SHORTEST) + AROUND) as f64
}

/// The sizes that shares are drawn at, besides those asked for.
const SIZES: [u16; 9] = [64, 128, 256, 512, 1024, 1500, 2048, 4096, 9000];

/// Why a way is not there; nothing, if it is.
pub(super) fn missing(way: &Way) -> Option<String> {
    Config::parse(&way.near(), "bench").err().map(|_| "not in this version".to_owned())
}

impl Encap {
    /// Bytes added and shares of the wire.
    pub(super) fn overhead(&self) -> Section {
        let mut sizes: Vec<u16> = SIZES.iter().chain(&self.sizes).copied().collect();
        sizes.sort_unstable();
        sizes.dedup();
        let mut rows = Vec::new();
        let mut series = Vec::new();
        for way in &self.ways {
            let mut points = Vec::new();
            for &size in &sizes {
                let limit = share(size.into(), usize::from(size) + way.added);
                let cells = match seen(way, size.into()) {
                    Ok(sent) => {
                        let seen = share(size.into(), sent);
                        points.push(Point::exact(size.into(), seen));
                        let added = sent as f64 - f64::from(size);
                        vec![Cell::Exact(added), Cell::Exact(seen), Cell::Exact(limit)]
                    }
                    Err(why) => vec![Cell::text(&why), Cell::text(""), Cell::Exact(limit)],
                };
                if self.sizes.contains(&size) {
                    rows.push(Row { keys: vec![way.name.into(), size.to_string()], cells });
                }
            }
            // Ways that add nothing are one line.
            let is_new = way.added > 0 || way.name == "bridge";
            if is_new && !points.is_empty() {
                series.push(Series { name: way.name.into(), is_limit: false, points });
            }
        }
        let chart = Chart {
            title: "Goodput by frame size".into(),
            kind: Kind::Lines,
            x: Axis::new("the station's frame", "bytes", AxisScale::Logarithmic),
            y: Axis::new("payload's share of the wire", "%", AxisScale::Near),
            series,
            caption: "Counted on frames that this switch has encapsulated; cross-connect, macvlan and host-gw add nothing, as the bridge."
                .into(),
        };
        let standards = self.ways.iter().filter(|way| way.added > 0);
        let standards = standards.map(|way| format!("{}: {}", way.name, way.standard));
        Section {
            id: "overhead".into(),
            title: "Bytes".into(),
            about: "What is added to a station's frame, and how much of the wire is its payload then, preamble, frame check sequence and \
                    gap counted; beside what the standards allow."
                .into(),
            keys: vec!["way".into(), "frame (bytes)".into()],
            columns: vec![
                Column::new("added", "bytes", Better::Lower),
                Column::new("goodput", "% of the wire", Better::Higher),
                Column::new("limit", "% of the wire", Better::Neither),
            ],
            rows,
            charts: vec![chart],
            notes: Some(standards.collect::<Vec<_>>().join(". ") + ".").filter(|text| text.len() > 1).into_iter().collect(),
        }
    }
}

/// How long a frame of this size is on the wire, or why nobody knows.
fn seen(way: &Way, size: usize) -> Result<usize, String> {
    if let Some(why) = missing(way) {
        return Err(why);
    }
    let sent = through(&way.near(), "p0", "p1", &way.outward(size)[..1]);
    let sent = sent.map_err(|error: BenchError| error.to_string())?;
    sent.first().map(Vec::len).ok_or_else(|| BenchError::NoFrames.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::ways::{NOWHERE, WAYS};
    use super::*;

    #[test]
    fn shares_are_those_of_the_textbook() {
        // 1500 bytes of payload in a frame of 1514 and its 24 around it; 46 of 84 in the shortest.
        assert!((share(1514, 1514) - 97.529).abs() < 0.001);
        assert!((share(60, 60) - 54.762).abs() < 0.001);
        assert!((share(1514, 1564) - 94.458).abs() < 0.001);
        assert_eq!(share(50, 50), share(50, 60)); // padded
    }

    #[test]
    fn what_is_added_is_what_the_standards_say() {
        for way in WAYS.iter().filter(|way| way.name != NOWHERE && missing(way).is_none()) {
            for size in [64, 1500, 9000] {
                assert_eq!(seen(way, size), Ok(size + way.added), "{}", way.name);
            }
        }
    }

    #[test]
    fn the_ways_of_this_version_are_there() {
        for name in ["cross-connect", "bridge", "802.1Q", "QinQ", "macvlan", "host-gw"] {
            let way = WAYS.iter().find(|way| way.name == name).unwrap();
            assert_eq!(missing(way), None, "{name}: {:?}", Config::parse(&way.near(), "bench").err());
        }
    }
}
