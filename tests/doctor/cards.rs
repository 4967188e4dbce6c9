//! What a card may have against a switch, on devices that can be made: no cable, and a CPU that receives for it while a worker is pinned there.

use super::*;

#[test]
fn a_device_without_a_carrier_is_found_until_it_has_one() {
    let Some(bed) = Bed::new("car-doctor") else { return };
    // A TAP is without one as long as nobody holds its other end.
    bed.shell(&bed.fill("ip -n RIG tuntap add DEV mode tap && ip -n RIG link set dev DEV up"));
    bed.folder.write("rig.toml", &bed.fill(PACKET));
    let [finding] = &bed.found("rig.toml", "link")[..] else { panic!("{:?}", bed.findings("rig.toml")) };
    assert_eq!((text(finding, "severity"), finding["device"].as_str()), ("error", Some(&*bed.device)));
    assert!(text(finding, "what").starts_with("it has no carrier"), "{finding}");
    assert!(text(finding, "evidence").contains("no IFF_LOWER_UP"), "{finding}");
    bed.shell(text(finding, "fix"));
    // What it says beside that is to be done by hand.
    let cable = Folder::new("car-cable");
    let _plugged = cable.start(&bed.fill("[[port]]\nname = \"t0\"\nnetns = \"RIG\"\ntap = \"DEV\"\n"));
    assert_eq!(bed.found("rig.toml", "link"), [] as [Value; 0]);
    bed.starts();
}

#[test]
fn a_kernel_thread_on_the_cpu_of_a_worker_is_found_and_moved() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    if cpus < 2 {
        return skipped("nap-doctor", "a thread is to be moved, and there is one CPU");
    }
    let Some(bed) = Bed::new("nap-doctor") else { return };
    bed.veth("", "");
    bed.shell(&bed.fill(
        "ip netns exec RIG ethtool -K DEV gro on && ip netns exec RIG sh -c 'echo 1 > /sys/class/net/DEV/threaded'",
    ));
    bed.folder.write("rig.toml", &format!("[switch]\nworkers = [0]\n{}", bed.fill(PACKET)));
    let crowded = || {
        let found = bed.found("rig.toml", "NAPI").into_iter();
        found.filter(|finding| text(finding, "what").contains("on the CPU of a worker")).collect::<Vec<_>>()
    };
    let threaded = wait_for("the thread", || bed.found("rig.toml", "NAPI").pop());
    let pid = text(&threaded, "evidence").trim_start_matches("NETDEV_A_NAPI_PID: ").to_owned();
    assert_eq!(crowded(), [] as [Value; 0], "it may run on any CPU");
    bed.shell(&format!("taskset -pc 0 {pid}"));
    let [finding] = &crowded()[..] else { panic!("{:?}", bed.findings("rig.toml")) };
    assert_eq!(text(finding, "severity"), "warning");
    assert_eq!(text(finding, "evidence"), format!("/proc/{pid}/status: Cpus_allowed_list: [0]"));
    bed.shell(text(finding, "fix"));
    assert_eq!(crowded(), [] as [Value; 0], "{}", finding["fix"]);
    bed.starts();
}
