//! A port whose device the host goes on using: what of it is the switch's.

use rigswitch_dataplane::ids::MacAddr;
use rigswitch_dataplane::ports::{Mine, PortKind, XdpConfig, XdpTake};

use super::{Device, OpenResult, Port, Source};

impl Port {
    /// Whether its device is shared with the host.
    pub(in crate::switch) fn is_shared(&self) -> bool {
        matches!(self.config.kind, PortKind::Xdp(XdpConfig { take: XdpTake::Mine { .. }, .. }))
    }

    /// The address that the switch is to have there beside the device's, if it is to have one.
    pub(in crate::switch) fn claimed_mac(&self) -> Option<MacAddr> {
        match self.config.kind {
            PortKind::Xdp(XdpConfig { take: XdpTake::Mine { mac }, .. }) => mac,
            _ => None,
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
