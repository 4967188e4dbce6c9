//! Ipvlans of mode L3 on hosts: the device that they stand on routes for them, and their hosts have no neighbours.

use std::net::IpAddr;

use rigswitch::lab::{self, Host};

use crate::command::{Folder, PATIENCE, wait_for};
use crate::rig::{NIC, Plug, Rig, has, run_in, shown, v4, v6};

fn reach(from: &Host, target: IpAddr) {
    wait_for(&format!("{} to reach {target}", from.name()), || {
        lab::ping(from, target, 1, 1000, PATIENCE).ok().filter(|ping| ping.lost() == 0)
    });
}

#[test]
fn the_parent_routes_for_containers_that_have_no_neighbours() {
    const TEST: &str = "ipvlan-routed";
    const BYTES: u64 = 4 << 20;
    for kind in ["xdp", "packet"] {
        // Host 0 is on the link of p0, host 3 on that of p3, and between the two the switch is a router; 1 and 2 are p0's ipvlans.
        let plugs = [Plug::Veth, Plug::Tap, Plug::Tap, Plug::Veth];
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &plugs, 1500)).flatten() else { return };
        let center = rig.center.name();
        let mut text = "[switch]\nmac_table = 1024\n[routing]\nforwarding = true\n".to_owned();
        for n in [0, 3] {
            text += &format!("[[port]]\nname = \"p{n}\"\n{kind} = \"p{n}\"\nnetns = \"{center}\"\n");
            for address in [format!("10.66.{}.1/24", n + 6), format!("fd66:{}::1/64", n + 6)] {
                text += &format!("[[address]]\ndevice = \"p{n}\"\naddress = \"{address}\"\n");
            }
        }
        for n in [1, 2] {
            let (netns, v4, v6) = (rig.hosts[n].name(), v4(n), v6(n));
            text += &format!("[[ipvlan]]\nname = \"iv{n}\"\nlink = \"p0\"\nmode = \"l3\"\n");
            text += &format!("host = {{ addresses = [\"{v4}/32\", \"{v6}/128\"], netns = \"{netns}\" }}\n");
        }
        let far = |n: usize| -> [IpAddr; 2] {
            [format!("10.66.{}.50", n + 6), format!("fd66:{}::50", n + 6)].map(|it| it.parse().unwrap())
        };
        for n in [0, 3] {
            let ([v4, v6], host) = (far(n), &rig.hosts[n]);
            host.add_address(NIC, v4, 24).unwrap();
            host.add_address(NIC, v6, 64).unwrap();
            run_in(host, &format!("ip route add default via 10.66.{}.1", n + 6));
            run_in(host, &format!("ip -6 route add default via fd66:{}::1", n + 6));
        }
        let _switch = rig.folder.start(&text);
        for n in [1, 2] {
            run_in(&rig.hosts[n], &format!("ip route add default dev iv{n}"));
            run_in(&rig.hosts[n], &format!("ip -6 route add default dev iv{n}"));
            let link = run_in(&rig.hosts[n], &format!("ip -o link show dev iv{n}"));
            assert!(link.contains("NOARP"), "{link}");
        }
        let containers = [1, 2].map(|n| [v4(n), v6(n)]);
        for n in [1, 2] {
            for target in [far(0), containers[2 - n]].concat() {
                reach(&rig.hosts[n], target);
            }
            for target in containers[n - 1] {
                reach(&rig.hosts[0], target);
                lab::tcp_transfer(&rig.hosts[0], &rig.hosts[n], (target, 0).into(), BYTES).unwrap();
                lab::tcp_transfer(&rig.hosts[3 - n], &rig.hosts[n], (target, 0).into(), BYTES).unwrap();
            }
        }
        for target in far(0) {
            lab::tcp_transfer(&rig.hosts[2], &rig.hosts[0], (target, 0).into(), BYTES).unwrap();
            reach(&rig.hosts[3], target); // p0 is routed as ever
        }
        // What is not on its parent's link, and by no route of that, is looked for there: in vain.
        assert_eq!(
            lab::ping(&rig.hosts[1], far(3)[0], 1, 56, std::time::Duration::from_millis(300)).unwrap().lost(),
            1
        );
        // Nobody hears of them by ARP, and what they ask of all goes nowhere.
        run_in(&rig.hosts[0], &format!("ip route add {}/32 dev {NIC}", v4(1)));
        wait_for("a container that is not on the link", || {
            let brief = std::time::Duration::from_millis(200);
            let ping = lab::ping(&rig.hosts[0], v4(1), 1, 56, brief).ok()?;
            (ping.lost() == 1).then_some(())
        });
        let view = shown(&rig, "iv1");
        assert_eq!(
            (&*view.kind, view.mode.as_deref(), &view.address),
            ("ipvlan", Some("l3"), &shown(&rig, "p0").address)
        );
        assert!(view.rx.bytes > BYTES && view.tx.bytes > BYTES, "{view:?}");
        // The mode is their device's: said of one, it is that of all.
        rig.folder.ask("ipvlan set iv1 mode l3s");
        assert_eq!(shown(&rig, "iv2").mode.as_deref(), Some("l3s"));
        reach(&rig.hosts[2], far(0)[0]);
        let refused = rig.folder.say("ipvlan set iv1 mode l2");
        assert!(refused.code == Some(1) && refused.err.contains("`p0` is already"), "{refused:?}");
        rig.settled();
    }
}

