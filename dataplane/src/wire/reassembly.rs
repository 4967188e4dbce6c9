//! A fragment, as whoever puts packets together reads it (RFC 791 §3.2, RFC 8200 §4.5), and the header of what comes of them.

use super::ipv4::{self, Ipv4, MORE_FRAGMENTS, OFFSET_MASK};
use super::ipv6::{self, Ipv6};
use super::tunnel::{Ecn, set_ecn};
use super::{IpProtocol, Malformed, put_u16};

/// Bytes in the Fragment header of IPv6.
pub const FRAGMENT_HEADER_LEN: usize = 8;

/// In units of this many bytes are offsets, and the payloads of all fragments but the last.
pub const UNIT: usize = 8;

/// A part of a packet's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    header: &'a [u8],
    named_at: Option<usize>, // in IPv6, where the header says that a Fragment header follows
    /// What tells it from fragments of other packets, beside the addresses; in IPv4 also the protocol.
    pub identification: u32,
    /// What the first fragment begins with.
    pub protocol: IpProtocol,
    /// Where in the payload of the whole it belongs, in bytes.
    pub offset: usize,
    /// Whether others follow it there.
    pub more_follow: bool,
    /// What it says of congestion.
    pub ecn: Ecn,
    /// Its part.
    pub payload: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The fragment at the start of `packet`; `None` if that is a whole packet.
    ///
    /// # Errors
    /// If it is no packet, or the Fragment header is cut short.
    pub fn view(packet: &'a [u8]) -> Result<Option<Self>, Malformed> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => Self::of_ipv4(packet),
            _ => Self::of_ipv6(packet),
        }
    }

    fn of_ipv4(packet: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let ip = Ipv4::view(packet)?;
        if !ip.is_fragment() {
            return Ok(None);
        }
        let word = ip.fragment_word();
        Ok(Some(Self {
            header: packet.get(..ip.header_len()).unwrap_or_default(),
            named_at: None,
            identification: ip.identification().into(),
            protocol: ip.protocol(),
            offset: usize::from(word & OFFSET_MASK) * UNIT,
            more_follow: word & MORE_FRAGMENTS != 0,
            ecn: Ecn::of(ip.tos()),
            payload: ip.payload(),
        }))
    }

    fn of_ipv6(packet: &'a [u8]) -> Result<Option<Self>, Malformed> {
        const NEXT_HEADER: usize = 6;
        let ip = Ipv6::view(packet)?;
        let (ipv6::FRAGMENT, rest) = ip.transport()? else { return Ok(None) };
        let (fragment, payload) = rest.split_first_chunk::<FRAGMENT_HEADER_LEN>().ok_or(Malformed::Ipv6)?;
        let [next, _, high, low, identification @ ..] = *fragment;
        let word = u16::from_be_bytes([high, low]);
        let start = ipv6::HEADER_LEN + ip.payload().len() - rest.len();
        let header = packet.get(..start).ok_or(Malformed::Ipv6)?;
        // Each header says what follows it, the fixed one in another place than the others.
        let (mut named_at, mut end) = (NEXT_HEADER, ipv6::HEADER_LEN);
        while let Some(&[_, eights]) = header.get(end..).and_then(|rest| rest.first_chunk()) {
            (named_at, end) = (end, end + (usize::from(eights) + 1) * UNIT);
        }
        Ok(Some(Self {
            header,
            named_at: Some(named_at),
            identification: u32::from_be_bytes(identification),
            protocol: IpProtocol(next),
            offset: usize::from(word & !7),
            more_follow: word & 1 != 0,
            ecn: Ecn::of(ip.traffic_class()),
            payload,
        }))
    }

    /// Bytes of header that the whole has, if this is its first fragment.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }

    /// Where its Fragment header begins, in IPv6.
    pub fn fragment_header_at(&self) -> Option<usize> {
        self.named_at.map(|_| self.header.len())
    }

    /// Writes the header of the whole at the start of `out`, as far as this fragment knows it: [`finish`] does the rest. `None` if there is no room.
    pub fn write_header(&self, out: &mut [u8]) -> Option<()> {
        let out = out.get_mut(..self.header.len())?;
        out.copy_from_slice(self.header);
        if let Some(at) = self.named_at {
            *out.get_mut(at)? = self.protocol.0;
        }
        Some(())
    }
}

