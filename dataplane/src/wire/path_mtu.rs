//! What a tunnel answers to the sender of a bridged frame that is too long for its path (`skb_tunnel_check_pmtu`,
//! net/ipv4/ip_tunnel_core.c): an ICMP or ICMPv6 error in the name of the station that the frame is for, for a bridge has no address.

use super::ethernet::{self, EtherType, Ethernet, HEADER_LEN};
use super::ipv4::{self, Ipv4};
use super::ipv6::{self, Ipv6};
use super::{IpProtocol, icmp, icmpv6};

/// The longest answer: what IPv6 carries anywhere, and the header of its frame.
pub const MAX_LEN: usize = HEADER_LEN + 1280;

/// Writes the answer to `frame` at the start of `out`, and returns its length: a frame back to the sender that says that `mtu` bytes of packet
/// would have gone. `None` if no answer is due: it may be fragmented, or is an error itself, or for or from no single station.
pub fn answer(frame: &[u8], mtu: u16, out: &mut [u8; MAX_LEN]) -> Option<usize> {
    let header = Ethernet::view(frame).ok()?;
    let (start, rest) = out.split_first_chunk_mut::<HEADER_LEN>()?;
    let len = match header.ether_type() {
        EtherType::IPV4 => answer_ipv4(header.payload(), mtu, rest),
        EtherType::IPV6 => answer_ipv6(header.payload(), mtu, rest),
        _ => None,
    }?;
    ethernet::emit(start, header.source(), header.destination(), header.ether_type());
    Some(HEADER_LEN + len)
}

/// `iptunnel_pmtud_check_icmp` and `iptunnel_pmtud_build_icmp`.
fn answer_ipv4(packet: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    const LEAST: u16 = 576;
    const MAX_QUOTE_LEN: usize = 548; // 576 in all
    let ip = Ipv4::view(packet).ok()?;
    let (source, destination) = (ip.source(), ip.destination());
    let has_receiver = !destination.is_broadcast() && !destination.is_multicast();
    let is_nobody = source.is_unspecified() || source.is_loopback();
    let has_sender = !is_nobody && !source.is_broadcast() && !source.is_multicast();
    if mtu < LEAST || !ip.dont_fragment() || ip.is_fragment() || !has_receiver || !has_sender {
        return None;
    }
    if ip.protocol() == IpProtocol::ICMP && ip.payload().first().is_none_or(|kind| icmp::is_error(*kind)) {
        return None;
    }
    let back = ipv4::Header {
        tos: 0,
        identification: 0,
        dont_fragment: true,
        ttl: ip.ttl(),
        protocol: IpProtocol::ICMP,
        source: destination,
        destination: source,
    };
    let quote = packet.get(..packet.len().min(MAX_QUOTE_LEN))?;
    icmp::report_as(back, icmp::Error::FragmentationNeeded { mtu }, quote, out)
}

/// `iptunnel_pmtud_check_icmpv6` and `iptunnel_pmtud_build_icmpv6`, which would also answer what is for a group, from its address.
fn answer_ipv6(packet: &[u8], mtu: u16, out: &mut [u8]) -> Option<usize> {
    const LEAST: u16 = 1280;
    const MAX_QUOTE_LEN: usize = 1232; // 1280 in all
    let ip = Ipv6::view(packet).ok()?;
    let error = icmpv6::Error::PacketTooBig { mtu: mtu.into() };
    let is_to_group = ip.destination().is_multicast();
    if mtu < LEAST || is_to_group || icmpv6::may_report(error, &ip, false).is_err() || is_later_fragment(&ip)
    {
        return None;
    }
    let back = ipv6::Header {
        traffic_class: 0,
        hop_limit: ip.hop_limit(),
        next_header: IpProtocol::ICMPV6,
        source: ip.destination(),
        destination: ip.source(),
    };
    let quote = packet.get(..packet.len().min(MAX_QUOTE_LEN))?;
    icmpv6::report_as(back, error, quote, out)
}

