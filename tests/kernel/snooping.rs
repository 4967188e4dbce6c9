//! Groups: who is in which, and who gets what is for them. The same frames, the same outputs, and the same database.

#[path = "queries.rs"]
mod queries;
#[path = "reports.rs"]
mod reports;

use rigswitch::views::MdbView;
use serde_json::Value;

use super::*;

/// A bridge that snoops; so does every other here.
const SNOOPING: &str = "mcast_snooping 1";

const ALL_HOSTS: [u8; 4] = [224, 0, 0, 1];
const GROUP: [u8; 4] = [239, 1, 1, 1];
const OTHER: [u8; 4] = [239, 1, 1, 2];
const GROUP_6: u128 = 0xff05_0000_0000_0000_0000_0000_0000_0001;
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;
const LINK_LOCAL: u128 = 0xfe80_0000_0000_0000_0000_0000_0000_0009;

const QUERY: u8 = 0x11;
const REPORT: u8 = 0x16;
const LEAVE: u8 = 0x17;

/// Whether it is IGMP of the bridge itself, or of its host.
pub(super) fn is_bridges_own(frame: &[u8]) -> bool {
    frame.len() > 23 && frame[6..12] == host::of_port(0) && frame[12..14] == [8, 0] && frame[23] == 2
}

/// Who is in which group: port, group and state, in order; and the ports with routers.
type Mdb = (Vec<[String; 3]>, Vec<String>);

impl Side {
    pub(super) fn change_mdb(&self, words: &str) {
        // What one refuses the other refuses too, and that is seen in the database.
        match &self.kind {
            Kind::Ours(..) => drop(self.rig.folder.say(&format!("mdb {words}"))),
            Kind::Kernels => drop(self.rig.center.run(|| {
                let mut command = std::process::Command::new("bridge");
                command::said(command.arg("mdb").args(words.split(' ')))
            })),
        }
    }

    fn mdb(&self) -> Mdb {
        let text = match &self.kind {
            Kind::Ours(..) => self.rig.folder.ask("show mdb -j"),
            Kind::Kernels => run_in(&self.rig.center, "bridge -d -j mdb"),
        };
        let views: Value = serde_json::from_str(&text).unwrap();
        let entries = views[0]["mdb"].as_array().unwrap().iter();
        let word = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
        let entries = entries.filter(|entry| entry["port"] != "br0"); // what the kernel's own host is in
        let mut entries: Vec<_> =
            entries.map(|entry| ["port", "grp", "state"].map(|key| word(entry, key))).collect();
        let routers = views[0]["router"]["br0"].as_array().into_iter().flatten();
        let mut routers: Vec<_> = routers.map(|router| word(router, "port")).collect();
        entries.sort();
        routers.sort();
        // What is compared is a view, shape and all.
        if let Kind::Ours(..) = &self.kind {
            serde_json::from_value::<Vec<MdbView>>(views).unwrap();
        }
        (entries, routers)
    }

    /// Sends this until it comes out at so many.
    fn until(&self, what: &str, step: &Step, out: [usize; HOSTS]) {
        wait_for(what, || (self.step(step).map(|out| out.len())[..HOSTS] == out).then_some(()));
    }
}

/// Does the steps to both. After each the same has come out of both and the same is in both databases, ours a tick later.
fn follow(sides: &[Side; 2], what: &str, steps: &[Step]) -> usize {
    let mut count = 0;
    for (number, step) in steps.iter().enumerate() {
        count += compare(sides, &format!("{what} ({number})"), std::slice::from_ref(step));
        let kernels = sides[1].mdb();
        wait_for(&format!("{what}, step {number}: {kernels:?}"), || {
            (sides[0].mdb() == kernels).then_some(())
        });
    }
    count
}

/// Waits until so many entries are left in both databases.
fn left(sides: &[Side; 2], entries: usize) {
    for side in sides {
        wait_for("memberships to end", || (side.mdb().0.len() == entries).then_some(()));
    }
}

/// Both, with a router behind port 2 that has asked, and had its answers.
fn with_router(sides: &mut [Side; 2], knobs: Knobs) {
    sides.iter_mut().for_each(|side| side.bridge(knobs));
    follow(sides, "a query", &[igmp(2, ALL_HOSTS, &[QUERY, 1, 0, 0, 0, 0, 0, 0])]);
    for side in sides.iter() {
        side.until("the router to be alone", &data(0, [239, 9, 9, 9]), [0, 0, 1]);
    }
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes()
}

