//! `rigswitch doctor` on set-ups that are really bad: it finds what is wrong, the switch fails as it says, and the command that it
//! gives as the fix, run as it stands, makes the finding go away and the switch start.
#![allow(clippy::unwrap_used)] // helpers of tests are tests

#[path = "doctor/cards.rs"]
mod cards;
mod command;
#[path = "doctor/guest.rs"]
mod guest;
#[path = "oracle/initramfs.rs"]
mod initramfs;
#[path = "doctor/routed.rs"]
mod routed;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use command::{Folder, Said, is_machine_root, said, skipped, wait_for};
use rigswitch::lab::{Host, Lab};
use rigswitch_dataplane::sys::packet::PacketSocket;
use serde_json::Value;

/// A namespace for the switch's devices, and one for the far ends of veths.
struct Bed {
    folder: Folder,
    rig: Host,
    far: Host,
    /// The switch's end of a veth, whose name nobody else has.
    device: String,
    _lab: Lab,
}

impl Bed {
    /// `None` where nobody may make one, said aloud.
    fn new(test: &str) -> Option<Self> {
        if !is_machine_root() {
            skipped(test, "its switches take AF_XDP, which needs root");
            return None;
        }
        for (program, package) in [("ethtool", "ethtool"), ("setcap", "libcap2-bin")] {
            let there = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            if !there.status.success() {
                assert!(std::env::var_os("CI").is_none(), "{test} needs {program}");
                skipped(test, &format!("its fixes take {program}: install {package}"));
                return None;
            }
        }
        let mut lab = Lab::new(test).unwrap();
        let (rig, far) = (lab.host("rig").unwrap(), lab.host("far").unwrap());
        let device = format!("{}{}", &test[..3], std::process::id());
        Some(Self { folder: Folder::new(test), rig, far, device, _lab: lab })
    }

    /// The words of a set-up with the names for `RIG`, `FAR` and `DEV`.
    fn fill(&self, words: &str) -> String {
        words.replace("RIG", self.rig.name()).replace("FAR", self.far.name()).replace("DEV", &self.device)
    }

    /// Runs a line of shell in the folder.
    fn shell(&self, line: &str) {
        let said = said(&mut self.shell_command(line));
        assert_eq!(said.code, Some(0), "{line}: {}{}", said.out, said.err);
    }

    fn shell_command(&self, line: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_rigswitch"));
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.folder.path("")).env("PATH", path);
        command.env("RIGSWITCH_SOCKET", self.folder.socket()).env_remove("NOTIFY_SOCKET");
        command
    }

    /// What the doctor finds, whose exit code must agree.
    fn findings(&self, file: &str) -> Vec<Value> {
        findings(self.folder.say(format!("doctor -j {file}").trim()))
    }

    /// What one check finds.
    fn found(&self, file: &str, check: &str) -> Vec<Value> {
        of(self.findings(file), check)
    }

    /// A veth from `DEV` to `eth0` with these options at each end, both up.
    fn veth(&self, options: &str, far: &str) {
        self.shell(&self.fill(&format!(
            "ip -n RIG link del DEV 2>/dev/null; ip -n FAR link del DEV 2>/dev/null; \
             ip -n RIG link add DEV {options} type veth peer name eth0 {far} netns FAR && \
             ip -n RIG link set DEV up && ip -n FAR link set eth0 up"
        )));
    }

    /// Sees that a switch starts from the file that is there.
    fn starts(&self) {
        self.starts_by("exec rigswitch run -c rig.toml");
    }

    /// The same, started by a line of shell that becomes it.
    fn starts_by(&self, line: &str) {
        let file = std::fs::read_to_string(self.folder.path("rig.toml")).unwrap();
        drop(self.folder.start_with(&file, |command| {
            let notify = self.folder.path("notify");
            // Whoever it is started as is to tell.
            std::fs::set_permissions(&notify, Permissions::from_mode(0o777)).unwrap();
            *command = self.shell_command(line);
            command.env("NOTIFY_SOCKET", notify).stdin(Stdio::null()).stderr(Stdio::piped());
        }));
    }
}

