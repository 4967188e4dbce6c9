//! What the words of a filter ask of a frame's bytes: `tcp`, `host`, `port` and the rest, as libpcap has them for Ethernet.

use super::program::{Field, Relation, Test, Value};

/// Protocols that a filter can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Ether,
    Ip,
    Ip6,
    Arp,
    Rarp,
    Stp,
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmp6,
    Igmp,
    Ah,
    Esp,
    Pim,
    Vrrp,
}

/// Which of two addresses or ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
    Either,
    Both,
}

/// Where headers are: further on behind every `vlan`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers {
    ethertype: u32,
    payload: u32,
}

const IP: u32 = 0x0800;
const ARP: u32 = 0x0806;
const RARP: u32 = 0x8035;
const IP6: u32 = 0x86dd;
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];

/// The longest length that an EtherType field can hold as libpcap sees it: more is a type.
const LONGEST: u32 = 1500;

const FRAGMENT: u32 = 44; // IPv6's header of a fragment
const TRANSPORTS: [Protocol; 3] = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp];

impl Protocol {
    /// Its number in an IP header, if it has one.
    pub(super) fn number(self) -> Option<u32> {
        Some(match self {
            Self::Icmp => 1,
            Self::Igmp => 2,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Esp => 50,
            Self::Ah => 51,
            Self::Icmp6 => 58,
            Self::Pim => 103,
            Self::Vrrp => 112,
            Self::Sctp => 132,
            _ => return None,
        })
    }

    /// Its EtherType, if it has one.
    pub(super) fn ethertype(self) -> Option<u32> {
        Some(match self {
            Self::Ip => IP,
            Self::Ip6 => IP6,
            Self::Arp => ARP,
            Self::Rarp => RARP,
            _ => return None,
        })
    }

    /// What it is called in a filter.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ether => "ether",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Rarp => "rarp",
            Self::Stp => "stp",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Igmp => "igmp",
            Self::Ah => "ah",
            Self::Esp => "esp",
            Self::Pim => "pim",
            Self::Vrrp => "vrrp",
        }
    }
}

impl Side {
    /// A test of the source, a test of the destination, or what is to be made of both.
    fn test(self, test: impl Fn(bool) -> Test) -> Test {
        match self {
            Self::Source => test(false),
            Self::Destination => test(true),
            Self::Either => test(false).or(test(true)),
            Self::Both => test(false).and(test(true)),
        }
    }
}

fn at(offset: u32, bytes: usize) -> Field {
    Field { offset, bytes, behind: None }
}

fn is(field: Field, number: u32) -> Test {
    masked(field, u32::MAX, number)
}

fn masked(field: Field, mask: u32, number: u32) -> Test {
    Test::Field { field, mask, relation: Relation::Equal, number }
}

fn compared(field: Field, relation: Relation, number: u32) -> Test {
    Test::Field { field, mask: u32::MAX, relation, number }
}

/// The frame's length.
pub(super) fn length(relation: Relation, number: u32) -> Test {
    Test::Relation(Value::Length, relation, Value::Number(number))
}

/// `ether host`.
pub(super) fn ether_host(address: [u8; 6], side: Side) -> Test {
    let [a, b, c, d, e, f] = address;
    let (high, low) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
    side.test(|destination| {
        let start = if destination { 0 } else { 6 };
        is(at(start + 2, 4), low).and(is(at(start, 2), high.into()))
    })
}

/// `ether multicast`: a group address, all stations included.
pub(super) fn ether_multicast() -> Test {
    masked(at(0, 1), 1, 1)
}

impl Layers {
    /// Those of an Ethernet frame.
    pub(super) fn new() -> Self {
        Self { ethertype: 12, payload: 14 }
    }

    /// `vlan`, and what follows is asked behind the tag.
    pub(super) fn vlan(&mut self, id: Option<u32>) -> Test {
        let tag = |tag: &u32| is(at(self.ethertype, 2), *tag);
        let mut test = Test::Any(TAGS.iter().map(tag).collect());
        if let Some(id) = id {
            test = test.and(masked(at(self.payload, 2), 0xfff, id));
        }
        self.ethertype += 4;
        self.payload += 4;
        test
    }

    /// `ether proto`: an EtherType; or of frames that have a length there, the LLC service access point.
    pub(super) fn ethertype(self, number: u32) -> Test {
        let kind = at(self.ethertype, 2);
        if number > LONGEST {
            return is(kind, number);
        }
        let service = match number {
            0x06 | 0xf0 | 0xfe => is(at(self.payload, 2), number << 8 | number), // both ways
            _ => is(at(self.payload, 1), number),
        };
        compared(kind, Relation::LessOrEqual, LONGEST).and(service)
    }

    /// `ip proto`.
    pub(super) fn ip_protocol(self, number: u32) -> Test {
        self.ethertype(IP).and(is(at(self.payload + 9, 1), number))
    }

    /// `ip6 proto`: the next header, or the one behind a fragment header.
    pub(super) fn ip6_protocol(self, number: u32) -> Test {
        let next = at(self.payload + 6, 1);
        let in_fragment = is(next, FRAGMENT).and(is(at(self.payload + 40, 1), number));
        self.ethertype(IP6).and(is(next, number).or(in_fragment))
    }