/// Makes a packet of a header that [`write_header`](Fragment::write_header) wrote and a whole payload: it is as long as the bytes are, no fragment, and says that it met
/// congestion if one of them did. `None` if it is longer than a packet can be.
pub fn finish(packet: &mut [u8], congested: bool) -> Option<()> {
    const FRAGMENT_WORD: usize = 6;
    let first = *packet.first()?;
    if first >> 4 == 6 {
        ipv6::relabel(packet)?;
    } else {
        put_u16(packet, FRAGMENT_WORD, 0)?;
        ipv4::relabel(packet, usize::from(first & 0xf) * 4, 0)?;
    }
    if congested { set_ecn(packet, Ecn::Ce) } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::fragment::{Fragmenter, FragmenterIpv6};
    use crate::wire::samples;
    use etherparse::{IpNumber, Ipv4Header};
    use proptest::prelude::*;

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        (header.identification, header.dont_fragment) = (0x1234, false);
        header.set_payload_len(payload.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        [&header.to_bytes()[..], payload].concat()
    }

    fn ipv6(extensions: &[u8], payload: &[u8]) -> Vec<u8> {
        let protocol = if extensions.is_empty() { IpProtocol::UDP } else { IpProtocol(60) };
        let addresses = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
        let mut packet = [&[0; ipv6::HEADER_LEN][..], extensions, payload].concat();
        let [source, destination] = addresses;
        let header =
            ipv6::Header { traffic_class: 0, hop_limit: 64, next_header: protocol, source, destination };
        header.emit(&mut packet).unwrap();
        packet
    }

    /// The whole that fragments make, in this order.
    fn together(fragments: &[Vec<u8>], congested: bool) -> Vec<u8> {
        let (mut header, mut payload) = (Vec::new(), Vec::new());
        for packet in fragments {
            let fragment = Fragment::view(packet).unwrap().unwrap();
            if fragment.offset == 0 {
                header = vec![0; fragment.header_len()];
                fragment.write_header(&mut header).unwrap();
            }
            let end = fragment.offset + fragment.payload.len();
            payload.resize(payload.len().max(end), 0);
            payload[fragment.offset..end].copy_from_slice(fragment.payload);
        }
        let mut whole = [header, payload].concat();
        finish(&mut whole, congested).unwrap();
        whole
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn what_was_fragmented_comes_together(
            payload in prop::collection::vec(any::<u8>(), 1..samples::LONG),
            mtu in 1280..1500u16,
            identification in any::<u32>(),
            backward in any::<bool>(),
        ) {
            let packet = ipv4(&payload);
            let cut = Fragmenter::new(&packet, mtu).unwrap();
            let mut out = vec![0; cut.longest()];
            let mut pieces: Vec<_> = (0..cut.count()).map(|n| cut.write(n, &mut out).map(|len| out[..len].to_vec()).unwrap()).collect();
            if pieces.len() > 1 {
                if backward { pieces.reverse(); }
                prop_assert!(pieces.iter().all(|piece| Fragment::view(piece).unwrap().unwrap().identification == 0x1234));
                prop_assert_eq!(together(&pieces, false), packet);
            } else {
                prop_assert_eq!(Fragment::view(&pieces[0]), Ok(None));
            }

            let packet = ipv6(&[], &payload);
            let cut = FragmenterIpv6::new(&packet, mtu, identification).unwrap();
            let mut out = vec![0; cut.longest()];
            let mut pieces: Vec<_> = (0..cut.count()).map(|n| cut.write(n, &mut out).map(|len| out[..len].to_vec()).unwrap()).collect();
            prop_assert!(pieces.iter().all(|piece| piece.len() <= usize::from(mtu)));
            prop_assert!(pieces.iter().all(|piece| Fragment::view(piece).unwrap().unwrap().identification == identification));
            if backward { pieces.reverse(); }
            prop_assert_eq!(together(&pieces, false), packet);
        }

        #[test]
        fn noise_is_read_in_bounds(bytes in prop::collection::vec(any::<u8>(), 0..120), version in any::<bool>()) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0xf | if version { 0x60 } else { 0x40 };
            }
            if let Ok(Some(fragment)) = Fragment::view(&bytes) {
                let mut out = vec![0; fragment.header_len() + fragment.payload.len()];
                fragment.write_header(&mut out).unwrap();
                let _ = finish(&mut out, true);
            }
        }
    }

    #[test]
    fn headers_ahead_of_the_fragment_header_stay_and_the_last_of_them_names_what_follows() {
        // Destination options ahead of the fragment, and again a part of it.
        let options = [60, 0, 1, 4, 0, 0, 0, 0];
        let plain = ipv6(&[17, 0, 1, 4, 0, 0, 0, 0], &[7; 24]);
        let fragment = |offset: u8, more: u8, payload: &[u8]| {
            let head = [&[44][..], &options[1..]].concat();
            ipv6(&[&head[..], &[17, 0, 0, offset | more, 1, 2, 3, 4]].concat(), payload)
        };
        let pieces = [fragment(0, 1, &[7; 16]), fragment(16, 0, &[7; 8])];
        assert_eq!(together(&pieces, false), plain);
        assert_eq!(Fragment::view(&pieces[1]).unwrap().unwrap().fragment_header_at(), Some(48));
        assert_eq!(Fragment::view(&pieces[0][..54]), Err(Malformed::Ipv6));
        assert_eq!(Fragment::view(&plain), Ok(None));
    }

    #[test]
    #[cfg_attr(miri, ignore = "many bytes of safe arithmetic")]
    fn congestion_is_told_and_what_is_too_long_is_none() {
        let mut packet = ipv4(&[1; 8]);
        finish(&mut packet, true).unwrap();
        assert_eq!(Ecn::of(Ipv4::view(&packet).unwrap().tos()), Ecn::Ce);
        assert!(Ipv4::view(&packet).unwrap().is_intact());
        let mut packet = ipv6(&[], &[1; 8]);
        finish(&mut packet, true).unwrap();
        assert_eq!(Ecn::of(Ipv6::view(&packet).unwrap().traffic_class()), Ecn::Ce);
        for mut packet in [ipv4(&[]), ipv6(&[], &[])] {
            packet.resize(packet.len() + 65536, 0);
            assert_eq!(finish(&mut packet, false), None);
        }
        assert_eq!(finish(&mut [], false), None);
    }
}
