//! What a device does with what comes in there, in words, and the line that says so.

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::{Descent, Role};

use super::words::Setting;

/// Whether a device is what a bridge's own is for the bridge: that has the same name.
pub(super) fn is_inside(setting: &Setting<'_>, device: DeviceId) -> bool {
    let of = setting.tables.device(device);
    matches!((of.role, of.descent), (Role::Host(_), Descent::Patch(_)))
}

/// What becomes of a frame that is for an address of a bridge's own.
pub(super) fn up(setting: &Setting<'_>, host: DeviceId) -> String {
    let name = (setting.name)(host);
    match is_inside(setting, host) {
        true => format!("for {name} itself: up to it"),
        false => format!("for this host: up by {name}"),
    }
}

/// What a device does with what comes in.
pub(super) fn role(setting: &Setting<'_>, device: DeviceId) -> (String, Option<String>) {
    let (name, origins) = ((setting.name)(device), setting.origins);
    let declared = || {
        let place = |object: &&str| origins.place(&[object, name], "name");
        ["port", "bridge", "vlan"].iter().find_map(place)
    };
    match setting.tables.device(device).role {
        Role::Bridge(domain)
        | Role::KnobbedBridge(domain)
        | Role::VlanBridge(domain)
        | Role::KnobbedVlanBridge(domain) => {
            let bridge = (setting.bridge)(domain);
            let place = origins.place(&["bridge", bridge, "port", name], "device");
            (format!("{name}, a port of {bridge}"), place)
        }
        Role::Host(domain) => {
            let bridge = (setting.bridge)(domain);
            match is_inside(setting, device) {
                true => {
                    (format!("{bridge}, from its own device"), origins.place(&["bridge", bridge], "name"))
                }
                false => {
                    let text = format!("{name}, by which the host sends into {bridge}");
                    (text, origins.place(&["bridge", bridge], "host"))
                }
            }
        }
        Role::Xconnect(peer) => {
            let place = origins.place(&["xconnect", name], "a");
            (format!("{name}, cross-connected with {}", (setting.name)(peer)), place)
        }
        Role::Upper(_) => {
            let place = |kind| origins.place(&[kind, name], "host");
            let kinds = ["vlan", "ipvlan", "macvlan", "bridge", "vxlan", "ipip"];
            (format!("{name}, which the host has"), kinds.into_iter().find_map(place))
        }
        Role::Ipvlan(_) => (format!("{name}, the parent of ipvlans"), declared()),
        Role::Routed => (format!("{name}, a routed device"), origins.place(&["address", name], "address")),
        Role::Macvlan(_) => (format!("{name}, which macvlans share"), declared()),
        Role::Unused if setting.tables.device(device).tags.is_some() => {
            (format!("{name}, on which sub-interfaces of VLANs stand, and nothing else"), declared())
        }
        Role::Unused => (format!("{name}, in no bridge and no cross-connect"), declared()),
    }
}