fn of_host(n: usize) -> [u8; 6] {
    station(90, u8::try_from(n).unwrap())
}

/// An IPv4 packet from host `n`, with these options.
fn ipv4(n: usize, to: [u8; 4], protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let [high, low] = u16::try_from(header_len + payload.len()).unwrap().to_be_bytes();
    let from = [10, 0, 0, u8::try_from(n + 1).unwrap()];
    let first = 0x40 | u8::try_from(header_len / 4).unwrap();
    let mut header =
        [&[first, 0, high, low, 0, 0, 0, 0, 1, protocol, 0, 0][..], &from, &to, options].concat();
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    let [_, b, c, d] = to;
    [&[1, 0, 0x5e, b & 0x7f, c, d][..], &of_host(n), &[8, 0], &header, payload].concat()
}

/// Host `n` says this about groups, with the right checksum.
fn igmp(n: usize, to: [u8; 4], message: &[u8]) -> Step {
    let mut message = message.to_vec();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    Step::Send(n, ipv4(n, to, 2, &[0x94, 4, 0, 0], &message))
}

fn about(n: usize, kind: u8, [a, b, c, d]: [u8; 4]) -> Step {
    let to = if kind == LEAVE { [224, 0, 0, 2] } else { [a, b, c, d] };
    igmp(n, to, &[kind, 0, 0, 0, a, b, c, d])
}

/// A report of version 3: each record's type and group, and how many sources it has.
fn report_v3(n: usize, records: &[(u8, [u8; 4], u8)]) -> Step {
    let count = u8::try_from(records.len()).unwrap();
    let record = |&(kind, group, sources): &(u8, [u8; 4], u8)| {
        [&[kind, 0, 0, sources][..], &group, &vec![7; 4 * usize::from(sources)]].concat()
    };
    let records: Vec<_> = records.iter().flat_map(record).collect();
    igmp(n, [224, 0, 0, 22], &[&[0x22, 0, 0, 0, 0, 0, 0, count][..], &records].concat())
}

fn data(n: usize, group: [u8; 4]) -> Step {
    Step::Send(n, ipv4(n, group, 17, &[], &[0x5a; 26]))
}

/// An IPv6 packet from host `n`.
fn ipv6(n: usize, from: u128, to: u128, next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let header = [&[0x60, 0, 0, 0, high, low, next, 1][..], &from.to_be_bytes(), &to.to_be_bytes()].concat();
    let [.., a, b, c, d] = to.to_be_bytes();
    [&[0x33, 0x33, a, b, c, d][..], &of_host(n), &[0x86, 0xdd], &header, payload].concat()
}

/// Host `n` says this about groups, behind a router alert, with the right checksum.
fn mld(n: usize, from: u128, to: u128, message: &[u8]) -> Step {
    let mut message = message.to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [&from.to_be_bytes()[..], &to.to_be_bytes(), &length, &[0, 0, 0, 58], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum);
    Step::Send(n, ipv6(n, from, to, 0, &[&[58, 0, 5, 2, 0, 0, 0, 0][..], &message].concat()))
}

fn mld_about(n: usize, kind: u8, delay: u8, group: u128, to: u128) -> Step {
    mld(n, LINK_LOCAL, to, &[&[kind, 0, 0, 0, 0, delay, 0, 0][..], &group.to_be_bytes()].concat())
}

fn data_6(n: usize, group: u128) -> Step {
    Step::Send(n, ipv6(n, LINK_LOCAL, group, 17, &[0x5a; 26]))
}

/// The same frame with one octet another.
fn spoilt(step: Step, at: usize) -> Step {
    let Step::Send(n, mut frame) = step else { panic!("a frame") };
    frame[at] ^= 1;
    Step::Send(n, frame)
}

fn cut(step: Step, length: usize) -> Step {
    let Step::Send(n, mut frame) = step else { panic!("a frame") };
    frame.truncate(length);
    Step::Send(n, frame)
}

fn knobs(bridge: &'static str, ports: [&'static str; HOSTS]) -> Knobs {
    Knobs { bridge, ports }
}

fn plain() -> Knobs {
    knobs(SNOOPING, [""; HOSTS])
}

