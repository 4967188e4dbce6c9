//! Flow hashes: the same number for all packets of a flow, spread evenly over flows.

use super::IpProtocol;
use super::ethernet::{EtherType, Ethernet};
use super::ipv4::Ipv4;
use super::ipv6::{self, Ipv6};
use super::vlan::{self, Vlan};
use crate::ids::MacAddr;

/// The hash of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowHash(pub u32);

/// What makes packets one flow (`net.ipv4.fib_multipath_hash_policy`, `net.ipv6.fib_multipath_hash_policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Policy {
    /// Policy 0: source and destination address; of IPv6 also the flow label and the protocol.
    #[default]
    Addresses,
    /// Policy 1: addresses, protocol, and ports or what stands in their place. A fragment, first or later, counts by its addresses
    /// alone, so that all of a packet go one way.
    Ports,
}

/// The UDP source ports that say of which flow a tunnelled packet is (RFC 7348 §5), so that routers and queues on the way tell flows apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourcePorts {
    first: u16,
    count: u16,
}

impl SourcePorts {
    /// The kernel's own (`net.ipv4.ip_local_port_range`), of which it leaves out the last.
    pub const DEFAULT: Self = Self { first: 32_768, count: 28_231 };

    /// From the first to before the last, as `srcport` is read (`udp_flow_src_port`); [`DEFAULT`](Self::DEFAULT) where there are none between.
    pub fn new(first: u16, last: u16) -> Self {
        if first < last { Self { first, count: last - first } } else { Self::DEFAULT }
    }

    /// That of a flow.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "less than the count")]
    pub fn of(self, flow: FlowHash) -> u16 {
        self.first + ((u64::from(flow.0) * u64::from(self.count)) >> 32) as u16
    }

    /// These in so many parts of much the same size, or as many as there are ports: the first of each, and how many it has.
    pub fn parts(self, parts: u16) -> impl Iterator<Item = (u16, u16)> {
        let parts = parts.min(self.count);
        let start = move |part: u16| {
            let place = u32::from(part) * u32::from(self.count) / u32::from(parts.max(1));
            self.first + u16::try_from(place).unwrap_or(self.count)
        };
        (0..parts).map(move |part| (start(part), start(part + 1) - start(part)))
    }

    /// Whether it is one of them.
    pub fn contains(self, port: u16) -> bool {
        port.checked_sub(self.first).is_some_and(|place| place < self.count)
    }
}

/// Hashes flows under a key, which keeps those who choose addresses and ports from choosing hashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowHasher {
    key: [u64; 2],
}

impl FlowHasher {
    /// A hasher whose key is made of `seed`.
    pub fn new(seed: u64) -> Self {
        // Odd, so that a product loses nothing.
        Self { key: [scramble(seed), scramble(!seed) | 1] }
    }

    /// The hash of an IPv4 packet.
    #[inline]
    pub fn ipv4(&self, packet: &Ipv4<'_>, policy: Policy) -> FlowHash {
        let rest = match policy {
            Policy::Ports if !packet.is_fragment() => transport(packet.protocol(), packet.payload()),
            Policy::Ports | Policy::Addresses => 0,
        };
        let addresses = packet.addresses().first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
        self.finish(self.mix(self.mix(self.key[0], addresses), rest))
    }

    /// The hash of an IPv6 packet. Where its extension headers are malformed it counts by its addresses.
    #[inline]
    pub fn ipv6(&self, packet: &Ipv6<'_>, policy: Policy) -> FlowHash {
        let rest = match (policy, packet.transport()) {
            (Policy::Ports, Ok((protocol, bytes))) => transport(protocol, bytes),
            (Policy::Ports, Err(_)) => 0,
            (Policy::Addresses, found) => {
                let protocol = found.map_or(0, |(protocol, _)| protocol.0);
                u64::from(packet.flow_label()) << 8 | u64::from(protocol)
            }
        };
        let (words, _) = packet.addresses().as_chunks();
        let addresses = words.iter().fold(self.key[0], |sum, word| self.mix(sum, u64::from_be_bytes(*word)));
        self.finish(self.mix(addresses, rest))
    }

