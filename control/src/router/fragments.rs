//! Packets for us whose fragments come one by one (RFC 791 §3.2, RFC 8200 §4.5), as the kernel puts them together (net/ipv4/inet_fragment.c, ip_fragment.c,
//! net/ipv6/reassembly.c): what overlaps is thrown away as a whole (RFC 5722), and so is what contradicts itself.
//!
//! Where there are too many, the oldest goes: the kernel takes no new ones then until time has passed, so that whoever fills the room once keeps others out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use rigswitch_dataplane::ids::DeviceId;
use rigswitch_dataplane::wire::ethernet::HEADER_LEN;
use rigswitch_dataplane::wire::reassembly::{Fragment, UNIT, finish};
use rigswitch_dataplane::wire::tunnel::Ecn;

/// What all fragments of a packet have in common.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Whole {
    /// Ours, and the other.
    pub(super) addresses: [IpAddr; 2],
    /// The link, where addresses mean nothing without.
    pub(super) link: Option<DeviceId>,
    /// In IPv4, what it carries.
    pub(super) protocol: u8,
    pub(super) identification: u32,
}

/// Why a fragment is none of a packet to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refused {
    /// It is of no length that a fragment but the last has (RFC 8200 §4.5).
    Length,
    /// It would end beyond the longest packet (RFC 8200 §4.5).
    TooLong,
    /// It contradicts what has come, and that goes, too.
    Contradicts,
}

/// The first fragment of a packet whose others did not come in time: its sender is to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Expired {
    pub(super) device: DeviceId,
    pub(super) frame: Vec<u8>,
}

/// What happened, in numbers (`IpReasmReqds` and its like).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) fragments: u64,
    pub(super) whole: u64,
    pub(super) failed: u64,
}

/// Bytes for each family, and what a fragment costs besides its own (`ipfrag_high_thresh`, `ip6frag_high_thresh`).
pub(super) const ROOM: usize = 4 << 20;
const EACH: usize = 256;
/// The longest payload that an offset leads to.
const LONGEST: usize = 65535;

/// The packets of one family that have begun to come.
#[derive(Debug)]
pub(super) struct Fragments {
    begun: BTreeMap<Whole, Begun>,
    order: BTreeMap<u64, Whole>, // as they began
    next: u64,
    bytes: usize,
    patience: Duration,
    pub(super) tally: Tally,
}

#[derive(Debug)]
struct Begun {
    number: u64,
    until: Duration,
    parts: BTreeMap<usize, Vec<u8>>, // by offset, none over another
    length: Option<usize>,           // when the last is there
    got: usize,
    first: Option<(DeviceId, Vec<u8>)>, // its frame
    ecn: [bool; 4],
    cost: usize,
}

