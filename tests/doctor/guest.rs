//! Cards on a bus, as virtual machines have them, under a kernel that does not tell what its drivers can, and under one that does. What the
//! doctor finds there is so, what it says mends it, and the switch starts.

use super::initramfs::Parts;
use super::*;

/// A kernel, what of it the cards and ports are made of that it has not built in, and how many processors it runs on.
struct Machine {
    kernel: &'static str,
    modules: &'static [&'static str],
    processors: &'static str,
    /// Its cards, and the wire that each is on.
    cards: &'static [(&'static str, u8)],
}

/// It does not tell what its drivers can.
const SILENT: Machine = Machine {
    kernel: "kernel",
    modules: &["virtio_pci", "virtio_net", "vmxnet3", "tun"],
    processors: "2",
    cards: TWO,
};

/// It does. On one processor: where there are two, qemu 7.2 may run instructions on the one as they were before the other patched them.
const TELLS: Machine = Machine {
    kernel: "kernel-backport",
    modules: &["virtio_net", "vmxnet3", "tun"],
    processors: "1",
    cards: TWO,
};

const TWO: &[(&str, u8)] = &[("virtio-net-pci", 0), ("vmxnet3", 0)];

/// The same with cards that are not copied from: two for the switch, and one for each of them to talk to.
const UNCOPIED: Machine = Machine { modules: &["virtio_net", "tun"], cards: FOUR, ..TELLS };
const DMA: &str = "virtio-net-pci,disable-legacy=on,iommu_platform=on";
const FOUR: &[(&str, u8)] = &[(DMA, 0), (DMA, 1), ("virtio-net-pci", 0), ("virtio-net-pci", 1)];

/// A guest that has come to its end, and what it said.
struct Guest(String);

impl Guest {
    /// One that does this; none where there is no virtual machine, said aloud.
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
        for (number, (card, wire)) in machine.cards.iter().enumerate() {
            command.args(["-netdev", &format!("hubport,id=n{number},hubid={wire}"), "-device"]);
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

    /// The first thing that was found about a device: what it is, and the evidence.
    fn about(&self, name: &str, device: &str) -> (String, String) {
        let (report, _) = self.report(name);
        let mut findings = report["findings"].as_array().unwrap().iter();
        let finding = findings.find(|finding| finding["device"] == device);
        let finding = finding.unwrap_or_else(|| panic!("{name}: {report}"));
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
    // This card says that it has it, and then refuses.
    let dma = "# have its virtual machine started with iommu_platform=on,disable-legacy=on for the card";
    let copied = ["zero-copy", "warning", "eth0", dma];
    assert_eq!(guest.found("copies"), [copied]);
    assert_eq!(guest.ports("copies", "zero_copy"), [false, false]);

    let shorter = "ip link set dev eth1 mtu 3000";
    let whole = ["zero-copy", "warning", "eth0", "ip link set dev eth0 mtu 3506"];
    assert_eq!(guest.found("long"), [whole, ["XDP mode", "warning", "eth1", shorter]]);
    let (what, evidence) = guest.about("long", "eth1");
    assert!(
        what.starts_with(
            "frames of an MTU of 9000 take several buffers, and its driver (vmxnet3) has them not"
        ),
        "{what}"
    );
    assert_eq!(evidence, "IFLA_MTU: 9000; NETDEV_A_DEV_XDP_FEATURES: no rx-sg");
    assert_eq!(guest.ports("long", "xdp"), ["native", "generic"]);
    assert_eq!(guest.ports("runs long", "xdp"), ["native", "generic"], "{}", guest.0);
    assert_eq!(guest.found("long natively"), [whole, ["XDP mode", "error", "eth1", shorter]]);
    assert_eq!(guest.answer("long natively is refused").1, 1);
    assert_eq!(guest.found("short"), [copied]);
    assert_eq!(guest.ports("runs short", "xdp"), ["native", "native"], "{}", guest.answer("said").0);
    assert_eq!(guest.ports("runs short", "is_running"), [true, true]);
}

/// Zero-copy, wanted and chosen: questions and their answers go through it, and so they do when the ports are opened again.
const ASKED: &str = r#"
/bin/busybox unshare -n /bin/busybox sleep 3600 &
far=$!
in_far() { busybox nsenter -t "$far" -n busybox "$@"; }
net() { busybox readlink "/proc/$1/ns/net"; }
while [ "$(net "$far")" = "$(net 1)" ]; do busybox usleep 10000; done
ip link set eth3 netns "$far"
in_far ip link set eth3 up
in_far ip addr add 192.0.2.2/24 dev eth3
ip link set eth2 up
ip addr add 192.0.2.1/24 dev eth2
cat >/run/rig.toml <<END
port = [{ name = "p0", xdp = { device = "eth0", mode = "zerocopy" } }, { name = "p1", xdp = "eth1" }]
bridge = [{ name = "br0", port = [{ device = "p0" }, { device = "p1" }] }]
END
until_answered() {
  tries=0
  until busybox ping -c 1 -W 2 192.0.2.2 >/run/ping; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || return 1
  done
}
examine zero-copy
start
tell answered until_answered
tell ports rigswitch --socket /run/sock show ports -j
tell running rigswitch --socket /run/sock doctor -j
echo 'port = [{ name = "p0", xdp = { device = "eth0", mode = "zerocopy" } }]' >/run/without.toml
tell less rigswitch --socket /run/sock apply /run/without.toml
tell more rigswitch --socket /run/sock apply /run/rig.toml
tell "answered again" until_answered
tell drops rigswitch --socket /run/sock show drops -j
stop
start
tell "answered anew" until_answered
tell said cat /run/said
"#;

#[test]
fn frames_go_through_cards_without_being_copied() {
    let Some(guest) = Guest::run("vm-zero-copy", &UNCOPIED, ASKED) else { return };
    assert_eq!(guest.found("zero-copy"), [[""; 4]; 0]);
    assert_eq!(guest.ports("zero-copy", "zero_copy"), [true, true]);
    for done in ["answered", "less", "more", "answered again", "answered anew"] {
        assert_eq!(guest.answer(done).1, 0, "{done}: {}", guest.0);
    }
    let (ports, _) = guest.report("ports");
    for port in ports.as_array().unwrap() {
        assert_eq!((&port["xdp"], &port["zero_copy"]), (&"native".into(), &true.into()), "{port}");
        for way in ["rx", "tx"] {
            assert!(port[way]["packets"].as_u64() > Some(0), "{way}: {port}");
        }
    }
    assert_eq!(guest.ports("running", "zero_copy"), [true, true]);
    assert_eq!(guest.found("running"), [[""; 4]; 0]);
    let (drops, _) = guest.report("drops");
    assert_eq!(drops["ledger"]["balanced"], true, "{drops}");
}
