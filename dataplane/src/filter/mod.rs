//! Filters in the words of tcpdump and libpcap: compiled once, then asked of any frame without allocating.
//!
//! They mean what they mean to `tcpdump` on Ethernet (pcap-filter(7)). What is understood:
//!
//! ```text
//! filter    = term { ("and" | "&&" | "or" | "||") term }            from left to right: both bind alike
//! term      = ("not" | "!") term | "(" filter ")" | comparison | primitive
//!           | address                                               with the qualifiers of the term before
//! primitive = [ether|ip|ip6|arp|rarp|tcp|udp|sctp] [src|dst|src or dst|src and dst]
//!             [host|net|port|portrange|proto] what
//!           | ether|ip|ip6|arp|rarp|stp|tcp|udp|sctp|icmp|icmp6|igmp|ah|esp|pim|vrrp
//!           | [ether] broadcast | [ether|ip|ip6] multicast
//!           | vlan [id]                                             what follows is asked behind the tag
//!           | less length | greater length                          both are "or equal"
//! what      = 10.0.0.1 | 10.1 | 2001:db8::1 | 02:00:00:00:00:01     host; a MAC address is `ether host`
//!           | 10.0.0.0/8 | 10 | 10.0.0.0 mask 255.0.0.0 | fe80::/10 net
//!           | 53                                                    port
//!           | 50-60                                                 portrange
//!           | 17 | 0x88cc | \tcp | \arp                             proto
//!           | "(" what { ("and" | "or") what } ")" | "not" what
//! comparison = number ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") number
//! number    = 12 | 0xff | 017 | len | -number | "(" number ")" | icmp-echo, tcp-syn, tcpflags …
//!           | (ether|ip|ip6|arp|rarp|tcp|udp|sctp|icmp|icmp6|igmp|pim|vrrp) "[" number [":" (1|2|4)] "]"
//!           | number ("|" | "^" | "&" | "<<" | ">>" | "+" | "-" | "*" | "/" | "%") number
//! ```
//!
//! A filter that asks for bytes which a frame has not, or divides by zero, does not want that frame, whatever it negates.
//! An empty filter wants every frame. Names of hosts, nets and services are not looked up; `ip broadcast`, `inbound`, `outbound`,
//! `gateway`, `protochain`, MPLS, PPPoE, GENEVE and link layers other than Ethernet are not supported, and errors say so.
//! Arithmetic binds as in C; libpcap gives `%` and `^` no place of their own, and forgets in `len + tcp[0]` to ask for TCP.

mod arithmetic;
mod identifiers;
mod parser;
mod primitives;
mod program;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;

use program::Test;

/// The longest filter, in bytes.
const LONGEST: usize = 4096;

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter(Test);

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// [`FilterError`] when it means nothing, or asks for what is not supported.
    pub fn compile(text: &str) -> Result<Self, FilterError> {
        if text.len() > LONGEST {
            return Err(FilterError::new(text, LONGEST, format!("longer than {LONGEST} bytes")));
        }
        parser::parse(text).map(Self)
    }

    /// Whether it wants this frame, given from its destination address on.
    pub fn matches(&self, frame: &[u8]) -> bool {
        self.0.holds(frame).unwrap_or(false)
    }
}

/// Why a filter does not compile, and where: shown with a caret under the spot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    text: String,
    column: usize, // in characters
    why: String,
}

impl FilterError {
    /// About byte `at` of `text`.
    fn new(text: &str, at: usize, why: impl Into<String>) -> Self {
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let column = text.char_indices().take_while(|(index, _)| *index < at).count();
        Self { text: text.chars().map(printable).collect(), column, why: why.into() }
    }
}

impl fmt::Display for FilterError {
    /// `filter: why`, the filter, and a caret under what is wrong, on a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AROUND: usize = 100; // of a long one
        let Self { text, column, why } = self;
        let first = column.saturating_sub(AROUND);
        let shown: String = text.chars().skip(first).take(2 * AROUND).collect();
        write!(f, "filter: {why}\n  {shown}\n  {:>1$}", '^', column - first + 1)
    }
}

impl std::error::Error for FilterError {}
