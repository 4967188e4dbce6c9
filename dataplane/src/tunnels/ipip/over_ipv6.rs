//! Into an outer header of IPv6 (`ipxip6_tnl_xmit`, `ip6_tnl_xmit`): with an encapsulation limit before what is inside, and a flow label.

use crate::drops::DropReason;
use crate::frames::Frame;
use crate::pipeline::Egress;
use crate::tables::{IpTunnel, Remote};
use crate::tunnels::underlay;
use crate::wire::IpProtocol;
use crate::wire::ipv6::Ipv6;
use crate::wire::limit;
use crate::wire::outer::put_label;
use crate::wire::tunnel::{Inner, OverIpv6};

/// What the outer header of one packet says besides what it takes over.
#[derive(Clone, Copy)]
pub(super) struct Further {
    limit: Option<u8>,
    label: Option<u32>, // where it is not the one of the ready header
}

/// What goes before a packet of this protocol, which its bytes begin with.
///
/// # Errors
/// Why it may not enter: it comes from where it would go (`ip6_tnl_addr_conflict`), or has been in as many tunnels as it may be.
#[inline]
pub(super) fn further(
    over: OverIpv6,
    remote: &Remote,
    protocol: IpProtocol,
    packet: &[u8],
) -> Result<Further, DropReason> {
    let plain = Further { limit: over.limit, label: None };
    if protocol != IpProtocol::IPV6 {
        return Ok(plain);
    }
    let inside = Ipv6::view(packet).map_err(|_| DropReason::IpMalformed)?;
    if remote.header.remote() == inside.source() {
        return Err(DropReason::TunnelLoop);
    }
    let limit = match limit::find(packet) {
        None => over.limit,
        Some((_, said)) => Some(said.checked_sub(1).ok_or(DropReason::TunnelLimit)?),
    };
    Ok(Further { limit, label: over.flow_label.is_none().then(|| inside.flow_label()) })
}

/// Puts it and the outer header of `remote` around what is in `frame`.
///
/// # Errors
/// As of [`underlay::wrap`].
#[inline]
pub(super) fn wrap(
    tunnel: &IpTunnel,
    remote: &Remote,
    frame: &mut Frame,
    (protocol, inner, further): (IpProtocol, Inner, Further),
    egress: &mut Egress,
) -> Result<(), DropReason> {
    let mut next = protocol;
    if let Some(limit) = further.limit {
        if !frame.push_front(limit::HEADER_LEN) {
            return Err(DropReason::NoHeadroom);
        }
        let header = limit::header(protocol, limit);
        if let Some(start) = frame.bytes_mut().first_chunk_mut() {
            *start = header;
        }
        next = limit::DESTINATION_OPTIONS;
    }
    underlay::wrap(remote, frame, next, tunnel.outer.around(inner), egress)?;
    if let Some(label) = further.label {
        put_label(frame.bytes_mut(), label);
    }
    Ok(())
}
