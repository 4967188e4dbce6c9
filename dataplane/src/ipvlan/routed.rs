//! What ipvlans of mode L3 send: packets that the device they stand on routes, by its own routes and neighbours, and nothing to
//! groups (`ipvlan_process_outbound`, drivers/net/ipvlan/ipvlan_core.c).
//!
//! It is as if the device itself had sent them (`ip_local_out`): no hop is counted. Of what is shorter than its frame the rest ends here.

use std::net::IpAddr;

use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::{DeviceId, MacAddr};
use crate::pipeline::{Context, Egress, Observer, Step, Transmit};
use crate::punt::PuntReason;
use crate::routing::{Fate, flow};
use crate::tables::{IpvlanDescent, Ways, station_of};
use crate::wire::ethernet::{self, EtherType, Ethernet, HEADER_LEN};
use crate::wire::ipv4::Ipv4;
use crate::wire::ipv6::Ipv6;

/// Sends what `child` sends and is for none beside it, by `ways` of the device below, which has the address `mac`.
pub(super) fn send<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    child: DeviceId,
    way: IpvlanDescent,
    (mac, ways): (MacAddr, &Ways),
    mut frame: Frame,
    egress: &mut Egress,
) {
    let routing = cx.tables.routing();
    let (to, length) = match read(frame.bytes()) {
        Ok(read) => read,
        Err(reason) => return egress.refuse(cx, child, reason, frame),
    };
    let next = match ways.next(to, || flow(routing, &frame)) {
        Ok(Some(next)) => next,
        Ok(None) => return send_own(cx, way, mac, frame, egress),
        Err(reason) => {
            cx.observer.see(Step::Routed(Some(to), Fate::Drop(reason)), &frame);
            return egress.refuse(cx, child, reason, frame);
        }
    };
    if frame.gso().is_none() && length < frame.len() {
        let trimmed = frame.set_len(length);
        debug_assert!(trimmed, "it gets no longer");
    }
    let Some(here) = routing.interface(way.link) else {
        return egress.refuse(cx, child, DropReason::NoRoute, frame);
    };
    let station = if here.has_neighbors { routing.neighbor(way.link, next) } else { Some(station_of(next)) };
    let Some(station) = station else { return ask(cx, child, way, to, frame, egress) };
    cx.observer.see(Step::Routed(Some(to), Fate::Forward(way.link, next, station)), &frame);
    if let Some(header) = frame.bytes_mut().first_chunk_mut::<HEADER_LEN>() {
        ethernet::set_addresses(header, station, here.mac);
    }
    egress.pass_down(cx, way.link, frame);
}

/// Where a packet goes, and how long the frame is with it and nothing else.
fn read(frame: &[u8]) -> Result<(IpAddr, usize), DropReason> {
    let Ok(header) = Ethernet::view(frame) else { return Err(DropReason::Truncated) };
    if header.destination().is_group() {
        return Err(DropReason::IpvlanNotRouted);
    }
    let (to, length) = match header.ether_type() {
        EtherType::IPV4 => {
            let ip = Ipv4::view(header.payload()).map_err(|_| DropReason::IpvlanMalformed)?;
            (ip.destination().into(), u32::from(ip.total_len()))
        }
        EtherType::IPV6 => {
            let ip = Ipv6::view(header.payload()).map_err(|_| DropReason::IpvlanMalformed)?;
            (ip.destination().into(), ip.total_len())
        }
        _ => return Err(DropReason::IpvlanNotRouted),
    };
    Ok((to, HEADER_LEN + length as usize))
}

/// It is for the device below itself, which receives it.
fn send_own<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    way: IpvlanDescent,
    mac: MacAddr,
    mut frame: Frame,
    egress: &mut Egress,
) {
    if let Some(header) = frame.bytes_mut().first_chunk_mut::<HEADER_LEN>() {
        ethernet::set_addresses(header, mac, mac);
    }
    egress.rise(cx, way.link, frame);
}

/// Nobody knows who has it next: control finds out, and sends it then.
#[cold]
fn ask<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    child: DeviceId,
    way: IpvlanDescent,
    to: IpAddr,
    frame: Frame,
    egress: &mut Egress,
) {
    cx.observer.see(Step::Routed(Some(to), Fate::Punt(PuntReason::Outgoing)), &frame);
    if !cx.punt.offer(way.link, PuntReason::Outgoing, cx.tick, frame.bytes()) {
        return egress.refuse(cx, child, DropReason::PuntFull, frame);
    }
    cx.observer.see(Step::Punted(PuntReason::Outgoing), &frame);
    cx.pool.free(frame);
}
