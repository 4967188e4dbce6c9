//! The words of the MAC table: a key and an entry are a u64 each.

use std::num::NonZeroU64;

use crate::ids::{DeviceId, DomainId, MacAddr};

/// What an entry is found by: the domain in the high 16 bits, the MAC in the low 48. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(u64);

impl Key {
    /// The key of a station in a domain.
    #[inline]
    pub fn new(domain: DomainId, mac: MacAddr) -> Self {
        Self(u64::from(domain.number()) << 48 | mac.bits())
    }

    /// The learning domain.
    #[expect(clippy::missing_panics_doc, reason = "every key is made of a domain")]
    pub fn domain(self) -> DomainId {
        let [high, low, ..] = self.0.to_be_bytes();
        DomainId::new(u16::from_be_bytes([high, low])).expect("a key has a domain")
    }

    /// The station's address.
    pub fn mac(self) -> MacAddr {
        MacAddr::from_bits(self.0)
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// The key that a slot holds; `None` for the words without a domain: no key, and a buried one.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        (word >> 48 != 0).then_some(Self(word))
    }
}

/// A remote tunnel end behind a device, as the device's own table numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer(pub u16);

impl Peer {
    /// No remote: the device itself.
    pub const NONE: Self = Self(0);
}

/// Where a station is: behind a device and, if that is a tunnel, one of its remotes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Egress {
    /// The device.
    pub device: DeviceId,
    /// The remote behind it.
    pub peer: Peer,
}

impl From<DeviceId> for Egress {
    fn from(device: DeviceId) -> Self {
        Self { device, peer: Peer::NONE }
    }
}

/// Coarse time: 100 ms each, 24 bits, wrapping every 19 days.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick(u32);

impl Tick {
    /// Milliseconds in a tick.
    pub const MILLIS: u64 = 100;
    /// The longest time between two ticks that can be told, about 9.7 days; beyond it the later looks the earlier.
    pub const SPAN: u32 = (1 << 23) - 1;
    const MASK: u32 = (1 << 24) - 1;

    /// The longest ageing time that can be told, given how coarsely sightings are noted and that whoever sweeps a table needs up to 128
    /// ticks to come by: an entry that is older than [`Tick::SPAN`] looks young.
    pub const LONGEST_AGEING: u32 = Self::SPAN - Self::GRAIN - 128;
    /// Ticks in the steps by which sightings are told apart, a power of two.
    pub const GRAIN: u32 = 8;

    /// The tick of this number, modulo 2^24.
    #[inline]
    pub const fn new(number: u32) -> Self {
        Self(number & Self::MASK)
    }

    /// The tick at `millis` milliseconds of a monotonic clock.
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap")]
    pub const fn from_millis(millis: u64) -> Self {
        Self::new((millis / Self::MILLIS) as u32)
    }

    /// The number, below 2^24.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The last multiple of [`Tick::GRAIN`].
    #[inline]
    pub const fn coarse(self) -> Self {
        Self(self.0 & !(Self::GRAIN - 1))
    }

    /// Ticks from `earlier` to `self`; 0 if `earlier` is in fact later, as a worker's clock may be a tick ahead.
    pub const fn since(self, earlier: Self) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0) & Self::MASK;
        if ticks > Self::SPAN { 0 } else { ticks }
    }
}

/// What sets an entry apart from a learned one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(u8);

impl Flags {
    /// A learned entry: it ages, it moves with its station, and it makes way for one that control sets.
    pub const LEARNED: Self = Self(0);
    /// Learned behind a port that is locked: where its station is, which may not send from there. It takes no station from
    /// another place, and is a learned entry like others once its station is seen elsewhere.
    pub const LOCKED: Self = Self(1 << 6);
    /// Set by control, as every entry with any flag that follows: it ages, and moves with its station.
    pub const DYNAMIC: Self = Self(1 << 1);
    /// It never ages, but it moves with its station, as the kernel's do (`br_fdb_update`, net/bridge/br_fdb.c).
    pub const STATIC: Self = Self(1 << 2 | Self::DYNAMIC.0);
    /// A device's own address (`permanent` in the kernel's words): it never ages, and learning never changes it.
    pub const LOCAL: Self = Self(1 << 3 | Self::DYNAMIC.0);
    /// It does not move with its station.
    pub const STICKY: Self = Self(1 << 4 | Self::DYNAMIC.0);
    /// Somebody else has learned it: it never ages, until its station is seen elsewhere and it is an entry like others.
    pub const EXTERN_LEARN: Self = Self(1 << 5 | Self::DYNAMIC.0);

    /// It does not move with its station, which has moved too often, until control lets go of it.
    pub const HELD: Self = Self(1 << 7 | Self::STICKY.0);

    /// These flags and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags but `other`, set by control as before.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0 | self.0 & Self::DYNAMIC.0)
    }

    /// Whether all flags of `other` are among these.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Where a station is and since when: device, peer, tick and flags in one word. Never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry(NonZeroU64);

