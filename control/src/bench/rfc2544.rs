//! The benchmarks of RFC 2544 between two devices: throughput, latency, frame loss and back-to-back frames.

use std::time::Duration;

use super::ends::{Ended, Ends, tried};
use super::report::{
    Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Report, Row, Section, Series,
};
use super::search::{Precision, REACHED, Tried, longest_burst, loss_curve, throughput, whole};
use super::stats::{Figure, median};
use crate::traffic::{Amount, Latencies, Load, Outcome, Rate, Stream};

/// What is measured, and how well.
pub(crate) struct Plan {
    /// A stream for each size, and what the size is called.
    pub(crate) streams: Vec<(String, Stream)>,
    /// The highest rate that is tried.
    pub(crate) most: Rate,
    pub(crate) precision: Precision,
    /// How often everything is measured.
    pub(crate) rounds: u32,
}

/// What was measured of one size.
#[derive(Default)]
struct Measured {
    /// The throughput, of each round; a round without any is 0.
    throughput: Vec<Tried>,
    /// Rounds in which nothing was lost as fast as frames were sent.
    unlimited: u32,
    /// Trials in which the generator was kept from sending what it should.
    held_back: u32,
    /// A trial at the throughput, of each round.
    latency: Vec<Outcome>,
    /// By load in percent.
    curve: Vec<(u32, Vec<Tried>)>,
    bursts: Vec<u64>,
    longest_possible: u64,
}

/// The longest burst that is tried lasts so long at the highest rate (RFC 2544 §26.4).
const BURST: Duration = Duration::from_secs(2);

/// Measures everything, tells what is being done, and puts what came of it into the report, also if it ends early.
pub(crate) fn measure(ends: &mut Ends<'_>, plan: &Plan, report: &mut Report, tell: &dyn Fn(&str)) {
    let mut measured: Vec<Measured> = plan.streams.iter().map(|_| Measured::default()).collect();
    let mut rounds = || -> Result<(), Ended> {
        for round in 1..=plan.rounds {
            for ((name, stream), measured) in plan.streams.iter().zip(&mut measured) {
                let tell =
                    |what: &str| tell(&format!("round {round} of {}, {name} bytes: {what}", plan.rounds));
                measured.round(ends, plan, stream, &tell)?;
            }
        }
        Ok(())
    };
    report.ended_early = rounds().err().map(|ended| ended.to_string());
    let named = || {
        plan.streams.iter().zip(&measured).map(|((name, stream), measured)| (name.as_str(), stream, measured))
    };
    report.sections.push(throughput_section(&named().collect::<Vec<_>>()));
    report.sections.push(latency_section(&named().collect::<Vec<_>>()));
    report.sections.push(loss_section(&named().collect::<Vec<_>>()));
    report.sections.push(burst_section(&named().collect::<Vec<_>>()));
}

impl Measured {
    fn round(
        &mut self,
        ends: &mut Ends<'_>,
        plan: &Plan,
        stream: &Stream,
        tell: &dyn Fn(&str),
    ) -> Result<(), Ended> {
        tell("teaching addresses");
        ends.teach(stream)?;
        let most = plan.most.frames(stream);
        let fastest = std::cell::Cell::new(0.0f64);
        let held_back = std::cell::Cell::new(self.held_back);
        let trial = |ends: &mut Ends<'_>, what: &str, rate: Option<f64>| {
            tell(&format!(
                "{what} at {}",
                rate.map_or("full rate".into(), |rate| format!("{:.3} Mpps", rate / 1e6))
            ));
            let outcome = ends.at(stream, rate)?;
            fastest.set(fastest.get().max(outcome.sent.rate()));
            let is_held_back = rate.is_some_and(|rate| outcome.sent.rate() < rate * REACHED);
            held_back.set(held_back.get() + u32::from(is_held_back));
            Ok::<_, Ended>(outcome)
        };
        let mut trials = 0;
        let found = throughput(most, plan.precision, |rate| {
            trials += 1;
            Ok::<_, Ended>(tried(&trial(ends, "throughput", rate)?))
        })?;
        self.unlimited += u32::from(trials == 1);
        self.throughput.push(found.unwrap_or(Tried { offered: 0.0, received: 0.0, loss: 1.0 }));
        if let Some(found) = found {
            self.latency.push(trial(ends, "latency", Some(found.offered))?);
        }

