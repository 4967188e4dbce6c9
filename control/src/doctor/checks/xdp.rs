//! How frames come to an xdp port: hook, copying, tags; and what another kind of port would change.

use rigswitch_dataplane::ports::{PortKind, XdpConfig, XdpMode};
use rigswitch_dataplane::sys::bpf::Attach;

use super::Finding;
use crate::doctor::facts::{Device, Facts, Port};

/// The hook in force, or to be expected; with what keeps it from being the native one, if that can be mended.
pub(crate) fn hook(port: &Port, device: &Device) -> Option<(Attach, Option<Obstacle>)> {
    let PortKind::Xdp(XdpConfig { mode, .. }) = &port.kind else { return None };
    let obstacle = obstacle(port, device);
    if let Some(xdp) = device.end.xdp.as_ref().filter(|_| port.is_running) {
        return Some((xdp.hook, obstacle));
    }
    let is_generic = *mode == XdpMode::Generic || obstacle.is_some();
    Some((if is_generic { Attach::Generic } else { Attach::Native }, obstacle))
}

/// An MTU whose frames drivers have in one buffer with a program, whatever else is in that: ixgbe has 3,072 bytes for a frame, vmxnet3 takes an MTU of 3,492.
const IN_ONE_BUFFER: u32 = 3000;

/// Why a native program would not attach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Obstacle {
    why: String,
    evidence: String,
    fix: Option<String>,
    /// What may be instead of what is to be expected.
    unless: &'static str,
}

fn obstacle(port: &Port, device: &Device) -> Option<Obstacle> {
    let end = &device.end;
    let driver = device.driver.as_deref().unwrap_or("none");
    // First, for the kernel takes a veth's features from it while this is so.
    if let Some(peer) = device.peer.as_ref().filter(|peer| peer.tx_queues > end.rx_queues) {
        let (rx, tx) = (end.rx_queues, peer.tx_queues);
        return Some(Obstacle {
            why: format!(
                "a veth takes native XDP only with a receive queue for each of the far end's {tx} transmit queues"
            ),
            evidence: format!("ETHTOOL_GCHANNELS: {rx} receive; {} {tx} transmit", peer.place.of(&peer.name)),
            fix: Some(peer.ethtool("-L", &format!("tx {rx}"))),
            unless: "",
        });
    }
    if device.features.is_none_or(|features| features.native)
        && end.offloads.is_some_and(|offloads| offloads.lro)
    {
        return Some(Obstacle {
            why: "it merges received frames in hardware (LRO), which native XDP does not go with".into(),
            evidence: "ETHTOOL_GFLAGS: large-receive-offload on".into(),
            fix: Some(end.ethtool("-K", "lro off")),
            unless: "",
        });
    }
    let features = device.features?; // before 6.3 nobody tells
    if !features.native {
        let why = format!("its driver ({driver}) has no native XDP");
        return Some(Obstacle {
            why,
            evidence: "NETDEV_A_DEV_XDP_FEATURES: no basic, redirect".into(),
            fix: None,
            unless: "",
        });
    }
    let mtu = port.carries().unwrap_or(end.mtu);
    (mtu > XdpConfig::LONGEST_WHOLE && !features.frags).then(|| Obstacle {
        why: format!(
            "frames of an MTU of {mtu} take several buffers, and its driver ({driver}) has them not"
        ),
        evidence: format!("IFLA_MTU: {mtu}; NETDEV_A_DEV_XDP_FEATURES: no rx-sg"),
        fix: Some(end.set(&format!("mtu {IN_ONE_BUFFER}"))),
        // vmxnet3 refuses the program; virtio_net takes it, though without mergeable buffers it has room for 1,518 bytes (`virtnet_xdp_set`,
        // `receive_small`, drivers/net/virtio_net.c of 6.12).
        unless: ", unless the driver takes the program and loses them",
    })
}