const _: () = assert!(size_of::<Option<Entry>>() == 8 && size_of::<Key>() == 8);

/// An entry's lowest bit: the word is one. Words without it (a slot that is empty, claimed or dead) are a miss.
const VALID: NonZeroU64 = NonZeroU64::MIN;

impl Entry {
    /// The entry of a station seen at `updated`.
    #[inline]
    pub fn new(egress: Egress, updated: Tick, flags: Flags) -> Self {
        let place = u64::from(egress.device.0) << 48 | u64::from(egress.peer.0) << 32;
        Self(VALID | place | u64::from(updated.0) << 8 | u64::from(flags.0))
    }

    /// The entry of a station that a worker sees at `now`: as of the last [`Tick::GRAIN`], so that one seen all the time is
    /// written down once in that time, and no oftener.
    #[inline]
    pub fn sighting(egress: Egress, now: Tick, flags: Flags) -> Self {
        Self::new(egress, now.coarse(), flags)
    }

    /// Where the station is.
    #[inline]
    pub fn egress(self) -> Egress {
        let [d0, d1, p0, p1, ..] = self.0.get().to_be_bytes();
        Egress { device: DeviceId(u16::from_be_bytes([d0, d1])), peer: Peer(u16::from_be_bytes([p0, p1])) }
    }

    /// When the station was last seen there, to [`Tick::GRAIN`] ticks downwards, or the entry set.
    pub fn updated(self) -> Tick {
        let [.., t0, t1, t2, _] = self.0.get().to_be_bytes();
        Tick(u32::from_be_bytes([0, t0, t1, t2]))
    }

    /// What sets the entry apart, if anything.
    pub fn flags(self) -> Flags {
        let [.., flags] = (self.0.get() & !VALID.get()).to_be_bytes();
        Flags(flags)
    }

    /// Whether a sighting at `now` would be noted as of the same time.
    #[inline]
    pub fn is_noted_at(self, now: Tick) -> bool {
        self.updated() == now.coarse()
    }

    /// Whether a worker learned it.
    pub fn is_learned(self) -> bool {
        !self.flags().has(Flags::DYNAMIC)
    }

    /// Whether it is a device's own address.
    #[inline]
    pub fn is_local(self) -> bool {
        self.flags().has(Flags::LOCAL)
    }

    /// Whether it stays where it is when its station is seen elsewhere.
    #[inline]
    pub fn is_fixed(self) -> bool {
        self.is_local() || self.flags().has(Flags::STICKY)
    }

    /// Whether it goes when its station has not been seen for long enough (`has_expired`, net/bridge/br_fdb.c).
    pub fn ages(self) -> bool {
        const NEVER: u8 = Flags::STATIC.0 | Flags::LOCAL.0 | Flags::EXTERN_LEARN.0;
        self.flags().0 & NEVER & !Flags::DYNAMIC.0 == 0
    }

    /// What is left of it when its station is seen as `fresh` says (`br_fdb_update`).
    pub(super) fn seen(self, fresh: Self) -> Self {
        let flags = self.flags();
        if flags.has(Flags::LOCAL) {
            self
        } else if self.egress() == fresh.egress() || flags.has(Flags::STICKY) {
            Self::new(self.egress(), fresh.updated(), flags)
        } else if fresh.flags().has(Flags::LOCKED) {
            self
        } else {
            let flags = flags.without(Flags::EXTERN_LEARN).without(Flags::LOCKED);
            Self::new(fresh.egress(), fresh.updated(), flags)
        }
    }

    /// Whether it ages, and its station has not been seen for more than `ageing` ticks (at most [`Tick::LONGEST_AGEING`];
    /// beyond it never): told late by less than [`Tick::GRAIN`], as the last sighting may be that much younger than it was noted, and never early.
    pub fn has_expired(self, now: Tick, ageing: u32) -> bool {
        self.ages() && now.since(self.updated()) > ageing.saturating_add(Tick::GRAIN - 1)
    }

    /// Whether a slot's value is an entry of the same place and time, whatever sets it apart: then there is no news in this one, as
    /// what is seen where it is stays what it is (`seen`).
    #[inline]
    pub(super) fn agrees_with(self, value: u64) -> bool {
        const FLAGS: u64 = 0xff & !VALID.get();
        (self.word() ^ value) & !FLAGS == 0
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        self.0.get()
    }

