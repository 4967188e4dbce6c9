//! The underlay, compiled: the far end of a tunnel, with the outer header that leads there by routes and neighbours as they are now.

use std::net::IpAddr;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::{Reach, Remote, Routing, station_of};
use rigswitch_dataplane::wire::flow::FlowHash;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::outer::OuterHeader;
use rigswitch_dataplane::wire::tunnel::Inner;
use rigswitch_dataplane::wire::{IpProtocol, ethernet, igmp, neighbor};

use super::Named;
use crate::config::{Config, network_of};
use crate::router::{Way, way};

/// The far end `remote` of `tunnel`, which sends to it from `local`. `tail` follows the outer IP header. Of several ways there it is by one, chosen by
/// the two addresses: workers are not to choose again.
pub(super) fn remote(
    routing: &Routing,
    tunnel: DeviceId,
    (local, remote): (IpAddr, IpAddr),
    tail: &[u8],
) -> Remote {
    let header = OuterHeader::new(local, remote, tail);
    let nowhere = |reach| Remote { header, reach, mtu: 0 };
    let Way::Out(device, next) = way(routing, remote, flow(routing, &header)) else {
        return nowhere(Reach::NoRoute);
    };
    if device == tunnel {
        return nowhere(Reach::Loop);
    }
    let Some(interface) = routing.interface(device) else { return nowhere(Reach::NoRoute) };
    let station =
        if interface.has_neighbors { routing.neighbor(device, next) } else { Some(station_of(next)) };
    let reach = if station.is_some() { Reach::Ready(device) } else { Reach::Unresolved(device) };
    let header = header.between(station.unwrap_or_default(), interface.mac);
    let mtu = routing.path_mtus.get(&remote).map_or(interface.mtu, |path| interface.mtu.min(*path));
    Remote { header, reach, mtu }
}

/// The group that a tunnel sends to from `local`, by this device.
pub(super) fn group(
    routing: &Routing,
    device: Option<DeviceId>,
    (local, group): (IpAddr, IpAddr),
    tail: &[u8],
) -> Remote {
    let header = OuterHeader::new(local, group, tail);
    let station = match group {
        IpAddr::V4(group) => igmp::group_mac(group),
        IpAddr::V6(group) => neighbor::group_mac(group),
    };
    match device.and_then(|device| Some((device, routing.interface(device)?))) {
        Some((device, interface)) => {
            let header = header.between(station, interface.mac);
            Remote { header, reach: Reach::Ready(device), mtu: interface.mtu }
        }
        None => Remote { header, reach: Reach::NoRoute, mtu: 0 },
    }
}

/// The first address on a device, of the version that `like` is of.
pub(crate) fn address_on(config: &Config, device: &str, like: IpAddr) -> Option<IpAddr> {
    let ours = config.addresses.iter().filter(|said| said.device == device).map(|said| said.address.address);
    ours.into_iter().find(|ours| ours.is_ipv4() == like.is_ipv4())
}

/// The hash of the flow of all packets that have this header.
fn flow(routing: &Routing, header: &OuterHeader) -> FlowHash {
    let mut frame = vec![0; usize::from(header.len())];
    let fields = Inner { tos: 0, ttl: 0, dont_fragment: false };
    // What is inside does not matter: the ways are chosen by addresses, or by ports that are not there yet.
    let _ = header.write(&mut frame, IpProtocol::IPV4, fields, 0);
    let packet = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    match (Ipv4::view(packet), Ipv6::view(packet)) {
        (Ok(packet), _) => routing.hasher.ipv4(&packet, routing.policy),
        (_, Ok(packet)) => routing.hasher.ipv6(&packet, routing.policy),
        _ => FlowHash(0),
    }
}

/// The address that a tunnel sends to `remote` from, if the file names none: one of the device that it leaves by, in the network of the next hop if
/// there is one (`inet_select_addr`).
pub(super) fn source(
    config: &Config,
    named: &Named<'_>,
    routing: &Routing,
    remote: IpAddr,
) -> Option<IpAddr> {
    let Way::Out(device, next) = way(routing, remote, FlowHash(0)) else { return None };
    let name = named.values().find(|port| port.id == device)?.name;
    let mut ours = config.addresses.iter().filter(|said| said.device == name).map(|said| said.address);
    let near = |length: u8, address: IpAddr| network_of(address, length) == network_of(next, length);
    let of_version = |address: &IpAddr| address.is_ipv4() == remote.is_ipv4();
    let found = ours.clone().find(|ours| of_version(&ours.address) && near(ours.prefix_length, ours.address));
    found.or_else(|| ours.find(|ours| of_version(&ours.address))).map(|ours| ours.address)
}
