//! Filters against the real tcpdump: random expressions must want the very frames that libpcap wants.
#![allow(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used
)] // helpers of tests are tests; tests say what they skip

#[path = "filters/random.rs"]
mod random;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};
use random::Random;
use rigswitch_dataplane::filter::Filter;

/// The numbers of the frames that tcpdump wants, by their times; or what it says to a filter it does not take.
fn tcpdump(capture: &Path, filter: &str) -> Result<BTreeSet<usize>, String> {
    // `-O`: the optimiser leaves out loads of bytes that a short frame has not, which changes what is wanted.
    let mut command = Command::new("tcpdump");
    command
        .args(["-O", "-Z", "root", "-r", "-", "-w", "-", "--", filter])
        .stdin(File::open(capture).unwrap());
    let output = command.stderr(Stdio::piped()).output().expect("tcpdump runs");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut reader = PcapReader::new(&output.stdout[..]).unwrap();
    let mut wanted = BTreeSet::new();
    while let Some(packet) = reader.next_packet() {
        wanted.insert(packet.unwrap().timestamp.as_secs() as usize);
    }
    Ok(wanted)
}

/// Whether there is a tcpdump; says aloud what is skipped if not.
fn there_is_tcpdump() -> bool {
    let there = Command::new("tcpdump").arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var_os("CI").is_none(), "CI must have tcpdump");
        println!("skipped: there is no tcpdump to compare filters with: install the package tcpdump");
    }
    there
}

/// Every filter of `filters` wants the same of `frames` here and there. Answers how often one wanted a frame and how often not.
fn compare(name: &str, filters: &[String], frames: &[Vec<u8>]) -> [usize; 2] {
    let path = std::env::temp_dir().join(format!("rigswitch-{}-{name}.pcap", std::process::id()));
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    for (number, frame) in frames.iter().enumerate() {
        let time = Duration::from_secs(number as u64);
        writer.write_packet(&PcapPacket::new(time, frame.len() as u32, frame)).unwrap();
    }
    File::create(&path).unwrap().write_all(&writer.into_writer()).unwrap();
    let mut counts = [0; 2];
    for filter in filters {
        let theirs = tcpdump(&path, filter);
        let ours = Filter::compile(filter).map(|filter| {
            let wanted = frames.iter().enumerate().filter(|(_, frame)| filter.matches(frame));
            wanted.map(|(number, _)| number).collect::<BTreeSet<_>>()
        });
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                if let Some(number) = ours.symmetric_difference(&theirs).next() {
                    let who = if ours.contains(number) { "rigswitch" } else { "tcpdump" };
                    panic!("{filter}: only {who} wants {:02x?}", frames[*number]);
                }
                counts[0] += ours.len();
                counts[1] += frames.len() - ours.len();
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(why)) => panic!("{filter}: only tcpdump refuses: {why}"),
            (Err(why), Ok(_)) => panic!("{filter}: only rigswitch refuses: {why}"),
        }
    }
    std::fs::remove_file(path).unwrap();
    counts
}

#[test]
fn random_filters_want_what_tcpdump_wants() {
    if !there_is_tcpdump() {
        return;
    }
    const SEED: u64 = 4;
    let mut random = Random(SEED);
    let frames: Vec<_> = (0..800).map(|_| random.frame()).collect();
    let filters: Vec<_> = (0..500).map(|_| random.filter(3)).collect();
    let [wanted, unwanted] = compare("random", &filters, &frames);
    // Filters that want everything or nothing compare nothing.
    assert!(wanted > 20_000 && unwanted > 100_000, "{wanted} wanted, {unwanted} not");
}

#[test]
fn every_form_of_a_filter_means_what_it_means_to_tcpdump() {
    if !there_is_tcpdump() {
        return;
    }
    let mut random = Random(44);
    let frames: Vec<_> = (0..400).map(|_| random.frame()).collect();
    let filters: Vec<_> = FORMS.lines().map(str::to_owned).collect();
    compare("forms", &filters, &frames);
}

/// Forms that random filters do not take, good and bad.
const FORMS: &str = r"
host 10.1
host 10
net 10
net 10.1
net 10.0.0.0 mask 255.255.0.0
net 10.0.0.1/8
host 10.0.0.0/8
src or dst host 10.0.0.1
dst and src net 10.0.0.0/30
src 10.0.0.1 or dst 10.0.0.2
host (10.0.0.1 or 10.0.0.2)
host not 10.0.0.1
host not (10.0.0.1 or 10.0.0.2) and 10.0.0.3
tcp port 80 and (443 or 53)
tcp port 80 or (udp port 53 or 1000) or 443
port (80)
port 0x50
port 010
port 08
portrange 90-50
portrange 80
port 65536
(1) = len
((ip[0] & 15) << 2) = 20
10.0.0.1
ip 10.0.0.1
tcp and 80
ip host ::1
tcp host 10.0.0.1
ip port 53
icmp port 5
udp proto 5
arp proto 5
src proto 6
ether proto \arp
ip proto \tcp
ip6 proto \udp
proto \icmp
ether proto 0x42
ether proto 6
ether proto 0xfe
ether proto 70000
ip proto 300
ether host 0:0:0:0:0:1 or 02-00-00-00-00-02
ether dst 0200.0000.0001
ether src 020000000002
ether broadcast or multicast
ip multicast or ip6 multicast
arp multicast
ip6 broadcast
vlan (5)
vlan 5 and vlan 6
vlan 4096
vlan or ip
vlan and ip or vlan and ip
not vlan and ip
less 60 or greater 100
less (5)
length >= 60
len == 60
ip[0:3] = 1
ip[2:2] = len - 14
ether[4294967295] = 0
ether[len - 1] = 0
ether[0 - 1] = 0
1 / 0 = 1
1 << 32 = 1
1 / (len - 60) = 0
not 1 / (len - 60) = 0
len >> (len / 2) = 0
icmp[icmptype] = icmp-echo
icmp6[icmp6type] = icmp6-echo
tcp[tcpflags] & (tcp-syn | tcp-fin) != 0
stp[0] = 1
stp or ah or esp or pim or vrrp or igmp or sctp
ip and
and ip
ip ip
(ip
ip)
ip[0]
ip[0
! ip || ! arp && udp
not not ip
";
