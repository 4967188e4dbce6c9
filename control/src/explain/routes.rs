//! How a packet is routed: by which route, which of its ways, and to whom.

use std::net::IpAddr;

use rigswitch_dataplane::drops::DropReason;
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::routing::{Fate, HopConfig, RouteConfig, RouteWay};

use super::words::{Story, heard};
use crate::compile::{Known, Origin};
use crate::config::Origins;

/// What is known of routes and neighbours beside the tables.
pub(crate) struct Roads<'a> {
    /// The route that packets for an address take.
    pub(crate) known: &'a dyn Fn(IpAddr) -> Option<Known<'a>>,
    /// One to it that is of no use, for its devices are down.
    pub(crate) asleep: &'a dyn Fn(IpAddr) -> Option<&'a RouteConfig>,
    /// How sure a neighbour is, as `show neighbors` has it.
    pub(crate) neighbor: &'a dyn Fn(DeviceId, IpAddr) -> Option<&'static str>,
}

impl Story<'_, '_> {
    pub(super) fn routed(&mut self, to: Option<IpAddr>, fate: Fate) {
        let next = match (to, fate) {
            (Some(to), _) => self.road(to, fate),
            _ => None,
        };
        match fate {
            Fate::Forward(device, next, mac) => {
                // What is told from here on is of the frame as it leaves.
                let own = self.setting.tables.routing().interface(device).map_or(MacAddr::ZERO, |it| it.mac);
                let addresses = [mac, own].map(MacAddr::octets);
                self.bytes.iter_mut().zip(addresses.iter().flatten()).for_each(|(old, new)| *old = *new);
                let (name, word) = (self.name(device), self.word(device, next));
                let text = format!("{next} behind {name} is {mac} ({word})");
                let place = self.place_of_neighbor(device, next);
                self.push("neighbor", text, place);
            }
            Fate::Decapsulate(arrival) => {
                let text = self.arrival(arrival);
                self.push("route", text, None);
            }
            Fate::Punt(PuntReason::Unresolved) => {
                let text = next.map_or_else(
                    || "who is next is not known".to_owned(),
                    |(device, next)| {
                        format!(
                            "{next} behind {} is not known ({})",
                            self.name(device),
                            self.word(device, next)
                        )
                    },
                );
                self.push("neighbor", format!("{text}: to control, which asks and keeps it meanwhile"), None);
            }
            Fate::Punt(reason) => self.push("route", format!("to control: {}", heard(reason)), None),
            Fate::Refuse(reason, _) | Fate::Drop(reason) => {
                let place = match reason {
                    DropReason::ReversePath => self.setting.origins.place(&["routing"], "rp_filter"),
                    DropReason::NotForwarding => self.setting.origins.place(&["routing"], "forwarding"),
                    _ => None,
                };
                self.push("route", format!("drop: {}", reason.name()), place);
            }
        }
    }

    /// The route, in words; and who is next, if that is one.
    fn road(&mut self, to: IpAddr, fate: Fate) -> Option<(DeviceId, IpAddr)> {
        let setting = self.setting;
        let Some(known) = (setting.roads.known)(to) else {
            let asleep = (setting.roads.asleep)(to);
            let place = asleep.and_then(|route| place_of_route(setting.origins, route, None));
            let but = asleep.map_or_else(String::new, |route| {
                format!("; the one to {} leads by devices that are down", route.to)
            });
            self.push("route", format!("none leads to {to}{but}"), place);
            return None;
        };
        let network = known.network;
        let (text, place, next) = match known.origin {
            Origin::Route(route) => return self.road_of_file(to, route, fate),
            Origin::Network(device, address) => {
                let text = format!("{network} is behind {}, which has {address}", self.name(device));
                (text, self.place_of_address(device, address), Some((device, to)))
            }
            Origin::Broadcast(device, all) => {
                (format!("{to} is all stations of {all} behind {}", self.name(device)), None, None)
            }
            Origin::Own(device) => {
                let text = format!("{to} is an address of {}", self.name(device));
                (text, self.place_of_address(device, to), None)
            }
        };
        self.push("route", text, place);
        next
    }

    fn road_of_file(&mut self, to: IpAddr, route: &RouteConfig, fate: Fate) -> Option<(DeviceId, IpAddr)> {
        let network = route.to;
        let (text, way, next) = match &route.way {
            RouteWay::Blackhole => (format!("{network} is a blackhole"), None, None),
            RouteWay::Unreachable => (format!("{network} is unreachable"), None, None),
            RouteWay::Prohibit => (format!("{network} is prohibited"), None, None),
            RouteWay::Hops(hops) => {
                let is_it = |hop: &HopConfig| match fate {
                    Fate::Forward(device, next, _) => {
                        self.name(device) == hop.device && hop.via.unwrap_or(to) == next
                    }
                    _ => hops.len() == 1,
                };
                let Some(place) = hops.iter().position(is_it) else {
                    let text = format!("{network} has {} ways", hops.len());
                    self.push("route", text, place_of_route(self.setting.origins, route, None));
                    return None;
                };
                let hop = &hops[place];
                let via = hop.via.map_or_else(String::new, |via| format!(" via {via}"));
                let said = format!("{network}{via} by {}", hop.device);
                let text = match hops.len() {
                    1 => said,
                    count => format!("{said}: way {} of {count}, by the hash of its flow", place + 1),
                };
                let id = |id: &DeviceId| self.name(*id) == hop.device;
                let device = (0..self.setting.tables.devices().len()).filter_map(|id| u16::try_from(id).ok());
                let device = device.map(DeviceId).find(id);
                (text, Some(place), device.map(|device| (device, hop.via.unwrap_or(to))))
            }
        };
        let metric = if route.metric == RouteConfig::default_metric(network) {
            String::new()
        } else {
            format!(", metric {}", route.metric)
        };
        self.push("route", text + &metric, place_of_route(self.setting.origins, route, way));
        next
    }

    /// How sure a neighbour is.
    fn word(&self, device: DeviceId, address: IpAddr) -> String {
        (self.setting.roads.neighbor)(device, address).map_or("never asked for".into(), str::to_lowercase)
    }

    fn place_of_address(&self, device: DeviceId, address: IpAddr) -> Option<String> {
        self.setting.origins.place(&["address", self.name(device), &address.to_string()], "address")
    }

    pub(super) fn place_of_neighbor(&self, device: DeviceId, address: IpAddr) -> Option<String> {
        let entry = format!("{} {address}", self.name(device));
        self.setting.origins.place(&["neighbor", &entry], "address")
    }
}

/// Where the file has a route, or this one of its several ways.
fn place_of_route(origins: &Origins, route: &RouteConfig, way: Option<usize>) -> Option<String> {
    let key = format!("{} {}", route.to, route.metric);
    let several = way.and_then(|way| origins.place(&["route", &key, &way.to_string()], "via"));
    several.or_else(|| origins.place(&["route", &key], "to"))
}
