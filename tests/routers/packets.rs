//! Packets to route, made byte by byte.

use std::net::Ipv6Addr;

/// An IPv4 packet to send.
#[derive(Clone, Debug)]
pub(crate) struct V4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) fragment: u16,
    pub(crate) options: Vec<u8>,
}

impl Default for V4 {
    fn default() -> Self {
        let (source, destination) = ([10, 1, 0, 9], [10, 9, 0, 9]);
        Self { source, destination, protocol: 253, ttl: 64, tos: 0, fragment: 0, options: Vec::new() }
    }
}

/// The sum of RFC 1071, complemented, word by word.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

pub(crate) fn v4(packet: &V4, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + packet.options.len();
    let [len, word] = [(header_len + payload.len()) as u16, packet.fragment].map(u16::to_be_bytes);
    let first = 0x40 | (header_len / 4) as u8;
    let start =
        [first, packet.tos, len[0], len[1], 0x12, 0x34, word[0], word[1], packet.ttl, packet.protocol, 0, 0];
    let mut header = [&start[..], &packet.source, &packet.destination, &packet.options].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    [&header, payload].concat()
}

pub(crate) fn v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let start = [0x6b, 0x81, 2, 3, high, low, next, hop_limit];
    [&start[..], &source.octets(), &destination.octets(), payload].concat()
}

/// A message of this type, whose header is the start of `payload`.
pub(crate) fn icmpv6_message(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    kind: u8,
    mut payload: Vec<u8>,
) -> Vec<u8> {
    payload[..4].copy_from_slice(&[kind, 0, 0, 0]);
    let length = (payload.len() as u32).to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &length, &[0, 0, 0, 58], &payload].concat();
    payload[2..4].copy_from_slice(&checksum(&pseudo));
    payload
}
