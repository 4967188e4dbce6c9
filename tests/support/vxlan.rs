//! A VXLAN device for the tests and benches of the data plane: its tables, and outer packets that are for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::frames::Burst;
use rigswitch_dataplane::ids::{DeviceId, MacAddr, Vni};
use rigswitch_dataplane::ports::{PortGone, PortIo, PortQueue};
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHops};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::tables::{
    Descent, Device, Df, Domain, Egress, Entry, Flags, Interface, Key, Listener, Peer, Peers, Reach, Remote,
    RemoteId, Role, Routing, Tables, Tick, Tunnels, Vxlan, VxlanDescent, VxlanId,
};
use rigswitch_dataplane::wire::checksum::Sum;
use rigswitch_dataplane::wire::flow::{FlowHasher, SourcePorts};
use rigswitch_dataplane::wire::outer::OuterHeader;
use rigswitch_dataplane::wire::{udp, vxlan};

use super::{Rig, device, domain};

/// The port of the bridge.
pub const INSIDE: DeviceId = DeviceId(0);
/// The routed device beneath the tunnel.
pub const BENEATH: DeviceId = DeviceId(1);
/// The tunnel.
pub const TUNNEL: DeviceId = DeviceId(2);
/// The network.
pub const VNI: u32 = 42;
/// Bytes around a frame.
pub const OVERHEAD: usize = 50;

const NEAR: [u8; 6] = [2, 0, 0, 0, 0xea, 1];
const FAR: [u8; 6] = [2, 0, 0, 0, 0xfa, 2];

/// The address of the switch, and of its far ends from 2 on.
pub fn end(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, n)
}

/// A bridge of [`INSIDE`] and [`TUNNEL`], whose domain is the second, and so many far ends, all of which are for what nothing is known of.
/// The first is [`Peer`] 1, all are `Peer` 2.
pub fn bridged(far_ends: u8, has_checksum: bool) -> Tables {
    let vni = Vni::new(VNI).unwrap();
    let mut tail = [0; udp::HEADER_LEN + vxlan::HEADER_LEN];
    tail[2..4].copy_from_slice(&vxlan::PORT.to_be_bytes());
    tail[udp::HEADER_LEN..].copy_from_slice(&vxlan::header(vni));
    let ends: Vec<_> =
        (2..2 + far_ends).zip(0..).map(|(n, id)| (IpAddr::from(end(n)), RemoteId(id))).collect();
    let remote = |&(address, _): &(IpAddr, RemoteId)| Remote {
        header: OuterHeader::new(end(1).into(), address, &tail)
            .between(MacAddr::new(FAR), MacAddr::new(NEAR)),
        reach: Reach::Ready(BENEATH),
        mtu: 1500,
    };
    let device_of = Vxlan {
        device: TUNNEL,
        domain: domain(2),
        mac: MacAddr::new([2, 0, 0, 0, 0x0e, 1]),
        ttl: Some(0),
        tos: Some(0),
        df: Df::Unset,
        has_checksum,
        source_ports: SourcePorts::DEFAULT,
        services: None,
        hasher: FlowHasher::new(7),
        learns: true,
        reserved: 0,
        network: None,
        peers: Peers::new([&ends[..1], &ends], Some(Peer(2)), [(ends[0].0, Peer(1))]),
    };
    let listener = |is_ipv6| Listener {
        others: None,
        port: vxlan::PORT,
        is_ipv6,
        takes_unsummed: !is_ipv6,
        networks: [(vni, VxlanId(0))].into(),
    };
    let tunnels = Tunnels {
        remotes: ends.iter().map(remote).collect(),
        vxlans: [device_of].into(),
        listeners: [listener(false), listener(true)].into(),
        ..Tunnels::default()
    };
    let way = Descent::Vxlan(VxlanDescent { vxlan: VxlanId(0), longest: Device::longest_for_mtu(1500) });
    let member = Role::Bridge(domain(1));
    let devices = [
        device(member, 0),
        device(Role::Routed, 0),
        Device { descent: way, longest: 0, ..device(member, 0) },
    ];
    let domains = [Domain::of([INSIDE, TUNNEL]), Domain::default()];
    Tables::new(devices.into(), domains.into())
        .with_routing(Arc::new(routing()))
        .with_tunnels(Arc::new(tunnels))
}

