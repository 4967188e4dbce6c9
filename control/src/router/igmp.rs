//! Which groups our tunnels are in beneath, and of those of IPv4 what is told of them: when they are new, and to who asks (RFC 3376 §5). What is asked
//! in version 1 or 2 is answered in version 2. That a group is left is not told: it is forgotten when nobody answers for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::wire::igmp::{self, Question};
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::mld::Told;

use super::{Output, Router};

/// How often what is new is told, for a frame may be lost (RFC 3376 §8.1).
const ROBUSTNESS: u8 = 2;
/// And how much later again (§8.11).
const UNSOLICITED: Duration = Duration::from_secs(1);

/// The groups, and what is to be told.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    all: BTreeSet<(DeviceId, IpAddr)>,
    joined: BTreeSet<(DeviceId, IpAddr)>, // those whose devices were up since
    due: BTreeMap<(DeviceId, Ipv4Addr), Due>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Duration,
    told: Told,
    is_third_version: bool,
    times: u8,
}

impl Memberships {
    /// These, and no others.
    pub(super) fn set(&mut self, all: BTreeSet<(DeviceId, IpAddr)>) {
        self.all = all;
    }

    /// What was told by `void` devices is void, and those that are `up` join what they are not in. The devices that joined a group of IPv6.
    pub(super) fn join(
        &mut self,
        void: &BTreeSet<DeviceId>,
        up: impl Fn(DeviceId) -> bool,
        now: Duration,
    ) -> BTreeSet<DeviceId> {
        self.joined.retain(|at| self.all.contains(at) && !void.contains(&at.0));
        self.due.retain(|(device, group), _| self.joined.contains(&(*device, (*group).into())));
        let fresh: Vec<_> =
            self.all.difference(&self.joined).filter(|(device, _)| up(*device)).copied().collect();
        let mut of_ipv6 = BTreeSet::new();
        for (device, group) in fresh {
            self.joined.insert((device, group));
            match group {
                IpAddr::V4(group) => {
                    let due = Due { at: now, told: Told::Joined, is_third_version: true, times: ROBUSTNESS };
                    self.due.insert((device, group), due);
                }
                IpAddr::V6(_) => drop(of_ipv6.insert(device)),
            }
        }
        of_ipv6
    }

    /// Whether a device is in this one.
    pub(super) fn has(&self, device: DeviceId, group: IpAddr) -> bool {
        self.joined.contains(&(device, group))
    }

    /// Those of a device.
    pub(super) fn of(&self, device: DeviceId) -> impl Iterator<Item = IpAddr> {
        self.joined.iter().filter(move |(at, _)| *at == device).map(|(_, group)| *group)
    }

    fn ask(&mut self, device: DeviceId, asked: Question, now: Duration) {
        let groups: Vec<_> = self.of(device).collect();
        for group in groups {
            let IpAddr::V4(group) = group else { continue };
            if asked.group.is_some_and(|asked| asked != group) {
                continue;
            }
            // Not all at once: each waits as long as its address makes it.
            let [.., part] = group.octets();
            let at = now + asked.response * u32::from(part) / 256;
            let due = Due { at, told: Told::Is, is_third_version: asked.is_third_version, times: 1 };
            let soon = self.due.entry((device, group)).or_insert(due);
            // What is due anyway before is as good (§5.2), but an old querier understands nothing else.
            if due.at < soon.at || !due.is_third_version {
                *soon = Due { times: soon.times, told: soon.told, ..due };
            }
        }
    }

    fn next(&mut self, now: Duration) -> Option<(DeviceId, Ipv4Addr, Due)> {
        let (&(device, group), due) = self.due.iter_mut().find(|(_, due)| due.at <= now)?;
        let told = *due;
        due.times -= 1;
        due.at = now + UNSOLICITED / 2;
        if due.times == 0 {
            self.due.remove(&(device, group));
        }
        Some((device, group, told))
    }
}

impl Router {
    /// A packet of IGMP.
    pub(super) fn hear_igmp(&mut self, device: DeviceId, ip: &Ipv4<'_>, now: Duration) {
        match igmp::question(ip) {
            Err(_) => self.malformed(),
            Ok(None) => self.ignore(),
            Ok(Some(asked)) => self.memberships.ask(device, asked, now),
        }
    }

    /// Tells what is due of groups of IPv4.
    pub(super) fn tell_igmp(&mut self, now: Duration) {
        while let Some((device, group, due)) = self.memberships.next(now) {
            let Some(here) = self.devices.find(device).filter(|here| here.has_neighbors) else { continue };
            let mac = here.mac;
            let Some(ours) = self.devices.source_ipv4(device, group) else { continue };
            let frame = if due.is_third_version {
                let mut frame = vec![0; igmp::report_frame_len(1)];
                let written = igmp::write_report(&mut frame, (mac, ours), &[group], due.told);
                debug_assert!(written.is_some(), "it has the length of one");
                frame
            } else {
                igmp::second_report_frame((mac, ours), group).to_vec()
            };
            self.outputs.push_back(Output::Send { device, frame });
        }
    }
}
