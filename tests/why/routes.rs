//! How a packet is routed, told with the lines of routes, addresses and neighbours.

use rigswitch_dataplane::ids::MacAddr;

use super::command::{Folder, wait_for};
use super::explained;

const ROUTES: &str = r#"
port = [{ name = "p0", memory = true }, { name = "p1", memory = true }, { name = "p2", memory = true }]
[[address]]
device = "p0"
address = "10.0.0.1/24"
[[address]]
device = "p1"
address = "10.0.1.1/24"
[[route]]
to = "default"
via = "10.0.1.9"
[[route]]
to = "10.9.0.0/16"
type = "blackhole"
[[route]]
to = "10.8.0.0/16"
metric = 7
[[route.nexthop]]
via = "10.0.1.2"
[[route.nexthop]]
via = "10.0.1.3"
[[neighbor]]
device = "p1"
address = "10.0.1.2"
mac = "02:00:00:00:00:02"
[[neighbor]]
device = "p1"
address = "10.0.1.3"
mac = "02:00:00:00:00:03"
[routing]
rp_filter = true
"#;

fn packet(source: &str, destination: &str) -> String {
    format!("eth dst={} / ipv4 src={source} dst={destination} / udp", MacAddr::of_name("p0"))
}

#[test]
fn the_route_its_way_and_the_neighbour_are_named_with_their_lines() {
    let folder = Folder::new("routes");
    folder.write("rig.toml", ROUTES);
    for (source, destination, expected) in [
        (
            "10.0.0.9",
            "10.0.1.2",
            "  route     10.0.1.0/24 is behind p1, which has 10.0.1.1  [rig.toml:8]\n  \
             neighbor  10.0.1.2 behind p1 is 02:00:00:00:00:02 (permanent)  [rig.toml:24]\n",
        ),
        (
            "10.0.0.9",
            "198.51.100.1",
            "  route     default via 10.0.1.9 by p1  [rig.toml:10]\n  \
             neighbor  10.0.1.9 behind p1 is not known (never asked for): to control, which asks and keeps it meanwhile\n",
        ),
        (
            "10.0.0.9",
            "10.9.0.1",
            "  route  10.9.0.0/16 is a blackhole  [rig.toml:13]\n  route  drop: blackhole\n",
        ),
        ("10.0.0.9", "10.0.1.1", "  route    10.0.1.1 is an address of p1  [rig.toml:8]\n"),
        ("10.0.0.9", "10.0.1.255", "  route  10.0.1.255 is all stations of 10.0.1.0/24 behind p1\n"),
        ("10.0.1.9", "10.0.1.2", "  route  drop: reverse_path  [rig.toml:31]\n"),
    ] {
        let out = explained(&folder, &packet(source, destination));
        assert!(out.contains(expected), "{destination}: {out}");
    }
    // Which of two ways a flow takes is nobody's choice, but each is told with its own line.
    let ways = (1..40).map(|last| explained(&folder, &packet("10.0.0.9", &format!("10.8.0.{last}"))));
    let taken = |out: &String| {
        let one = "  route     10.8.0.0/16 via 10.0.1.2 by p1: way 1 of 2, by the hash of its flow, metric 7  [rig.toml:19]\n  \
                   neighbor  10.0.1.2 behind p1 is 02:00:00:00:00:02 (permanent)  [rig.toml:24]\n";
        let two = "  route     10.8.0.0/16 via 10.0.1.3 by p1: way 2 of 2, by the hash of its flow, metric 7  [rig.toml:21]\n  \
                   neighbor  10.0.1.3 behind p1 is 02:00:00:00:00:03 (permanent)  [rig.toml:28]\n";
        assert!(out.contains(one) != out.contains(two), "{out}");
        out.contains(one)
    };
    let ones = ways.filter(taken).count();
    assert!((1..39).contains(&ones), "{ones} of 39");
}

#[test]
fn a_running_switch_says_how_sure_a_neighbour_is() {
    let folder = Folder::new("routes-live");
    let _switch = folder.start(ROUTES);
    let ask = |destination: &str| {
        let said = folder.ask(&format!("explain --port p0 {}", packet("10.0.0.9", destination)));
        said.replace(folder.path("").to_str().unwrap(), "")
    };
    let out = ask("10.0.1.2");
    let text = "  route     10.0.1.0/24 is behind p1, which has 10.0.1.1  [rig.toml:8]\n  \
                neighbor  10.0.1.2 behind p1 is 02:00:00:00:00:02 (permanent)  [rig.toml:24]\n";
    assert!(out.contains(text), "{out}");
    // What was added by hand has no line.
    folder.ask("route add 192.0.2.0/24 via 10.0.1.2 metric 5");
    let out = wait_for("the route", || Some(ask("192.0.2.1")).filter(|out| out.contains("metric 5")));
    assert!(out.contains("  route     192.0.2.0/24 via 10.0.1.2 by p1, metric 5\n"), "{out}");
}
