//! What the frames of a generator look like: their sizes, their addresses, and how many of each.

use std::net::Ipv4Addr;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::wire::IpProtocol;
use rigswitch_dataplane::wire::ipv4::Header;

use super::{TrafficError, stamp};

/// Bytes of the frame check sequence: sizes count it, as RFC 2544 §9 does, and no frame in memory has it.
pub const FCS: usize = 4;

/// What a frame takes on an Ethernet link beside its own bytes: preamble, start delimiter and the gap between frames.
pub const GAP: usize = 20;

/// The shortest frame of Ethernet, with its FCS.
const SHORTEST: usize = 64;

/// The longest frame: a jumbo frame as most cards have it.
pub const LONGEST: usize = 9216;

/// Frames of the Internet mix: of twelve, seven, four and one.
pub const IMIX: [(usize, usize); 3] = [(7, 64), (4, 594), (1, 1518)];

/// As many sizes as may take turns.
const MOST_SIZES: usize = 32;

/// What may be before the IP header: that and 28 bytes more are written at once.
const OUTER: usize = 92;

/// Where addresses begin: stations behind the two ends of what is measured.
const SOURCE_MAC: MacAddr = MacAddr::new([0x02, 0x52, 0x53, 0, 0, 0]);
const DESTINATION_MAC: MacAddr = MacAddr::new([0x02, 0x52, 0x54, 0, 0, 0]);
/// The networks that are set aside for measuring (RFC 2544 appendix C.2.2).
const SOURCE_IP: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const DESTINATION_IP: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The first source port.
const SOURCE_PORT: u16 = 1024;
/// `discard` (RFC 863).
const DESTINATION_PORT: u16 = 9;

/// How many of something take turns, from a first one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range<T> {
    /// The first.
    pub first: T,
    /// How many, at least one.
    pub count: u32,
}

impl<T> Range<T> {
    const fn one(first: T) -> Self {
        Self { first, count: 1 }
    }
}

/// What the frames of a generator look like. Frame `n` is of flow `n mod flows`, and has the `flow mod count`th of each range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Sizes that take turns, in bytes with the FCS.
    pub sizes: Vec<usize>,
    /// Source addresses; they count in their last four bytes.
    pub source_macs: Range<MacAddr>,
    /// Destination addresses.
    pub destination_macs: Range<MacAddr>,
    /// Source addresses; they count in their last two bytes.
    pub source_ips: Range<Ipv4Addr>,
    /// Destination addresses.
    pub destination_ips: Range<Ipv4Addr>,
    /// UDP source ports.
    pub ports: u32,
    /// The VLAN whose 802.1Q tag the frames carry.
    pub vlan: Option<u16>,
    /// What is before the IP header in place of MAC addresses and a tag: headers of an encapsulation, as frames of one size have them.
    pub outer: Option<Vec<u8>>,
    /// Which run the frames are of.
    pub run: u8,
}

impl Default for Stream {
    /// 64 bytes, one flow.
    fn default() -> Self {
        Self {
            sizes: vec![SHORTEST],
            source_macs: Range::one(SOURCE_MAC),
            destination_macs: Range::one(DESTINATION_MAC),
            source_ips: Range::one(SOURCE_IP),
            destination_ips: Range::one(DESTINATION_IP),
            ports: 1,
            vlan: None,
            outer: None,
            run: 0,
        }
    }
}

/// The sizes of the Internet mix, in an order that spreads the large ones.
pub fn imix() -> Vec<usize> {
    const ORDER: [usize; 12] = [0, 1, 0, 0, 1, 0, 2, 0, 1, 0, 0, 1];
    ORDER.map(|kind| IMIX[kind].1).to_vec()
}

impl Stream {
    /// The same frames going the other way: what teaches a bridge where their destinations are.
    pub fn reversed(&self) -> Self {
        Self {
            source_macs: self.destination_macs,
            destination_macs: self.source_macs,
            source_ips: self.destination_ips,
            destination_ips: self.source_ips,
            ..self.clone()
        }
    }

