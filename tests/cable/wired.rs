//! Hosts behind veths whose other ends are packet ports.

use std::net::IpAddr;

use rigswitch::lab::{Host, Lab};
use rigswitch_dataplane::ports::{PacketConfig, PacketDevice};

use super::{Bench, ample};

pub fn address(number: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, number])
}

pub fn address_v6(number: u16) -> IpAddr {
    IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, number])
}

/// Hosts behind veths, and in the middle of them the namespace where the switch would be.
pub struct Wired {
    pub center: Host,
    pub lab: Lab,
}

impl Wired {
    pub fn new(purpose: &str) -> Self {
        let mut lab = Lab::new(purpose).unwrap();
        let center = lab.host("center").unwrap();
        quiet(&center);
        Self { center, lab }
    }

    /// A host whose `net0` has address `number`; its other end is `p<number>`.
    pub fn host(&mut self, number: u8) -> Host {
        let host = self.lab.host(&format!("h{number}")).unwrap();
        quiet(&host);
        let near = format!("p{number}");
        self.center.add_veth(&near, "net0", host.netns()).unwrap();
        self.center.set_up(&near).unwrap();
        host.set_up("net0").unwrap();
        host.add_address("net0", address(number), 24).unwrap();
        host
    }

    pub fn open(&self, number: u8, queues: u16, mtu: Option<u16>) -> PacketDevice {
        let config = PacketConfig { device: format!("p{number}"), queues };
        PacketDevice::open(&config, Some(self.center.netns()), mtu).unwrap()
    }

    /// A port of one queue on `p<number>`.
    pub fn bench(&self, number: u8) -> (PacketDevice, Bench) {
        let device = self.open(number, 1, None);
        let queue = device.open_queue().unwrap();
        (device, Bench::new(queue, ample()))
    }
}

/// Keeps a host's IPv6 from saying anything by itself.
fn quiet(host: &Host) {
    // A kernel without IPv6 has no such knob, and needs none.
    host.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")).unwrap().ok();
    host.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/router_solicitations", "0")).unwrap().ok();
}

pub fn mac(host: &Host, device: &str) -> [u8; 6] {
    host.netdev(device).unwrap().mac().unwrap().octets()
}
