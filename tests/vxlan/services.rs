//! What VXLAN devices answer and shorten by themselves, and what they tell of, beside this kernel's.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rigswitch::events::Event;

use super::kernel::{BROADCAST, GROUP, Setup, Side, UNKNOWN, far, settle, sides, station};
use crate::command::listener::Listener;
use crate::command::{PATIENCE, Process, wait_for};
use crate::rig::{Random, frame, run_in};

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// A station behind the first far end, another behind the second, and a router behind the first.
const ONE: [u8; 6] = [2, 0, 0, 0, 2, 1];
const TWO: [u8; 6] = [2, 0, 0, 0, 3, 1];
const ROUTER: [u8; 6] = [2, 0, 0, 0, 2, 9];

/// Who is known: 2 is the first station, 3 the other, 9 the router.
const KNOWN: [(u8, [u8; 6]); 3] = [(2, ONE), (3, TWO), (9, ROUTER)];

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}

fn v6(host: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfd, 0x66, host);
    address
}

/// Both, with these words, and who is known. They have entries of the three, and of nothing that nobody knows.
fn known(test: &str, words: &str) -> Option<[Side; 2]> {
    let keys: String = words.split(' ').map(|word| format!("{word} = true\n")).collect();
    let addresses = |host: u8| [format!("10.66.0.{host}"), format!("fd66::{host}")];
    let mut lines = vec![
        "ip link set vx0 addrgenmode none".to_owned(),
        "sysctl -q -w net.ipv6.conf.vx0.disable_ipv6=0".to_owned(),
    ];
    let mut tables = String::new();
    for (host, mac) in KNOWN {
        for address in addresses(host) {
            let mac = text(mac);
            lines.push(format!("ip neigh add {address} lladdr {mac} dev vx0 nud permanent"));
            tables += &format!("[[neighbor]]\ndevice = \"vx0\"\naddress = \"{address}\"\nmac = \"{mac}\"\n");
        }
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let setup = Setup { words, keys: &keys, lines: &lines, tables: &tables, is_closed: true };
    let sides = sides(test, setup, 1500)?;
    for (entry, end) in [(format!("{} dev vx0 dst", text(ONE)), 2), (format!("{} dev vx0 dst", text(TWO)), 3)]
    {
        both(&sides, &format!("{entry} 192.0.2.{end}"));
    }
    both(&sides, &format!("{} dev vx0 dst 192.0.2.2 self router", text(ROUTER)));
    Some(sides)
}

/// Adds an entry, in bridge(8)'s words.
fn both(sides: &[Side; 2], words: &str) {
    sides[0].rig.folder.ask(&format!("fdb add {words}"));
    run_in(&sides[1].rig.center, &format!("bridge fdb add {words}"));
}

/// An ARP message from station 1 of host 0.
fn arp(hardware: u8, operation: u8, sender: u8, target: [u8; 4]) -> Vec<u8> {
    let head = [0, hardware, 8, 0, 6, 4, 0, operation];
    [&head[..], &station(0, 1), &[10, 66, 0, sender], &[0; 6], &target].concat()
}

/// A message of neighbour discovery.
fn discovery(kind: u8, source: [u8; 16], destination: [u8; 16], target: [u8; 16], options: &[u8]) -> Vec<u8> {
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target, options].concat();
    let length = u8::try_from(message.len()).unwrap();
    [&[0x6c, 0x12, 0x34, 0x56, 0, length, 58, 255][..], &source, &destination, &message].concat()
}

fn packet(to: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&frame(to, station(0, 1), ether_type, 14, 0)[..], payload].concat()
}

/// A question, or something like one, and frames beside that are none.
fn random_frame(random: &mut Random, seed: u64) -> Vec<u8> {
    let host = *random.pick(&[2u8, 3, 9, 4, 5]);
    match random.below(4) {
        0 => {
            let target =
                *random.pick(&[[10, 66, 0, host], [10, 66, 0, host], [127, 0, 0, 1], [224, 0, 0, 1]]);
            let hardware = *random.pick(&[1, 1, 6, 7]);
            let operation = *random.pick(&[1, 1, 1, 2, 3]);
            let mut message = arp(hardware, operation, *random.pick(&[1, host]), target);
            let length = *random.pick(&[message.len(), message.len(), 46, 20]);
            message.resize(length, 0);
            packet(*random.pick(&[BROADCAST, ONE]), ARP, &message)
        }
        1 => {
            let option = [1, 1, 2, 0, 0, 0, 0, 7];
            let none: &[u8] = &[];
            let strange: [&[u8]; 2] = [&[14, 1, 0, 0, 0, 0, 0, 0], &[1, 0, 2, 0, 0, 0, 0, 7]];
            let options = *random.pick(&[&option, &option, none, strange[0], strange[1]]);
            let mut group = v6(host);
            (group[0], group[1], group[11], group[12]) = (0xff, 2, 1, 0xff);
            let loopback = {
                let mut address = [0; 16];
                address[15] = 1;
                address
            };
            let source = *random.pick(&[v6(1), v6(1), [0; 16]]);
            let destination = *random.pick(&[group, group, v6(host), loopback]);
            let target = *random.pick(&[v6(host), v6(host), group]);
            let message = discovery(*random.pick(&[135, 135, 136]), source, destination, target, options);
            packet([0x33, 0x33, 0xff, 0, 0, host], IPV6, &message)
        }
        2 => {
            let to = *random.pick(&[ROUTER, ROUTER, ONE, GROUP]);
            let is_ipv6 = random.below(2) == 0;
            let tail = seed.to_be_bytes();
            if is_ipv6 {
                let header = [0x60, 0, 0, 0, 0, 8, 59, 64];
                return packet(to, IPV6, &[&header[..], &v6(1), &v6(host), &tail].concat());
            }
            let mut header = etherparse::Ipv4Header::new(
                8,
                64,
                etherparse::IpNumber(253),
                [10, 66, 0, 1],
                [10, 66, 0, host],
            )
            .unwrap();
            header.header_checksum = header.calc_header_checksum();
            packet(to, IPV4, &[&header.to_bytes()[..], &tail].concat())
        }
        _ => frame(*random.pick(&[ONE, TWO, UNKNOWN, GROUP, BROADCAST]), station(0, 1), 0x88b5, 60, seed),
    }
}

