//! The straight line: what happens to a burst between the device it came from and the ones it leaves by.
//!
//! ```text
//! receive → tags → role ┬ bridge: parse → learn → look up ┬→ egress: tag, fit, finish, queue → transmit
//!    ↑                  ├ host port: look up ─────────────┤      │
//!    │                  ├ router: read → look up ─────────┤      │ down: what a device that stands on another
//!    │                  ├ cross-connect ──────────────────┤      ↓ puts on a frame, and out by that
//!    │                  ├ upper device of the host's ─────┘
//!    │                  └ parent of ipvlans or macvlans: sort by address
//!    └──────────────────────── up: surfaced on a device that stands on this one, by its tag or its address
//! ```
//!
//! The stages are functions over a burst, in that order; those of protocols live in their folders ([`crate::bridge`],
//! [`crate::vlan`], [`crate::macvlan`], [`crate::ipvlan`], [`crate::routing`], [`crate::tunnels`]). Nothing here allocates, locks, logs or calls
//! the kernel.

mod egress;
mod finish;
mod observer;
mod surface;

pub(crate) use egress::Leaving;
pub use egress::{Egress, Transmit, TransmitIo};
pub(crate) use finish::{find_partial_checksums, longest};
pub use observer::{LeftOut, Lesson, Observer, Retag, Step, Verdict, VlanFrom};

use crate::bridge::{BridgeStage, VlanStage};
use crate::counters::WorkerCounters;
use crate::drops::{Direction, DropReason};
use crate::frames::{Burst, Frame, Pool};
use crate::ids::DeviceId;
use crate::ipvlan::IpvlanStage;
use crate::macvlan::MacvlanStage;
use crate::ports::{Now, PortIo};
use crate::punt::{Punt, PuntReason};
use crate::routing::RoutingStage;
use crate::sys::hints;
use crate::tables::{MacTable, Role, Tables, Tick};
use crate::vlan;
use crate::wire::ethernet::HEADER_LEN;
use surface::{Round, Surfaced};

/// What a burst goes down the line with: everything it may consult, and everything it may change.
pub struct Context<'a, O: Observer, T: Transmit> {
    /// The compiled configuration.
    pub tables: &'a Tables,
    /// Who is where.
    pub macs: &'a MacTable,
    /// What this worker has counted.
    pub counters: &'a WorkerCounters,
    /// The time of this burst.
    pub now: Now,
    /// The same, in units of MAC age.
    pub tick: Tick,
    /// This worker's packet memory.
    pub pool: &'a mut Pool,
    /// Where frames go out.
    pub ports: &'a mut T,
    /// Where frames go to control.
    pub punt: &'a mut Punt,
    /// Who is looking.
    pub observer: &'a mut O,
}

impl<O: Observer, T: Transmit> Context<'_, O, T> {
    /// Starts to bring closer what there is of a device that a frame is about to surface on.
    #[inline]
    pub(crate) fn prefetch(&self, device: DeviceId) {
        hints::prefetch(&self.tables.device(device).role);
        hints::prefetch(&self.counters.device(device).received);
    }

    /// Discards a frame or a copy. There is no other way to discard one on the line.
    #[cold]
    pub fn discard(&mut self, device: DeviceId, direction: Direction, reason: DropReason, frame: Frame) {
        self.observer.see(Step::Dropped(device, direction, reason), &frame);
        PortIo::new(self.pool, self.counters.device(device), self.now).discard(frame, direction, reason);
    }

    /// Hands a frame to control.
    #[cold]
    pub(crate) fn punt(&mut self, device: DeviceId, reason: PuntReason, frame: Frame) {
        if self.punt.offer(device, reason, self.tick, frame.bytes()) {
            self.observer.see(Step::Punted(reason), &frame);
            self.counters.consumed.add(1);
            self.pool.free(frame);
        } else {
            self.discard(device, Direction::Rx, DropReason::PuntFull, frame);
        }
    }
}

/// The line's working memory, made once a worker.
#[derive(Default)]
pub struct Line {
    stages: Stages,
    round: Round,
    rest: Burst, // of a burst, what no sub-interface has taken
}

#[derive(Default)]
struct Stages {
    bridge: BridgeStage,
    ipvlan: IpvlanStage,
    macvlan: MacvlanStage,
    routing: RoutingStage,
    vlans: VlanStage,
    egress: Egress,
}

impl Line {
    /// Makes room for `devices` devices; called when tables are adopted, never on the path.
    pub fn prepare(&mut self, devices: usize) {
        self.stages.egress.prepare(devices);
        self.round.prepare();
    }

