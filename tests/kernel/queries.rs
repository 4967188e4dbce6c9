//! What the bridges ask by themselves, byte for byte.

use super::*;

#[test]
fn queries_are_byte_for_byte_the_kernels() {
    let ends = "mcast_snooping 1 mcast_last_member_interval 20 mcast_query_response_interval 10";
    let Some(sides) = sides("kernel-querier", knobs(ends, [""; HOSTS])) else { return };
    let set = |side: &Side| match &side.kind {
        Kind::Ours(..) => drop(side.rig.folder.ask("bridge set br0 mcast_querier on")),
        Kind::Kernels => drop(run_in(&side.rig.center, "ip link set br0 type bridge mcast_querier 1")),
    };
    sides.iter().for_each(set);
    let next = |side: &Side, about: [u8; 4]| loop {
        let frame = side.far[1].receive();
        let is_query = is_bridges_own(&frame) && frame.len() > 45 && frame[38] == QUERY;
        if is_query && frame[42..46] == about {
            return frame;
        }
    };
    let [ours, kernels] = [0, 1].map(|side| next(&sides[side], [0; 4]));
    assert_eq!(ours, kernels, "a general query");
    for side in &sides {
        side.until("the answers to be known", &data(0, [239, 9, 9, 9]), [0, 0, 0]);
    }
    follow(&sides, "a member", &[about(1, REPORT, GROUP), data(0, GROUP)]);
    let Step::Send(_, leave) = about(1, LEAVE, GROUP) else { panic!("a frame") };
    let asked = [0, 1].map(|side| {
        sides[side].far[1].send(&leave);
        let asked = [next(&sides[side], GROUP), next(&sides[side], [0; 4])];
        if let Kind::Ours(_, sent) = &sides[side].kind {
            sent.set(sent.get() + 1);
        }
        asked
    });
    assert_eq!(asked[0], asked[1], "who is left, and then all");
    left(&sides, 0);
}

/// What a bridge asks by MLD, from the address that it has by its own: its frames, but for what the host says.
fn mld_query(side: &Side, group: u128) -> Vec<u8> {
    const BEFORE: usize = 14 + 40 + 8; // Ethernet, IPv6, router alert
    loop {
        let frame = side.far[1].receive();
        let is_query = frame[6..14] == [&host::of_port(0)[..], &[0x86, 0xdd]].concat()
            && frame.get(BEFORE) == Some(&130);
        if is_query && frame[BEFORE + 8..BEFORE + 24] == group.to_be_bytes() {
            return frame;
        }
    }
}

#[test]
fn queries_of_ipv6_are_byte_for_byte_the_kernels() {
    let ends = "mcast_snooping 1 mcast_last_member_interval 20 mcast_query_response_interval 10";
    let Some(sides) = sides("kernel-querier-6", knobs(ends, [""; HOSTS])) else { return };
    for side in &sides {
        match &side.kind {
            Kind::Ours(..) => drop(side.rig.folder.ask("bridge set br0 mcast_querier on")),
            Kind::Kernels => {
                // It asks by MLD only from an address of its own. Ours comes from the one that the kernel would make of its MAC.
                let knob = "/proc/sys/net/ipv6/conf/br0/disable_ipv6";
                side.rig.center.run(|| std::fs::write(knob, "0")).unwrap().unwrap();
                run_in(&side.rig.center, "ip -6 addr add fe80::aa:ff:fe00:0/64 dev br0 nodad");
                run_in(&side.rig.center, "ip link set br0 type bridge mcast_querier 1");
            }
        }
    }
    let [ours, kernels] = [0, 1].map(|side| mld_query(&sides[side], 0));
    assert_eq!(ours, kernels, "a general query");
    let Step::Send(_, report) = mld_about(1, 131, 0, GROUP_6, GROUP_6) else { panic!("a frame") };
    let Step::Send(_, done) = mld_about(1, 132, 0, GROUP_6, ALL_NODES + 1) else { panic!("a frame") };
    let group = "ff05::1";
    let is_member = |side: &Side| side.mdb().0.iter().any(|entry| entry[..2] == ["p1", group]);
    let asked = [0, 1].map(|side| {
        let side = &sides[side];
        side.far[1].send(&report);
        wait_for("the member", || is_member(side).then_some(()));
        side.far[1].send(&done);
        [mld_query(side, GROUP_6), mld_query(side, 0)]
    });
    assert_eq!(asked[0], asked[1], "who is left, and then all");
    for side in &sides {
        wait_for("the membership to end", || (!is_member(side)).then_some(()));
    }
}