fn routing() -> Routing {
    let mut hops = NextHops::new();
    let ours = hops.add(NextHop::Local { device: BENEATH }).unwrap();
    let near = hops.add(NextHop::Connected { device: BENEATH }).unwrap();
    let interface = Interface {
        mac: MacAddr::new(NEAR),
        mtu: 1500,
        forwards: true,
        checks_source: false,
        has_neighbors: true,
    };
    let v6 = Ipv6Addr::from(0xfd00_u128 << 112 | 1);
    Routing {
        interfaces: [None, Some(interface)].into(),
        ipv4: Arc::new(Routes::new([(Prefix::of(end(1), 32), ours), (Prefix::of(end(0), 24), near)])),
        ipv6: Arc::new(Routes::new([(Prefix::of(v6, 128), ours)])),
        next_hops: Arc::new(hops),
        ..Routing::default()
    }
}

/// Has the bridge of [`bridged`] know so many stations of a generator inside, and as many behind the first far end.
pub fn learn(rig: &mut Rig, stations: u64) {
    for station in 0..stations {
        let [here, there] = [0, 1].map(|port| MacAddr::from_bits(0x0200_0000_0000 | port << 32 | station));
        let mut learn = |number, mac, egress: Egress| {
            rig.set_fixed(Key::new(domain(number), mac), Entry::new(egress, Tick::default(), Flags::LEARNED));
        };
        learn(1, here, INSIDE.into());
        learn(1, there, TUNNEL.into());
        learn(2, there, Egress { device: TUNNEL, peer: Peer(1) });
    }
}

/// The headers around this VXLAN header and what follows it: from a far end to the switch, without a UDP checksum.
pub fn around(far_end: u8, message: &[u8]) -> Vec<u8> {
    let word = |n: usize| u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes();
    let (length, datagram) = (word(message.len() + 28), word(message.len() + 8));
    let mut ip =
        [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, 17, 0, 0], &end(far_end).octets(), &end(1).octets()]
            .concat();
    let sum = Sum::of(&ip).checksum().to_be_bytes();
    ip[10..12].copy_from_slice(&sum);
    [&NEAR[..], &FAR, &[8, 0], &ip, &[0xc3, 0x50], &vxlan::PORT.to_be_bytes(), &datagram, &[0, 0], message]
        .concat()
}

/// A port that makes outer packets, in which stations of the far end send to stations inside, in an order no prefetcher guesses.
pub struct Packets {
    frame: Vec<u8>,
    mask: u64,
    state: u64,
}

impl Packets {
    /// With frames of `length` bytes inside, from and to so many stations, a power of two.
    pub fn new(length: usize, stations: u64) -> Self {
        assert!(stations.is_power_of_two() && length >= 14);
        let mut inner = vec![0; length];
        inner[12..14].copy_from_slice(&[0x88, 0xb5]);
        let message = [&vxlan::header(Vni::new(VNI).unwrap())[..], &inner].concat();
        Self { frame: around(2, &message), mask: stations - 1, state: 1 }
    }
}

impl PortQueue for Packets {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        while burst.spare() > 0 {
            let Some(mut frame) = io.pool.alloc(self.frame.len()) else { break };
            self.state =
                self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let station = self.state >> 20;
            let to = 0x0200_0000_0000 | station & self.mask;
            let from = 0x0201_0000_0000 | station >> 3 & self.mask;
            assert!(frame.fill(&self.frame));
            let inside = &mut frame.bytes_mut()[OVERHEAD..];
            inside[..6].copy_from_slice(&to.to_be_bytes()[2..]);
            inside[6..12].copy_from_slice(&from.to_be_bytes()[2..]);
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for frame in burst.drain() {
            io.counters.sent.add(1, frame.len() as u64);
            io.pool.free(frame);
        }
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}
