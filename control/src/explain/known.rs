//! What a bridge knows of groups and of neighbours, in words.

use std::net::IpAddr;

use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::tables::Snooped;
use rigswitch_dataplane::wire::multicast::Group;

use super::words::Story;

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
            let (mut told, bridge) = (None, self.setting.tables.bridge_of(domain));
            for (device, is_permanent) in (self.setting.members)(bridge, group) {
                if told.replace(device) == Some(device) {
                    continue; // a port may have one membership for each station
                }
                let state = if is_permanent { "permanent" } else { "temp" };
                let (name, bridge, group) = (self.name(device), self.bridge(), group.to_string());
                let entry = ["bridge", bridge, "mdb", &format!("{name} {group}")];
                let place = if is_permanent { self.setting.origins.place(&entry, "grp") } else { None };
                self.push("member", format!("{name}, as mdb entry {group} ({state}) says"), place);
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

    /// Who was asked for, and why the bridge knows.
    pub(super) fn answered(&mut self, device: DeviceId, address: IpAddr, mac: MacAddr) {
        self.answer = Some(device);
        let entry = format!("{} {address}", self.bridge());
        let place = self.setting.origins.place(&["neighbor", &entry], "address");
        let text = format!("{address} is {mac}, a neighbour that {} was told of", self.bridge());
        self.push("neighbor", text, place);
        let text = format!(
            "the bridge answers by {}: its station is behind a port with neigh_suppress",
            self.name(device)
        );
        self.push("answer", text, None);
    }
}
