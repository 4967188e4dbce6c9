//! What forwarding refuses of a packet, and what it changes in one (RFC 1812 §5.2, §5.3; RFC 8200 §3).
//!
//! Where RFC 1812 and the kernel differ, the kernel's rule holds: 0.1.0.0 to 0.255.255.255 and 240.0.0.0/4 are addresses like
//! others.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::{self, Sum};
use super::ipv4::{self, Ipv4};
use super::ipv6::{self, Ipv6};
use super::{IpProtocol, Malformed, ethernet, put_u16, u16_at};

/// Why a router takes a packet for invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The header is no header.
    #[error(transparent)]
    Header(#[from] Malformed),
    /// The checksum of the header is wrong (RFC 1812 §5.2.2).
    #[error("IPv4 header checksum wrong")]
    Checksum,
    /// It asks to be routed by its source, which is off (`net.ipv4.conf.all.accept_source_route`).
    #[error("IPv4 source route")]
    SourceRoute,
    /// An option is cut short.
    #[error("IPv4 option cut short")]
    Option {
        /// Its offset in the header, for an ICMP parameter problem.
        pointer: u8,
    },
    /// Nobody can have sent it from there (RFC 1812 §5.3.7).
    #[error("martian source")]
    MartianSource,
    /// It can be for nobody on a link (RFC 1812 §5.3.7).
    #[error("martian destination")]
    MartianDestination,
}

/// The IPv4 packet at the start of `bytes`, if it is one that a router deals with: header, checksum, addresses and options are
/// right. Of its options only source routes are acted on, by refusal; routes and times are not recorded.
///
/// # Errors
/// What is wrong first.
#[inline(always)]
pub fn accept_ipv4(bytes: &[u8]) -> Result<Ipv4<'_>, Refused> {
    let packet = Ipv4::view(bytes)?;
    if !packet.is_intact() {
        return Err(Refused::Checksum);
    }
    let [source, destination] = [packet.source(), packet.destination()].map(|address| address.octets()[0]);
    if !is_plain(source) || !is_plain(destination) {
        check_ipv4_addresses(packet.source(), packet.destination(), packet.protocol())?;
    }
    if !packet.options().is_empty() {
        check_options(packet.options())?;
    }
    Ok(packet)
}

/// What a router goes by of an IPv4 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plain {
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// Bytes in all, header and payload.
    pub total_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// Whether it may not be fragmented.
    pub dont_fragment: bool,
}

impl From<&Ipv4<'_>> for Plain {
    #[inline]
    fn from(packet: &Ipv4<'_>) -> Self {
        let (destination, total_len) = (packet.destination(), packet.total_len());
        Self { destination, total_len, ttl: packet.ttl(), dont_fragment: packet.dont_fragment() }
    }
}

/// Reads a frame of an IPv4 packet like most in one look: no tag, no options, and one that [`accept_ipv4`] takes, between addresses that are no group's.
/// `None` for all others, of which that says nothing.
#[inline(always)]
pub fn plain_ipv4(frame: &[u8]) -> Option<Plain> {
    const IP: usize = ethernet::HEADER_LEN;
    /// EtherType, version, and a header of five words; type of service is not looked at.
    const START: u32 = u32::from_be_bytes([0x08, 0x00, 0x45, 0]);
    let headers: &[u8; IP + ipv4::HEADER_LEN] = frame.first_chunk()?;
    let header: &[u8; ipv4::HEADER_LEN] = headers.last_chunk()?;
    let total_len = u16::from_be_bytes([header[2], header[3]]);
    let fits = (ipv4::HEADER_LEN..=frame.len() - IP).contains(&usize::from(total_len));
    if u32::from_be_bytes([headers[12], headers[13], headers[14], 0]) != START || !fits {
        return None;
    }
    let [.., source, _, _, _, d0, d1, d2, d3] = *header;
    if !is_plain(source) || !is_plain(d0) || !ipv4::is_intact(header) {
        return None;
    }
    let destination = Ipv4Addr::new(d0, d1, d2, d3);
    let dont_fragment = u16::from_be_bytes([header[6], header[7]]) & ipv4::DONT_FRAGMENT != 0;
    Some(Plain { destination, total_len, ttl: header[8], dont_fragment })
}

