//! Benchmarks of RFC 2889 for whatever learns addresses: how many, how fast, and what it forwards.
//!
//! Two ports are enough to see what was learned: a frame to an address that lives behind the port it came from is not forwarded,
//! and one to an address that nobody is known to have is flooded and comes out at the other port. So the number of frames that come
//! out, of one sent to each address, is the number of addresses that are not in the table. (RFC 2889 §5.7 has a third port look for
//! flooded frames.) Frames to an address that nobody can know are sent too: those must come out, or nothing is shown.

use std::time::Duration;

use rigswitch_dataplane::ids::MacAddr;

use super::ends::{Ended, Ends, tried};
use super::report::{
    Axis, AxisScale, Better, Cell, Chart, Column, Kind, Point, Report, Row, Section, Series,
};
use super::search::{Precision, Tried, throughput};
use super::stats::{Figure, median};
use crate::traffic::{Amount, Load, Outcome, Range, Rate, Stream};

/// What is measured, and how well.
pub(crate) struct Plan {
    /// What frames look like: its addresses are those that are forwarded to and from.
    pub(crate) stream: Stream,
    /// The highest rate that is tried.
    pub(crate) most: Rate,
    pub(crate) precision: Precision,
    pub(crate) rounds: u32,
    /// The most addresses that are tried.
    pub(crate) addresses: u32,
    /// Frames a second that teach and ask, where the rate is not what is measured.
    pub(crate) careful: f64,
    /// How long the table takes to forget; nothing, if it has room for all trials.
    pub(crate) ageing: Duration,
}

/// Addresses of a trial of the learning rate: fewer than any table holds.
const FEW: u32 = 1024;

/// The first doubling.
const FIRST: u32 = 1024;

/// Addresses that nobody has.
const NOBODY: Range<MacAddr> = Range { first: MacAddr::new([0x02, 0x52, 0x6e, 0, 0, 0]), count: 64 };

/// The address that frames which teach go to, behind the other port.
const FAR: MacAddr = MacAddr::new([0x02, 0x52, 0x66, 0, 0, 1]);
/// The one that frames which ask come from.
const NEAR: MacAddr = MacAddr::new([0x02, 0x52, 0x66, 0, 0, 2]);

/// Addresses that no trial before has used.
struct Fresh(u32);

impl Fresh {
    fn take(&mut self, count: u32) -> Range<MacAddr> {
        let [a, b, c, d] = self.0.to_be_bytes();
        self.0 += count;
        Range { first: MacAddr::new([0x02, 0x78, a, b, c, d]), count }
    }
}

/// What was measured.
#[derive(Default)]
struct Measured {
    /// The rate that addresses were learned at, of each round, and how many in a trial.
    learning: Vec<f64>,
    few: u32,
    /// Addresses offered, and those of them that were learned: what was seen last.
    caching: Option<(u32, u32)>,
    /// By load in percent.
    forwarding: Vec<(u32, Vec<Tried>)>,
    broadcast: Vec<Tried>,
    broadcast_latency: Vec<Outcome>,
    /// What could not be measured, and why.
    notes: Vec<String>,
}

/// Measures everything, tells what is being done, and puts what came of it into the report, also if it ends early.
pub(crate) fn measure(ends: &mut Ends<'_>, plan: &Plan, report: &mut Report, tell: &dyn Fn(&str)) {
    let mut measured = Measured::default();
    let mut fresh = Fresh(0);
    let done = measured.all(ends, plan, &mut fresh, tell);
    report.ended_early = done.err().map(|ended| ended.to_string());
    report.sections.push(measured.addresses(plan));
    report.sections.push(measured.rates());
}

impl Measured {
    fn all(
        &mut self,
        ends: &mut Ends<'_>,
        plan: &Plan,
        fresh: &mut Fresh,
        tell: &dyn Fn(&str),
    ) -> Result<(), Ended> {
        for round in 1..=plan.rounds {
            let tell = |what: &str| tell(&format!("round {round} of {}: {what}", plan.rounds));
            self.forward(ends, plan, &tell)?;
        }
        tell("is anything learned");
        if !is_flooded(ends, plan)? {
            self.notes.push(
                "Frames to an address that nobody has do not come out at the other port, or not all of them: what was learned cannot \
                 be told."
                    .into(),
            );
            return Ok(());
        }
        let (offered, held) = cache(ends, plan, tell)?;
        self.caching = Some((offered, held));
        let few = FEW.min(held / 2);
        if few == 0 {
            self.notes
                .push("Nothing is learned: whatever is between the two forwards as a wire does.".into());
            return Ok(());
        }
        if held < offered && plan.ageing.is_zero() {
            self.notes.push("The table is full, and nothing more is learned: --ageing says how long it takes to be empty again.".into());
            return Ok(());
        }
        self.few = few;
        for round in 1..=plan.rounds {
            let found = throughput(plan.most.frames(&plan.stream), plan.precision, |rate| {
                tell(&format!("round {round} of {}: learning {few} addresses", plan.rounds));
                ends.wait(plan.ageing)?;
                learn(ends, plan, fresh.take(few), rate)
            })?;
            self.learning.push(found.map_or(0.0, |tried| tried.offered));
        }
        Ok(())
    }

