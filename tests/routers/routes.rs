//! What both routers are told: addresses, MTUs and routes.

use std::net::{Ipv4Addr, Ipv6Addr};

use rigswitch_dataplane::ids::DeviceId;

pub(crate) const OURS_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OURS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
pub(crate) const NARROW_V4: u16 = 576;
pub(crate) const NARROW_V6: u32 = 1280;
pub(crate) const WIDE: usize = 1500;

/// A route's prefix, and where it leads: in iproute2's words, and in ours.
pub(crate) const ROUTES_V4: [(&str, &str); 6] = [
    ("10.1.0.0/16", "via 10.0.0.2 dev far0"),
    ("10.9.0.0/24", "via 10.0.0.2 dev far0"),
    ("10.8.0.0/24", "via 10.0.0.2 dev far0 mtu 576"),
    ("10.7.0.0/24", "unreachable"),
    ("10.6.0.0/24", "blackhole"),
    ("10.5.0.0/24", "prohibit"),
];
pub(crate) const ROUTES_V6: [(&str, &str); 8] = [
    ("::ffff:0:0/96", "via fd00::2 dev far0"),
    ("fd01::/64", "via fd00::2 dev far0"),
    ("fd09::/64", "via fd00::2 dev far0"),
    ("fd0a::/64", "via fe80::2 dev far1"),
    ("fd08::/64", "via fd00::2 dev far0 mtu 1280"),
    ("fd07::/64", "unreachable"),
    ("fd06::/64", "blackhole"),
    ("fd05::/64", "prohibit"),
];
pub(crate) const USUAL: DeviceId = DeviceId(1);
pub(crate) const NARROW: DeviceId = DeviceId(2);
pub(crate) const ELSEWHERE: DeviceId = DeviceId(3);
