//! Rule by rule, on ports in memory: what goes into an outer header, what comes out of one, and what control makes of it.

use std::collections::BTreeMap;

use etherparse::{IpNumber, Ipv4Header};
use rigswitch::config::Config;
use rigswitch::switch::{ByHand, Switch};
use rigswitch::views::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord};
use rigswitch_dataplane::ports::Now;
use rigswitch_dataplane::wire::flow::SourcePorts;

use super::packets::{FAR, NEAR, Outer, PLAIN};
use super::rig::{frame, tagged};

pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
pub(crate) const HERE: [u8; 6] = [2, 0, 0, 0, 0, 1]; // behind p0
pub(crate) const THERE: [u8; 6] = [2, 0, 0, 0, 0, 2]; // behind the far end
const EXPERIMENT: u16 = 0x88b5;

/// p0 is bridged with vx0, which leaves by u0. Far ends are 192.0.2.2 to .4, and fd00::c000:202 and so on.
pub(crate) fn bridged(keys: &str) -> String {
    let mut text = String::from(
        "port = [{ name = \"p0\", memory = true }, { name = \"u0\", memory = true, address = \"02:00:00:00:ea:01\" }]\n\
         bridge = [{ name = \"br0\", port = [{ device = \"p0\" }, { device = \"vx0\" }] }]\n\
         address = [{ device = \"u0\", address = \"192.0.2.1/24\" }, { device = \"u0\", address = \"fd00::c000:201/64\" }]\n",
    );
    text += "neighbor = [";
    for n in 2..5 {
        for address in [format!("192.0.2.{n}"), format!("fd00::c000:20{n}")] {
            text += &format!(
                "{{ device = \"u0\", address = \"{address}\", mac = \"02:00:00:00:fa:{n:02x}\" }}, "
            );
        }
    }
    text + "]\n[[vxlan]]\nname = \"vx0\"\nid = 42\ndstport = 4789\naddress = \"02:00:00:00:0e:01\"\n" + keys
}

pub(crate) const TO_ONE: &str =
    "local = \"192.0.2.1\"\nfdb = [{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\" }]\n";

/// A switch that is turned by hand.
pub(crate) struct Played<'h, 'w> {
    pub(crate) hand: &'h mut ByHand<'w>,
    millis: u64,
}

impl Played<'_, '_> {
    /// A frame comes in by a port; what leaves by p0 and by u0.
    pub(crate) fn send(&mut self, port: &str, frame: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.hand.switch().memory_end(port).unwrap().send(frame.to_vec()).unwrap();
        self.left()
    }

