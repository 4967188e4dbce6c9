//! What control has compiled and workers execute: one immutable [`Tables`] a generation.

use std::sync::Arc;

use super::{
    Children, ChildrenId, Descent, Knobs, Macvlans, MacvlansId, Mdb, Neighbors, Routing, Tags, TagsId,
    Tunnels, VlanPort, Vlans,
};
use crate::ids::{DeviceId, DomainId, MacAddr, VlanId};
use crate::ports::Capabilities;
use crate::sys::hints;

/// Which worker: dense, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// As an index into a table of workers.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The one thing a device does with the frames it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// Nothing: they are dropped.
    #[default]
    Unused,
    /// It is a plain member of a bridge, and they belong to this learning domain.
    Bridge(DomainId),
    /// The same of a member whose [`Knobs`] are not all at rest.
    KnobbedBridge(DomainId),
    /// It is a plain member of a bridge that filters by VLAN, which has this domain: each frame is of a domain of its VLAN.
    VlanBridge(DomainId),
    /// The same of a member with [`Knobs`], or a [`VlanPort`], that is not a plain one.
    KnobbedVlanBridge(DomainId),
    /// It is the host's port of a bridge: they are what the host sends.
    Host(DomainId),
    /// It is one end of a wire, and they leave by the other.
    Xconnect(DeviceId),
    /// Macvlans stand on it, and they are for those.
    Macvlan(MacvlansId),
    /// It stands on another device and the host has it: they are what the host sends by it, and leave this way. What surfaces
    /// there goes to the host, by its queues.
    Upper(Descent),
    /// It is routed: packets to its address go on by their destination's.
    Routed,
    /// Ipvlans stand on it, which take what is for their addresses; the rest is dropped, or, in mode L3, routed.
    Ipvlan(ChildrenId),
}

impl Role {
    /// A member of this domain with these knobs.
    pub fn member(domain: DomainId, knobs: &Knobs) -> Self {
        if *knobs == Knobs::PLAIN { Self::Bridge(domain) } else { Self::KnobbedBridge(domain) }
    }

    /// How what the host sends leaves, of a device of the host's that stands on another.
    pub fn way(self) -> Option<Descent> {
        if let Self::Upper(way) = self { Some(way) } else { None }
    }

    /// A member of the bridge that filters and has this domain.
    pub fn vlan_member(bridge: DomainId, knobs: &Knobs, port: &VlanPort) -> Self {
        let is_plain = *knobs == Knobs::PLAIN && port.is_plain();
        if is_plain { Self::VlanBridge(bridge) } else { Self::KnobbedVlanBridge(bridge) }
    }

    /// The learning domain of a member, or of a host's port; that of the bridge, where each VLAN has its own.
    pub fn domain(self) -> Option<DomainId> {
        match self {
            Self::Bridge(domain)
            | Self::KnobbedBridge(domain)
            | Self::VlanBridge(domain)
            | Self::KnobbedVlanBridge(domain)
            | Self::Host(domain) => Some(domain),
            Self::Unused | Self::Xconnect(_) | Self::Upper(_) | Self::Routed => None,
            Self::Ipvlan(_) | Self::Macvlan(_) => None,
        }
    }
}

/// What the tables say of one device, on one line of the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub struct Device {
    /// What becomes of what it receives.
    pub role: Role,
    /// The sub-interfaces on it, which take frames with their tags before it comes to that.
    pub tags: Option<TagsId>,
    /// How what it sends leaves.
    pub descent: Descent,
    /// The worker that transmits for those that have no queue of it.
    pub owner: WorkerId,
    /// The longest frame it sends by its queues, in bytes from the destination address on; for a super-frame, the longest
    /// segment. Zero of one that sends [another way](Descent::longest), or is not there.
    pub longest: u32,
    /// What it does with offload state.
    pub capabilities: Capabilities,
    /// What sets it apart as a member of a bridge, if its role says that something does.
    pub knobs: Knobs,
}

const _: () = assert!(size_of::<Device>() == 64);

impl Device {
    /// The kernel forwards what fits the MTU, an Ethernet header and a tag, and holds the outermost tag of a frame beside
    /// it (`is_skb_forwardable`, net/core/dev.c).
    pub fn longest_for_mtu(mtu: u32) -> u32 {
        mtu + 14 + 4
    }

