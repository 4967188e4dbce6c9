//! macvlan: children of a port by their addresses, each wired to a port of its own.

use super::{BROADCAST, Case, PORTS, Rig, Step, customer, plain, station, text, wired, with_tags};

/// The address of the child behind port `n`.
fn child(n: usize) -> [u8; 6] {
    station(0xc, u8::try_from(n).unwrap())
}

pub(super) fn rigs() -> Vec<Rig> {
    vec![
        rig("bridge", "p0", &["bridge", "bridge", "private"]),
        rig("vepa", "p0", &["vepa", "vepa", "bridge"]),
        rig("private", "p0", &["private", "private", "vepa"]),
        rig("passthru", "p0", &["passthru"]),
        sources("source", &["source", "source", "bridge"]),
        sources("source, and nothing to others", &["source nodst", "source", "private"]),
        rig("on a sub-interface", "v10", &["bridge", "vepa"]),
    ]
}

/// Children in these modes.
fn rig(name: &str, link: &str, modes: &[&str]) -> Rig {
    let (mut kernel, mut ours) = (String::new(), String::new());
    if link != "p0" {
        kernel += &format!("ip link add link p0 name {link} type vlan id 10\nip link set {link} up\n");
        ours += &format!("[[vlan]]\nname = \"{link}\"\nlink = \"p0\"\nid = 10\n");
    }
    for (n, mode) in (1..).zip(modes) {
        let (mode, rest) = mode.split_once(' ').unwrap_or((mode, ""));
        let mac = text(child(n));
        // A child that takes the whole port has its address.
        let address = if mode == "passthru" { String::new() } else { format!("address {mac} ") };
        kernel +=
            format!("ip link add mv{n} link {link} {address}type macvlan mode {mode} {rest}").trim_end();
        // The kernel sorts groups out by a hash that is new at every boot: these hear all.
        kernel += &format!("\nip link set mv{n} allmulticast on up\n");
        ours += &format!("[[macvlan]]\nname = \"mv{n}\"\nlink = \"{link}\"\nmode = \"{mode}\"\n");
        ours += &if address.is_empty() { String::new() } else { format!("mac = \"{mac}\"\n") };
        ours += if rest.is_empty() { "" } else { "nodst = true\n" };
        // The kernel does not keep what this mode promises: see `private_is_private` in the tests of the data plane.
        ours += if mode == "private" { "compat = true\n" } else { "" };
        let [theirs, mine] = wired(&format!("mv{n}"), &format!("p{n}"));
        kernel += &theirs;
        ours += &mine;
    }
    let tags: &[[u8; 4]] = if link == "p0" { &[] } else { &[customer(10)] };
    Rig::new(name, kernel, ours, cases(tags))
}

/// The same, the first two with the stations that they are for.
fn sources(name: &str, modes: &[&str]) -> Rig {
    let mut rig = rig(name, "p0", modes);
    for (child, stations) in [("mv1", [1, 2]), ("mv2", [2, 3])] {
        let macs = stations.map(|n| text(station(1, n)));
        for mac in &macs {
            rig.kernel += &format!("ip link set {child} type macvlan macaddr add {mac}\n");
        }
        let list = format!("mode = \"source\"\nmacaddr = [\"{}\"]\n", macs.join("\", \""));
        let at = rig.ours.find(&format!("\"{child}\"")).unwrap();
        let rest = rig.ours.split_off(at);
        rig.ours += &rest.replacen("mode = \"source\"\n", &list, 1);
    }
    rig
}

/// The parent's network is p0, with these tags.
fn cases(tags: &[[u8; 4]]) -> Vec<Case> {
    let [a, b, c] = [1, 2, 3].map(|n| station(1, n));
    let outside = |destination, source| with_tags(0, destination, source, tags);
    let [group, other, reserved] =
        [[1, 0, 0x5e, 1, 2, 3], [0x33, 0x33, 0, 0, 0, 1], [1, 0x80, 0xc2, 0, 0, 0xe]];
    let mut inward = Vec::new();
    for source in [a, b, c, station(1, 9)] {
        inward.extend((1..PORTS).map(|n| outside(child(n), source)));
        inward.extend([BROADCAST, group, other, reserved, station(1, 8)].map(|to| outside(to, source)));
    }
    let between = |from: usize| {
        let others = (1..PORTS).map(child).chain([a, station(1, 8), BROADCAST, group, other, reserved]);
        let frames = others.map(|to| plain(from, to, child(from)));
        frames.chain([plain(from, a, b), plain(from, child(from % 3 + 1), a)]).collect::<Vec<_>>()
    };
    // What a reflecting switch sends back.
    let back = |n: usize| {
        let others = (1..PORTS).map(child).chain([BROADCAST, group]);
        others.map(|to| outside(to, child(n))).collect::<Vec<_>>()
    };
    let with_tag = (0..PORTS).flat_map(|from| {
        [child(1), BROADCAST]
            .map(|to| with_tags(from, to, if from == 0 { a } else { child(from) }, &[customer(10)]))
    });
    vec![
        ("from outside", inward),
        ("from the children", (1..PORTS).flat_map(between).collect()),
        ("sent back from outside", (1..PORTS).flat_map(back).collect()),
        ("tagged", with_tag.collect::<Vec<Step>>()),
    ]
}
