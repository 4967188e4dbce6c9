//! Next hops: where a route leads, one way or several by flow.

use std::net::IpAddr;

use crate::ids::DeviceId;
use crate::wire::flow::FlowHash;

/// The number of a next hop in [`NextHops`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NextHopId(u32);

impl NextHopId {
    /// How many there can be; numbers run from 0 to `LIMIT - 1`.
    pub const LIMIT: u32 = (1 << 30) - 1;

    /// The next hop of this number; `None` from [`LIMIT`](Self::LIMIT) on.
    #[inline]
    pub fn new(number: u32) -> Option<Self> {
        (number < Self::LIMIT).then_some(Self(number))
    }

    /// The number.
    #[inline]
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Where a packet goes (the route types of rtnetlink(7)).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NextHop {
    /// To a router behind a device. That it shares no network with us (`onlink`) is no matter any more when it is used.
    Gateway {
        /// Where it leaves.
        device: DeviceId,
        /// Whose link-layer address it gets.
        gateway: IpAddr,
    },
    /// To the destination itself, which is behind this device.
    Connected {
        /// Where it leaves.
        device: DeviceId,
    },
    /// To us: the destination is an address of this device.
    Local {
        /// Whose address it is.
        device: DeviceId,
    },
    /// To all stations behind this device: a directed broadcast, which is not forwarded (RFC 2644).
    Broadcast {
        /// Whose network it is of.
        device: DeviceId,
    },
    /// Nowhere, without a word.
    Blackhole,
    /// Nowhere, and the sender is told that the host is unreachable.
    Unreachable,
    /// Nowhere, and the sender is told that an administrator forbids it.
    Prohibit,
}

/// The share of a flow's members that one way of several gets, 1 to 256 (`rtnh_hops` + 1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weight(u16);

impl Weight {
    /// That of a way which is like the others.
    pub const ONE: Self = Self(1);

    /// 1 to 256.
    pub fn number(self) -> u16 {
        self.0
    }

    /// `None` if it is not in 1 to 256.
    pub fn new(weight: u16) -> Option<Self> {
        (1..=256).contains(&weight).then_some(Self(weight))
    }
}

/// Why next hops make no group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadGroup {
    /// There are none.
    #[error("a group of no next hops: give it one")]
    Empty,
    /// One of them is none, or is a group itself.
    #[error("next hop {0} of a group is unknown or itself a group: name single ones that came before")]
    Member(u32),
    /// There are more next hops than numbers.
    #[error("more than {} next hops", NextHopId::LIMIT)]
    Full,
}

/// All next hops of a switch. Control adds to it, workers get a published copy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NextHops {
    hops: Vec<Hop>,
    ways: Vec<Way>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hop {
    One(NextHop),
    /// Those of `ways` from here, so many.
    Group {
        first: u32,
        count: u32,
    },
}

/// One way of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Way {
    /// The highest of the hashes that choose it, of 31 bits.
    upper_bound: u32,
    next_hop: NextHop,
}

impl NextHops {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; `None` if there are [`NextHopId::LIMIT`] already.
    pub fn add(&mut self, next_hop: NextHop) -> Option<NextHopId> {
        self.push(Hop::One(next_hop))
    }

    /// Adds a group: each flow takes one of its members, each member as many flows as its weight says. By hash threshold
    /// (RFC 2992): the range of hashes is cut in parts, so that of `n` equal members one more or less moves
    /// between a quarter and a half of all flows, and equal groups anywhere choose alike. The bounds are the kernel's (`fib_rebalance`).
    ///
    /// # Errors
    /// If there are no members, one is unknown or a group, or there are too many next hops.
    pub fn add_group(&mut self, members: &[(NextHopId, Weight)]) -> Result<NextHopId, BadGroup> {
        let total: u64 = members.iter().map(|member| u64::from(member.1.0)).sum();
        let (mut ways, mut sum) = (Vec::with_capacity(members.len()), 0);
        for &(id, Weight(weight)) in members {
            let Some(&Hop::One(next_hop)) = self.hops.get(id.0 as usize) else {
                return Err(BadGroup::Member(id.0));
            };
            sum += u64::from(weight);
            let upper_bound = ((sum << 31) + total / 2) / total - 1;
            ways.push(Way { upper_bound: u32::try_from(upper_bound).unwrap_or(u32::MAX), next_hop });
        }
        if ways.is_empty() {
            return Err(BadGroup::Empty);
        }
        let number = |len| u32::try_from(len).map_err(|_| BadGroup::Full);
        let group = Hop::Group { first: number(self.ways.len())?, count: number(ways.len())? };
        let id = self.push(group).ok_or(BadGroup::Full)?;
        self.ways.extend(ways);
        Ok(id)
    }

    /// Where packets of a flow go, which matters where there are several ways; `None` for a number that was not given out here.
    #[inline]
    pub fn choose(&self, id: NextHopId, flow: impl FnOnce() -> FlowHash) -> Option<NextHop> {
        match *self.hops.get(id.0 as usize)? {
            Hop::One(next_hop) => Some(next_hop),
            Hop::Group { first, count } => {
                let ways = self.ways.get(first as usize..)?.get(..count as usize)?;
                // As in `fib_select_multipath`, whose hashes have 31 bits.
                let hash = flow().0 >> 1;
                ways.iter().find(|way| hash <= way.upper_bound).map(|way| way.next_hop)
            }
        }
    }

