//! Facts of a device: what it is, what is around it, and who polls it.

use std::fs;
use std::io;

use rigswitch_dataplane::sys::features::XdpFeatures;
use rigswitch_dataplane::sys::napi::Napi;
use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::inside;
use rigswitch_dataplane::sys::stacking::{Stacked, XdpProgram};

use super::host::{cpu_list, field};
use super::interrupts::{self, place};
use super::space::{Space, Spaces, Which, processes};
use crate::doctor::facts::{Attached, Device, End, Polled};

/// The device of this name, if it is there.
pub(super) fn look(name: &str, which: Which, spaces: &mut Spaces) -> Option<Device> {
    let space = spaces.of(which);
    let found = space.devices.iter().find(|device| device.link.name == name)?.clone();
    let index = found.link.index;
    let netns = space.netns.as_ref();
    let netdev = Netdev::new(name, netns).ok();
    let features = inside(netns, || XdpFeatures::of(index)).and_then(|features| features);
    let napis = inside(netns, || Napi::of(index)).and_then(|napis| napis);
    let bus = netdev.as_ref().and_then(Netdev::bus);
    let told = napis.as_deref().unwrap_or_default();
    let named = |index: u32| space.devices.iter().find(|device| device.link.index == index);
    let kind = |device: &Stacked| device.kind.clone().unwrap_or_else(|| "device".into());
    let is_upper = |device: &&Stacked| {
        device.lower == Some(index) && device.lower_netns.is_none() && device.kind.as_deref() != Some("veth")
    };
    let mut device = Device {
        end: end(&found, space),
        driver: netdev.as_ref().and_then(|netdev| netdev.driver().ok()),
        is_on_a_bus: bus.is_some(),
        features: features.as_ref().ok().copied(),
        virtio: bus.as_deref().and_then(agreed),
        master: found.master.and_then(named).map(|master| (master.link.name.clone(), kind(master))),
        uppers: space
            .devices
            .iter()
            .filter(is_upper)
            .filter(|upper| upper.link.up)
            .map(|upper| (upper.link.name.clone(), kind(upper)))
            .collect(),
        addresses: space
            .addresses
            .iter()
            .filter(|(of, ..)| *of == index)
            .map(|(_, address, prefix)| format!("{address}/{prefix}"))
            .collect(),
        napis: told.iter().map(|&napi| polled(napi)).collect(),
        interrupts: bus.map(|bus| interrupts::of(&bus, told)).unwrap_or_default(),
        peer: None,
        filtered_bridge: filtered_bridge(space),
    };
    for error in features.err().into_iter().chain(napis.err()) {
        spaces.miss(format!("what the driver of {name} says of itself (netdev netlink)"), &error);
    }
    if found.kind.as_deref() == Some("veth") {
        match peer(&found, which, spaces) {
            Ok(peer) => device.peer = Some(peer),
            Err(error) => spaces.miss(format!("the far end of {name}"), &error),
        }
    }
    Some(device)
}

/// What the virtio device at this place on a bus and its driver have agreed on: sysfs has a digit for each bit, the lowest first.
fn agreed(bus: &str) -> Option<u64> {
    let mut within = fs::read_dir(place(bus)).ok()?.flatten();
    let device = within.find(|entry| entry.file_name().to_string_lossy().starts_with("virtio"))?;
    let digits = fs::read_to_string(device.path().join("features")).ok()?;
    let set = digits.trim().bytes().take(64).enumerate().filter(|(_, digit)| *digit == b'1');
    Some(set.fold(0, |bits, (bit, _)| bits | 1 << bit))
}

/// The other end of a veth.
fn peer(device: &Stacked, which: Which, spaces: &mut Spaces) -> io::Result<End> {
    let which = match device.lower_netns {
        Some(number) => spaces.numbered(which, number)?,
        None => which,
    };
    let space = spaces.of(which);
    let far = space.devices.iter().find(|far| Some(far.link.index) == device.lower);
    far.map(|far| end(far, space)).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn end(device: &Stacked, space: &Space) -> End {
    let netdev = Netdev::new(&device.link.name, space.netns.as_ref());
    let asked =
        |ask: fn(&Netdev) -> io::Result<u32>| netdev.as_ref().ok().and_then(|netdev| ask(netdev).ok());
    End {
        place: space.place.clone(),
        name: device.link.name.clone(),
        mtu: device.link.mtu,
        up: device.link.up,
        running: device.link.running,
        rx_queues: asked(Netdev::rx_queues).unwrap_or(1),
        tx_queues: asked(Netdev::tx_queues).unwrap_or(1),
        offloads: netdev.as_ref().ok().and_then(|netdev| netdev.offloads().ok()),
        xdp: device.xdp.map(attached),
    }
}

fn attached(program: XdpProgram) -> Attached {
    Attached { id: program.id, hook: program.hook, holder: holder(program.id) }
}

/// The process that has the link by which a program is attached.
fn holder(program: u32) -> Option<(u32, String)> {
    let told = |text: &str| {
        field(text, "link_type:") == Some("xdp") && field(text, "prog_id:") == Some(&program.to_string())
    };
    let holds = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| fs::read_to_string(entry.path()).ok()).any(|text| told(&text))
    };
    let pid = processes().find(holds)?;
    Some((pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()))
}

/// A NAPI instance with the CPUs that its thread may run on.
fn polled(napi: Napi) -> Polled {
    let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let cpus = |pid| cpu_list(field(&status(pid), "Cpus_allowed_list:").unwrap_or_default());
    Polled { napi, cpus: napi.thread.map(cpus).unwrap_or_default() }
}

/// A bridge of the kernel's there whose frames go through iptables.
fn filtered_bridge(space: &Space) -> Option<String> {
    let bridge = space.devices.iter().find(|device| device.kind.as_deref() == Some("bridge"))?;
    let calls = || fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables");
    let calls = inside(space.netns.as_ref(), calls).and_then(|text| text).ok()?;
    (calls.trim() == "1").then(|| bridge.link.name.clone())
}
