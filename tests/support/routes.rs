//! Routes for benches: as many as in a full table of the Internet, tables of a router between two devices that has them, and packets for all
//! that they lead to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rigswitch_dataplane::frames::Burst;
use rigswitch_dataplane::ids::{DeviceId, MacAddr};
use rigswitch_dataplane::ports::{PortGone, PortIo, PortQueue};
use rigswitch_dataplane::tables::next_hop::{NextHop, NextHopId, NextHops};
use rigswitch_dataplane::tables::route::{Address, Prefix, Routes};
use rigswitch_dataplane::tables::{Adjacencies, Interface, Role, Routing, Tables};

use super::device;

/// How many next hops the routes lead to, half of them behind each of two devices.
const NEXT_HOPS: u32 = 64;

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn bits32(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }

    /// One of these lengths, as often as its weight of 100 says.
    fn length(&mut self, weights: &[(u8, usize)]) -> u8 {
        let mut at = self.below(100);
        let chosen = weights.iter().find(|(_, weight)| {
            let found = at < *weight;
            at = at.saturating_sub(*weight);
            found
        });
        chosen.unwrap().0
    }
}

/// An address family with a likeness of what its routes are.
pub trait Sample: Address + Into<IpAddr> + Send + 'static {
    /// Any prefix.
    fn route(random: &mut Random) -> Prefix<Self>;
    /// An address with these leading bits.
    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self;
    /// The router that is the next hop of this number.
    fn gateway(number: u32) -> Self;
    /// An Ethernet type and a header, for frames of [`LENGTH`] bytes, that has no destination yet.
    fn header() -> Vec<u8>;
    /// Puts a destination into a frame with such a header.
    fn send_to(self, frame: &mut [u8; LENGTH]);
    /// Has `routing` go by these.
    fn put(routing: &mut Routing, routes: Routes<Self>, neighbors: Vec<(DeviceId, Self, MacAddr)>);
}

/// Bytes of a frame.
pub const LENGTH: usize = 64;

impl Sample for Ipv4Addr {
    fn route(random: &mut Random) -> Prefix<Self> {
        // As bgp.potaroo.net counts them, roughly; and a few hosts.
        let length = random.length(&[
            (24, 58),
            (23, 11),
            (22, 12),
            (21, 5),
            (20, 5),
            (19, 3),
            (16, 2),
            (18, 2),
            (32, 2),
        ]);
        loop {
            let address = Self::from_bits(random.bits32());
            if (1..224).contains(&address.octets()[0]) && !address.is_loopback() {
                return Prefix::of(address, length);
            }
        }
    }

    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self {
        let host = u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        Self::from_bits(prefix.address().to_bits() | random.bits32() & host)
    }

    fn gateway(number: u32) -> Self {
        Self::from_bits(0x0a00_0002 | number << 8)
    }

    fn header() -> Vec<u8> {
        [&[8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17, 0, 0][..], &[10, 0, 0, 9]].concat()
    }

    fn send_to(self, frame: &mut [u8; LENGTH]) {
        let halves = |bits: u32| (bits >> 16) + (bits & 0xffff);
        // What the rest of the header sums up to.
        const REST: u32 = 0x4500 + 50 + 0x4011 + 0x0a00 + 9;
        let folded = halves(halves(REST + halves(self.to_bits())));
        let checksum = !folded.to_be_bytes().last_chunk().copied().map_or(0, u16::from_be_bytes);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame[30..34].copy_from_slice(&self.octets());
    }

    fn put(routing: &mut Routing, routes: Routes<Self>, neighbors: Vec<(DeviceId, Self, MacAddr)>) {
        routing.ipv4 = Arc::new(routes);
        routing.neighbors_ipv4 = Adjacencies::new(neighbors.into_iter(), 7);
    }
}

impl Sample for Ipv6Addr {
    fn route(random: &mut Random) -> Prefix<Self> {
        let length = random.length(&[
            (48, 46),
            (32, 14),
            (44, 12),
            (40, 10),
            (36, 5),
            (29, 4),
            (46, 3),
            (64, 3),
            (128, 3),
        ]);
        // Of a /12 of each registry, the longer ones within some 20,000 allocations.
        let registry = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00, 0x2c00][random.below(6)];
        let allocation = Random(random.next() % 3500 + registry).next() >> 52;
        let high = registry << 48 | allocation << 36 | random.next() & 0xf_ffff_ffff;
        let address = Self::from_bits(u128::from(high) << 64 | u128::from(random.next()));
        Prefix::of(address, length)
    }

    fn within(prefix: Prefix<Self>, random: &mut Random) -> Self {
        let host = u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        let bits = u128::from(random.next()) << 64 | u128::from(random.next());
        Self::from_bits(prefix.address().to_bits() | bits & host)
    }

    fn gateway(number: u32) -> Self {
        Self::from_bits(0xfd00 << 112 | u128::from(number))
    }

    fn header() -> Vec<u8> {
        let source = Self::from_bits(0xfd00 << 112 | 9);
        [&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 10, 59, 64][..], &source.octets()].concat()
    }

    fn send_to(self, frame: &mut [u8; LENGTH]) {
        frame[38..54].copy_from_slice(&self.octets());
    }

    fn put(routing: &mut Routing, routes: Routes<Self>, neighbors: Vec<(DeviceId, Self, MacAddr)>) {
        routing.ipv6 = Arc::new(routes);
        routing.neighbors_ipv6 = Adjacencies::new(neighbors.into_iter(), 7);
    }
}

