//! Addresses, ports and protocols in filters, as the words before them qualify them.

use super::parser::{Kind, Parsed, Parser, Qualifiers, protocol};
use super::primitives::{self, Protocol, Side};
use super::program::Test;
use super::words::Word;

impl Parser<'_> {
    /// What qualifiers are about: one, or several in brackets.
    pub(super) fn identifiers(&mut self, qualifiers: Qualifiers) -> Parsed<Test> {
        match self.peek() {
            Some(Word::Is("not" | "(")) => {
                let start = self.next;
                let read = self.term(Some(qualifiers))?;
                self.question(read, Some(qualifiers), start).map(|(test, _)| test)
            }
            Some(Word::Number(number)) => {
                let test = self.numbered(qualifiers, number)?;
                self.next += 1;
                Ok(test)
            }
            _ => self.identified(qualifiers),
        }
    }

    /// A number, as qualified.
    pub(super) fn numbered(&self, qualifiers: Qualifiers, number: u32) -> Parsed<Test> {
        match qualifiers.kind {
            Kind::Host => self.host(qualifiers, number, u32::MAX),
            Kind::Net => {
                // 10 is short for 10.0.0.0/8.
                let missing = if number == 0 { 0 } else { number.leading_zeros() / 8 * 8 };
                self.host(qualifiers, number << missing, u32::MAX << missing)
            }
            Kind::Port | Kind::PortRange => self.ports(qualifiers, number, number),
            Kind::Protocol => self.protocol_number(qualifiers, number),
        }
    }

    /// An address or a name, as qualified.
    pub(super) fn identified(&mut self, qualifiers: Qualifiers) -> Parsed<Test> {
        let Some(word) = self.peek() else { return Err(self.wrong("expected an address or a number")) };
        let side = qualifiers.side.unwrap_or(Side::Either);
        let test = match (word, qualifiers.kind) {
            (Word::Ip(address, bits), Kind::Host | Kind::Net) => {
                return self.ip(qualifiers, address, bits);
            }
            (Word::Ip6(address), Kind::Host | Kind::Net) => return self.ip6(qualifiers, address),
            (Word::Mac(address), Kind::Host) if qualifiers.protocol == Some(Protocol::Ether) => {
                primitives::ether_host(address, side)
            }
            (Word::Mac(_), _) => return Err(self.wrong("a MAC address is an `ether host`")),
            (Word::Name(name), Kind::PortRange) => {
                let range = name.split_once('-').and_then(|(first, last)| {
                    let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
                    Some((first.min(last), first.max(last)))
                });
                let Some((first, last)) = range else {
                    return Err(self.wrong("a range is two numbers: 80-90"));
                };
                self.ports(qualifiers, first, last)?
            }
            (Word::Name(name) | Word::Escaped(name), Kind::Protocol) => {
                self.protocol_named(qualifiers, name)?
            }
            (Word::Name(_) | Word::Escaped(_), _) => {
                return Err(self.wrong("names are not looked up: give the address or the number"));
            }
            _ => return Err(self.wrong("not what the words before it ask for")),
        };
        self.next += 1;
        Ok(test)
    }

    /// An IPv4 address, whole or in part, with a length or a mask if it is a net.
    fn ip(&mut self, qualifiers: Qualifiers, address: u32, bits: u32) -> Parsed<Test> {
        let mask = match (self.after(1), self.after(2)) {
            (Some(Word::Is("/")), Some(Word::Number(length))) => {
                self.net_length(qualifiers, length, 32)?;
                u32::MAX.checked_shl(32 - length).unwrap_or(0)
            }
            (Some(Word::Is("mask")), Some(Word::Ip(mask, _))) => mask,
            (Some(Word::Is("/" | "mask")), _) => {
                self.next += 2;
                return Err(self.wrong("expected the length or the mask of the net"));
            }
            _ => {
                let test = self.host(qualifiers, address, u32::MAX << (32 - bits))?;
                self.next += 1;
                return Ok(test);
            }
        };
        if qualifiers.kind != Kind::Net {
            return Err(self.wrong("a mask is for a `net`"));
        }
        if address & !mask != 0 {
            return Err(self.wrong("the address has bits that the mask has not"));
        }
        let test = self.host(qualifiers, address, mask)?;
        self.next += 3;
        Ok(test)
    }

    fn net_length(&self, qualifiers: Qualifiers, length: u32, longest: u32) -> Parsed<()> {
        match (qualifiers.kind, length <= longest) {
            (Kind::Net, true) => Ok(()),
            (Kind::Net, false) => Err(self.wrong(format!("the length of the net is at most {longest}"))),
            _ => Err(self.wrong("a mask is for a `net`")),
        }
    }

    fn ip6(&mut self, qualifiers: Qualifiers, address: u128) -> Parsed<Test> {
        if let Some(protocol) = qualifiers.protocol.filter(|protocol| *protocol != Protocol::Ip6) {
            return Err(self.wrong(format!("an IPv6 address is none of {}", protocol.name())));
        }
        let mut mask = u128::MAX;
        let mut read = 1;
        if let (Some(Word::Is("/")), Some(Word::Number(length))) = (self.after(1), self.after(2)) {
            self.net_length(qualifiers, length, 128)?;
            mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            read = 3;
        }
        if address & !mask != 0 {
            return Err(self.wrong("the address has bits that the mask has not"));
        }
        self.next += read;
        Ok(self.layers.host6(address, mask, qualifiers.side.unwrap_or(Side::Either)))
    }

    fn host(&self, qualifiers: Qualifiers, address: u32, mask: u32) -> Parsed<Test> {
        match qualifiers.protocol {
            None | Some(Protocol::Ip | Protocol::Arp | Protocol::Rarp) => {
                let side = qualifiers.side.unwrap_or(Side::Either);
                Ok(self.layers.host(qualifiers.protocol, address, mask, side))
            }
            Some(protocol) => Err(self.wrong(format!("an IPv4 address is none of {}", protocol.name()))),
        }
    }

    fn ports(&self, qualifiers: Qualifiers, first: u32, last: u32) -> Parsed<Test> {
        if last > 65535 {
            return Err(self.wrong("a port is at most 65535"));
        }
        match qualifiers.protocol {
            None | Some(Protocol::Tcp | Protocol::Udp | Protocol::Sctp) => {
                let side = qualifiers.side.unwrap_or(Side::Either);
                Ok(self.layers.ports(qualifiers.protocol, first, last, side))
            }
            Some(protocol) => Err(self.wrong(format!("{} has no ports", protocol.name()))),
        }
    }

    fn protocol_number(&self, qualifiers: Qualifiers, number: u32) -> Parsed<Test> {
        match qualifiers.protocol {
            Some(Protocol::Ether) => match number {
                0xe0 | 0x809b | 0x80f3 => Err(self.wrong("not supported: IPX and AppleTalk")),
                number => Ok(self.layers.ethertype(number)),
            },
            Some(Protocol::Ip) => Ok(self.layers.ip_protocol(number)),
            Some(Protocol::Ip6) => Ok(self.layers.ip6_protocol(number)),
            None => Ok(self.layers.protocol_number(number)),
            Some(protocol) => Err(self.wrong(format!("{} carries no numbered protocols", protocol.name()))),
        }
    }

    fn protocol_named(&self, qualifiers: Qualifiers, name: &str) -> Parsed<Test> {
        let of_ether = qualifiers.protocol == Some(Protocol::Ether);
        let number = protocol(name).and_then(|protocol| match of_ether {
            true => protocol.ethertype(),
            false => protocol.number(),
        });
        match number {
            Some(number) => self.protocol_number(qualifiers, number),
            None => Err(self.wrong("no name of a protocol that is carried there: give its number")),
        }
    }
}
