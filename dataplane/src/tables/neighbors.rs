//! Which station has which IP address, as control was told: what a bridge answers from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ids::MacAddr;

/// The neighbours of one domain, sorted by address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbors {
    ipv4: Box<[(Ipv4Addr, MacAddr)]>,
    ipv6: Box<[(Ipv6Addr, MacAddr)]>,
}

impl Neighbors {
    /// These neighbours; no address may be among them twice.
    pub fn new(neighbors: impl IntoIterator<Item = (IpAddr, MacAddr)>) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for (address, mac) in neighbors {
            match address {
                IpAddr::V4(address) => ipv4.push((address, mac)),
                IpAddr::V6(address) => ipv6.push((address, mac)),
            }
        }
        ipv4.sort_unstable();
        ipv6.sort_unstable();
        Self { ipv4: ipv4.into(), ipv6: ipv6.into() }
    }

    /// The station that has an address.
    pub fn find(&self, address: IpAddr) -> Option<MacAddr> {
        match address {
            IpAddr::V4(address) => self.ipv4(address),
            IpAddr::V6(address) => self.ipv6(address),
        }
    }

    /// The station that has an IPv4 address.
    pub fn ipv4(&self, address: Ipv4Addr) -> Option<MacAddr> {
        find(&self.ipv4, address)
    }

    /// The station that has an IPv6 address.
    pub fn ipv6(&self, address: Ipv6Addr) -> Option<MacAddr> {
        find(&self.ipv6, address)
    }
}

fn find<A: Ord + Copy>(sorted: &[(A, MacAddr)], address: A) -> Option<MacAddr> {
    let place = sorted.binary_search_by_key(&address, |(address, _)| *address).ok()?;
    Some(sorted[place].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_address_and_nobody_else() {
        let mac = |n| MacAddr::new([2, 0, 0, 0, 0, n]);
        let neighbors = Neighbors::new([
            ("10.0.0.9".parse().unwrap(), mac(1)),
            ("fd00::9".parse().unwrap(), mac(2)),
            ("10.0.0.1".parse().unwrap(), mac(3)),
        ]);
        assert_eq!(neighbors.ipv4(Ipv4Addr::new(10, 0, 0, 9)), Some(mac(1)));
        assert_eq!(neighbors.ipv4(Ipv4Addr::new(10, 0, 0, 1)), Some(mac(3)));
        assert_eq!(neighbors.ipv4(Ipv4Addr::new(10, 0, 0, 2)), None);
        assert_eq!(neighbors.ipv6("fd00::9".parse().unwrap()), Some(mac(2)));
        assert_eq!(neighbors.ipv6("fd00::1".parse().unwrap()), None);
    }
}
