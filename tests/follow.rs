//! Devices that are renamed, moved, deleted and made again, set down and up: their ports follow, and nothing else suffers.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use command::wait_for;
use rig::{NIC, Plug, Rig, Wire, frame, has, run_in};
use rigswitch::views::PortView;

const PLUGS: [Plug; 3] = [Plug::Veth, Plug::Veth, Plug::Tap];

/// A frame from a station to everybody, that tells one `number` from another.
fn numbered(station: u8, number: u64) -> Vec<u8> {
    frame([0xff; 6], [2, 0, 0, 0, 0, station], 0x88b5, 200, number)
}

/// The station of the hosts that nothing happens to, and of the one that something happens to.
const STEADY: u8 = 1;
const SHAKEN: u8 = 2;

/// Waits until the port is as wanted.
fn port(rig: &Rig, n: usize, what: &str, wanted: impl Fn(&PortView) -> bool) {
    wait_for(what, || {
        let port = rig.port(n);
        wanted(&port).then_some(())
    });
}

/// Sends frames until one arrives: the host's end may have just come up.
fn reaches(from: &Wire, to: &Wire, frame: &[u8]) {
    wait_for("a frame to arrive", || {
        from.try_send(frame);
        to.poll().filter(|arrived| arrived == frame)
    });
}

/// Does `work` while every frame of a count from host 1 to host 2 arrives, in order.
fn untouched(rig: &Rig, work: impl FnOnce()) {
    let (source, sink) = (rig.wire(1), rig.wire(2));
    let steady = || std::iter::repeat_with(|| sink.receive()).find(|frame| frame[11] == STEADY).unwrap();
    reaches(&source, &sink, &numbered(STEADY, 0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let carried = scope.spawn(|| {
            let mut number = 1;
            while !over.load(Relaxed) || number < 200 {
                source.send(&numbered(STEADY, number));
                while let frame = steady()
                    && frame != numbered(STEADY, number)
                {
                    assert_eq!(frame, numbered(STEADY, 0), "frame {number} was lost");
                }
                number += 1;
            }
        });
        work();
        over.store(true, Relaxed);
        carried.join().unwrap();
    });
}

#[test]
fn a_renamed_device_stays_with_its_port_and_one_of_its_name_does_not_take_its_place() {
    const NAME: &str = "follow-name";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("2");
    rig.hosts[2].set_up(NIC).unwrap();
    untouched(&rig, || {
        run_in(&rig.center, "ip link set p0 down");
        port(&rig, 0, "the port to be down", |port| port.operstate == "DOWN");
        run_in(&rig.center, "ip link set p0 name q0 up");
        port(&rig, 0, "the new name", |port| port.device.as_deref() == Some("q0") && port.operstate == "UP");
        rig.center.add_veth("p0", "other", rig.hosts[0].netns()).unwrap();
        reaches(&rig.wire(0), &rig.wire(1), &numbered(SHAKEN, 1));
        rig.center.delete("q0").unwrap();
        // The name was free again, and what has it is there.
        port(&rig, 0, "the port to be back", |port| port.device.as_deref() == Some("p0"));
    });
    for (host, device) in [(&rig.hosts[0], "other"), (&rig.center, "p0")] {
        host.set_up(device).unwrap();
    }
    port(&rig, 0, "the port to be up", |port| port.operstate == "UP");
    reaches(&Wire::new(&rig.hosts[0], "other"), &rig.wire(1), &numbered(SHAKEN, 2));
    rig.settled();
}

#[test]
fn a_device_that_moves_is_followed_and_taken_back_where_it_was() {
    const NAME: &str = "follow-move";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("2");
    rig.hosts[2].set_up(NIC).unwrap();
    let (center, elsewhere) = (rig.center.name(), rig.hosts[0].name());
    untouched(&rig, || {
        for (from, to) in [(center, elsewhere), (elsewhere, center)] {
            run_in(rig.host(from), &format!("ip link set p0 netns {to}"));
            port(&rig, 0, "the port to be there", |port| {
                port.netns.as_deref() == Some(to) && port.operstate == "UP"
            });
            reaches(&rig.wire(0), &rig.wire(1), &numbered(SHAKEN, 1));
        }
    });
    rig.settled();
}

#[test]
fn a_tap_goes_on_wherever_it_is() {
    const NAME: &str = "follow-tap";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("1");
    let (home, elsewhere) = (&rig.hosts[2], &rig.center);
    run_in(home, &format!("ip link set {NIC} netns {}", elsewhere.name()));
    run_in(elsewhere, &format!("ip link set {NIC} name moved up"));
    port(&rig, 2, "the port to be there", |port| {
        let place = (port.netns.as_deref(), port.device.as_deref());
        place == (Some(elsewhere.name()), Some("moved")) && port.operstate == "UP"
    });
    reaches(&rig.wire(0), &Wire::new(elsewhere, "moved"), &numbered(SHAKEN, 1));
    run_in(elsewhere, "ip link delete moved");
    port(&rig, 2, "the port to be gone", |port| port.operstate == "NOTPRESENT");
    run_in(home, &format!("ip tuntap add {NIC} mode tap"));
    port(&rig, 2, "the port to be back", |port| port.operstate == "UP");
    reaches(&rig.wire(0), &rig.wire(2), &numbered(SHAKEN, 2));
    rig.settled();
}

#[test]
fn a_namespace_that_is_made_again_is_entered_again() {
    const NAME: &str = "follow-netns";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS, 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("1");
    let name = rig.hosts[2].name();
    run_in(&rig.center, &format!("ip netns delete {name}"));
    run_in(&rig.center, &format!("ip netns add {name}"));
    let ask = |words: &str| {
        command::said(std::process::Command::new("ip").args(["-n", name]).args(words.split(' '))).out
    };
    wait_for("the TAP in the new namespace", || ask("link").contains(NIC).then_some(()));
    port(&rig, 2, "the port to be up", |port| port.operstate == "UP");
}

#[test]
fn carrier_and_mtu_are_followed_and_what_was_learned_behind_a_port_that_is_down_is_forgotten() {
    const NAME: &str = "follow-down";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &PLUGS[..2], 1500).map(Rig::quiet) else { return };
    let _switch = rig.start_bridge("1");
    reaches(&rig.wire(0), &rig.wire(1), &numbered(SHAKEN, 1));
    let is_known = || rig.folder.ask("show fdb -j").contains("02:00:00:00:00:02");
    assert!(is_known());
    run_in(&rig.hosts[0], &format!("ip link set {NIC} down"));
    port(&rig, 0, "no carrier", |port| port.operstate == "DOWN");
    wait_for("the station to be forgotten", || (!is_known()).then_some(()));
    run_in(&rig.hosts[0], &format!("ip link set {NIC} up"));
    port(&rig, 0, "the carrier", |port| port.operstate == "UP");
    reaches(&rig.wire(0), &rig.wire(1), &numbered(SHAKEN, 2));
    for n in 0..2 {
        run_in(&rig.hosts[n], &format!("ip link set {NIC} mtu 9000"));
        run_in(&rig.center, &format!("ip link set p{n} mtu 9000"));
        port(&rig, n, "the MTU", |port| port.mtu == 9000);
    }
    let long = frame([0xff; 6], [2, 0, 0, 0, 0, SHAKEN], 0x88b5, 9000, 3);
    reaches(&rig.wire(0), &rig.wire(1), &long);
}
