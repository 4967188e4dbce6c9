//! Advice about the chain of MTUs, given at the start and whenever something in it is another: each gap is told of once, and again
//! when it has been closed in between.

use std::collections::{BTreeSet, HashMap};

use super::Switch;
use crate::events::Event;
use crate::mtus::Chain;

/// What has been told.
#[derive(Default)]
pub(super) struct Advice {
    /// Whether anything was published since the last look.
    pub(super) is_due: bool,
    told: BTreeSet<String>,
}

impl Switch {
    /// Looks at the chain, if it may be another one.
    pub(super) fn advise(&mut self) {
        if !std::mem::take(&mut self.advice.is_due) {
            return;
        }
        let mtu_of = |port: &super::Port| Some(port.mtu).filter(|_| !port.is_gone());
        let known: HashMap<_, _> =
            self.ports.iter().map(|(_, port)| (&*port.config.name, mtu_of(port))).collect();
        let chain = Chain::new(&self.config, |name| known.get(name).copied().flatten());
        let label = |name| name;
        let found: BTreeSet<_> = chain.gaps().iter().map(|gap| gap.what(label)).collect();
        for what in found.difference(&self.advice.told) {
            let message = format!("{what} (`rigswitch doctor` says how to mend it)");
            self.events.tell(Event::Warning { message });
        }
        self.advice.told = found;
    }
}
