//! What an operator may say about a VXLAN device, validated.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::bridge::FdbState;
use crate::ids::{MacAddr, Vni};
use crate::tables::Df;
use crate::wire::{ethernet, ipv4, ipv6, udp, vxlan};

/// What sets one `[[vxlan]]` apart from other tunnels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VxlanConfig {
    /// The network that its frames are of; of no meaning in one that is `external`.
    pub id: Vni,
    /// That its frames are of the networks that a bridge or their far end says.
    pub external: Option<External>,
    /// The address that it sends from; `None` for that of the device it leaves by.
    pub local: Option<IpAddr>,
    /// Where what is for a station goes that nothing is known of: an entry of 00:00:00:00:00:00 that the device comes with.
    pub remote: Option<IpAddr>,
    /// The group that it sends to instead, and takes part in by `dev`.
    pub group: Option<IpAddr>,
    /// The device that it leaves by; of the file's routes only those by this one count.
    pub dev: Option<String>,
    /// The UDP port that it sends to and takes packets at.
    pub dstport: u16,
    /// The first and the last, itself not taken, of the UDP ports that it sends from.
    pub srcport: (u16, u16),
    /// Time to live of outer headers: 0 for the default, `None` for that of what is inside (`inherit`).
    pub ttl: Option<u8>,
    /// Their type of service; `None` for that of what is inside (`inherit`).
    pub tos: Option<u8>,
    /// Whether they may not be fragmented.
    pub df: Df,
    /// Whether it learns who is behind which far end.
    pub learning: bool,
    /// How long an entry lasts whose station is not seen.
    pub ageing: Duration,
    /// How many entries it may have; 0 for any number.
    pub maxaddress: u32,
    /// Whether outer UDP over IPv4 has a checksum.
    pub udpcsum: bool,
    /// Whether outer UDP over IPv6 has none.
    pub udp6zerocsumtx: bool,
    /// Whether outer UDP over IPv6 is taken without.
    pub udp6zerocsumrx: bool,
    /// Bits of the VXLAN header, as they lie on the wire, with which a packet is not taken. RFC 7348 says to ignore what it reserves; the
    /// kernel takes [`vxlan::RESERVED`].
    pub reserved_bits: u64,
    /// Whether it answers ARP and neighbour discovery itself, and sends none of either.
    pub proxy: bool,
    /// Whether packets for stations that are routers go to the stations that have their destinations.
    pub rsc: bool,
    /// Whether it tells of stations that it has no entry for.
    pub l2miss: bool,
    /// Whether it tells of addresses that no neighbour of its has.
    pub l3miss: bool,
    /// Its own address; `None` for one that its name and `local` make.
    pub address: Option<MacAddr>,
    /// Its entries, in the order of the file.
    pub fdb: Vec<VxlanEntryConfig>,
}

/// What a device takes whose frames say which network they are of (`external` of ip-link(8)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct External {
    /// The networks that it takes packets of, if not all (`vnifilter`); each with the station or the group that what is for stations goes to that
    /// nothing is known of, if it has one (`bridge vni add vni N remote|group ADDR`).
    pub vnis: Option<BTreeMap<Vni, Option<IpAddr>>>,
}

impl External {
    /// The station or group of a network.
    pub fn remote(&self, vni: Vni) -> Option<IpAddr> {
        *self.vnis.as_ref()?.get(&vni)?
    }

    /// Whether it takes packets of a network.
    pub fn takes(&self, vni: Vni) -> bool {
        self.vnis.as_ref().is_none_or(|vnis| vnis.contains_key(&vni))
    }
}

/// An entry: a station, and a far end that it is behind. Stations that are groups, and 00:00:00:00:00:00, which stands for all that nothing is
/// known of, may have several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VxlanEntryConfig {
    /// The station.
    pub mac: MacAddr,
    /// The far end.
    pub dst: IpAddr,
    /// Its UDP port; `None` for the device's own.
    pub port: Option<u16>,
    /// The network there; `None` for the device's own.
    pub vni: Option<Vni>,
    /// The device that packets to it leave by; `None` for the device's own `dev`, or whichever the route leads by.
    pub via: Option<String>,
    /// The network whose frames it is for, in a device that is `external`.
    pub src_vni: Option<Vni>,
    /// How long it lasts.
    pub state: FdbState,
    /// Whether the station is a router.
    pub router: bool,
}

