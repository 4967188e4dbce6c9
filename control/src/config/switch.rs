//! `[switch]`: what is the whole switch's.

use std::path::PathBuf;

use super::fields::{Fields, Shape};
use super::{Idle, SwitchConfig, Workers};

const SWITCH: Shape =
    Shape { label: "[switch]", keys: &["socket", "workers", "idle", "frames", "mac_table"], later: &[] };

/// The highest CPU number that a worker can be pinned to.
const LAST_CPU: i64 = 1023;

pub(super) fn read(file: &Fields<'_>) -> SwitchConfig {
    let default = SwitchConfig::default();
    let Some(fields) = file.table("switch", &SWITCH) else { return default };
    SwitchConfig {
        socket: socket(&fields),
        workers: workers(&fields).unwrap_or(default.workers),
        idle: fields
            .word("idle", &[("adaptive", Idle::Adaptive), ("spin", Idle::Spin)])
            .unwrap_or(default.idle),
        frames: fields.integer("frames", 256..=1 << 20),
        mac_table: fields.integer("mac_table", 1024..=1 << 24).unwrap_or(default.mac_table),
    }
}

fn socket(fields: &Fields<'_>) -> Option<PathBuf> {
    /// The kernel's room for the path of a Unix socket, less its end.
    const LONGEST: usize = 107;
    let text = fields.text("socket")?;
    if !text.value.starts_with('/') || text.value.len() > LONGEST || text.value.contains('\0') {
        let rule =
            format!("`socket` is `{}`, and must be an absolute path of at most {LONGEST} bytes", text.value);
        fields.problems.push(text.span, rule, "write a path as /run/rigswitch/rig.sock");
        return None;
    }
    Some(text.value.into())
}

fn workers(fields: &Fields<'_>) -> Option<Workers> {
    let value = fields.value("workers")?;
    let limit = Workers::LIMIT;
    let Some(list) = value.get_ref().as_array() else {
        return fields.integer_of("workers", value, 1..=i64::from(limit)).map(Workers::Count);
    };
    if list.is_empty() || list.len() > usize::from(limit) {
        let rule = format!("`workers` lists {} CPUs, and must list 1 to {limit}", list.len());
        fields.problems.push(value.span(), rule, "name a CPU for each worker, as [2, 3]");
        return None;
    }
    let mut cpus = Vec::new();
    for element in list.iter() {
        let cpu: u16 = fields.integer_of("workers", element, 0..=LAST_CPU)?;
        if cpus.contains(&cpu) {
            let rule = format!("`workers` has CPU {cpu} twice");
            fields.problems.push(element.span(), rule, "give each worker a CPU of its own");
            return None;
        }
        cpus.push(cpu);
    }
    Some(Workers::Pinned(cpus))
}
