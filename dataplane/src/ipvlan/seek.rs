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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: [[u8; 4]; 2] = [[10, 66, 0, 50], [10, 66, 0, 1]];
    const V6: [[u8; 16]; 2] = [[0xfd; 16], [0xfe; 16]];

    fn frame(ether_type: u16, payload: &[u8]) -> Vec<u8> {
        [&[2; 12][..], &ether_type.to_be_bytes(), payload].concat()
    }

    fn ipv4(total: u8, length: usize) -> Vec<u8> {
        let header = [&[0x45, 0, 0, total, 0, 0, 0, 0, 64, 17, 0, 0][..], &V4[0], &V4[1]].concat();
        frame(0x0800, &[&header[..], &[0; 64]].concat()[..length])
    }

    fn ipv6(source: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
        // What it says of its length is wrong, and nobody looks.
        frame(0x86dd, &[&[0x60, 0, 0, 0, 0xff, 0xff, next, 255][..], &source, &V6[1], payload].concat())
    }

    fn ends(frame: &[u8]) -> [Result<Option<IpAddr>, Malformed>; 2] {
        [End::Source, End::Destination].map(|end| address(&Ethernet::view(frame).unwrap(), end))
    }

    #[test]
    fn addresses_are_the_headers() {
        let [v4, v6] = [V4.map(IpAddr::from), V6.map(IpAddr::from)];
        assert_eq!(ends(&ipv4(46, 46)), v4.map(|it| Ok(Some(it))));
        assert_eq!(ends(&ipv4(20, 46)), v4.map(|it| Ok(Some(it))), "padding is not its business");
        assert_eq!(ends(&ipv6(V6[0], 17, &[])), v6.map(|it| Ok(Some(it))));
        // To whom a solicitation with a source goes is in its header.
        assert_eq!(ends(&ipv6(V6[0], 58, &[135, 0, 0, 0])), v6.map(|it| Ok(Some(it))));
        // Hardware, protocol and lengths are whatever they are.
        let arp = [&[9; 14][..], &V4[0], &[9; 6], &V4[1]].concat();
        assert_eq!(ends(&frame(0x0806, &arp)), v4.map(|it| Ok(Some(it))));
        for other in [0x88b5, 0x8100, 0x8035] {
            assert_eq!(ends(&frame(other, &arp)), [Ok(None); 2]);
        }
    }

    #[test]
    fn a_solicitation_without_a_source_is_for_its_target() {
        let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &V6[0]].concat();
        let target = Ok(Some(V6[0].into()));
        assert_eq!(ends(&ipv6([0; 16], 58, &solicitation)), [target; 2]);
        let advertisement = [&[136][..], &solicitation[1..]].concat();
        assert_eq!(ends(&ipv6([0; 16], 58, &advertisement)), [Ok(None); 2]);
        for length in [0, 7, 8, 23] {
            let cut = ipv6([0; 16], 58, &solicitation[..length]);
            assert_eq!(ends(&cut), [Err(Malformed::Neighbor); 2], "{length}");
        }
    }

    #[test]
    fn what_is_cut_short_before_the_address_is_malformed() {
        for cut in [ipv4(46, 45), ipv4(46, 19), ipv4(19, 46), ipv4(46, 0)] {
            assert_eq!(ends(&cut), [Err(Malformed::Ipv4); 2]);
        }
        for (at, byte) in [(14, 0x65), (14, 0x44)] {
            let mut wrong = ipv4(46, 46);
            wrong[at] = byte;
            assert_eq!(ends(&wrong), [Err(Malformed::Ipv4); 2], "{byte:x}");
        }
        let mut wrong = ipv6(V6[0], 17, &[]);
        assert_eq!(ends(&wrong[..53]), [Err(Malformed::Ipv6); 2]);
        wrong[14] = 0x40;
        assert_eq!(ends(&wrong), [Err(Malformed::Ipv6); 2]);
        assert_eq!(ends(&frame(0x0806, &[0; 27])), [Err(Malformed::Arp); 2]);
    }

    proptest! {
        #[test]
        fn noise_is_refused_or_in_bounds(
            ether_type in prop::sample::select(vec![0x0800, 0x0806, 0x86dd, 0x88b5]),
            first in prop::sample::select(vec![0x45u8, 0x4f, 0x60, 0]),
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let [source, destination] = ends(&frame(ether_type, &[&[first][..], &rest].concat()));
            prop_assert_eq!(source.map(|it| it.is_some()), destination.map(|it| it.is_some()));
        }
    }
}
