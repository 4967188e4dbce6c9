//! The checks on facts, where no machine at hand could be made to have them.

use std::path::PathBuf;

use rigswitch_dataplane::ports::{PacketConfig, PortKind, TapConfig, XdpConfig, XdpMode, XdpQueues, XdpTake};
use rigswitch_dataplane::sys::bpf::Attach;
use rigswitch_dataplane::sys::features::{Offloads, XdpFeatures};
use rigswitch_dataplane::sys::napi::Napi;

use super::{Finding, Severity, run};
use crate::config::Config;
use crate::doctor::facts::{
    Attached, Device, End, Facts, Found, Host, Interrupt, Lost, Place, Polled, Port, Switch,
};

/// A machine on which nothing is wrong: a card with zero-copy as an xdp port.
fn good() -> Facts {
    let features = XdpFeatures {
        native: true,
        transmits: true,
        zero_copy: true,
        zero_copy_buffers: 8,
        frags: true,
        vlan_tag: true,
    };
    let end = End {
        name: "eth1".into(),
        mtu: 1500,
        up: true,
        running: true,
        rx_queues: 2,
        tx_queues: 2,
        offloads: Some(Offloads::default()),
        ..End::default()
    };
    let device = Device {
        end,
        driver: Some("ice".into()),
        is_on_a_bus: true,
        features: Some(features),
        ..Device::default()
    };
    let kind = PortKind::Xdp(XdpConfig::new("eth1"));
    let port = Port {
        name: "p1".into(),
        asked: kind.clone(),
        kind,
        netns: None,
        bridge: None,
        addresses: Vec::new(),
        mtu: None,
        is_running: false,
        zero_copy: None,
        device: Found::Here(Box::new(device)),
    };
    let host = Host {
        kernel: (6, 18),
        xdp_sockets: Some(true),
        bpf_jit: Some(1),
        capabilities: u64::MAX,
        online: (0..8).collect(),
        allowed: (0..8).collect(),
        cores: (0..4).map(|core| vec![core, core + 4]).collect(),
        ..Host::default()
    };
    let switch = Switch { file: Some("rig.toml".into()), workers: 1, memory: 1 << 24, ..Switch::default() };
    Facts { host, switch, ports: vec![port], ..Facts::default() }
}

fn device(facts: &mut Facts) -> &mut Device {
    match &mut facts.ports[0].device {
        Found::Here(device) => device,
        _ => panic!("it is there"),
    }
}

/// What is found after a change to what is good.
fn after(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = good();
    change(&mut facts);
    run(&facts)
}

/// The one thing found after a change: how bad, a part of what and of the evidence, the fix.
#[track_caller]
fn one(severity: Severity, [what, evidence, fix]: [&str; 3], change: impl FnOnce(&mut Facts)) {
    let found = after(change);
    let [finding] = &found[..] else { panic!("{found:#?}") };
    assert!(finding.what.contains(what) && finding.evidence.contains(evidence), "{finding:#?}");
    assert_eq!((finding.severity, &*finding.fix), (severity, fix));
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(after(|_| ()), []);
}

#[test]
fn kernels_that_lack_something_are_told() {
    let boot = "# boot a kernel of 5.9 or later, or make the ports `packet` ports";
    one(Severity::Error, ["no links", "5.4.0", boot], |facts| {
        (facts.host.kernel, facts.host.release) = ((5, 4), "5.4.0".into());
    });
    let boot = "# boot a kernel with CONFIG_XDP_SOCKETS=y, or make the ports `packet` ports";
    one(Severity::Error, ["no AF_XDP", "/proc/net/protocols", boot], |facts| {
        facts.host.xdp_sockets = Some(false);
    });
    let sysctl = "sysctl -w net.core.bpf_jit_enable=1";
    one(Severity::Warning, ["interprets", "bpf_jit_enable: 0", sysctl], |facts| facts.host.bpf_jit = Some(0));
    let shorter = "ip link set dev eth1 mtu 3506";
    one(Severity::Error, ["port p1, of 9000, will not start", "6.1.0", shorter], |facts| {
        (facts.host.kernel, facts.host.release) = ((6, 1), "6.1.0".into());
        device(facts).end.mtu = 9000;
    });
    let none = after(|facts| {
        (facts.host.kernel, facts.host.xdp_sockets) = ((5, 4), Some(false));
        facts.ports[0].is_running = true;
    });
    assert_eq!(none, [], "what runs has started");
}

