//! The fuzz targets about routing: routes against a plain list of them, and what becomes of a packet that is routed. Plain
//! functions, as in [`frames.rs`](frames.rs).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use rigswitch_dataplane::tables::next_hop::NextHopId;
use rigswitch_dataplane::tables::route::{Address, Prefix, Routes};
use rigswitch_dataplane::wire::checksum::{self, Sum};
use rigswitch_dataplane::wire::flow::{FlowHasher, Policy};
use rigswitch_dataplane::wire::fragment::Fragmenter;
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::{self, Ipv6};
use rigswitch_dataplane::wire::{IpProtocol, forward, icmp, icmpv6, tunnel};

/// Routes that are added, changed and removed: one byte of how, one of length, the address, and again. Each address among
/// them leads where a look at every route says.
pub(crate) fn route(bytes: &[u8]) {
    let [kind, rest @ ..] = bytes else { return };
    if kind % 2 == 0 {
        routes(rest, |octets: [u8; 4]| Ipv4Addr::from(octets));
    } else {
        routes(rest, |octets: [u8; 16]| Ipv6Addr::from(octets));
    }
}

fn routes<A: Address, const N: usize>(mut bytes: &[u8], address: impl Fn([u8; N]) -> A) {
    const CHANGE_AT_ONCE: u8 = 1;
    const REMOVE: u8 = 2;
    let mut all = BTreeMap::new();
    let mut addresses = Vec::new();
    let mut changed = Vec::new();
    let mut table = Routes::new([]);
    while let [how, length, rest @ ..] = bytes {
        let Some((octets, rest)) = rest.split_first_chunk() else { break };
        bytes = rest;
        let at = address(*octets);
        let prefix = Prefix::of(at, length % (A::BITS + 1));
        if how & REMOVE == 0 {
            all.insert(prefix, NextHopId::new(u32::from(how >> 2)).unwrap());
        } else {
            all.remove(&prefix);
        }
        addresses.extend([at, prefix.address()]);
        changed.push(prefix);
        if how & CHANGE_AT_ONCE != 0 {
            table = table.updated(&all, &changed);
            changed.clear();
        }
    }
    table = table.updated(&all, &changed);
    let compiled = Routes::new(all.iter().map(|route| (*route.0, *route.1)));
    for at in addresses {
        let holding = all.iter().filter(|route| route.0.holds(at));
        let expected = holding.max_by_key(|route| route.0.length()).map(|route| *route.1);
        for table in [&table, &compiled] {
            let place = table.locate(at);
            table.prefetch(place);
            assert_eq!(table.find(table.approach(place)), expected, "{at:?}");
        }
    }
}

/// A packet that is routed, fragmented, reported about, answered and tunnelled: two bytes of how, then the packet, whose checksums
/// are made right first if the highest bit says so. Nothing panics, and what comes out is what a router takes.
pub(crate) fn icmp(bytes: &[u8]) {
    const REPAIR: u8 = 0x80;
    let [how, size, packet @ ..] = bytes else { return };
    let mut packet = packet.to_vec();
    if how & REPAIR != 0 {
        repair(&mut packet);
    }
    let packet = &packet[..];
    routed_ipv4(*how, u16::from(*size) * 8, packet);
    routed_ipv6(*how, packet);
    let mut inner = packet.to_vec();
    let _ = tunnel::set_ecn(&mut inner, tunnel::Ecn::of(*how));
    assert_eq!(inner.len(), packet.len());
}

