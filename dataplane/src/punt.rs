//! Worker → control and back: frames that need state a worker may not write, and frames that control makes.
//!
//! Both ways are bounded copying rings. A punted frame is consumed by the worker; control acts on the copy. An injected
//! frame is control's: it goes down the line as if received from a device, or straight out of one.

use std::sync::Arc;

use crate::bell::Bell;
use crate::drops::Direction;
use crate::ids::{DeviceId, DomainId, MacAddr};
use crate::ring;
use crate::tables::{Key, Tick};

/// Why a frame goes to control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PuntReason {
    /// Its destination is an address that bridges keep to themselves.
    ReservedAddress,
    /// It says something about groups or routers of multicast. What control gets is a copy.
    Membership,
    /// A station has moved to the device. What control gets is a [`Move`], and no frame.
    Move,
    /// It asks for a link-layer address, or tells one (ARP).
    Arp,
    /// It is for an address of ours, or about neighbours (ICMPv6).
    Local,
    /// It is to be sent on to a neighbour whose link-layer address is not known.
    Unresolved,
    /// It was dropped for its hops are used up. What control gets of this and of all that follow is a copy.
    TtlExceeded,
    /// It was dropped for it is too long, and may not be fragmented.
    TooBig,
    /// It was dropped for there is no way to its destination.
    Unreachable,
    /// It was dropped for its destination is forbidden.
    Prohibited,
    /// It is the whole packet that a tunnel sends, and the next hop to the tunnel's far end is not known. The device is the tunnel.
    Outgoing,
    /// The same, dropped for it is too long for the way there, and may not be fragmented.
    TunnelTooBig,
    /// The same, which has gone, and errors of the way there came before.
    TunnelFailing,
    /// It was dropped for it may enter no more tunnels.
    TunnelLimit,
    /// It was dropped for its source is an address of the link that it came by only.
    BeyondScope,
    /// A VXLAN device has met a far end that it has no number for. What control gets is the two, and no frame.
    FarEnd,
    /// It is a fragment of a packet for an address of ours. The whole comes back, as if received from the same device.
    Fragment,
    /// A VXLAN device does not know a station, or the station of an address. What control gets is that, and no frame.
    Miss,
}

impl PuntReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 18] = [
        Self::ReservedAddress,
        Self::Membership,
        Self::Move,
        Self::Arp,
        Self::Local,
        Self::Unresolved,
        Self::TtlExceeded,
        Self::TooBig,
        Self::Unreachable,
        Self::Prohibited,
        Self::Outgoing,
        Self::TunnelTooBig,
        Self::TunnelFailing,
        Self::TunnelLimit,
        Self::BeyondScope,
        Self::FarEnd,
        Self::Fragment,
        Self::Miss,
    ];
}

impl PuntReason {
    /// Whether somebody waits for what follows.
    fn is_urgent(self) -> bool {
        !matches!(self, Self::ReservedAddress | Self::Membership | Self::Move)
    }

    /// Frames a device may punt for it in one tick of 100 ms: a flood of them must not starve what control does for others. Of a packet many fragments may come.
    fn per_tick(self) -> u16 {
        if self == Self::Fragment { 1000 } else { 100 }
    }
}

/// What control learns with a punted frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Punted {
    /// Where it came from.
    pub device: DeviceId,
    /// Why it was punted.
    pub reason: PuntReason,
}

/// A station that was seen behind another device than before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// The station.
    pub key: Key,
    /// The device it was behind.
    pub from: DeviceId,
}

impl Move {
    pub(crate) fn encode(self) -> [u8; 10] {
        let [a, b] = self.from.0.to_be_bytes();
        let [c, d] = self.key.domain().number().to_be_bytes();
        let [e, f, g, h, i, j] = self.key.mac().octets();
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// What a worker told for [`PuntReason::Move`]; `None` if these bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, d, e, f, g, h, i, j] = <&[u8; 10]>::try_from(bytes).ok()?;
        let domain = DomainId::new(u16::from_be_bytes([c, d]))?;
        let key = Key::new(domain, MacAddr::new([e, f, g, h, i, j]));
        Some(Self { key, from: DeviceId(u16::from_be_bytes([a, b])) })
    }
}

