//! The headers that a tunnel puts in front of what it sends to one far end, ready but for what differs from packet to packet.

use std::net::IpAddr;

use super::checksum::Sum;
use super::ethernet::{self, EtherType};
use super::ipv4::Ipv4;
use super::tunnel::Inner;
use super::{IpProtocol, ipv4, ipv6};
use crate::ids::MacAddr;

/// Where the IP header begins.
const IP: usize = ethernet::HEADER_LEN;
/// Where an IPv4 header without options ends.
const IPV4_END: usize = IP + ipv4::HEADER_LEN;
/// Where an IPv6 header ends.
const IPV6_END: usize = IP + ipv6::HEADER_LEN;

/// An Ethernet and an IP header, and what follows them before the packet itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterHeader {
    bytes: [u8; Self::LONGEST],
    length: u8,
    is_ipv4: bool,
    sum: Sum, // of those words of an IPv4 header that are always the same
}

impl OuterHeader {
    /// Bytes that may follow the IP header: UDP's header and eight more.
    pub const LONGEST_TAIL: usize = 16;
    /// Bytes in the longest.
    pub const LONGEST: usize = IPV6_END + Self::LONGEST_TAIL;

    /// From `local` to `remote`, addresses of one version; `tail` follows the IP header. What goes around it is not known yet, nor are stations.
    ///
    /// # Panics
    /// If the addresses are of different versions, or the tail is too long: whoever compiled them has not looked.
    pub fn new(local: IpAddr, remote: IpAddr, tail: &[u8]) -> Self {
        let protocol = IpProtocol(0);
        let mut bytes = [0; Self::LONGEST];
        let end = match (local, remote) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (tos, identification, dont_fragment, ttl) = (0, 0, false, 0);
                let header =
                    ipv4::Header { tos, identification, dont_fragment, ttl, protocol, source, destination };
                header.emit(&mut bytes[IP..IPV4_END]).expect("it has the room of a header");
                bytes[IP + 2..IP + 4].fill(0); // its length is the packet's
                bytes[IP + 10..IP + 12].fill(0);
                IPV4_END
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let (traffic_class, hop_limit) = (0, 0);
                let header =
                    ipv6::Header { traffic_class, hop_limit, next_header: protocol, source, destination };
                header.emit(&mut bytes[IP..IPV6_END]).expect("it has the room of a header");
                IPV6_END
            }
            _ => panic!("a tunnel from {local} to {remote}"),
        };
        let ether_type = if local.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
        bytes[ethernet::ADDRESSES_LEN..IP].copy_from_slice(&ether_type.0.to_be_bytes());
        bytes[end..end + tail.len()].copy_from_slice(tail);
        let sum = Sum::of(&bytes[IP..IPV4_END]);
        let length = u8::try_from(end + tail.len()).expect("a tail is short");
        Self { bytes, length, is_ipv4: local.is_ipv4(), sum }
    }

    /// The same in frames to `destination` from `source`.
    #[must_use]
    pub fn between(mut self, destination: MacAddr, source: MacAddr) -> Self {
        self.bytes[..6].copy_from_slice(&destination.octets());
        self.bytes[6..12].copy_from_slice(&source.octets());
        self
    }

    /// The same with this flow label; without one for IPv4, which has none.
    #[must_use]
    pub fn labelled(mut self, label: u32) -> Self {
        if !self.is_ipv4 {
            put_label(&mut self.bytes, label);
        }
        self
    }

    /// Bytes that it takes.
    #[inline]
    pub fn len(&self) -> u16 {
        self.length.into()
    }

    /// Never: there is always an Ethernet header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether it leads to a group.
    #[inline]
    pub fn is_to_group(&self) -> bool {
        self.bytes[0] & 1 == 1
    }

    /// Bytes that it adds to a packet.
    pub fn overhead(&self) -> u32 {
        const ETHERNET: u32 = 14;
        u32::from(self.length) - ETHERNET
    }

    /// Where what follows the IP header begins.
    #[inline]
    pub fn tail_start(&self) -> usize {
        if self.is_ipv4 { IPV4_END } else { IPV6_END }
    }

    /// The address that it leads to.
    pub fn remote(&self) -> IpAddr {
        if self.is_ipv4 { self.ipv4_at(IPV4_END - 4) } else { self.ipv6_at(IPV6_END - 16) }
    }

    /// The address that it comes from.
    pub fn local(&self) -> IpAddr {
        if self.is_ipv4 { self.ipv4_at(IPV4_END - 8) } else { self.ipv6_at(IPV6_END - 32) }
    }

    fn ipv4_at(&self, offset: usize) -> IpAddr {
        self.bytes[offset..].first_chunk::<4>().copied().unwrap_or_default().into()
    }

    fn ipv6_at(&self, offset: usize) -> IpAddr {
        self.bytes[offset..].first_chunk::<16>().copied().unwrap_or_default().into()
    }

    /// Whether a packet with this header, at the start of `frame`, may be fragmented on its way, and here.
    pub fn may_fragment(&self, frame: &[u8]) -> bool {
        let packet = Ipv4::view(frame.get(IP..).unwrap_or_default());
        self.is_ipv4 && packet.is_ok_and(|packet| !packet.dont_fragment())
    }

    /// Writes it at the start of `frame`, whose rest is what it goes around: `protocol`. An identification is IPv4's only. What follows the IP header, or
    /// `None` if the packet would be longer than a packet can be, or the frame is shorter than this.
    #[inline(always)]
    pub fn write<'f>(
        &self,
        frame: &'f mut [u8],
        protocol: IpProtocol,
        fields: Inner,
        identification: u16,
    ) -> Option<&'f mut [u8]> {
        let length = frame.len();
        let (start, rest) = frame.split_first_chunk_mut::<IPV4_END>()?;
        *start = *self.bytes.first_chunk()?;
        let tail_start = if self.is_ipv4 {
            let total = u16::try_from(length - IP).ok()?;
            let fragment = if fields.dont_fragment { ipv4::DONT_FRAGMENT } else { 0 };
            let ttl_and_protocol = u16::from_be_bytes([fields.ttl, protocol.0]);
            let sum = self.sum + [fields.tos.into(), total, identification, fragment, ttl_and_protocol];
            start[IP + 1] = fields.tos;
            start[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
            start[IP + 4..IP + 6].copy_from_slice(&identification.to_be_bytes());
            start[IP + 6..IP + 8].copy_from_slice(&fragment.to_be_bytes());
            (start[IP + 8], start[IP + 9]) = (fields.ttl, protocol.0);
            start[IP + 10..IP + 12].copy_from_slice(&sum.checksum().to_be_bytes());
            0
        } else {
            let payload = u16::try_from(length.checked_sub(IPV6_END)?).ok()?;
            start[IP] |= fields.tos >> 4;
            start[IP + 1] |= fields.tos << 4;
            start[IP + 4..IP + 6].copy_from_slice(&payload.to_be_bytes());
            (start[IP + 6], start[IP + 7]) = (protocol.0, fields.ttl);
            IPV6_END - IPV4_END
        };
        let more = usize::from(self.length) - IPV4_END;
        if more == Self::LONGEST_TAIL {
            // In one piece, as its length is known.
            *rest.first_chunk_mut::<{ Self::LONGEST_TAIL }>()? = *self.bytes[IPV4_END..].first_chunk()?;
        } else if more > 0 {
            rest.get_mut(..more)?.copy_from_slice(self.bytes.get(IPV4_END..usize::from(self.length))?);
        }
        rest.get_mut(tail_start..)
    }
}

