//! The table of what a plain bridge does with frames of every kind.

use super::{BROADCAST, EXPERIMENT, Step, frame, station, tagged, text, usual};

/// A case: its name, its steps, and how many frames are to come out of each bridge.
pub(super) type Case = (&'static str, Vec<Step>, usize);

/// Every case.
pub(super) fn cases() -> Vec<Case> {
    let mut case = 0;
    let mut stations = || {
        case += 1;
        [1, 2, 3].map(|n| station(case, n))
    };
    let mut cases = Vec::new();
    let [a, b, c] = stations();
    cases.push((
        "unknown is flooded, known is not, and nothing goes back",
        vec![usual(0, b, a), usual(1, a, b), usual(0, b, a), usual(2, a, c), usual(0, a, c), usual(0, c, a)],
        2 + 1 + 1 + 1,
    ));
    let [a, b, c] = stations();
    cases.push((
        "a station moves",
        vec![usual(0, b, a), usual(1, a, b), usual(1, b, a), usual(2, a, c), usual(2, b, a), usual(1, a, b)],
        2 + 1 + 1 + 1 + 1,
    ));
    let [a, b, c] = stations();
    cases.push((
        "to itself, and to one behind the same port",
        vec![usual(0, a, a), usual(0, a, a), usual(1, c, b), usual(1, b, c), usual(1, c, b)],
        2,
    ));
    cases.extend(addresses(&mut stations));
    cases.extend(entries(&mut stations));
    cases.extend(lengths(&mut stations));
    cases.extend(tags(&mut stations));
    cases
}

fn addresses(stations: &mut impl FnMut() -> [[u8; 6]; 3]) -> Vec<Case> {
    let [a, b, c] = stations();
    let group_source = [3, 0, 0, 0, 0, 9];
    let mut cases = vec![
        (
            "sources that name no station",
            vec![
                usual(0, b, group_source),
                usual(0, b, [0; 6]),
                usual(0, b, BROADCAST),
                usual(1, group_source, b),
                usual(1, [0; 6], b),
            ],
            2 + 2,
        ),
        (
            "broadcast and multicast",
            vec![
                usual(0, BROADCAST, a),
                usual(1, [1, 0, 0x5e, 0, 0, 1], b),
                usual(1, [1, 0, 0x5e, 0x7f, 1, 2], b),
                usual(2, [0x33, 0x33, 0, 0, 0, 1], c),
                usual(2, [1, 0x80, 0xc2, 0, 0, 0x10], c),
                usual(2, [1, 0x80, 0xc2, 0, 1, 0], c),
                usual(2, [1, 0, 0xc, 0xcc, 0xcc, 0xcc], c),
                usual(0, c, a),
            ],
            7 * 2 + 1,
        ),
    ];
    let [.., c] = stations();
    for last in 0..16 {
        let teacher = station(200, last);
        let reserved = [1, 0x80, 0xc2, 0, 0, last];
        // Whether it is forwarded, and whether it taught where its source is.
        let steps = vec![usual(1, reserved, teacher), usual(0, teacher, c)];
        let out = match last {
            0 => 2 + 1,
            1 => 2,
            _ => 1,
        };
        cases.push(("a reserved address", steps, out));
    }
    let ethertypes = [0, 1, 0x05dc, 0x05ff, 0x0600, 0x0806, 0x8808, 0x8809, 0x88cc, 0x8847, 0x9000, 0xffff];
    let [a, b, _] = stations();
    let steps = ethertypes.map(|ethertype| Step::Send(0, frame(b, a, ethertype, 64, 0))).to_vec();
    cases.push(("EtherTypes, and lengths in their place", steps, 12 * 2));
    cases
}

fn entries(stations: &mut impl FnMut() -> [[u8; 6]; 3]) -> Vec<Case> {
    let fdb = |verb: &str, mac, port: usize, state: &str| {
        Step::Fdb(format!("{verb} {} dev p{port} master {state}", text(mac)))
    };
    let mut cases = Vec::new();
    for state in ["static", "dynamic", "permanent"] {
        let [a, b, _] = stations();
        let behind_1 = usize::from(state != "permanent");
        let moves = usize::from(state != "permanent");
        let steps = vec![
            fdb("add", b, 1, state),
            usual(0, b, a),
            usual(1, b, a),
            usual(2, a, b), // seen elsewhere
            usual(0, b, a),
            usual(1, b, a),
            fdb("replace", b, 1, state),
            usual(0, b, a),
            Step::Fdb(format!("del {} dev p1 master", text(b))),
            usual(0, b, a),
        ];
        // The first two to b; from b to a; two to where b is now; one back; and the flood.
        cases.push((state, steps, behind_1 + 1 + 2 * moves + behind_1 + 2));
    }
    let [a, b, c] = stations();
    let steps = vec![
        usual(1, BROADCAST, b),
        fdb("add", c, 2, "static"),
        usual(0, b, a),
        usual(0, c, a),
        Step::Fdb("flush dev br0 nopermanent nostatic".into()),
        usual(0, b, a),
        usual(0, c, a),
        Step::Fdb("flush dev br0 nopermanent".into()),
        usual(0, c, a),
    ];
    cases.push(("flush", steps, 2 + 1 + 1 + 2 + 1 + 2));
    let [a, b, _] = stations();
    let round = || [usual(1, BROADCAST, b), Step::Fdb("flush dev br0 nopermanent nostatic".into())];
    let mut steps: Vec<_> = std::iter::repeat_with(round).take(20).flatten().collect();
    steps.extend([usual(1, BROADCAST, b), usual(0, b, a)]);
    cases.push(("flushes, one after the other, and a station learned again", steps, 21 * 2 + 1));
    cases
}

fn lengths(stations: &mut impl FnMut() -> [[u8; 6]; 3]) -> Vec<Case> {
    let [a, b, c] = stations();
    let sized = |from, destination, length| Step::Send(from, frame(destination, a, EXPERIMENT, length, 1));
    let runts = (14..=64).map(|length| sized(0, b, length)).collect();
    // One tag more than the MTU and the header is allowed for, whether or not a tag is there.
    let mut around: Vec<_> = [1513, 1514, 1515, 1517, 1518, 1519, 1600, 4000, 4014]
        .into_iter()
        .flat_map(|length| [sized(0, b, length), sized(0, c, length)])
        .collect();
    around.insert(0, usual(2, a, c)); // so that one of each pair is to a known station
    vec![("runts", runts, 51 * 2), ("around the MTU", around, 1 + 5 * 3)]
}

fn tags(stations: &mut impl FnMut() -> [[u8; 6]; 3]) -> Vec<Case> {
    let [a, b, c] = stations();
    let plain = |length| frame(b, a, EXPERIMENT, length, 2);
    let customer = [0x81, 0, 0x60, 100];
    let service = [0x88, 0xa8, 0x0f, 0xff];
    let priority = [0x81, 0, 0xe0, 0];
    let mut steps = Vec::new();
    for tag in [customer, service, priority] {
        steps.extend([60, 100, 1510, 1514].map(|length| Step::Send(0, tagged(&plain(length), tag))));
        steps.push(Step::Send(0, tagged(&tagged(&plain(100), customer), tag)));
        steps.push(Step::Send(0, tagged(&tagged(&tagged(&plain(100), service), customer), tag)));
    }
    let learned = vec![
        Step::Send(2, tagged(&frame(b, c, EXPERIMENT, 100, 3), customer)),
        usual(0, c, a), // without a tag: a bridge that does not filter by VLAN has one table
        Step::Send(0, tagged(&frame(c, a, EXPERIMENT, 100, 3), service)),
    ];
    vec![("tags", steps, 18 * 2), ("stations behind tags", learned, 2 + 1 + 1)]
}
