//! Whether somebody has an IPv6 address of ours already, found out before it is used (RFC 4862 §5.4), as the kernel does (`addrconf_dad_start` and what follows it,
//! net/ipv6/addrconf.c). Until then it is nobody's: we neither answer questions about it nor speak from it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::wire::neighbor::{group_mac, probe, solicited_node};

use super::neighbors::Key;
use super::{Notice, Output, Router};

/// So long may pass until the first question (`router_solicitation_delay`), so that those started together do not ask together.
const DELAY: Duration = Duration::from_secs(1);
/// How long to wait for an answer (`retrans_time_ms`).
const RETRANS: Duration = Duration::from_secs(1);

/// Why an address of ours is not used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unused {
    /// It is not known yet whether somebody else has it (`tentative`).
    Tentative,
    /// Somebody else has it (`dadfailed`).
    Duplicate,
}

/// The addresses that are not used, or not yet.
#[derive(Debug)]
pub(super) struct Detection {
    doubtful: BTreeMap<Key, Doubt>,
    questions: u8,
    random: u64,
}

#[derive(Clone, Copy, Debug)]
enum Doubt {
    Asking { questions: u8, due: Duration },
    Duplicate,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// To ask whether anybody has it.
    Ask(DeviceId, Ipv6Addr),
    /// It is ours.
    Ours(DeviceId, Ipv6Addr),
}

impl Detection {
    /// One that asks once.
    pub(super) fn new(seed: u64) -> Self {
        Self { doubtful: BTreeMap::new(), questions: 1, random: seed }
    }

    /// So often is asked from now on (`dad_transmits`); never if that is zero.
    pub(super) fn ask(&mut self, questions: u8) {
        self.questions = questions;
        if questions == 0 {
            self.doubtful.clear();
        }
    }

    /// An address is new, or its link is. Whether it is to be used at once.
    pub(super) fn begin(&mut self, key: Key, now: Duration) -> bool {
        if self.questions == 0 || key.1.is_ipv4() {
            return true;
        }
        let due = now + DELAY * u32::from(self.any()) / 256;
        self.doubtful.insert(key, Doubt::Asking { questions: self.questions, due });
        false
    }

    /// Forgets those of which this is not so.
    pub(super) fn retain(&mut self, stays: impl Fn(Key) -> bool) {
        self.doubtful.retain(|key, _| stays(*key));
    }

    /// Why an address is not used, if it is not.
    pub(super) fn of(&self, key: Key) -> Option<Unused> {
        self.doubtful.get(&key).map(|doubt| match doubt {
            Doubt::Asking { .. } => Unused::Tentative,
            Doubt::Duplicate => Unused::Duplicate,
        })
    }

    /// Somebody else has it, or wants it. Whether that is news.
    fn fail(&mut self, key: Key) -> bool {
        let was = self.doubtful.insert(key, Doubt::Duplicate);
        !matches!(was, Some(Doubt::Duplicate))
    }

    fn next(&mut self, now: Duration) -> Option<Due> {
        let is_due = |doubt: &Doubt| matches!(doubt, Doubt::Asking { due, .. } if *due <= now);
        let (&(device, address), doubt) = self.doubtful.iter_mut().find(|(_, doubt)| is_due(doubt))?;
        let (IpAddr::V6(address), Doubt::Asking { questions, due }) = (address, doubt) else { return None };
        if *questions > 0 {
            (*questions, *due) = (*questions - 1, now + RETRANS);
            return Some(Due::Ask(device, address));
        }
        self.doubtful.remove(&(device, address.into()));
        Some(Due::Ours(device, address))
    }

    fn any(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.to_be_bytes()[0]
    }
}

impl Router {
    /// Asks what is due to be asked, and announces what nobody else has.
    pub(super) fn detect_duplicates(&mut self, now: Duration) {
        while let Some(due) = self.devices.detection.next(now) {
            match due {
                Due::Ask(device, address) => {
                    let Some(mac) = self.devices.find(device).map(|device| device.mac) else { continue };
                    let group = solicited_node(address);
                    let frame = probe(mac, address, group_mac(group), group).to_vec();
                    self.outputs.push_back(Output::Send { device, frame });
                }
                Due::Ours(device, address) => {
                    self.announcements.push_back((device, address.into()));
                    if address.is_unicast_link_local() {
                        // Until now nobody could tell from where the groups were reported (RFC 3590).
                        self.reports.join(device, now);
                    }
                }
            }
        }
    }

    /// Another station has an address that we were about to use, or is about to use it, too.
    pub(super) fn duplicate(&mut self, device: DeviceId, address: Ipv6Addr, mac: MacAddr) {
        self.counters.conflicts += 1;
        if self.devices.detection.fail((device, address.into())) {
            self.notices.push(Notice::Duplicate { device, address, mac });
        }
    }

    /// Our addresses, how many bits of each are the network's, and why it is not used if it is not.
    pub fn addresses(&self) -> impl Iterator<Item = (DeviceId, IpAddr, u8, Option<Unused>)> {
        self.local_addresses().map(|(device, address, length)| {
            (device, address, length, self.devices.detection.of((device, address)))
        })
    }
}
