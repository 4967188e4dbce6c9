//! The children of a device, compiled: who has which address, who hears which source, and who hears groups.

use std::collections::BTreeMap;

use super::by_mac::{ByMac, MacSpot};
use crate::ids::{DeviceId, MacAddr};

/// A number of [`Macvlans`] in the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MacvlansId(pub u16);

/// How a child gets on with the others of its device (ip-link(8), `macvlan_mode` of the kernel).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MacvlanMode {
    /// With none of them, whatever a switch outside sends back.
    Private,
    /// The same as the kernel keeps it: frames to one station that come back are let in.
    PrivateCompat,
    /// By way of the switch outside, which is to send back what is for them.
    Vepa,
    /// With those of the same mode at once.
    Bridge,
    /// There are no others: it has all that its device receives.
    Passthru,
    /// It hears the stations of a list, and nobody else.
    Source,
}

impl MacvlanMode {
    /// ip-link(8)'s word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private | Self::PrivateCompat => "private",
            Self::Vepa => "vepa",
            Self::Bridge => "bridge",
            Self::Passthru => "passthru",
            Self::Source => "source",
        }
    }
}

/// How what a child sends leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacvlanDescent {
    /// The device it stands on.
    pub link: DeviceId,
    /// The child itself.
    pub child: DeviceId,
    /// It and the others of that device.
    pub siblings: MacvlansId,
    /// Its mode.
    pub mode: MacvlanMode,
    /// The longest frame it sends, as [`Device::longest`](super::Device::longest).
    pub longest: u32,
}

/// A child as it is told to [`Macvlans::new`].
#[derive(Clone, Copy, Debug)]
pub struct Macvlan<'c> {
    /// The device.
    pub device: DeviceId,
    /// Its address, which no other has.
    pub mac: MacAddr,
    /// Its mode.
    pub mode: MacvlanMode,
    /// The stations it hears in mode source.
    pub sources: &'c [MacAddr],
    /// Whether what it hears is nobody else's.
    pub nodst: bool,
    /// Whether, in mode passthru, it has no other station's frames.
    pub own_only: bool,
}

/// One child, as it is found by its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child {
    /// The device.
    pub device: DeviceId,
    /// Its mode.
    pub mode: MacvlanMode,
    /// The device by which all leaves that it receives, if that is decided already: see [`Device::onward`](super::Device::onward). Here, what is
    /// to be known about one of thousands is on one line of the cache.
    pub onward: Option<DeviceId>,
}

/// Those that hear a source, for [`Macvlans::hearers`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hearers {
    first: u32,
    count: u16,
    /// Whether nobody else gets what it sends.
    pub alone: bool,
}

impl Hearers {
    const NONE: Self = Self { first: 0, count: 0, alone: false };
}

/// All children of a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Macvlans {
    children: ByMac<Child>,
    sources: ByMac<Hearers>,
    hearers: Box<[DeviceId]>,
    groups: Box<[DeviceId]>, // who hears groups: bridge, then VEPA, then the rest
    bridges: usize,          // of those
    vepas: usize,            // of those
    whole: Option<DeviceId>,
    /// Whether any of them is [`MacvlanMode::Private`].
    pub is_strict: bool,
    /// Whether whoever has the destination of a frame to one station has the frame, whoever sent it.
    pub is_plain: bool,
    /// Whether a child that takes the whole of its device is to have no other station's frames.
    pub is_own_only: bool,
    /// Which frames to groups they hear so many of, and how many of one burst.
    pub queue: BroadcastQueue,
}

/// What the kernel keeps in a queue of its own until the children have heard it, and how long that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BroadcastQueue {
    /// How many frames of one burst.
    pub length: u32,
    /// Whether frames to all are in it.
    pub broadcasts: bool,
    /// Whether frames to groups are.
    pub groups: bool,
}

impl BroadcastQueue {
    /// Of `length`, for all and for the groups that more than `limit` children hear; for nothing if that is below zero
    /// (`macvlan_recompute_bc_filter`, drivers/net/macvlan.c). Children hear all groups: `hearers` of them.
    fn new(length: u32, limit: i32, hearers: usize) -> Self {
        let groups = usize::try_from(limit).is_ok_and(|limit| hearers > limit);
        Self { length, broadcasts: limit >= 0, groups }
    }

