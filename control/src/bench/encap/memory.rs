//! The ways with no I/O: into the headers, out of them, and both by turns.

use rigswitch_dataplane::ports::Repeater;

use super::Encap;
use super::arithmetic::missing;
use super::ways::{NOWHERE, WAYS, Way};
use crate::bench::memory::{Queue, Sample, Trial, measure, not_counted, through};
use crate::bench::report::{Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Row, Section, Series};
use crate::bench::stats::Figure;
use crate::bench::trial::Trials;
use crate::bench::{BenchError, Measured, Watch};

/// Frames of a burst.
const BURST: usize = 64;

/// Which way frames go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Out,
    In,
    Both,
}

const DIRECTIONS: [(Direction, &str); 3] =
    [(Direction::Out, "into it"), (Direction::In, "out of it"), (Direction::Both, "there and back")];

/// What is measured in one trial.
struct Case {
    way: &'static Way,
    direction: Direction,
    size: u16,
}

impl Encap {
    /// Measures them.
    pub(super) fn in_memory(&self, watch: &Watch, measured: &mut Measured) {
        let mut cases = Vec::new();
        for way in WAYS.iter().filter(|way| self.needs(way) && missing(way).is_none()) {
            for &size in &self.sizes {
                let directions = if way.name == NOWHERE { &DIRECTIONS[..1] } else { &DIRECTIONS };
                cases.extend(directions.iter().map(|&(direction, _)| Case { way, direction, size }));
            }
        }
        watch.expect(self.schedule, cases.len());
        let name = |case: usize| cases[case].name();
        let trials = watch.interleave(cases.len(), self.schedule, name, measured, |case, counts| {
            let length = if counts { self.length } else { self.length / 8 };
            cases[case].measure(Trial { beforehand: 4096, length, forwards: cases[case].way.name != NOWHERE })
        });
        measured.sections.push(section(self, &cases, &trials));
    }

    /// Whether it is compared, or one that is compared is it with something more.
    fn needs(&self, way: &Way) -> bool {
        let is_below = |above: &Way| {
            let steps = std::iter::successors(Some(above), |way| {
                way.on.and_then(|(base, _)| WAYS.iter().find(|way| way.name == base))
            });
            steps.into_iter().any(|below| below.name == way.name)
        };
        self.ways.iter().any(|above| is_below(above))
    }
}

impl Case {
    fn name(&self) -> String {
        let direction = DIRECTIONS.iter().find(|(direction, _)| *direction == self.direction);
        format!("{} {}, {} bytes", self.way.name, direction.map_or("", |(_, name)| name), self.size)
    }

    /// What a frame costs; of both directions, what one out and one in do.
    fn measure(&self, trial: Trial) -> Result<Sample, BenchError> {
        let (way, size) = (self.way, usize::from(self.size));
        let near = way.near();
        let outward = if self.direction == Direction::In { Vec::new() } else { way.outward(size) };
        let inward = match self.direction {
            Direction::Out => Vec::new(),
            _ => way.inward(size, |config, frames| through(config, "p0", "p1", frames))?,
        };
        let queue = |frames: Vec<Vec<u8>>| -> Queue { Box::new(Repeater::new(&frames, BURST)) };
        let sample = measure(&near, vec![("p0", queue(outward)), ("p1", queue(inward))], trial)?;
        let frames = if self.direction == Direction::Both { 2.0 } else { 1.0 };
        let times = |count: Option<f64>| count.map(|count| count * frames);
        Ok(Sample {
            ns: sample.ns * frames,
            cycles: times(sample.cycles),
            instructions: times(sample.instructions),
        })
    }
}