    /// What is forwarded at full load and below, and of broadcasts.
    fn forward(&mut self, ends: &mut Ends<'_>, plan: &Plan, tell: &dyn Fn(&str)) -> Result<(), Ended> {
        let most = plan.most.frames(&plan.stream);
        ends.teach(&plan.stream)?;
        tell("forwarding at full load");
        let full = tried(&ends.at(&plan.stream, most)?);
        self.forwarded(100, full);
        for percent in (1..10).rev().map(|tenth| tenth * 10) {
            tell(&format!("forwarding at {percent} %"));
            let rate = full.offered * f64::from(percent) / 100.0;
            let tried = tried(&ends.at(&plan.stream, Some(rate))?);
            self.forwarded(percent, tried);
        }
        let everybody = Range { first: MacAddr::BROADCAST, count: 1 };
        let broadcast = Stream { destination_macs: everybody, ..plan.stream.clone() };
        let found = throughput(most, plan.precision, |rate| {
            tell("broadcasts");
            Ok::<_, Ended>(tried(&ends.at(&broadcast, rate)?))
        })?;
        self.broadcast.push(found.unwrap_or(Tried { offered: 0.0, received: 0.0, loss: 1.0 }));
        if let Some(found) = found {
            self.broadcast_latency.push(ends.at(&broadcast, Some(found.offered))?);
        }
        Ok(())
    }

    fn forwarded(&mut self, percent: u32, tried: Tried) {
        match self.forwarding.iter_mut().find(|(known, _)| *known == percent) {
            Some((_, all)) => all.push(tried),
            None => self.forwarding.push((percent, vec![tried])),
        }
    }

    fn addresses(&self, plan: &Plan) -> Section {
        let text = |text: String| Cell::Text(text);
        let caching = match self.caching {
            None => text("not measured".into()),
            Some((offered, held)) if held == offered => text(format!("at least {held}")),
            Some((_, held)) => Cell::Exact(held.into()),
        };
        let offered = self
            .caching
            .map_or_else(|| text("not measured".into()), |(offered, _)| Cell::Exact(offered.into()));
        let mut notes = self.notes.clone();
        if !self.learning.is_empty() {
            notes.push(format!(
                "The rate is that of {} new addresses, every one of which was learned from one frame. Where it is not what is measured, \
                 frames that teach and ask go at {} a second.",
                self.few, plan.careful
            ));
        }
        Section {
            id: "rfc2889-addresses".into(),
            title: "Addresses".into(),
            about: "RFC 2889 §5.7 and §5.8: how many addresses are learned, and how fast".into(),
            keys: vec!["".into()],
            columns: vec![
                Column::new("learning rate", "addresses/s", Better::Higher),
                Column::new("addresses held", "", Better::Higher),
                Column::new("of those offered", "", Better::Neither),
            ],
            rows: vec![Row {
                keys: vec!["addresses".into()],
                cells: vec![Cell::of(self.learning.clone(), 0), caching, offered],
            }],
            charts: vec![],
            notes,
        }
    }

