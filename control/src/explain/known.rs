//! What a bridge knows of groups and of neighbours, in words.

use std::net::IpAddr;

use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId};
use rigswitch_dataplane::tables::Snooped;
use rigswitch_dataplane::wire::multicast::Group;

use super::words::Story;
use crate::snooping::{GroupIn, Lasts, Membership};

impl Story<'_, '_> {
    /// What a bridge that snoops has found, and whom.
    pub(super) fn snooped(&mut self, why: Snooped) {
        let text = match why {
            Snooped::Members(group) => {
                format!("for {group}: to those who are in it, and to multicast routers")
            }
            Snooped::NoMembers(group) => {
                format!("for {group}, which nobody is known to be in: to multicast routers")
            }
            Snooped::Join(group) => {
                format!("its sender is in {group}, which is for multicast routers to hear")
            }
            Snooped::NoQuerier => {
                let place = self.setting.origins.place(&["bridge", self.bridge()], "mcast_querier");
                let text = "nobody asks who is in which group, so that it is not known: to all";
                return self.push("snoop", text.to_owned(), place);
            }
            Snooped::ForAll => {
                "it is for everybody, or says something about groups to all: to all".to_owned()
            }
            Snooped::Refused => "it does not go on".to_owned(),
        };
        self.push("snoop", text, None);
        let Some(domain) = self.flooded else { return };
        if let Snooped::Members(group) = why {
            let (tables, mut told) = (self.setting.tables, None);
            let vlan = tables.domain(domain).of.map(|of| of.vid);
            let bridge = tables.bridge_of(domain);
            for member in (self.setting.members)(bridge, GroupIn { group, vlan }) {
                if told.replace(member.device) == Some(member.device) {
                    continue; // a port may have one membership for each station
                }
                self.in_group(group, vlan, member);
            }
        }
        let (Snooped::Members(group) | Snooped::NoMembers(group) | Snooped::Join(group)) = why else {
            return;
        };
        let Some(mdb) = &self.setting.tables.domain(domain).mdb else { return };
        let family = if matches!(group, Group::Ip(IpAddr::V6(_))) { &mdb.ipv6 } else { &mdb.ipv4 };
        for target in &family.routers {
            let place = self.knob(target.device, "mcast_router");
            self.push("router", format!("behind {}", self.name(target.device)), place);
        }
    }

    /// A port that is in a group, and who says so.
    fn in_group(&mut self, group: Group, vlan: Option<VlanId>, member: Membership) {
        let (name, bridge) = (self.name(member.device), self.bridge());
        let vid = vlan.map(|vid| format!(" vid {vid}")).unwrap_or_default();
        let (state, place) = match (member.lasts, member.station) {
            (Lasts::Permanent, _) => {
                let place = |name: &str| self.setting.origins.place(&["bridge", bridge, "mdb", name], "grp");
                let of_vlan = vlan.and_then(|vid| place(&format!("{name} {group} {vid}")));
                ("permanent".to_owned(), of_vlan.or_else(|| place(&format!("{name} {group}"))))
            }
            (Lasts::Until(_), Some(station)) => (format!("temp, reported by {station}"), None),
            (Lasts::Until(_), None) => ("temp, put there by hand".to_owned(), None),
        };
        let text = format!("{name}, as mdb entry {group}{vid} ({state}) says");
        self.push("member", text, place);
    }

    /// Who was asked for, and why the bridge knows.
    pub(super) fn answered(&mut self, device: DeviceId, address: IpAddr, mac: MacAddr) {
        self.answer = Some(device);
        let bridge = self.bridge();
        let vlan = self.flooded.and_then(|domain| self.setting.tables.domain(domain).of).map(|of| of.vid);
        let (vid, of_vlan) =
            vlan.map(|vid| (format!(" {vid}"), format!(" in VLAN {vid}"))).unwrap_or_default();
        let place = self.setting.origins.place(&["neighbor", &format!("{bridge} {address}{vid}")], "address");
        let text = format!("{address} is {mac}, a neighbour that {bridge} was told of{of_vlan}");
        self.push("neighbor", text, place);
        let text = format!(
            "the bridge answers by {}: its station is behind a port with neigh_suppress",
            self.name(device)
        );
        self.push("answer", text, None);
    }
}
