//! Our router, as small as can be: the tables, and what the headers say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use rigswitch_dataplane::tables::next_hop::{NextHop, NextHopId, NextHops};
use rigswitch_dataplane::tables::route::{Address, Prefix, Routes};
use rigswitch_dataplane::wire::flow::FlowHash;
use rigswitch_dataplane::wire::forward::{self, Confined, Refused};
use rigswitch_dataplane::wire::fragment::{Fragmenter, NotFragmented};
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::Ipv6;
use rigswitch_dataplane::wire::{icmp, icmpv6};

use super::routes::{ELSEWHERE, NARROW, NARROW_V4, NARROW_V6, OURS_V4, OURS_V6, ROUTES_V4, ROUTES_V6, USUAL};

/// Our router: the same routes, and what the headers say.
pub(crate) struct Ours {
    v4: Routes<Ipv4Addr>,
    v6: Routes<Ipv6Addr>,
    hops: NextHops,
}

pub(crate) fn compile<A: Address + FromStr + Into<IpAddr>>(
    hops: &mut NextHops,
    connected: &str,
    ours: A,
    routes: &[(&str, &str)],
) -> Routes<A> {
    let prefix = |text: &str| {
        let (address, length) = text.split_once('/').unwrap();
        Prefix::new(address.parse().ok().unwrap(), length.parse().unwrap()).unwrap()
    };
    let mut all: Vec<(Prefix<A>, NextHopId)> = routes
        .iter()
        .map(|(to, way)| {
            let device = match way {
                way if way.contains("mtu") => NARROW,
                way if way.contains("far1") => ELSEWHERE,
                _ => USUAL,
            };
            let hop = match *way {
                "unreachable" => NextHop::Unreachable,
                "blackhole" => NextHop::Blackhole,
                "prohibit" => NextHop::Prohibit,
                _ => NextHop::Gateway { device, gateway: ours.into() },
            };
            (prefix(to), hops.add(hop).unwrap())
        })
        .collect();
    let device = USUAL;
    all.push((prefix(connected), hops.add(NextHop::Connected { device }).unwrap()));
    all.push((Prefix::of(ours, A::BITS), hops.add(NextHop::Local { device }).unwrap()));
    Routes::new(all)
}

impl Ours {
    pub(crate) fn new() -> Self {
        let mut hops = NextHops::new();
        let v4 = compile(&mut hops, "10.0.0.0/24", OURS_V4, &ROUTES_V4);
        let v6 = compile(&mut hops, "fd00::/64", OURS_V6, &ROUTES_V6);
        Self { v4, v6, hops }
    }

    pub(crate) fn answers(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        if packet[0] >> 4 == 6 { self.ipv6(packet) } else { self.ipv4(packet) }
    }

    fn lookup<A: Address>(&self, routes: &Routes<A>, address: A) -> Option<NextHop> {
        let id = routes.find(routes.locate(address))?;
        self.hops.choose(id, || FlowHash(0))
    }