fn findings(said: Said) -> Vec<Value> {
    let report: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let findings = report["findings"].as_array().unwrap().clone();
    let errors = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(said.code, Some(i32::from(errors)), "{findings:?}");
    findings
}

fn of(findings: Vec<Value>, check: &str) -> Vec<Value> {
    findings.into_iter().filter(|finding| finding["check"] == check).collect()
}

fn text<'v>(finding: &'v Value, key: &str) -> &'v str {
    finding[key].as_str().unwrap()
}

/// A set-up that is bad: how the veth is made, what is done to it, the file, the check that finds it, how bad it is.
struct Bad {
    name: &'static str,
    near: &'static str,
    far: &'static str,
    done: &'static str,
    ports: &'static str,
    check: &'static str,
    severity: &'static str,
}

const PLAIN: Bad =
    Bad { name: "", near: "", far: "", done: "true", ports: XDP, check: "", severity: "error" };
const XDP: &str = "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = \"DEV\"\n";
const PACKET: &str = "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n";

const BAD: &[Bad] = &[
    Bad { name: "no such device", done: "ip -n RIG link del DEV", check: "presence", ..PLAIN },
    Bad {
        name: "the device is elsewhere",
        done: "ip -n RIG link set DEV netns FAR",
        check: "presence",
        ..PLAIN
    },
    Bad { name: "the far end is down", done: "ip -n FAR link set eth0 down", check: "link", ..PLAIN },
    Bad {
        name: "the far end of a packet port is down",
        done: "ip -n FAR link set eth0 down",
        ports: PACKET,
        check: "link",
        ..PLAIN
    },
    Bad {
        name: "a queue that nobody reads",
        near: "numrxqueues 2 numtxqueues 2",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", queues = 1 }\n",
        check: "queues",
        ..PLAIN
    },
    Bad {
        name: "queues that are not there",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", queues = 3 }\n",
        check: "queues",
        ..PLAIN
    },
    Bad {
        name: "more queues to receive than to send",
        near: "numrxqueues 2 numtxqueues 1",
        check: "queues",
        ..PLAIN
    },
    Bad {
        name: "too few queues for native XDP",
        far: "numrxqueues 2 numtxqueues 2",
        done: "ip netns exec FAR ethtool -L eth0 tx 2",
        check: "XDP mode",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "too few queues for native XDP, which is wanted",
        far: "numrxqueues 2 numtxqueues 2",
        done: "ip netns exec FAR ethtool -L eth0 tx 2",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", mode = \"native\" }\n",
        check: "XDP mode",
        ..PLAIN
    },
    Bad {
        name: "generic XDP",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", mode = \"generic\" }\n",
        check: "XDP mode",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "generic XDP, which loses tags",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", mode = \"generic\" }\n",
        check: "VLAN tags",
        ..PLAIN
    },
    Bad {
        name: "zero-copy on a veth",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = { device = \"DEV\", mode = \"zerocopy\" }\n",
        check: "zero-copy",
        ..PLAIN
    },
    Bad {
        name: "another MTU at the far end",
        done: "ip -n FAR link set eth0 mtu 9000",
        check: "MTU of the far end",
        ..PLAIN
    },
    Bad {
        name: "two MTUs in a bridge",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = \"DEV\"\n[[port]]\nname = \"p2\"\nmemory = true\nmtu = 2000\n\
                [[bridge]]\nname = \"br0\"\nport = [{ device = \"p1\" }, { device = \"p2\" }]\n",
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "two MTUs in a bridge, the smaller in the file",
        ports: "[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = \"DEV\"\nmtu = 1300\n[[port]]\nname = \"p2\"\nmemory = true\nmtu = 1500\n\
                [[bridge]]\nname = \"br0\"\nport = [{ device = \"p1\" }, { device = \"p2\" }]\n",
        check: "MTU chain",
        ..PLAIN
    },
    Bad {
        name: "a port of a kernel bridge",
        done: "ip -n RIG link del br9 2>/dev/null; ip -n RIG link add br9 type bridge && ip -n RIG link set DEV master br9",
        check: "masters",
        ..PLAIN
    },
    Bad {
        name: "a macvlan on it",
        done: "ip -n RIG link add mv1 link DEV type macvlan && ip -n RIG link set mv1 up",
        check: "devices on it",
        ..PLAIN
    },
    Bad {
        name: "an address of the host's",
        done: "ip -n RIG addr add 10.9.9.1/24 dev DEV",
        check: "addresses",
        ..PLAIN
    },
    Bad {
        name: "a far end without segmentation",
        done: "ip netns exec FAR ethtool -K eth0 tso off tx off",
        ports: PACKET,
        check: "offloads",
        severity: "warning",
        ..PLAIN
    },
    Bad { name: "unfinished checksums", check: "offloads", severity: "note", ..PLAIN },
    Bad {
        name: "kernel threads that poll a veth",
        done: "ip netns exec RIG ethtool -K DEV gro on && ip netns exec RIG sh -c 'echo 1 > /sys/class/net/DEV/threaded'",
        ports: PACKET,
        check: "NAPI",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "frames that wait for a timer",
        done: "ip netns exec RIG ethtool -K DEV gro on && ip netns exec RIG sh -c \
               'echo 2 > /sys/class/net/DEV/napi_defer_hard_irqs; echo 200000 > /sys/class/net/DEV/gro_flush_timeout'",
        ports: PACKET,
        check: "NAPI",
        severity: "warning",
        ..PLAIN
    },
    Bad {
        name: "iptables beside",
        done: "{ ip -n RIG link show br8 || ip -n RIG link add br8 type bridge; } >/dev/null 2>&1 && \
               ip netns exec RIG sysctl -qw net.bridge.bridge-nf-call-iptables=1",
        check: "br_netfilter",
        severity: "note",
        ..PLAIN
    },
    Bad {
        name: "a CPU that is not there",
        ports: "[switch]\nworkers = [1023]\n[[port]]\nname = \"p1\"\nnetns = \"RIG\"\nxdp = \"DEV\"\n",
        check: "pinning",
        ..PLAIN
    },
    Bad {
        name: "more workers than CPUs",
        ports: "[switch]\nworkers = 64\nframes = 256\n[[port]]\nname = \"p1\"\nnetns = \"RIG\"\npacket = \"DEV\"\n",
        check: "pinning",
        severity: "warning",
        ..PLAIN
    },
];

#[test]
fn what_is_bad_is_found_and_its_fix_mends_it() {
    let Some(bed) = Bed::new("bad-doctor") else { return };
    let cpus = std::thread::available_parallelism().unwrap().get();
    let can_be = |bad: &&Bad| match bad.name {
        "more workers than CPUs" => cpus < 64,
        "iptables beside" => Path::new("/proc/sys/net/bridge").exists(),
        _ => true,
    };
    for bad in BAD.iter().chain(routed::BAD).filter(can_be) {
        bed.veth(bad.near, bad.far);
        bed.shell(&bed.fill(bad.done));
        bed.folder.write("rig.toml", &bed.fill(bad.ports));
        let found = bed.found("rig.toml", bad.check);
        let [finding] = &found[..] else { panic!("{}: {:?}", bad.name, bed.findings("rig.toml")) };
        assert_eq!(text(finding, "severity"), bad.severity, "{}: {finding}", bad.name);
        assert!(!text(finding, "evidence").is_empty());
        if text(finding, "what").contains("will not start") {
            let said = said(&mut bed.shell_command("timeout 60 rigswitch run -c rig.toml"));
            assert_eq!(said.code, Some(1), "{}: it starts: {finding}", bad.name);
        }
        bed.shell(text(finding, "fix"));
        let after = bed.findings("rig.toml");
        let same: Vec<_> = after.iter().filter(|other| other["what"] == finding["what"]).collect();
        assert!(same.is_empty(), "{}: {} left {same:?}", bad.name, finding["fix"]);
        if after.iter().all(|finding| finding["severity"] != "error") {
            bed.starts();
        }
    }
}

#[test]
fn a_good_set_up_is_said_so_in_a_line() {
    let Some(bed) = Bed::new("good-doctor") else { return };
    bed.veth("", "");
    bed.folder.write("rig.toml", &bed.fill(PACKET));
    let said = bed.folder.say("doctor rig.toml");
    assert_eq!((said.code, said.err.as_str(), said.out.lines().count()), (Some(0), "", 1), "{}", said.out);
    let expected = bed.fill("of DEV (port p1, packet: veth, MTU 1500)\n");
    assert!(
        said.out.starts_with("nothing wrong: looked at kernel, ") && said.out.ends_with(&expected),
        "{}",
        said.out
    );
    bed.folder.write("rig.toml", &bed.fill(&PACKET.replace("packet", "device")));
    let [note] = &bed.found("rig.toml", "choice")[..] else { panic!("no word of the choice") };
    assert!(text(note, "what").starts_with("packet was chosen"), "{note}");
    bed.shell(text(note, "fix"));
    let file = std::fs::read_to_string(bed.folder.path("rig.toml")).unwrap();
    assert_eq!(file, bed.fill(XDP), "the fix makes the other choice");
}

/// What is found by the doctor, and done by `run`, inside `wrapper`, which takes a command; and, where the fix may be
/// done at all, what is after it.
fn in_a_wrapper(bed: &Bed, wrapper: &str, check: &str, may_be_mended: bool) {
    let inside = |line: &str| {
        bed.folder.write("inside.sh", line);
        said(&mut bed.shell_command(&format!("{wrapper} sh inside.sh")))
    };
    let found = of(findings(inside("exec rigswitch doctor rig.toml -j")), check);
    let [finding] = &found[..] else { panic!("{wrapper}: {found:?}") };
    assert_eq!(text(finding, "severity"), "error", "{finding}");
    let ran = inside("exec timeout 60 rigswitch run -c rig.toml");
    assert_eq!(ran.code, Some(1), "{wrapper}: it starts: {finding}");
    if !may_be_mended {
        return;
    }
    let fix = text(finding, "fix");
    let after = findings(inside(&format!("{fix}\nexec rigswitch doctor rig.toml -j")));
    assert_eq!(of(after, check), [] as [Value; 0], "{fix}");
    bed.folder.write("inside.sh", &format!("{fix}\nexec rigswitch run -c rig.toml"));
    bed.starts_by(&format!("exec {wrapper} sh inside.sh"));
}

#[test]
fn what_the_host_does_not_allow_is_found_and_its_fix_allows_it() {
    let Some(bed) = Bed::new("hos-doctor") else { return };
    bed.veth("", "");
    bed.folder.write("rig.toml", &bed.fill(XDP));
    let effective = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = effective.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    let may_raise = u64::from_str_radix(effective, 16).unwrap() >> 24 & 1 == 1; // CAP_SYS_RESOURCE
    in_a_wrapper(&bed, "prlimit --nofile=20:20", "open files", may_raise);
    bed.folder.write("rig.toml", &bed.fill("[[port]]\nname = \"p1\"\nnetns = \"RIG\"\ntap = \"tDEV\"\n"));
    in_a_wrapper(
        &bed,
        "unshare --mount sh -c 'mount -t tmpfs none /dev/net && exec \"$@\"' -",
        "/dev/net/tun",
        true,
    );
}

#[test]
fn without_root_it_says_what_it_lacks_and_what_it_could_not_see() {
    let Some(bed) = Bed::new("cap-doctor") else { return };
    bed.veth("", "");
    bed.folder.write("rig.toml", &bed.fill(XDP));
    std::fs::copy(env!("CARGO_BIN_EXE_rigswitch"), bed.folder.path("rigswitch")).unwrap();
    bed.shell("chmod 777 .");
    const LIMITS: &str = "prlimit --memlock=0:0 setpriv --reuid 65534 --regid 65534 --clear-groups";
    let nobody =
        |words: &str| said(&mut bed.shell_command(&format!("{LIMITS} timeout 60 ./rigswitch {words}")));
    let refuses = || nobody("run -c rig.toml").code == Some(1);
    let before = nobody("doctor rig.toml -j");
    assert!(before.out.contains("the network namespace"), "it cannot be entered: {}", before.out);
    let [finding] = &of(findings(before), "capabilities")[..] else { panic!("nothing is lacking") };
    for name in ["cap_net_admin", "cap_net_raw", "cap_bpf", "cap_sys_admin"] {
        assert!(text(finding, "what").contains(name), "{finding}");
    }
    assert!(refuses());

    bed.shell(&text(finding, "fix").replace("cap_ipc_lock,", ""));
    let after = nobody("doctor rig.toml -j");
    assert!(!after.out.contains("the network namespace"), "{}", after.out);
    let after = findings(after);
    assert_eq!(of(after.clone(), "capabilities"), [] as [Value; 0]);
    let [finding] = &of(after, "locked memory")[..] else { panic!("all may be locked") };
    assert!(refuses());

    bed.shell(text(finding, "fix"));
    assert_eq!(of(findings(nobody("doctor rig.toml -j")), "locked memory"), [] as [Value; 0]);
    bed.starts_by(&format!("exec {LIMITS} ./rigswitch run -c rig.toml"));
}

#[test]
fn a_program_of_another_is_found_at_either_end() {
    let Some(bed) = Bed::new("xdp-doctor") else { return };
    bed.veth("", "");
    let mut other = bed.folder.start(&bed.fill(XDP));
    let here = |words: &str| {
        findings(bed.folder.say(&format!("--socket {}/other.sock {words} -j", bed.folder.path("").display())))
    };
    bed.folder.write("rig.toml", &bed.fill(XDP));
    let found = of(here("doctor rig.toml"), "other XDP programs");
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!(text(finding, "fix"), format!("kill {}", other.pid()), "{finding}");
    let ran = said(&mut bed.shell_command("timeout 60 rigswitch run --socket $PWD/other.sock -c rig.toml"));
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    bed.shell(text(finding, "fix"));
    assert_eq!(other.wait().code(), Some(0));
    assert_eq!(of(here("doctor rig.toml"), "other XDP programs"), [] as [Value; 0]);

    let _far = bed.folder.start(&bed.fill("[[port]]\nname = \"p1\"\nnetns = \"FAR\"\nxdp = \"eth0\"\n"));
    bed.folder.write("rig.toml", &bed.fill(PACKET));
    let unheard =
        || of(here("doctor rig.toml"), "offloads").into_iter().find(|found| found["severity"] == "error");
    bed.shell(text(&unheard().expect("what XDP sends there is lost"), "fix"));
    assert_eq!(unheard(), None);
}

#[test]
fn a_running_switch_is_looked_at_too() {
    let Some(bed) = Bed::new("run-doctor") else { return };
    bed.veth("numrxqueues 2 numtxqueues 2", "numrxqueues 4 numtxqueues 4");
    bed.shell(&bed.fill("ip netns exec FAR ethtool -L eth0 tx 4"));
    let queues = XDP.replace("\"DEV\"", "{ device = \"DEV\", queues = 1 }");
    let switch = bed.folder.start(&bed.fill(&queues));
    // One thing after the other, the last in the way of nothing.
    let mend = |check: &str, what: &str| {
        let found = bed.found("", check);
        let [finding] = &found[..] else { panic!("{check}: {found:?}") };
        assert!(text(finding, "what").contains(what), "{finding}");
        bed.shell(text(finding, "fix"));
        assert!(bed.found("", check).iter().all(|other| other["what"] != finding["what"]), "{finding}");
    };
    mend("XDP mode", "transmit queues");
    mend("XDP mode", "native would do by now");
    mend("queues", "1 of its 2 receive queues");
    bed.shell(&bed.fill("ip -n RIG link set DEV down"));
    mend("link", "taken down");
    assert_eq!(bed.found("", "XDP mode"), [] as [Value; 0]);

    assert_eq!(bed.found("", "drops before the switch"), [] as [Value; 0]);
    switch.signal("STOP");
    let frame = [[0xff; 60].as_slice(), &[0; 4]].concat();
    let index = bed.far.netdev("eth0").unwrap().index().unwrap();
    let socket = bed.far.run(|| PacketSocket::silent(index)).unwrap().unwrap();
    (0..8192).for_each(|_| socket.send(&frame).unwrap());
    switch.signal("CONT");
    let lost = wait_for("the drops", || bed.found("", "drops before the switch").pop());
    assert_eq!(text(&lost, "severity"), "error");
    assert!(text(&lost, "evidence").starts_with("GET /v1/drops: p1 rx_"), "{lost}");
}
