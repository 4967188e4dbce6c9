//! What an outer IP header takes from the inner one, and what the inner one takes back (RFC 2003, RFC 6040).

use super::forward;
use super::ipv4::Ipv4;
use super::ipv6::Ipv6;

/// Explicit congestion notification: the low two bits of type of service and traffic class (RFC 3168 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ecn {
    /// The transport does not take part.
    NotEct,
    /// It takes part, and says 1.
    Ect1,
    /// It takes part.
    Ect0,
    /// A router is congested.
    Ce,
}

impl Ecn {
    const MASK: u8 = 3;

    /// Of a type of service or traffic class.
    #[inline]
    pub fn of(tos: u8) -> Self {
        match tos & Self::MASK {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The same type of service or traffic class with this in it.
    #[inline]
    pub fn set_in(self, tos: u8) -> u8 {
        tos & !Self::MASK | self as u8
    }

    /// What the outer header says of a packet that says this: congestion that was met before the tunnel stays inside (RFC 3168
    /// §9.1.1, full functionality; `INET_ECN_encapsulate`). RFC 6040 §4.1 would copy it.
    #[inline]
    pub fn encapsulated(self) -> Self {
        match self {
            Self::Ce => Self::Ect0,
            other => other,
        }
    }

    /// What the inner header, which says this, says behind a tunnel whose outer header says `outer` (RFC 6040 §4.2;
    /// `INET_ECN_decapsulate`).
    ///
    /// # Errors
    /// [`Lost`] if there was congestion, and the transport would not understand.
    #[inline]
    pub fn decapsulated(self, outer: Self) -> Result<Decapsulated, Lost> {
        if outer == Self::NotEct {
            return Ok(Decapsulated { ecn: self, is_suspicious: false });
        }
        let is_suspicious = self == Self::NotEct;
        let ecn = match (self, outer) {
            (Self::NotEct, Self::Ce) => return Err(Lost),
            (Self::NotEct, _) => Self::NotEct,
            (_, Self::Ce) => Self::Ce,
            (Self::Ect0, Self::Ect1) => Self::Ect1,
            (inner, _) => inner,
        };
        Ok(Decapsulated { ecn, is_suspicious })
    }
}

/// What leaves a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decapsulated {
    /// What the packet says now.
    pub ecn: Ecn,
    /// The outer header took part and the inner one does not: nothing that keeps to the rules sends that. The kernel logs it.
    pub is_suspicious: bool,
}

/// The packet met congestion in the tunnel, and to drop it is the only way to say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lost;

/// What an outer header takes over of the packet that it goes around.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Type of service or traffic class.
    pub tos: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Whether it may not be fragmented; of IPv6, which never says so, false.
    pub dont_fragment: bool,
}

impl From<&Ipv4<'_>> for Inner {
    #[inline]
    fn from(packet: &Ipv4<'_>) -> Self {
        Self { tos: packet.tos(), ttl: packet.ttl(), dont_fragment: packet.dont_fragment() }
    }
}

impl From<&Ipv6<'_>> for Inner {
    #[inline]
    fn from(packet: &Ipv6<'_>) -> Self {
        Self { tos: packet.traffic_class(), ttl: packet.hop_limit(), dont_fragment: false }
    }
}

/// How a tunnel fills its outer headers in (ip-tunnel(8); `ip_tunnel_xmit`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    /// `ttl`: fixed, or 0 for the inner one's (`inherit`).
    pub ttl: u8,
    /// `tos`: fixed, of which the two bits of ECN do not count; `None` for the inner one's (`inherit`).
    pub tos: Option<u8>,
    /// `pmtudisc`: DF is always set. Without it, as the inner header has it.
    pub pmtudisc: bool,
    /// `ignore-df`: the inner header's DF is not looked at.
    pub ignore_df: bool,
}

impl Default for Outer {
    /// As `ip link add type ipip` without options: the type of service is 0 then, not inherited.
    fn default() -> Self {
        Self { ttl: 0, tos: Some(0), pmtudisc: true, ignore_df: false }
    }
}

/// What a tunnel over IPv6 adds to that (`type ip6tnl` of ip-link(8); RFC 2473).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OverIpv6 {
    /// `encaplimit`: how many more tunnels outer packets may enter; `None`: they do not say.
    pub limit: Option<u8>,
    /// `flowlabel`; `None` for the inner one's (`inherit`), which of IPv4 is 0.
    pub flow_label: Option<u32>,
}

impl Default for OverIpv6 {
    /// As `ip link add type ip6tnl` without options (`IPV6_DEFAULT_TNL_ENCAP_LIMIT`).
    fn default() -> Self {
        Self { limit: Some(4), flow_label: Some(0) }
    }
}

impl Outer {
    /// Of a tunnel over IPv6 without options, where the time to live is called hop limit, and nothing is fragmented on its way.
    pub const OVER_IPV6: Self = Self { ttl: 64, tos: Some(0), pmtudisc: true, ignore_df: false };

    /// Type of service, time to live and DF of the header around this packet.
    #[inline(always)]
    pub fn around(&self, inner: Inner) -> Inner {
        Inner {
            tos: Ecn::of(inner.tos).encapsulated().set_in(self.tos.unwrap_or(inner.tos)),
            ttl: if self.ttl == 0 { inner.ttl } else { self.ttl },
            dont_fragment: self.pmtudisc || inner.dont_fragment && !self.ignore_df,
        }
    }
}