/// Whether an address with this first octet is one like most, that nothing is to be said against: not in 0.0.0.0/8, 127.0.0.0/8 or 224.0.0.0/3.
#[inline]
fn is_plain(first: u8) -> bool {
    (1..224).contains(&first) && first != 127
}

/// As `ip_route_input_slow` and, for groups, `ip_mc_validate_source` have it on a device that is not the loopback device.
#[cold]
fn check_ipv4_addresses(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpProtocol,
) -> Result<(), Refused> {
    if source.is_multicast() || source.is_broadcast() {
        return Err(Refused::MartianSource);
    }
    let is_to_us = if destination.is_multicast() {
        // Hosts that have no address yet say so on their link, or to routers.
        destination.octets()[..3] == [224, 0, 0] || protocol == IpProtocol::IGMP
    } else {
        destination.is_broadcast() || destination.is_unspecified()
    };
    if source.is_unspecified() && !is_to_us {
        return Err(Refused::MartianSource);
    }
    if destination.is_unspecified() && !source.is_unspecified() || destination.is_loopback() {
        return Err(Refused::MartianDestination);
    }
    if source.is_loopback() {
        return Err(Refused::MartianSource);
    }
    Ok(())
}

#[cold]
fn check_options(bytes: &[u8]) -> Result<(), Refused> {
    for (offset, option) in ipv4::options(bytes) {
        // A header has 60 bytes at most.
        #[expect(clippy::cast_possible_truncation, reason = "below 60")]
        let pointer = (ipv4::HEADER_LEN + offset) as u8;
        let option = option.ok_or(Refused::Option { pointer })?;
        if matches!(option[0], ipv4::LOOSE_SOURCE_ROUTE | ipv4::STRICT_SOURCE_ROUTE) {
            return Err(Refused::SourceRoute);
        }
    }
    Ok(())
}

/// The IPv6 packet at the start of `bytes`, if it is one that a node deals with: header and addresses are right, as
/// `ip6_rcv_core` has it on a device that is not the loopback device.
///
/// # Errors
/// What is wrong first.
#[inline(always)]
pub fn accept_ipv6(bytes: &[u8]) -> Result<Ipv6<'_>, Refused> {
    let packet = Ipv6::view(bytes)?;
    let (source, destination) = (packet.source(), packet.destination());
    if source.is_multicast() || source.is_loopback() {
        return Err(Refused::MartianSource);
    }
    // Scopes 0, reserved, and 1, within a node (RFC 4291 §2.7 and erratum 3480).
    let leaves_no_node = destination.is_multicast() && destination.octets()[1] & 0xf <= 1;
    if destination.is_loopback() || leaves_no_node {
        return Err(Refused::MartianDestination);
    }
    Ok(packet)
}

/// Why an IPv6 packet that is not for us goes to no other link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confined {
    /// It comes from the unspecified address: its sender has none yet (RFC 4291 §2.5.2).
    Unspecified,
    /// It is for a link-local address, which is none on another link.
    LinkLocalDestination,
    /// It comes from a link-local address, which means nothing elsewhere (RFC 4291 §2.5.6). The sender is told that this is
    /// beyond the scope of its address.
    LinkLocalSource,
}

/// Whether addresses allow that a packet is forwarded to another link than it came from (`ip6_forward`).
///
/// # Errors
/// Why not.
#[inline]
pub fn may_forward_ipv6(source: Ipv6Addr, destination: Ipv6Addr) -> Result<(), Confined> {
    if source.is_unspecified() {
        return Err(Confined::Unspecified);
    }
    if destination.is_unicast_link_local() {
        return Err(Confined::LinkLocalDestination);
    }
    if source.is_unicast_link_local() {
        return Err(Confined::LinkLocalSource);
    }
    Ok(())
}

/// A packet has passed as many routers as it may: its sender is to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expired;

