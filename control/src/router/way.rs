//! Where a packet goes, as workers decide it: for those of ours, those that wait, and those that an error is about.

use std::net::IpAddr;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::tables::next_hop::NextHop;
use rigswitch_dataplane::tables::{Routing, Ways};
use rigswitch_dataplane::wire::ethernet::{EtherType, Ethernet, HEADER_LEN};
use rigswitch_dataplane::wire::flow::FlowHash;
use rigswitch_dataplane::wire::forward::{self, Refused};
use rigswitch_dataplane::wire::ipv4::Ipv4;
use rigswitch_dataplane::wire::ipv6::{self, Ipv6};

/// A packet that a router deals with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packet<'a> {
    Ipv4(Ipv4<'a>),
    Ipv6(Ipv6<'a>),
}

/// Where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Out of this device, to this neighbour.
    Out(DeviceId, IpAddr),
    /// Nowhere: there is no route.
    NoRoute,
    /// Nowhere: the route says so.
    Unreachable,
    /// Nowhere: it is forbidden.
    Prohibited,
    /// To us, to many, or nowhere without a word.
    Other,
}

impl<'a> Packet<'a> {
    /// The packet in a frame; `None` if something else is in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(ethernet: &Ethernet<'a>) -> Result<Option<Self>, Refused> {
        match ethernet.ether_type() {
            EtherType::IPV4 => forward::accept_ipv4(ethernet.payload()).map(|ip| Some(Self::Ipv4(ip))),
            EtherType::IPV6 => forward::accept_ipv6(ethernet.payload()).map(|ip| Some(Self::Ipv6(ip))),
            _ => Ok(None),
        }
    }

    /// Its bytes, as far as it says that it goes.
    pub(super) fn of_frame<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        let length = match self {
            Self::Ipv4(ip) => ip.header_len() + ip.payload().len(),
            Self::Ipv6(ip) => ipv6::HEADER_LEN + ip.payload().len(),
        };
        frame.get(HEADER_LEN..HEADER_LEN + length).unwrap_or_default()
    }

    /// Where it goes.
    pub(super) fn way(&self, routing: &Routing) -> Way {
        way(routing, self.destination(), self.flow(routing))
    }

    /// The same by one device and these routes, which lead by that.
    pub(super) fn way_by(&self, device: DeviceId, ways: &Ways, routing: &Routing) -> Way {
        match ways.next(self.destination(), || self.flow(routing)) {
            Ok(Some(next)) if routing.interface(device).is_some() => Way::Out(device, next),
            _ => Way::Other,
        }
    }

    fn destination(&self) -> IpAddr {
        match self {
            Self::Ipv4(ip) => ip.destination().into(),
            Self::Ipv6(ip) => ip.destination().into(),
        }
    }

    /// The hash of its flow.
    pub(super) fn flow(&self, routing: &Routing) -> FlowHash {
        match self {
            Self::Ipv4(ip) => routing.hasher.ipv4(ip, routing.policy),
            Self::Ipv6(ip) => routing.hasher.ipv6(ip, routing.policy),
        }
    }
}

/// Where packets of a flow go that are for `destination`.
pub(crate) fn way(routing: &Routing, destination: IpAddr, flow: FlowHash) -> Way {
    let id = match destination {
        IpAddr::V4(address) => routing.ipv4.find(routing.ipv4.locate(address)),
        IpAddr::V6(address) => routing.ipv6.find(routing.ipv6.locate(address)),
    };
    let (device, next) = match id.and_then(|id| routing.next_hops.choose(id, || flow)) {
        Some(NextHop::Gateway { device, gateway }) => (device, gateway),
        Some(NextHop::Connected { device }) => (device, destination),
        Some(NextHop::Unreachable) => return Way::Unreachable,
        Some(NextHop::Prohibit) => return Way::Prohibited,
        Some(NextHop::Local { .. } | NextHop::Broadcast { .. } | NextHop::Blackhole) => return Way::Other,
        None => return Way::NoRoute,
    };
    // A route by a device that is down, or no more, leads nowhere.
    if routing.interface(device).is_some() { Way::Out(device, next) } else { Way::NoRoute }
}
