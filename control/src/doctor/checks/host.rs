//! What starting a switch takes: the kernel, capabilities, limits, the TUN driver.

use std::collections::BTreeSet;

use rigswitch_dataplane::ports::{PortKind, SocketConfig, XdpConfig, XdpQueues};

use super::Finding;
use crate::config::Config;
use crate::doctor::facts::{Facts, Port};

/// The ports that are to be opened.
fn starting(facts: &Facts) -> impl Iterator<Item = &Port> {
    facts.ports.iter().filter(|port| !port.is_running)
}

fn is_xdp(port: &&Port) -> bool {
    matches!(port.kind, PortKind::Xdp(_))
}

/// Links that attach XDP programs came with 5.9, AF_XDP with frames in several buffers with 6.6.
pub(super) fn kernel(facts: &Facts) -> Vec<Finding> {
    let (host, mut found) = (&facts.host, Vec::new());
    if !starting(facts).any(|port| is_xdp(&port)) {
        return found;
    }
    if host.kernel < (5, 9) {
        found.push(Finding::error(
            "this kernel has no links for XDP programs: no xdp port will start",
            format!("/proc/sys/kernel/osrelease: {}", host.release),
            "# boot a kernel of 5.9 or later, or make the ports `packet` ports",
        ));
    }
    if host.xdp_sockets == Some(false) {
        found.push(Finding::error(
            "this kernel has no AF_XDP: no xdp port will start",
            "/proc/net/protocols has no XDP",
            "# boot a kernel with CONFIG_XDP_SOCKETS=y, or make the ports `packet` ports",
        ));
    }
    let is_long = |port: &&Port| port.carries().is_some_and(|mtu| mtu > XdpConfig::LONGEST_WHOLE);
    if host.kernel < (6, 6)
        && let Some(port) = starting(facts).filter(is_xdp).find(is_long)
    {
        let (mtu, longest) = (port.carries().unwrap_or_default(), XdpConfig::LONGEST_WHOLE);
        found.push(Finding::error(
            format!(
                "this kernel's AF_XDP takes frames of up to {longest} bytes of payload: port {}, of {mtu}, will not start",
                port.name
            ),
            format!("/proc/sys/kernel/osrelease: {}", host.release),
            port.device().map_or_else(
                || facts.set_port(port, "", "mtu", &longest.to_string()),
                |device| device.end.set(&format!("mtu {longest}")),
            ),
        ));
    }
    if host.bpf_jit == Some(0) {
        found.push(Finding::warning(
            "the kernel interprets XDP programs instead of compiling them",
            "/proc/sys/net/core/bpf_jit_enable: 0",
            "sysctl -w net.core.bpf_jit_enable=1",
        ));
    }
    found
}

/// Names and numbers of capabilities(7).
const CAPABILITIES: [(&str, u32); 4] =
    [("cap_net_admin", 12), ("cap_net_raw", 13), ("cap_sys_admin", 21), ("cap_bpf", 39)];

/// The capabilities that a port takes.
fn needed(port: &Port) -> Vec<&'static str> {
    let mut needed = match port.kind {
        PortKind::Xdp(_) => vec!["cap_net_admin", "cap_net_raw", "cap_bpf"],
        PortKind::Tap(_) | PortKind::Host(_) => vec!["cap_net_admin"],
        PortKind::Packet(_) | PortKind::Device(_) => vec!["cap_net_admin", "cap_net_raw"],
        PortKind::Socket(SocketConfig { ipip: true, .. }) => vec!["cap_net_raw"],
        PortKind::Socket(_)
        | PortKind::Upper(_)
        | PortKind::Inside
        | PortKind::Pcap(_)
        | PortKind::Memory => vec![],
    };
    if port.netns.is_some() && port.kind.is_in_netns() {
        needed.push("cap_sys_admin"); // setns(2)
    }
    needed
}

pub(super) fn capabilities(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    let has = |name: &str| {
        let bit = |(_, number): &(_, u32)| host.capabilities >> number & 1 == 1;
        // CAP_SYS_ADMIN may all that CAP_BPF may.
        CAPABILITIES.iter().any(|capability| capability.0 == name && bit(capability))
            || name == "cap_bpf"
                && CAPABILITIES.iter().any(|capability| capability.0 == "cap_sys_admin" && bit(capability))
    };
    let all: BTreeSet<_> = starting(facts).flat_map(needed).collect();
    let missing: Vec<_> = all.iter().copied().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let of =
        |name: &str| starting(facts).find(|port| needed(port).contains(&name)).map_or("", |port| &*port.name);
    let why: Vec<_> = missing.iter().map(|name| format!("{name} for port {}", of(name))).collect();
    let mut evidence = format!("/proc/self/status: CapEff: {:016x}", host.capabilities);
    if let Some(value) = host.unprivileged_bpf_disabled.filter(|_| missing.contains(&"cap_bpf")) {
        evidence += &format!(
            "; /proc/sys/kernel/unprivileged_bpf_disabled: {value} (XDP takes cap_bpf whatever it says)"
        );
    }
    vec![Finding::error(
        format!("a switch started by this user lacks {}", why.join(", ")),
        evidence,
        grant(facts),
    )]
}

