//! The ways over real devices: stations, switches and a wire, our switch beside the kernel's in the same run.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rigswitch_dataplane::ids::MacAddr;

use super::Encap;
use super::arithmetic::missing;
use super::rig::{Drive, PATIENCE, Rig, Span};
use super::ways::{A, A_IP, B_IP, Way};
use crate::bench::memory::through;
use crate::bench::trial::Schedule;
use crate::bench::{BenchError, Measured, Watch};
use crate::lab::{Host, ping, tcp_transfer};
use crate::traffic::{Amount, Expect, Load, Pair, Port, Range, Rate, Stream};

/// The MTU of stations whose frames are no longer than usual.
const USUAL: u16 = 1500;

/// The header of a frame, which no MTU counts.
const ETHERNET: u16 = 14;

/// The frame check sequence, which streams count and stations' frames do not.
const FCS: usize = 4;

/// How long it is quiet when nothing is on its way any more: no switch holds a frame that long.
const QUIET: Duration = Duration::from_millis(50);

/// Frames by which a switch is told where the stations are.
const TEACHING: Load = Load { rate: Rate::Frames(20_000.0), amount: Amount::Count(128) };

/// What came of one trial.
pub(super) struct Seen {
    /// Millions of frames a second that arrived of as many as could be sent, of each size; none where none did.
    pub(super) frames: Vec<Frames>,
    /// Gbit/s of one TCP stream.
    pub(super) tcp: f64,
    /// In microseconds.
    pub(super) round_trips: Vec<f64>,
}

/// Of frames of one size.
pub(super) struct Frames {
    pub(super) into: Option<f64>,
    pub(super) out: Option<f64>,
    /// Into it through one switch, and out of it through another.
    pub(super) both: Option<f64>,
}

/// A trial, or why there is none.
pub(super) type Outcome = Result<Seen, String>;

/// What is measured in one trial.
pub(super) struct Case {
    pub(super) way: &'static Way,
    pub(super) drive: Drive,
    /// Those that this MTU lets through.
    pub(super) sizes: Vec<u16>,
    pub(super) mtu: u16,
}

impl Encap {
    /// Measures them.
    pub(super) fn over_devices(&self, watch: &Watch, measured: &mut Measured) {
        let cases = self.cases();
        // What is set up and taken down each time needs no warming up.
        let schedule = Schedule { warm_up: 0, ..self.schedule };
        watch.expect(schedule, cases.len());
        let name = |case: usize| cases[case].name();
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
        measured.sections.extend(self.tables(&cases, &trials));
    }

    /// Those that can be measured: long frames by themselves, for what takes them may cost the short ones more.
    fn cases(&self) -> Vec<Case> {
        let (usual, long): (Vec<u16>, Vec<u16>) =
            self.sizes.iter().partition(|size| **size <= USUAL + ETHERNET);
        let mtu = long.iter().max().map_or(USUAL, |size| size - ETHERNET);
        let classes = [(usual, USUAL), (long, mtu)].into_iter().filter(|(sizes, _)| !sizes.is_empty());
        let classes: Vec<_> = classes.collect();
        let mut cases = Vec::new();
        for way in self.ways.iter().filter(|way| way.is_over_devices()) {
            for &drive in self.drives.iter().filter(|drive| drive.is_for(way)) {
                if drive == Drive::Kernel || missing(way).is_none() {
                    let case =
                        |(sizes, mtu): &(Vec<u16>, u16)| Case { way, drive, sizes: sizes.clone(), mtu: *mtu };
                    cases.extend(classes.iter().map(case));
                }
            }
        }
        cases
    }
}

impl Case {
    fn name(&self) -> String {
        format!("{} through {}, MTU {}", self.way.name, self.drive.name(), self.mtu)
    }