#[test]
fn without_a_querier_groups_are_learned_and_flooded_as_by_the_kernels_bridge() {
    let Some(sides) = sides("kernel-groups", plain()) else { return };
    let out = follow(
        &sides,
        "no querier",
        &[
            about(1, REPORT, GROUP),
            about(1, 0x12, OTHER),
            data(0, GROUP),
            data(0, [239, 9, 9, 9]),
            data_6(0, GROUP_6),
            mld_about(1, 131, 0, GROUP_6, GROUP_6),
            report_v3(
                0,
                &[(4, GROUP, 0), (2, [224, 0, 0, 251], 0), (3, [239, 1, 1, 3], 2), (3, [239, 1, 1, 4], 0)],
            ),
        ],
    );
    assert_eq!(out, 7 * 2);
    let malformed = [
        spoilt(data(0, GROUP), 14 + 10),
        spoilt(about(0, REPORT, GROUP), 14 + 24 + 5),
        cut(about(0, REPORT, GROUP), 14 + 24 + 7),
        cut(data(0, GROUP), 14 + 19),
        igmp(0, GROUP, &[QUERY, 1, 0, 0, 0, 0, 0, 0]),
        igmp(0, ALL_HOSTS, &[QUERY, 1, 0, 0, 0, 0, 0, 0, 0]),
        cut(report_v3(0, &[(4, OTHER, 1)]), 14 + 24 + 8 + 8),
        cut(data_6(0, GROUP_6), 14 + 39),
        spoilt(mld_about(0, 131, 0, GROUP_6, GROUP_6), 14 + 40 + 8 + 8),
        mld(0, 1, ALL_NODES, &[&[130, 0, 0, 0, 0, 9, 0, 0][..], &[0; 16]].concat()),
        mld_about(0, 130, 9, 0, GROUP_6),
        Step::Send(0, ipv6(0, LINK_LOCAL, GROUP_6, 17, &[])),
    ];
    assert_eq!(follow(&sides, "malformed", &malformed), 0);
}

#[test]
fn what_is_for_groups_goes_where_the_kernels_bridge_sends_it() {
    let Some(mut sides) = sides("kernel-mdb", plain()) else { return };
    with_router(&mut sides, plain());
    let mut to_station = ipv4(0, [10, 0, 0, 9], 17, &[], &[0x5a; 26]);
    to_station[..6].copy_from_slice(&[1, 0, 0x5e, 1, 1, 1]);
    let Step::Send(_, plain_data) = data(0, GROUP) else { panic!("a frame") };
    let out = follow(
        &sides,
        "groups",
        &[
            data(0, GROUP),                                            // to the router
            about(1, REPORT, GROUP),                                   // to the router
            data(0, GROUP),                                            // to both
            data(1, GROUP),                                            // to the router
            data(2, GROUP),                                            // to the member
            Step::Send(0, tagged(&plain_data, [0x81, 0, 0, 7])),       // to both
            Step::Send(0, to_station),                                 // to the router
            data(0, [224, 0, 0, 5]),                                   // to all
            usual(0, [1, 0, 0xc, 1, 2, 3], of_host(0)),                // to all
            report_v3(0, &[(4, OTHER, 0), (4, GROUP, 0)]),             // to all
            data(2, GROUP),                                            // to both members
            igmp(2, [239, 1, 1, 9], &[QUERY, 10, 0, 0, 239, 1, 1, 9]), // to all
            about(1, LEAVE, [239, 1, 1, 9]),                           // to all
        ],
    );
    assert_eq!(out, 1 + 1 + 2 + 1 + 1 + 2 + 1 + 2 + 2 + 2 + 2 + 2 + 2);
    let hello = ipv4(1, [224, 0, 0, 13], 103, &[], &[0x20, 0, 0, 0]);
    let out = follow(
        &sides,
        "another router",
        &[
            Step::Send(1, hello),
            data(0, [239, 9, 9, 9]),
            data(2, [239, 9, 9, 9]),
            about(0, REPORT, [239, 1, 1, 5]),
            igmp(0, [224, 0, 0, 106], &[0x30, 20, 0, 0, 0, 0, 0, 0]),
            about(1, REPORT, [239, 1, 1, 5]),
        ],
    );
    assert_eq!(out, 2 + 2 + 1 + 2 + 2 + 2);
    let statics = [
        "add dev br0 port p0 grp 239.1.1.7 permanent",
        "add dev br0 port p0 grp 239.1.1.7 permanent",
        "add dev br0 port p1 grp 239.1.1.7",
        "add dev br0 port p0 grp 224.0.0.9 permanent",
        "add dev br0 port p0 grp ff02::1",
        "add dev br0 port p0 grp 10.0.0.1",
        "add dev br0 port p1 grp 03:00:00:00:00:07 permanent",
        "add dev br0 port p1 grp 03:00:00:00:00:08 temp",
        "del dev br0 port p1 grp 239.1.1.7",
        "del dev br0 port p1 grp 239.1.1.7",
        "add dev br0 port lo grp 239.1.1.7",
    ];
    follow(&sides, "by hand", &statics.map(|words| Step::Mdb(words.into())));
    assert_eq!(sides[0].mdb().0.iter().filter(|entry| entry[2] == "permanent").count(), 2);
    let out = follow(
        &sides,
        "what was put there",
        &[
            data(2, [239, 1, 1, 7]),
            about(0, LEAVE, [239, 1, 1, 7]),
            usual(0, [3, 0, 0, 0, 0, 7], of_host(0)), // to the router of IPv4, too
            usual(0, [3, 0, 0, 0, 0, 8], of_host(0)),
        ],
    );
    assert_eq!(out, 2 + 2 + 2 + 2);
}

