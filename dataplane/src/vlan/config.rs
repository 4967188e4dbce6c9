//! What an operator may say about a sub-interface, validated.

use crate::ids::VlanId;
use crate::wire::ethernet::EtherType;

/// What sets one `[[vlan]]` apart from other devices that stand on one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VlanConfig {
    /// The VLAN.
    pub id: VlanId,
    /// The kind of tag: [`EtherType::CTAG`] or [`EtherType::STAG`].
    pub protocol: EtherType,
}

impl VlanConfig {
    /// ip-link(8)'s words for the kinds of tag.
    pub const PROTOCOLS: [(&str, EtherType); 2] = [("802.1Q", EtherType::CTAG), ("802.1ad", EtherType::STAG)];

    /// ip-link(8)'s word for its kind of tag.
    pub fn protocol_name(&self) -> &'static str {
        if self.protocol == EtherType::STAG { "802.1ad" } else { "802.1Q" }
    }
}
