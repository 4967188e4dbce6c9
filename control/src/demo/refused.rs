//! Frames that no bridge may forward: the demo sends some of each kind, and each must be dropped under its name.

use rigswitch_dataplane::drops::DropReason;
use rigswitch_dataplane::ids::MacAddr;

use super::rig::Station;
use crate::lab::{LabError, send_frame};
use crate::views::{DropView, DropsView};

/// Frames of each kind.
const EACH: u64 = 5;

/// The kinds: why each is refused, and its destination and source.
const KINDS: [(DropReason, [u8; 6], [u8; 6]); 3] = [
    // What LLDP is sent to.
    (DropReason::ReservedAddress, [0x01, 0x80, 0xc2, 0, 0, 0x0e], [2, 0, 0, 0, 0, 1]),
    (DropReason::SourceGroup, MacAddr::BROADCAST.octets(), [3, 0, 0, 0, 0, 1]),
    (DropReason::SourceZero, MacAddr::BROADCAST.octets(), [0; 6]),
];

/// Sends them all from `station`.
pub(super) fn send(station: &Station) -> Result<(), LabError> {
    /// The EtherType for experiments (IEEE 802-2014 §9.2.3).
    const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
    for (_, destination, source) in KINDS {
        let mut frame = [&destination[..], &source, &EXPERIMENT].concat();
        frame.resize(60, 0);
        for _ in 0..EACH {
            send_frame(&station.host, &station.device, &frame)?;
        }
    }
    Ok(())
}

/// Whether each was dropped where it came in.
pub(super) fn are_dropped(station: &Station, drops: &DropsView) -> bool {
    KINDS.iter().all(|(reason, ..)| {
        let is_that = |drop: &&DropView| {
            (drop.device.as_str(), drop.direction.as_str(), drop.reason.as_str())
                == (station.port.as_str(), "rx", reason.name())
        };
        drops.drops.iter().find(is_that).is_some_and(|drop| drop.packets == EACH)
    })
}

/// How many of each kind, and what they are refused as.
pub(super) fn described() -> String {
    let names: Vec<_> = KINDS.iter().map(|(reason, ..)| reason.name()).collect();
    format!("{EACH} frames each refused as {}", names.join(", "))
}
