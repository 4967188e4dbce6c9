//! What was measured over devices, as tables and charts.

use super::Encap;
use super::arithmetic::missing;
use super::devices::{Case, Frames, Outcome, Seen};
use super::rig::Drive;
use super::ways::Way;
use crate::bench::report::{Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Row, Section, Series};
use crate::bench::stats::{Figure, quantile};
use crate::bench::trial::Trials;

/// The way whose round trips are drawn by what they go through, and what all ways' are drawn of.
const DRAWN: &str = "bridge";

/// A quantity of a trial.
type Of<'a> = &'a dyn Fn(&Seen) -> Option<f64>;

/// A quantity of frames of a size.
type OfFrames = fn(&Frames) -> Option<f64>;

const INTO: OfFrames = |frames| frames.into;
const OUT: OfFrames = |frames| frames.out;
const BOTH: OfFrames = |frames| frames.both;

/// The quantiles that are told of round trips.
const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999)];

/// The cases, and what came of each.
struct Table<'a> {
    cases: &'a [Case],
    trials: &'a [Trials<Outcome>],
}

impl Encap {
    pub(super) fn tables(&self, cases: &[Case], trials: &[Trials<Outcome>]) -> [Section; 2] {
        let table = Table { cases, trials };
        let mut sections = [self.frames(&table), self.paths(&table)];
        // What shows nothing is not drawn.
        let shows = |chart: &Chart| chart.series.iter().any(|series| !series.points.is_empty());
        sections.iter_mut().for_each(|section| section.charts.retain(shows));
        sections
    }

    /// Ways and what they go through, as rows have it, and why one is not measured if it is not.
    fn pairs(&self) -> impl Iterator<Item = (&'static Way, Drive, Option<String>)> {
        let ways = self.ways.iter().filter(|way| way.is_over_devices());
        let drives = |way: &'static Way| self.drives.iter().map(move |&drive| (way, drive));
        ways.flat_map(move |&way| drives(way))
            .filter(|(way, drive)| drive.is_for(way))
            .map(|(way, drive)| (way, drive, missing(way).filter(|_| drive != Drive::Kernel)))
    }

    fn frames(&self, table: &Table<'_>) -> Section {
        let mut rows = Vec::new();
        for (way, drive, missing) in self.pairs() {
            for &size in &self.sizes {
                let cells = match (missing.clone(), table.find(way, drive, size)) {
                    (Some(why), _) => Cell::words(&why, 3),
                    (None, Some((case, place))) => {
                        let of = |of: OfFrames| move |seen: &Seen| of(&seen.frames[place]);
                        table.cells(case, &[&of(INTO), &of(OUT), &of(BOTH)])
                    }
                    (None, None) => Cell::words("not measured", 3),
                };
                rows.push(Row { keys: vec![way.name.into(), drive.name().into(), size.to_string()], cells });
            }
        }
        let bars = |title: &str, of: OfFrames| {
            let of = |seen: &Seen| of(seen.frames.first()?);
            table.bars(self, title, Axis::new("frames delivered", "Mpps", AxisScale::Linear), &of)
        };
        let smallest = self.sizes.first().map_or(0, |size| *size);
        let mut charts = vec![
            bars(&format!("Into the encapsulation over devices, {smallest} bytes"), INTO),
            bars(&format!("Out of the encapsulation over devices, {smallest} bytes"), OUT),
        ];
        charts.extend(self.by_size(table));
        Section {
            id: "frames".into(),
            title: "Frames over devices".into(),
            about: "As many frames as can be sent, and how many of them arrive. Into it and out of it: a station behind one switch, and the \
                    wire, on which frames are encapsulated; one direction at a time. Over two: from one station into it, through the \
                    wire, and out of it to the other."
                .into(),
            keys: vec!["way".into(), "through".into(), "frame (bytes)".into()],
            columns: ["into it", "out of it", "over two"]
                .map(|name| Column::new(name, "Mpps", Better::Higher))
                .into(),
            rows,
            charts,
            notes: vec![
                "Frames are made in the kernel by XDP, which is more than any of them forwards; those that are longer than a page, and those \
                 that a macvlan of the kernel's sends, are written to a packet socket, which can be what limits. Stations of the kernel's macvlan have \
                 it for their own device, and count in the stack. Sockets: the wire is the host's own, and encapsulated packets go \
                 through its sockets."
                    .into(),
                SHARED.into(),
            ],
        }
    }