/// `count` routes, no prefix twice, each by one of [`NEXT_HOPS`].
pub fn routes<A: Sample>(count: usize, random: &mut Random) -> Vec<(Prefix<A>, NextHopId)> {
    let mut routes = Vec::new();
    while routes.len() < count {
        let more = count - routes.len();
        routes.extend(
            (0..more).map(|_| (A::route(random), NextHopId::new(random.bits32() % NEXT_HOPS).unwrap())),
        );
        routes.sort_by_key(|route| route.0);
        routes.dedup_by_key(|route| route.0);
    }
    routes
}

/// The device that a route by this next hop leaves by.
fn leaves_by(next_hop: NextHopId) -> u16 {
    u16::try_from(next_hop.number() % 2).unwrap()
}

fn router(device: u16) -> [u8; 6] {
    (0x0200_0000_aa00_u64 + u64::from(device)).to_be_bytes()[2..].try_into().unwrap()
}

/// Tables of two routed devices and these routes.
pub fn router_of<A: Sample>(routes: &[(Prefix<A>, NextHopId)]) -> Tables {
    let mut next_hops = NextHops::new();
    let hops = (0..NEXT_HOPS).map(|number| {
        let device = DeviceId(leaves_by(NextHopId::new(number).unwrap()));
        let gateway = A::gateway(number);
        next_hops.add(NextHop::Gateway { device, gateway: gateway.into() }).unwrap();
        (device, gateway, MacAddr::from_bits(0x0200_0000_bb00 + u64::from(number)))
    });
    let neighbors: Vec<_> = hops.collect();
    let interface = |device| Interface {
        mac: MacAddr::new(router(device)),
        mtu: 1500,
        forwards: true,
        checks_source: false,
        has_neighbors: true,
    };
    let mut routing = Routing {
        interfaces: [0, 1].map(|device| Some(interface(device))).into(),
        next_hops: Arc::new(next_hops),
        ..Routing::default()
    };
    A::put(&mut routing, Routes::new(routes.iter().copied()), neighbors);
    let devices = [0, 1].map(|_| device(Role::Routed, 0));
    Tables::new(devices.into(), Box::default()).with_routing(Arc::new(routing))
}

/// A port that makes packets for hosts that routes lead to, in an order no prefetcher guesses, and throws away what it is sent. It reads the
/// destinations one after the other: those of a million routes from a few lines of memory.
pub struct Packets<A> {
    frame: [u8; LENGTH],
    destinations: Vec<A>,
    next: usize,
}

impl<A: Sample> Packets<A> {
    /// Behind device `here` of [`router_of`], for hosts behind the other: for each of these routes about one, in any order.
    pub fn new(here: u16, routes: &[(Prefix<A>, NextHopId)], random: &mut Random) -> Self {
        let frame = [&router(here)[..], &[2, 0, 0, 0, 0, 1], &A::header()].concat();
        let mut destinations = Vec::new();
        while destinations.len() < routes.len().max(1024) {
            let (prefix, next_hop) = routes[random.below(routes.len())];
            if leaves_by(next_hop) != here {
                destinations.push(A::within(prefix, random));
            }
        }
        let mut bytes = [0; LENGTH];
        bytes[..frame.len()].copy_from_slice(&frame);
        Self { frame: bytes, destinations, next: 0 }
    }
}

impl<A: Sample> PortQueue for Packets<A> {
    fn rx_burst(&mut self, io: &mut PortIo<'_>, burst: &mut Burst) -> Result<(), PortGone> {
        for _ in 0..burst.spare() {
            let Some(mut frame) = io.pool.alloc(LENGTH) else { break };
            let destination = self.destinations[self.next];
            self.next = if self.next + 1 == self.destinations.len() { 0 } else { self.next + 1 };
            destination.send_to(&mut self.frame);
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
