//! Facts of the host: kernel, limits, capabilities, CPUs. All of it stands in /proc and /sys.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::str::FromStr;

use rigswitch_dataplane::sys::cpu;

use crate::doctor::facts::{Host, Unseen};

/// What can be seen of the host.
pub(super) fn look(unseen: &mut Vec<Unseen>) -> Host {
    let mut read = |path: &str| match fs::read_to_string(path) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) => {
            // What is not there, a kernel of this kind does not have.
            if error.kind() != std::io::ErrorKind::NotFound {
                unseen.push(Unseen { what: path.into(), why: error.to_string() });
            }
            None
        }
    };
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let limits = read("/proc/self/limits").unwrap_or_default();
    let status = read("/proc/self/status").unwrap_or_default();
    let online = cpu_list(&read("/sys/devices/system/cpu/online").unwrap_or_default());
    let isolated = cpu_list(&read("/sys/devices/system/cpu/isolated").unwrap_or_default());
    let siblings = |cpu: &usize| format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let mut cores: Vec<_> =
        online.iter().filter_map(|cpu| read(&siblings(cpu))).map(|text| cpu_list(&text)).collect();
    cores.dedup();
    Host {
        kernel: version(&release),
        release,
        xdp_sockets: read("/proc/net/protocols")
            .map(|text| text.lines().any(|line| line.starts_with("XDP "))),
        bpf_jit: number(read("/proc/sys/net/core/bpf_jit_enable")),
        unprivileged_bpf_disabled: number(read("/proc/sys/kernel/unprivileged_bpf_disabled")),
        capabilities: u64::from_str_radix(field(&status, "CapEff:").unwrap_or_default(), 16)
            .unwrap_or(u64::MAX),
        // What the process starts with is the soft limit of the one, and the hard limit of the other, which `run` takes.
        locked_memory: limit(&limits, "Max locked memory", 0),
        open_files: limit(&limits, "Max open files", 1),
        no_tun: no_tun(),
        online,
        allowed: cpu::allowed(),
        isolated,
        cores,
        program: std::env::current_exe().unwrap_or_else(|_| Path::new("rigswitch").to_owned()),
    }
}

/// Why no TAP can be opened.
fn no_tun() -> Option<String> {
    OpenOptions::new().read(true).write(true).open("/dev/net/tun").err().map(|error| error.to_string())
}

fn number<T: FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}

/// `6.18.44-rc1` as 6, 18.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The word after `name` in a file of a name and a value a line.
pub(super) fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The soft (0) or hard (1) limit of this name in /proc/self/limits; none: unlimited.
fn limit(limits: &str, name: &str, which: usize) -> Option<u64> {
    field(limits, name)?.split_whitespace().nth(which)?.parse().ok()
}

/// `0-2,5` as 0, 1, 2, 5.
pub(super) fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert!(cpu_list("").is_empty());
        assert_eq!(version("6.18.44-rc1"), (6, 18));
        assert_eq!(version(""), (0, 0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n\
                      Max locked memory         unlimited            unlimited            bytes\n";
        assert_eq!(limit(limits, "Max open files", 1), Some(524_288));
        assert_eq!(limit(limits, "Max locked memory", 0), None);
    }
}
