//! ARP for IPv4 over Ethernet (RFC 826): requests, and the reply to one.

use std::net::Ipv4Addr;

use super::Malformed;
use super::ethernet::{self, EtherType};
use crate::ids::MacAddr;

/// Bytes in a message about IPv4 and Ethernet addresses.
pub const LEN: usize = 28;

/// Bytes of a frame with a reply.
pub const REPLY_FRAME_LEN: usize = ethernet::HEADER_LEN + LEN;

/// What is asked or said (IANA, ARP operation codes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation(pub u16);

impl Operation {
    /// Who has this address?
    pub const REQUEST: Self = Self(1);
    /// This station has it.
    pub const REPLY: Self = Self(2);
    /// Which address has this station (RFC 903)?
    pub const REVERSE_REQUEST: Self = Self(3);
    /// It has this one.
    pub const REVERSE_REPLY: Self = Self(4);
}

/// A message about IPv4 addresses and hardware addresses of six octets.
#[derive(Clone, Copy, Debug)]
pub struct Arp<'a> {
    bytes: &'a [u8; LEN],
}

impl<'a> Arp<'a> {
    /// The message at the start of `bytes`; what follows is padding. The hardware type is not looked at: Ethernet and IEEE
    /// 802 have different ones for the same addresses.
    ///
    /// # Errors
    /// [`Malformed::Arp`] if it is cut short, or about other addresses.
    #[inline]
    pub fn view(bytes: &'a [u8]) -> Result<Self, Malformed> {
        const IPV4: [u8; 2] = EtherType::IPV4.0.to_be_bytes();
        let bytes: &[u8; LEN] = bytes.first_chunk().ok_or(Malformed::Arp)?;
        let [_, _, a, b, hardware_len, protocol_len, ..] = *bytes;
        if [a, b] != IPV4 || (hardware_len, protocol_len) != (6, 4) {
            return Err(Malformed::Arp);
        }
        Ok(Self { bytes })
    }

    /// What is asked or said.
    #[inline]
    pub fn operation(&self) -> Operation {
        Operation(u16::from_be_bytes([self.bytes[6], self.bytes[7]]))
    }

    /// Who says so.
    #[inline]
    pub fn sender(&self) -> MacAddr {
        let [_, _, _, _, _, _, _, _, a, b, c, d, e, f, ..] = *self.bytes;
        MacAddr::new([a, b, c, d, e, f])
    }

    /// The sender's address.
    #[inline]
    pub fn sender_address(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _, _, _, _, _, _, _] = *self.bytes;
        Ipv4Addr::new(a, b, c, d)
    }

    /// For whom; of a request nothing.
    #[inline]
    pub fn target(&self) -> MacAddr {
        let [.., a, b, c, d, e, f, _, _, _, _] = *self.bytes;
        MacAddr::new([a, b, c, d, e, f])
    }

    /// The address that is asked for.
    #[inline]
    pub fn target_address(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.bytes;
        Ipv4Addr::new(a, b, c, d)
    }

    /// The frame that answers this request: the station `mac` has the address that it asks for.
    pub fn reply(&self, mac: MacAddr) -> [u8; REPLY_FRAME_LEN] {
        let target = (self.sender(), self.sender_address());
        frame(Operation::REPLY, self.sender(), (mac, self.target_address()), target)
    }
}

/// The frame that asks the station `to`, or all stations, who has `address`. Who asks for its own address tells it (RFC 5227
/// §2.3).
pub fn request(sender: (MacAddr, Ipv4Addr), address: Ipv4Addr, to: MacAddr) -> [u8; REPLY_FRAME_LEN] {
    frame(Operation::REQUEST, to, sender, (MacAddr::ZERO, address))
}

fn frame(
    operation: Operation,
    to: MacAddr,
    sender: (MacAddr, Ipv4Addr),
    target: (MacAddr, Ipv4Addr),
) -> [u8; REPLY_FRAME_LEN] {
    const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
    let mut frame = [0; REPLY_FRAME_LEN];
    let (header, message) = frame.split_first_chunk_mut().expect("there is room for a header");
    ethernet::emit(header, to, sender.0, EtherType::ARP);
    message[..6].copy_from_slice(&ETHERNET_AND_IPV4);
    message[6..8].copy_from_slice(&operation.0.to_be_bytes());
    message[8..14].copy_from_slice(&sender.0.octets());
    message[14..18].copy_from_slice(&sender.1.octets());
    message[18..24].copy_from_slice(&target.0.octets());
    message[24..].copy_from_slice(&target.1.octets());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::Ethernet;
    use crate::wire::samples;
    use etherparse::{ArpHardwareId, ArpOperation, ArpPacket};
    use proptest::prelude::*;

    fn packet(operation: u16, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> ArpPacket {
        let (hardware, protocol) = (ArpHardwareId::ETHERNET, etherparse::EtherType::IPV4);
        let operation = ArpOperation(operation);
        ArpPacket::new(hardware, protocol, operation, &sender.0, &sender.1, &target.0, &target.1).unwrap()
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn message_of_another_maker_reads_back(
            operation: u16,
            sender: ([u8; 6], [u8; 4]),
            target: ([u8; 6], [u8; 4]),
            padding: Vec<u8>,
        ) {
            let bytes = [&packet(operation, sender, target).to_bytes()[..], &padding].concat();
            let view = Arp::view(&bytes).unwrap();
            prop_assert_eq!(view.operation(), Operation(operation));
            prop_assert_eq!((view.sender().octets(), view.sender_address().octets()), sender);
            prop_assert_eq!((view.target().octets(), view.target_address().octets()), target);
        }

        #[test]
        fn reply_turns_the_request_around(
            sender: ([u8; 6], [u8; 4]),
            asked: [u8; 4],
            mac: [u8; 6],
        ) {
            let request = packet(1, sender, ([0; 6], asked)).to_bytes();
            let frame = Arp::view(&request).unwrap().reply(MacAddr::new(mac));
            let view = Ethernet::view(&frame).unwrap();
            prop_assert_eq!((view.destination().octets(), view.source().octets()), (sender.0, mac));
            prop_assert_eq!(view.ether_type(), EtherType::ARP);
            prop_assert_eq!(view.payload(), &packet(2, (mac, asked), sender).to_bytes()[..]);
        }

        #[test]
        fn request_is_what_another_maker_writes(sender: ([u8; 6], [u8; 4]), asked: [u8; 4], to: [u8; 6]) {
            let ours = (MacAddr::new(sender.0), Ipv4Addr::from(sender.1));
            let frame = request(ours, asked.into(), MacAddr::new(to));
            let view = Ethernet::view(&frame).unwrap();
            prop_assert_eq!((view.destination().octets(), view.source().octets()), (to, sender.0));
            prop_assert_eq!(view.ether_type(), EtherType::ARP);
            prop_assert_eq!(view.payload(), &packet(1, sender, ([0; 6], asked)).to_bytes()[..]);
        }

        #[test]
        fn noise_is_refused_or_in_bounds(
            sizes in prop::sample::select(vec![[6, 4], [6, 16], [8, 4], [0, 0]]),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [&[0, 1, 8, 0][..], &sizes, &rest].concat();
            prop_assert_eq!(Arp::view(&bytes).is_ok(), bytes.len() >= LEN && sizes == [6, 4]);
        }
    }
}
