//! Tunnels for the tests and benches of the data plane: a router whose device 0 is inside and device 1 the underlay, and packets for either.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::frames::{Burst, Checksum};
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{PortGone, PortIo, PortQueue};
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHops};
use rigswitch_dataplane::tables::route::{Prefix, Routes};
use rigswitch_dataplane::tables::{
    Adjacencies, Carries, Descent, Device, Ends, Interface, IpDemux, IpTunnel, IpTunnelId, IpipDescent,
    Reach, Remote, RemoteId, Role, Routing, Tables, Tunnels,
};
use rigswitch_dataplane::wire::checksum::Sum;
use rigswitch_dataplane::wire::outer::OuterHeader;
use rigswitch_dataplane::wire::tunnel::{Outer, OverIpv6};

use super::device;

/// The router's addresses on each device, and those of who is behind it.
pub const OURS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 0], [2, 0, 0, 0, 0xaa, 1]];
pub const THEIRS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0], [2, 0, 0, 0, 1, 1]];
/// Behind device 0, and behind the tunnel.
pub const HERE: [u8; 4] = [10, 1, 0, 2];
pub const THERE: [u8; 4] = [10, 2, 0, 2];
/// The tunnel's ends.
pub const LOCAL: [u8; 4] = [192, 0, 2, 1];
pub const REMOTE: [u8; 4] = [192, 0, 2, 2];
/// The ends of the one over IPv6.
pub const LOCAL_IPV6: [u16; 8] = [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1];
pub const REMOTE_IPV6: [u16; 8] = [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2];
const MTU: u32 = 1500;
/// Bytes of an outer IPv6 header with a tunnel encapsulation limit.
const OVER_IPV6: u32 = 40 + 8;

/// 10.1.0.0/24 is behind device 0, 192.0.2.0/24 behind device 1, and 10.2.0.0/24 behind device 2: the tunnel to 192.0.2.2, or if that is to be without one,
/// routed by device 1 to the same neighbour. 10.3.0.0/24 and 2001:db8:3::/64 are behind device 3, a tunnel over IPv6; 2001:db8:1::/64 is behind device 0 and
/// 2001:db8:2::/64 behind the first tunnel.
pub fn tables(with_tunnel: bool) -> Tables {
    let [inside, underlay, tunnel, over_ipv6] = [0, 1, 2, 3].map(DeviceId);
    let mut next_hops = NextHops::new();
    let mut hop = |next_hop| next_hops.add(next_hop).unwrap();
    let [behind, beneath, through, by_ipv6] =
        [inside, underlay, tunnel, over_ipv6].map(|device| hop(NextHop::Connected { device }));
    let gateway = Ipv4Addr::from(REMOTE).into();
    let around = hop(NextHop::Gateway { device: underlay, gateway });
    let [own, ours] = [inside, underlay].map(|device| hop(NextHop::Local { device }));
    let net = |octets: [u8; 4], length| Prefix::new(Ipv4Addr::from(octets), length).unwrap();
    let net_ipv6 = |third, last, length| {
        Prefix::new(Ipv6Addr::from([0x2001, 0xdb8, third, 0, 0, 0, 0, last]), length).unwrap()
    };
    let interface = |mac, mtu, has_neighbors| {
        let mac = MacAddr::new(mac);
        Some(Interface { mac, mtu, forwards: true, checks_source: false, has_neighbors })
    };
    let neighbors = [(inside, HERE, THEIRS[0]), (underlay, REMOTE, THEIRS[1])];
    let neighbors =
        neighbors.map(|(device, address, mac)| (device, Ipv4Addr::from(address), MacAddr::new(mac)));
    let station = Ipv6Addr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 2]);
    let neighbors_ipv6 = [(inside, station, THEIRS[0]), (underlay, REMOTE_IPV6.into(), THEIRS[1])];
    let neighbors_ipv6 = neighbors_ipv6.map(|(device, address, mac)| (device, address, MacAddr::new(mac)));
    let routing = Routing {
        interfaces: [
            interface(OURS[0], MTU, true),
            interface(OURS[1], MTU, true),
            interface([2; 6], MTU - 20, false),
            interface([6; 6], MTU - OVER_IPV6, false),
        ]
        .into(),
        ipv4: Arc::new(Routes::new([
            (net([10, 1, 0, 0], 24), behind),
            (net([10, 1, 0, 1], 32), own),
            (net([192, 0, 2, 0], 24), beneath),
            (net(LOCAL, 32), ours),
            (net([10, 2, 0, 0], 24), if with_tunnel { through } else { around }),
            (net([10, 3, 0, 0], 24), by_ipv6),
        ])),
        ipv6: Arc::new(Routes::new([
            (net_ipv6(1, 0, 64), behind),
            (net_ipv6(2, 0, 64), through),
            (net_ipv6(3, 0, 64), by_ipv6),
            (net_ipv6(0xffff, 0, 64), beneath),
            (net_ipv6(0xffff, 1, 128), ours),
        ])),
        next_hops: next_hops.into(),
        neighbors_ipv4: Adjacencies::new(neighbors.into_iter(), 1),
        neighbors_ipv6: Adjacencies::new(neighbors_ipv6.into_iter(), 1),
        ..Routing::default()
    };
    let [local, remote] = [LOCAL, REMOTE].map(Ipv4Addr::from);
    let [local_ipv6, remote_ipv6] = [LOCAL_IPV6, REMOTE_IPV6].map(Ipv6Addr::from);
    let far_end = |local, remote| {
        let header = OuterHeader::new(local, remote, &[]);
        let header = header.between(MacAddr::new(THEIRS[1]), MacAddr::new(OURS[1]));
        Remote { header, reach: Reach::Ready(underlay), mtu: MTU }
    };
    let of_tunnel = IpTunnel {
        device: tunnel,
        remote: Some(RemoteId(0)),
        outer: Outer::default(),
        over_ipv6: None,
        carries: Carries::Both,
        mac: MacAddr::new([2; 6]),
    };
    let of_other = IpTunnel {
        device: over_ipv6,
        remote: Some(RemoteId(1)),
        outer: Outer::OVER_IPV6,
        over_ipv6: Some(OverIpv6::default()),
        mac: MacAddr::new([6; 6]),
        ..of_tunnel
    };
    let ends = Ends { local: Some(local), remote: Some(remote) };
    let ends_ipv6 = Ends { local: Some(local_ipv6), remote: Some(remote_ipv6) };
    let tunnels = Tunnels {
        remotes: [far_end(local.into(), remote.into()), far_end(local_ipv6.into(), remote_ipv6.into())]
            .into(),
        ip: [of_tunnel, of_other].into(),
        demux: IpDemux::new([(ends, Carries::Both, IpTunnelId(0))])
            .and_over_ipv6([(ends_ipv6, IpTunnelId(1))]),
        ..Tunnels::default()
    };
    let way = |number, overhead| IpipDescent { tunnel: IpTunnelId(number), longest: MTU - overhead + 14 };
    let routed = || device(Role::Routed, 0);
    let by = |way| Device { descent: Descent::Ipip(way), longest: 0, ..routed() };
    let devices = [routed(), routed(), by(way(0, 20)), by(way(1, OVER_IPV6))];
    Tables::new(devices.into(), Box::default())
        .with_tunnels(Arc::new(tunnels))
        .with_routing(Arc::new(routing))
}