    /// By which device all that it receives leaves, if that is so whatever it is: the one it is wired to, or itself when it is handed to the
    /// host, which has it sent by its other end. `own` is its number.
    #[inline]
    pub fn onward(&self, own: DeviceId) -> Option<DeviceId> {
        match self.role {
            _ if self.tags.is_some() => None,
            Role::Xconnect(peer) => Some(peer),
            Role::Upper(_) => Some(own),
            _ => None,
        }
    }

    /// A device that takes and sends nothing: a number not in use.
    pub const NONE: Self = Self {
        role: Role::Unused,
        tags: None,
        descent: Descent::Queues,
        owner: WorkerId(0),
        longest: 0,
        capabilities: Capabilities {
            partial_checksum: false,
            gso: false,
            may_lose_tags: false,
            measures_tags: false,
        },
        knobs: Knobs::PLAIN,
    };
}

/// What a frame that is flooded is, which decides where it goes (the kernel's `br_pkt_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flood {
    /// To one station, and nobody knows where it is.
    Unicast,
    /// To a group.
    Multicast,
    /// To all.
    Broadcast,
}

/// What the tables say of one learning domain: the devices that a flood of each kind goes to, in order. A port that may not
/// forward, or takes no part in a kind of flood, is not in the list. The host's port takes part in those to groups and to all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Domain {
    /// Of frames to unknown stations.
    pub unicast: Box<[DeviceId]>,
    /// Of frames to groups.
    pub multicast: Box<[DeviceId]>,
    /// Of frames to all.
    pub broadcast: Box<[DeviceId]>,
    /// Of what the host sends to groups and to all: every port that may forward, whatever floods of others it takes.
    pub from_host: Box<[DeviceId]>,
    /// The host's port, if there is one.
    pub host: Option<HostPort>,
    /// Where frames to groups go instead, in a domain that snoops.
    pub mdb: Option<Arc<Mdb>>,
    /// Whether control is told who moves.
    pub tells_moves: bool,
    /// Who has which IP address, for members that are spared questions about it.
    pub neighbors: Neighbors,
    /// The VLANs of a bridge that filters, in its own domain, which no frame is of.
    pub vlans: Option<Box<Vlans>>,
    /// The VLAN that this is the domain of.
    pub of: Option<OfVlan>,
}

/// A VLAN of a bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OfVlan {
    /// The domain that its members have in their roles.
    pub bridge: DomainId,
    /// The VLAN.
    pub vid: VlanId,
}

/// The port of a bridge to the host that it runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The device.
    pub device: DeviceId,
    /// The host's address there, which frames for it get, whichever of the bridge's addresses they came for.
    pub mac: MacAddr,
}

impl Domain {
    /// A domain that floods everything to all of `members`.
    pub fn of(members: impl IntoIterator<Item = DeviceId>) -> Self {
        let members: Box<[_]> = members.into_iter().collect();
        let [unicast, multicast, broadcast] = [(); 3].map(|()| members.clone());
        Self { unicast, multicast, broadcast, from_host: members, ..Self::default() }
    }

    /// Where a flood of this kind goes.
    pub fn members(&self, flood: Flood) -> &[DeviceId] {
        match flood {
            Flood::Unicast => &self.unicast,
            Flood::Multicast => &self.multicast,
            Flood::Broadcast => &self.broadcast,
        }
    }
}

/// The compiled configuration.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    devices: Box<[Device]>,
    domains: Box<[Domain]>,
    tags: Box<[Tags]>,
    children: Box<[Children]>,
    macvlans: Box<[Macvlans]>,
    routing: Option<Arc<Routing>>,
    vlan_ports: Box<[Option<Box<VlanPort>>]>, // by device
    tunnels: Arc<Tunnels>,
}

impl Tables {
    /// Tables of these devices, by their number, and these domains, by their number less one.
    ///
    /// # Panics
    /// If a device or domain refers to one that is not there: compiling has gone wrong.
    pub fn new(devices: Box<[Device]>, domains: Box<[Domain]>) -> Self {
        Self::with_vlans(devices, domains, Box::default())
    }

