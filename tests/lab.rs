//! The laboratory itself: what it makes is there, and goes with it, however it ends.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use rigswitch::lab::{self, Lab, LabError};
use rigswitch_dataplane::sys::netns::Netns;

#[test]
fn hosts_on_a_veth_reach_each_other_until_it_is_deleted() {
    if !lab::as_root("hosts_on_a_veth_reach_each_other_until_it_is_deleted") {
        return;
    }
    let mut lab = Lab::new("lab-veth").unwrap();
    let [one, two] = ["h1", "h2"].map(|name| lab.host(name).unwrap());
    one.add_veth("eth0", "eth1", two.netns()).unwrap();
    let ends = [(&one, "eth0", 1), (&two, "eth1", 2)];
    for (host, device, number) in ends {
        host.netdev(device).unwrap().set_mtu(3000).unwrap();
        host.add_address(device, IpAddr::from([10, 78, 0, number]), 24).unwrap();
        host.add_address(device, IpAddr::from([0xfd78, 0, 0, 0, 0, 0, 0, u16::from(number)]), 64).unwrap();
        host.set_up(device).unwrap();
    }
    assert_eq!(two.netdev("eth1").unwrap().driver().unwrap(), "veth");
    let v4 = IpAddr::from([10, 78, 0, 2]);
    let v6 = IpAddr::from([0xfd78, 0, 0, 0, 0, 0, 0, 2]);
    for target in [v4, v6] {
        let ping = lab::ping(&one, target, 3, 2000, Duration::from_secs(5)).unwrap();
        assert_eq!((ping.lost(), ping.round_trips.len()), (0, 3), "{target}");
        assert!(ping.median() >= ping.round_trips.iter().min().copied());
        lab::tcp_transfer(&one, &two, (target, 0).into(), 100_000).unwrap();
        assert_eq!(lab::udp_echo(&one, &two, (target, 0).into(), 5, 1000).unwrap(), 5);
    }
    // One end takes the other along.
    one.delete("eth0").unwrap();
    assert_eq!(two.netdev("eth1").unwrap().index().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lab::ping(&one, v4, 2, 56, Duration::from_secs(5)).unwrap().lost(), 2);
    assert!(lab::tcp_transfer(&one, &one, (v4, 0).into(), 1).is_err());
}

#[test]
fn what_cannot_be_made_is_refused_by_name() {
    if !lab::as_root("what_cannot_be_made_is_refused_by_name") {
        return;
    }
    let mut lab = Lab::new("lab-refused").unwrap();
    let host = lab.host("h1").unwrap();
    let taken = lab.host("h1").unwrap_err();
    assert!(matches!(&taken, LabError::System { source, .. } if source.kind() == ErrorKind::AlreadyExists));
    assert!(taken.to_string().contains(host.name()), "{taken}");
    let nowhere = IpAddr::from([10, 78, 0, 1]);
    assert!(host.add_address("eth0", nowhere, 24).unwrap_err().to_string().contains("eth0"));
    assert!(host.add_veth("lo", "eth1", host.netns()).unwrap_err().to_string().contains("lo"));
    assert!(host.adopt("eth7", host.netns()).unwrap_err().to_string().contains("eth7"));
}

#[test]
fn a_laboratory_is_gone_with_its_guard_and_a_killed_one_with_the_next() {
    const NAME: &str = "a_laboratory_is_gone_with_its_guard_and_a_killed_one_with_the_next";
    const VICTIM: &str = "RIGSWITCH_TEST_VICTIM";
    if !lab::as_root(NAME) {
        return;
    }
    if let Ok(purpose) = std::env::var(VICTIM) {
        let mut lab = Lab::new(&purpose).unwrap();
        println!("made {}", lab.host("h1").unwrap().name());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    // A purpose of its own: another run of this test at the same time would sweep up behind the victim.
    let purpose = format!("killed{}", std::process::id());
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(VICTIM, &purpose)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    let made = lines.find_map(|line| line.split_once("made ").map(|(_, name)| name.to_owned()));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let made = made.expect("the victim made its host before it was killed");
    assert_eq!(lab::leftovers(&purpose).unwrap(), std::slice::from_ref(&made));

    let mut lab = Lab::new(&purpose).unwrap();
    assert!(!Netns::names().unwrap().contains(&made));
    let host = lab.host("h1").unwrap();
    let name = host.name().to_owned();
    assert!(Netns::names().unwrap().contains(&name));
    assert!(lab::leftovers(&purpose).unwrap().is_empty(), "its process lives");
    drop(lab);
    assert!(!Netns::names().unwrap().contains(&name));
}
