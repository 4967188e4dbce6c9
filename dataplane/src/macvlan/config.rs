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
    /// How many frames to groups of one burst the children of its device hear; `None` for the default.
    pub bcqueuelen: Option<u32>,
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

    /// The address of a child of this name that is given none; `None` for that of the device it stands on, which one that takes the
    /// whole of it has (`macvlan_common_newlink`).
    pub fn own_address(&self, name: &str) -> Option<MacAddr> {
        (self.mode != MacvlanMode::Passthru).then(|| Self::address_of(name))
    }

    /// The address that goes with a name: always the same, locally administered, and of one station (IEEE
    /// 802-2014 §8.4). It is the name's FNV-1a hash, so that two switches make the same of one name.
    pub fn address_of(name: &str) -> MacAddr {
        const LOCAL: u64 = 0b10 << 40;
        const GROUP: u64 = 0b01 << 40;
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        MacAddr::from_bits((hash ^ hash >> 48) & !GROUP | LOCAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_name_is_always_the_same_and_no_others() {
        assert_eq!(
            MacvlanConfig::address_of("mv0").to_string(),
            MacvlanConfig::address_of("mv0").to_string()
        );
        let addresses: std::collections::BTreeSet<_> =
            (0..10_000).map(|n| MacvlanConfig::address_of(&format!("mv{n}"))).collect();
        assert_eq!(addresses.len(), 10_000);
        assert!(addresses.iter().all(|mac| !mac.is_group() && mac.octets()[0] & 0b10 != 0));
    }
}
