//! What an operator may say about an ipvlan, validated.

use crate::tables::IpvlanFlag;

/// Who finds the way of what an ipvlan sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IpvlanMode {
    /// It does: its frames leave as they are.
    #[default]
    L2,
    /// The device that it stands on, by its routes and neighbours.
    L3,
    /// The same; in the kernel what comes in passes the filters (netfilter) of that device's host, and here there are none.
    L3s,
}

impl IpvlanMode {
    /// Whether the device below routes.
    pub fn is_routed(self) -> bool {
        self != Self::L2
    }
}

/// What sets one `[[ipvlan]]` apart from other devices that stand on one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpvlanConfig {
    /// Who finds its ways: the same for all on the same device.
    pub mode: IpvlanMode,
    /// How it and the others on the same device reach each other: the same for them all.
    pub flag: IpvlanFlag,
}

impl IpvlanConfig {
    /// ip-link(8)'s words for the modes.
    pub const MODES: [(&str, IpvlanMode); 3] =
        [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)];

    /// ip-link(8)'s word for its mode.
    pub fn mode_name(&self) -> &'static str {
        match self.mode {
            IpvlanMode::L2 => "l2",
            IpvlanMode::L3 => "l3",
            IpvlanMode::L3s => "l3s",
        }
    }

    /// ip-link(8)'s words for the flags.
    pub const FLAGS: [(&str, IpvlanFlag); 3] =
        [("bridge", IpvlanFlag::Bridge), ("private", IpvlanFlag::Private), ("vepa", IpvlanFlag::Vepa)];

    /// ip-link(8)'s word for its flag.
    pub fn flag_name(&self) -> &'static str {
        match self.flag {
            IpvlanFlag::Bridge => "bridge",
            IpvlanFlag::Private => "private",
            IpvlanFlag::Vepa => "vepa",
        }
    }
}
