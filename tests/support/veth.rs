//! Two private network namespaces with a veth between them, for tests on real devices. Everything is gone with the
//! handles, however the test ends: the namespaces have no names.
#![allow(dead_code)] // each test uses its part
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::time::Duration;

use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;
use rigswitch_dataplane::sys::packet::PacketSocket;
use rigswitch_dataplane::sys::poll::PollSet;

/// `near`, where the switch's device is, and `far`, where a host is.
pub(crate) struct Rig {
    pub(crate) near: Netns,
    pub(crate) far: Netns,
}

impl Rig {
    /// Both namespaces, empty. `None`, with a word why, where nobody may make one.
    pub(crate) fn new(test: &str) -> Option<Self> {
        match (Netns::anonymous(), Netns::anonymous()) {
            (Ok(near), Ok(far)) => Some(Self { near, far }),
            (Err(error), _) | (_, Err(error)) => {
                let _ = writeln!(std::io::stderr(), "{test} skipped, it needs root: {error}");
                None
            }
        }
    }

    /// As [`Rig::new`], with a veth from `near0` to `far0`, `queues` queues and an MTU of `mtu` on both ends, up,
    /// and IPv6 off, so that no host says anything by itself.
    pub(crate) fn veth(test: &str, queues: u16, mtu: u32) -> Option<Self> {
        let rig = Self::new(test)?;
        rig.add_veth("near0", &format!("numtxqueues {queues} numrxqueues {queues}"), "far0");
        for (netns, device) in [(&rig.near, "near0"), (&rig.far, "far0")] {
            run(netns, &format!("ip link set {device} mtu {mtu}"));
            up(netns, device);
        }
        Some(rig)
    }

    /// A veth from `near` in the near namespace to `far` in the far one, both with `options`.
    pub(crate) fn add_veth(&self, near: &str, options: &str, far: &str) {
        let far_netns = path(&self.far);
        run(
            &self.near,
            &format!("ip link add {near} {options} type veth peer name {far} {options} netns {far_netns}"),
        );
    }

    /// A packet socket on a device of the far namespace.
    pub(crate) fn far_socket(&self, device: &str) -> PacketSocket {
        self.far.run(|| PacketSocket::open(Netdev::new(device, None)?.index()?)).unwrap().unwrap()
    }
}

/// Where the namespace can be opened by another process as long as this one lives.
pub(crate) fn path(netns: &Netns) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
}

/// Brings a device up, with IPv6 off on it first.
pub(crate) fn up(netns: &Netns, device: &str) {
    let knob = format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6");
    // A kernel without IPv6 has no such knob, and needs none.
    let _ = netns.run(|| std::fs::write(&knob, "1")).unwrap();
    run(netns, &format!("ip link set {device} up"));
}

/// Runs a command in a namespace and answers what it says.
///
/// # Panics
/// When it fails.
pub(crate) fn run(netns: &Netns, line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command"));
    let output = netns.run(|| command.args(words).output()).unwrap().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks again and again, a millisecond apart, until there is an answer, for at most about five seconds.
///
/// # Panics
/// When there was none, saying what was waited for.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..5000 {
        if let Some(answer) = ask() {
            return answer;
        }
        PollSet::new().wait(Some(Duration::from_millis(1))).unwrap();
    }
    panic!("waited in vain for {what}");
}