    /// The same, and what ports are in which VLANs, by their number.
    ///
    /// # Panics
    /// As [`Tables::new`]; if a member of a bridge that filters is in a VLAN that the bridge has no domain for, or is not in that
    /// of its PVID.
    pub fn with_vlans(
        devices: Box<[Device]>,
        domains: Box<[Domain]>,
        vlan_ports: Box<[Option<Box<VlanPort>>]>,
    ) -> Self {
        let known = |device: DeviceId| device.index() < devices.len();
        let is_sound = |way| match way {
            Descent::Queues => true,
            Descent::Vlan(way) => known(way.link),
            Descent::Ipvlan(way) => known(way.link),
            Descent::Macvlan(way) => known(way.link),
            Descent::Ipip(_) | Descent::Vxlan(_) => true, // until they are given: see `with_tunnels`
            Descent::Patch(way) => known(way.peer),
        };
        let has_vlans = |number: usize, bridge: DomainId| {
            let vlans =
                domains.get(usize::from(bridge.number()) - 1).and_then(|domain| domain.vlans.as_ref());
            let port = vlan_ports.get(number).and_then(Option::as_ref);
            let has = |vid: VlanId| {
                let domain = vlans.map(|vlans| vlans.domain(vid.number()));
                let of = domain.and_then(|domain| domains.get(usize::from(domain.number()) - 1)?.of);
                of == Some(OfVlan { bridge, vid })
            };
            let of_pvid = |port: &VlanPort| port.pvid() == 0 || port.is_in(port.pvid());
            vlans.is_some() && port.is_some_and(|port| of_pvid(port) && port.vlans().all(has))
        };
        for (number, device) in devices.iter().enumerate() {
            match device.role {
                Role::Unused | Role::Routed | Role::Macvlan(_) => {}
                Role::Bridge(domain) | Role::KnobbedBridge(domain) => {
                    assert!(usize::from(domain.number()) <= domains.len());
                    assert_eq!(device.role, Role::member(domain, &device.knobs));
                }
                Role::VlanBridge(bridge) | Role::KnobbedVlanBridge(bridge) => {
                    assert!(has_vlans(number, bridge));
                }
                Role::Host(domain) => {
                    assert!(usize::from(domain.number()) <= domains.len());
                    let filters = domains[usize::from(domain.number()) - 1].vlans.is_some();
                    assert!(!filters || has_vlans(number, domain));
                }
                Role::Xconnect(peer) => assert!(known(peer)),
                Role::Upper(way) => assert!(is_sound(way)),
                Role::Ipvlan(_) => {} // until they are given: see `with_children`
            }
            assert!(is_sound(device.descent));
        }
        for domain in &domains {
            let lists = [&domain.unicast, &domain.multicast, &domain.broadcast, &domain.from_host];
            assert!(lists.iter().all(|list| list.iter().all(|&member| known(member))));
            assert!(domain.host.is_none_or(|host| known(host.device)));
        }
        let mut on_large_pages = hints::on_large_pages(devices.len());
        on_large_pages.extend_from_slice(&devices);
        let devices = on_large_pages.into();
        let (tags, children, macvlans, tunnels) = Default::default();
        Self { devices, domains, tags, children, macvlans, routing: None, vlan_ports, tunnels }
    }

    /// The same with these sub-interfaces, of which its devices tell by number.
    ///
    /// # Panics
    /// If a device tells of one that is not there.
    #[must_use]
    pub fn with_tags(self, tags: Box<[Tags]>) -> Self {
        let has = |id: TagsId| usize::from(id.0) < tags.len();
        assert!(self.devices.iter().all(|device| device.tags.is_none_or(has)));
        assert!(tags.iter().flat_map(Tags::devices).all(|device| device.index() < self.devices.len()));
        Self { tags, ..self }
    }

    /// The same with these macvlans, of which its devices tell by number.
    ///
    /// # Panics
    /// If a device tells of some that are not there, or they of a device.
    #[must_use]
    pub fn with_macvlans(self, mut macvlans: Box<[Macvlans]>) -> Self {
        let has = |id: MacvlansId| usize::from(id.0) < macvlans.len();
        for device in &self.devices {
            assert!(!matches!(device.role, Role::Macvlan(id) if !has(id)));
            for way in [Some(device.descent), device.role.way()].into_iter().flatten() {
                assert!(!matches!(way, Descent::Macvlan(way) if !has(way.siblings)));
            }
        }
        assert!(macvlans.iter().flat_map(Macvlans::devices).all(|child| child.index() < self.devices.len()));
        let onward = |child: DeviceId| self.devices[child.index()].onward(child);
        macvlans.iter_mut().for_each(|macvlans| macvlans.lead(onward));
        Self { macvlans, ..self }
    }

