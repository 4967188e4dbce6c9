//! VXLAN devices that come and go while the switch runs, and entries that change.

use std::collections::BTreeMap;

use rigswitch::switch::Switch;
use rigswitch::views::{FdbChange, FdbHow};

use super::command::wait_for;
use super::packets::{Outer, PLAIN};
use super::rules::{BROADCAST, HERE, THERE, TO_ONE, bridged, change, config, play, usual};

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

#[test]
fn an_entry_says_which_device_its_packets_leave_by() {
    // Both devices have the network; the route is by the first.
    let text = bridged("remote = \"192.0.2.2\"\n")
        .replace("port = [{ name = \"p0\"", "port = [{ name = \"u1\", memory = true }, { name = \"p0\"")
        + "fdb = [{ mac = \"02:00:00:00:00:02\", dst = \"192.0.2.3\", via = \"u1\" }]\n";
    play(&text, |rig| {
        let mut before = BTreeMap::new();
        assert_eq!(rig.goes_to(BROADCAST, HERE), [2]);
        assert!(rig.out(&usual(THERE, HERE)).is_empty());
        assert_eq!(rig.drops(&mut before), ["vx0 tx.tunnel_no_route"], "no route leads there by u1");
        let by_u0 = FdbChange {
            how: FdbHow::Replace,
            via: Some("u0".into()),
            ..change("02:00:00:00:00:02", "192.0.2.3")
        };
        rig.change(by_u0.clone()).unwrap();
        assert_eq!(rig.goes_to(THERE, HERE), [3]);
        let mut plan = rig.plan(&config(&text));
        plan.sort();
        assert_eq!(
            plan,
            [
                "+ bridge vx0 fdb 02:00:00:00:00:02 192.0.2.3 via u1",
                "- bridge vx0 fdb 02:00:00:00:00:02 192.0.2.3 via u0"
            ]
        );
        let shown = rig
            .hand
            .switch()
            .fdb()
            .into_iter()
            .find(|entry| entry.dst.as_deref() == Some("192.0.2.3"))
            .unwrap();
        assert_eq!(serde_json::to_value(&shown).unwrap()["viaIf"], "u0");
        let why = rig.change(FdbChange { via: Some("u9".into()), ..by_u0 }).unwrap_err();
        assert!(why.contains("`via u9`: there is no such device"), "{why}");
    });
}
