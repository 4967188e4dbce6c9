//! The command on real devices: hosts on AF_XDP veths and TAPs reach each other through a switch that runs, restarts,
//! is killed, and loses devices.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod command;

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use command::{Folder, is_machine_root, skipped, wait_for};
use rigswitch::lab::{self, Host, Lab};
use rigswitch_dataplane::ids::MacAddr;
use serde_json::Value;

/// Hosts `h1`, `h2`, … on one subnet, in a bridge: the first ones on veths, the others on TAPs.
struct Site {
    folder: Folder,
    rig: Host, // where the switch's ends of the veths are
    hosts: Vec<Host>,
    config: String,
    veths: usize,
    _lab: Lab,
}

impl Site {
    fn new(name: &str, veths: usize, taps: usize) -> Self {
        let mut lab = Lab::new(name).unwrap();
        let rig = lab.host("rig").unwrap();
        let hosts: Vec<_> =
            (1..=veths + taps).map(|number| lab.host(&format!("h{number}")).unwrap()).collect();
        let mut config = String::new();
        let mut members = String::new();
        for (host, number) in hosts.iter().zip(1usize..) {
            let (port, netns) = if number <= veths {
                (format!("xdp = \"v{number}\""), rig.name())
            } else {
                ("tap = \"eth0\"".to_owned(), host.name())
            };
            config += &format!("[[port]]\nname = \"p{number}\"\n{port}\nnetns = \"{netns}\"\n");
            members += &format!("[[bridge.port]]\ndevice = \"p{number}\"\n");
        }
        config += &format!("[[bridge]]\nname = \"br0\"\n{members}");
        let site = Self { folder: Folder::new(name), rig, hosts, config, veths, _lab: lab };
        (0..veths).for_each(|host| site.add_veth(host));
        site
    }

    fn add_veth(&self, host: usize) {
        let device = format!("v{}", host + 1);
        self.hosts[host].add_veth("eth0", &device, self.rig.netns()).unwrap();
        self.rig.set_up(&device).unwrap();
        self.plug_in(host);
    }

    /// Gives a host its addresses, the same ones every time, and takes it up; a TAP is there once the switch runs.
    fn plug_in(&self, host: usize) {
        let mac = MacAddr::new([2, 0, 0, 0, 1, u8::try_from(host + 1).unwrap()]);
        self.hosts[host].netdev("eth0").unwrap().set_mac(mac).unwrap();
        self.hosts[host].add_address("eth0", Self::address(host), 24).unwrap();
        self.hosts[host].set_up("eth0").unwrap();
    }

    fn plug_in_taps(&self) {
        (self.veths..self.hosts.len()).for_each(|host| self.plug_in(host));
    }

    fn address(host: usize) -> IpAddr {
        IpAddr::from([10, 79, 0, u8::try_from(host + 1).unwrap()])
    }

    fn ping(&self, from: usize, to: usize) -> u32 {
        let ping = lab::ping(&self.hosts[from], Self::address(to), 3, 56, Duration::from_secs(5)).unwrap();
        ping.sent - ping.lost()
    }

    fn everybody_reaches_everybody(&self) {
        for from in 0..self.hosts.len() {
            for to in (0..self.hosts.len()).filter(|&to| to != from) {
                assert_eq!(self.ping(from, to), 3, "h{} to h{}", from + 1, to + 1);
            }
        }
    }

    fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.folder.ask(words)).unwrap()
    }

    fn state(&self, port: usize) -> String {
        self.json("show ports -j")[port]["operstate"].as_str().unwrap().to_owned()
    }

    /// Where the table has a host.
    fn port_of(&self, host: usize) -> Option<String> {
        let mac = self.hosts[host].netdev("eth0").unwrap().mac().unwrap().to_string();
        let fdb = self.json("show fdb -j");
        let entry = fdb.as_array().unwrap().iter().find(|entry| entry["mac"] == mac.as_str())?;
        Some(entry["ifname"].as_str().unwrap().to_owned())
    }

    fn balances(&self) {
        // Hosts say things by themselves: a look between two frames is to be had.
        wait_for("a balanced ledger", || {
            self.json("show drops -j")["ledger"]["balanced"].as_bool().unwrap().then_some(())
        });
    }
}

