//! What is seen of a running switch: counters and tables summed into views.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Add;
use std::sync::atomic::Ordering::Relaxed;

use rigswitch_dataplane::bridge::{BridgeConfig, FdbEntryConfig, FdbState, NeighborConfig};
use rigswitch_dataplane::counters::{Counter, DeviceCounters, Ledger, Volume};
use rigswitch_dataplane::drops::{Direction, DropReason};
use rigswitch_dataplane::ids::{DeviceId, MacAddr, VlanId};
use rigswitch_dataplane::tables::{Entry, Flags, Key, Tick};
use rigswitch_dataplane::wire::bpdu::BridgeId;

use super::port::Port;
use super::{Switch, host};
use crate::config::Config;
use crate::stp::Stp;
use crate::views::{
    BridgeView, DropView, DropsView, FdbView, LedgerView, LostView, NeighborView, PortView, TrafficView,
    WorkerView,
};

impl Switch {
    /// Every port and its traffic.
    pub fn ports(&self) -> Vec<PortView> {
        self.ports.iter().map(|(id, port)| self.port_view(port, id)).collect()
    }

    /// Every bridge, as its spanning tree has it.
    pub fn bridges(&self) -> Vec<BridgeView> {
        let view = |bridge: &BridgeConfig| {
            let tree = self.domains.of(&bridge.name).and_then(|domain| self.trees.tree(domain));
            let root = tree.map(Stp::root);
            let text = |id: BridgeId| format!("{:04x}.{}", id.priority(), id.address());
            BridgeView {
                ifname: bridge.name.clone(),
                address: host::address(bridge, &self.ports).map(|address| address.to_string()),
                mtu: host::mtu(bridge, &self.ports),
                stp_state: bridge.spanning_tree.enabled,
                bridge_id: root.map(|root| text(root.bridge)),
                root_id: root.map(|root| text(root.root)),
                root_port: root.and_then(|root| root.port).map(|port| self.name(port).to_owned()),
                root_path_cost: root.map(|root| root.cost),
                topology_change: tree.map(|tree| tree.fast_ageing().is_some()),
            }
        };
        self.config.bridges.iter().map(view).collect()
    }

    /// Every forwarding entry, by bridge, address and VLAN.
    pub fn fdb(&self) -> Vec<FdbView> {
        let now = self.clock.tick();
        let (of_far_ends, mut entries): (Vec<_>, Vec<_>) =
            self.macs.iter().partition(|(key, _)| self.is_vxlan(key.domain()));
        entries.sort_by_cached_key(|(key, _)| {
            let domain = key.domain();
            (self.domains.of(self.bridge(domain)), key.mac(), self.domains.vlan(domain), domain)
        });
        // One that two workers learn at this moment may be seen twice.
        entries.dedup_by_key(|(key, _)| *key);
        let view = |(key, entry): (Key, Entry)| FdbView {
            mac: key.mac().to_string(),
            ifname: self.name(entry.egress().device).to_owned(),
            vlan: self.domains.vlan(key.domain()).map(VlanId::number),
            dst: None,
            port: None,
            vni: None,
            src_vni: None,
            via: None,
            used: Some(seconds(now.since(entry.updated()))),
            updated: Some(seconds(now.since(entry.updated()))),
            flags: flags(entry),
            master: Some(self.bridge(key.domain()).to_owned()),
            state: state(entry).to_owned(),
        };
        entries.into_iter().map(view).chain(self.far_end_views(&of_far_ends)).collect()
    }

    /// Every neighbour that a bridge, or a VXLAN device, was told of, and every one that was looked for behind a routed device.
    pub fn neighbors(&self) -> Vec<NeighborView> {
        let view = |dst: IpAddr, dev: &str, mac: Option<MacAddr>, state: &str| NeighborView {
            dst: dst.to_string(),
            dev: dev.to_owned(),
            lladdr: mac.map(|mac| mac.to_string()),
            vlan: None,
            state: vec![state.to_owned()],
        };
        let routed = self.roads.router.view(self.time.elapsed());
        // Those of a bridge that is routed are among the router's.
        let names = super::routing::routed(&self.config);
        let is_answered = |of: &&NeighborConfig| {
            let is_routed = of.vlan.is_none() && names.contains(&*of.device);
            !is_routed
        };
        let told = self.config.neighbors.iter().filter(is_answered);
        let in_vlan = |of: &NeighborConfig| NeighborView {
            vlan: of.vlan.map(VlanId::number),
            ..view(of.address, &of.device, Some(of.mac), "PERMANENT")
        };
        let told = told.map(|of| (in_vlan(of), of.address));
        let found = routed
            .iter()
            .map(|of| (view(of.address, self.name(of.device), of.mac, of.state.word()), of.address));
        let mut all: Vec<_> = told.chain(found).collect();
        all.sort_by(|one, other| (&one.0.dev, one.1, one.0.vlan).cmp(&(&other.0.dev, other.1, other.0.vlan)));
        all.into_iter().map(|(view, _)| view).collect()
    }

