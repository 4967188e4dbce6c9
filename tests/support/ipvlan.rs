//! Ipvlans for the tests and benches of the data plane: tables of some, and frames that are for them.

use rigswitch_dataplane::frames::Burst;
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{PortGone, PortIo, PortQueue};
use rigswitch_dataplane::tables::{
    Children, ChildrenId, Descent, Device, Domain, IpvlanDescent, IpvlanFlag, Role, Tables,
};

use super::{device, domain};

/// The address that they share with the device they stand on.
pub const SHARED: [u8; 6] = [2, 0, 0, 0, 0xaa, 0];
/// A station outside.
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];

/// Its address of child `n`, from 1 on.
pub fn v4(n: u32) -> [u8; 4] {
    (0x0a42_0000 + n).to_be_bytes()
}

fn v6(n: u32) -> [u8; 16] {
    ((0xfd66_u128 << 112) + u128::from(n)).to_be_bytes()
}

fn child(longest: u32) -> Descent {
    Descent::Ipvlan(IpvlanDescent { link: DeviceId(0), children: ChildrenId(0), longest })
}

fn upper(role: Role) -> Device {
    Device { descent: child(1518), longest: 0, ..device(role, 0) }
}

fn children(flag: IpvlanFlag, ids: impl Iterator<Item = DeviceId> + Clone) -> Children {
    let v4 = ids.clone().zip(1..).map(|(id, n)| (v4(n).into(), id));
    let addresses = v4.chain(ids.clone().zip(1..).map(|(id, n)| (v6(n).into(), id)));
    Children::new(MacAddr::new(SHARED), flag, ids, addresses)
}

/// Devices of [`all_kinds`].
pub const DEVICES: u16 = 8;
/// Those of them with queues.
pub const WITH_QUEUES: [u16; 6] = [0, 3, 4, 5, 6, 7];

/// Children of device 0, one of a kind: 1 is cross-connected with 3, 2 is in a bridge with 4 and 7, 5 is the host's. 6 is behind 5.
pub fn all_kinds(flag: IpvlanFlag) -> Tables {
    let [one, two, five] = [1, 2, 5].map(DeviceId);
    let devices = [
        device(Role::Ipvlan(ChildrenId(0)), 0),
        upper(Role::Xconnect(DeviceId(3))),
        upper(Role::Bridge(domain(1))),
        device(Role::Xconnect(one), 0),
        device(Role::Bridge(domain(1)), 0),
        device(Role::Upper(child(1518)), 0),
        device(Role::Unused, 0),
        device(Role::Bridge(domain(1)), 0),
    ];
    let bridge = Domain::of([2, 4, 7].map(DeviceId));
    let tables = Tables::new(Box::new(devices), Box::new([bridge]));
    tables.with_children(Box::new([children(flag, [one, two, five].into_iter())]))
}

/// `count` children of device 0, whose far end is device 1 of them all, and is the far end of the first.
pub fn many(count: u16) -> Tables {
    let mut devices = vec![device(Role::Ipvlan(ChildrenId(0)), 0), device(Role::Xconnect(DeviceId(2)), 0)];
    devices.extend((0..count).map(|_| upper(Role::Xconnect(DeviceId(1)))));
    let children = children(IpvlanFlag::Bridge, (2..2 + count).map(DeviceId));
    Tables::new(devices.into(), Box::default()).with_children(Box::new([children]))
}

/// `count` children of device 0 that nobody uses: what surfaces on them waits for its turn, and ends then.
pub fn idle(count: u16) -> Tables {
    let parent = device(Role::Ipvlan(ChildrenId(0)), 0);
    let devices: Box<[_]> = [parent].into_iter().chain((0..count).map(|_| upper(Role::Unused))).collect();
    let children = children(IpvlanFlag::Bridge, (1..=count).map(DeviceId));
    Tables::new(devices, Box::default()).with_children(Box::new([children]))
}

/// A frame that is for one of them, for all, for nobody, or broken; `below` draws a number.
pub fn any_frame(mut below: impl FnMut(usize) -> usize) -> Vec<u8> {
    const UDP: u8 = 17;
    const ICMPV6: u8 = 58;
    let macs = [SHARED, OUTSIDE, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0x33, 0x33, 0xff, 0, 0, 1]];
    let [from, to] = [0, 1].map(|_| u32::try_from(below(5)).unwrap());
    let (destination, source) = (macs[below(5)], macs[below(2)]);
    let v6_from = if below(4) == 0 { [0; 16] } else { v6(from) };
    let ipv6 = |next, payload: &[u8]| {
        [&[0x60, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap(), next, 255][..], &v6_from, &v6(to), payload]
            .concat()
    };
    let (ether_type, payload) = match below(7) {
        0 => (0x0806, [&[0, 1, 8, 0, 6, 4, 0, 1][..], &source, &v4(from), &[0; 6], &v4(to)].concat()),
        1 | 2 => {
            let header = [0x45, 0, 0, 40, 0, 0, 0, 0, 64, UDP, 0, 0];
            (0x0800, [&header[..], &v4(from), &v4(to), &[7; 20]].concat())
        }
        3 => (0x86dd, ipv6(UDP, &[7; 20])),
        4 => (0x86dd, ipv6(ICMPV6, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &v6(to)].concat())),
        5 => (0x8808, vec![0; 46]),
        _ => (0x88b5, vec![0; 46]),
    };
    let mut frame = [&destination[..], &source, &u16::to_be_bytes(ether_type), &payload].concat();
    match below(12) {
        0 => frame.truncate(below(frame.len())),
        1 => frame.resize(1400 + below(200), 0),
        2 => drop(frame.splice(12..12, [0x81, 0, 0, 10])),
        _ => {}
    }
    frame
}

/// A port that makes frames for children, in an order no prefetcher guesses, or those of one child to the outside; and throws away
/// what it is sent.
pub struct Packets {
    frame: [u8; 60],
    is_mute: bool,
    children: u64, // how many they are for in turn; zero: always the same frame
    state: u64,
}

impl Packets {
    /// IPv4 packets from outside to `children` children.
    pub fn inward(children: u16) -> Self {
        Self::new(SHARED, OUTSIDE, children.into())
    }

    /// IPv4 packets of the first child to the outside.
    pub fn outward() -> Self {
        Self::new(OUTSIDE, SHARED, 0)
    }

    /// Broadcasts from outside.
    pub fn to_all() -> Self {
        Self::new([0xff; 6], OUTSIDE, 0)
    }

    /// The same, that makes none: it only throws away.
    pub fn mute(self) -> Self {
        Self { is_mute: true, ..self }
    }

    fn new(destination: [u8; 6], source: [u8; 6], children: u64) -> Self {
        let header = [0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0];
        let bytes = [&destination[..], &source, &[8, 0], &header, &v4(1), &v4(0xffff), &[0; 26]].concat();
        Self { frame: bytes.try_into().unwrap(), is_mute: false, children, state: 1 }
    }
}

impl PortQueue for Packets {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        let count = if self.is_mute { 0 } else { burst.spare() };
        for _ in 0..count {
            let Some(mut frame) = io.pool.alloc(self.frame.len()) else { break };
            if self.children > 0 {
                self.state = self
                    .state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let child = 1 + u32::try_from(((self.state >> 32) * self.children) >> 32).unwrap();
                self.frame[30..34].copy_from_slice(&v4(child));
            }
            assert!(frame.fill(&self.frame));
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