#[test]
fn taps_reach_each_other_and_are_gone_with_the_switch() {
    if !lab::as_root("taps_reach_each_other_and_are_gone_with_the_switch") {
        return;
    }
    let mut site = Site::new("cli-tap", 0, 2);
    site.config = site.config.replace("tap = \"eth0\"\n", "tap = \"eth0\"\nmtu = 3000\n");
    let mut switch = site.folder.start(&site.config);
    site.plug_in_taps();
    site.everybody_reaches_everybody();
    lab::tcp_transfer(&site.hosts[0], &site.hosts[1], (Site::address(1), 0).into(), 4_000_000).unwrap();
    assert_eq!([site.port_of(0), site.port_of(1)], [Some("p1".into()), Some("p2".into())]);
    let ports = site.json("show ports -j");
    let mac = site.hosts[0].netdev("eth0").unwrap().mac().unwrap().to_string();
    assert_eq!((&ports[0]["kind"], &ports[0]["address"]), (&"tap".into(), &Value::from(mac)));
    assert_eq!(
        (ports[0]["mtu"].as_u64(), site.hosts[0].netdev("eth0").unwrap().mtu().unwrap()),
        (Some(3000), 3000)
    );
    assert!(
        ports[0]["rx"]["packets"].as_u64().unwrap() > 3 && ports[0]["tx"]["bytes"].as_u64().unwrap() > 300
    );
    site.balances();

    switch.signal("TERM");
    assert_eq!(switch.wait().code(), Some(0));
    assert!(site.hosts[0].netdev("eth0").unwrap().index().is_err(), "the TAP went with the switch");
}

#[test]
fn a_tap_that_another_has_is_refused_and_nothing_stays() {
    if !lab::as_root("a_tap_that_another_has_is_refused_and_nothing_stays") {
        return;
    }
    let site = Site::new("cli-busy", 0, 1);
    let _switch = site.folder.start(&site.config);
    let other = Folder::new("cli-busy-other");
    other.write(
        "rig.toml",
        &format!(
            "[[port]]\nname = \"q0\"\ntap = \"new0\"\nnetns = \"{}\"\n{}",
            site.hosts[0].name(),
            site.config
        ),
    );
    let refused = other.say("run -c rig.toml");
    assert_eq!((refused.code, refused.err.lines().count()), (Some(1), 1), "{}", refused.err);
    assert!(refused.err.starts_with("rigswitch: port p1: "), "{}", refused.err);
    assert!(refused.err.contains("another program has it"), "{}", refused.err);
    assert!(other.left_behind().is_empty());
    assert!(site.hosts[0].netdev("new0").unwrap().index().is_err(), "what it had opened is closed");
}

#[test]
fn a_veth_that_another_switch_has_is_refused() {
    if !is_machine_root() {
        return skipped("a_veth_that_another_switch_has_is_refused", "AF_XDP needs root");
    }
    let site = Site::new("cli-taken", 2, 0);
    let _switch = site.folder.start(&site.config);
    let other = Folder::new("cli-taken-other");
    other.write("rig.toml", &site.config);
    let refused = other.say("run -c rig.toml");
    let line = "rigswitch: port p1: v1: another XDP program is attached to it: stop its owner, or \
                `ip link set v1 xdp off`\n";
    assert_eq!((refused.code, &*refused.err), (Some(1), line));
    assert!(other.left_behind().is_empty());
    site.everybody_reaches_everybody();
}

#[test]
fn what_is_learned_is_forgotten_and_what_is_static_is_not() {
    if !lab::as_root("what_is_learned_is_forgotten_and_what_is_static_is_not") {
        return;
    }
    let mut site = Site::new("cli-age", 0, 2);
    site.config = site.config.replace("name = \"br0\"\n", "name = \"br0\"\nageing_time = \"300ms\"\n");
    let _switch = site.folder.start(&site.config);
    site.plug_in_taps();
    site.folder.ask("fdb add 02:00:00:00:00:77 dev p2 master static");
    assert_eq!(site.ping(0, 1), 3);
    let learned = |metric: &str| {
        let text = command::http(&site.folder.socket(), "GET /metrics HTTP/1.0\r\n\r\n");
        let line = text.lines().find_map(|line| line.strip_prefix(metric)).unwrap().trim().to_owned();
        line.parse::<u64>().unwrap()
    };
    assert!(learned("rigswitch_fdb_learned_total") >= 2);
    wait_for("entries to expire", || (learned("rigswitch_fdb_expired_total") >= 2).then_some(()));
    assert!(site.folder.ask("show fdb -j").contains("02:00:00:00:00:77"));
    assert_eq!(site.ping(1, 0), 3, "and are learned again");
}

