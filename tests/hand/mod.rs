//! A whole switch over two ports in memory, p0 and p1, whose turns are taken by hand: what goes in, and what comes out.
#![allow(dead_code, clippy::unwrap_used)] // each test uses its part; helpers of tests are tests

use std::time::Duration;

use rigswitch::config::Config;
use rigswitch::switch::{ByHand, Switch};
use rigswitch_dataplane::ports::{MemoryEnd, Now, Wire};

pub(crate) fn parsed(text: &str) -> Config {
    Config::parse(text, "rig.toml").map_err(|refused| refused.to_string()).unwrap()
}

/// The switch, and the far ends of its ports.
pub(crate) struct Hand<'h, 'w> {
    pub(crate) hand: &'h mut ByHand<'w>,
    pub(crate) ends: [MemoryEnd; 2],
    now: Duration,
}

/// Has `work` use a switch of this configuration, which has announced its addresses. Nothing is lost from the ledger.
pub(crate) fn with(text: &str, work: impl FnOnce(&mut Hand<'_, '_>)) {
    let drive = |hand: &mut ByHand<'_>| {
        let ends = ["p0", "p1"].map(|port| hand.switch().memory_end(port).unwrap());
        let mut hand = Hand { hand, ends, now: Duration::ZERO };
        hand.settle();
        hand.sent();
        work(&mut hand);
        let ledger = hand.hand.switch().drops().ledger;
        assert!(ledger.balanced, "{ledger:?}");
    };
    Switch::by_hand(parsed(text), Now { unix_ns: 0 }, drive).unwrap();
}

impl Hand<'_, '_> {
    /// Turns worker and control until neither has anything to do.
    pub(crate) fn settle(&mut self) {
        loop {
            while self.hand.step() > 0 {}
            self.hand.switch().hear_workers();
            if self.hand.step() == 0 {
                return;
            }
        }
    }

    /// Lets time pass, in which whatever is due happens.
    pub(crate) fn wait(&mut self, time: Duration) {
        const TICK: Duration = Duration::from_millis(100);
        let until = self.now + time;
        while self.now < until {
            self.now += TICK;
            self.hand.set_time(Now { unix_ns: u64::try_from(self.now.as_nanos()).unwrap() });
            self.hand.tick();
            self.settle();
        }
    }

    /// What came out of both ports.
    pub(crate) fn sent(&self) -> [Vec<Vec<u8>>; 2] {
        let all = |end: &MemoryEnd| std::iter::from_fn(|| end.receive()).map(|wire| wire.bytes).collect();
        self.ends.each_ref().map(all)
    }

    /// What comes out when this comes in at a port.
    pub(crate) fn through(&mut self, port: usize, frame: impl Into<Wire>) -> [Vec<Vec<u8>>; 2] {
        self.ends[port].send(frame).unwrap();
        self.settle();
        self.sent()
    }

    /// Every reason that has occurred: device, direction and name.
    pub(crate) fn drops(&mut self) -> Vec<String> {
        let drops = self.hand.switch().drops().drops;
        drops.iter().map(|drop| format!("{} {}.{}", drop.device, drop.direction, drop.reason)).collect()
    }
}
