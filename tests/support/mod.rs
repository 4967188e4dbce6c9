//! What the tests and benches of the whole data plane share: workers with everything around them, stepped by hand.
#![allow(dead_code, unreachable_pub)] // each test and bench takes the part it needs

pub mod ipvlan;
pub mod routes;
pub mod tunnel;
pub mod vxlan;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rigswitch_dataplane::bell::Bell;
use rigswitch_dataplane::clock::Clock;
use rigswitch_dataplane::counters::{Ledger, WorkerCounters};
use rigswitch_dataplane::frames::{Area, Pool, PoolConfig};
use rigswitch_dataplane::ids::{DeviceId, DomainId, MacAddr, VlanId};
use rigswitch_dataplane::pipeline::Observer;
use rigswitch_dataplane::ports::{Generator, Now, PortQueue};
use rigswitch_dataplane::punt::{Inject, Punt, PuntReceiver};
use rigswitch_dataplane::ring::ring;
use rigswitch_dataplane::tables::{
    Buckets, Descent, Device, Domain, Entry, Flags, Key, Knobs, MacControl, MacTable, Macvlan,
    MacvlanDescent, MacvlanMode, Macvlans, MacvlansId, OfVlan, Publisher, Role, Tables, Tick, VlanPort,
    Vlans, WorkerId,
};
use rigswitch_dataplane::watch::Watchers;
use rigswitch_dataplane::wire::ethernet::EtherType;
use rigswitch_dataplane::worker::{Command, Event, Idle, Links, Worker, handoff};

/// Bytes of ring between a worker and control.
const CONTROL_RING: usize = 1 << 18;

/// Control's side of some workers: what it would hold.
pub struct Rig {
    pub publisher: Publisher<Tables>,
    pub macs: MacControl,
    pub clock: Arc<Clock>,
    pub counters: Vec<Arc<WorkerCounters>>,
    pub commands: Vec<Sender<Command>>,
    pub punts: Vec<PuntReceiver>,
    pub injects: Vec<Inject>,
    pub bells: Vec<Arc<Bell>>,
    pub events: Receiver<(WorkerId, Event)>,
    pub devices: usize,
}

/// A device that receives what it is sent whole, up to the default MTU.
pub fn device(role: Role, owner: usize) -> Device {
    Device {
        role,
        owner: WorkerId(u16::try_from(owner).unwrap()),
        longest: Device::longest_for_mtu(1500),
        tags: None,
        descent: Default::default(),
        capabilities: Default::default(),
        knobs: Knobs::PLAIN,
    }
}

/// The domain of this number.
pub fn domain(number: u16) -> DomainId {
    DomainId::new(number).unwrap()
}

/// Tables of one bridge over all of `devices` devices, owned by `workers` workers in turn.
pub fn one_bridge(devices: usize, workers: usize) -> Tables {
    let ids = (0..devices).map(|id| DeviceId(u16::try_from(id).unwrap()));
    let members = Domain::of(ids);
    let devices = (0..devices).map(|id| device(Role::Bridge(domain(1)), id % workers)).collect();
    Tables::new(devices, Box::new([members]))
}

/// Tables of a bridge with VLANs 1 to `vlans` over devices owned by worker 0: the first is untagged in them, with a PVID of 1, the
/// others are tagged in them. VLAN `v` has domain `1 + v`.
pub fn access_and_trunks(devices: u16, vlans: u16) -> Tables {
    let all = || (1..=vlans).filter_map(VlanId::new);
    let port = |untagged| {
        let mut port = VlanPort::new();
        all().for_each(|vid| port.join(vid, untagged));
        port.set_pvid(VlanId::new(1).filter(|_| untagged));
        Some(Box::new(port))
    };
    let bridge = domain(1);
    let compiled = Vlans::new(bridge, EtherType::CTAG, all().map(|vid| (vid, domain(1 + vid.number()))));
    let own = Domain { vlans: Some(Box::new(compiled)), ..Domain::default() };
    let members = || (0..devices).map(DeviceId);
    let of_vlan = |vid| Domain { of: Some(OfVlan { bridge, vid }), ..Domain::of(members()) };
    let domains = [own].into_iter().chain(all().map(of_vlan)).collect();
    let ports = members().map(|id| port(id == DeviceId(0))).collect();
    Tables::with_vlans(members().map(|_| device(Role::VlanBridge(bridge), 0)).collect(), domains, ports)
}

/// Has the bridge of [`access_and_trunks`] know the stations of two generators, as many behind each of two ports, with so many VLANs. The access port
/// sends in one VLAN and is in all of them: nobody would learn who is behind it.
pub fn learn_in_vlans(rig: &mut Rig, stations: u64, vlans: u64) {
    let mut learn = |vlan, port: u16, station| {
        let mac = MacAddr::from_bits(0x0200_0000_0000 | u64::from(port) << 32 | station);
        let entry = Entry::new(DeviceId(port).into(), Tick::default(), Flags::LEARNED);
        rig.set_fixed(Key::new(domain(1 + vlan), mac), entry);
    };
    for station in 0..stations {
        learn(Generator::vlan_of(station, stations, vlans), 0, station);
        learn(1, 1, station);
    }
}