        let curve = loss_curve(fastest.get(), plan.precision.tolerated, |percent, rate| {
            let rate = if percent == 100 { most } else { Some(rate) };
            Ok::<_, Ended>(tried(&trial(ends, "loss", rate)?))
        })?;
        for (percent, tried) in curve {
            match self.curve.iter_mut().find(|(known, _)| *known == percent) {
                Some((_, all)) => all.push(tried),
                None => self.curve.push((percent, vec![tried])),
            }
        }

        self.held_back = held_back.get();
        let most_frames = whole(fastest.get() * BURST.as_secs_f64()).max(2);
        self.longest_possible = self.longest_possible.max(most_frames);
        let burst = longest_burst(most_frames, plan.precision.resolution, |frames| {
            tell(&format!("back-to-back: {frames} frames"));
            let rate = most.map_or(Rate::Max, Rate::Frames);
            let outcome = ends.send(stream, Load { rate, amount: Amount::Count(frames) })?;
            Ok::<_, Ended>(outcome.loss() <= plan.precision.tolerated)
        })?;
        self.bursts.push(burst);
        Ok(())
    }
}

/// What was measured of a size, with its name and its frames.
type Named<'a> = (&'a str, &'a Stream, &'a Measured);

const MEGA: f64 = 1e6;

fn throughput_section(all: &[Named<'_>]) -> Section {
    let rows = all.iter().map(|(name, stream, measured)| {
        let rates = |scale: f64| measured.throughput.iter().map(|tried| tried.offered * scale).collect();
        Row {
            keys: vec![(*name).to_owned()],
            cells: vec![Cell::of(rates(1.0 / MEGA), 0), Cell::of(rates(stream.bits() / 1e9), 0)],
        }
    });
    let points = all.iter().enumerate().filter_map(|(at, (_, _, measured))| {
        let rates = measured.throughput.iter().map(|tried| tried.offered / MEGA).collect();
        Some(Point::of(at as f64, &Figure::of(rates, 0)?))
    });
    let chart = Chart {
        title: "Throughput by frame size".into(),
        kind: Kind::Bars,
        x: Axis::new("throughput", "Mpps", AxisScale::Linear),
        y: Axis::new(
            "frame",
            "",
            AxisScale::Categories(all.iter().map(|(name, ..)| format!("{name} bytes")).collect()),
        ),
        series: vec![Series { name: "throughput".into(), is_limit: false, points: points.collect() }],
        caption: "The highest rate at which every frame arrives.".into(),
    };
    let mut notes = vec!["On the wire: with the FCS, the preamble and the gap between frames.".to_owned()];
    let unlimited = all.iter().filter(|(.., measured)| measured.unlimited > 0).map(|(name, ..)| *name);
    let unlimited: Vec<_> = unlimited.collect();
    if !unlimited.is_empty() {
        notes.push(format!(
            "At {} bytes nothing was lost as fast as frames were sent: that much is forwarded, or more.",
            unlimited.join(", ")
        ));
    }
    let held_back: u32 = all.iter().map(|(.., measured)| measured.held_back).sum();
    if held_back > 0 {
        notes.push(format!(
            "In {held_back} trials less was sent than should have been: the rate is beyond what the generator makes here of such frames, or \
             something else on the machine kept it from its work."
        ));
    }
    Section {
        id: "rfc2544-throughput".into(),
        title: "Throughput".into(),
        about:
            "RFC 2544 §26.1: the highest rate at which no frame is lost; 0 where there was loss at every rate"
                .into(),
        keys: vec!["frame".into()],
        columns: vec![
            Column::new("throughput", "Mpps", Better::Higher),
            Column::new("on the wire", "Gbit/s", Better::Higher),
        ],
        rows: rows.collect(),
        charts: vec![chart],
        notes,
    }
}

const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999)];

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn latency_section(all: &[Named<'_>]) -> Section {
    let latencies = |measured: &Measured, of: &dyn Fn(&Latencies) -> Option<Duration>| {
        let times = measured.latency.iter().filter_map(|outcome| of(&outcome.received.latencies));
        Cell::of(times.map(microseconds).collect(), 0)
    };
    let rows = all.iter().map(|(name, _, measured)| {
        let quantiles =
            QUANTILES.map(|(_, part)| latencies(measured, &|latencies: &Latencies| latencies.quantile(part)));
        let longest = latencies(measured, &Latencies::max);
        Row { keys: vec![(*name).to_owned()], cells: quantiles.into_iter().chain([longest]).collect() }
    });
    let series = all.iter().filter_map(|(name, _, measured)| {
        let latencies = &measured.latency.last()?.received.latencies;
        let mut seen = 0;
        let points = latencies.steps().map(|(time, count)| {
            seen += count;
            Point::exact(microseconds(time), 100.0 * seen as f64 / latencies.count() as f64)
        });
        Some(Series { name: format!("{name} bytes"), is_limit: false, points: points.collect() })
    });
    let chart = Chart {
        title: "Latency at the throughput".into(),
        kind: Kind::Steps,
        x: Axis::new("latency", "µs", AxisScale::Logarithmic),
        y: Axis::new("frames that took no longer", "%", AxisScale::Linear),
        series: series.collect(),
        caption: "Of every frame of the last round.".into(),
    };
    let quantiles = QUANTILES.into_iter().map(|(name, _)| name).chain(["longest"]);
    Section {
        id: "rfc2544-latency".into(),
        title: "Latency".into(),
        about: "RFC 2544 §26.2: how long frames are on their way at the throughput, from the generator to the sink".into(),
        keys: vec!["frame".into()],
        columns: quantiles.map(|name| Column::new(name, "µs", Better::Lower)).collect(),
        rows: rows.collect(),
        charts: if all.iter().any(|(.., measured)| !measured.latency.is_empty()) { vec![chart] } else { vec![] },
        notes: vec!["Every frame is timed, in steps of at most a 64th of the time.".into()],
    }
}

fn loss_section(all: &[Named<'_>]) -> Section {
    let loss = |all: &[Tried]| all.iter().map(|tried| tried.loss * 100.0).collect::<Vec<_>>();
    let offered = |all: &[Tried]| all.iter().map(|tried| tried.offered / MEGA).collect::<Vec<_>>();
    let rows = all.iter().flat_map(|(name, _, measured)| {
        measured.curve.iter().map(|(percent, all)| Row {
            keys: vec![(*name).to_owned(), format!("{percent} %")],
            cells: vec![Cell::of(offered(all), 0), Cell::of(loss(all), 0)],
        })
    });
    let series = all.iter().map(|(name, _, measured)| {
        let points = measured
            .curve
            .iter()
            .filter_map(|(_, all)| Some(Point::of(median(&offered(all))?, &Figure::of(loss(all), 0)?)));
        let mut points: Vec<_> = points.collect();
        points.sort_by(|a, b| a.at.total_cmp(&b.at));
        Series { name: format!("{name} bytes"), is_limit: false, points }
    });
    let chart = Chart {
        title: "Frame loss by load".into(),
        kind: Kind::Lines,
        x: Axis::new("offered", "Mpps", AxisScale::Linear),
        y: Axis::new("lost", "%", AxisScale::Linear),
        series: series.filter(|series| !series.points.is_empty()).collect(),
        caption: "What of the frames offered does not arrive.".into(),
    };
    Section {
        id: "rfc2544-loss".into(),
        title: "Frame loss".into(),
        about: "RFC 2544 §26.3: the frames lost at parts of the highest rate, down to two without loss"
            .into(),
        keys: vec!["frame".into(), "load".into()],
        columns: vec![
            Column::new("offered", "Mpps", Better::Neither),
            Column::new("lost", "%", Better::Lower),
        ],
        rows: rows.collect(),
        charts: if chart.series.is_empty() { vec![] } else { vec![chart] },
        notes: vec![],
    }
}

fn burst_section(all: &[Named<'_>]) -> Section {
    let rows = all.iter().map(|(name, _, measured)| {
        let bursts = measured.bursts.iter().map(|&burst| burst as f64).collect();
        Row {
            keys: vec![(*name).to_owned()],
            cells: vec![Cell::of(bursts, 0), Cell::Exact(measured.longest_possible as f64)],
        }
    });
    Section {
        id: "rfc2544-back-to-back".into(),
        title: "Back-to-back frames".into(),
        about: "RFC 2544 §26.4: the longest burst at the highest rate of which no frame is lost".into(),
        keys: vec!["frame".into()],
        columns: vec![
            Column::new("longest burst", "frames", Better::Higher),
            Column::new("tried at most", "frames", Better::Neither),
        ],
        rows: rows.collect(),
        charts: vec![],
        notes: vec![],
    }
}
