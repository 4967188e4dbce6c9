//! The IPv6 header (RFC 8200 §3) and the way past its extension headers.

use std::net::Ipv6Addr;

use super::{IpProtocol, Malformed, put_u16};

/// Bytes in a header without extension headers.
pub const HEADER_LEN: usize = 40;

/// The protocol number of a Fragment header (RFC 8200 §4.5).
pub const FRAGMENT: IpProtocol = IpProtocol(44);

/// How many extension headers are walked.
pub const MAX_EXTENSIONS: usize = 8;

/// An IPv6 packet: version and payload length agree with the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6<'a> {
    header: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Ipv6<'a> {
    /// The packet that starts at the first byte of `bytes`; what follows its payload length is not part of it.
    ///
    /// # Errors
    /// [`Malformed::Ipv6`] if the version is not 6, or header or packet are cut short.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse(bytes).ok_or(Malformed::Ipv6)
    }

    /// The same of a packet that an error quotes, which may be cut short behind its header.
    ///
    /// # Errors
    /// [`Malformed::Ipv6`] if the version is not 6, or the header is cut short.
    pub fn quoted(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::Ipv6)?;
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]])).min(rest.len());
        let payload = rest.get(..payload_len).filter(|_| header[0] >> 4 == 6);
        payload.map(|payload| Self { header, payload }).ok_or(Malformed::Ipv6)
    }

    #[inline]
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 {
            return None;
        }
        Some(Self { header, payload: rest.get(..payload_len)? })
    }

    /// Source and destination, sixteen octets each, as a pseudo-header has them.
    #[inline]
    pub fn addresses(&self) -> &'a [u8] {
        &self.header[8..40]
    }

    /// Bytes in all, header and payload.
    #[inline]
    pub fn total_len(&self) -> u32 {
        40 + u32::from(u16::from_be_bytes([self.header[4], self.header[5]]))
    }

    /// Traffic class: DSCP (RFC 2474) and ECN (RFC 3168).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.header[0] << 4 | self.header[1] >> 4
    }

    /// How many more routers it may pass.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.header[7]
    }

    /// Where it comes from.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        self.address(8)
    }

    /// Where it goes.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        self.address(24)
    }

    #[inline]
    fn address(&self, at: usize) -> Ipv6Addr {
        let octets = self.header.get(at..).and_then(|bytes| bytes.first_chunk::<16>());
        octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
    }

    /// The flow label (RFC 6437), 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0xf, self.header[2], self.header[3]])
    }

    /// What stands right behind the fixed header.
    #[inline]
    pub fn next_header(&self) -> IpProtocol {
        IpProtocol(self.header[6])
    }

    /// Everything after the fixed header, up to the payload length.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// What stands behind the extension headers, and its bytes. Headers behind which there is no
    /// whole transport segment, or one whose checksum covers another destination, end the walk and
    /// are returned themselves: Fragment, and Routing with segments left.
    ///
    /// # Errors
    /// [`Malformed::Ipv6`] if an extension header is cut short, or there are more than [`MAX_EXTENSIONS`].
    #[inline]
    pub fn transport(&self) -> Result<(IpProtocol, &'a [u8]), Malformed> {
        self.walk(true)
    }

    /// The same, but past Routing headers wherever they lead.
    ///
    /// # Errors
    /// As of [`transport`](Self::transport).
    #[inline]
    pub fn upper_layer(&self) -> Result<(IpProtocol, &'a [u8]), Malformed> {
        self.walk(false)
    }

    /// Whether this is a fragment, behind whatever other extension headers.
    pub fn is_fragment(&self) -> bool {
        matches!(self.upper_layer(), Ok((FRAGMENT, _)))
    }

    /// What it carries behind the extension headers, be it whole or a fragment, each of which says so.
    ///
    /// # Errors
    /// As of [`transport`](Self::transport).
    pub fn carries(&self) -> Result<IpProtocol, Malformed> {
        Ok(match self.transport()? {
            (FRAGMENT, [next, ..]) => IpProtocol(*next),
            (protocol, _) => protocol,
        })
    }

    #[inline]
    fn walk(&self, ends_at_route: bool) -> Result<(IpProtocol, &'a [u8]), Malformed> {
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const DESTINATION_OPTIONS: u8 = 60;
        let (mut protocol, mut bytes) = (self.header[6], self.payload);
        for _ in 0..=MAX_EXTENSIONS {
            if !matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
                return Ok((IpProtocol(protocol), bytes));
            }
            let &[next, eights, _, segments_left, ..] = bytes else { return Err(Malformed::Ipv6) };
            if protocol == ROUTING && segments_left > 0 && ends_at_route {
                return Ok((IpProtocol(protocol), bytes));
            }
            bytes = bytes.get((usize::from(eights) + 1) * 8..).ok_or(Malformed::Ipv6)?;
            protocol = next;
        }
        Err(Malformed::Ipv6)
    }
}