fn is_later_fragment(ip: &Ipv6<'_>) -> bool {
    let fragment = ip.upper_layer().ok().filter(|(protocol, _)| *protocol == ipv6::FRAGMENT);
    fragment.is_some_and(|(_, header)| !matches!(header, [_, _, 0, 0..8, ..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::icmpv4::DestUnreachableHeader;
    use etherparse::{Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header};
    use proptest::prelude::*;

    const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn v4(
        addresses: [[u8; 4]; 2],
        protocol: u8,
        payload: &[u8],
        change: impl FnOnce(&mut Ipv4Header),
    ) -> Vec<u8> {
        let mut header = Ipv4Header::new(0, 63, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
        header.dont_fragment = true;
        header.set_payload_len(payload.len()).unwrap();
        change(&mut header);
        header.header_checksum = header.calc_header_checksum();
        [&ETHERNET[..], &[8, 0], &header.to_bytes(), payload].concat()
    }

    fn v6(addresses: [[u8; 16]; 2], protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            payload_length: u16::try_from(payload.len()).unwrap(),
            next_header: IpNumber(protocol),
            hop_limit: 63,
            source: addresses[0],
            destination: addresses[1],
            ..Default::default()
        };
        [&ETHERNET[..], &[0x86, 0xdd], &header.to_bytes(), payload].concat()
    }

    fn answer_to(frame: &[u8], mtu: u16) -> Option<Vec<u8>> {
        let mut out = [0xa5; MAX_LEN];
        answer(frame, mtu, &mut out).map(|len| out[..len].to_vec())
    }

    const ONE: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const OTHER: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn answers_are_in_the_name_of_the_receiver(mtu in 1280..1500u16, len in 1400..3000usize, protocol in 2..58u8) {
            let payload = vec![7; len];
            let about = v4([[10, 0, 0, 1], [10, 0, 0, 2]], protocol, &payload, |_| ());
            let found = answer_to(&about, mtu).unwrap();
            prop_assert_eq!(&found[..14], &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
            let (ip, rest) = Ipv4Header::from_slice(&found[14..]).unwrap();
            prop_assert_eq!((found.len(), usize::from(ip.total_len)), (14 + 576, 576));
            prop_assert_eq!((ip.source, ip.destination), ([10, 0, 0, 2], [10, 0, 0, 1]));
            prop_assert_eq!((ip.time_to_live, ip.identification, ip.dont_fragment), (63, 0, true));
            prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            let icmp = Icmpv4Slice::from_slice(rest).unwrap();
            let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
            prop_assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(needed));
            prop_assert_eq!(icmp.payload(), &about[14..14 + 548]);
            prop_assert_eq!(icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()));

            let about = v6([ONE, OTHER], protocol.min(40), &payload);
            let found = answer_to(&about, mtu);
            // Some of these protocols are extension headers, behind which nothing can be read here.
            if let Some(found) = found {
                prop_assert_eq!(&found[..14], &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
                let (ip, rest) = Ipv6Header::from_slice(&found[14..]).unwrap();
                prop_assert_eq!((found.len(), usize::from(ip.payload_length)), (14 + 1280, 1240));
                prop_assert_eq!((ip.source, ip.destination, ip.hop_limit), (OTHER, ONE, 63));
                let icmp = Icmpv6Slice::from_slice(rest).unwrap();
                prop_assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: mtu.into() });
                prop_assert!(icmp.is_checksum_valid(OTHER, ONE));
                prop_assert_eq!(icmp.payload(), &about[14..14 + 1232]);
            }
        }

        #[test]
        fn noise_is_never_answered_with_more_than_there_is_room_for(bytes: Vec<u8>, mtu: u16) {
            let frame = [&ETHERNET[..], &[8, 0, 0x45], &bytes].concat();
            prop_assert!(answer_to(&frame, mtu).is_none_or(|found| found.len() <= MAX_LEN));
            prop_assert_eq!(answer_to(&bytes[..bytes.len().min(13)], mtu), None);
        }
    }

    #[test]
    fn what_may_be_fragmented_is_an_error_or_is_for_or_from_no_one_is_not_answered() {
        let payload = [8; 1400];
        let pair = [[10, 0, 0, 1], [10, 0, 0, 2]];
        assert!(answer_to(&v4(pair, 17, &payload, |_| ()), 1300).is_some());
        assert!(answer_to(&v4(pair, 1, &payload, |_| ()), 1300).is_some(), "echo requests are no errors");
        let error = [3; 1400];
        let group = [224, 0, 0, 1];
        for (frame, mtu) in [
            (v4(pair, 17, &payload, |_| ()), 575),
            (v4(pair, 17, &payload, |ip| ip.dont_fragment = false), 1300),
            (v4(pair, 17, &payload, |ip| ip.more_fragments = true), 1300),
            (v4([pair[0], group], 17, &payload, |_| ()), 1300),
            (v4([pair[0], [255; 4]], 17, &payload, |_| ()), 1300),
            (v4([[0; 4], pair[1]], 17, &payload, |_| ()), 1300),
            (v4([[127, 0, 0, 1], pair[1]], 17, &payload, |_| ()), 1300),
            (v4([group, pair[1]], 17, &payload, |_| ()), 1300),
            (v4(pair, 1, &error, |_| ()), 1300),
            (v6([ONE, OTHER], 17, &payload), 1279),
            (v6([[0; 16], OTHER], 17, &payload), 1300),
            (v6([ONE, [0xff; 16]], 17, &payload), 1300),
            (v6([ONE, OTHER], 58, &error), 1300),
            ([&ETHERNET[..], &[8, 6], &payload].concat(), 1300),
        ] {
            assert_eq!(answer_to(&frame, mtu), None, "{:x?}", &frame[..54]);
        }
    }
}