/// Takes one from the time to live of the IPv4 packet at the start of `bytes`, and sees to its checksum (RFC 1624).
///
/// # Errors
/// If nothing would be left, or no header is there; nothing is changed.
#[inline]
pub fn decrement_ttl(bytes: &mut [u8]) -> Result<(), Expired> {
    const TTL: usize = 8;
    let header: &mut [u8; ipv4::HEADER_LEN] = bytes.first_chunk_mut().ok_or(Expired)?;
    let ttl = header[TTL];
    if ttl <= 1 {
        return Err(Expired);
    }
    // The word that it is the high half of is less by 0x0100: the checksum is more by as much.
    let (sum, carry) = u16::from_be_bytes([header[10], header[11]]).overflowing_add(0x0100);
    let checksum = sum.wrapping_add(u16::from(carry || sum == u16::MAX));
    header[TTL] = ttl - 1;
    [header[10], header[11]] = checksum.to_be_bytes();
    Ok(())
}

/// Takes one from the hop limit of the IPv6 packet at the start of `bytes`.
///
/// # Errors
/// If nothing would be left, or no header is there; nothing is changed.
#[inline]
pub fn decrement_hop_limit(bytes: &mut [u8]) -> Result<(), Expired> {
    const HOP_LIMIT: usize = 7;
    let header: &mut [u8; ipv6::HEADER_LEN] = bytes.first_chunk_mut().ok_or(Expired)?;
    if header[HOP_LIMIT] <= 1 {
        return Err(Expired);
    }
    header[HOP_LIMIT] -= 1;
    Ok(())
}

