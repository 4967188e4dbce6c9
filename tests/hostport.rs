//! The host that the switch runs on as a member of its bridge: by br0 it reaches who is behind the ports, and they reach it.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;
mod rig;

use std::fs;
use std::net::IpAddr;

use command::{PATIENCE, said, wait_for};
use rig::{NIC, Plug, Rig, has, run_in, v4, v6};
use rigswitch::lab::{self, Host};
use rigswitch::views::PortView;

/// The host's place among the addresses.
const HOST: usize = 8;

/// A host on a veth and one on a TAP, and in the middle of them the switch's host, whose IPv6 is to work.
fn rig(test: &str) -> Option<Rig> {
    let rig = has(test, "ip").then(|| Rig::new(test, &[Plug::Veth, Plug::Tap], 1500))??;
    let knobs = [("disable_ipv6", "0"), ("accept_dad", "0"), ("router_solicitations", "0")];
    let set = |(knob, value)| fs::write(format!("/proc/sys/net/ipv6/conf/default/{knob}"), value).unwrap();
    rig.center.run(|| knobs.into_iter().for_each(set)).unwrap();
    Some(rig)
}

/// A bridge over both ports, with the rest of its keys.
fn bridge(rest: &str) -> String {
    format!("[[bridge]]\nname = \"br0\"\nport = [{{ device = \"p0\" }}, {{ device = \"p1\" }}]\n{rest}\n")
}

/// The host's port in the middle, with its addresses.
fn with_host(rig: &Rig) -> String {
    let (v4, v6, netns) = (v4(HOST), v6(HOST), rig.center.name());
    bridge(&format!("host = {{ addresses = [\"{v4}/24\", \"{v6}/64\"], netns = \"{netns}\" }}"))
}

