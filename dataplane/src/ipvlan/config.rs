//! What an operator may say about an ipvlan, validated.

use crate::tables::IpvlanFlag;

/// What sets one `[[ipvlan]]` apart from other devices that stand on one. Its mode is L2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpvlanConfig {
    /// How it and the others on the same device reach each other: the same for them all.
    pub flag: IpvlanFlag,
}

impl IpvlanConfig {
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
