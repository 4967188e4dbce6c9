//! A device that is shared with the host: frame by frame, what the XDP program takes is what the rule says, and the host hears the rest.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "support/veth.rs"]
mod veth;

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::counters::DeviceCounters;
use rigswitch_dataplane::frames::{Burst, Pool, PoolConfig};
use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{
    Mine, Now, PortIo, PortQueue, XdpConfig, XdpDevice, XdpMode, XdpQueue, XdpTake,
};
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::packet::PacketSocket;
use veth::{Rig, run, up, wait_for};

const OURS: MacAddr = MacAddr::new([2, 0, 0, 0, 0xaa, 1]);
const HOSTS: MacAddr = MacAddr::new([2, 0, 0, 0, 0xaa, 2]);

/// A shared device: our queue, and a socket that hears what the host is left.
struct Shared {
    device: XdpDevice,
    queue: XdpQueue,
    pool: Pool,
    counters: DeviceCounters,
    host: PacketSocket,
}

impl Shared {
    fn open(rig: &Rig, mode: XdpMode) -> Self {
        let config = XdpConfig { mode, take: XdpTake::Mine, ..XdpConfig::new("near0") };
        let mut device = XdpDevice::open(&config, Some(&rig.near), None).unwrap();
        let pool = Pool::new(PoolConfig::singles(2048));
        let queue = device.open_queue(0, pool.area()).unwrap();
        let listen = || PacketSocket::open(Netdev::new("near0", None)?.index()?);
        let host = rig.near.run(listen).unwrap().unwrap();
        let mut shared = Self { device, queue, pool, counters: DeviceCounters::default(), host };
        assert_eq!(shared.ours(), None);
        shared
    }

    /// The next frame that came to us.
    fn ours(&mut self) -> Option<Vec<u8>> {
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        let mut burst = Burst::new();
        self.queue.rx_burst(&mut io, &mut burst).unwrap();
        let all: Vec<_> = burst
            .drain()
            .map(|frame| {
                let bytes = frame.bytes().to_vec();
                io.pool.free(frame);
                bytes
            })
            .collect();
        assert!(all.len() <= 1, "one was sent");
        all.into_iter().next()
    }

