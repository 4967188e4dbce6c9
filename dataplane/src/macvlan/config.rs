//! What an operator may say about a macvlan, validated.

use crate::ids::MacAddr;
use crate::tables::MacvlanMode;

/// What sets one `[[macvlan]]` apart from other devices that stand on one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MacvlanConfig {
    /// How it gets on with the others.
    pub mode: MacvlanMode,
    /// The stations that it hears in mode source.
    pub sources: Vec<MacAddr>,
    /// Whether what it hears in that mode is nobody else's.
    pub nodst: bool,
    /// Whether, in mode passthru, it has of what is for one station only what is for its own address.
    pub nopromisc: bool,
    /// How many frames to groups of one burst the children of its device hear; `None` for the default.
    pub bcqueuelen: Option<u32>,
    /// What that holds for, the same for all of its device: all's address, and groups that more children hear; of nothing if it is
    /// below zero. `None` for the default.
    pub bclim: Option<i32>,
}

impl MacvlanConfig {
    /// ip-link(8)'s words for the modes.
    pub const MODES: [(&str, MacvlanMode); 5] = [
        ("private", MacvlanMode::Private),
        ("vepa", MacvlanMode::Vepa),
        ("bridge", MacvlanMode::Bridge),
        ("passthru", MacvlanMode::Passthru),
        ("source", MacvlanMode::Source),
    ];

    /// The kernel's `MACVLAN_DEFAULT_BC_QUEUE_LEN`.
    pub const BCQUEUELEN: u32 = 1000;

    /// The kernel's `bc_cutoff` (`macvlan_port_create`).
    pub const BCLIM: i32 = 1;

    /// The address of a child of this name that is given none; `None` for that of the device it stands on, which one that takes the
    /// whole of it has (`macvlan_common_newlink`).
    pub fn own_address(&self, name: &str) -> Option<MacAddr> {
        (self.mode != MacvlanMode::Passthru).then(|| MacAddr::of_name(name))
    }
}
