//! What only netlink can do with a device: make veth pairs, move devices between namespaces, give addresses.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use rigswitch_dataplane::sys::netdev::Netdev;
use rigswitch_dataplane::sys::netns::Netns;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkUnspec, LinkVeth};

use super::LabError;

/// Makes a veth pair, `device` in `netns` and `peer` in `far`.
pub(super) fn add_veth(netns: &Netns, device: &str, peer: &str, far: &Netns) -> Result<(), LabError> {
    let peer_end = LinkUnspec::new_with_name(peer).setns_by_fd(far.as_fd().as_raw_fd()).build();
    let pair = LinkVeth::new(device, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(peer_end))).build();
    let doing = format!("making the veth pair {device}, {peer}");
    request(netns, doing, move |netlink| async move { netlink.link().add(pair).execute().await })
}

/// Moves `device` from `netns` to `target`.
pub(super) fn move_device(netns: &Netns, device: &str, target: &Netns) -> Result<(), LabError> {
    let change = LinkUnspec::new_with_name(device).setns_by_fd(target.as_fd().as_raw_fd()).build();
    let doing = format!("moving {device} to another namespace");
    request(netns, doing, move |netlink| async move { netlink.link().set(change).execute().await })
}

/// Deletes `device`.
pub(super) fn delete_device(netns: &Netns, device: &str) -> Result<(), LabError> {
    let doing = format!("deleting {device}");
    let index = index_of(netns, device, &doing)?;
    request(netns, doing, move |netlink| async move { netlink.link().del(index).execute().await })
}

/// Gives `device` an address. IPv6 is told not to look for duplicates first, which takes it seconds.
pub(super) fn add_address(
    netns: &Netns,
    device: &str,
    address: IpAddr,
    prefix_length: u8,
) -> Result<(), LabError> {
    let doing = format!("giving {device} the address {address}/{prefix_length}");
    let index = index_of(netns, device, &doing)?;
    request(netns, doing, move |netlink| async move {
        let mut request = netlink.address().add(index, address, prefix_length);
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        request.execute().await
    })
}

/// The kernel's number for `device`.
pub(super) fn index_of(netns: &Netns, device: &str, doing: &str) -> Result<u32, LabError> {
    let index = Netdev::new(device, Some(netns)).and_then(|device| device.index());
    index.map_err(LabError::system(doing))
}

/// Makes one netlink request inside `netns`.
pub(super) fn request<F>(
    netns: &Netns,
    doing: String,
    work: impl FnOnce(Handle) -> F + Send,
) -> Result<(), LabError>
where
    F: Future<Output = Result<(), rtnetlink::Error>>,
{
    let answer = netns.run(|| -> io::Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (connection, netlink, _) = rtnetlink::new_connection()?;
            tokio::spawn(connection);
            Ok(work(netlink).await)
        })
    });
    match answer.and_then(|answer| answer) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(LabError::Netlink { doing, source }),
        Err(source) => Err(LabError::System { doing, source }),
    }
}
