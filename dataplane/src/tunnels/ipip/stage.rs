//! Into an outer header, and out of one.

use super::over_ipv6;
use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::tables::{IpTunnel, IpTunnelId, IpipDescent, Remote, RemoteId, Tunnels, station_of};
use crate::tunnels::{Outer as Arrived, underlay};
use crate::wire::IpProtocol;
use crate::wire::ethernet::{self, EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tunnel::{Ecn, Inner, Lost, set_ecn};

/// Sends what leaves by a tunnel: a packet that nobody is to cut or complete any more.
#[inline(always)]
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    way: IpipDescent,
    mut frame: Frame,
    egress: &mut Egress,
) {
    let tunnels = cx.tables.tunnels();
    match enter(tunnels, way.tunnel, &mut frame, egress) {
        Ok(remote) => underlay::send(cx, device, remote, false, frame, egress),
        Err(reason) => refuse(cx, device, reason, frame, egress),
    }
}

/// A packet does not enter. Of a limit that is used up its sender is told.
#[cold]
fn refuse<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    reason: DropReason,
    frame: Frame,
    egress: &mut Egress,
) {
    if reason == DropReason::TunnelLimit {
        let taken = cx.punt.offer(device, PuntReason::TunnelLimit, cx.tick, frame.bytes());
        cx.observer.see(Step::CopiedToControl(PuntReason::TunnelLimit, taken), &frame);
    }
    egress.refuse(cx, device, reason, frame);
}

/// [`HEADER_LEN`], as a frame is shortened by it.
const ETHERNET_LEN: u16 = 14;
const _: () = assert!(ETHERNET_LEN as usize == HEADER_LEN);

/// Puts the outer header in place of the Ethernet header.
#[inline(always)]
fn enter<'t>(
    tunnels: &'t Tunnels,
    id: IpTunnelId,
    frame: &mut Frame,
    egress: &mut Egress,
) -> Result<(RemoteId, &'t Remote), DropReason> {
    let tunnel = tunnels.ip(id);
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
    let by_next_hop = || tunnels.toward(id, ethernet.destination());
    let id = tunnel.remote.or_else(by_next_hop).ok_or(DropReason::TunnelLoop)?;
    let remote = tunnels.remote(id);
    let further = match tunnel.over_ipv6 {
        None => None,
        Some(over) => Some(over_ipv6::further(over, remote, protocol, ethernet.payload())?),
    };
    let pulled = frame.pull_front(ETHERNET_LEN);
    debug_assert!(pulled, "there was an Ethernet header");
    match further {
        None => {
            underlay::wrap(remote, frame, protocol, tunnel.outer.around(inner), egress)?;
        }
        Some(further) => over_ipv6::wrap(tunnel, remote, frame, (protocol, inner, further), egress)?,
    }
    Ok((id, remote))
}