    /// Whether it leads to other hosts by this device, alone or for some flows.
    pub fn leads_by(&self, id: NextHopId, by: DeviceId) -> bool {
        let leads = |next_hop: NextHop| match next_hop {
            NextHop::Gateway { device, .. } | NextHop::Connected { device } => device == by,
            _ => false,
        };
        match self.hops.get(id.0 as usize) {
            Some(Hop::One(next_hop)) => leads(*next_hop),
            Some(&Hop::Group { first, count }) => {
                let ways = self.ways.get(first as usize..).unwrap_or_default();
                ways.iter().take(count as usize).any(|way| leads(way.next_hop))
            }
            None => false,
        }
    }

    fn push(&mut self, hop: Hop) -> Option<NextHopId> {
        let id = NextHopId::new(u32::try_from(self.hops.len()).ok()?)?;
        self.hops.push(hop);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn weight(weight: u16) -> Weight {
        Weight::new(weight).unwrap()
    }

    fn connected(device: u16) -> NextHop {
        NextHop::Connected { device: DeviceId(device) }
    }

    /// So many next hops and the group of them with these weights.
    fn group(weights: &[u16]) -> (NextHops, NextHopId) {
        let mut hops = NextHops::new();
        let member =
            |(weight, n): (&u16, u16)| (hops.add(connected(n)).unwrap(), Weight::new(*weight).unwrap());
        let members: Vec<_> = weights.iter().zip(0..).map(member).collect();
        let id = hops.add_group(&members).unwrap();
        (hops, id)
    }

    fn member(hops: &NextHops, id: NextHopId, hash: u32) -> usize {
        let Some(NextHop::Connected { device }) = hops.choose(id, || FlowHash(hash)) else {
            panic!("one of ours")
        };
        device.index()
    }

    #[test]
    fn single_ones_are_what_was_added_whatever_the_flow() {
        let mut hops = NextHops::new();
        let gateway = NextHop::Gateway { device: DeviceId(1), gateway: IpAddr::from([10, 0, 0, 1]) };
        for next_hop in [gateway, NextHop::Blackhole, NextHop::Unreachable, NextHop::Prohibit, connected(2)] {
            let id = hops.add(next_hop).unwrap();
            for hash in [0, 1 << 31, u32::MAX] {
                assert_eq!(hops.choose(id, || FlowHash(hash)), Some(next_hop));
            }
        }
        assert_eq!(hops.choose(NextHopId::new(5).unwrap(), || FlowHash(0)), None);
    }

    #[test]
    fn groups_of_nothing_unknown_ones_or_groups_are_refused() {
        let (mut hops, id) = group(&[1, 1]);
        let before = hops.clone();
        assert_eq!(hops.add_group(&[]), Err(BadGroup::Empty));
        assert_eq!(hops.add_group(&[(id, weight(1))]), Err(BadGroup::Member(2)));
        assert_eq!(hops.add_group(&[(NextHopId::new(9).unwrap(), weight(1))]), Err(BadGroup::Member(9)));
        assert_eq!(hops, before);
        assert_eq!([0, 257].map(Weight::new), [None, None]);
        assert_eq!([1, 256].map(|weight| Weight::new(weight).is_some()), [true, true]);
    }

    #[test]
    fn bounds_are_the_kernels() {
        // `fib_rebalance`: DIV_ROUND_CLOSEST(sum << 31, total) - 1.
        let (hops, _) = group(&[1, 1, 1]);
        let bounds: Vec<_> = hops.ways.iter().map(|way| way.upper_bound).collect();
        assert_eq!(bounds, [715_827_882, 1_431_655_764, 2_147_483_647]);
        let (hops, id) = group(&[1, 256]);
        assert_eq!(hops.ways[0].upper_bound, 8_355_967);
        assert_eq!(
            [0, 2 * 8_355_967 + 1, 2 * 8_355_968, u32::MAX].map(|hash| member(&hops, id, hash)),
            [0, 0, 1, 1]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Hashes at equal distances: each member gets its share of them, to a part in a thousand.
        #[test]
        fn flows_are_shared_by_weight(weights in vec(1..=256u16, 1..20)) {
            const FLOWS: u32 = 1 << 16;
            let (hops, id) = group(&weights);
            let mut shares = vec![0u32; weights.len()];
            (0..FLOWS).for_each(|n| shares[member(&hops, id, n << 16)] += 1);
            let total: u16 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let (share, expected) = (f64::from(*share) / f64::from(FLOWS), f64::from(*weight) / f64::from(total));
                prop_assert!((share - expected).abs() < 0.001, "{weights:?}: {shares:?}");
            }
        }

        /// RFC 2992 §3: with equal members, adding one at the end moves no more than half of the flows.
        #[test]
        fn another_member_moves_at_most_half_of_the_flows(count in 1..32usize) {
            const FLOWS: u32 = 1 << 14;
            let (few, of_few) = group(&vec![1; count]);
            let (more, of_more) = group(&vec![1; count + 1]);
            let moves = |n: &u32| member(&few, of_few, n << 18) != member(&more, of_more, n << 18);
            let moved = (0..FLOWS).filter(moves).count();
            prop_assert!(moved <= FLOWS as usize / 2 + count, "{moved} of {FLOWS} with {count}");
        }
    }
}
