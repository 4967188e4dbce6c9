//! What a VXLAN device finds out about a frame, in words, and the line that says so.

use std::net::IpAddr;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::pipeline::{Lesson, Step};
use rigswitch_dataplane::tables::{Arrival, Entry, Vxlan};

use super::words::Story;

impl Story<'_, '_> {
    /// One of the steps that only such a device takes.
    pub(super) fn vxlan(&mut self, step: Step) {
        match step {
            Step::Remotes(device, station, entry) => self.remotes(device, station, entry),
            Step::EntersNetwork(device, vlan, vni) => {
                self.network = Some(vni);
                let text = format!("VLAN {vlan} is network {vni} of {}", self.name(device));
                self.push("network", text, self.place_of_network(device));
            }
            Step::LeavesNetwork(device, vni, vlan) => {
                let name = self.name(device);
                let text = match vlan {
                    Some(vlan) => format!("network {vni} of {name} is VLAN {vlan}"),
                    None => format!("network {vni} of {name} is no VLAN"),
                };
                self.push("network", text, self.place_of_network(device));
            }
            Step::Proxied(device, address, mac) => {
                let text = format!("{} answers for {address}, which {mac} has", self.name(device));
                self.push("proxy", text, self.place_of_neighbor(device, address));
            }
            Step::Shortened(device, address, mac) => {
                let text = format!("past the router: to {mac}, which has {address}");
                self.push("rsc", text, self.place_of_neighbor(device, address));
            }
            Step::PathTold(device, mtu) => {
                let name = self.name(device).to_owned();
                let text =
                    format!("too long for the way there: {name} tells the sender that {mtu} bytes would go");
                self.push("tunnel", text, None);
            }
            Step::LearnedBehind(lesson, far_end) => self.learned_behind(lesson, far_end),
            _ => {}
        }
    }

    /// What takes a packet for an address of ours, in words.
    pub(super) fn arrival(&self, arrival: Arrival) -> String {
        let tunnels = self.setting.tables.tunnels();
        match (arrival, tunnels.device_of(arrival)) {
            (_, Some(device)) => format!("for the tunnel {}", self.name(device)),
            (Arrival::Vxlan(id), None) => {
                let listener = tunnels.listener(id);
                let names = listener.networks.iter().map(|(vni, vxlan)| {
                    format!("{} (network {vni})", self.name(tunnels.vxlan(*vxlan).device))
                });
                format!("for UDP port {}, of {}", listener.port, names.collect::<Vec<_>>().join(", "))
            }
            (Arrival::Ip(_), None) => "for a tunnel".to_owned(),
        }
    }

    fn remotes(&mut self, device: DeviceId, station: MacAddr, entry: Option<Entry>) {
        let Some(vxlan) = self.vxlan_of(device) else { return };
        let peer = entry.map(|entry| entry.egress().peer).or(vxlan.peers.of_unknown());
        let tunnels = self.setting.tables.tunnels();
        let far_ends: Vec<_> = peer
            .map_or(&[][..], |peer| vxlan.peers.remotes(peer))
            .iter()
            .map(|id| tunnels.remote(*id).header.remote().to_string())
            .collect();
        let name = self.name(device).to_owned();
        let far_ends = far_ends.join(", ");
        let (text, key) = match entry {
            Some(entry) => {
                let how = if entry.is_learned() { "learned to be" } else { "set to be" };
                (format!("{station} is {how} behind {far_ends}"), "fdb")
            }
            None if far_ends.is_empty() => {
                (format!("{station} has no entry, and {name} has none of 00:00:00:00:00:00"), "fdb")
            }
            None => (format!("{station} has no entry: to {far_ends}, as 00:00:00:00:00:00 says"), "fdb"),
        };
        let place = self.setting.origins.place(&["vxlan", &name], key);
        self.push("far end", text, place);
    }

    fn learned_behind(&mut self, lesson: Lesson, far_end: IpAddr) {
        let text = match lesson {
            Lesson::Known => format!("known to be behind {far_end}"),
            Lesson::Learned => format!("its source is behind {far_end}: learned"),
            Lesson::Moved(_) => format!("its source is behind {far_end} now"),
            Lesson::Pinned => format!("its source is not behind {far_end}, as a fixed entry says"),
            Lesson::TableFull => "not learned: the MAC table is full".to_owned(),
            Lesson::Limited => "not learned: the device has as many entries as maxaddress allows".to_owned(),
        };
        self.push("learn", text, None);
    }

    fn vxlan_of(&self, device: DeviceId) -> Option<&Vxlan> {
        let is_of = |vxlan: &&Vxlan| vxlan.network.as_ref().map(|network| network.vni) == self.network;
        let all = self.setting.tables.tunnels().vxlans.iter().filter(|vxlan| vxlan.device == device);
        all.clone().find(is_of).or_else(|| all.clone().next())
    }

    /// Where the file says which VLANs are networks of a device.
    fn place_of_network(&self, device: DeviceId) -> Option<String> {
        let domain = self.setting.tables.device(device).role.domain()?;
        let table = ["bridge", (self.setting.bridge)(domain), "port", self.name(device)];
        self.setting.origins.place(&table, "tunnel_info")
    }
}