/// Writes the flow label of the IPv6 packet in a frame.
pub(crate) fn put_label(frame: &mut [u8], label: u32) {
    if let Some([_, start, rest @ ..]) = frame.get_mut(IP..IP + 4) {
        let [_, high, low @ ..] = label.to_be_bytes();
        *start = *start & 0xf0 | high & 0xf;
        rest.copy_from_slice(&low);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Ethernet;
    use crate::wire::ipv6::Ipv6;
    use crate::wire::samples;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn what_is_written_is_a_right_header_around_what_was_there(
            addresses in any::<[[u8; 4]; 2]>(),
            (tos, ttl, dont_fragment) in any::<(u8, u8, bool)>(),
            identification in any::<u16>(),
            tail in prop::collection::vec(any::<u8>(), 0..=OuterHeader::LONGEST_TAIL),
            payload in prop::collection::vec(any::<u8>(), 0..100),
            stations in any::<[u64; 2]>(),
            label in 0..1u32 << 20,
        ) {
            let fields = Inner { tos, ttl, dont_fragment };
            let [source, destination] = addresses.map(std::net::Ipv4Addr::from);
            let stations = stations.map(MacAddr::from_bits);
            let header = OuterHeader::new(source.into(), destination.into(), &tail).between(stations[0], stations[1]);
            prop_assert_eq!((header.local(), header.remote()), (IpAddr::from(source), IpAddr::from(destination)));
            let mut frame = vec![0xa5; usize::from(header.len())];
            frame.extend(&payload);
            header.write(&mut frame, IpProtocol::IPV4, fields, identification).unwrap();
            prop_assert_eq!(header.may_fragment(&frame), !dont_fragment);
            let ethernet = Ethernet::view(&frame).unwrap();
            prop_assert_eq!((ethernet.destination(), ethernet.source(), ethernet.ether_type()), (stations[0], stations[1], EtherType::IPV4));
            let packet = Ipv4::view(ethernet.payload()).unwrap();
            prop_assert!(packet.is_intact());
            prop_assert_eq!((packet.source(), packet.destination(), packet.protocol()), (source, destination, IpProtocol::IPV4));
            prop_assert_eq!(Inner::from(&packet), fields);
            prop_assert_eq!(packet.payload(), [&tail[..], &payload].concat());
            prop_assert_eq!(&frame[18..20], identification.to_be_bytes());
            prop_assert_eq!(header.overhead() as usize, 20 + tail.len());

            let [source, destination] = [source, destination].map(|address| address.to_ipv6_mapped());
            prop_assert_eq!(header.labelled(label), header, "it has none");
            let header = OuterHeader::new(source.into(), destination.into(), &tail).labelled(label);
            prop_assert_eq!((header.local(), header.remote()), (IpAddr::from(source), IpAddr::from(destination)));
            let mut frame = vec![0xa5; usize::from(header.len())];
            frame.extend(&payload);
            header.write(&mut frame, IpProtocol::IPV6, fields, identification).unwrap();
            prop_assert!(!header.may_fragment(&frame));
            let ethernet = Ethernet::view(&frame).unwrap();
            prop_assert_eq!(ethernet.ether_type(), EtherType::IPV6);
            let packet = Ipv6::view(ethernet.payload()).unwrap();
            prop_assert_eq!((packet.source(), packet.destination(), packet.next_header()), (source, destination, IpProtocol::IPV6));
            prop_assert_eq!((packet.traffic_class(), packet.hop_limit(), packet.flow_label()), (tos, ttl, label));
            prop_assert_eq!(packet.payload(), [&tail[..], &payload].concat());
        }
    }

    #[test]
    fn nothing_is_written_around_what_is_too_long_or_into_what_is_too_short() {
        let address = |text: &str| text.parse().unwrap();
        let fields = Inner { tos: 0, ttl: 1, dont_fragment: false };
        let ipv4 = OuterHeader::new(address("192.0.2.1"), address("192.0.2.2"), &[]);
        let ipv6 = OuterHeader::new(address("fd00::1"), address("fd00::2"), &[]);
        let write = |header: &OuterHeader, length| {
            header.write(&mut vec![0; length], IpProtocol::IPV4, fields, 0).is_some()
        };
        for (header, longest) in [(ipv4, IP + 65535), (ipv6, IPV6_END + 65535)] {
            assert!(write(&header, longest));
            assert!(!write(&header, longest + 1));
            assert!(!write(&header, usize::from(header.len()) - 1));
        }
    }
}