#[test]
fn a_switch_that_was_killed_starts_again_with_nothing_left_behind() {
    if !is_machine_root() {
        return skipped(
            "a_switch_that_was_killed_starts_again_with_nothing_left_behind",
            "AF_XDP needs root",
        );
    }
    let mut site = Site::new("cli-kill", 2, 1);
    site.config.insert_str(0, "[switch]\nworkers = 2\n");
    for _ in 0..2 {
        let mut switch = site.folder.start(&site.config);
        site.plug_in_taps();
        site.everybody_reaches_everybody();
        let expected = ["p1", "p2", "p3"].map(|port| Some(port.to_owned()));
        assert_eq!([0, 1, 2].map(|host| site.port_of(host)), expected);
        lab::tcp_transfer(&site.hosts[0], &site.hosts[2], (Site::address(2), 0).into(), 2_000_000).unwrap();
        site.balances();
        switch.kill();
        assert!(site.hosts[2].netdev("eth0").unwrap().index().is_err(), "the TAP went with the switch");
    }
}

#[test]
fn a_device_that_is_deleted_and_made_again_is_taken_back() {
    if !is_machine_root() {
        return skipped("a_device_that_is_deleted_and_made_again_is_taken_back", "AF_XDP needs root");
    }
    let site = Site::new("cli-back", 2, 0);
    let _switch = site.folder.start(&site.config);
    site.everybody_reaches_everybody();
    site.rig.delete("v1").unwrap();
    wait_for("the port to be gone", || (site.state(0) == "NOTPRESENT").then_some(()));
    assert_eq!(site.state(1), "UP");
    site.add_veth(0);
    wait_for("the port to be back", || (site.state(0) == "UP").then_some(()));
    wait_for("traffic to flow again", || (site.ping(0, 1) == 3).then_some(()));
    site.balances();
}

#[test]
fn ports_share_packet_memory_that_is_too_small_for_the_rings_of_one() {
    if !is_machine_root() {
        return skipped(
            "ports_share_packet_memory_that_is_too_small_for_the_rings_of_one",
            "AF_XDP needs root",
        );
    }
    let site = Site::new("cli-share", 3, 0);
    let _switch = site.folder.start(&format!("[switch]\nframes = 256\n{}", site.config));
    site.everybody_reaches_everybody();
    site.balances();
}

#[test]
fn what_the_kernel_drops_before_the_switch_is_shown() {
    if !is_machine_root() {
        return skipped("what_the_kernel_drops_before_the_switch_is_shown", "AF_XDP needs root");
    }
    let site = Site::new("cli-lost", 1, 1);
    let switch = site.folder.start(&site.config);
    site.plug_in_taps();
    site.everybody_reaches_everybody();
    switch.signal("STOP");
    for from in [0, 1] {
        let flood = || -> io::Result<()> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            // More than any ring or queue of theirs holds.
            (0..5000).try_for_each(|_| socket.send_to(&[0; 18], (Site::address(1 - from), 9)).map(|_| ()))
        };
        // A host may be told that its own queue is full: just that is wanted.
        let _ = site.hosts[from].run(flood).unwrap();
    }
    switch.signal("CONT");
    for port in ["p1", "p2"] {
        wait_for("the loss to be told", || {
            let drops = site.json("show drops -j");
            let lost = drops["lost"].as_array().unwrap().iter().find(|lost| lost["device"] == port)?;
            lost["packets"].as_u64().filter(|&packets| packets > 0)
        });
    }
    site.everybody_reaches_everybody();
    site.balances();
}