    /// `proto`: of either.
    pub(super) fn protocol_number(self, number: u32) -> Test {
        self.ip_protocol(number).or(self.ip6_protocol(number))
    }

    /// A protocol's name alone; `None` for `ether`, which is every frame's.
    pub(super) fn protocol(self, protocol: Protocol) -> Option<Test> {
        if let Some(ethertype) = protocol.ethertype() {
            return Some(self.ethertype(ethertype));
        }
        Some(match (protocol, protocol.number()) {
            (Protocol::Stp, _) => self.ethertype(0x42),
            (Protocol::Icmp6, Some(number)) => self.ip6_protocol(number),
            (Protocol::Icmp | Protocol::Igmp | Protocol::Vrrp, Some(number)) => self.ip_protocol(number),
            (_, Some(number)) => self.protocol_number(number),
            (_, None) => return None,
        })
    }

    /// `host` and `net` for IPv4: of IP, ARP and RARP, or of one of them.
    pub(super) fn host(self, protocol: Option<Protocol>, address: u32, mask: u32, side: Side) -> Test {
        let of = |ethertype, [source, destination]: [u32; 2]| {
            side.test(|is_destination| {
                let offset = if is_destination { destination } else { source };
                self.ethertype(ethertype).and(masked(at(self.payload + offset, 4), mask, address))
            })
        };
        match protocol.and_then(Protocol::ethertype) {
            Some(IP) => of(IP, [12, 16]),
            Some(ethertype) => of(ethertype, [14, 24]),
            None => Test::Any(vec![of(IP, [12, 16]), of(ARP, [14, 24]), of(RARP, [14, 24])]),
        }
    }

    /// The same for IPv6.
    pub(super) fn host6(self, address: u128, mask: u128, side: Side) -> Test {
        let part = |number: u128, part: u32| {
            let part = number >> (96 - 32 * part) & 0xffff_ffff;
            u32::try_from(part).unwrap_or(0) // it was masked
        };
        side.test(|destination| {
            let start = self.payload + if destination { 24 } else { 8 };
            let word = |n: u32| masked(at(start + 4 * n, 4), part(mask, n), part(address, n));
            (0..4).fold(self.ethertype(IP6), |test, n| test.and(word(n)))
        })
    }

    /// `port` and `portrange`: of TCP, UDP and SCTP, or of one of them; not of IPv4 fragments but the first.
    pub(super) fn ports(self, protocol: Option<Protocol>, first: u32, last: u32, side: Side) -> Test {
        let ports = |source: Field| {
            side.test(|destination| {
                let port = Field { offset: source.offset + if destination { 2 } else { 0 }, ..source };
                if first == last {
                    return is(port, first);
                }
                compared(port, Relation::GreaterOrEqual, first).and(compared(
                    port,
                    Relation::LessOrEqual,
                    last,
                ))
            })
        };
        let wanted = || TRANSPORTS.into_iter().filter(|one| protocol.is_none_or(|protocol| protocol == *one));
        let numbers = || wanted().filter_map(Protocol::number);
        let ip6 = numbers()
            .map(|number| is(at(self.payload + 6, 1), number).and(ports(at(self.payload + 40, 2))))
            .collect();
        let ip = numbers().map(|number| {
            let transport = is(at(self.payload + 9, 1), number).and(self.first_fragment());
            transport.and(ports(Field { offset: self.payload, bytes: 2, behind: Some(self.payload) }))
        });
        let ip6 = self.ethertype(IP6).and(Test::Any(ip6));
        ip6.or(self.ethertype(IP).and(Test::Any(ip.collect())))
    }

    /// `ip multicast` and `ip6 multicast`.
    pub(super) fn multicast(self, six: bool) -> Test {
        if six {
            return self.ethertype(IP6).and(is(at(self.payload + 24, 1), 0xff));
        }
        self.ethertype(IP).and(compared(at(self.payload + 16, 1), Relation::GreaterOrEqual, 0xe0))
    }

    /// What `protocol[…]` reads, and what must hold before it may; `None` if it reads of no such protocol.
    pub(super) fn field(self, protocol: Protocol, bytes: usize) -> Option<(Field, Option<Test>)> {
        let header = at(self.payload, bytes);
        let behind = Field { behind: Some(self.payload), ..header };
        Some(match protocol {
            Protocol::Ether => (at(0, bytes), None),
            Protocol::Ip | Protocol::Ip6 | Protocol::Arp | Protocol::Rarp => {
                (header, self.protocol(protocol))
            }
            Protocol::Icmp6 => {
                let next = self.ethertype(IP6).and(is(at(self.payload + 6, 1), 58));
                (at(self.payload + 40, bytes), Some(next))
            }
            Protocol::Tcp
            | Protocol::Udp
            | Protocol::Sctp
            | Protocol::Icmp
            | Protocol::Igmp
            | Protocol::Pim
            | Protocol::Vrrp => {
                let in_ip = self.ip_protocol(protocol.number()?).and(self.first_fragment());
                (behind, Some(in_ip))
            }
            Protocol::Stp | Protocol::Ah | Protocol::Esp => return None,
        })
    }

    fn first_fragment(self) -> Test {
        masked(at(self.payload + 6, 2), 0x1fff, 0)
    }
}
