//! Where packets to one address go, worked out once for as many of them as follow each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Fate;
use crate::drops::DropReason;
use crate::ids::{DeviceId, MacAddr};
use crate::punt::PuntReason;
use crate::tables::next_hop::NextHop;
use crate::tables::{Interface, Routing, station_of};

/// Where packets to one address go.
#[derive(Clone, Copy)]
pub(super) enum Lead {
    /// Out, and on.
    On(Way),
    /// To us.
    Here,
    /// Nowhere, or to control.
    Nowhere(Fate),
}

/// How packets go on.
#[derive(Clone, Copy)]
pub(super) struct Way {
    /// Where they leave.
    pub(super) to: DeviceId,
    /// Who is to have them next.
    pub(super) next: IpAddr,
    /// The same one's link-layer address, if it is known.
    pub(super) mac: Option<MacAddr>,
    /// The device's.
    pub(super) source: MacAddr,
    /// Bytes of packet that it carries.
    pub(super) mtu: u32,
}

impl Lead {
    /// Where packets to `destination` go that came in at `here`, if this is their next hop.
    pub(super) fn by(
        routing: &Routing,
        here: &Interface,
        next_hop: Option<NextHop>,
        destination: IpAddr,
    ) -> Self {
        let unreachable = |reason| Self::Nowhere(Fate::Refuse(reason, PuntReason::Unreachable));
        let (to, next) = match next_hop {
            Some(NextHop::Gateway { device, gateway }) => (device, gateway),
            Some(NextHop::Connected { device }) => (device, destination),
            Some(NextHop::Local { .. }) => return Self::Here,
            Some(NextHop::Broadcast { .. }) => return Self::Nowhere(Fate::Drop(DropReason::IpGroup)),
            Some(NextHop::Blackhole) => return Self::Nowhere(Fate::Drop(DropReason::Blackhole)),
            Some(NextHop::Unreachable) => return unreachable(DropReason::Unreachable),
            Some(NextHop::Prohibit) => {
                return Self::Nowhere(Fate::Refuse(DropReason::Prohibited, PuntReason::Prohibited));
            }
            None => return unreachable(DropReason::NoRoute),
        };
        if !here.forwards {
            return Self::Nowhere(Fate::Drop(DropReason::NotForwarding));
        }
        // A route by a device that is down, or no more, leads nowhere.
        let Some(there) = routing.interface(to) else { return unreachable(DropReason::NoRoute) };
        let mac = if there.has_neighbors { routing.neighbor(to, next) } else { Some(station_of(next)) };
        Self::On(Way { to, next, mac, source: there.mac, mtu: there.mtu })
    }
}

/// The address that the last packet went to, and where that was: those of a flow come one after the other, and what comes through a tunnel goes to few
/// addresses. Good for one burst: the tables stay the same for as long.
pub(super) struct Last<A> {
    address: Option<A>,
    lead: Lead,
}

impl<A: Copy + PartialEq> Last<A> {
    /// None yet.
    pub(super) fn none() -> Self {
        Self { address: None, lead: Lead::Here }
    }

    /// Where packets to `address` go; worked out by `find`, which also says whether all do, unless the last one did.
    #[inline]
    pub(super) fn or_find(&mut self, address: A, find: impl FnOnce() -> (Lead, bool)) -> &Lead {
        if self.address != Some(address) {
            let (lead, is_for_all) = find();
            self.lead = lead;
            self.address = is_for_all.then_some(address);
        }
        &self.lead
    }
}

/// One for each version.
pub(super) struct Lately {
    pub(super) ipv4: Last<Ipv4Addr>,
    pub(super) ipv6: Last<Ipv6Addr>,
}

impl Lately {
    /// None yet.
    pub(super) fn none() -> Self {
        Self { ipv4: Last::none(), ipv6: Last::none() }
    }
}
