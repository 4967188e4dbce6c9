//! The model of a router: lists of routes and neighbours, scanned from end to end, and the kernel's rules in the plainest words.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::punt::PuntReason;
use rigswitch_dataplane::tables::next_hop::NextHop;
use rigswitch_dataplane::wire::flow::{FlowHasher, Policy};
use rigswitch_dataplane::wire::{ipv4::Ipv4, ipv6::Ipv6};

use super::Drops;

/// A routed device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) mac: [u8; 6],
    pub(super) mtu: usize,
    pub(super) forwards: bool,
    pub(super) checks_source: bool,
}

/// One way or several, with their weights.
pub(super) type Way = Vec<(NextHop, u16)>;

/// What a worker hands over for one reason in one tick, at most.
const PUNTS_A_TICK: u32 = 100;
const FRAGMENTS_A_TICK: u32 = 1000;

pub(super) struct Router {
    pub(super) links: Vec<Option<Link>>,
    pub(super) routes: BTreeMap<(IpAddr, u8), usize>, // to the way of this number
    pub(super) ways: Vec<Way>,
    pub(super) neighbors: BTreeMap<(usize, IpAddr), [u8; 6]>,
    pub(super) policy: Policy,
    pub(super) hasher: FlowHasher,
    pub(super) out: Vec<VecDeque<Vec<u8>>>,
    pub(super) punts: Vec<(usize, PuntReason, Vec<u8>)>,
    pub(super) drops: Drops,
    pub(super) consumed: u64,
    pub(super) forwarded: u64,
    punted: BTreeMap<(usize, u8, bool), u32>, // in this tick, to many or not
}

/// What routing goes by.
struct Packet {
    source: IpAddr,
    destination: IpAddr,
    hops: u8,
    length: usize,
    may_fragment: bool,
    is_fragment: bool,
}

/// Why a packet goes no further: what becomes of the frame, and what control is given for.
enum Stop {
    Drop(DropReason),
    Punt(PuntReason),
    Refuse(DropReason, PuntReason),
}

impl Router {
    pub(super) fn new(devices: usize, ways: usize) -> Self {
        Self {
            links: vec![None; devices],
            routes: BTreeMap::new(),
            ways: vec![vec![(NextHop::Blackhole, 1)]; ways],
            neighbors: BTreeMap::new(),
            policy: Policy::Addresses,
            hasher: FlowHasher::new(7),
            out: vec![VecDeque::new(); devices],
            punts: Vec::new(),
            drops: BTreeMap::new(),
            consumed: 0,
            forwarded: 0,
            punted: BTreeMap::new(),
        }
    }

    /// Another tenth of a second.
    pub(super) fn tick(&mut self) {
        self.punted.clear();
    }

    pub(super) fn frame(&mut self, from: usize, frame: &[u8]) {
        let mut frame = frame.to_vec();
        match self.decide(from, &mut frame) {
            Ok((to, mtu, header)) => self.send(from, to, mtu, header, &frame),
            Err(Stop::Drop(reason)) => self.drop(from, reason),
            Err(Stop::Punt(reason)) => {
                if self.punt(from, reason, &frame) {
                    self.consumed += 1;
                } else {
                    self.drop(from, DropReason::PuntFull);
                }
            }
            Err(Stop::Refuse(reason, told)) => {
                self.punt(from, told, &frame);
                self.drop(from, reason);
            }
        }
    }

    fn drop(&mut self, from: usize, reason: DropReason) {
        *self.drops.entry((from, Direction::Rx, reason)).or_default() += 1;
    }

    fn punt(&mut self, from: usize, reason: PuntReason, frame: &[u8]) -> bool {
        let used = self.punted.entry((from, reason as u8, frame[0] & 1 != 0)).or_default();
        *used += 1;
        let most = if reason == PuntReason::Fragment { FRAGMENTS_A_TICK } else { PUNTS_A_TICK };
        let taken = *used <= most;
        if taken {
            self.punts.push((from, reason, frame.to_vec()));
        }
        taken
    }

