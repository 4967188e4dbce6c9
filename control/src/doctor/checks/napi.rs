//! Who polls a device, where and when: NAPI, its thread or its interrupt, and its timers.

use super::Finding;
use crate::doctor::facts::{Device, Facts, Polled, Port};

pub(super) fn napi(facts: &Facts, _: &Port, device: &Device) -> Vec<Finding> {
    [threaded(device), crowded(facts, device), deferred(device)].concat()
}

/// Writes a setting of the device's in sysfs.
fn set(device: &Device, key: &str, value: &str) -> String {
    let write = format!("echo {value} > /sys/class/net/{}/{key}", device.end.name);
    match device.end.place {
        crate::doctor::facts::Place::Here => write,
        _ => device.end.place.run(&format!("sh -c '{write}'")),
    }
}

/// A veth's work is best done where its sender runs.
fn threaded(device: &Device) -> Vec<Finding> {
    let thread = device.napis.iter().find_map(|polled| polled.napi.thread).filter(|_| device.peer.is_some());
    let finding = |pid| {
        Finding::warning(
            "kernel threads receive for this veth instead of its sender: one more wake-up on the way of every burst",
            format!("NETDEV_A_NAPI_PID: {pid}"),
            set(device, "threaded", "0"),
        )
    };
    thread.map(finding).into_iter().collect()
}

/// The kernel's part of the work on the CPU of a worker.
fn crowded(facts: &Facts, device: &Device) -> Vec<Finding> {
    let pinned = |cpu: &usize| facts.switch.cpus.iter().any(|&worker| usize::from(worker) == *cpu);
    let only_there = |polled: &&Polled| !polled.cpus.is_empty() && polled.cpus.iter().all(pinned);
    let Some(polled) = device.napis.iter().find(only_there) else { return Vec::new() };
    let others =
        || facts.host.online.iter().filter(|cpu| !pinned(cpu)).map(ToString::to_string).collect::<Vec<_>>();
    let list = others().join(",");
    let (evidence, fix) = match (polled.napi.thread, polled.napi.irq) {
        (Some(pid), _) => (
            format!("/proc/{pid}/status: Cpus_allowed_list: {:?}", polled.cpus),
            format!("taskset -pc {list} {pid}"),
        ),
        (None, irq) => {
            let irq = irq.unwrap_or_default();
            let evidence = format!(
                "NETDEV_A_NAPI_IRQ: {irq}; /proc/irq/{irq}/effective_affinity_list: {:?}",
                polled.cpus
            );
            (evidence, format!("echo {list} > /proc/irq/{irq}/smp_affinity_list"))
        }
    };
    let fix = if list.is_empty() {
        "# workers = fewer CPUs than there are: the kernel needs one".into()
    } else {
        fix
    };
    vec![Finding::warning(
        "the kernel receives for it on the CPU of a worker, and each waits for the other",
        evidence,
        fix,
    )]
}

/// Nobody polls on the device's behalf: what is deferred waits for the timer.
fn deferred(device: &Device) -> Vec<Finding> {
    let waits = |polled: &&Polled| polled.napi.defer_hard_irqs > 0 && polled.napi.gro_flush_timeout_ns > 0;
    let finding = |polled: &Polled| {
        let (defer, timeout) = (polled.napi.defer_hard_irqs, polled.napi.gro_flush_timeout_ns);
        Finding::warning(
            format!("a frame may wait {} µs for a timer before the switch is told of it", timeout / 1000),
            format!("NETDEV_A_NAPI_DEFER_HARD_IRQS: {defer}; NETDEV_A_NAPI_GRO_FLUSH_TIMEOUT: {timeout}"),
            set(device, "napi_defer_hard_irqs", "0"),
        )
    };
    device.napis.iter().find(waits).map(finding).into_iter().collect()
}