    /// What has left by p0 and by u0 since.
    pub(crate) fn left(&mut self) -> [Vec<Vec<u8>>; 2] {
        while self.hand.step() > 0 {}
        // What the router announces of its addresses is to groups, and outer packets are not.
        let is_announced = |port: &str, bytes: &[u8]| port == "u0" && bytes[0] & 1 == 1;
        ["p0", "u0"].map(|port| {
            let end = self.hand.switch().memory_end(port).unwrap();
            let frames = std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes);
            frames.filter(|bytes| !is_announced(port, bytes)).collect()
        })
    }

    /// The same with what is to groups.
    pub(crate) fn send_all(&mut self, port: &str, frame: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.hand.switch().memory_end(port).unwrap().send(frame.to_vec()).unwrap();
        while self.hand.step() > 0 {}
        ["p0", "u0"].map(|port| {
            let end = self.hand.switch().memory_end(port).unwrap();
            std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes).collect()
        })
    }

    /// What the host says leaves in these outer packets.
    pub(crate) fn out(&mut self, frame: &[u8]) -> Vec<Outer> {
        let [back, out] = self.send("p0", frame);
        assert!(back.is_empty(), "{back:x?}");
        out.iter().map(|frame| Outer::parse(frame).unwrap()).collect()
    }

    /// The far ends that it leaves for, by the last octet of their addresses.
    pub(crate) fn goes_to(&mut self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let mut ends: Vec<_> = self.out(&usual(to, from)).iter().map(|outer| outer.addresses[1][3]).collect();
        ends.sort_unstable();
        ends
    }

    /// What of an outer packet comes out by p0. Nothing goes back to a far end.
    pub(crate) fn comes_in(&mut self, outer: &Outer) -> Vec<Vec<u8>> {
        let [inside, back] = self.send("u0", &outer.frame());
        assert!(back.is_empty(), "{back:x?}");
        inside
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        for _ in 0..millis / 100 {
            self.millis += 100;
            self.hand.set_time(Now { unix_ns: self.millis * 1_000_000 });
            self.hand.tick();
        }
    }

    /// What has been dropped since the last call, by device, direction and reason.
    pub(crate) fn drops(&mut self, before: &mut BTreeMap<String, u64>) -> Vec<String> {
        assert!(self.hand.switch().drops().ledger.balanced);
        let mut news = Vec::new();
        for port in self.hand.switch().ports() {
            for (reason, count) in &port.drops {
                let key = format!("{} {reason}", port.ifname);
                let old = before.insert(key.clone(), *count).unwrap_or(0);
                news.extend((0..count - old).map(|_| key.clone()));
            }
        }
        news
    }

    /// The entries of vx0 itself: station, far end and state.
    fn entries(&mut self) -> Vec<String> {
        let of_it = self.hand.switch().fdb().into_iter().filter(|entry| entry.flags == ["self"]);
        let word = |entry: rigswitch::views::FdbView| {
            let extra = [entry.port.map(|port| format!(":{port}")), entry.vni.map(|vni| format!("/{vni}"))];
            let extra: String = extra.into_iter().flatten().collect();
            format!("{} {}{extra} {}", &entry.mac[15..], entry.dst.unwrap(), entry.state)
                .trim_end()
                .to_owned()
        };
        of_it.map(word).collect()
    }

    fn fdb(&mut self, how: FdbHow, mac: &str, dst: &str) -> Result<(), String> {
        self.change(FdbChange { how, ..change(mac, dst) })
    }

    pub(crate) fn change(&mut self, change: FdbChange) -> Result<(), String> {
        self.hand.switch().change_fdb(&change).map_err(|error| error.to_string())
    }

    pub(crate) fn plan(&mut self, wanted: &Config) -> Vec<String> {
        self.hand.switch().plan(wanted).unwrap().view().iter().map(ToString::to_string).collect()
    }
}

pub(crate) fn change(mac: &str, dst: &str) -> FdbChange {
    FdbChange { mac: mac.into(), ifname: "vx0".into(), dst: Some(dst.into()), ..FdbChange::default() }
}

pub(crate) fn usual(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    frame(to, from, EXPERIMENT, 60, 0)
}

pub(crate) fn config(text: &str) -> Config {
    Config::parse(&format!("switch = {{ mac_table = 1024 }}\n{text}"), "rig.toml")
        .unwrap_or_else(|refused| panic!("{refused}"))
}

pub(crate) fn play(text: &str, act: impl FnOnce(&mut Played<'_, '_>)) {
    Switch::by_hand(config(text), Now { unix_ns: 0 }, |hand| act(&mut Played { hand, millis: 0 })).unwrap();
}

