//! The IP packets of a frame, outermost first: behind VLAN tags, inside VXLAN and IP in IP, to a fixed depth.

use super::checksum::{self, Sum};
use super::ethernet::EtherType;
use super::ipv4::Ipv4;
use super::ipv6::{self, Ipv6};
use super::tcp::{self, Tcp};
use super::udp::{self, Udp};
use super::vxlan::{self, Vxlan};
use super::{IpProtocol, put_u16, u16_at, vlan};

/// How many IP packets inside one another are walked.
pub const MAX_LAYERS: usize = 4;

/// The version of an IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One IP packet and what it carries. Offsets count from the first byte of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// IPv4 or IPv6.
    pub version: Version,
    /// Offset of the IP header.
    pub network: usize,
    /// What stands at `transport`.
    pub protocol: IpProtocol,
    /// Offset of what follows the IP header, its options and its extension headers.
    pub transport: usize,
    /// Bytes from `transport` to the end of the packet, or of the UDP datagram; padding is excluded.
    pub len: u16,
    /// Offset of the checksum over those bytes; `None` if they have none.
    pub checksum: Option<usize>,
    addresses_and_protocol: Sum,
}

impl Layer {
    /// Offset of the first byte behind this layer.
    #[inline]
    pub fn end(&self) -> usize {
        self.transport + usize::from(self.len)
    }

    /// The sum of the transport's pseudo-header.
    #[inline]
    pub fn pseudo_header(&self) -> Sum {
        self.addresses_and_protocol + self.len
    }

    /// Whether the checksum field holds the pseudo-header sum: what a sender leaves there that
    /// expects a device to complete it.
    #[inline]
    pub fn looks_partial(&self, frame: &[u8]) -> bool {
        let field = self.checksum.and_then(|offset| u16_at(frame, offset));
        field == Some(self.pseudo_header().folded())
    }

    /// Whether there is a checksum and it is right. Costs a pass over the payload.
    pub fn is_intact(&self, frame: &[u8]) -> bool {
        let covered = frame.get(self.transport..self.end()).filter(|_| self.checksum.is_some());
        covered.is_some_and(|bytes| (self.pseudo_header() + Sum::of(bytes)).is_intact())
    }

    /// Computes the checksum for the bytes as they are. `None`, and nothing done, if there is none or
    /// `frame` is too short.
    #[inline]
    pub fn complete(&self, frame: &mut [u8]) -> Option<()> {
        let (bytes, offset) = (frame.get_mut(..self.end())?, self.checksum?);
        put_u16(bytes, offset, self.pseudo_header().folded())?;
        checksum::complete(bytes, self.transport, offset - self.transport).ok()
    }
}

/// The IP packets of `frame`, outermost first. The walk ends at what has no IP packet inside, at a
/// fragment, a source-routed packet or a header that is malformed, and after [`MAX_LAYERS`].
#[inline]
pub fn layers(frame: &[u8]) -> Layers<'_> {
    Layers { frame, next: vlan::untagged(frame).ok(), left: MAX_LAYERS }
}

/// See [`layers`].
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    frame: &'a [u8], // cut at the end of the enclosing layer
    next: Option<(EtherType, usize)>,
    left: usize,
}

impl Iterator for Layers<'_> {
    type Item = Layer;

    #[inline]
    fn next(&mut self) -> Option<Layer> {
        let (ether_type, network) = self.next.take()?;
        self.left = self.left.checked_sub(1)?;
        let mut layer = network_layer(self.frame, ether_type, network)?;
        self.frame = self.frame.get(..layer.end())?;
        let bytes = self.frame.get(layer.transport..)?;
        match layer.protocol {
            IpProtocol::TCP => {
                Tcp::view(bytes).ok()?;
                layer.checksum = Some(layer.transport + tcp::CHECKSUM_OFFSET);
            }
            IpProtocol::UDP => {
                let datagram = Udp::view(bytes).ok()?;
                layer.len = u16::try_from(udp::HEADER_LEN + datagram.payload().len()).ok()?;
                if datagram.checksum() != 0 {
                    layer.checksum = Some(layer.transport + udp::CHECKSUM_OFFSET);
                }
                self.frame = self.frame.get(..layer.end())?;
                self.next = inside_vxlan(datagram, layer.transport);
            }
            IpProtocol::IPV4 => self.next = Some((EtherType::IPV4, layer.transport)),
            IpProtocol::IPV6 => self.next = Some((EtherType::IPV6, layer.transport)),
            _ => {}
        }
        Some(layer)
    }
}