    /// How many flows there are: as many as the longest range has.
    pub fn flows(&self) -> u32 {
        let counts = [self.source_macs.count, self.destination_macs.count];
        let ips = [self.source_ips.count, self.destination_ips.count, self.ports];
        counts.into_iter().chain(ips).max().unwrap_or(1)
    }

    /// The largest frame, in bytes with the FCS.
    pub fn largest(&self) -> usize {
        self.sizes.iter().copied().max().unwrap_or(SHORTEST)
    }

    /// The smallest frame that a stream like this one can have, in bytes with the FCS.
    pub fn shortest(&self) -> usize {
        SHORTEST + self.added()
    }

    /// How many flows it takes for every destination to have been one's.
    pub fn destinations(&self) -> u32 {
        self.destination_macs.count.max(self.destination_ips.count)
    }

    /// Bytes of the first `frames` frames, without the FCS.
    pub fn bytes(&self, frames: u64) -> u64 {
        let turns = self.sizes.len() as u64;
        let sum = |sizes: &[usize]| sizes.iter().map(|size| (size - FCS) as u64).sum::<u64>();
        let rest = usize::try_from(frames % turns).unwrap_or(0);
        frames / turns * sum(&self.sizes) + sum(&self.sizes[..rest])
    }

    /// Bits that a frame takes on an Ethernet link, on average.
    pub fn bits(&self) -> f64 {
        let sum: usize = self.sizes.iter().map(|size| (size + GAP) * 8).sum();
        sum as f64 / self.sizes.len() as f64
    }

