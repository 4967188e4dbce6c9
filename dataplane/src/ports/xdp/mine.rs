//! What is the switch's own on a device that it shares with the host: the keys that the program looks for, and the
//! addresses that the device lets in for them.
//!
//! A frame is the switch's if it has no VLAN tag and is for the MAC address that the switch has there, asks or tells of one of
//! its IP addresses by ARP, asks for one by neighbour discovery, or is a packet to one. All else is the host's. Keys come
//! before those that they replace go, each between one frame and the next, so that nothing else notices.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use crate::ids::MacAddr;
use crate::sys::bpf::KeySet;
use crate::sys::packet::PacketSocket;
use crate::wire::neighbor::solicited_node;

/// What is the switch's own on a device.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Mine {
    /// Its MAC addresses; without any that of the device, which is the host's too.
    pub macs: BTreeSet<MacAddr>,
    /// Its IP addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// The most addresses that one device has for the switch.
pub const MOST_ADDRESSES: u32 = 1 << 16;

/// What kind of address it is, and the address, with zeros behind it: as the program puts it together.
pub(super) type Key = [u8; 20];

/// The kinds, as a key begins.
pub(super) const MAC: i32 = 0;
pub(super) const IPV4: i32 = 4;
pub(super) const IPV6: i32 = 6;

impl Mine {
    /// Whether a frame is the switch's.
    pub fn takes(&self, frame: &[u8]) -> bool {
        let Some((header, payload)) = frame.split_first_chunk::<14>() else { return false };
        let [a, b, c, d, e, f, .., high, low] = *header;
        if self.macs.contains(&MacAddr::new([a, b, c, d, e, f])) {
            return true;
        }
        let has4 =
            |octets: Option<&[u8; 4]>| octets.is_some_and(|to| self.addresses.contains(&IpAddr::from(*to)));
        let has6 =
            |octets: Option<&[u8; 16]>| octets.is_some_and(|to| self.addresses.contains(&IpAddr::from(*to)));
        match [high, low] {
            // Ethernet and IPv4 (RFC 826): the target.
            [0x08, 0x06] => payload.starts_with(&[0, 1, 8, 0, 6, 4]) && has4(at(payload, 24)),
            [0x08, 0x00] => has4(at(payload, 16)),
            [0x86, 0xdd] => {
                // A solicitation (RFC 4861 §4.3): the target.
                let asks = payload.get(6) == Some(&58) && payload.get(40) == Some(&135);
                has6(at(payload, 24)) || asks && has6(at(payload, 48))
            }
            _ => false,
        }
    }

    /// The keys by which the program knows it.
    fn keys(&self) -> BTreeSet<Key> {
        let macs = self.macs.iter().map(|mac| key(MAC, &mac.octets()));
        let address = |address: &IpAddr| match address {
            IpAddr::V4(address) => key(IPV4, &address.octets()),
            IpAddr::V6(address) => key(IPV6, &address.octets()),
        };
        macs.chain(self.addresses.iter().map(address)).collect()
    }

    /// The MAC addresses that the device is to let in, which the host would not have it let in.
    fn filters(&self) -> impl Iterator<Item = MacAddr> {
        let group = |address: &IpAddr| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = solicited_node(*address).octets();
                Some(MacAddr::new([0x33, 0x33, a, b, c, d])) // RFC 2464 §7
            }
        };
        self.macs.iter().copied().chain(self.addresses.iter().filter_map(group))
    }
}

/// The `N` bytes at `offset`.
fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<&[u8; N]> {
    bytes.get(offset..)?.first_chunk()
}

fn key(kind: i32, octets: &[u8]) -> Key {
    let mut key = [0; size_of::<Key>()];
    key[..4].copy_from_slice(&kind.to_ne_bytes());
    key[4..4 + octets.len()].copy_from_slice(octets);
    key
}

/// The same in force on a device.
#[derive(Debug)]
pub(super) struct Claim {
    ifindex: u32,
    pub(super) keys: KeySet<{ size_of::<Key>() }>,
    present: BTreeSet<Key>,
    _filters: Option<PacketSocket>,
}

impl Claim {
    /// Nothing yet, on a device of the calling thread's namespace.
    pub(super) fn new(ifindex: u32) -> io::Result<Self> {
        let keys = KeySet::new(MOST_ADDRESSES)?;
        Ok(Self { ifindex, keys, present: BTreeSet::new(), _filters: None })
    }

    /// Has the program take what is in `mine` and nothing else; called in the device's namespace. When it fails, at least what
    /// was taken before still is.
    pub(super) fn put(&mut self, mine: &Mine) -> io::Result<()> {
        let wanted = mine.keys();
        let mut filters = mine.filters().peekable();
        let socket = filters.peek().map(|_| PacketSocket::silent(self.ifindex)).transpose()?;
        if let Some(socket) = &socket {
            filters.try_for_each(|mac| socket.request_address(mac))?;
        }
        let missing: Vec<_> = wanted.difference(&self.present).copied().collect();
        for key in missing {
            self.keys.insert(&key)?;
            self.present.insert(key);
        }
        self._filters = socket;
        let over: Vec<_> = self.present.difference(&wanted).copied().collect();
        for key in over {
            self.keys.remove(&key)?;
            self.present.remove(&key);
        }
        Ok(())
    }
}
