//! Events: what happens to a switch reaches whoever listens, in order, and slow listeners cost nobody anything.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use command::listener::Listener;
use command::{Folder, TWO_PORTS, http, wait_for};
use rig::{NIC, Plug, Rig, frame, has, run_in};
use rigswitch::events::{Event, LISTENERS};

fn to_everybody(station: u8) -> Vec<u8> {
    frame([0xff; 6], [2, 0, 0, 0, 0, station], 0x88b5, 64, 0)
}

#[test]
fn what_befalls_stations_and_ports_is_told_in_order() {
    const NAME: &str = "events-all";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::new(NAME, &[Plug::Veth, Plug::Veth, Plug::Veth], 1500).map(Rig::quiet) else {
        return;
    };
    let ports = "port = [{ device = \"p0\" }, { device = \"p1\" }, { device = \"p2\" }]";
    let bridge = format!("[[bridge]]\nname = \"br0\"\nageing_time = \"60s\"\n{ports}\n");
    let _switch = rig.start("1", &bridge);
    let wires = [0, 1, 2].map(|n| rig.wire(n));
    let send = |from: usize, frame: &[u8]| {
        wires[from].send(frame);
        wires[2 - from].receive_until(frame);
    };
    send(0, &to_everybody(1));
    let mut listener = Listener::new(&rig.folder);
    let (mac, master) = (|station| format!("02:00:00:00:00:0{station}"), || "br0".to_owned());
    send(0, &to_everybody(2));
    let learned =
        |station| Event::Learned { mac: mac(station), ifname: "p0".into(), master: master(), vlan: None };
    // Who was there before is no news.
    assert_eq!(listener.next(), learned(2));
    send(2, &to_everybody(1));
    let moved =
        Event::Moved { mac: mac(1), ifname: "p2".into(), from: "p0".into(), master: master(), vlan: None };
    assert_eq!(listener.next(), moved);
    rig.folder.ask("fdb flush dev br0 brport p0");
    let forgotten = Event::Forgotten { mac: mac(2), ifname: "p0".into(), master: master(), vlan: None };
    assert_eq!(listener.next(), forgotten);

    let ifname = || "p0".to_owned();
    run_in(&rig.hosts[0], &format!("ip link set {NIC} down"));
    assert_eq!(listener.next(), Event::Down { ifname: ifname() });
    run_in(&rig.hosts[0], &format!("ip link set {NIC} up"));
    assert_eq!(listener.next(), Event::Up { ifname: ifname() });
    run_in(&rig.center, "ip link set p0 name q0");
    let renamed = Event::Renamed { ifname: ifname(), device: "q0".into(), was: "p0".into() };
    assert_eq!(listener.next(), renamed);
    run_in(&rig.center, "ip link set q0 mtu 1400");
    assert_eq!(listener.next(), Event::Mtu { ifname: ifname(), mtu: 1400 });
    rig.center.delete("q0").unwrap();
    let events = listener.until(|event| matches!(event, Event::Gone { .. }));
    assert!(matches!(events.last(), Some(Event::Gone { ifname, .. }) if ifname == "p0"), "{events:?}");
    rig.center.add_veth("p0", NIC, rig.hosts[0].netns()).unwrap();
    rig.hosts[0].set_up(NIC).unwrap();
    listener.until(|event| *event == Event::Back { ifname: ifname() });

    // The far end of p2 has lost what it was sent: that no frame of a wrong source gets in is a drop, many are a burst.
    let wrong = frame([0xff; 6], [0; 6], 0x88b5, 64, 0);
    (0..1000).for_each(|_| wires[1].send(&wrong));
    let is_burst = |event: &Event| matches!(event, Event::Drops { ifname, reason, .. } if ifname == "p1" && reason == "source_zero");
    listener.until(is_burst);
}

#[test]
fn a_station_that_is_silent_for_the_ageing_time_is_told_of() {
    let folder = Folder::new("events-aged");
    let _switch = folder.start(&TWO_PORTS.replace("name = \"br0\"", "name = \"br0\"\nageing_time = \"2s\""));
    let mut listener = Listener::new(&folder);
    folder.ask("fdb add 02:00:00:00:00:07 dev p0 master dynamic");
    let events = listener.until(|event| matches!(event, Event::Aged { .. }));
    let (mac, ifname, master) = ("02:00:00:00:00:07".to_owned(), "p0".to_owned(), "br0".to_owned());
    let learned =
        Event::Learned { mac: mac.clone(), ifname: ifname.clone(), master: master.clone(), vlan: None };
    assert_eq!(events, [learned, Event::Aged { mac, ifname, master, vlan: None }]);
}

