//! What comes to an address of ours in an outer header: whose it is, and up to its device.

use crate::drops::Direction;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::tables::{Arrival, Tunnels};
use crate::wire::IpProtocol;
use crate::wire::ipv4::Ipv4;

use super::ipip;

/// The tunnel that takes a packet for an address of ours; `None` if none does.
#[inline]
pub(crate) fn find(tunnels: &Tunnels, packet: &Ipv4<'_>) -> Option<Arrival> {
    match packet.protocol() {
        protocol @ (IpProtocol::IPV4 | IpProtocol::IPV6) => {
            tunnels.demux.find(protocol, packet.destination(), packet.source()).map(Arrival::Ip)
        }
        _ => None,
    }
}

/// Takes the outer header off a packet that `find` has found the tunnel of, and lets what is inside surface there.
pub(crate) fn receive<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    from: DeviceId,
    arrival: Arrival,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tunnels = cx.tables.tunnels();
    let unwrapped = match arrival {
        Arrival::Ip(tunnel) => ipip::unwrap(tunnels.ip(tunnel).mac, &mut frame),
    };
    match unwrapped {
        Ok(()) => egress.surface(cx, tunnels.device_of(arrival), frame),
        Err(reason) => cx.discard(from, Direction::Rx, reason, frame),
    }
}
