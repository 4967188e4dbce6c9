//! Which groups of IPv6 our devices are in, told when that is new and to who asks (RFC 3810 §6): a bridge that snoops between us and our
//! neighbours, and knows a querier, sends solicitations for us on only if we have told it.
//!
//! Of IPv4 there is to tell only which groups our tunnels are in (`igmp`): we ourselves are in 224.0.0.1 alone, which nobody reports (RFC 3376
//! §5). That a group is left is not told: it is forgotten when nobody answers for it. What is asked in version 1 is answered in version 1.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::Routing;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::mld::{self, Question, Told};

use super::discovery::ALL_NODES;
use super::local::ALL_ROUTERS;
use super::{Output, Router};

/// How often what is new is told, for a frame may be lost (RFC 3810 §9.1).
const ROBUSTNESS: u8 = 2;
/// And how much later again, at most (§9.11).
const UNSOLICITED: Duration = Duration::from_secs(1);
/// Groups in one report, which is no longer than any link carries.
const PER_REPORT: usize = 60;

/// What is to be told, of a device and a group or all of them.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<(DeviceId, Option<Ipv6Addr>), Due>);

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Duration,
    told: Told,
    is_first_version: bool,
    times: u8,
}

impl Reports {
    /// A device has addresses that it did not have, or its link is up.
    pub(super) fn join(&mut self, device: DeviceId, now: Duration) {
        let due = Due { at: now, told: Told::Joined, is_first_version: false, times: ROBUSTNESS };
        self.0.insert((device, None), due);
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(DeviceId) -> bool) {
        self.0.retain(|(device, _), _| keep(*device));
    }

    fn ask(&mut self, device: DeviceId, asked: Question, delay: Duration, now: Duration) {
        let Question { group, is_first_version, .. } = asked;
        let due = Due { at: now + delay, told: Told::Is, is_first_version, times: 1 };
        let soon = self.0.entry((device, group)).or_insert(due);
        // What is due anyway before is as good (§6.2), but an old querier understands nothing else.
        if due.at < soon.at || is_first_version {
            *soon = Due { times: soon.times, told: soon.told, ..due };
        }
    }

    fn next(&mut self, now: Duration) -> Option<(DeviceId, Option<Ipv6Addr>, Due)> {
        let (&(device, group), due) = self.0.iter_mut().find(|(_, due)| due.at <= now)?;
        let told = *due;
        due.times -= 1;
        // Half of the time in which it may come: others that were started with us have other links.
        due.at = now + UNSOLICITED / 2;
        if due.times == 0 {
            self.0.remove(&(device, group));
        }
        Some((device, group, told))
    }
}

impl Router {
    /// A querier asks.
    pub(super) fn hear_question(
        &mut self,
        device: DeviceId,
        ip: &Ipv6<'_>,
        asked: Question,
        routing: &Routing,
        now: Duration,
    ) {
        let groups = self.groups(device, routing);
        if asked.group.is_some_and(|group| !groups.contains(&group)) || groups.is_empty() {
            return self.ignore();
        }
        // Not all at once: each of us waits as long as its querier's and its own address make it.
        let mix = ip.source().to_bits() ^ groups.iter().fold(0, |mix, group| mix ^ group.to_bits());
        let [.., a, _, b] = mix.to_be_bytes();
        let part = u32::from(a ^ b);
        self.reports.ask(device, asked, asked.response * part / 256, now);
    }

    /// Tells what is due.
    pub(super) fn tell_groups(&mut self, routing: &Routing, now: Duration) {
        while let Some((device, group, due)) = self.reports.next(now) {
            let all: Vec<_> = self.groups(device, routing).into_iter().collect();
            let told = group.map_or(all, |group| vec![group]);
            let Some(here) = self.devices.find(device) else { continue };
            let mac = here.mac;
            // Who has no address yet reports all the same, or would not hear who has it already (RFC 3590).
            let ours = self.devices.source_ipv6(device, ALL_NODES).unwrap_or(Ipv6Addr::UNSPECIFIED);
            if due.is_first_version {
                let frames = told.iter().map(|&group| mld::first_report_frame((mac, ours), group).to_vec());
                self.outputs.extend(frames.map(|frame| Output::Send { device, frame }));
                continue;
            }
            for groups in told.chunks(PER_REPORT) {
                let mut frame = vec![0; mld::report_frame_len(groups.len())];
                if mld::write_report(&mut frame, (mac, ours), groups, due.told).is_some() {
                    self.outputs.push_back(Output::Send { device, frame });
                }
            }
        }
    }

    /// The groups that a device is in and others must know: of its addresses, and of routers if it is one (RFC 4291 §2.8).
    fn groups(&self, device: DeviceId, routing: &Routing) -> BTreeSet<Ipv6Addr> {
        let Some(here) = self.devices.find(device).filter(|here| here.has_neighbors) else {
            return BTreeSet::new();
        };
        let mut groups = here.solicited_nodes();
        groups.extend(self.memberships.of(device).filter_map(|group| match group {
            IpAddr::V4(_) => None,
            IpAddr::V6(group) => Some(group),
        }));
        if !groups.is_empty() && routing.interface(device).is_some_and(|interface| interface.forwards) {
            groups.insert(ALL_ROUTERS);
        }
        groups
    }
}