#[test]
fn capabilities_are_those_that_the_ports_take() {
    let setcap = "setcap cap_bpf,cap_net_admin,cap_net_raw=ep /bin/rigswitch";
    let program = |facts: &mut Facts| facts.host.program = PathBuf::from("/bin/rigswitch");
    one(Severity::Error, ["cap_net_raw for port p1", "CapEff: ffffffffffffdfff", setcap], |facts| {
        program(facts);
        facts.host.capabilities = !(1 << 13);
    });
    assert_eq!(after(|facts| facts.host.capabilities = !(1 << 39)), [], "CAP_SYS_ADMIN will do for CAP_BPF");
    one(Severity::Error, ["cap_bpf", "unprivileged_bpf_disabled: 2", setcap], |facts| {
        program(facts);
        facts.host.capabilities = !(1 << 39 | 1 << 21);
        facts.host.unprivileged_bpf_disabled = Some(2);
    });
}

#[test]
fn a_card_that_cannot_be_native_says_why() {
    one(Severity::Warning, ["LRO", "large-receive-offload on", "ethtool -K eth1 lro off"], |facts| {
        device(facts).end.offloads = Some(Offloads { lro: true, ..Offloads::default() });
    });
    // A kernel before 6.3 does not tell what its drivers can, but that this one merges.
    one(Severity::Warning, ["LRO", "large-receive-offload on", "ethtool -K eth1 lro off"], |facts| {
        device(facts).features = None;
        device(facts).end.offloads = Some(Offloads { lro: true, ..Offloads::default() });
    });
    one(Severity::Warning, ["several buffers", "IFLA_MTU: 9000", "ip link set dev eth1 mtu 3000"], |facts| {
        device(facts).end.mtu = 9000;
        device(facts).features = Some(XdpFeatures { frags: false, ..device(facts).features.unwrap() });
    });
    one(
        Severity::Warning,
        ["(ice) has no native XDP", "XDP_FEATURES", "# packet = \"eth1\" instead of xdp"],
        |facts| {
            device(facts).features = Some(XdpFeatures::default());
        },
    );
    let auto = r#"sed -i '/name *= *"p1"/,/^\[/ s/\bmode *= *[^,} ]*/mode = "auto"/' rig.toml"#;
    one(Severity::Warning, ["could do without", "xsk-zerocopy", auto], |facts| {
        let kind = XdpConfig { mode: XdpMode::Copy, ..XdpConfig::new("eth1") };
        facts.ports[0].kind = PortKind::Xdp(kind);
    });
}

/// What a virtio card and its driver have agreed on: all that there is.
const AGREED: u64 = u64::MAX;

#[test]
fn zero_copy_that_a_driver_would_refuse_is_told_before() {
    assert_eq!(after(|facts| device(facts).virtio = Some(AGREED)), []);
    let options = "# have its virtual machine started with iommu_platform=on,disable-legacy=on for the card";
    one(Severity::Warning, ["every frame is copied", "without bit 33", options], |facts| {
        device(facts).virtio = Some(AGREED & !(1 << 33));
    });
    let reset = "# have its virtual machine started with queue_reset=on for the card";
    one(Severity::Warning, ["cannot reset a single queue", "without bit 40", reset], |facts| {
        device(facts).virtio = Some(AGREED & !(1 << 40));
    });
    let shorter = "ip link set dev eth1 mtu 3506";
    let long = |facts: &mut Facts| {
        device(facts).end.mtu = 9000;
        device(facts).features.as_mut().unwrap().zero_copy_buffers = 1;
    };
    one(Severity::Warning, ["an MTU of 9000", "NETDEV_A_DEV_XDP_ZC_MAX_SEGS: 1", shorter], long);
    let wanted = |facts: &mut Facts| {
        facts.ports[0].kind = PortKind::Xdp(XdpConfig { mode: XdpMode::ZeroCopy, ..XdpConfig::new("eth1") });
    };
    one(Severity::Error, ["the port will not start in this mode", "IFLA_MTU: 9000", shorter], |facts| {
        long(facts);
        wanted(facts);
    });
    let running = |zero_copy| {
        after(|facts| {
            (facts.ports[0].is_running, facts.ports[0].zero_copy) = (true, Some(zero_copy));
            device(facts).virtio = Some(0);
        })
    };
    assert_eq!(running(true), [], "the kernel's word counts for more");
    assert_eq!(running(false).len(), 1);
}