fn section(encap: &Encap, cases: &[Case], trials: &[Trials<Sample>]) -> Section {
    let (sizes, ways) = (&encap.sizes, &encap.ways);
    let of = |way: &str, direction: Direction, size: u16| {
        let is_it = |case: &Case| case.way.name == way && case.direction == direction && case.size == size;
        cases.iter().position(is_it).map(|place| &trials[place])
    };
    let figure = |way: &str, size: u16| {
        let trials = of(way, Direction::Out, size)?;
        Figure::of(trials.kept.iter().map(|sample| sample.ns).collect(), trials.disturbed)
    };
    let uncounted = not_counted();
    let mut rows = Vec::new();
    for way in ways {
        for &size in sizes {
            let cells = DIRECTIONS.iter().flat_map(|&(direction, _)| match of(way.name, direction, size) {
                Some(trials) => {
                    let of = |f: fn(&Sample) -> f64| {
                        Cell::of(trials.kept.iter().map(f).collect(), trials.disturbed)
                    };
                    [of(|sample| sample.ns), of(|sample| 1e3 / sample.ns)]
                }
                None => [missing(way).unwrap_or_default(), String::new()].map(|text| Cell::text(&text)),
            });
            let mut cells: Vec<_> = cells.collect();
            if uncounted.is_none() {
                let counted = of(way.name, Direction::Out, size).into_iter().flat_map(|trials| &trials.kept);
                cells.push(Cell::of(counted.filter_map(|sample| sample.instructions).collect(), 0));
            }
            rows.push(Row { keys: vec![way.name.into(), size.to_string()], cells });
        }
    }
    let rates = ways.iter().map(|way| {
        let point = |&size: &u16| Some(Point::of(size.into(), &figure(way.name, size)?.map(|ns| 1e3 / ns)?));
        Series { name: way.name.into(), is_limit: false, points: sizes.iter().filter_map(point).collect() }
    });
    let rates = Chart {
        title: "Rate into the encapsulation by frame size".into(),
        kind: Kind::Lines,
        x: Axis::new("the station's frame", "bytes", AxisScale::Logarithmic),
        y: Axis::new("rate", "Mpps", AxisScale::Linear),
        series: rates.filter(|series| !series.points.is_empty()).collect(),
        caption: "One worker in memory. Headers are put before the frame where it lies, so its length costs nothing until it outgrows \
                  a chunk of memory."
            .into(),
    };
    let columns = DIRECTIONS.iter().flat_map(|(direction, name)| {
        let rate = if *direction == Direction::Both { "M pairs/s" } else { "Mpps" };
        [Column::new(name, "ns", Better::Lower), Column::new(name, rate, Better::Higher)]
    });
    let counted = [Column::new("into it: instructions", "", Better::Lower)];
    let counted = counted.into_iter().filter(|_| uncounted.is_none());
    Section {
        id: "memory".into(),
        title: "Time, with no I/O".into(),
        about: "One worker between two ports that make frames and throw them away. Into it: a station's frame leaves encapsulated. Out of \
                it: one of those comes back. There and back: both by turns, a frame out and a frame in together. Times are CPU time of the worker, rates those of a CPU of its own."
            .into(),
        keys: vec!["way".into(), "frame (bytes)".into()],
        columns: columns.chain(counted).collect(),
        rows,
        charts: [stages(ways, sizes[0], figure), Some(rates).filter(|_| sizes.len() > 1)].into_iter().flatten().collect(),
        notes: uncounted.into_iter().collect(),
    }
}

/// What each step costs: a way is another one with something more, so that the steps are the differences.
fn stages(ways: &[&Way], size: u16, figure: impl Fn(&str, u16) -> Option<Figure>) -> Option<Chart> {
    const FIRST: &str = "make and free";
    let ways: Vec<_> = ways.iter().filter(|way| figure(way.name, size).is_some()).collect();
    let mut series = vec![Series { name: FIRST.into(), is_limit: false, points: Vec::new() }];
    for (place, way) in ways.iter().enumerate() {
        let nowhere = figure(NOWHERE, size)?;
        series[0].points.push(Point::of(place as f64, &nowhere));
        let mut at: &Way = way;
        while let Some((base, step)) = at.on {
            let below = WAYS.iter().find(|way| way.name == base)?;
            let cost = figure(at.name, size)?.difference(&figure(base, size)?)?;
            let known = series.iter().position(|series| series.name == step);
            let known = known.unwrap_or_else(|| {
                series.push(Series { name: step.into(), is_limit: false, points: Vec::new() });
                series.len() - 1
            });
            let point = Point { at: place as f64, value: cost.value, low: cost.low, high: cost.high };
            series[known].points.push(point);
            at = below;
        }
    }
    // In the order that a frame meets them: every way's steps come after those of the way that it is on.
    let rank =
        |name: &str| WAYS.iter().position(|way| way.on.is_some_and(|(_, step)| step == name)).unwrap_or(0);
    series[1..].sort_by_key(|series| rank(&series.name));
    Some(Chart {
        title: format!("Cost of a frame of {size} bytes by stage"),
        kind: Kind::Stacked,
        x: Axis::new("time a frame", "ns", AxisScale::Linear),
        y: Axis::new("way", "", AxisScale::Categories(ways.iter().map(|way| way.name.to_owned()).collect())),
        series,
        caption: "Differences between the medians of ways of which one has that stage and the other has not; what comes out below \
                  nothing is drawn as nothing. To make and free a frame stands for the I/O that is not there."
            .into(),
    })
}