    /// The hash of an Ethernet frame, for the source port of what carries it: by the ports of the packet in it, as [`Policy::Ports`], else by
    /// its addresses and type (`udp_flow_src_port`, include/net/udp.h). What is tagged counts as what it tags.
    #[inline]
    pub fn ethernet(&self, frame: &[u8]) -> FlowHash {
        let Ok(header) = Ethernet::view(frame) else { return FlowHash(0) };
        let (mut ether_type, mut payload) = (header.ether_type(), header.payload());
        for _ in 0..vlan::MAX_TAGS {
            if !ether_type.is_tag() {
                break;
            }
            let Ok(tag) = Vlan::view(payload) else { break };
            (ether_type, payload) = (tag.ether_type(), tag.payload());
        }
        let packet = match ether_type {
            EtherType::IPV4 => Ipv4::view(payload).ok().map(|packet| self.ipv4(&packet, Policy::Ports)),
            EtherType::IPV6 => Ipv6::view(payload).ok().map(|packet| self.ipv6(&packet, Policy::Ports)),
            _ => None,
        };
        packet.unwrap_or_else(|| {
            let [to, from] = [header.destination(), header.source()].map(MacAddr::bits);
            self.finish(self.mix(self.mix(self.key[0], to | u64::from(ether_type.0) << 48), from))
        })
    }

    /// Folds a product of 128 bits: every bit of either factor moves bits in the middle, which the fold brings to both ends.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a product")]
    fn mix(&self, sum: u64, word: u64) -> u64 {
        let product = u128::from(sum ^ word) * u128::from(self.key[1]);
        product as u64 ^ (product >> 64) as u64
    }

    #[inline]
    fn finish(&self, sum: u64) -> FlowHash {
        FlowHash((self.mix(sum, self.key[0]) >> 32) as u32)
    }
}

/// Protocol and ports in one word, if this protocol has ports or what the kernel takes for them (`proto_ports_offset`).
#[inline]
fn transport(protocol: IpProtocol, bytes: &[u8]) -> u64 {
    const DCCP: IpProtocol = IpProtocol(33);
    const ESP: IpProtocol = IpProtocol(50);
    const SCTP: IpProtocol = IpProtocol(132);
    const UDP_LITE: IpProtocol = IpProtocol(136);
    let ports = match protocol {
        IpProtocol::TCP | IpProtocol::UDP | DCCP | ESP | SCTP | UDP_LITE => bytes.first_chunk(),
        ipv6::FRAGMENT => return 0,
        _ => None,
    };
    u64::from(ports.map_or(0, |ports| u32::from_be_bytes(*ports))) << 8 | u64::from(protocol.0)
}

