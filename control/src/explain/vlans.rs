//! VLANs in words: of which a frame is and why, and what is done to its tag.

use rigswitch_dataplane::ids::VlanId;
use rigswitch_dataplane::pipeline::{Retag, VlanFrom};
use rigswitch_dataplane::wire::vlan::Tci;

/// The keys of a port that say which VLANs it is in.
pub(super) const MEMBERSHIP: &[&str] = &["vlan", "access", "native", "trunk", "tunnel", "mac_vlan"];

/// Of which VLAN a frame is that came in by `port`.
pub(super) fn in_vlan(port: &str, vid: VlanId, from: VlanFrom) -> String {
    match from {
        VlanFrom::Tag => format!("VLAN {vid}: its tag says so"),
        VlanFrom::Translated(wire) => format!("VLAN {vid}, which is {wire} on the wire of {port}"),
        VlanFrom::Pvid => format!("VLAN {vid}, the PVID of {port}: it has no tag, or one without a VLAN"),
        VlanFrom::Tunnel => format!("VLAN {vid}, of the tunnel {port}: whatever tags it has are payload"),
        VlanFrom::Mac => format!("VLAN {vid}, that of its source address, for it has none of its own"),
    }
}

/// What says so, as keys of the port; nothing where the frame or its bridge does.
pub(super) fn keys(from: VlanFrom) -> &'static [&'static str] {
    match from {
        VlanFrom::Tag | VlanFrom::Mac => &[],
        VlanFrom::Translated(_) => &["translate"],
        VlanFrom::Pvid => MEMBERSHIP,
        VlanFrom::Tunnel => &["tunnel"],
    }
}

/// What is done to the tag of a frame that leaves by `port`.
pub(super) fn retagged(port: &str, retag: Retag) -> String {
    match retag {
        Retag::Pushed(tci) => format!("{port} tags: pushed {}", words(tci)),
        Retag::Rewritten(tci) => format!("{port} tags: its tag is {} now", words(tci)),
        Retag::Popped => format!("{port} does not tag: popped"),
    }
}

fn words(tci: Tci) -> String {
    let dei = if tci.dei() { ", drop eligible" } else { "" };
    format!("VLAN {}, priority {}{dei}", tci.vid(), tci.pcp())
}