    /// How many entries each bridge has in each state.
    pub fn fdb_counts(&self) -> BTreeMap<(&str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for (key, entry) in self.macs.iter() {
            *counts.entry((self.bridge(key.domain()), state(entry))).or_default() += 1;
        }
        counts
    }

    /// Entries forgotten because they were not seen for the ageing time.
    pub fn expired(&self) -> u64 {
        self.sweep.expired
    }

    /// Times an address had moved too often.
    pub fn mac_move_alarms(&self) -> u64 {
        self.moves.alarms
    }

    /// Every reason for which frames were dropped, and the ledger.
    pub fn drops(&self) -> DropsView {
        let mut drops = Vec::new();
        for (id, port) in self.ports.iter() {
            for (direction, reason, volume) in self.drops_of(id) {
                drops.push(DropView {
                    device: port.config.name.clone(),
                    direction: direction.name().to_owned(),
                    reason: reason.name().to_owned(),
                    packets: volume.packets,
                    bytes: volume.bytes,
                    meaning: reason.meaning().to_owned(),
                });
            }
        }
        DropsView { drops, lost: self.lost(), ledger: self.ledger_view() }
    }

    /// What the kernel dropped before the switch could see it.
    fn lost(&self) -> Vec<LostView> {
        let told = self.crew.members.iter().flat_map(|member| member.lost.iter().copied());
        let asked = self.ports.iter().flat_map(|(id, port)| {
            port.lost_before_us(&self.watch).into_iter().map(move |(counter, frames)| (id, counter, frames))
        });
        let mut sums = BTreeMap::new();
        for (device, counter, frames) in told.chain(asked) {
            *sums.entry((device, counter)).or_insert(0) += frames;
        }
        let view = |((device, counter), packets): ((_, &str), _)| LostView {
            device: self.name(device).to_owned(),
            counter: counter.to_owned(),
            packets,
        };
        sums.into_iter().filter(|(_, packets)| *packets > 0).map(view).collect()
    }

    /// What was done in software for want of a card that does it: by port, partial checksums completed and segments cut
    /// from super-frames.
    pub fn offloaded(&self) -> Vec<(&str, u64, u64)> {
        let value = |id, counter: fn(&DeviceCounters) -> &Counter| {
            self.sum_with_inside(id, |device| counter(device).value())
        };
        let of =
            |id| (value(id, |device| &device.checksums_completed), value(id, |device| &device.segments_made));
        let named = self.ports.iter().map(|(id, port)| (port.config.name.as_str(), of(id)));
        named.map(|(name, (completed, made))| (name, completed, made)).collect()
    }

    /// Every worker and what it has done.
    pub fn workers(&self) -> Vec<WorkerView> {
        let workers = self.crew.members.len();
        let view = |(member, worker): (&super::crew::Member, u16)| {
            let owns = |port: &Port| {
                (0..port.open.len()).any(|queue| port.worker_of(queue, workers) == usize::from(worker))
            };
            let counters = &member.counters;
            WorkerView {
                worker,
                cpu: member.cpu,
                ports: self
                    .ports
                    .iter()
                    .filter(|(_, port)| owns(port))
                    .map(|(_, port)| port.config.name.clone())
                    .collect(),
                frames: u64::try_from(member.memory.frames).unwrap_or(u64::MAX),
                cpu_ns: member.cpu_ns,
                busy_ratio: member.busy_ratio,
                held: counters.held.load(Relaxed),
                busy_turns: counters.busy_turns.value(),
                sleeps: counters.sleeps.value(),
                panics: member.panics,
                learned: counters.learned.value(),
                moved: counters.moved.value(),
                table_full: counters.table_full.value(),
                limited: counters.limited.value(),
                unheard: counters.unheard.value(),
            }
        };
        self.crew.members.iter().zip(0..).map(view).collect()
    }

    /// The configuration in force: the file's, with the fixed entries that there are now. Of those that age it is the file that
    /// tells, for they are state.
    pub fn config(&self) -> Config {
        let mut config = self.config.clone();
        let ages = |entry: &FdbEntryConfig| entry.state == FdbState::Dynamic;
        config.bridges.iter_mut().for_each(|bridge| bridge.fdb.retain(ages));
        let is_fixed = |key: &Key, entry: Entry| !state(entry).is_empty() && !self.own.contains_key(key);
        for (key, entry) in self.macs.iter().filter(|(key, entry)| is_fixed(key, *entry)) {
            let state = if entry.is_local() { FdbState::Permanent } else { FdbState::Static };
            let device = self.name(entry.egress().device).to_owned();
            let sticky = entry.flags().has(Flags::STICKY);
            let (name, vlan) = (self.bridge(key.domain()), self.domains.vlan(key.domain()));
            let Some(bridge) = config.bridges.iter_mut().find(|bridge| bridge.name == name) else { continue };
            if bridge.vlans.filtering == vlan.is_some() {
                bridge.fdb.push(FdbEntryConfig { mac: key.mac(), device, vlan, state, sticky });
            }
        }
        for bridge in &mut config.bridges {
            bridge.fdb.sort_by_key(|entry| (entry.mac, entry.vlan, ages(entry)));
            bridge.fdb.dedup_by_key(|entry| (entry.mac, entry.vlan));
        }
        config
    }

