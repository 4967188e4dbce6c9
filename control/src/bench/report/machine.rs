//! What the figures were measured on.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::bench::trial::{ProcStat, Steal, StealClock};
use crate::civil::utc;

/// The machine, as the kernel tells it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    /// Whether a hypervisor shares it out.
    pub(crate) is_virtual: bool,
    /// How the clock rate is chosen, where the kernel chooses it.
    pub(crate) governor: Option<String>,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of the last minute before the run.
    pub(crate) load: f64,
    /// The share of its CPU time that went to others during the run, in percent.
    pub(crate) steal_percent: f64,
    /// How devices were driven, a line each.
    pub(crate) drivers: Vec<String>,
    /// What devices were left to do, a line each.
    pub(crate) offloads: Vec<String>,
}

impl Machine {
    /// This one.
    pub(crate) fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line =
                cpuinfo.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = read("/proc/meminfo");
        let kib = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok());
        Self {
            cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            is_virtual: field("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            governor: Some(governor.trim().to_owned()).filter(|governor| !governor.is_empty()),
            memory_mib: kib.unwrap_or(0u64) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.unwrap_or(0.0),
            ..Self::default()
        }
    }

    /// What a reader asks for, each with its answer.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let kind = if self.is_virtual { ", virtual" } else { "" };
        let plural = if self.cpus == 1 { "" } else { "s" };
        let mut facts = vec![
            ("CPU", self.cpu.clone()),
            ("machine", format!("{} CPU{plural}, {} MiB{kind}", self.cpus, self.memory_mib)),
            ("kernel", self.kernel.clone()),
            ("governor", self.governor.clone().unwrap_or_else(|| "not the kernel's to choose".to_owned())),
            ("load before", format!("{:.2}", self.load)),
            ("CPU steal", format!("{:.2} % of the run", self.steal_percent)),
        ];
        facts.extend(self.drivers.iter().map(|line| ("driver", line.clone())));
        facts.extend(self.offloads.iter().map(|line| ("offloads", line.clone())));
        facts
    }
}

/// Tells how much was stolen during a run.
pub(crate) struct StolenSince(Steal);

impl StolenSince {
    /// From now on.
    pub(crate) fn now() -> Self {
        Self(ProcStat.read())
    }

    /// In percent, so far.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * ProcStat.read().since(self.0)
    }
}

/// The time, in UTC and RFC 3339's form.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    utc("%Y-%m-%dT%H:%M:%SZ", seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_cpu_and_a_kernel() {
        let machine = Machine::look();
        assert!(!machine.cpu.is_empty() && machine.cpus > 0 && machine.memory_mib > 0);
        assert!(machine.kernel.contains('.'), "{}", machine.kernel);
        let now = now();
        assert!(now.len() == 20 && now.starts_with("20") && now.ends_with('Z'), "{now}");
    }
}
