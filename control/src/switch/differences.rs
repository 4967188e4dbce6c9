//! What changes without a word, found by looking twice, and only while somebody listens: stations learned and moved, and
//! drops that come in bursts. No worker is asked for it.

use std::collections::HashMap;

use rigswitch_dataplane::ids::{DeviceId, VlanId};
use rigswitch_dataplane::tables::Key;
use tokio::sync::mpsc::Receiver;

use super::{LOOK, Switch};
use crate::events::Event;

/// Packets dropped within a second for one reason on one device that are worth an event.
const BURST: u64 = 100;

/// What was found last time; nothing while nobody listens.
#[derive(Default)]
pub(super) struct Differences {
    stations: Option<HashMap<Key, Seen>>,
    round: u64, // of looks at the whole MAC table
    bucket: usize,
    drops: Option<HashMap<(DeviceId, &'static str, &'static str), u64>>,
}

/// Where a station was last seen, and in which round.
struct Seen {
    device: DeviceId,
    round: u64,
}

impl Switch {
    /// What happens from now on, a line of JSON each; `None` when there are as many listeners as may be.
    pub fn listen(&mut self) -> Option<Receiver<Vec<u8>>> {
        let lines = self.events.listen()?;
        // Who is there already is no news.
        let learned = self.macs.iter().filter(|(_, entry)| entry.ages());
        let seen = learned.map(|(key, entry)| (key, Seen { device: entry.egress().device, round: 0 }));
        self.differences.stations.get_or_insert_with(|| seen.collect());
        Some(lines)
    }

    /// Looks at the part of the MAC table whose turn it is. All of it is looked at once a second, so a station that moves there
    /// and back within one is not told of.
    pub(super) fn tell_lessons(&mut self) {
        if !self.events.is_heard() {
            self.differences = Differences::default();
            return;
        }
        let buckets = self.macs.table().buckets().len();
        let Some(mut stations) = self.differences.stations.take() else { return };
        let (round, first) = (self.differences.round, self.differences.bucket);
        let last = (first + buckets.div_ceil(usize::try_from(LOOK).unwrap_or(1))).min(buckets);
        let mut news = Vec::new();
        for (key, entry) in self.macs.entries(first..last).filter(|(_, entry)| entry.ages()) {
            let device = entry.egress().device;
            match stations.insert(key, Seen { device, round }) {
                None => news.push(self.learned(key, device)),
                Some(before) if before.device != device => news.push(self.moved(key, device, before.device)),
                Some(_) => {}
            }
        }
        self.differences.bucket = last;
        if last == buckets {
            (self.differences.round, self.differences.bucket) = (round + 1, 0);
            let table = self.macs.table();
            // One that was moved from a bucket still to come to one that was, was not seen and is there all the same.
            stations.retain(|&key, seen| {
                let entry = table.find(table.locate(key));
                let is_there = seen.round == round || entry.is_some_and(|entry| entry.ages());
                if !is_there && entry.is_none() {
                    news.push(self.forgotten(key, seen.device));
                }
                is_there
            });
        }
        self.differences.stations = Some(stations);
        news.into_iter().for_each(|event| self.events.tell(event));
    }

    /// Tells of a station that was not seen for the ageing time.
    pub(super) fn tell_aged(&mut self, key: Key, device: DeviceId) {
        if let Some(stations) = &mut self.differences.stations {
            stations.remove(&key);
            let (mac, ifname, master, vlan) = self.words(key, device);
            self.events.tell(Event::Aged { mac, ifname, master, vlan });
        }
    }

    /// Tells of drops that have become many since the last call, which is to be a second ago.
    pub(super) fn tell_drops(&mut self) {
        if !self.events.is_heard() {
            return;
        }
        let before = self.differences.drops.take();
        let (mut now, mut news) = (HashMap::new(), Vec::new());
        for (id, port) in self.ports.iter() {
            for (direction, reason, volume) in self.drops_of(id) {
                let key = (id, direction.name(), reason.name());
                let packets = before.as_ref().map_or(0, |before| {
                    volume.packets.saturating_sub(before.get(&key).copied().unwrap_or(0))
                });
                now.insert(key, volume.packets);
                if packets >= BURST {
                    news.push(Event::Drops {
                        ifname: port.config.name.clone(),
                        direction: direction.name().to_owned(),
                        reason: reason.name().to_owned(),
                        packets,
                    });
                }
            }
        }
        self.differences.drops = Some(now);
        news.into_iter().for_each(|event| self.events.tell(event));
    }

    fn learned(&self, key: Key, device: DeviceId) -> Event {
        let (mac, ifname, master, vlan) = self.words(key, device);
        Event::Learned { mac, ifname, master, vlan }
    }

    fn moved(&self, key: Key, device: DeviceId, from: DeviceId) -> Event {
        let (mac, ifname, master, vlan) = self.words(key, device);
        Event::Moved { mac, ifname, from: self.name(from).to_owned(), master, vlan }
    }

    fn forgotten(&self, key: Key, device: DeviceId) -> Event {
        let (mac, ifname, master, vlan) = self.words(key, device);
        Event::Forgotten { mac, ifname, master, vlan }
    }

    /// Station, port, bridge and VLAN.
    fn words(&self, key: Key, device: DeviceId) -> (String, String, String, Option<u16>) {
        let (bridge, vlan) = (self.bridge(key.domain()).to_owned(), self.domains.vlan(key.domain()));
        (key.mac().to_string(), self.name(device).to_owned(), bridge, vlan.map(VlanId::number))
    }
}