    fn measure(
        &self,
        length: Duration,
        stop: &AtomicBool,
        drivers: &mut Vec<String>,
    ) -> Result<Seen, BenchError> {
        let rig = Rig::build(self.way, self.drive, Span::Two, self.mtu)?;
        drivers.extend(rig.driver().filter(|line| !drivers.contains(line)));
        let seen = self.over_two(&rig, length, stop);
        let mut seen = rig.remove().and(seen)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(seen); // cut short: it does not count
        }
        let rig = Rig::build(self.way, self.drive, Span::One, self.mtu)?;
        let apart = self.over_one(&rig, &mut seen, length, stop);
        rig.remove().and(apart)?;
        Ok(seen)
    }

    /// Round trips, a TCP stream, and then as many frames as can be sent.
    fn over_two(&self, rig: &Rig, length: Duration, stop: &AtomicBool) -> Result<Seen, BenchError> {
        let target = IpAddr::from(B_IP);
        let pings = u32::try_from(length.as_millis()).unwrap_or(u32::MAX).clamp(20, 1000);
        let answered = ping(&rig.one, target, pings, 56, Duration::from_secs(1))?;
        let round_trips = answered.round_trips.iter().map(|trip| trip.as_secs_f64() * 1e6).collect();
        // About a quarter of a gigabit a second fits in the time, and more takes less.
        let bytes = 32_000 * u64::from(pings);
        let moved = tcp_transfer(&rig.one, &rig.two, (target, 0).into(), bytes)?;
        let tcp = bytes as f64 * 8.0 / moved.there.as_secs_f64() / 1e9;
        // What XDP sends reaches a veth's far end only where that has NAPI.
        rig.have_napi()?;
        let mut ends = ends([(&rig.one, rig.device), (&rig.two, rig.end)], 0)?;
        let mut frames = Vec::new();
        for &size in &self.sizes {
            let both = flood(&mut ends, &outward(rig, size)?, length, stop)?;
            frames.push(Frames { into: None, out: None, both });
        }
        Ok(Seen { frames, tcp, round_trips })
    }

    /// As many frames as can be sent into the encapsulation, and then out of it.
    fn over_one(
        &self,
        rig: &Rig,
        seen: &mut Seen,
        length: Duration,
        stop: &AtomicBool,
    ) -> Result<(), BenchError> {
        rig.have_napi()?;
        let (station, wire) = ((&rig.one, rig.device), (&rig.two, rig.end));
        let mut into = ends([station, wire], rig.added())?;
        let mut out = ends([wire, station], 0)?;
        // Both stations are heard of, and both next hops known, before anything counts.
        let begun = Instant::now();
        let teach = |pair: &mut Pair, stream: &Stream| {
            Ok::<_, BenchError>(pair.trial(stream, TEACHING, stop)?.received.frames > 0)
        };
        let (outward_first, inward_first) = (outward(rig, self.sizes[0])?, self.inward(rig, self.sizes[0])?);
        while !(teach(&mut into, &outward_first)? & teach(&mut out, &inward_first)?) {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(BenchError::NoFrames);
            }
        }
        for (&size, frames) in self.sizes.iter().zip(&mut seen.frames) {
            frames.into = flood(&mut into, &outward(rig, size)?, length, stop)?;
            frames.out = flood(&mut out, &self.inward(rig, size)?, length, stop)?;
        }
        Ok(())
    }

    /// What comes to the switch by the wire, encapsulated, for the first station.
    fn inward(&self, rig: &Rig, size: u16) -> Result<Stream, BenchError> {
        let size = usize::from(size);
        let outer = self
            .way
            .wrapping(size, rig.first_hop_back()?, |config, frames| through(config, "p0", "p1", frames))?;
        Ok(Stream {
            sizes: vec![size + self.way.added + FCS],
            source_ips: one(B_IP.into()),
            destination_ips: one(A_IP.into()),
            outer: Some(outer),
            ..flows()
        })
    }
}

/// Flows between the stations.
fn flows() -> Stream {
    Stream { ports: 64, ..Stream::default() }
}

fn one<T>(first: T) -> Range<T> {
    Range { first, count: 1 }
}

/// What the first station sends to the other.
fn outward(rig: &Rig, size: u16) -> Result<Stream, BenchError> {
    Ok(Stream {
        sizes: vec![usize::from(size) + FCS],
        source_macs: one(MacAddr::new(A)),
        destination_macs: one(rig.first_hop()?),
        source_ips: one(Ipv4Addr::from(A_IP)),
        destination_ips: one(Ipv4Addr::from(B_IP)),
        ..flows()
    })
}

/// From one device to another, where frames have so many bytes more before the IP header.
fn ends([from, to]: [(&Host, &str); 2], added: usize) -> Result<Pair, BenchError> {
    let port = |(host, device): (&Host, &str)| {
        let netns = host.netns().try_clone().map_err(|error| BenchError::Device(error.to_string()))?;
        Ok::<_, BenchError>(Port::of(device, Some(netns))?)
    };
    let expect = Expect { flows: flows().flows(), added };
    Ok(Pair::new(port(from)?, port(to)?, expect, None)?.with_quiet(QUIET))
}

/// Millions of frames a second that arrive, if any do.
fn flood(
    pair: &mut Pair,
    stream: &Stream,
    length: Duration,
    stop: &AtomicBool,
) -> Result<Option<f64>, BenchError> {
    let outcome = pair.trial(stream, Load { rate: Rate::Max, amount: Amount::For(length) }, stop)?;
    Ok((outcome.received.frames > 1).then(|| outcome.received.rate() / 1e6))
}
