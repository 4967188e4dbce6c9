//! The tag of a frame: what it has on the wire, what it has to have, and making that so. Only the header moves.

use crate::counters::VlanTraffic;
use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Leaving, Observer, Retag, Step};
use crate::tables::{Role, Tables, Target, VlanPort};
use crate::wire::ethernet::{EtherType, HEADER_LEN};
use crate::wire::vlan::{self, TAG_LEN, Tci};

/// Bytes that a tag adds, as frames count them.
#[allow(clippy::cast_possible_truncation)] // four
const LEN: u16 = TAG_LEN as u16;

/// The tag of a frame that is in a VLAN, or was refused one: the one with which it leaves a port that tags it, and how it stands in
/// the frame, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag(u32);

impl Tag {
    /// Of a frame in no VLAN.
    pub(super) const NONE: Self = Self(0);
    const IS_THERE: u32 = 1 << 16;
    const DIFFERS: u32 = 1 << 17;

    /// Of a frame whose outermost tag is the bridge's with these contents, if `is_there`, and else should be.
    #[inline(always)]
    pub(super) fn new(tci: Tci, is_there: bool, differs: bool) -> Self {
        Self(u32::from(tci.0) | u32::from(is_there) << 16 | u32::from(differs) << 17)
    }

    /// With which it leaves a port that tags it.
    #[inline(always)]
    pub(super) fn tci(self) -> Tci {
        #[expect(clippy::cast_possible_truncation, reason = "the low half")]
        Tci(self.0 as u16)
    }

    /// The VLAN; zero for none.
    #[inline(always)]
    pub(super) fn vid(self) -> u16 {
        self.tci().vid()
    }

    /// Whether the outermost tag of the frame is the bridge's.
    #[inline(always)]
    pub(super) fn is_there(self) -> bool {
        self.0 & Self::IS_THERE != 0
    }

    /// Whether that one has other contents.
    #[inline(always)]
    fn differs(self) -> bool {
        self.0 & Self::DIFFERS != 0
    }

    /// The same frame's where the VLAN has another identifier.
    fn with_vid(self, vid: u16) -> Self {
        let tci = self.tci().with_vid(vid);
        Self::new(tci, self.is_there(), self.differs() || tci != self.tci())
    }

    /// Gives a frame of this tag, which has room for one, the tag that it leaves with, or takes it off.
    #[inline(always)]
    pub(super) fn apply(self, frame: &mut Frame, protocol: EtherType, untagged: bool) -> Option<Retag> {
        let tci = self.tci();
        let (done, retag) = match (self.is_there(), untagged) {
            (false, true) => return None,
            (true, false) if !self.differs() => return None,
            (false, false) => (
                frame.push_front(LEN) && vlan::push(frame.bytes_mut(), protocol, tci).is_ok(),
                Retag::Pushed(tci),
            ),
            (true, true) => (vlan::pop(frame.bytes_mut()).is_ok() && frame.pull_front(LEN), Retag::Popped),
            (true, false) => (vlan::rewrite(frame.bytes_mut(), tci).is_ok(), Retag::Rewritten(tci)),
        };
        debug_assert!(done, "there is room for a tag, and one that is there was read");
        Some(retag)
    }

    /// The bytes of a frame that the kernel counts in a VLAN: without Ethernet header and tag.
    pub(super) fn counted(self, frame: &Frame) -> u64 {
        let headers = HEADER_LEN + if self.is_there() { TAG_LEN } else { 0 };
        frame.len().saturating_sub(headers) as u64
    }
}

/// A copy of a frame in a VLAN, and how it is tagged where it leaves (`br_handle_vlan`).
#[derive(Clone, Copy)]
pub(super) struct VlanTarget<'t> {
    target: Target,
    tag: Tag,
    protocol: EtherType,
    untagged: bool,
    longest: u32,
    sent: Option<&'t VlanTraffic>,
}

impl<'t> VlanTarget<'t> {
    /// Of a frame with this tag, to a port that is in its VLAN.
    #[inline]
    pub(super) fn new(
        tables: &'t Tables,
        worker: usize,
        target: Target,
        mut tag: Tag,
        protocol: EtherType,
    ) -> Self {
        let vid = tag.vid();
        let device = tables.device(target.device);
        let longest = device.descent.longest().unwrap_or(device.longest);
        let Some(port) = tables.vlan_port(target.device) else {
            return Self { target, tag, protocol, untagged: false, longest, sent: None };
        };
        let untagged = port.untags(vid);
        let mut sent = None;
        if !matches!(device.role, Role::VlanBridge(_)) {
            sent = port.special.stats.as_ref().and_then(|stats| stats.of(worker, vid));
            if let Some(translation) = &port.special.translation {
                tag = tag.with_vid(translation.outward(vid));
            }
        }
        Self { target, tag, protocol, untagged, longest, sent }
    }
}

