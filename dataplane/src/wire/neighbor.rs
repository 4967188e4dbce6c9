//! Neighbour solicitations and advertisements (RFC 4861 §4.3, §4.4), read and written.

use std::net::Ipv6Addr;

use super::checksum::{Sum, pseudo_header};
use super::ethernet::{self, EtherType};
use super::ipv6::{self, Ipv6};
use super::{IpProtocol, Malformed, put_u16};
use crate::ids::MacAddr;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

const ROUTER: u8 = 1 << 7;
const SOLICITED: u8 = 1 << 6;
const OVERRIDE: u8 = 1 << 5;

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// The hop limit of either message: no router has passed it on (RFC 4861 §7.1).
pub const HOP_LIMIT: u8 = 255;

/// Bytes of either message without options.
const LEN: usize = 24;

/// Bytes of an option with an Ethernet address.
const OPTION_LEN: usize = 8;

/// Bytes of a frame with either message and the address of its station.
pub const FRAME_LEN: usize = ethernet::HEADER_LEN + ipv6::HEADER_LEN + LEN + OPTION_LEN;

/// A neighbour solicitation or advertisement, and the packet around it.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor<'a> {
    ip: Ipv6<'a>,
    priority: u8,
    message: &'a [u8; LEN],
    options: &'a [u8],
}

impl<'a> Neighbor<'a> {
    /// The message in the packet that starts at the first byte of `bytes`; `None` if another is in it. Neither its checksum
    /// nor its hop limit is looked at: that is for those whom it is meant for.
    ///
    /// # Errors
    /// [`Malformed::Ipv6`] if that is no IPv6 packet.
    pub fn view(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let ip = Ipv6::view(bytes)?;
        let Some((message, options)) = ip.payload().split_first_chunk::<LEN>() else { return Ok(None) };
        let [kind, code, ..] = *message;
        let is_one = ip.next_header() == IpProtocol::ICMPV6
            && code == 0
            && matches!(kind, SOLICITATION | ADVERTISEMENT);
        Ok(is_one.then_some(Self { ip, priority: bytes[0] & 0xf, message, options }))
    }

    /// Whether it asks.
    pub fn is_solicitation(&self) -> bool {
        self.message[0] == SOLICITATION
    }

    /// Of an advertisement, whether it answers.
    pub fn is_solicited(&self) -> bool {
        self.message[4] & SOLICITED != 0
    }

    /// Of an advertisement, whether it replaces what was known before.
    pub fn overrides(&self) -> bool {
        self.message[4] & OVERRIDE != 0
    }

    /// Where the packet comes from.
    pub fn source(&self) -> Ipv6Addr {
        self.address(0)
    }

    /// Where it goes.
    pub fn destination(&self) -> Ipv6Addr {
        self.address(16)
    }