#[test]
fn a_gap_in_the_chain_of_mtus_is_told_of_at_the_start_and_whenever_there_is_another() {
    const NAME: &str = "events-mtus";
    if !has(NAME, "ip") {
        return;
    }
    let Some(rig) = Rig::with_mtus(NAME, &[Plug::Veth, Plug::Veth], &[1500, 1400]).map(Rig::quiet) else {
        return;
    };
    let narrow = |mtu: u16, port: &str| {
        format!(
            "bridge br0: frames of more than {mtu} bytes of payload are dropped on the way to {port} (`rigswitch doctor`"
        )
    };
    let mut switch = rig.start_bridge("1");
    let mut listener = Listener::new(&rig.folder);
    let warned = |listener: &mut Listener| {
        let is_warning = |event: &Event| matches!(event, Event::Warning { .. });
        match listener.until(is_warning).pop() {
            Some(Event::Warning { message }) => message,
            _ => unreachable!("that is what it ends with"),
        }
    };
    // Closed by one device, opened by the other.
    run_in(&rig.center, "ip link set p1 mtu 1500");
    run_in(&rig.center, "ip link set p0 mtu 1300");
    let told = warned(&mut listener);
    assert!(told.starts_with(&narrow(1300, "p0")), "{told}");

    let tunnel = "[[port]]\nname = \"m0\"\nmemory = true\n[[address]]\ndevice = \"m0\"\naddress = \"192.0.2.1/24\"\n\
                  [[ipip]]\nname = \"t0\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nmtu = 1500\n";
    let text = rig.config("1", &(rig::bridge("br0", 0..2) + tunnel)).replace("mtu = 1400", "mtu = 1300");
    rig.folder.write("wider.toml", &text.replacen("mtu = 1500", "mtu = 1300", 1));
    rig.folder.ask("apply wider.toml");
    let told = warned(&mut listener);
    assert!(
        told.starts_with("tunnel t0 takes 1500 bytes of payload, and 1480 fit into a packet of m0: "),
        "{told}"
    );
    // Nobody listened at the start; the operator was told, and of each that came later, once.
    switch.signal("TERM");
    switch.wait();
    let said = switch.kill();
    for gap in [&*narrow(1400, "p1"), &narrow(1300, "p0"), "tunnel t0 takes 1500 bytes"] {
        assert_eq!(said.matches(gap).count(), 1, "{gap}: {said}");
    }
}

#[test]
fn as_many_may_listen_as_may_and_no_more() {
    let folder = Folder::new("events-many");
    let _switch = folder.start(TWO_PORTS);
    let mut listeners: Vec<_> = (0..LISTENERS).map(|_| Listener::new(&folder)).collect();
    let refused = http(&folder.socket(), "GET /v1/events HTTP/1.0\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.0 503 ") && refused.contains("listen already"), "{refused}");
    listeners.pop();
    wait_for("room", || {
        let mut stream = UnixStream::connect(folder.socket()).unwrap();
        stream.write_all(b"GET /v1/events HTTP/1.0\r\n\r\n").unwrap();
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status).unwrap();
        status.contains(" 200 ").then_some(())
    });
}

#[test]
fn who_has_gone_makes_room_whatever_else_he_had_said() {
    let folder = Folder::new("events-gone");
    let _switch = folder.start(TWO_PORTS);
    let listens = |rest: &str| {
        let (mut stream, mut status) = (UnixStream::connect(folder.socket()).unwrap(), [0; 12]);
        stream.write_all(format!("GET /v1/events HTTP/1.0\r\n\r\n{rest}").as_bytes()).unwrap();
        stream.read_exact(&mut status).unwrap();
        &status == b"HTTP/1.0 200"
    };
    assert!((0..LISTENERS).all(|_| listens("GET /")), "each of them is one for a moment");
    wait_for("room", || listens("").then_some(()));
}
