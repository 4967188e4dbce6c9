//! Cards on a bus, as virtual machines have them, under a kernel that does not tell what its drivers can, and under one that does. What the
//! doctor finds there is so, what it says mends it, and the switch starts.

use super::initramfs::Parts;
use super::*;

/// A kernel, what of it the cards and ports are made of that it has not built in, and how many processors it runs on.
struct Machine {
    kernel: &'static str,
    modules: &'static [&'static str],
    processors: &'static str,
}

/// It does not tell what its drivers can.
const SILENT: Machine =
    Machine { kernel: "kernel", modules: &["virtio_pci", "virtio_net", "vmxnet3", "tun"], processors: "2" };

/// It does. On one processor: where there are two, qemu 7.2 may run instructions on the one as they were before the other patched them.
const TELLS: Machine =
    Machine { kernel: "kernel-6.12", modules: &["virtio_net", "vmxnet3", "tun"], processors: "1" };

/// A guest that has come to its end, and what it said.
struct Guest(String);

impl Guest {
    /// One with two cards, which does this; none where there is no virtual machine, said aloud.
    fn run(test: &str, machine: &Machine, script: &str) -> Option<Self> {
        let parts = match Parts::find(machine.kernel, &["ethtool", env!("CARGO_BIN_EXE_rigswitch")]) {
            Ok(parts) => parts,
            Err(what) => {
                assert!(std::env::var_os("CI").is_none(), "{test}: {what}");
                skipped(test, &format!("there is no virtual machine: {what}"));
                return None;
            }
        };
        let folder = Folder::new(test);
        let init = [include_str!("guest.sh"), script, "busybox poweroff -f\n"].concat();
        let mut command = parts.qemu(&folder, init.as_bytes(), machine.modules, "");
        command.args(["-m", "768", "-smp", machine.processors]);
        for (number, card) in ["virtio-net-pci", "vmxnet3"].iter().enumerate() {
            command.args(["-netdev", &format!("hubport,id=n{number},hubid=0"), "-device"]);
            command.arg(format!("{card},netdev=n{number},mac=02:00:00:00:aa:0{number},romfile="));
        }
        Some(Self(said(command.stdin(Stdio::null())).out.replace('\r', "")))
    }

    /// What it was told under this name, and the code that it ended with.
    fn answer(&self, name: &str) -> (&str, i32) {
        let parts = self.0.split_once(&format!("== {name}\n")).and_then(|(_, rest)| rest.split_once("== "));
        let (answer, rest) = parts.unwrap_or_else(|| panic!("no {name} in {}", self.0));
        (answer, rest.lines().next().unwrap().parse().unwrap())
    }

    fn report(&self, name: &str) -> (Value, i32) {
        let (text, code) = self.answer(name);
        let line = text.lines().next().unwrap_or_default(); // what follows says how bad it is
        (serde_json::from_str(line).unwrap_or_else(|_| panic!("{name}: {text} in {}", self.0)), code)
    }

    /// Check, severity, device and fix of everything that was found.
    fn found(&self, name: &str) -> Vec<[String; 4]> {
        let (report, code) = self.report(name);
        let findings = report["findings"].as_array().unwrap();
        let errors = findings.iter().any(|finding| finding["severity"] == "error");
        assert_eq!(code, i32::from(errors), "{name}: {report}");
        let words = |finding: &Value| {
            ["check", "severity", "device", "fix"]
                .map(|key| finding[key].as_str().unwrap_or_default().to_owned())
        };
        findings.iter().map(words).collect()
    }

    /// The one thing that was found: what it is, and the evidence.
    fn only(&self, name: &str) -> (String, String) {
        let (report, _) = self.report(name);
        let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{name}: {report}") };
        (text(finding, "what").to_owned(), text(finding, "evidence").to_owned())
    }

    /// One key of every port.
    fn ports(&self, name: &str, key: &str) -> Vec<Value> {
        self.report(name).0["ports"].as_array().unwrap().iter().map(|port| port[key].clone()).collect()
    }
}

/// LRO; frames that are too long for this kernel; interrupts on the CPU of a worker.
const MENDED: &str = r#"
cat >/run/rig.toml <<END
port = [{ name = "p0", xdp = "eth0" }, { name = "p1", xdp = "eth1" }]
bridge = [{ name = "br0", port = [{ device = "p0" }, { device = "p1" }] }]
END
examine merges
mend
examine "does not merge"

cat /run/rig.toml >/run/both.toml
echo 'port = [{ name = "p0", xdp = "eth0" }]' >/run/rig.toml
ip link set eth0 mtu 9000
examine long
refused "long is refused"
mend
examine short
ip link set eth0 mtu 1500

cat /run/both.toml >/run/rig.toml
echo 'switch = { workers = [0] }' >>/run/rig.toml
for name in /proc/irq/*/virtio*-input.* /proc/irq/*/eth*-rxtx-*; do echo 0 >"${name%/*}/smp_affinity_list"; done
examine crowded
mend
examine spread

start
tell ports rigswitch --socket /run/sock show ports -j
tell running rigswitch --socket /run/sock doctor -j
tell said cat /run/said
"#;