/// A packet.
pub fn packet(source: [u8; 4], destination: [u8; 4], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header =
        [&[0x45, 0, length[0], length[1], 0, 7, 0, 0, 64, protocol, 0, 0][..], &source, &destination]
            .concat();
    let sum = Sum::of(&header).checksum().to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [&header[..], payload].concat()
}

/// A frame to the router at device 0 or 1.
pub fn frame(to: usize, packet: &[u8]) -> Vec<u8> {
    [&OURS[to][..], &THEIRS[to], &[8, 0], packet].concat()
}

/// A port whose station sends one frame again and again, of which it says nothing of the checksum's state but that; and throws away what it is sent.
pub struct Sender {
    frame: Vec<u8>,
    checksum: Checksum,
}

impl Sender {
    /// Packets from inside to who is behind the tunnel, `length` bytes of payload.
    pub fn inside(length: usize) -> Self {
        Self::of(frame(0, &packet(HERE, THERE, 17, &vec![0; length])))
    }

    /// Packets from the tunnel's far end, which have such inside for who is behind device 0.
    pub fn underlay(length: usize) -> Self {
        Self::of(frame(1, &packet(REMOTE, LOCAL, 4, &packet(THERE, HERE, 17, &vec![0; length]))))
    }

    /// Packets from behind device 1 to who is behind device 0, without a tunnel.
    pub fn plain(length: usize) -> Self {
        Self::of(frame(1, &packet(THERE, HERE, 17, &vec![0; length])))
    }

    /// This frame.
    pub fn of(frame: Vec<u8>) -> Self {
        Self { frame, checksum: Checksum::Complete }
    }

    /// None at all.
    pub fn mute() -> Self {
        Self::of(Vec::new())
    }
}

impl PortQueue for Sender {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        while burst.spare() > 0 && !self.frame.is_empty() {
            let Some(mut frame) = io.pool.alloc(self.frame.len()) else { break };
            assert!(frame.fill(&self.frame));
            frame.set_checksum(self.checksum);
            if let Err(frame) = burst.push(frame) {
                io.pool.free(frame);
            }
        }
        Ok(())
    }

    fn tx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let (packets, bytes) = (burst.len() as u64, burst.iter().map(|frame| frame.len() as u64).sum());
        burst.drain().for_each(|frame| io.pool.free(frame));
        io.counters.sent.add(packets, bytes);
        Ok(())
    }

    fn close(self: Box<Self>, _io: &mut PortIo<'_>) {}
}