/// Puts an Ethernet header in place of the outer header, as if a station that stands for the far end had sent what is inside to the tunnel's device.
///
/// # Errors
/// Why what is inside goes no further.
#[inline(always)]
pub(crate) fn unwrap(tunnel: &IpTunnel, outer: &Arrived, frame: &mut Frame) -> Result<(), DropReason> {
    if !tunnel.carries.has(outer.protocol) {
        return Err(DropReason::TunnelNotIp);
    }
    let payload = frame.bytes().get(outer.start..outer.end).unwrap_or_default();
    let Some(inner) = payload.first_chunk::<{ ipv4::HEADER_LEN }>() else {
        return Err(DropReason::TunnelMalformed);
    };
    let (ether_type, tos) = match (outer.protocol, inner[0] >> 4) {
        (IpProtocol::IPV4, 4) => (EtherType::IPV4, inner[1]),
        (IpProtocol::IPV6, 6) if payload.len() >= ipv6::HEADER_LEN => {
            (EtherType::IPV6, inner[0] << 4 | inner[1] >> 4)
        }
        _ => return Err(DropReason::TunnelMalformed),
    };
    let shown = Ecn::of(outer.tos);
    let mut ecn = None;
    if shown != Ecn::NotEct {
        let inner = Ecn::of(tos);
        let shown = inner.decapsulated(shown).map_err(|Lost| DropReason::TunnelCongested)?.ecn;
        ecn = (shown != inner).then_some(shown);
    }
    let header_len = u16::try_from(outer.start - HEADER_LEN).unwrap_or_default();
    let shortened = (frame.len() == outer.end || frame.set_len(outer.end)) && frame.pull_front(header_len);
    debug_assert!(shortened, "the header was there, and what follows the packet gets no longer");
    let Some((header, packet)) = frame.bytes_mut().split_first_chunk_mut() else {
        unreachable!("the inner header follows")
    };
    ethernet::emit(header, tunnel.mac, station_of(outer.source()), ether_type);
    if let Some(ecn) = ecn {
        let set = set_ecn(packet, ecn);
        debug_assert!(set.is_some(), "the version says that it is there");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Pool, PoolConfig};
    use crate::ids::MacAddr;
    use crate::tables::{Carries, Reach};
    use crate::wire::outer::OuterHeader;
    use crate::wire::tunnel::Outer;
    use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 9]);

    fn tunnels(outer: Outer, carries: Carries) -> Tunnels {
        let header = OuterHeader::new(NEAR.into(), FAR.into(), &[]).between(MAC, MAC);
        let remote = Remote { header, reach: Reach::Ready(DeviceId(1)), mtu: 65_535 };
        let tunnel = IpTunnel {
            device: DeviceId(0),
            remote: Some(RemoteId(0)),
            outer,
            over_ipv6: None,
            carries,
            mac: MAC,
        };
        Tunnels { remotes: [remote].into(), ip: [tunnel].into(), ..Tunnels::default() }
    }

    /// A packet of either version, with these fields.
    fn packet(is_ipv6: bool, tos: u8, ttl: u8, dont_fragment: bool, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let header = if is_ipv6 {
            let header = Ipv6Header {
                traffic_class: tos,
                hop_limit: ttl,
                payload_length: length,
                next_header: IpNumber::UDP,
                ..Default::default()
            };
            header.to_bytes().to_vec()
        } else {
            let mut header =
                Ipv4Header::new(length, ttl, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
            (header.dscp, header.ecn) = ((tos >> 2).try_into().unwrap(), (tos & 3).try_into().unwrap());
            header.dont_fragment = dont_fragment;
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        };
        [&header[..], payload].concat()
    }

    /// What reading the outer header of a frame finds.
    fn arrived(frame: &Frame) -> Arrived {
        let header = Ipv4::view(&frame.bytes()[HEADER_LEN..]).unwrap();
        let start = HEADER_LEN + header.header_len();
        Arrived {
            source: header.source().to_ipv6_mapped().into(),
            tos: header.tos(),
            protocol: header.protocol(),
            start,
            end: start + header.payload().len(),
        }
    }

    fn framed(packet: &[u8], padding: usize) -> Vec<u8> {
        let mut header = [0; HEADER_LEN];
        let is_ipv6 = packet.first().is_some_and(|first| first >> 4 == 6);
        ethernet::emit(&mut header, MAC, MAC, if is_ipv6 { EtherType::IPV6 } else { EtherType::IPV4 });
        [&header[..], packet, &vec![0xa5; padding]].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// What enters comes out as it was, whatever the outer header took over of it, and whatever padding the last link has put behind.
        #[test]
        fn what_enters_comes_out(
            (is_ipv6, tos, ttl, dont_fragment) in any::<(bool, u8, u8, bool)>(),
            (fixed, is_inherited, pmtudisc, ignore_df) in any::<(u8, bool, bool, bool)>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
            padding in 0..60usize,
        ) {
            let outer = Outer { ttl: fixed, tos: (!is_inherited).then_some(fixed), pmtudisc, ignore_df };
            let tunnels = tunnels(outer, Carries::Both);
            let mut pool = Pool::new(PoolConfig::singles(4));
            let mut egress = Egress::default();
            let inside = packet(is_ipv6, tos, ttl, dont_fragment, &payload);
            let mut frame = pool.alloc(2000).unwrap();
            prop_assert!(frame.fill(&framed(&inside, 0)));
            prop_assert_eq!(enter(&tunnels, IpTunnelId(0), &mut frame, &mut egress).map(|entered| entered.0), Ok(RemoteId(0)));

            let sent = Ipv4Header::from_slice(&frame.bytes()[HEADER_LEN..]).unwrap().0;
            prop_assert_eq!(sent.header_checksum, sent.calc_header_checksum());
            prop_assert_eq!((sent.source, sent.destination), (NEAR.octets(), FAR.octets()));
            prop_assert_eq!(usize::from(sent.total_len), 20 + inside.len());
            prop_assert_eq!(sent.protocol.0, if is_ipv6 { 41 } else { 4 });
            let fields = outer.around(Inner { tos, ttl, dont_fragment: dont_fragment && !is_ipv6 });
            prop_assert_eq!((sent.time_to_live, sent.dont_fragment), (fields.ttl, fields.dont_fragment));
            prop_assert_eq!(sent.dscp.value() << 2 | sent.ecn.value(), fields.tos);
            prop_assert_eq!(sent.identification == 0, sent.dont_fragment, "only what may be fragmented is numbered");

            let whole = [frame.bytes(), &vec![0xa5; padding]].concat();
            prop_assert!(frame.fill(&whole));
            prop_assert_eq!(unwrap(tunnels.ip(IpTunnelId(0)), &arrived(&frame), &mut frame), Ok(()));
            prop_assert_eq!(&frame.bytes()[HEADER_LEN..], &inside);
            let header = Ethernet::view(frame.bytes()).unwrap();
            prop_assert_eq!((header.destination(), header.source()), (MAC, station_of(NEAR.into())));
            pool.free(frame);
        }

        /// Whatever comes in an outer header, what surfaces is in a frame for the tunnel's device, and the rest ends by a name.
        #[test]
        fn no_packet_in_a_packet_is_too_strange(inside in prop::collection::vec(any::<u8>(), 0..80), tos: u8, protocol in prop::sample::select(vec![4u8, 41, 17])) {
            let mut header = Ipv4Header::new(u16::try_from(inside.len()).unwrap(), 9, IpNumber(protocol), FAR.octets(), NEAR.octets()).unwrap();
            (header.dscp, header.ecn) = ((tos >> 2).try_into().unwrap(), (tos & 3).try_into().unwrap());
            let mut pool = Pool::new(PoolConfig::singles(4));
            let mut frame = pool.alloc(2000).unwrap();
            prop_assert!(frame.fill(&framed(&[&header.to_bytes()[..], &inside].concat(), 0)));
            let before = frame.bytes().to_vec();
            let tunnels = tunnels(Outer::default(), Carries::Both);
            match unwrap(tunnels.ip(IpTunnelId(0)), &arrived(&frame), &mut frame) {
                Ok(()) => {
                    let version = inside[0] >> 4;
                    prop_assert_eq!(frame.len(), HEADER_LEN + inside.len());
                    prop_assert_eq!(&frame.bytes()[..6], &MAC.octets());
                    prop_assert!(version == 4 && protocol == 4 && inside.len() >= 20 || version == 6 && protocol == 41 && inside.len() >= 40);
                }
                Err(reason) => {
                    let reasons = [DropReason::TunnelMalformed, DropReason::TunnelCongested, DropReason::TunnelNotIp];
                    prop_assert!(reasons.contains(&reason));
                    prop_assert_eq!(frame.bytes(), before);
                }
            }
            pool.free(frame);
        }
    }

    #[test]
    fn a_tunnel_takes_only_what_it_carries() {
        let mut pool = Pool::new(PoolConfig::singles(4));
        for (is_ipv6, carries, expected) in [
            (false, Carries::Ipv4, Ok(RemoteId(0))),
            (true, Carries::Ipv4, Err(DropReason::TunnelNotIp)),
            (true, Carries::Ipv6, Ok(RemoteId(0))),
            (false, Carries::Ipv6, Err(DropReason::TunnelNotIp)),
        ] {
            let tunnels = tunnels(Outer::default(), carries);
            let mut frame = pool.alloc(200).unwrap();
            assert!(frame.fill(&framed(&packet(is_ipv6, 0, 9, true, &[1; 30]), 0)));
            let entered = enter(&tunnels, IpTunnelId(0), &mut frame, &mut Egress::default());
            assert_eq!(entered.map(|entered| entered.0), expected);
            pool.free(frame);
        }
    }
}
