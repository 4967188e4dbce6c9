//! The demo's traffic: what is sent over every path between two hosts, and what came of it.

use std::error::Error;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::rig::Station;
use crate::lab::{LabError, Ping, Transfer, ping, tcp_transfer};

/// Echo requests over a path.
const PINGS: u32 = 20;

/// Bytes of data in each.
const PING_BYTES: usize = 56;

/// How long an answer may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes over a path by TCP, each of them checked.
pub(super) const TCP_BYTES: u64 = 32 << 20;

/// What the traffic has to tell while it runs.
pub(super) enum Event {
    /// What is sent now.
    Now(String),
    /// A path is done.
    Done(Path),
}

/// Where it tells it. When nobody listens any more, the traffic ends.
pub(super) type Tell = UnboundedSender<Event>;

/// Two hosts, and what pings between them, in both directions, have shown.
pub(super) struct Pinged {
    one: Station,
    two: Station,
    there: Result<Ping, String>,
    back: Result<Ping, String>,
}

/// What came of one path: from one host to another, in one direction.
pub(super) struct Path {
    pub(super) hosts: [String; 2],
    /// The kinds of the ports they are behind.
    pub(super) kinds: [&'static str; 2],
    /// What they are to the switch.
    pub(super) roles: [&'static str; 2],
    pub(super) ping: Result<Ping, String>,
    /// How long [`TCP_BYTES`] took.
    pub(super) tcp: Result<Duration, String>,
}

impl Path {
    fn new(from: &Station, to: &Station, ping: Result<Ping, String>, tcp: Result<Duration, String>) -> Self {
        let hosts = [from, to].map(|station| station.name.clone());
        let kinds = [from, to].map(|station| station.wire.kind());
        Self { hosts, kinds, roles: [from, to].map(|station| station.role.name()), ping, tcp }
    }

    /// Whether everything arrived.
    pub(super) fn works(&self) -> bool {
        self.tcp.is_ok() && self.ping.as_ref().is_ok_and(|ping| ping.lost() == 0)
    }
}

/// Pings from each of `stations` to each other.
pub(super) fn ping_all(stations: &[Station], tell: &Tell) -> Vec<Pinged> {
    let mut pinged = Vec::new();
    for (number, one) in stations.iter().enumerate() {
        for two in &stations[number + 1..] {
            if tell.send(Event::Now(format!("{} and {} ping each other", one.name, two.name))).is_err() {
                return pinged;
            }
            let (there, back) = (ping_one(one, two), ping_one(two, one));
            pinged.push(Pinged { one: one.clone(), two: two.clone(), there, back });
        }
    }
    pinged
}

/// Moves bytes by TCP between every two hosts that have been pinged, tells what has come of each path, and answers
/// whether each works.
pub(super) fn transfer_all(pinged: Vec<Pinged>, tell: &Tell) -> Vec<bool> {
    let mut working = Vec::new();
    for Pinged { one, two, there, back } in pinged {
        let both = format!("{} ⇄ {}: {} MiB by TCP each way", one.name, two.name, TCP_BYTES >> 20);
        if tell.send(Event::Now(both)).is_err() {
            return working;
        }
        let answers =
            |ping: &Result<Ping, String>| ping.as_ref().is_ok_and(|ping| !ping.round_trips.is_empty());
        let moved = match answers(&there) || answers(&back) {
            true => tcp_transfer(&one.host, &two.host, (two.address, 0).into(), TCP_BYTES).map_err(cause),
            false => Err("no answer, so TCP was not tried".to_owned()),
        };
        let tcp = |time: fn(&Transfer) -> Duration| moved.as_ref().map(time).map_err(String::clone);
        let (tcp_there, tcp_back) = (tcp(|moved| moved.there), tcp(|moved| moved.back));
        let (there, back) = (Path::new(&one, &two, there, tcp_there), Path::new(&two, &one, back, tcp_back));
        for path in [there, back] {
            working.push(path.works());
            // Who does not listen any more is noticed above.
            let _ = tell.send(Event::Done(path));
        }
    }
    working
}

/// Pings over one path; where the first is lost, no more: a dead path would take its time twenty times.
fn ping_one(from: &Station, to: &Station) -> Result<Ping, String> {
    let ping = |count| ping(&from.host, to.address, count, PING_BYTES, PING_TIMEOUT).map_err(cause);
    let first = ping(1)?;
    if first.lost() > 0 { Ok(first) } else { ping(PINGS) }
}

/// What the kernel said: who asked it for what is said beside it.
fn cause(error: LabError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
