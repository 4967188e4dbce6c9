//! What the spanning tree is told about a bridge and its ports.

use std::time::Duration;

use rigswitch_dataplane::wire::bpdu::{BridgeId, ConfigBpdu, PortId, Time};

/// What is set on the bridge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BridgeSetup {
    pub(crate) id: BridgeId,
    pub(crate) timing: Timing,
}

/// What the root has all bridges keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Timing {
    pub(crate) max_age: Duration,
    pub(crate) hello_time: Duration,
    pub(crate) forward_delay: Duration,
}

impl Timing {
    /// What a message says.
    pub(super) fn of(said: &ConfigBpdu) -> Self {
        let [max_age, hello_time, forward_delay] =
            [said.max_age, said.hello_time, said.forward_delay].map(Time::duration);
        Self { max_age, hello_time, forward_delay }
    }
}

/// What is set on a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PortSetup {
    pub(crate) id: PortId,
    pub(crate) path_cost: u32,
    /// A BPDU takes the port out of service.
    pub(crate) guard: bool,
    /// The port may not lead to the root.
    pub(crate) root_block: bool,
}
