//! What a router counts.

/// What happened, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Neighbours that answered when all were asked for them.
    pub resolved: u64,
    /// Neighbours that did not answer.
    pub failed: u64,
    /// Neighbours that others had to make room for.
    pub evicted: u64,
    /// Neighbours for whom there was no room.
    pub refused: u64,
    /// Frames that were to wait for a neighbour.
    pub held: u64,
    /// Of those, the ones that were dropped for want of room or for their neighbour was forgotten.
    pub held_dropped: u64,
    /// Requests and solicitations that were answered.
    pub answered: u64,
    /// Echo requests that were answered.
    pub echoes: u64,
    /// Connections to us that were refused.
    pub resets: u64,
    /// ICMP errors that were sent.
    pub icmp_sent: u64,
    /// ICMP errors that were not, for there were too many.
    pub icmp_suppressed: u64,
    /// ICMP errors that came to us.
    pub errors_heard: u64,
    /// Fragments of packets for us.
    pub fragments: u64,
    /// Packets for us that were put together of fragments.
    pub reassembled: u64,
    /// Fragments and begun packets that were given up: their others did not come in time, they contradict each other, or there was no room.
    pub reassembly_failed: u64,
    /// Times that another station claimed one of our addresses.
    pub conflicts: u64,
    /// Packets of ours that had no way to go, or did not fit.
    pub unroutable: u64,
    /// Frames that are not what they should be.
    pub malformed: u64,
    /// Frames that are none of our business.
    pub ignored: u64,
}

impl Counters {
    /// All of them, by name.
    pub fn named(&self) -> [(&'static str, u64); 19] {
        [
            ("resolved", self.resolved),
            ("failed", self.failed),
            ("evicted", self.evicted),
            ("refused", self.refused),
            ("held", self.held),
            ("held_dropped", self.held_dropped),
            ("answered", self.answered),
            ("echoes", self.echoes),
            ("resets", self.resets),
            ("icmp_sent", self.icmp_sent),
            ("icmp_suppressed", self.icmp_suppressed),
            ("errors_heard", self.errors_heard),
            ("fragments", self.fragments),
            ("reassembled", self.reassembled),
            ("reassembly_failed", self.reassembly_failed),
            ("conflicts", self.conflicts),
            ("unroutable", self.unroutable),
            ("malformed", self.malformed),
            ("ignored", self.ignored),
        ]
    }
}
