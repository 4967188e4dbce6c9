//! The grammar of filters: terms joined by `and` and `or`, from left to right, and numbers compared.

use super::FilterError;
use super::primitives::{self, Layers, Protocol, Side};
use super::program::{Relation, Test, Value};
use super::words::{Word, words};

/// How deep brackets and negations may be nested.
pub(super) const DEEPEST: u32 = 64;

/// What a bare address or number is: the words before it, or those of the term before.
#[derive(Clone, Copy)]
pub(super) struct Qualifiers {
    pub(super) protocol: Option<Protocol>,
    pub(super) side: Option<Side>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Protocol,
}

/// What has been read.
pub(super) enum Read {
    /// A question, and what a bare address behind it would be.
    Test(Test, Option<Qualifiers>),
    /// A number, which is one side of a comparison, or what `qualifiers` say.
    Value(Arithmetic),
}

/// A number and what must hold for it to be there.
pub(super) struct Arithmetic {
    pub(super) value: Value,
    pub(super) guards: Vec<Test>,
}

/// Parses `text` into what it asks.
pub(super) fn parse(text: &str) -> Result<Test, FilterError> {
    let mut parser = Parser { text, words: words(text)?, next: 0, layers: Layers::new(), depth: 0 };
    if parser.words.is_empty() {
        return Ok(Test::All(Vec::new()));
    }
    let start = parser.next;
    let read = parser.expression(None)?;
    let (test, _) = parser.question(read, None, start)?;
    match parser.peek() {
        None => Ok(test),
        Some(_) => Err(parser.wrong("expected `and`, `or` or the end")),
    }
}

/// Where reading has come to.
pub(super) struct Parser<'a> {
    text: &'a str,
    words: Vec<(Word<'a>, usize)>,
    pub(super) next: usize,
    pub(super) layers: Layers,
    pub(super) depth: u32,
}

pub(super) type Parsed<T> = Result<T, FilterError>;

impl<'a> Parser<'a> {
    /// Terms joined by `and` and `or`, which bind alike.
    fn expression(&mut self, inherited: Option<Qualifiers>) -> Parsed<Read> {
        let start = self.next;
        let mut read = self.term(inherited)?;
        while let Some(Word::Is(joint @ ("and" | "or"))) = self.peek() {
            let (left, qualifiers) = self.question(read, inherited, start)?;
            self.next += 1;
            let start = self.next;
            let right = self.term(qualifiers)?;
            let (right, qualifiers) = self.question(right, qualifiers, start)?;
            read = Read::Test(if joint == "and" { left.and(right) } else { left.or(right) }, qualifiers);
        }
        Ok(read)
    }

