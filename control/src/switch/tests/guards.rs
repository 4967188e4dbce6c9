//! What guards a bridge: locked entries, and what is done about stations that move too often.

use serde_json::json;

use super::*;
use crate::views::{EditAction, EditObject, EditRequest, FdbHow};

fn set(switch: &mut Switch, port: &str, keys: serde_json::Value) {
    let serde_json::Value::Object(keys) = keys else { panic!("keys are a table") };
    let edit = EditRequest { action: EditAction::Set, object: EditObject::Port, name: port.into(), keys };
    switch.edit(&edit).unwrap();
}

#[test]
fn a_locked_entry_is_shown_and_goes_when_mab_does() {
    let mut switch = switch(1, 2, "spin");
    set(&mut switch, "p0", json!({ "locked": true, "mab": true }));
    let [p0, p1] = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    let drops = |switch: &Switch| switch.drops().drops.iter().map(|drop| drop.packets).sum::<u64>();
    for round in 0..2 {
        for station in 1..=3 {
            p0.send(frame(station, 0)).unwrap();
        }
        tick_until(&mut switch, "three drops", |switch, _| drops(switch) == 3 * (round + 1));
        let flags: Vec<_> = switch.fdb().into_iter().map(|entry| entry.flags).collect();
        assert_eq!(flags, [["locked"]; 3]);
        assert_eq!(switch.fdb_n_learned(), [("br0", 3)]);
        let locked = FdbFlush { dev: "p0".into(), locked: Some(true), ..FdbFlush::default() };
        let let_in = FdbChange { how: FdbHow::Replace, ..entry("02:00:00:00:00:01", FdbStateWord::Static) };
        match round {
            0 => assert_eq!(switch.flush_fdb(&locked).unwrap(), 3),
            _ => switch.change_fdb(&let_in).unwrap(),
        }
    }
    set(&mut switch, "p0", json!({ "mab": null }));
    let left = switch.fdb().pop().expect("who was let in stays");
    assert_eq!((left.flags.len(), left.state.as_str(), switch.fdb().len()), (0, "static", 1));
    carried(&mut switch, &p0, frame(1, 0), &p1);
    balances(&mut switch);
    switch.stop(Duration::from_secs(10)).unwrap();
}

fn entry(mac: &str, state: FdbStateWord) -> FdbChange {
    FdbChange { mac: mac.into(), ifname: "p0".into(), state, ..FdbChange::default() }
}

/// A switch of two workers whose bridge does this about three moves, and the far ends of its two ports.
fn guarded(action: &str, time: &str) -> (Switch, [MemoryEnd; 2]) {
    let text = format!(
        "port = [{{ name = \"p0\", memory = true }}, {{ name = \"p1\", memory = true }}]\n[switch]\nworkers = 2\nidle = \"spin\"\n\
         [[bridge]]\nname = \"br0\"\nmac_move_limit = 3\nmac_move_window = \"1h\"\nmac_move_action = \"{action}\"\n\
         mac_move_time = \"{time}\"\nport = [{{ device = \"p0\" }}, {{ device = \"p1\" }}]"
    );
    let switch = Switch::start(Config::parse(&text, "rig.toml").unwrap()).unwrap();
    let ends = ["p0", "p1"].map(|port| switch.memory_end(port).unwrap());
    (switch, ends)
}

/// Station 1 is seen behind p0, and then behind either port in turn; where the last frame comes out, it has been learned.
fn moves(switch: &mut Switch, ends: &[MemoryEnd; 2], times: usize) {
    for step in 0..=times {
        carried(switch, &ends[step % 2], frame(1, 0), &ends[1 - step % 2]);
    }
}

fn place(switch: &Switch) -> (String, Vec<String>) {
    let entry = switch.fdb().into_iter().find(|entry| entry.mac == "02:00:00:00:00:01").unwrap();
    (entry.ifname, entry.flags)
}

#[test]
fn a_station_that_moves_too_often_is_told_of_and_counted_anew() {
    let (mut switch, ends) = guarded("alarm", "1h");
    let mut lines = switch.listen().unwrap();
    moves(&mut switch, &ends, 2);
    assert_eq!(switch.mac_move_alarms(), 0);
    ends[1].send(frame(1, 0)).unwrap(); // and every tick's news are looked at from here on
    let line = "bridge br0: 02:00:00:00:00:01 has moved 3 times, now from p0 to p1: alarm";
    tick_until(&mut switch, "the alarm", |_, news| news.iter().any(|news| news == line));
    assert_eq!(switch.mac_move_alarms(), 1);
    let told = std::iter::from_fn(|| lines.try_recv().ok()).map(|line| String::from_utf8(line).unwrap());
    assert_eq!(told.filter(|line| line.contains("\"event\":\"moves_too_often\"")).count(), 1);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_station_that_moves_too_often_is_held_where_it_was_and_its_frames_go_on() {
    let (mut switch, ends) = guarded("hold", "1h");
    moves(&mut switch, &ends, 3);
    let held = ("p0".to_owned(), vec!["sticky".to_owned(), "held".to_owned()]);
    tick_until(&mut switch, "the hold", |switch, _| place(switch) == held);
    for _ in 0..5 {
        carried(&mut switch, &ends[1], frame(1, 0), &ends[0]);
        carried(&mut switch, &ends[1], frame(2, 1), &ends[0]);
    }
    assert_eq!((place(&switch), switch.mac_move_alarms()), (held, 1));
    balances(&mut switch);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn a_port_that_a_station_moves_to_too_often_is_disabled_until_it_is_set() {
    let (mut switch, ends) = guarded("disable", "1h");
    moves(&mut switch, &ends, 3);
    let state = |switch: &Switch| switch.ports().into_iter().map(|port| port.state).collect::<Vec<_>>();
    tick_until(&mut switch, "p1 to be disabled", |switch, _| {
        state(switch) == [None, Some("disabled".into())]
    });
    ends[1].send(frame(1, 0)).unwrap();
    let refused = |drop: &crate::views::DropView| drop.device == "p1" && drop.reason == "port_state";
    tick_until(&mut switch, "a drop", |switch, _| switch.drops().drops.iter().any(refused));
    set(&mut switch, "p1", json!({}));
    assert_eq!(state(&switch), [None, None]);
    carried(&mut switch, &ends[1], frame(1, 0), &ends[0]);
    switch.stop(Duration::from_secs(10)).unwrap();
}

#[test]
fn what_is_done_about_moves_ends() {
    for action in ["hold", "disable"] {
        let (mut switch, ends) = guarded(action, "1s");
        moves(&mut switch, &ends, 3);
        tick_until(&mut switch, "the alarm", |switch, _| switch.mac_move_alarms() == 1);
        tick_until(&mut switch, "the end of it", |switch, _| {
            let is_held = switch.fdb().iter().any(|entry| entry.flags.contains(&"held".to_owned()));
            !is_held && switch.ports().iter().all(|port| port.state.is_none())
        });
        carried(&mut switch, &ends[1], frame(1, 0), &ends[0]);
        assert_eq!(place(&switch), ("p1".into(), Vec::new()));
        switch.stop(Duration::from_secs(10)).unwrap();
    }
}