impl Fragments {
    /// Of packets whose fragments have so long to come.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            begun: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
            patience,
            tally: Tally::default(),
        }
    }

    /// Takes one in, which came in `frame` from `device`; answers the frame of the whole, if it is the last that was missing.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn add(
        &mut self,
        whole: Whole,
        (device, frame): (DeviceId, &[u8]),
        fragment: &Fragment<'_>,
        now: Duration,
    ) -> Result<Option<Vec<u8>>, Refused> {
        self.tally.fragments += 1;
        let is_ipv4 = whole.addresses[0].is_ipv4();
        let mut part = fragment.payload;
        if fragment.more_follow && !part.len().is_multiple_of(UNIT) {
            // In IPv4 the rest comes again.
            part = if is_ipv4 {
                &part[..part.len() / UNIT * UNIT]
            } else {
                return self.refuse(Refused::Length);
            };
        }
        let end = fragment.offset + part.len();
        if end + if is_ipv4 { fragment.header_len() } else { 0 } > LONGEST {
            return self.refuse(Refused::TooLong);
        }
        if !self.begun.contains_key(&whole) {
            self.begin(whole, now);
        }
        let Some(begun) = self.begun.get_mut(&whole) else { return Ok(None) };
        let before = begun.cost;
        let taken = begun.take(fragment, part, end);
        if taken == Some(true) && fragment.offset == 0 {
            begun.first = Some((device, frame.to_vec()));
            begun.cost += frame.len();
        }
        self.bytes += begun.cost - before;
        if taken.is_none() {
            self.remove(whole);
            return self.refuse(Refused::Contradicts);
        }
        if begun.is_whole() {
            let put_together = self.remove(whole).and_then(Begun::put_together);
            let tally = if put_together.is_some() { &mut self.tally.whole } else { &mut self.tally.failed };
            *tally += 1;
            return Ok(put_together);
        }
        while self.bytes > ROOM {
            let Some(oldest) = self.order.first_key_value().map(|(_, whole)| *whole) else { break };
            self.remove(oldest);
            self.tally.failed += 1;
        }
        Ok(None)
    }

    /// Those whose time is over.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some((_, &whole)) = self.order.first_key_value() {
            if self.begun.get(&whole).is_some_and(|begun| begun.until > now) {
                break;
            }
            self.tally.failed += 1;
            let first = self.remove(whole).and_then(|begun| begun.first);
            expired.extend(first.map(|(device, frame)| Expired { device, frame }));
        }
        expired
    }

    /// Forgets those of which this is not so.
    pub(super) fn retain(&mut self, stays: impl Fn(&Whole) -> bool) {
        let gone: Vec<Whole> = self.begun.keys().filter(|whole| !stays(whole)).copied().collect();
        self.tally.failed += gone.len() as u64;
        gone.into_iter().for_each(|whole| drop(self.remove(whole)));
    }

    /// How many have begun, and what they cost.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.begun.len(), self.bytes)
    }

    fn refuse(&mut self, why: Refused) -> Result<Option<Vec<u8>>, Refused> {
        self.tally.failed += 1;
        Err(why)
    }

    fn begin(&mut self, whole: Whole, now: Duration) {
        self.next += 1;
        self.order.insert(self.next, whole);
        let begun = Begun {
            number: self.next,
            until: now + self.patience,
            parts: BTreeMap::new(),
            length: None,
            got: 0,
            first: None,
            ecn: [false; 4],
            cost: EACH,
        };
        self.bytes += begun.cost;
        self.begun.insert(whole, begun);
    }

    fn remove(&mut self, whole: Whole) -> Option<Begun> {
        let begun = self.begun.remove(&whole)?;
        self.order.remove(&begun.number);
        self.bytes -= begun.cost;
        Some(begun)
    }
}

impl Begun {
    /// Whether the part was new; nothing if it contradicts what is there (`inet_frag_queue_insert`).
    fn take(&mut self, fragment: &Fragment<'_>, part: &[u8], end: usize) -> Option<bool> {
        let farthest = self.parts.last_key_value().map_or(0, |(offset, part)| offset + part.len());
        if part.is_empty() || self.length.is_some_and(|length| end > length) {
            return None;
        }
        if !fragment.more_follow {
            if end < farthest || self.length.is_some_and(|length| end != length) {
                return None;
            }
            self.length = Some(end);
        }
        self.ecn[fragment.ecn as usize] = true;
        let before = self.parts.range(..=fragment.offset).next_back();
        if let Some((offset, known)) = before
            && offset + known.len() > fragment.offset
        {
            // One that came twice says nothing new; one that goes on beyond what came is another packet's, or an attack.
            return (self.reaches(*offset) >= end).then_some(false);
        }
        let behind = (Bound::Excluded(fragment.offset), Bound::Excluded(end));
        if self.parts.range(behind).next().is_some() {
            return None;
        }
        self.got += part.len();
        self.cost += EACH + part.len();
        self.parts.insert(fragment.offset, part.to_vec());
        Some(true)
    }

    /// How far what is there goes without a gap from the part at this offset.
    fn reaches(&self, offset: usize) -> usize {
        self.parts
            .range(offset..)
            .fold(offset, |end, (at, part)| if *at == end { end + part.len() } else { end })
    }

    fn is_whole(&self) -> bool {
        self.first.is_some() && self.length == Some(self.got)
    }

    /// The frame of the first with all of the packet in it. Fragments that differ in whether they take part in congestion notification are of no packet (RFC 3168 §5.3;
    /// `ip_frag_ecn_table`).
    fn put_together(self) -> Option<Vec<u8>> {
        let (_, frame) = self.first?;
        let (ethernet, packet) = frame.split_at_checked(HEADER_LEN)?;
        let first = Fragment::view(packet).ok()??;
        let some = |ecn: Ecn| self.ecn[ecn as usize];
        if some(Ecn::NotEct) && (some(Ecn::Ect0) || some(Ecn::Ect1) || some(Ecn::Ce)) {
            return None;
        }
        let mut whole = vec![0; HEADER_LEN + first.header_len()];
        whole[..HEADER_LEN].copy_from_slice(ethernet);
        first.write_header(&mut whole[HEADER_LEN..])?;
        whole.extend(self.parts.into_values().flatten());
        finish(&mut whole[HEADER_LEN..], self.ecn[Ecn::Ce as usize])?;
        Some(whole)
    }
}
