//! The IPv6 header (RFC 8200 §3) and the way past its extension headers.

use super::{IpProtocol, Malformed, put_u16};

/// Bytes in a header without extension headers.
pub const HEADER_LEN: usize = 40;

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
        const HOP_BY_HOP: u8 = 0;
        const ROUTING: u8 = 43;
        const DESTINATION_OPTIONS: u8 = 60;
        let (mut protocol, mut bytes) = (self.header[6], self.payload);
        for _ in 0..=MAX_EXTENSIONS {
            if !matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
                return Ok((IpProtocol(protocol), bytes));
            }
            let &[next, eights, _, segments_left, ..] = bytes else { return Err(Malformed::Ipv6) };
            if protocol == ROUTING && segments_left > 0 {
                return Ok((IpProtocol(protocol), bytes));
            }
            bytes = bytes.get((usize::from(eights) + 1) * 8..).ok_or(Malformed::Ipv6)?;
            protocol = next;
        }
        Err(Malformed::Ipv6)
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

    const FRAGMENT: u8 = 44;

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
        let routed = packet(&[(43, 2, 1)], 6, b"a segment");
        assert_eq!(Ipv6::view(&routed).unwrap().transport().unwrap().0, IpProtocol(43));
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
