//! Reports of IGMPv3 and MLDv2 to bridges that speak the older versions, as the kernel's does by default.

use super::*;

/// A report of the newer versions as anybody might send it: records of every type there is and of one there is not, with and
/// without sources, about a few groups. No auxiliary data: the kernel takes that for the next record.
fn random_report(random: &mut Random) -> Step {
    let n = random.below(HOSTS - 1);
    let is_ipv4 = random.below(2) == 0;
    let count = random.below(4);
    let mut records = Vec::new();
    for _ in 0..count {
        let kind = u8::try_from(1 + random.below(7)).unwrap();
        let sources = *random.pick(&[0, 0, 1, 3]);
        records.extend([kind, 0, 0, sources]);
        let (group, length) = (u8::try_from(random.below(4)).unwrap(), if is_ipv4 { 4 } else { 16 });
        match (is_ipv4, group) {
            (true, 0) => records.extend([224, 0, 0, 7]),
            (true, _) => records.extend([239, 1, 1, group]),
            (false, 0) => records.extend(ALL_NODES.to_be_bytes()),
            (false, _) => records.extend((GROUP_6 + u128::from(group)).to_be_bytes()),
        }
        records.resize(records.len() + length * usize::from(sources), 7);
    }
    let count = u8::try_from(count).unwrap();
    if is_ipv4 {
        igmp(n, [224, 0, 0, 22], &[&[0x22, 0, 0, 0, 0, 0, 0, count][..], &records].concat())
    } else {
        let message = [&[143, 0, 0, 0, 0, 0, 0, count][..], &records].concat();
        mld(n, LINK_LOCAL, ALL_NODES + 0x15, &message)
    }
}

/// One of those, one of the older versions, or something for a group.
fn random_step(random: &mut Random) -> Step {
    let (n, last) = (random.below(HOSTS - 1), u8::try_from(random.below(4)).unwrap());
    let (group, group_6) = ([239, 1, 1, last], GROUP_6 + u128::from(last));
    match random.below(10) {
        0 => about(n, *random.pick(&[0x12, REPORT, LEAVE]), group),
        1 => mld_about(n, 131, 0, group_6, group_6),
        2 => mld_about(n, 132, 0, group_6, ALL_NODES + 1),
        3 => data(random.below(HOSTS), group),
        4 => data_6(random.below(HOSTS), group_6),
        _ => random_report(random),
    }
}

#[test]
fn reports_of_igmpv3_and_mldv2_mean_what_they_mean_to_the_kernels_bridge_by_default() {
    const SEED: u64 = 0x5eed_0004;
    let Some(mut sides) = sides("kernel-reports", plain()) else { return };
    let fast = "mcast_fast_leave on";
    for (number, ports) in (0..).zip([[""; HOSTS], [fast, fast, ""], ["mcast_to_unicast on", fast, ""]]) {
        with_router(&mut sides, knobs(SNOOPING, ports));
        follow(&sides, "a query of IPv6", &[mld_about(2, 130, 1, 0, ALL_NODES)]);
        for side in &sides {
            side.until("the router to be alone", &data_6(0, 0xff05 << 112 | 9), [0, 0, 1]);
        }
        let seed = SEED + number;
        let mut random = Random(seed);
        let steps: Vec<_> = (0..100).map(|_| random_step(&mut random)).collect();
        let out = follow(&sides, &format!("seed {seed:#x}, {ports:?}"), &steps);
        assert!(out > 100, "{out} frames came out");
        // The kernel has no more to say of any of them: which sources are wanted is not kept.
        let kernels: Value = serde_json::from_str(&run_in(&sides[1].rig.center, "bridge -d -j mdb")).unwrap();
        let entries = kernels[0]["mdb"].as_array().unwrap().iter().filter(|entry| entry["port"] != "br0");
        for entry in entries {
            assert!(entry.get("source_list").is_none() && entry.get("src").is_none(), "{entry}");
        }
    }
    sides[0].rig.settled();
}
