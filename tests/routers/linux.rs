//! Linux as a router, in a namespace behind a veth.

use std::net::Ipv6Addr;

use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::packet::PacketSocket;
use rigswitch_dataplane::wire::ipv6::Ipv6;

use super::packets::{V4, icmpv6_message, v4, v6};
use super::routes::{OURS_V6, ROUTES_V4, ROUTES_V6, WIDE};
use super::veth::{Rig, run, up, wait_for};

/// Linux as a router: what it gets from a veth it sends back there, or to another one.
pub(crate) struct Kernel {
    _rig: Rig,
    socket: PacketSocket,
    elsewhere: PacketSocket,
    header: [u8; 12],
    markers: u32,
}

impl Kernel {
    pub(crate) fn start(test: &str) -> Option<Self> {
        let rig = Rig::veth(test, 1, WIDE as u32)?;
        let core = core_affinity::get_core_ids().unwrap()[0];
        assert!(core_affinity::set_for_current(core));
        let near = Netdev::new("near0", Some(&rig.near)).unwrap().mac().unwrap();
        let far = Netdev::new("far0", Some(&rig.far)).unwrap().mac().unwrap();
        rig.add_veth("near1", "", "far1");
        up(&rig.near, "near1");
        up(&rig.far, "far1");
        // It has one address of each version to speak from.
        run(&rig.far, "ip link set far0 addrgenmode none");
        run(&rig.far, "ip link set far1 addrgenmode none");
        let knobs = [
            ("ipv4/ip_forward", "1"),
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv4/icmp_ratemask", "0"),
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/far0/rp_filter", "0"),
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/far0/send_redirects", "0"),
            ("ipv6/conf/far0/disable_ipv6", "0"),
            ("ipv6/conf/far1/disable_ipv6", "0"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/icmp/ratelimit", "0"),
            ("ipv6/icmp/ratemask", "0"), // a type that is none
        ];
        for (knob, value) in knobs {
            rig.far.run(|| std::fs::write(format!("/proc/sys/net/{knob}"), value)).unwrap().unwrap();
        }
        let far_run = |line: &str| run(&rig.far, line);
        far_run("ip address add 10.0.0.1/24 dev far0");
        far_run("ip address add fd00::1/64 dev far0 nodad");
        far_run("ip route add fe80::/64 dev far0");
        for neighbor in ["10.0.0.2", "fd00::2", "fe80::1234"] {
            far_run(&format!("ip neighbor add {neighbor} lladdr {near} dev far0 nud permanent"));
        }
        far_run(&format!("ip neighbor add fe80::2 lladdr {near} dev far1 nud permanent"));
        for (prefix, way) in ROUTES_V4.into_iter().chain(ROUTES_V6) {
            let line = match way.split_once(' ') {
                Some(_) => format!("ip route add {prefix} {way}"),
                None => format!("ip route add {way} {prefix}"),
            };
            far_run(&line);
        }
        let open = |device| PacketSocket::open(Netdev::new(device, None)?.index()?);
        let [socket, elsewhere] =
            ["near0", "near1"].map(|device| rig.near.run(|| open(device)).unwrap().unwrap());
        let header = [far.octets(), near.octets()].concat().try_into().unwrap();
        let mut kernel = Self { _rig: rig, socket, elsewhere, header, markers: 0 };
        // A link that has just come up carries nothing at first, and an address is not used at once.
        wait_for("the link", || {
            kernel.send(&marker(0));
            receive(&kernel.socket)
        });
        let host = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
        let echo = v6(host, OURS_V6, 58, 64, &icmpv6_message(host, OURS_V6, 128, vec![0; 8]));
        wait_for("the address", || kernel.answers(&echo).pop());
        Some(kernel)
    }

    /// What it sends on getting this packet, in order. A packet that it surely forwards says when that is all: what one core sends
    /// through a veth is taken in that order.
    pub(crate) fn answers(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        self.markers += 1;
        let marker = marker(self.markers);
        self.send(packet);
        self.send(&marker);
        let mut answers = Vec::new();
        wait_for("the marker", || {
            while let Some(packet) = receive(&self.socket) {
                match packet {
                    packet if packet.ends_with(&marker[20..]) => return Some(()),
                    packet if packet.ends_with(&EARLIER) => {}
                    packet => answers.push(packet),
                }
            }
            None
        });
        answers.extend(std::iter::from_fn(|| receive(&self.elsewhere)));
        answers
    }

    fn send(&self, packet: &[u8]) {
        let ether_type: [u8; 2] = if packet[0] >> 4 == 6 { [0x86, 0xdd] } else { [8, 0] };
        self.socket.send(&[&self.header, &ether_type[..], packet].concat()).unwrap();
    }
}

/// How the markers end that found out whether the link carries them.
pub(crate) const EARLIER: [u8; 10] = *b"marker\0\0\0\0";

/// A packet that is forwarded, of this number.
pub(crate) fn marker(number: u32) -> Vec<u8> {
    let source = [10, 1, 255, 255];
    v4(&V4 { source, protocol: 254, ..V4::default() }, &[b"marker", &number.to_be_bytes()[..]].concat())
}

/// The next packet that came, but for what an IPv6 host says of itself.
pub(crate) fn receive(socket: &PacketSocket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 4096];
    loop {
        let len = socket.receive(&mut buffer).ok()?;
        let (header, packet) = buffer[..len].split_at(14);
        if matches!(header[12..], [8, 0] | [0x86, 0xdd]) && !is_chatter(packet) {
            return Some(packet.to_vec());
        }
    }
}

/// Neighbour discovery and MLD.
pub(crate) fn is_chatter(packet: &[u8]) -> bool {
    let Ok(view) = Ipv6::view(packet) else { return false };
    matches!(view.transport(), Ok((protocol, [130..=143, ..])) if protocol.0 == 58)
}