    /// Takes `burst`, received from `device`, down the line. It is empty afterwards.
    pub fn run<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
    ) {
        let bytes: usize = burst.iter().map(Frame::len).sum();
        cx.counters.device(device).received.add(burst.len() as u64, bytes as u64);
        for (place, frame) in burst.iter().enumerate() {
            cx.observer.see(Step::Turn(place), frame);
            cx.observer.see(Step::Received(device), frame);
        }
        self.stages.receive(cx, device, burst, &mut self.rest);
        if self.stages.egress.has_surfaced() {
            self.surface(cx);
        }
        self.stages.egress.flush(cx);
    }

    /// Takes what has surfaced down the line again, and what surfaces meanwhile.
    #[cold]
    fn surface<O: Observer, T: Transmit>(&mut self, cx: &mut Context<'_, O, T>) {
        let Self { stages, round, rest } = self;
        for _ in 0..surface::DEEPEST {
            round.begin(&mut stages.egress);
            while let Some((device, burst)) = round.next() {
                for (place, frame) in burst.iter().enumerate() {
                    cx.observer.see(Step::Turn(place), frame);
                    cx.observer.see(Step::Resumed, frame);
                }
                stages.take_up(cx, device, burst, rest);
            }
            if !stages.egress.has_surfaced() {
                return;
            }
        }
        round.begin(&mut stages.egress);
        for Surfaced { device, frame } in round.rest() {
            cx.discard(device, Direction::Rx, DropReason::Recursion, frame);
        }
    }

    /// Sends frames that control has made out of `device`. The burst is empty afterwards.
    pub fn originate<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
    ) {
        for (place, frame) in burst.drain().enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            cx.observer.see(Step::Originated(device), &frame);
            self.stages.egress.forward(cx, device, device, frame);
        }
        if self.stages.egress.has_surfaced() {
            self.surface(cx);
        }
        self.stages.egress.flush(cx);
    }
}

impl Stages {
    /// Does with a burst what is done with what `device` receives by its queues. It is empty afterwards.
    #[inline]
    fn receive<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
        rest: &mut Burst,
    ) {
        let tables = cx.tables;
        let of = tables.device(device);
        match of.tags {
            // What the host sends by a device of its own is not for others that stand on it.
            Some(tags) if !matches!(of.role, Role::Upper(_)) => {
                vlan::sort(cx, device, tables.tags(tags), burst, rest, &mut self.egress);
                self.play(cx, device, rest);
            }
            _ => self.play(cx, device, burst),
        }
    }

    /// The same with what has surfaced on `device`.
    fn take_up<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
        rest: &mut Burst,
    ) {
        let tables = cx.tables;
        let of = tables.device(device);
        if !matches!(of.role, Role::Upper(_)) {
            return self.receive(cx, device, burst, rest);
        }
        if let Some(tags) = of.tags {
            vlan::sort(cx, device, tables.tags(tags), burst, rest, &mut self.egress);
        } else {
            std::mem::swap(burst, rest);
        }
        for (place, frame) in rest.drain().enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            self.egress.forward(cx, device, device, frame); // to the host, by its queue
        }
    }

    /// The device plays its role.
    #[inline]
    fn play<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        burst: &mut Burst,
    ) {
        let tables = cx.tables;
        let of = tables.device(device);
        match of.role {
            Role::Bridge(domain) => self.bridge.run(cx, device, domain, None, burst, &mut self.egress),
            Role::KnobbedBridge(domain) => {
                self.bridge.run(cx, device, domain, Some(&of.knobs), burst, &mut self.egress);
            }
            Role::VlanBridge(bridge) => {
                self.vlans.run(cx, device, bridge, None, burst, &mut self.egress);
            }
            Role::KnobbedVlanBridge(bridge) => {
                self.vlans.run(cx, device, bridge, Some(&of.knobs), burst, &mut self.egress);
            }
            Role::Host(domain) if tables.domain(domain).vlans.is_some() => {
                VlanStage::run_host(cx, device, domain, burst, &mut self.egress);
            }
            Role::Host(domain) => BridgeStage::run_host(cx, device, domain, burst, &mut self.egress),
            Role::Xconnect(peer) => self.cross(cx, device, peer, burst),
            Role::Routed => self.routing.run(cx, device, burst, &mut self.egress),
            Role::Ipvlan(children) => {
                self.ipvlan.run(cx, device, tables.children(children), burst, &mut self.egress);
                if !burst.is_empty() {
                    self.routing.run(cx, device, burst, &mut self.egress);
                }
            }
            Role::Macvlan(id) => self.macvlan.run(cx, device, id, burst, &mut self.egress),
            Role::Upper(way) => {
                for (place, frame) in burst.drain().enumerate() {
                    cx.observer.see(Step::Turn(place), &frame);
                    if frame.len() < HEADER_LEN {
                        cx.discard(device, Direction::Rx, DropReason::Truncated, frame);
                    } else {
                        self.egress.forward_by(cx, device, way, frame);
                    }
                }
            }
            Role::Unused => {
                for (place, frame) in burst.drain().enumerate() {
                    cx.observer.see(Step::Turn(place), &frame);
                    cx.discard(device, Direction::Rx, DropReason::Unused, frame);
                }
            }
        }
    }

    /// Over a wire: everything passes that is a frame at all.
    fn cross<O: Observer, T: Transmit>(
        &mut self,
        cx: &mut Context<'_, O, T>,
        device: DeviceId,
        peer: DeviceId,
        burst: &mut Burst,
    ) {
        for (place, frame) in burst.drain().enumerate() {
            cx.observer.see(Step::Turn(place), &frame);
            if frame.len() < HEADER_LEN {
                cx.discard(device, Direction::Rx, DropReason::Truncated, frame);
            } else {
                self.egress.forward(cx, device, peer, frame);
            }
        }
    }
}