/// Gives the program every capability that these ports take.
fn grant(facts: &Facts) -> String {
    let mut all: BTreeSet<_> = starting(facts).flat_map(needed).collect();
    all.extend(locks_too_much(facts).map(|_| "cap_ipc_lock"));
    format!("setcap {}=ep {}", all.into_iter().collect::<Vec<_>>().join(","), facts.host.program.display())
}

/// AF_XDP locks the packet memory of the worker, once for each queue.
pub(super) fn locked_memory(facts: &Facts) -> Vec<Finding> {
    let finding = |(limit, needed): (u64, u64)| {
        Finding::error(
            format!(
                "AF_XDP locks {} MiB of packet memory at least, and may not: the switch will not start",
                needed >> 20
            ),
            format!(
                "/proc/self/limits: Max locked memory {limit}, and no cap_ipc_lock in CapEff {:016x}",
                facts.host.capabilities
            ),
            grant(facts),
        )
    };
    locks_too_much(facts).map(finding).into_iter().collect()
}

/// Bytes that may be locked, and those that will be, if those are more.
fn locks_too_much(facts: &Facts) -> Option<(u64, u64)> {
    const IPC_LOCK: u32 = 14;
    let queues: u64 = starting(facts).filter(is_xdp).map(xdp_queues).sum();
    let needed = queues * facts.switch.memory;
    let exempt = facts.host.capabilities >> IPC_LOCK & 1 == 1;
    facts.host.locked_memory.filter(|&limit| limit < needed && !exempt).map(|limit| (limit, needed))
}

fn xdp_queues(port: &Port) -> u64 {
    let there = port.device().map_or(1, |device| device.end.rx_queues);
    match &port.kind {
        PortKind::Xdp(XdpConfig { queues: XdpQueues::First(count), .. }) => {
            u64::from(u32::from(*count).min(there))
        }
        _ => u64::from(there),
    }
}

/// As many as `run` has open when it starts to answer, counted on one that does.
pub(super) fn open_files(facts: &Facts) -> Vec<Finding> {
    const ITSELF: u64 = 13;
    const NAMESPACE: u64 = 3;
    let of_port = |port: &Port| match &port.kind {
        PortKind::Xdp(_) => 5 + u64::from(port.is_shared()) + xdp_queues(port),
        PortKind::Tap(tap) => 2 * u64::from(tap.queues),
        PortKind::Host(_) => 2,
        PortKind::Socket(of) => 1 + 4 * (u64::try_from(of.udp.len()).unwrap_or(0) + u64::from(of.ipip)),
        PortKind::Packet(packet) => 2 + 2 * u64::from(packet.queues),
        PortKind::Upper(_)
        | PortKind::Inside
        | PortKind::Device(_)
        | PortKind::Pcap(_)
        | PortKind::Memory => 0,
    };
    let on_devices = starting(facts).filter(|port| port.kind.is_in_netns());
    let namespaces = on_devices.map(|port| &port.netns).collect::<BTreeSet<_>>().len();
    let namespaces = NAMESPACE * u64::try_from(namespaces).unwrap_or(u64::MAX);
    let needed =
        ITSELF + u64::from(facts.switch.workers) + namespaces + starting(facts).map(of_port).sum::<u64>();
    match facts.host.open_files {
        Some(limit) if limit < needed && !facts.switch.is_running => vec![Finding::error(
            format!("the switch will have {needed} files open, and may not: it will not start"),
            format!("/proc/self/limits: Max open files {limit} (hard)"),
            format!("ulimit -n {}", (2 * needed).next_power_of_two()),
        )],
        _ => Vec::new(),
    }
}

pub(super) fn tun(facts: &Facts) -> Vec<Finding> {
    let taps = starting(facts).filter(|port| matches!(port.kind, PortKind::Tap(_)));
    let taps = taps.map(|port| format!("port {} is a TAP", port.name));
    let Config { bridges, uppers, tunnels, .. } = &facts.config;
    let bridges = bridges.iter().filter(|bridge| bridge.host.is_some()).map(|bridge| &bridge.name);
    let uppers = uppers.iter().filter(|upper| upper.host.is_some()).map(|upper| &upper.name);
    let tunnels = tunnels.iter().filter(|tunnel| tunnel.host.is_some()).map(|tunnel| &tunnel.name);
    let handed = bridges.chain(uppers).chain(tunnels).filter(|_| !facts.switch.is_running);
    let handed = handed.map(|name| format!("{name} is handed to the host as a TAP or TUN"));
    match (&facts.host.no_tun, taps.chain(handed).next()) {
        (Some(why), Some(which)) => vec![Finding::error(
            format!("{which}, and there is no way to open one"),
            format!("/dev/net/tun: {why}"),
            "mkdir -p /dev/net && rm -f /dev/net/tun && mknod -m 666 /dev/net/tun c 10 200",
        )],
        _ => Vec::new(),
    }
}
