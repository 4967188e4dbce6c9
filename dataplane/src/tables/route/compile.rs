//! Routes compiled from a list, and compiled again where a few have changed.

use std::collections::BTreeMap;

use super::prefix::{Address, Prefix};
use super::table::{Entry, Node, Path, Routes};
use crate::sys::hints;
use crate::tables::next_hop::NextHopId;

/// A route as it is compiled.
type Route<A> = (Prefix<A>, NextHopId);

/// Bits that one node decides.
const STRIDE: u8 = 8;

impl<A: Address> Routes<A> {
    /// Compiles these routes. Of those for one prefix the last one counts.
    pub fn new(routes: impl IntoIterator<Item = (Prefix<A>, NextHopId)>) -> Self {
        let mut routes: Vec<_> = routes.into_iter().collect();
        // Stable: of equal prefixes the last one is filled in last.
        routes.sort_by_key(|route| route.0);
        Self::with_root(root_bits(routes.len()), &routes)
    }

    /// The table of `routes`, as it is after `self`: apart from those within or equal to the `changed` prefixes they are the ones that
    /// `self` was made of. Costs a copy of the table, and what has changed; where that is much, or has been, all is
    /// compiled.
    pub fn updated(&self, routes: &BTreeMap<Prefix<A>, NextHopId>, changed: &[Prefix<A>]) -> Self {
        const MANY: usize = 1024;
        let values = |prefix: &Prefix<A>| 1 << self.root_bits.saturating_sub(prefix.length());
        let is_much = changed.iter().map(values).sum::<usize>() > MANY;
        // What was replaced stays in the table, unused.
        let is_mostly_waste = self.bytes() > 2 * self.compiled_bytes + MANY;
        if is_much || is_mostly_waste || root_bits(routes.len()) != self.root_bits {
            return Self::new(routes.iter().map(|(prefix, next_hop)| (*prefix, *next_hop)));
        }
        self.patched(routes, changed)
    }

    /// A copy in which the places of the root that these prefixes lie in, or cover, are compiled again.
    pub(super) fn patched(&self, routes: &BTreeMap<Prefix<A>, NextHopId>, changed: &[Prefix<A>]) -> Self {
        let bits = self.root_bits;
        let mut table = Self {
            slots: on_large_pages(&self.slots),
            nodes: on_large_pages(&self.nodes),
            paths: on_large_pages(&self.paths),
            ..*self
        };
        for prefix in changed {
            let first = table.root_value(prefix.address());
            let count = 1 << bits.saturating_sub(prefix.length());
            for value in first..first + count {
                let head = A::from_head(u16::try_from(value << (16 - bits)).unwrap_or(u16::MAX));
                let holding = (0..=bits).rev().find_map(|length| routes.get(&Prefix::of(head, length)));
                let deeper = Prefix::of(head, bits)..;
                let below =
                    routes.range(deeper).take_while(|(other, _)| other.address().shared(head) >= bits);
                let longer = below.filter(|(other, _)| other.length() > bits);
                let longer: Vec<_> = longer.map(|(prefix, next_hop)| (*prefix, *next_hop)).collect();
                table.slots[value] = table.branch(&longer, bits, Entry::leaf(holding.copied()));
            }
        }
        table
    }

    /// A table of these routes, sorted, with a root of `root_bits`: 0, 8 or 16.
    pub(super) fn with_root(root_bits: u8, routes: &[Route<A>]) -> Self {
        let none = Entry::leaf(None);
        let mut root = vec![none; 1 << root_bits];
        let (slots, nodes, paths) = (root.clone(), Vec::new(), Vec::new());
        let mut table = Self { root_bits, slots, nodes, paths, compiled_bytes: 0 };
        table.fill(routes, 0, &mut root, none);
        table.slots[..root.len()].copy_from_slice(&root);
        table.slots = on_large_pages(&table.slots);
        table.nodes = on_large_pages(&table.nodes);
        table.paths = on_large_pages(&table.paths);
        table.compiled_bytes = table.bytes();
        table
    }

    /// Fills in what each value of the bits from `depth` on leads to, as many as `values` has places for. All routes are longer
    /// than `depth` or, at the root, as long; `inherited` is where other addresses lead.
    fn fill(&mut self, routes: &[Route<A>], depth: u8, values: &mut [Entry], inherited: Entry) {
        let bits = values.len().trailing_zeros();
        #[expect(clippy::cast_possible_truncation, reason = "at most 16 bits")]
        let end = depth + bits as u8;
        values.fill(inherited);
        let mut rest = routes;
        while let Some((&(first, next_hop), others)) = rest.split_first() {
            let head = [first.address().octet(depth / 8), first.address().octet(depth / 8 + 1)];
            let value = usize::from(u16::from_be_bytes(head)) >> (16 - bits);
            if first.length() <= end {
                values[value..][..1 << (end - first.length())].fill(Entry::leaf(Some(next_hop)));
                rest = others;
            } else {
                let longer = |route: &&Route<A>| route.0.address().shared(first.address()) >= end;
                let (below, others) = rest.split_at(rest.iter().take_while(longer).count());
                values[value] = self.branch(below, end, values[value]);
                rest = others;
            }
        }
    }

    /// Where addresses lead that share their first `depth` bits with these routes, all of them longer.
    fn branch(&mut self, routes: &[Route<A>], depth: u8, miss: Entry) -> Entry {
        let [(first, _), ..] = *routes else { return miss };
        let (address, length, hit) = match *routes {
            [(_, next_hop)] => (first.address(), first.length(), Entry::leaf(Some(next_hop))),
            [.., (last, _)] => {
                let shared = first.address().shared(last.address());
                let shortest = routes.iter().map(|route| route.0.length()).min().unwrap_or(0);
                // Up to a node that looks at the first octet in which they end or differ.
                let node_depth = shared.min(shortest - 1) / STRIDE * STRIDE;
                let node = self.node(routes, node_depth, miss);
                if node_depth == depth {
                    return node;
                }
                (first.address().truncated(node_depth), node_depth, node)
            }
            [] => return miss,
        };
        if hit == miss {
            return miss;
        }
        self.paths.push(Path { address, length, hit, miss });
        Entry::path(last_number(self.paths.len()))
    }

    fn node(&mut self, routes: &[Route<A>], depth: u8, inherited: Entry) -> Entry {
        let mut values = [inherited; 1 << STRIDE];
        self.fill(routes, depth, &mut values, inherited);
        if values.iter().all(|value| *value == values[0]) {
            return values[0];
        }
        let node = Node::new(depth / 8, &values, &mut self.slots);
        self.nodes.push(node);
        Entry::node(last_number(self.nodes.len()))
    }
}

/// The number of the last of so many.
fn last_number(count: usize) -> u32 {
    const LIMIT: usize = 1 << 30;
    assert!(count <= LIMIT, "a table of {count} nodes");
    u32::try_from(count - 1).expect("it is below the limit")
}

/// Bits that the root of a table of so many routes decides.
fn root_bits(routes: usize) -> u8 {
    match routes {
        ..16 => 0,
        16..4096 => 8,
        4096.. => 16,
    }
}

/// A copy on large pages. There is room for changes.
fn on_large_pages<T: Clone>(items: &[T]) -> Vec<T> {
    let mut copy = hints::on_large_pages(items.len() + items.len() / 16);
    copy.extend_from_slice(items);
    copy
}
