//! Cards on a bus, as a virtual machine has them: one that merges what it receives, one that does not, and a kernel that does not tell what
//! its drivers can. What the doctor finds there is so, what it says mends it, and the switch starts.

use super::initramfs::Parts;
use super::*;

const MODULES: [&str; 4] = ["virtio_pci", "virtio_net", "vmxnet3", "tun"];

/// What the guest was told under this name, and the code that it ended with.
fn answer<'c>(console: &'c str, name: &str) -> (&'c str, i32) {
    let parts = console.split_once(&format!("== {name}\n")).and_then(|(_, rest)| rest.split_once("== "));
    let (answer, rest) = parts.unwrap_or_else(|| panic!("no {name} in {console}"));
    (answer, rest.lines().next().unwrap().parse().unwrap())
}

#[test]
fn cards_of_a_virtual_machine_are_looked_at_and_switched() {
    let test = "vm-doctor";
    let parts = match Parts::find(&["ethtool", env!("CARGO_BIN_EXE_rigswitch")]) {
        Ok(parts) => parts,
        Err(what) => {
            assert!(std::env::var_os("CI").is_none(), "{test}: {what}");
            return skipped(test, &format!("there is no virtual machine: {what}"));
        }
    };
    let folder = Folder::new(test);
    let mut command = parts.qemu(&folder, include_bytes!("guest.sh"), &MODULES, "");
    command.args(["-m", "768", "-smp", "2"]);
    for (number, card) in ["virtio-net-pci", "vmxnet3"].iter().enumerate() {
        command.args(["-netdev", &format!("hubport,id=n{number},hubid=0"), "-device"]);
        command.arg(format!("{card},netdev=n{number},mac=02:00:00:00:aa:0{number},romfile="));
    }
    let console = said(command.stdin(Stdio::null())).out.replace('\r', "");
    let report = |name: &str| {
        let (text, code) = answer(&console, name);
        let report: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{name}: {text}"));
        (report, code)
    };

    let (before, code) = report("before");
    let findings = before["findings"].as_array().unwrap();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((text(finding, "check"), text(finding, "severity"), code), ("XDP mode", "warning", 0));
    assert_eq!((text(finding, "device"), text(finding, "fix")), ("eth1", "ethtool -K eth1 lro off"));
    let drivers: Vec<_> =
        before["ports"].as_array().unwrap().iter().map(|port| text(port, "driver")).collect();
    assert_eq!(drivers, ["virtio_net", "vmxnet3"]);
    let unseen = before["unseen"].to_string();
    assert!(unseen.contains("netdev netlink"), "this kernel does not tell what drivers can: {unseen}");

    assert_eq!(answer(&console, "mend"), ("", 0));
    let (after, code) = report("after");
    assert_eq!((after["findings"].as_array().unwrap().len(), code), (0, 0), "{after}");

    let (ports, _) = report("ports");
    let up = ports.as_array().unwrap().iter().filter(|port| port["operstate"] == "UP").count();
    assert_eq!(up, 2, "{}: {ports}", answer(&console, "said").0);
    // What it has taken over is looked at as well, and who told nothing before may now be asked of it.
    let (running, _) = report("running");
    assert!(running["ports"].as_array().unwrap().iter().all(|port| port["is_running"] == true), "{running}");
}