pub(super) fn mode(facts: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some((hook, obstacle)) = hook(port, device) else { return Vec::new() };
    let PortKind::Xdp(XdpConfig { mode, .. }) = &port.kind else { return Vec::new() };
    if hook == Attach::Native && obstacle.is_none() {
        return Vec::new();
    }
    let set = |mode: &str| facts.set_port(port, "xdp", "mode", mode);
    match (*mode, obstacle) {
        (
            XdpMode::Native | XdpMode::Copy | XdpMode::ZeroCopy,
            Some(Obstacle { why, evidence, fix, unless }),
        ) if !port.is_running => {
            vec![Finding::error(
                format!("{why}: the port will not start in this mode{unless}"),
                evidence,
                fix.unwrap_or_else(|| set("\"auto\"")),
            )]
        }
        // What is in force natively goes on; it would not come back.
        (_, Some(Obstacle { why, evidence, fix, unless })) => {
            let fix = fix.unwrap_or_else(|| format!("# packet = \"{}\" instead of xdp", device.end.name));
            let what = format!("{why}: generic XDP costs 10 to 50 % more a frame{unless}");
            vec![Finding::warning(what, evidence, fix)]
        }
        (XdpMode::Generic, None) => vec![Finding::warning(
            "generic XDP costs 10 to 50 % more a frame, and the driver has native XDP",
            "mode = \"generic\"; NETDEV_A_DEV_XDP_FEATURES: basic, redirect",
            set("\"auto\""),
        )],
        // It could be native by now: whoever opened it was in the way of something.
        (_, None) if device.features.is_some() => vec![Finding::warning(
            "generic XDP is in force, which costs 10 to 50 % more a frame, and native would do by now",
            "IFLA_XDP_ATTACHED: skb",
            set("native"),
        )],
        (_, None) => Vec::new(),
    }
}

/// A tag that stands beside the frame is lost unless the program can ask for it, which only a native one can, or a card
/// leaves it in.
pub(super) fn tags(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some((hook, _)) = hook(port, device) else { return Vec::new() };
    let restores = hook == Attach::Native && device.features.is_some_and(|features| features.vlan_tag);
    if restores || device.is_on_a_bus {
        return Vec::new();
    }
    let what = "a VLAN tag is lost before the switch sees the frame, which then goes where untagged ones go";
    let (far, offloads) = match &device.peer {
        Some(peer) => (peer, peer.offloads),
        None => (&device.end, device.end.offloads),
    };
    match offloads {
        Some(offloads) if offloads.tx_vlan => vec![Finding::error(
            what,
            format!("ETHTOOL_GFLAGS of {}: tx-vlan-offload on", far.place.of(&far.name)),
            far.ethtool("-K", "txvlan off"),
        )],
        _ => Vec::new(),
    }
}

/// What the other kind of port would change on this device, where both make sense.
pub(super) fn choice(facts: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let name = &device.end.name;
    let was_asked = matches!(port.asked, PortKind::Device(_));
    let driver = device.driver.as_deref().unwrap_or("no driver");
    let evidence = format!("ETHTOOL_GDRVINFO: {driver}");
    let set = |kind: &str| {
        let key = port.asked.name();
        match (&facts.switch.file, was_asked) {
            (Some(_), true) => facts
                .set_port(port, "", key, &format!("\"{name}\""))
                .replace(&format!("/{key} = "), &format!("/{kind} = ")),
            _ => format!("# {kind} = \"{name}\" instead of {key}"),
        }
    };
    let is_native = device.features.is_some_and(|features| features.native);
    match &port.kind {
        PortKind::Packet(_) if was_asked && is_native => vec![Finding::note(
            "packet was chosen: super-frames pass whole, which TCP likes; xdp would carry more packets a second, and cost the far end its TSO",
            evidence,
            set("xdp"),
        )],
        PortKind::Packet(_) if was_asked => vec![Finding::note(
            "packet was chosen: the driver has no native XDP, without which xdp would be slower",
            evidence,
            set("xdp"),
        )],
        PortKind::Xdp(_) if was_asked => vec![Finding::note(
            "xdp was chosen: the most packets a second; packet would leave the offloads on, and the host's super-frames whole",
            evidence,
            set("packet"),
        )],
        PortKind::Xdp(_) if device.peer.is_some() && port.is_shared() => Vec::new(), // no other kind shares
        PortKind::Xdp(_) if device.peer.is_some() => vec![Finding::note(
            "XDP on a veth costs the far end its TSO: a TCP stream runs at 1 to 3 Gbit/s there, and at 25 through a packet port",
            evidence,
            set("packet"),
        )],
        _ => Vec::new(),
    }
}
