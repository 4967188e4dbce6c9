//! The switch on the same rig: its ports in memory, its worker turned by hand.

use rigswitch::config::Config;
use rigswitch::switch::{ByHand, Switch};
use rigswitch::views::{FdbChange, FdbFlush, FdbHow, FdbRemoval, FdbStateWord, MdbChange, MdbState};
use rigswitch_dataplane::ports::{MemoryEnd, Now};

use crate::rigs::{Outputs, Rig, Step};
use crate::transcript;

/// What the switch answers to every step.
pub(crate) fn play(rig: &Rig) -> Vec<String> {
    let config = Config::parse(&rig.config(), "rig.toml").unwrap();
    let steps: Vec<_> = rig.cases.iter().flat_map(|(_, steps)| steps).collect();
    let drive = |hand: &mut ByHand<'_>| {
        let ends: Vec<_> =
            (0..rig.mtus.len()).map(|n| hand.switch().memory_end(&format!("p{n}")).unwrap()).collect();
        // A router of ours announces its addresses when it begins, and the kernel's does not.
        settle(hand);
        ends.iter().for_each(|end| while end.receive().is_some() {});
        let mut now = Now { unix_ns: 0 };
        steps.iter().map(|done| transcript::step(done, step(hand, &ends, &mut now, done))).collect()
    };
    Switch::by_hand(config, Now { unix_ns: 0 }, drive).unwrap()
}

fn step(hand: &mut ByHand<'_>, ends: &[MemoryEnd], now: &mut Now, step: &Step) -> Outputs {
    match step {
        Step::Send(port, frame) => ends[*port].send(frame.clone()).unwrap(),
        Step::Fdb(words) => fdb(hand.switch(), words),
        Step::Mdb(words) => mdb(hand.switch(), words),
        Step::Wait(ms) => {
            for _ in 0..ms.div_ceil(100) {
                now.unix_ns += 100_000_000;
                hand.set_time(*now);
                hand.tick();
            }
        }
    }
    settle(hand);
    let mut outputs = Outputs::default();
    for (end, output) in ends.iter().zip(&mut outputs) {
        output.extend(std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes));
    }
    outputs
}

/// Turns worker and control until neither has anything to do.
fn settle(hand: &mut ByHand<'_>) {
    loop {
        while hand.step() > 0 {}
        hand.switch().hear_workers();
        if hand.step() == 0 {
            return;
        }
    }
}

/// The same of the multicast database.
fn mdb(switch: &mut Switch, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    let after = |word| words.iter().position(|w| *w == word).map(|at| words[at + 1].to_owned());
    let [dev, port, grp] = ["dev", "port", "grp"].map(|word| after(word).unwrap());
    let state = if words.contains(&"permanent") { MdbState::Permanent } else { MdbState::Temp };
    let change = MdbChange { dev, port, grp, state, vid: after("vid").map(|vid| vid.parse().unwrap()) };
    if words[0] == "add" { switch.add_mdb(&change).unwrap() } else { switch.remove_mdb(&change).unwrap() }
}

/// bridge(8)'s words, as the command would send them to a switch that runs.
fn fdb(switch: &mut Switch, words: &str) {
    let words: Vec<_> = words.split(' ').collect();
    let has = |word: &str| words.contains(&word);
    let after = |word| words.iter().position(|w| *w == word).map(|at| words[at + 1].to_owned());
    let asked = |word: &str| if has(&format!("no{word}")) { Some(false) } else { has(word).then_some(true) };
    let (mac, ifname) = (words[1].to_owned(), after("dev").unwrap());
    let vlan = after("vlan").map(|vid| vid.parse().unwrap());
    let number = |word| after(word).map(|number| number.parse().unwrap());
    let (dst, vni, src_vni) = (after("dst"), number("vni"), number("src_vni"));
    let port = after("port").map(|port| port.parse().unwrap());
    let how = match words[0] {
        "flush" => {
            let flush = FdbFlush {
                dev: ifname,
                brport: after("brport"),
                vlan,
                permanent: asked("permanent"),
                fixed: asked("static"),
                dynamic: asked("dynamic"),
                extern_learn: asked("extern_learn"),
                sticky: asked("sticky"),
                ..FdbFlush::default()
            };
            switch.flush_fdb(&flush).unwrap();
            return;
        }
        "del" => {
            let removal = FdbRemoval { mac, ifname, vlan, dst, port, vni, src_vni, ..FdbRemoval::default() };
            return switch.remove_fdb(&removal).unwrap();
        }
        "append" => FdbHow::Append,
        "add" => FdbHow::Add,
        _ => FdbHow::Replace,
    };
    let state = match (has("static"), has("dynamic")) {
        (true, _) => FdbStateWord::Static,
        (_, true) => FdbStateWord::Dynamic,
        _ => FdbStateWord::Permanent,
    };
    let (sticky, extern_learn, is_use) = (has("sticky"), has("extern_learn"), has("use"));
    let change = FdbChange {
        mac,
        ifname,
        vlan,
        state,
        sticky,
        extern_learn,
        is_use,
        dst,
        port,
        vni,
        src_vni,
        how,
        ..FdbChange::default()
    };
    switch.change_fdb(&change).unwrap();
}
