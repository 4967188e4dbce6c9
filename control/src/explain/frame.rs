//! A frame in words: `eth dst=… src=… / vlan 10 / ipv4 dst=… / udp dport=53 / payload 64`, or its bytes in hex.
//!
//! What is not said is such that the frame is a valid one: lengths, types, protocols and checksums are worked out, and a short
//! frame is padded to 60 bytes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::str::FromStr;

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::wire::IpProtocol;
use rigswitch_dataplane::wire::checksum::{Sum, pseudo_header};

use crate::config::{Problems, Refused, suggest};

/// What a layer may be told.
const LAYERS: [(&str, &[&str]); 9] = [
    ("eth", &["dst", "src", "type"]),
    ("vlan", &["id", "pcp", "type", "tpid"]),
    ("arp", &["op", "smac", "src", "tmac", "dst"]),
    ("ipv4", &["dst", "src", "ttl", "proto", "tos"]),
    ("ipv6", &["dst", "src", "hop", "next"]),
    ("udp", &["dport", "sport"]),
    ("tcp", &["dport", "sport", "flags"]),
    ("icmp", &["type", "code"]),
    ("payload", &["length"]),
];

/// The shortest frame there is on a wire, without its check sequence.
const SHORTEST: usize = 60;
/// The longest that can be made: an IP packet's length is 16 bits.
const LONGEST: usize = 65_000;

/// The bytes of the frame that `text` describes.
///
/// # Errors
/// [`Refused`], with every offending word and a caret under it.
pub fn parse(text: &str) -> Result<Vec<u8>, Refused> {
    let problems = Problems::default();
    let is_hex = |c: char| c.is_ascii_hexdigit() || c.is_whitespace() || c == ':';
    let bytes = if text.chars().all(is_hex) { hex(text, &problems) } else { layers(text, &problems) };
    if problems.is_empty() { Ok(bytes) } else { Err(problems.refusal("frame", text)) }
}

fn hex(text: &str, problems: &Problems) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    if digits.is_empty() || digits.len() % 2 == 1 {
        let rule = format!("{} hex digits: a byte has two", digits.len());
        problems.push(text.len()..text.len(), rule, "give the bytes from the destination address on");
    }
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// One layer as it was written.
struct Layer<'t> {
    name: &'static str,
    place: Range<usize>,
    words: Vec<(&'static str, &'t str, Range<usize>)>,
    problems: &'t Problems,
}