#[test]
fn groups_of_ipv6_are_as_in_the_kernels_bridge() {
    let Some(sides) = sides("kernel-mld", plain()) else { return };
    follow(&sides, "a query", &[mld_about(2, 130, 100, 0, ALL_NODES)]);
    for side in &sides {
        side.until("the router to be alone", &data_6(0, 0xff05 << 112 | 9), [0, 0, 1]);
    }
    const SNOOPERS: u128 = ALL_NODES + 0x69;
    let record = |kind: u8, group: u128| [&[kind, 0, 0, 0][..], &group.to_be_bytes()].concat();
    let report = [&[143, 0, 0, 0, 0, 0, 0, 2][..], &record(4, GROUP_6 + 1), &record(3, GROUP_6 + 2)].concat();
    let empty = [143, 0, 0, 0, 0, 0, 0, 0];
    let short = [&[131, 0, 0, 0, 0, 0, 0, 0][..], &GROUP_6.to_be_bytes()[..15]].concat();
    let out = follow(
        &sides,
        "groups",
        &[
            data_6(0, GROUP_6),                                         // to the router
            mld_about(1, 131, 0, GROUP_6, GROUP_6),                     // to the router
            data_6(0, GROUP_6),                                         // to both
            data_6(0, ALL_NODES),                                       // to all
            data_6(0, ALL_NODES + 0x1_ff00_0000),                       // to the router
            mld(0, LINK_LOCAL, ALL_NODES + 0x15, &report),              // to all
            mld(0, LINK_LOCAL, ALL_NODES + 0x15, &empty),               // to the router
            mld(0, LINK_LOCAL, GROUP_6, &short),                        // as data: to both
            data_6(2, GROUP_6 + 1),                                     // to the member
            mld_about(0, 132, 0, GROUP_6 + 7, ALL_NODES + 1),           // to all
            data(0, [239, 9, 9, 9]),                                    // to all: of IPv4 nobody asks
            mld(0, LINK_LOCAL, SNOOPERS, &[151, 20, 0, 0, 0, 0, 0, 0]), // to the router, and its sender is one
            data_6(1, GROUP_6 + 9),                                     // to both routers
        ],
    );
    assert_eq!(out, 1 + 1 + 2 + 2 + 1 + 2 + 1 + 2 + 1 + 2 + 2 + 1 + 2);
}

