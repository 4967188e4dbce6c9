//! Events: what happens to a switch, told to whoever listens, each with a queue of its own that is bounded.

use std::time::SystemTime;

use rigswitch_dataplane::tunnels::Miss;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for one listener. Whoever is slower misses some, and is told how many.
pub const QUEUE: usize = 1024;

/// Those who may listen at a time.
pub const LISTENERS: usize = 32;

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A station was seen for the first time.
    Learned {
        /// The station.
        mac: String,
        /// The port it is behind.
        ifname: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A station was seen behind another port than before.
    Moved {
        /// The station.
        mac: String,
        /// The port it is behind now.
        ifname: String,
        /// The port it was behind.
        from: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A station has moved as often as its bridge's `mac_move_limit`.
    MovesTooOften {
        /// The station.
        mac: String,
        /// The port it is behind now.
        ifname: String,
        /// The port it was behind.
        from: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
        /// How often it has moved within the bridge's `mac_move_window`.
        moves: u32,
        /// What is done: `alarm`, `hold`, `disable`.
        action: String,
    },
    /// A station was not seen for the ageing time, and is forgotten.
    Aged {
        /// The station.
        mac: String,
        /// The port it was behind.
        ifname: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A station is forgotten for another reason: it was flushed, or its port went down or away.
    Forgotten {
        /// The station.
        mac: String,
        /// The port it was behind.
        ifname: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<u16>,
    },
    /// A port is in a multicast group.
    Joined {
        /// The group.
        grp: String,
        /// The port.
        ifname: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vid: Option<u16>,
    },
    /// A port is no longer in a multicast group.
    Left {
        /// The group.
        grp: String,
        /// The port.
        ifname: String,
        /// The bridge.
        master: String,
        /// The VLAN, in a bridge that filters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vid: Option<u16>,
    },
    /// A VXLAN device with `l2miss` has no entry for a station, and a frame for it was dropped.
    L2miss {
        /// The station.
        mac: String,
        /// The device.
        ifname: String,
    },
    /// A VXLAN device with `l3miss` has no neighbour of an address that it was asked for.
    L3miss {
        /// The address.
        dst: String,
        /// The device.
        ifname: String,
    },
    /// A port is up and has a carrier.
    Up {
        /// The port.
        ifname: String,
    },
    /// A port is down, or has lost its carrier.
    Down {
        /// The port.
        ifname: String,
    },
    /// A spanning tree gave a port another state, or `mac_move_action` did.
    PortState {
        /// The port.
        ifname: String,
        /// bridge(8)'s word.
        state: String,
    },
    /// The device of a port is there no more.
    Gone {
        /// The port.
        ifname: String,
        /// What became of it.
        why: String,
    },
    /// A port has a device again.
    Back {
        /// The port.
        ifname: String,
    },
    /// The kernel's device of a port has another name. The port keeps its own.
    Renamed {
        /// The port.
        ifname: String,
        /// The device's name now.
        device: String,
        /// The device's name before.
        was: String,
    },
    /// The device of a port is in another network namespace, and its queues go on there.
    Relocated {
        /// The port.
        ifname: String,
        /// The namespace's name, if it has one.
        netns: Option<String>,
    },
    /// A port's MTU is another one.
    Mtu {
        /// The port.
        ifname: String,
        /// Bytes of payload.
        mtu: u32,
    },
    /// The MAC address of a port's device is another one.
    Address {
        /// The port.
        ifname: String,
        /// The address.
        address: String,
    },
    /// Many packets were dropped within a second for one reason.
    Drops {
        /// The port.
        ifname: String,
        /// `rx` or `tx`.
        direction: String,
        /// The reason's name.
        reason: String,
        /// How many in that second.
        packets: u64,
    },
    /// A worker panicked, and starts again.
    WorkerPanicked {
        /// Which, from 0.
        worker: u16,
        /// What the panic said.
        message: String,
    },
    /// Something that an operator should see to.
    Warning {
        /// What, and what to do.
        message: String,
    },
    /// This listener was too slow.
    Missed {
        /// Events that it was not sent.
        count: u64,
    },
}

impl Event {
    /// What a VXLAN device does not know.
    pub(crate) fn of_miss(ifname: String, miss: Miss) -> Self {
        match miss {
            Miss::Station(mac) => Self::L2miss { mac: mac.to_string(), ifname },
            Miss::Address(address) => Self::L3miss { dst: address.to_string(), ifname },
        }
    }

    /// A line for the operator, if this is for one.
    fn line(&self) -> Option<String> {
        Some(match self {
            Self::MovesTooOften { mac, ifname, from, master, vlan, moves, action } => {
                let of = vlan.map(|vlan| format!(", VLAN {vlan}")).unwrap_or_default();
                format!(
                    "bridge {master}{of}: {mac} has moved {moves} times, now from {from} to {ifname}: {action}"
                )
            }
            Self::Gone { ifname, why } => format!("port {ifname} is gone: {why}"),
            Self::Back { ifname } => format!("port {ifname} is back"),
            Self::Renamed { ifname, device, was } => {
                format!("port {ifname}: its device {was} is called {device} now")
            }
            Self::Relocated { ifname, netns } => match netns {
                Some(netns) => format!("port {ifname}: its device is in the network namespace {netns} now"),
                None => format!("port {ifname}: its device is in another network namespace now"),
            },
            Self::WorkerPanicked { worker, message } => {
                format!("worker {worker} panicked and starts again: {message}")
            }
            Self::Warning { message } => message.clone(),
            _ => return None,
        })
    }
}

/// An event with its time: a line of the stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// When, in milliseconds since 1970, UTC.
    pub unix_ms: u64,
}

/// Where events go: to listeners as lines of JSON, and to the operator.
#[derive(Default)]
pub(crate) struct Events {
    listeners: Vec<Listener>,
    news: Vec<String>,
}

struct Listener {
    queue: Sender<Vec<u8>>,
    missed: u64,
}

impl Events {
    /// Lines of JSON from now on. When there are as many listeners as may be, the slowest has to go; `None` when all keep up.
    pub(crate) fn listen(&mut self) -> Option<Receiver<Vec<u8>>> {
        self.listeners.retain(|listener| !listener.queue.is_closed());
        if self.listeners.len() == LISTENERS {
            let slowest = self.listeners.iter().enumerate().filter(|(_, listener)| listener.missed > 0);
            let (place, _) = slowest.max_by_key(|(_, listener)| listener.missed)?;
            self.listeners.swap_remove(place);
        }
        let (queue, lines) = channel(QUEUE);
        self.listeners.push(Listener { queue, missed: 0 });
        Some(lines)
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&mut self) -> bool {
        self.listeners.retain_mut(Listener::catch_up);
        !self.listeners.is_empty()
    }

    /// Tells everybody.
    pub(crate) fn tell(&mut self, event: Event) {
        self.news.extend(event.line());
        if self.is_heard() {
            let line = line(event);
            self.listeners.retain_mut(|listener| listener.tell(&line));
        }
    }

    /// What the operator has not been told yet.
    pub(crate) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }
}

