//! What guards a bridge's ports: locked entries.

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
