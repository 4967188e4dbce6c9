//! One VXLAN device of many networks (`external`), which a bridge that filters knows by VLANs: between a trunk at p0, ports of one VLAN each at p2 and p3, and the
//! underlay at p1.

use super::{
    BROADCAST, Case, EXPERIMENT, Ipv4, Ipv6, Rig, Step, carrying, checksum, customer, frame, plain, service,
    station, tagged, text, v6, with_tags,
};

/// The rig's p1, and who is next there for every far end.
const UNDERLAY: [[u8; 6]; 2] = [[2, 0, 0, 0, 0xaa, 1], [2, 0, 0, 0, 1, 1]];
const UDP: u8 = 17;
/// VLANs that are networks: of one far end, of none, of three, of one that knows it as another and elsewhere, and one that the filter does not have.
const INFO: [(u16, u32); 5] = [(10, 100), (11, 101), (20, 200), (21, 0xff_fffe), (30, 300)];
/// The networks of the filter.
const FILTER: &str = "100-101,200,16777214,400";

/// What is different from rig to rig: words of `ip link add type vxlan`, of `ip link add type bridge`, and the version of IP beneath.
#[derive(Clone, Copy)]
struct Words {
    device: &'static str,
    bridge: &'static str,
    is_ipv6: bool,
}

pub(super) fn rigs() -> Vec<Rig> {
    let plain = Words { device: "", bridge: "", is_ipv6: false };
    let filtered = Words { device: "vnifilter learning", ..plain };
    let inherits = Words { device: "vnifilter ttl inherit tos inherit df inherit", ..plain };
    vec![
        rig("a device of many networks", filtered, everything(v4_end)),
        rig("without a filter", plain, everything(v4_end)),
        rig("over IPv6", Words { is_ipv6: true, ..filtered }, everything(v6_end)),
        rig(
            "802.1ad",
            Words { bridge: "vlan_protocol 802.1ad", ..filtered },
            vec![("networks", networks(service))],
        ),
        rig("fixed ttl and tos", Words { device: "vnifilter ttl 7 tos 0x28 df set", ..plain }, packets()),
        rig("ttl and tos inherited", inherits, packets()),
        rig("ttl and tos inherited over IPv6", Words { is_ipv6: true, ..inherits }, packets()),
        rig("no checksum", Words { device: "vnifilter noudpcsum", ..plain }, packets()),
        of_filter(),
    ]
}

fn v4_end(n: u8) -> String {
    format!("192.0.2.{n}")
}

fn v6_end(n: u8) -> String {
    format!("fd00::{n}")
}

