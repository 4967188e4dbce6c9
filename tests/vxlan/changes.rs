//! VXLAN devices that come and go while the switch runs.

use rigswitch::switch::Switch;

use super::command::wait_for;
use super::packets::{Outer, PLAIN};
use super::rules::{HERE, THERE, TO_ONE, bridged, config, usual};

#[test]
fn a_device_that_goes_takes_its_entries_along_and_others_keep_theirs() {
    let two = bridged(TO_ONE)
        + "[[vxlan]]\nname = \"vx1\"\nid = 43\ndstport = 4789\nremote = \"192.0.2.3\"\n\
           fdb = [{ mac = \"02:00:00:00:00:09\", dst = \"192.0.2.4\" }]\n";
    let mut switch = Switch::start(config(&two)).unwrap();
    let entries = |switch: &Switch| {
        let of_itself = switch.fdb().into_iter().filter(|entry| entry.flags == ["self"]);
        of_itself
            .map(|entry| format!("{} {} {}", entry.ifname, &entry.mac[15..], entry.dst.unwrap()))
            .collect::<Vec<_>>()
    };
    let come_in = |switch: &Switch, vni: u64| {
        let outer = Outer { header: PLAIN | vni << 8, ..Outer::of(&usual(HERE, THERE)) };
        switch.memory_end("u0").unwrap().send(outer.frame()).unwrap();
    };
    come_in(&switch, 42);
    wait_for("the station to be learned", || {
        switch.tick();
        (entries(&switch).len() == 4).then_some(())
    });
    let all = entries(&switch);
    assert_eq!(all, ["vx0 00 192.0.2.2", "vx0 02 192.0.2.2", "vx1 00 192.0.2.3", "vx1 09 192.0.2.4"]);
    switch.apply(config(&bridged(TO_ONE))).unwrap();
    assert_eq!(entries(&switch), all[..2]);
    come_in(&switch, 43);
    wait_for("what is for the device that went to be dropped", || {
        switch.drops().drops.iter().any(|drop| drop.reason == "vxlan_unknown_vni").then_some(())
    });
    switch.apply(config(&two)).unwrap();
    assert_eq!(entries(&switch), all);
}