    /// The same with these ipvlans, of which its devices tell by number.
    ///
    /// # Panics
    /// If a device tells of some that are not there.
    #[must_use]
    pub fn with_children(self, children: Box<[Children]>) -> Self {
        let has = |id: ChildrenId| usize::from(id.0) < children.len();
        let has_all = |way| !matches!(way, Descent::Ipvlan(way) if !has(way.children));
        let is_sound = |device: &Device| match device.role {
            Role::Ipvlan(id) => has(id),
            Role::Upper(way) => has_all(way),
            _ => true,
        };
        assert!(self.devices.iter().all(|device| is_sound(device) && has_all(device.descent)));
        let mut all = children.iter().flat_map(Children::all);
        assert!(all.all(|device| device.index() < self.devices.len()));
        Self { children, ..self }
    }

    /// The same with what its routed devices go by.
    ///
    /// # Panics
    /// If one of those is unknown to it, or it knows one that is not there.
    #[must_use]
    pub fn with_routing(self, routing: Arc<Routing>) -> Self {
        let is_known = |(id, device): (u16, &Device)| {
            device.role != Role::Routed || routing.interface(DeviceId(id)).is_some()
        };
        assert!((0..).zip(&self.devices).all(is_known));
        assert!(routing.interfaces.len() <= self.devices.len());
        Self { routing: Some(routing), ..self }
    }

    /// The same with these tunnels, of which its devices tell by number.
    ///
    /// # Panics
    /// If a device tells of one that is not there, or they of a device or of each other.
    #[must_use]
    pub fn with_tunnels(self, tunnels: Arc<Tunnels>) -> Self {
        assert!(tunnels.is_sound(self.devices.len()));
        let has = |way| match way {
            Descent::Ipip(way) => usize::from(way.tunnel.0) < tunnels.ip.len(),
            Descent::Vxlan(way) => usize::from(way.vxlan.0) < tunnels.vxlans.len(),
            _ => true,
        };
        let ways = |device: &Device| [Some(device.descent), device.role.way()].into_iter().flatten().all(has);
        assert!(self.devices.iter().all(ways));
        Self { tunnels, ..self }
    }

    /// Its tunnels.
    #[inline]
    pub fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// The domain of what a VXLAN device knows, if it is one.
    pub fn vxlan_domain(&self, device: DeviceId) -> Option<DomainId> {
        let of = self.device(device);
        let ways = [Some(of.descent), of.role.way()].into_iter().flatten();
        let ids = ways.filter_map(|way| if let Descent::Vxlan(way) = way { Some(way.vxlan) } else { None });
        ids.map(|id| self.tunnels.vxlan(id).domain).next()
    }

    /// What routing goes by, in tables of which a device is routed.
    ///
    /// # Panics
    /// If none is.
    #[inline]
    pub fn routing(&self) -> &Routing {
        self.routing.as_deref().expect("a device is routed")
    }

    /// What a port of a bridge that filters is in.
    #[inline]
    pub fn vlan_port(&self, device: DeviceId) -> Option<&VlanPort> {
        self.vlan_ports.get(device.index())?.as_deref()
    }

    /// What is known of a device.
    #[inline]
    pub fn device(&self, device: DeviceId) -> &Device {
        self.devices.get(device.index()).unwrap_or(&Device::NONE)
    }

    /// Starts to bring closer what is known of a device's part in this.
    #[inline]
    pub fn prefetch(&self, device: DeviceId) {
        hints::prefetch(&self.device(device).role);
    }

    /// Whether there is such a device, with queues of its own.
    #[inline]
    pub fn has(&self, device: DeviceId) -> bool {
        self.device(device).longest > 0
    }

    /// All devices, by number.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The domain by which a domain's members are known: its bridge's.
    pub fn bridge_of(&self, domain: DomainId) -> DomainId {
        self.domain(domain).of.map_or(domain, |of| of.bridge)
    }

    /// What is known of a domain that a device of these tables has.
    #[inline]
    pub fn domain(&self, domain: DomainId) -> &Domain {
        &self.domains[usize::from(domain.number()) - 1]
    }

    /// Sub-interfaces that a device of these tables tells of.
    #[inline]
    pub fn tags(&self, id: TagsId) -> &Tags {
        &self.tags[usize::from(id.0)]
    }

    /// Ipvlans that a device of these tables tells of.
    #[inline]
    pub fn children(&self, id: ChildrenId) -> &Children {
        &self.children[usize::from(id.0)]
    }

    /// Macvlans that a device of these tables tells of.
    #[inline]
    pub fn macvlans(&self, id: MacvlansId) -> &Macvlans {
        &self.macvlans[usize::from(id.0)]
    }
}