    /// The next frame that came to the host.
    fn hosts(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        let length = self.host.receive(&mut buffer).ok()?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// Whose a frame that is sent there is: whether ours.
    fn take(&mut self, from: &PacketSocket, frame: &[u8]) -> bool {
        from.send(frame).unwrap();
        let (is_ours, bytes) = wait_for(&format!("{frame:02x?}"), || {
            self.ours().map(|bytes| (true, bytes)).or_else(|| self.hosts().map(|bytes| (false, bytes)))
        });
        assert_eq!(bytes, frame, "as it was sent");
        is_ours
    }

    fn close(mut self) {
        assert_eq!((self.ours(), self.hosts()), (None, None), "nobody has a second one");
        let mut io = PortIo::new(&mut self.pool, &self.counters, Now::default());
        Box::new(self.queue).close(&mut io);
        assert_eq!(self.pool.outstanding(), 0);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn mine(macs: &[MacAddr], addresses: &[&str]) -> Mine {
    Mine {
        macs: macs.iter().copied().collect(),
        addresses: addresses.iter().map(|text| ip(text)).collect::<BTreeSet<_>>(),
    }
}

/// Frames of every shape that the rule tells apart, and each cut off everywhere.
fn frames() -> Vec<Vec<u8>> {
    let mut whole = Vec::new();
    for to in [OURS, HOSTS, MacAddr::BROADCAST, MacAddr::new([0x33, 0x33, 0xff, 0, 0, 1])] {
        let ethernet =
            |ethertype: u16| [&to.octets()[..], &HOSTS.octets(), &ethertype.to_be_bytes()].concat();
        for target in [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]] {
            for (hardware, operation) in
                [([0, 1, 8, 0, 6, 4], 1), ([0, 1, 8, 0, 6, 4], 2), ([0, 6, 8, 0, 6, 4], 1)]
            {
                let mut arp = ethernet(0x0806);
                arp.extend(hardware);
                arp.extend([0, operation, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0]);
                arp.extend(target);
                whole.push(arp);
            }
            for protocol in [1, 4, 6, 17, 41] {
                let mut packet = ethernet(0x0800);
                packet.extend([0x45, 0, 0, 28, 0, 0, 0x20, 5, 64, protocol, 0, 0, 10, 0, 0, 9]);
                packet.extend(target);
                packet.extend([0x12, 0xb5, 0x21, 0x18, 0, 8, 0, 0]);
                whole.push(packet);
            }
        }
        for target in ["fd00::1", "fd00::2", "fd00::3", "ff02::1:ff00:1"] {
            for (next, kind) in [(58, 135), (58, 136), (58, 128), (17, 135)] {
                for asked in ["fd00::1", "fd00::2"] {
                    let mut packet = ethernet(0x86dd);
                    packet.extend([0x60, 0, 0, 0, 0, 24, next, 255]);
                    packet.extend(octets(ip("fd00::9")));
                    packet.extend(octets(ip(target)));
                    packet.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
                    packet.extend(octets(ip(asked)));
                    whole.push(packet);
                }
            }
        }
        whole.push([ethernet(0x8100), vec![0, 10, 8, 0], vec![0x45; 40]].concat());
        whole.push([ethernet(0x88cc), vec![0; 40]].concat());
    }
    let cut = |frame: &Vec<u8>| (14..frame.len()).map(|length| frame[..length].to_vec()).collect::<Vec<_>>();
    // A tag that is cut off goes no further than the kernel.
    let untagged = whole.iter().filter(|frame| frame[12..14] != [0x81, 0]);
    let short: Vec<_> = untagged.step_by(7).flat_map(cut).collect();
    [whole, short].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[test]
fn the_program_takes_what_the_rule_says_and_the_host_hears_the_rest() {
    for mode in [XdpMode::Native, XdpMode::Generic] {
        let Some(rig) = Rig::veth("claims", 1, 1500) else { return };
        let mut shared = Shared::open(&rig, mode);
        let far = rig.far_socket("far0");
        let frames = frames();
        for claimed in [
            mine(&[], &[]),
            mine(&[], &["10.0.0.1", "fd00::1"]),
            mine(&[OURS], &["10.0.0.1", "fd00::1"]),
            mine(&[OURS], &["10.0.0.2", "fd00::2"]),
        ] {
            shared.device.claim(&claimed).unwrap();
            let mut taken = 0;
            for frame in &frames {
                let is_ours = shared.take(&far, frame);
                assert_eq!(is_ours, claimed.takes(frame), "{mode:?}, {claimed:?}: {frame:02x?}");
                taken += usize::from(is_ours);
            }
            let some = !claimed.addresses.is_empty();
            assert!(taken < frames.len() && some == (taken > 100), "{taken} of {}", frames.len());
        }
        shared.close();
    }
}

/// Only a driver that tells of the tag can keep VLAN 10's frames from being taken for untagged ones.
#[test]
fn a_frame_whose_tag_is_beside_it_is_the_hosts() {
    let Some(rig) = Rig::new("claims, tags") else { return };
    // A host's kernel bridge takes the tag of a frame it receives into metadata, and forwards it so.
    rig.add_veth("near0", "", "far0");
    run(&rig.far, "ip link add host0 type veth peer name host1");
    run(&rig.far, "ip link add bridge0 type bridge");
    for device in ["far0", "host1"] {
        run(&rig.far, &format!("ip link set {device} master bridge0"));
    }
    ["far0", "host0", "host1", "bridge0"].iter().for_each(|device| up(&rig.far, device));
    up(&rig.near, "near0");
    let mut shared = Shared::open(&rig, XdpMode::Native);
    assert!(!shared.queue.capabilities().may_lose_tags);
    shared.device.claim(&mine(&[], &["10.0.0.1"])).unwrap();
    let frame = frames().into_iter().find(|frame| mine(&[], &["10.0.0.1"]).takes(frame)).unwrap();
    let mut tagged = frame.clone();
    tagged.splice(12..12, [0x81, 0, 0, 10]);
    let host = rig.far_socket("host0");
    for _ in 0..10 {
        assert!(!shared.take(&host, &tagged));
        assert!(shared.take(&host, &frame));
    }
    shared.close();
}

#[test]
fn the_device_lets_in_what_is_ours_and_nothing_else_of_others() {
    let Some(rig) = Rig::veth("claims, filters", 1, 1500) else { return };
    let details = || run(&rig.near, "ip -d link show near0");
    let groups = || run(&rig.near, "ip maddr show dev near0");
    let mut shared = Shared::open(&rig, XdpMode::Auto);
    assert!(details().contains("promiscuity 0"), "{}", details());
    let group = "33:33:ff:00:00:01";
    assert!(!groups().contains(group), "{}", groups());
    shared.device.claim(&mine(&[OURS], &["fd00::1"])).unwrap();
    assert!(groups().contains(group), "{}", groups());
    shared.device.claim(&mine(&[OURS], &["10.0.0.1"])).unwrap();
    assert!(!groups().contains(group), "{}", groups());
    shared.close();
    let mut everything = XdpDevice::open(&XdpConfig::new("near0"), Some(&rig.near), None).unwrap();
    assert!(details().contains("promiscuity 1"), "{}", details());
    everything.claim(&mine(&[], &[])).unwrap();
}