/// A header to be written; its flow label is zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// How many routers it may pass.
    pub hop_limit: u8,
    /// What stands right behind the header.
    pub next_header: IpProtocol,
    /// Where it comes from.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
}

impl Header {
    /// The hop limit that the kernel gives what it sends (`IPV6_DEFAULT_HOPLIMIT`).
    pub const DEFAULT_HOP_LIMIT: u8 = 64;

    /// Writes the header at the start of `packet`, whose rest is the payload. `None`, and nothing written, if that is no IPv6
    /// packet's length.
    pub fn emit(&self, packet: &mut [u8]) -> Option<()> {
        let payload_len = packet.len().checked_sub(HEADER_LEN)?;
        let [len_high, len_low] = u16::try_from(payload_len).ok()?.to_be_bytes();
        let [class_high, class_low] = [self.traffic_class >> 4, self.traffic_class << 4];
        let header: &mut [u8; HEADER_LEN] = packet.first_chunk_mut()?;
        let start =
            [0x60 | class_high, class_low, 0, 0, len_high, len_low, self.next_header.0, self.hop_limit];
        header[..8].copy_from_slice(&start);
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..].copy_from_slice(&self.destination.octets());
        Some(())
    }
}

/// Makes the header of `packet` say that it ends where the bytes end. `None` if that is no IPv6 packet's length.
pub(super) fn relabel(packet: &mut [u8]) -> Option<()> {
    const PAYLOAD_LEN: usize = 4;
    let payload_len = packet.len().checked_sub(HEADER_LEN)?;
    put_u16(packet, PAYLOAD_LEN, u16::try_from(payload_len).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    const FRAGMENT: u8 = super::FRAGMENT.0;

    /// A packet whose chain is these (protocol, eights − 1, segments left), then `last`, then `payload`.
    fn packet(chain: &[(u8, u8, u8)], last: u8, payload: &[u8]) -> Vec<u8> {
        let mut protocols = chain.iter().map(|header| header.0).chain([last]);
        let first = protocols.next().unwrap();
        let mut extensions = Vec::new();
        for ((_, eights, left), next) in chain.iter().zip(protocols) {
            let mut header = vec![0; (usize::from(*eights) + 1) * 8];
            (header[0], header[1], header[3]) = (next, *eights, *left);
            extensions.extend(header);
        }
        let header = etherparse::Ipv6Header {
            payload_length: u16::try_from(extensions.len() + payload.len()).unwrap(),
            next_header: etherparse::IpNumber(first),
            source: [1; 16],
            destination: [2; 16],
            ..Default::default()
        };
        [&header.to_bytes()[..], &extensions, payload].concat()
    }

    #[test]
    fn walk_ends_where_the_transport_is_out_of_sight() {
        let fragment = packet(&[(0, 0, 0), (FRAGMENT, 0, 0)], 6, b"part of a segment");
        assert_eq!(Ipv6::view(&fragment).unwrap().transport().unwrap().0, IpProtocol(FRAGMENT));
        assert_eq!(Ipv6::view(&fragment).unwrap().carries(), Ok(IpProtocol(6)));
        let routed = packet(&[(43, 2, 1)], 6, b"a segment");
        assert_eq!(Ipv6::view(&routed).unwrap().transport().unwrap().0, IpProtocol(43));
        assert_eq!(Ipv6::view(&routed).unwrap().upper_layer(), Ok((IpProtocol::TCP, &b"a segment"[..])));
        let arrived = packet(&[(43, 2, 0)], 6, b"a segment");
        assert_eq!(Ipv6::view(&arrived).unwrap().transport(), Ok((IpProtocol::TCP, &b"a segment"[..])));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn walk_reaches_the_transport(
            chain in prop::collection::vec((prop::sample::select(vec![0u8, 43, 60]), 0..3u8, Just(0u8)), 0..=9),
            payload: Vec<u8>,
            padding: Vec<u8>,
        ) {
            let mut bytes = packet(&chain, 17, &payload);
            let len = bytes.len();
            bytes.extend(&padding);
            let view = Ipv6::view(&bytes).unwrap();
            prop_assert_eq!(view.addresses(), [[1; 16], [2; 16]].as_flattened());
            prop_assert_eq!((view.source().octets(), view.destination().octets()), ([1; 16], [2; 16]));
            prop_assert_eq!(view.payload(), &bytes[40..len]);
            if chain.len() > MAX_EXTENSIONS {
                prop_assert_eq!(view.transport(), Err(Malformed::Ipv6));
            } else {
                prop_assert_eq!(view.transport(), Ok((IpProtocol::UDP, &payload[..])));
            }
            relabel(&mut bytes).unwrap();
            prop_assert_eq!(Ipv6::view(&bytes).unwrap().payload(), &bytes[40..]);
        }

        #[test]
        fn emitted_header_is_what_another_maker_writes(
            payload: Vec<u8>,
            traffic_class: u8,
            hop_limit: u8,
            next_header: u8,
            addresses: [[u8; 16]; 2],
        ) {
            let theirs = etherparse::Ipv6Header {
                traffic_class,
                hop_limit,
                payload_length: u16::try_from(payload.len()).unwrap(),
                next_header: etherparse::IpNumber(next_header),
                source: addresses[0],
                destination: addresses[1],
                ..Default::default()
            };
            let [source, destination] = addresses.map(Ipv6Addr::from);
            let next_header = IpProtocol(next_header);
            let mut packet = [&[0xa5; HEADER_LEN], &payload[..]].concat();
            Header { traffic_class, hop_limit, next_header, source, destination }.emit(&mut packet).unwrap();
            prop_assert_eq!(&packet, &[&theirs.to_bytes()[..], &payload].concat());
            let view = Ipv6::view(&packet).unwrap();
            prop_assert_eq!((view.traffic_class(), view.hop_limit()), (traffic_class, hop_limit));
        }

        #[test]
        fn noise_is_refused_or_in_bounds(
            next: u8,
            len in 0..100u8,
            rest in prop::collection::vec(0..70u8, 0..120),
        ) {
            let mut bytes = vec![0x60, 0, 0, 0, 0, len, next];
            bytes.extend(rest);
            match Ipv6::view(&bytes) {
                Err(why) => prop_assert_eq!(why, Malformed::Ipv6),
                Ok(view) => {
                    prop_assert_eq!(view.payload().len(), usize::from(len));
                    if let Ok((_, transport)) = view.transport() {
                        prop_assert!(view.payload().ends_with(transport));
                    }
                }
            }
            for cut in 0..bytes.len().min(HEADER_LEN) {
                prop_assert!(Ipv6::view(&bytes[..cut]).is_err());
            }
        }
    }
}
