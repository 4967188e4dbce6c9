//! What a device's driver can do for XDP (netdev netlink), and the offloads that change what XDP sees (ethtool).

use std::io;

use super::context;
use super::netdev::Netdev;
use super::netlink::{Netlink, attribute, number, request};

/// What a driver says it can do (`NETDEV_CMD_DEV_GET`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// Programs in the driver, and redirection from them.
    pub native: bool,
    /// AF_XDP sockets without copying.
    pub zero_copy: bool,
    /// Programs may ask for the VLAN tag that was stripped (`bpf_xdp_metadata_rx_vlan_tag`).
    pub vlan_tag: bool,
}

impl XdpFeatures {
    /// What the driver of device `ifindex`, in the calling thread's network namespace, can do.
    ///
    /// # Errors
    /// `NotFound` for no such device or, before kernel 6.3, no such question; whatever netlink(7) answers.
    pub fn of(ifindex: u32) -> io::Result<Self> {
        let doing = |e| context(e, "asking for the XDP features of a device");
        let netlink = GenericNetlink::open().map_err(doing)?;
        let family = netlink.family("netdev").map_err(doing)?;
        let answer = netlink.ask(family, DEVICE_GET, DEVICE_INDEX, &ifindex.to_ne_bytes()).map_err(doing)?;
        let bits = |kind| attribute(&answer, kind).map_or(0, number);
        let (features, metadata) = (bits(DEVICE_XDP_FEATURES), bits(DEVICE_METADATA_FEATURES));
        Ok(Self {
            native: features & ACT_NATIVE == ACT_NATIVE,
            zero_copy: features & ACT_ZERO_COPY != 0,
            vlan_tag: metadata & METADATA_VLAN_TAG != 0,
        })
    }
}

// include/uapi/linux/netdev.h
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
const DEVICE_METADATA_FEATURES: u16 = 5;
const ACT_NATIVE: u64 = 1 | 2; // basic, redirect
const ACT_ZERO_COPY: u64 = 8;
const METADATA_VLAN_TAG: u64 = 4;

impl Netdev {
    /// Whether the device merges received frames (GRO), which on a veth also gives it NAPI.
    ///
    /// # Errors
    /// As for [`Netdev::index`].
    pub fn merges_received(&self) -> io::Result<bool> {
        const ETHTOOL_GGRO: u32 = 0x2b;
        Ok(self.ethtool_value(ETHTOOL_GGRO)? != 0)
    }

    /// Turns GRO on or off.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`.
    pub fn set_merges_received(&self, on: bool) -> io::Result<()> {
        const ETHTOOL_SGRO: u32 = 0x2c;
        self.ethtool(&mut [ETHTOOL_SGRO, u32::from(on)])
    }

    /// Whether the device takes VLAN tags out of the frames it receives (`rx-vlan-offload`).
    ///
    /// # Errors
    /// As for [`Netdev::index`].
    pub fn strips_vlan(&self) -> io::Result<bool> {
        Ok(self.ethtool_value(ETHTOOL_GFLAGS)? & FLAG_RX_VLAN != 0)
    }

    /// Has the device take VLAN tags out, or leave them in.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_NET_ADMIN`; `InvalidInput` or `Unsupported` where it is fixed.
    pub fn set_strips_vlan(&self, on: bool) -> io::Result<()> {
        const ETHTOOL_SFLAGS: u32 = 0x26;
        let flags = self.ethtool_value(ETHTOOL_GFLAGS)?;
        let wanted = if on { flags | FLAG_RX_VLAN } else { flags & !FLAG_RX_VLAN };
        self.ethtool(&mut [ETHTOOL_SFLAGS, wanted])
    }

    /// An `ethtool_value` command that asks for one number.
    fn ethtool_value(&self, command: u32) -> io::Result<u32> {
        let mut value = [command, 0];
        self.ethtool(&mut value)?;
        Ok(value[1])
    }
}

const ETHTOOL_GFLAGS: u32 = 0x25;
/// `ETH_FLAG_RXVLAN`.
const FLAG_RX_VLAN: u32 = 1 << 8;

/// A generic netlink socket, one question at a time.
struct GenericNetlink(Netlink);

impl GenericNetlink {
    fn open() -> io::Result<Self> {
        Netlink::open(libc::NETLINK_GENERIC, 0).map(Self)
    }

    /// The number of the family of this name.
    fn family(&self, name: &str) -> io::Result<u16> {
        const CONTROLLER: u16 = 0x10; // GENL_ID_CTRL
        const GET_FAMILY: u8 = 3;
        const FAMILY_ID: u16 = 1;
        const FAMILY_NAME: u16 = 2;
        let mut text = name.as_bytes().to_vec();
        text.push(0);
        let answer = self.ask(CONTROLLER, GET_FAMILY, FAMILY_NAME, &text)?;
        let id = attribute(&answer, FAMILY_ID).map(number).and_then(|id| u16::try_from(id).ok());
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The attributes of the one answer to a command with one attribute.
    fn ask(&self, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
        // The generic header: command, version, two reserved.
        let answer = self.0.ask(&request(family, 0, &[command, 1, 0, 0], &[(kind, value)]))?;
        let body = answer.first().and_then(|(_, body)| body.get(4..));
        body.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_none() {
        // Needs no privilege; a kernel before 6.3 does not know the question.
        if let Ok(features) = XdpFeatures::of(1) {
            assert_eq!(features, XdpFeatures::default());
        }
    }
}
