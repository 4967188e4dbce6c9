//! A tunnel for the tests and benches of the data plane: a router whose device 0 is inside and device 1 the underlay, and packets for either.

use std::net::Ipv4Addr;
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
use rigswitch_dataplane::wire::tunnel::Outer;

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
const MTU: u32 = 1500;

/// 10.1.0.0/24 is behind device 0, 192.0.2.0/24 behind device 1, and 10.2.0.0/24 behind device 2: the tunnel to 192.0.2.2, or if that is to be without one,
/// routed by device 1 to the same neighbour.
pub fn tables(with_tunnel: bool) -> Tables {
    let [inside, underlay, tunnel] = [0, 1, 2].map(DeviceId);
    let mut next_hops = NextHops::new();
    let mut hop = |next_hop| next_hops.add(next_hop).unwrap();
    let [behind, beneath, through] =
        [inside, underlay, tunnel].map(|device| hop(NextHop::Connected { device }));
    let gateway = Ipv4Addr::from(REMOTE).into();
    let around = hop(NextHop::Gateway { device: underlay, gateway });
    let [own, ours] = [inside, underlay].map(|device| hop(NextHop::Local { device }));
    let net = |octets: [u8; 4], length| Prefix::new(Ipv4Addr::from(octets), length).unwrap();
    let interface = |mac, mtu, has_neighbors| {
        let mac = MacAddr::new(mac);
        Some(Interface { mac, mtu, forwards: true, checks_source: false, has_neighbors })
    };
    let neighbors = [(inside, HERE, THEIRS[0]), (underlay, REMOTE, THEIRS[1])];
    let neighbors =
        neighbors.map(|(device, address, mac)| (device, Ipv4Addr::from(address), MacAddr::new(mac)));
    let routing = Routing {
        interfaces: [
            interface(OURS[0], MTU, true),
            interface(OURS[1], MTU, true),
            interface([2; 6], MTU - 20, false),
        ]
        .into(),
        ipv4: Arc::new(Routes::new([
            (net([10, 1, 0, 0], 24), behind),
            (net([10, 1, 0, 1], 32), own),
            (net([192, 0, 2, 0], 24), beneath),
            (net(LOCAL, 32), ours),
            (net([10, 2, 0, 0], 24), if with_tunnel { through } else { around }),
        ])),
        next_hops: next_hops.into(),
        neighbors_ipv4: Adjacencies::new(neighbors.into_iter(), 1),
        ..Routing::default()
    };
    let [local, remote] = [LOCAL, REMOTE].map(Ipv4Addr::from);
    let header = OuterHeader::new(local.into(), remote.into(), &[]);
    let header = header.between(MacAddr::new(THEIRS[1]), MacAddr::new(OURS[1]));
    let of_tunnel = IpTunnel {
        device: tunnel,
        remote: Some(RemoteId(0)),
        outer: Outer::default(),
        over_ipv6: None,
        carries: Carries::Both,
        mac: MacAddr::new([2; 6]),
    };
    let ends = Ends { local: Some(local), remote: Some(remote) };
    let tunnels = Tunnels {
        remotes: [Remote { header, reach: Reach::Ready(underlay), mtu: MTU }].into(),
        ip: [of_tunnel].into(),
        demux: IpDemux::new([(ends, Carries::Both, IpTunnelId(0))]),
        ..Tunnels::default()
    };
    let way = IpipDescent { tunnel: IpTunnelId(0), longest: MTU - 20 + 14 };
    let routed = || device(Role::Routed, 0);
    let devices = [routed(), routed(), Device { descent: Descent::Ipip(way), longest: 0, ..routed() }];
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
