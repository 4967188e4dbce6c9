//! Random frames and random filters that have to do with each other: few addresses, few ports, every shape.

/// Random numbers from a seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Less than `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

const MACS: [&str; 4] = ["2:0:0:0:0:1", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"];
const PORTS: [u16; 5] = [53, 80, 443, 1000, 65535];
const PROTOCOLS: [u8; 11] = [1, 2, 6, 6, 17, 17, 58, 132, 44, 50, 103];

/// Frames: whole ones, and some that were cut or had a byte changed.
impl Random {
    pub(super) fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        for _ in 0..2 {
            let mac = self.of(&MACS);
            frame.extend(mac.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        for _ in 0..self.of(&[0, 0, 0, 1, 1, 2]) {
            let tag = self.of(&[0x8100u16, 0x88a8, 0x9100]);
            frame.extend(tag.to_be_bytes());
            frame.extend((self.of(&[5u16, 6]) | self.of(&[0, 0xe000])).to_be_bytes());
        }
        match self.below(8) {
            0 => self.arp(&mut frame),
            1 => {
                let llc = self.of(&[0x42, 6, 0xf0, 0xaa]);
                frame.extend([0, 38, llc, llc, 3]);
            }
            2 | 3 => self.ip6(&mut frame),
            4 => frame.extend([0x88, 0xcc]),
            _ => self.ip(&mut frame),
        }
        let trailer = self.below(40);
        frame.extend((0..trailer).map(|byte| byte as u8));
        if self.one_in(6) {
            frame.truncate(self.below(frame.len() as u64) as usize + 1);
        }
        if self.one_in(6) {
            let at = self.below(frame.len() as u64) as usize;
            frame[at] = self.below(256) as u8;
        }
        frame
    }

    fn address(&mut self) -> [u8; 4] {
        [10, self.of(&[0, 1]), 0, self.below(4) as u8]
    }

    fn address6(&mut self) -> [u8; 16] {
        let mut address = [0; 16];
        let start: [u8; 2] = self.of(&[[0xfe, 0x80], [0xff, 0x02], [0x20, 0x01]]);
        address[..2].copy_from_slice(&start);
        address[15] = self.below(3) as u8;
        address
    }

    fn arp(&mut self, frame: &mut Vec<u8>) {
        frame.extend(self.of(&[[0x08, 0x06], [0x80, 0x35]]));
        frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        for _ in 0..2 {
            frame.extend([2, 0, 0, 0, 0, 1]);
            frame.extend(self.address());
        }
    }

    fn ip(&mut self, frame: &mut Vec<u8>) {
        let words = self.of(&[5u8, 5, 5, 6, 15]);
        let fragment = self.of(&[0u16, 0, 0, 0x2000, 0x4000, 0x0010]);
        let protocol = self.of(&PROTOCOLS);
        frame.extend([8, 0, 0x40 | words, 0, 0, 60, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0]);
        for _ in 0..2 {
            let address = if self.one_in(8) { [224, 0, 0, 1] } else { self.address() };
            frame.extend(address);
        }
        frame.extend((20..words * 4).map(|_| 1));
        self.transport(frame);
    }

    fn ip6(&mut self, frame: &mut Vec<u8>) {
        let next = self.of(&PROTOCOLS);
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next, 64]);
        for _ in 0..2 {
            frame.extend(self.address6());
        }
        if next == 44 {
            frame.extend([self.of(&PROTOCOLS), 0, 0, 0, 0, 0, 0, 1]);
        }
        self.transport(frame);
    }

    fn transport(&mut self, frame: &mut Vec<u8>) {
        for _ in 0..2 {
            frame.extend(self.of(&PORTS).to_be_bytes());
        }
        frame.extend([8, 0, 0, 0, 0, 0, 0, 0, 0x50, self.of(&[2, 0x12, 0x11])]);
    }
}

/// Filters that libpcap takes.
impl Random {
    pub(super) fn filter(&mut self, depth: u32) -> String {
        if depth == 0 || self.one_in(3) {
            return self.primitive();
        }
        let (left, right) = (self.filter(depth - 1), self.filter(depth - 1));
        match self.below(6) {
            0 => format!("not {left}"),
            1 => format!("!({left})"),
            2 => format!("({left}) {} {right}", self.of(&["and", "&&"])),
            3 => format!("{left} {} ({right})", self.of(&["or", "||"])),
            4 => format!("{left} and {right}"),
            _ => format!("{left} or {right}"),
        }
    }

