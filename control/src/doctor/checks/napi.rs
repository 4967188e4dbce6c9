//! Who polls a device, where and when: NAPI, its thread or its interrupt, and its timers.

use super::Finding;
use crate::doctor::facts::{Device, Facts, Interrupt, Polled, Port};

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

/// The kernel's part of the work on the CPU of a worker: where its threads run, or else where its interrupts go.
fn crowded(facts: &Facts, device: &Device) -> Vec<Finding> {
    let pinned = |cpu: &usize| facts.switch.cpus.iter().any(|&worker| usize::from(worker) == *cpu);
    let only_there = |cpus: &[usize]| !cpus.is_empty() && cpus.iter().all(pinned);
    let others: Vec<_> =
        facts.host.online.iter().filter(|cpu| !pinned(cpu)).map(ToString::to_string).collect();
    let list = others.join(",");
    let threads = device.napis.iter().filter_map(|polled| Some((polled.napi.thread?, &polled.cpus)));
    let interrupts = device.interrupts.iter().filter(|_| threads.clone().next().is_none());
    let of_thread = |(pid, cpus): (u32, &Vec<usize>)| {
        let evidence = format!("/proc/{pid}/status: Cpus_allowed_list: {cpus:?}");
        (evidence, format!("taskset -pc {list} {pid}"))
    };
    let of_interrupt = |Interrupt { number, name, cpus }: &Interrupt| {
        let evidence = format!("/proc/irq/{number}/effective_affinity_list ({name}): {cpus:?}");
        (evidence, format!("echo {list} > /proc/irq/{number}/smp_affinity_list"))
    };
    let threads = threads.clone().filter(|(_, cpus)| only_there(cpus)).map(of_thread);
    let found = threads.chain(interrupts.filter(|one| only_there(&one.cpus)).map(of_interrupt));
    let (evidence, fixes): (Vec<_>, Vec<_>) = found.unzip();
    if evidence.is_empty() {
        return Vec::new();
    }
    let fix = match others.is_empty() {
        true => "# workers = fewer CPUs than there are: the kernel needs one".into(),
        false => fixes.join(" && "),
    };
    vec![Finding::warning(
        "the kernel receives for it on the CPU of a worker, and each waits for the other",
        evidence.join("; "),
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
