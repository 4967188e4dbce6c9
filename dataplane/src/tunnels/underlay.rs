//! The way beneath every tunnel: an outer header around a frame, and out to the far end by a routed device.
//!
//! Nothing here looks up a route or a neighbour: control has (`Remote`), and does again when one of them changes. Whatever is not plain goes to control as
//! the whole outer packet: one whose next hop nobody knows yet, one that is too long for the way and may not be fragmented, and one that goes where errors
//! came from.

use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::DeviceId;
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::routing;
use crate::tables::{Reach, Remote, RemoteId};
use crate::wire::IpProtocol;
use crate::wire::ethernet::HEADER_LEN;
use crate::wire::tunnel::Inner;

/// Puts the outer header of `remote` around what is in `frame`, a packet of `protocol`; what follows the IP header is given back. Only a packet that may be fragmented needs an identification (RFC 6864 §4).
///
/// # Errors
/// If there is no room before it, or it would be longer than a packet can be.
#[inline(always)]
pub(crate) fn wrap<'f>(
    remote: &Remote,
    frame: &'f mut Frame,
    protocol: IpProtocol,
    fields: Inner,
    egress: &mut Egress,
) -> Result<&'f mut [u8], DropReason> {
    if !frame.push_front(remote.header.len()) {
        return Err(DropReason::NoHeadroom);
    }
    let identification = if fields.dont_fragment { 0 } else { egress.identification() };
    let written = remote.header.write(frame.bytes_mut(), protocol, fields, identification);
    written.ok_or(DropReason::MtuExceeded)
}

/// Sends what was wrapped for a far end, by `tunnel`; `fits` of what is known not to be too long for the way.
#[inline(always)]
pub(crate) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    tunnel: DeviceId,
    (id, remote): (RemoteId, &Remote),
    fits: bool,
    frame: Frame,
    egress: &mut Egress,
) {
    cx.observer.see(Step::Encapsulated(tunnel, id), &frame);
    match remote.reach {
        Reach::Ready(to) if fits || frame.len() <= remote.mtu as usize + HEADER_LEN => {
            egress.leave(cx, to, frame);
        }
        _ => send_otherwise(cx, tunnel, remote, frame, egress),
    }
}

/// The same where the far end is not reached, not without errors, or not by a packet that long.
#[cold]
fn send_otherwise<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    tunnel: DeviceId,
    remote: &Remote,
    frame: Frame,
    egress: &mut Egress,
) {
    let (to, is_ready) = match remote.reach {
        Reach::Ready(to) | Reach::Failing(to) => (to, true),
        Reach::Unresolved(to) => (to, false),
        Reach::NoRoute => return egress.refuse(cx, tunnel, DropReason::TunnelNoRoute, frame),
        Reach::Loop => return egress.refuse(cx, tunnel, DropReason::TunnelLoop, frame),
    };
    if frame.len() > remote.mtu as usize + HEADER_LEN && !remote.header.may_fragment(frame.bytes()) {
        let taken = cx.punt.offer(tunnel, PuntReason::TunnelTooBig, cx.tick, frame.bytes());
        cx.observer.see(Step::CopiedToControl(PuntReason::TunnelTooBig, taken), &frame);
        return egress.refuse(cx, tunnel, DropReason::TooBig, frame);
    }
    if !is_ready {
        if !cx.punt.offer(tunnel, PuntReason::Outgoing, cx.tick, frame.bytes()) {
            return egress.refuse(cx, tunnel, DropReason::PuntFull, frame);
        }
        cx.observer.see(Step::Punted(PuntReason::Outgoing), &frame);
        return cx.pool.free(frame);
    }
    if let Reach::Failing(_) = remote.reach {
        let taken = cx.punt.offer(tunnel, PuntReason::TunnelFailing, cx.tick, frame.bytes());
        cx.observer.see(Step::CopiedToControl(PuntReason::TunnelFailing, taken), &frame);
    }
    if frame.len() <= remote.mtu as usize + HEADER_LEN {
        return egress.leave(cx, to, frame);
    }
    let mtu = u16::try_from(remote.mtu).unwrap_or(u16::MAX);
    let each = |egress: &mut Egress, cx: &mut Context<'_, O, T>, piece| egress.leave(cx, to, piece);
    if let Err(frame) = routing::fragment(cx, to, mtu, frame, egress, each) {
        egress.refuse(cx, tunnel, DropReason::TooBig, frame);
    }
}