    /// One question, or a number that stands alone.
    pub(super) fn term(&mut self, inherited: Option<Qualifiers>) -> Parsed<Read> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("nested more than {DEEPEST} deep")));
        }
        let read = self.term_within(inherited);
        self.depth -= 1;
        read
    }

    fn term_within(&mut self, inherited: Option<Qualifiers>) -> Parsed<Read> {
        let start = self.next;
        let Some(word) = self.peek() else { return Err(self.wrong("expected more")) };
        match word {
            Word::Is("not") => {
                self.next += 1;
                let inner = self.term(inherited)?;
                let (test, qualifiers) = self.question(inner, inherited, start + 1)?;
                Ok(Read::Test(Test::Not(Box::new(test)), qualifiers))
            }
            Word::Is("(") => {
                self.next += 1;
                let inner = self.expression(inherited)?;
                self.expect(")")?;
                match inner {
                    Read::Test(test, _) => Ok(Read::Test(test, inherited)),
                    Read::Value(value) => self.compared(value),
                }
            }
            Word::Number(_) | Word::Is("len" | "-") => {
                let first = self.factor()?;
                self.compared(first)
            }
            Word::Is(name) => {
                if protocol(name).is_some() && self.after(1) == Some(Word::Is("[")) {
                    let first = self.factor()?;
                    return self.compared(first);
                }
                self.primitive(name)
            }
            _ => {
                let qualifiers = self.inherited(inherited)?;
                Ok(Read::Test(self.identified(qualifiers)?, Some(qualifiers)))
            }
        }
    }

    pub(super) fn inherited(&self, qualifiers: Option<Qualifiers>) -> Parsed<Qualifiers> {
        qualifiers.ok_or_else(|| self.wrong("say what it is: host, net, port …"))
    }

    /// A question: what was read is one, or is a bare number.
    pub(super) fn question(
        &mut self,
        read: Read,
        inherited: Option<Qualifiers>,
        start: usize,
    ) -> Parsed<(Test, Option<Qualifiers>)> {
        match read {
            Read::Test(test, qualifiers) => Ok((test, qualifiers)),
            Read::Value(Arithmetic { value: Value::Number(number), .. }) => {
                let end = std::mem::replace(&mut self.next, start);
                let qualifiers = self.inherited(inherited)?;
                let test = self.numbered(qualifiers, number)?;
                self.next = end;
                Ok((test, Some(qualifiers)))
            }
            Read::Value(_) => Err(self.wrong("expected a comparison: = != < <= > >=")),
        }
    }

    /// What starts with a word of the language.
    fn primitive(&mut self, name: &'static str) -> Parsed<Read> {
        let plain = |test| Ok(Read::Test(test, None));
        let protocol = protocol(name);
        match (name, protocol) {
            ("less" | "greater", _) => {
                self.next += 1;
                let relation = if name == "less" { Relation::LessOrEqual } else { Relation::GreaterOrEqual };
                plain(primitives::length(relation, self.number("a length in bytes")?))
            }
            ("vlan", _) => {
                self.next += 1;
                plain(self.vlan()?)
            }
            ("inbound" | "outbound", _) => {
                Err(self.wrong("not a property of the bytes: choose the stage instead"))
            }
            ("gateway" | "protochain", _) => Err(self.wrong("not supported")),
            (_, None)
                if !matches!(
                    name,
                    "src"
                        | "dst"
                        | "host"
                        | "net"
                        | "port"
                        | "portrange"
                        | "proto"
                        | "broadcast"
                        | "multicast"
                ) =>
            {
                Err(self.wrong("expected a term: a protocol, src, dst, host, net, port, vlan …"))
            }
            _ => self.qualified(protocol),
        }
    }

    fn vlan(&mut self) -> Parsed<Test> {
        let brackets = self.brackets();
        let Some(Word::Number(id)) = self.peek() else {
            self.next -= brackets;
            return Ok(self.layers.vlan(None));
        };
        if id > 4095 {
            return Err(self.wrong("a VLAN is at most 4095"));
        }
        self.next += 1;
        self.close(brackets)?;
        Ok(self.layers.vlan(Some(id)))
    }

    /// Protocol, direction and kind, then what they qualify; or the protocol alone.
    fn qualified(&mut self, protocol: Option<Protocol>) -> Parsed<Read> {
        self.next += usize::from(protocol.is_some());
        if let Some(Word::Is(group @ ("broadcast" | "multicast"))) = self.peek() {
            let test = self.group(protocol, group)?;
            self.next += 1;
            return Ok(Read::Test(test, None));
        }
        let side = self.side();
        let kind = match self.peek() {
            Some(Word::Is("host")) => Some(Kind::Host),
            Some(Word::Is("net")) => Some(Kind::Net),
            Some(Word::Is("port")) => Some(Kind::Port),
            Some(Word::Is("portrange")) => Some(Kind::PortRange),
            Some(Word::Is("proto")) if side.is_none() => Some(Kind::Protocol),
            Some(Word::Is("proto")) => return Err(self.wrong("a protocol has no source or destination")),
            _ => None,
        };
        self.next += usize::from(kind.is_some());
        if kind.is_none() && side.is_none() {
            return match protocol.and_then(|protocol| self.layers.protocol(protocol)) {
                Some(test) => Ok(Read::Test(test, None)),
                None => Err(self.wrong("expected host, src, dst, proto, broadcast, multicast or [")),
            };
        }
        let qualifiers = Qualifiers { protocol, side, kind: kind.unwrap_or(Kind::Host) };
        Ok(Read::Test(self.identifiers(qualifiers)?, Some(qualifiers)))
    }

    fn group(&self, protocol: Option<Protocol>, group: &str) -> Parsed<Test> {
        Ok(match (protocol, group) {
            (None | Some(Protocol::Ether), "broadcast") => {
                primitives::ether_host([0xff; 6], Side::Destination)
            }
            (None | Some(Protocol::Ether), _) => primitives::ether_multicast(),
            (Some(Protocol::Ip), "broadcast") => {
                return Err(self
                    .wrong("not supported: the switch knows no netmask of its frames; ask for `dst host`"));
            }
            (Some(Protocol::Ip), _) => self.layers.multicast(false),
            (Some(Protocol::Ip6), "multicast") => self.layers.multicast(true),
            _ => return Err(self.wrong("only of ether and ip, and multicast of ip6")),
        })
    }

    /// `src`, `dst`, `src or dst`, `src and dst`.
    fn side(&mut self) -> Option<Side> {
        let one = |word: Option<Word<'_>>| match word {
            Some(Word::Is("src")) => Some(Side::Source),
            Some(Word::Is("dst")) => Some(Side::Destination),
            _ => None,
        };
        let first = one(self.peek())?;
        self.next += 1;
        let both = match self.peek() {
            Some(Word::Is("and")) => Side::Both,
            Some(Word::Is("or")) => Side::Either,
            _ => return Some(first),
        };
        if one(self.after(1)).is_none_or(|second| second == first) {
            return Some(first);
        }
        self.next += 2;
        Some(both)
    }

    /// Opening brackets, which it skips and counts.
    fn brackets(&mut self) -> usize {
        let start = self.next;
        while self.peek() == Some(Word::Is("(")) {
            self.next += 1;
        }
        self.next - start
    }

    fn close(&mut self, brackets: usize) -> Parsed<()> {
        (0..brackets).try_for_each(|_| self.expect(")"))
    }

    pub(super) fn peek(&self) -> Option<Word<'a>> {
        self.after(0)
    }

    pub(super) fn after(&self, words: usize) -> Option<Word<'a>> {
        self.words.get(self.next + words).map(|(word, _)| *word)
    }

    pub(super) fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.peek() != Some(Word::Is(sign)) {
            return Err(self.wrong(format!("expected {sign}")));
        }
        self.next += 1;
        Ok(())
    }

    /// What is wrong with the next word.
    pub(super) fn wrong(&self, why: impl Into<String>) -> FilterError {
        let at = self.words.get(self.next).map_or(self.text.trim_end().len(), |(_, at)| *at);
        FilterError::new(self.text, at, why.into())
    }
}

/// The protocol of this name.
pub(super) fn protocol(name: &str) -> Option<Protocol> {
    const ALL: [Protocol; 16] = [
        Protocol::Ether,
        Protocol::Ip,
        Protocol::Ip6,
        Protocol::Arp,
        Protocol::Rarp,
        Protocol::Stp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Sctp,
        Protocol::Icmp,
        Protocol::Icmp6,
        Protocol::Igmp,
        Protocol::Ah,
        Protocol::Esp,
        Protocol::Pim,
        Protocol::Vrrp,
    ];
    ALL.into_iter().find(|protocol| protocol.name() == name)
}
