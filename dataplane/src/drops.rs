//! Every reason for which a frame or a copy can be discarded, in one list.

/// Which side of a device a counter or a drop belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The frame came from the device: a drop here ends the frame.
    Rx,
    /// A copy was on its way to the device: a drop here ends that copy.
    Tx,
}

impl Direction {
    /// Both, in the order counters are laid out.
    pub const ALL: [Self; 2] = [Self::Rx, Self::Tx];

    /// `rx` or `tx`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rx => "rx",
            Self::Tx => "tx",
        }
    }
}

macro_rules! drop_reasons {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// Why a frame or a copy was discarded. The name is what every counter, table and metric calls it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason { $(#[doc = $meaning] $variant),* }

        impl DropReason {
            /// Every reason, in the order counters are laid out.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name users see.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// One sentence: what happened.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

drop_reasons! {
    Truncated "truncated" "The frame is shorter than the 14 bytes of an Ethernet header, or longer than a frame of the packet memory: it came cut off."
    SourceGroup "source_group" "The source address is a group address, which no station may send from (IEEE 802-2014 §8.2.2)."
    SourceZero "source_zero" "The source address is 00:00:00:00:00:00, which names no station."
    NoHost "no_host" "The destination is the bridge's own address (a permanent entry), and the bridge has no host port to deliver it to."
    ReservedAddress "reserved_address" "The destination is one of 01:80:C2:00:00:01 to 0F, which a bridge keeps to itself (IEEE 802.1Q §8.6.3) unless group_fwd_mask says otherwise."
    PortState "port_state" "The port it came from, or the one its station is behind, may not forward: it has no carrier, or its state says so."
    Locked "locked" "The port it came from is locked, and no entry says that its source is behind that port."
    Isolated "isolated" "Its station is behind a port that is isolated, as the one it came from is."
    SamePort "same_port" "The destination is behind the very port that the frame came from."
    NoEgress "no_egress" "The frame was to be flooded, and the bridge has no other port that takes it."
    GroupMalformed "group_malformed" "The frame is to a group, and its IP header or what it says about groups (IGMP, MLD) is cut short or wrong: a bridge that snoops lets none such pass."
    NoMember "no_member" "The frame is for a group that nobody behind another port is known to be in, and no router is known there."
    MdbFull "mdb_full" "The frame says that its sender is in a group more than the bridge (mcast_hash_max) or the port (mcast_max_groups) may learn."
    Unused "unused" "The device it came from is in no bridge and no cross-connect."
    MtuExceeded "mtu_exceeded" "The frame is longer than the MTU of the device it was to leave by, with its Ethernet header and one tag."
    MalformedOffload "malformed_offload" "The offload state that came with the frame contradicts the frame."
    PoolEmpty "pool_empty" "No free packet memory was left for it."
    RingFull "ring_full" "The transmit ring of the device was full."
    HandoffFull "handoff_full" "The queue to the worker that owns the device was full."
    PuntFull "punt_full" "The queue to control was full, or its rate limit was reached."
    PortDown "port_down" "The device is down, or has no open queue."
    PortGone "port_gone" "The device went away while the frame waited to be sent."
    PortError "port_error" "The kernel refused the frame or the file could not be written."
    WorkerPanicked "worker_panicked" "The worker that held it panicked and was restarted with fresh packet memory."
}

impl DropReason {
    /// As an index into counters.
    pub fn index(self) -> usize {
        usize::from(self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_every_reason_ends_its_sentence() {
        let names: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(reason.meaning().ends_with('.'), "{}", reason.name());
        }
    }
}