    /// Says what is wrong with it.
    ///
    /// # Errors
    /// Sizes and counts that cannot be.
    pub fn check(&self) -> Result<(), TrafficError> {
        let refuse = |what: String| Err(TrafficError::Stream(what));
        if self.sizes.is_empty() || self.sizes.len() > MOST_SIZES {
            return refuse(format!("{} sizes: 1 to {MOST_SIZES} may take turns", self.sizes.len()));
        }
        let shortest = self.shortest();
        if let Some(size) = self.sizes.iter().find(|size| !(shortest..=LONGEST).contains(*size)) {
            let tagged = if self.vlan.is_some() { " with a tag" } else { "" };
            return refuse(format!(
                "size {size}: a frame{tagged} has {shortest} to {LONGEST} bytes, the FCS among them"
            ));
        }
        if self
            .outer
            .as_ref()
            .is_some_and(|outer| !(14..=OUTER).contains(&outer.len()) || self.sizes.len() > 1)
        {
            return refuse(format!("headers of an encapsulation have 14 to {OUTER} bytes, and fit one size"));
        }
        if let Some(vlan) = self.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
            return refuse(format!("vlan {vlan}: not in 1..=4094"));
        }
        let most = u32::from(u16::MAX - SOURCE_PORT) + 1;
        if !(1..=most).contains(&self.ports) {
            return refuse(format!("{} flows by their UDP ports: there are 1 to {most}", self.ports));
        }
        for (what, count) in
            [("source", self.source_macs.count), ("destination", self.destination_macs.count)]
        {
            if !(1..=stamp::FLOWS).contains(&count) {
                return refuse(format!("{count} {what} MAC addresses: 1 to {}", stamp::FLOWS));
            }
        }
        for (what, range) in [("source", self.source_ips), ("destination", self.destination_ips)] {
            let first = u32::from(low_half(range.first));
            // Both counts at once must fit what balances them in the checksum.
            if range.count == 0 || range.count > 1 << 15 || first + range.count > 1 << 16 {
                return refuse(format!(
                    "{} {what} IP addresses from {} on: 1 to 32768 that differ in their last two bytes only",
                    range.count, range.first
                ));
            }
        }
        Ok(())
    }

    /// Where the stamp begins.
    pub(super) fn stamp_at(&self) -> usize {
        self.ip_at() + 20 + 8
    }

    /// Where the IP header does.
    pub(super) fn ip_at(&self) -> usize {
        14 + self.added()
    }

    /// Bytes before the IP header that a plain frame has not.
    pub fn added(&self) -> usize {
        self.outer.as_ref().map_or(self.tag_len(), |outer| outer.len().saturating_sub(14))
    }

    pub(super) fn tag_len(&self) -> usize {
        if self.vlan.is_some() { 4 } else { 0 }
    }

    /// The headers of a frame of `size` bytes, of the first flow.
    pub(super) fn head(&self, size: usize) -> Vec<u8> {
        let mut head = self.outer.clone().unwrap_or_else(|| self.plain());
        let ip = head.len();
        head.resize(size - FCS, 0);
        let header = Header {
            tos: 0,
            // That of an atomic datagram means nothing (RFC 6864 §4): it is there to balance, in the checksum, what the
            // addresses have more than the first ones.
            identification: u16::MAX,
            dont_fragment: true,
            ttl: Header::DEFAULT_TTL,
            protocol: IpProtocol::UDP,
            source: self.source_ips.first,
            destination: self.destination_ips.first,
        };
        header.emit(&mut head[ip..]).expect("checked sizes fit");
        let length = u16::try_from(head.len() - ip - 20).unwrap_or(u16::MAX);
        let udp = [SOURCE_PORT, DESTINATION_PORT, length, 0]; // no checksum (RFC 768)
        head.truncate(ip + 20);
        head.extend(udp.map(u16::to_be_bytes).concat());
        head
    }

    /// MAC addresses, the tag if there is one, and that IP follows.
    fn plain(&self) -> Vec<u8> {
        let [to, from] = [self.destination_macs.first, self.source_macs.first].map(MacAddr::octets);
        let tag = self.vlan.map(|vlan| [0x8100_u16, vlan].map(u16::to_be_bytes).concat());
        [&to[..], &from, &tag.unwrap_or_default(), &[0x08, 0x00]].concat()
    }

    /// Where the frames with the first addresses and ports keep what counts: the low half of each.
    pub(super) fn firsts(&self) -> Firsts {
        let low = |mac: MacAddr| mac.octets().last_chunk().map_or(0, |low| u32::from_be_bytes(*low));
        Firsts {
            source_mac: low(self.source_macs.first),
            destination_mac: low(self.destination_macs.first),
            source_ip: low_half(self.source_ips.first),
            destination_ip: low_half(self.destination_ips.first),
            port: SOURCE_PORT,
        }
    }
}

/// The parts of the first addresses that count.
pub(super) struct Firsts {
    pub(super) source_mac: u32,
    pub(super) destination_mac: u32,
    pub(super) source_ip: u16,
    pub(super) destination_ip: u16,
    pub(super) port: u16,
}

fn low_half(ip: Ipv4Addr) -> u16 {
    let [_, _, high, low] = ip.octets();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_mix_has_its_sizes_as_often_as_it_should() {
        let sizes = imix();
        for (count, size) in IMIX {
            assert_eq!(sizes.iter().filter(|&&each| each == size).count(), count, "{size}");
        }
        assert_eq!(sizes.len(), 12);
    }

    #[test]
    fn bytes_and_bits_are_those_of_the_sizes_in_turn() {
        let stream = Stream { sizes: vec![64, 1518], ..Stream::default() };
        assert_eq!([0, 1, 2, 3, 1000].map(|frames| stream.bytes(frames)), [0, 60, 1574, 1634, 787_000]);
        assert_eq!(stream.bits(), f64::from((84 + 1538) * 4));
        assert_eq!((stream.largest(), stream.flows()), (1518, 1));
    }

    #[test]
    fn there_are_as_many_flows_as_the_longest_range_has() {
        let mut stream = Stream { ports: 3, ..Stream::default() };
        stream.destination_ips.count = 5;
        stream.source_macs.count = 4;
        assert_eq!((stream.flows(), stream.destinations(), stream.reversed().destinations()), (5, 5, 4));
    }
}
