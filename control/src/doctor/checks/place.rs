//! The place of a device: that it is there, up, and nobody else's.

use std::net::IpAddr;

use rigswitch_dataplane::ports::PortKind;

use super::Finding;
use crate::doctor::facts::{Device, Facts, Found, Place, Port};

/// Whether its frames come from the device's wire. A TAP is the host's own end.
fn is_on_wire(port: &Port) -> bool {
    matches!(port.kind, PortKind::Xdp(_) | PortKind::Packet(_) | PortKind::Device(_))
}

/// Whether the switch takes every frame that arrives there.
fn takes_all(port: &Port) -> bool {
    is_on_wire(port) && !port.is_shared()
}

pub(super) fn presence(facts: &Facts, port: &Port) -> Vec<Finding> {
    let (device, netns) = (port.label(), port.netns.as_deref().unwrap_or_default());
    let place = port.netns.clone().map_or(Place::Here, Place::Named);
    let what = format!("{} is not there: the port will not start", place.of(device));
    match &port.device {
        Found::NoNetns => vec![Finding::error(
            format!("there is no network namespace {netns}: the port will not start"),
            format!("/run/netns/{netns}: not found"),
            format!("ip netns add {netns}"),
        )],
        Found::Missing(Some(other)) => {
            vec![Finding::error(
                what,
                format!("RTM_GETLINK: no {device}, but {}", other.of(device)),
                follow(facts, port, other),
            )]
        }
        Found::Missing(None) => vec![Finding::error(
            what,
            format!("RTM_GETLINK: no {device}"),
            place.ip(&format!("link add {device} type veth peer name {}", far_name(device))),
        )],
        Found::None | Found::Unseen | Found::Here(_) => Vec::new(),
    }
}

/// Has the port say where its device is: moving it might take it from somebody.
fn follow(facts: &Facts, port: &Port, place: &Place) -> String {
    let (Some(file), Place::Named(netns)) = (&facts.switch.file, place) else {
        return format!("# {} where its device is: netns = \"…\" under [[port]]", port.name);
    };
    match &port.netns {
        Some(_) => facts.set_port(port, "", "netns", &format!("\"{netns}\"")),
        None => format!(r#"sed -i '/^name *= *"{}"/a netns = "{netns}"' {}"#, port.name, file.display()),
    }
}

/// A name for the far end of a veth that is at most 15 bytes.
fn far_name(device: &str) -> String {
    device.chars().take(11).chain("-far".chars()).collect()
}

/// `run` takes devices up; nobody takes their far ends up.
pub(super) fn link(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let (end, mut found) = (&device.end, Vec::new());
    let peer_is_down = device.peer.as_ref().filter(|peer| !peer.up && is_on_wire(port));
    if let Some(peer) = peer_is_down {
        found.push(Finding::error(
            "the far end is down: no frame goes in or out",
            format!("RTM_GETLINK: {} has no IFF_UP", peer.place.of(&peer.name)),
            peer.set("up"),
        ));
    }
    if port.is_running && !end.up {
        found.push(Finding::error(
            "it was taken down while the switch runs: no frame goes in or out",
            "RTM_GETLINK: no IFF_UP",
            end.set("up"),
        ));
    } else if end.up && !end.running && is_on_wire(port) && found.is_empty() {
        let fix = format!("# plug in a cable; {}", end.place.run(&format!("ethtool {}", end.name)));
        found.push(Finding::error(
            "it has no carrier: no frame goes in or out",
            "RTM_GETLINK: IFF_UP, and no IFF_LOWER_UP",
            fix,
        ));
    }
    found
}

pub(super) fn program(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some(xdp) = device.end.xdp.as_ref().filter(|_| is_on_wire(port)) else { return Vec::new() };
    let is_xdp = matches!(port.kind, PortKind::Xdp(_));
    if is_xdp && port.is_running {
        return Vec::new(); // it is ours
    }
    let (evidence, fix) = match &xdp.holder {
        Some((pid, name)) => {
            (format!("IFLA_XDP: program {}, held by process {pid} ({name})", xdp.id), format!("kill {pid}"))
        }
        None => (format!("IFLA_XDP: program {}", xdp.id), device.end.set("xdp off")),
    };
    vec![match is_xdp {
        true => Finding::error("another XDP program is on it: the port will not start", evidence, fix),
        false => Finding::warning(
            "an XDP program is on it, and takes what it likes before the port",
            evidence,
            fix,
        ),
    }]
}

pub(super) fn master(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some((name, kind)) = device.master.as_ref().filter(|_| takes_all(port)) else { return Vec::new() };
    vec![Finding::error(
        format!(
            "the kernel's {kind} {name} has it too: it sends there beside the switch, and receives nothing"
        ),
        format!("IFLA_MASTER: {name} ({kind})"),
        device.end.set("nomaster"),
    )]
}

pub(super) fn uppers(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let finding = |(name, kind): &(String, String)| {
        Finding::error(
            format!("the kernel's {kind} {name} is on it, and receives nothing while the switch has it"),
            format!("IFLA_LINK of {name}: {}", device.end.name),
            device.end.place.ip(&format!("link set dev {name} down")),
        )
    };
    device.uppers.iter().filter(|_| takes_all(port)).map(finding).collect()
}

pub(super) fn addresses(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    if port.is_shared() {
        return both(port, device);
    }
    if !takes_all(port) || device.addresses.is_empty() {
        return Vec::new();
    }
    let list = device.addresses.join(", ");
    vec![Finding::error(
        format!("this host has {list} on it, and hears nothing there while the switch has it"),
        format!("RTM_GETADDR: {list}"),
        device.end.place.ip(&format!("addr flush dev {} scope global", device.end.name)),
    )]
}

/// What two have on one device, one of them hears nothing for.
fn both(port: &Port, device: &Device) -> Vec<Finding> {
    let of = |text: &str| text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
    let shared =
        device.addresses.iter().filter(|text| of(text).is_some_and(|it| port.addresses.contains(&it)));
    let finding = |text: &String| {
        let address = text.split('/').next().unwrap_or(text);
        Finding::error(
            format!("{address} is an address of the switch there too, and this host hears nothing for it"),
            format!("RTM_GETADDR: {text}"),
            device.end.place.ip(&format!("addr del {text} dev {}", device.end.name)),
        )
    };
    shared.map(finding).collect()
}

pub(super) fn netfilter(_: &Facts, port: &Port, device: &Device) -> Vec<Finding> {
    let Some(bridge) = device.filtered_bridge.as_ref().filter(|_| takes_all(port)) else { return Vec::new() };
    vec![Finding::note(
        format!(
            "iptables sees and may alter the frames of the kernel's bridge {bridge} beside; it costs that bridge a third, and the switch nothing"
        ),
        "net.bridge.bridge-nf-call-iptables: 1",
        device.end.place.run("sysctl -w net.bridge.bridge-nf-call-iptables=0"),
    )]
}