#[test]
fn cards_of_a_virtual_machine_are_looked_at_and_switched() {
    let Some(guest) = Guest::run("vm-doctor", &SILENT, MENDED) else { return };
    let merges = ["XDP mode", "warning", "eth1", "ethtool -K eth1 lro off"];
    assert_eq!(guest.found("merges"), [merges]);
    assert_eq!(guest.ports("merges", "driver"), ["virtio_net", "vmxnet3"]);
    let unseen = guest.report("merges").0["unseen"].to_string();
    assert!(unseen.contains("netdev netlink"), "this kernel does not tell what drivers can: {unseen}");
    assert_eq!(guest.found("does not merge"), [[""; 4]; 0]);

    assert_eq!(guest.found("long"), [["kernel", "error", "", "ip link set dev eth0 mtu 3506"]]);
    assert_eq!(guest.answer("long is refused").1, 1);
    assert_eq!(guest.found("short"), [[""; 4]; 0]);

    let crowded = guest.found("crowded");
    let [virtio, vmxnet3] = &crowded[..] else { panic!("{crowded:?}") };
    assert_eq!(
        (&virtio[..3], &vmxnet3[..3]),
        (
            &["NAPI", "warning", "eth0"].map(String::from)[..],
            &["NAPI", "warning", "eth1"].map(String::from)[..]
        )
    );
    let evidence = guest.report("crowded").0["findings"].to_string();
    for (name, [.., fix]) in [("virtio0-input.0", virtio), ("eth1-rxtx-0", vmxnet3)] {
        let number = evidence.split(&format!("/effective_affinity_list ({name}): [0]")).next().unwrap();
        let number = number.rsplit('/').next().unwrap();
        assert!(fix.contains(&format!("echo 1 > /proc/irq/{number}/smp_affinity_list")), "{fix}: {evidence}");
    }
    assert_eq!(guest.found("spread"), [[""; 4]; 0]);

    let (ports, _) = guest.report("ports");
    let up = ports.as_array().unwrap().iter().filter(|port| port["operstate"] == "UP").count();
    assert_eq!(up, 2, "{}: {ports}", guest.answer("said").0);
    // What it has taken over is looked at as well, and who told nothing before may now be asked of it.
    assert_eq!(guest.ports("running", "is_running"), [true, true]);
    assert_eq!(guest.ports("running", "xdp"), ["native", "generic"]); // vmxnet3 takes programs from 6.6 on
}

/// Zero-copy that no driver here has; frames in several buffers, which one has.
const BELIEVED: &str = r#"
ethtool -K eth1 lro off
cat >/run/rig.toml <<END
[[port]]
name = "p0"
xdp = { device = "eth0", mode = "zerocopy" }
[[port]]
name = "p1"
xdp = { device = "eth1", mode = "zerocopy" }
END
examine "zero-copy"
refused "zero-copy is refused"
mend
examine copies

for device in eth0 eth1; do ip link set "$device" mtu 9000; done
examine long
start
tell "runs long" rigswitch --socket /run/sock doctor -j
stop
busybox sed -i 's/"auto"/"native"/' /run/rig.toml
examine "long natively"
refused "long natively is refused"
mend
examine short
start
tell "runs short" rigswitch --socket /run/sock doctor -j
tell said cat /run/said
"#;

#[test]
fn what_drivers_say_that_they_can_is_so() {
    let Some(guest) = Guest::run("vm-told", &TELLS, BELIEVED) else { return };
    let auto = |port| {
        format!(r#"sed -i '/name *= *"{port}"/,/^\[/ s/\bmode *= *[^,}} ]*/mode = "auto"/' /run/rig.toml"#)
    };
    let none = |device, port| ["zero-copy".to_owned(), "error".into(), device, auto(port)];
    assert_eq!(guest.found("zero-copy"), [none("eth0".to_owned(), "p0"), none("eth1".to_owned(), "p1")]);
    assert_eq!(guest.answer("zero-copy is refused").1, 1);
    assert_eq!(guest.found("copies"), [[""; 4]; 0]);
    assert_eq!(guest.ports("copies", "zero_copy"), [false, false]);

    let shorter = "ip link set dev eth1 mtu 3000";
    assert_eq!(guest.found("long"), [["XDP mode", "warning", "eth1", shorter]]);
    let (what, evidence) = guest.only("long");
    assert!(
        what.starts_with(
            "frames of an MTU of 9000 take several buffers, and its driver (vmxnet3) has them not"
        ),
        "{what}"
    );
    assert_eq!(evidence, "IFLA_MTU: 9000; NETDEV_A_DEV_XDP_FEATURES: no rx-sg");
    assert_eq!(guest.ports("long", "xdp"), ["native", "generic"]);
    assert_eq!(guest.ports("runs long", "xdp"), ["native", "generic"], "{}", guest.0);
    assert_eq!(guest.found("long natively"), [["XDP mode", "error", "eth1", shorter]]);
    assert_eq!(guest.answer("long natively is refused").1, 1);
    assert_eq!(guest.found("short"), [[""; 4]; 0]);
    assert_eq!(guest.ports("runs short", "xdp"), ["native", "native"], "{}", guest.answer("said").0);
    assert_eq!(guest.ports("runs short", "is_running"), [true, true]);
}
