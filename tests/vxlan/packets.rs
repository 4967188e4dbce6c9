//! Outer packets, made and taken apart.

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, UdpHeader};

/// The far end, as a station of the underlay.
pub(crate) const FAR: [u8; 6] = [2, 0, 0, 0, 0xfa, 2];
/// The switch, as a station of the underlay.
pub(crate) const NEAR: [u8; 6] = [2, 0, 0, 0, 0xea, 1];
/// The I flag, and nothing else.
pub(crate) const PLAIN: u64 = 0x0800_0000_0000_0000;

/// What an outer packet says. Addresses are of IPv4, or of IPv6 behind fd00::.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outer {
    pub(crate) stations: [[u8; 6]; 2], // source, destination
    pub(crate) addresses: [[u8; 4]; 2],
    pub(crate) is_ipv6: bool,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) dont_fragment: bool,
    pub(crate) more_fragments: bool,
    pub(crate) ports: [u16; 2],
    pub(crate) has_checksum: bool,
    pub(crate) header: u64, // of VXLAN
    pub(crate) inner: Vec<u8>,
}

impl Outer {
    /// From the far end 192.0.2.2 to 192.0.2.1, in network 42.
    pub(crate) fn of(inner: &[u8]) -> Self {
        Self {
            stations: [FAR, NEAR],
            addresses: [[192, 0, 2, 2], [192, 0, 2, 1]],
            is_ipv6: false,
            tos: 0,
            ttl: 64,
            dont_fragment: false,
            more_fragments: false,
            ports: [50_000, 4789],
            has_checksum: false,
            header: PLAIN | 42 << 8,
            inner: inner.to_vec(),
        }
    }

    /// The bytes on the wire.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let message = [&self.header.to_be_bytes()[..], &self.inner].concat();
        self.around(&message)
    }

    /// The same with this UDP payload instead.
    pub(crate) fn around(&self, message: &[u8]) -> Vec<u8> {
        let [source, destination] = self.stations;
        let ether_type = if self.is_ipv6 { EtherType::IPV6 } else { EtherType::IPV4 };
        let ethernet = Ethernet2Header { source, destination, ether_type };
        let length = UdpHeader::LEN + message.len();
        let mut udp = UdpHeader {
            source_port: self.ports[0],
            destination_port: self.ports[1],
            length: u16::try_from(length).unwrap(),
            checksum: 0,
        };
        let ip = if self.is_ipv6 {
            let [source, destination] = self.addresses.map(ipv6);
            let header = Ipv6Header {
                traffic_class: self.tos,
                payload_length: udp.length,
                next_header: IpNumber::UDP,
                hop_limit: self.ttl,
                source,
                destination,
                ..Default::default()
            };
            if self.has_checksum {
                udp.checksum = udp.calc_checksum_ipv6(&header, message).unwrap();
            }
            header.to_bytes().to_vec()
        } else {
            let [source, destination] = self.addresses;
            let mut header =
                Ipv4Header::new(u16::try_from(length).unwrap(), self.ttl, IpNumber::UDP, source, destination)
                    .unwrap();
            (header.dscp, header.ecn) =
                ((self.tos >> 2).try_into().unwrap(), (self.tos & 3).try_into().unwrap());
            (header.dont_fragment, header.more_fragments) = (self.dont_fragment, self.more_fragments);
            header.header_checksum = header.calc_header_checksum();
            if self.has_checksum {
                udp.checksum = udp.calc_checksum_ipv4(&header, message).unwrap();
            }
            header.to_bytes().to_vec()
        };
        [&ethernet.to_bytes()[..], &ip, &udp.to_bytes(), message].concat()
    }

    /// What the bytes on a wire say; nothing if it is no VXLAN packet with all lengths and checksums right.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let (ethernet, rest) = Ethernet2Header::from_slice(frame).ok()?;
        let stations = [ethernet.source, ethernet.destination];
        let is_ipv6 = ethernet.ether_type == EtherType::IPV6;
        let plain = Self { stations, is_ipv6, ..Self::of(&[]) };
        let (outer, message, sum) = if is_ipv6 {
            let (ip, rest) = Ipv6Header::from_slice(rest).ok()?;
            let (udp, message) = UdpHeader::from_slice(rest.get(..ip.payload_length.into())?).ok()?;
            let addresses = [ip.source, ip.destination].map(|address| *address.last_chunk().unwrap());
            let outer = Self { addresses, tos: ip.traffic_class, ttl: ip.hop_limit, ..plain };
            (
                Self {
                    ports: [udp.source_port, udp.destination_port],
                    has_checksum: udp.checksum != 0,
                    ..outer
                },
                message,
                {
                    let sum = udp.calc_checksum_ipv6(&ip, message).ok()?;
                    (udp, sum)
                },
            )
        } else {
            let (ip, rest) = Ipv4Header::from_slice(rest).ok()?;
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            let payload = rest.get(..usize::from(ip.total_len) - ip.header_len())?;
            let (udp, message) = UdpHeader::from_slice(payload).ok()?;
            let outer = Self {
                addresses: [ip.source, ip.destination],
                tos: ip.dscp.value() << 2 | ip.ecn.value(),
                ttl: ip.time_to_live,
                dont_fragment: ip.dont_fragment,
                more_fragments: ip.more_fragments,
                ..plain
            };
            (
                Self {
                    ports: [udp.source_port, udp.destination_port],
                    has_checksum: udp.checksum != 0,
                    ..outer
                },
                message,
                {
                    let sum = udp.calc_checksum_ipv4(&ip, message).ok()?;
                    (udp, sum)
                },
            )
        };
        let (udp, expected) = sum;
        assert_eq!(usize::from(udp.length), UdpHeader::LEN + message.len());
        assert!(
            udp.checksum == 0 || udp.checksum == expected,
            "{:#06x} is not {expected:#06x}",
            udp.checksum
        );
        let (header, inner) = message.split_first_chunk()?;
        Some(Self { header: u64::from_be_bytes(*header), inner: inner.to_vec(), ..outer })
    }
}

/// fd00:: with the last 32 bits of this.
pub(crate) fn ipv6(last: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = 0xfd;
    address[12..].copy_from_slice(&last);
    address
}
