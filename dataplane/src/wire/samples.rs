//! Frames to test with, built by `etherparse` so that the reference is not our own code.

use etherparse::{IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, Ipv6RawExtHeader, TcpHeader, UdpHeader};
use proptest::prelude::*;
use proptest::sample::Index;

/// Few cases under Miri, and no files beside the source: a failing case is printed.
pub(super) fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if cfg!(miri) { ProptestConfig { cases: 2, ..config } } else { config }
}

/// Bytes of the longest payload that is cut to pieces and put together again.
pub(super) const LONG: usize = if cfg!(miri) { 400 } else { 4000 };

/// An IP header to build.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ip {
    pub(super) v6: bool,
    /// From which the addresses are made.
    pub(super) host: u16,
    pub(super) identification: u16,
    /// Router Alert: an IPv4 option or an IPv6 hop-by-hop header.
    pub(super) extended: bool,
}

/// What wraps a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tunnel {
    Ip(Ip),
    Vxlan { ip: Ip, port: u16, checksum: bool, tags: u16 },
}

/// The transport of the innermost packet.
#[derive(Clone, Debug)]
pub(super) enum Transport {
    Udp(u16),
    Tcp(Box<TcpHeader>),
}

/// A recipe for a frame; every checksum of what it builds is full and right.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) tags: u16,
    pub(super) tunnels: Vec<Tunnel>, // innermost first
    pub(super) ip: Ip,
    pub(super) transport: Transport,
    pub(super) payload: Vec<u8>,
}

/// A frame and the IP packets in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) frame: Vec<u8>,
    pub(super) parts: Vec<Part>, // innermost first
}

/// Where the transport of one IP packet is.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) transport: usize,
    /// Offset of the checksum, if there is one, and what it would hold were it partial.
    pub(super) checksum: Option<(usize, [u8; 2])>,
}

impl Recipe {
    pub(super) fn build(&self) -> Sample {
        let mut sample = Sample { frame: self.payload.clone(), parts: Vec::new() };
        match &self.transport {
            Transport::Udp(port) => sample.wrap_udp(self.ip, *port, true),
            Transport::Tcp(header) => sample.wrap_tcp(self.ip, header),
        }
        let mut inner = self.ip;
        for tunnel in &self.tunnels {
            match *tunnel {
                Tunnel::Ip(ip) => {
                    let protocol = if inner.v6 { IpNumber::IPV6 } else { IpNumber::IPV4 };
                    sample.wrap_ip(ip, protocol, None);
                    inner = ip;
                }
                Tunnel::Vxlan { ip, port, checksum, tags } => {
                    sample.wrap_ethernet(inner, tags);
                    sample.prepend(&[0x08, 0, 0, 0, 0, 0, 7, 0]);
                    sample.wrap_udp(ip, port, checksum);
                    inner = ip;
                }
            }
        }
        sample.wrap_ethernet(inner, self.tags);
        sample
    }
}

impl Sample {
    /// Makes the checksum of this part partial and says whether that changed anything; the others stay as they are.
    pub(super) fn make_partial(&mut self, part: usize) -> bool {
        let checksum = self.parts[part].checksum;
        checksum.is_some_and(|(offset, partial)| {
            let field: &mut [u8; 2] = self.frame[offset..].first_chunk_mut().unwrap();
            std::mem::replace(field, partial) != partial
        })
    }

    fn prepend(&mut self, header: &[u8]) {
        self.frame.splice(0..0, header.iter().copied());
        for part in &mut self.parts {
            part.transport += header.len();
            if let Some((offset, _)) = &mut part.checksum {
                *offset += header.len();
            }
        }
    }

    fn wrap_tcp(&mut self, ip: Ip, header: &TcpHeader) {
        let (from, to) = (source(ip), destination(ip));
        let mut header = header.clone();
        let checksum = if ip.v6 {
            header.calc_checksum_ipv6_raw(from, to, &self.frame)
        } else {
            header.calc_checksum_ipv4_raw(v4(from), v4(to), &self.frame)
        };
        let checksum = checksum.unwrap();
        // 0 and 0xffff are one number; ours is always the latter.
        header.checksum = if checksum == 0 { 0xffff } else { checksum };
        self.prepend(&header.to_bytes());
        self.wrap_ip(ip, IpNumber::TCP, Some(16));
    }

    fn wrap_udp(&mut self, ip: Ip, port: u16, checksum: bool) {
        let mut header = if ip.v6 {
            UdpHeader::with_ipv6_checksum(4000, port, &ipv6(ip, IpNumber::UDP), &self.frame).unwrap()
        } else {
            UdpHeader::with_ipv4_checksum(4000, port, &ipv4(ip, IpNumber::UDP), &self.frame).unwrap()
        };
        header.checksum *= u16::from(checksum);
        self.prepend(&header.to_bytes());
        self.wrap_ip(ip, IpNumber::UDP, checksum.then_some(6));
    }