fn rig(name: &str, words: Words, cases: Vec<Case>) -> Rig {
    let (end, length): (fn(u8) -> String, _) = if words.is_ipv6 { (v6_end, 64) } else { (v4_end, 24) };
    let (local, nodad) = (end(1), if words.is_ipv6 { " nodad" } else { "" });
    let filters = words.device.contains("vnifilter");
    let mut kernel = String::new();
    if words.is_ipv6 {
        kernel += "for knob in all/forwarding=1 default/accept_dad=0 p1/addr_gen_mode=1 p1/disable_ipv6=0; do \
             echo \"${knob#*=}\" >\"/proc/sys/net/ipv6/conf/${knob%=*}\"; done\n";
    }
    kernel += &format!("ip addr add {local}/{length} dev p1{nodad}\n");
    let mut ours = format!(
        "[routing]\ndad_transmits = 0\n[[address]]\ndevice = \"p1\"\naddress = \"{local}/{length}\"\n"
    );
    for n in 2..6 {
        kernel += &format!("ip neigh add {} dev p1 lladdr {}\n", end(n), text(UNDERLAY[1]));
        let mac = text(UNDERLAY[1]);
        ours += &format!("[[neighbor]]\ndevice = \"p1\"\naddress = \"{}\"\nmac = \"{mac}\"\n", end(n));
    }
    kernel += &format!(
        "ip link add vx0 address 02:00:00:00:0e:01 type vxlan external local {local} dstport 4789 srcport 40000 40001 {}\n",
        words.device
    );
    ours += &format!(
        "[[vxlan]]\nname = \"vx0\"\naddress = \"02:00:00:00:0e:01\"\nexternal = true\nlocal = \"{local}\"\ndstport = 4789\n\
         srcport = [40000, 40001]\n{}",
        keys(words.device)
    );
    if filters {
        kernel += &format!("bridge vni add vni {FILTER} dev vx0\n");
        ours += "vni = [\"100-101\", 200, 16777214, 400]\n";
    }
    kernel += &format!("ip link add br0 type bridge mcast_snooping 0 vlan_filtering 1 {}\n", words.bridge);
    let protocol = words.bridge.strip_prefix("vlan_protocol ");
    ours += "[[bridge]]\nname = \"br0\"\nmcast_snooping = false\nvlan_filtering = true\n";
    ours += &protocol.map(|protocol| format!("vlan_protocol = \"{protocol}\"\n")).unwrap_or_default();
    kernel += "ip link set br0 up\n";
    for device in ["p0", "p2", "p3", "vx0"] {
        kernel += &format!("ip link set {device} master br0\nbridge vlan del dev {device} vid 1\n");
    }
    kernel += "ip link set vx0 up\nip link set vx0 type bridge_slave vlan_tunnel on\n";
    kernel += "bridge vlan add dev p0 vid 10-30\nbridge vlan add dev p2 vid 10 pvid untagged\n\
               bridge vlan add dev p3 vid 20 pvid untagged\nbridge vlan add dev vx0 vid 10-30\n\
               bridge vlan add dev vx0 vid 22 tunnel_info id 220\nbridge vlan add dev vx0 vid 22 untagged\n";
    let info = INFO.map(|(vid, vni)| {
        kernel += &format!("bridge vlan add dev vx0 vid {vid} tunnel_info id {vni}\n");
        format!("{{ vid = {vid}, id = {vni} }}")
    });
    ours += &format!(
        "[[bridge.port]]\ndevice = \"p0\"\ntrunk = [\"10-30\"]\n[[bridge.port]]\ndevice = \"p2\"\naccess = 10\n\
         [[bridge.port]]\ndevice = \"p3\"\naccess = 20\n[[bridge.port]]\ndevice = \"vx0\"\nvlan_tunnel = true\n\
         vlan = {{ tagged = [\"10-21\", \"23-30\"], untagged = [22] }}\ntunnel_info = [{}, {{ vid = 22, id = 220 }}]\n",
        info.join(", ")
    );
    Rig::new(name, kernel, ours, [vec![("entries of nothing known", defaults(end))], cases].concat())
}

/// Words of ip-link(8) as keys of the file.
fn keys(words: &str) -> String {
    let mut words = words.split_whitespace();
    let mut keys = String::new();
    while let Some(word) = words.next() {
        keys += &match word {
            "vnifilter" => "vnifilter = true\n".into(),
            "learning" => "learning = true\n".into(),
            "noudpcsum" => "udpcsum = false\n".into(),
            // The kernel takes it and does nothing about it; ours refuses it.
            "df" => words.next().map(|_| String::new()).unwrap(),
            key => {
                let value = words.next().unwrap();
                let is_number = value.parse::<u8>().is_ok();
                if is_number { format!("{key} = {value}\n") } else { format!("{key} = \"{value}\"\n") }
            }
        };
    }
    keys
}

/// Where a network's frames go that are for stations that nothing is known of.
fn defaults(end: fn(u8) -> String) -> Vec<Step> {
    let said = [
        (100, 2, ""),
        (200, 3, ""),
        (200, 4, " vni 777"),
        (200, 5, " port 4790"),
        (220, 2, ""),
        (300, 2, ""),
        (0xff_fffe, 3, ""),
    ];
    said.map(|(vni, n, rest)| {
        Step::Fdb(format!("append 00:00:00:00:00:00 dev vx0 dst {} src_vni {vni}{rest}", end(n)))
    })
    .into()
}