impl Listener {
    /// Tells of what was missed as soon as there is room; whether it still listens.
    fn catch_up(&mut self) -> bool {
        if self.missed > 0 && self.queue.try_send(line(Event::Missed { count: self.missed })).is_ok() {
            self.missed = 0;
        }
        !self.queue.is_closed()
    }

    /// Whether it still listens.
    fn tell(&mut self, line: &[u8]) -> bool {
        if self.missed > 0 {
            self.missed += 1; // in order: first comes what was missed
            return true;
        }
        match self.queue.try_send(line.to_vec()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

fn line(event: Event) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    // An event is text and numbers: there is nothing about it that could not be written.
    let mut line = serde_json::to_vec(&EventLine { event, unix_ms }).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(number: usize) -> Event {
        Event::Up { ifname: format!("p{number}") }
    }

    fn next(lines: &mut Receiver<Vec<u8>>) -> Option<Event> {
        let line = lines.try_recv().ok()?;
        Some(serde_json::from_slice::<EventLine>(&line).unwrap().event)
    }

    #[test]
    fn a_slow_listener_is_told_how_many_it_missed_and_others_miss_none() {
        let mut events = Events::default();
        assert!(!events.is_heard());
        let (mut slow, mut quick) = (events.listen().unwrap(), events.listen().unwrap());
        for number in 0..QUEUE + 3 {
            events.tell(up(number));
            assert_eq!(next(&mut quick), Some(up(number)));
        }
        (0..QUEUE).for_each(|number| assert_eq!(next(&mut slow), Some(up(number))));
        assert_eq!(next(&mut slow), None);
        assert!(events.is_heard(), "and with that the slow one is told");
        events.tell(up(7));
        assert_eq!(next(&mut slow), Some(Event::Missed { count: 3 }));
        assert_eq!((next(&mut slow), next(&mut quick)), (Some(up(7)), Some(up(7))));
        assert_eq!(next(&mut quick), None);
    }

    #[test]
    fn who_does_not_keep_up_makes_room_for_another() {
        let mut events = Events::default();
        let mut listening: Vec<_> = (0..LISTENERS).map(|_| events.listen().unwrap()).collect();
        for number in 0..=QUEUE {
            events.tell(up(number));
            listening[1..].iter_mut().for_each(|lines| assert_eq!(next(lines), Some(up(number))));
        }
        let _another = events.listen().unwrap();
        assert!(events.listen().is_none());
        (0..QUEUE).for_each(|number| assert_eq!(next(&mut listening[0]), Some(up(number))));
        assert!(listening[0].is_closed(), "it was sent what it was promised, and then no more");
    }

    #[test]
    fn who_has_left_makes_room_for_another() {
        let mut events = Events::default();
        let mut listening: Vec<_> = (0..LISTENERS).map(|_| events.listen().unwrap()).collect();
        assert!(events.listen().is_none());
        listening.pop();
        assert!(events.listen().is_some());
        drop(listening);
        assert!(!events.is_heard());
    }

    #[test]
    fn a_line_says_what_and_when_and_operators_are_told_what_is_theirs() {
        let mut events = Events::default();
        events.tell(up(0));
        events.tell(Event::Gone { ifname: "p0".into(), why: "it was deleted".into() });
        assert_eq!(events.news(), ["port p0 is gone: it was deleted"]);
        assert!(events.news().is_empty());
        let mut lines = events.listen().unwrap();
        events.tell(up(0));
        let line: serde_json::Value = serde_json::from_slice(&lines.try_recv().unwrap()).unwrap();
        assert_eq!((line["event"].as_str(), line["ifname"].as_str()), (Some("up"), Some("p0")));
        assert!(line["unix_ms"].as_u64().unwrap() > 0);
    }
}