/// A word that depends on every bit of `seed` (the finaliser of SplitMix64): the key of a hash.
pub(crate) fn scramble(seed: u64) -> u64 {
    let mut word = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::{IpFragOffset, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header};
    use proptest::prelude::*;
    use proptest::sample::select;

    const HASHER: fn() -> FlowHasher = || FlowHasher::new(7);

    fn v4(
        addresses: [[u8; 4]; 2],
        protocol: u8,
        payload: &[u8],
        change: impl FnOnce(&mut Ipv4Header),
    ) -> Vec<u8> {
        let mut header = Ipv4Header::new(0, 64, IpNumber(protocol), addresses[0], addresses[1]).unwrap();
        header.set_payload_len(payload.len()).unwrap();
        change(&mut header);
        [&header.to_bytes()[..], payload].concat()
    }

    fn v6(addresses: [[u8; 16]; 2], protocol: u8, label: u32, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            flow_label: Ipv6FlowLabel::try_new(label).unwrap(),
            payload_length: u16::try_from(payload.len()).unwrap(),
            next_header: IpNumber(protocol),
            source: addresses[0],
            destination: addresses[1],
            ..Default::default()
        };
        [&header.to_bytes()[..], payload].concat()
    }

    fn hash4(bytes: &[u8], policy: Policy) -> FlowHash {
        HASHER().ipv4(&Ipv4::view(bytes).unwrap(), policy)
    }

    fn hash6(bytes: &[u8], policy: Policy) -> FlowHash {
        HASHER().ipv6(&Ipv6::view(bytes).unwrap(), policy)
    }

    #[test]
    fn source_ports_are_those_of_the_range_but_the_last() {
        for (ports, low, high) in [
            (SourcePorts::new(1000, 1001), 1000, 1000),
            (SourcePorts::new(0, 65535), 0, 65534),
            (SourcePorts::new(5, 5), 32_768, 60_998),
            (SourcePorts::new(9, 5), 32_768, 60_998),
        ] {
            assert_eq!([0, u32::MAX].map(|hash| ports.of(FlowHash(hash))), [low, high]);
            assert_eq!([low, high].map(|port| ports.contains(port)), [true, true]);
            assert!(!ports.contains(high + 1) && !ports.contains(low.wrapping_sub(1)));
        }
    }

    #[test]
    fn source_ports_come_in_parts_that_leave_none_out() {
        for (ports, wanted) in
            [(SourcePorts::DEFAULT, 16), (SourcePorts::new(0, 65535), 16), (SourcePorts::new(7, 10), 3)]
        {
            let parts: Vec<_> = ports.parts(16).collect();
            assert_eq!((parts.len(), parts[0].0), (wanted, ports.first));
            assert!(parts.windows(2).all(|two| two[0].0 + two[0].1 == two[1].0), "{parts:?}");
            assert_eq!(parts.iter().map(|(_, count)| count).sum::<u16>(), ports.count);
        }
    }

    #[test]
    fn frames_of_one_flow_have_one_hash_tagged_or_not_and_others_another() {
        let frame = |tags: &[u8], ether_type: u16, payload: &[u8]| {
            [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], tags, &ether_type.to_be_bytes(), payload].concat()
        };
        let ports = |port: u8| v4([[10, 0, 0, 1], [10, 0, 0, 2]], 6, &[0, port, 0, 80, 0, 0, 0, 0], |_| ());
        let hash = |frame: &[u8]| HASHER().ethernet(frame);
        let plain = hash(&frame(&[], 0x0800, &ports(1)));
        assert_eq!(plain, hash4(&ports(1), Policy::Ports));
        assert_eq!(hash(&frame(&[0x81, 0, 0, 5, 0x88, 0xa8, 0, 6], 0x0800, &ports(1))), plain);
        assert_ne!(hash(&frame(&[], 0x0800, &ports(2))), plain);
        let others = [frame(&[], 0x0806, &[]), frame(&[], 0x88cc, &[]), frame(&[], 0x0800, &[0x45])];
        let hashes: std::collections::BTreeSet<_> = others.iter().map(|frame| hash(frame)).collect();
        assert_eq!(hashes.len(), 3, "by their type where there is no packet");
        assert_eq!(hash(&[0; 13]), FlowHash(0));
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn packets_of_one_flow_hash_alike_and_others_not(
            addresses: [[u8; 4]; 2],
            protocol in select(vec![6u8, 17, 33, 50, 132, 136]),
            ports: [u8; 4],
            rest: [Vec<u8>; 2],
            ids: [u16; 2],
            other in 0..4usize,
        ) {
            let packet = |n: usize, ports: [u8; 4]| {
                let payload = [&ports[..], &rest[n]].concat();
                v4(addresses, protocol, &payload, |header| (header.identification, header.time_to_live) = (ids[n], u8::try_from(n).unwrap()))
            };
            for policy in [Policy::Addresses, Policy::Ports] {
                prop_assert_eq!(hash4(&packet(0, ports), policy), hash4(&packet(1, ports), policy));
            }
            let mut others = ports;
            others[other] ^= 1;
            prop_assert_eq!(hash4(&packet(0, ports), Policy::Addresses), hash4(&packet(0, others), Policy::Addresses));
            prop_assert_ne!(hash4(&packet(0, ports), Policy::Ports), hash4(&packet(0, others), Policy::Ports));
        }

        #[test]
        fn fragments_of_a_packet_go_one_way(addresses: [[u8; 4]; 2], pieces: [[u8; 8]; 2], offset in 1..1000u16) {
            let first = v4(addresses, 17, &pieces[0], |header| header.more_fragments = true);
            let last = v4(addresses, 17, &pieces[1], |header| {
                header.fragment_offset = IpFragOffset::try_new(offset).unwrap();
            });
            prop_assert_eq!(hash4(&first, Policy::Ports), hash4(&last, Policy::Ports));

            let wide = addresses.map(|address| [[0xfd; 12].as_slice(), &address].concat().try_into().unwrap());
            let fragment = |n: usize, flags: u8| v6(wide, 44, 0, &[&[17, 0, 0, flags, 0, 0, 0, 1][..], &pieces[n]].concat());
            prop_assert_eq!(hash6(&fragment(0, 1), Policy::Ports), hash6(&fragment(1, 8), Policy::Ports));
        }

        #[test]
        fn ipv6_counts_what_its_policy_says(
            addresses: [[u8; 16]; 2],
            label in 0..1u32 << 19,
            ports: [u8; 4],
            which in 0..2usize,
            octet in 0..16usize,
        ) {
            let (addresses_only, all) = (Policy::Addresses, Policy::Ports);
            let packet = v6(addresses, 17, label, &ports);
            let relabelled = v6(addresses, 17, label ^ 1, &ports);
            prop_assert_ne!(hash6(&packet, addresses_only), hash6(&relabelled, addresses_only));
            prop_assert_eq!(hash6(&packet, all), hash6(&relabelled, all));
            let mut others = addresses;
            others[which][octet] ^= 0x10;
            let elsewhere = v6(others, 17, label, &ports);
            prop_assert_ne!(hash6(&packet, addresses_only), hash6(&elsewhere, addresses_only));
            prop_assert_ne!(hash6(&packet, all), hash6(&elsewhere, all));
            // Behind an extension header the transport is the same.
            let extended = v6(addresses, 0, label, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &ports].concat());
            prop_assert_eq!(hash6(&packet, all), hash6(&extended, all));
        }
    }

    type Flows = (&'static str, fn(u32) -> FlowHash);

    /// Flows that differ in one field only, counted up, fall evenly on 64 ways: Pearson's χ² with 63 degrees of freedom
    /// exceeds 120 once in 50,000 times. The key is fixed, so the answer is.
    #[test]
    #[cfg_attr(miri, ignore = "many rounds of safe arithmetic")]
    fn flows_in_a_row_spread_evenly() {
        const FLOWS: u32 = 1 << 14;
        let flows: [Flows; 4] = [
            ("sources", |n| {
                hash4(
                    &v4([(0x0a00_0000 + n).to_be_bytes(), [10, 1, 0, 1]], 1, &[], |_| ()),
                    Policy::Addresses,
                )
            }),
            ("destinations", |n| {
                hash4(&v4([[10, 1, 0, 1], (n << 8).to_be_bytes()], 1, &[], |_| ()), Policy::Addresses)
            }),
            ("ports", |n| {
                hash4(
                    &v4([[10, 0, 0, 1], [10, 0, 0, 2]], 6, &(n << 16 | 80).to_be_bytes(), |_| ()),
                    Policy::Ports,
                )
            }),
            ("IPv6 hosts", |n| {
                let hosts = [u128::from(n) << 64 | 1, 2].map(|host| (0xfd_u128 << 120 | host).to_be_bytes());
                hash6(&v6(hosts, 17, 0, &[0, 1, 0, 2]), Policy::Ports)
            }),
        ];
        for (what, flow) in flows {
            for shift in [0, 13, 26] {
                let mut ways = [0u32; 64];
                (0..FLOWS).for_each(|n| ways[(flow(n).0 >> shift & 63) as usize] += 1);
                let expected = f64::from(FLOWS / 64);
                let distance: f64 =
                    ways.iter().map(|&way| (f64::from(way) - expected).powi(2) / expected).sum();
                assert!(distance < 120.0, "{what}, bits from {shift}: {distance:.0}, {ways:?}");
            }
        }
    }
}
