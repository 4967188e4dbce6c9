//! One device of many networks (`external`): which of them a frame is of, and what is counted of each.

use crate::counters::NetworkTraffic;
use crate::drops::DropReason;
use crate::frames::Frame;
use crate::ids::{DeviceId, VlanId};
use crate::pipeline::{Context, Observer, Step, Transmit};
use crate::tables::{Key, Network, Networks, Reach, Vxlan, VxlanId};
use crate::wire::ethernet::{Ethernet, HEADER_LEN};
use crate::wire::vlan::{self, Tci};

/// Where this worker counts what is of a network.
fn counted<'t, O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    network: &'t Network,
) -> Option<&'t NetworkTraffic> {
    network.stats.of(cx.counters.worker())
}

/// A frame of a network is out of its outer header. It is of the VLAN that its bridge knows that by, unless it has a tag
/// (`br_handle_ingress_vlan_tunnel`).
///
/// # Errors
/// If there is no room for the tag.
#[cold]
pub(super) fn received<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    device: DeviceId,
    network: &Network,
    frame: &mut Frame,
) -> Result<(), DropReason> {
    cx.observer.see(Step::LeavesNetwork(device, network.vni, network.tag.map(|(_, vlan)| vlan)), frame);
    let bytes = frame.len().saturating_sub(HEADER_LEN) as u64;
    let tagged = network.tag.map_or(Ok(()), |(tpid, vlan)| {
        if Ethernet::view(frame.bytes()).is_ok_and(|header| header.ether_type().is_tag()) {
            return Ok(());
        }
        let tci = Tci(vlan.number());
        if !frame.push_front(4) || vlan::push(frame.bytes_mut(), tpid, tci).is_err() {
            return Err(DropReason::NoHeadroom);
        }
        cx.observer.see(Step::Pushed(tpid, tci), frame);
        Ok(())
    });
    match (counted(cx, network), tagged) {
        (Some(traffic), Ok(())) => traffic.received.add(1, bytes),
        (Some(traffic), Err(_)) => traffic.rx_drops.add(1),
        (None, _) => {}
    }
    tagged
}

/// A packet is not taken for this reason, which the network that it is of counts as an error.
#[cold]
pub(super) fn wrong<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    vxlan: &Vxlan,
    reason: DropReason,
) -> DropReason {
    if let Some(traffic) = vxlan.network.as_ref().and_then(|network| counted(cx, network)) {
        traffic.rx_errors.add(1);
    }
    reason
}

/// A frame is to be sent in a network: takes off the tag that says which (`br_handle_egress_vlan_tunnel`), and counts it, once for each far end, as the
/// kernel does: one that is too long for the way and answered is counted, too. `None` if no tag says which.
#[cold]
pub(super) fn enter<O: Observer, T: Transmit>(
    cx: &mut Context<'_, O, T>,
    networks: &Networks,
    frame: &mut Frame,
) -> Option<VxlanId> {
    let ethernet = Ethernet::view(frame.bytes()).ok().filter(|it| it.ether_type() == networks.tpid)?;
    let tci = vlan::Vlan::view(ethernet.payload()).ok()?.tci();
    let id = networks.find(VlanId::new(tci.vid())?)?;
    let popped = vlan::pop(frame.bytes_mut()).is_ok() && frame.pull_front(4);
    debug_assert!(popped, "the tag was there");
    cx.observer.see(Step::Popped(networks.tpid, tci), frame);
    let tables = cx.tables;
    let vxlan = tables.tunnels().vxlan(id);
    if let (Some(network), Some(vlan)) = (&vxlan.network, VlanId::new(tci.vid())) {
        cx.observer.see(Step::EntersNetwork(vxlan.device, vlan, network.vni), frame);
    }
    if let Some(traffic) = vxlan.network.as_ref().and_then(|network| counted(cx, network)) {
        count_sent(cx, vxlan, traffic, frame);
    }
    Some(id)
}

fn count_sent<O: Observer, T: Transmit>(
    cx: &Context<'_, O, T>,
    vxlan: &Vxlan,
    traffic: &NetworkTraffic,
    frame: &Frame,
) {
    let Ok(header) = Ethernet::view(frame.bytes()) else { return };
    let entry = cx.macs.find(cx.macs.locate(Key::new(vxlan.domain, header.destination())));
    let peer = entry.map(|entry| entry.egress().peer).or(vxlan.peers.of_unknown());
    let remotes = peer.map_or(&[][..], |peer| vxlan.peers.remotes(peer));
    if remotes.is_empty() {
        traffic.tx_drops.add(1);
    }
    for id in remotes {
        match cx.tables.tunnels().remote(*id).reach {
            Reach::NoRoute | Reach::Loop => traffic.tx_errors.add(1),
            _ => traffic.sent.add(1, frame.len() as u64),
        }
    }
}