    #[inline]
    pub(super) fn from_word(word: u64) -> Option<Self> {
        if word & VALID.get() == 0 { None } else { NonZeroU64::new(word).map(Self) }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Egress { device, peer }, Tick(updated)) = (self.egress(), self.updated());
        write!(f, "{device}.{} at {updated} {:#x}", peer.0, self.flags().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_an_entry_tell_what_they_were_made_of() {
        let key = Key::new(DomainId::new(0xfedc).unwrap(), MacAddr::BROADCAST);
        assert_eq!((key.domain().number(), key.mac()), (0xfedc, MacAddr::BROADCAST));
        let egress = Egress { device: DeviceId(0xabcd), peer: Peer(0x1234) };
        let entry = Entry::new(egress, Tick::new(0x00ff_fffe), Flags::STATIC);
        assert_eq!((entry.egress(), entry.updated().number()), (egress, 0x00ff_fffe));
        assert_eq!((entry.flags(), entry.is_learned(), entry.ages()), (Flags::STATIC, false, false));
        assert_eq!(Entry::from_word(entry.word()), Some(entry));
    }

    #[test]
    fn ages_are_told_across_the_wrap_and_never_from_the_future() {
        let late = Tick::new(Tick::MASK - 1);
        assert_eq!(Tick::new(Tick::MASK + 3).since(late), 4);
        assert_eq!(late.since(Tick::new(3)), 0);
        assert_eq!(Tick::from_millis((1 << 24) * 100 + 250), Tick::new(2));
        let entry = Entry::new(DeviceId(1).into(), late, Flags::LEARNED);
        assert!(!entry.has_expired(Tick::new(9), 4));
        assert!(entry.has_expired(Tick::new(10), 4) && !entry.has_expired(Tick::new(10), u32::MAX));
        assert!(!Entry::new(DeviceId(1).into(), late, Flags::LOCAL).has_expired(Tick::new(10), 4));
    }

    #[test]
    fn a_sighting_is_noted_coarsely_and_ages_late_by_less_than_that_and_never_early() {
        for seen in [8, 11, 15] {
            let entry = Entry::sighting(DeviceId(1).into(), Tick::new(seen), Flags::LEARNED);
            assert_eq!(entry.updated(), Tick::new(8));
            let lived = (seen..).take_while(|&now| !entry.has_expired(Tick::new(now), 20)).count();
            assert!((21..21 + 8).contains(&lived), "{lived} ticks");
        }
    }

    #[test]
    fn flags_say_what_ages_and_what_moves() {
        let (here, there) = (DeviceId(1).into(), DeviceId(2).into());
        let fresh = Entry::new(there, Tick::new(9), Flags::LEARNED);
        let outcome = |flags| {
            let entry = Entry::new(here, Tick::new(1), flags);
            let seen = entry.seen(fresh);
            (entry.ages(), seen.egress() == there, seen.updated() == Tick::new(9), seen.flags() == flags)
        };
        assert_eq!(outcome(Flags::LEARNED), (true, true, true, true));
        assert_eq!(outcome(Flags::DYNAMIC), (true, true, true, true));
        assert_eq!(outcome(Flags::STATIC), (false, true, true, true));
        assert_eq!(outcome(Flags::STICKY), (true, false, true, true));
        assert_eq!(outcome(Flags::STICKY.and(Flags::STATIC)), (false, false, true, true));
        assert_eq!(outcome(Flags::LOCAL), (false, false, false, true));
        assert_eq!(outcome(Flags::EXTERN_LEARN), (false, true, true, false));
        assert_eq!(outcome(Flags::LOCKED), (true, true, true, false));
    }

    #[test]
    fn who_is_seen_behind_a_locked_port_is_not_taken_from_another_place() {
        let (here, there) = (DeviceId(1).into(), DeviceId(2).into());
        let locked = |egress| Entry::new(egress, Tick::new(9), Flags::LOCKED);
        let known = Entry::new(here, Tick::new(1), Flags::LEARNED);
        assert_eq!(known.seen(locked(there)), known);
        assert_eq!(known.seen(locked(here)), Entry::new(here, Tick::new(9), Flags::LEARNED));
        assert!(locked(here).is_learned());
    }

    #[test]
    fn what_agrees_with_an_entry_is_what_seeing_it_would_leave_as_it_is() {
        let all = [
            Flags::LEARNED,
            Flags::STATIC,
            Flags::STICKY,
            Flags::LOCAL,
            Flags::LOCKED,
            Flags::HELD,
            Flags::EXTERN_LEARN,
        ];
        for (device, tick, flags) in
            [1, 2].into_iter().flat_map(|d| [8, 16].map(|t| (d, t))).flat_map(|(d, t)| all.map(|f| (d, t, f)))
        {
            let fresh = Entry::new(DeviceId(1).into(), Tick::new(8), Flags::LEARNED);
            let entry = Entry::new(DeviceId(device).into(), Tick::new(tick), flags);
            assert_eq!(fresh.agrees_with(entry.word()), (device, tick) == (1, 8));
            assert!(!fresh.agrees_with(entry.word()) || entry.seen(fresh) == entry);
            assert!(!fresh.agrees_with(entry.word() & !VALID.get()), "a claimed or a dead slot");
        }
    }
}