    fn primitive(&mut self) -> String {
        match self.below(14) {
            0 => self.of(&["ip", "ip6", "arp", "rarp", "stp", "tcp", "udp", "icmp", "icmp6", "igmp"]).into(),
            1 => self.of(&["sctp", "ether broadcast", "multicast", "ip multicast", "ip6 multicast"]).into(),
            2 => format!("ether {} {}", self.of(&["host", "src", "dst host", "src or dst"]), self.of(&MACS)),
            3 => format!("{} {}", self.of(&["vlan", "vlan 5 or vlan", "ip or vlan"]), self.of(&[5, 6])),
            4 => format!("{} {}", self.of(&["less", "greater", "len <", "len !="]), self.below(100)),
            5 => {
                let of = self.of(&["ether", "ip", "ip6", ""]);
                format!("{of} proto {}", self.of(&["6", "17", "0x2c", "66", "0x800", "0x8100"]))
            }
            6 | 7 => self.ports(),
            8 | 9 => self.hosts(),
            10 => self.hosts6(),
            _ => self.comparison(),
        }
    }

    fn side(&mut self) -> &'static str {
        self.of(&["", "", "src", "dst", "src or dst", "src and dst"])
    }

    fn ports(&mut self) -> String {
        let (of, side) = (self.of(&["", "tcp", "udp", "sctp"]), self.side());
        let (first, last) = (self.of(&PORTS), self.of(&PORTS));
        match self.below(4) {
            0 => format!("{of} {side} portrange {first}-{last}"),
            1 => format!("{of} {side} port {first} or {last}"),
            2 => format!("{of} {side} port (not {first} and {last})"),
            _ => format!("{of} {side} port {first}"),
        }
    }

    fn hosts(&mut self) -> String {
        let (of, side) = (self.of(&["", "ip", "arp", "rarp"]), self.side());
        let [a, b, _, d] = self.address();
        match self.below(5) {
            0 => format!("{of} {side} net {a}.{b}"),
            1 => format!("{of} {side} net {a}.{b}.0.0/{}", self.of(&[16, 24, 30, 31, 32])),
            2 => format!("{of} {side} net {a}.{b}.0.0 mask 255.255.0.0"),
            3 => format!("{of} {side} host {a}.{b}.0.{d} or {a}.0.0.1"),
            _ => format!("{of} {side} host {a}.{b}.0.{d}"),
        }
    }

    fn hosts6(&mut self) -> String {
        let (of, side, last) = (self.of(&["", "ip6"]), self.side(), self.below(3));
        match self.below(3) {
            0 => format!("{of} {side} net fe80::/{}", self.of(&[9, 10, 64, 127])),
            1 => format!("{of} {side} net ff02::0/16"),
            _ => format!("{of} {side} host {}::{last}", self.of(&["fe80", "ff02", "2001"])),
        }
    }

    fn comparison(&mut self) -> String {
        let left = self.number(2);
        let right = match self.below(3) {
            0 => format!("{} & {}", self.number(1), self.below(16)),
            _ => self.below(300).to_string(),
        };
        format!("{left} {} {right}", self.of(&["=", "!=", "<", "<=", ">", ">=", "=="]))
    }

    /// Only whole Ethernet frames, `len` and numbers stand to the right of an operator: libpcap forgets what protocol a field
    /// there is of, and holds the 0 of `ether[0]` for what is divided by. `%` and `^` stand in brackets: it has no rule for how they
    /// bind.
    fn number(&mut self, depth: u32) -> String {
        let left = self.field();
        if depth == 0 {
            return left;
        }
        let right = match self.below(3) {
            0 => "len".into(),
            1 => format!("ether[{}]", 1 + self.below(20)),
            _ => self.below(31).to_string(),
        };
        match self.below(8) {
            0 => format!("({left} {} {right})", self.of(&["%", "^"])).replace("% 0", "% 7"),
            1 => format!("({left} {} {right})", self.of(&["<<", ">>"])),
            2 => format!("{left} {} {right}", self.of(&["+", "-", "*", "&", "|"])),
            3 => format!("({left} / {right})").replace("/ 0", "/ 3"),
            4 => format!("({left} & 15) * {}", self.below(5)),
            _ => left,
        }
    }

    fn field(&mut self) -> String {
        const OF: [&str; 12] =
            ["ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "pim"];
        let (of, size) = (self.of(&OF), self.of(&["", ":1", ":2", ":4"]));
        match self.below(8) {
            0 => format!("{of}[ip[0] & 15{size}]"),
            1 => format!("{of}[len - {}{size}]", self.below(80)),
            2 => format!("{of}[{} - {}{size}]", self.below(30), self.below(30)),
            _ => format!("{of}[{}{size}]", self.below(24)),
        }
    }
}