/// Sets the type of service of the IPv4 packet at the start of `bytes`, and sees to its checksum. `None`, and nothing done, if no
/// header is there.
pub(super) fn set_tos(bytes: &mut [u8], tos: u8) -> Option<()> {
    const TOS: usize = 1;
    let header: &mut [u8; ipv4::HEADER_LEN] = bytes.first_chunk_mut()?;
    let old = u16_at(header, ipv4::CHECKSUM_OFFSET)?;
    let checksum = checksum::updated(old, Sum::of(&[0, header[TOS]]), Sum::of(&[0, tos]));
    header[TOS] = tos;
    put_u16(header, ipv4::CHECKSUM_OFFSET, checksum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
    use proptest::prelude::*;

    fn v4(source: &str, destination: &str, protocol: u8, options: &[u8]) -> Vec<u8> {
        let [source, destination] =
            [source, destination].map(|text| text.parse::<Ipv4Addr>().unwrap().octets());
        let mut header = Ipv4Header::new(0, 64, IpNumber(protocol), source, destination).unwrap();
        header.options = options.try_into().unwrap();
        header.set_payload_len(0).unwrap();
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().to_vec()
    }

    fn v6(source: &str, destination: &str) -> Vec<u8> {
        let [source, destination] =
            [source, destination].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
        Ipv6Header { source, destination, hop_limit: 64, ..Default::default() }.to_bytes().to_vec()
    }

    proptest! {
        #![proptest_config(samples::config())]

        /// Whatever is read in one look is what a closer one accepts; and what most packets are is read in one.
        #[test]
        fn what_is_plain_is_acceptable(
            addresses in any::<[[u8; 4]; 2]>(),
            (ttl, dont_fragment, tos) in any::<(u8, bool, u8)>(),
            payload in prop::collection::vec(any::<u8>(), 0..60),
            (spoilt, by) in (0..54usize, prop::option::of(any::<u8>())),
            cut in 0..40usize,
        ) {
            let mut header = Ipv4Header::new(0, ttl, IpNumber::UDP, addresses[0], addresses[1]).unwrap();
            header.set_payload_len(payload.len()).unwrap();
            (header.dont_fragment, header.dscp) = (dont_fragment, (tos >> 2).try_into().unwrap());
            header.header_checksum = header.calc_header_checksum();
            let mut frame = [&[2; 12][..], &[8, 0], &header.to_bytes(), &payload].concat();
            if let (Some(by), Some(byte)) = (by, frame.get_mut(spoilt)) {
                *byte ^= by;
            } else {
                frame.truncate(frame.len() - cut.min(payload.len()));
            }
            let accepted = accept_ipv4(&frame[14..]);
            let plain = plain_ipv4(&frame);
            if let Some(plain) = plain {
                let packet = accepted.unwrap();
                prop_assert_eq!(plain, Plain::from(&packet));
                prop_assert_eq!(&frame[12..14], [8, 0]);
            }
            let is_whole = by.is_none_or(|by| by == 0 || spoilt < 12) && cut == 0;
            let is_usual = addresses.iter().all(|address| (1..224).contains(&address[0]) && address[0] != 127);
            prop_assert!(plain.is_some() || !is_whole || !is_usual);
        }
    }

    /// `ip_route_input_slow` line by line, and `ip_mc_validate_source`.
    #[test]
    fn ipv4_martians_are_refused() {
        use Refused::{MartianDestination as Destination, MartianSource as Source};
        const UDP: u8 = 17;
        const IGMP: u8 = 2;
        for (source, destination, protocol, expected) in [
            ("10.0.0.1", "10.1.0.1", UDP, None),
            ("224.0.0.1", "10.1.0.1", UDP, Some(Source)),
            ("255.255.255.255", "10.1.0.1", UDP, Some(Source)),
            ("10.0.0.1", "255.255.255.255", UDP, None),
            ("0.0.0.0", "255.255.255.255", UDP, None),
            ("127.0.0.1", "255.255.255.255", UDP, Some(Source)),
            ("0.0.0.0", "0.0.0.0", UDP, None),
            ("0.0.0.0", "10.1.0.1", UDP, Some(Source)),
            ("10.0.0.1", "0.0.0.0", UDP, Some(Destination)),
            ("10.0.0.1", "127.0.0.1", UDP, Some(Destination)),
            ("127.0.0.1", "127.0.0.2", UDP, Some(Destination)),
            ("127.1.2.3", "10.1.0.1", UDP, Some(Source)),
            // Since 5.3 only zero itself is no address; class E never was refused.
            ("0.0.0.1", "10.1.0.1", UDP, None),
            ("10.0.0.1", "0.1.2.3", UDP, None),
            ("240.0.0.1", "250.0.0.1", UDP, None),
            ("10.0.0.1", "224.0.0.5", UDP, None),
            ("10.0.0.1", "239.1.1.1", UDP, None),
            ("127.0.0.1", "224.0.0.5", UDP, Some(Source)),
            ("224.0.0.9", "224.0.0.5", UDP, Some(Source)),
            ("0.0.0.0", "224.0.0.22", UDP, None),
            ("0.0.0.0", "239.1.1.1", UDP, Some(Source)),
            ("0.0.0.0", "239.1.1.1", IGMP, None),
        ] {
            let bytes = v4(source, destination, protocol, &[]);
            assert_eq!(accept_ipv4(&bytes).err(), expected, "{source} to {destination}, protocol {protocol}");
        }
    }

    /// `ip6_rcv_core`, then `ip6_forward`.
    #[test]
    fn ipv6_martians_are_refused() {
        use Refused::{MartianDestination as Destination, MartianSource as Source};
        for (source, destination, expected) in [
            ("2001:db8::1", "2001:db8:1::1", None),
            ("::", "ff02::16", None),
            ("::1", "2001:db8:1::1", Some(Source)),
            ("2001:db8::1", "::1", Some(Destination)),
            ("ff02::1", "2001:db8:1::1", Some(Source)),
            // An IPv4 address in disguise is for hosts to refuse: the kernel forwards it.
            ("::ffff:10.0.0.1", "2001:db8:1::1", None),
            ("2001:db8::1", "ff00::1", Some(Destination)),
            ("2001:db8::1", "ff01::1", Some(Destination)),
            ("2001:db8::1", "ff11::1", Some(Destination)),
            ("2001:db8::1", "ff0e::1", None),
            ("fe80::1", "fe80::2", None),
        ] {
            let bytes = v6(source, destination);
            assert_eq!(accept_ipv6(&bytes).err(), expected, "{source} to {destination}");
        }
        for (source, destination, expected) in [
            ("2001:db8::1", "2001:db8:1::1", None),
            ("::", "2001:db8:1::1", Some(Confined::Unspecified)),
            ("fe80::1", "2001:db8:1::1", Some(Confined::LinkLocalSource)),
            ("2001:db8::1", "fe80::1", Some(Confined::LinkLocalDestination)),
            ("fe80::2", "fe80::1", Some(Confined::LinkLocalDestination)),
        ] {
            let [from, to] = [source, destination].map(|text| text.parse().unwrap());
            assert_eq!(may_forward_ipv6(from, to).err(), expected, "{source} to {destination}");
        }
    }

    #[test]
    fn options_are_refused_that_route_or_are_cut_short() {
        for (options, expected) in [
            (&[1, 1, 1, 0][..], None),
            (&[148, 4, 0, 0], None),
            (&[7, 7, 4, 0, 0, 0, 0, 0], None),
            (&[0, 131, 3, 4], None),
            (&[131, 3, 4, 0], Some(Refused::SourceRoute)),
            (&[1, 148, 4, 0, 0, 137, 3, 4], Some(Refused::SourceRoute)),
            (&[148, 0, 0, 0], Some(Refused::Option { pointer: 20 })),
            (&[1, 148, 1, 0], Some(Refused::Option { pointer: 21 })),
            (&[1, 1, 148, 3], Some(Refused::Option { pointer: 22 })),
            (&[1, 1, 1, 148], Some(Refused::Option { pointer: 23 })),
        ] {
            let bytes = v4("10.0.0.1", "10.0.0.2", 17, options);
            assert_eq!(accept_ipv4(&bytes).err(), expected, "{options:?}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        /// RFC 1812 §5.2.2: a bit that is wrong anywhere in the header is found out.
        #[test]
        fn broken_ipv4_headers_are_refused(options in prop::collection::vec(any::<[u8; 4]>(), 0..=10), at: prop::sample::Index, bit in 0..8u8) {
            let options: Vec<_> = options.iter().map(|_| [1; 4]).collect();
            let mut bytes = v4("10.0.0.1", "10.1.0.1", 17, options.as_flattened());
            prop_assert_eq!(accept_ipv4(&bytes).err(), None);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let refused = accept_ipv4(&bytes).err();
            prop_assert!(matches!(refused, Some(Refused::Checksum | Refused::Header(Malformed::Ipv4))));
            prop_assert!(accept_ipv4(&bytes[..19]).is_err());
        }

        #[test]
        fn decremented_ttl_has_the_checksum_of_a_full_computation(
            ttl: u8,
            identification: u16,
            addresses: [[u8; 4]; 2],
            protocol: u8,
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            tos: u8,
        ) {
            let mut header = Ipv4Header::new(0, ttl, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
            header.identification = identification;
            header.options = options.as_flattened().try_into().unwrap();
            header.header_checksum = header.calc_header_checksum();
            let mut bytes = header.to_bytes().to_vec();
            let before = bytes.clone();
            let outcome = decrement_ttl(&mut bytes);
            prop_assert_eq!(outcome.is_err(), ttl <= 1);
            if outcome.is_err() {
                prop_assert_eq!(&bytes, &before);
            } else {
                header.time_to_live -= 1;
                header.header_checksum = header.calc_header_checksum();
                prop_assert_eq!(&bytes, &header.to_bytes().to_vec());
            }
            set_tos(&mut bytes, tos).unwrap();
            (header.dscp, header.ecn) = ((tos >> 2).try_into().unwrap(), (tos & 3).try_into().unwrap());
            header.header_checksum = header.calc_header_checksum();
            prop_assert_eq!(bytes, header.to_bytes().to_vec());
        }

        #[test]
        fn decremented_hop_limit_changes_nothing_else(hop_limit: u8, addresses: [[u8; 16]; 2], cut in 0..40usize) {
            let mut header = Ipv6Header { hop_limit, source: addresses[0], destination: addresses[1], ..Default::default() };
            let mut bytes = header.to_bytes().to_vec();
            prop_assert_eq!(decrement_hop_limit(&mut bytes[..cut]), Err(Expired));
            prop_assert_eq!(decrement_hop_limit(&mut bytes).is_err(), hop_limit <= 1);
            header.hop_limit -= u8::from(hop_limit > 1);
            prop_assert_eq!(bytes, header.to_bytes().to_vec());
        }
    }
}
