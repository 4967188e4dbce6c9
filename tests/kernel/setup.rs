//! The two bridges with the same knobs: the kernel's by its own tools, ours by a file.

use rtnetlink::packet_route::link::{InfoBridge, InfoBridgePort, LinkMessage};
use rtnetlink::{LinkBridge, LinkBridgePort};

use super::command::wait_for;
use super::rig::{Rig, run_in};
use super::{HOSTS, Knobs};

/// A bridge of the kernel's with these knobs over all ports, in the place of any there was.
pub(super) fn kernels_bridge(rig: &Rig, knobs: Knobs) {
    let run = |line: &str| run_in(&rig.center, line);
    if run("ip -br link show type bridge").contains("br0") {
        run("ip link del br0");
    }
    let words = bridge_words(knobs);
    let (known, bound) =
        words.split_once("fdb_max_learned ").map_or((&*words, None), |(known, most)| (known, Some(most)));
    run(&format!("ip link add br0 type bridge {known}"));
    if let Some(most) = bound {
        let knob = InfoBridge::FdbMaxLearned(most.parse().unwrap());
        change(rig, LinkBridge::new("br0").append_info_data(knob).build());
    }
    // It has neighbours of IPv6 only where it has IPv6; without an address it says nothing by it, but where it snoops.
    run("ip link set br0 addrgenmode none");
    if !snoops(knobs) {
        rig.center.run(|| std::fs::write("/proc/sys/net/ipv6/conf/br0/disable_ipv6", "0")).unwrap().unwrap();
    }
    run("ip link set br0 up");
    (0..HOSTS).for_each(|n| drop(run(&format!("ip link set p{n} master br0"))));
    wait_for("the kernel's bridge to forward", || {
        (run("bridge link").matches("state forwarding").count() == HOSTS).then_some(())
    });
    for (n, words) in knobs.ports.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for pair in words.split_whitespace().collect::<Vec<_>>().chunks(2) {
            // What ip(8) of most distributions has no word for yet.
            match (pair[0], pair[1]) {
                ("mab", _) => unknown.push(InfoBridgePort::Mab(true)),
                ("mcast_max_groups", most) => {
                    unknown.push(InfoBridgePort::MulticastMaxGroups(most.parse().unwrap()));
                }
                // A state that ip(8) sets is undone by the very news of it.
                ("state", state) => drop(run(&format!("bridge link set dev p{n} state {state}"))),
                (word, value) => known.extend([word, value]),
            }
        }
        if !known.is_empty() {
            run(&format!("ip link set p{n} type bridge_slave {}", known.join(" ")));
        }
        unknown.into_iter().for_each(|knob| set_port(rig, n, knob));
    }
}

fn set_port(rig: &Rig, n: usize, knob: InfoBridgePort) {
    let index = rig.center.netdev(&format!("p{n}")).unwrap().index().unwrap();
    change(rig, LinkBridgePort::new(index).append_info_data(knob).build());
}

/// Has the kernel change a device of the middle.
fn change(rig: &Rig, device: LinkMessage) {
    let set = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (connection, netlink, _) = rtnetlink::new_connection().unwrap();
            tokio::spawn(connection);
            netlink.link().change(device).execute().await.unwrap();
        });
    };
    rig.center.run(set).unwrap();
}

/// Whether it is groups that are compared.
fn snoops(knobs: Knobs) -> bool {
    knobs.bridge.contains("mcast_snooping")
}

/// What is set on the bridge, which snoops only where that is what is compared.
fn bridge_words(knobs: Knobs) -> String {
    if snoops(knobs) { knobs.bridge.into() } else { format!("mcast_snooping 0 {}", knobs.bridge) }
}

/// The same in our words.
pub(super) fn config(knobs: Knobs, rig: &Rig) -> String {
    let words = |text: &str| -> Vec<String> {
        let words: Vec<_> = text.split_whitespace().collect();
        words.chunks(2).map(|pair| format!("{} = {}", pair[0], value(pair[0], pair[1]))).collect()
    };
    let ports = knobs.ports.iter().enumerate().map(|(n, text)| {
        let device = format!("device = \"p{n}\"");
        format!("{{ {} }}", [vec![device], words(text)].concat().join(", "))
    });
    let ports = ports.collect::<Vec<_>>().join(", ");
    let host = format!("host = {{ netns = \"{}\" }}", rig.center.name());
    let knobs = words(&bridge_words(knobs)).join("\n");
    format!("[[bridge]]\nname = \"br0\"\n{host}\n{knobs}\nport = [{ports}]\n")
}

fn value(key: &str, word: &str) -> String {
    const STATES: [&str; 5] = ["disabled", "listening", "learning", "forwarding", "blocking"];
    match (key, word) {
        ("state", number) => format!("\"{}\"", STATES[number.parse::<usize>().unwrap()]),
        ("ageing_time", centiseconds) => format!("\"{centiseconds}0ms\""),
        (key, centiseconds) if key.ends_with("_interval") => format!("\"{centiseconds}0ms\""),
        ("no_linklocal_learn" | "mcast_snooping" | "mcast_querier", number) => (number == "1").to_string(),
        (_, "on") => "true".into(),
        (_, "off") => "false".into(),
        (_, number) => number.into(),
    }
}