/// Makes the checksums of a header and an ICMP message right, so that more than refusals is tried.
fn repair(packet: &mut [u8]) {
    let (start, end, pseudo_header) = if let Ok(view) = Ipv4::view(packet) {
        let (header_len, end) = (view.header_len(), view.header_len() + view.payload().len());
        let protocol = view.protocol();
        packet[10..12].fill(0);
        let sum = Sum::of(&packet[..header_len]).checksum();
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        (header_len, if protocol == IpProtocol::ICMP { end } else { 0 }, Sum::of(&[]))
    } else if let Ok(view) = Ipv6::view(packet) {
        let Ok((IpProtocol::ICMPV6, message)) = view.transport() else { return };
        let end = ipv6::HEADER_LEN + view.payload().len();
        let len = u16::try_from(message.len()).unwrap();
        let pseudo_header = checksum::pseudo_header(view.addresses(), IpProtocol::ICMPV6, len);
        (end - message.len(), end, pseudo_header)
    } else {
        return;
    };
    let Some(message @ [_, _, _, _, ..]) = packet.get_mut(start..end) else { return };
    message[2..4].fill(0);
    let sum = (pseudo_header + Sum::of(message)).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

fn routed_ipv4(how: u8, mtu: u16, bytes: &[u8]) {
    use icmp::{Error, MAX_ERROR_LEN, Unreachable};
    let ours = Ipv4Addr::new(10, 0, 0, 1);
    let Ok(view) = Ipv4::view(bytes) else {
        assert!(forward::accept_ipv4(bytes).is_err());
        return;
    };
    let _ = icmp::Icmp::view(&view);
    let _ = FlowHasher::new(how.into()).ipv4(&view, Policy::Ports);
    let is_accepted = forward::accept_ipv4(bytes).is_ok();

    let error = match how % 4 {
        0 => Error::Unreachable(Unreachable(how)),
        1 => Error::FragmentationNeeded { mtu },
        2 => Error::TtlExceeded,
        _ => Error::ParameterProblem { pointer: how },
    };
    if is_accepted && icmp::may_report(&view, how & 4 != 0).is_ok() {
        let mut out = [0; MAX_ERROR_LEN];
        let len = icmp::report(error, bytes, ours, 7, &mut out).expect("there is room");
        let report = forward::accept_ipv4(&out[..len]).expect("a router takes what we say");
        let message = icmp::Icmp::view(&report).unwrap().unwrap();
        assert!(bytes.starts_with(message.payload()));
        assert_eq!(icmp::may_report(&report, false), Err(icmp::Silence::AboutError));
    }

    let mut answer = bytes.to_vec();
    if icmp::answer(&mut answer, 7) == Ok(true) {
        let reply = Ipv4::view(&answer).unwrap();
        assert!(reply.is_intact() && reply.destination() == view.source());
        let message = icmp::Icmp::view(&reply).unwrap().unwrap().message();
        assert!(matches!(message, icmp::Message::EchoReply(_)));
    } else {
        assert_eq!(answer, bytes);
    }

    let mut forwarded = bytes.to_vec();
    if forward::decrement_ttl(&mut forwarded).is_ok() {
        let after = Ipv4::view(&forwarded).unwrap();
        assert_eq!((after.ttl() + 1, after.is_intact()), (view.ttl(), view.is_intact()));
    }

    if let Ok(fragmenter) = Fragmenter::new(bytes, mtu) {
        let mut out = vec![0; fragmenter.longest()];
        let mut payload = Vec::new();
        for n in 0..fragmenter.count() {
            let len = fragmenter.write(n, &mut out).expect("there is room");
            let fragment = Ipv4::view(&out[..len]).expect("a fragment is a packet");
            assert!(fragment.is_intact() && len <= usize::from(mtu));
            payload.extend_from_slice(fragment.payload());
        }
        assert_eq!(payload, view.payload());
    }
}

fn routed_ipv6(how: u8, bytes: &[u8]) {
    use icmpv6::{Error, MAX_ERROR_LEN, Problem, Unreachable};
    let ours = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let Ok(view) = Ipv6::view(bytes) else {
        assert!(forward::accept_ipv6(bytes).is_err());
        return;
    };
    let _ = icmpv6::Icmpv6::view(&view);
    let _ = FlowHasher::new(how.into()).ipv6(&view, Policy::Ports);
    let error = match how % 4 {
        0 => Error::Unreachable(Unreachable(how)),
        1 => Error::PacketTooBig { mtu: how.into() },
        2 => Error::HopLimitExceeded,
        _ => Error::ParameterProblem { problem: Problem(how), pointer: how.into() },
    };
    if forward::accept_ipv6(bytes).is_ok() && icmpv6::may_report(error, &view, how & 4 != 0).is_ok() {
        let mut out = [0; MAX_ERROR_LEN];
        let len = icmpv6::report(error, bytes, ours, &mut out).expect("there is room");
        let report = forward::accept_ipv6(&out[..len]).expect("a node takes what we say");
        let message = icmpv6::Icmpv6::view(&report).unwrap().unwrap();
        assert!(bytes.starts_with(message.payload()));
        assert_eq!(icmpv6::may_report(error, &report, false), Err(icmpv6::Silence::AboutError));
    }
    let mut answer = bytes.to_vec();
    if icmpv6::answer(&mut answer, ours) == Ok(true) {
        let reply = Ipv6::view(&answer).unwrap();
        assert_eq!((reply.source(), reply.destination()), (ours, view.source()));
        let message = icmpv6::Icmpv6::view(&reply).unwrap().unwrap().message();
        assert!(matches!(message, icmpv6::Message::EchoReply(_)));
    } else {
        assert_eq!(answer, bytes);
    }
    let mut forwarded = bytes.to_vec();
    if forward::decrement_hop_limit(&mut forwarded).is_ok() {
        assert_eq!(Ipv6::view(&forwarded).unwrap().hop_limit() + 1, view.hop_limit());
    }
}
