//! The ways over real devices: two stations, two switches and a wire, our switch beside the kernel's in the same run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rigswitch_dataplane::ids::MacAddr;

use super::Encap;
use super::arithmetic::missing;
use super::rig::{Drive, Rig};
use super::ways::{A, A_IP, B_IP, WAYS, Way};
use crate::bench::report::{Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Row, Section, Series};
use crate::bench::stats::{Figure, quantile};
use crate::bench::trial::{Schedule, Trials};
use crate::bench::{BenchError, Measured, Watch};
use crate::lab::{Host, ping, tcp_transfer};
use crate::traffic::{Amount, Expect, Load, Pair, Port, Range, Rate, Stream};

/// The way whose round trips are drawn.
const DRAWN: &str = "bridge";

/// What came of one trial.
struct Seen {
    /// Millions of frames a second that arrived of as many as could be sent; none where none did.
    rate: Option<f64>,
    /// Gbit/s of one TCP stream.
    tcp: f64,
    /// In microseconds.
    round_trips: Vec<f64>,
}

/// A trial, or why there is none.
type Outcome = Result<Seen, String>;

/// A quantity of a trial.
type Of<'a> = &'a dyn Fn(&Seen) -> Option<f64>;

struct Case {
    way: &'static Way,
    drive: Drive,
}

impl Encap {
    /// Measures them.
    pub(super) fn over_devices(&self, watch: &Watch, measured: &mut Measured) {
        let ways = WAYS.iter().filter(|way| way.is_over_devices());
        let cases = ways.flat_map(|way| Drive::ALL.map(|drive| Case { way, drive }));
        let cases: Vec<_> =
            cases.filter(|case| case.drive == Drive::Kernel || missing(case.way).is_none()).collect();
        // What is set up and taken down each time needs no warming up.
        let schedule = Schedule { warm_up: 0, ..self.schedule };
        watch.expect(schedule, cases.len());
        let name = |case: usize| format!("{} through {}", cases[case].way.name, cases[case].drive.name());
        let (mut failed, mut drivers) = (vec![None; cases.len()], Vec::new());
        let trials = watch.interleave(cases.len(), schedule, name, measured, |case, _| {
            if let Some(why) = &failed[case] {
                return Ok(Err(String::clone(why)));
            }
            let outcome = cases[case].measure(self.length, &watch.stop, &mut drivers);
            if let Err(error @ BenchError::Absent(_)) = &outcome {
                failed[case] = Some(error.to_string());
            }
            Ok(outcome.map_err(|error| error.to_string()))
        });
        measured.drivers.extend(drivers);
        measured.offloads.push(
            "stations have theirs as veths and TAPs come: checksums and segmentation on; a veth that is an AF_XDP port takes \
             segmentation from its far end"
                .to_owned(),
        );
        measured.sections.push(section(&cases, &trials));
    }
}

impl Case {
    fn measure(
        &self,
        length: Duration,
        stop: &AtomicBool,
        drivers: &mut Vec<String>,
    ) -> Result<Seen, BenchError> {
        let rig = Rig::build(self.way, self.drive)?;
        drivers.extend(rig.driver().filter(|line| !drivers.contains(line)));
        let seen = probe(&rig, length, stop);
        rig.remove().and(seen)
    }
}

/// Round trips, a TCP stream, and then as many frames as can be sent.
fn probe(rig: &Rig, length: Duration, stop: &AtomicBool) -> Result<Seen, BenchError> {
    let target = IpAddr::from(B_IP);
    let pings = u32::try_from(length.as_millis()).unwrap_or(u32::MAX).clamp(20, 1000);
    let answered = ping(&rig.one, target, pings, 56, Duration::from_secs(1))?;
    let round_trips = answered.round_trips.iter().map(|trip| trip.as_secs_f64() * 1e6).collect();
    // About a quarter of a gigabit a second fits in the time, and more takes less.
    let bytes = 32_000 * u64::from(pings);
    let moved = tcp_transfer(&rig.one, &rig.two, (target, 0).into(), bytes)?;
    let tcp = bytes as f64 * 8.0 / moved.there.as_secs_f64() / 1e9;
    Ok(Seen { rate: flood(rig, length, stop)?, tcp, round_trips })
}

/// Millions of frames of 64 bytes a second that arrive, if any do.
fn flood(rig: &Rig, length: Duration, stop: &AtomicBool) -> Result<Option<f64>, BenchError> {
    let port = |host: &Host| {
        let netns = host.netns().try_clone().map_err(|error| BenchError::Device(error.to_string()))?;
        Ok::<_, BenchError>(Port::of(rig.device, Some(netns))?)
    };
    // What XDP sends reaches a veth's far end only where that has NAPI.
    rig.have_napi()?;
    let one = |mac| Range { first: mac, count: 1 };
    let ip = |ip: [u8; 4]| Range { first: Ipv4Addr::from(ip), count: 1 };
    let stream = Stream {
        source_macs: one(MacAddr::new(A)),
        destination_macs: one(rig.first_hop()?),
        source_ips: ip(A_IP),
        destination_ips: ip(B_IP),
        ports: 64,
        ..Stream::default()
    };
    let expect = Expect { flows: stream.flows(), tagged: false };
    let mut pair = Pair::new(port(&rig.one)?, port(&rig.two)?, expect, None)?;
    let outcome = pair.trial(&stream, Load { rate: Rate::Max, amount: Amount::For(length) }, stop)?;
    Ok((outcome.received.frames > 0).then(|| outcome.received.rate() / 1e6))
}