    fn ipv4(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        use icmp::{Error, MAX_ERROR_LEN, Unreachable};
        let report = |error| {
            let view = Ipv4::view(packet).unwrap();
            if icmp::may_report(&view, false).is_err() {
                return Vec::new();
            }
            let mut out = vec![0; MAX_ERROR_LEN];
            let len = icmp::report(error, packet, OURS_V4, 0, &mut out).unwrap();
            out.truncate(len);
            vec![out]
        };
        let view = match forward::accept_ipv4(packet) {
            Ok(view) => view,
            Err(Refused::Option { pointer }) => return report(Error::ParameterProblem { pointer }),
            Err(_) => return Vec::new(),
        };
        if view.destination().is_multicast() || view.destination().is_broadcast() {
            return Vec::new();
        }
        let device = match self.lookup(&self.v4, view.destination()) {
            None => return report(Error::Unreachable(Unreachable::NET)),
            Some(NextHop::Unreachable) => return report(Error::Unreachable(Unreachable::HOST)),
            Some(NextHop::Prohibit) => return report(Error::Unreachable(Unreachable::PROHIBITED)),
            Some(NextHop::Blackhole | NextHop::Broadcast { .. }) => return Vec::new(),
            Some(NextHop::Local { .. }) => {
                let mut answer = packet.to_vec();
                return match icmp::answer(&mut answer, 0) {
                    Ok(true) => vec![answer],
                    Ok(false) if view.protocol().0 == 17 => report(Error::Unreachable(Unreachable::PORT)),
                    Ok(false) => report(Error::Unreachable(Unreachable::PROTOCOL)),
                    Err(_) => Vec::new(),
                };
            }
            Some(NextHop::Gateway { device, .. } | NextHop::Connected { device }) => device,
        };
        let mut forwarded = packet.to_vec();
        if forward::decrement_ttl(&mut forwarded).is_err() {
            return report(Error::TtlExceeded);
        }
        if device != NARROW || packet.len() <= usize::from(NARROW_V4) {
            return vec![forwarded];
        }
        match Fragmenter::new(&forwarded, NARROW_V4) {
            Err(NotFragmented::DontFragment) => report(Error::FragmentationNeeded { mtu: NARROW_V4 }),
            Err(_) => Vec::new(),
            Ok(fragmenter) => {
                let mut out = vec![0; fragmenter.longest()];
                let mut fragment = |n| fragmenter.write(n, &mut out).map(|len| out[..len].to_vec()).unwrap();
                (0..fragmenter.count()).map(&mut fragment).collect()
            }
        }
    }

    fn ipv6(&self, packet: &[u8]) -> Vec<Vec<u8>> {
        use icmpv6::{Error, MAX_ERROR_LEN, Unreachable};
        let report_about = |error, packet| {
            let view = Ipv6::view(packet).unwrap();
            if icmpv6::may_report(error, &view, false).is_err() {
                return Vec::new();
            }
            let mut out = vec![0; MAX_ERROR_LEN];
            let len = icmpv6::report(error, packet, OURS_V6, &mut out).unwrap();
            out.truncate(len);
            vec![out]
        };
        let report = |error| report_about(error, packet);
        let Ok(view) = forward::accept_ipv6(packet) else { return Vec::new() };
        let (source, destination) = (view.source(), view.destination());
        if destination.is_multicast() {
            return Vec::new();
        }
        let device = match self.lookup(&self.v6, destination) {
            None | Some(NextHop::Unreachable) => return report(Error::Unreachable(Unreachable::NO_ROUTE)),
            Some(NextHop::Prohibit) => return report(Error::Unreachable(Unreachable::PROHIBITED)),
            Some(NextHop::Blackhole | NextHop::Broadcast { .. }) => return Vec::new(),
            Some(NextHop::Local { .. }) => {
                let mut answer = packet.to_vec();
                let is_echo = icmpv6::answer(&mut answer, OURS_V6) == Ok(true);
                return if is_echo { vec![answer] } else { Vec::new() };
            }
            Some(NextHop::Gateway { device, .. } | NextHop::Connected { device }) => device,
        };
        let mut forwarded = packet.to_vec();
        if forward::decrement_hop_limit(&mut forwarded).is_err() {
            return report(Error::HopLimitExceeded);
        }
        match forward::may_forward_ipv6(source, destination) {
            Err(_) if device != ELSEWHERE => {} // from its link to its link
            Ok(()) => {}
            Err(Confined::LinkLocalSource) => return report(Error::Unreachable(Unreachable::BEYOND_SCOPE)),
            Err(_) => return Vec::new(),
        }
        if device == NARROW && packet.len() > NARROW_V6 as usize {
            // The kernel has counted the hop by then.
            return report_about(Error::PacketTooBig { mtu: NARROW_V6 }, &forwarded);
        }
        vec![forwarded]
    }
}
