//! What workers do with routes: walk from line to line of memory, a burst at once.

use super::prefix::Address;
use crate::sys::hints;
use crate::tables::next_hop::NextHopId;

/// The routes of one address family.
///
/// A trie by octets. Its root is an array, large only where there are many routes; a node is one cache line, which says where in its
/// 256 places something else begins, and holds what begins there if that is little; a path stands for nodes that one way leads through.
#[derive(Clone, Debug)]
pub struct Routes<A> {
    pub(super) root_bits: u8,
    pub(super) slots: Vec<Entry>, // the root's 2^root_bits, then those of nodes
    pub(super) nodes: Vec<Node>,
    pub(super) paths: Vec<Path<A>>,
    pub(super) compiled_bytes: usize, // before anything was patched
}

/// An address and how far the walk to its route has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<A> {
    address: A,
    at: Entry,
}

impl<A: Copy> Place<A> {
    /// The address.
    #[inline]
    pub fn address(self) -> A {
        self.address
    }
}

impl<A: Address> Routes<A> {
    /// Where the walk for `address` begins: what the root, which is small, says.
    #[inline]
    pub fn locate(&self, address: A) -> Place<A> {
        Place { address, at: self.slots[self.root_value(address)] }
    }

    /// Starts to bring closer what the walk looks at next.
    #[inline]
    pub fn prefetch(&self, place: Place<A>) {
        let number = place.at.number();
        match place.at.kind() {
            Kind::Leaf => {}
            Kind::Slot => hints::prefetch(&self.slots[number]),
            Kind::Node => hints::prefetch(&self.nodes[number]),
            Kind::Path => hints::prefetch(&self.paths[number]),
        }
    }

    /// How often to [`approach`](Self::approach) the routes of a burst, before they are found: as many lines as most addresses have before
    /// their last one, and not at all in a table that is in a near cache anyway.
    #[inline]
    pub fn approaches(&self) -> u8 {
        if self.root_bits < 16 { 0 } else { A::BITS / 32 }
    }

    /// One line of memory further, and the next one brought closer.
    #[inline]
    pub fn approach(&self, place: Place<A>) -> Place<A> {
        let place = Place { at: self.step(place), ..place };
        self.prefetch(place);
        place
    }

    /// The next hop of the longest prefix that the address begins with.
    #[inline]
    pub fn find(&self, mut place: Place<A>) -> Option<NextHopId> {
        while place.at.kind() != Kind::Leaf {
            place.at = self.step(place);
        }
        place.at.next_hop()
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.slots[..]) + size_of_val(&self.nodes[..]) + size_of_val(&self.paths[..])
    }

    /// The slot of the root for an address.
    #[inline]
    pub(super) fn root_value(&self, address: A) -> usize {
        usize::from(u16::from_be_bytes([address.octet(0), address.octet(1)])) >> (16 - self.root_bits)
    }

    #[inline(always)]
    fn step(&self, Place { address, at }: Place<A>) -> Entry {
        match at.kind() {
            Kind::Leaf => at,
            Kind::Slot => self.slots[at.number()],
            Kind::Node => self.nodes[at.number()].follow(address),
            Kind::Path => self.paths[at.number()].follow(address),
        }
    }
}

/// Where a walk goes on: two bits of kind, thirty of number. Zero is the leaf without a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry(u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Leaf,
    Slot,
    Node,
    Path,
}

impl Entry {
    const SHIFT: u32 = 30;
    const NUMBER: u32 = (1 << Self::SHIFT) - 1;

    pub(super) fn leaf(next_hop: Option<NextHopId>) -> Self {
        Self(next_hop.map_or(0, |next_hop| next_hop.number() + 1))
    }

    #[inline]
    pub(super) fn slot(number: u32) -> Self {
        Self(1 << Self::SHIFT | number)
    }

    pub(super) fn node(number: u32) -> Self {
        Self(2 << Self::SHIFT | number)
    }

    pub(super) fn path(number: u32) -> Self {
        Self(3 << Self::SHIFT | number)
    }

    #[inline]
    fn kind(self) -> Kind {
        match self.0 >> Self::SHIFT {
            0 => Kind::Leaf,
            1 => Kind::Slot,
            2 => Kind::Node,
            _ => Kind::Path,
        }
    }

    #[inline]
    fn number(self) -> usize {
        (self.0 & Self::NUMBER) as usize
    }

    #[inline]
    fn next_hop(self) -> Option<NextHopId> {
        NextHopId::new(self.0.wrapping_sub(1))
    }
}

/// What one octet decides.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Node {
    /// A bit for each value of the octet with which another entry begins than the one before has. The first is set.
    starts: [u64; 4],
    /// How many begin in the words before each.
    before: [u8; 4],
    octet: u8,
    /// Where the entries are; zero, where the root is, if they are in the node.
    base: u32,
    entries: [Entry; Node::ROOM],
}

const _: () = assert!(size_of::<Node>() == 64);

impl Node {
    const ROOM: usize = 5;

    /// A node that looks at this octet. Entries that have no room in it go to the end of `slots`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 192 begin in three words; slots are counted in 30 bits"
    )]
    pub(super) fn new(octet: u8, values: &[Entry; 256], slots: &mut Vec<Entry>) -> Self {
        let mut node =
            Self { starts: [0; 4], before: [0; 4], octet, base: 0, entries: [Entry::leaf(None); Self::ROOM] };
        let base = slots.len();
        let mut last = None;
        for (value, &entry) in values.iter().enumerate() {
            if value % 64 == 0 {
                node.before[value / 64] = (slots.len() - base) as u8;
            }
            if last.replace(entry) != Some(entry) {
                node.starts[value / 64] |= 1 << (value % 64);
                slots.push(entry);
            }
        }
        match node.entries.get_mut(..slots.len() - base) {
            Some(room) => {
                room.copy_from_slice(&slots[base..]);
                slots.truncate(base);
            }
            None => node.base = base as u32,
        }
        node
    }

    #[inline]
    fn follow<A: Address>(&self, address: A) -> Entry {
        let value = address.octet(self.octet);
        let word = usize::from(value >> 6);
        let begun = self.starts[word] << (63 - (value & 63));
        let rank = u32::from(self.before[word]) + begun.count_ones() - 1;
        if self.base == 0 { self.entries[rank as usize] } else { Entry::slot(self.base + rank) }
    }
}

/// The only way that leads on, and where all others end.
#[derive(Clone, Debug)]
pub(super) struct Path<A> {
    pub(super) address: A,
    pub(super) length: u8,
    pub(super) hit: Entry,
    pub(super) miss: Entry,
}

impl<A: Address> Path<A> {
    #[inline]
    fn follow(&self, address: A) -> Entry {
        if self.address.shared(address) >= self.length { self.hit } else { self.miss }
    }
}