    /// By which device, in which MTU and with which addresses a frame leaves. A priority tag is off it afterwards.
    fn decide(&self, from: usize, frame: &mut Vec<u8>) -> Result<(usize, usize, [u8; 12]), Stop> {
        let Some(link) = self.links[from] else { return Err(Stop::Drop(DropReason::Unused)) };
        if frame.len() < 14 {
            return Err(Stop::Drop(DropReason::Truncated));
        }
        let is_group = frame[0] & 1 == 1;
        if frame[..6] != link.mac && !is_group {
            return Err(Stop::Drop(DropReason::OtherHost));
        }
        let is_tag = |bytes: &[u8]| matches!(bytes, [0x81, 0] | [0x88, 0xa8]);
        if is_tag(&frame[12..14]) {
            if frame.len() < 18 {
                return Err(Stop::Drop(DropReason::VlanMalformed));
            }
            if u16::from_be_bytes([frame[14], frame[15]]) & 0xfff != 0 || is_tag(&frame[16..18]) {
                return Err(Stop::Drop(DropReason::NoVlanDevice));
            }
            frame.drain(12..16);
        }
        let packet = match frame[12..14] {
            [0x08, 0x00] => ipv4(&frame[14..], is_group)?,
            [0x86, 0xdd] => ipv6(&frame[14..], is_group)?,
            [0x08, 0x06] => return Err(Stop::Punt(PuntReason::Arp)),
            _ => return Err(Stop::Drop(DropReason::UnknownProtocol)),
        };
        let no_route = || Stop::Refuse(DropReason::NoRoute, PuntReason::Unreachable);
        let (to, next) = match self.choose(packet.destination, &frame[14..]).ok_or_else(no_route)? {
            NextHop::Gateway { device, gateway } => (device.index(), gateway),
            NextHop::Connected { device } => (device.index(), packet.destination),
            NextHop::Local { .. } if packet.is_fragment => return Err(Stop::Punt(PuntReason::Fragment)),
            NextHop::Local { .. } => return Err(Stop::Punt(PuntReason::Local)),
            NextHop::Broadcast { .. } => return Err(Stop::Drop(DropReason::IpGroup)),
            NextHop::Blackhole => return Err(Stop::Drop(DropReason::Blackhole)),
            NextHop::Unreachable => {
                return Err(Stop::Refuse(DropReason::Unreachable, PuntReason::Unreachable));
            }
            NextHop::Prohibit => return Err(Stop::Refuse(DropReason::Prohibited, PuntReason::Prohibited)),
        };
        if !link.forwards {
            return Err(Stop::Drop(DropReason::NotForwarding));
        }
        let there = self.links[to].ok_or_else(no_route)?;
        if packet.source.is_ipv4() && link.checks_source && !self.leads_by(packet.source, from) {
            return Err(Stop::Drop(DropReason::ReversePath));
        }
        if packet.hops <= 1 {
            return Err(Stop::Refuse(DropReason::TtlExceeded, PuntReason::TtlExceeded));
        }
        if let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) {
            let link_local = |address: Ipv6Addr| address.segments()[0] & 0xffc0 == 0xfe80;
            if link_local(destination) || source.is_unspecified() && to != from {
                return Err(Stop::Drop(DropReason::IpScope));
            }
            if link_local(source) && to != from {
                return Err(Stop::Refuse(DropReason::IpScope, PuntReason::BeyondScope));
            }
        }
        if packet.length > there.mtu && !packet.may_fragment {
            return Err(Stop::Refuse(DropReason::TooBig, PuntReason::TooBig));
        }
        let Some(mac) = self.neighbors.get(&(to, next)) else {
            return Err(Stop::Punt(PuntReason::Unresolved));
        };
        frame.truncate(14 + packet.length);
        let mut addresses = [0; 12];
        addresses[..6].copy_from_slice(mac);
        addresses[6..].copy_from_slice(&there.mac);
        Ok((to, there.mtu, addresses))
    }

    fn send(&mut self, from: usize, to: usize, mtu: usize, addresses: [u8; 12], frame: &[u8]) {
        let mut packet = frame[14..].to_vec();
        let is_ipv4 = packet[0] >> 4 == 4;
        packet[if is_ipv4 { 8 } else { 7 }] -= 1;
        if is_ipv4 {
            seal(&mut packet);
        }
        let pieces = if packet.len() <= mtu { Some(vec![packet]) } else { fragments(&packet, mtu) };
        let Some(pieces) = pieces else { return self.drop(from, DropReason::TooBig) };
        self.forwarded += 1;
        for piece in pieces {
            self.out[to].push_back([&addresses[..], &frame[12..14], &piece].concat());
        }
    }

    /// The way of the longest prefix.
    fn way(&self, to: IpAddr) -> Option<&Way> {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let holds = |&(network, length): &(IpAddr, u8)| {
            let differ = (bits(network) ^ bits(to)).leading_zeros();
            network.is_ipv4() == to.is_ipv4() && differ >= u32::from(length)
        };
        let longest =
            self.routes.iter().filter(|(prefix, _)| holds(prefix)).max_by_key(|(prefix, _)| prefix.1);
        longest.map(|(_, way)| &self.ways[*way])
    }

    /// Where a packet goes, of several ways as hash and weights say (`fib_rebalance` and `fib_select_multipath` of the kernel).
    fn choose(&self, to: IpAddr, packet: &[u8]) -> Option<NextHop> {
        let way = self.way(to)?;
        let hash = match packet[0] >> 4 {
            4 => self.hasher.ipv4(&Ipv4::view(packet).unwrap(), self.policy),
            _ => self.hasher.ipv6(&Ipv6::view(packet).unwrap(), self.policy),
        };
        let total: u64 = way.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut sum = 0;
        for &(hop, weight) in way {
            sum += u64::from(weight);
            // The share of all 2^31 hashes up to here, to the nearest.
            if u64::from(hash.0 >> 1) < ((sum << 32) + total) / (2 * total) {
                return Some(hop);
            }
        }
        unreachable!("the last one takes the rest")
    }

    /// Whether packets for an address may leave by a device.
    fn leads_by(&self, to: IpAddr, by: usize) -> bool {
        let leads = |hop: &NextHop| match hop {
            NextHop::Gateway { device, .. } | NextHop::Connected { device } => device.index() == by,
            _ => false,
        };
        self.way(to).is_some_and(|way| way.iter().any(|(hop, _)| leads(hop)))
    }
}