    fn port_view(&self, port: &Port, id: DeviceId) -> PortView {
        let drops = self.drops_of(id);
        let dropped = |direction| -> u64 {
            drops.iter().filter(|drop| drop.0 == direction).map(|drop| drop.2.packets).sum()
        };
        let traffic = |volume: Volume, direction| TrafficView {
            packets: volume.packets,
            bytes: volume.bytes,
            dropped: dropped(direction),
        };
        let upper = self.config.uppers.iter().find(|upper| upper.name == port.config.name);
        PortView {
            ifname: port.config.name.clone(),
            kind: upper.map_or(port.kind().name(), |upper| upper.kind.name()).to_owned(),
            link: upper.map(|upper| upper.link.clone()),
            take: port.is_shared().then(|| "mine".to_owned()),
            xdp: port.xdp().map(|(hook, _)| hook.name().to_owned()),
            zero_copy: port.xdp().map(|(_, zero_copy)| zero_copy),
            mode: upper.and_then(|upper| upper.kind.mode()).map(str::to_owned),
            device: port.device_name().map(str::to_owned),
            netns: port.namespace(&self.watch).and_then(|netns| self.watch.name(netns)).map(str::to_owned),
            operstate: port.operstate().to_owned(),
            state: self.moves.state(id).or(self.trees.state(id)).map(|state| state.name().to_owned()),
            mtu: port.mtu,
            address: port.address().to_string(),
            rx: traffic(self.sum(id, |counters| counters.received.volume()), Direction::Rx),
            tx: traffic(self.sum(id, |counters| counters.sent.volume()), Direction::Tx),
            drops: drops
                .iter()
                .map(|(direction, reason, volume)| {
                    (format!("{}.{}", direction.name(), reason.name()), volume.packets)
                })
                .collect(),
        }
    }

    /// The reasons that have occurred on a device.
    pub(super) fn drops_of(&self, id: DeviceId) -> Vec<(Direction, DropReason, Volume)> {
        let all = Direction::ALL
            .iter()
            .flat_map(|&direction| DropReason::ALL.iter().map(move |&reason| (direction, reason)));
        all.map(|(direction, reason)| {
            let volume = |counters: &DeviceCounters| counters.drops(direction, reason).volume();
            (direction, reason, self.sum_with_inside(id, volume))
        })
        .filter(|(_, _, volume)| *volume != Volume::default())
        .collect()
    }

    /// The same with what was counted on the inside of it, if it is a bridge's own.
    fn sum_with_inside<T: Default + Add<Output = T>>(
        &self,
        id: DeviceId,
        what: impl Fn(&DeviceCounters) -> T,
    ) -> T {
        let inside =
            self.ports.inside(self.name(id)).map_or_else(T::default, |inside| self.sum(inside, &what));
        self.sum(id, what) + inside
    }

    /// What all workers have counted on a device.
    fn sum<T: Default + Add<Output = T>>(&self, id: DeviceId, what: impl Fn(&DeviceCounters) -> T) -> T {
        let members = self.crew.members.iter();
        members.fold(T::default(), |sum, member| sum + what(member.counters.device(id)))
    }

    fn ledger_view(&self) -> LedgerView {
        let mut ledger = Ledger::default();
        for member in &self.crew.members {
            ledger.add_worker(&member.counters, self.ports.all().map(|(id, _)| id));
        }
        let (frames, copies) = ledger.imbalance();
        let signed = |missing: i128| i64::try_from(missing).unwrap_or(i64::MAX);
        LedgerView {
            received: ledger.received,
            originated: ledger.originated,
            consumed: ledger.consumed,
            frames_dropped: ledger.frames_dropped,
            forwarded: ledger.forwarded,
            copies: ledger.copies,
            sent: ledger.sent,
            surfaced: ledger.surfaced,
            copies_dropped: ledger.copies_dropped,
            held: u64::try_from(ledger.held).unwrap_or(0),
            frames_missing: signed(frames),
            copies_missing: signed(copies),
            balanced: (frames, copies) == (0, 0),
        }
    }
}

/// bridge(8)'s word for how an entry lasts.
fn state(entry: Entry) -> &'static str {
    if entry.is_local() {
        "permanent"
    } else if entry.flags().has(Flags::STATIC) {
        "static"
    } else {
        ""
    }
}

/// bridge(8)'s words for what else there is to say of it.
fn flags(entry: Entry) -> Vec<String> {
    let words = [
        (Flags::EXTERN_LEARN, "extern_learn"),
        (Flags::STICKY, "sticky"),
        (Flags::LOCKED, "locked"),
        (Flags::HELD, "held"),
    ];
    words.iter().filter(|(flag, _)| entry.flags().has(*flag)).map(|(_, word)| (*word).to_owned()).collect()
}

pub(super) fn seconds(ticks: u32) -> u32 {
    u32::try_from(u64::from(ticks) * Tick::MILLIS / 1000).unwrap_or(u32::MAX)
}