fn everything(end: fn(u8) -> String) -> Vec<Case> {
    let ends = if end(1).contains(':') { inward(end, v6_packet) } else { inward(end, v4_packet) };
    let cases = vec![
        ("networks", networks(customer)),
        ("one station in two networks", stations(end)),
        ("groups", groups(end)),
        ("from far ends", ends),
    ];
    [cases, packets()].concat()
}

/// Every VLAN, whether it is a network or not, with what else a tag says, and with tags behind it.
fn networks(tag: fn(u16) -> [u8; 4]) -> Vec<Step> {
    let (a, unknown) = (station(1, 1), station(1, 9));
    let mut steps = Vec::new();
    for vid in [1, 10, 11, 12, 20, 21, 22, 30, 31] {
        steps.extend([BROADCAST, unknown].map(|to| with_tags(0, to, a, &[tag(vid)])));
    }
    // Priority 3, drop eligible; a priority alone, and no tag.
    steps.extend([0x600a, 0x100a, 0xe000].map(|tci| with_tags(0, unknown, a, &[tag(tci)])));
    steps.push(plain(0, unknown, a));
    for behind in [customer(20), service(20), customer(0), customer(10)] {
        steps.push(with_tags(0, unknown, a, &[tag(10), behind]));
    }
    steps.push(with_tags(0, unknown, a, &[tag(10), customer(20), service(30)]));
    for from in [2, 3] {
        let source = station(1, 10 + u8::try_from(from).unwrap());
        steps.extend([BROADCAST, unknown].map(|to| plain(from, to, source)));
        steps.extend(
            [customer(10), customer(0), service(10)].map(|tag| with_tags(from, unknown, source, &[tag])),
        );
    }
    for length in [14, 15, 59, 60, 61] {
        steps.push(Step::Send(0, tagged(&frame(unknown, a, EXPERIMENT, length, 1), tag(10))));
    }
    steps
}

/// Entries of the same station in two networks, and what becomes of its frames as they change.
fn stations(end: fn(u8) -> String) -> Vec<Step> {
    let (a, b) = (station(2, 1), station(2, 2));
    let everywhere = || {
        let trunk = [10, 11, 12, 20, 30].map(|vid| with_tags(0, b, a, &[customer(vid)]));
        [&trunk[..], &[plain(2, b, station(2, 3)), plain(3, b, station(2, 4))]].concat()
    };
    let mut steps = Vec::new();
    for (how, n, rest) in [
        ("add", 2, "src_vni 100"),
        ("add", 3, "src_vni 200"),
        ("add", 4, "src_vni 101 vni 778 port 4791"),
        ("replace", 5, "src_vni 200 static"),
        ("replace", 4, "src_vni 100 vni 200"),
        ("add", 5, "src_vni 300 vni 300"),
        ("del", 4, "src_vni 100 vni 200"),
        ("del", 5, "src_vni 200"),
    ] {
        steps.push(Step::Fdb(format!("{how} {} dev vx0 dst {} {rest}", text(b), end(n))));
        steps.extend(everywhere());
    }
    for (how, n, rest) in [("del", 3, "src_vni 200"), ("append", 4, "src_vni 101"), ("del", 2, "src_vni 100")]
    {
        steps.push(Step::Fdb(format!("{how} 00:00:00:00:00:00 dev vx0 dst {} {rest}", end(n))));
        steps.extend(everywhere());
    }
    steps.push(Step::Fdb(format!("del 00:00:00:00:00:00 dev vx0 dst {} src_vni 101", end(4))));
    steps.push(Step::Fdb(format!("append 00:00:00:00:00:00 dev vx0 dst {} src_vni 100", end(2))));
    steps.push(Step::Fdb(format!("append 00:00:00:00:00:00 dev vx0 dst {} src_vni 200", end(3))));
    steps
}

