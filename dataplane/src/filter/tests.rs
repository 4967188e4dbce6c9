//! Filters: what they say of frames made by hand, and of what is no filter.

use super::*;

/// An Ethernet frame with these bytes behind the addresses.
fn ethernet(rest: &[&[u8]]) -> Vec<u8> {
    let addresses: &[u8] = &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&[addresses], rest].concat().concat()
}

/// A UDP datagram over IPv4 from 10.0.0.1:1000 to 10.0.0.2:53.
fn datagram() -> Vec<u8> {
    let ip = [0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    ethernet(&[&[8, 0], &ip, &[3, 0xe8, 0, 53, 0, 12, 0, 0], b"rigs"])
}

#[track_caller]
fn wants(filter: &str, frame: &[u8]) -> bool {
    Filter::compile(filter).unwrap_or_else(|error| panic!("{error}")).matches(frame)
}

#[test]
fn filters_say_what_they_should_of_a_datagram() {
    for filter in [
        "",
        "ip",
        "udp",
        "ip proto 17",
        r"ip proto \udp",
        "host 10.0.0.1",
        "src 10.0.0.1 and dst 10.0.0.2",
        "net 10",
        "net 10.0.0.0/30",
        "net 10.0.0.0 mask 255.255.255.0",
        "host (10.0.0.9 or 10.0.0.2)",
        "host not 10.0.0.9",
        "port 53",
        "udp dst port 53",
        "src portrange 999-1001",
        "port 80 or 53",
        "ether src 2:0:0:0:0:1",
        "ether host 020000000002",
        "not tcp",
        "! arp && udp || vlan",
        "len = 46",
        "greater 46 and less 46",
        "ip[8] = 64",
        "udp[0:2] > udp[2:2]",
        "ip[ip[0] & 15] = 0",
        "(ip[0] & 0xf) * 4 = 20",
        "-1 > len",
        "vlan or ip[0] = 0 or ether[12:2] = 0x800",
    ] {
        assert!(wants(filter, &datagram()), "{filter}");
    }
    for filter in [
        "tcp",
        "ip6",
        "arp",
        "port 54",
        "src port 53",
        "net 11",
        "vlan",
        "ether multicast",
        "less 45",
        "src and dst host 10.0.0.1",
        "not port 53",
        "tcp[0] = 3",
        "not tcp and not udp",
        "ip and arp or icmp",
        "ether[46] = 0",
        "not ether[46] = 0",
        "1 / (len - 46) = 0",
        "not (1 / (len - 46) = 0)",
    ] {
        assert!(!wants(filter, &datagram()), "{filter}");
    }
}

#[test]
fn what_follows_vlan_is_asked_behind_the_tag() {
    let mut tagged = datagram();
    tagged.splice(12..12, [0x81, 0, 0, 10]);
    for filter in ["vlan", "vlan 10", "vlan 10 and udp port 53", "vlan and host 10.0.0.1", "not ip"] {
        assert!(wants(filter, &tagged), "{filter}");
    }
    for filter in ["udp", "vlan 11", "vlan and vlan", "host 10.0.0.1"] {
        assert!(!wants(filter, &tagged), "{filter}");
    }
}

#[test]
fn what_is_no_filter_is_refused_at_the_spot() {
    for (filter, column, why) in [
        ("tcp prt 80", 4, "expected `and`, `or` or the end"),
        ("tcp port", 8, "expected an address or a number"),
        ("port 99999", 5, "a port is at most 65535"),
        ("port http", 5, "names are not looked up: give the address or the number"),
        ("host 10.0.0.256", 5, "no IPv4 address: each part is in 0..=255, without a leading 0"),
        ("net 10.0.0.1/8", 4, "the address has bits that the mask has not"),
        ("host 10.0.0.0/8", 5, "a mask is for a `net`"),
        ("net fe80::/129", 4, "the length of the net is at most 128"),
        ("ip host ::1", 8, "an IPv6 address is none of ip"),
        ("tcp host 10.0.0.1", 9, "an IPv4 address is none of tcp"),
        ("icmp port 3", 10, "icmp has no ports"),
        ("ip[0:3] = 1", 5, "a field has 1, 2 or 4 bytes"),
        ("ip[0] = 1 / 0", 12, "division by zero"),
        ("ip[0]", 5, "expected a comparison: = != < <= > >="),
        ("10.0.0.1", 0, "say what it is: host, net, port …"),
        ("tcp and 80", 8, "say what it is: host, net, port …"),
        ("(ip", 3, "expected )"),
        ("ip and", 6, "expected more"),
        ("vlan 5000", 5, "a VLAN is at most 4095"),
        ("host 02:00:00:00:00:01", 5, "a MAC address is an `ether host`"),
        ("ip broadcast", 3, "not supported: the switch knows no netmask of its frames; ask for `dst host`"),
        ("inbound", 0, "not a property of the bytes: choose the stage instead"),
        ("esp[0] = 1", 0, "not supported: its header starts at no fixed place"),
        ("ip € 5", 3, "means nothing in a filter"),
        ("port 08", 5, "a number that starts with 0 is octal"),
    ] {
        let error = Filter::compile(filter).expect_err(filter);
        assert_eq!((error.column, error.why.as_str()), (column, why), "{filter}");
    }
    let error = Filter::compile("tcp prt 80").unwrap_err().to_string();
    assert_eq!(error, "filter: expected `and`, `or` or the end\n  tcp prt 80\n      ^");
}

#[test]
fn nothing_in_a_filter_is_too_deep_or_too_long_to_be_refused() {
    for deep in ["(".repeat(4000), "not ".repeat(1000), "-".repeat(4000) + "1=1", "ip[".repeat(1300)] {
        assert!(Filter::compile(&deep).is_err());
    }
    let long = "ip or arp and ".repeat(280) + "ip";
    assert!(wants(&long, &datagram()));
    assert!(Filter::compile(&(long + &" ".repeat(1000))).is_err());
}

proptest::proptest! {
    /// Words in any order, on bytes of any length: compiled or refused, never more than that.
    #[test]
    fn any_text_is_a_filter_or_refused_and_any_bytes_are_frames(
        words in proptest::collection::vec(0..VOCABULARY.len(), 0..12),
        noise in ".{0,12}",
        frame in proptest::collection::vec(0u8.., 0..80),
    ) {
        let words: Vec<_> = words.into_iter().map(|word| VOCABULARY[word]).collect();
        for text in [words.join(" "), words.concat(), noise, words.join(" ").replace("( ", "(")] {
            if let Ok(filter) = Filter::compile(&text) {
                filter.matches(&frame);
            }
        }
    }
}

const VOCABULARY: [&str; 40] = [
    "ip",
    "tcp",
    "ether",
    "src",
    "dst",
    "host",
    "net",
    "port",
    "portrange",
    "proto",
    "and",
    "or",
    "not",
    "(",
    ")",
    "[",
    "]",
    ":",
    "/",
    "=",
    "<",
    ">=",
    "+",
    "-",
    "<<",
    "0",
    "1",
    "4294967295",
    "10.0.0.1",
    "fe80::1",
    "1:2:3:4:5:6",
    "vlan",
    "len",
    "80-90",
    "ip6",
    "multicast",
    "broadcast",
    r"\tcp",
    "mask",
    "less",
];
