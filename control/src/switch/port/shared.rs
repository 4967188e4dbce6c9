//! A port whose device the host goes on using: what of it is the switch's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::ports::{Mine, PortKind, XdpConfig, XdpTake};

use super::{Device, OpenResult, Port, Source};

impl Port {
    /// Whether its device is shared with the host.
    pub(in crate::switch) fn is_shared(&self) -> bool {
        is_shared(&self.config.kind)
    }

    /// Takes part in these groups and in no others, if it is on the host's own sockets.
    pub(in crate::switch) fn take_part(&mut self, groups: &BTreeSet<(IpAddr, IpAddr)>) -> OpenResult<()> {
        match &mut self.device {
            Some(Device { source: Source::Socket(sockets), .. }) => Ok(sockets.take_part(groups)?),
            _ => Ok(()),
        }
    }

    /// Takes this and leaves all else to the host, while the device is there.
    pub(in crate::switch) fn claim(&mut self, mine: &Mine) -> OpenResult<()> {
        match &mut self.device {
            Some(Device { source: Source::Xdp(xdp), .. }) => Ok(xdp.claim(mine)?),
            _ => Ok(()),
        }
    }
}

/// Whether the device of a port of this kind is shared with the host.
pub(in crate::switch) fn is_shared(kind: &PortKind) -> bool {
    matches!(kind, PortKind::Xdp(XdpConfig { take: XdpTake::Mine, .. }))
}