    /// Whether a frame to this group is in it.
    pub fn takes(&self, group: MacAddr) -> bool {
        if group == MacAddr::BROADCAST { self.broadcasts } else { self.groups }
    }
}

impl Macvlans {
    /// These children, no two of which have the same address; `bcqueuelen` and `bclim` as the kernel has them.
    ///
    /// # Panics
    /// If they hear more sources together than a table of 2^32 entries has room for.
    pub fn new(children: &[Macvlan<'_>], bcqueuelen: u32, bclim: i32) -> Self {
        let of = |wanted: fn(MacvlanMode) -> bool| {
            children.iter().filter(move |child| wanted(child.mode)).map(|child| child.device)
        };
        let bridges = of(|mode| mode == MacvlanMode::Bridge);
        let vepas = of(|mode| mode == MacvlanMode::Vepa);
        let rest = of(|mode| {
            matches!(mode, MacvlanMode::Private | MacvlanMode::PrivateCompat | MacvlanMode::Passthru)
        });
        let groups: Box<[_]> = bridges.clone().chain(vepas.clone()).chain(rest).collect();
        let mut by_source: BTreeMap<MacAddr, (Vec<DeviceId>, bool)> = BTreeMap::new();
        for child in children {
            for &source in child.sources {
                let (hearers, alone) = by_source.entry(source).or_default();
                hearers.push(child.device);
                *alone |= child.nodst;
            }
        }
        let mut hearers = Vec::new();
        let sources = ByMac::new(by_source.into_iter().map(|(source, (devices, alone))| {
            let first = u32::try_from(hearers.len()).expect("there is room for as many");
            let count = u16::try_from(devices.len()).expect("devices have numbers of 16 bits");
            hearers.extend(devices);
            (source, Hearers { first, count, alone })
        }));
        Self {
            children: ByMac::new(
                children
                    .iter()
                    .map(|&Macvlan { device, mac, mode, .. }| (mac, Child { device, mode, onward: None })),
            ),
            sources,
            hearers: hearers.into(),
            queue: BroadcastQueue::new(bcqueuelen, bclim, groups.len()),
            groups,
            bridges: bridges.count(),
            vepas: vepas.count(),
            whole: of(|mode| mode == MacvlanMode::Passthru).next(),
            is_strict: of(|mode| mode == MacvlanMode::Private).next().is_some(),
            is_plain: children.iter().all(|child| {
                matches!(child.mode, MacvlanMode::PrivateCompat | MacvlanMode::Vepa | MacvlanMode::Bridge)
            }),
            is_own_only: children.iter().any(|child| child.own_only),
        }
    }

    /// Notes where what each child receives goes on.
    pub(super) fn lead(&mut self, onward: impl Fn(DeviceId) -> Option<DeviceId>) {
        self.children.values_mut().for_each(|child| child.onward = onward(child.device));
    }

    /// Where the child of this address is, if there is one.
    #[inline]
    pub fn locate(&self, mac: MacAddr) -> MacSpot {
        self.children.locate(mac)
    }

    /// Starts to bring closer what is there.
    #[inline]
    pub fn prefetch(&self, spot: MacSpot) {
        self.children.prefetch(spot);
    }

    /// The child that has the address.
    #[inline]
    pub fn find(&self, spot: MacSpot) -> Option<Child> {
        self.children.find(spot)
    }

    /// Whether any child hears a source.
    #[inline]
    pub fn hears_sources(&self) -> bool {
        !self.hearers.is_empty()
    }

    /// The same as [`Self::locate`] for those who hear this source.
    #[inline]
    pub fn locate_source(&self, mac: MacAddr) -> MacSpot {
        self.sources.locate(mac)
    }

    /// The same as [`Self::prefetch`] for those who hear a source.
    #[inline]
    pub fn prefetch_source(&self, spot: MacSpot) {
        self.sources.prefetch(spot);
    }

    /// Who hears a source.
    #[inline]
    pub fn find_source(&self, spot: MacSpot) -> Hearers {
        self.sources.find(spot).unwrap_or(Hearers::NONE)
    }

    /// Those that were found.
    #[inline]
    pub fn hearers(&self, found: Hearers) -> &[DeviceId] {
        &self.hearers[found.first as usize..][..usize::from(found.count)]
    }

    /// The child that takes the whole of its device.
    #[inline]
    pub fn whole(&self) -> Option<&DeviceId> {
        self.whole.as_ref()
    }

    /// Who hears groups.
    pub fn all(&self) -> &[DeviceId] {
        &self.groups
    }

    /// Those of mode bridge.
    pub fn bridges(&self) -> &[DeviceId] {
        &self.groups[..self.bridges]
    }

    /// Those of mode VEPA.
    pub fn vepas(&self) -> &[DeviceId] {
        &self.groups[self.bridges..][..self.vepas]
    }

    /// Those of the two.
    pub fn bridges_and_vepas(&self) -> &[DeviceId] {
        &self.groups[..self.bridges + self.vepas]
    }

    /// Every device that they are.
    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.children.values().map(|child| child.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(n: u64) -> MacAddr {
        MacAddr::from_bits(0x0200_0000_0000 | n)
    }

    fn child(device: u16, mode: MacvlanMode, sources: &[MacAddr], nodst: bool) -> Macvlan<'_> {
        Macvlan { device: DeviceId(device), mac: mac(device.into()), mode, sources, nodst, own_only: false }
    }

    #[test]
    fn children_are_known_by_their_addresses_and_by_their_modes() {
        use MacvlanMode::{Bridge, Private, Source, Vepa};
        let children = [(1, Vepa), (2, Private), (3, Bridge), (4, Source), (5, Bridge), (6, Vepa)];
        let told: Vec<_> = children.iter().map(|&(device, mode)| child(device, mode, &[], false)).collect();
        let macvlans = Macvlans::new(&told, 1000, 1);
        for (device, mode) in children {
            let found = macvlans.find(macvlans.locate(mac(device.into())));
            assert_eq!(found, Some(Child { device: DeviceId(device), mode, onward: None }));
        }
        assert_eq!(macvlans.find(macvlans.locate(mac(7))), None);
        assert_eq!(*macvlans.all(), [3, 5, 1, 6, 2].map(DeviceId), "not the one of mode source");
        assert_eq!(*macvlans.bridges(), [3, 5].map(DeviceId));
        assert_eq!(*macvlans.vepas(), [1, 6].map(DeviceId));
        assert_eq!(*macvlans.bridges_and_vepas(), [3, 5, 1, 6].map(DeviceId));
        assert!(macvlans.is_strict && macvlans.whole().is_none() && !macvlans.hears_sources());
        assert_eq!(macvlans.devices().count(), 6);
    }

    #[test]
    fn what_is_queued_is_what_more_children_hear_than_the_limit_says() {
        let told = [1, 2, 3].map(|device| child(device, MacvlanMode::Vepa, &[], false));
        let queued = |limit| {
            let queue = Macvlans::new(&told, 7, limit).queue;
            assert_eq!(queue.length, 7);
            [MacAddr::BROADCAST, MacAddr::new([1, 0, 0x5e, 0, 0, 1])].map(|group| queue.takes(group))
        };
        assert_eq!([-1, i32::MIN].map(queued), [[false, false]; 2]);
        assert_eq!([0, 1, 2].map(queued), [[true, true]; 3]);
        assert_eq!([3, i32::MAX].map(queued), [[true, false]; 2]);
    }

    #[test]
    fn several_may_hear_one_source_and_one_of_them_alone_is_enough() {
        let lists = [[mac(91), mac(92)], [mac(92), mac(93)]];
        let macvlans = Macvlans::new(
            &[
                child(1, MacvlanMode::Source, &lists[0], false),
                child(2, MacvlanMode::Source, &lists[1], true),
                child(3, MacvlanMode::Passthru, &[], false),
            ],
            0,
            1,
        );
        let heard = |n| {
            let found = macvlans.find_source(macvlans.locate_source(mac(n)));
            (macvlans.hearers(found).iter().map(|device| device.0).collect::<Vec<_>>(), found.alone)
        };
        assert_eq!(heard(91), (vec![1], false));
        assert_eq!(heard(92), (vec![1, 2], true));
        assert_eq!(heard(93), (vec![2], true));
        assert_eq!(heard(94), (vec![], false));
        assert_eq!(macvlans.whole(), Some(&DeviceId(3)));
    }
}