#[test]
fn it_is_told_whose_routes_a_packet_of_theirs_takes_and_what_becomes_of_the_rest() {
    let folder = Folder::new("ipvlan-routed-why");
    let text = r#"
port = [{ name = "p0", memory = true, address = "02:00:00:00:aa:00" }, { name = "p1", memory = true }]
xconnect = [{ a = "p1", b = "iv1" }]
[[ipvlan]]
name = "iv1"
link = "p0"
mode = "l3"
[[address]]
device = "iv1"
address = "10.66.0.1/32"
[[address]]
device = "p0"
address = "10.66.9.1/24"
[[route]]
to = "default"
via = "10.66.9.254"
[[neighbor]]
device = "p0"
address = "10.66.9.254"
mac = "02:00:00:00:01:fe"
"#;
    folder.write("rig.toml", text);
    let explained = |frame: &str| folder.ask(&format!("explain -c rig.toml --port {frame}"));
    let out = explained(
        "p1 eth src=02:00:00:00:aa:00 dst=02:00:00:00:aa:00 / ipv4 src=10.66.0.1 dst=198.51.100.1 / udp dport=53",
    );
    for part in ["no ipvlan has 198.51.100.1", "10.66.9.254", "02:00:00:00:01:fe", "leaves by p0"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let out = explained("p1 eth src=02:00:00:00:aa:00 / ipv4 src=10.66.0.1 dst=198.51.100.1 / udp dport=53");
    assert!(out.contains("ipvlan_not_routed"), "{out}");
    let out = explained("p0 eth dst=02:00:00:00:aa:00 / ipv4 src=198.51.100.1 dst=10.66.0.1 / udp dport=53");
    assert!(out.contains("10.66.0.1 is iv1's") && out.contains("leaves by p1"), "{out}");
    let out = explained("p0 eth dst=02:00:00:00:aa:00 / ipv4 src=198.51.100.1 dst=10.66.9.1 / udp dport=53");
    assert!(out.contains("no ipvlan has 10.66.9.1"), "{out}");
    // Without an address the parent has no way to route by.
    let bare = text.replace("[[address]]\ndevice = \"p0\"\naddress = \"10.66.9.1/24\"\n", "");
    folder.write("bare.toml", bare.split("[[route]]").next().unwrap());
    let said = folder.say("check bare.toml");
    assert!(said.err.contains("`p0` has no [[address]], and is to route for ipvlans of mode l3"), "{said:?}");
}