fn ip(change: impl FnOnce(&mut Ipv4Header), length: usize) -> Vec<u8> {
    let mut header = Ipv4Header::new(0, 17, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
    header.dont_fragment = true;
    header.set_payload_len(length - 34).unwrap();
    change(&mut header);
    header.header_checksum = header.calc_header_checksum();
    let mut frame = [&THERE[..], &HERE, &[8, 0], &header.to_bytes()].concat();
    frame.resize(length, 7);
    frame
}

#[test]
fn frames_leave_in_an_outer_header_as_the_kernel_makes_it() {
    play(&bridged(TO_ONE), |rig| {
        for inner in
            [usual(THERE, HERE), tagged(&usual(BROADCAST, HERE), [0x81, 0, 0xa0, 7]), ip(|_| (), 1300)]
        {
            let [outer] = &rig.out(&inner)[..] else { panic!("one far end") };
            assert!(SourcePorts::DEFAULT.contains(outer.ports[0]), "{}", outer.ports[0]);
            let expected = Outer {
                stations: [NEAR, FAR],
                addresses: [[192, 0, 2, 1], [192, 0, 2, 2]],
                ports: [outer.ports[0], 4789],
                has_checksum: true,
                ..Outer::of(&inner)
            };
            assert_eq!(*outer, expected);
        }
    });
    let keys = "local = \"fd00::c000:201\"\nremote = \"fd00::c000:202\"\n";
    play(&bridged(keys), |rig| {
        let [outer] = &rig.out(&usual(THERE, HERE))[..] else { panic!("one far end") };
        assert_eq!((outer.is_ipv6, outer.has_checksum, outer.addresses[1]), (true, true, [192, 0, 2, 2]));
        assert_eq!(outer.inner, usual(THERE, HERE));
    });
}

#[test]
fn outer_headers_are_filled_in_as_the_device_says() {
    let inner = ip(|ip| (ip.dscp, ip.ecn) = (10.try_into().unwrap(), 3.try_into().unwrap()), 100);
    for (keys, expected) in [
        ("", (2, 64, false)), // of the type of service always the ECN, and congestion stays inside
        ("ttl = 9\ntos = 0x48\ndf = \"set\"\nudpcsum = false\n", (0x4a, 9, true)),
        ("ttl = \"inherit\"\ntos = \"inherit\"\ndf = \"inherit\"\n", (0x2a, 17, true)),
        ("ttl = \"auto\"\ndf = \"unset\"\n", (2, 64, false)),
    ] {
        play(&bridged(&format!("{TO_ONE}{keys}srcport = [1000, 1002]\n")), |rig| {
            let [outer] = &rig.out(&inner)[..] else { panic!("one far end") };
            assert_eq!((outer.tos, outer.ttl, outer.dont_fragment), expected, "{keys}");
            assert_eq!(outer.has_checksum, !keys.contains("udpcsum"));
            assert!([1000, 1001].contains(&outer.ports[0]));
        });
    }
}

#[test]
fn what_is_not_right_is_dropped_by_name() {
    let inner = usual(HERE, THERE);
    let plain = Outer::of(&inner);
    let cases = |keys: &str, cases: &[(&str, Vec<u8>)]| {
        play(&bridged(keys), |rig| {
            let mut before = BTreeMap::new();
            for (reason, bytes) in cases {
                let [inside, _] = rig.send("u0", bytes);
                let expected: Vec<_> =
                    Some(format!("u0 rx.{reason}")).filter(|_| !reason.is_empty()).into_iter().collect();
                assert_eq!(rig.drops(&mut before), expected, "{reason}");
                assert_eq!(inside.len(), usize::from(reason.is_empty()), "{reason}");
            }
        });
    };
    let with = |change: fn(&mut Outer)| {
        let mut outer = plain.clone();
        change(&mut outer);
        outer.frame()
    };
    let broken = |at: usize, bytes: &[u8], of: Vec<u8>| {
        let mut frame = of;
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let summed = with(|outer| outer.has_checksum = true);
    cases(
        TO_ONE,
        &[
            ("", plain.frame()),
            ("", summed.clone()),
            ("", [&plain.frame()[..], &[0; 9]].concat()),
            ("", with(|outer| outer.header |= 0x4700_0012_0000_00ff)),
            ("vxlan_truncated", plain.around(&[8, 0, 0, 0, 0, 0, 42])),
            ("vxlan_truncated", plain.around(&[8, 0, 0, 0, 0, 0, 42, 0])),
            ("vxlan_truncated", with(|outer| outer.inner.truncate(13))),
            ("vxlan_no_vni", with(|outer| outer.header = 42 << 8)),
            ("vxlan_unknown_vni", with(|outer| outer.header = PLAIN | 43 << 8)),
            ("vxlan_loop", with(|outer| outer.inner[6..12].copy_from_slice(&[2, 0, 0, 0, 0x0e, 1]))),
            ("source_group", with(|outer| outer.inner[6] |= 1)),
            ("source_zero", with(|outer| outer.inner[6..12].fill(0))),
            ("udp_checksum", broken(41, &[summed[41] ^ 1], summed.clone())),
            ("udp_checksum", broken(90, &[0x77], summed.clone())),
            ("udp_malformed", broken(38, &[0, 7], plain.frame())),
            ("udp_malformed", broken(38, &[0xff, 0], plain.frame())),
            ("tunnel_congested", {
                let mut outer = Outer::of(&ip(|_| (), 100));
                outer.tos = 3;
                outer.inner[6..12].copy_from_slice(&THERE);
                outer.frame()
            }),
        ],
    );
    cases(
        &format!("{TO_ONE}compat = true\n"),
        &[
            ("", plain.frame()),
            ("vxlan_reserved", with(|outer| outer.header |= 1)),
            ("vxlan_reserved", with(|outer| outer.header |= 1 << 63)),
        ],
    );
    cases(
        &format!("{TO_ONE}reserved_bits = \"0x00000000000000f0\"\n"),
        &[("", with(|outer| outer.header |= 0xf)), ("vxlan_reserved", with(|outer| outer.header |= 0x10))],
    );
    let ipv6 = |has_checksum: bool| Outer { is_ipv6: true, has_checksum, ..plain.clone() };
    let keys = "local = \"fd00::c000:201\"\nremote = \"fd00::c000:202\"\n";
    cases(keys, &[("", ipv6(true).frame()), ("udp_checksum", ipv6(false).frame())]);
    cases(&format!("{keys}udp6zerocsumrx = true\n"), &[("", ipv6(true).frame()), ("", ipv6(false).frame())]);
}

#[test]
fn congestion_in_the_tunnel_is_told_inside() {
    play(&bridged(TO_ONE), |rig| {
        let with_ecn = |ecn: u8| {
            let mut inner = ip(|ip| ip.ecn = ecn.try_into().unwrap(), 100);
            inner[..6].copy_from_slice(&HERE);
            inner[6..12].copy_from_slice(&THERE);
            inner
        };
        let outer = Outer { tos: 3, ..Outer::of(&with_ecn(2)) };
        assert_eq!(rig.comes_in(&outer), [with_ecn(3)]);
    });
}

#[test]
fn stations_are_learned_behind_their_far_ends_and_nothing_goes_from_one_to_another() {
    const TWO: &str = "local = \"192.0.2.1\"\nageing = \"2s\"\n\
        fdb = [{ mac = \"00:00:00:00:00:00\", dst = \"192.0.2.2\" }, { mac = \"00:00:00:00:00:00\", dst = \"192.0.2.3\" }]\n";
    play(&bridged(TWO), |rig| {
        assert_eq!(rig.goes_to(BROADCAST, HERE), [2, 3]);
        assert_eq!(rig.goes_to(GROUP, HERE), [2, 3]);
        assert_eq!(rig.goes_to(THERE, HERE), [2, 3], "nobody knows where it is");
        let from = |end: u8, to: [u8; 6]| Outer {
            addresses: [[192, 0, 2, end], [192, 0, 2, 1]],
            ..Outer::of(&usual(to, THERE))
        };
        for end in [3, 4] {
            assert_eq!(rig.comes_in(&from(end, HERE)).len(), 1);
            // Control has to give a number to a far end that no entry names.
            assert!(end == 4 || rig.goes_to(THERE, HERE) == [end]);
            rig.pass(100);
            assert_eq!(rig.goes_to(THERE, HERE), [end]);
            assert_eq!(rig.comes_in(&from(end, BROADCAST)).len(), 1, "and nothing goes out again");
            assert_eq!(rig.goes_to(BROADCAST, HERE), [2, 3]);
        }
        assert_eq!(rig.entries(), ["00 192.0.2.2 permanent", "00 192.0.2.3 permanent", "02 192.0.2.4"]);
        let bridges =
            |entry: &rigswitch::views::FdbView| entry.mac.ends_with(":00:02") && entry.master.is_some();
        let shown: Vec<_> = rig.hand.switch().fdb().into_iter().filter(bridges).collect();
        assert_eq!(
            (shown.len(), &*shown[0].ifname, &shown[0].dst),
            (1, "vx0", &None),
            "the bridge's names the device"
        );
        // The time, the step in which it was seen, and the sweep.
        rig.pass(2_000 + 800 + 300);
        assert_eq!(rig.entries().len(), 2, "it has aged");
        assert_eq!(rig.goes_to(THERE, HERE), [2, 3]);
    });
    play(&bridged(&format!("{TO_ONE}learning = false\n")), |rig| {
        assert_eq!(rig.comes_in(&Outer::of(&usual(HERE, THERE))).len(), 1);
        rig.pass(100);
        assert_eq!(rig.entries(), ["00 192.0.2.2 permanent"]);
    });
}

#[test]
fn fixed_entries_do_not_move_and_what_comes_from_elsewhere_is_dropped() {
    let keys = "local = \"192.0.2.1\"\nfdb = [{ mac = \"02:00:00:00:00:02\", dst = \"192.0.2.3\" }, \
        { mac = \"02:00:00:00:00:03\", dst = \"192.0.2.3\", state = \"static\", port = 8472, vni = 7 }]\n";
    play(&bridged(keys), |rig| {
        let mut before = BTreeMap::new();
        for last in [2, 3] {
            let station = [2, 0, 0, 0, 0, last];
            let outer = Outer::of(&usual(HERE, station));
            assert!(rig.comes_in(&outer).is_empty());
            assert_eq!(rig.drops(&mut before), ["u0 rx.vxlan_fixed"]);
            let outer = Outer { addresses: [[192, 0, 2, 3], [192, 0, 2, 1]], ..outer };
            assert_eq!(rig.comes_in(&outer).len(), 1, "from there, whatever the port");
        }
        let [outer] = &rig.out(&usual([2, 0, 0, 0, 0, 3], HERE))[..] else { panic!("one far end") };
        assert_eq!((outer.ports[1], outer.header), (8472, PLAIN | 7 << 8));
        assert!(rig.out(&usual(BROADCAST, HERE)).is_empty());
        assert_eq!(rig.drops(&mut before), ["vx0 tx.vxlan_no_remote"]);
    });
}

#[test]
fn as_many_addresses_as_may_be_are_known() {
    play(&bridged(&format!("{TO_ONE}maxaddress = 3\n")), |rig| {
        for last in 10..20 {
            assert_eq!(rig.comes_in(&Outer::of(&usual(HERE, [2, 0, 0, 0, 0, last]))).len(), 1);
            rig.pass(100);
        }
        assert_eq!(rig.entries(), ["00 192.0.2.2 permanent", "0a 192.0.2.2", "0b 192.0.2.2"]);
        let why = rig.fdb(FdbHow::Add, "02:00:00:00:00:77", "192.0.2.3").unwrap_err();
        assert!(why.contains("as many addresses as `maxaddress` allows"), "{why}");
    });
}

#[test]
fn entries_are_changed_in_bridge_8s_words() {
    let text = bridged(TO_ONE);
    play(&text, |rig| {
        const ZERO: &str = "00:00:00:00:00:00";
        const ONE: &str = "02:00:00:00:00:02";
        rig.fdb(FdbHow::Append, ZERO, "192.0.2.3").unwrap();
        rig.fdb(FdbHow::Append, ZERO, "192.0.2.3").unwrap(); // as in the kernel
        rig.fdb(FdbHow::Append, "01:00:5e:01:02:03", "192.0.2.4").unwrap();
        rig.fdb(FdbHow::Add, ONE, "192.0.2.4").unwrap();
        assert_eq!(rig.goes_to(BROADCAST, HERE), [2, 3]);
        assert_eq!(rig.goes_to(GROUP, HERE), [4]);
        assert_eq!(rig.goes_to(THERE, HERE), [4]);
        rig.fdb(FdbHow::Replace, ONE, "192.0.2.3").unwrap();
        assert_eq!(rig.goes_to(THERE, HERE), [3]);
        for (how, mac, dst, why) in [
            (FdbHow::Add, ONE, "192.0.2.2", "has an entry in vx0"),
            (FdbHow::Append, ONE, "192.0.2.2", "is one station, and behind a far end of vx0 already"),
            (FdbHow::Replace, ZERO, "192.0.2.2", "none is replaced"),
            (FdbHow::Append, ZERO, "fd00::2", "the device sends over IPv4"),
            (FdbHow::Append, ZERO, "224.0.0.1", "is not the IP address of a far end"),
            (FdbHow::Append, "zero", "192.0.2.2", "is not a MAC address"),
        ] {
            let told = rig.fdb(how, mac, dst).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let plain = change(ONE, "192.0.2.2");
        for (change, why) in [
            (FdbChange { ifname: "p0".into(), ..plain.clone() }, "p0 is no VXLAN device"),
            (FdbChange { dst: None, ..plain.clone() }, "say which far end"),
            (FdbChange { sticky: true, ..plain.clone() }, "leave the rest out"),
            (FdbChange { vni: Some(1 << 24), ..plain.clone() }, "from 0 to 16777215"),
            (
                FdbChange { state: FdbStateWord::Dynamic, how: FdbHow::Append, ..change(ZERO, "192.0.2.4") },
                "does not age",
            ),
        ] {
            let told = rig.change(change).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let odd = FdbChange { port: Some(8472), vni: Some(9), ..change("02:00:00:00:00:04", "192.0.2.2") };
        rig.change(FdbChange { state: FdbStateWord::Static, ..odd }).unwrap();
        rig.change(FdbChange { state: FdbStateWord::Dynamic, ..change("02:00:00:00:00:05", "192.0.2.4") })
            .unwrap();
        let all = [
            "00 192.0.2.2 permanent",
            "00 192.0.2.3 permanent",
            "03 192.0.2.4 permanent",
            "02 192.0.2.3 permanent",
            "04 192.0.2.2:8472/9 static",
            "05 192.0.2.4",
        ];
        assert_eq!(rig.entries(), all);

        // What was added by hand is what the file does not have; the file that is shown has it all.
        let lines = rig.plan(&config(&text));
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("- vx0 fdb") || line.contains("fdb")), "{lines:?}");
        let shown = rigswitch::config::Document::new(&rig.hand.switch().config()).to_toml().unwrap();
        assert_eq!(rig.plan(&Config::parse(&shown, "rig.toml").unwrap()), [""; 0]);

        let removal = |mac: &str, dst: Option<&str>| FdbRemoval {
            mac: mac.into(),
            ifname: "vx0".into(),
            dst: dst.map(str::to_owned),
            ..FdbRemoval::default()
        };
        let remove = |rig: &mut Played<'_, '_>, removal: FdbRemoval| {
            rig.hand.switch().remove_fdb(&removal).map_err(|error| error.to_string())
        };
        remove(rig, removal(ZERO, Some("192.0.2.2"))).unwrap();
        assert_eq!(rig.goes_to(BROADCAST, HERE), [3]);
        let told = remove(rig, removal(ZERO, Some("192.0.2.2"))).unwrap_err();
        assert!(told.contains("no entry of 00:00:00:00:00:00 behind 192.0.2.2"), "{told}");
        remove(rig, removal("02:00:00:00:00:05", None)).unwrap();
        let flush = |rig: &mut Played<'_, '_>, flush: FdbFlush| {
            rig.hand.switch().flush_fdb(&FdbFlush { dev: "vx0".into(), ..flush }).unwrap()
        };
        assert_eq!(flush(rig, FdbFlush { vni: Some(9), ..FdbFlush::default() }), 1);
        assert_eq!(flush(rig, FdbFlush { dst: Some("192.0.2.4".into()), ..FdbFlush::default() }), 1);
        assert_eq!(flush(rig, FdbFlush { dynamic: Some(true), ..FdbFlush::default() }), 0);
        assert_eq!(rig.entries(), ["00 192.0.2.3 permanent", "02 192.0.2.3 permanent"]);
        assert_eq!(flush(rig, FdbFlush::default()), 2);
        assert_eq!(rig.entries(), [""; 0]);
    });
}

#[test]
fn a_frame_too_long_for_the_way_is_answered_in_the_name_of_its_receiver() {
    let text = bridged(TO_ONE).replace("name = \"u0\"", "name = \"u0\", mtu = 1400");
    play(&text, |rig| {
        assert_eq!(rig.out(&ip(|_| (), 14 + 1350)).len(), 1, "just fits");
        let about = ip(|_| (), 14 + 1351);
        let [back, out] = rig.send("p0", &about);
        assert_eq!((back.len(), out.len()), (1, 0));
        let told = &back[0];
        assert_eq!((told.len(), &told[..6], &told[6..12]), (14 + 576, &HERE[..], &THERE[..]));
        let (ip_header, icmp) = Ipv4Header::from_slice(&told[14..]).unwrap();
        assert_eq!((ip_header.source, ip_header.destination), ([10, 0, 0, 2], [10, 0, 0, 1]));
        assert_eq!(
            (&icmp[..2], &icmp[4..8], &icmp[8..]),
            (&[3, 4][..], &[0, 0, 5, 70][..], &about[14..14 + 548])
        );
        // What may be fragmented is, outside.
        let [back, out] = rig.send("p0", &ip(|ip| ip.dont_fragment = false, 14 + 1351));
        assert_eq!((back.len(), out.len()), (0, 2));
        let pieces: Vec<_> =
            out.iter().map(|piece| Ipv4Header::from_slice(&piece[14..]).unwrap().0).collect();
        assert!(pieces[0].more_fragments && !pieces[1].more_fragments);
        assert_eq!(pieces[0].identification, pieces[1].identification);
        let mut before = BTreeMap::new();
        assert_eq!(rig.drops(&mut before), [""; 0]);
    });
}
