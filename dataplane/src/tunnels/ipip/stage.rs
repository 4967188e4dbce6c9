//! Into an outer header, and out of one.

use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Transmit};
use crate::tables::{IpTunnel, IpTunnelId, IpipDescent, RemoteId, Tunnels, next_hop_of, station_of};
use crate::tunnels::underlay;
use crate::wire::IpProtocol;
use crate::wire::ethernet::{self, EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tunnel::{Ecn, Inner, Lost, set_ecn};

/// Sends what leaves by a tunnel.
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    way: IpipDescent,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tunnels = cx.tables.tunnels();
    let tunnel = tunnels.ip(way.tunnel);
    match enter(tunnels, way.tunnel, tunnel, &mut frame, egress) {
        Ok(remote) => underlay::send(cx, device, remote, frame, egress),
        Err(reason) => egress.refuse(cx, device, reason, frame),
    }
}

/// [`HEADER_LEN`], as a frame is shortened by it.
const ETHERNET_LEN: u16 = 14;
const _: () = assert!(ETHERNET_LEN as usize == HEADER_LEN);

/// Puts the outer header in place of the Ethernet header.
#[inline]
fn enter(
    tunnels: &Tunnels,
    id: IpTunnelId,
    tunnel: &IpTunnel,
    frame: &mut Frame,
    egress: &mut Egress,
) -> Result<RemoteId, DropReason> {
    let ethernet = Ethernet::view(frame.bytes()).map_err(|_| DropReason::Truncated)?;
    let (inner, protocol) = match ethernet.ether_type() {
        EtherType::IPV4 => (Ipv4::view(ethernet.payload()).map(|ip| Inner::from(&ip)), IpProtocol::IPV4),
        EtherType::IPV6 => (Ipv6::view(ethernet.payload()).map(|ip| Inner::from(&ip)), IpProtocol::IPV6),
        _ => return Err(DropReason::TunnelNotIp),
    };
    let Ok(inner) = inner else { return Err(DropReason::IpMalformed) };
    if !tunnel.carries.has(protocol) {
        return Err(DropReason::TunnelNotIp);
    }
    let by_next_hop = || tunnels.toward(id, next_hop_of(ethernet.destination()).into());
    let remote = tunnel.remote.or_else(by_next_hop).ok_or(DropReason::TunnelLoop)?;
    let pulled = frame.pull_front(ETHERNET_LEN);
    debug_assert!(pulled, "there was an Ethernet header");
    underlay::wrap(tunnels.remote(remote), frame, protocol, tunnel.outer.around(inner), egress)?;
    Ok(remote)
}

/// Puts an Ethernet header in place of the outer header, as if a station that stands for the far end had sent what is inside to `mac`, the
/// tunnel's device.
///
/// # Errors
/// Why what is inside goes no further.
pub(crate) fn unwrap(mac: MacAddr, frame: &mut Frame) -> Result<(), DropReason> {
    let packet = frame.bytes().get(HEADER_LEN..).unwrap_or_default();
    let outer = Ipv4::view(packet).map_err(|_| DropReason::IpMalformed)?;
    if outer.is_fragment() {
        return Err(DropReason::TunnelFragment);
    }
    let version = outer.payload().first().map(|first| first >> 4);
    let (ether_type, tos) = match (outer.protocol(), version) {
        (IpProtocol::IPV4, Some(4)) => {
            let inner = outer.payload().first_chunk::<{ ipv4::HEADER_LEN }>();
            (EtherType::IPV4, inner.map(|header| header[1]))
        }
        (IpProtocol::IPV6, Some(6)) => {
            let inner = outer.payload().first_chunk::<{ ipv6::HEADER_LEN }>();
            (EtherType::IPV6, inner.map(|header| header[0] << 4 | header[1] >> 4))
        }
        _ => return Err(DropReason::TunnelMalformed),
    };
    let inner = Ecn::of(tos.ok_or(DropReason::TunnelMalformed)?);
    let ecn = inner.decapsulated(Ecn::of(outer.tos())).map_err(|Lost| DropReason::TunnelCongested)?.ecn;
    let (far_end, header_len) = (station_of(outer.source().into()), outer.header_len());
    let length = HEADER_LEN + header_len + outer.payload().len();
    let shortened = frame.set_len(length) && frame.pull_front(u16::try_from(header_len).unwrap_or_default());
    debug_assert!(shortened, "the header was there, and what follows the packet gets no longer");
    let Some((header, packet)) = frame.bytes_mut().split_first_chunk_mut() else {
        unreachable!("the inner header follows")
    };
    ethernet::emit(header, mac, far_end, ether_type);
    if ecn != inner {
        let set = set_ecn(packet, ecn);
        debug_assert!(set.is_some(), "the version says that it is there");
    }
    Ok(())
}