/// A worker's way to control.
pub struct Punt {
    ring: ring::Sender,
    bell: Option<Arc<Bell>>,
    budgets: Vec<[[Budget; 2]; PuntReason::ALL.len()]>, // by device, reason, and whether it was sent to many
}

#[derive(Clone, Copy, Default)]
struct Budget {
    tick: Tick,
    used: u16,
}

impl Punt {
    /// Punts into `ring`.
    pub fn new(ring: ring::Sender) -> Self {
        Self { ring, bell: None, budgets: Vec::new() }
    }

    /// The same, which rings for what somebody waits for an answer to.
    #[must_use]
    pub fn with_bell(self, bell: Arc<Bell>) -> Self {
        Self { bell: Some(bell), ..self }
    }

    /// Makes room for `devices` devices; never called on the path.
    pub fn prepare(&mut self, devices: usize) {
        if self.budgets.len() < devices {
            self.budgets.resize(devices, Default::default());
        }
    }

    /// Copies a frame to control; `false` if the device has used up its share of this tick for this reason, or the ring is full. What was sent to many has a
    /// share of its own: a storm of questions to all takes nothing from the answers that are for us alone.
    pub fn offer(&mut self, device: DeviceId, reason: PuntReason, tick: Tick, frame: &[u8]) -> bool {
        let Some(budgets) = self.budgets.get_mut(device.index()) else { return false };
        let to_many = frame.first().is_some_and(|first| first & 1 != 0);
        let budget = &mut budgets[reason as usize][usize::from(to_many)];
        if budget.tick != tick {
            *budget = Budget { tick, used: 0 };
        }
        if budget.used == reason.per_tick() {
            return false;
        }
        let taken = self.ring.push([u64::from(device.0), u64::from(reason as u8)], frame).is_ok();
        self.ring.flush();
        budget.used += u16::from(taken);
        if reason.is_urgent()
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
        taken
    }
}

/// Control's end of the way from a worker.
pub struct PuntReceiver(ring::Receiver);

impl PuntReceiver {
    /// Receives from `ring`.
    pub fn new(ring: ring::Receiver) -> Self {
        Self(ring)
    }

    /// The next punted frame, if there is one.
    pub fn receive(&mut self) -> Option<(Punted, Vec<u8>)> {
        let record = self.0.peek()?;
        let mut bytes = vec![0; record.len];
        self.0.pop_into(&mut bytes);
        let device = DeviceId(u16::try_from(record.meta[0]).expect("a worker punts from a device"));
        // The number that travels with the frame is the reason's place in the enum.
        let reason = usize::try_from(record.meta[1]).ok().and_then(|place| PuntReason::ALL.get(place));
        Some((Punted { device, reason: *reason.expect("a worker punts for a reason") }, bytes))
    }
}

/// Where an injected frame starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Injection {
    /// The device.
    pub device: DeviceId,
    /// [`Direction::Rx`]: as if received from it. [`Direction::Tx`]: straight out of it.
    pub direction: Direction,
}

impl Injection {
    fn encode(self) -> [u64; 2] {
        [u64::from(self.device.0), self.direction as u64]
    }

    pub(crate) fn decode(meta: [u64; 2]) -> Self {
        let device = DeviceId(u16::try_from(meta[0]).expect("control injects at a device"));
        let direction = if meta[1] == Direction::Rx as u64 { Direction::Rx } else { Direction::Tx };
        Self { device, direction }
    }
}

/// Control's way to a worker.
pub struct Inject(ring::Sender);

impl Inject {
    /// Injects into `ring`.
    pub fn new(ring: ring::Sender) -> Self {
        Self(ring)
    }

    /// Copies a frame to the worker.
    ///
    /// # Errors
    /// If the ring is full, or the frame longer than it.
    pub fn offer(&mut self, injection: Injection, frame: &[u8]) -> Result<(), ring::Full> {
        self.0.push(injection.encode(), frame)?;
        self.0.flush();
        Ok(())
    }
}
