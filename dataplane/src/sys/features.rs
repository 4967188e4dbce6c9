//! What a device's driver can do for XDP (netdev netlink), and the offloads that change what XDP sees (ethtool).

use std::io;

use super::context;
use super::genetlink::GenericNetlink;
use super::netdev::Netdev;
use super::netlink::{attribute, number};

/// What a driver says it can do (`NETDEV_CMD_DEV_GET`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpFeatures {
    /// Programs in the driver, and redirection from them.
    pub native: bool,
    /// Frames that programs redirect to it are sent. A veth's can where its far end has NAPI: with XDP or GRO.
    pub transmits: bool,
    /// AF_XDP sockets without copying.
    pub zero_copy: bool,
    /// The most buffers that a frame may be in there: from 2 on, where frames in several are not to be copied either.
    pub zero_copy_buffers: u32,
    /// Programs may be given frames in several buffers (`BPF_F_XDP_HAS_FRAGS`).
    pub frags: bool,
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
        let netlink = GenericNetlink::open("netdev").map_err(doing)?;
        let answers = netlink.ask(DEVICE_GET, 0, DEVICE_INDEX, &ifindex.to_ne_bytes()).map_err(doing)?;
        let answer = answers.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
        let bits = |kind| attribute(&answer, kind).map_or(0, number);
        let (features, metadata) = (bits(DEVICE_XDP_FEATURES), bits(DEVICE_METADATA_FEATURES));
        Ok(Self {
            native: features & ACT_NATIVE == ACT_NATIVE,
            transmits: features & ACT_NDO_XMIT != 0,
            zero_copy: features & ACT_ZERO_COPY != 0,
            zero_copy_buffers: u32::try_from(bits(DEVICE_ZERO_COPY_BUFFERS)).unwrap_or(u32::MAX),
            frags: features & ACT_FRAGS != 0,
            vlan_tag: metadata & METADATA_VLAN_TAG != 0,
        })
    }
}

// include/uapi/linux/netdev.h
const DEVICE_GET: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
const DEVICE_ZERO_COPY_BUFFERS: u16 = 4; // NETDEV_A_DEV_XDP_ZC_MAX_SEGS
const DEVICE_METADATA_FEATURES: u16 = 5;
const ACT_NATIVE: u64 = 1 | 2; // basic, redirect
const ACT_NDO_XMIT: u64 = 4;
const ACT_ZERO_COPY: u64 = 8;
const ACT_FRAGS: u64 = 32;
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

    /// The offloads that an operator can turn off.
    ///
    /// # Errors
    /// As for [`Netdev::index`].
    pub fn offloads(&self) -> io::Result<Offloads> {
        const ETHTOOL_GRXCSUM: u32 = 0x14;
        const ETHTOOL_GTXCSUM: u32 = 0x16;
        const ETHTOOL_GTSO: u32 = 0x1e;
        const ETHTOOL_GGSO: u32 = 0x23;
        let is_on = |command| Ok::<_, io::Error>(self.ethtool_value(command)? != 0);
        let flags = self.ethtool_value(ETHTOOL_GFLAGS)?;
        Ok(Offloads {
            rx_checksum: is_on(ETHTOOL_GRXCSUM)?,
            tx_checksum: is_on(ETHTOOL_GTXCSUM)?,
            tso: is_on(ETHTOOL_GTSO)?,
            gso: is_on(ETHTOOL_GGSO)?,
            gro: self.merges_received()?,
            lro: flags & FLAG_LRO != 0,
            rx_vlan: flags & FLAG_RX_VLAN != 0,
            tx_vlan: flags & FLAG_TX_VLAN != 0,
        })
    }

    /// An `ethtool_value` command that asks for one number.
    fn ethtool_value(&self, command: u32) -> io::Result<u32> {
        let mut value = [command, 0];
        self.ethtool(&mut value)?;
        Ok(value[1])
    }
}

const ETHTOOL_GFLAGS: u32 = 0x25;
// enum ethtool_flags
const FLAG_TX_VLAN: u32 = 1 << 7;
const FLAG_RX_VLAN: u32 = 1 << 8;
const FLAG_LRO: u32 = 1 << 15;

/// Which offloads of a device are on, in the words of `ethtool -k`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offloads {
    /// `rx-checksumming`
    pub rx_checksum: bool,
    /// `tx-checksumming`
    pub tx_checksum: bool,
    /// `tcp-segmentation-offload`
    pub tso: bool,
    /// `generic-segmentation-offload`
    pub gso: bool,
    /// `generic-receive-offload`
    pub gro: bool,
    /// `large-receive-offload`
    pub lro: bool,
    /// `rx-vlan-offload`
    pub rx_vlan: bool,
    /// `tx-vlan-offload`
    pub tx_vlan: bool,
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

    #[test]
    fn loopback_leaves_checksums_and_tags_alone() {
        let offloads = Netdev::new("lo", None).unwrap().offloads().unwrap();
        assert!(offloads.tx_checksum && !offloads.rx_vlan && !offloads.lro, "{offloads:?}");
    }
}