/// Tables of macvlans of device 0 from device 2 on, which go on by device 1: so many of them, with the addresses that stations
/// behind port 1 of a generator have, or one that hears so many stations behind port 0.
pub fn macvlans(by_source: bool, count: usize) -> Tables {
    let address = |port: u64, n: usize| MacAddr::from_bits(0x0200_0000_0000 | port << 32 | n as u64);
    let siblings = MacvlansId(0);
    let mode = if by_source { MacvlanMode::Source } else { MacvlanMode::Bridge };
    let children = if by_source { 1 } else { count };
    let ids: Vec<_> = (2..).take(children).map(DeviceId).collect();
    let sources: Vec<_> = (0..if by_source { count } else { 0 }).map(|n| address(0, n)).collect();
    let family: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, &device)| Macvlan {
            device,
            mac: address(1, n),
            mode,
            sources: &sources,
            nodst: true,
            own_only: false,
        })
        .collect();
    let mut devices = vec![device(Role::Macvlan(siblings), 0), device(Role::Xconnect(DeviceId(0)), 0)];
    devices.extend(ids.iter().map(|&child| {
        let way = MacvlanDescent { link: DeviceId(0), child, siblings, mode, longest: 1518 };
        Device { descent: Descent::Macvlan(way), longest: 0, ..device(Role::Xconnect(DeviceId(1)), 0) }
    }));
    Tables::new(devices.into(), Box::default()).with_macvlans(Box::new([Macvlans::new(&family, 1000, 1)]))
}

impl Rig {
    /// `workers` workers on `tables`, with `memory` each, and a MAC table for `macs` stations.
    pub fn new(workers: usize, tables: Tables, memory: PoolConfig, macs: usize) -> (Self, Vec<Links>) {
        let devices = tables.devices().len();
        let (events_in, events) = unbounded();
        let mut publisher = Publisher::new(tables);
        let macs = MacControl::new(MacTable::new(Buckets::for_macs(macs), 0x5eed).unwrap().with_quotas(16));
        let clock = Arc::new(Clock::new());
        let bells: Vec<_> = (0..workers).map(|_| Arc::new(Bell::new().unwrap())).collect();
        let mut handoffs: Vec<Vec<_>> = (0..workers).map(|_| (0..workers).map(|_| None).collect()).collect();
        let mut handed_on: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (from, handoffs) in handoffs.iter_mut().enumerate() {
            for (to, bell) in bells.iter().enumerate().filter(|(to, _)| *to != from) {
                let (sender, receiver) = handoff(Arc::clone(bell));
                handoffs[to] = Some(sender);
                handed_on[to].push(receiver);
            }
        }
        let mut rig = Self {
            publisher: Publisher::new(Tables::default()),
            macs,
            clock,
            counters: Vec::new(),
            commands: Vec::new(),
            punts: Vec::new(),
            injects: Vec::new(),
            bells,
            events,
            devices,
        };
        let mut links = Vec::new();
        for (id, (handoffs, handed_on)) in handoffs.into_iter().zip(handed_on).enumerate() {
            let counters = Arc::new(WorkerCounters::new());
            for device in 0..devices {
                counters.prepare(DeviceId(u16::try_from(device).unwrap()));
            }
            let (commands_in, commands) = unbounded();
            let (punt_in, punt_out) = ring(CONTROL_RING);
            let (inject_in, inject_out) = ring(CONTROL_RING);
            links.push(Links {
                worker: WorkerId(u16::try_from(id).unwrap()),
                memory,
                idle: Idle::Adaptive,
                tables: publisher.reader(),
                macs: Arc::clone(rig.macs.table()),
                counters: Arc::clone(&counters),
                clock: Arc::clone(&rig.clock),
                bell: Arc::clone(&rig.bells[id]),
                commands,
                events: events_in.clone(),
                handoffs,
                handed_on,
                punt: Punt::new(punt_in),
                inject: inject_out,
                watchers: Watchers::default(),
            });
            rig.counters.push(counters);
            rig.commands.push(commands_in);
            rig.punts.push(PuntReceiver::new(punt_out));
            rig.injects.push(Inject::new(inject_in));
        }
        rig.publisher = publisher;
        (rig, links)
    }

    /// Hands a queue to a worker that is in its first incarnation.
    pub fn open(&self, worker: usize, device: DeviceId, queue: Box<dyn PortQueue + Send>) {
        self.commands[worker].send(Command::Open { device, queue, incarnation: 0 }).unwrap();
    }

    /// Sets the time.
    pub fn at(&self, tick: u32) {
        self.clock.set(Tick::new(tick), Now { unix_ns: u64::from(tick) * 100_000_000 });
    }

    /// Sets an entry. No worker is in the middle of a burst, so every grace period is over at once.
    pub fn set_fixed(&mut self, key: Key, entry: Entry) {
        self.macs.insert(key, entry, || ()).unwrap();
    }

    /// Removes the entries that `keep` does not hold for, and frees their slots.
    pub fn retain(&mut self, keep: impl FnMut(Key, Entry) -> bool) -> usize {
        let all = 0..self.macs.table().buckets().len();
        let removed = self.macs.retain(all.clone(), keep);
        self.macs.reclaim(all);
        removed
    }

    /// Where all frames and copies are.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for counters in &self.counters {
            ledger.add_worker(counters, self.ids());
        }
        ledger
    }

    /// All devices.
    pub fn ids(&self) -> impl Iterator<Item = DeviceId> + use<> {
        (0..self.devices).map(|id| DeviceId(u16::try_from(id).unwrap()))
    }
}

/// A worker on `links`, to be turned by hand.
pub fn worker<'a, O: Observer>(
    links: &'a mut Links,
    observer: O,
    at: &'a mut Option<DeviceId>,
) -> (Worker<'a, O>, Arc<Area>) {
    let pool = Pool::new(links.memory);
    let area = Arc::clone(pool.area());
    (Worker::new(links, pool, 0, observer, at), area)
}