/// Groups that have far ends of their own in one network.
fn groups(end: fn(u8) -> String) -> Vec<Step> {
    let (a, group) = (station(3, 1), [1, 0, 0x5e, 1, 1, 1]);
    let mut steps = Vec::new();
    for (mac, n, vni) in [(group, 4, 100), (group, 5, 100), (BROADCAST, 5, 200)] {
        steps.push(Step::Fdb(format!("append {} dev vx0 dst {} src_vni {vni}", text(mac), end(n))));
        for to in [group, BROADCAST, [0x33, 0x33, 0, 0, 0, 1]] {
            steps.extend([10, 20].map(|vid| with_tags(0, to, a, &[customer(vid)])));
        }
    }
    steps
}

/// A packet of a far end to ours.
type Packet = fn(u8, &[u8]) -> Vec<u8>;

fn v4_packet(n: u8, datagram: &[u8]) -> Vec<u8> {
    let [source, destination] = [n, 1].map(|n| [192, 0, 2, n]);
    let pseudo = [&source[..], &destination].concat();
    let outer = Ipv4 { source, destination, protocol: UDP, ttl: 64, tos: 0, dont_fragment: false };
    carrying(UNDERLAY[0], UNDERLAY[1], 0x0800, &outer.packet(&summed(&pseudo, datagram)))
}

fn v6_packet(n: u8, datagram: &[u8]) -> Vec<u8> {
    let [source, destination] = [n, 1].map(|n| v6(0xfd00, n));
    let pseudo = [&source[..], &destination].concat();
    let outer =
        Ipv6 { source, destination, next_header: UDP, hop_limit: 64, traffic_class: 0, flow_label: 0 };
    carrying(UNDERLAY[0], UNDERLAY[1], 0x86dd, &outer.packet(&summed(&pseudo, datagram)))
}