#[test]
fn a_bridge_beside_whose_frames_iptables_sees_is_told_of() {
    let sysctl = "ip netns exec lab sysctl -w net.bridge.bridge-nf-call-iptables=0";
    one(Severity::Note, ["bridge br9", "bridge-nf-call-iptables: 1", sysctl], |facts| {
        device(facts).end.place = Place::Named("lab".into());
        device(facts).filtered_bridge = Some("br9".into());
    });
}

#[test]
fn a_device_without_a_carrier_waits_for_a_cable() {
    let cable = "# plug in a cable; ethtool eth1";
    one(Severity::Error, ["no carrier", "no IFF_LOWER_UP", cable], |facts| device(facts).end.running = false);
    assert_eq!(
        after(|facts| (device(facts).end.up, device(facts).end.running) = (false, false)),
        [],
        "`run` takes it up"
    );
}

#[test]
fn a_program_that_no_process_holds_is_taken_off_by_hand() {
    let attached = || Some(Attached { id: 7, hook: Attach::Generic, holder: None });
    let off = "ip -n lab link set dev eth1 xdp off";
    one(Severity::Error, ["will not start", "IFLA_XDP: program 7", off], |facts| {
        device(facts).end.place = Place::Named("lab".into());
        device(facts).end.xdp = attached();
    });
    one(Severity::Warning, ["before the port", "program 7", "ip link set dev eth1 xdp off"], |facts| {
        facts.ports[0].kind = PortKind::Packet(PacketConfig { device: "eth1".into(), queues: 1 });
        device(facts).end.xdp = attached();
    });
}

#[test]
fn workers_share_neither_a_core_nor_the_kernels_cpu() {
    let two = |cpus: [u16; 2]| {
        move |facts: &mut Facts| (facts.switch.cpus, facts.switch.workers) = (cpus.into(), 2)
    };
    assert_eq!(after(two([0, 1])), []);
    let apart = r"sed -i 's/^\( *workers *= *\).*/\1[0, 1]/' rig.toml";
    one(
        Severity::Warning,
        ["hardware threads of one core", "cpu1/topology/thread_siblings_list: [1, 5]", apart],
        two([1, 5]),
    );
    let isolated = r"sed -i 's/^\( *workers *= *\).*/\1[2, 3]/' rig.toml";
    one(Severity::Note, ["kept free", "isolated: [2, 3]", isolated], |facts| {
        two([0, 3])(facts);
        facts.host.isolated = vec![2, 3];
    });
    let interrupts = |facts: &mut Facts| {
        two([0, 1])(facts);
        let one = |number, cpu| Interrupt { number, name: format!("TxRx-{number}"), cpus: vec![cpu] };
        device(facts).interrupts = vec![one(32, 4), one(33, 1), one(34, 0)];
    };
    let away = "echo 2,3,4,5,6,7 > /proc/irq/33/smp_affinity_list && echo 2,3,4,5,6,7 > /proc/irq/34/smp_affinity_list";
    let seen = "/proc/irq/33/effective_affinity_list (TxRx-33): [1]; /proc/irq/34/effective_affinity_list (TxRx-34): [0]";
    one(Severity::Warning, ["on the CPU of a worker", seen, away], interrupts);
    let threaded = after(|facts| {
        interrupts(facts);
        let napi = Napi { thread: Some(7), ..Napi::default() };
        device(facts).napis = vec![Polled { napi, cpus: (0..8).collect() }];
    });
    assert_eq!(threaded, [], "what an interrupt wakes runs elsewhere");
    let fewer = r"sed -i 's/^\( *workers *= *\).*/\17/' rig.toml";
    one(Severity::Warning, ["has none left", "workers = 8", fewer], |facts| {
        (facts.switch.workers, facts.switch.spins) = (8, true);
    });
}

#[test]
fn a_running_port_is_changed_through_its_socket() {
    let all = "rigswitch --socket /run/rig.sock port set p1 xdp.queues all";
    one(Severity::Error, ["1 of its 2", "queues = 1", all], |facts| {
        let kind = XdpConfig { queues: XdpQueues::First(1), ..XdpConfig::new("eth1") };
        facts.switch.socket = "/run/rig.sock".into();
        (facts.ports[0].is_running, facts.ports[0].kind) = (true, PortKind::Xdp(kind));
    });
}