impl VlanTarget<'static> {
    /// Of an answer to a frame with this tag, out of the port that it came from: untagged in the PVID and else with a tag, whatever
    /// leaves untagged there besides (`br_arp_send` and `br_nd_send`, net/bridge/br_arp_nd_proxy.c).
    pub(super) fn answer(port: &VlanPort, device: DeviceId, tag: Tag, protocol: EtherType) -> Self {
        let untagged = tag.vid() == port.pvid();
        let outward = port.special.translation.as_ref().map_or(tag.vid(), |of| of.outward(tag.vid()));
        let tag = Tag::new(tag.tci().with_vid(outward), false, false);
        Self { target: device.into(), tag, protocol, untagged, longest: u32::MAX, sent: None }
    }
}

impl Leaving for VlanTarget<'_> {
    #[inline]
    fn device(self) -> DeviceId {
        self.target.device
    }

    #[inline]
    fn dress<O: Observer>(self, observer: &mut O, frame: &mut Frame) -> Result<(), DropReason> {
        if let Some(sent) = self.sent {
            sent.sent.add(1, self.tag.counted(frame));
        }
        if self.target.station.is_some() {
            self.target.dress(observer, frame)?;
        }
        if !self.tag.is_there() && !self.untagged && frame.headroom() < TAG_LEN {
            return Err(DropReason::PoolEmpty); // a tag is memory, too
        }
        if let Some(retag) = self.tag.apply(frame, self.protocol, self.untagged) {
            observer.see(Step::Retagged(self.target.device, retag), frame);
        }
        if self.untagged { self.check(frame) } else { Ok(()) }
    }
}

impl VlanTarget<'_> {
    /// What leaves untagged is measured whole: a tag that it has is payload. A super-frame is measured where it is cut.
    #[inline]
    fn check(self, frame: &Frame) -> Result<(), DropReason> {
        let is_too_long = frame.len() > self.longest as usize && frame.gso().is_none();
        if is_too_long { Err(DropReason::MtuExceeded) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Checksum, Pool, PoolConfig};

    /// What leaves of `bytes`, as it is tagged there.
    fn leaving(bytes: &[u8], tag: Tag, untagged: bool) -> Result<Vec<u8>, DropReason> {
        let mut pool = Pool::new(PoolConfig::singles(1));
        let mut frame = pool.alloc(bytes.len()).unwrap();
        assert!(frame.fill(bytes));
        frame.set_checksum(Checksum::Partial { start: 100, offset: 6 });
        let target = Target::from(DeviceId(0));
        let target =
            VlanTarget { target, tag, protocol: EtherType::STAG, untagged, longest: 1518, sent: None };
        let dressed = target.dress(&mut (), &mut frame).map(|()| frame.bytes().to_vec());
        if let (Ok(after), Checksum::Partial { start, .. }) = (&dressed, frame.checksum()) {
            assert_eq!(
                usize::from(start) + bytes.len(),
                100 + after.len(),
                "it is where it was in the payload"
            );
        }
        pool.free(frame);
        dressed
    }

    #[test]
    fn a_tag_is_pushed_popped_written_over_or_left_alone_and_the_payload_stays() {
        let plain: Vec<u8> = (0..60).collect();
        let tagged = |tci: u16| {
            let [high, low] = tci.to_be_bytes();
            [&plain[..12], &[0x88, 0xa8, high, low], &plain[12..]].concat()
        };
        let tag = |is_there, differs| Tag::new(Tci(0xb00a), is_there, differs);
        assert_eq!(leaving(&plain, tag(false, false), true).unwrap(), plain);
        assert_eq!(leaving(&plain, tag(false, true), false).unwrap(), tagged(0xb00a));
        assert_eq!(leaving(&tagged(0xb000), tag(true, true), false).unwrap(), tagged(0xb00a));
        assert_eq!(leaving(&tagged(0xb00a), tag(true, false), false).unwrap(), tagged(0xb00a));
        assert_eq!(leaving(&tagged(0xb000), tag(true, true), true).unwrap(), plain);
    }

    #[test]
    fn a_frame_without_room_for_a_tag_ends() {
        let mut pool = Pool::new(PoolConfig::singles(1));
        let mut frame = pool.alloc(60).unwrap();
        assert!(frame.fill(&[2; 60]));
        let all = u16::try_from(frame.headroom()).unwrap();
        assert!(frame.push_front(all));
        let target = Target::from(DeviceId(0));
        let tag = Tag::new(Tci(7), false, true);
        let target =
            VlanTarget { target, tag, protocol: EtherType::CTAG, untagged: false, longest: 1518, sent: None };
        assert_eq!(target.dress(&mut (), &mut frame), Err(DropReason::PoolEmpty));
        pool.free(frame);
    }
}