fn section(cases: &[Case], trials: &[Trials<Outcome>]) -> Section {
    let seen = |place: usize| trials[place].kept.iter().filter_map(|outcome| outcome.as_ref().ok());
    let why = |place: usize| {
        let failed = trials[place].kept.iter().find_map(|outcome| outcome.as_ref().err());
        failed.filter(|_| seen(place).next().is_none())
    };
    let samples = |place: usize, of: Of<'_>| seen(place).filter_map(of).collect::<Vec<_>>();
    let trip = |q: f64| move |seen: &Seen| quantile(&seen.round_trips, q);
    let mut rows = Vec::new();
    for way in WAYS.iter().filter(|way| way.is_over_devices()) {
        for drive in Drive::ALL {
            let place = cases.iter().position(|case| case.way.name == way.name && case.drive == drive);
            let cells = match place {
                None => absent(&missing(way).unwrap_or_default()),
                Some(place) => match why(place) {
                    Some(why) => absent(why),
                    None => {
                        let of: [Of<'_>; 4] =
                            [&|seen| seen.rate, &|seen| Some(seen.tcp), &trip(0.5), &trip(0.99)];
                        of.map(|of| Cell::of(samples(place, of), trials[place].disturbed)).into()
                    }
                },
            };
            rows.push(Row { keys: vec![way.name.into(), drive.name().into()], cells });
        }
    }
    let bars = |title: &str, x: Axis, of: Of<'_>| {
        let mut ways: Vec<&str> = cases.iter().map(|case| case.way.name).collect();
        ways.dedup();
        let series = Drive::ALL.map(|drive| {
            let point = |(place, case): (usize, &Case)| {
                let at = ways.iter().position(|way| *way == case.way.name)?;
                Some(Point::of(at as f64, &Figure::of(samples(place, of), trials[place].disturbed)?))
            };
            let of_drive = cases.iter().enumerate().filter(|(_, case)| case.drive == drive);
            Series {
                name: drive.name().into(),
                is_limit: false,
                points: of_drive.filter_map(point).collect(),
            }
        });
        Chart {
            title: title.into(),
            kind: Kind::Bars,
            x,
            y: Axis::new("way", "", AxisScale::Categories(ways.iter().map(ToString::to_string).collect())),
            series: series.into(),
            caption: "Where there is no bar, the table says why.".into(),
        }
    };
    let trips = cases.iter().enumerate().filter(|(_, case)| case.way.name == DRAWN).map(|(place, case)| {
        let all: Vec<f64> = seen(place).flat_map(|seen| seen.round_trips.iter().copied()).collect();
        let shares = (0..=200).map(|n| f64::from(n) / 200.0);
        let points = shares.filter_map(|share| Some(Point::exact(quantile(&all, share)?, 100.0 * share)));
        Series { name: case.drive.name().into(), is_limit: false, points: points.collect() }
    });
    let trips = Chart {
        title: format!("Round trips over the {DRAWN}"),
        kind: Kind::Steps,
        x: Axis::new("round trip", "µs", AxisScale::Logarithmic),
        y: Axis::new("answered by then", "%", AxisScale::Linear),
        series: trips.filter(|series| !series.points.is_empty()).collect(),
        caption: "Echo requests one after the other, over two switches, all trials together.".into(),
    };
    Section {
        id: "devices".into(),
        title: "Over devices".into(),
        about: "Two stations in namespaces, each behind a switch, and a wire between the switches on which frames are encapsulated: each \
                figure is of both directions through two switches. Frames: as many of 64 bytes as can be sent, made in the kernel by \
                XDP, which is more than any of them forwards, and those that arrive counted. TCP: one stream between real sockets."
            .into(),
        keys: vec!["way".into(), "through".into()],
        columns: vec![
            Column::new("frames delivered", "Mpps", Better::Higher),
            Column::new("TCP", "Gbit/s", Better::Higher),
            Column::new("round trip, median", "µs", Better::Lower),
            Column::new("round trip, 99th percentile", "µs", Better::Lower),
        ],
        rows,
        charts: vec![
            bars("Frames delivered by way", Axis::new("frames delivered", "Mpps", AxisScale::Linear), &|seen| seen.rate),
            bars("TCP by way", Axis::new("TCP", "Gbit/s", AxisScale::Linear), &|seen| Some(seen.tcp)),
            trips,
        ],
        notes: vec![
            "Stations, generator, sink and both switches share the machine's CPUs; what a pair of machines would do, the ratios tell \
             better than the figures."
                .into(),
        ],
    }
}

fn absent(why: &str) -> Vec<Cell> {
    ["", "", ""].into_iter().fold(vec![Cell::text(why)], |mut cells, text| {
        cells.push(Cell::text(text));
        cells
    })
}