#[test]
fn a_host_goes_on_using_what_it_shares_unless_both_have_one_address() {
    let shared = |facts: &mut Facts| {
        facts.ports[0].kind = PortKind::Xdp(XdpConfig { take: XdpTake::Mine, ..XdpConfig::new("eth1") });
        facts.ports[0].addresses = vec!["192.0.2.2".parse().unwrap()];
        device(facts).addresses = vec!["192.0.2.1/24".into()];
        device(facts).uppers = vec![("eth1.10".into(), "vlan".into())];
    };
    assert_eq!(after(shared), []);
    let del = "ip addr del 192.0.2.2/32 dev eth1";
    one(
        Severity::Error,
        ["192.0.2.2 is an address of the switch", "RTM_GETADDR: 192.0.2.2/32", del],
        |facts| {
            shared(facts);
            device(facts).addresses.push("192.0.2.2/32".into());
        },
    );
}

#[test]
fn a_namespace_that_is_not_there_is_to_be_made() {
    one(Severity::Error, ["no network namespace lab", "/run/netns/lab", "ip netns add lab"], |facts| {
        facts.ports[0].netns = Some("lab".into());
        facts.ports[0].device = Found::NoNetns;
    });
}

#[test]
fn what_was_chosen_for_a_device_is_told_with_what_the_other_would_change() {
    let asked = PortKind::Device("eth1".into());
    let packet = || PortKind::Packet(PacketConfig { device: "eth1".into(), queues: 1 });
    let set = |kind: &str| {
        format!(r#"sed -i '/name *= *"p1"/,/^\[/ s/\bdevice *= *[^,}} ]*/{kind} = "eth1"/' rig.toml"#)
    };
    one(Severity::Note, ["xdp was chosen", "ETHTOOL_GDRVINFO: ice", &set("packet")], |facts| {
        facts.ports[0].asked = asked.clone();
    });
    one(Severity::Note, ["packet was chosen: super-frames", "ice", &set("xdp")], |facts| {
        (facts.ports[0].asked, facts.ports[0].kind) = (asked.clone(), packet());
    });
    one(Severity::Note, ["packet was chosen: the driver has no native XDP", "ice", &set("xdp")], |facts| {
        (facts.ports[0].asked, facts.ports[0].kind) = (asked.clone(), packet());
        device(facts).features = Some(XdpFeatures::default());
    });
}

#[test]
fn what_was_lost_before_the_switch_saw_it_is_told_with_why() {
    for (counter, why, fix) in [
        ("rx_ring_full", "did not keep up", "# workers = 2 under [switch], and start it again"),
        ("tp_drops", "did not keep up", "# workers = 2 under [switch], and start it again"),
        ("rx_fill_ring_empty", "no packet memory", "# frames = 65536 under [switch], and start it again"),
        ("tx_invalid", "a fault of the switch", "rigswitch show drops -jp"),
        ("rx_dropped", "too long, or the device had no room", "rigswitch show drops -jp"),
    ] {
        let evidence = format!("GET /v1/drops: p1 {counter} 7");
        one(Severity::Error, [why, &evidence, fix], |facts| {
            facts.ports[0].is_running = true;
            facts.switch.lost = vec![Lost { port: "p1".into(), counter: counter.into(), packets: 7 }];
        });
    }
}

#[test]
fn what_needs_the_tun_driver_is_told_that_there_is_none() {
    let mknod = "mkdir -p /dev/net && rm -f /dev/net/tun && mknod -m 666 /dev/net/tun c 10 200";
    let missing = |facts: &mut Facts| facts.host.no_tun = Some("No such file or directory".into());
    assert_eq!(after(missing), [], "an xdp port does not");
    one(Severity::Error, ["port p1 is a TAP", "/dev/net/tun: No such file", mknod], |facts| {
        missing(facts);
        facts.ports[0].kind = PortKind::Tap(TapConfig { device: "tap0".into(), offload: true, queues: 1 });
    });
    let handed = |text: &str| Config::parse(text, "rig.toml").unwrap();
    let bridge = "[[bridge]]\nname = \"br0\"\nhost = true\n";
    let tunnel = "[[ipip]]\nname = \"tun0\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nhost = true\n\
                  [[port]]\nname = \"p0\"\nmemory = true\n[[address]]\ndevice = \"p0\"\naddress = \"192.0.2.1/24\"\n";
    for (name, text) in [("br0", bridge), ("tun0", tunnel)] {
        let what = format!("{name} is handed to the host as a TAP or TUN");
        one(Severity::Error, [&*what, "/dev/net/tun", mknod], |facts| {
            missing(facts);
            facts.config = handed(text);
        });
    }
    let running = after(|facts| {
        missing(facts);
        (facts.config, facts.switch.is_running) = (handed(bridge), true);
    });
    assert_eq!(running, [], "what runs has it open");
}