    /// Each way by the size of frames, through what was asked for first.
    fn by_size(&self, table: &Table<'_>) -> Option<Chart> {
        let drive = *self.drives.first().filter(|_| self.sizes.len() > 1)?;
        let series = self.ways.iter().map(|way| {
            let point = |&size: &u16| {
                let (case, place) = table.find(way, drive, size)?;
                Some(Point::of(size.into(), &table.figure(case, &|seen| seen.frames[place].into)?))
            };
            let points = self.sizes.iter().filter_map(point).collect();
            Series { name: way.name.into(), is_limit: false, points }
        });
        let chart = Chart {
            title: format!("Into the encapsulation through {} by frame size", drive.name()),
            kind: Kind::Lines,
            x: Axis::new("the station's frame", "bytes", AxisScale::Logarithmic),
            y: Axis::new("frames delivered", "Mpps", AxisScale::Linear),
            series: series.collect(),
            caption: "Frames beyond 1,514 bytes take a longer MTU, and buffers to match.".into(),
        };
        Some(chart).filter(|chart| chart.series.iter().any(|series| !series.points.is_empty()))
    }

    fn paths(&self, table: &Table<'_>) -> Section {
        let mut mtus: Vec<u16> = table.cases.iter().map(|case| case.mtu).collect();
        mtus.sort_unstable();
        mtus.dedup();
        let mut rows = Vec::new();
        for (way, drive, missing) in self.pairs() {
            for &mtu in &mtus {
                let case = table
                    .cases
                    .iter()
                    .position(|case| case.way.name == way.name && case.drive == drive && case.mtu == mtu);
                let cells = match (&missing, case) {
                    (Some(why), _) => Cell::words(why, 1 + QUANTILES.len()),
                    (None, None) => Cell::words("not measured", 1 + QUANTILES.len()),
                    (None, Some(case)) => {
                        let trips = QUANTILES.map(|(_, q)| move |seen: &Seen| quantile(&seen.round_trips, q));
                        let tcp = |seen: &Seen| Some(seen.tcp);
                        let trips = trips.iter().map(|of| of as Of<'_>);
                        table.cells(case, &[&tcp as Of<'_>].into_iter().chain(trips).collect::<Vec<_>>())
                    }
                };
                rows.push(Row { keys: vec![way.name.into(), drive.name().into(), mtu.to_string()], cells });
            }
        }
        let tcp = Axis::new("TCP", "Gbit/s", AxisScale::Linear);
        let trips =
            QUANTILES.map(|(name, _)| Column::new(&format!("round trip, {name}"), "µs", Better::Lower));
        let drives: Vec<_> = self.drives.iter().map(|drive| drive.name()).collect();
        let by_drive = table.trips(format!("Round trips over the {DRAWN}"), &drives, |case| {
            (case.way.name == DRAWN).then(|| case.drive.name())
        });
        let first = self.drives.first().copied();
        let title = format!("Round trips through {}", first.map_or("", Drive::name));
        let ways: Vec<_> = self.ways.iter().map(|way| way.name).collect();
        let by_way = table.trips(title, &ways, |case| (Some(case.drive) == first).then_some(case.way.name));
        Section {
            id: "devices".into(),
            title: "TCP and round trips over devices".into(),
            about: "Two stations in namespaces, each behind a switch, and a wire between the switches on which frames are encapsulated: each \
                    figure is of both directions through two switches. TCP: one stream between real sockets. Round trips: echo requests \
                    one after the other; a figure is the median over trials of that quantile of each."
                .into(),
            keys: vec!["way".into(), "through".into(), "MTU".into()],
            columns: [Column::new("TCP", "Gbit/s", Better::Higher)].into_iter().chain(trips).collect(),
            rows,
            charts: [Some(table.bars(self, "TCP by way", tcp, &|seen| Some(seen.tcp))), by_drive, by_way]
                .into_iter()
                .flatten()
                .collect(),
            notes: vec![SHARED.into()],
        }
    }
}

const SHARED: &str = "Stations, generator, sink and switches share the machine's CPUs; what a pair of machines would do, the ratios tell better \
                      than the figures.";

impl Table<'_> {
    /// The case that a size was measured in, and its place there.
    fn find(&self, way: &Way, drive: Drive, size: u16) -> Option<(usize, usize)> {
        self.cases.iter().enumerate().find_map(|(number, case)| {
            let is_it = case.way.name == way.name && case.drive == drive;
            let place = case.sizes.iter().position(|own| is_it && *own == size)?;
            Some((number, place))
        })
    }

    fn seen(&self, case: usize) -> impl Iterator<Item = &Seen> {
        self.trials[case].kept.iter().filter_map(|outcome| outcome.as_ref().ok())
    }

    fn figure(&self, case: usize, of: Of<'_>) -> Option<Figure> {
        Figure::of(self.seen(case).filter_map(of).collect(), self.trials[case].disturbed)
    }

    /// Quantities of a case, or why there are none.
    fn cells(&self, case: usize, of: &[Of<'_>]) -> Vec<Cell> {
        let trials = &self.trials[case];
        let failed = trials.kept.iter().find_map(|outcome| outcome.as_ref().err());
        if let (Some(why), None) = (failed, self.seen(case).next()) {
            return Cell::words(why, of.len());
        }
        if self.seen(case).next().is_none() {
            return Cell::words(&Cell::of(Vec::new(), trials.disturbed).to_string(), of.len());
        }
        let cell = |of: &Of<'_>| match self.seen(case).filter_map(of).collect::<Vec<_>>() {
            none if none.is_empty() => Cell::text("none arrived"),
            samples => Cell::of(samples, trials.disturbed),
        };
        of.iter().map(cell).collect()
    }

    /// A bar for each way and what it goes through, of the usual MTU.
    fn bars(&self, encap: &Encap, title: &str, x: Axis, of: Of<'_>) -> Chart {
        let least = self.cases.iter().map(|case| case.mtu).min();
        let of_least = || self.cases.iter().enumerate().filter(|(_, case)| Some(case.mtu) == least);
        let mut ways: Vec<&str> = of_least().map(|(_, case)| case.way.name).collect();
        ways.dedup();
        let series = encap.drives.iter().map(|&drive| {
            let point = |(place, case): (usize, &Case)| {
                let at = ways.iter().position(|way| *way == case.way.name)?;
                Some(Point::of(at as f64, &self.figure(place, of)?))
            };
            let points = of_least().filter(|(_, case)| case.drive == drive).filter_map(point).collect();
            Series { name: drive.name().into(), is_limit: false, points }
        });
        Chart {
            title: title.into(),
            kind: Kind::Bars,
            x,
            y: Axis::new("way", "", AxisScale::Categories(ways.iter().map(ToString::to_string).collect())),
            series: series.collect(),
            caption: "Where there is no bar, the table says why.".into(),
        }
    }

    /// How round trips are distributed, of those cases of the usual MTU that have one of these names, whose places among all are their colours.
    fn trips(
        &self,
        title: String,
        names: &[&'static str],
        name: impl Fn(&Case) -> Option<&'static str>,
    ) -> Option<Chart> {
        let least = self.cases.iter().map(|case| case.mtu).min();
        let usual = || self.cases.iter().enumerate().filter(|(_, case)| Some(case.mtu) == least);
        let series = names.iter().map(|&own| {
            let cases = usual().filter(|(_, case)| name(case) == Some(own));
            let all: Vec<f64> = cases
                .flat_map(|(place, _)| self.seen(place))
                .flat_map(|seen| seen.round_trips.iter().copied())
                .collect();
            let shares = (0..=200).map(|n| f64::from(n) / 200.0);
            let points = shares.filter_map(|share| Some(Point::exact(quantile(&all, share)?, 100.0 * share)));
            Series { name: own.into(), is_limit: false, points: points.collect() }
        });
        let series: Vec<_> = series.collect();
        series.iter().any(|series| !series.points.is_empty()).then(|| Chart {
            title,
            kind: Kind::Steps,
            x: Axis::new("round trip", "µs", AxisScale::Logarithmic),
            y: Axis::new("answered by then", "%", AxisScale::Linear),
            series,
            caption: "Echo requests one after the other, over two switches, all trials together.".into(),
        })
    }
}
