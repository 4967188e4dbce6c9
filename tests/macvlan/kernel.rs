//! The same random frames through our macvlans and through this kernel's: the same comes out.

use std::collections::BTreeMap;

use crate::command::{Running, wait_for};
use crate::rig::{NIC, Plug, Random, Rig, Wire, frame, has, run_in};

/// Hosts with a child each; host 0 is outside.
const CHILDREN: usize = 3;
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 1, 1];

fn child(n: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0xc, u8::try_from(n).unwrap()]
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

/// What has come out so far, by host.
type Outputs = Vec<BTreeMap<Vec<u8>, usize>>;

/// One of the two.
struct Side {
    wires: Vec<Wire>,
    out: Outputs,
    _switch: Option<Running>,
    rig: Rig,
}

impl Side {
    fn new(test: &str, modes: &[&str], is_ours: bool) -> Option<Self> {
        let rig = Rig::new(test, &[Plug::Veth; CHILDREN + 1], 1500)?.quiet();
        let switch = is_ours.then(|| rig.folder.start(&ours(&rig, modes)));
        for (n, mode) in (1..).zip(modes).filter(|_| !is_ours) {
            let in_center = |line: &str| run_in(&rig.center, line);
            in_center(&format!(
                "ip link add mv{n} link p0 address {} type macvlan mode {mode}",
                text(child(n))
            ));
            if *mode == "source" {
                in_center(&format!("ip link set mv{n} type macvlan macaddr add {}", text(OUTSIDE)));
            }
            in_center(&format!("ip link set mv{n} netns {}", rig.hosts[n].name()));
            run_in(&rig.hosts[n], &format!("ip link set mv{n} allmulticast on up"));
        }
        let device = |n: usize| if n == 0 { NIC.to_owned() } else { format!("mv{n}") };
        let wires = rig.hosts.iter().enumerate().map(|(n, host)| Wire::new(host, &device(n))).collect();
        Some(Self { wires, out: vec![BTreeMap::new(); CHILDREN + 1], _switch: switch, rig })
    }

    /// Takes up what has come out since.
    fn hear(&mut self) -> &Outputs {
        for (wire, out) in self.wires.iter().zip(&mut self.out) {
            while let Some(frame) = wire.poll() {
                *out.entry(frame).or_default() += 1;
            }
        }
        &self.out
    }
}

fn ours(rig: &Rig, modes: &[&str]) -> String {
    let center = rig.center.name();
    let mut text = format!(
        "[switch]\nmac_table = 1024\n[[port]]\nname = \"p0\"\npacket = \"p0\"\nnetns = \"{center}\"\n"
    );
    for (n, mode) in (1..).zip(modes) {
        let (host, mac) = (rig.hosts[n].name(), self::text(child(n)));
        text +=
            &format!("[[macvlan]]\nname = \"mv{n}\"\nlink = \"p0\"\nmode = \"{mode}\"\nmac = \"{mac}\"\n");
        text += &format!("host = {{ netns = \"{host}\" }}\n");
        text += match *mode {
            "source" => "macaddr = [\"02:00:00:00:01:01\"]\n",
            "private" => "compat = true\n",
            _ => "",
        };
    }
    text
}

fn compare(test: &str, modes: &[&str; CHILDREN], random: &mut Random) -> Option<()> {
    let mut sides =
        [Side::new(&format!("{test}-ours"), modes, true)?, Side::new(&format!("{test}-k"), modes, false)?];
    let groups = [[0xff; 6], [1, 0, 0x5e, 1, 2, 3], [0x33, 0x33, 0, 0, 0, 1], [1, 0x80, 0xc2, 0, 0, 0xe]];
    let stations = [OUTSIDE, [2, 0, 0, 0, 1, 2], child(1), child(2), child(3)];
    let destinations = [&stations[..], &groups].concat();
    for seed in 0..200 {
        let from = random.below(CHILDREN + 1);
        // A child may speak for others, but most of the time does not.
        let own = if from == 0 { OUTSIDE } else { child(from) };
        let source = if random.below(4) == 0 { *random.pick(&stations) } else { own };
        let (to, ethertype) = (*random.pick(&destinations), *random.pick(&[0x88b5, 0x88b5, 0x88b5, 0x8808]));
        let bytes = frame(to, source, ethertype, 60 + random.below(400), seed);
        sides.iter().for_each(|side| side.wires[from].send(&bytes));
    }
    // What came last: every host says so to all.
    for n in 0..=CHILDREN {
        let bytes = frame([0xff; 6], if n == 0 { OUTSIDE } else { child(n) }, 0x88b6, 60, n as u64);
        sides.iter().for_each(|side| side.wires[n].send(&bytes));
    }
    let [ours, kernels] = &mut sides;
    wait_for(&format!("{modes:?}: the same to come out of both"), || {
        let (ours, kernels) = (ours.hear(), kernels.hear());
        (ours == kernels && (1..=CHILDREN).all(|n| kernels[0].keys().any(|bytes| bytes[6..12] == child(n))))
            .then_some(())
    });
    let count: usize = kernels.out.iter().flat_map(BTreeMap::values).sum();
    assert!(count > 200, "{modes:?}: {count} frames came out");
    ours.rig.settled();
    Some(())
}

#[test]
fn random_frames_come_out_as_they_do_of_this_kernels_macvlans() {
    const NAME: &str = "macvlan-random";
    if !has(NAME, "ip") {
        return;
    }
    let mut random = Random(0x5eed);
    for modes in [
        ["bridge", "bridge", "bridge"],
        ["vepa", "vepa", "private"],
        ["bridge", "vepa", "private"],
        ["source", "bridge", "vepa"],
        ["private", "private", "source"],
    ] {
        if compare(NAME, &modes, &mut random).is_none() {
            return;
        }
    }
}
