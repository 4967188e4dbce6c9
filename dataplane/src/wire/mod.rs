//! Views over the bytes of a frame: length checked once, accessors then cannot fail; nothing allocates or panics.

pub mod arp;
pub mod bpdu;
pub mod checksum;
pub mod ethernet;
pub mod flow;
pub mod forward;
pub mod fragment;
pub mod icmp;
pub mod icmpv6;
pub mod igmp;
pub mod ipv4;
pub mod ipv6;
pub mod layers;
pub mod limit;
pub mod mld;
pub mod multicast;
pub mod neighbor;
pub mod outer;
pub mod partial;
pub mod path_mtu;
pub mod reassembly;
pub mod segment;
pub mod tcp;
pub mod tunnel;
pub mod udp;
pub mod vlan;
pub mod vxlan;

#[cfg(test)]
mod samples;

/// Why bytes are not what they should be: one variant a header or claim, each a drop reason of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Fewer than the 14 bytes of an Ethernet header.
    #[error("shorter than an Ethernet header")]
    Ethernet,
    /// A VLAN tag is cut short, or the stack is deeper than [`vlan::MAX_TAGS`].
    #[error("VLAN tag cut short, or too many of them")]
    Vlan,
    /// An IPv4 header is cut short, of another version, or its lengths disagree with the bytes.
    #[error("IPv4 header cut short or its lengths wrong")]
    Ipv4,
    /// An IPv6 header or extension header is cut short, of another version, or longer than the bytes.
    #[error("IPv6 header cut short or its lengths wrong")]
    Ipv6,
    /// A TCP header is cut short, or its data offset lies outside the segment.
    #[error("TCP header cut short or its data offset wrong")]
    Tcp,
    /// A UDP header is cut short, or its length disagrees with the bytes.
    #[error("UDP header cut short or its length wrong")]
    Udp,
    /// A VXLAN header is cut short, or its I flag is clear.
    #[error("VXLAN header cut short or without a VNI")]
    Vxlan,
    /// A BPDU is cut short, of another protocol or version, or its ages contradict each other.
    #[error("BPDU cut short or of another version")]
    Bpdu,
    /// An ARP message is cut short, or not about IPv4 and Ethernet addresses.
    #[error("ARP message cut short or about other addresses")]
    Arp,
    /// The options of a neighbour solicitation are cut short, or one has no length.
    #[error("neighbour solicitation with wrong options")]
    Neighbor,
    /// An ICMP message is cut short, or its checksum is wrong.
    #[error("ICMP message cut short or wrong")]
    Icmp,
    /// An ICMPv6 message is cut short, or its checksum is wrong.
    #[error("ICMPv6 message cut short or wrong")]
    Icmpv6,
    /// An IGMP message is cut short, its checksum is wrong, or it is sent where none may be.
    #[error("IGMP message cut short or wrong")]
    Igmp,
    /// An MLD message is cut short, its checksum is wrong, or it is sent where or whence none may be.
    #[error("MLD message cut short or wrong")]
    Mld,
    /// The checksum to complete lies outside the frame.
    #[error("checksum offset outside the frame")]
    ChecksumOffset,
    /// A super-frame is not what its offload state claims, so it cannot be segmented.
    #[error("super-frame differs from its offload header")]
    SuperFrame,
}

/// An IP protocol number (IPv4 Protocol, IPv6 Next Header; RFC 5237).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP (RFC 792).
    pub const ICMP: Self = Self(1);
    /// IGMP (RFC 2236).
    pub const IGMP: Self = Self(2);
    /// IPv4 in IP (RFC 2003).
    pub const IPV4: Self = Self(4);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// IPv6 in IP (RFC 4213).
    pub const IPV6: Self = Self(41);
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
    /// PIM (RFC 7761).
    pub const PIM: Self = Self(103);
}

/// Writes `value` big-endian at `offset`; `None`, and nothing written, if it does not fit.
fn put_u16(bytes: &mut [u8], offset: usize, value: u16) -> Option<()> {
    *bytes.get_mut(offset..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

/// The big-endian word at `offset`; `None` if it is not all there.
fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}