    fn rates(&self) -> Section {
        let received = |all: &[Tried]| all.iter().map(|tried| tried.received / 1e6).collect::<Vec<_>>();
        let offered = |all: &[Tried]| all.iter().map(|tried| tried.offered / 1e6).collect::<Vec<_>>();
        let row =
            |name: &str, cells: Vec<f64>| Row { keys: vec![name.into()], cells: vec![Cell::of(cells, 0)] };
        let at_most = self.forwarding.first().map_or(vec![], |(_, all)| received(all));
        let best = self.forwarding.iter().map(|(_, all)| received(all));
        let best = best.max_by(|a, b| median(a).unwrap_or(0.0).total_cmp(&median(b).unwrap_or(0.0)));
        let latency =
            self.broadcast_latency.iter().filter_map(|outcome| outcome.received.latencies.quantile(0.5));
        let points = self
            .forwarding
            .iter()
            .filter_map(|(_, all)| Some(Point::of(median(&offered(all))?, &Figure::of(received(all), 0)?)));
        let mut points: Vec<_> = points.collect();
        points.sort_by(|a, b| a.at.total_cmp(&b.at));
        let chart = Chart {
            title: "Forwarded by load".into(),
            kind: Kind::Lines,
            x: Axis::new("offered", "Mpps", AxisScale::Linear),
            y: Axis::new("forwarded", "Mpps", AxisScale::Linear),
            series: vec![Series { name: "forwarded".into(), is_limit: false, points }],
            caption: "Without loss it would go up straight.".into(),
        };
        let median_latency = latency.map(|time| time.as_nanos() as f64 / 1000.0).collect::<Vec<_>>();
        let mut notes = vec![];
        if let Some(figure) = Figure::of(median_latency, 0) {
            notes.push(format!(
                "At that rate half of the broadcasts are on their way no longer than {:.1} µs.",
                figure.median
            ));
        }
        Section {
            id: "rfc2889-forwarding".into(),
            title: "Forwarding".into(),
            about: "RFC 2889 §5.6 and §5.10: what comes out at full load, the most that comes out at any load, and the highest rate of \
                    broadcasts without loss"
                .into(),
            keys: vec!["what".into()],
            columns: vec![Column::new("rate", "Mpps", Better::Higher)],
            rows: vec![
                row("forwarding rate at maximum offered load", at_most),
                row("maximum forwarding rate", best.unwrap_or_default()),
                row("broadcasts without loss", self.broadcast.iter().map(|tried| tried.offered / 1e6).collect()),
            ],
            charts: if chart.series[0].points.is_empty() { vec![] } else { vec![chart] },
            notes,
        }
    }
}

/// The stream of `plan`, with these addresses.
fn stream(plan: &Plan, source: Range<MacAddr>, destination: Range<MacAddr>) -> Stream {
    Stream {
        sizes: vec![plan.stream.shortest()],
        source_macs: source,
        destination_macs: destination,
        vlan: plan.stream.vlan,
        ..Stream::default()
    }
}

fn one(address: MacAddr) -> Range<MacAddr> {
    Range { first: address, count: 1 }
}

/// Sends a frame to each of the addresses, from the port that they are behind if they are known, and answers how many come out.
fn ask(ends: &mut Ends<'_>, plan: &Plan, addresses: Range<MacAddr>) -> Result<u64, Ended> {
    let load = Load { rate: Rate::Frames(plan.careful), amount: Amount::Count(addresses.count.into()) };
    let outcome = ends.send(&stream(plan, one(NEAR), addresses), load)?;
    Ok(outcome.received.frames - outcome.received.duplicated)
}

/// Whether every frame to somebody unknown comes out.
fn is_flooded(ends: &mut Ends<'_>, plan: &Plan) -> Result<bool, Ended> {
    ends.teach(&stream(plan, one(NEAR), one(FAR)))?;
    Ok(ask(ends, plan, NOBODY)? == u64::from(NOBODY.count))
}

/// Has addresses learned at a rate, each from one frame; the loss is of addresses, not of frames.
fn learn(
    ends: &mut Ends<'_>,
    plan: &Plan,
    addresses: Range<MacAddr>,
    rate: Option<f64>,
) -> Result<Tried, Ended> {
    let load =
        Load { rate: rate.map_or(Rate::Max, Rate::Frames), amount: Amount::Count(addresses.count.into()) };
    let offered = ends.send(&stream(plan, addresses, one(FAR)), load)?.sent.rate();
    let loss = ask(ends, plan, addresses)? as f64 / f64::from(addresses.count);
    Ok(Tried { offered, received: offered * (1.0 - loss), loss })
}

/// Twice as many addresses each time, until some are not held: how many were offered then, and how many held.
fn cache(ends: &mut Ends<'_>, plan: &Plan, tell: &dyn Fn(&str)) -> Result<(u32, u32), Ended> {
    let first = MacAddr::new([0x02, 0x79, 0, 0, 0, 0]);
    let mut count = FIRST.min(plan.addresses);
    loop {
        tell(&format!("holding {count} addresses"));
        let all = Range { first, count };
        // Those of before are still in use, for those that are asked for and forgotten meanwhile do not count as held.
        let load = Load { rate: Rate::Frames(plan.careful), amount: Amount::Count(2 * u64::from(count)) };
        ends.send(&stream(plan, all, one(FAR)), load)?;
        let strangers = u32::try_from(ask(ends, plan, all)?).unwrap_or(u32::MAX).min(count);
        if strangers > 0 || count >= plan.addresses {
            return Ok((count, count - strangers));
        }
        count = count.saturating_mul(2).min(plan.addresses);
    }
}