    /// The address that it is about.
    pub fn target(&self) -> Ipv6Addr {
        let [.., a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *self.message;
        Ipv6Addr::from([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The Ethernet address that its sender gives, if it does: of a solicitation the sender's.
    ///
    /// # Errors
    /// [`Malformed::Neighbor`] if it is cut short, or an option before it has no length.
    pub fn source_link_address(&self) -> Result<Option<MacAddr>, Malformed> {
        self.link_address(SOURCE_LINK_ADDRESS)
    }

    /// Of an advertisement, the Ethernet address of the station that it is about, if it has it.
    ///
    /// # Errors
    /// As of [`source_link_address`](Self::source_link_address).
    pub fn target_link_address(&self) -> Result<Option<MacAddr>, Malformed> {
        self.link_address(TARGET_LINK_ADDRESS)
    }

    fn link_address(&self, wanted: u8) -> Result<Option<MacAddr>, Malformed> {
        let mut options = self.options;
        while let [kind, eights, rest @ ..] = options {
            match (*kind, *eights) {
                (_, 0) => return Err(Malformed::Neighbor),
                (kind, _) if kind == wanted => {
                    let octets = rest.first_chunk().ok_or(Malformed::Neighbor)?;
                    return Ok(Some(MacAddr::new(*octets)));
                }
                (_, eights) => options = options.get(usize::from(eights) * 8..).unwrap_or_default(),
            }
        }
        Ok(None)
    }

    /// The frame that answers this solicitation, sent to the station `to`: the station `mac` has the address that it asks
    /// for. It overrides what is known, and its traffic class begins as the solicitation's, as the kernel's does.
    pub fn advertisement(&self, to: MacAddr, mac: MacAddr) -> [u8; FRAME_LEN] {
        self.advertisement_of(to, mac, false)
    }

    /// The same, which also says whether the station is a router.
    pub fn advertisement_of(&self, to: MacAddr, mac: MacAddr, is_router: bool) -> [u8; FRAME_LEN] {
        let router = if is_router { ROUTER } else { 0 };
        let message = message(ADVERTISEMENT, SOLICITED | OVERRIDE | router, self.target(), mac);
        frame(message, self.priority, (mac, self.target()), (to, self.source()))
    }

    /// One of the packet's addresses.
    fn address(&self, at: usize) -> Ipv6Addr {
        let octets = self.ip.addresses().get(at..).and_then(<[u8]>::first_chunk::<16>);
        octets.map_or(Ipv6Addr::UNSPECIFIED, |octets| Ipv6Addr::from(*octets))
    }
}

/// The frame that asks the station or group `to` for the link-layer address of `target`, and tells the asker's.
pub fn solicitation(from: (MacAddr, Ipv6Addr), target: Ipv6Addr, to: (MacAddr, Ipv6Addr)) -> [u8; FRAME_LEN] {
    frame(message(SOLICITATION, 0, target, from.0), 0, from, to)
}

/// Bytes of a frame with a solicitation that tells no address.
pub const PROBE_LEN: usize = FRAME_LEN - OPTION_LEN;

/// The frame in which `mac` asks the group of `target` whether anybody has that address, which it is going to use itself (RFC 4862 §5.4.2).
pub fn probe(mac: MacAddr, target: Ipv6Addr, station: MacAddr, group: Ipv6Addr) -> [u8; PROBE_LEN] {
    let mut out = [0; PROBE_LEN];
    let message = message(SOLICITATION, 0, target, mac);
    write(&mut out, &message[..LEN], 0, (mac, Ipv6Addr::UNSPECIFIED), (station, group));
    out
}

/// An advertisement to be written: `address` is that of the station `mac`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// Whose it is.
    pub mac: MacAddr,
    /// What is told.
    pub address: Ipv6Addr,
    /// Whether that is a router.
    pub is_router: bool,
    /// Whether it was asked for, by the one that it goes to.
    pub is_solicited: bool,
    /// Whether it replaces what is known.
    pub overrides: bool,
}

impl Advertisement {
    /// The frame that tells it to the station or group `to`.
    pub fn frame(&self, to: (MacAddr, Ipv6Addr)) -> [u8; FRAME_LEN] {
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let flags = flag(self.is_router, ROUTER)
            | flag(self.is_solicited, SOLICITED)
            | flag(self.overrides, OVERRIDE);
        frame(message(ADVERTISEMENT, flags, self.address, self.mac), 0, (self.mac, self.address), to)
    }
}

/// The group that whoever has `address` is in (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a group (RFC 2464 §7).
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr::new([0x33, 0x33, a, b, c, d])
}

fn message(kind: u8, flags: u8, target: Ipv6Addr, mac: MacAddr) -> [u8; LEN + OPTION_LEN] {
    let mut message = [0; LEN + OPTION_LEN];
    (message[0], message[4]) = (kind, flags);
    message[8..24].copy_from_slice(&target.octets());
    let option = if kind == SOLICITATION { SOURCE_LINK_ADDRESS } else { TARGET_LINK_ADDRESS };
    (message[24], message[25]) = (option, 1);
    message[26..].copy_from_slice(&mac.octets());
    message
}

fn frame(
    message: [u8; LEN + OPTION_LEN],
    priority: u8,
    from: (MacAddr, Ipv6Addr),
    to: (MacAddr, Ipv6Addr),
) -> [u8; FRAME_LEN] {
    let mut frame = [0; FRAME_LEN];
    write(&mut frame, &message, priority, from, to);
    frame
}

/// Writes a frame with this message, which fills it.
fn write(frame: &mut [u8], message: &[u8], priority: u8, from: (MacAddr, Ipv6Addr), to: (MacAddr, Ipv6Addr)) {
    let length = u8::try_from(message.len()).expect("a message is short");
    let addresses = [from.1, to.1].map(|address| address.octets());
    let addresses = addresses.as_flattened();
    let sum = pseudo_header(addresses, IpProtocol::ICMPV6, length.into()) + Sum::of(message);

    let (header, rest) = frame.split_first_chunk_mut().expect("there is room for a header");
    ethernet::emit(header, to.0, from.0, EtherType::IPV6);
    let first = 0x60 | priority;
    rest[..8].copy_from_slice(&[first, 0, 0, 0, 0, length, IpProtocol::ICMPV6.0, HOP_LIMIT]);
    rest[8..40].copy_from_slice(addresses);
    rest[40..].copy_from_slice(message);
    let _ = put_u16(&mut rest[40..], 2, sum.checksum());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::icmpv6::NeighborAdvertisementHeader;
    use etherparse::{
        Icmpv6Header, Icmpv6Type, IpNumber, Ipv6Header, NetHeaders, PacketHeaders, TransportHeader,
    };
    use proptest::prelude::*;

    /// A packet of another maker.
    fn packet(source: [u8; 16], destination: [u8; 16], kind: Icmpv6Type, rest: &[u8]) -> Vec<u8> {
        let message = Icmpv6Header::with_checksum(kind, source, destination, rest).unwrap().to_bytes();
        let header = Ipv6Header {
            traffic_class: 0xc0,
            payload_length: u16::try_from(message.len() + rest.len()).unwrap(),
            next_header: IpNumber::IPV6_ICMP,
            hop_limit: 255,
            source,
            destination,
            ..Default::default()
        };
        [&header.to_bytes()[..], &message, rest].concat()
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn message_of_another_maker_reads_back(
            source: [u8; 16],
            destination: [u8; 16],
            target: [u8; 16],
            solicited: Option<bool>,
            mac: [u8; 6],
            padding in 0..3usize,
            rest: Vec<u8>,
        ) {
            let nonce = [14, 1, 0, 0, 0, 0, 0, 0].repeat(padding);
            let body = [&target[..], &nonce, &[1, 1], &mac].concat();
            let header = solicited.map(|solicited| NeighborAdvertisementHeader { router: true, solicited, r#override: true });
            let kind = header.map_or(Icmpv6Type::NeighborSolicitation, Icmpv6Type::NeighborAdvertisement);
            let bytes = [packet(source, destination, kind, &body), rest].concat();
            let view = Neighbor::view(&bytes).unwrap().unwrap();
            prop_assert_eq!(view.is_solicitation(), solicited.is_none());
            prop_assert_eq!(view.is_solicited(), solicited == Some(true));
            prop_assert_eq!(view.overrides(), solicited.is_some());
            prop_assert_eq!(view.target_link_address(), Ok(None));
            let addresses = [view.source(), view.destination(), view.target()].map(|address| address.octets());
            prop_assert_eq!(addresses, [source, destination, target]);
            prop_assert_eq!(view.source_link_address(), Ok(Some(MacAddr::new(mac))));
        }

        #[test]
        fn advertisement_answers_the_solicitation(
            source: [u8; 16],
            target: [u8; 16],
            to: [u8; 6],
            mac: [u8; 6],
        ) {
            let bytes = packet(source, [0xff; 16], Icmpv6Type::NeighborSolicitation, &target);
            let view = Neighbor::view(&bytes).unwrap().unwrap();
            prop_assert_eq!(view.source_link_address(), Ok(None));
            let frame = view.advertisement(MacAddr::new(to), MacAddr::new(mac));
            let parsed = PacketHeaders::from_ethernet_slice(&frame).unwrap();
            let link = parsed.link.unwrap().ethernet2().unwrap();
            prop_assert_eq!((link.destination, link.source), (to, mac));
            let Some(NetHeaders::Ipv6(ip, _)) = parsed.net else { panic!("an IPv6 packet") };
            prop_assert_eq!((ip.source, ip.destination), (target, source));
            prop_assert_eq!((ip.hop_limit, ip.traffic_class, ip.flow_label.value()), (255, 0xc0, 0));
            let Some(TransportHeader::Icmpv6(icmp)) = parsed.transport else { panic!("ICMPv6") };
            let said = NeighborAdvertisementHeader { router: false, solicited: true, r#override: true };
            prop_assert_eq!(&icmp.icmp_type, &Icmpv6Type::NeighborAdvertisement(said));
            let rest = [&target[..], &[2, 1], &mac].concat();
            prop_assert_eq!(parsed.payload.slice(), &rest[..]);
            prop_assert_eq!(icmp.icmp_type.calc_checksum(target, source, &rest).unwrap(), icmp.checksum);
        }

        #[test]
        fn what_is_written_reads_back(
            from: ([u8; 6], [u8; 16]),
            to: ([u8; 6], [u8; 16]),
            target: [u8; 16],
            flags: [bool; 3],
        ) {
            let end = |(mac, address): ([u8; 6], [u8; 16])| (MacAddr::new(mac), Ipv6Addr::from(address));
            let [router, solicited, r#override] = flags;
            let said = NeighborAdvertisementHeader { router, solicited, r#override };
            let (mac, address) = end(from);
            let advertisement =
                Advertisement { mac, address, is_router: router, is_solicited: solicited, overrides: r#override };
            for (frame, kind, about, option) in [
                (solicitation(end(from), target.into(), end(to)), Icmpv6Type::NeighborSolicitation, target, 1),
                (advertisement.frame(end(to)), Icmpv6Type::NeighborAdvertisement(said), from.1, 2),
            ] {
                let header = PacketHeaders::from_ethernet_slice(&frame).unwrap().link.unwrap().ethernet2().unwrap();
                prop_assert_eq!((header.destination, header.source), (to.0, from.0));
                let expected = packet(from.1, to.1, kind, &[&about[..], &[option, 1], &from.0].concat());
                // The other maker gives it a traffic class.
                prop_assert_eq!(&frame[16..], &expected[2..]);
                let view = Neighbor::view(&frame[14..]).unwrap().unwrap();
                let given = [view.source_link_address(), view.target_link_address()].map(Result::unwrap);
                let ours = Some(MacAddr::new(from.0));
                prop_assert_eq!(given, if option == 1 { [ours, None] } else { [None, ours] });
            }
        }

        #[test]
        fn noise_is_refused_or_in_bounds(
            kind in 134..138u8,
            options in prop::collection::vec(0..4u8, 0..40),
            cut in 0..100usize,
        ) {
            let mut bytes = packet([1; 16], [2; 16], Icmpv6Type::NeighborSolicitation, &[[3; 16].as_slice(), &options].concat());
            bytes[40] = kind;
            let is_one = matches!(kind, SOLICITATION | ADVERTISEMENT);
            let view = Neighbor::view(&bytes).unwrap();
            prop_assert_eq!(view.is_some(), is_one);
            if let Some(view) = view {
                let _ = view.source_link_address();
            }
            bytes.truncate(cut.min(bytes.len() - 1));
            prop_assert!(Neighbor::view(&bytes).is_err());
        }
    }

    #[test]
    fn groups_are_those_of_the_rfcs() {
        let group = solicited_node("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert_eq!(group_mac(group), MacAddr::new([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
    }

    #[test]
    fn options_without_end_are_refused_and_those_beyond_it_ignored() {
        let about = |options: &[u8]| {
            let body = [&[3; 16], options].concat();
            let bytes = packet([1; 16], [2; 16], Icmpv6Type::NeighborSolicitation, &body);
            Neighbor::view(&bytes).unwrap().unwrap().source_link_address()
        };
        assert_eq!(about(&[14, 0, 0, 0, 0, 0, 0, 0]), Err(Malformed::Neighbor));
        assert_eq!(about(&[1, 1, 2, 0, 0]), Err(Malformed::Neighbor));
        assert_eq!(about(&[14, 9, 0, 0]), Ok(None));
    }
}