/// A datagram with its checksum, between these addresses.
fn summed(addresses: &[u8], datagram: &[u8]) -> Vec<u8> {
    let rest = [0, UDP, datagram[4], datagram[5]];
    let sum = checksum(&[addresses, &rest, datagram].concat());
    let mut datagram = datagram.to_vec();
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// What comes in, network by network, and where the answers go.
fn inward(end: fn(u8) -> String, packet: Packet) -> Vec<Step> {
    let (a, b) = (station(4, 1), station(4, 2));
    let from = |n: u8, vni: u32, inner: &[u8]| {
        let length = u16::try_from(16 + inner.len()).unwrap().to_be_bytes();
        let ports = [0x9c, 0x40, 0x12, 0xb5, length[0], length[1], 0, 0];
        let header = (u64::from(vni) << 8 | 8 << 56).to_be_bytes();
        Step::Send(1, packet(n, &[&ports[..], &header, inner].concat()))
    };
    let inner = frame(BROADCAST, b, EXPERIMENT, 60, 4);
    let answers = || [10, 20, 21].map(|vid| with_tags(0, b, a, &[customer(vid)]));
    let mut steps = Vec::new();
    for (n, vni) in [(2, 100), (3, 200), (4, 101), (4, 300), (4, 400), (4, 555), (4, 220), (5, 100)] {
        // Who is behind a far end that is new is known from the second packet on at the latest.
        steps.extend([from(n, vni, &inner), from(n, vni, &inner)]);
        steps.extend(answers());
    }
    for tags in [&[customer(20)][..], &[customer(0)], &[customer(12)], &[service(20)], &[customer(31)]] {
        let inner = tags.iter().rev().fold(inner.clone(), |frame, tag| tagged(&frame, *tag));
        steps.extend([100, 400].map(|vni| from(2, vni, &inner)));
    }
    // Entries that are there do not move, and those that age do.
    steps.push(Step::Fdb(format!("replace {} dev vx0 dst {} src_vni 200 static", text(b), end(5))));
    steps.push(from(3, 200, &inner));
    steps.extend(answers());
    steps.extend([
        from(3, 100, &inner),
        from(3, 100, &frame(BROADCAST, [2, 0, 0, 0, 0x0e, 1], EXPERIMENT, 60, 4)),
    ]);
    steps.extend(answers());
    steps
}

/// What an outer header has of a packet inside, and what happens to one that is too long.
fn packets() -> Vec<Case> {
    let (a, unknown) = (station(5, 1), station(5, 9));
    let inner = Ipv4 {
        source: [10, 1, 0, 2],
        destination: [10, 1, 0, 3],
        protocol: UDP,
        ttl: 63,
        tos: 0,
        dont_fragment: false,
    };
    let inner_6 = Ipv6 {
        source: v6(0xfd01, 2),
        destination: v6(0xfd01, 3),
        next_header: UDP,
        hop_limit: 63,
        traffic_class: 0,
        flow_label: 0,
    };
    let datagram = |length: usize| {
        let total = u16::try_from(length).unwrap().to_be_bytes();
        [&[0x30, 0x39, 0x30, 0x3a, total[0], total[1], 0, 0][..], &vec![7; length - 8]].concat()
    };
    let send = |ethertype, packet: &[u8]| {
        Step::Send(0, tagged(&carrying(unknown, a, ethertype, packet), customer(10)))
    };
    let mut headers = Vec::new();
    for tos in [0, 1, 2, 3, 0x28, 0xbb] {
        for dont_fragment in [false, true] {
            headers.push(send(0x0800, &Ipv4 { tos, dont_fragment, ..inner }.packet(&datagram(26))));
        }
        headers.push(send(0x86dd, &Ipv6 { traffic_class: tos, ..inner_6 }.packet(&datagram(26))));
    }
    for ttl in [0, 1, 255] {
        headers.push(send(0x0800, &Ipv4 { ttl, ..inner }.packet(&datagram(26))));
        headers.push(send(0x86dd, &Ipv6 { hop_limit: ttl, ..inner_6 }.packet(&datagram(26))));
    }
    let mut long = Vec::new();
    // The last that fits, and the first that does not, over IPv4 and over IPv6.
    for length in [1430, 1431, 1450, 1451, 1500] {
        for dont_fragment in [false, true] {
            long.push(send(0x0800, &Ipv4 { dont_fragment, ..inner }.packet(&datagram(length - 20))));
        }
        long.push(send(0x86dd, &inner_6.packet(&datagram(length - 40))));
        long.push(send(EXPERIMENT, &vec![5; length]));
    }
    vec![("headers", headers), ("too long", long)]
}

/// The filter says where frames of a network go that are for stations that nothing is known of (`bridge vni add … remote`).
fn of_filter() -> Rig {
    let words = Words { device: "vnifilter", bridge: "", is_ipv6: false };
    let mut rig = rig("far ends of the filter", words, vec![]);
    rig.kernel +=
        "bridge vni add vni 100 remote 192.0.2.4 dev vx0\nbridge vni add vni 101 remote 192.0.2.5 dev vx0\n";
    let (all, said) = ("vni = [\"100-101\", 200, 16777214, 400]", "remote = \"192.0.2");
    let vnis = format!("vni = [{{ id = 100, {said}.4\" }}, {{ id = 101, {said}.5\" }}, 200, 16777214, 400]");
    assert!(rig.ours.contains(all));
    rig.ours = rig.ours.replace(all, &vnis);
    let a = station(6, 1);
    let each = |case: &mut Case| {
        case.1 = [10, 11, 12, 20].map(|vid| with_tags(0, BROADCAST, a, &[customer(vid)])).into();
    };
    rig.cases.iter_mut().for_each(each);
    rig
}
