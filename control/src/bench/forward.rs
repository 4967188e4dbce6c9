//! `bench forward`: what the pipeline costs with no I/O, by frame size, stations and workers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rigswitch_dataplane::ports::Generator;

use super::memory::{self, Queue, Sample, Trial, measure};
use super::report::{Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Row, Section, Series};
use super::stats::Figure;
use super::trial::{Schedule, Trials};
use super::{BenchError, Measured, Watch};
use crate::config::Config;
use crate::switch::Switch;

/// Stations behind each port of a bridge where workers are what counts.
const FEW: u64 = 16;

/// How long workers may take to forward anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be measured.
pub(crate) struct Forward {
    pub(crate) sizes: Vec<u16>,
    /// Stations in all, a power of two each.
    pub(crate) macs: Vec<u32>,
    pub(crate) workers: Vec<u16>,
    pub(crate) schedule: Schedule,
    /// Of a trial.
    pub(crate) length: Duration,
}

/// Which frames workers have to do with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Traffic {
    /// Each with a bridge of its own.
    Local,
    /// Each with one port of two bridges, whose other port is the next worker's.
    HandedOn,
}

impl Forward {
    /// Measures it.
    pub(crate) fn run(&self, watch: &Watch) -> Measured {
        let alone = self.sizes.iter().flat_map(|&size| self.macs.iter().map(move |&macs| (size, macs)));
        let alone: Vec<_> = alone.collect();
        let crews: Vec<_> = self
            .workers
            .iter()
            .flat_map(|&workers| [(workers, Traffic::Local), (workers, Traffic::HandedOn)])
            .filter(|&(workers, traffic)| workers > 1 || traffic == Traffic::Local)
            .collect();
        watch.expect(self.schedule, alone.len() + crews.len());
        let mut measured = Measured::default();
        let names = |index: usize| format!("{} bytes, {} MACs", alone[index].0, alone[index].1);
        let trials = watch.interleave(alone.len(), self.schedule, names, &mut measured, |case, counts| {
            let (size, macs) = alone[case];
            one_worker(size, macs, if counts { self.length } else { Duration::ZERO })
        });
        measured.sections.push(by_frame(&alone, trials));
        let names = |index: usize| format!("{} workers", crews[index].0);
        let trials = watch.interleave(crews.len(), self.schedule, names, &mut measured, |case, counts| {
            let (workers, traffic) = crews[case];
            let length = if counts { self.length } else { self.length / 4 };
            many_workers(workers, traffic, self.sizes[0], length)
        });
        if !crews.is_empty() {
            measured.sections.push(by_workers(self.sizes[0], &crews, trials));
        }
        measured
    }
}

/// A bridge of these ports, each of which has a worker.
fn bridges(ports: &[(u16, u16)], workers: u16, macs: u32) -> String {
    let mut text = format!(
        "[switch]\nworkers = {workers}\nidle = \"spin\"\nmac_table = {}\n",
        macs.max(1024).saturating_mul(2)
    );
    for (id, worker) in ports {
        text += &format!("[[port]]\nname = \"p{id}\"\nmemory = true\nmtu = 9200\nworker = {worker}\n");
    }
    for (first, second) in ports.iter().zip(&ports[1..]).step_by(2) {
        text += &format!(
            "[[bridge]]\nname = \"br{0}\"\nmcast_snooping = false\nport = [{{ device = \"p{0}\" }}, {{ device = \"p{1}\" }}]\n",
            first.0, second.0
        );
    }
    text
}

/// Two ports that send each other frames of all their stations.
fn pair(size: u16, first: u16, macs: u64) -> [(String, Queue); 2] {
    let queue = |here, there| -> Queue { Box::new(Generator::new(size.into(), here, there, macs, 64)) };
    [(first, first + 1), (first + 1, first)].map(|(here, there)| (format!("p{here}"), queue(here, there)))
}

fn one_worker(size: u16, macs: u32, length: Duration) -> Result<Sample, BenchError> {
    let config = bridges(&[(0, 0), (1, 0)], 1, macs);
    let pair = pair(size, 0, (u64::from(macs) / 2).max(1));
    let queues =
        pair.into_iter().map(|(port, queue)| (if port == "p0" { "p0" } else { "p1" }, queue)).collect();
    // They are to learn them all first.
    measure(&config, queues, Trial { beforehand: 16 * u64::from(macs), length, forwards: true })
}

/// Millions of frames a second.
fn many_workers(workers: u16, traffic: Traffic, size: u16, length: Duration) -> Result<f64, BenchError> {
    let owner = |id: u16| match traffic {
        Traffic::Local => id / 2,
        Traffic::HandedOn => (id / 2 + id % 2) % workers,
    };
    let ports: Vec<_> = (0..2 * workers).map(|id| (id, owner(id))).collect();
    let mut switch = Switch::start(Config::parse(&bridges(&ports, workers, 1024), "bench")?)?;
    for (port, queue) in (0..workers).flat_map(|bridge| pair(size, 2 * bridge, FEW)) {
        switch.replace_queue(&port, queue);
    }
    let sent = |switch: &Switch| switch.drops().ledger.sent;
    // They begin when they are given the CPU, and learn before it counts.
    let begun = Instant::now();
    while sent(&switch) == 0 && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(1));
    }
    sleep(length / 4);
    let (before, start) = (sent(&switch), Instant::now());
    sleep(length);
    let (mut after, mut elapsed) = (sent(&switch), start.elapsed());
    while after == before && elapsed < PATIENCE {
        sleep(Duration::from_millis(1));
        (after, elapsed) = (sent(&switch), start.elapsed());
    }
    let patience = switch.patience();
    switch.stop(patience)?;
    match after - before {
        0 => Err(BenchError::NoFrames),
        frames => Ok(frames as f64 / elapsed.as_secs_f64() / 1e6),
    }
}