    /// Puts an IP header ahead of the frame, a transport segment with its checksum at this offset.
    fn wrap_ip(&mut self, ip: Ip, protocol: IpNumber, checksum: Option<usize>) {
        let partial = partial(ip, protocol, self.frame.len());
        self.parts.push(Part { transport: 0, checksum: checksum.map(|offset| (offset, partial)) });
        if ip.v6 {
            let mut header = ipv6(ip, protocol);
            if ip.extended {
                header.next_header = IpNumber::IPV6_HEADER_HOP_BY_HOP;
                let alert = Ipv6RawExtHeader::new_raw(protocol, &[5, 2, 0, 0, 1, 0]).unwrap();
                self.prepend(&alert.to_bytes());
            }
            header.set_payload_length(self.frame.len()).unwrap();
            self.prepend(&header.to_bytes());
        } else {
            let mut header = ipv4(ip, protocol);
            if ip.extended {
                header.options = Ipv4Options::from([148, 4, 0, 0]);
            }
            header.set_payload_len(self.frame.len()).unwrap();
            header.header_checksum = header.calc_header_checksum();
            self.prepend(&header.to_bytes());
        }
    }

    fn wrap_ethernet(&mut self, inner: Ip, tags: u16) {
        let mut ether_type: u16 = if inner.v6 { 0x86dd } else { 0x0800 };
        for vid in 0..tags {
            self.prepend(&[vid.to_be_bytes(), ether_type.to_be_bytes()].concat());
            ether_type = if vid == 0 { 0x8100 } else { 0x88a8 };
        }
        self.prepend(&[&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ether_type.to_be_bytes()].concat());
    }
}

fn source(ip: Ip) -> [u8; 16] {
    let [high, low] = ip.host.to_be_bytes();
    [10, high, low, 1, high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

fn destination(ip: Ip) -> [u8; 16] {
    source(ip).map(|octet| octet.wrapping_add(1))
}

fn v4(address: [u8; 16]) -> [u8; 4] {
    *address.first_chunk().unwrap()
}

fn ipv4(ip: Ip, protocol: IpNumber) -> Ipv4Header {
    let mut header = Ipv4Header::new(0, 64, protocol, v4(source(ip)), v4(destination(ip))).unwrap();
    header.identification = ip.identification;
    header
}

fn ipv6(ip: Ip, protocol: IpNumber) -> Ipv6Header {
    let (source, destination) = (source(ip), destination(ip));
    Ipv6Header { next_header: protocol, hop_limit: 64, source, destination, ..Default::default() }
}

/// The folded pseudo-header sum, word by word.
fn partial(ip: Ip, protocol: IpNumber, len: usize) -> [u8; 2] {
    let addresses = if ip.v6 { 16 } else { 4 };
    let words = [source(ip), destination(ip)].map(|a| a[..addresses].to_vec()).concat();
    let words = words.chunks(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    let mut sum = words.sum::<usize>() + usize::from(protocol.0) + len;
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap().to_be_bytes()
}

prop_compose! {
    fn any_ip()(v6: bool, host: u16, identification: u16, extended: bool) -> Ip {
        Ip { v6, host, identification, extended }
    }
}

fn any_tunnel() -> impl Strategy<Value = Tunnel> {
    let port = prop::sample::select(vec![4789, 8472]);
    let vxlan = (any_ip(), port, any::<bool>(), 0..3u16);
    prop_oneof![
        any_ip().prop_map(Tunnel::Ip),
        vxlan.prop_map(|(ip, port, checksum, tags)| Tunnel::Vxlan { ip, port, checksum, tags }),
    ]
}

fn any_transport() -> impl Strategy<Value = Transport> {
    let options = prop::collection::vec(any::<[u8; 4]>(), 0..=10);
    let tcp = (any::<u32>(), any::<[bool; 3]>(), options).prop_map(|(sequence, [fin, psh, cwr], options)| {
        let mut header = TcpHeader::new(80, 50_000, sequence, 1024);
        (header.fin, header.psh, header.cwr, header.ack) = (fin, psh, cwr, true);
        header.set_options_raw(options.as_flattened()).unwrap();
        Transport::Tcp(Box::new(header))
    });
    prop_oneof![Just(Transport::Udp(5000)), tcp]
}

prop_compose! {
    /// Any frame with TCP or UDP innermost and a payload of at least one byte, below `max` bytes.
    pub(super) fn any_recipe(max: usize)(
        tags in 0..3u16,
        tunnels in prop::collection::vec(any_tunnel(), 0..=3),
        ip in any_ip(),
        transport in any_transport(),
        payload in prop::collection::vec(any::<u8>(), 1..max),
    ) -> Recipe {
        Recipe { tags, tunnels, ip, transport, payload }
    }
}

/// Some bytes changed, the end cut off.
pub(super) fn mangle(mut frame: Vec<u8>, flips: &[(Index, u8)], cut: Index) -> Vec<u8> {
    for (at, flip) in flips {
        let at = at.index(frame.len());
        frame[at] ^= flip;
    }
    frame.truncate(cut.index(frame.len() * 2));
    frame
}
