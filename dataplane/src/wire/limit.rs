//! The tunnel encapsulation limit (RFC 2473 §4.1.1): a destination option of IPv6 that says how many more tunnels a packet may enter.

use super::{IpProtocol, ipv6};

/// The protocol number of a header of destination options (RFC 8200 §4.6).
pub const DESTINATION_OPTIONS: IpProtocol = IpProtocol(60);

/// Bytes of a header with nothing but a limit.
pub const HEADER_LEN: u16 = 8;

const LIMIT: u8 = 4;
const PAD_ONE: u8 = 0;
const PAD: u8 = 1;

/// A header with nothing but a limit, which `next` follows (`init_tel_txopt`, net/ipv6/ip6_tunnel.c).
pub fn header(next: IpProtocol, limit: u8) -> [u8; HEADER_LEN as usize] {
    [next.0, 0, LIMIT, 1, limit, PAD, 1, 0]
}

/// The limit that an IPv6 packet has, and the offset of the option from the packet's start (`ip6_tnl_parse_tlv_enc_lim`).
pub fn find(packet: &[u8]) -> Option<(u32, u8)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const AUTHENTICATION: u8 = 51;
    let (mut next, mut at) = (*packet.get(6)?, ipv6::HEADER_LEN);
    for _ in 0..=ipv6::MAX_EXTENSIONS {
        let &[after, eights, ..] = packet.get(at..)? else { return None };
        let length = match IpProtocol(next) {
            ipv6::FRAGMENT if packet.get(at + 2..at + 4)? != [0, 0] => return None, // of a later one
            ipv6::FRAGMENT => 8,
            IpProtocol(AUTHENTICATION) => (usize::from(eights) + 2) * 4,
            IpProtocol(HOP_BY_HOP | ROUTING) | DESTINATION_OPTIONS => (usize::from(eights) + 1) * 8,
            _ => return None,
        };
        let header = packet.get(at..at + length)?;
        if let Some(found) = (IpProtocol(next) == DESTINATION_OPTIONS).then(|| among(header)).flatten() {
            return Some((u32::try_from(at + found).ok()?, *header.get(found + 2)?));
        }
        (next, at) = (after, at + length);
    }
    None
}

/// Where in a header of options the limit is.
fn among(header: &[u8]) -> Option<usize> {
    let mut at = 2;
    while let &[kind, length, _, ..] = header.get(at..)? {
        match (kind, length) {
            (LIMIT, 1) => return Some(at),
            (PAD_ONE, _) => at += 1,
            _ => at += usize::from(length) + 2,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    fn packet(first: u8, rest: &[&[u8]]) -> Vec<u8> {
        let mut packet = [0; ipv6::HEADER_LEN];
        (packet[0], packet[6]) = (0x60, first);
        [&packet[..], &rest.concat()].concat()
    }

    #[test]
    fn a_limit_is_found_behind_whatever_is_before_it() {
        let limit = header(IpProtocol::UDP, 7);
        for (packet, at) in [
            (packet(60, &[&limit]), 42),
            (packet(0, &[&[60, 0, 1, 4, 0, 0, 0, 0], &limit]), 50),
            (packet(60, &[&[17, 1, 0x1e, 4, 0, 0, 0, 0, 0, 0, 4, 1, 7, 1, 1, 0]]), 50),
            (packet(51, &[&[60, 1], &[9; 10], &limit]), 54),
            (packet(44, &[&[60, 9, 0, 0, 1, 2, 3, 4], &limit]), 50),
        ] {
            assert_eq!(find(&packet), Some((at, 7)), "{packet:02x?}");
            assert_eq!(find(&packet[..packet.len() - 4]), None);
        }
        for other in [
            packet(17, &[&limit]),
            packet(60, &[&[17, 0, 4, 2, 7, 1, 1, 0]]),
            packet(60, &[&[17, 0, 1, 4, 4, 1, 7, 0]]),
            packet(60, &[&[17, 0, 1, 2, 0, 0, 4, 1]]),
            packet(44, &[&[60, 0, 0, 8, 1, 2, 3, 4], &limit]),
            packet(59, &[&limit]),
        ] {
            assert_eq!(find(&other), None, "{other:02x?}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn what_is_found_lies_within_the_packet(first in prop::sample::select(vec![0u8, 43, 44, 51, 60]), rest: Vec<u8>) {
            let packet = packet(first, &[&rest]);
            if let Some((at, limit)) = find(&packet) {
                prop_assert_eq!(&packet[at as usize..][..3], &[4, 1, limit]);
            }
        }
    }
}
