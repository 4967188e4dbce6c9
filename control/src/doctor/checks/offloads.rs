//! Offloads that hurt, or that are missed.

use rigswitch_dataplane::ports::PortKind;

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};

pub(super) fn offloads(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    match port.kind {
        PortKind::Xdp(_) => unfinished(device),
        PortKind::Packet(_) => [unsegmented(device), unheard(device)].concat(),
        _ => Vec::new(),
    }
}

/// Checksums that the far end leaves to a card are completed by the switch, in software.
fn unfinished(device: &Device) -> Vec<Finding> {
    let Some(peer) =
        device.peer.as_ref().filter(|peer| peer.offloads.is_some_and(|offloads| offloads.tx_checksum))
    else {
        return Vec::new();
    };
    vec![Finding::note(
        "the far end leaves TCP and UDP checksums unfinished: the switch completes them, at the expense of its worker",
        format!("ETHTOOL_GTXCSUM of {}: on", peer.place.of(&peer.name)),
        peer.ethtool("-K", "tx off"),
    )]
}

/// A packet port is for super-frames, and the far end makes none.
fn unsegmented(device: &Device) -> Vec<Finding> {
    let Some(peer) = &device.peer else { return Vec::new() };
    let Some(offloads) = peer.offloads.filter(|offloads| !offloads.tso || !offloads.tx_checksum) else {
        return Vec::new();
    };
    let on = |on: bool| if on { "on" } else { "off" };
    vec![Finding::warning(
        "the far end cuts its TCP streams into frames by itself: super-frames would pass whole, at ten times the speed",
        format!(
            "ETHTOOL_GTSO, ETHTOOL_GTXCSUM of {}: {}, {}",
            peer.place.of(&peer.name),
            on(offloads.tso),
            on(offloads.tx_checksum)
        ),
        peer.ethtool("-K", "tx on sg on tso on"),
    )]
}

/// What XDP at the far end sends, a veth receives only with XDP or GRO of its own.
fn unheard(device: &Device) -> Vec<Finding> {
    let sends_xdp = device.peer.as_ref().and_then(|peer| peer.xdp.as_ref());
    let Some(xdp) = sends_xdp.filter(|_| device.end.xdp.is_none()) else { return Vec::new() };
    if device.end.offloads.is_none_or(|offloads| offloads.gro) {
        return Vec::new();
    }
    vec![Finding::error(
        "an XDP program is on the far end, and frames that it sends vanish: a veth without GRO does not receive them",
        format!("IFLA_XDP of the far end: program {}; ETHTOOL_GGRO: off", xdp.id),
        device.end.ethtool("-K", "gro on"),
    )]
}
