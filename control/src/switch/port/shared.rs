//! What is particular to some kinds of port: a device that the host goes on using, and what of it is the switch's; how AF_XDP moves frames.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rigswitch_dataplane::ports::{Mine, PortKind, XdpConfig, XdpTake};
use rigswitch_dataplane::sys::bpf::Attach;

use super::{Device, OpenResult, Port, Source};

impl Port {
    /// Whether its device is shared with the host.
    pub(in crate::switch) fn is_shared(&self) -> bool {
        is_shared(&self.config.kind)
    }

    /// How frames come to an AF_XDP port: where the program runs, and whether the kernel copies none of them.
    pub(in crate::switch) fn xdp(&self) -> Option<(Attach, bool)> {
        match &self.device {
            Some(Device { source: Source::Xdp(xdp), .. }) => Some((xdp.hook(), xdp.is_zero_copy())),
            _ => None,
        }
    }

    /// Takes part in these groups and in no others, if it is on the host's own sockets.
    pub(in crate::switch) fn take_part(&mut self, groups: &BTreeSet<(IpAddr, IpAddr)>) -> OpenResult<()> {
        match &mut self.device {
            Some(Device { source: Source::Socket(sockets), .. }) => {
                sockets.take_part(groups)?;
                self.trouble.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The same anew, where the host's addresses are others by now.
    pub(in crate::switch) fn take_part_anew(&mut self) -> OpenResult<()> {
        let Some(Device { source: Source::Socket(sockets), .. }) = &mut self.device else { return Ok(()) };
        let Some(result) = sockets.follow() else { return Ok(()) };
        result?;
        self.trouble.clear();
        Ok(())
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
