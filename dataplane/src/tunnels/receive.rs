//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use crate::drops::Direction;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::tables::{Arrival, Tunnels};
use crate::wire::IpProtocol;
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::{self, Ipv6};

use super::{ipip, vxlan};

/// The tunnel that takes a packet for an address of ours; `None` if none does.
#[inline]
pub(crate) fn find(tunnels: &Tunnels, packet: &Ipv4<'_>) -> Option<Arrival> {
    match packet.protocol() {
        protocol @ (IpProtocol::IPV4 | IpProtocol::IPV6) => {
            tunnels.demux.find(protocol, packet.destination(), packet.source()).map(Arrival::Ip)
        }
        // Of the later fragments of a packet nobody knows whose they are, and of the first it is no use to know.
        IpProtocol::UDP if packet.is_fragment() => tunnels.any_listener(false).map(Arrival::Vxlan),
        IpProtocol::UDP => listener(tunnels, false, packet.payload()),
        _ => None,
    }
}

/// The same of IPv6.
#[inline]
pub(crate) fn find_ipv6(tunnels: &Tunnels, packet: &Ipv6<'_>) -> Option<Arrival> {
    if tunnels.listeners.is_empty() {
        return None;
    }
    match packet.upper_layer() {
        Ok((IpProtocol::UDP, payload)) => listener(tunnels, true, payload),
        Ok((ipv6::FRAGMENT, [next, ..])) if *next == IpProtocol::UDP.0 => {
            tunnels.any_listener(true).map(Arrival::Vxlan)
        }
        _ => None,
    }
}

/// The port that a datagram is for, if it is one at which VXLAN devices take packets.
#[inline]
fn listener(tunnels: &Tunnels, is_ipv6: bool, datagram: &[u8]) -> Option<Arrival> {
    let &[_, _, high, low] = datagram.first_chunk()?;
    tunnels.listens(is_ipv6, u16::from_be_bytes([high, low])).map(Arrival::Vxlan)
}

/// Takes the outer header off a packet that `find` has found the tunnel of, and lets what is inside surface there.
pub(crate) fn receive<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    arrival: Arrival,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tables = cx.tables;
    let unwrapped = match arrival {
        Arrival::Ip(tunnel) => {
            let tunnel = tables.tunnels().ip(tunnel);
            ipip::unwrap(tunnel.mac, &mut frame).map(|()| tunnel.device)
        }
        Arrival::Vxlan(listener) => vxlan::unwrap(cx, from, listener, &mut frame),
    };
    match unwrapped {
        Ok(device) => egress.surface(cx, device, frame),
        Err(reason) => cx.discard(from, Direction::Rx, reason, frame),
    }
}