fn reaches(near: &Host, target: IpAddr) {
    wait_for(&format!("{} to reach {target}", near.name()), || {
        lab::ping(near, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

/// What the switch shows of the host's port, if it has one.
fn shown(rig: &Rig) -> Option<PortView> {
    let ports: Vec<PortView> = serde_json::from_str(&rig.folder.ask("show ports -j")).unwrap();
    ports.into_iter().find(|port| port.ifname == "br0")
}

/// What `ip` says of br0 in the middle; nothing if there is none.
fn br0(rig: &Rig) -> Option<String> {
    let command = &mut std::process::Command::new("ip");
    let said = rig.center.run(|| said(command.args(["-o", "addr", "show", "dev", "br0"]))).unwrap();
    (said.code == Some(0)).then_some(said.out)
}

#[test]
fn the_host_and_those_behind_its_ports_reach_each_other() {
    const BYTES: u64 = 8 << 20;
    let Some(rig) = rig("hostport-reach") else { return };
    let _switch = rig.start("1", &with_host(&rig));
    rig.give_addresses();
    for (n, host) in rig.hosts.iter().enumerate() {
        let ways = [v4 as fn(usize) -> IpAddr, v6]
            .map(|address| [(&rig.center, host, address(n)), (host, &rig.center, address(HOST))]);
        for (near, far, target) in ways.into_iter().flatten() {
            reaches(near, target);
            lab::tcp_transfer(near, far, (target, 0).into(), BYTES).unwrap();
        }
    }
    // To and from the host on the TAP super-frames went whole, and so they did between br0 and the host of the switch.
    let (br0, tap) = (shown(&rig).unwrap(), rig.port(1));
    for traffic in [br0.rx, br0.tx, tap.rx, tap.tx] {
        assert!(traffic.bytes > 2 * BYTES, "{traffic:?}");
    }
    assert!(tap.rx.bytes > 3000 * tap.rx.packets / 2, "{:?}", tap.rx);
    assert_eq!((br0.kind.as_str(), br0.operstate.as_str()), ("host", "UP"));
    let metrics = command::http(&rig.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
    assert!(metrics.contains("rigswitch_transmit_packets_total{device=\"br0\"} "), "{metrics}");
    rig.settled();
}

#[test]
fn the_hosts_stack_takes_what_comes_for_the_address_of_a_port() {
    let Some(rig) = rig("hostport-port") else { return };
    let _switch = rig.start("1", &(with_host(&rig) + "address = \"02:00:00:00:00:fe\"\n"));
    rig.give_addresses();
    let port = rig.center.netdev("p0").unwrap().mac().unwrap();
    run_in(&rig.hosts[0], &format!("ip neigh replace {} lladdr {port} dev {NIC}", v4(HOST)));
    run_in(
        &rig.center,
        &format!("ip neigh replace {} lladdr {} dev br0", v4(0), {
            rig.hosts[0].netdev(NIC).unwrap().mac().unwrap()
        }),
    );
    reaches(&rig.hosts[0], v4(HOST));
    let own = rig.center.netdev("br0").unwrap().mac().unwrap().to_string();
    assert_eq!(own, "02:00:00:00:00:fe");
    let fdb = rig.folder.ask("show fdb");
    assert!(fdb.contains(&format!("{own}  br0")) && fdb.contains(&format!("{port}  p0")), "{fdb}");
    // They are nobody's doing: the file says nothing of them.
    assert_eq!(rig.folder.ask("plan rig.toml"), "no changes\n");
}

#[test]
fn its_addresses_come_back_with_the_switch_and_with_the_device() {
    let Some(rig) = rig("hostport-back") else { return };
    let has_all = || {
        br0(&rig).filter(|said| {
            said.contains(&format!("{}/24", v4(HOST))) && said.contains(&format!("{}/64", v6(HOST)))
        })
    };
    let mut switch = rig.start("1", &with_host(&rig));
    assert!(has_all().is_some());
    switch.signal("TERM");
    assert!(switch.wait().success());
    assert_eq!(br0(&rig), None, "it goes with the switch");
    let _switch = rig.start("1", &with_host(&rig));
    assert!(has_all().is_some());
    rig.give_addresses();
    run_in(&rig.center, "ip addr add 10.67.0.1/24 dev br0");
    run_in(&rig.hosts[1], &format!("ip addr add 10.67.0.2/24 dev {NIC}"));
    reaches(&rig.center, IpAddr::from([10, 67, 0, 2]));
    run_in(&rig.center, "ip link del br0");
    wait_for("another device with the addresses", has_all);
    reaches(&rig.hosts[0], v4(HOST));
    rig.settled();
}

#[test]
fn a_bridge_that_is_named_as_a_device_is_refused_and_nothing_changes() {
    let Some(rig) = rig("hostport-taken") else { return };
    run_in(&rig.center, "ip link add br0 type bridge");
    rig.folder.write("taken.toml", &rig.config("1", &with_host(&rig)));
    let why = "port br0: there is a network device br0 already: delete that one (`ip link del`) if this one takes its \
               place, or give this one another name\n";
    let refused = rig.folder.say("run -c taken.toml");
    assert_eq!((refused.code, refused.err.as_str()), (Some(1), format!("rigswitch: {why}").as_str()));
    let _switch = rig.start("1", &bridge(""));
    let before = rig.folder.ask("show config");
    let refused = rig.folder.say("apply taken.toml");
    assert_eq!((refused.code, refused.err.as_str()), (Some(1), format!("rigswitch: {why}").as_str()));
    assert_eq!((rig.folder.ask("show config"), shown(&rig)), (before, None));
    run_in(&rig.center, "ip link del br0");
    rig.folder.ask("apply taken.toml");
    assert!(br0(&rig).is_some());
}

#[test]
fn the_hosts_port_comes_changes_and_goes_while_the_switch_runs() {
    let Some(rig) = rig("hostport-change") else { return };
    let _switch = rig.start("2", &bridge(""));
    rig.give_addresses();
    rig.folder.ask(&format!(
        "bridge set br0 host.netns {} host.addresses {}/24,10.67.0.1/24",
        rig.center.name(),
        v4(HOST)
    ));
    (0..2).for_each(|n| reaches(&rig.hosts[n], v4(HOST)));

    rig.folder.ask(&format!(
        "bridge set br0 host.addresses {}/24,10.67.0.2/24 mtu 1400 address 02:00:00:00:00:fe",
        v4(HOST)
    ));
    let now = br0(&rig).unwrap();
    assert!(now.contains("10.67.0.2/24") && !now.contains("10.67.0.1/24"), "{now}");
    let view = shown(&rig).unwrap();
    assert_eq!((view.mtu, view.address.as_str()), (1400, "02:00:00:00:00:fe"));
    let bridges = rig.folder.ask("show bridges -j");
    assert!(bridges.contains(r#""address":"02:00:00:00:00:fe","mtu":1400"#), "{bridges}");
    run_in(&rig.hosts[0], "ip neigh flush all");
    reaches(&rig.hosts[0], v4(HOST));
    // A network's first address takes the others along, as far as the kernel is concerned.
    rig.folder.ask("bridge set br0 host.addresses 10.67.0.2/24,10.67.0.3/24");
    rig.folder.ask("bridge set br0 host.addresses 10.67.0.3/24");
    let now = br0(&rig).unwrap();
    assert!(now.contains("10.67.0.3/24") && !now.contains("10.67.0.2/24"), "{now}");

    let refused = rig.folder.say("bridge set br0 host off");
    assert!(
        refused.err.contains("`mtu` is that of the bridge's own device, which nothing uses"),
        "{}",
        refused.err
    );
    rig.folder.ask("bridge set br0 host off mtu default");
    assert_eq!((br0(&rig), shown(&rig)), (None, None));
    reaches(&rig.hosts[0], v4(1));
    let fdb = rig.folder.ask("show fdb -j");
    assert!(!fdb.contains("02:00:00:00:00:fe"), "{fdb}");
    rig.settled();
}