/// The IP packet at `network`, if its transport is whole and its checksum covers these addresses.
#[inline]
fn network_layer(frame: &[u8], ether_type: EtherType, network: usize) -> Option<Layer> {
    let packet = frame.get(network..)?;
    let (version, protocol, addresses, header_len, bytes) = match ether_type {
        EtherType::IPV4 => {
            let ip = Ipv4::view(packet).ok().filter(|ip| !ip.is_fragment() && !ip.is_source_routed())?;
            (Version::V4, ip.protocol(), ip.addresses(), ip.header_len(), ip.payload())
        }
        EtherType::IPV6 => {
            let ip = Ipv6::view(packet).ok()?;
            let (protocol, bytes) = ip.transport().ok()?;
            let extensions_len = ip.payload().len() - bytes.len();
            (Version::V6, protocol, ip.addresses(), ipv6::HEADER_LEN + extensions_len, bytes)
        }
        _ => return None,
    };
    Some(Layer {
        version,
        network,
        protocol,
        transport: network + header_len,
        len: u16::try_from(bytes.len()).ok()?,
        checksum: None,
        addresses_and_protocol: Sum::of(addresses) + u16::from(protocol.0),
    })
}

/// What the frame inside a VXLAN datagram carries, and where.
#[inline]
fn inside_vxlan(datagram: Udp<'_>, transport: usize) -> Option<(EtherType, usize)> {
    if !matches!(datagram.destination(), vxlan::PORT | vxlan::LINUX_PORT) {
        return None;
    }
    let inner = Vxlan::view(datagram.payload()).ok()?;
    let (ether_type, offset) = vlan::untagged(inner.payload()).ok()?;
    Some((ether_type, transport + udp::HEADER_LEN + vxlan::HEADER_LEN + offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn every_layer_is_found_where_it_was_built(recipe in samples::any_recipe(100), padding in 0..60usize) {
            let samples::Sample { mut frame, mut parts } = recipe.build();
            parts.reverse();
            let end = frame.len();
            frame.resize(end + padding, 0xa5);
            prop_assert_eq!(layers(&frame).count(), parts.len());
            for (layer, part) in layers(&frame).zip(parts) {
                prop_assert_eq!((layer.transport, layer.end()), (part.transport, end));
                prop_assert_eq!(layer.checksum, part.checksum.map(|(offset, _)| offset));
                prop_assert_eq!(layer.is_intact(&frame), part.checksum.is_some());
            }
        }

        #[test]
        fn no_packet_reaches_behind_the_one_around_it(recipe in samples::any_recipe(100)) {
            let mut recipe = recipe;
            recipe.ip.v6 = false;
            if recipe.tunnels.is_empty() {
                recipe.tunnels.push(samples::Tunnel::Ip(recipe.ip));
            }
            let samples::Sample { mut frame, parts } = recipe.build();
            let header_len = if recipe.ip.extended { 24 } else { 20 };
            let total_len = parts[0].transport - header_len + 2;
            let longer = u16_at(&frame, total_len).unwrap() + 1;
            put_u16(&mut frame, total_len, longer).unwrap();
            frame.extend([0xa5; 60]);
            prop_assert_eq!(layers(&frame).count(), parts.len() - 1);
        }

        #[test]
        fn mangled_frames_are_walked_in_bounds(
            recipe in samples::any_recipe(100),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut: prop::sample::Index,
        ) {
            let frame = samples::mangle(recipe.build().frame, &flips, cut);
            let mut outer_end = frame.len();
            prop_assert!(layers(&frame).count() <= MAX_LAYERS);
            for layer in layers(&frame) {
                prop_assert!(layer.network < layer.transport && layer.end() <= outer_end);
                outer_end = layer.end();
            }
        }
    }
}
