//! The example of two nodes, and each of them beside a kernel in the other's place.

use std::net::IpAddr;

use rigswitch::lab;

use crate::command::{Folder, PATIENCE, wait_for};
use crate::rig::{NIC, Plug, Rig, has, run_in};

const EXAMPLES: [&str; 2] = [
    include_str!("../../control/examples/vxlan/a.toml"),
    include_str!("../../control/examples/vxlan/b.toml"),
];

#[test]
fn nodes_of_a_container_network_and_a_kernel_in_the_place_of_one() {
    const TEST: &str = "vxlan-nodes";
    for kernel in [None, Some(0), Some(1)] {
        let Some(rig) = has(TEST, "ip").then(|| Rig::new(TEST, &[Plug::Veth; 2], 1500)).flatten() else {
            return;
        };
        let center = |line: &str| run_in(&rig.center, line);
        center("ip link add wire0 type veth peer name wire1");
        let folders = [Folder::new("vxlan-nodes-0"), Folder::new("vxlan-nodes-1")];
        let mut running = Vec::new();
        for device in ["wire0", "wire1"] {
            center(&format!("ip link set {device} up"));
        }
        for n in 0..2 {
            let (own, other) = (245 + n, 246 - n);
            if kernel != Some(n) {
                let netns = format!("netns = \"{}\"", rig.center.name());
                let text = EXAMPLES[n]
                    .replace("packet = \"eth0\"", &format!("packet = \"wire{n}\"\n{netns}"))
                    .replace("xdp  = \"veth-c0\"", &format!("xdp = \"p{n}\"\n{netns}"));
                running.push(folders[n].start(&text));
                continue;
            }
            center("sysctl -q -w net.ipv4.ip_forward=1");
            center(&format!("ip addr add 192.168.32.{own}/24 dev wire{n}"));
            center(&format!("ip addr add 172.{own}.0.1/24 dev p{n}"));
            // Word for word the commands of the file, on their devices.
            let commands = EXAMPLES[0].lines().filter_map(|line| line.strip_prefix("#   "));
            for command in commands.flat_map(|line| line.split(" && ")) {
                let turned = |text: &str| match n {
                    0 => text.to_owned(),
                    _ => text
                        .replace("245", "X")
                        .replace("246", "245")
                        .replace('X', "246")
                        .replace("3b:42", "Y")
                        .replace("3b:43", "3b:42")
                        .replace('Y', "3b:43"),
                };
                center(&turned(command));
            }
            let _ = other;
        }
        let address = |n: usize| IpAddr::from([172, 245 + u8::try_from(n).unwrap(), 0, 2]);
        for (n, host) in rig.hosts.iter().enumerate() {
            host.add_address(NIC, address(n), 24).unwrap();
            run_in(host, &format!("ip route add default via 172.{}.0.1", 245 + n));
        }
        for (from, to) in [(0, 1), (1, 0)] {
            wait_for("the other node's container to be reached", || {
                lab::ping(&rig.hosts[from], address(to), 1, 1000, PATIENCE)
                    .ok()
                    .filter(|ping| ping.lost() == 0)
            });
            lab::tcp_transfer(&rig.hosts[from], &rig.hosts[to], (address(to), 0).into(), 4 << 20).unwrap();
        }
    }
}