fn by_frame(cases: &[(u16, u32)], trials: Vec<Trials<Sample>>) -> Section {
    let uncounted = memory::not_counted();
    let mut rows = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    for (&(size, macs), trials) in cases.iter().zip(trials) {
        let cells = sample_cells(&trials, uncounted.is_none());
        if let Cell::Figure(figure) = &cells[0] {
            let name = format!("{size} bytes");
            if series.last().is_none_or(|last| last.name != name) {
                series.push(Series { name, is_limit: false, points: Vec::new() });
            }
            let point = Point::of(macs.into(), figure);
            series.last_mut().expect("one was put there").points.push(point);
        }
        rows.push(Row { keys: vec![size.to_string(), macs.to_string()], cells });
    }
    let chart = Chart {
        title: "Time a frame by stations".into(),
        kind: Kind::Lines,
        x: Axis::new("stations", "", AxisScale::Logarithmic),
        y: Axis::new("time a frame", "ns", AxisScale::Linear),
        series,
        caption: "A frame's size hardly matters, as its bytes do not move; where the table of stations outgrows a cache, it shows."
            .into(),
    };
    Section {
        id: "forward".into(),
        title: "The bridge with no I/O".into(),
        about: "One worker, two ports that make frames and throw them away, all stations learned and spoken to in an order that no \
                prefetcher guesses. Times are CPU time of the worker, rates those of a CPU of its own."
            .into(),
        keys: vec!["frame (bytes)".into(), "MACs".into()],
        columns: sample_columns(uncounted.is_none()),
        rows,
        charts: vec![chart],
        notes: uncounted.into_iter().collect(),
    }
}

fn sample_columns(are_counted: bool) -> Vec<Column> {
    let times =
        [Column::new("time a frame", "ns", Better::Lower), Column::new("rate", "Mpps", Better::Higher)];
    let counts = ["cycles a frame", "instructions a frame"].map(|name| Column::new(name, "", Better::Lower));
    times.into_iter().chain(counts.into_iter().filter(|_| are_counted)).collect()
}

fn sample_cells(trials: &Trials<Sample>, are_counted: bool) -> Vec<Cell> {
    let cell = |of: fn(&Sample) -> Option<f64>| {
        Cell::of(trials.kept.iter().filter_map(of).collect(), trials.disturbed)
    };
    let times = [cell(|sample| Some(sample.ns)), cell(|sample| Some(1e3 / sample.ns))];
    let counts = [cell(|sample| sample.cycles), cell(|sample| sample.instructions)];
    times.into_iter().chain(counts.into_iter().filter(|_| are_counted)).collect()
}

fn by_workers(size: u16, cases: &[(u16, Traffic)], trials: Vec<Trials<f64>>) -> Section {
    let figures: Vec<_> = trials
        .into_iter()
        .map(|trials| (Figure::of(trials.kept.clone(), trials.disturbed), trials))
        .collect();
    let one =
        cases.iter().position(|&case| case == (1, Traffic::Local)).and_then(|one| figures[one].0.clone());
    let mut rows = Vec::new();
    let mut series = [Traffic::Local, Traffic::HandedOn].map(|traffic| Series {
        name: traffic.name().into(),
        is_limit: false,
        points: Vec::new(),
    });
    for (&(workers, traffic), (figure, trials)) in cases.iter().zip(figures) {
        let ratio = figure.as_ref().zip(one.as_ref()).and_then(|(figure, one)| figure.ratio(one));
        if let Some(figure) = &figure {
            series[usize::from(traffic == Traffic::HandedOn)].points.push(Point::of(workers.into(), figure));
        }
        let rate = Cell::of(trials.kept, trials.disturbed);
        let ratio = match (workers, ratio) {
            (1, Some(_)) => Cell::Exact(1.0),
            (_, Some(ratio)) => Cell::Compared(ratio),
            (_, None) => Cell::text("one worker was not measured"),
        };
        rows.push(Row { keys: vec![workers.to_string(), traffic.name().into()], cells: vec![rate, ratio] });
    }
    let chart = Chart {
        title: "Rate by workers".into(),
        kind: Kind::Lines,
        x: Axis::new("workers", "", AxisScale::Linear),
        y: Axis::new("rate", "Mpps", AxisScale::Linear),
        series: series.into_iter().filter(|series| !series.points.is_empty()).collect(),
        caption: "Workers share nothing but the table of stations; a frame for a port of another one is copied into its memory."
            .into(),
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Section {
        id: "workers".into(),
        title: "More workers".into(),
        about: format!("A bridge of two ports for each worker, {size}-byte frames, on {cpus} CPUs."),
        keys: vec!["workers".into(), "frames".into()],
        columns: vec![
            Column::new("rate", "Mpps", Better::Higher),
            Column::new("times one worker", "", Better::Higher),
        ],
        rows,
        charts: vec![chart],
        notes: Vec::new(),
    }
}

impl Traffic {
    fn name(self) -> &'static str {
        match self {
            Self::Local => "stay with their worker",
            Self::HandedOn => "all handed to the next",
        }
    }
}