#[test]
fn neighbours_are_answered_for_and_routers_left_out_as_by_this_kernels_device() {
    let mut random = Random(0x5eed_0007);
    for words in ["proxy", "rsc", "proxy rsc l2miss l3miss"] {
        let Some(mut sides) = known("vxlan-proxy", words) else { return };
        let mut seed = 1 << 32;
        settle("at first", &mut sides, &mut seed);
        for seed in 0..400 {
            // A socket holds so much and no more.
            for side in &mut sides {
                side.hear();
            }
            let frame = random_frame(&mut random, seed);
            sides.iter().for_each(|side| side.wires[0].send(&frame));
        }
        // Answers from far ends pass, whatever is answered here.
        let answer = frame(station(0, 1), ONE, ARP, 60, 7);
        sides.iter().for_each(|side| side.wires[1].send(&far(2, &answer).frame()));
        settle(words, &mut sides, &mut seed);
        let inside = sides[1].out[0].values().sum::<usize>();
        assert!(words == "rsc" || inside > 20, "{inside} answers");
        sides[0].rig.settled();
    }
}

/// What iproute2 sees of this kernel's neighbours: a line each.
struct Monitor {
    lines: Receiver<String>,
    _told: Process,
}

impl Monitor {
    fn start(side: &Side) -> Self {
        let start = || Process::start(Command::new("ip").args(["monitor", "neigh"]).stdout(Stdio::piped()));
        let mut child = side.rig.center.run(start).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = channel();
        // It ends with the child.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { lines: told, _told: child }
    }

    /// Those of what is not known, up to the one of this address, as ours tell them.
    fn until(&mut self, last: &str) -> Vec<(String, String)> {
        let mut misses: Vec<(String, String)> = Vec::new();
        while misses.last().is_none_or(|(_, what)| what != last) {
            let line = self.lines.recv_timeout(PATIENCE).unwrap();
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["miss", "dev", "vx0", "lladdr", mac, ..] => {
                    misses.push(("l2miss".to_owned(), mac.to_owned()))
                }
                ["miss", address, "dev", "vx0", ..] => misses.push(("l3miss".to_owned(), address.to_owned())),
                _ => {}
            }
        }
        misses
    }
}

#[test]
fn what_is_not_known_is_told_as_this_kernel_tells_it() {
    let Some(mut sides) = known("vxlan-misses", "proxy rsc l2miss l3miss") else { return };
    let mut seed = 1 << 32;
    settle("at first", &mut sides, &mut seed);
    let mut listener = Listener::new(&sides[0].rig.folder);
    let mut monitor = Monitor::start(&sides[1]);
    let who = |host: u8| packet(BROADCAST, ARP, &arp(1, 1, 1, [10, 66, 0, host]));
    // It listens once it tells something.
    wait_for("the monitor to hear", || {
        sides[1].wires[0].send(&who(99));
        monitor.lines.try_recv().ok()
    });
    let mut group = v6(8);
    (group[0], group[1], group[11], group[12]) = (0xff, 2, 1, 0xff);
    let frames = [
        who(2),
        who(7),
        packet([0x33, 0x33, 0xff, 0, 0, 8], IPV6, &discovery(135, v6(1), group, v6(8), &[])),
        packet([0x33, 0x33, 0xff, 0, 0, 3], IPV6, &discovery(135, v6(1), group, v6(3), &[])),
        frame(UNKNOWN, station(0, 1), 0x88b5, 60, 0),
        frame(BROADCAST, station(0, 1), 0x88b5, 60, 0),
        frame(ONE, station(0, 1), 0x88b5, 60, 0),
        packet(ROUTER, IPV4, &{
            let mut header =
                etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber(253), [10, 66, 0, 1], [10, 66, 0, 6])
                    .unwrap();
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }),
        who(98),
    ];
    for frame in &frames {
        sides.iter().for_each(|side| side.wires[0].send(frame));
    }
    let is_last = |event: &Event| matches!(event, Event::L3miss { dst, .. } if dst == "10.66.0.98");
    let told = listener.until(is_last).into_iter().filter_map(|event| match event {
        Event::L2miss { mac, ifname } => Some(("l2miss".to_owned(), mac, ifname)),
        Event::L3miss { dst, ifname } => Some(("l3miss".to_owned(), dst, ifname)),
        _ => None,
    });
    let told: Vec<_> = told
        .inspect(|(_, _, ifname)| assert_eq!(ifname, "vx0"))
        .map(|(kind, what, _)| (kind, what))
        .collect();
    let kernels: Vec<_> =
        monitor.until("10.66.0.98").into_iter().filter(|(_, what)| what != "10.66.0.99").collect();
    assert_eq!(told, kernels);
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 5);
}