/// RFC 1812 §5.2.2, §5.3.7, in the kernel's reading.
fn ipv4(packet: &[u8], is_group: bool) -> Result<Packet, Stop> {
    let drop = |reason| Err(Stop::Drop(reason));
    if packet.len() < 20 {
        return drop(DropReason::IpMalformed);
    }
    let (header, length) =
        (usize::from(packet[0] & 0xf) * 4, usize::from(u16::from_be_bytes([packet[2], packet[3]])));
    if packet[0] >> 4 != 4 || header < 20 || header > length || length > packet.len() {
        return drop(DropReason::IpMalformed);
    }
    if sum(&packet[..header]) != 0xffff {
        return drop(DropReason::IpChecksum);
    }
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let (source, destination) = (address(12), address(16));
    let (nobody, all) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let asks_for_an_address = source == nobody
        && (destination == all || destination == nobody || destination.octets()[..3] == [224, 0, 0]);
    let reports = destination.is_multicast() && packet[9] == 2;
    let is_martian = source.is_multicast()
        || source == all
        || source.is_loopback()
        || destination.is_loopback()
        || source == nobody && !asks_for_an_address && !reports
        || destination == nobody && source != nobody;
    if is_martian {
        return drop(DropReason::Martian);
    }
    let mut options = &packet[20..header];
    loop {
        options = match options {
            [] | [0, ..] => break,
            [1, rest @ ..] => rest,
            [131 | 137, ..] => return drop(DropReason::IpOption),
            [_, length, ..] if (2..=options.len()).contains(&usize::from(*length)) => {
                &options[usize::from(*length)..]
            }
            _ => return drop(DropReason::IpOption),
        };
    }
    if is_group || destination.is_multicast() || destination == all {
        return drop(DropReason::IpGroup);
    }
    let may_fragment = packet[6] & 0x40 == 0;
    Ok(Packet {
        source: source.into(),
        destination: destination.into(),
        hops: packet[8],
        length,
        may_fragment,
        is_fragment: packet[6] & 0x3f | packet[7] != 0,
    })
}