fn layers(text: &str, problems: &Problems) -> Vec<u8> {
    let mut layers = Vec::new();
    let mut start = 0;
    for part in text.split('/') {
        layers.extend(read(part, start, problems));
        start += part.len() + 1;
    }
    if problems.is_empty() {
        check(&layers, problems);
        if layers.first().is_none_or(|first| first.name != "eth") {
            layers.insert(0, Layer { name: "eth", place: 0..0, words: Vec::new(), problems });
        }
    }
    let mut bytes = Vec::new();
    for (at, layer) in layers.iter().enumerate().rev() {
        let inner = layers.get(at + 1).map(|inner| inner.name);
        bytes = layer.around(bytes, inner);
    }
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

/// What only an IP packet carries is in one.
fn check(layers: &[Layer<'_>], problems: &Problems) {
    let below = [None].into_iter().chain(layers.iter().map(|layer| Some(layer.name)));
    for (layer, below) in layers.iter().zip(below) {
        if ["udp", "tcp", "icmp"].contains(&layer.name) && !matches!(below, Some("ipv4" | "ipv6")) {
            let rule = format!("{} is in no IP packet", layer.name);
            problems.push(layer.place.clone(), rule, "put ipv4 or ipv6 before it");
        }
    }
}

/// The layer that `part` describes, which starts at `start`.
fn read<'t>(part: &'t str, start: usize, problems: &'t Problems) -> Option<Layer<'t>> {
    let place = |word: &str| {
        let from = start + (word.as_ptr().addr() - part.as_ptr().addr());
        from..from + word.len()
    };
    let mut words = part.split_whitespace();
    let Some(first) = words.next() else {
        problems.push(start..start + part.len(), "a layer without a name", known());
        return None;
    };
    let Some(&(name, keys)) = LAYERS.iter().find(|(name, _)| *name == first) else {
        let remedy = suggest(first, LAYERS.iter().map(|(name, _)| *name)).unwrap_or_else(known);
        problems.push(place(first), format!("there is no layer `{first}`"), remedy);
        return None;
    };
    let mut layer = Layer { name, place: place(first), words: Vec::new(), problems };
    for word in words {
        // What a VLAN and a payload are about needs no name.
        let (key, value) = word.split_once('=').unwrap_or((keys[0], word));
        let is_bare = !word.contains('=') && !["vlan", "payload"].contains(&name);
        match keys.iter().find(|known| **known == key && !is_bare) {
            Some(known) if layer.words.iter().any(|(said, ..)| said == known) => {
                problems.push(
                    place(word),
                    format!("`{known}` of {name} is there twice"),
                    "keep one of the two",
                );
            }
            Some(known) => layer.words.push((known, value, place(value))),
            None => {
                let word = if is_bare { word } else { key };
                let remedy = suggest(word, keys.iter().copied());
                let remedy = remedy.unwrap_or_else(|| format!("{name} takes {}=…", keys.join("=…, ")));
                problems.push(place(word), format!("`{word}` means nothing in {name}"), remedy);
            }
        }
    }
    Some(layer)
}

fn known() -> String {
    format!("layers are {}", LAYERS.map(|(name, _)| name).join(", "))
}

impl Layer<'_> {
    fn value<T>(&self, key: &str, default: T, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some((_, text, place)) = self.words.iter().find(|(said, ..)| *said == key) else {
            return default;
        };
        parse(text).unwrap_or_else(|| {
            let rule = format!("`{key}` of {} is `{text}`, and must be {wanted}", self.name);
            self.problems.push(place.clone(), rule, format!("write {wanted}"));
            default
        })
    }

    fn parsed<T: FromStr>(&self, key: &str, default: T, wanted: &str) -> T {
        self.value(key, default, wanted, |text| text.parse().ok())
    }

    /// A number up to `most`, in hex after 0x.
    fn number(&self, key: &str, default: u16, most: u16) -> u16 {
        let parse = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        self.value(key, default, &format!("a number up to {most}"), |text| parse(text).filter(|n| *n <= most))
    }

    fn byte(&self, key: &str, default: u8, most: u8) -> u8 {
        self.number(key, default.into(), most.into()).to_be_bytes()[1]
    }

    fn mac(&self, key: &str, default: [u8; 6]) -> [u8; 6] {
        self.parsed(key, MacAddr::new(default), "an address as 02:00:00:00:00:01").octets()
    }

    /// What the layer makes of the bytes that it is around.
    fn around(&self, inner: Vec<u8>, next: Option<&str>) -> Vec<u8> {
        let ether_type = match next {
            Some("vlan") => 0x8100,
            Some("arp") => 0x0806,
            Some("ipv4") => 0x0800,
            Some("ipv6") => 0x86dd,
            _ => 0x88b5, // for local experiments (IEEE 802 §9.2.4)
        };
        let ports = || [self.number("sport", 49_152, u16::MAX), self.number("dport", 9, u16::MAX)];
        let mut header = Vec::new();
        match self.name {
            "eth" => {
                header.extend(self.mac("dst", [0xff; 6]));
                header.extend(self.mac("src", [2, 0, 0, 0, 0, 1]));
                header.extend(self.number("type", ether_type, u16::MAX).to_be_bytes());
            }
            "vlan" => {
                let tci = self.number("pcp", 0, 7) << 13 | self.number("id", 1, 4095);
                header.extend(tci.to_be_bytes());
                header.extend(self.number("type", ether_type, u16::MAX).to_be_bytes());
            }
            "arp" => header = self.arp(),
            "ipv4" => return self.ipv4(inner, next),
            "ipv6" => return self.ipv6(inner, next),
            "udp" => {
                header.extend(ports().map(u16::to_be_bytes).concat());
                header.extend(length(inner.len() + 8).to_be_bytes());
                header.extend([0; 2]);
            }
            "tcp" => {
                header.extend(ports().map(u16::to_be_bytes).concat());
                header.extend([
                    0,
                    0,
                    0,
                    1,
                    0,
                    0,
                    0,
                    0,
                    0x50,
                    self.byte("flags", 2, 0xff),
                    0xff,
                    0xff,
                    0,
                    0,
                    0,
                    0,
                ]);
            }
            "icmp" => {
                header.extend([self.byte("type", 8, 255), self.byte("code", 0, 255), 0, 0, 0, 1, 0, 1]);
            }
            _ => {
                let longest = u16::try_from(LONGEST).unwrap_or(u16::MAX);
                header.resize(usize::from(self.number("length", 0, longest)), 0);
            }
        }
        header.extend(inner);
        header
    }

    fn arp(&self) -> Vec<u8> {
        let op = self.value("op", 1u16, "request or reply", |text| match text {
            "request" => Some(1),
            "reply" => Some(2),
            _ => None,
        });
        let ip = |key, last| self.parsed(key, Ipv4Addr::new(192, 0, 2, last), "an IPv4 address").octets();
        let mut bytes = vec![0, 1, 8, 0, 6, 4];
        bytes.extend(op.to_be_bytes());
        bytes.extend(self.mac("smac", [2, 0, 0, 0, 0, 1]));
        bytes.extend(ip("src", 1));
        bytes.extend(self.mac("tmac", [0; 6]));
        bytes.extend(ip("dst", 2));
        bytes
    }

    fn ipv4(&self, mut inner: Vec<u8>, next: Option<&str>) -> Vec<u8> {
        let ip = |key, last| self.parsed(key, Ipv4Addr::new(192, 0, 2, last), "an IPv4 address").octets();
        let protocol = self.byte("proto", protocol(next, 1), 255);
        let addresses = [ip("src", 1), ip("dst", 2)].concat();
        finish(&mut inner, next, &addresses, protocol);
        let mut header = vec![0x45, self.byte("tos", 0, 255)];
        header.extend(length(inner.len() + 20).to_be_bytes());
        header.extend([0, 0, 0x40, 0, self.byte("ttl", 64, 255), protocol, 0, 0]);
        header.extend(addresses);
        put(&mut header, 10, Sum::of(&[]));
        header.extend(inner);
        header
    }

    fn ipv6(&self, mut inner: Vec<u8>, next: Option<&str>) -> Vec<u8> {
        let ip = |key, last| {
            let default = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
            self.parsed(key, default, "an IPv6 address").octets()
        };
        let protocol = self.byte("next", protocol(next, 58), 255);
        let addresses = [ip("src", 1), ip("dst", 2)].concat();
        finish(&mut inner, next, &addresses, protocol);
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(length(inner.len()).to_be_bytes());
        header.extend([protocol, self.byte("hop", 64, 255)]);
        header.extend(addresses);
        header.extend(inner);
        header
    }
}

/// The number of what an IP packet carries.
fn protocol(next: Option<&str>, icmp: u8) -> u8 {
    match next {
        Some("udp") => 17,
        Some("tcp") => 6,
        Some("icmp") => icmp,
        Some("ipv4") => 4,
        Some("ipv6") => 41,
        _ => 253, // for experiments (RFC 3692)
    }
}

/// Writes the checksum of what an IP packet carries, where that has one.
fn finish(inner: &mut [u8], next: Option<&str>, addresses: &[u8], protocol: u8) {
    const ICMP: u8 = 1;
    let covered = pseudo_header(addresses, IpProtocol(protocol), length(inner.len()));
    match next {
        Some("udp") => put(inner, 6, covered),
        Some("tcp") => put(inner, 16, covered),
        Some("icmp") if protocol == ICMP => put(inner, 2, Sum::of(&[])),
        Some("icmp") => put(inner, 2, covered),
        _ => {}
    }
}

/// Puts the checksum of `bytes`, and of what was summed `before`, where it belongs.
fn put(bytes: &mut [u8], at: usize, before: Sum) {
    let sum = (before + Sum::of(bytes)).checksum_not_zero();
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
