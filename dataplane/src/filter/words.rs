//! A filter's text as words: keywords, numbers, addresses, signs; the longest that fits, as libpcap's scanner takes them.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::FilterError;

/// One word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// A word of the language, or a sign.
    Is(&'static str),
    Number(u32),
    /// An IPv4 address of two to four parts, and how many bits they make.
    Ip(u32, u32),
    Ip6(u128),
    Mac([u8; 6]),
    /// Anything else that could name something.
    Name(&'a str),
    /// The same with a backslash before it: a name, though it is a keyword.
    Escaped(&'a str),
}

/// Words of the language.
const KEYWORDS: [&str; 37] = [
    "dst",
    "src",
    "ether",
    "arp",
    "rarp",
    "ip",
    "ip6",
    "tcp",
    "udp",
    "sctp",
    "icmp",
    "icmp6",
    "igmp",
    "ah",
    "esp",
    "pim",
    "vrrp",
    "stp",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "less",
    "greater",
    "broadcast",
    "multicast",
    "and",
    "or",
    "not",
    "len",
    "vlan",
    "inbound",
    "outbound",
    "gateway",
    "protochain",
];

/// Other words for some of them.
const SAME: [(&str, &str); 2] = [("link", "ether"), ("length", "len")];

/// Signs, longer ones first.
const SIGNS: [(&str, &str); 25] = [
    ("&&", "and"),
    ("||", "or"),
    (">=", ">="),
    ("<=", "<="),
    ("!=", "!="),
    ("==", "="),
    ("<<", "<<"),
    (">>", ">>"),
    ("+", "+"),
    ("-", "-"),
    ("*", "*"),
    ("/", "/"),
    ("%", "%"),
    (":", ":"),
    ("[", "["),
    ("]", "]"),
    ("!", "not"),
    ("<", "<"),
    (">", ">"),
    ("(", "("),
    (")", ")"),
    ("&", "&"),
    ("|", "|"),
    ("^", "^"),
    ("=", "="),
];

/// Names of numbers.
const NUMBERS: [(&str, u32); 46] = [
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-multicastlistenerreportv2", 143),
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmp6-routerrenum", 138),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
];

/// The words of `text`, each with the byte that it starts at.
pub(super) fn words(text: &str) -> Result<Vec<(Word<'_>, usize)>, FilterError> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if matches!(next, ' ' | '\t' | '\r' | '\n') {
            at += 1;
            continue;
        }
        let (word, length) = word(&text[at..]).map_err(|why| FilterError::new(text, at, why))?;
        words.push((word, at));
        at += length;
    }
    Ok(words)
}

/// The word that `text` starts with, and its length.
fn word(text: &str) -> Result<(Word<'_>, usize), String> {
    if let Some(rest) = text.strip_prefix('\\') {
        let name = rest.split([' ', '!', '(', ')', '\n', '\t']).next().unwrap_or_default();
        return if name.is_empty() {
            Err(r"no name behind \".into())
        } else {
            Ok((Word::Escaped(name), name.len() + 1))
        };
    }
    let whole = run(text, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    if whole.contains(':')
        && let Some(address) = address(whole)
    {
        return Ok((address, whole.len()));
    }
    let plain = run(text, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let plain = plain.trim_end_matches(['-', '_']);
    if plain.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok((name_or_number(plain)?, plain.len()));
    }
    match SIGNS.iter().find(|(sign, _)| text.starts_with(sign)) {
        Some((sign, meaning)) => Ok((Word::Is(meaning), sign.len())),
        None => Err("means nothing in a filter".into()),
    }
}

/// The longest beginning of `text` that is made of these.
fn run(text: &str, of: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !of(c)).unwrap_or(text.len())]
}

/// An address with colons.
fn address(text: &str) -> Option<Word<'_>> {
    let mac = mac(text.split(':'), 2).map(Word::Mac);
    mac.or_else(|| text.parse::<Ipv6Addr>().ok().map(|address| Word::Ip6(address.to_bits())))
}

/// A MAC address in parts of one or two bytes, each of so many digits at most.
fn mac<'a>(parts: impl Iterator<Item = &'a str>, digits: usize) -> Option<[u8; 6]> {
    let mut bytes = Vec::new();
    for part in parts {
        let is_hex = part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = if digits > 2 { part.len() == digits } else { (1..=2).contains(&part.len()) };
        let number = u16::from_str_radix(part, 16).ok().filter(|_| is_hex && fits)?;
        bytes.extend_from_slice(&number.to_be_bytes()[if digits > 2 { 0 } else { 1 }..]);
    }
    bytes.try_into().ok()
}

fn name_or_number(text: &str) -> Result<Word<'_>, String> {
    if let Some((_, number)) = NUMBERS.iter().find(|(name, _)| *name == text) {
        return Ok(Word::Number(*number));
    }
    let same = SAME.iter().find(|(name, _)| *name == text).map_or(text, |(_, same)| same);
    if let Some(keyword) = KEYWORDS.iter().find(|keyword| **keyword == same) {
        return Ok(Word::Is(keyword));
    }
    let dotless = text.len() == 12 && text.is_ascii();
    let address = mac(text.split('-'), 2)
        .or_else(|| mac(text.split('.'), 2))
        .or_else(|| mac(text.split('.'), 4))
        .or_else(|| if dotless { mac([&text[..4], &text[4..8], &text[8..]].into_iter(), 4) } else { None });
    if let Some(address) = address {
        return Ok(Word::Mac(address));
    }
    let is_hex = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X"));
    if text.bytes().all(|byte| byte.is_ascii_digit())
        || is_hex && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return number(text).map(Word::Number);
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !text.ends_with('.') {
        return ip(text);
    }
    Ok(Word::Name(text))
}

/// Decimal, hexadecimal behind 0x, octal behind 0.
fn number(text: &str) -> Result<u32, String> {
    let (digits, radix) = match text.strip_prefix('0') {
        None | Some("") => (text, 10),
        Some(rest) => match rest.strip_prefix(['x', 'X']) {
            Some(hex) => (hex, 16),
            None => (rest, 8),
        },
    };
    let number = u32::from_str_radix(digits, radix);
    number.map_err(|_| match radix {
        8 if digits.contains(['8', '9']) => "a number that starts with 0 is octal".into(),
        _ => "a number has at most 32 bits".into(),
    })
}

/// Two to four parts of an IPv4 address.
fn ip(text: &str) -> Result<Word<'_>, String> {
    let parts: Vec<_> = text.split('.').collect();
    if !(2..=4).contains(&parts.len()) {
        return Err("an IPv4 address has four parts".into());
    }
    let whole = [&parts[..], &["0"; 4][parts.len()..]].concat().join(".");
    match whole.parse::<Ipv4Addr>() {
        Ok(address) => Ok(Word::Ip(address.to_bits(), u32::try_from(8 * parts.len()).unwrap_or(32))),
        Err(_) => Err("no IPv4 address: each part is in 0..=255, without a leading 0".into()),
    }
}