#[test]
fn knobs_of_groups_do_what_the_kernels_do() {
    let Some(mut sides) = sides("kernel-mcast", plain()) else { return };
    let ends = "mcast_snooping 1 mcast_last_member_interval 10 mcast_last_member_count 1";
    with_router(&mut sides, knobs(ends, ["mcast_router 2", "mcast_fast_leave on", ""]));
    let out = follow(
        &sides,
        "fast leave, and a router that is there",
        &[
            about(1, REPORT, GROUP), // to both routers
            about(1, LEAVE, GROUP),  // to all
            data(2, GROUP),          // to the router
            about(0, REPORT, GROUP), // to the other router
            about(0, LEAVE, GROUP),  // to all, and who asks is to ask
            data(2, GROUP),
            igmp(2, GROUP, &[QUERY, 1, 0, 0, 239, 1, 1, 1]),
        ],
    );
    assert_eq!(out, 2 + 2 + 1 + 1 + 2 + 1 + 2);
    left(&sides, 0);

    with_router(&mut sides, knobs(SNOOPING, ["", "mcast_to_unicast on", "mcast_flood off"]));
    let other = |step: Step| match step {
        Step::Send(n, mut frame) => {
            frame[11] ^= 0x40;
            Step::Send(n, frame)
        }
        step => step,
    };
    let out = follow(
        &sides,
        "a copy for each",
        &[
            about(1, REPORT, GROUP),
            other(about(1, REPORT, GROUP)),
            data(0, GROUP), // two copies and the router's
            Step::Mdb("add dev br0 port p0 grp 239.1.1.1 permanent".into()),
            data(2, GROUP),          // two copies and one as it is
            data(1, GROUP),          // to the one that was put there, and to the router
            data(0, [224, 0, 0, 9]), // but not where floods do not go
        ],
    );
    assert_eq!(out, 1 + 1 + 3 + 3 + 2 + 1);

    with_router(&mut sides, knobs(SNOOPING, ["isolated on", "isolated on", ""]));
    // What is flooded from an isolated port looks the same.
    for side in &sides {
        side.until("frames to groups to be kept", &data(2, [239, 9, 9, 9]), [0; HOSTS]);
    }
    let out = follow(&sides, "isolated", &[about(1, REPORT, GROUP), data(0, GROUP), data(2, GROUP)]);
    assert_eq!(out, 1 + 1 + 1);

    with_router(&mut sides, knobs(SNOOPING, ["", "hairpin on mcast_to_unicast on", ""]));
    let out = follow(&sides, "hairpin", &[about(1, REPORT, GROUP), data(1, GROUP), other(data(1, GROUP))]);
    assert_eq!(out, 1 + 1 + 2);

    sides.iter_mut().for_each(|side| side.bridge(knobs(SNOOPING, ["", "", "mcast_router 0"])));
    let query = igmp(2, ALL_HOSTS, &[QUERY, 1, 0, 0, 0, 0, 0, 0]);
    follow(&sides, "no router, whatever it says", &[query]);
    for side in &sides {
        side.until("frames to groups to be kept", &data(0, GROUP), [0, 0, 0]);
    }

    with_router(&mut sides, knobs("mcast_snooping 1 mcast_hash_max 2", [""; HOSTS]));
    let reports = [GROUP, OTHER, [239, 1, 1, 3]].map(|group| about(1, REPORT, group));
    assert_eq!(follow(&sides, "as many groups as there may be", &reports), 1 + 1);
    for side in &sides {
        side.until("the end of snooping", &data(0, [239, 9, 9, 9]), [0, 1, 1]);
    }
    assert_eq!(follow(&sides, "no more", &[about(0, REPORT, [239, 1, 1, 4]), data(0, OTHER)]), 2 + 2);
}

#[test]
fn a_port_is_in_as_many_groups_as_it_may_be() {
    let Some(mut sides) = sides("kernel-full", plain()) else { return };
    with_router(
        &mut sides,
        knobs(SNOOPING, ["mcast_max_groups 1", "mcast_max_groups 2 mcast_fast_leave on", ""]),
    );
    let group = |last| [239, 1, 1, last];
    let out = follow(
        &sides,
        "bounds",
        &[
            about(0, REPORT, group(1)), // to the router
            about(0, REPORT, group(2)), // nowhere: it may not
            about(0, REPORT, group(1)), // to the router: it is in it
            about(1, REPORT, group(2)),
            about(1, REPORT, group(3)),
            about(1, REPORT, group(4)), // nowhere
            report_v3(1, &[(4, group(3), 0), (4, group(5), 0), (4, group(2), 0)]), // nowhere
            report_v3(1, &[(4, group(3), 0), (4, group(2), 0)]), // to all
            data(2, group(4)),
            about(1, LEAVE, group(3)),  // to all
            about(1, REPORT, group(4)), // now it may
            data(2, group(4)),
            Step::Mdb("add dev br0 port p0 grp 239.1.1.9 permanent".into()),
            Step::Mdb("del dev br0 port p0 grp 239.1.1.1".into()),
            Step::Mdb("add dev br0 port p0 grp 239.1.1.9 permanent".into()),
            about(0, REPORT, group(1)), // nowhere: what was put there counts
            data(2, group(9)),
            about(2, REPORT, group(1)), // of others there may be any number
            mld_about(0, 131, 0, GROUP_6, GROUP_6), // nowhere: of both families together
        ],
    );
    assert_eq!(out, 2 + 2 + 2 + 2 + 1 + 1 + 1);
    sides[0].rig.settled();
}