/// RFC 8200 §3, RFC 4291 §2.5, §2.7.
fn ipv6(packet: &[u8], is_group: bool) -> Result<Packet, Stop> {
    if packet.len() < 40 || packet[0] >> 4 != 6 {
        return Err(Stop::Drop(DropReason::IpMalformed));
    }
    let length = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    if length > packet.len() {
        return Err(Stop::Drop(DropReason::IpMalformed));
    }
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
    let (source, destination) = (address(8), address(24));
    let to_node = destination.is_multicast() && packet[25] & 0xf <= 1;
    if source.is_multicast() || source.is_loopback() || destination.is_loopback() || to_node {
        return Err(Stop::Drop(DropReason::Martian));
    }
    if !is_group && !destination.is_multicast() {
        let (source, destination) = (source.into(), destination.into());
        let is_fragment = leads_to(44, packet[6], &packet[40..length], 8, true);
        return Ok(Packet { source, destination, hops: packet[7], length, may_fragment: false, is_fragment });
    }
    match leads_to(58, packet[6], &packet[40..length], 8, false) {
        true => Err(Stop::Punt(PuntReason::Local)),
        false => Err(Stop::Drop(DropReason::IpGroup)),
    }
}

/// Whether behind so many extension headers at most, options and routes that are at their end or any, this one begins: a message of ICMPv6 or a fragment (RFC 8200 §4).
fn leads_to(wanted: u8, next: u8, bytes: &[u8], most: usize, by_any_route: bool) -> bool {
    match (next, bytes) {
        _ if next == wanted => true,
        (0 | 43 | 60, [after, units, _, left, ..]) if most > 0 => {
            let length = 8 + 8 * usize::from(*units);
            let goes_on = next != 43 || *left == 0 || by_any_route;
            goes_on
                && bytes.len() >= length
                && leads_to(wanted, *after, &bytes[length..], most - 1, by_any_route)
        }
        _ => false,
    }
}

/// RFC 791 §2.3, §3.2.
fn fragments(packet: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let (header, payload) = packet.split_at(usize::from(packet[0] & 0xf) * 4);
    let word = u16::from_be_bytes([packet[6], packet[7]]);
    let (offset, more) = (usize::from(word & 0x1fff), word & 0x2000 != 0);
    if offset + payload.len() / 8 > 0x1fff {
        return None;
    }
    let size = (mtu - header.len()) / 8 * 8;
    let count = payload.len().div_ceil(size);
    let piece = |(n, bytes): (usize, &[u8])| {
        let mut piece = [header, bytes].concat();
        let word = (offset + n * size / 8) | (usize::from(more || n + 1 < count) << 13);
        piece[2..4].copy_from_slice(&((header.len() + bytes.len()) as u16).to_be_bytes());
        piece[6..8].copy_from_slice(&(word as u16).to_be_bytes());
        if n > 0 && offset == 0 {
            blank(&mut piece[20..header.len()]);
        }
        seal(&mut piece);
        piece
    };
    Some(payload.chunks(size).enumerate().map(piece).collect())
}

/// Options that only the first fragment has are no-operations in the others.
fn blank(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        let length = if options[at] == 1 { 1 } else { usize::from(options[at + 1]) };
        if options[at] & 0x80 == 0 {
            options[at..at + length].fill(1);
        }
        at += length;
    }
}

/// The one's-complement sum of 16-bit words.
fn sum(bytes: &[u8]) -> u32 {
    let total = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let folded = (total & 0xffff) + (total >> 16);
    (folded & 0xffff) + (folded >> 16)
}

/// Writes the checksum of an IPv4 header.
pub(super) fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 0xf) * 4;
    packet[10..12].fill(0);
    let checksum = !(sum(&packet[..header]) as u16);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}
