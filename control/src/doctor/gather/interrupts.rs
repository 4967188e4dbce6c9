//! The interrupts by which a card says that it has received, and the CPUs that they go to.

use std::fs;
use std::path::{Path, PathBuf};

use rigswitch_dataplane::sys::napi::Napi;

use super::host::cpu_list;
use crate::doctor::facts::Interrupt;

/// Those of a card at this place on its bus; those that its driver links with NAPI, where it does (kernel 6.8 and later; virtio_net and vmxnet3 do not).
pub(super) fn of(bus: &str, napis: &[Napi]) -> Vec<Interrupt> {
    let told: Vec<_> = napis.iter().filter_map(|napi| napi.irq).filter_map(interrupt).collect();
    if !told.is_empty() {
        return told;
    }
    let all: Vec<_> = of_place(&place(bus)).into_iter().filter_map(interrupt).collect();
    match all.iter().filter(|one| receives(&one.name)).cloned().collect::<Vec<_>>() {
        none if none.is_empty() => all,
        some => some,
    }
}

/// A card's folder. A virtio device is where what it is on is.
pub(super) fn place(bus: &str) -> PathBuf {
    match bus.starts_with("virtio") {
        true => Path::new("/sys/bus/virtio/devices").join(bus).join(".."),
        false => Path::new("/sys/bus/pci/devices").join(bus),
    }
}

/// Message-signalled ones, or else the one that is a wire.
fn of_place(place: &Path) -> Vec<u32> {
    let entries = fs::read_dir(place.join("msi_irqs")).into_iter().flatten().flatten();
    let mut all: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    if all.is_empty() {
        let wire = fs::read_to_string(place.join("irq")).unwrap_or_default();
        all.extend(wire.trim().parse::<u32>());
    }
    all.sort_unstable();
    all
}

/// As drivers call them: `virtio0-input.0`, `eth1-rxtx-0`, `ice-eth1-TxRx-0`, `mlx5_comp0@pci:0000:01:00.0`.
fn receives(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["rx", "input", "comp"].iter().any(|word| name.contains(word))
}

/// One that somebody waits for, by whose name it has a folder.
fn interrupt(number: u32) -> Option<Interrupt> {
    let folder = PathBuf::from(format!("/proc/irq/{number}"));
    let mut entries = fs::read_dir(&folder).ok()?.flatten();
    let waits = entries.find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))?;
    let list = |name: &str| cpu_list(&fs::read_to_string(folder.join(name)).unwrap_or_default());
    Some(Interrupt {
        number,
        name: waits.file_name().to_string_lossy().into_owned(),
        cpus: goes_to(list("effective_affinity_list"), list("smp_affinity_list")),
    })
}

/// Where it goes, of the CPUs that it may go to; from elsewhere it goes to these from the next on.
fn goes_to(is: Vec<usize>, may: Vec<usize>) -> Vec<usize> {
    if is.iter().any(|cpu| may.contains(cpu)) { is } else { may }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_of_receiving_are_told_by_their_names() {
        for name in ["virtio0-input.0", "eth1-rxtx-0", "ice-eth1-TxRx-0", "mlx5_comp0@pci:0000:01:00.0"] {
            assert!(receives(name), "{name}");
        }
        for name in ["virtio0-config", "virtio0-output.0", "eth1-event-2", "eth1-tx-0"] {
            assert!(!receives(name), "{name}");
        }
    }

    #[test]
    fn one_that_is_told_to_move_is_where_it_will_be() {
        assert_eq!(goes_to(vec![1], vec![0, 1]), [1]);
        assert_eq!(goes_to(vec![1], vec![0, 2]), [0, 2]);
        assert_eq!(goes_to(vec![], vec![0]), [0], "this kernel does not tell");
    }
}
