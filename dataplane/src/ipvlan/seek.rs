//! The address in a frame that says whose it is: of IPv4 and IPv6 one of the header's, of ARP one of the message's, and of a
//! neighbour solicitation without a source its target, so that somebody who tries an address hears that it is taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::Malformed;
use crate::wire::arp;
use crate::wire::ethernet::{EtherType, Ethernet};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6;

/// Which of a frame's two addresses is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Who sends it.
    Source,
    /// Whom it is for.
    Destination,
}

/// That address, if the frame has one (`ipvlan_get_L3_hdr` and `ipvlan_addr_lookup`, drivers/net/ipvlan/ipvlan_core.c). What the
/// kernel does not look at, which is most of an IPv6 header and the kind of an ARP message, is not looked at here.
#[inline]
pub(super) fn address(frame: &Ethernet<'_>, end: End) -> Result<Option<IpAddr>, Malformed> {
    match frame.ether_type() {
        EtherType::IPV4 => of_ipv4(frame.payload(), end).map(|address| Some(address.into())),
        EtherType::IPV6 => of_ipv6(frame.payload(), end).map(|address| address.map(Into::into)),
        EtherType::ARP => of_arp(frame.payload(), end).map(|address| Some(address.into())),
        _ => Ok(None),
    }
}

#[inline]
fn of_ipv4(packet: &[u8], end: End) -> Result<Ipv4Addr, Malformed> {
    let addresses = Ipv4::view(packet)?.addresses();
    let address = match end {
        End::Source => addresses.first_chunk::<4>(),
        End::Destination => addresses.last_chunk(),
    };
    address.map(|&octets| octets.into()).ok_or(Malformed::Ipv4)
}

#[inline]
fn of_ipv6(packet: &[u8], end: End) -> Result<Option<Ipv6Addr>, Malformed> {
    const ICMPV6: u8 = 58;
    let (header, payload) = packet.split_first_chunk::<{ ipv6::HEADER_LEN }>().ok_or(Malformed::Ipv6)?;
    if header[0] >> 4 != 6 {
        return Err(Malformed::Ipv6);
    }
    let Some((addresses, next)) = header.last_chunk::<32>().map(|addresses| (addresses, header[6])) else {
        unreachable!("the header is longer")
    };
    let (Some(&source), Some(&destination)) = (addresses.first_chunk::<16>(), addresses.last_chunk::<16>())
    else {
        unreachable!("there are two of 16")
    };
    if next == ICMPV6 && source == [0; 16] {
        return solicited(payload);
    }
    Ok(Some(if end == End::Source { source } else { destination }.into()))
}

/// Whose address a message without a source asks for; nobody's, if it does not ask.
#[cold]
fn solicited(message: &[u8]) -> Result<Option<Ipv6Addr>, Malformed> {
    const HEADER_LEN: usize = 8;
    const SOLICITATION: u8 = 135;
    let (header, body) = message.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Neighbor)?;
    if header[0] != SOLICITATION {
        return Ok(None);
    }
    body.first_chunk::<16>().map(|&target| Some(target.into())).ok_or(Malformed::Neighbor)
}

fn of_arp(message: &[u8], end: End) -> Result<Ipv4Addr, Malformed> {
    let message: &[u8; arp::LEN] = message.first_chunk().ok_or(Malformed::Arp)?;
    let [.., a, b, c, d, _, _, _, _, _, _, e, f, g, h] = *message;
    Ok(if end == End::Source { [a, b, c, d] } else { [e, f, g, h] }.into())
}
