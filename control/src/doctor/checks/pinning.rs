//! Workers and CPUs: that the ones named are there, theirs, and not each other's.

use std::collections::BTreeSet;

use super::Finding;
use crate::doctor::facts::Facts;

pub(super) fn pinning(facts: &Facts) -> Vec<Finding> {
    let pinned: Vec<usize> = facts.switch.cpus.iter().map(|&cpu| cpu.into()).collect();
    if pinned.is_empty() {
        loose(facts)
    } else {
        [unusable(facts, &pinned), shared(facts, &pinned), kept(facts, &pinned)].concat()
    }
}

/// Workers that no CPU was named for.
fn loose(facts: &Facts) -> Vec<Finding> {
    let (workers, cpus) = (usize::from(facts.switch.workers), facts.host.allowed.len());
    let spins = facts.switch.spins;
    if workers <= cpus && !(spins && workers == cpus) || cpus == 0 {
        return Vec::new();
    }
    let what = match spins {
        true => format!(
            "{workers} workers spin on {cpus} CPUs: the kernel, which moves the frames of veths, has none left"
        ),
        false => format!("{workers} workers share {cpus} CPUs"),
    };
    let fewer = if spins { (cpus - 1).max(1) } else { cpus };
    let fix = match (spins, cpus) {
        (true, 1) => facts.set_switch("idle", "\"adaptive\""),
        _ => facts.set_switch("workers", &fewer.to_string()),
    };
    vec![Finding::warning(
        what,
        format!("workers = {workers}; sched_getaffinity(2): {:?}", facts.host.allowed),
        fix,
    )]
}

/// CPUs that a worker cannot be pinned to.
fn unusable(facts: &Facts, pinned: &[usize]) -> Vec<Finding> {
    let host = &facts.host;
    let usable = |cpu: &usize| host.allowed.contains(cpu);
    let Some(bad) = pinned.iter().find(|cpu| !usable(cpu)).filter(|_| !facts.switch.is_running) else {
        return Vec::new();
    };
    let (why, evidence) = match host.online.contains(bad) {
        false => ("is not there", format!("/sys/devices/system/cpu/online: {:?}", host.online)),
        true => ("may not be used by this process", format!("sched_getaffinity(2): {:?}", host.allowed)),
    };
    // Those that may stay, and then others that nobody has.
    let spare = host.allowed.iter().filter(|cpu| !pinned.contains(cpu));
    let others = pinned.iter().filter(|cpu| usable(cpu)).chain(spare).take(pinned.len());
    let list: Vec<_> = others.map(ToString::to_string).collect();
    vec![Finding::error(
        format!("a worker is pinned to CPU {bad}, which {why}: the switch will not start"),
        evidence,
        facts.set_switch("workers", &format!("[{}]", list.join(", "))),
    )]
}

/// Workers on hardware threads of one core.
fn shared(facts: &Facts, pinned: &[usize]) -> Vec<Finding> {
    let both = |core: &&Vec<usize>| core.iter().filter(|cpu| pinned.contains(cpu)).count() > 1;
    let cores: BTreeSet<_> = facts.host.cores.iter().filter(both).collect();
    let finding = |core: &Vec<usize>| {
        let others: Vec<_> =
            facts.host.cores.iter().filter_map(|core| core.first()).map(ToString::to_string).collect();
        let list = others.into_iter().take(pinned.len()).collect::<Vec<_>>().join(", ");
        Finding::warning(
            "two workers are pinned to hardware threads of one core, and share it",
            format!("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list: {core:?}", core[0]),
            facts.set_switch("workers", &format!("[{list}]")),
        )
    };
    cores.into_iter().map(finding).collect()
}

/// CPUs that other tasks use as well, where some are kept free of them.
fn kept(facts: &Facts, pinned: &[usize]) -> Vec<Finding> {
    let isolated = &facts.host.isolated;
    let open: Vec<_> = pinned.iter().filter(|cpu| !isolated.contains(cpu)).collect();
    if open.is_empty() || isolated.is_empty() {
        return Vec::new();
    }
    let list: Vec<_> = isolated.iter().take(pinned.len()).map(ToString::to_string).collect();
    vec![Finding::note(
        format!("workers are pinned to {open:?}, where other tasks run too, and CPUs are kept free of them"),
        format!("/sys/devices/system/cpu/isolated: {isolated:?}"),
        facts.set_switch("workers", &format!("[{}]", list.join(", "))),
    )]
}