/// Sets the ECN of the IPv4 or IPv6 packet at the start of `bytes`, with its checksum. `None`, and nothing done, if neither is
/// there.
#[inline]
pub fn set_ecn(bytes: &mut [u8], ecn: Ecn) -> Option<()> {
    match bytes.first()? >> 4 {
        4 => {
            let tos = *bytes.get(1)?;
            if Ecn::of(tos) != ecn {
                forward::set_tos(bytes, ecn.set_in(tos))?;
            }
        }
        6 => {
            // The traffic class lies across the first two bytes, its low half highest in the second.
            let second = bytes.get_mut(1)?;
            *second = ecn.set_in(*second >> 4) << 4 | *second & 0xf;
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples;
    use etherparse::{IpNumber, Ipv4Header, Ipv6Header};
    use proptest::prelude::*;

    const ALL: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ce];

    /// RFC 6040 figure 4: rows are inner Not-ECT, ECT(0), ECT(1), CE; columns outer the same.
    #[test]
    fn decapsulation_is_the_table_of_rfc_6040() {
        use Ecn::{Ce, Ect0, Ect1, NotEct};
        let table = [
            [Some(NotEct), Some(NotEct), Some(NotEct), None],
            [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)],
            [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)],
            [Some(Ce), Some(Ce), Some(Ce), Some(Ce)],
        ];
        for (inner, row) in ALL.into_iter().zip(table) {
            for (outer, expected) in ALL.into_iter().zip(row) {
                let found = inner.decapsulated(outer);
                assert_eq!(found.ok().map(|found| found.ecn), expected, "{inner:?} in {outer:?}");
                let is_suspicious = inner == NotEct && matches!(outer, Ect0 | Ect1);
                assert_eq!(
                    found.is_ok_and(|found| found.is_suspicious),
                    is_suspicious,
                    "{inner:?} in {outer:?}"
                );
            }
        }
    }

    #[test]
    fn congestion_before_a_tunnel_stays_inside() {
        assert_eq!(ALL.map(Ecn::encapsulated), [Ecn::NotEct, Ecn::Ect0, Ecn::Ect1, Ecn::Ect0]);
        for ecn in ALL {
            assert_eq!(ecn.decapsulated(ecn.encapsulated()).unwrap().ecn, ecn, "and comes out as it went in");
            assert_eq!(Ecn::of(ecn.set_in(0xb8)), ecn);
            assert_eq!(ecn.set_in(0xbb) & 0xfc, 0xb8);
        }
    }

    #[test]
    fn outer_header_inherits_or_is_fixed() {
        let inner = Inner { tos: 0xb8 | Ecn::Ce as u8, ttl: 17, dont_fragment: false };
        let inherited = Outer { tos: None, ..Outer::default() };
        assert_eq!(
            inherited.around(inner),
            Inner { tos: 0xb8 | Ecn::Ect0 as u8, ttl: 17, dont_fragment: true }
        );
        let fixed = Outer { ttl: 64, tos: Some(0x13), pmtudisc: false, ignore_df: false };
        assert_eq!(fixed.around(inner), Inner { tos: 0x10 | Ecn::Ect0 as u8, ttl: 64, dont_fragment: false });
        for (pmtudisc, ignore_df, inner_df, expected) in [
            (true, false, false, true),
            (false, false, false, false),
            (false, false, true, true),
            (false, true, true, false),
            (true, true, false, true),
        ] {
            let outer = Outer { pmtudisc, ignore_df, ..inherited };
            let inner = Inner { dont_fragment: inner_df, ..inner };
            assert_eq!(outer.around(inner).dont_fragment, expected, "{outer:?}");
        }
    }

    proptest! {
        #![proptest_config(samples::config())]

        #[test]
        fn ecn_is_set_in_either_version_and_nothing_else(tos: u8, to in 0..4u8, addresses: [[u8; 4]; 2], label in 0..1u32 << 20) {
            let ecn = Ecn::of(to);
            let mut header = Ipv4Header::new(0, 64, IpNumber::UDP, addresses[0], addresses[1]).unwrap();
            let set = |header: &mut Ipv4Header, tos: u8| {
                (header.dscp, header.ecn) = ((tos >> 2).try_into().unwrap(), (tos & 3).try_into().unwrap());
                header.header_checksum = header.calc_header_checksum();
            };
            set(&mut header, tos);
            let mut bytes = header.to_bytes().to_vec();
            prop_assert_eq!(Inner::from(&Ipv4::view(&bytes).unwrap()), Inner { tos, ttl: 64, dont_fragment: header.dont_fragment });
            set_ecn(&mut bytes, ecn).unwrap();
            set(&mut header, tos & 0xfc | to);
            prop_assert_eq!(bytes, header.to_bytes().to_vec());

            let flow_label = label.try_into().unwrap();
            let mut header = Ipv6Header { traffic_class: tos, flow_label, hop_limit: 9, ..Default::default() };
            let mut bytes = header.to_bytes().to_vec();
            prop_assert_eq!(Inner::from(&Ipv6::view(&bytes).unwrap()), Inner { tos, ttl: 9, dont_fragment: false });
            set_ecn(&mut bytes, ecn).unwrap();
            header.traffic_class = tos & 0xfc | to;
            prop_assert_eq!(bytes, header.to_bytes().to_vec());
        }
    }

    #[test]
    fn nothing_is_set_where_no_header_is() {
        for bytes in [&mut [][..], &mut [0x45], &mut [0x45; 19], &mut [0x60], &mut [0x50; 40]] {
            let before = bytes.to_vec();
            assert_eq!(set_ecn(bytes, Ecn::Ce), None);
            assert_eq!(bytes, before);
        }
    }
}