impl VxlanConfig {
    /// What `ip link add type vxlan id …` takes where nothing is said, but for the reserved bits.
    pub fn new(id: Vni) -> Self {
        Self {
            id,
            external: None,
            local: None,
            remote: None,
            group: None,
            dev: None,
            dstport: vxlan::LINUX_PORT,
            srcport: (0, 0),
            ttl: Some(0),
            tos: Some(0),
            df: Df::Unset,
            learning: true,
            ageing: Self::AGEING,
            maxaddress: 0,
            udpcsum: true,
            udp6zerocsumtx: false,
            udp6zerocsumrx: false,
            reserved_bits: 0,
            proxy: false,
            rsc: false,
            l2miss: false,
            l3miss: false,
            address: None,
            fdb: Vec::new(),
        }
    }

    /// Its address, if it has this name. Its far ends may have devices of the same name, so where it sends from counts too.
    pub fn own_address(&self, name: &str) -> MacAddr {
        let made = || match self.local {
            None => MacAddr::of_name(name),
            Some(local) => MacAddr::of_name(&format!("{name} {local}")),
        };
        self.address.unwrap_or_else(made)
    }

    /// One network of a device that is `external`, as if it had a device of its own.
    pub fn of_network(&self, vni: Vni) -> Self {
        let fdb = self.fdb.iter().filter(|entry| entry.src_vni == Some(vni)).cloned().collect();
        let end = self.external.as_ref().and_then(|external| external.remote(vni));
        let (group, remote) = (end.filter(IpAddr::is_multicast), end.filter(|end| !end.is_multicast()));
        Self { id: vni, external: None, remote, group, fdb, ..self.clone() }
    }

    /// Takes away where what is for a station goes that nothing is known of, of itself or of one of its networks, if it is at this address.
    pub fn forget_remote(&mut self, network: Option<Vni>, is_it: impl Fn(IpAddr) -> bool) {
        let of_network =
            network.zip(self.external.as_mut()).and_then(|(vni, of)| of.vnis.as_mut()?.get_mut(&vni));
        for own in [of_network, Some(&mut self.remote), Some(&mut self.group)].into_iter().flatten() {
            own.take_if(|address| is_it(*address));
        }
    }

    /// Whether it has a use for neighbours that it is told of, though nothing is routed there.
    pub fn asks_neighbors(&self) -> bool {
        self.proxy || self.rsc
    }

    /// The kernel's `FDB_AGE_DEFAULT`.
    pub const AGEING: Duration = Duration::from_secs(300);

    /// ip-link(8)'s words for `df`.
    pub const DF: [(&str, Df); 3] = [("unset", Df::Unset), ("set", Df::Set), ("inherit", Df::Inherit)];

    /// The word for `df`.
    pub fn df_name(&self) -> &'static str {
        Self::DF.iter().find(|(_, df)| *df == self.df).map_or("", |(word, _)| word)
    }

    /// Whether its packets are of IPv6: its addresses say, and where it has none they are of IPv4 (`vxlan_config_validate`).
    pub fn is_ipv6(&self) -> bool {
        self.local.or(self.remote).or(self.group).is_some_and(|address| address.is_ipv6())
    }

    /// Bytes that it adds to what it carries, the header of the frame inside with them.
    pub fn overhead(&self) -> u32 {
        const TAIL: usize = udp::HEADER_LEN + vxlan::HEADER_LEN + ethernet::HEADER_LEN;
        const OVER_IPV4: u32 = 50;
        const OVER_IPV6: u32 = 70;
        const _: () = assert!(ipv4::HEADER_LEN + TAIL == OVER_IPV4 as usize);
        const _: () = assert!(ipv6::HEADER_LEN + TAIL == OVER_IPV6 as usize);
        if self.is_ipv6() { OVER_IPV6 } else { OVER_IPV4 }
    }

    /// Whether what it sends has a UDP checksum.
    pub fn has_checksum(&self) -> bool {
        if self.is_ipv6() { !self.udp6zerocsumtx } else { self.udpcsum }
    }

    /// Every entry that it has: the one it comes with, and the file's.
    pub fn entries(&self) -> impl Iterator<Item = VxlanEntryConfig> {
        let own = self.remote.or(self.group).map(|dst| VxlanEntryConfig {
            mac: MacAddr::ZERO,
            dst,
            port: None,
            vni: None,
            via: None,
            src_vni: None,
            state: FdbState::Permanent,
            router: false,
        });
        own.into_iter().chain(self.fdb.iter().cloned())
    }
}

impl VxlanEntryConfig {
    /// Whether its station may be behind several far ends at once.
    pub fn may_have_several(&self) -> bool {
        self.mac.is_group() || self.mac.is_zero()
    }
}
